"""The probes, with real sockets on loopback: echoes, listening and asking, calls, holders."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from peershare.doctor.evidence import Arrivals, Dialled, Holder
from peershare.doctor.probing import calling
from peershare.doctor.probing.asking import Asking
from peershare.doctor.probing.calling import call
from peershare.doctor.probing.echoing import Echoes
from peershare.doctor.probing.holders import holder_of, is_peershare, look_at_port
from peershare.doctor.probing.sockets import beacon_of
from peershare.links import Link
from peershare.settings import Settings
from peershare.wire import beacon
from peershare.wire.messages import Hello, Problem, decode_request, encode

OWN, OTHER, THIRD = "127.35.4.1", "127.35.4.2", "127.35.4.3"
BROADCAST = "127.255.255.255"
LINK = Link(IPv4Address(OWN), IPv4Network("127.35.4.0/24"), (IPv4Address("127.35.4.255"),), "lo")
# What the system of loopback broadcasts to; the network above is narrower, to have strangers.
LOOPBACK = Link(IPv4Address(OWN), IPv4Network("127.0.0.0/8"), (IPv4Address(BROADCAST),), "lo")


def free_ports(kind: socket.SocketKind, count: int) -> list[int]:
    """Ports that nobody has right now."""
    sockets = [socket.socket(socket.AF_INET, kind) for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


class Native(DatagramProtocol):
    """A native peer, or what is told by one that is none: what it heard, and how it answers."""

    def __init__(self, *, proves: bool = True, answers: bool = True) -> None:
        self.beacon = beacon.Beacon(
            peer="ab" * 16, instance="cd" * 8, port=5_005, catalogue="e" * 64, count=3, interval=30
        )
        self.proves, self.answers = proves, answers
        self.mouth: DatagramProtocol = self  # whose socket it speaks by
        self.heard: list[tuple[beacon.Beacon, tuple[str, int]]] = []

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        told = beacon.decode(datagram)
        self.heard.append((told, addr))
        if self.answers and not told.bye and not (told.nonce and not self.proves):
            self.tell(addr[0], addr[1], echo=told.nonce)

    def tell(self, address: str, port: int, **more: Any) -> None:
        whole: dict[str, Any] = {name: getattr(self.beacon, name) for name in ("peer", "instance")}
        whole |= {"port": 5_005, "catalogue": "e" * 64, "count": 3, "interval": 30, **more}
        transport: Any = self.mouth.transport
        transport.write(beacon.encode(beacon.Beacon(**whole)), (address, port))


class Sender(DatagramProtocol):
    """Sends anything."""


class SocketTestCase(TestCase):
    timeout = 30

    def udp(self, protocol: DatagramProtocol, address: str, port: int = 0) -> Any:
        """Open it beside others, for as long as the test."""
        opened = reactor.listenMulticast(port, protocol, interface=address, listenMultiple=True)
        self.addCleanup(lambda: maybeDeferred(opened.stopListening))
        opened.setBroadcastAllowed(True)
        return opened


class EchoTests(SocketTestCase):
    async def test_both_ways_come_back(self) -> None:
        """By unicast and by broadcast, beside another that hears the port."""
        (port,) = free_ports(socket.SOCK_DGRAM, 1)
        beside = Native()
        self.udp(beside, "", port)
        own, broadcast = await Echoes(reactor, [LOOPBACK], port, os.urandom).listen()
        self.assertEqual((own.target, own.came_back, own.problem), (OWN, True, ""))
        self.assertEqual((broadcast.target, broadcast.port), (BROADCAST, port))
        self.assertTrue(broadcast.came_back)
        ((told, _),) = beside.heard
        self.assertTrue(told.bye, "others are to do nothing with it")
        self.assertEqual((told.ask, told.nonce, told.echo), (False, "", ""))

    async def test_a_port_that_nobody_shares(self) -> None:
        """The broadcast is not sent, since it could not be heard."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
            holder.bind(("", 0))
            port = holder.getsockname()[1]
            own, broadcast = await Echoes(reactor, [LOOPBACK], port, os.urandom).listen()
            holder.setblocking(False)
            self.assertRaises(BlockingIOError, holder.recv, 1)
        self.assertTrue(own.came_back)
        self.assertIn("cannot be opened: Address already in use", broadcast.problem)

    async def test_one_that_is_lost(self) -> None:
        """To an address that is no broadcast address for the system."""
        (port,) = free_ports(socket.SOCK_DGRAM, 1)
        taker = Native()
        self.udp(taker, OTHER, port)
        link = Link(LINK.address, LINK.network, (IPv4Address(OTHER),), "lo")
        _, lost = await Echoes(reactor, [link], port, os.urandom).listen()
        self.assertEqual((lost.came_back, lost.problem), (False, ""))
        self.assertEqual(len(taker.heard), 2, "it is sent once more")

    async def test_nothing_for_other_networks(self) -> None:
        """A broadcast address of no network of ours is not tried."""
        (port,) = free_ports(socket.SOCK_DGRAM, 1)
        link = Link(LINK.address, LINK.network, (IPv4Address("127.36.0.255"),), "lo")
        (own,) = await Echoes(reactor, [link], port, os.urandom).listen()
        self.assertFalse(own.broadcast)

    async def test_an_address_that_is_gone(self) -> None:
        """It cannot be sent from."""
        (port,) = free_ports(socket.SOCK_DGRAM, 1)
        gone = Link(IPv4Address("198.51.100.7"), IPv4Network("198.51.100.0/24"), (), "gone0")
        (own,) = await Echoes(reactor, [gone], port, os.urandom).listen()
        self.assertIn("Cannot assign requested address", own.problem)


class AskingTests(SocketTestCase):
    def setUp(self) -> None:
        self.beacons, self.classic = free_ports(socket.SOCK_DGRAM, 2)
        self.settings = Settings(
            share=Path("/share"),
            state=Path("/state"),
            beacon_udp_port=self.beacons,
            classic_udp_port=self.classic,
        )

    async def listen(self, *links: Link, seconds: float = 0.3) -> Arrivals:
        return await Asking(reactor, self.settings, links or (LOOPBACK,), os.urandom).listen(
            seconds
        )

    async def test_a_native_peer(self) -> None:
        """It answers our broadcast, echoes our nonce, and is left with a goodbye."""
        peer, ear = Native(), Native()
        self.udp(peer, OTHER, self.beacons)
        self.udp(ear, "", self.beacons)
        ear.mouth, ear.heard = peer, peer.heard
        arrivals = await self.listen()
        (found,) = arrivals.peers
        self.assertEqual((found.address, found.beacons, found.proven), (OTHER, True, True))
        self.assertEqual((found.tcp_port, found.contents, found.classic), (5_005, 3, False))
        await deferLater(reactor, 0.05)
        self.assertTrue(peer.heard[-1][0].bye)
        self.assertEqual({addr[0] for _, addr in peer.heard}, {OWN})

    async def test_one_that_proves_nothing(self) -> None:
        """It is asked three times at most, and its port is not believed."""
        peer = Native(proves=False)
        self.udp(peer, OTHER, self.beacons)
        listening = Deferred.fromCoroutine(self.listen(seconds=0.2))
        for _ in range(9):
            peer.tell(OWN, self.beacons)
        (found,) = (await listening).peers
        self.assertEqual((found.beacons, found.proven, found.tcp_port), (True, False, 0))
        questions = [told for told, _ in peer.heard if told.nonce]
        self.assertEqual(len(questions), 1, "the next one would come half a second later")

    async def test_a_forged_proof(self) -> None:
        """An echo of anything but our nonce for that address proves nothing."""
        peer = Native(proves=False)
        self.udp(peer, OTHER, self.beacons)
        listening = Deferred.fromCoroutine(self.listen(seconds=0.2))
        peer.tell(OWN, self.beacons, echo="ab" * 16)
        (found,) = (await listening).peers
        self.assertFalse(found.proven)

    async def test_a_classic_port_is_never_answered(self) -> None:
        """A beacon that comes from the port of announcements gets no question."""
        peer = Native()
        self.udp(peer, OTHER, self.classic)
        listening = Deferred.fromCoroutine(self.listen(seconds=0.2))
        peer.tell(OWN, self.beacons)
        (found,) = (await listening).peers
        self.assertFalse(found.proven)
        self.assertEqual(peer.heard, [])

    async def test_announcements(self) -> None:
        """They are counted by content; what is none is told; nothing is sent there."""
        classic, strange = Sender(), Sender()
        self.udp(classic, OTHER)
        self.udp(strange, THIRD)
        trap = Native()
        self.udp(trap, "", self.classic)
        listening = Deferred.fromCoroutine(self.listen())
        names = b'{"chunks": ["forest_1", "forest_2", "bee.png_1", ".DS_Store"]}'
        self.write(classic, names, self.classic)
        self.write(strange, b"\x00\xff", self.classic)
        self.write(strange, b"{}", self.beacons)
        self.write(strange, b"x" * 400, self.beacons)
        trap.datagramReceived = lambda datagram, addr: trap.heard.append((datagram, addr))  # type: ignore[method-assign,assignment]
        arrivals = await listening
        (found,) = arrivals.peers
        self.assertEqual((found.address, found.classic, found.contents), (OTHER, True, 2))
        self.assertFalse(found.beacons)
        self.assertEqual(arrivals.not_understood, (THIRD,))
        self.assertNotIn(OWN, {addr[0] for _, addr in trap.heard})

    def write(self, sender: Sender, datagram: bytes, port: int) -> None:
        """By broadcast, as they come on a real network."""
        transport: Any = sender.transport
        transport.write(datagram, (BROADCAST, port))

    async def test_from_elsewhere(self) -> None:
        """Who is on no network of ours is named, and neither asked nor believed."""
        peer = Native()
        self.udp(peer, "127.36.0.9", self.beacons)
        listening = Deferred.fromCoroutine(self.listen(LINK, seconds=0.2))
        peer.tell(BROADCAST, self.beacons)
        arrivals = await listening
        self.assertEqual((arrivals.peers, arrivals.elsewhere), ((), ("127.36.0.9",)))
        self.assertEqual(peer.heard, [])

    async def test_a_goodbye(self) -> None:
        """Who says that it goes is not told as somebody who is there."""
        peer = Native(proves=False)
        self.udp(peer, OTHER, self.beacons)
        listening = Deferred.fromCoroutine(self.listen(seconds=0.2))
        peer.tell(OWN, self.beacons)
        peer.tell(OWN, self.beacons, bye=True)
        self.assertEqual((await listening).peers, ())

    async def test_deaf(self) -> None:
        """A port that cannot be heard is said, by its number."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
            holder.bind(("", self.classic))
            arrivals = await self.listen(seconds=0.0)
        (problem,) = arrivals.deaf
        self.assertIn(f"{BROADCAST}:{self.classic} cannot be opened", problem)

    async def test_no_classic(self) -> None:
        """Who wants nothing classic does not even open the port."""
        self.settings = Settings(
            share=Path("/share"),
            state=Path("/state"),
            beacon_udp_port=self.beacons,
            classic_udp_port=self.classic,
            classic=False,
        )
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
            holder.bind(("", self.classic))
            self.assertEqual((await self.listen(seconds=0.0)).deaf, ())

    async def test_beside_a_second_service(self) -> None:
        """What is sent to its own address stays its own: our questions have another port."""
        service, peer = Native(answers=False), Native()
        self.udp(service, OWN, self.beacons)
        self.udp(peer, OTHER, self.beacons)
        listening = Deferred.fromCoroutine(self.listen(seconds=0.3))
        peer.tell(BROADCAST, self.beacons)
        await deferLater(reactor, 0.1)
        peer.tell(OWN, self.beacons)
        (found,) = (await listening).peers
        self.assertTrue(found.proven)
        told = [addr for told, addr in service.heard if addr[0] == OTHER]
        self.assertEqual(len(told), 1)
        self.assertNotIn(self.beacons, {addr[1] for _, addr in peer.heard})

    def test_our_beacon(self) -> None:
        """It holds nothing, takes nothing, and is forgotten at the earliest."""
        told = beacon_of(os.urandom)
        self.assertEqual((told.port, told.count, told.interval), (0, 0, 1))
        self.assertEqual(beacon.decode(beacon.encode(told)), told)


class Answering(Protocol):
    """Keeps what came; answers with some bytes, or ends."""

    factory: Any
    transport: Any

    def connectionMade(self) -> None:
        self.factory.got.append(b"")
        if self.factory.answer is None:
            self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        self.factory.got[-1] += data
        if self.factory.answer:
            self.transport.write(self.factory.answer)

    def connectionLost(self, reason: Any = None) -> None:
        self.factory.ended.callback(None)


class CallTests(SocketTestCase):
    def serve(self, answer: bytes | None) -> int:
        """Serve this at OTHER; the port."""
        self.factory: Any = Factory.forProtocol(Answering)
        self.factory.noisy = False
        self.factory.answer, self.factory.got, self.factory.ended = answer, [], Deferred()
        port = reactor.listenTCP(0, self.factory, interface=OTHER)
        self.addCleanup(lambda: maybeDeferred(port.stopListening))
        return int(port.getHost().port)

    async def call(self, port: int) -> tuple[Dialled, str]:
        dial = await call(reactor, OWN, OTHER, port)
        self.assertLess(dial.seconds, 5.0)
        return dial.end, dial.detail

    async def test_hello(self) -> None:
        """It answers: who it is; what we said was one hello and the end."""
        port = self.serve(encode(Hello(versions=(1,), agent="bee 1\x1b")))
        self.assertEqual(await self.call(port), (Dialled.ANSWERED, "bee 1\\x1b"))
        await self.factory.ended
        (said,) = self.factory.got
        hello = decode_request(said.rstrip(b"\n"))
        self.assertIsInstance(hello, Hello)
        self.assertEqual((hello.agent, hello.port), ("peershare doctor", 0))

    async def test_no_hello(self) -> None:
        """It says no, says something else, says nothing of ours, or ends."""
        refusal = encode(Problem(code="version", message="not yours"))
        for answer, part in (
            (refusal, "not yours"),
            (b'{"type": "open", "content": "b3:%s"}\n' % (b"0" * 64), "something else"),
            (b"HTTP/1.1 400 Bad Request\r\n\r\n", "sent a message that is none"),
            (b"x" * 70_000, "longer than"),
            (None, "closed at once"),
        ):
            end, detail = await self.call(self.serve(answer))
            self.assertEqual(end, Dialled.SILENT, answer)
            self.assertIn(part, detail)

    async def test_silence(self) -> None:
        """It takes the connection, and nothing more happens."""
        self.patch(calling, "ANSWER_SECONDS", 0.1)
        self.assertEqual(await self.call(self.serve(b"")), (Dialled.SILENT, "nothing came in time"))

    async def test_refused(self) -> None:
        """Nobody listens."""
        (port,) = free_ports(socket.SOCK_STREAM, 1)
        end, _ = await self.call(port)
        self.assertEqual(end, Dialled.REFUSED)

    async def test_no_connection_comes_about(self) -> None:
        """A listener whose queue is full answers nothing at all."""
        self.patch(calling, "CONNECT_SECONDS", 0.3)
        with socket.socket() as full:
            full.bind((OTHER, 0))
            full.listen(0)
            address = full.getsockname()
            others = [socket.socket() for _ in range(3)]
            for one in others:
                one.setblocking(False)
                one.connect_ex(address)
            ends = await gatherResults(
                [Deferred.fromCoroutine(self.call(address[1])) for _ in range(2)]
            )
            for one in others:
                one.close()
        self.assertIn(Dialled.TIMED_OUT, [end for end, _ in ends])

    async def test_an_address_of_ours_that_is_gone(self) -> None:
        """The cause is told in the words of the system."""
        dial = await call(reactor, "198.51.100.7", OTHER, 5_000)
        self.assertEqual(dial.end, Dialled.FAILED)
        self.assertIn("assign requested address", dial.detail)


class HolderTests(SynchronousTestCase):
    def test_free(self) -> None:
        """Nobody has it, whatever lingers there; and the look leaves nothing behind."""
        (udp,) = free_ports(socket.SOCK_DGRAM, 1)
        (tcp,) = free_ports(socket.SOCK_STREAM, 1)
        for _ in range(2):
            self.assertTrue(look_at_port("udp", udp).free)
            self.assertTrue(look_at_port("tcp", tcp, OWN).free)

    def test_taken(self) -> None:
        """By us: the process id and the name of this one."""
        for protocol, kind in (("udp", socket.SOCK_DGRAM), ("tcp", socket.SOCK_STREAM)):
            with socket.socket(socket.AF_INET, kind) as holder:
                holder.bind((OWN, 0))
                if protocol == "tcp":
                    holder.listen()
                port = holder.getsockname()[1]
                use = look_at_port(protocol, port, OWN)
                self.assertEqual((use.free, use.shareable), (False, False), protocol)
                self.assertEqual([h.pid for h in use.holders], [os.getpid()])
                self.assertIn("in use", use.problem)
                other = look_at_port(protocol, port, OTHER)
                self.assertTrue(other.free, "an address of its own has ports of its own")

    def test_shared(self) -> None:
        """A UDP port that its holder shares can be had beside it."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.bind(("", 0))
            use = look_at_port("udp", holder.getsockname()[1])
        self.assertEqual((use.free, use.shareable), (False, True))

    def test_who(self) -> None:
        """Names of processes, gone ones too; a peershare is known by its command line."""
        self.assertEqual(holder_of(0), Holder(0))
        with subprocess.Popen(["sleep", "60"]) as sleeper:
            self.assertEqual(holder_of(sleeper.pid).name, "sleep")
            sleeper.kill()
        gone = subprocess.Popen([sys.executable, "-c", ""])
        gone.wait()
        self.assertEqual(holder_of(gone.pid).name, "a program that has just ended")
        for words in (
            ("/usr/bin/python3", "/usr/bin/twistd", "-n", "peershare"),
            ("python3", "/home/ann/.local/bin/peershare", "list"),
            ("python3", "-m", "peershare"),
        ):
            self.assertTrue(is_peershare(words), words)
        for words in (("nc", "-l", "5000"), ("vi", "/tmp/peershare-notes"), ()):
            self.assertFalse(is_peershare(words), words)
