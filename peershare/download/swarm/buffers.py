"""Memory for blocks on their way: received into, checked in, and only then written to the disk.

What is wrong never reaches the disk, and the reactor waits for no disk.  The memory is used again
and again, and is bounded for the whole node; a block for which there is none goes to its place in
the file at once, and is checked there.  Not for: which block it is.
"""

from __future__ import annotations

from collections.abc import Callable

from peershare.library.parts import PipedBytes

# For all downloads of a node together.
MEMORY_BYTES = 32 << 20


class Memory:
    """How many bytes blocks may still take in this node."""

    def __init__(self, count: int = MEMORY_BYTES) -> None:
        self.left = count

    def take(self, count: int) -> bool:
        """Whether there is so much; then it is taken."""
        if count > self.left:
            return False
        self.left -= count
        return True

    def give(self, count: int) -> None:
        """It is free again."""
        self.left += count


class BlockBuffer:
    """The memory of one block; a `faces.BlockSink` that can also be received into.

    Once it is dropped it takes nothing more: its memory may belong to another block by then.
    """

    piped = False

    def __init__(self, memory: bytearray, length: int, came: Callable[[int], None]) -> None:
        """`came` is told how many bytes came, as they come."""
        self._memory: bytearray | None = memory
        self._length = length
        self._came = came
        self.received = 0

    @property
    def data(self) -> memoryview:
        """The bytes of the block; empty once it is dropped."""
        return memoryview(self._memory or b"")[: self._length]

    def space(self) -> memoryview:
        """Where the next bytes belong; empty if nothing more is taken."""
        return self.data[self.received :]

    def filled(self, count: int) -> None:
        """So many bytes were received into `space`."""
        self.received += count
        self._came(count)

    def write(self, data: memoryview | PipedBytes) -> None:
        """Take the next bytes."""
        if self._memory is not None and not isinstance(data, PipedBytes):
            self.space()[: len(data)] = data
        self.filled(len(data))

    def drop(self) -> bytearray | None:
        """Take nothing more; its memory, None if it was dropped before."""
        memory, self._memory = self._memory, None
        return memory


class Buffers:
    """The buffers of one download, each large enough for a block."""

    def __init__(self, memory: Memory, block_size: int) -> None:
        self._memory = memory
        self._block_size = block_size
        self._free: list[bytearray] = []
        self._spare = 0  # so many were free all the time since `trim` was called last
        self._ended = False

    def take(self, length: int, came: Callable[[int], None]) -> BlockBuffer | None:
        """A buffer for a block of this length; None if there is no memory for it."""
        if self._free:
            memory = self._free.pop()
            self._spare = min(self._spare, len(self._free))
        elif not self._ended and self._memory.take(self._block_size):
            memory = bytearray(self._block_size)
        else:
            return None
        return BlockBuffer(memory, length, came)

    def give(self, buffer: BlockBuffer) -> None:
        """It is not needed any more, and nobody uses its data; may be called twice."""
        memory = buffer.drop()
        if memory is None:
            return
        if self._ended:
            self._memory.give(self._block_size)
        else:
            self._free.append(memory)

    def trim(self) -> None:
        """Give back what was not needed since this was called last: others may need it."""
        self._memory.give(self._block_size * self._spare)
        del self._free[: self._spare]
        self._spare = len(self._free)

    def end(self) -> None:
        """Give all memory back: what is free now, the rest when it is given."""
        self._ended = True
        self._memory.give(self._block_size * len(self._free))
        self._free.clear()
        self._spare = 0
