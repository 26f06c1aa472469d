"""Hashing beside the reactor: a small thread pool of our own, and how its threads read.

Files are read, not mapped: reading into a buffer that stays in the processor's cache is faster,
and a file that is cut off meanwhile ends the reading rather than the process.
Not for: whole files (filehash), nor remembering what they hash to (hashes).
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar

from blake3 import blake3
from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from peershare.content.blocks import block_size
from peershare.errors import LocalError

# One read; it stays in the cache of a core between being read and being hashed.
BUFFER_BYTES = 1 << 20
_MOST_THREADS = 4

F = TypeVar("F", bound=Callable[..., Any])
_patient: set[Callable[..., Any]] = set()
_own = threading.local()


class HashingStoppedError(LocalError):
    """The service is being stopped: this was not hashed any more.  There is nothing to be done."""


def patient(function: F) -> F:
    """Mark a function as one that waits in the pool until nothing else does."""
    _patient.add(function)
    return function


class _Task(NamedTuple):
    deferred: Deferred[Any]
    function: Callable[..., Any]
    arguments: tuple[Any, ...]


class HashingPool:
    """Runs blocking functions in its own threads; a `Workers`.

    Only a few tasks are with the threads; the others wait here in the order they came, those of
    `patient` functions behind all others.  A Deferred that is cancelled before its turn is not run.
    """

    def __init__(self, reactor: Any, threads: int | None = None) -> None:
        """By default one thread for each processor we may use, at least two and at most four."""
        self._reactor = reactor
        self.threads = threads or min(_MOST_THREADS, max(2, len(os.sched_getaffinity(0))))
        self._running: list[threading.Thread] = []
        self._urgent: deque[_Task] = deque()
        self._behind: deque[_Task] = deque()
        self._queue: SimpleQueue[_Task | None] = SimpleQueue()
        self._handed = 0  # tasks that are with the threads
        self._lock = threading.Lock()
        self._done: list[tuple[_Task, Any]] = []  # by the threads, not delivered yet
        self._stopped = False
        self._idle: list[Deferred[None]] = []

    def start(self) -> None:
        """Start the threads; what was asked for before is done now."""
        self._stopped = False
        self._running = [
            threading.Thread(target=self._work, name=f"hashing {number}", daemon=True)
            for number in range(self.threads)
        ]
        for thread in self._running:
            thread.start()
        self._hand_over()

    def stop(self) -> Deferred[None]:
        """Fire once no task is being run; those that wait fail with `HashingStoppedError`."""
        self._stopped = True
        waiting = [*self._urgent, *self._behind]
        self._urgent.clear()
        self._behind.clear()
        while True:
            try:
                task = self._queue.get_nowait()
            except Empty:
                break
            if task is not None:
                self._handed -= 1
                waiting.append(task)
        for task in waiting:
            if not task.deferred.called:
                task.deferred.errback(_stopped())
        if not self._handed:
            self._end_threads()
            return succeed(None)
        idle: Deferred[None] = Deferred()
        self._idle.append(idle)
        return idle

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """Run `function(*arguments)` in a thread; fires with its result."""
        if self._stopped:
            return fail(_stopped())
        task = _Task(Deferred(), function, arguments)
        (self._behind if function in _patient else self._urgent).append(task)
        self._hand_over()
        return task.deferred

    def _hand_over(self) -> None:
        """Give the threads so much that none of them ever waits for the reactor."""
        while self._running and self._handed < 2 * self.threads:
            waiting = self._urgent or self._behind
            if not waiting:
                return
            task = waiting.popleft()
            if not task.deferred.called:
                self._handed += 1
                self._queue.put(task)

    def _work(self) -> None:
        """A thread: do what is handed over."""
        while (task := self._queue.get()) is not None:
            try:
                result = task.function(*task.arguments)
            except Exception:
                result = Failure()
            with self._lock:
                self._done.append((task, result))
                if len(self._done) > 1:
                    continue  # the reactor is on its way
            self._reactor.callFromThread(self._deliver)

    def _deliver(self) -> None:
        with self._lock:
            done, self._done = self._done, []
        self._handed -= len(done)
        self._hand_over()
        for task, result in done:
            task.deferred.callback(result)
        if self._stopped and not self._handed:
            self._end_threads()
            idle, self._idle = self._idle, []
            for deferred in idle:
                deferred.callback(None)

    def _end_threads(self) -> None:
        for _ in self._running:
            self._queue.put(None)
        for thread in self._running:
            thread.join()
        self._running = []


def _stopped() -> HashingStoppedError:
    return HashingStoppedError("the service is being stopped")


# -- in a thread


def _read(descriptor: int, offset: int, length: int) -> memoryview | None:
    """So many bytes (at most `BUFFER_BYTES`) in the buffer of this thread; None if there are less.

    Good until the next call in this thread.  Raises `OSError`.
    """
    if not hasattr(_own, "view"):
        _own.view = memoryview(bytearray(BUFFER_BYTES))
    view: memoryview = _own.view[:length]
    filled = 0
    while filled < length:
        count = os.preadv(descriptor, [view[filled:]], offset + filled)
        if count == 0:
            return None
        filled += count
    return view


def _never() -> bool:
    return False


def hash_range(
    descriptor: int, offset: int, length: int, ended: Callable[[], bool] = _never
) -> bytes | None:
    """Worker: the BLAKE3 digest of a byte range, 32 bytes.

    None if the file is shorter, or if nobody waits for it any more (`ended`).  Raises `OSError`.
    """
    hasher = blake3()
    stop = offset + length
    for start in range(offset, stop, BUFFER_BYTES):
        view = _read(descriptor, start, min(BUFFER_BYTES, stop - start))
        if view is None or ended():
            return None
        hasher.update(view)
    return hasher.digest()


def hash_blocks(descriptor: int, size: int, first: int, count: int) -> bytes | None:
    """Worker: the digests of `count` blocks of a content of `size` bytes, from block `first` on.

    None if the file is shorter.  Raises `OSError`.
    """
    length = block_size(size)
    stop = min((first + count) * length, size)
    digests: list[bytes] = []
    for start in range(first * length, stop, max(length, BUFFER_BYTES)):
        if length >= BUFFER_BYTES:
            digest = hash_range(descriptor, start, min(length, stop - start))
            if digest is None:
                return None
            digests.append(digest)
        else:
            view = _read(descriptor, start, min(BUFFER_BYTES, stop - start))
            if view is None:
                return None
            pieces = range(0, len(view), length)
            digests += [blake3(view[piece : piece + length]).digest() for piece in pieces]
    return b"".join(digests)
