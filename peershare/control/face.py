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
)


class NodeFace(Protocol):
    """A node, as people see it; every value is a picture of the moment."""

    def node_status(self) -> NodeStatus:
        """The node itself."""

    def contents(self) -> tuple[ContentStatus, ...]:
        """What is on the network, and our own files."""

    def peers(self) -> tuple[PeerStatus, ...]:
        """Who is on the network."""

    def downloads(self) -> tuple[DownloadStatus, ...]:
        """Every download of this run."""

    def history(self, limit: int) -> tuple[HistoryEntry, ...]:
        """The newest `limit` lines of both logs, newest first."""

    def start_download(self, name: str, folder: Path | None) -> DownloadStatus:
        """Download a content into a folder (None: the share folder).

        Raises `BadNameError`, `AmbiguousNameError`, `StorageError`.
        """

    def stop_download(self, identifier: str, /) -> DownloadStatus:
        """Stop a download; its part is kept.  Raises `UnknownDownloadError`."""

    def share(self, path: Path) -> Deferred[ShareStatus]:
        """Put a file into the share folder.  Fails with `StorageError` or `BadNameError`."""

    def observe(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Call this with every event from now on; returns what ends that."""
