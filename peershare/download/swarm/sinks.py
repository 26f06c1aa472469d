"""Sinks: what takes the bytes of one block as they come, to the disk or into memory.

Not for: whether they are right (`part`), or memory that is used again (`buffers`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from peershare.library.parts import PipedBytes


class BlockSink:
    """Takes the bytes of one block, in order, until it is told to drop them."""

    piped = True

    def __init__(
        self, put: Callable[[Any, int], None], offset: int, came: Callable[[int], None]
    ) -> None:
        """`put(data, offset)` is where they go; `came` is told how many came, as they come."""
        self._put: Callable[[Any, int], None] | None = put
        self._offset = offset
        self._came = came
        self.received = 0

    @property
    def dropped(self) -> bool:
        """Whether somebody else's bytes are taken in place of these."""
        return self._put is None

    def write(self, data: memoryview | PipedBytes) -> None:
        """Take the next bytes.  Raises `StorageError`."""
        self.received += len(data)
        if self._put is not None:
            self._put(data, self._offset)
            self._offset += len(data)
        elif isinstance(data, PipedBytes):
            os.read(data.descriptor, len(data))  # a pipe has to be emptied
        self._came(len(data))

    def drop(self) -> None:
        """Whatever still comes is for nobody."""
        self._put = None


class BytesSink:
    """Takes the bytes of one block into memory."""

    piped = False

    def __init__(self, length: int) -> None:
        self.data = bytearray(length)
        self.received = 0

    def write(self, data: memoryview | PipedBytes) -> None:
        """Take the next bytes."""
        if not isinstance(data, PipedBytes):
            self.data[self.received : self.received + len(data)] = data
        self.received += len(data)
