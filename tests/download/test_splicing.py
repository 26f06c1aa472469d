"""Reading past the program: nothing is lost, nothing is taken that is not wanted."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import socket
import struct
from pathlib import Path
from typing import Any

from twisted.internet import tcp
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from peershare.download.session import ChunkSession
from peershare.download.splicing import Splicer, splice_from
from peershare.errors import PeerError, Reason, StorageError
from peershare.library.parts import PartFile, PipedBytes
from peershare.throttle import TokenBucket
from tests.fakes import FakeReactor

REQUEST = b'{"requested_content": "forest_1"}'
DEADLINE_SECONDS = 10.0


def failing(number: int) -> Any:
    """A system call that always fails like this."""

    def fail(*_: object, **__: object) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


class KeepingProtocol(Protocol):
    """Keeps what the transport itself read."""

    def __init__(self) -> None:
        self.data = b""

    def dataReceived(self, data: bytes) -> None:
        self.data += data


class PartSink:
    """Writes into a part file from its beginning on; keeps what it was given."""

    def __init__(self, part: PartFile) -> None:
        self.part = part
        self.given: list[Any] = []
        self.offset = 0

    def write(self, data: Any) -> None:
        self.given.append(data)
        self.part.write_at(data, self.offset)
        self.offset += len(data)


class SplicingTestCase(SynchronousTestCase):
    """A connection over real TCP on loopback, whose other end is `self.peer`, and a part file."""

    def setUp(self) -> None:
        if not hasattr(os, "splice"):
            self.skipTest("this system has no splice")
        self.reactor = FakeReactor()
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.peer = socket.create_connection(server.getsockname())
            self.ours, _ = server.accept()
        self.ours.setblocking(False)
        self.addCleanup(self.ours.close)
        self.addCleanup(self.peer.close)
        self.part = PartFile(Path(self.mktemp()), "1-forest.part")
        self.addCleanup(self.part.close)
        self.sink = PartSink(self.part)

    def connection(self, protocol: Protocol) -> Any:
        """A transport of Twisted's over our end of the connection."""
        connection = tcp.Connection(self.ours, protocol, self.reactor)
        connection.connected = 1
        protocol.makeConnection(connection)
        self.transport = connection
        return connection

    def turn(self) -> Any:
        """One turn of a reactor: when there is something to read, the transport is told."""
        readable, _, _ = select.select([self.ours], [], [], DEADLINE_SECONDS)
        self.assertTrue(readable, "nothing came")
        return self.transport.doRead()

    def reset(self) -> None:
        """The peer cuts the connection, hard."""
        self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.peer.close()

    def written(self) -> bytes:
        return self.part.path.read_bytes()


class SplicerTests(SplicingTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.room = 1_000
        self.protocol = KeepingProtocol()
        self.connection(self.protocol)
        self.splicer = self.splice()

    def splice(self) -> Splicer:
        """Read for the transport."""
        splicer = splice_from(self.transport, lambda: self.room, self.sink.write)
        assert splicer is not None
        self.addCleanup(splicer.stop)
        return splicer

    def test_bytes_reach_the_file(self) -> None:
        """What arrives is in the file at its place, and the protocol never saw it."""
        self.peer.sendall(b"forest")
        self.assertIsNone(self.turn())
        self.peer.sendall(b" and bee")
        self.assertIsNone(self.turn())
        self.assertEqual(self.written(), b"forest and bee")
        self.assertEqual(self.protocol.data, b"")

    def test_no_more_than_there_is_room_for(self) -> None:
        """Bytes beyond the room stay in the connection."""
        self.room = 4
        self.peer.sendall(b"0123456789")
        self.turn()
        self.assertEqual(self.written(), b"0123")

    def test_without_room_the_transport_reads(self) -> None:
        """With no room the protocol gets the bytes: it has to know that there are more."""
        self.room = 0
        self.peer.sendall(b"surplus")
        self.turn()
        self.assertEqual(self.protocol.data, b"surplus")
        self.assertEqual(self.sink.given, [])

    def test_nothing_there(self) -> None:
        """A turn without bytes changes nothing."""
        self.assertIsNone(self.transport.doRead())
        self.assertEqual(self.sink.given, [])

    def test_end_of_stream(self) -> None:
        """The peer's orderly end is told as the transport tells it."""
        self.peer.sendall(b"forest")
        self.peer.close()
        self.assertIsNone(self.turn())
        self.assertIs(self.turn(), CONNECTION_DONE)
        self.assertEqual(self.written(), b"forest")

    def test_a_reset_is_no_end_of_stream(self) -> None:
        """The kernel tells a reset once, and an end of stream afterwards: the first one counts."""
        self.reset()
        self.assertIs(self.turn(), CONNECTION_LOST)

    def test_after_stop_the_transport_reads(self) -> None:
        """Nothing of the splicer is left on the transport, and its pipe is closed."""
        self.peer.sendall(b"forest")
        self.turn()
        descriptor = self.sink.given[0].descriptor
        self.splicer.stop()
        self.splicer.stop()
        self.assertNotIn("doRead", vars(self.transport))
        self.assertRaises(OSError, os.fstat, descriptor)
        self.peer.sendall(b" and bee")
        self.turn()
        self.assertEqual(self.protocol.data, b" and bee")

    def test_a_kernel_that_does_not_splice(self) -> None:
        """Where a sandbox forbids it the transport reads from then on, and nothing is lost."""
        self.patch(os, "splice", failing(errno.EPERM))
        self.peer.sendall(b"forest")
        self.turn()
        self.assertEqual(self.protocol.data, b"forest")
        self.assertNotIn("doRead", vars(self.transport))


class UnableTests(SplicingTestCase):
    def test_a_transport_that_is_none_of_the_kernels(self) -> None:
        """What has no descriptor to read from is left alone."""
        self.assertIsNone(splice_from(object(), lambda: 1, self.sink.write))

    def test_a_system_without_splice(self) -> None:
        """Elsewhere than on Linux nothing changes."""
        self.patch(os, "splice", None)
        del os.splice
        transport = self.connection(KeepingProtocol())
        self.assertIsNone(splice_from(transport, lambda: 1, self.sink.write))

    def test_no_descriptors_left(self) -> None:
        """Without a pipe it goes the plain way."""
        self.patch(os, "pipe", failing(errno.EMFILE))
        transport = self.connection(KeepingProtocol())
        self.assertIsNone(splice_from(transport, lambda: 1, self.sink.write))

    def test_a_small_pipe(self) -> None:
        """Where large pipes are used up a small one does, in more turns."""
        self.patch(fcntl, "fcntl", failing(errno.EPERM))
        transport = self.connection(KeepingProtocol())
        splicer = splice_from(transport, lambda: 1_000, self.sink.write)
        assert splicer is not None
        self.peer.sendall(b"forest")
        self.turn()
        splicer.stop()
        self.assertEqual(self.written(), b"forest")


class PipedTests(SplicingTestCase):
    def piped(self, data: bytes) -> PipedBytes:
        """These bytes, in a pipe."""
        take_out, put_in = os.pipe()
        self.addCleanup(os.close, take_out)
        self.addCleanup(os.close, put_in)
        os.write(put_in, data)
        return PipedBytes(take_out, len(data))

    def test_at_their_place(self) -> None:
        """Bytes of a pipe are written where they belong."""
        self.part.write_at(self.piped(b"bee"), 3)
        self.part.write_at(self.piped(b"any"), 0)
        self.assertEqual(self.written(), b"anybee")

    def test_a_file_system_without_splice(self) -> None:
        """Where the file cannot be spliced into, the bytes are read and written."""
        self.patch(os, "splice", failing(errno.EINVAL))
        self.part.write_at(self.piped(b"forest"), 2)
        self.assertEqual(self.written(), b"\0\0forest")

    def test_a_full_disk(self) -> None:
        """Our disk's fault is named, with the bytes that are still missing."""
        splice = os.splice
        room = [4]

        def fill(source: int, target: int, count: int, **keywords: Any) -> int:
            count = min(count, room[0])
            if count == 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            room[0] -= count
            return splice(source, target, count, **keywords)

        self.patch(os, "splice", fill)
        failed = self.assertRaises(StorageError, self.part.write_at, self.piped(b"0123456789"), 0)
        self.assertEqual(failed.needed_bytes, 6)
        self.assertEqual(self.written(), b"0123")


class SessionTests(SplicingTestCase):
    """A session over a connection that can be spliced from."""

    rate: float | None = None

    def setUp(self) -> None:
        super().setUp()
        self.session = ChunkSession(self.reactor, TokenBucket(self.rate, self.reactor.seconds))
        self.connection(self.session)
        self.results: list[Any] = []
        self.addCleanup(self.end)

    def end(self, reason: Any = CONNECTION_DONE) -> None:
        """Twisted: the connection has ended; also closes what a test leaves open."""
        if self.transport.connected:
            self.transport.connectionLost(Failure(reason))
        for call in self.reactor.getDelayedCalls():
            call.cancel()

    def ask(self, most: int | None) -> None:
        asked = self.session.ask(REQUEST, self.sink, most)
        asked.addErrback(lambda failure: failure.value)
        asked.addCallback(self.results.append)

    def read(self) -> None:
        """One turn of the reactor."""
        why = self.turn()
        if why is not None:
            self.end(why)

    def test_a_whole_chunk(self) -> None:
        """The bytes go the short way, their number is the result."""
        counts: list[int] = []
        self.session.on_bytes = counts.append
        self.ask(10)
        self.peer.sendall(b"0123456789")
        self.peer.close()
        self.read()
        self.read()
        self.assertEqual(self.results, [10])
        self.assertEqual(counts, [10])
        self.assertEqual(self.written(), b"0123456789")
        self.assertIsInstance(self.sink.given[0], PipedBytes)

    def test_surplus(self) -> None:
        """One byte more than the chunk can have: it is noticed, and it is nowhere in the file."""
        self.ask(10)
        self.peer.sendall(b"0123456789x")
        self.read()
        self.assertEqual(self.results, [])
        self.read()
        (failed,) = self.results
        self.assertIsInstance(failed, PeerError)
        self.assertEqual(failed.reason, Reason.SURPLUS)
        self.assertEqual(self.written(), b"0123456789")

    def test_a_reset_in_mid_transfer(self) -> None:
        """It is a failure, where an end of stream would be a chunk of an unknown size."""
        self.ask(None)
        self.peer.sendall(b"0123")
        self.read()
        self.reset()
        self.read()
        self.assertEqual(self.results[0].reason, Reason.RESET)

    def test_what_is_not_wanted_any_more(self) -> None:
        """After `drain` what comes is read and dropped."""
        self.ask(None)
        self.peer.sendall(b"0123")
        self.read()
        self.session.drain()
        self.peer.sendall(b"4567")
        self.read()
        self.assertEqual(self.written(), b"0123")

    def test_our_disk_is_full(self) -> None:
        """The session fails with our own fault; what is left in the pipe goes with it."""
        self.ask(None)
        self.peer.sendall(b"0123")
        self.patch(self.part, "write_at", self.full)
        self.read()
        self.assertIsInstance(self.results[0], StorageError)
        self.assertNotIn("doRead", vars(self.transport))

    def full(self, *_: object) -> None:
        raise StorageError("/there: the disk is full", 5)


class LimitedSessionTests(SessionTests):
    """The same under a download limit."""

    rate = 100_000.0

    def test_the_limit_holds(self) -> None:
        """One read takes a twentieth of a second's bytes; over the limit there is none."""
        self.ask(None)
        self.transport.startReading()
        self.peer.sendall(b"x" * 50_000)
        for _ in range(2):
            self.read()
        self.assertIn(self.transport, self.reactor.getReaders())
        self.read()
        self.assertEqual(self.sink.offset, 15_000)
        self.assertNotIn(self.transport, self.reactor.getReaders())
        self.reactor.advance(0.1)
        self.assertIn(self.transport, self.reactor.getReaders())
