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
from peershare.library.files import Identity, may_be, status_of
from peershare.library.scan import REST_SECONDS, FolderScan, Scanner
from peershare.library.watch import FolderWatch
from peershare.timers import Alarm

# While the folder is watched a scan by the clock is only a safety net; where it cannot be
# watched it is the only way.  A large folder is scanned by the clock less often.
_NET_SECONDS = 30.0
_SCAN_SECONDS = 1.0
_SCAN_SHARE = 50.0
# A look that failed is repeated so soon, and less and less often; so is one at files that other
# programs have open.
_RETRY_SECONDS = 1.0
_RESTLESS_SHARE = 20.0
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
    touched: list[tuple[str, int]]  # keys of the same files, whose inodes changed when (ns)
    watched: bool = False  # whether changes of the folder are noticed


def survey(
    scanner: Scanner,
    wall_now: float,
    now: float,
    known: KnownFiles,
    watch: FolderWatch | None = None,
) -> Survey:
    """Worker: scan and compare.  `wall_now` is Unix time, `now` monotonic."""
    found = scanner.scan(wall_now, now, known.files)
    files = known.files
    # a file that only got a new name or link is restless, but what we know of it holds; so it
    # does where it could not be looked at
    gone = [
        name
        for name, file in files.items()
        if name not in found.files
        and found.restless.get(name) != file.identity
        and (name not in found.unseen or name in found.restless)
        and not (found.doubtful and name not in found.restless and name not in found.left_out)
    ]
    gone += [key for key, f in known.elsewhere.items() if not may_be(f.path, f.identity)]
    times = [(file, found.ctimes[name]) for name, file in files.items() if name in found.ctimes]
    times += [
        (file, status.st_ctime_ns)
        for file in known.elsewhere.values()
        if (status := status_of(file.path)) is not None
    ]
    touched = [
        (file.key, ctime)
        for file, ctime in times
        if file.ctime_ns != ctime and found.files.get(file.name, file.identity) == file.identity
    ]
    new = [
        name
        for name, identity in found.files.items()
        if name not in files or files[name].identity != identity
    ]
    watched = watch is not None and watch.working
    new_files = [(name, found.files[name]) for name in _sorted(new)]
    return Survey(found, gone, new_files, touched, watched)


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
        self._restless = self._written = False
        self._watched = False
        self._failing = False
        self._retry = _RETRY_SECONDS
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
        self._restless = self._written = False
        self._failing = True
        wall_now, known = self._wall_clock(), self._known()
        result: Survey = await self._workers(
            survey, self.scanner, wall_now, started, known, self.watch
        )
        self._seconds = self._reactor.seconds() - started
        found = result.found
        self._restless = len(found.restless) > len(found.written)
        self._written = bool(found.written)
        self._failing = bool(found.problem or found.unseen)
        self._watched = result.watched
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
        by_clock = max(
            _NET_SECONDS if self._watched else _SCAN_SECONDS, _SCAN_SHARE * self._seconds
        )
        self.soon(by_clock)
        if self._failing:
            self.soon(self._retry)
            self._retry = min(2 * self._retry, by_clock)
        else:
            self._retry = _RETRY_SECONDS
        if self._written:
            self.soon(max(REST_SECONDS, _RESTLESS_SHARE * self._seconds))
        if self._restless:
            self.soon(REST_SECONDS)
        if self._again:
            self.soon(_GATHER_SECONDS)
        if not self.first.called:
            self.first.callback(None)
