"""The sources: who is dialled, who is kept away from, and for how long."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from peershare.download.swarm.sources import (
    FIRST_BACKOFF_SECONDS,
    FIRST_BLAME_SECONDS,
    LONGEST_BACKOFF_SECONDS,
    Sources,
)
from peershare.errors import PeerError, Reason
from peershare.holdings import Holder
from peershare.wire.beacon import Endpoint
from tests.download.swarm.parts import NotingSession, an_error
from tests.fakes import FakeReactor

A, B = Endpoint("198.18.0.2", 5000, "aa"), Endpoint("198.18.0.3", 5000, "bb")


class NotingPool:
    """Notes whom it is to dial; the test says what becomes of it."""

    def __init__(self) -> None:
        self.dials: dict[Endpoint, Deferred[Any]] = {}
        self.dialled: list[Endpoint] = []

    def get(self, peer: Endpoint) -> Deferred[Any]:
        self.dialled.append(peer)
        self.dials[peer] = Deferred()
        return self.dials[peer]

    def accept(self, peer: Endpoint) -> NotingSession:
        session = NotingSession(peer)
        self.dials.pop(peer).callback(session)
        return session

    def refuse(self, peer: Endpoint) -> None:
        self.dials.pop(peer).errback(PeerError(Reason.REFUSED, "refused the connection"))


class SourcesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.pool: Any = NotingPool()
        self.there = [A]
        self.opened: list[Endpoint] = []
        self.failed: list[Endpoint] = []
        self.sources = Sources(
            self.reactor,
            Random(3),
            self.pool,
            lambda: [Holder(endpoint=a, complete=True, size=9) for a in self.there],
            lambda session, holder: self.opened.append(session.endpoint),
            lambda address, error: self.failed.append(address),
        )
        self.addCleanup(self.sources.stop)

    def test_everybody_is_dialled_once(self) -> None:
        """Whoever is there, and whoever comes; nobody twice."""
        self.sources.start()
        self.sources.refresh()
        self.there.append(B)
        self.sources.refresh()
        self.pool.accept(A)
        self.sources.refresh()
        self.assertEqual((self.pool.dialled, self.opened), ([A, B], [A]))
        self.assertEqual(list(self.sources.sessions), [A])

    def test_backoff_grows_and_is_forgotten(self) -> None:
        """An address that fails is dialled after 1, 2, 4 … s, up to 30 s; afresh once it gave."""
        self.sources.start()
        wait = FIRST_BACKOFF_SECONDS
        for number in range(1, 9):
            self.pool.refuse(A)
            self.reactor.advance(wait - 0.01)
            self.assertEqual(len(self.pool.dialled), number)
            self.reactor.advance(0.02)
            self.assertEqual(len(self.pool.dialled), number + 1)
            wait = min(2 * wait, LONGEST_BACKOFF_SECONDS)
        self.assertEqual(self.sources.problems(), {A.address: "refused the connection"})
        self.pool.accept(A)
        self.sources.gave(A)
        self.assertEqual(self.sources.problems(), {})
        self.sources.fail(A, an_error())
        self.reactor.advance(FIRST_BACKOFF_SECONDS)
        self.assertEqual(len(self.pool.dialled), 10)

    def test_wrong_bytes_are_not_forgiven(self) -> None:
        """Who gave wrong bytes is not asked again while there is somebody else."""
        self.there = [A, B]
        self.sources.start()
        self.pool.accept(A)
        self.pool.accept(B)
        self.sources.fail(A, an_error(), blame=True)
        self.reactor.advance(1_000)
        self.assertEqual(self.pool.dialled, [A, B])

    def test_a_lone_peer_gets_another_chance(self) -> None:
        """Unless it is the only one: then after a while, and ever longer whiles."""
        self.sources.start()
        self.pool.accept(A)
        self.sources.fail(A, an_error(), blame=True)
        self.reactor.advance(FIRST_BLAME_SECONDS - 0.1)
        self.assertEqual(len(self.pool.dialled), 1)
        self.reactor.advance(0.2)
        self.assertEqual(len(self.pool.dialled), 2)
        self.pool.accept(A)
        self.sources.fail(A, an_error(), blame=True)
        self.reactor.advance(2 * FIRST_BLAME_SECONDS - 0.1)
        self.assertEqual(len(self.pool.dialled), 2)

    def test_who_withdraws_is_excused_once(self) -> None:
        """Its disk failed, perhaps; who is wrong again is a liar, whatever he says."""
        self.there = [A, B]
        self.sources.start()
        self.pool.accept(A)
        self.pool.accept(B)
        self.sources.fail(A, an_error(), blame=True)
        self.sources.excuse(A)
        self.reactor.advance(FIRST_BLAME_SECONDS + 0.1)
        self.sources.refresh()
        self.assertEqual(self.pool.dialled, [A, B, A])
        self.pool.accept(A)
        self.sources.fail(A, an_error(), blame=True)
        self.sources.excuse(A)
        self.sources.excuse(Endpoint(A.address, 5010, "cc"))  # nor by another port
        self.reactor.advance(1_000)
        self.sources.refresh()
        self.assertEqual(self.pool.dialled, [A, B, A])

    def test_a_lone_peer_among_others_who_have_nothing(self) -> None:
        """Sessions with those who lack the same do not keep it away for ever."""
        self.there = [A, B]
        self.sources.start()
        self.pool.accept(A)
        self.pool.accept(B)
        self.sources.fail(A, an_error(), blame=True)
        self.reactor.advance(FIRST_BLAME_SECONDS + 1)
        self.assertEqual(self.pool.dialled, [A, B])
        self.sources.desperate = True
        self.sources.refresh()
        self.assertEqual(self.pool.dialled, [A, B, A])

    def test_a_cap_that_keeps_a_random_part(self) -> None:
        """Of a large swarm so many are dialled as may be, others than by their order."""
        self.there = [Endpoint(f"198.18.1.{n}", 5000, "aa") for n in range(1, 101)]
        self.sources.most = 10
        self.sources.start()
        self.assertEqual(len(set(self.pool.dialled)), 10)
        self.assertNotEqual(self.pool.dialled, self.there[:10])
        for address in list(self.pool.dials):
            self.pool.accept(address)
        self.assertTrue(self.sources.others_waiting())
        useless = self.pool.dialled[0]
        self.sources.exchange(useless)
        self.assertEqual(len(self.pool.dialled), 11)
        self.assertNotIn(useless, self.sources.sessions)

    def test_a_new_run(self) -> None:
        """What failed was the old one: it is dialled at once."""
        self.sources.start()
        for _ in range(4):
            self.pool.refuse(A)
            self.reactor.advance(30.0)
        self.pool.refuse(A)
        again = Endpoint(A.address, A.port, "cc")
        self.there = [again]
        self.sources.refresh()
        self.assertEqual(self.pool.dialled[-1], again)

    def test_a_new_run_of_an_address_that_gave_wrong_bytes(self) -> None:
        """That is held against the address."""
        self.there = [A, B]
        self.sources.start()
        self.pool.accept(A)
        self.pool.accept(B)
        self.sources.fail(A, PeerError(Reason.WRONG_BYTES, "gave wrong bytes"), blame=True)
        self.there = [Endpoint(A.address, 5010, "cc"), B]
        self.reactor.advance(300.0)
        self.sources.refresh()
        self.assertEqual(self.pool.dialled, [A, B])

    def test_two_of_one_machine(self) -> None:
        """Both are dialled, and one that fails does not hold up the other."""
        other = Endpoint(A.address, 5010, "cc")
        self.there = [A, other]
        self.sources.start()
        self.pool.refuse(A)
        self.pool.accept(other)
        self.assertEqual((self.opened, set(self.sources.sessions)), ([other], {other}))

    def test_stop_ends_dialling(self) -> None:
        """Nobody is dialled any more, and whoever answers late is not taken."""
        self.sources.start()
        dial = self.pool.dials[A]
        self.sources.stop()
        self.assertFalse(self.sources.busy)
        self.assertTrue(dial.called)
        self.assertEqual((self.opened, self.failed), ([], []))
        self.reactor.advance(100)
        self.assertEqual(self.pool.dialled, [A])
