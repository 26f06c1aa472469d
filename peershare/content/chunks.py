"""The five chunks of a file: pure arithmetic on byte ranges.

Not for: names of chunks (`content.names`), nor for their bytes.  All sizes and offsets are
bytes.  Chunk numbers are 1 to 5 here, whatever a peer calls them.
"""

from __future__ import annotations

from typing import NamedTuple

CHUNK_COUNT = 5


class ByteRange(NamedTuple):
    """The bytes from `start` up to, not including, `stop`."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        """How many bytes it spans."""
        return self.stop - self.start


def chunk_size(size: int) -> int:
    """The size of the chunks 1 to 4 of a file: a fifth, rounded up (classic requirement 2.1.0-A).

    Integer arithmetic throughout, so it is exact beyond 2**53 too.  Raises ValueError for a
    negative size.
    """
    if size < 0:
        raise ValueError(f"a size cannot be negative: {size}")
    return -(-size // CHUNK_COUNT)


def has_five_chunks(size: int) -> bool:
    """Whether all five chunks have bytes; if not, the classic world cannot move the file.

    False for the sizes 0-4, 6-8, 11, 12 and 16 only.
    """
    return size > 0 and (CHUNK_COUNT - 1) * chunk_size(size) < size


def chunk_ranges(size: int) -> tuple[ByteRange, ...]:
    """The byte ranges of chunk 1 to 5, in order, together the whole file.

    Raises ValueError for a size that does not give five chunks.
    """
    if not has_five_chunks(size):
        raise ValueError(f"{size} bytes do not divide into {CHUNK_COUNT} chunks")
    c = chunk_size(size)
    starts = range(0, CHUNK_COUNT * c, c)
    return tuple(ByteRange(start, min(start + c, size)) for start in starts)


def chunk_fits(number: int, length: int, c: int) -> bool:
    """Whether a chunk of `length` bytes can be chunk `number` of a file whose chunk size is `c`.

    Chunks 1-4 are exactly c long, chunk 5 between max(1, c - 4) and c.  That is all that can
    be checked of a classic chunk.
    """
    if c < 1:
        return False
    if 1 <= number < CHUNK_COUNT:
        return length == c
    return number == CHUNK_COUNT and max(1, c - CHUNK_COUNT + 1) <= length <= c


def chunk_offset(number: int, c: int) -> int:
    """Where chunk `number` (1 to 5) begins in a file whose chunk size is `c`.

    Raises ValueError for another number.
    """
    if not 1 <= number <= CHUNK_COUNT:
        raise ValueError(f"there is no chunk {number}")
    return (number - 1) * c
