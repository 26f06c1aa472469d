"""A network of neighbourhoods in memory: datagrams that arrive at once, catalogues from fake pools.

Not for: whole nodes; those live in `simnet`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv4Network
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed

from peershare.errors import PeerError, Reason
from peershare.identity import Identity
from peershare.neighbourhood import Neighbourhood
from peershare.wire.beacon import Endpoint
from peershare.wire.catalogue import CatalogueEntry
from peershare.wire.messages import Catalogue
from tests.fakes import FakeReactor, FakeUdpPort, link

NETWORK = IPv4Network("198.18.0.0/16")
BROADCAST = "198.18.255.255"
BEACON_PORT, CLASSIC_PORT, TCP_PORT = 5000, 5001, 5000


def identity(number: int) -> Identity:
    """One of many."""
    return Identity(f"{number:032x}", f"{number:016x}", number.to_bytes(32, "big"))


class FakeSessions:
    """A pool whose sessions answer from the catalogue of whoever lives at the address."""

    def __init__(self, lan: FakeLan) -> None:
        self._lan = lan
        self.asked: list[tuple[str, int, str]] = []  # address, port, digest known
        self.spoil: Callable[[Catalogue, bytes], tuple[Catalogue, bytes]] | None = None
        self.refusing = False
        self.hanging = False

    def get(self, peer: Endpoint) -> Deferred[Any]:
        """A session, at once."""
        address, port = peer.address, peer.port
        there = self._lan.peers.get(f"{address}:{port}") or self._lan.peers.get(address)
        if self.refusing or there is None:
            self.asked.append((address, port, "refused"))
            return fail(PeerError(Reason.REFUSED, "refuses the connection"))
        return succeed(FakeSession(self, there, port))


class FakeSession:
    """One of its sessions."""

    def __init__(self, pool: FakeSessions, peer: Peer, port: int) -> None:
        self._pool = pool
        self._peer = peer
        self._port = port

    def get_catalogue(self, known: str, sink: Any) -> Deferred[Catalogue]:
        """The peer's own catalogue as it is now, in pieces."""
        self._pool.asked.append((self._peer.address, self._port, known))
        if self._pool.hanging:
            return Deferred()
        answer = self._peer.hood.catalogue.since(known)
        data = answer.data
        told = Catalogue(
            digest=answer.digest, base=answer.base, count=answer.count, length=len(data)
        )
        if self._pool.spoil is not None:
            told, data = self._pool.spoil(told, data)
        try:
            sink.begins(told)
            for start in range(0, len(data), 1_000):
                sink.write(memoryview(data)[start : start + 1_000])
        except PeerError as error:
            return fail(error)
        return succeed(told)


class Peer:
    """A neighbourhood with an address, and what it holds."""

    def __init__(self, lan: FakeLan, address: str, who: Identity) -> None:
        self.address = self.key = address
        self.held: tuple[CatalogueEntry, ...] = ()
        self.sessions = FakeSessions(lan)
        self.changes = 0
        self.hood = Neighbourhood(
            lan.reactor,
            beacon_port=BEACON_PORT,
            classic_udp_port=CLASSIC_PORT,
            identity=who,
            random=Random(int(who.instance, 16)),
            sessions=self.sessions,
            entries=lambda: self.held,
            is_local=lambda a: a in NETWORK,
        )
        self.hood.on_change(self._changed)
        self.link = link(f"{address}/16", BROADCAST)

    def _changed(self) -> None:
        self.changes += 1

    def hold(self, *entries: CatalogueEntry) -> None:
        """Have these from now on."""
        self.held = entries
        self.hood.shares_changed()

    def proven(self) -> set[str]:
        """Who has proven to be there."""
        return {n.address for n in self.hood.neighbours.all(0) if n.proven}

    def knows(self, query: str) -> list[tuple[str, int]]:
        """The names that fit, and how many peers have them."""
        return [(known.name, known.peers) for known in self.hood.holdings.lookup(query)]


class FakeLan:
    """All of them; datagrams arrive in the same moment, but for those that `lost` picks."""

    def __init__(self) -> None:
        self.reactor = FakeReactor()
        self.peers: dict[str, Peer] = {}
        self.sent: list[tuple[float, str, str, bytes]] = []
        self.targets: list[tuple[str, int]] = []
        self.lost: Callable[[str, str], bool] = lambda source, target: False
        self.deaf_to_broadcasts = False

    def add(
        self,
        number: int,
        who: Identity | None = None,
        tcp_port: int = TCP_PORT,
        beside: Peer | None = None,
    ) -> Peer:
        """Start a peer; its identity is that of its number unless another one is given.

        `beside`: another one has its address.
        """
        address = str(NETWORK[number])
        key = address if beside is None else f"{address}:{tcp_port}"
        peer = self.peers[key] = Peer(self, address, who or identity(number))
        peer.key = key
        peer.hood.use(peer.link)
        peer.hood.moved(peer.link, tcp_port)
        peer.hood.startService()
        return peer

    def stop(self, peer: Peer) -> None:
        """It says goodbye and goes."""
        ports = tuple(self.reactor.udp_ports)
        peer.hood.stopService()
        self.deliver(ports)
        del self.peers[peer.key]

    def crash(self, peer: Peer) -> None:
        """It goes without a word."""
        peer.hood.stopService()  # nobody looks at what its sockets sent
        del self.peers[peer.key]

    def run(self, seconds: float, step: float = 0.01) -> None:
        """Let time go by."""
        end = self.reactor.seconds() + seconds
        while self.reactor.seconds() < end - 1e-9:
            self.reactor.advance(min(step, end - self.reactor.seconds()))
            self.deliver()

    def deliver(self, ports: Iterable[FakeUdpPort] = ()) -> None:
        """Everything that was sent, and what is said to that in the same moment."""
        for _ in range(100):
            ports = tuple(dict.fromkeys((*ports, *self.reactor.udp_ports)))
            outgoing = [(port, *sent) for port in ports for sent in port.sent]
            for port in ports:
                port.sent.clear()
            if not outgoing:
                return
            for port, datagram, target, target_port in outgoing:
                self.sent.append((self.reactor.seconds(), port.interface, target, datagram))
                self.targets.append((target, target_port))
                self._give(port, datagram, target, target_port)
        raise AssertionError("they do not stop to talk")

    def _give(self, sender: FakeUdpPort, datagram: bytes, target: str, target_port: int) -> None:
        for port in tuple(self.reactor.udp_ports):
            owner = self._owner(port)
            hears = (port.interface, port.port) == (target, target_port)
            if target == BROADCAST and self.deaf_to_broadcasts:
                hears = False
            if hears and not self.lost(sender.interface, owner):
                port.hear(datagram, sender.interface, sender.port)

    def _owner(self, port: FakeUdpPort) -> str:
        """Whose socket it is."""
        for peer in self.peers.values():
            if port.protocol in peer.hood._hearing._sockets._sockets.values():
                return peer.address
        return port.interface

    def hear(self, peer: Peer, datagram: bytes, source: str, port: int = BEACON_PORT) -> None:
        """Something reaches a peer's own address, whoever sent it."""
        with contextlib.suppress(StopIteration):
            socket = next(p for p in self.reactor.udp_ports if p.interface == peer.address)
            socket.hear(datagram, source, port)


def local(address: str) -> IPv4Address:
    """Short for tests."""
    return IPv4Address(address)
