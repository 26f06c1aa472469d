"""The hashing pool: real threads, what comes first, how it ends; and digests of ranges."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from peershare.content.blocks import block_count, block_size
from peershare.content.manifest import manifest_of
from peershare.library.hashing import (
    BUFFER_BYTES,
    HashingPool,
    HashingStoppedError,
    hash_blocks,
    hash_range,
    patient,
)


@patient
def note_patiently(notes: list[str], text: str) -> None:
    notes.append(text)


def fail_with(error: Exception) -> None:
    raise error


class PoolTestCase(TestCase):
    threads = 1

    def setUp(self) -> None:
        self.pool = HashingPool(reactor, self.threads)
        self.gate = threading.Event()
        self.notes: list[str] = []
        self.pool.start()
        self.addCleanup(self.pool.stop)
        self.addCleanup(self.gate.set)

    def block(self) -> list[Deferred[Any]]:
        """Give every thread a task that waits at the gate, and fill what is handed over."""
        return [self.pool(self.gate.wait) for _ in range(2 * self.threads)]

    def note(self, text: str) -> Deferred[Any]:
        return self.pool(self.notes.append, text)


class RunningTests(PoolTestCase):
    threads = 2

    async def test_results_and_failures(self) -> None:
        """Each Deferred has what its function gave, or raised."""
        self.assertEqual(await self.pool(divmod, 7, 2), (3, 1))
        with self.assertRaises(ZeroDivisionError):
            await self.pool(divmod, 7, 0)
        self.assertEqual(await self.pool(int, "12"), 12)

    async def test_in_threads_of_its_own(self) -> None:
        """Not in the reactor's; and as many as were wanted work at once."""
        barrier = threading.Barrier(2, timeout=10)

        def meet() -> str:
            barrier.wait()
            return threading.current_thread().name

        names = {await each for each in [self.pool(meet), self.pool(meet)]}
        self.assertEqual(names, {"hashing 0", "hashing 1"})

    async def test_many(self) -> None:
        """All are done, whoever waits for them when."""
        results = await DeferredList([self.pool(abs, -n) for n in range(2_000)])
        self.assertEqual([value for _, value in results], list(range(2_000)))

    def test_by_default_as_many_threads_as_are_of_use(self) -> None:
        """Two at the least (one may wait for a disk), four at the most."""
        for processors, threads in ((1, 2), (2, 2), (3, 3), (64, 4)):
            self.patch(os, "sched_getaffinity", lambda _, count=processors: set(range(count)))
            self.assertEqual(HashingPool(reactor).threads, threads)


class OrderTests(PoolTestCase):
    async def test_patient_tasks_come_last(self) -> None:
        """Whatever else comes meanwhile is done before them."""
        blocked = self.block()
        waiting = [
            self.pool(note_patiently, self.notes, "file 1"),
            self.note("block 1"),
            self.pool(note_patiently, self.notes, "file 2"),
            self.note("block 2"),
        ]
        self.gate.set()
        await DeferredList([*blocked, *waiting])
        self.assertEqual(self.notes, ["block 1", "block 2", "file 1", "file 2"])

    async def test_few_tasks_are_with_the_threads(self) -> None:
        """The others wait where they can still be overtaken or called off."""
        blocked = self.block()
        waiting = [self.note(str(n)) for n in range(100)]
        self.assertLessEqual(self.pool._queue.qsize(), 2 * self.threads)
        self.gate.set()
        await DeferredList([*blocked, *waiting])
        self.assertEqual(self.notes, [str(n) for n in range(100)])

    async def test_called_off(self) -> None:
        """A Deferred that was cancelled before its turn is not run."""
        blocked = self.block()
        unwanted, wanted = self.note("unwanted"), self.note("wanted")
        unwanted.cancel()
        await self.assertFailure(unwanted, CancelledError)
        self.gate.set()
        await DeferredList([*blocked, wanted])
        self.assertEqual(self.notes, ["wanted"])

    async def test_called_off_while_it_runs(self) -> None:
        """Nobody hears of it any more, and the thread goes on with the next."""
        running = self.pool(self.gate.wait)
        running.cancel()
        await self.assertFailure(running, CancelledError)
        self.gate.set()
        self.assertEqual(await self.pool(abs, -1), 1)


class StoppingTests(PoolTestCase):
    async def test_waits_for_what_runs_and_for_nothing_else(self) -> None:
        """What waits fails with an error that says why; then no thread is left."""
        running, handed = self.block()
        waiting = [self.note("one"), self.pool(note_patiently, self.notes, "two")]
        await deferToThread(self._until_running)
        stopping = self.pool.stop()
        for deferred in (handed, *waiting):
            await self.assertFailure(deferred, HashingStoppedError)
        self.assertNoResult(stopping)
        self.gate.set()
        await stopping
        self.assertTrue(await running)
        self.assertEqual(self.notes, [])
        names = [thread.name for thread in threading.enumerate()]
        self.assertEqual([name for name in names if name.startswith("hashing")], [])

    def _until_running(self) -> None:
        while self.pool._queue.qsize() > 1:
            pass

    async def test_when_it_is_idle(self) -> None:
        """At once, and twice."""
        await self.pool(abs, -1)
        self.successResultOf(self.pool.stop())
        self.successResultOf(self.pool.stop())

    async def test_what_comes_later_fails(self) -> None:
        """With the same error, until it is started again."""
        await self.pool.stop()
        await self.assertFailure(self.pool(abs, -1), HashingStoppedError)
        self.pool.start()
        self.assertEqual(await self.pool(abs, -1), 1)

    async def test_before_it_is_started(self) -> None:
        """Tasks wait for the threads: a daemon forks before it has any."""
        pool = HashingPool(reactor, 1)
        self.addCleanup(pool.stop)
        early = pool(abs, -5)
        self.assertNoResult(early)
        pool.start()
        self.assertEqual(await early, 5)


class RangeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())

    def opened(self, data: bytes) -> int:
        self.path.write_bytes(data)
        descriptor = os.open(self.path, os.O_RDONLY)
        self.addCleanup(os.close, descriptor)
        return descriptor

    def test_any_range(self) -> None:
        """The digest of those bytes, whether they fit into the buffer or not."""
        data = os.urandom(3 * BUFFER_BYTES + 5)
        descriptor = self.opened(data)
        for offset, length in ((0, len(data)), (7, 0), (1, 1), (5, BUFFER_BYTES), (9, 2_500_000)):
            wanted = blake3(data[offset : offset + length]).digest()
            self.assertEqual(hash_range(descriptor, offset, length), wanted)

    def test_a_shorter_file(self) -> None:
        """No digest, wherever it ends."""
        descriptor = self.opened(b"x" * BUFFER_BYTES)
        for offset, length in ((0, BUFFER_BYTES + 1), (BUFFER_BYTES, 1), (9 * BUFFER_BYTES, 5)):
            self.assertIsNone(hash_range(descriptor, offset, length))

    def test_given_up(self) -> None:
        """It ends within one buffer."""
        descriptor = self.opened(b"x" * 3 * BUFFER_BYTES)
        asked: list[None] = []

        def ended() -> bool:
            asked.append(None)
            return len(asked) == 2

        self.assertIsNone(hash_range(descriptor, 0, 3 * BUFFER_BYTES, ended))
        self.assertEqual(len(asked), 2)

    def test_reads_that_give_less(self) -> None:
        """A read may end early (a signal, a network file system): the rest is read too."""
        data = os.urandom(10_000)
        descriptor = self.opened(data)
        real = os.preadv
        self.patch(os, "preadv", lambda d, views, at: real(d, [views[0][:999]], at))
        self.assertEqual(hash_range(descriptor, 10, 9_000), blake3(data[10:9_010]).digest())

    def assert_blocks(self, data: bytes, first: int, count: int) -> None:
        digests = manifest_of(data).digests[first * 32 : (first + count) * 32]
        descriptor = self.opened(data)
        self.assertEqual(hash_blocks(descriptor, len(data), first, count), digests)

    @settings(max_examples=25, deadline=None)
    @given(st.integers(0, 3 << 20), st.data())
    def test_blocks_of_small_contents(self, size: int, data: Any) -> None:
        """They are what the manifest of the same bytes says."""
        total = block_count(size)
        first = data.draw(st.integers(0, total))
        count = data.draw(st.integers(0, total - first))
        self.assert_blocks((b"0123456789abc" * (size // 13 + 1))[:size], first, count)

    def test_blocks_larger_than_the_buffer(self) -> None:
        """A file of more than a gibibyte has them; it may have holes."""
        size = (1 << 30) + 5
        self.assertGreater(block_size(size), BUFFER_BYTES)
        self.path.touch()
        os.truncate(self.path, size)
        with self.path.open("r+b") as file:
            file.seek(size - 5)
            file.write(b"12345")
        descriptor = os.open(self.path, os.O_RDONLY)
        self.addCleanup(os.close, descriptor)
        digests = hash_blocks(descriptor, size, 510, 3)
        zeros = blake3(bytes(block_size(size))).digest()
        self.assertEqual(digests, zeros * 2 + blake3(b"12345").digest())
        self.assertIsNone(hash_blocks(descriptor, size + 1, 510, 3))

    def test_each_thread_has_a_buffer(self) -> None:
        """Two that read at once do not disturb each other."""
        data = os.urandom(2 * BUFFER_BYTES)
        descriptor = self.opened(data)
        wanted = [blake3(data[:BUFFER_BYTES]).digest(), blake3(data[BUFFER_BYTES:]).digest()]
        found: list[list[bytes | None]] = [[], []]

        def run(number: int) -> None:
            for _ in range(50):
                found[number].append(hash_range(descriptor, number * BUFFER_BYTES, BUFFER_BYTES))

        threads = [threading.Thread(target=run, args=(number,)) for number in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(found, [[wanted[0]] * 50, [wanted[1]] * 50])
