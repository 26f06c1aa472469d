"""Virtual time: a heap of calls that are to come, run one after the other.

Ties run in the order in which they were set, so that a run is the same every time.
Not for: what the calls do.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Any

from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall
from zope.interface import implementer

# A moment that is no special number anywhere.
START_SECONDS = 1_000.0
# Fewer cancelled calls than this are not worth the work of clearing the heap of them.
_MANY_CANCELLED = 1_000


class SimClock:
    """The time of a whole simulation; `on_error` gets what a call raised."""

    def __init__(self, on_error: Callable[[Exception], None] | None = None) -> None:
        self.now = START_SECONDS
        self.events = 0
        self.cancelled = 0
        self.who = ""  # whose call is running, for messages
        self._heap: list[tuple[float, int, Callable[..., Any], tuple[Any, ...]]] = []
        self._order = 0
        self._on_error = on_error

    def seconds(self) -> float:
        """The time."""
        return self.now

    def at(self, time: float, function: Callable[..., Any], *arguments: Any) -> None:
        """Call this at that time; it cannot be taken back."""
        self._order += 1
        heappush(self._heap, (time, self._order, function, arguments))

    def after(self, seconds: float, function: Callable[..., Any], *arguments: Any) -> None:
        """Call this in so many seconds; it cannot be taken back."""
        self._order += 1
        heappush(self._heap, (self.now + seconds, self._order, function, arguments))

    def run(self, until: float, stop: Callable[[], bool] | None = None) -> bool:
        """Let time go by up to `until`, or up to the event after which `stop()`; did it?"""
        heap = self._heap
        while heap and heap[0][0] <= until:
            self.now, _, function, arguments = heappop(heap)
            self.events += 1
            try:
                function(*arguments)
            except Exception as error:
                if self._on_error is None:
                    raise
                self._on_error(error)
            if stop is not None and stop():
                return True
            if self.cancelled > _MANY_CANCELLED and 2 * self.cancelled > len(heap):
                self._clear()
        self.now = max(self.now, until)
        return False

    def waiting(self) -> list[SimCall]:
        """The calls of `SimCall`s that are still to come, in no order."""
        calls = {id(e[3][0]): e[3][0] for e in self._heap if e[2] is _fire}
        return [call for call in calls.values() if call.active()]

    def _clear(self) -> None:
        """Drop what stands for calls that were cancelled."""
        self._heap[:] = [e for e in self._heap if e[2] is not _fire or e[3][0].active()]
        heapify(self._heap)
        self.cancelled = 0


@implementer(IDelayedCall)
class SimCall:
    """One call of `callLater`; nothing comes of it once its `owner` is dead."""

    __slots__ = ("_arguments", "_clock", "_function", "_keywords", "_time", "owner", "state")

    def __init__(
        self,
        clock: SimClock,
        owner: Any,
        time: float,
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
        keywords: dict[str, Any],
    ) -> None:
        self._clock = clock
        self._time = time
        self._function = function
        self._arguments = arguments
        self._keywords = keywords
        self.owner = owner
        self.state = ""
        clock.at(time, _fire, self, time)

    def fire(self, due: float) -> None:
        """The heap's turn has come; the call may have been moved meanwhile, either way."""
        if self.state or self.owner.dead:
            return
        if self._time > due:
            self._clock.at(self._time, _fire, self, self._time)
            return
        self.state = "called"
        self._clock.who = self.owner.name
        self._function(*self._arguments, **self._keywords)

    def getTime(self) -> float:
        """Twisted: when it comes."""
        return self._time

    def active(self) -> bool:
        """Twisted: whether it is still to come."""
        return not self.state

    def cancel(self) -> None:
        """Twisted: do not call."""
        self._check()
        self.state = "cancelled"
        self._clock.cancelled += 1

    def reset(self, secondsFromNow: float) -> None:
        """Twisted: call that long from now instead."""
        self._check()
        self._move(self._clock.now + secondsFromNow)

    def delay(self, secondsLater: float) -> None:
        """Twisted: call that much later."""
        self._check()
        self._move(self._time + secondsLater)

    def __str__(self) -> str:
        return f"{self._function} at {self._time:.6f}"

    def _move(self, time: float) -> None:
        earlier = time < self._time
        self._time = time
        if earlier:
            self._clock.at(time, _fire, self, time)

    def _check(self) -> None:
        if self.state == "called":
            raise AlreadyCalled
        if self.state:
            raise AlreadyCancelled


def _fire(call: SimCall, due: float) -> None:
    call.fire(due)
