"""A UDP socket that comes back by itself.

Twisted closes a UDP port for good at its first unexpected receive error (hostile world, 22);
`ReopeningDatagramProtocol` listens again, with backoff.  It also knows how to let go of a
flooded socket for a moment, so that TCP keeps moving.  Not for: what a datagram means.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger

from peershare.timers import Alarm

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
        """`interface` is an own address, or "" for all; the socket is shared with others."""
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
            self._reactor.listenMulticast(
                self.port,
                self,
                interface=self.interface,
                maxPacketSize=MAX_DATAGRAM_BYTES,
                listenMultiple=True,
            )
        except (CannotListenError, OSError) as error:
            self._listen_later(error)

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
