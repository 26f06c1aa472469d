"""The sources of one verified download: with whom it holds sessions, and with whom not.

It dials whoever has something, up to a cap, waits longer and longer where that fails, keeps away
from who gave wrong bytes, and exchanges who has nothing to give.  Not for: which block from whom.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from peershare.download.swarm.pool import SessionPool
from peershare.download.swarm.session import PeerSession
from peershare.errors import PeerError
from peershare.holdings import Holder
from peershare.timers import Alarm
from peershare.wire.beacon import Endpoint

MAX_SESSIONS = 40
FIRST_BACKOFF_SECONDS = 1.0
LONGEST_BACKOFF_SECONDS = 30.0
# Who gave wrong bytes, and is the only one there is.
FIRST_BLAME_SECONDS = 5.0
LONGEST_BLAME_SECONDS = 300.0


@dataclass
class _Standing:
    """What is held against a peer, and by its address against all that are there."""

    failures: int = 0  # in a row
    blamed: int = 0  # wrong bytes; never forgiven while there are others
    excused: bool = False
    until: float = 0.0
    why: str = ""


class Sources:
    """Keeps sessions open; `opened` gets each new one, `failed` whoever could not give."""

    def __init__(
        self,
        reactor: Any,
        random: Random,
        pool: SessionPool,
        find: Callable[[], Iterable[Holder]],
        opened: Callable[[PeerSession, Holder], None],
        failed: Callable[[Endpoint, PeerError], None],
    ) -> None:
        """`find` gives whoever may be dialled natively and has some of the content."""
        self._reactor = reactor
        self._random = random
        self._pool = pool
        self._find = find
        self._opened = opened
        self._failed = failed
        self._dialling: dict[Endpoint, Deferred[Any]] = {}
        # of peers, and of addresses (`Endpoint(address)`): wrong bytes are blamed on those
        self._standing: dict[Endpoint, _Standing] = {}
        self._retry = Alarm(reactor)
        self._running = False
        self.most = MAX_SESSIONS
        self.desperate = False  # nobody of those who are here has what is missing
        self.sessions: dict[Endpoint, PeerSession] = {}

    @property
    def busy(self) -> bool:
        """Whether there is somebody who gives, or may soon."""
        return bool(self.sessions or self._dialling)

    def problems(self) -> dict[str, str]:
        """Why each address that failed did, as sentences that follow it."""
        return {peer.address: s.why for peer, s in self._standing.items() if s.why}

    def start(self) -> None:
        """Dial, and go on dialling."""
        self._running = True
        self.refresh()

    def stop(self) -> None:
        """Dial nobody any more, and know of no session; the sessions themselves stay open."""
        self._running = False
        self._retry.clear()
        dialling, self._dialling = self._dialling, {}
        for dial in dialling.values():
            dial.cancel()
        self.sessions = {}

    def refresh(self) -> None:
        """Dial whoever should be dialled now; come back when somebody's time is over."""
        if not self._running:
            return
        now = self._reactor.seconds()
        self._retry.clear()
        free = self.most - len(self.sessions) - len(self._dialling)
        others = [
            holder
            for holder in self._find()
            if holder.endpoint not in self.sessions and holder.endpoint not in self._dialling
        ]
        fit = [holder for holder in others if not self._blamed(holder.endpoint)]
        if not fit and (self.desperate or not self.busy):
            fit = others  # better somebody who was wrong once than nobody
        ready = [h for h in fit if self._until(h.endpoint) <= now]
        if len(ready) > free:
            ready = self._random.sample(ready, max(0, free))
        for holder in ready:
            self._dial(holder)
        waits = [self._until(holder.endpoint) for holder in fit]
        waits = [until - now for until in waits if until > now]
        if waits:
            self._retry.set(min(waits), self.refresh)

    def fail(self, peer: Endpoint, error: PeerError, *, blame: bool = False) -> None:
        """It failed us: keep away for a while; `blame`: its address gave wrong bytes."""
        self.sessions.pop(peer, None)
        held_against = Endpoint(peer.address) if blame else peer
        standing = self._standing.setdefault(held_against, _Standing())
        standing.failures += 1
        wait = min(FIRST_BACKOFF_SECONDS * 2.0 ** (standing.failures - 1), LONGEST_BACKOFF_SECONDS)
        if blame:
            standing.blamed += 1
            wait = min(FIRST_BLAME_SECONDS * 2.0 ** (standing.blamed - 1), LONGEST_BLAME_SECONDS)
        standing.until = self._reactor.seconds() + wait
        standing.why = str(error)
        self._failed(peer, error)
        self.refresh()

    def excuse(self, peer: Endpoint) -> None:
        """It withdrew what it gave wrong bytes of: that is forgiven to each address once."""
        standing = self._standing.get(Endpoint(peer.address))
        if standing is not None and standing.blamed and not standing.excused:
            standing.excused = True
            standing.blamed -= 1

    def gave(self, peer: Endpoint) -> None:
        """It gave something that was right."""
        for standing in self._standings(peer):
            standing.failures, standing.why = 0, ""

    def exchange(self, peer: Endpoint) -> None:
        """It has nothing for us: make room for somebody else, if there is anybody."""
        self.sessions.pop(peer, None)
        standing = self._standing.setdefault(peer, _Standing())
        standing.until = self._reactor.seconds() + LONGEST_BACKOFF_SECONDS
        self.refresh()

    def others_waiting(self) -> bool:
        """Whether there are more who have the content than we may hold sessions with."""
        full = len(self.sessions) + len(self._dialling) >= self.most
        return full and any(
            h.endpoint not in self.sessions and not self._blamed(h.endpoint) for h in self._find()
        )

    # -- below

    def _standings(self, peer: Endpoint) -> list[_Standing]:
        """Its own, and that of its address."""
        standing = self._standing
        return [standing[key] for key in (peer, Endpoint(peer.address)) if key in standing]

    def _blamed(self, peer: Endpoint) -> bool:
        return any(standing.blamed for standing in self._standings(peer))

    def _until(self, peer: Endpoint) -> float:
        return max((standing.until for standing in self._standings(peer)), default=0.0)

    def _dial(self, holder: Holder) -> None:
        dial = self._pool.get(holder.endpoint)
        self._dialling[holder.endpoint] = dial
        dial.addCallbacks(self._connected, self._not_connected, (holder,), {}, (holder,))

    def _connected(self, session: PeerSession, holder: Holder) -> None:
        if self._dialling.pop(holder.endpoint, None) is None:
            return  # stopped meanwhile
        self.sessions[holder.endpoint] = session
        self._opened(session, holder)

    def _not_connected(self, failure: Failure, holder: Holder) -> None:
        if self._dialling.pop(holder.endpoint, None) is None or failure.check(CancelledError):
            return
        error = failure.value
        if not isinstance(error, PeerError):
            failure.raiseException()
            return
        self.fail(holder.endpoint, error)
