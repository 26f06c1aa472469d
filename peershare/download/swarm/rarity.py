"""Rarity: bitmaps of blocks, and how many sessions have each block, counted for all at once.  Pure.

A bitmap is a list of integers, one for every `REGION` blocks, bit `i` of the first being block
`i`.  The counts are kept bit by bit: plane `k` is the bitmap of the blocks whose count has bit
`k` set.  So the rarest of any bitmap are found by one operation a plane, whatever their number,
and a whole session is added or taken away in as many.  Not for: which of them to ask for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from operator import or_
from random import Random
from typing import TypeAlias

from peershare.content.blocks import BlockSet

_SHIFT = 14
REGION = 1 << _SHIFT
_LOW = REGION - 1
_REGION_BYTES = REGION // 8

Bitmap: TypeAlias = list[int]
# Bitmaps again, of the regions only that have anything in them: (region, its bits).
Some: TypeAlias = list[tuple[int, int]]


def empty(total: int) -> Bitmap:
    """No blocks, of so many."""
    return [0] * max(1, -(-total // REGION))


def full(total: int) -> Bitmap:
    """All blocks."""
    return of(BlockSet.full(total))


def of(blocks: BlockSet) -> Bitmap:
    """The bitmap of a set; it does not grow with it."""
    data = blocks.to_bytes()
    return [
        int.from_bytes(data[at : at + _REGION_BYTES], "little")
        for at in range(0, max(1, len(data)), _REGION_BYTES)
    ]


def has(bitmap: Bitmap, block: int) -> bool:
    """Whether a block is in it."""
    return bool(bitmap[block >> _SHIFT] >> (block & _LOW) & 1)


def put(bitmap: Bitmap, block: int) -> None:
    """Add a block."""
    bitmap[block >> _SHIFT] |= 1 << (block & _LOW)


def drop(bitmap: Bitmap, block: int) -> None:
    """Remove a block, if it is in it."""
    region, bit = block >> _SHIFT, 1 << (block & _LOW)
    bitmap[region] &= ~bit


def common(one: Bitmap, other: Bitmap) -> Some:
    """The blocks that are in both."""
    return [(i, both) for i, (a, b) in enumerate(zip(one, other, strict=True)) if (both := a & b)]


def meet(one: Bitmap, other: Bitmap) -> bool:
    """Whether a block is in both."""
    return any(a & b for a, b in zip(one, other, strict=True))


def outside(blocks: Iterable[int], bitmaps: Sequence[Bitmap]) -> list[int]:
    """The blocks that are in none of these bitmaps, in their order."""
    inside: dict[int, int] = {}
    found = []
    for block in blocks:
        region = block >> _SHIFT
        if region not in inside:
            inside[region] = reduce(or_, (bitmap[region] for bitmap in bitmaps), 0)
        if not inside[region] >> (block & _LOW) & 1:
            found.append(block)
    return found


def without(some: Some, blocks: Iterable[int]) -> Some:
    """`some`, but for these blocks."""
    taken: dict[int, int] = {}
    for block in blocks:
        region = block >> _SHIFT
        taken[region] = taken.get(region, 0) | 1 << (block & _LOW)
    if not taken:
        return some
    return [(i, rest) for i, bits in some if (rest := bits & ~taken.get(i, 0))]


def first(some: Some, limit: int, start: int = 0) -> list[int]:
    """The `limit` lowest blocks from `start` on, ascending; then, from 0 on, those before it."""
    at, low = start >> _SHIFT, (1 << (start & _LOW)) - 1
    before = [(i, bits if i < at else bits & low) for i, bits in some if i <= at]
    beyond = [(i, bits if i > at else bits & ~low) for i, bits in some if i >= at]
    found: list[int] = []
    for region, left in (*beyond, *before):
        bits = left
        while bits and len(found) < limit:
            lowest = bits & -bits
            found.append((region << _SHIFT) + lowest.bit_length() - 1)
            bits ^= lowest
    return found


def sample(some: Some, limit: int, random: Random) -> list[int]:
    """`limit` of the blocks (all, if there are fewer) by chance, each as likely as any other."""
    regions = list(some)
    sizes = [bits.bit_count() for _, bits in regions]
    left = sum(sizes)
    found: list[int] = []
    while left and len(found) < limit:
        position, at = random.randrange(left), 0
        while position >= sizes[at]:
            position -= sizes[at]
            at += 1
        region, bits = regions[at]
        index = _select(bits, position)
        regions[at] = (region, bits ^ (1 << index))
        sizes[at] -= 1
        left -= 1
        found.append((region << _SHIFT) + index)
    return found


def _select(bits: int, position: int) -> int:
    """The index of a set bit: the lowest one is at position 0."""
    width, index = bits.bit_length(), 0
    while width > 1:
        half = width >> 1
        lower = bits & ((1 << half) - 1)
        size = lower.bit_count()
        if position < size:
            bits, width = lower, half
        else:
            position -= size
            bits >>= half
            width -= half
            index += half
    return index


class Rarity:
    """How many of the sessions have each block."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._planes: list[Bitmap] = []

    def add(self, have: Bitmap) -> None:
        """Count one more for each of these."""
        for region, bits in enumerate(have):
            self._add(region, bits)

    def add_one(self, block: int) -> None:
        """Count one more for this block."""
        self._add(block >> _SHIFT, 1 << (block & _LOW))

    def remove(self, have: Bitmap) -> None:
        """Count one less for each of these; each must have been counted."""
        for region, bits in enumerate(have):
            self._remove(region, bits)

    def remove_one(self, block: int) -> None:
        """Count one less for this block, which must have been counted."""
        self._remove(block >> _SHIFT, 1 << (block & _LOW))

    def levels(self, some: Some) -> Iterator[Some]:
        """The blocks in groups of equal counts, the rarest group first."""
        left = some
        while left:
            rarest = self._rarest(left)
            yield rarest
            taken = dict(rarest)
            left = [(i, rest) for i, bits in left if (rest := bits & ~taken.get(i, 0))]

    def _rarest(self, some: Some) -> Some:
        for plane in reversed(self._planes):
            lower = [(i, rest) for i, bits in some if (rest := bits ^ (bits & plane[i]))]
            some = lower or some
        return some

    def _add(self, region: int, carry: int) -> None:
        for plane in self._planes:
            if not carry:
                return
            old = plane[region]
            plane[region] = old ^ carry
            carry &= old
        if carry:
            self._planes.append(empty(self._total))
            self._planes[-1][region] = carry

    def _remove(self, region: int, borrow: int) -> None:
        for plane in self._planes:
            if not borrow:
                return
            plane[region] ^= borrow
            borrow &= plane[region]
