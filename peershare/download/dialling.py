"""Connecting to an address, from our own; to a classic one: one connection at a time, its ports.

Not for: what is said on the connection (session), or whom to ask (content).
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Any

from twisted.internet import error
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory

from peershare.download.session import CONNECT_SECONDS, ChunkSession
from peershare.download.slots import AddressSlots
from peershare.errors import PeerError, Reason
from peershare.throttle import TokenBucket


class Dialler:
    """Opens sessions for all downloads of a node."""

    def __init__(
        self,
        reactor: Any,
        ports: tuple[int, ...],
        bucket: TokenBucket,
        bind_address: Callable[[IPv4Address], str | None],
    ) -> None:
        """`bind_address` gives our own address on the link that a peer's address belongs to."""
        self._reactor = reactor
        self._ports = ports
        self._bucket = bucket
        self._bind_address = bind_address
        self._port_of: dict[str, int] = {}
        self._slots = AddressSlots()

    def busy(self, address: str) -> bool:
        """Whether some download has a connection to this address."""
        return self._slots.busy(address)

    async def dial(self, address: str) -> ChunkSession:
        """Wait for the address to be free, connect to the first port that does not refuse.

        The slot is given back when the connection is closed.  Raises `PeerError`; may be
        cancelled at any time, and raises CancelledError then.
        """
        await self._slots.acquire(address)
        try:
            session = await self._connect_to_a_port(address)
        except BaseException as failed:
            self._slots.release(address)
            if isinstance(failed, error.ConnectingCancelledError):
                raise CancelledError from None  # the endpoint has a name of its own for it
            raise
        session.gone.addCallback(lambda _: self._slots.release(address))
        return session

    async def _connect_to_a_port(self, address: str) -> ChunkSession:
        known = self._port_of.get(address)
        ports = sorted(self._ports, key=lambda port: port != known)
        for port in ports:
            try:
                session = await self._connect(address, port)
            except error.ConnectionRefusedError as failed:
                refused = failed
                continue
            except error.ConnectError as failed:
                raise as_peer_error(failed) from None
            self._port_of[address] = port
            return session
        raise as_peer_error(refused)

    def _connect(self, address: str, port: int) -> Deferred[ChunkSession]:
        own = self._bind_address(IPv4Address(address))
        factory = _SessionFactory(self._reactor, self._bucket)
        return connect(self._reactor, factory, address, port, own)


def connect(
    reactor: Any, factory: Factory, address: str, port: int, own: str | None
) -> Deferred[Any]:
    """Connect within 3 s, from our `own` address if one is given; fires with the protocol."""
    bind_address = None if own is None else (own, 0)
    endpoint = TCP4ClientEndpoint(
        reactor, address, port, timeout=int(CONNECT_SECONDS), bindAddress=bind_address
    )
    connected: Deferred[Any] = endpoint.connect(factory)
    return connected


def as_peer_error(failed: BaseException | None) -> PeerError:
    """Why connecting failed, as a sentence that follows the address."""
    if isinstance(failed, PeerError):
        return failed
    if isinstance(failed, error.ConnectionRefusedError):
        return PeerError(Reason.REFUSED, "refused the connection: no peer runs there now")
    if isinstance(failed, error.TimeoutError | error.TCPTimedOutError):
        text = f"did not answer within {CONNECT_SECONDS:.0f} s"
        return PeerError(Reason.CONNECT_TIMEOUT, text)
    return PeerError(Reason.UNREACHABLE, f"cannot be reached: {failed}")


class _SessionFactory(Factory):
    noisy = False

    def __init__(self, reactor: Any, bucket: TokenBucket) -> None:
        self._reactor = reactor
        self._bucket = bucket

    def buildProtocol(self, addr: object) -> ChunkSession:
        """Twisted: the connection is open."""
        return ChunkSession(self._reactor, self._bucket)
