"""`pause`, `resume`, `cancel` and `limits`: what changes how the service goes on.

Not for: which downloads are meant (`picking`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from msgspec import structs

from peershare.client.api import ApiClient
from peershare.client.console import Console, Style
from peershare.client.outcome import ClientError, ExitStatus, worst
from peershare.client.picking import fitting, pick
from peershare.client.wording import (
    about,
    json_text,
    kept_text,
    progress_text,
    rate_text,
    safe,
    safe_name,
)
from peershare.status import FINAL_STATES, DownloadState, DownloadStatus, Limits

_NOT_TO_BE = {"pause": "paused", "resume": "resumed", "cancel": "cancelled"}


class Steering:
    """Changes what a service does, and says what became of it."""

    def __init__(self, console: Console, *, json: bool) -> None:
        self._console = console
        self._json = json

    async def steer(
        self, client: ApiClient, verb: str, names: Sequence[str], *, everything: bool
    ) -> ExitStatus:
        """Do `verb` to the downloads of these names, or to all; the worst of their statuses."""
        downloads = await client.downloads()
        changed: list[DownloadStatus] = []
        statuses: list[ExitStatus] = []
        wanted: Sequence[DownloadStatus | str] = names
        if everything:
            wanted = fitting(downloads, verb)
            if not wanted and not self._json:
                self._console.note(f"no download is there to be {_NOT_TO_BE[verb]}")
        for one in wanted:
            try:
                before = pick(downloads, one) if isinstance(one, str) else one
                changed.append(await self._change(client, verb, before))
            except ClientError as error:
                name = one if isinstance(one, str) else one.name
                self._console.note(about(name, str(error)), Style.BAD)
                statuses.append(error.status)
        if self._json:
            self._console.data(json_text(changed))
        return worst(statuses)

    async def _change(self, client: ApiClient, verb: str, before: DownloadStatus) -> DownloadStatus:
        """One of them.  Raises `ClientError` where there is nothing to be done."""
        over = before.state in FINAL_STATES
        if over and not (verb == "resume" and before.state is DownloadState.STOPPED):
            raise ClientError(f"it cannot be {_NOT_TO_BE[verb]}: it is {safe(_over(before))}")
        calls: Mapping[str, Callable[[str], Awaitable[DownloadStatus]]] = {
            "pause": client.pause,
            "resume": client.resume,
            "cancel": client.cancel,
        }
        status = await calls[verb](before.id)
        if not self._json:
            self._console.data(f"{safe_name(status.name)}\t{_told(verb, status)}")
        return status

    async def limits(self, client: ApiClient, changes: Mapping[str, float | None]) -> ExitStatus:
        """Show the limits; first change these ("upload", "download") to bytes/s or None."""
        limits = await client.limits()
        if changes:
            limits = await client.set_limits(structs.replace(limits, **changes))
        self._console.data(json_text(limits) if self._json else _limits_text(limits))
        return ExitStatus.DONE


def _told(verb: str, status: DownloadStatus) -> str:
    """What became of it."""
    if verb == "pause" and status.state is DownloadState.PAUSED:
        return f"paused at {progress_text(status)}"
    if verb == "cancel" and status.state is DownloadState.STOPPED:
        return f"cancelled; {kept_text(status)}"
    if verb == "resume" and status.state not in FINAL_STATES:
        return f"goes on at {progress_text(status)}"
    return _over(status)


def _over(status: DownloadStatus) -> str:
    """How it stands, in a word or two."""
    if status.state is DownloadState.DONE:
        return "done already"
    if status.state is DownloadState.STOPPED:
        return "cancelled already"
    if status.state is DownloadState.FAILED:
        return f"failed: {status.problem}"
    return str(status.state)


def _limits_text(limits: Limits) -> str:
    """One line for each direction."""
    rows = (("upload", limits.upload), ("download", limits.download))
    return "\n".join(f"{name}\t{'off' if rate is None else rate_text(rate)}" for name, rate in rows)
