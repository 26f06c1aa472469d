"""The bytes of one answer: read from a file that is here, or as they arrive in a download.

Of a download that is under way only blocks are given whose digest was right; what is missing is
waited for.  Where a content lies is looked up again whenever it may have moved (a part becomes a
file), and a file that is not what it was ends the transfer.  Not for: sockets (`connection`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from peershare.content.blocks import MAX_BLOCK_BYTES, block_size
from peershare.content.chunks import ByteRange
from peershare.guest.offers import Offer, Offers
from peershare.library.entries import ContentHandle
from peershare.library.opened import FileChangedError, OpenContents, OpenFile
from peershare.serving.outgoing import Shipment


@dataclass(frozen=True)
class Sources:
    """Where bytes come from; `in_order` asks the download of a content for its blocks in order."""

    reactor: Any
    offers: Offers
    contents: OpenContents
    in_order: Callable[[str], None]


class Giving:
    """One range of one offer, from its first byte to its last; to be closed."""

    def __init__(self, sources: Sources, offer: Offer, what: ByteRange) -> None:
        self._sources = sources
        self._offer = offer
        self._position, self._stop = what
        self._opened: OpenFile | None = None
        self._handle: ContentHandle | None = None
        self._asked = False
        self.left_bytes = 0
        self.waiting_since: float | None = None  # for a block that is not here yet

    @property
    def content(self) -> str:
        """The id of the content, "" for a file that has none."""
        return self._offer.content

    @property
    def name(self) -> str:
        """What the file is called."""
        return self._offer.name

    @property
    def over(self) -> bool:
        """Whether everything was given out."""
        return self._position == self._stop

    def next(self) -> Shipment | None:
        """The next piece; None if there is none, or it is not here yet.

        Raises `OSError`, and `FileChangedError` also for a file that is gone.
        """
        if self.over:
            return None
        if self._offer.file is not None:
            return self._piece(self._plain(self._offer), MAX_BLOCK_BYTES)
        length = block_size(self._offer.size)
        handle = self._holding(self._position // length)
        if handle is None:
            if self.waiting_since is None:
                self.waiting_since = self._sources.reactor.seconds()
            if not self._asked:
                self._asked = True
                self._sources.in_order(self.content)
            return None
        self.waiting_since = None
        return self._piece(self._open(handle), length)

    def close(self) -> None:
        """Hold nothing open; may be called twice."""
        if self._opened is not None:
            self._opened.release()
            self._opened = None

    def _piece(self, opened: OpenFile, length: int) -> Shipment:
        """The rest of the piece of this length that we are in."""
        start = self._position
        stop = self._position = min(self._stop, (start // length + 1) * length)
        opened.check_unchanged()
        return Shipment(
            b"", opened.hold(), ByteRange(start, stop), lambda: self._left(stop - start)
        )

    def _left(self, count: int) -> None:
        self.left_bytes += count

    def _plain(self, offer: Offer) -> OpenFile:
        """A file without an id, open."""
        if self._opened is None and offer.file is not None:
            self._opened = OpenFile(offer.file.path, offer.file.identity, offer.size)
        if self._opened is None:
            raise FileChangedError("the file is gone")
        return self._opened

    def _holding(self, block: int) -> ContentHandle | None:
        """Where this block lies; None if it is not here yet.  Raises `FileChangedError`."""
        handle = self._handle
        if handle is None or (handle.held is not None and block not in handle.held):
            handle = self._handle = self._sources.offers.handle(self._offer)
        if handle is None:
            raise FileChangedError("the file is gone, or changed")
        return handle if handle.held is None or block in handle.held else None

    def _open(self, handle: ContentHandle) -> OpenFile:
        """A content, open: what is open already serves for as long as it is the same."""
        try:
            opened = self._sources.contents.hold(handle)
        except (FileChangedError, OSError):
            # a part that became a file has another path now
            found = self._sources.offers.handle(self._offer)
            if found is None or found.path == handle.path:
                raise
            self._handle = found
            opened = self._sources.contents.hold(found)
        self.close()
        self._opened = opened
        return opened
