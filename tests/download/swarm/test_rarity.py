"""Rarity: bitmaps of blocks, and the counts that say which are the rarest."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from peershare.content.blocks import BlockSet
from peershare.download.swarm import rarity
from peershare.download.swarm.rarity import REGION, Bitmap, Rarity, Some

TOTAL = 2 * REGION + 100
# Few enough to meet each other often, on both sides of each border between regions.
BLOCKS = (0, 1, 2, 7, REGION - 1, REGION, REGION + 1, 2 * REGION - 1, 2 * REGION, TOTAL - 1)
some_blocks = st.sets(st.sampled_from(BLOCKS))


def bitmap(blocks: set[int], total: int = TOTAL) -> Bitmap:
    return rarity.of(BlockSet(total, blocks))


def some(blocks: set[int]) -> Some:
    return rarity.common(bitmap(blocks), rarity.full(TOTAL))


def members(found: Some) -> set[int]:
    return set(rarity.first(found, TOTAL))


class BitmapTests(SynchronousTestCase):
    @given(some_blocks, some_blocks)
    def test_like_sets(self, one: set[int], other: set[int]) -> None:
        """What is in both, what is left without some, and whether anything is."""
        self.assertEqual(members(rarity.common(bitmap(one), bitmap(other))), one & other)
        self.assertEqual(members(rarity.without(some(one), other)), one - other)
        self.assertIs(rarity.meet(bitmap(one), bitmap(other)), bool(one & other))

    @given(st.permutations(BLOCKS), st.lists(some_blocks, max_size=3))
    def test_outside(self, blocks: list[int], bitmaps: list[set[int]]) -> None:
        """What is in none of them, in the order given."""
        inside = set().union(*bitmaps)
        found = rarity.outside(blocks, [bitmap(each) for each in bitmaps])
        self.assertEqual(found, [block for block in blocks if block not in inside])

    def test_one_at_a_time(self) -> None:
        """Blocks are put in and dropped; dropping what is not there does nothing."""
        blocks = rarity.empty(TOTAL)
        for block in BLOCKS:
            self.assertFalse(rarity.has(blocks, block))
            rarity.put(blocks, block)
            self.assertTrue(rarity.has(blocks, block))
        self.assertEqual(blocks, bitmap(set(BLOCKS)))
        for block in (*BLOCKS, *BLOCKS):
            rarity.drop(blocks, block)
        self.assertEqual(blocks, rarity.empty(TOTAL))

    @given(some_blocks, st.integers(0, TOTAL), st.integers(0, 12))
    def test_first(self, blocks: set[int], start: int, limit: int) -> None:
        """The lowest from a place on, then those before it."""
        wanted = sorted(blocks, key=lambda block: (block < start, block))
        self.assertEqual(rarity.first(some(blocks), limit, start), wanted[:limit])

    @given(some_blocks, st.integers(0, 12), st.integers())
    def test_sample(self, blocks: set[int], limit: int, seed: int) -> None:
        """As many as there are, each once."""
        found = rarity.sample(some(blocks), limit, Random(seed))
        self.assertEqual(len(found), min(limit, len(blocks)))
        self.assertEqual(len(set(found)), len(found))
        self.assertLessEqual(set(found), blocks)

    def test_sample_is_fair(self) -> None:
        """Each block comes first about as often as any other."""
        random, among = Random(1), some(set(BLOCKS))
        came = Counter(rarity.sample(among, 1, random)[0] for _ in range(10_000))
        self.assertEqual(set(came), set(BLOCKS))
        self.assertGreater(min(came.values()), 850)
        self.assertLess(max(came.values()), 1_150)

    def test_nothing(self) -> None:
        """A content without blocks has none."""
        nothing = rarity.full(0)
        self.assertEqual(rarity.common(nothing, rarity.empty(0)), [])
        self.assertEqual(rarity.sample([], 3, Random(1)), [])


class RarityTests(SynchronousTestCase):
    @given(st.lists(some_blocks, max_size=9), st.data())
    def test_counts(self, sessions: list[set[int]], data: st.DataObject) -> None:
        """It counts as a counter does, whether sessions come whole or block by block."""
        counted, counts = Rarity(TOTAL), Counter[int]()
        for blocks in sessions:
            if data.draw(st.booleans()):
                counted.add(bitmap(blocks))
            else:
                for block in sorted(blocks):
                    counted.add_one(block)
            counts.update(blocks)
        for blocks in sessions[: data.draw(st.integers(0, len(sessions)))]:
            if data.draw(st.booleans()):
                counted.remove(bitmap(blocks))
            else:
                for block in sorted(blocks):
                    counted.remove_one(block)
            counts.subtract(blocks)
        among = data.draw(some_blocks)
        levels = [members(level) for level in counted.levels(some(among))]
        wanted = [
            {block for block in among if counts[block] == number}
            for number in sorted({counts[block] for block in among})
        ]
        self.assertEqual(levels, wanted)
