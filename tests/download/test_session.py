"""One connection to an uploader: every way in which it can end."""

from __future__ import annotations

from typing import Any

from twisted.internet import error
from twisted.trial.unittest import SynchronousTestCase

from peershare.download.session import (
    STALLED_SECONDS,
    SURPLUS_BYTES,
    SURPLUS_SECONDS,
    ChunkSession,
)
from peershare.errors import PeerError, Reason, StorageError
from peershare.throttle import TokenBucket
from tests.fakes import FakeReactor, FakeTransport

REQUEST = b'{"requested_content": "forest_1"}'
FULL = StorageError("/there: the disk is full", 5)


class MemorySink:
    """Keeps what comes; fails where it is told to."""

    def __init__(self) -> None:
        self.data = b""
        self.full = False

    def write(self, data: bytes) -> None:
        if self.full:
            raise FULL
        self.data += data


class SessionTestCase(SynchronousTestCase):
    """A session that has asked for a chunk of at most `most` bytes."""

    rate: float | None = None

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.sink = MemorySink()
        bucket = TokenBucket(self.rate, self.reactor.seconds)
        self.session = ChunkSession(self.reactor, bucket)
        self.transport = FakeTransport(self.reactor, self.session)
        self.session.makeConnection(self.transport)
        self.results: list[Any] = []
        self.gone: list[None] = []
        self.session.gone.addCallback(self.gone.append)

    def tearDown(self) -> None:
        self.transport.lose(error.ConnectionLost())
        self.reactor.advance(0)
        self.assertEqual(self.reactor.getDelayedCalls(), [], "no timer outlives the connection")
        self.assertEqual(len(self.gone), 1, "its end is told once")

    def ask(self, most: int | None = 10) -> None:
        asked = self.session.ask(REQUEST, self.sink, most)
        asked.addErrback(lambda failure: failure.value)
        asked.addCallback(self.results.append)

    def assert_failed(self, reason: Reason, *parts: str) -> None:
        (failed,) = self.results
        self.assertIsInstance(failed, PeerError)
        self.assertEqual(failed.reason, reason)
        for part in parts:
            self.assertIn(part, str(failed))


class WholeTests(SessionTestCase):
    def test_the_request_is_one_write(self) -> None:
        """Real uploaders read one recv: everything goes at once, and nothing after it."""
        self.ask()
        self.session.dataReceived(b"0123456789")
        self.transport.lose(error.ConnectionDone())
        self.assertEqual(self.transport.writes, [REQUEST])
        self.assertEqual(self.transport.events, ["write"])

    def test_a_whole_chunk(self) -> None:
        """The bytes go to the sink as they come, their number is the result."""
        counts: list[int] = []
        self.session.on_bytes = counts.append
        self.ask()
        self.session.dataReceived(b"0123")
        self.assertEqual(self.sink.data, b"0123")
        self.assertEqual(self.results, [])
        self.session.dataReceived(b"456789")
        self.transport.lose(error.ConnectionDone())
        self.assertEqual(self.results, [10])
        self.assertEqual(counts, [4, 6])

    def test_less_than_the_most_is_for_others_to_judge(self) -> None:
        """An orderly end gives the length, none at all included: chunk 5 may be shorter."""
        self.ask()
        self.transport.lose(error.ConnectionDone())
        self.assertEqual(self.results, [0])

    def test_an_unknown_size_ends_where_the_stream_ends(self) -> None:
        """Without a chunk size any number of bytes is taken."""
        self.ask(None)
        self.session.dataReceived(b"x" * 5_000_000)
        self.transport.lose(error.ConnectionDone())
        self.assertEqual(self.results, [5_000_000])

    def test_a_reset_after_the_last_byte_is_success(self) -> None:
        """Some uploaders close with unread input, which resets: all is here nevertheless."""
        self.ask()
        self.session.dataReceived(b"0123456789")
        self.transport.lose(error.ConnectionLost())
        self.assertEqual(self.results, [10])

    def test_an_end_that_never_comes_is_not_waited_for_forever(self) -> None:
        """All bytes and no end of stream: it counts when a stall would."""
        self.ask()
        self.session.dataReceived(b"0123456789")
        self.reactor.pump([1.0] * 14)
        self.assertEqual(self.results, [])
        self.reactor.pump([1.0] * 2)
        self.assertEqual(self.results, [10])
        self.reactor.advance(SURPLUS_SECONDS)
        self.assertEqual(self.transport.events, ["write", "reset"])

    def test_reads_are_large_without_a_limit(self) -> None:
        """Twisted's default of 64 KiB a read would cost half of the speed."""
        self.ask()
        self.assertGreater(self.transport.bufferSize, 65_536)


class CutTests(SessionTestCase):
    def test_reset_in_mid_transfer(self) -> None:
        """A cut connection fails the attempt and says how far it came."""
        self.ask()
        self.session.dataReceived(b"0123")
        self.transport.lose(error.ConnectionLost())
        self.assert_failed(Reason.RESET, "after 4 bytes")

    def test_reset_with_an_unknown_size(self) -> None:
        """Where no size is known a cut can never be taken for the end."""
        self.ask(None)
        self.session.dataReceived(b"0123456789")
        self.transport.lose(error.ConnectionLost())
        self.assert_failed(Reason.RESET)

    def test_reset_at_once(self) -> None:
        """How peershare answers for a chunk that it has not."""
        self.ask()
        self.transport.lose(error.ConnectionLost())
        self.assert_failed(Reason.RESET, "after 0 bytes")


class StallTests(SessionTestCase):
    def test_nothing_at_all(self) -> None:
        """A peer that says nothing for 15 s has failed; not earlier."""
        self.ask()
        self.reactor.pump([0.5] * 29)
        self.assertEqual(self.results, [])
        self.reactor.pump([0.5] * 3)
        self.assert_failed(Reason.STALLED, "nothing for 15 s", "after 0 bytes")

    def test_nothing_any_more(self) -> None:
        """The 15 s are counted from the last byte."""
        self.ask()
        self.reactor.advance(10.0)
        self.session.dataReceived(b"0")
        self.reactor.pump([1.0] * 14)
        self.assertEqual(self.results, [])
        self.reactor.pump([1.0] * 3)
        self.assert_failed(Reason.STALLED, "after 1 bytes")

    def test_the_connection_is_kept_for_a_while(self) -> None:
        """Real uploaders die of a reset in mid-transfer: first it is read and dropped for 10 s."""
        self.ask()
        self.reactor.pump([1.0] * (int(STALLED_SECONDS) + 1))
        self.assertEqual(self.transport.events, ["write"])
        self.session.dataReceived(b"late")
        self.assertEqual(self.sink.data, b"")
        self.assertEqual(self.gone, [])
        self.reactor.advance(SURPLUS_SECONDS)
        self.assertEqual(self.transport.events, ["write", "reset"])

    def trickle(self, size: int, seconds: int) -> None:
        """So many bytes each second."""
        for _ in range(seconds):
            self.session.dataReceived(b"x" * size)
            self.reactor.advance(1.0)

    def test_a_trickle(self) -> None:
        """Less than 1 KiB a second over 60 s is too slow."""
        self.ask(None)
        self.trickle(1_000, 59)
        self.assertEqual(self.results, [])
        self.trickle(1_000, 2)
        self.assert_failed(Reason.TOO_SLOW, "1 KiB a second")

    def test_slow_is_not_too_slow(self) -> None:
        """1 KiB a second is waited for as long as it takes."""
        self.ask(None)
        self.trickle(1_030, 200)
        self.assertEqual(self.results, [])

    def test_fast_first_and_a_trickle_then(self) -> None:
        """A good beginning does not excuse the rest."""
        self.ask(None)
        self.trickle(1_000_000, 5)
        self.trickle(10, 118)
        self.assert_failed(Reason.TOO_SLOW)


class TrickleUnderALimitTests(SessionTestCase):
    rate = 1_000_000.0

    def test_our_own_limit_excuses_nobody_who_is_slower(self) -> None:
        """A peer far below the limit is a trickle with a limit as without one."""
        self.ask(None)
        for _ in range(62):
            self.session.dataReceived(b"x" * 10)
            self.reactor.advance(1.0)
        self.assert_failed(Reason.TOO_SLOW)


class SurplusTests(SessionTestCase):
    def test_too_many_bytes(self) -> None:
        """A peer that sends more than a chunk can have has failed; nothing of it is kept."""
        self.ask()
        self.session.dataReceived(b"0123456789")
        self.session.dataReceived(b"x")
        self.assert_failed(Reason.SURPLUS, "more than the 10 bytes")
        self.assertEqual(self.sink.data, b"0123456789")

    def test_nothing_is_written_beyond_the_chunk(self) -> None:
        """The next chunk's place in the file is never touched."""
        self.ask()
        self.session.dataReceived(b"0123456789x")
        self.assert_failed(Reason.SURPLUS)
        self.assertEqual(self.sink.data, b"")

    def test_a_little_surplus_is_read_to_its_end(self) -> None:
        """An uploader that gives 1 MiB too much does not get a reset for it."""
        self.ask()
        self.session.dataReceived(b"x" * (SURPLUS_BYTES + 10))
        self.reactor.advance(1.0)
        self.assertEqual(self.transport.events, ["write"])
        self.transport.lose(error.ConnectionDone())
        self.assertEqual(len(self.results), 1)

    def test_a_lot_of_surplus_is_cut(self) -> None:
        """After 1 MiB it is enough."""
        self.ask()
        self.session.dataReceived(b"x" * (SURPLUS_BYTES + 10))
        self.session.dataReceived(b"x")
        self.assertEqual(self.transport.events, ["write", "reset"])

    def test_slow_surplus_is_cut(self) -> None:
        """After 10 s it is enough."""
        self.ask()
        self.session.dataReceived(b"x" * 11)
        self.reactor.advance(SURPLUS_SECONDS - 0.1)
        self.assertEqual(self.transport.events, ["write"])
        self.reactor.advance(0.2)
        self.assertEqual(self.transport.events, ["write", "reset"])


class NotWantedTests(SessionTestCase):
    def test_stopped_in_mid_transfer(self) -> None:
        """What is not wanted any more is dropped, up to the same bounds; the result never comes."""
        self.ask(None)
        self.session.dataReceived(b"0123")
        self.session.drain()
        self.session.dataReceived(b"x" * SURPLUS_BYTES)
        self.assertEqual(self.sink.data, b"0123")
        self.assertEqual(self.transport.events, ["write"])
        self.session.dataReceived(b"x")
        self.assertEqual(self.transport.events, ["write", "reset"])

    def test_a_stopped_transfer_does_not_stall(self) -> None:
        """Only its own end is waited for, no failure is reported meanwhile."""
        self.ask()
        self.session.drain()
        self.reactor.advance(9.0)
        self.assertEqual(self.results, [])


class OwnDiskTests(SessionTestCase):
    def test_our_disk_is_no_fault_of_theirs(self) -> None:
        """A full disk fails with what the sink said, and lets the peer finish for a while."""
        self.ask(None)
        self.session.dataReceived(b"0123")
        self.sink.full = True
        self.session.dataReceived(b"4567")
        self.assertEqual(self.results, [FULL])
        self.assertEqual(self.session.received, 4)
        self.session.dataReceived(b"89")
        self.assertEqual(self.transport.events, ["write"])
        self.transport.lose(error.ConnectionDone())
        self.assertEqual(self.results, [FULL])


class LimitedTests(SessionTestCase):
    rate = 100_000.0

    def test_reads_are_small_under_a_limit(self) -> None:
        """Large reads would come in bursts that a small limit cannot smooth."""
        self.ask()
        self.assertLessEqual(self.transport.bufferSize, self.rate * 0.1)

    def test_over_five_seconds_the_limit_holds(self) -> None:
        """A peer that sends as fast as we read is held to the limit within 5 %."""
        self.ask(None)
        for _ in range(5_000):
            if self.transport.events[-1] != "pause":
                self.session.dataReceived(b"x" * self.transport.bufferSize)
            self.reactor.advance(0.001)
        ratio = len(self.sink.data) / (5 * self.rate)
        self.assertTrue(0.95 < ratio < 1.05, ratio)

    def test_our_own_limit_is_no_stall(self) -> None:
        """While we do not read ourselves nobody is blamed."""
        self.ask(None)
        self.session.dataReceived(b"x" * 2_000_000)
        self.reactor.pump([0.05] * 390)
        self.assertEqual(self.results, [])
        self.assertEqual(self.transport.events[-1], "pause")
        self.reactor.pump([0.05] * 20)
        self.assertEqual(self.transport.events[-1], "resume")

    def test_draining_reads_on(self) -> None:
        """A paused transfer that is not wanted any more is read to its end."""
        self.ask(None)
        self.session.dataReceived(b"x" * 500_000)
        self.assertEqual(self.transport.events[-1], "pause")
        self.session.drain()
        self.assertEqual(self.transport.events[-1], "resume")
        self.reactor.advance(5.0)
        self.assertEqual(self.transport.events[-1], "resume")
