"""Blocks: the unit of transfer and of checking.  Pure arithmetic, and sets of blocks.

Not for: digests (`content.manifest`), nor for bytes.  Sizes and offsets are bytes; blocks are
numbered from 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from peershare.content.chunks import ByteRange

MIN_BLOCK_BYTES = 1 << 16
MAX_BLOCK_BYTES = 1 << 22
# As long as blocks can grow, a content has no more of them than this.
MANY_BLOCKS = 1_024
MAX_CONTENT_BYTES = 1 << 42


def block_size(size: int) -> int:
    """The block size of a content: the smallest power of two that gives at most 1,024 blocks.

    From 64 KiB up to 4 MiB.  Raises ValueError for a negative size and for one over 4 TiB.
    """
    if not 0 <= size <= MAX_CONTENT_BYTES:
        raise ValueError(f"a content has from 0 to {MAX_CONTENT_BYTES} bytes, not {size}")
    length = MIN_BLOCK_BYTES
    while length < MAX_BLOCK_BYTES and length * MANY_BLOCKS < size:
        length *= 2
    return length


def block_count(size: int) -> int:
    """How many blocks a content has; an empty one has none.  Raises ValueError as `block_size`."""
    return -(-size // block_size(size))


def block_range(index: int, size: int) -> ByteRange:
    """The bytes of one block.  Raises ValueError if the content has no such block."""
    length = block_size(size)
    if not 0 <= index * length < size:
        raise ValueError(f"a content of {size} bytes has no block {index}")
    return ByteRange(index * length, min((index + 1) * length, size))


def runs(blocks: Iterable[int]) -> list[tuple[int, int]]:
    """Blocks as (first, count) pairs, ascending, as few as can be."""
    found: list[tuple[int, int]] = []
    for index in sorted(set(blocks)):
        if found and sum(found[-1]) == index:
            found[-1] = (found[-1][0], found[-1][1] + 1)
        else:
            found.append((index, 1))
    return found


def unrolled(pairs: Iterable[tuple[int, int]]) -> Iterator[int]:
    """The blocks that (first, count) pairs stand for."""
    for first, count in pairs:
        yield from range(first, first + count)


# The bits that are set in each byte, ascending.
_BITS = tuple(tuple(bit for bit in range(8) if byte >> bit & 1) for byte in range(256))


def _set_bits(bits: bytearray, mask: int) -> Iterator[int]:
    """Where `bits` differs from a mask that is the same for all bytes, ascending."""
    for offset, byte in enumerate(bits):
        if byte != mask:
            for bit in _BITS[byte ^ mask]:
                yield offset * 8 + bit


class BlockSet:
    """Some of the blocks of one content: a bitmap, which others can hold on to while it grows."""

    __slots__ = ("_bits", "_count", "total")

    def __init__(self, total: int, blocks: Iterable[int] = ()) -> None:
        """`total` is how many blocks the content has."""
        self.total = total
        self._bits = bytearray(-(-total // 8))
        self._count = 0
        for index in blocks:
            self.add(index)

    @classmethod
    def full(cls, total: int) -> BlockSet:
        """All blocks."""
        return cls.from_bytes(total, b"\xff" * -(-total // 8))

    @classmethod
    def from_bytes(cls, total: int, bits: bytes) -> BlockSet:
        """From `to_bytes`; what stands for no block is ignored.  Raises ValueError if too short."""
        wanted = -(-total // 8)
        if len(bits) < wanted:
            raise ValueError(f"{total} blocks need {wanted} bytes, not {len(bits)}")
        made = cls(total)
        made._bits[:] = bits[:wanted]
        if total % 8:
            made._bits[-1] &= (1 << total % 8) - 1
        made._count = int.from_bytes(made._bits, "little").bit_count()
        return made

    def to_bytes(self) -> bytes:
        """One bit a block, block 0 the lowest bit of the first byte."""
        return bytes(self._bits)

    def add(self, index: int) -> bool:
        """Add a block; False if it was in it.  Raises IndexError if there is no such block."""
        if not 0 <= index < self.total:
            raise IndexError(f"there are {self.total} blocks, and no block {index}")
        bit = 1 << (index & 7)
        if self._bits[index >> 3] & bit:
            return False
        self._bits[index >> 3] |= bit
        self._count += 1
        return True

    def discard(self, index: int) -> bool:
        """Remove a block; False if it was not in it."""
        if index not in self:
            return False
        self._bits[index >> 3] &= ~(1 << (index & 7))
        self._count -= 1
        return True

    @property
    def complete(self) -> bool:
        """Whether no block is missing."""
        return self._count == self.total

    def missing(self) -> Iterator[int]:
        """The blocks that are not in it, ascending."""
        return (index for index in _set_bits(self._bits, 0xFF) if index < self.total)

    def copy(self) -> BlockSet:
        """A set of its own with the same blocks."""
        return BlockSet.from_bytes(self.total, bytes(self._bits))

    def covers(self, blocks: Iterable[int]) -> bool:
        """Whether all of these are in it."""
        return all(index in self for index in blocks)

    def __contains__(self, index: int) -> bool:
        return 0 <= index < self.total and bool(self._bits[index >> 3] >> (index & 7) & 1)

    def __iter__(self) -> Iterator[int]:
        return _set_bits(self._bits, 0)

    def __len__(self) -> int:
        return self._count

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BlockSet):
            return NotImplemented
        return self.total == other.total and self._bits == other._bits

    __hash__ = None  # type: ignore[assignment]
