"""What all downloads of a node share, and what they have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from peershare.content.chunks import CHUNK_COUNT
from peershare.dictionary import ContentDictionary, Found
from peershare.download.dialling import Dialler
from peershare.errors import AmbiguousNameError
from peershare.ledger import Ledger
from peershare.status import BlockMap, ChunkStatus, DownloadState, NoticeKind

_NOBODY = Found(extension="", sources=((),) * CHUNK_COUNT)


@dataclass(frozen=True)
class Progress:
    """How far a download is; `size` is None, or an upper bound, while it is not known."""

    chunks: tuple[ChunkStatus, ...]
    received: int
    size: int | None
    givers: tuple[str, ...]  # the addresses that give right now
    block_size: int = 0  # 0 where there are no blocks, or their size is not known


class Download(Protocol):
    """One download, verified or classic, from the wish to the final file."""

    id: str
    name: str
    content: str  # the content id, "" for a classic download
    state: DownloadState
    problem: str
    path: str
    given: dict[str, int]
    started_at: float
    progress_at: float
    finished_at: float | None
    ended: Deferred[None]  # fires when nothing of it is under way

    @property
    def decided(self) -> bool:
        """Whether it is known which content it is, or that is not asked any more."""

    def begin(self) -> None:
        """Start, or go on with what a former run left."""

    def pause(self) -> None:
        """Take no bytes; instead of `begin`: offer what a former run left, and do no more."""

    def resume(self) -> None:
        """Go on after `pause`."""

    def stop(self) -> None:
        """End; the part is kept for next time."""

    def network_changed(self) -> None:
        """Somebody told something new: go on if it is of use."""

    def met(self, address: str, port: int) -> None:
        """This peer fetches the same content, and takes sessions at this port (0: nowhere)."""

    def progress(self) -> Progress:
        """How far it is."""

    def blocks(self) -> BlockMap:
        """Which blocks are here, and from whom."""

    def problems(self) -> dict[str, str]:
        """Why each address that failed lately did."""


@dataclass(frozen=True)
class DownloadContext:
    """The reactor, who is out there, how to reach them, and whom to tell."""

    reactor: Any
    dictionary: ContentDictionary
    dialler: Dialler
    ledger: Ledger
    tell: Callable[[Download, NoticeKind, str, str, str], None]  # chunk, peer, text
    changed: Callable[[Download], None]
    received: Callable[[Download, str, int], None]  # address, bytes

    def find(self, name: str) -> tuple[Found, str]:
        """Who has what of a content; a name that is ambiguous finds nobody, and says why."""
        try:
            return self.dictionary.lookup(name, self.reactor.seconds()), ""
        except AmbiguousNameError as ambiguous:
            return _NOBODY, str(ambiguous)
