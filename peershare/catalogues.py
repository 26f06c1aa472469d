"""Catalogues: fetched from those who prove that they are there, when their digest is new.

A catalogue that several peers have is fetched from one of them; what comes is looked at in short
steps, so that the reactor goes on turning.  Wrong bytes are blamed on the address, what a new run
of the peer may do away with on this one.  What an address costs is its own, too: the time that its
catalogues take (`SHARE_OF_TIME`); a fetch that is slow gives its place to whoever waits for one,
and one large catalogue is on its way at a time.  Not for: who holds what (`holdings`), nor for what
we hold ourselves.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from peershare.download.swarm.faces import CatalogueSink
from peershare.errors import LocalError, PeerError, Reason
from peershare.holdings import Holdings
from peershare.neighbours import Neighbour, Neighbours
from peershare.refusals import Refusals
from peershare.throttle import TimeShares
from peershare.timers import Alarm
from peershare.wire.beacon import Endpoint
from peershare.wire.catalogue import MAX_CATALOGUE_BYTES, CatalogueEntry, CatalogueReader
from peershare.wire.messages import Catalogue

MAX_FETCHES = 8
# Of one catalogue, dialling included; and while another one waits for its place.
FETCH_SECONDS = 60.0
GRACE_SECONDS = 5.0
# What is larger than this waits for its like to be read: of bytes on their way, so many are held
# of small ones, and of one large one.
LARGE_BYTES = 4 * 1024 * 1024
LARGE_ENTRIES = 20_000
# Of its own time, the processor spends so much on the catalogues of one address in the long run.
SHARE_OF_TIME, BURST_SECONDS = 0.1, 2.0
# After a step that took longer than the one there is as much time for everything else, up to the
# other.
SHORT_STEP_SECONDS, LONGEST_REST_SECONDS = 0.001, 0.02
FIRST_BACKOFF_SECONDS = 1.0
LONGEST_BACKOFF_SECONDS = 300.0
# So many peers, and addresses, are remembered because they failed us.
_MOST_FAILURES = 4_096
# What may be over when the peer is started again; anything else is held against its address.
_OF_THIS_RUN = {
    Reason.REFUSED,
    Reason.UNREACHABLE,
    Reason.CONNECT_TIMEOUT,
    Reason.RESET,
    Reason.SHORT,
    Reason.STALLED,
}
# So that a peer whose catalogue changed is not asked by everybody at once.
_CROWD_SECONDS, _CROWD_SECONDS_EACH = 2.0, 0.002


class CatalogueSession(Protocol):
    """What is needed of a session with a peer."""

    def get_catalogue(self, known: str, sink: CatalogueSink) -> Deferred[Catalogue]:
        """Ask for its catalogue, or the difference from the one of digest `known`."""


class Sessions(Protocol):
    """What is needed of the pool of sessions."""

    def get(self, peer: Endpoint) -> Deferred[Any]:
        """A session with this peer (`CatalogueSession`); fails with `PeerError`."""


def give_memory_back() -> None:
    """Have the C library return what it does not need to the system, where it can."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        threading.Thread(target=trim, args=(0,), daemon=True).start()


class Chores:
    """Does long work in short steps, one a turn of the reactor, one thing after the other.

    Between two steps there is as much time for everything else as the first one took.
    """

    _log = Logger()

    def __init__(self, reactor: Any, cpu: Callable[[], float] = time.thread_time) -> None:
        """`cpu` gives the seconds that the processor has spent on us."""
        self._reactor = reactor
        self._cpu = cpu
        self._queue: deque[tuple[Iterator[None], Callable[[Exception | None], None]]] = deque()
        self._alarm = Alarm(reactor)
        self.spent = 0.0  # seconds of the processor on what is done just now, or was last

    def add(self, work: Iterator[None], done: Callable[[Exception | None], None]) -> None:
        """Do this after everything else; then call `done`, with the exception if one ended it."""
        self._queue.append((work, done))
        if self._alarm.due is None:
            self.spent = 0.0
            self._alarm.set(0, self._turn)

    def stop(self) -> None:
        """Do nothing more."""
        self._alarm.clear()
        self._queue.clear()

    def _turn(self) -> None:
        work, done = self._queue[0]
        began = self._cpu()
        over, problem = self._step(work)
        spent = self._cpu() - began
        self.spent += spent
        if over:
            self._queue.popleft()
            self._end(done, problem)
            self.spent = 0.0
        if self._queue:
            rest = min(spent, LONGEST_REST_SECONDS) if spent > SHORT_STEP_SECONDS else 0.0
            self._alarm.set(rest, self._turn)

    def _step(self, work: Iterator[None]) -> tuple[bool, Exception | None]:
        """Whether it is over by now, and by what exception."""
        try:
            next(work)
        except StopIteration:
            return True, None
        except Exception as error:
            return True, error
        return False, None

    def _end(self, done: Callable[[Exception | None], None], problem: Exception | None) -> None:
        try:
            done(problem)
        except Exception:
            self._log.failure("what follows a piece of long work failed")


class _Fetch:
    """One catalogue on its way from one peer; the sink of its session."""

    def __init__(
        self,
        neighbour: Neighbour,
        base: str,
        entries: Iterator[CatalogueEntry],
        *,
        large: bool,
        now: float,
    ) -> None:
        """`entries` are those of the catalogue of digest `base`, if that is not "".

        `large`: it may have as many bytes as a catalogue can have.
        """
        self.neighbour = neighbour
        self.base = base
        self.large = large
        self.began_at = now
        self.received = 0
        self.dropped = False
        self._entries = entries
        self._data = bytearray()
        self.told: Catalogue | None = None

    def begins(self, told: Catalogue) -> None:
        """Its bytes are next.  Raises `PeerError`."""
        if told.length > MAX_CATALOGUE_BYTES:
            raise PeerError(Reason.BAD_MESSAGE, f"sent a catalogue of {told.length} bytes")
        self.told = told
        self.dropped = told.length > LARGE_BYTES and not self.large

    def write(self, data: memoryview) -> None:
        """The next bytes."""
        self.received += len(data)
        if not self.dropped:
            self._data += data

    def reader(self) -> CatalogueReader:
        """What reads it, once it is here."""
        assert self.told is not None
        base = self._entries if self.told.base else None
        return CatalogueReader(self.told.digest, self._data, base)


class Fetcher:
    """See the module."""

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        neighbours: Neighbours,
        holdings: Holdings,
        sessions: Sessions,
        random: Random,
        chores: Chores,
        on_change: Callable[[], None],
    ) -> None:
        """`on_change` is called when `holdings` may have changed."""
        self._reactor = reactor
        self._neighbours = neighbours
        self._holdings = holdings
        self._sessions = sessions
        self._random = random
        self._chores = chores
        self._on_change = on_change
        self._wanted: dict[Endpoint, float] = {}  # of these peers, not before then
        self._failures: dict[Endpoint, tuple[int, float]] = {}  # how many, and when to try again
        # what a peer tells, although its own answer to that was another catalogue
        self._outdated: dict[Endpoint, str] = {}
        self._fetches: dict[str, tuple[_Fetch, Deferred[Any], Alarm]] = {}  # by digest
        self._large: set[str] = set()  # addresses whose catalogue turned out to be large
        self._shares = TimeShares(SHARE_OF_TIME, BURST_SECONDS)
        self._alarm = Alarm(reactor)
        self._sweeping = False
        self._given_back = holdings.given_back
        self.refusals = Refusals(reactor.seconds, LogLevel.debug)

    def told(self, neighbour: Neighbour) -> None:
        """A proven neighbour tells what its catalogue is: know it, or fetch it soon."""
        peer = neighbour.endpoint
        if not peer.port:
            self.gone(peer)
        elif self._holdings.attach(peer, neighbour.digest):
            self._wanted.pop(peer, None)
            self._changed()
        elif peer not in self._wanted and self._outdated.get(peer) != neighbour.digest:
            crowd = min(_CROWD_SECONDS, self._neighbours.proven_count * _CROWD_SECONDS_EACH)
            now = self._reactor.seconds()
            retry_at = max(at for _, at in self._failures_of(peer))
            soon = now + self._random.uniform(0, crowd) + self._shares.wait(peer.address, now)
            due = self._wanted[peer] = max(retry_at, soon)
            self._look_in(due - now)

    def gone(self, peer: Endpoint) -> None:
        """It is not there any more."""
        self._wanted.pop(peer, None)
        self._failures.pop(peer, None)
        self._outdated.pop(peer, None)
        self._large.discard(peer.address)
        self._shares.expire(self._reactor.seconds())
        self._holdings.detach(peer)
        self._changed()

    def stop(self) -> None:
        """Fetch nothing more."""
        self._alarm.clear()
        self._wanted.clear()
        fetches = tuple(self._fetches.values())
        self._fetches.clear()
        for _, waiting, alarm in fetches:
            alarm.clear()
            waiting.cancel()

    def _look_in(self, seconds: float) -> None:
        due = self._alarm.due
        if due is None or due > self._reactor.seconds() + seconds:
            self._alarm.set(seconds, self._look)

    def _look(self) -> None:
        """Ask whom it is time to ask, as far as there is room."""
        now = self._reactor.seconds()
        later = float("inf")
        for peer, due in tuple(self._wanted.items()):
            neighbour = self._neighbours.proven(peer)
            if neighbour is None:
                del self._wanted[peer]  # it is wanted anew with the next proof
            elif due > now:
                later = min(later, due)
            elif neighbour.digest not in self._fetches:
                if self._has_room(neighbour):
                    del self._wanted[peer]
                    self._fetch(neighbour)
                else:
                    later = min(later, self._hurry(neighbour, now))
        if later < float("inf"):
            self._look_in(later - now)

    def _is_large(self, neighbour: Neighbour) -> bool:
        return neighbour.count > LARGE_ENTRIES or neighbour.address in self._large

    def _has_room(self, neighbour: Neighbour) -> bool:
        if len(self._fetches) >= MAX_FETCHES:
            return False
        return not self._is_large(neighbour) or not any(
            fetch.large for fetch, *_ in self._fetches.values()
        )

    def _hurry(self, neighbour: Neighbour, now: float) -> float:
        """End the slowest fetch in the way of this one; when to look again where none is slow."""
        only_large = len(self._fetches) < MAX_FETCHES
        in_the_way = [
            (fetch, waiting)
            for fetch, waiting, alarm in self._fetches.values()
            if alarm.due is not None and (fetch.large or not only_large)
        ]
        slow = [found for found in in_the_way if now - found[0].began_at >= GRACE_SECONDS]
        if slow:
            # its end comes back here
            min(slow, key=lambda found: found[0].received / (now - found[0].began_at))[1].cancel()
            return float("inf")
        return min((f.began_at + GRACE_SECONDS for f, _ in in_the_way), default=float("inf"))

    def _fetch(self, neighbour: Neighbour) -> None:
        peer = neighbour.endpoint
        # once something went wrong, only all of it will do
        failed = any(count for count, _ in self._failures_of(peer))
        base = "" if failed else self._holdings.base_of(peer)
        fetch = _Fetch(
            neighbour,
            base,
            self._holdings.entries(base) if base else iter(()),
            large=self._is_large(neighbour),
            now=self._reactor.seconds(),
        )
        waiting = self._sessions.get(peer)
        alarm = Alarm(self._reactor)
        self._fetches[neighbour.digest] = fetch, waiting, alarm
        alarm.set(FETCH_SECONDS, waiting.cancel)
        waiting.addCallback(lambda session: session.get_catalogue(base, fetch))
        waiting.addCallbacks(
            lambda _: self._arrived(fetch), lambda failure: self._failed(fetch, failure.value)
        )
        waiting.addErrback(lambda f: self._log.failure("fetching a catalogue failed", failure=f))

    def _arrived(self, fetch: _Fetch) -> None:
        if not self._is_current(fetch):
            return
        self._fetches[fetch.neighbour.digest][2].clear()
        self._neighbours.contacted(fetch.neighbour.endpoint)
        if fetch.dropped:
            self._large.add(fetch.neighbour.address)
            self._over(fetch)
            return
        reader = fetch.reader()
        work = self._holdings.learning(reader, self._reactor.seconds())
        self._chores.add(work, lambda problem: self._learned(fetch, reader, problem))

    def _learned(self, fetch: _Fetch, reader: CatalogueReader, problem: Exception | None) -> None:
        """All of it was looked at: whoever tells this digest has it."""
        self._shares.spend(fetch.neighbour.address, self._chores.spent, self._reactor.seconds())
        if problem is not None:
            self._failed(fetch, problem)
            return
        if reader.unfit:
            self.refusals.counts["name in a catalogue refused"] += reader.unfit
        peer, wanted = fetch.neighbour.endpoint, fetch.neighbour.digest
        self._failures.pop(peer, None)
        self._failures.pop(Endpoint(peer.address), None)
        self._outdated.pop(peer, None)
        if reader.digest != wanted:
            self._outdated[peer] = wanted
        for other in (peer, *self._wanted):
            # what a peer sent itself counts more than what it told before, even if it hung up then
            known = self._neighbours.get if other == peer else self._neighbours.proven
            told = known(other)
            if told is not None and (other == peer or told.digest == reader.digest):
                self._holdings.attach(other, reader.digest)
                self._wanted.pop(other, None)
        self._over(fetch)

    def _failed(self, fetch: _Fetch, problem: Exception) -> None:
        """Blame whoever is to blame, and try again later."""
        if not self._is_current(fetch):
            return
        peer = fetch.neighbour.endpoint
        if isinstance(problem, CancelledError):
            problem = PeerError(Reason.STALLED, "did not send its catalogue in time")
        if isinstance(problem, PeerError):
            self.refusals.note(peer.address, "catalogue not to be had", str(problem))
            self._neighbours.doubt(peer.address, self._reactor.seconds())
        elif not isinstance(problem, LocalError):
            self._log.failure("taking in a catalogue failed", failure=Failure(problem))
        wrong = isinstance(problem, PeerError) and problem.reason not in _OF_THIS_RUN
        failed = Endpoint(peer.address) if wrong else peer
        count, _ = self._failures.get(failed, (0, 0.0))
        backoff = min(FIRST_BACKOFF_SECONDS * 2**count, LONGEST_BACKOFF_SECONDS)
        self._failures[failed] = min(count + 1, 20), self._reactor.seconds() + backoff
        while len(self._failures) > _MOST_FAILURES:
            del self._failures[next(iter(self._failures))]
        self._over(fetch)

    def _failures_of(self, peer: Endpoint) -> tuple[tuple[int, float], tuple[int, float]]:
        """How often this run, and this address, failed us, and until when to leave them alone."""
        never = 0, 0.0
        return self._failures.get(peer, never), self._failures.get(Endpoint(peer.address), never)

    def _is_current(self, fetch: _Fetch) -> bool:
        """Whether it was not given up."""
        current = self._fetches.get(fetch.neighbour.digest)
        return current is not None and current[0] is fetch

    def _over(self, fetch: _Fetch) -> None:
        _, _, alarm = self._fetches.pop(fetch.neighbour.digest)
        alarm.clear()
        neighbour = self._neighbours.proven(fetch.neighbour.endpoint)
        if neighbour is not None:
            self.told(neighbour)
        self._look_in(0)
        self._changed()

    def _changed(self) -> None:
        """Forget what nobody has any more; tell that something may have changed."""
        if self._holdings.idle and not self._sweeping:
            self._sweeping = True
            self._chores.add(self._holdings.sweeping(), self._swept)
        self._on_change()

    def _swept(self, problem: Exception | None) -> None:
        self._sweeping = False
        if self._holdings.given_back != self._given_back:
            self._given_back = self._holdings.given_back
            give_memory_back()
        if problem is not None:
            self._log.failure("forgetting catalogues failed", failure=Failure(problem))
