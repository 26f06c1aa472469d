"""Some hosts with a reactor each and nothing on them, for tests of the simulated network itself.

Not for: nodes (`world`).
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import ClientFactory, DatagramProtocol, Factory, Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.simnet.clock import SimClock
from tests.simnet.network import GIGABIT, Network
from tests.simnet.reactor import SimReactor
from tests.simnet.trace import Trace


class Rig:
    """`count` hosts; connections between them come as pairs of `End`s."""

    def __init__(self, count: int, rate: float = GIGABIT, seed: int = 1) -> None:
        """`rate` is what each link takes, bytes a second in each direction."""
        self.clock = SimClock()
        self.network = Network(self.clock, Random(seed), Trace())
        self.hosts = [self.network.add_host(rate, rate) for _ in range(count)]
        self.reactors = [SimReactor(self.clock, host) for host in self.hosts]

    def run(self, seconds: float) -> None:
        """Let time go by."""
        self.clock.run(self.clock.now + seconds)

    def connect(
        self, dialling: int, answering: int, make: Callable[[], End] | None = None
    ) -> tuple[End, End]:
        """An open connection: the end of each of the two hosts."""
        made: list[End] = []

        def build() -> End:
            made.append((make or End)())
            return made[-1]

        server, client = Factory(), ClientFactory()
        server.protocol, client.protocol = build, build
        server.noisy = client.noisy = False
        port = self.reactors[answering].listenTCP(0, server)
        address = self.hosts[answering].address
        self.reactors[dialling].connectTCP(address, port.getHost().port, client)
        self.run(1)
        port.stopListening()
        self.run(0)
        return made[0], made[1]

    def hear(self, host: int, port: int, interface: str = "") -> Ear:
        """A UDP socket on a host."""
        ear = Ear()
        self.reactors[host].listenMulticast(port, ear, interface, listenMultiple=True)
        return ear


class End(Protocol):
    """One end of a connection; `events` is what happened to it, with the time of each."""

    transport: Any

    def __init__(self) -> None:
        self.received = bytearray()
        self.events: list[str] = []
        self.last_at = 0.0
        self.ended: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        """Twisted: bytes came."""
        self.received += data
        self.last_at = self.transport.reactor.seconds()

    def connectionLost(self, reason: Failure = Failure(Exception())) -> None:  # noqa: B008
        """Twisted: it is over."""
        self.ended = reason
        self.events.append("lost")


@implementer(IHalfCloseableProtocol)
class HalfEnd(End):
    """An end that knows the two directions apart."""

    def readConnectionLost(self) -> None:
        """Twisted: they will send no more."""
        self.events.append("read lost")

    def writeConnectionLost(self) -> None:
        """Twisted: our end of stream has left."""
        self.events.append("write lost")


class Ear(DatagramProtocol):
    """Keeps what it hears."""

    transport: Any
    noisy = False

    def __init__(self) -> None:
        self.heard: list[tuple[bytes, str]] = []

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """Twisted: a datagram."""
        self.heard.append((datagram, addr[0]))
