"""The cables of a simulated network: rates, delay, loss, partitions.  One LAN, every host on it.

Each host has an uplink, which its connections share in turns of a segment, and a downlink, which
is a queue; a rate counts payload only.  What is on its way arrives in the order of its connection.
Not for: what a socket is (`sockets`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from random import Random
from typing import TYPE_CHECKING, Any, Protocol

from peershare.links import Interface
from tests.simnet.clock import SimClock
from tests.simnet.trace import Trace

if TYPE_CHECKING:
    from tests.simnet.datagrams import DatagramSocket
    from tests.simnet.listeners import Listener
    from tests.simnet.spoiling import Spoiler
    from tests.simnet.streams import StreamSocket

LAN = IPv4Network("198.18.0.0/16")
GIGABIT = 125_000_000.0


@dataclass
class Conditions:
    """How the network is at the moment; a test changes it as it likes.

    Chances are from 0 to 1, for each datagram at each receiver.
    """

    latency_seconds: float = 0.0005
    jitter_seconds: float = 0.0002
    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0
    reordered_seconds: float = 0.05  # at most so much later
    window_bytes: int = 131_072  # of one connection, sent and not yet read
    # How long a sender waits for somebody who is not there before it gives a connection up.
    patience_seconds: float = 20.0


class Packet(Protocol):
    """What an uplink carries."""

    size: int

    def leave(self) -> None:
        """Its last byte has left the uplink."""


class Flow(Protocol):
    """Who takes turns on an uplink."""

    queued: bool

    def take(self) -> Packet | None:
        """The next packet; None if there is nothing that can be sent now."""

    def wants(self) -> bool:
        """Whether there is more."""


class Uplink:
    """Sends one packet after the other; the flows that want to send take turns."""

    def __init__(self, clock: SimClock, rate: float) -> None:
        self.rate = rate
        self._clock = clock
        self._waiting: deque[Flow] = deque()
        self._busy = False

    def want(self, flow: Flow) -> None:
        """A flow has something to send."""
        if not flow.queued:
            flow.queued = True
            self._waiting.append(flow)
            if not self._busy:
                self._next()

    def clear(self) -> None:
        """Nobody wants anything any more; what is being sent still leaves."""
        for flow in self._waiting:
            flow.queued = False
        self._waiting.clear()

    def _next(self) -> None:
        self._busy = False
        while self._waiting:
            flow = self._waiting.popleft()
            flow.queued = False
            packet = flow.take()
            if packet is None:
                continue
            if flow.wants():
                flow.queued = True
                self._waiting.append(flow)
            self._busy = True
            self._clock.after(packet.size / self.rate, self._sent, packet)
            return

    def _sent(self, packet: Packet) -> None:
        packet.leave()
        self._next()


class Host:
    """One machine: its link to the network, and what its kernel knows."""

    def __init__(self, network: Network, number: int, up_rate: float, down_rate: float) -> None:
        """Rates are bytes a second."""
        self.network = network
        self.number = number
        self.address = str(LAN.network_address + number)
        self.uplink = Uplink(network.clock, up_rate)
        self.down_rate = down_rate
        self.group = 0  # of a partition
        self.up = True
        self.plugged = True  # False: its interface is gone
        self.streams: dict[StreamSocket, None] = {}
        self.listeners: dict[tuple[str, int], Listener] = {}
        self.datagrams: dict[DatagramSocket, None] = {}
        self.unanswered: dict[StreamSocket, None] = {}  # who sent something while it was down
        self.spoiler: Callable[[], Spoiler] | None = None  # of each new connection
        self.sent_bytes = 0  # of connections
        self._down_free = 0.0
        self._next_port = 40_000

    def interfaces(self) -> tuple[Interface, ...]:
        """As the operating system tells them."""
        if not self.plugged:
            return ()
        address = IPv4Interface(f"{self.address}/{LAN.prefixlen}")
        broadcast = IPv4Address(LAN.broadcast_address)
        return (Interface("eth0", address, broadcast, True, False, False),)

    def free_port(self) -> int:
        """A port that nobody uses."""
        self._next_port += 1
        return self._next_port

    def receive(self, size: int, function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        """A packet reached the downlink: its bytes come after all that is waiting there."""
        clock = self.network.clock
        self._down_free = max(self._down_free, clock.now) + size / self.down_rate
        clock.at(self._down_free, function, *arguments)

    def kill(self) -> None:
        """The process is killed: the kernel closes what it had open."""
        for stream in tuple(self.streams):
            stream.close()
        self._close_ports()

    def power_off(self) -> None:
        """The machine is gone; nobody is told."""
        self.up = False
        for stream in tuple(self.streams):
            stream.vanish()
        self._close_ports()
        self.uplink.clear()

    def power_on(self) -> None:
        """It is back, and knows nothing of its connections: who sends on one is told so."""
        self.up = True
        unanswered, self.unanswered = self.unanswered, {}
        for stream in unanswered:
            self.network.later(1.0, stream.receive_reset)

    def _close_ports(self) -> None:
        for listener in tuple(self.listeners.values()):
            listener.close()
        for socket in tuple(self.datagrams):
            socket.close()


class Network:
    """All hosts, and what is between them."""

    def __init__(self, clock: SimClock, random: Random, trace: Trace) -> None:
        self.clock = clock
        self.random = random
        self.trace = trace
        self.conditions = Conditions()
        self.hosts: dict[str, Host] = {}
        self.parked: dict[StreamSocket, None] = {}  # connections that wait for a partition to end

    def add_host(self, up_rate: float = GIGABIT, down_rate: float = GIGABIT) -> Host:
        """One more machine; rates are bytes a second."""
        host = Host(self, len(self.hosts) + 1, up_rate, down_rate)
        self.hosts[host.address] = host
        return host

    def delay(self) -> float:
        """How long something is on its way, in seconds."""
        now = self.conditions
        return now.latency_seconds + now.jitter_seconds * self.random.random()

    def later(self, most: float, function: Callable[..., Any], *arguments: Any) -> None:
        """Call this at some moment within so many seconds."""
        self.clock.after(most * self.random.random(), function, *arguments)

    # -- faults

    def partition(self, groups: Iterable[Iterable[Host]]) -> None:
        """Cut the network into groups; hosts that are in none of them stay together."""
        self.note("partition", "")
        for host in self.hosts.values():
            host.group = 0
        for number, group in enumerate(groups, 1):
            for host in group:
                host.group = number
        self._resume()

    def heal(self) -> None:
        """One network again."""
        self.partition(())

    def plug(self, host: Host, plugged: bool) -> None:
        """Pull the cable of a host, or put it back."""
        self.note("plugged" if plugged else "unplugged", host.address)
        host.plugged = plugged
        self._resume()

    def apart(self, one: Host, other: Host) -> bool:
        """Whether nothing gets from one to the other."""
        return one.group != other.group or not (one.plugged and other.plugged)

    def _resume(self) -> None:
        """Connections that waited for somebody try again."""
        parked, self.parked = self.parked, {}
        for stream in parked:
            self.later(0.5, stream.resume)

    def reset(self, stream: StreamSocket) -> None:
        """Something between them cuts a connection: both ends are told."""
        for end in (stream, stream.peer):
            if end is not None:
                self.clock.after(self.delay(), end.receive_reset)

    def streams(self) -> list[StreamSocket]:
        """One end of every connection that is open."""
        return [
            stream
            for host in self.hosts.values()
            for stream in host.streams
            if stream.dialled and stream.state == "open"
        ]

    # -- what happens

    def note(self, what: str, who: str, data: bytes = b"") -> None:
        """For the trace."""
        self.trace.note(self.clock.now, f"{what} {who}", data)
