"""Blocks: sizes, ranges, runs, and sets of them."""

from collections.abc import Callable
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from twisted.trial.unittest import SynchronousTestCase

from peershare.content.blocks import (
    MANY_BLOCKS,
    MAX_BLOCK_BYTES,
    MAX_CONTENT_BYTES,
    MIN_BLOCK_BYTES,
    BlockSet,
    block_count,
    block_range,
    block_size,
    runs,
    unrolled,
)

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
SIZES = st.one_of(
    st.integers(0, 4 * MIB),
    st.integers(0, MAX_CONTENT_BYTES),
    # Around where the block size changes, and around ends of blocks.
    st.builds(
        lambda power, less: max(0, (1 << power) - less), st.integers(16, 42), st.integers(0, 2)
    ),
    st.builds(lambda power: (1 << power) + 1, st.integers(16, 41)),
)
TOTALS = st.one_of(st.integers(0, 40), st.integers(0, 1_100))
BLOCKS = st.lists(st.integers(0, 200))


class SizeTests(SynchronousTestCase):
    def test_table(self) -> None:
        """The block size doubles as soon as there would be 1,025 blocks, and ends at 4 MiB."""
        table = {
            0: 64 * KIB,
            1: 64 * KIB,
            64 * MIB: 64 * KIB,
            64 * MIB + 1: 128 * KIB,
            128 * MIB: 128 * KIB,
            128 * MIB + 1: 256 * KIB,
            GIB: MIB,
            GIB + 1: 2 * MIB,
            2 * GIB + 1: 4 * MIB,
            4 * GIB: 4 * MIB,
            4 * GIB + 1: 4 * MIB,
            4 * TIB: 4 * MIB,
        }
        self.assertEqual({size: block_size(size) for size in table}, table)

    def test_counts(self) -> None:
        """An empty content has no block; a last byte of its own has a block of its own."""
        table = {
            0: 0,
            1: 1,
            64 * KIB: 1,
            64 * KIB + 1: 2,
            64 * MIB: 1_024,
            64 * MIB + 1: 513,
            4 * GIB + 1: 1_025,
            4 * TIB: 1 << 20,
        }
        self.assertEqual({size: block_count(size) for size in table}, table)

    def test_refused_sizes(self) -> None:
        """What is negative or over 4 TiB is no content, whatever is asked of it."""
        refusing: tuple[Callable[[int], object], ...] = (
            block_size,
            block_count,
            lambda size: block_range(0, size),
        )
        for size in (-1, MAX_CONTENT_BYTES + 1, 10**15, 1 << 4_000):
            for function in refusing:
                with self.assertRaises(ValueError):
                    function(size)

    @given(SIZES)
    def test_smallest_that_will_do(self, size: int) -> None:
        """A power of two from 64 KiB to 4 MiB, and no smaller one gives at most 1,024 blocks."""
        length = block_size(size)
        self.assertEqual(length & (length - 1), 0)
        self.assertTrue(MIN_BLOCK_BYTES <= length <= MAX_BLOCK_BYTES)
        if length < MAX_BLOCK_BYTES:
            self.assertLessEqual(block_count(size), MANY_BLOCKS)
        if length > MIN_BLOCK_BYTES:
            self.assertGreater(-(-size // (length // 2)), MANY_BLOCKS)

    @given(SIZES, st.data())
    def test_ranges_follow_one_another(self, size: int, data: st.DataObject) -> None:
        """Each block begins where the one before ends; only the last may be short, none empty."""
        count = block_count(size)
        if not count:
            return
        index = data.draw(st.integers(0, count - 1))
        found = block_range(index, size)
        self.assertEqual(found.start, index * block_size(size))
        if index == count - 1:
            self.assertEqual(found.stop, size)
            self.assertTrue(0 < found.length <= block_size(size))
        else:
            self.assertEqual(found.length, block_size(size))
            self.assertEqual(block_range(index + 1, size).start, found.stop)

    @given(SIZES, st.integers(0, 1 << 64))
    def test_no_such_block(self, size: int, beyond: int) -> None:
        """There is no block behind the last one, and none before the first one."""
        for index in (block_count(size) + beyond, -1 - beyond):
            with self.assertRaises(ValueError):
                block_range(index, size)


class RunsTests(SynchronousTestCase):
    def test_example(self) -> None:
        """Any order and repetition in; ascending and as few as can be out."""
        self.assertEqual(runs([7, 3, 1, 2, 7, 9, 8]), [(1, 3), (7, 3)])
        self.assertEqual(runs([]), [])
        self.assertEqual(list(unrolled([(7, 2), (0, 1), (7, 1)])), [7, 8, 0, 7])

    @given(BLOCKS)
    def test_there_and_back(self, blocks: list[int]) -> None:
        """Runs stand for exactly the blocks they were made of."""
        self.assertEqual(list(unrolled(runs(blocks))), sorted(set(blocks)))

    @given(BLOCKS)
    def test_as_few_as_can_be(self, blocks: list[int]) -> None:
        """There is a gap of at least one block between two runs, and no run is empty."""
        found = runs(blocks)
        self.assertTrue(all(count >= 1 for _, count in found))
        for (first, count), (following, _) in pairwise(found):
            self.assertGreater(following, first + count)


class BlockSetTests(SynchronousTestCase):
    def test_bits(self) -> None:
        """Block 0 is the lowest bit of the first byte; bits that stand for no block are 0."""
        self.assertEqual(BlockSet(11, [0, 9]).to_bytes(), b"\x01\x02")
        self.assertEqual(BlockSet.full(11).to_bytes(), b"\xff\x07")
        self.assertEqual(BlockSet(0).to_bytes(), b"")

    def test_foreign_bits(self) -> None:
        """What a peer sends beyond the last block neither counts nor shows."""
        made = BlockSet.from_bytes(3, b"\xff\xff\xff")
        self.assertEqual((len(made), made.complete, list(made)), (3, True, [0, 1, 2]))
        self.assertEqual(made, BlockSet.full(3))
        self.assertEqual(made.to_bytes(), b"\x07")

    def test_too_few_bits(self) -> None:
        """A bitmap that is cut short is refused."""
        for total, bits in ((1, b""), (9, b"\xff"), (1 << 20, b"\xff" * 131_071)):
            with self.assertRaises(ValueError):
                BlockSet.from_bytes(total, bits)

    def test_empty(self) -> None:
        """A content without blocks is complete from the start."""
        made = BlockSet(0)
        self.assertTrue(made.complete)
        self.assertEqual((list(made), list(made.missing()), len(made)), ([], [], 0))
        self.assertEqual(made, BlockSet.full(0))

    def test_no_such_block(self) -> None:
        """Nothing can be added that is no block; it is not in the set and cannot be taken out."""
        made = BlockSet(8)
        for index in (-1, 8, 1 << 70):
            with self.assertRaises(IndexError):
                made.add(index)
            self.assertNotIn(index, made)
            self.assertFalse(made.discard(index))
        self.assertEqual(len(made), 0)

    def test_copy(self) -> None:
        """A copy goes its own way."""
        made = BlockSet(9, [1])
        other = made.copy()
        other.add(8)
        self.assertEqual((list(made), list(other)), ([1], [1, 8]))

    def test_seen_while_it_grows(self) -> None:
        """Whoever holds on to a set sees what is added to it."""
        made = BlockSet(300, [7])
        iterator = iter(made)
        self.assertEqual(next(iterator), 7)
        made.add(299)
        self.assertEqual(list(iterator), [299])

    def test_equality(self) -> None:
        """Equal are sets of the same blocks of as many; there is no hash of what changes."""
        self.assertEqual(BlockSet(9, [3]), BlockSet(9, [3]))
        self.assertNotEqual(BlockSet(9, [3]), BlockSet(10, [3]))
        self.assertNotEqual(BlockSet(9, [3]), {3})
        with self.assertRaises(TypeError):
            hash(BlockSet(1))

    @given(TOTALS, st.data())
    def test_there_and_back(self, total: int, data: st.DataObject) -> None:
        """Bits stand for exactly the blocks of the set they were made of."""
        blocks = data.draw(st.sets(st.integers(0, total - 1))) if total else set()
        made = BlockSet(total, blocks)
        again = BlockSet.from_bytes(total, made.to_bytes())
        self.assertEqual(again, made)
        self.assertEqual(len(again), len(blocks))
        self.assertEqual(set(again), blocks)

    @given(st.integers(0, 200), st.binary(min_size=25, max_size=40))
    def test_any_bits(self, total: int, bits: bytes) -> None:
        """Any bits are some set of the blocks there are."""
        made = BlockSet.from_bytes(total, bits)
        self.assertEqual(len(list(made)), len(made))
        self.assertEqual(sorted([*made, *made.missing()]), list(range(total)))


class BlockSetMachine(RuleBasedStateMachine):
    """A set of blocks beside a plain `set` of integers."""

    @initialize(total=st.integers(1, 70))
    def start(self, total: int) -> None:
        self.total = total
        self.made = BlockSet(total)
        self.model: set[int] = set()

    @rule(number=st.integers(0, 1_000))
    def add(self, number: int) -> None:
        index = number % self.total
        assert self.made.add(index) == (index not in self.model)
        self.model.add(index)

    @rule(number=st.integers(-5, 1_000))
    def discard(self, number: int) -> None:
        assert self.made.discard(number) == (number in self.model)
        self.model.discard(number)

    @rule(numbers=st.lists(st.integers(-5, 100), max_size=5))
    def covers(self, numbers: list[int]) -> None:
        assert self.made.covers(numbers) == self.model.issuperset(numbers)

    @invariant()
    def the_same(self) -> None:
        assert list(self.made) == sorted(self.model)
        assert list(self.made.missing()) == sorted(set(range(self.total)) - self.model)
        assert len(self.made) == len(self.model)
        assert self.made.complete == (len(self.model) == self.total)
        assert all((index in self.made) == (index in self.model) for index in range(-2, 80))


class BlockSetModelTests(SynchronousTestCase):
    def test_model(self) -> None:
        """Whatever is done to it, it holds what a plain set would hold."""
        case = BlockSetMachine.TestCase()
        case.runTest()
