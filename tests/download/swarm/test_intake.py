"""Reading from a real connection: blocks go past the program, and nothing else does."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.internet.main import CONNECTION_DONE
from twisted.python.failure import Failure

from peershare.content.manifest import manifest_of
from peershare.download.swarm import intake
from peershare.download.swarm.buffers import Buffers, Memory
from peershare.download.swarm.receiving import Room
from peershare.download.swarm.session import Household, PeerSession
from peershare.errors import Reason, StorageError
from peershare.library.parts import PipedBytes
from peershare.throttle import TokenBucket
from peershare.wire.beacon import Endpoint
from peershare.wire.messages import Block, Content, Hello, encode
from tests.download.swarm.talk import HELLO, PEER, PORT, Listening
from tests.download.test_splicing import SplicingTestCase, failing

# A content with blocks of 128 KiB, which are worth a pipe; only its first three are sent.
BLOCK_BYTES = 1 << 17
SIZE = (1 << 26) + 1
DATA = bytes(range(249)) * 4_400


def open_descriptors() -> int:
    """How many this process has."""
    return len(list(Path("/proc/self/fd").iterdir()))


class PieceSink:
    """Writes a block at its place in a part; keeps what it was given."""

    def __init__(self, part: Any, offset: int, piped: bool) -> None:
        self.part = part
        self.offset = offset
        self.piped = piped
        self.given: list[Any] = []
        self.failing: StorageError | None = None

    def write(self, data: Any) -> None:
        if self.failing is not None:
            raise self.failing
        self.given.append(data if isinstance(data, PipedBytes) else bytes(data))
        self.part.write_at(data, self.offset)
        self.offset += len(data)

    @property
    def piped_bytes(self) -> int:
        """How many of them came through the pipe."""
        return sum(len(data) for data in self.given if isinstance(data, PipedBytes))


class IntakeTestCase(SplicingTestCase):
    rate: float | None = None
    piped = True

    def setUp(self) -> None:
        super().setUp()
        household = Household(
            self.reactor,
            TokenBucket(self.rate, self.reactor.seconds),
            Room(),
            lambda address, count: None,
            lambda session: None,
        )
        self.session = PeerSession(household, Endpoint(PEER, PORT, "ab"), HELLO)
        self.listener = Listening()
        self.listener.make_sink = None
        self.listener.block_begins = self.begin  # type: ignore[method-assign]
        self.content = "b3:" + "7" * 64
        self.connection(self.session)
        self.transport.startReading()
        self.addCleanup(self.end)
        self.session.attach(self.content, SIZE, self.listener)
        self.send(encode(Hello(versions=(1,))))

    def begin(self, session: PeerSession, index: int, length: int) -> PieceSink:
        sink = PieceSink(self.part, index * BLOCK_BYTES, self.piped)
        self.listener.calls.append(("block_begins", index, length))
        self.listener.sinks[index] = sink
        return sink

    def end(self, reason: Any = CONNECTION_DONE) -> None:
        if self.transport.connected:
            self.transport.connectionLost(Failure(reason))
        for call in self.reactor.getDelayedCalls():
            call.cancel()

    def send(self, data: bytes) -> None:
        """The peer sends this, and it is read, piece by piece as the connection takes it."""
        self.peer.setblocking(False)
        while data:
            try:
                data = data[self.peer.send(data) :]
            except BlockingIOError:
                self.read()
        while self.waiting():
            self.read()

    def waiting(self) -> bool:
        """Whether there is something to read."""
        if not self.transport.connected or self.transport not in self.reactor.getReaders():
            return False
        try:
            return bool(self.ours.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return False

    def read(self) -> None:
        """One turn of the reactor."""
        why = self.turn()
        if why is not None:
            self.end(why)

    def header(self, index: int, length: int = BLOCK_BYTES) -> bytes:
        return encode(Block(content=self.content, index=index, length=length))

    def data(self, index: int) -> bytes:
        return DATA[index * BLOCK_BYTES : (index + 1) * BLOCK_BYTES]


class IntakeTests(IntakeTestCase):
    """Blocks that go to their place in a file."""

    def test_blocks_go_through_the_pipe(self) -> None:
        """All but what came with their messages; each byte is at its place."""
        self.session.request(self.content, [0, 1, 2])
        for index in (0, 1, 2):
            self.send(self.header(index) + self.data(index))
        self.assertEqual(self.written(), DATA[: 3 * BLOCK_BYTES])
        for index in (1, 2):
            piped = self.listener.sinks[index].piped_bytes
            self.assertGreaterEqual(piped, BLOCK_BYTES - intake.MESSAGE_BYTES)
        self.assertEqual(
            [c for c in self.listener.names if c == "block_arrived"], ["block_arrived"] * 3
        )

    def test_any_pieces(self) -> None:
        """However the stream is cut, messages and blocks stay apart."""
        self.session.request(self.content, [0, 1])
        stream = b"".join(self.header(index) + self.data(index) for index in (0, 1))
        for start in range(0, len(stream), 30_011):
            self.send(stream[start : start + 30_011])
        self.assertEqual(self.written(), DATA[: 2 * BLOCK_BYTES])
        self.assertIsNone(self.session.over)

    def test_byte_by_byte_at_the_seams(self) -> None:
        self.session.request(self.content, [0, 1])
        head, body = self.header(0), self.data(0)
        for number in range(len(head)):
            self.send(head[number : number + 1])
        self.send(body[:-2])
        for piece in (body[-2:-1], body[-1:], self.header(1)[:1], self.header(1)[1:]):
            self.send(piece)
        self.send(self.data(1))
        self.assertEqual(self.written(), DATA[: 2 * BLOCK_BYTES])

    def test_a_sink_that_takes_no_pipe(self) -> None:
        """It gets views; nothing is lost."""
        self.piped = False
        self.session.request(self.content, [0, 1])
        self.send(b"".join(self.header(index) + self.data(index) for index in (0, 1)))
        self.assertEqual(self.written(), DATA[: 2 * BLOCK_BYTES])
        self.assertEqual(self.listener.sinks[1].piped_bytes, 0)

    def test_the_disk_fails(self) -> None:
        """What is in the pipe goes with it; the next block is whole."""
        self.session.request(self.content, [0, 1])
        self.send(self.header(0) + self.data(0)[:50_000])
        failed = StorageError("full", 5)
        self.listener.sinks[0].failing = failed
        self.send(self.data(0)[50_000:] + self.header(1) + self.data(1))
        self.assertIn(("storage_failed", 0, failed), self.listener.calls)
        self.assertEqual(self.written()[BLOCK_BYTES:], self.data(1))
        self.assertIsNone(self.session.over)

    def test_cancelled_on_its_way(self) -> None:
        """The rest of a block that nobody wants goes nowhere."""
        self.session.request(self.content, [0, 1])
        self.send(self.header(0) + self.data(0)[:50_000])
        self.session.cancel(self.content, [0])
        self.send(self.data(0)[50_000:] + self.header(1) + self.data(1))
        self.assertEqual(
            self.written()[:BLOCK_BYTES], self.data(0)[:50_000].ljust(BLOCK_BYTES, b"\0")
        )
        self.assertEqual(self.written()[BLOCK_BYTES:], self.data(1))

    def test_left_while_the_pipe_is_full(self) -> None:
        """Left from within a write: what the sink did not take is not taken for the next block."""
        self.session.request(self.content, [0])
        self.send(self.header(0) + self.data(0)[:1_000])
        sink = self.listener.sinks[0]
        sink.write = lambda data: self.session.leave(self.content)
        self.send(self.data(0)[1_000:])
        other = "b3:" + "8" * 64
        self.session.attach(other, SIZE, self.listener)
        self.session.request(other, [1])
        self.send(encode(Block(content=other, index=1, length=BLOCK_BYTES)) + self.data(1))
        self.assertEqual(self.written()[BLOCK_BYTES:], self.data(1))

    def test_small_blocks(self) -> None:
        """They do not go through the pipe: there is less of them than it costs."""
        other, data = "b3:" + "8" * 64, b"x" * 60_000
        self.session.attach(other, len(data), self.listener)
        self.session.request(other, [0])
        self.send(encode(Block(content=other, index=0, length=len(data))) + data)
        self.assertEqual(self.listener.sinks[0].piped_bytes, 0)
        self.assertEqual(self.written(), data)

    def test_a_manifest(self) -> None:
        """It is hashed in the program, however long it is."""
        manifest = manifest_of(bytes(100 << 16))
        told = Content(content=manifest.content_id, size=100 << 16, length=3_200, digests=3_200)
        self.session.join(manifest.content_id, self.listener, manifest=True)
        self.send(encode(told) + manifest.digests)
        self.assertEqual(self.listener.names, ["content_told"])

    def test_wrong_message_behind_a_block(self) -> None:
        """The session ends in the middle of a turn, and nothing is left open."""
        self.session.request(self.content, [0])
        self.send(self.header(0) + self.data(0)[:50_000])
        self.send(self.data(0)[50_000:100_000])
        before = open_descriptors()
        self.send(self.data(0)[100_000:] + b"nonsense\n")
        over = self.session.over
        assert over is not None
        self.assertEqual(over.reason, Reason.BAD_MESSAGE)
        self.assertLess(open_descriptors(), before)

    def test_a_system_that_does_not_splice(self) -> None:
        """Everything comes the plain way."""
        self.patch(os, "splice", failing(errno.EINVAL))
        self.session.request(self.content, [0, 1])
        self.send(b"".join(self.header(index) + self.data(index) for index in (0, 1)))
        self.assertEqual(self.written(), DATA[: 2 * BLOCK_BYTES])


class BufferTests(IntakeTestCase):
    """Blocks that there is memory for."""

    def setUp(self) -> None:
        super().setUp()
        self.buffers = Buffers(Memory(), BLOCK_BYTES)
        self.counts: list[int] = []
        self.received = 0

        def receive(places: Sequence[memoryview]) -> Any:
            result = self.ours.recvmsg_into(places)
            self.received += min(result[0], len(places[0]))
            return result

        handle = mock.Mock(recvmsg_into=receive)
        self.transport.getHandle = lambda: handle

    def begin(self, session: PeerSession, index: int, length: int) -> Any:
        self.listener.calls.append(("block_begins", index, length))
        self.listener.sinks[index] = self.buffers.take(length, self.counts.append)
        return self.listener.sinks[index]

    def got(self, *indices: int) -> bytes:
        """The bytes of these blocks, one after the other."""
        return b"".join(bytes(self.listener.sinks[index].data) for index in indices)

    def test_received_where_they_belong(self) -> None:
        """All but what came with the messages; it is counted as it comes."""
        self.session.request(self.content, [0, 1, 2])
        self.send(b"".join(self.header(index) + self.data(index) for index in (0, 1, 2)))
        self.assertEqual(self.got(0, 1, 2), DATA[: 3 * BLOCK_BYTES])
        self.assertEqual(sum(self.counts), 3 * BLOCK_BYTES)
        arrived = [call for call in self.listener.calls if call[0] == "block_arrived"]
        self.assertEqual(arrived, [("block_arrived", index) for index in (0, 1, 2)])
        self.assertGreaterEqual(self.received, 2 * (BLOCK_BYTES - intake.MESSAGE_BYTES))

    def test_any_pieces(self) -> None:
        """However the stream is cut, messages and blocks stay apart."""
        self.session.request(self.content, [0, 1])
        stream = b"".join(self.header(index) + self.data(index) for index in (0, 1))
        for start in range(0, len(stream), 30_011):
            self.send(stream[start : start + 30_011])
        self.assertEqual(self.got(0, 1), DATA[: 2 * BLOCK_BYTES])
        self.assertIsNone(self.session.over)

    def test_dropped_on_its_way(self) -> None:
        """What comes for a buffer that is somebody else's by now goes nowhere."""
        self.session.request(self.content, [0, 1])
        self.send(self.header(0) + self.data(0)[:50_000])
        self.buffers.give(self.listener.sinks[0])
        other = self.buffers.take(BLOCK_BYTES, self.counts.append)
        assert other is not None
        before = bytes(other.data)
        self.send(self.data(0)[50_000:] + self.header(1) + self.data(1))
        self.assertEqual(bytes(other.data), before)
        self.assertEqual(self.got(1), self.data(1))

    def test_cancelled_on_its_way(self) -> None:
        self.session.request(self.content, [0, 1])
        self.send(self.header(0) + self.data(0)[:50_000])
        self.session.cancel(self.content, [0])
        self.send(self.data(0)[50_000:] + self.header(1) + self.data(1))
        self.assertEqual(self.got(1), self.data(1))
        self.assertNotIn(("block_arrived", 0), self.listener.calls)

    def test_memory_that_is_used_up(self) -> None:
        """The next one goes through the pipe, the one after that does not."""
        self.session.request(self.content, [0, 1, 2])
        self.send(self.header(0) + self.data(0))
        begin, self.listener.block_begins = self.listener.block_begins, self.to_file
        self.send(self.header(1) + self.data(1))
        self.listener.block_begins = begin  # type: ignore[method-assign]
        self.send(self.header(2) + self.data(2))
        self.assertEqual(self.got(0, 2), self.data(0) + self.data(2))
        self.assertEqual(self.written()[BLOCK_BYTES:], self.data(1))

    def to_file(self, session: PeerSession, index: int, length: int) -> Any:
        return PieceSink(self.part, index * BLOCK_BYTES, True)

    def test_end_of_stream(self) -> None:
        """The peer goes in the middle of a block."""
        self.session.request(self.content, [0])
        self.send(self.header(0) + self.data(0)[:50_000])
        self.peer.close()
        self.read()
        over = self.session.over
        assert over is not None
        self.assertEqual(over.reason, Reason.SHORT)

    def test_a_reset(self) -> None:
        self.session.request(self.content, [0])
        self.send(self.header(0) + self.data(0)[:50_000])
        self.reset()
        self.read()
        self.assertIsNotNone(self.session.over)

    def test_nothing_there(self) -> None:
        """A turn without bytes changes nothing."""
        self.session.request(self.content, [0])
        self.send(self.header(0) + self.data(0)[:50_000])
        self.assertIsNone(self.transport.doRead())
        self.assertEqual(self.listener.sinks[0].received, 50_000)

    def test_a_wrong_message_behind_it(self) -> None:
        self.session.request(self.content, [0])
        self.send(self.header(0) + self.data(0) + b"nonsense\n")
        self.assertIsNotNone(self.session.over)


class LimitedBufferTests(BufferTests):
    """The same under a limit that does not matter."""

    rate = 100_000_000.0


class LimitedIntakeTests(IntakeTests):
    """The same under a download limit that does not matter: all is charged, little at a time."""

    rate = 100_000_000.0
