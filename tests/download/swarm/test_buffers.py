"""Memory for blocks: bounded, used again, and never by two at once."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from peershare.download.swarm.buffers import BlockBuffer, Buffers, Memory

BLOCK = 64


def ignore(count: int) -> None:
    """Nobody counts."""


class BufferTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.came: list[int] = []
        buffer = Buffers(Memory(1_000), BLOCK).take(10, self.came.append)
        assert buffer is not None
        self.buffer = buffer

    def test_both_ways(self) -> None:
        """What is given and what is received stand one behind the other."""
        self.buffer.write(memoryview(b"abc"))
        self.buffer.space()[:4] = b"defg"
        self.buffer.filled(4)
        self.buffer.write(memoryview(b"hij"))
        self.assertEqual(bytes(self.buffer.data), b"abcdefghij")
        self.assertEqual(len(self.buffer.space()), 0)
        self.assertEqual((self.buffer.received, self.came), (10, [3, 4, 3]))

    def test_dropped(self) -> None:
        """It takes nothing more; what comes all the same is still counted."""
        memory = self.buffer.drop()
        assert memory is not None
        self.buffer.write(memoryview(b"abc"))
        self.assertEqual((len(self.buffer.space()), len(self.buffer.data)), (0, 0))
        self.assertEqual(memory, bytearray(BLOCK))
        self.assertEqual(self.came, [3])
        self.assertIsNone(self.buffer.drop())


class TrimTests(SynchronousTestCase):
    def test_what_nobody_needed(self) -> None:
        """What was free from one time to the next goes back; what was used is kept."""
        memory = Memory(3 * BLOCK)
        buffers = Buffers(memory, BLOCK)
        taken = [buffers.take(BLOCK, ignore) for _ in range(3)]
        for buffer in taken:
            assert buffer is not None
            buffers.give(buffer)
        buffers.trim()
        self.assertEqual(memory.left, 0)
        again = buffers.take(BLOCK, ignore)
        assert again is not None
        buffers.give(again)
        buffers.trim()
        self.assertEqual(memory.left, 2 * BLOCK)
        buffers.trim()
        self.assertEqual(memory.left, 3 * BLOCK)


class Downloads(RuleBasedStateMachine):
    """Two downloads that share the memory of a node."""

    LIMIT = 5 * BLOCK

    def __init__(self) -> None:
        super().__init__()
        self.memory = Memory(self.LIMIT)
        self.downloads = [Buffers(self.memory, BLOCK), Buffers(self.memory, 2 * BLOCK)]
        self.ended: set[int] = set()
        self.used: list[tuple[int, BlockBuffer, bytes]] = []

    @rule(which=st.sampled_from((0, 1)), data=st.binary(min_size=1, max_size=BLOCK))
    def take(self, which: int, data: bytes) -> None:
        buffer = self.downloads[which].take(len(data), ignore)
        if buffer is not None:
            assert which not in self.ended
            buffer.write(memoryview(data))
            self.used.append((which, buffer, data))

    @rule(number=st.integers(0, 20), twice=st.booleans())
    def give(self, number: int, twice: bool) -> None:
        if self.used:
            which, buffer, _ = self.used.pop(number % len(self.used))
            for _ in range(1 + twice):
                self.downloads[which].give(buffer)

    @rule(which=st.sampled_from((0, 1)))
    def trim(self, which: int) -> None:
        self.downloads[which].trim()

    @rule(which=st.sampled_from((0, 1)))
    def end(self, which: int) -> None:
        self.ended.add(which)
        self.downloads[which].end()

    @invariant()
    def nobody_writes_into_anothers(self) -> None:
        assert all(bytes(buffer.data) == data for _, buffer, data in self.used)

    @invariant()
    def bounded(self) -> None:
        taken = sum((which + 1) * BLOCK for which, _, _ in self.used)
        assert taken <= self.LIMIT - self.memory.left <= self.LIMIT

    def teardown(self) -> None:
        """In the end everything is free."""
        for which, buffer, _ in self.used:
            self.downloads[which].give(buffer)
        for buffers in self.downloads:
            buffers.end()
        assert self.memory.left == self.LIMIT


class DownloadsTests(SynchronousTestCase):
    def test_sharing(self) -> None:
        """Never more than there is, and each byte for one block only."""
        machine: Any = Downloads
        run_state_machine_as_test(machine)
