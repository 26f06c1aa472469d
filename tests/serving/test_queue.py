"""The queue of one session, against a plain list."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from peershare.content.blocks import unrolled
from peershare.content.manifest import Manifest
from peershare.errors import PeerError, Reason
from peershare.library.entries import ContentHandle
from peershare.serving.queue import (
    MAX_QUEUED_BLOCKS,
    BlockQueue,
    among,
    check_blocks,
    split_blocks,
)
from peershare.serving.receiver import Receiver

RUNS = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 40)), max_size=6)


def receiver(number: int = 1) -> Receiver:
    """A receiver of a content of 100 blocks."""
    manifest = Manifest(6_500_000, bytes(100 * 32))
    session: Any = None
    path: Any = None
    handle = ContentHandle(manifest.content_id, "x", path, None, manifest, None)
    return Receiver(number, session, handle, 0.0)


def drained(queue: BlockQueue) -> list[tuple[int, int]]:
    """All that is in it: number of the receiver, and block."""
    found = []
    while (entry := queue.pop()) is not None:
        found.append((entry[0].number, entry[1]))
    return found


class BlockQueueTests(SynchronousTestCase):
    def test_order(self) -> None:
        """First come, first served; out of turn only when nothing else is there."""
        queue, one, two = BlockQueue(), receiver(1), receiver(2)
        queue.add(one, 5, late=True)
        queue.add(two, 7, late=False)
        queue.add(one, 6, late=False)
        self.assertEqual((len(queue), queue.room), (3, MAX_QUEUED_BLOCKS - 3))
        self.assertEqual((one.queued, two.queued), (2, 1))
        self.assertEqual(drained(queue), [(2, 7), (1, 6), (1, 5)])
        self.assertEqual((one.queued, two.queued), (0, 0))

    def test_advance(self) -> None:
        """What was out of turn is in turn when it was granted, all of it when steering ends."""
        queue, one, two = BlockQueue(), receiver(1), receiver(2)
        one.steered = two.steered = True
        for block in range(4):
            queue.add(one, block, late=True)
        queue.add(two, 9, late=True)
        one.turn = {2: None}
        queue.advance(one)
        self.assertEqual(queue.pop(), (one, 2))
        one.steered = False
        queue.advance(one)
        queue.add(two, 8, late=False)
        self.assertEqual(drained(queue), [(1, 0), (1, 1), (1, 3), (2, 8), (2, 9)])

    @given(st.lists(st.tuples(st.booleans(), st.integers(0, 80), st.booleans())), RUNS)
    def test_cancel_and_drop(
        self, entries: list[tuple[bool, int, bool]], wanted: list[tuple[int, int]]
    ) -> None:
        """Only what is its own goes, and the counts stay right."""
        queue, one, two = BlockQueue(), receiver(1), receiver(2)
        for first, block, late in entries:
            queue.add(one if first else two, block, late=late)
        gone = set(unrolled(wanted))
        queue.cancel(one, wanted)
        rest = [e for e in entries if not (e[0] and e[1] in gone)]
        self.assertEqual(one.queued + two.queued, len(rest))
        self.assertEqual(len(queue), len(rest))
        dropped = set(unrolled(queue.drop(two)))
        self.assertEqual(dropped, {block for first, block, _ in rest if not first})
        self.assertEqual(two.queued, 0)
        kept = [e for e in rest if e[0]]
        ordered = [e for e in kept if not e[2]] + [e for e in kept if e[2]]
        self.assertEqual(drained(queue), [(1, block) for _, block, _ in ordered])


class RunsTests(SynchronousTestCase):
    @given(st.lists(st.integers(0, 80)), RUNS)
    def test_among(self, blocks: list[int], pairs: list[tuple[int, int]]) -> None:
        """As if the runs were unrolled, which they are not."""
        self.assertEqual(among(blocks, pairs), set(blocks) & set(unrolled(pairs)))
        self.assertEqual(among(blocks, [(0, 10**15)]), set(blocks))

    @given(RUNS, st.integers(0, 200))
    def test_split(self, pairs: list[tuple[int, int]], room: int) -> None:
        """The first so many, and the rest, in order."""
        taken, rest = split_blocks(pairs, room)
        blocks = list(unrolled(pairs))
        self.assertEqual(list(unrolled(taken)), blocks[:room])
        self.assertEqual(list(unrolled(rest)), blocks[room:])

    def test_check(self) -> None:
        """Blocks there are; where each may be named once, no more than there are."""
        check_blocks([(0, 5), (3, 2), (0, 5)], 5)
        check_blocks([(0, 5)], 5, once=True)
        for pairs, once in (([(4, 2)], False), ([(5, 1)], False), ([(0, 5), (0, 1)], True)):
            with self.assertRaises(PeerError) as caught:
                check_blocks(pairs, 5, once=once)
            self.assertEqual(caught.exception.reason, Reason.BAD_MESSAGE)
