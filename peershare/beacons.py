"""Beacons: tells the network that we are here, and what our catalogue is called.

`BeaconSocket` is one socket on one own address; `Beacons` is the schedule that feeds all of them.
Not for: hearing others; what reaches an own address is handed to `hearing`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv4Address
from random import Random
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from peershare.identity import Identity
from peershare.links import Link
from peershare.neighbours import Question, beacon_interval
from peershare.timers import Alarm
from peershare.udp import FLOOD_PAUSE_SECONDS, OwnSocket
from peershare.wire.beacon import Beacon, encode

# The first beacon goes out at once; datagrams get lost.
BURST_SECONDS = (0.0, 0.5, 2.0, 6.0, 12.0)
JITTER = 0.2
# A change is told this often at most; in a large network, so many times in an interval.
CHANGE_GAP_SECONDS = 1.0
_CHANGES_PER_INTERVAL = 30


class BeaconSocket(OwnSocket):
    """The socket of one own address; `tcp_port` is where sessions are taken there, 0 if nowhere."""

    _log = Logger()

    def __init__(
        self, reactor: Any, link: Link, port: int, hear: Callable[[bytes, str, int], bool]
    ) -> None:
        """`hear` takes a datagram, its source and source port; True asks to pause the socket."""
        super().__init__(reactor, str(link.address), port)
        self.link = link
        self._hear = hear
        self.tcp_port = 0
        self.problem = ""

    def broadcast(self, beacon: Beacon) -> bool:
        """Send it to each broadcast address of the link; False if none could be reached."""
        problems = [self._send(beacon, str(a), self.port) for a in self.link.broadcasts]
        problem = "; ".join(filter(None, problems))
        if problem and problem != self.problem:
            self._log.warn("{problem}", problem=problem)
        self.problem = problem
        return not all(problems)

    def tell(self, beacon: Beacon, address: str, port: int) -> bool:
        """Send it to one address; if that fails (False) the next beacon makes up for it."""
        return not self._send(beacon, address, port)

    def _send(self, beacon: Beacon, address: str, port: int) -> str:
        """Why it could not be sent, or ""."""
        transport: Any = self.transport
        if transport is None:
            return f"UDP {self.interface}:{self.port} is not open"
        try:
            transport.write(encode(beacon), (address, port))
        except Exception as error:  # whatever it is, the next one is sent too
            return f"a beacon from {self.interface} to {address} failed: {error}"
        return ""

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """Twisted: something was sent to our own address, or broadcast."""
        if self._hear(datagram, *addr):
            self.let_go(FLOOD_PAUSE_SECONDS)


class Beacons(Service):
    """See the module."""

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        identity: Identity,
        random: Random,
        catalogue: Callable[[], tuple[str, int]],
        neighbours: Callable[[], int],
        known: Callable[[], Iterable[Question]] = tuple,
    ) -> None:
        """`catalogue` gives the digest and count of ours, `neighbours` how many there are.

        `known` gives those who have proven something.
        """
        self._reactor = reactor
        self.identity = identity
        self._random = random
        self._catalogue = catalogue
        self._neighbours = neighbours
        self._known = known
        self._sockets: dict[Link, BeaconSocket] = {}
        self._alarms: dict[str, Alarm] = {}
        self._changed_at = float("-inf")
        self.sent_datagrams = 0

    # -- life

    @property
    def problems(self) -> tuple[str, ...]:
        """What is in the way of being heard, as sentences."""
        return tuple(s.problem for s in self._sockets.values() if s.problem)

    def use(self, link: Link, socket: BeaconSocket) -> None:
        """Be heard on one more link from now on."""
        self._sockets[link] = socket
        socket.open()
        if self.running:
            self._burst()

    def moved(self, link: Link, tcp_port: int) -> None:
        """Sessions are taken at this TCP port of the link from now on, 0 if nowhere."""
        if self._sockets[link].tcp_port != tcp_port:
            self._sockets[link].tcp_port = tcp_port
            self.changed()

    def take_back(self, link: Link) -> bool:
        """Have the usual UDP port of the link, if it is free now; whether it was another one."""
        if not self._sockets[link].take_back():
            return False
        self.changed()
        return True

    @property
    def ports(self) -> dict[str, int]:
        """The UDP port where each own address hears what is sent to it alone."""
        return {s.interface: s.bound_port for s in self._sockets.values() if s.listening}

    def drop(self, link: Link) -> Deferred[None]:
        """Be heard there no more."""
        return self._sockets.pop(link).close()

    def startService(self) -> None:
        """Ask everybody at once and a few times more, then say every interval that we are here."""
        super().startService()
        self._burst()
        self._at("interval", self._interval * self._random.uniform(1 - JITTER, 1 + JITTER))

    def stopService(self) -> Deferred[Any]:
        """Say goodbye, then close the sockets."""
        super().stopService()
        for alarm in self._alarms.values():
            alarm.clear()
        self._broadcast(bye=True)
        return DeferredList([self.drop(link) for link in tuple(self._sockets)])

    def tell(self, address: str, port: int, **more: Any) -> None:
        """Send a beacon to one address and UDP port, from our own address on its network.

        `more` are the keys that others have no use for.
        """
        peer = IPv4Address(address)
        for link, socket in self._sockets.items():
            if peer in link.network:
                beacon = self._beacon(socket, **more)
                self.sent_datagrams += socket.tell(beacon, address, port)
                return

    # -- the schedule

    @property
    def _interval(self) -> int:
        return beacon_interval(self._neighbours())

    def changed(self) -> None:
        """What we hold, or where we take sessions, is not what it was: tell it soon."""
        if self.running:
            gap = max(CHANGE_GAP_SECONDS, self._interval / _CHANGES_PER_INTERVAL)
            self._at("change", max(0.0, self._changed_at + gap - self._reactor.seconds()))

    def _burst(self) -> None:
        for number, seconds in enumerate(BURST_SECONDS):
            self._at(f"burst {number}", seconds)

    def _at(self, why: str, seconds: float) -> None:
        """Send a beacon in so many seconds, unless one is due for the same reason."""
        alarm = self._alarms.setdefault(why, Alarm(self._reactor))
        if alarm.due is None:
            alarm.set(seconds, self._send_due, why)

    def _send_due(self, why: str) -> None:
        if why == "interval":
            self._at("interval", self._interval * self._random.uniform(1 - JITTER, 1 + JITTER))
        elif why == "change":
            self._changed_at = self._reactor.seconds()
        try:
            self._broadcast(ask=why.startswith("burst"))
        except Exception:
            self._log.failure("a beacon failed, the next one comes")

    def _broadcast(self, *, ask: bool = False, bye: bool = False) -> None:
        for socket in tuple(self._sockets.values()):
            self.sent_datagrams += socket.broadcast(self._beacon(socket, ask=ask, bye=bye))
        for known in self._known():
            # a goodbye is believed by what the two of us exchanged alone
            if (bye and known.echo) or self._may_be_deaf(known):
                address = known.endpoint.address
                self.tell(address, known.udp_port, ask=ask, bye=bye, echo=known.echo)

    def _may_be_deaf(self, known: Question) -> bool:
        """Whether our own sockets may be in the way of a peer of the version before.

        It listens on all addresses of our machine at once, which it cannot while we have one of
        them for ourselves.
        """
        address = IPv4Address(known.endpoint.address)
        ours = address.is_loopback or any(address == link.address for link in self._sockets)
        return ours and not known.apart

    def _beacon(self, socket: BeaconSocket, **more: Any) -> Beacon:
        digest, count = self._catalogue()
        return Beacon(
            peer=self.identity.peer,
            instance=self.identity.instance,
            port=socket.tcp_port,
            catalogue=digest,
            count=count,
            interval=self._interval,
            udp=socket.bound_port,
            **more,
        )
