"""Fakes of what the world gives: reactor, sockets, workers, a network of peers.

Each keeps a list of what happened to it, in order, and does nothing that it was not told to do.
Not for: faking parts of peershare; tests use the real ones wherever they can be had.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Interface
from itertools import count
from typing import Any

from twisted.internet import error
from twisted.internet.address import IPv4Address as TcpAddress
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from peershare.links import Interface, Link

# A moment that is no special number anywhere.
START_SECONDS = 1_000.0
_IN_USE = OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
WALL_START = 1_790_000_000.0


class FakeTransport:
    """A TCP connection; what the protocol does with it goes into `events`.

    What really comes later in Twisted (the end of a connection) comes with the next turn of the
    clock here.  `written` is what was written, `calls` how often.
    """

    def __init__(self, reactor: FakeReactor, protocol: Any = None) -> None:
        self.reactor = reactor
        self.protocol = protocol
        self.events: list[str] = []
        self.writes: list[bytes] = []
        self.options: dict[str, bool] = {}
        self.connected = 1
        self.producer: Any = None
        self.wants_to_write = False
        self.bufferSize = 65_536

    @property
    def written(self) -> bytes:
        """All that was written."""
        return b"".join(self.writes)

    def write(self, data: bytes) -> None:
        """Take bytes."""
        self.writes.append(bytes(data))
        self.events.append("write")

    def writeSequence(self, parts: list[bytes]) -> None:
        """Take several bytes objects."""
        self.write(b"".join(parts))

    def loseWriteConnection(self) -> None:
        """The end of the stream, after what was written."""
        self.events.append("end of stream")
        self.reactor.callLater(0, self._tell, "writeConnectionLost")

    def loseConnection(self) -> None:
        """Close, after what was written."""
        self.events.append("close")
        self.reactor.callLater(0, self.lose, error.ConnectionDone())

    def abortConnection(self) -> None:
        """Reset."""
        self.events.append("reset")
        self.reactor.callLater(0, self.lose, error.ConnectionAborted())

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Wait for nothing before small pieces are sent."""
        self.options["no delay"] = enabled

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Notice a peer that is gone without a word."""
        self.options["keep alive"] = enabled

    def pauseProducing(self) -> None:
        """Read no more."""
        self.events.append("pause")

    def resumeProducing(self) -> None:
        """Read on."""
        self.events.append("resume")

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Ask it for more from now on; as Twisted does it, at once for a pull producer."""
        self.producer = producer
        if not streaming:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        """Ask it for nothing more."""
        self.producer = None

    def startWriting(self) -> None:
        """The producer wants to be asked again when there is room."""
        self.wants_to_write = True

    def fileno(self) -> int:
        """The descriptor, which a fake connection has not."""
        return -1

    def lose(self, reason: Exception) -> None:
        """The connection is gone, for this reason."""
        if self.connected:
            self.connected = 0
            self.protocol.connectionLost(Failure(reason))

    def _tell(self, method: str) -> None:
        if self.connected:
            getattr(self.protocol, method)()


class SocketTransport(FakeTransport):
    """A fake transport with a real descriptor, one end of a socket pair, for `os.sendfile`."""

    def __init__(self, reactor: FakeReactor, protocol: Any = None, buffer: int = 65_536) -> None:
        super().__init__(reactor, protocol)
        self._ours, self.theirs = socket.socketpair()
        self._ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        self._ours.setblocking(False)
        self.theirs.setblocking(False)

    def fileno(self) -> int:
        """Our end."""
        return self._ours.fileno()

    def getHandle(self) -> socket.socket:
        """Our end, as a socket."""
        return self._ours

    def read(self) -> bytes:
        """What has arrived at the other end."""
        pieces = []
        while True:
            try:
                data = self.theirs.recv(1 << 20)
            except BlockingIOError:
                break
            if not data:
                break
            pieces.append(data)
        return b"".join(pieces)

    def turn(self) -> None:
        """One turn of a reactor: ask the producer again if it wants to be asked."""
        if self.wants_to_write and self.producer is not None:
            self.wants_to_write = False
            self.producer.resumeProducing()

    def close(self) -> None:
        """Both ends."""
        self._ours.close()
        self.theirs.close()


class FakeUdpPort:
    """A UDP socket; `sent` is (datagram, address, port)."""

    def __init__(
        self, reactor: FakeReactor, protocol: Any, interface: str, port: int, *, shared: bool = True
    ) -> None:
        self._reactor = reactor
        self.protocol = protocol
        self.shared = shared
        self.interface = interface
        self.port = port
        self.sent: list[tuple[bytes, str, int]] = []
        self.events: list[str] = []
        self.failing: Exception | None = None
        self.failing_addresses: set[str] = set()
        self.broadcast_allowed = False
        self.maxThroughput = -1
        self.open = True

    def write(self, datagram: bytes, address: tuple[str, int]) -> None:
        """Send."""
        if self.failing is not None and (
            not self.failing_addresses or address[0] in self.failing_addresses
        ):
            raise self.failing
        self.sent.append((datagram, *address))

    def getHost(self) -> TcpAddress:
        """Where it is."""
        return TcpAddress("UDP", self.interface, self.port)

    def setBroadcastAllowed(self, allowed: bool) -> None:
        """May it broadcast?"""
        self.broadcast_allowed = allowed

    def stopReading(self) -> None:
        """Read no more."""
        self.events.append("stop reading")

    def startReading(self) -> None:
        """Read on."""
        self.events.append("start reading")

    def stopListening(self) -> Deferred[None]:
        """Close it."""
        self.break_down()
        return succeed(None)

    def break_down(self) -> None:
        """It is closed, by whomever."""
        if self.open:
            self.open = False
            self._reactor.udp_ports.remove(self)
            self.protocol.doStop()

    def hear(self, datagram: bytes, source: str, port: int = 5001) -> None:
        """Something was received."""
        self.protocol.datagramReceived(datagram, (source, port))


class FakeTcpPort:
    """A listening TCP socket."""

    def __init__(self, reactor: FakeReactor, port: int, factory: Any, interface: str) -> None:
        self._reactor = reactor
        self.factory = factory
        self.interface = interface
        self.port = port

    def getHost(self) -> TcpAddress:
        """Where it listens."""
        return TcpAddress("TCP", self.interface, self.port)

    def stopListening(self) -> Deferred[None]:
        """Close it."""
        self._reactor.tcp_ports.remove(self)
        return succeed(None)


class Dialled:
    """One attempt of ours to connect, and what the test lets become of it."""

    def __init__(self, reactor: FakeReactor, host: str, port: int, factory: Any) -> None:
        self._reactor = reactor
        self.host = host
        self.port = port
        self._factory = factory
        self.timeout = 0.0
        self.own_address: str | None = None
        self.cancelled = False
        self.over = False
        self.transport: FakeTransport | None = None

    def accept(self) -> FakeTransport:
        """The peer takes the connection."""
        self.over = True
        protocol = self._factory.buildProtocol(TcpAddress("TCP", self.host, self.port))
        self.transport = FakeTransport(self._reactor, protocol)
        protocol.makeConnection(self.transport)
        return self.transport

    def fail(self, reason: Exception) -> None:
        """It does not."""
        self.over = True
        self._factory.clientConnectionFailed(self, Failure(reason))

    def refuse(self) -> None:
        """Nobody listens there."""
        self.fail(error.ConnectionRefusedError())

    def stopConnecting(self) -> None:
        """Twisted: the connector is told to give up."""
        self.cancelled = self.over = True

    def getDestination(self) -> TcpAddress:
        """Twisted: where to."""
        return TcpAddress("TCP", self.host, self.port)

    # -- once it was accepted

    @property
    def request(self) -> bytes:
        """What we asked."""
        assert self.transport is not None
        return self.transport.written

    def give(self, data: bytes) -> None:
        """The peer sends bytes."""
        assert self.transport is not None
        self.transport.protocol.dataReceived(data)

    def end(self) -> None:
        """The peer ends its stream in order."""
        assert self.transport is not None
        self.transport.lose(error.ConnectionDone())

    def reset(self) -> None:
        """The peer cuts the connection."""
        assert self.transport is not None
        self.transport.lose(error.ConnectionLost())


class FakeReactor(MemoryReactorClock):
    """A clock and sockets in memory; begins at a moment that is not zero."""

    def __init__(self) -> None:
        super().__init__()
        self.rightNow = START_SECONDS
        self.udp_ports: list[FakeUdpPort] = []
        self.tcp_ports: list[FakeTcpPort] = []
        self.dialled: list[Dialled] = []
        self._free_ports = count(50_000)
        self.taken: set[tuple[str, int]] = set()  # (interface, port) that cannot be listened on

    def callFromThread(self, function: Callable[..., object], *arguments: object) -> None:
        """There are no threads here."""
        function(*arguments)

    def listenUDP(self, port: int, protocol: Any, interface: str = "", **_: Any) -> Any:
        """Open a UDP socket that nobody else can have; port 0 gives one that is free."""
        port = port or next(self._free_ports)
        for other in self.udp_ports:
            overlap = interface == other.interface or "" in (interface, other.interface)
            if other.port == port and overlap:
                raise error.CannotListenError(interface, port, _IN_USE)
        return self._open_udp(port, protocol, interface, shared=False)

    def listenMulticast(self, port: int, protocol: Any, interface: str = "", **_: Any) -> Any:
        """Open a UDP socket that others may have, too."""
        for other in self.udp_ports:
            if (other.interface, other.port) == (interface, port) and not other.shared:
                raise error.CannotListenError(interface, port, _IN_USE)
        return self._open_udp(port, protocol, interface, shared=True)

    def _open_udp(self, port: int, protocol: Any, interface: str, *, shared: bool) -> Any:
        self._check(interface, port)
        opened = FakeUdpPort(self, protocol, interface, port, shared=shared)
        self.udp_ports.append(opened)
        protocol.makeConnection(opened)
        return opened

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        """Open a TCP socket; port 0 gives one that is free."""
        self._check(interface, port)
        opened = FakeTcpPort(self, port or 40_000 + len(self.tcp_ports), factory, interface)
        self.tcp_ports.append(opened)
        return opened

    def connectTCP(
        self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None
    ) -> Any:
        """Dial; what becomes of it is the test's to say."""
        dialled = Dialled(self, host, port, factory)
        dialled.timeout = timeout
        dialled.own_address = bindAddress[0] if bindAddress else None
        self.dialled.append(dialled)
        factory.startedConnecting(dialled)
        return dialled

    def _check(self, interface: str, port: int) -> None:
        if (interface, port) in self.taken:
            raise error.CannotListenError(interface, port, _IN_USE)

    @property
    def waiting(self) -> list[Dialled]:
        """The attempts that have no end yet."""
        return [dialled for dialled in self.dialled if not dialled.over]

    def run_until(self, condition: Callable[[], bool], seconds: float, step: float = 0.1) -> float:
        """Let time go by until the condition holds; how long it took, or AssertionError."""
        begin = self.seconds()
        while not condition():
            if self.seconds() - begin > seconds:
                raise AssertionError(f"waited {seconds} s of fake time in vain")
            self.advance(step)
        return self.seconds() - begin


def run_now(function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
    """Workers that do everything at once, in the caller's thread."""
    return maybeDeferred(function, *arguments)


class HeldWorkers:
    """Workers that do nothing before they are told to; `waiting` are the names of their tasks."""

    def __init__(self) -> None:
        self._tasks: list[tuple[Deferred[Any], Callable[..., Any], tuple[Any, ...]]] = []

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """Take a task."""
        deferred: Deferred[Any] = Deferred()
        self._tasks.append((deferred, function, arguments))
        return deferred

    @property
    def waiting(self) -> list[str]:
        """What is to be done."""
        return [function.__name__ for _, function, _ in self._tasks]

    def do_one(self) -> None:
        """Do the oldest task."""
        deferred, function, arguments = self._tasks.pop(0)
        maybeDeferred(function, *arguments).chainDeferred(deferred)

    def do_all(self) -> None:
        """Do every task, those that come meanwhile too."""
        while self._tasks:
            self.do_one()


class FakeDisk:
    """A disk that fails as it is told, put in the place of functions of `os`.

    `full_after` bytes more can be written, then it is full.
    """

    def __init__(self, patch: Callable[..., object]) -> None:
        """`patch` is the `patch` of a trial TestCase."""
        self.full_after: int | None = None
        self._pwrite = os.pwrite
        patch(os, "pwrite", self.pwrite)

    def pwrite(self, descriptor: int, data: Any, offset: int) -> int:
        """Write as much as there is room for."""
        if self.full_after is not None:
            data = memoryview(data)[: self.full_after]
            if not data:
                raise OSError(28, "No space left on device")
            self.full_after -= len(data)
        return self._pwrite(descriptor, data, offset)


def interface(
    address: str = "198.18.0.1/24", name: str = "eth0", broadcast: str | None = "198.18.0.255"
) -> Interface:
    """An interface as the operating system might tell it."""
    told = IPv4Interface(address)
    return Interface(
        name=name,
        address=told,
        broadcast=IPv4Address(broadcast) if broadcast else None,
        up=True,
        loopback=told.ip.is_loopback,
        point_to_point=False,
    )


def link(address: str = "198.18.0.1/24", *broadcasts: str) -> Link:
    """An own address in use."""
    told = IPv4Interface(address)
    return Link(
        address=told.ip,
        network=told.network,
        broadcasts=tuple(map(IPv4Address, broadcasts or (str(told.network.broadcast_address),))),
        interface="eth0",
    )
