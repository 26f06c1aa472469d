"""A reactor for one simulated process: Twisted's own transports over simulated sockets.

What a protocol sees of its transport (producers, half close, abort, the order of calls) is thus
exactly what it sees in reality; only the kernel and the clock below are simulated.  A transport has
no descriptor (`fileno()` is -1) and does not claim to be one that can be read from.
Not for: anything that needs threads, processes, names or a second network.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet import tcp, udp
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableDescriptor,
    ILoggingContext,
    IPushProducer,
    IReactorMulticast,
    IReactorTCP,
    IReactorTime,
    IReactorUDP,
    ITCPTransport,
)
from twisted.internet.posixbase import _DisconnectSelectableMixin
from twisted.logger import Logger
from zope.interface import implementer, implementer_only

from tests.simnet.clock import SimCall, SimClock
from tests.simnet.datagrams import DatagramSocket
from tests.simnet.listeners import Listener
from tests.simnet.network import Host
from tests.simnet.sockets import SimSocket
from tests.simnet.streams import StreamSocket

_TRANSPORT = (ITCPTransport, IConsumer, IPushProducer, IHalfCloseableDescriptor, ILoggingContext)


@implementer_only(*_TRANSPORT)
class SimServer(tcp.Server):
    """The transport of a connection that was accepted."""


@implementer_only(*_TRANSPORT)
class SimClient(tcp.Client):
    """The transport of a connection that was dialled."""

    def createInternetSocket(self) -> Any:
        """Twisted: the socket to connect."""
        return StreamSocket(self.connector.reactor.host)


class SimConnector(tcp.Connector):
    """Dials."""

    def _makeTransport(self) -> Any:
        return SimClient(self.host, self.port, self.bindAddress, self, self.reactor)


class SimPort(tcp.Port):
    """A listening TCP port."""

    transport = SimServer
    reactor: Any

    def createInternetSocket(self) -> Any:
        """Twisted: the socket to listen on."""
        return Listener(self.reactor.host)


class SimDatagramPort(udp.MulticastPort):
    """A UDP port."""

    def createInternetSocket(self) -> Any:
        """Twisted: the socket to bind."""
        opened = DatagramSocket(self.reactor.host)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(self.listenMultiple))
        return opened


class Watch:
    """What a reactor wants to know of one socket; one turn at a time is on its way."""

    def __init__(self, reactor: SimReactor, selectable: Any) -> None:
        self.selectable = selectable
        self.socket: SimSocket = selectable.socket
        self.socket.watch = self
        self.reads = False
        self.writes = False
        self._reactor = reactor
        self._pending = False

    def poll(self) -> None:
        """The socket, or what is wanted of it, has changed."""
        if not self._pending and self.ready:
            self._pending = True
            self._reactor.clock.after(0.0, self._turn)

    @property
    def ready(self) -> bool:
        """Whether there is something to do."""
        socket: Any = self.socket
        return (self.reads and socket.readable) or (self.writes and socket.writable)

    def _turn(self) -> None:
        self._pending = False
        if not self._reactor.dead and self.ready:
            self._reactor.turn(self)
            self.poll()


@implementer(IReactorTime, IReactorTCP, IReactorUDP, IReactorMulticast)
class SimReactor(_DisconnectSelectableMixin):
    """The reactor of one process on one host; what it was to do is not done once it is dead."""

    _log = Logger()

    def __init__(self, clock: SimClock, host: Host) -> None:
        self.clock = clock
        self.host = host
        self.name = host.address
        self.dead = False
        self._watches: dict[Any, Watch] = {}

    # -- time

    def seconds(self) -> float:
        """Twisted: the time."""
        return self.clock.now

    def callLater(
        self, delay: float, callable: Callable[..., Any], *args: object, **kw: object
    ) -> SimCall:
        """Twisted: call that later."""
        if delay < 0:
            raise ValueError(f"{delay} seconds from now are over")
        return SimCall(self.clock, self, self.clock.now + delay, callable, args, kw)

    def getDelayedCalls(self) -> list[SimCall]:
        """Twisted: what is to come."""
        return [call for call in self.clock.waiting() if call.owner is self]

    def callFromThread(self, callable: Callable[..., Any], *args: object, **kw: object) -> None:
        """Twisted: call that with the next turn."""
        self.callLater(0, callable, *args, **kw)

    # -- connections

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        """Twisted: listen.  Raises CannotListenError."""
        opened = SimPort(port, factory, backlog, interface, self)
        opened.startListening()
        return opened

    def connectTCP(
        self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None
    ) -> Any:
        """Twisted: dial."""
        connector = SimConnector(host, port, factory, timeout, bindAddress, self)
        connector.connect()
        return connector

    def listenUDP(
        self, port: int, protocol: Any, interface: str = "", maxPacketSize: int = 8192
    ) -> Any:
        """Twisted: a UDP port."""
        return self.listenMulticast(port, protocol, interface, maxPacketSize)

    def listenMulticast(
        self,
        port: int,
        protocol: Any,
        interface: str = "",
        maxPacketSize: int = 8192,
        listenMultiple: bool = False,
    ) -> Any:
        """Twisted: a UDP port that several may have."""
        opened = SimDatagramPort(port, protocol, interface, maxPacketSize, self, listenMultiple)
        opened.startListening()
        return opened

    # -- what transports ask

    def addReader(self, reader: Any) -> None:
        """Twisted: have it read when there is something."""
        watch = self._watch(reader)
        watch.reads = True
        watch.poll()

    def addWriter(self, writer: Any) -> None:
        """Twisted: have it write when there is room."""
        watch = self._watch(writer)
        watch.writes = True
        watch.poll()

    def removeReader(self, reader: Any) -> None:
        """Twisted: do not have it read."""
        watch = self._watches.get(reader)
        if watch is not None:
            watch.reads = False
            self._drop_idle(watch)

    def removeWriter(self, writer: Any) -> None:
        """Twisted: do not have it write."""
        watch = self._watches.get(writer)
        if watch is not None:
            watch.writes = False
            self._drop_idle(watch)

    def _watch(self, selectable: Any) -> Watch:
        watch = self._watches.get(selectable)
        if watch is None:
            watch = self._watches[selectable] = Watch(self, selectable)
        return watch

    def _drop_idle(self, watch: Watch) -> None:
        if not watch.reads and not watch.writes:
            del self._watches[watch.selectable]

    def turn(self, watch: Watch) -> None:
        """Read, then write, as a reactor does; end the connection if that is what came of it."""
        self.clock.who = self.name
        selectable, socket = watch.selectable, watch.socket
        why: Any = None
        in_read = False
        try:
            if watch.reads and socket.readable:  # type: ignore[attr-defined]
                in_read = True
                why = selectable.doRead()
            if not why and watch.writes and socket.writable:  # type: ignore[attr-defined]
                in_read = False
                why = selectable.doWrite()
        except Exception as error:
            self._log.failure("a transport failed")
            why = error
        if why:
            self._disconnectSelectable(selectable, why, in_read)

    # -- the end

    def die(self) -> None:
        """The process is gone: nothing of it runs any more."""
        self.dead = True
