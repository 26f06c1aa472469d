"""Surveys: what a scan found, compared with what we knew, and the schedule of scans.

The comparison is made in the worker that scans, for folders can be large.
Not for: what follows from it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from heapq import merge
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from peershare.library.entries import SharedFile, Workers
from peershare.library.files import Identity, may_be
from peershare.library.scan import REST_SECONDS, FolderScan, Scanner
from peershare.library.watch import FolderWatch
from peershare.timers import Alarm

# While the folder is watched a scan by the clock is only a safety net; where it cannot be
# watched it is the only way.  A large folder is scanned by the clock less often.
_NET_SECONDS = 30.0
_SCAN_SECONDS = 1.0
_SCAN_SHARE = 50.0
_GATHER_SECONDS = 0.05
_SORTED_AT_ONCE = 5_000


@dataclass(frozen=True)
class KnownFiles:
    """What was known before a scan: files of the folder by name, files elsewhere by key."""

    files: Mapping[str, SharedFile]
    elsewhere: Mapping[str, SharedFile]


@dataclass(frozen=True)
class Survey:
    """What is different now."""

    found: FolderScan
    gone: list[str]  # keys
    new: list[tuple[str, Identity]]  # or changed; by name


def survey(scanner: Scanner, wall_now: float, now: float, known: KnownFiles) -> Survey:
    """Worker: scan and compare.  `wall_now` is Unix time, `now` monotonic."""
    found = scanner.scan(wall_now, now)
    files = known.files
    # a file that only got a new name or link is restless, but what we know of it holds
    gone = [
        name
        for name, file in files.items()
        if name not in found.files and found.restless.get(name) != file.identity
    ]
    gone += [key for key, f in known.elsewhere.items() if not may_be(f.path, f.identity)]
    new = [
        name
        for name, identity in found.files.items()
        if name not in files or files[name].identity != identity
    ]
    return Survey(found, gone, [(name, found.files[name]) for name in _sorted(new)])


def _sorted(names: list[str]) -> Iterator[str]:
    """In order; sorting many at once would stop all other threads for too long."""
    starts = range(0, len(names), _SORTED_AT_ONCE)
    return merge(*(sorted(names[start : start + _SORTED_AT_ONCE]) for start in starts))


class Surveys:
    """Surveys the folder after every change, and by the clock; one at a time."""

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        workers: Workers,
        wall_clock: Callable[[], float],
        scanner: Scanner,
        known: Callable[[], KnownFiles],
        take_over: Callable[[Survey], Coroutine[Any, Any, None]],
    ) -> None:
        """`take_over` is awaited with every survey before there is another."""
        self._reactor = reactor
        self._workers = workers
        self._wall_clock = wall_clock
        self._known = known
        self._take_over = take_over
        self._surveying = False
        self._again = False
        self._restless = False
        self._alarm = Alarm(reactor)
        self._seconds = 0.0  # that the last scan took
        self.scanner = scanner
        self.running = False
        self.watch: FolderWatch | None = None
        self.first: Deferred[None] = Deferred()

    def start(self) -> None:
        """Survey at once, and from now on."""
        self.running = True
        self.rescan()

    def stop(self) -> None:
        """Survey no more."""
        self.running = False
        self._alarm.clear()

    def rescan(self) -> None:
        """Survey now; if that is being done, once more after it."""
        if self._surveying:
            self._again = True
            return
        self._surveying = True
        self._again = False
        self._alarm.clear()
        work = Deferred.fromCoroutine(self._survey())
        work.addErrback(lambda failure: self._log.failure("scanning failed", failure=failure))
        work.addBoth(self._ended)

    async def _survey(self) -> None:
        started = self._reactor.seconds()
        self._restless = False
        wall_now, known = self._wall_clock(), self._known()
        result: Survey = await self._workers(survey, self.scanner, wall_now, started, known)
        self._seconds = self._reactor.seconds() - started
        self._restless = bool(result.found.restless)
        if self.running:
            await self._take_over(result)

    def changed_in_thread(self) -> None:
        """Something changed in the folder; called in a thread."""
        self._reactor.callFromThread(self.soon, _GATHER_SECONDS)

    def soon(self, seconds: float = REST_SECONDS) -> None:
        """Survey in so many seconds at the latest."""
        due = self._alarm.due
        if self.running and (due is None or due > self._reactor.seconds() + seconds):
            self._alarm.set(seconds, self.rescan)

    def _ended(self, _: object) -> None:
        self._surveying = False
        watched = self.watch is not None and self.watch.working
        by_clock = _NET_SECONDS if watched else _SCAN_SECONDS
        self.soon(max(by_clock, _SCAN_SHARE * self._seconds))
        if self._restless:
            self.soon(REST_SECONDS)
        if self._again:
            self.soon(_GATHER_SECONDS)
        if not self.first.called:
            self.first.callback(None)
