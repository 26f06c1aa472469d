"""What is open for being served: one descriptor, checked before and after.

The file may shrink, grow, change or go while it is served (hostile world, 14): what is served
is what was opened, and it is said if that is no longer what was announced.  An `OpenChunk` is one
request's own; an `OpenFile` is open as long as anybody holds it, and an `OpenContent` belongs to
all who send blocks of it at the moment.  Not for: sending.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Self
from weakref import WeakValueDictionary

from peershare.content.blocks import block_range
from peershare.content.chunks import ByteRange
from peershare.library.entries import ChunkHandle, ContentHandle
from peershare.library.files import Identity, open_regular

_READ_BYTES = 1 << 20
_AHEAD_BYTES = 16 << 20


class FileChangedError(Exception):
    """The file is not what was announced."""


class _Opened:
    """Open from its making until `close`."""

    def __init__(self, path: Path, identity: Identity | None) -> None:
        """Raises `OSError`, `FileChangedError`."""
        self._identity = identity
        self.descriptor = open_regular(path)
        try:
            self.check_unchanged()
        except BaseException:
            self.close()
            raise

    def read(self, some: ByteRange) -> bytes:
        """Some of its bytes, as they were announced.  Raises `OSError`, `FileChangedError`."""
        data = os.pread(self.descriptor, some.length, some.start)
        self.check_unchanged()
        if len(data) < some.length:
            raise FileChangedError("the file is shorter than it was")
        return data

    def check_unchanged(self) -> None:
        """Raise `FileChangedError` if the file is not what was announced any more."""
        if self._identity not in (None, Identity.of(os.fstat(self.descriptor))):
            raise FileChangedError("the file is not what was announced any more")

    def close(self) -> None:
        """Close it; may be called twice."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class OpenChunk(_Opened):
    """A classic chunk, open from its making until `close`."""

    def __init__(self, handle: ChunkHandle) -> None:
        """Raises `OSError`, `FileChangedError`."""
        super().__init__(handle.path, handle.identity)
        self.range = handle.range


class OpenFile(_Opened):
    """A whole file or a part, open as long as anybody holds it."""

    def __init__(self, path: Path, identity: Identity | None, size: int) -> None:
        """`size` in bytes, of a part the final one.  Raises `OSError`, `FileChangedError`."""
        super().__init__(path, identity)
        self._size = size
        self._holders = 1
        self._advised: set[int] = set()

    def cached(self, some: ByteRange) -> bool | None:
        """Whether these bytes seem to be in memory; None where the system does not say."""
        if not hasattr(os, "RWF_NOWAIT"):
            return None
        for offset in (some.start, some.start + some.length // 2, some.stop - 1):
            try:
                os.preadv(self.descriptor, [bytearray(1)], offset, os.RWF_NOWAIT)
            except BlockingIOError:
                return False
            except OSError:
                return None
        return True

    def read_through(self, some: ByteRange) -> None:
        """Worker: read these bytes, so that they are in memory.  Raises `OSError`."""
        piece = bytearray(min(_READ_BYTES, some.length))
        for offset in range(some.start, some.stop, len(piece)):
            os.preadv(self.descriptor, [piece], offset)

    def ahead(self, offset: int) -> Iterator[ByteRange]:
        """What had better be in memory soon if this offset is sent now; each range once."""
        here = offset // _AHEAD_BYTES
        for window in (here, here + 1):
            if window not in self._advised and window * _AHEAD_BYTES < self._size:
                self._advised.add(window)
                yield ByteRange(window * _AHEAD_BYTES, (window + 1) * _AHEAD_BYTES)

    def will_need(self, some: ByteRange) -> None:
        """Worker: ask the system to read these bytes.  Raises `OSError`."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self.descriptor, some.start, some.length, os.POSIX_FADV_WILLNEED)

    def hold(self) -> Self:
        """One holder more; each calls `release` once."""
        self._holders += 1
        return self

    def release(self) -> None:
        """One holder less; the last one closes it."""
        self._holders -= 1
        if not self._holders:
            self.close()


class OpenContent(OpenFile):
    """A content of the library."""

    def __init__(self, handle: ContentHandle) -> None:
        """Raises `OSError`, `FileChangedError`."""
        super().__init__(handle.path, handle.identity, handle.manifest.size)
        self.handle = handle

    def range_of(self, block: int) -> ByteRange:
        """Where a block lies."""
        return block_range(block, self.handle.manifest.size)


class OpenContents:
    """The contents that are open, at most one descriptor for each state of a file."""

    def __init__(self) -> None:
        self._open: WeakValueDictionary[str, OpenContent] = WeakValueDictionary()

    def hold(self, handle: ContentHandle) -> OpenContent:
        """The content of this handle, open; to be released.  Raises as `OpenContent` does.

        One that is open already is given only if it is the same file, in the same state.
        """
        return self.held(handle) or self.take(OpenContent(handle))

    def held(self, handle: ContentHandle) -> OpenContent | None:
        """The content of this handle, to be released, if it is open already in that state."""
        opened = self._open.get(handle.id)
        if opened is not None and opened.descriptor >= 0:
            known = opened.handle
            if (known.path, known.identity) == (handle.path, handle.identity):
                return opened.hold()
        return None

    def take(self, fresh: OpenContent) -> OpenContent:
        """A content that was opened elsewhere; or what has been opened in its place meanwhile."""
        opened = self.held(fresh.handle)
        if opened is not None:
            fresh.release()
            return opened
        self._open[fresh.handle.id] = fresh
        return fresh
