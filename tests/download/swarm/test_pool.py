"""The pool: one session for each peer, one dial for all who wait, nothing kept open for nobody."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

from twisted.internet import error
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from peershare.download.swarm.pool import IDLE_SECONDS, SessionPool
from peershare.download.swarm.session import PeerSession
from peershare.errors import PeerError, Reason
from peershare.throttle import TokenBucket
from peershare.wire.beacon import Endpoint
from peershare.wire.messages import Hello, encode
from tests.download.swarm.talk import HELLO, ID, ListCatalogueSink, Listening
from tests.fakes import FakeReactor, FakeTransport

A, B = "198.18.0.2", "198.18.0.3"
HERE = Endpoint(A, 5000, "ab")


class PoolTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.own: str | None = "198.18.0.1"
        self.hellos = 0
        self.received: list[tuple[str, int]] = []
        self.gone: list[tuple[Endpoint, Reason]] = []
        self.pool = SessionPool(
            self.reactor,
            self.hello,
            TokenBucket(None, self.reactor.seconds),
            self.own_for,
            lambda peer, count: self.received.append((peer.address, count)),
            lambda peer, error: self.gone.append((peer, error.reason)),
        )

    def tearDown(self) -> None:
        """A closed pool leaves nothing behind."""
        self.pool.close()
        self.reactor.advance(0)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def hello(self, address: str) -> Hello:
        self.hellos += 1
        return HELLO

    def own_for(self, address: IPv4Address) -> str | None:
        return self.own

    def session(self, address: str = A) -> PeerSession:
        """Dialled, accepted, greeted."""
        got = self.pool.get(Endpoint(address, 5000, "ab"))
        self.reactor.dialled[-1].accept()
        session = self.successResultOf(got)
        session.dataReceived(encode(Hello(versions=(1,))))
        return session

    def dial(self, address: str = A, port: int = 5000) -> None:
        """Ask for a session, and for nothing of how that ends."""
        self.pool.get(Endpoint(address, port, "ab")).addErrback(lambda _: None)

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds)):
            self.reactor.advance(1.0)

    def failure(self, got: Deferred[Any]) -> PeerError:
        failed = self.failureResultOf(got, PeerError).value
        assert isinstance(failed, PeerError)
        return failed


class DiallingTests(PoolTestCase):
    def test_from_our_own_address_within_three_seconds(self) -> None:
        """To the port that is named; what we say of ourselves is asked for each time."""
        got = self.pool.get(Endpoint(A, 5003, "ab"))
        (dialled,) = self.reactor.dialled
        self.assertEqual((dialled.host, dialled.port, dialled.timeout), (A, 5003, 3))
        self.assertEqual(dialled.own_address, "198.18.0.1")
        dialled.accept()
        session = self.successResultOf(got)
        self.assertEqual(session.endpoint, Endpoint(A, 5003, "ab"))
        self.assertEqual(dialled.request, encode(HELLO))

    def test_without_an_own_address_on_that_network(self) -> None:
        self.own = None
        self.dial()
        self.assertIsNone(self.reactor.dialled[0].own_address)

    def test_one_dial_for_all(self) -> None:
        """Whoever asks meanwhile gets the same session, and so does whoever asks later."""
        waiting = [self.pool.get(HERE) for _ in range(3)]
        self.reactor.dialled[0].accept()
        sessions = [self.successResultOf(got) for got in (*waiting, self.pool.get(HERE))]
        self.assertEqual(sessions, [sessions[0]] * 4)
        self.assertEqual(len(self.reactor.dialled), 1)
        self.assertEqual(self.hellos, 1)

    def test_each_peer_and_each_port_has_its_own(self) -> None:
        for address, port in ((A, 5000), (A, 5001), (B, 5000)):
            self.dial(address, port)
        self.assertEqual(len(self.reactor.dialled), 3)

    def test_a_dial_that_fails(self) -> None:
        """Everybody who waits is told why; the next one dials again."""
        for failed, reason in (
            (error.ConnectionRefusedError(), Reason.REFUSED),
            (error.TimeoutError(), Reason.CONNECT_TIMEOUT),
            (error.NoRouteError(), Reason.UNREACHABLE),
        ):
            with self.subTest(reason=reason):
                waiting = [self.pool.get(HERE) for _ in range(2)]
                self.reactor.dialled[-1].fail(failed)
                for got in waiting:
                    self.assertEqual(self.failure(got).reason, reason)

    def test_one_gives_up(self) -> None:
        """The others still get their session."""
        first, second = (
            self.pool.get(HERE),
            self.pool.get(HERE),
        )
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.reactor.dialled[0].accept()
        self.successResultOf(second)

    def test_all_give_up(self) -> None:
        """The dialling ends; whoever comes then dials anew."""
        first, second = (
            self.pool.get(HERE),
            self.pool.get(HERE),
        )
        for got in (first, second):
            got.cancel()
            self.failureResultOf(got, CancelledError)
        self.assertTrue(self.reactor.dialled[0].cancelled)
        self.session()
        self.assertEqual(len(self.reactor.dialled), 2)

    def test_who_waits_may_ask_again_at_once(self) -> None:
        """A failure that is answered by the next attempt does not fail with it."""
        again: list[Deferred[PeerSession]] = []
        got = self.pool.get(HERE)
        got.addErrback(lambda _: again.append(self.pool.get(HERE)))
        self.reactor.dialled[0].refuse()
        self.reactor.dialled[1].accept()
        self.successResultOf(again[0])


class GoneTests(PoolTestCase):
    """A peer that is not as it was: nobody at its address is dialled before a new proof."""

    def test_a_failed_dial(self) -> None:
        """It is told once, however many wait."""
        for _ in range(3):
            self.dial()
        self.reactor.dialled[0].refuse()
        self.assertEqual(self.gone, [(HERE, Reason.REFUSED)])

    def test_nobody_waits_for_it(self) -> None:
        """A dial that was given up says nothing."""
        got = self.pool.get(HERE)
        got.addErrback(lambda _: None)
        got.cancel()
        self.assertEqual(self.gone, [])

    def test_a_session_that_is_cut_or_closed(self) -> None:
        """Whoever has the address now may be somebody else."""
        self.session()
        self.reactor.dialled[-1].reset()
        self.session()
        self.reactor.dialled[-1].end()
        self.assertEqual([why for _, why in self.gone], [Reason.RESET, Reason.RESET])

    def test_one_that_we_close(self) -> None:
        """That says nothing of the peer."""
        self.session().close()
        self.session()
        self.pool.close()
        self.assertEqual(self.gone, [])

    def test_two_of_one_address(self) -> None:
        """Each has a session of its own, and so has a new run at an old port."""
        peers = [HERE, Endpoint(A, 5010, "cc"), Endpoint(A, 5000, "dd")]
        for peer in peers:
            self.pool.get(peer)
            self.reactor.dialled[-1].accept()
        self.assertEqual([d.port for d in self.reactor.dialled], [5000, 5010, 5000])


class KeepingTests(PoolTestCase):
    def transport(self, number: int = -1) -> FakeTransport:
        transport = self.reactor.dialled[number].transport
        assert transport is not None
        return transport

    def test_one_that_ended_is_not_given_again(self) -> None:
        """Not even in the moment in which it ends."""
        session = self.session()
        listener = Listening()
        listener.reaction = lambda name: self.dial()
        session.join(ID, listener, manifest=False)
        self.transport().lose(error.ConnectionLost())
        self.assertEqual(listener.names, ["session_lost"])
        self.assertEqual(len(self.reactor.dialled), 2)

    def test_idle(self) -> None:
        """Nobody wants anything of it for 30 s: it is closed in order."""
        self.session()
        self.pass_time(IDLE_SECONDS - 2)
        self.assertNotIn("close", self.transport().events)
        self.pass_time(8)
        self.assertIn("close", self.transport().events)
        self.dial()
        self.assertEqual(len(self.reactor.dialled), 2)

    def test_in_use(self) -> None:
        """A content that was joined keeps it open, and so does a catalogue on its way."""
        session = self.session()
        session.join(ID, Listening(), manifest=False)
        session.dataReceived(
            b'{"type": "content", "content": "%s", "size": 0, "length": 0}\n' % ID.encode()
        )
        self.pass_time(300)
        self.assertIsNone(session.over)
        session.leave(ID)
        self.pass_time(IDLE_SECONDS - 2)
        self.assertIsNone(session.over, "the time begins when it is left")
        done = session.get_catalogue("", ListCatalogueSink())
        self.pass_time(10)
        self.assertIsNone(session.over)
        done.addErrback(lambda _: None)

    def test_close(self) -> None:
        """All sessions end, nobody is dialled any more."""
        session = self.session()
        listener = Listening()
        session.join(ID, listener, manifest=False)
        waiting = self.pool.get(Endpoint(B, 5000, "ab"))
        self.pool.close()
        self.assertEqual(listener.names, ["session_lost"])
        self.assertIn("close", self.transport(0).events)
        self.failure(waiting)
        self.assertTrue(self.reactor.dialled[1].cancelled)
        self.assertEqual(self.failure(self.pool.get(HERE)).reason, Reason.UNREACHABLE)
        self.assertEqual(len(self.reactor.dialled), 2)

    def test_what_came_is_counted(self) -> None:
        """The bytes of blocks, by address."""
        session = self.session(B)
        session.attach(ID, 5, Listening())
        session.request(ID, [0])
        line = b'{"type": "block", "content": "%s", "index": 0, "length": 5}\n' % ID.encode()
        session.dataReceived(line + b"hello")
        self.assertEqual(self.received, [(B, 5)])
