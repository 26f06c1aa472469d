"""The datagrams that the doctor sends, and the sockets that it sends and hears them with.

Not for: when they are sent (`echoing`, `asking`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol

from peershare.links import Link
from peershare.udp import MAX_DATAGRAM_BYTES
from peershare.wire.beacon import INSTANCE_BYTES, PEER_BYTES, Beacon

# A catalogue that nobody fetches: who sends it takes no sessions.
_NO_CATALOGUE = "0" * 64

Hear = Callable[[bytes, str, int], object]
RandomBytes = Callable[[int], bytes]


def beacon_of(random: RandomBytes, **more: Any) -> Beacon:
    """A beacon of a peer that holds nothing, takes no sessions, and is soon forgotten."""
    return Beacon(
        peer=random(PEER_BYTES).hex(),
        instance=random(INSTANCE_BYTES).hex(),
        port=0,
        catalogue=_NO_CATALOGUE,
        count=0,
        interval=1,
        **more,
    )


class Socket(DatagramProtocol):
    """One UDP socket; `hear` takes each datagram, its source and source port."""

    noisy = False

    def __init__(self, reactor: Any, hear: Hear) -> None:
        self._reactor = reactor
        self._hear = hear
        self.port = 0

    def open_ear(self, port: int, broadcast: IPv4Address) -> str:
        """Hear what is broadcast to an address and port, beside others; why not, or ""."""
        return self._open(port, str(broadcast), shared=True)

    def open_mouth(self, address: IPv4Address, port: int = 0) -> str:
        """Send from an own address, and hear what is sent there; why not, or "".

        Nobody else has that port; 0 is a free one.
        """
        problem = self._open(port, str(address), shared=False)
        if not problem:
            transport: Any = self.transport
            transport.setBroadcastAllowed(True)
        return problem

    def _open(self, port: int, interface: str, *, shared: bool) -> str:
        listen: Any = self._reactor.listenMulticast if shared else self._reactor.listenUDP
        more = {"listenMultiple": True} if shared else {}
        try:
            opened = listen(
                port, self, interface=interface, maxPacketSize=MAX_DATAGRAM_BYTES, **more
            )
        except (CannotListenError, OSError) as error:
            return f"UDP {interface or '*'}:{port} cannot be opened: {reason_of(error)}"
        self.port = opened.getHost().port
        return ""

    def send(self, datagram: bytes, address: str, port: int) -> str:
        """Send it; why it could not be sent, or ""."""
        transport: Any = self.transport
        if transport is None:
            return "the socket is not open"
        try:
            transport.write(datagram, (address, port))
        except Exception as error:  # Twisted lets through whatever the system says
            return reason_of(error)
        return ""

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """Twisted: something arrived."""
        self._hear(datagram, *addr)

    def close(self) -> Deferred[Any]:
        """Fires when it is closed; may be called whether it was opened or not."""
        transport: Any = self.transport
        self.transport = None
        return maybeDeferred(transport.stopListening if transport is not None else lambda: None)


def reason_of(error: BaseException) -> str:
    """What the system said, in its words."""
    inner = getattr(error, "socketError", None) or getattr(error, "osError", None) or error
    if isinstance(inner, int):
        return os.strerror(inner)
    return getattr(inner, "strerror", None) or str(inner) or type(inner).__name__


def heard_on(links: Iterable[Link]) -> tuple[IPv4Address, ...]:
    """The broadcast addresses of these links."""
    return tuple(dict.fromkeys(address for link in links for address in link.heard))


def link_to(links: tuple[Link, ...], address: str) -> Link | None:
    """The link whose network an address is on."""
    peer = IPv4Address(address)
    return next((link for link in links if peer in link.network), None)
