"""How a range of a file leaves: whole, in its turn, and no faster than allowed."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from twisted.internet.interfaces import ISSLTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import directlyProvides

from peershare import sending
from peershare.content.chunks import ByteRange
from peershare.sending import FileCutShortError, FileRangeProducer, descriptor_of, is_theirs
from peershare.throttle import TokenBucket
from tests.fakes import FakeReactor, FakeTransport, HeldWorkers, SocketTransport


class SendingTestCase(SynchronousTestCase):
    rate: float | None = None

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.transport = SocketTransport(self.reactor)
        self.addCleanup(self.transport.close)
        self.bucket = TokenBucket(self.rate, self.reactor.seconds)
        self.workers = HeldWorkers()
        self.results: list[Exception | None] = []
        self.path = Path(self.mktemp())
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def producer(self, data: bytes, byte_range: ByteRange | None = None) -> FileRangeProducer:
        self.path.write_bytes(data)
        descriptor = os.open(self.path, os.O_RDONLY)
        self.addCleanup(os.close, descriptor)
        return FileRangeProducer(
            self.reactor,
            self.transport,
            descriptor,
            byte_range or ByteRange(0, len(data)),
            self.bucket,
            self.workers,
            self.results.append,
        )

    def run_to_end(self, turns: int = 100_000) -> bytes:
        """Let the transport drain again and again; what arrived at the other end."""
        arrived = []
        while not self.results and turns:
            turns -= 1
            self.transport.turn()
            arrived.append(self.transport.read())
        arrived.append(self.transport.read())
        return b"".join(arrived)


class SendingTests(SendingTestCase):
    def test_exactly_the_range(self) -> None:
        """Each byte of it, none before and none behind, whatever fits into the socket at once."""
        data = os.urandom(3_000_000)
        producer = self.producer(data, ByteRange(1_000, 2_500_001))
        producer.start()
        self.assertEqual(self.run_to_end(), data[1_000:2_500_001])
        self.assertEqual((self.results, producer.sent), ([None], 2_499_001))
        self.assertIsNone(self.transport.producer)

    def test_nothing_is_buffered_by_us(self) -> None:
        """The kernel moves the bytes: nothing is written to the transport."""
        self.producer(os.urandom(300_000)).start()
        self.run_to_end()
        self.assertEqual(self.transport.writes, [])

    def test_a_reader_that_does_not_read(self) -> None:
        """Nothing is lost and nothing repeated when the socket is full for a while."""
        data = os.urandom(2_000_000)
        producer = self.producer(data)
        producer.start()
        for _ in range(100):
            self.transport.turn()
        self.assertLess(producer.sent, len(data))
        self.assertTrue(self.transport.wants_to_write, "it asks to be asked again")
        self.assertEqual(self.run_to_end(), data)

    def test_a_file_that_shrank(self) -> None:
        """The end of the file before the end of the range is an error that says how much."""
        data = os.urandom(2_000_000)
        producer = self.producer(data)
        producer.start()
        os.truncate(self.path, 1_500_000)
        arrived = self.run_to_end()
        (failed,) = self.results
        self.assertIsInstance(failed, FileCutShortError)
        self.assertEqual(str(failed), "500000 bytes are missing")
        self.assertEqual(len(arrived), 1_500_000)
        self.assertIsNone(self.transport.producer)

    def test_a_reader_that_is_gone(self) -> None:
        """The system's error is the result."""
        producer = self.producer(os.urandom(2_000_000))
        producer.start()
        self.transport.theirs.close()
        while not self.results:
            self.transport.turn()
        self.assertIsInstance(self.results[0], OSError)

    def test_stopped(self) -> None:
        """A connection that is lost ends it without a result."""
        producer = self.producer(os.urandom(2_000_000))
        producer.start()
        producer.stopProducing()
        sent = producer.sent
        self.transport.turn()
        self.assertEqual((producer.sent, self.results), (sent, []))

    def test_reading_ahead(self) -> None:
        """Workers are asked to bring the next pages, and a failure of that is nothing."""
        producer = self.producer(os.urandom(1_000_000))
        producer.start()
        self.assertEqual(len(self.workers.waiting), 1)
        self.workers._tasks[0][0].errback(OSError("no such descriptor"))
        self.workers._tasks.clear()
        self.run_to_end()
        self.assertEqual(self.results, [None])

    def test_without_sendfile(self) -> None:
        """Where there is none the same bytes are written piece by piece."""
        self.patch(sending, "_HAS_SENDFILE", False)
        data = os.urandom(300_000)
        producer = self.producer(data, ByteRange(5, 250_000))
        producer.start()
        while self.transport.producer is not None:
            producer.resumeProducing()
        self.assertEqual(self.transport.written, data[5:250_000])
        self.assertEqual((self.results, producer.sent), ([None], 249_995))


class LimitedTests(SendingTestCase):
    rate = 100_000.0

    def test_over_five_seconds_the_limit_holds(self) -> None:
        """A reader that takes everything at once gets the limit, within 5 %."""
        producer = self.producer(os.urandom(2_000_000))
        producer.start()
        for _ in range(5_000):
            self.reactor.advance(0.001)
            for _ in range(3):
                self.transport.turn()
            self.transport.read()
        ratio = producer.sent / (5 * self.rate)
        self.assertTrue(0.95 < ratio < 1.05, ratio)

    def test_two_at_once_share_it(self) -> None:
        """The limit is for the whole peer."""
        first = self.producer(os.urandom(2_000_000))
        other = SocketTransport(self.reactor)
        self.addCleanup(other.close)
        mine, self.transport = self.transport, other
        second = self.producer(os.urandom(2_000_000))
        first.start()
        second.start()
        for _ in range(5_000):
            self.reactor.advance(0.001)
            for transport in (mine, other):
                transport.turn()
                transport.turn()
                transport.read()
        ratio = (first.sent + second.sent) / (5 * self.rate)
        self.assertTrue(0.95 < ratio < 1.05, ratio)
        self.assertGreater(min(first.sent, second.sent), 0)

    def test_waiting_for_the_limit(self) -> None:
        """It is known that it is our own limit that holds it up; stopping takes the timer away."""
        producer = self.producer(os.urandom(2_000_000))
        producer.start()
        while not self.reactor.getDelayedCalls():
            self.assertFalse(producer.was_held_up())
            self.transport.turn()
            self.transport.read()
        self.assertTrue(producer.was_held_up())
        self.assertTrue(producer.was_held_up(), "it still waits")
        self.reactor.advance(1.0)
        self.assertFalse(producer.was_held_up())
        producer.stopProducing()
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_what_the_socket_did_not_take_is_not_charged(self) -> None:
        """A full socket costs others nothing of the limit."""
        self.producer(os.urandom(2_000_000)).start()
        for _ in range(2_000):
            self.reactor.advance(0.001)
            self.transport.turn()
        self.reactor.advance(1.0)
        self.assertGreater(self.bucket.take(1 << 30), 5_000)


class DescriptorTests(SendingTestCase):
    def test_where_the_kernel_can_send(self) -> None:
        """Only to a real socket that is not encrypted, and only if it can at all."""
        self.assertEqual(descriptor_of(self.transport), self.transport.fileno())
        self.assertEqual(descriptor_of(FakeTransport(self.reactor)), -1)
        self.assertEqual(descriptor_of(object()), -1)
        self.patch(sending, "_HAS_SENDFILE", False)
        self.assertEqual(descriptor_of(self.transport), -1)

    def test_encrypted(self) -> None:
        """Below TLS nothing may be sent past the transport."""
        directlyProvides(self.transport, ISSLTransport)
        self.assertEqual(descriptor_of(self.transport), -1)

    def test_pieces_for_a_connection_without_a_descriptor(self) -> None:
        """It is read and written then, each time the transport has drained."""
        data = os.urandom(300_000)
        transport = FakeTransport(self.reactor)
        self.transport.close()
        self.transport = transport  # type: ignore[assignment]
        self.addCleanup(setattr, transport, "close", None)
        self.producer(data).start()
        while not self.results:
            transport.producer.resumeProducing()
        self.assertEqual(transport.written, data)

    def test_whose_fault(self) -> None:
        """A connection that broke is not a file that cannot be read."""
        for number in (errno.EPIPE, errno.ECONNRESET, errno.ETIMEDOUT, errno.EHOSTUNREACH):
            self.assertTrue(is_theirs(OSError(number, "")))
        for failed in (OSError(errno.EIO, ""), OSError(errno.EINVAL, ""), FileCutShortError()):
            self.assertFalse(is_theirs(failed))
