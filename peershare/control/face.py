"""NodeFace: what the API needs of a node, and nothing more.

Not for: how a node does it.  The tests put a node of their own behind this face.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from twisted.internet.defer import Deferred

from peershare.status import (
    ContentStatus,
    DownloadStatus,
    Event,
    HistoryEntry,
    NodeStatus,
    PeerStatus,
    ShareStatus,
    VerifyResult,
)


class NodeFace(Protocol):
    """A node, as people see it; every value is a picture of the moment."""

    def node_status(self) -> NodeStatus:
        """The node itself."""

    def contents(self, pattern: str = "") -> tuple[ContentStatus, ...]:
        """What is on the network, and our own files; of names that fit a `*` pattern, if given."""

    def peers(self) -> tuple[PeerStatus, ...]:
        """Who is on the network."""

    def downloads(self) -> tuple[DownloadStatus, ...]:
        """Every download of this run."""

    def history(self, limit: int) -> tuple[HistoryEntry, ...]:
        """The newest `limit` lines of both logs, newest first."""

    def start_download(
        self, name: str, folder: Path | None, *, sequential: bool = False
    ) -> DownloadStatus:
        """Download a content, by name or id, into a folder (None: the share folder).

        Raises `BadNameError`, `AmbiguousNameError`, `AmbiguousContentError`,
        `UnknownContentError`, `StorageError`.
        """

    def stop_download(self, identifier: str, /) -> DownloadStatus:
        """Stop a download; its part is kept.  Raises `UnknownDownloadError`."""

    def share(self, path: Path) -> Deferred[ShareStatus]:
        """Put a file into the share folder.  Fails with `StorageError` or `BadNameError`."""

    def verify(self, name: str | None) -> Deferred[tuple[VerifyResult, ...]]:
        """Hash what is shared anew (None: all of it); what that shows, by name."""

    def observe(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Call this with every event from now on; returns what ends that."""
