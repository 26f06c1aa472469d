"""UDP sockets that come back by themselves: for what is sent to all, and for what is sent to us.

Twisted closes a UDP port for good at its first unexpected receive error (hostile world, 22);
`ReopeningDatagramProtocol` listens again, with backoff.  It also knows how to let go of a
flooded socket for a moment, so that TCP keeps moving.  Broadcasts are received on sockets that
several programs may have (`BroadcastSockets`), what is sent to an own address alone on one that
nobody else can have (`OwnSocket`).  Not for: what a datagram means.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger

from peershare.links import Link
from peershare.timers import Alarm

# Elsewhere it is not known whether a broadcast address can be bound, nor what that keeps others
# from: there one socket on all addresses hears, and every socket is shared.
_ADDRESSES_APART = sys.platform == "linux"
# A UDP payload cannot be longer; Twisted's default of 8,192 would cut datagrams silently.
MAX_DATAGRAM_BYTES = 65_535
# What one turn of the reactor may read from one UDP socket.
_BYTES_PER_TURN = 65_536
# How long a flooded socket is left alone.
FLOOD_PAUSE_SECONDS = 0.05
_FIRST_BACKOFF_SECONDS = 1.0
_LONGEST_BACKOFF_SECONDS = 30.0


class ReopeningDatagramProtocol(DatagramProtocol):
    """A protocol that owns its port: `open` and `close` it; in between it reopens itself."""

    noisy = False
    _log = Logger()

    def __init__(self, reactor: Any, interface: str, port: int) -> None:
        """`interface` is an own address, a broadcast address, or "" for all."""
        self._reactor = reactor
        self.interface = interface
        self.port = port
        self._open = False
        self._backoff_seconds = _FIRST_BACKOFF_SECONDS
        self._retry = Alarm(reactor)

    @property
    def listening(self) -> bool:
        """Whether there is a socket right now."""
        return self.transport is not None

    def open(self) -> None:
        """Start listening, now or as soon as it is possible."""
        self._open = True
        self._listen()

    def close(self) -> Deferred[None]:
        """Stop listening and stay closed; fires when the socket is gone."""
        self._open = False
        self._retry.clear()
        transport: Any = self.transport
        if transport is None:
            return succeed(None)
        stopped = transport.stopListening()
        return stopped if isinstance(stopped, Deferred) else succeed(None)

    def _listen(self) -> None:
        try:
            self._bind()
        except (CannotListenError, OSError) as error:
            self._listen_later(error)

    def _bind(self) -> None:
        """Open the socket, which others may have, too.  Raises CannotListenError, OSError."""
        self._reactor.listenMulticast(
            self.port,
            self,
            interface=self.interface,
            maxPacketSize=MAX_DATAGRAM_BYTES,
            listenMultiple=True,
        )

    def _listen_later(self, error: Exception | None) -> None:
        self._log.warn(
            "UDP {interface}:{port} cannot be used ({error}), next try in {seconds:.0f} s",
            interface=self.interface or "*",
            port=self.port,
            error=error or "it was closed by an error",
            seconds=self._backoff_seconds,
        )
        self._retry.set(self._backoff_seconds, self._listen)
        self._backoff_seconds = min(2 * self._backoff_seconds, _LONGEST_BACKOFF_SECONDS)

    def startProtocol(self) -> None:
        """Twisted: the socket is there."""
        self._backoff_seconds = _FIRST_BACKOFF_SECONDS
        transport: Any = self.transport
        transport.maxThroughput = _BYTES_PER_TURN
        if self.interface:
            transport.setBroadcastAllowed(True)

    def stopProtocol(self) -> None:
        """Twisted: the socket is gone, by our wish or by an error."""
        self.transport = None
        if self._open:
            self._listen_later(None)

    def let_go(self, seconds: float) -> None:
        """Read nothing for a moment; the kernel drops what comes meanwhile."""
        transport: Any = self.transport
        if transport is None:
            return
        transport.maxThroughput = 0  # ends the read loop that called us
        transport.stopReading()
        self._reactor.callLater(seconds, self._read_on, transport)

    def _read_on(self, paused: Any) -> None:
        current: Any = self.transport
        if paused is current:
            current.maxThroughput = _BYTES_PER_TURN
            current.startReading()


class OwnSocket(ReopeningDatagramProtocol):
    """The socket of an own address, which nobody else can have: sends, hears what is sent to us.

    Where another program has its port it takes a free one, `bound_port`, and `take_back` looks
    whether it can have its own again.
    """

    bound_port = 0

    def take_back(self) -> bool:
        """Have the port that was wanted, if it is free now; whether the port is another one."""
        before: Any = self.transport
        if not self._open or before is None or self.bound_port == self.port:
            return False
        self.transport = None  # Twisted's protocols have one at a time
        try:
            self._bind_alone(self.port)
        except (CannotListenError, OSError):
            self.transport = before
            return False
        before.stopListening()
        return True

    def _bind(self) -> None:
        if not _ADDRESSES_APART:
            super()._bind()
            self.bound_port = self.port
            return
        try:
            self._bind_alone(self.port)
        except CannotListenError as error:
            if getattr(error.socketError, "errno", None) != errno.EADDRINUSE:
                raise
            self._bind_alone(0)
            self._log.info(
                "UDP port {port} of {address} is taken by another program, {bound} is used instead",
                port=self.port,
                address=self.interface,
                bound=self.bound_port,
            )

    def _bind_alone(self, port: int) -> None:
        opened = self._reactor.listenUDP(
            port, self, interface=self.interface, maxPacketSize=MAX_DATAGRAM_BYTES
        )
        self.bound_port = opened.getHost().port

    def makeConnection(self, transport: Any) -> None:
        """Twisted: the first socket, or the one that takes its place."""
        super().makeConnection(transport)
        transport.maxThroughput = _BYTES_PER_TURN
        transport.setBroadcastAllowed(True)

    def doStop(self) -> None:
        """Twisted: a socket is gone; what took its place stays."""
        current = self.transport
        super().doStop()
        if self.numPorts:
            self.transport = current


class BroadcastSocket(ReopeningDatagramProtocol):
    """Hears what is sent to one broadcast address, beside whoever else does."""

    def __init__(
        self, reactor: Any, interface: str, port: int, hear: Callable[[bytes, str, int], bool]
    ) -> None:
        """`hear` takes a datagram, its source and source port; True asks to pause the socket."""
        super().__init__(reactor, interface, port)
        self._hear = hear

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """Twisted: something was broadcast."""
        if self._hear(datagram, *addr):
            self.let_go(FLOOD_PAUSE_SECONDS)


class BroadcastSockets:
    """One socket for each broadcast address of the links in use, from `open` to `close`."""

    def __init__(self, reactor: Any, port: int, hear: Callable[[bytes, str, int], bool]) -> None:
        """As `BroadcastSocket`."""
        self._reactor = reactor
        self._port = port
        self._hear = hear
        self._links: dict[Link, None] = {}
        self._sockets: dict[str, BroadcastSocket] = {}
        self._open = False

    def open(self) -> None:
        """Hear what is sent to all."""
        self._open = True
        self._follow()

    def close(self) -> Deferred[Any]:
        """Hear nothing more; fires when the sockets are gone."""
        self._open = False
        return self._follow()

    def use(self, link: Link) -> None:
        """Hear what is sent to all on one more link."""
        self._links[link] = None
        self._follow()

    def drop(self, link: Link) -> Deferred[Any]:
        """Hear that no more, but for what another link has in common with it."""
        self._links.pop(link, None)
        return self._follow()

    def _follow(self) -> Deferred[Any]:
        heard = [address for link in self._links for address in link.heard]
        wanted = dict.fromkeys(map(str, heard if _ADDRESSES_APART else [""] * bool(heard)))
        if not self._open:
            wanted = {}
        closing = [self._sockets.pop(a).close() for a in tuple(self._sockets) if a not in wanted]
        for address in wanted:
            if address not in self._sockets:
                socket = BroadcastSocket(self._reactor, address, self._port, self._hear)
                self._sockets[address] = socket
                socket.open()
        return DeferredList(closing)
