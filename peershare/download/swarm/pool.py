"""The native sessions of a node: one for each peer, shared by all that want something of it.

Nobody is dialled here whom a beacon has not proven to be a native peer; the callers see to that.
Not for: what is said on a session.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from peershare.download.dialling import as_peer_error, connect
from peershare.download.swarm.receiving import Room
from peershare.download.swarm.session import Household, PeerSession
from peershare.errors import PeerError, Reason
from peershare.throttle import TokenBucket
from peershare.timers import Alarm
from peershare.wire.beacon import Endpoint
from peershare.wire.messages import Hello

IDLE_SECONDS = 30.0
_SWEEP_SECONDS = 5.0


class SessionPool:
    """Dials, keeps and closes sessions."""

    def __init__(
        self,
        reactor: Any,
        hello: Callable[[str], Hello],
        bucket: TokenBucket,
        bind_address: Callable[[IPv4Address], str | None],
        received: Callable[[Endpoint, int], None],
        failed: Callable[[Endpoint, PeerError], None],
    ) -> None:
        """`hello(address)` is what we say of ourselves to a peer there.

        `bind_address` gives our own address on the link that a peer's address belongs to.

        `received(peer, count)` is called with raw bytes as they come, `failed(peer, error)` when
        one cannot be dialled or ends a session: who has its address now is not known.
        """
        self._reactor = reactor
        self._hello = hello
        self._bind_address = bind_address
        self._not_there = failed
        self._household = Household(reactor, bucket, Room(), received, self._forget)
        self._sessions: dict[Endpoint, PeerSession] = {}
        self._dials: dict[Endpoint, _Dial] = {}
        self._sweeping = Alarm(reactor)
        self._closed = False

    def get(self, peer: Endpoint) -> Deferred[PeerSession]:
        """A session with this peer; may be cancelled.  Fails with `PeerError`."""
        session: Deferred[PeerSession] = Deferred(lambda waiting: self._give_up(peer, waiting))
        if self._closed:
            session.errback(_stopping())
        elif peer in self._sessions:
            session.callback(self._sessions[peer])
        else:
            dial = self._dials.get(peer)
            if dial is None:
                dial = self._dials[peer] = _Dial()
                dial.waiting.append(session)
                self._dial(peer, dial)
            else:
                dial.waiting.append(session)
        return session

    def close(self) -> None:
        """Close every session and dial nobody any more."""
        self._closed = True
        self._sweeping.clear()
        for dial in list(self._dials.values()):
            if dial.connecting is not None:
                dial.connecting.cancel()
        for session in list(self._sessions.values()):
            session.close()

    def _dial(self, peer: Endpoint, dial: _Dial) -> None:
        own = self._bind_address(IPv4Address(peer.address))
        factory = _SessionFactory(self._household, peer, self._hello(peer.address))
        dial.connecting = connect(self._reactor, factory, peer.address, peer.port, own)
        dial.connecting.addCallbacks(self._connected, self._failed, (peer,), {}, (peer,), {})

    def _connected(self, session: PeerSession, peer: Endpoint) -> None:
        self._sessions[peer] = session
        if self._sweeping.due is None:
            self._sweeping.set(_SWEEP_SECONDS, self._sweep)
        for waiting in self._dials.pop(peer).waiting:
            waiting.callback(session)

    def _failed(self, failure: Failure, peer: Endpoint) -> None:
        error = _stopping() if self._closed else as_peer_error(failure.value)
        dial = self._dials.pop(peer)
        if dial.waiting and not self._closed:  # else it was given up
            self._not_there(peer, error)
        for waiting in dial.waiting:
            waiting.errback(error)

    def _give_up(self, peer: Endpoint, waiting: Deferred[PeerSession]) -> None:
        """One of those who wait does not any more; the last one ends the dialling."""
        dial = self._dials.get(peer)
        if dial is None or waiting not in dial.waiting:
            return
        dial.waiting.remove(waiting)
        if not dial.waiting and dial.connecting is not None:
            dial.connecting.cancel()

    def _forget(self, session: PeerSession) -> None:
        if self._sessions.get(session.endpoint) is session:
            del self._sessions[session.endpoint]
        if session.over is not None and not session.closed_by_us and not self._closed:
            self._not_there(session.endpoint, session.over)

    def _sweep(self) -> None:
        """Close those that nobody has used for a while."""
        latest = self._reactor.seconds() - IDLE_SECONDS
        for session in list(self._sessions.values()):
            if session.idle and session.used_at <= latest:
                session.close()
        if self._sessions:
            self._sweeping.set(_SWEEP_SECONDS, self._sweep)


def _stopping() -> PeerError:
    return PeerError(Reason.UNREACHABLE, "is not dialled: this node is stopping")


class _Dial:
    """A connection that is being opened, and who waits for it."""

    def __init__(self) -> None:
        self.waiting: list[Deferred[PeerSession]] = []
        self.connecting: Deferred[Any] | None = None


class _SessionFactory(Factory):
    noisy = False

    def __init__(self, household: Household, peer: Endpoint, hello: Hello) -> None:
        self._make = lambda: PeerSession(household, peer, hello)

    def buildProtocol(self, addr: object) -> PeerSession:
        """Twisted: the connection is open."""
        return self._make()
