"""A chunk that is open for being served: one descriptor, checked before and after.

The file may shrink, grow, change or go while it is served (hostile world, 14): what is served
is what was opened, and it is said if that is no longer what was announced.
Not for: sending.
"""

from __future__ import annotations

import os

from peershare.content.chunks import ByteRange
from peershare.library.entries import ChunkHandle
from peershare.library.files import Identity, open_regular


class FileChangedError(Exception):
    """The file is not what was announced."""


class OpenChunk:
    """Open from its making until `close`."""

    def __init__(self, handle: ChunkHandle) -> None:
        """Raises `OSError`, `FileChangedError`."""
        self.range = handle.range
        self._identity = handle.identity
        self.descriptor = open_regular(handle.path)
        try:
            self.check_unchanged()
        except FileChangedError:
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
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
