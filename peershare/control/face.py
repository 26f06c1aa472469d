"""NodeFace: what the API needs of a node, and nothing more.

Not for: how a node does it.  The tests put a node of their own behind this face.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from twisted.internet.defer import Deferred

from peershare.guest.status import GuestStatus, GuestUpload
from peershare.status import (
    BlockMap,
    Counters,
    DownloadStatus,
    Event,
    HistoryEntry,
    Limits,
    Listing,
    NodeStatus,
    PeerStatus,
    ShareMode,
    ShareStatus,
    VerifyResult,
)


class ShareWriter(Protocol):
    """A file that is being given to the node, on its way into the share folder."""

    def write(self, data: bytes, /) -> None:
        """Worker: take the next bytes.  Raises `StorageError`: then nothing is kept."""

    def finish(self) -> Deferred[ShareStatus]:
        """All bytes came: give it its name, which overwrites nothing.

        Fires once it is announced, or it is clear why not.  Fails with `StorageError`, also if
        there were fewer or more bytes than was said.
        """

    def abort(self) -> None:
        """It will not be finished: keep nothing.  May be called at any time, also twice."""


class GuestFace(Protocol):
    """The page for browsers of the network, and what they sent."""

    def status(self) -> GuestStatus:
        """How it is."""

    def accept(self, identifier: str, /) -> Deferred[GuestUpload]:
        """Take an upload into the inbox folder.

        Raises `UnknownUploadError`; fails with `StorageError`: then it still waits.
        """

    def refuse(self, identifier: str, /) -> GuestUpload:
        """Remove an upload.  Raises `UnknownUploadError`."""


class NodeFace(Protocol):
    """A node, as people see it; every value is a picture of the moment."""

    @property
    def guest(self) -> GuestFace:
        """What guests get and give."""

    def node_status(self) -> NodeStatus:
        """The node itself."""

    def contents(self, pattern: str = "") -> Deferred[Listing]:
        """What is on the network, and our own files; of names that fit a `*` pattern, if given."""

    def peers(self) -> tuple[PeerStatus, ...]:
        """Who is on the network."""

    def downloads(self) -> tuple[DownloadStatus, ...]:
        """Every download of this run."""

    def download(self, identifier: str, /) -> DownloadStatus:
        """One of them.  Raises `UnknownDownloadError`."""

    def download_ids(self) -> tuple[str, ...]:
        """The ids of all of them, of those that are over last."""

    def block_map(self, identifier: str, /) -> BlockMap:
        """Which blocks of a download are here, and from whom.  Raises `UnknownDownloadError`."""

    def history(
        self, limit: int, since: float | None = None, direction: str = ""
    ) -> Deferred[tuple[HistoryEntry, ...]]:
        """Fires with the newest `limit` lines of the logs, newest first.

        `since` (Unix time) leaves out what is older; `direction` is "download", "upload" or "".
        """

    def counters(self) -> Counters:
        """What has been counted since the start."""

    def limits(self) -> Limits:
        """How fast it may go."""

    def set_limits(self, limits: Limits, /) -> Limits:
        """Go that fast from now on, until the end of this run.

        Raises ValueError unless each is None, or finite and at least 1.
        """

    def start_download(
        self,
        name: str,
        folder: Path | None,
        *,
        sequential: bool = False,
        source: str = "",
        classic: bool = False,
    ) -> DownloadStatus:
        """Download a content, by name or id, into a folder (None: the share folder).

        `source`: what this address has is meant; `classic`: what has no id.  Raises `BadNameError`,
        `AmbiguousContentError`, `UnknownContentError`, `StorageError`.
        """

    def stop_download(self, identifier: str, /) -> DownloadStatus:
        """Stop a download; its part is kept.  Raises `UnknownDownloadError`."""

    def pause_download(self, identifier: str, /) -> DownloadStatus:
        """Take no more bytes until it is resumed, over restarts; what is here is still served.

        Nothing happens to one that is over.  Raises `UnknownDownloadError`, `StorageError`.
        """

    def resume_download(self, identifier: str, /) -> DownloadStatus:
        """Go on with a download that was paused, or stopped.

        Nothing happens to any other.  Raises `UnknownDownloadError`, `StorageError`.
        """

    def recorded(self) -> Deferred[None]:
        """Fires when everything that was decided so far is remembered for good.

        Where that cannot be, it is shown in the problems, and waited for but a while.
        """

    def share(self, path: Path, how: ShareMode = ShareMode.AUTO) -> Deferred[ShareStatus]:
        """Put a regular file into the share folder; a symbolic link is not followed.

        Fails with `StorageError` or `BadNameError`.
        """

    def receive_share(self, name: str, size: int | None = None) -> ShareWriter:
        """Take a file whose bytes follow into the share folder, as `name` or `name (2)`.

        `size` in bytes, where it is known: then there has to be room for it.  Raises
        `BadNameError`, `StorageError`.
        """

    def verify(self, name: str | None) -> Deferred[tuple[VerifyResult, ...]]:
        """Hash what is shared anew (None: all of it); what that shows, by name."""

    def observe(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Call this with every event from now on; returns what ends that."""
