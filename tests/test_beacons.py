"""Beacons: the schedule, and sockets that fail; the gate for what is heard."""

from __future__ import annotations

import itertools
from ipaddress import IPv4Address, IPv4Network
from random import Random

from twisted.internet.testing import EventLoggingObserver
from twisted.logger import LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from peershare.beacons import Beacons, BeaconSocket
from peershare.hearing import FLOOD_REFUSALS, SOURCE_BURST, Hearing
from peershare.neighbours import Heard, Neighbours
from peershare.wire.beacon import Beacon, Nonces, decode, encode
from tests.beaconing import identity
from tests.fakes import FakeReactor, FakeUdpPort, link

A, B = "198.18.0.2", "198.18.0.3"
OWN = IPv4Address("198.18.0.1")
NETWORK = IPv4Network("198.18.0.0/24")


class BeaconsTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.catalogue = ("c" * 64, 3)
        self.neighbours = 0
        self.begin = self.reactor.seconds()
        self.beacons = Beacons(
            self.reactor,
            identity(1),
            Random(5),
            catalogue=lambda: self.catalogue,
            neighbours=lambda: self.neighbours,
        )
        self.socket = self.use("198.18.0.1/24")

    def use(self, address: str) -> FakeUdpPort:
        used = link(address)
        socket = BeaconSocket(self.reactor, used, 5000, lambda *_: False)
        self.beacons.use(used, socket)
        self.beacons.moved(used, 5000)
        return self.reactor.udp_ports[-1]

    def run_for(self, seconds: float, step: float = 0.05) -> list[tuple[float, Beacon]]:
        """What the first socket sent, and when (after the start)."""
        moments = []
        for _ in range(round(seconds / step)):
            self.reactor.advance(step)
            now = self.reactor.seconds() - self.begin
            moments += [(round(now, 2), decode(sent[0])) for sent in self.socket.sent]
            self.socket.sent.clear()
        return moments


class ScheduleTests(BeaconsTestCase):
    def test_what_it_tells(self) -> None:
        """Who we are, where sessions are taken, what our catalogue is called."""
        self.beacons.startService()
        self.reactor.advance(0)
        ((datagram, address, port),) = self.socket.sent
        self.assertEqual((address, port), ("198.18.0.255", 5000))
        told = decode(datagram)
        self.assertEqual((told.peer, told.instance), (identity(1).peer, identity(1).instance))
        self.assertEqual((told.port, told.catalogue, told.count), (5000, *self.catalogue))
        self.assertEqual((told.interval, told.ask, told.bye), (30, True, False))

    def test_burst_and_intervals(self) -> None:
        """At once and four times more, asking; then every 30 s give or take 20 %, not asking."""
        self.beacons.startService()
        sent = self.run_for(3_000.0, 0.1)
        self.assertEqual([moment for moment, told in sent if told.ask], [0.1, 0.5, 2.0, 6.0, 12.0])
        regular = [moment for moment, told in sent if not told.ask]
        gaps = [later - sooner for sooner, later in itertools.pairwise(regular)]
        self.assertTrue(all(23.9 <= gap <= 36.1 for gap in gaps), gaps)
        self.assertTrue(90 <= len(gaps) <= 110)
        self.assertGreater(max(gaps) - min(gaps), 5)

    def test_in_a_large_network(self) -> None:
        """Less often, which is told, and changes less often too."""
        self.neighbours = 999
        self.beacons.startService()
        sent = self.run_for(600.0, 0.1)
        self.assertEqual({told.interval for _, told in sent}, {51})
        self.assertTrue(9 <= len(sent) <= 5 + 15)

    def test_changes(self) -> None:
        """At once, and at most one a second."""
        self.beacons.startService()
        self.run_for(10.0)
        moments = []
        for _ in range(100):
            self.beacons.changed()
            moments += [moment for moment, _ in self.run_for(0.05)]
        self.assertTrue(5 <= len(moments) <= 6, moments)
        self.assertAlmostEqual(moments[0], 10.05)

    def test_another_port(self) -> None:
        """It is a change; the same one is none."""
        self.beacons.startService()
        self.run_for(13.0)
        self.beacons.moved(link("198.18.0.1/24"), 5000)
        self.assertEqual(self.run_for(2.0), [])
        self.beacons.moved(link("198.18.0.1/24"), 5010)
        self.assertEqual([told.port for _, told in self.run_for(2.0)], [5010])

    def test_a_link_that_comes(self) -> None:
        """Whoever is there is asked at once, from its own address."""
        self.beacons.startService()
        self.run_for(5.0)
        other = self.use("198.18.7.1/24")
        self.reactor.advance(0.01)
        told = [decode(datagram) for datagram, *_ in other.sent]
        self.assertTrue(told[0].ask)
        self.assertEqual({address for _, address, _ in other.sent}, {"198.18.7.255"})

    def test_to_one_address(self) -> None:
        """From the link that it is on; where there is none, not at all."""
        other = self.use("198.18.7.1/24")
        for address in ("198.18.7.9", "203.0.113.9"):
            self.beacons.tell(address, 4_000, ask=True, nonce="a" * 32, echo="b" * 32)
        ((datagram, address, port),) = other.sent
        told = decode(datagram)
        self.assertEqual((address, port), ("198.18.7.9", 4_000))
        self.assertEqual((told.ask, told.nonce, told.echo), (True, "a" * 32, "b" * 32))
        self.assertEqual(self.socket.sent, [])

    def test_goodbye(self) -> None:
        """It leaves before the socket is closed; no timer is left."""
        self.beacons.startService()
        self.run_for(5.0)
        self.beacons.changed()
        self.successResultOf(self.beacons.stopService())
        self.assertEqual([decode(datagram).bye for datagram, *_ in self.socket.sent], [True])
        self.assertEqual((self.reactor.udp_ports, self.reactor.getDelayedCalls()), ([], []))


class FailureTests(BeaconsTestCase):
    def test_an_unreachable_network(self) -> None:
        """It is shown and logged once; the schedule goes on, and it is over when it is."""
        log = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        self.socket.failing = OSError(101, "Network is unreachable")
        self.beacons.startService()
        self.run_for(200.0, 0.5)
        self.assertIn("Network is unreachable", self.beacons.problems[0])
        warnings = [event for event in log if event["log_level"] == LogLevel.warn]
        self.assertEqual(len(warnings), 1)
        self.socket.failing = None
        self.assertGreater(len(self.run_for(100.0, 0.5)), 1)
        self.assertEqual(self.beacons.problems, ())

    def test_a_socket_that_broke(self) -> None:
        """It comes back, and so do the beacons."""
        self.beacons.startService()
        self.run_for(5.0)
        self.socket.break_down()
        self.run_for(60.0, 0.5)
        self.socket = self.reactor.udp_ports[-1]
        self.assertGreater(len(self.run_for(100.0, 0.5)), 1)

    def test_a_catalogue_that_cannot_be_asked(self) -> None:
        """It is logged; the next beacon comes."""
        self.beacons.startService()
        self.run_for(5.0)
        self.catalogue = ()  # type: ignore[assignment]
        self.run_for(40.0, 0.5)
        self.assertGreaterEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.catalogue = ("c" * 64, 3)
        self.assertGreater(len(self.run_for(100.0, 0.5)), 1)


class GateTests(BeaconsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.heard: list[str] = []
        self.hearing = Hearing(
            self.reactor,
            5000,
            5001,
            self.beacons,
            Neighbours(Nonces(b"s" * 32)),
            Random(6),
            is_local=lambda address: address in NETWORK,
            on_heard=self.note,
            on_gone=lambda address: None,
        )
        self.hearing.use(link(f"{OWN}/16", "198.18.255.255"))
        self.hearing.open()
        self.port = self.reactor.udp_ports[1]

    def note(self, heard: Heard) -> None:
        if heard.neighbour is not None:
            self.heard.append(heard.neighbour.address)

    def beacon(self, number: int = 2, **changes: object) -> bytes:
        told = {
            "peer": identity(number).peer,
            "instance": identity(number).instance,
            "port": 5000,
            "catalogue": "d" * 64,
            "count": 1,
            "interval": 30,
        }
        return encode(Beacon(**{**told, **changes}))

    def refused(self, reason: str) -> int:
        return self.hearing.refusals.counts[reason]

    def test_who_is_heard(self) -> None:
        """Others on our networks and our machine: not ourselves, nor anybody from afar."""
        self.port.hear(self.beacon(), A, 5000)
        self.port.hear(self.beacon(), str(OWN), 5000)
        self.port.hear(self.beacon(1), B, 5000)
        self.port.hear(self.beacon(1), str(OWN), 5000)
        self.port.hear(self.beacon(), "203.0.113.9", 5000)
        self.assertEqual(self.heard, [A, str(OWN)])
        self.assertEqual(self.refused("beacon from elsewhere"), 1)

    def test_what_is_not_understood(self) -> None:
        """It is dropped and counted; nothing worse than a debug line is logged."""
        log = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        for number, datagram in enumerate((b"", b"{}", b"[" * 60_000, b"\xff" * 400)):
            self.port.hear(datagram, f"198.18.0.{100 + number}", 5000)
        self.assertEqual((self.heard, self.refused("beacon not understood")), ([], 4))
        self.assertEqual({event["log_level"] for event in log}, {LogLevel.debug})

    def test_a_source_over_its_rate(self) -> None:
        """It is cut off before it is decoded; others are heard."""
        for _ in range(int(SOURCE_BURST) + 10):
            self.port.hear(self.beacon(), A, 5000)
        self.assertEqual(self.refused("beacon over the rate limit"), 10)
        self.port.hear(self.beacon(3), B, 5000)
        self.assertEqual(self.heard[-1], B)

    def test_a_flood_rests_the_socket(self) -> None:
        """Refused again and again: it is left alone for a moment."""
        for _ in range(FLOOD_REFUSALS):
            self.port.hear(b"junk", "203.0.113.9", 5000)
        self.assertEqual(self.port.events, ["stop reading"])
        self.reactor.advance(0.1)
        self.assertEqual(self.port.events, ["stop reading", "start reading"])

    def test_a_flood_at_our_own_address(self) -> None:
        """Its socket rests, too."""
        socket = BeaconSocket(self.reactor, link("198.18.7.1/24"), 5000, self.hearing.hear)
        socket.open()
        for _ in range(FLOOD_REFUSALS):
            self.reactor.udp_ports[-1].hear(b"junk", "203.0.113.9", 5000)
        self.assertEqual(self.reactor.udp_ports[-1].events, ["stop reading"])

    def test_an_answer(self) -> None:
        """To the address and port it came from, within 100 ms: an echo, a question, or both."""
        self.hearing.hear(self.beacon(nonce="e" * 32, ask=True), A, 4_321)
        self.assertEqual(self.socket.sent, [])
        self.reactor.advance(0.1)
        ((datagram, address, port),) = self.socket.sent
        told = decode(datagram)
        self.assertEqual((address, port), (A, 4_321))
        self.assertEqual((told.echo, told.ask, len(told.nonce)), ("e" * 32, True, 32))
        self.socket.sent.clear()
        for _ in range(5):
            self.port.hear(self.beacon(3, ask=True), B, 4_000)
        self.assertEqual(self.socket.sent, [])
        self.reactor.advance(0.1)
        self.assertEqual([sent[1:] for sent in self.socket.sent], [(B, 4_000)])

    def test_a_goodbye_is_not_answered(self) -> None:
        """Nobody is there to hear it."""
        self.port.hear(self.beacon(bye=True, ask=True), A, 5000)
        self.reactor.advance(0.1)
        self.assertEqual(self.socket.sent, [])

    def test_closing_ends_it(self) -> None:
        """Nothing is heard, answered or waited for."""
        self.port.hear(self.beacon(), A, 5000)
        self.successResultOf(self.hearing.close())
        self.assertFalse(self.hearing.hear(self.beacon(3, nonce="e" * 32, ask=True), B, 5000))
        self.reactor.advance(1.0)
        self.assertEqual((self.heard, self.socket.sent), ([A], []))
        self.assertEqual(self.reactor.getDelayedCalls(), [])
