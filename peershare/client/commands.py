"""The commands that ask once: `list`, `peers`, `share`, `verify`, `history`.

Not for: `get` (`getting`) or the prompt.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.task import deferLater

from peershare.client.api import ApiClient
from peershare.client.console import Console, Style
from peershare.client.outcome import ClientError, ExitStatus, worst
from peershare.client.paths import absolute
from peershare.client.tables import (
    Sheet,
    contents_sheet,
    drawn_lines,
    history_sheet,
    peers_sheet,
    plain_lines,
    verify_sheet,
)
from peershare.client.wording import about, json_text, safe, safe_name, size_text, span_text
from peershare.control.paths import text_of
from peershare.status import ShareStatus

# An own node has just begun to listen; peers that hear it answer within a fraction of a second.
LISTEN_SECONDS = 3.0
# States of a file after which it is not what others were told.
_NOT_AS_IT_WAS = ("changed", "unreadable")


class Commands:
    """What can be asked of a service, and shown on a console."""

    def __init__(self, console: Console, reactor: Any, *, json: bool) -> None:
        self._console = console
        self._reactor = reactor
        self._json = json
        self._listened = False

    async def listen(self, client: ApiClient, seconds: float | None, *, own: bool) -> None:
        """Give the network time to be heard: `seconds`, or what an own node needs."""
        self._listened = True
        if seconds is None:
            if not own:
                return
            status = await client.node()
            seconds = LISTEN_SECONDS
            where = ", ".join(map(safe, status.addresses)) or "nowhere yet"
            self._console.note(
                f"listening for {span_text(seconds)} on {where} (classic peers tell once a"
                " minute: --wait 65 hears all of them)",
                Style.DIM,
            )
        await deferLater(self._reactor, seconds)

    async def listen_once(self, client: ApiClient, *, own: bool) -> None:
        """The same before the first answer of a node that has just begun."""
        if not self._listened:
            await self.listen(client, None, own=own)

    async def contents(self, client: ApiClient, pattern: str = "") -> ExitStatus:
        """Show what is on the network; of names that fit a `*` pattern, if there is one."""
        listing = await client.listing(pattern)
        contents = listing.contents
        nothing = "nothing is on the network, and nothing is shared here"
        if pattern:
            nothing = f"nothing on the network or here has a name like {safe(pattern)}"
        status = self._show(contents, contents_sheet(contents, drawn=self._drawn), nothing)
        if listing.total > len(contents):
            cut = f"{len(contents):,} of {listing.total:,} shown: a pattern finds the others"
            self._console.note(cut, Style.DIM)
        return status

    async def peers(self, client: ApiClient) -> ExitStatus:
        """Show who is on the network."""
        peers = await client.peers()
        return self._show(peers, peers_sheet(peers), "nobody was heard")

    async def history(
        self, client: ApiClient, limit: int, since: float | None = None, direction: str = ""
    ) -> ExitStatus:
        """Show the newest lines of both logs, or of one; `since` is in Unix seconds."""
        entries = await client.history(limit, since, direction)
        what = f"{direction}ed" if direction else "downloaded or uploaded"
        nothing = f"nothing was {what} {'yet' if since is None else 'since then'}"
        return self._show(entries, history_sheet(entries, drawn=self._drawn), nothing)

    async def verify(self, client: ApiClient, name: str | None) -> ExitStatus:
        """Hash what is shared anew (None: all of it), and show what that showed."""
        results = await client.verify(name)
        nothing = (
            "nothing is shared here" if name is None else f"no {safe_name(name)} is shared here"
        )
        self._show(results, verify_sheet(results, drawn=self._drawn), nothing)
        if not results:
            return ExitStatus.DONE if name is None else ExitStatus.NOT_FOUND
        wrong = [result for result in results if result.state in _NOT_AS_IT_WAS]
        if wrong and not self._json:
            count = f"{len(wrong)} of {len(results)} files"
            self._console.note(f"{count} not as they were", Style.BAD)
        return ExitStatus.FAILED if wrong else ExitStatus.DONE

    async def share(self, client: ApiClient, paths: tuple[str, ...], *, own: bool) -> ExitStatus:
        """Put files into the share folder."""
        statuses, shared = [], []
        for path in paths:
            try:
                status = await client.share(text_of(absolute(path)))
            except ClientError as error:
                self._console.note(about(path, str(error)), Style.BAD)
                statuses.append(error.status)
                continue
            shared.append(status)
            statuses.append(ExitStatus.DONE)
            if not self._json:
                self._console.data(_share_text(status))
        if self._json:
            self._console.data(json_text(shared))
        if own and shared:
            self._console.note(
                "they are served while a service runs: twistd -n peershare, or an open prompt",
                Style.DIM,
            )
        return worst(statuses)

    @property
    def _drawn(self) -> bool:
        """Whether tables are for a person."""
        return self._console.screen is not None

    def _show(self, values: tuple[object, ...], sheet: Sheet, nothing: str) -> ExitStatus:
        if self._json:
            self._console.data(json_text(values))
        elif not values:
            self._console.note(nothing)
        elif self._drawn:
            self._console.data(drawn_lines(sheet, self._console.columns, self._console.color))
        else:
            self._console.data(plain_lines(sheet))
        return ExitStatus.DONE


def _share_text(status: ShareStatus) -> str:
    """One line about a file that is shared now."""
    names = f"as {safe(status.chunks[0])} … {safe(status.chunks[-1])}" if status.chunks else ""
    told = names or safe(status.note)
    return f"{safe(status.path)}\t{status.how}\t{size_text(status.size)}\t{told}"
