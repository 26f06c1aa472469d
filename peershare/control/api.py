"""The handlers of the API: what each route asks the node, and with what.

Not for: which handler is for what (`routes`), HTTP itself (`resource`), who may ask (`guard`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Generic, TypeVar

from msgspec.structs import replace
from twisted.internet.defer import Deferred

from peershare.content.names import display
from peershare.control.face import NodeFace
from peershare.control.messages import (
    ContentsQuery,
    DownloadsQuery,
    HistoryQuery,
    NoQuery,
    Nothing,
    ProblemError,
    SetLimits,
    ShareFile,
    StartDownload,
    VerifyShares,
    problem,
    problem_of,
)
from peershare.control.paths import path_of
from peershare.errors import LocalError
from peershare.guest.status import GuestStatus, GuestUpload
from peershare.status import (
    BlockMap,
    DownloadStatus,
    HistoryEntry,
    Limits,
    Listing,
    NodeStatus,
    PeerStatus,
    ShareStatus,
    VerifyResult,
)

# Unix seconds; no year that `datetime` knows has more digits.
_SECONDS = re.compile(r"[0-9]{1,11}(?:\.[0-9]{1,9})?", re.ASCII)

Q = TypeVar("Q")
B = TypeVar("B")


@dataclass(frozen=True)
class Call(Generic[Q, B]):
    """One request that may be answered.

    `item` is what stands for the variable part of the path; `query` and `body` are values of
    the Structs that the route names.
    """

    query: Q
    body: B
    item: str = ""


Plain = Call[NoQuery, None]
Change = Call[NoQuery, Nothing]


class Api:
    """Answers calls out of a node, with a value of what the route says its answer is."""

    def __init__(self, node: NodeFace) -> None:
        self._node = node

    def node(self, call: Plain) -> NodeStatus:
        """The node itself."""
        return self._node.node_status()

    def contents(self, call: Call[ContentsQuery, None]) -> Deferred[Listing]:
        """What is on the network."""
        query = call.query

        def window(found: Listing) -> Listing:
            rows = found.contents
            return replace(found, contents=rows[query.offset : query.offset + query.limit])

        return self._node.contents(query.match).addCallback(window)

    def peers(self, call: Plain) -> tuple[PeerStatus, ...]:
        """Who is on the network."""
        return self._node.peers()

    def downloads(self, call: Call[DownloadsQuery, None]) -> tuple[DownloadStatus, ...]:
        """The downloads of this run."""
        query = call.query
        return self._node.downloads()[query.offset : query.offset + query.limit]

    def download(self, call: Plain) -> DownloadStatus:
        """One download."""
        return self._node.download(call.item)

    def block_map(self, call: Plain) -> BlockMap:
        """Which blocks of a download are here."""
        return self._node.block_map(call.item)

    def start(self, call: Call[NoQuery, StartDownload]) -> DownloadStatus:
        """Begin a download, or take the one that runs."""
        wish = call.body
        folder = None if wish.folder is None else _absolute(wish.folder)
        return self._node.start_download(
            wish.name,
            folder,
            sequential=wish.sequential,
            source=wish.source,
            classic=wish.classic,
        )

    def pause(self, call: Change) -> Deferred[DownloadStatus]:
        """Let a download rest."""
        return self._recorded(self._node.pause_download(call.item))

    def resume(self, call: Change) -> Deferred[DownloadStatus]:
        """Go on with a download."""
        return self._recorded(self._node.resume_download(call.item))

    def cancel(self, call: Plain | Change) -> Deferred[DownloadStatus]:
        """End a download; its part is kept."""
        return self._recorded(self._node.stop_download(call.item))

    def _recorded(self, status: DownloadStatus) -> Deferred[DownloadStatus]:
        """The same, once what the user decided is remembered over a power cut.

        A start is answered at once: whoever has it repeated to the next service loses nothing.
        """
        return self._node.recorded().addCallback(lambda _: status)

    def share(self, call: Call[NoQuery, ShareFile]) -> Deferred[ShareStatus]:
        """Put a file into the share folder."""
        return self._node.share(_absolute(call.body.path), call.body.how)

    def verify(self, call: Call[NoQuery, VerifyShares]) -> Deferred[tuple[VerifyResult, ...]]:
        """Hash what is shared anew."""
        return self._node.verify(call.body.name)

    def history(self, call: Call[HistoryQuery, None]) -> Deferred[tuple[HistoryEntry, ...]]:
        """The newest lines of the logs."""
        query = call.query
        return self._node.history(query.limit, _moment(query.since), query.direction)

    def limits(self, call: Plain) -> Limits:
        """How fast it may go."""
        return self._node.limits()

    def set_limits(self, call: Call[NoQuery, SetLimits]) -> Limits:
        """Go so fast from now on."""
        return self._node.set_limits(Limits(upload=call.body.upload, download=call.body.download))

    def guest(self, call: Plain) -> GuestStatus:
        """The guest page, and what guests sent."""
        return self._node.guest.status()

    def accept_upload(self, call: Change) -> Deferred[GuestUpload]:
        """Take what a guest sent."""
        return self._node.guest.accept(call.item)

    def refuse_upload(self, call: Change) -> GuestUpload:
        """Remove what a guest sent."""
        return self._node.guest.refuse(call.item)


def local_problem(error: BaseException) -> ProblemError | None:
    """The answer for what a handler raised; None if it is none of ours: a bug."""
    if isinstance(error, ProblemError):
        return error
    return problem_of(error) if isinstance(error, LocalError) else None


def _absolute(value: str) -> Path:
    """A path from a body: absolute, and one that the system can take at all.

    A `file` URI is one too: JSON has no way to write a path that is no UTF-8.
    """
    try:
        path = path_of(value)
    except ValueError:
        path = Path()
    if "\0" in value or not path.is_absolute():
        raise problem(400, "bad-path", f"an absolute path is needed, not {display(value)!r}")
    return path


def _moment(value: str) -> float | None:
    """Unix time of a moment given as Unix seconds or ISO 8601; None for no moment."""
    if not value:
        return None
    if _SECONDS.fullmatch(value):
        return float(value)
    # a "+" that was not escaped in an address arrives as a blank
    text = value.replace(" ", "+") if "T" in value else value
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        told = f"since is a time such as 2026-11-22T07:43:17+01:00, not {display(value)!r}"
        raise problem(400, "bad-query", told) from None
