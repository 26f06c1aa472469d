"""Fetching: requests go out, bytes find their place, nothing counts that was not checked."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from peershare.content.blocks import BlockSet
from peershare.download.swarm import part as part_module
from peershare.download.swarm.buffers import BlockBuffer, Memory
from peershare.download.swarm.fetching import TICK_SECONDS, Fetching
from peershare.status import ChunkState
from peershare.wire.beacon import Endpoint
from tests.download.swarm.parts import BLOCK, NotingSession, Reports, block_of, content, make_part
from tests.fakes import FakeDisk, FakeReactor, HeldWorkers, run_now

A, B = Endpoint("198.18.0.2", 5000, "aa"), Endpoint("198.18.0.3", 5000, "bb")


class FetchingTestCase(SynchronousTestCase):
    blocks = 6.5
    memory_blocks = 8  # for so many blocks there is memory

    def begin(self, hashers: Any = run_now) -> None:
        self.memory = Memory(self.memory_blocks * BLOCK)
        self.data = content(self.blocks)
        self.reactor = FakeReactor()
        self.part, self.library, _ = make_part(self, self.data, hashers=hashers)
        self.successResultOf(self.part.check())
        self.reports = Reports()
        self.fetching = Fetching(self.reactor, self.part, Random(1), self.memory, self.reports)
        self.fetching.begin()
        self.addCleanup(self.fetching.end)

    def join(self, peer: Endpoint, have: BlockSet | None = None) -> NotingSession:
        session: Any = NotingSession(peer)
        self.fetching.joined(session, have, steered=False)
        return session

    def give(self, peer: Endpoint, index: int, data: bytes | None = None) -> None:
        """All bytes of a block come, in two pieces."""
        data = block_of(self.data, index) if data is None else data
        sink = self.fetching.begins(peer, index, len(data))
        if sink is not None:
            sink.write(memoryview(data[:1_000]))
            sink.write(memoryview(data[1_000:]))
        self.fetching.arrived(peer, index)

    def give_all(self, *sessions: NotingSession) -> None:
        """Whatever is asked for is given, as long as anything is."""
        given: set[tuple[str, int]] = set()
        while True:
            asked = [(s.endpoint, i) for s in sessions for i in s.requested]
            todo = [pair for pair in asked if pair not in given]
            if not todo:
                return
            given.add(todo[0])
            self.give(*todo[0])


class OrderTests(FetchingTestCase):
    def test_everything_from_one(self) -> None:
        """One session gives all; each block counts once, and the end is told once."""
        self.begin()
        session = self.join(A)
        self.give_all(session)
        self.assertEqual(sorted(session.requested), list(range(7)))
        self.assertEqual(sorted(self.library.added), list(range(7)))
        self.assertEqual(self.reports.complete, 1)
        self.assertEqual(self.reports.came, {A: len(self.data)})
        self.assertEqual(self.part.path.read_bytes(), self.data)

    def test_only_what_a_session_has(self) -> None:
        """A session is asked for what it has, and for more when it has more."""
        self.begin()
        session = self.join(A, BlockSet(7, [3]))
        self.give_all(session)
        self.assertEqual(session.requested, [3])
        self.fetching.had(A, [5, 6])
        self.give_all(session)
        self.assertEqual(sorted(session.requested), [3, 5, 6])
        self.assertEqual(self.reports.complete, 0)

    def test_a_session_that_goes(self) -> None:
        """What it was to give is asked of the other one; a torn block does not count."""
        self.begin()
        first = self.join(A)
        sink = self.fetching.begins(A, first.requested[0], BLOCK)
        assert sink is not None
        sink.write(memoryview(b"x" * 500))
        second = self.join(B)
        self.fetching.left(A)
        sink.write(memoryview(b"y" * 500))  # what was still on its way
        self.give_all(second)
        self.assertEqual(sorted(second.requested), list(range(7)))
        self.assertEqual(self.part.path.read_bytes(), self.data)

    def test_late_blocks_go_to_another(self) -> None:
        """A session that gives nothing does not hold a download up that others can finish."""
        self.begin()
        first = self.join(A)
        self.assertTrue(first.requested)
        second = self.join(B)
        self.give_all(second)
        for _ in range(int(30 / TICK_SECONDS)):
            self.reactor.advance(TICK_SECONDS)
            self.give_all(second)
        self.assertEqual(self.reports.complete, 1)
        self.assertEqual(self.part.path.read_bytes(), self.data)


class SteeredTests(FetchingTestCase):
    def test_only_what_is_granted(self) -> None:
        """A steered session is asked for its grants; what is here already is given back to it."""
        self.begin()
        helper = self.join(B, BlockSet(7, [4]))
        self.give_all(helper)
        session: Any = NotingSession(A)
        self.fetching.joined(session, None, steered=True)
        self.assertEqual(session.requested, [])
        self.fetching.granted(A, [4, 2])
        self.assertEqual((session.requested, session.declined), ([2], [4]))
        self.fetching.opened(A)
        self.give_all(session)
        self.assertEqual(self.reports.complete, 1)


class WrongBytesTests(FetchingTestCase):
    def test_charged_and_fetched_again(self) -> None:
        """A wrong block is charged to who gave it, and asked for again."""
        self.begin()
        session = self.join(A)
        index = session.requested[0]
        self.give(A, index, b"?" * len(block_of(self.data, index)))
        self.assertEqual(self.reports.wrong, [(A, index)])
        self.assertEqual(len(self.part.held), 0)
        self.fetching.left(A)
        other = self.join(B)
        self.give_all(other)
        self.assertEqual(self.reports.complete, 1)
        self.assertEqual(self.part.path.read_bytes(), self.data)


class CopyTests(FetchingTestCase):
    blocks = 1.5

    def both(self, hashers: Any = run_now) -> tuple[NotingSession, NotingSession]:
        """Two sessions; the first has begun to give block 0, the second gives a copy of it."""
        self.begin(hashers)
        first = self.join(A)
        second = self.join(B)
        self.owner = self.fetching.begins(A, 0, BLOCK)
        assert self.owner is not None
        self.owner.write(memoryview(block_of(self.data, 0)[:10]))
        return first, second

    def test_a_copy_that_is_first(self) -> None:
        """It takes the range over; what the first one still sends changes nothing."""
        self.both()
        self.give(B, 0)
        self.assertEqual(self.reports.verified, [(B, BLOCK)])
        assert self.owner is not None
        self.owner.write(memoryview(b"?" * 100))
        self.assertEqual(self.part.path.read_bytes()[:BLOCK], block_of(self.data, 0))

    def test_a_wrong_copy(self) -> None:
        """It is charged, and harms nothing."""
        self.both()
        self.give(B, 0, b"?" * BLOCK)
        self.assertEqual(self.reports.wrong, [(B, 0)])
        assert self.owner is not None
        self.owner.write(memoryview(block_of(self.data, 0)[10:]))
        self.fetching.arrived(A, 0)
        self.assertEqual(self.reports.verified, [(A, BLOCK)])

    def test_nothing_is_taken_twice(self) -> None:
        """A block that is here is dropped when it comes again."""
        self.both()
        self.give(B, 0)
        self.assertIsNone(self.fetching.begins(A, 0, BLOCK))

    def test_checked_at_the_same_time(self) -> None:
        """Both are in check at once: the block counts once."""
        workers = HeldWorkers()
        self.patch(part_module, "CHECKED_AT_ONCE", BLOCK - 1)
        self.patch(part_module, "WRITTEN_AT_ONCE", BLOCK - 1)
        self.both(workers)
        assert self.owner is not None
        self.owner.write(memoryview(block_of(self.data, 0)[10:]))
        self.fetching.arrived(A, 0)
        self.give(B, 0)
        workers.do_all()
        self.assertEqual(len(self.reports.verified), 1)
        self.assertEqual(self.reports.wrong, [])
        self.assertEqual(self.library.added, [0])


class NoMemoryOrderTests(OrderTests):
    """Every block goes to its place in the file at once."""

    memory_blocks = 0


class LittleMemoryOrderTests(OrderTests):
    """The first one does not."""

    memory_blocks = 1


class NoMemoryWrongBytesTests(WrongBytesTests):
    memory_blocks = 0


class NoMemoryCopyTests(CopyTests):
    """A copy takes the place of what it is a copy of, as there is no other for it."""

    memory_blocks = 0

    def test_a_wrong_copy(self) -> None:
        """It is charged; who had to make way for it is asked again, and nothing wrong is left."""
        first, _ = self.both()
        self.give(B, 0, b"?" * BLOCK)
        self.assertEqual(first.cancelled, [0])
        self.assertEqual(self.reports.wrong, [(B, 0)])
        first.requested.clear()
        self.fetching.left(B)
        self.assertIn(0, first.requested)
        self.give_all(first)
        self.assertEqual(self.reports.verified[0], (A, BLOCK))
        self.assertEqual(self.part.path.read_bytes()[:BLOCK], block_of(self.data, 0))

    def test_a_copy_of_what_is_being_checked(self) -> None:
        """Its bytes are dropped; if what is checked is wrong, it is asked for again."""
        workers = HeldWorkers()
        self.patch(part_module, "CHECKED_AT_ONCE", BLOCK - 1)
        self.patch(part_module, "WRITTEN_AT_ONCE", BLOCK - 1)
        _, second = self.both(workers)
        assert self.owner is not None
        self.owner.write(memoryview(b"?" * (BLOCK - 10)))
        self.fetching.arrived(A, 0)
        self.assertIsNone(self.fetching.begins(B, 0, BLOCK))
        second.requested.clear()
        workers.do_all()
        self.assertEqual(self.reports.wrong, [(A, 0)])
        self.fetching.left(A)
        self.assertIn(0, second.requested)


class LittleMemoryCopyTests(NoMemoryCopyTests):
    memory_blocks = 1


class ManyCopiesTests(FetchingTestCase):
    """Peers that all begin to give one block, and do not go on."""

    blocks = 1.5

    def begun(self, memory_blocks: int) -> list[NotingSession]:
        self.memory_blocks = memory_blocks
        self.begin()
        sessions = [self.join(Endpoint(f"198.18.1.{number}")) for number in range(40)]
        for session in sessions:
            sink = self.fetching.begins(session.endpoint, 0, BLOCK)
            assert sink is not None
            sink.write(memoryview(b"x" * 100))
        return sessions

    def test_within_the_memory(self) -> None:
        """They take what memory there is, and no more; the last one is never left without."""
        sessions = self.begun(3)
        self.assertEqual(self.memory.left, 0)
        self.assertEqual(len(self.fetching.givers), 3)
        self.assertIn(sessions[-1].address, self.fetching.givers)
        dropped = [s.endpoint for s in sessions if s.cancelled]
        self.assertEqual(len(dropped), 37)
        self.assertFalse(set(dropped) & set(self.fetching.givers))

    def test_without_memory(self) -> None:
        """One at a time goes to the disk; an honest one is enough."""
        self.begun(0)
        self.assertEqual(len(self.fetching.givers), 1)
        self.join(B)
        self.give(B, 0)
        self.assertEqual(self.reports.verified, [(B, BLOCK)])
        self.assertEqual(self.part.path.read_bytes()[:BLOCK], block_of(self.data, 0))


class OwnerTests(FetchingTestCase):
    def test_who_comes_again_while_its_block_is_checked(self) -> None:
        """Nobody else writes to a place whose bytes are being checked, whoever comes and goes."""
        told: Deferred[None] = Deferred()
        self.memory_blocks = 0
        self.begin(lambda *work: told.addCallback(lambda _, found: found, run_now(*work)))
        self.join(A)
        self.give(A, 0)
        self.fetching.left(A)
        self.join(A)
        self.fetching.begins(A, 0, BLOCK)
        self.fetching.left(A)
        self.join(B)
        sink = self.fetching.begins(B, 0, BLOCK)
        if sink is not None:
            sink.write(memoryview(b"?" * BLOCK))
        told.callback(None)
        self.assertEqual(self.reports.verified, [(A, BLOCK)])
        self.assertEqual(self.part.path.read_bytes()[:BLOCK], block_of(self.data, 0))


class DiskTests(FetchingTestCase):
    blocks = 4

    def fails(self, hashers: Any, do_all: Callable[[], None]) -> None:
        """The disk is full after one block: said once, all memory is back, one block is here."""
        self.begin(hashers)
        disk = FakeDisk(self.patch)
        session = self.join(A)
        disk.full_after = BLOCK
        for index in session.requested[:3]:
            self.give(A, index)
        do_all()
        self.assertTrue(self.reports.failures)
        self.fetching.end()
        self.assertEqual(self.memory.left, self.memory_blocks * BLOCK)
        self.assertEqual(self.reports.verified, [(A, BLOCK)])
        disk.full_after = None
        self.fetching = Fetching(self.reactor, self.part, Random(1), self.memory, self.reports)
        self.fetching.begin()
        self.give_all_from(self.join(B), do_all)
        self.assertEqual(self.part.path.read_bytes(), self.data)
        self.assertEqual(self.reports.wrong, [])

    def give_all_from(self, session: NotingSession, do_all: Callable[[], None]) -> None:
        while not self.part.held.complete:
            self.give(session.endpoint, session.requested.pop(0))
            do_all()

    def test_at_once(self) -> None:
        """Where the reactor writes."""
        self.fails(run_now, lambda: None)

    def test_in_the_pool(self) -> None:
        """Where the threads write."""
        workers = HeldWorkers()
        self.patch(part_module, "WRITTEN_AT_ONCE", BLOCK - 1)
        self.fails(workers, workers.do_all)


class MemoryTests(FetchingTestCase):
    blocks = 3

    def buffer(self, peer: Endpoint, index: int) -> BlockBuffer:
        sink = self.fetching.begins(peer, index, BLOCK)
        assert isinstance(sink, BlockBuffer)
        return sink

    def test_what_is_wrong_is_not_written(self) -> None:
        """A block is checked in memory before the file sees it."""
        self.begin()
        self.join(A)
        self.give(A, 1, b"?" * BLOCK)
        self.assertEqual(self.reports.wrong, [(A, 1)])
        self.assertEqual(self.part.path.stat().st_size, 0)

    def test_received_into(self) -> None:
        """Bytes that were received into the buffer count as any others."""
        self.begin()
        self.join(A)
        buffer = self.buffer(A, 1)
        buffer.space()[:1_000] = block_of(self.data, 1)[:1_000]
        buffer.filled(1_000)
        self.assertEqual(self.reports.came, {A: 1_000})
        self.assertEqual(self.fetching.progress().received, 1_000)
        buffer.space()[:] = block_of(self.data, 1)[1_000:]
        buffer.filled(BLOCK - 1_000)
        self.fetching.arrived(A, 1)
        self.assertEqual(self.reports.verified, [(A, BLOCK)])

    def test_used_again(self) -> None:
        """All blocks together take no more memory than one at a time does."""
        self.begin()
        session = self.join(A)
        self.give_all(session)
        self.assertEqual(self.reports.complete, 1)
        self.assertEqual(self.memory.left, 7 * BLOCK)
        self.reactor.advance(TICK_SECONDS)
        self.reactor.advance(TICK_SECONDS)
        self.assertEqual(self.memory.left, 8 * BLOCK, "others cannot have what nobody needs")
        self.fetching.end()
        self.assertEqual(self.memory.left, 8 * BLOCK)

    def test_kept_while_it_is_checked(self) -> None:
        """Nobody gets the memory of a block before its check has ended, not even at the end."""
        workers = HeldWorkers()
        self.patch(part_module, "CHECKED_AT_ONCE", BLOCK - 1)
        self.patch(part_module, "WRITTEN_AT_ONCE", BLOCK - 1)
        self.memory_blocks = 2
        self.begin(workers)
        self.join(A)
        self.give(A, 0)
        self.give(A, 1)
        self.assertNotIsInstance(self.fetching.begins(A, 2, BLOCK), BlockBuffer)
        workers.do_one()
        self.fetching.end()
        self.assertEqual(self.memory.left, BLOCK)
        workers.do_all()
        self.assertEqual(self.memory.left, 2 * BLOCK)

    def test_a_session_that_goes_in_the_middle(self) -> None:
        """Its buffer is for others then; what it still sends is not theirs."""
        self.memory_blocks = 1
        self.begin()
        self.join(A)
        self.join(B)
        torn = self.buffer(A, 0)
        torn.write(memoryview(b"x" * 100))
        self.fetching.left(A)
        fresh = self.buffer(B, 1)
        torn.write(memoryview(b"y" * 100))
        self.assertEqual(len(torn.space()), 0)
        fresh.write(memoryview(block_of(self.data, 1)))
        self.fetching.arrived(B, 1)
        self.assertEqual(self.reports.verified, [(B, BLOCK)])

    def test_copies_give_their_memory_back(self) -> None:
        """Whoever was not first needs it no more, whether it is told so or not."""
        self.begin()
        self.join(A)
        self.join(B)
        self.buffer(A, 0)
        self.give(B, 0)
        self.fetching.end()
        self.assertEqual(self.memory.left, 8 * BLOCK)


class PictureTests(FetchingTestCase):
    def test_progress(self) -> None:
        """What came of a block counts in the picture before it is checked; who gives is told."""
        self.begin()
        session = self.join(A)
        index = session.requested[0]
        sink = self.fetching.begins(A, index, BLOCK)
        assert sink is not None
        sink.write(memoryview(block_of(self.data, index)[:5_000]))
        progress = self.fetching.progress()
        self.assertEqual((progress.received, progress.size), (5_000, len(self.data)))
        self.assertEqual(progress.givers, (A.address,))
        self.assertIn(ChunkState.FETCHING, [chunk.state for chunk in progress.chunks])
