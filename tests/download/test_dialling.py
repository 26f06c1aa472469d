"""Dialling: one connection at a time to one address, its ports in order, our own address."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

from twisted.internet import error
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from peershare.download.dialling import Dialler
from peershare.download.session import ChunkSession
from peershare.download.slots import AddressSlots
from peershare.errors import PeerError, Reason
from peershare.throttle import TokenBucket
from tests.fakes import FakeReactor

A, B = "198.18.0.2", "198.18.0.3"


class DiallerTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.own: str | None = "198.18.0.1"
        bucket = TokenBucket(None, self.reactor.seconds)
        self.dialler = Dialler(self.reactor, (5000, 8000), bucket, self.own_for)

    def own_for(self, address: IPv4Address) -> str | None:
        return self.own

    def dial(self, address: str = A) -> Deferred[ChunkSession]:
        return Deferred.fromCoroutine(self.dialler.dial(address))

    def failure(self, dialled: Deferred[Any]) -> PeerError:
        return self.failureResultOf(dialled, PeerError).value


class ConnectingTests(DiallerTestCase):
    def test_connects_from_our_own_address_within_three_seconds(self) -> None:
        """Port 5000 first, bound to our address on that network, with the timeout of 3 s."""
        dialled = self.dial()
        (attempt,) = self.reactor.dialled
        self.assertEqual((attempt.host, attempt.port), (A, 5000))
        self.assertEqual(attempt.own_address, "198.18.0.1")
        self.assertEqual(attempt.timeout, 3)
        transport = attempt.accept()
        self.assertIs(self.successResultOf(dialled).transport, transport)
        self.assertEqual(transport.events, [], "nothing is said before the request")

    def test_without_an_own_address_on_that_network(self) -> None:
        """It is left to the system where the connection leaves."""
        self.own = None
        self.dial()
        self.assertIsNone(self.reactor.dialled[0].own_address)

    def test_where_5000_is_refused_8000_is_tried(self) -> None:
        """An older edition of the classic system listens on 8000; at once, without a pause."""
        dialled = self.dial()
        self.reactor.dialled[0].refuse()
        self.assertEqual([attempt.port for attempt in self.reactor.dialled], [5000, 8000])
        self.reactor.dialled[1].accept()
        self.successResultOf(dialled)

    def test_a_port_that_answered_comes_first_from_then_on(self) -> None:
        """The second chunk does not cost a refused connection again."""
        dialled = self.dial()
        self.reactor.dialled[0].refuse()
        self.reactor.dialled[1].accept().lose(error.ConnectionDone())
        self.successResultOf(dialled)
        self.dial()
        self.reactor.dialled[2].refuse()
        self.assertEqual([attempt.port for attempt in self.reactor.dialled[2:]], [8000, 5000])

    def test_all_ports_refused(self) -> None:
        """Then it is the peer that is refusing; nothing else is dialled."""
        dialled = self.dial()
        self.reactor.dialled[0].refuse()
        self.reactor.dialled[1].refuse()
        self.assertEqual(self.failure(dialled).reason, Reason.REFUSED)
        self.assertEqual(len(self.reactor.dialled), 2)

    def test_no_answer(self) -> None:
        """A timeout is no refusal: other ports are not tried, they would cost 3 s each."""
        dialled = self.dial()
        self.reactor.dialled[0].fail(error.TimeoutError())
        failed = self.failure(dialled)
        self.assertEqual(failed.reason, Reason.CONNECT_TIMEOUT)
        self.assertIn("3 s", str(failed))
        self.assertEqual(len(self.reactor.dialled), 1)

    def test_no_answer_as_the_kernel_says_it(self) -> None:
        """ETIMEDOUT is the same timeout."""
        dialled = self.dial()
        self.reactor.dialled[0].fail(error.TCPTimedOutError())
        self.assertEqual(self.failure(dialled).reason, Reason.CONNECT_TIMEOUT)

    def test_no_route(self) -> None:
        """Whatever else keeps us from connecting is named."""
        dialled = self.dial()
        self.reactor.dialled[0].fail(error.NoRouteError(string="No route to host"))
        failed = self.failure(dialled)
        self.assertEqual(failed.reason, Reason.UNREACHABLE)
        self.assertIn("No route to host", str(failed))


class OneAtATimeTests(DiallerTestCase):
    def test_the_second_waits_until_the_first_is_really_closed(self) -> None:
        """Classic uploaders serve one connection at a time; so does the whole node ask."""
        self.successResultOf(self.dialled_and_accepted())
        second = self.dial()
        self.assertTrue(self.dialler.busy(A))
        self.assertEqual(len(self.reactor.dialled), 1)
        transport = self.reactor.dialled[0].transport
        assert transport is not None
        transport.abortConnection()
        self.assertEqual(len(self.reactor.dialled), 1, "asked for is not yet closed")
        self.reactor.advance(0)
        self.assertEqual(len(self.reactor.dialled), 2)
        self.reactor.dialled[1].accept().lose(error.ConnectionDone())
        self.successResultOf(second)
        self.assertFalse(self.dialler.busy(A))

    def dialled_and_accepted(self) -> Deferred[ChunkSession]:
        dialled = self.dial()
        self.reactor.dialled[-1].accept()
        return dialled

    def test_other_addresses_are_not_held_up(self) -> None:
        """The rule is for one address."""
        self.dialled_and_accepted()
        self.dial(B)
        self.assertEqual([attempt.host for attempt in self.reactor.dialled], [A, B])
        self.assertFalse(self.dialler.busy("198.18.0.4"))

    def test_a_failed_attempt_frees_the_address(self) -> None:
        """The next in line gets its turn after a failure too."""
        first, second = self.dial(), self.dial()
        self.reactor.dialled[0].fail(error.TimeoutError())
        self.failure(first)
        self.assertEqual(len(self.reactor.dialled), 2)
        self.reactor.dialled[1].fail(error.TimeoutError())
        self.failure(second)
        self.assertFalse(self.dialler.busy(A))

    def test_cancelled_while_connecting(self) -> None:
        """Giving up stops the connector, frees the address, and is told as a cancellation."""
        dialled, second = self.dial(), self.dial()
        dialled.cancel()
        self.assertTrue(self.reactor.dialled[0].cancelled)
        self.failureResultOf(dialled, CancelledError)
        self.assertEqual(len(self.reactor.dialled), 2)
        self.reactor.dialled[1].accept()
        self.successResultOf(second)

    def test_cancelled_while_waiting(self) -> None:
        """Whoever gives up in the line never dials; the line moves on."""
        first, second, third = self.dial(), self.dial(), self.dial()
        second.cancel()
        self.failureResultOf(second, CancelledError)
        self.reactor.dialled[0].accept().lose(error.ConnectionDone())
        self.successResultOf(first)
        self.reactor.dialled[1].accept().lose(error.ConnectionDone())
        self.successResultOf(third)
        self.assertEqual(len(self.reactor.dialled), 2)
        self.assertFalse(self.dialler.busy(A))


class SlotTests(SynchronousTestCase):
    def test_a_slot_given_back_while_it_is_given_on(self) -> None:
        """Who gets the slot may give it back at once, in the middle of the release before."""
        slots = AddressSlots()
        self.successResultOf(slots.acquire(A))
        slots.acquire(A).addCallback(lambda _: slots.release(A))
        slots.release(A)
        self.assertFalse(slots.busy(A))
        self.successResultOf(slots.acquire(A))
        self.assertTrue(slots.busy(A))

    def test_nothing_is_remembered_of_free_addresses(self) -> None:
        """A thousand addresses that were used once cost nothing."""
        slots = AddressSlots()
        for number in range(1_000):
            address = str(IPv4Address(number))
            slots.acquire(address)
            slots.release(address)
        self.assertEqual(slots._locks, {})
