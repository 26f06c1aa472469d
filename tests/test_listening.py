"""Listening: the sockets follow the interfaces, and a taken port is taken back."""

from __future__ import annotations

import errno
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from random import Random

from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import DatagramProtocol, Factory
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from peershare.announcer import Announcer
from peershare.links import Interface, Link
from peershare.listening import REFRESH_SECONDS, Listening
from peershare.settings import Settings
from tests.fakes import WALL_START, FakeReactor, interface

LAN = interface("198.18.0.5/24", "eth0", "198.18.0.255")
WIFI = interface("192.168.7.5/24", "wlan0", "192.168.7.255")


class FakeNeighbourhood:
    """What is heard of by beacons: the links in use, and the TCP port told there."""

    def __init__(self) -> None:
        self.told: dict[str, int] = {}
        self.looks = 0
        self.problems: tuple[str, ...] = ()

    def use(self, link: Link) -> None:
        """One more."""
        self.told[str(link.address)] = 0

    def moved(self, link: Link, tcp_port: int) -> None:
        """Sessions are taken there."""
        self.told[str(link.address)] = tcp_port

    def take_back(self, link: Link) -> None:
        """The usual UDP port may be free again."""
        self.looks += 1

    def drop(self, link: Link) -> Deferred[None]:
        """One less."""
        del self.told[str(link.address)]
        return succeed(None)


class FakeDiscovery:
    """What is heard of by announcements: the links in use, and what was sent to us alone."""

    def __init__(self) -> None:
        self.links: list[str] = []
        self.forgotten: list[str] = []
        self.heard: list[tuple[bytes, str]] = []

    def hear(self, datagram: bytes, source: str) -> bool:
        """Something was sent to an own address."""
        self.heard.append((datagram, source))
        return False

    def forget(self, address: str) -> None:
        """Whoever announced from there is gone."""
        self.forgotten.append(address)

    def use(self, link: Link) -> None:
        """One more."""
        self.links.append(str(link.address))

    def drop(self, link: Link) -> Deferred[None]:
        """One less."""
        self.links.remove(str(link.address))
        return succeed(None)


class ListeningTestCase(SynchronousTestCase):
    classic = True

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.interfaces: list[Interface] = [LAN]
        self.discovery = FakeDiscovery()
        self.announcer = Announcer(
            self.reactor, 60.0, lambda: [("forest_1",)], lambda: WALL_START, Random(5)
        )
        self.uploader = Factory()
        self.neighbourhood = FakeNeighbourhood()
        self.listening = Listening(
            self.reactor,
            Settings(share=Path("/share"), state=Path("/state"), classic=self.classic),
            self.read,
            self.uploader,
            self.announcer,
            self.discovery,
            self.neighbourhood,
        )

    failing: OSError | None = None

    def read(self) -> list[Interface]:
        if self.failing is not None:
            raise self.failing
        return self.interfaces

    def start(self) -> None:
        self.listening.startService()
        self.announcer.startService()

    def refresh(self) -> None:
        self.reactor.advance(REFRESH_SECONDS)

    def tcp(self) -> list[tuple[str, int]]:
        return [(port.interface, port.port) for port in self.reactor.tcp_ports]

    def udp(self) -> list[tuple[str, int]]:
        return [(port.interface, port.port) for port in self.reactor.udp_ports]


class BlindTests(ListeningTestCase):
    def test_out_of_descriptors(self) -> None:
        """What cannot be looked at is no change: sockets stay, it is said once, and passes."""
        log = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        self.start()
        self.failing = OSError(errno.EMFILE, "Too many open files")
        self.refresh()
        self.refresh()
        self.assertEqual(self.tcp(), [("198.18.0.5", 5000)])
        self.assertEqual(len(self.listening.problems), 1)
        self.assertIn("Too many open files", self.listening.problems[0])
        self.assertEqual(len([event for event in log if "problem" in event]), 1)
        self.failing = None
        self.refresh()
        self.assertEqual(self.listening.problems, ())


class SocketTests(ListeningTestCase):
    def test_tcp_and_udp_on_each_own_address(self) -> None:
        """Chunks are served where announcements come from."""
        self.interfaces.append(WIFI)
        self.start()
        self.assertEqual(self.tcp(), [("198.18.0.5", 5000), ("192.168.7.5", 5000)])
        self.assertEqual(self.udp(), [("198.18.0.5", 5001), ("192.168.7.5", 5001)])
        self.assertEqual(self.listening.tcp_ports, {"198.18.0.5": 5000, "192.168.7.5": 5000})
        self.assertIs(self.reactor.tcp_ports[0].factory, self.uploader)
        self.assertEqual(self.listening.problems, ())

    def test_beacons_go_where_we_listen(self) -> None:
        """They carry the TCP port of each own address; what is in their way is shown."""
        self.interfaces.append(WIFI)
        self.start()
        self.assertEqual(self.neighbourhood.told, {"198.18.0.5": 5000, "192.168.7.5": 5000})
        self.interfaces.remove(LAN)
        self.refresh()
        self.assertEqual(self.neighbourhood.told, {"192.168.7.5": 5000})
        self.neighbourhood.problems = ("a beacon failed",)
        self.assertEqual(self.listening.problems, ("a beacon failed",))

    def test_what_is_sent_to_us_is_handed_on(self) -> None:
        """To the one gate that judges every datagram."""
        self.start()
        self.reactor.udp_ports[0].hear(b"data", "198.18.0.9")
        self.assertEqual(self.discovery.heard, [(b"data", "198.18.0.9")])

    def test_stopping(self) -> None:
        """Every socket is closed, no timer is left."""
        self.start()
        self.successResultOf(self.announcer.stopService())
        self.successResultOf(self.listening.stopService())
        self.assertEqual((self.tcp(), self.udp()), ([], []))
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class AddressTests(ListeningTestCase):
    def test_whose_address_it_is(self) -> None:
        """Own, on one of our networks, another peer's, or from elsewhere."""
        self.start()
        judge = self.listening
        own, other, far = map(IPv4Address, ("198.18.0.5", "198.18.0.9", "203.0.113.1"))
        self.assertEqual([judge.is_own(a) for a in (own, other, far)], [True, False, False])
        self.assertEqual([judge.is_local(a) for a in (own, other, far)], [True, True, False])
        self.assertEqual([judge.is_another(a) for a in (own, other, far)], [False, True, False])

    def test_from_where_a_peer_is_dialled(self) -> None:
        """Our own address on the network that the peer is on."""
        self.interfaces.append(WIFI)
        self.start()
        self.assertEqual(self.listening.bind_address(IPv4Address("192.168.7.9")), "192.168.7.5")
        self.assertEqual(self.listening.bind_address(IPv4Address("198.18.0.9")), "198.18.0.5")
        self.assertIsNone(self.listening.bind_address(IPv4Address("203.0.113.1")))


class InterfaceTests(ListeningTestCase):
    def test_one_that_comes(self) -> None:
        """It is used within seconds, and announced on."""
        self.start()
        self.interfaces.append(WIFI)
        self.refresh()
        self.assertIn(("192.168.7.5", 5000), self.tcp())
        self.reactor.advance(1.0)
        self.assertTrue(self.reactor.udp_ports[1].sent)

    def test_one_that_goes(self) -> None:
        """Its sockets are closed, its address is not ours any more."""
        self.interfaces.append(WIFI)
        self.start()
        self.interfaces.remove(LAN)
        self.refresh()
        self.assertEqual(self.tcp(), [("192.168.7.5", 5000)])
        self.assertEqual(self.udp(), [("192.168.7.5", 5001)])
        self.assertEqual(self.discovery.links, ["192.168.7.5"])
        self.assertFalse(self.listening.is_own(IPv4Address("198.18.0.5")))

    def test_a_changed_address(self) -> None:
        """The machine got another one: it moves there."""
        self.start()
        self.interfaces[:] = [interface("198.18.0.77/24", "eth0", "198.18.0.255")]
        self.refresh()
        self.assertEqual(self.tcp(), [("198.18.0.77", 5000)])

    def test_no_network(self) -> None:
        """It is said once, and it goes on when there is one."""
        log = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        self.interfaces.clear()
        self.start()
        self.refresh()
        self.refresh()
        self.assertEqual(len([e for e in log if "no network" in e["log_format"]]), 1)
        self.assertIn("no network", self.listening.problems[0])
        self.assertFalse(self.announcer.announcing)
        self.interfaces.append(LAN)
        self.refresh()
        self.assertEqual((self.tcp(), self.listening.problems), ([("198.18.0.5", 5000)], ()))

    def test_a_system_that_cannot_be_asked(self) -> None:
        """It is asked again, without a traceback each time."""
        self.start()
        self.listening._read_interfaces = self.fail_to_read
        self.refresh()
        self.listening._read_interfaces = lambda: [WIFI]
        self.refresh()
        self.assertEqual(self.tcp(), [("192.168.7.5", 5000)])

    def fail_to_read(self) -> list[Interface]:
        raise OSError("no interfaces")


class TakenPortTests(ListeningTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.reactor.taken.add(("198.18.0.5", 5000))
        self.start()
        self.reactor.advance(1.0)

    def test_another_port_and_no_announcing(self) -> None:
        """Classic peers know only 5000: what they cannot fetch is not told, and it is said."""
        ((_, port),) = self.tcp()
        self.assertNotEqual(port, 5000)
        self.assertEqual(self.listening.tcp_ports, {"198.18.0.5": port})
        self.assertFalse(self.announcer.announcing)
        self.assertEqual(self.reactor.udp_ports[0].sent, [])
        self.assertIn("TCP port 5000 of 198.18.0.5 is taken", self.listening.problems[0])

    def test_beacons_carry_the_other_port(self) -> None:
        """Native peers find us there, and here again when it is taken back."""
        ((_, port),) = self.tcp()
        self.assertEqual(self.neighbourhood.told, {"198.18.0.5": port})
        self.reactor.taken.clear()
        self.refresh()
        self.assertEqual(self.neighbourhood.told, {"198.18.0.5": 5000})

    def test_taken_back_when_it_is_free(self) -> None:
        """The other port is given up, announcing goes on, the problem is over."""
        self.refresh()
        self.assertEqual(len(self.tcp()), 1)
        self.reactor.taken.clear()
        self.refresh()
        self.assertEqual(self.tcp(), [("198.18.0.5", 5000)])
        self.assertTrue(self.announcer.announcing)
        self.assertEqual(self.listening.problems, ())
        self.reactor.advance(1.0)
        self.assertTrue(self.reactor.udp_ports[0].sent)

    def test_whose_announcements_they_are(self) -> None:
        """What comes from our address is the other program's, until the port is ours again."""
        own = IPv4Address("198.18.0.5")
        self.assertFalse(self.listening.announces(own))
        self.assertEqual(self.discovery.forgotten, [])
        self.reactor.taken.clear()
        self.refresh()
        self.assertTrue(self.listening.announces(own))
        self.assertFalse(self.listening.announces(IPv4Address("198.18.0.6")))
        self.assertEqual(self.discovery.forgotten, ["198.18.0.5"])

    def test_other_links_are_not_concerned(self) -> None:
        """Where 5000 is free it is announced."""
        self.interfaces.append(WIFI)
        self.refresh()
        self.reactor.advance(1.0)
        self.assertTrue(self.announcer.announcing)
        self.assertTrue(self.reactor.udp_ports[1].sent)


class TakenUdpPortTests(ListeningTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.other = self.reactor.listenUDP(5001, DatagramProtocol(), interface="198.18.0.5")
        self.start()
        self.reactor.advance(1.0)

    def test_a_free_one_is_used(self) -> None:
        """Classic peers do not look where an announcement comes from."""
        mine = self.reactor.udp_ports[-1]
        self.assertNotEqual(mine.port, 5001)
        self.assertEqual({port for *_, port in mine.sent}, {5001})
        self.assertEqual(self.listening.problems, ())

    def test_taken_back_when_it_is_free(self) -> None:
        """Both UDP ports are looked at again and again."""
        self.refresh()
        self.assertEqual(self.neighbourhood.looks, 1)
        self.assertNotIn(5001, [port.port for port in self.reactor.udp_ports[1:]])
        self.other.stopListening()
        self.refresh()
        self.reactor.advance(60.0)
        (mine,) = self.reactor.udp_ports
        self.assertEqual((mine.interface, mine.port), ("198.18.0.5", 5001))
        self.assertTrue(mine.sent)


class SourceTests(ListeningTestCase):
    def test_what_is_no_machine(self) -> None:
        """Nothing is ever answered to the address of all: the network's, or the broadcast one."""
        self.interfaces.append(interface("127.0.0.1/8", "lo", None))
        addresses = (IPv4Address("198.18.0.5"), IPv4Address("127.0.5.1"))
        self.listening._settings = replace(self.listening._settings, addresses=addresses)
        self.start()
        for text in ("198.18.0.255", "198.18.0.0", "127.255.255.255", "127.0.0.0"):
            self.assertFalse(self.listening.is_local(IPv4Address(text)), text)
        for text in ("255.255.255.255", "0.0.0.0", "224.0.0.1"):
            self.assertFalse(self.listening.is_local(IPv4Address(text)), text)
        self.assertTrue(self.listening.is_local(IPv4Address("127.0.5.2")))


class NoPortAtAllTests(ListeningTestCase):
    def test_nothing_is_announced_that_nobody_serves(self) -> None:
        """Where no TCP port can be had, nothing is announced until one can."""
        self.reactor.taken |= {("198.18.0.5", 5000), ("198.18.0.5", 0)}
        self.start()
        self.reactor.advance(1.0)
        self.assertEqual((self.tcp(), self.listening.tcp_ports), ([], {}))
        self.assertEqual(self.reactor.udp_ports[0].sent, [])
        self.assertEqual(len(self.listening.problems), 1)
        self.reactor.taken.clear()
        self.refresh()
        self.assertEqual(self.tcp(), [("198.18.0.5", 5000)])
        self.assertEqual(self.listening.problems, ())


class NoClassicTests(ListeningTestCase):
    classic = False

    def test_nothing_classic_is_opened(self) -> None:
        """There are TCP ports and beacons, and no socket of the classic port."""
        self.start()
        self.reactor.advance(5.0)
        self.assertEqual((self.tcp(), self.udp()), ([("198.18.0.5", 5000)], []))
        self.assertEqual(self.neighbourhood.told, {"198.18.0.5": 5000})
        self.assertEqual(self.listening.problems, ())
        self.interfaces.clear()
        self.refresh()
        self.assertEqual((self.tcp(), self.neighbourhood.told), ([], {}))

    def test_another_port_is_no_problem(self) -> None:
        """Native peers read it in the beacons."""
        self.reactor.taken.add(("198.18.0.5", 5000))
        self.start()
        ((_, port),) = self.tcp()
        self.assertEqual(self.neighbourhood.told, {"198.18.0.5": port})
        self.assertEqual(self.listening.problems, ())

    def test_no_port_at_all(self) -> None:
        """That is said here too."""
        self.reactor.taken |= {("198.18.0.5", 5000), ("198.18.0.5", 0)}
        self.start()
        self.assertIn("no TCP port", self.listening.problems[0])
        self.assertEqual(self.neighbourhood.told, {"198.18.0.5": 0})
