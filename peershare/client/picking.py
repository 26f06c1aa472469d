"""Which downloads are meant: by id, name or content id, or all that a verb is for.  Pure.

Not for: doing it (`steering`).
"""

from __future__ import annotations

from collections.abc import Sequence

from peershare.client.outcome import ClientError, ExitStatus
from peershare.client.wording import safe, safe_name
from peershare.content.manifest import id_query
from peershare.content.names import folded, split_name
from peershare.status import FINAL_STATES, DownloadState, DownloadStatus

_MOST_NAMED = 8


def fitting(downloads: Sequence[DownloadStatus], verb: str) -> list[DownloadStatus]:
    """Those that `verb` ("pause", "resume" or "cancel") is for when all are meant."""
    if verb == "resume":
        return [one for one in downloads if one.state is DownloadState.PAUSED]
    left_alone = FINAL_STATES if verb == "cancel" else {*FINAL_STATES, DownloadState.PAUSED}
    return [one for one in downloads if one.state not in left_alone]


def pick(downloads: Sequence[DownloadStatus], text: str) -> DownloadStatus:
    """The one that `text` names.

    One that is under way goes before one that is over; of several of those the last one counts.
    Raises `ClientError`: not found, or several.
    """
    found = _found(downloads, text)
    running = [one for one in found if one.state not in FINAL_STATES]
    if len(running) > 1:
        which = "; ".join(f"{safe(one.id)} into {safe(one.folder)}" for one in running)
        text = f"{safe(text)} fits {len(running)} downloads; ask for one by its id: {which}"
        raise ClientError(text, ExitStatus.AMBIGUOUS)
    if not found:
        raise ClientError(_nothing(downloads, text), ExitStatus.NOT_FOUND)
    return (running or found)[-1]


def _found(downloads: Sequence[DownloadStatus], text: str) -> list[DownloadStatus]:
    """Everything that fits, as closely as anything does."""
    exact = [one for one in downloads if text in (one.id, one.name)]
    if exact:
        return exact
    digits = id_query(text)
    if digits is not None:
        return [one for one in downloads if one.content.startswith(digits)]
    wanted = folded(text)
    return [
        one for one in downloads if wanted in (folded(one.name), folded(split_name(one.name)[0]))
    ]


def _nothing(downloads: Sequence[DownloadStatus], text: str) -> str:
    running = [safe_name(one.name) for one in downloads if one.state not in FINAL_STATES]
    if not running:
        return f"{safe(text)}: no download is under way"
    rest = f" and {len(running) - _MOST_NAMED} more" if len(running) > _MOST_NAMED else ""
    return f"{safe(text)}: no download is called that; under way: " + (
        ", ".join(running[:_MOST_NAMED]) + rest
    )
