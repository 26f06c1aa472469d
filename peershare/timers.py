"""Timers: one call that may be taken back, and a call that repeats whatever happens.

`LoopingCall` and `TimerService` die at their first exception; one ENETUNREACH would end
announcing for good (hostile world, 22).  Not for: what is done when.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

# What was called takes at most so much of the processor's time in the long run: one part in these.
_PARTS_OF_TIME = 20.0


class Alarm:
    """At most one call that is still to come."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._call: IDelayedCall | None = None

    @property
    def due(self) -> float | None:
        """When the call comes, in the clock's seconds; None if none is to come."""
        return self._call.getTime() if self._call is not None and self._call.active() else None

    def set(self, seconds: float, function: Callable[..., object], *arguments: object) -> None:
        """Call this in so many seconds, and nothing that was set before."""
        self.clear()
        self._call = self._clock.callLater(seconds, function, *arguments)

    def clear(self) -> None:
        """Call nothing; may be called at any time."""
        call, self._call = self._call, None
        if call is not None and call.active():
            call.cancel()


class Paced:
    """Calls a function a little after it is asked for, and not again before some time is over.

    That time is longer where the function takes long.
    """

    def __init__(
        self,
        clock: IReactorTime,
        delay: float,
        gap: float,
        function: Callable[[], object],
        cpu: Callable[[], float] = time.thread_time,
        *,
        at_once: bool = False,
    ) -> None:
        """`delay` and `gap` are seconds; what is asked for meanwhile is one call.

        `at_once`: where no time has to go by, it is called before `ask` returns.
        `cpu` gives the seconds that the processor has spent on us.
        """
        self._clock = clock
        self._delay = delay
        self._gap = gap
        self._function = function
        self._cpu = cpu
        self._at_once = at_once
        self._alarm = Alarm(clock)
        self._not_before = float("-inf")

    def ask(self) -> None:
        """Call it soon."""
        if self._alarm.due is None:
            left = max(self._delay, self._not_before - self._clock.seconds())
            if self._at_once and left <= 0:
                self._call()
            else:
                self._alarm.set(left, self._call)

    def stop(self) -> None:
        """Call it no more, unless it is asked for anew."""
        self._alarm.clear()

    def _call(self) -> None:
        self._not_before = self._clock.seconds() + self._gap
        began = self._cpu()
        try:
            self._function()
        finally:
            longer = (self._cpu() - began) * _PARTS_OF_TIME - self._gap
            self._not_before += max(0.0, longer)


class Periodic:
    """Calls `work` every `seconds` from `start` to `stop`; errors are logged and change nothing."""

    _log = Logger()

    def __init__(self, clock: IReactorTime, seconds: float, work: Callable[[], object]) -> None:
        self._alarm = Alarm(clock)
        self._seconds = seconds
        self._work = work

    def start(self) -> None:
        """Begin; the first call comes after one interval."""
        self._alarm.set(self._seconds, self._run)

    def stop(self) -> None:
        """End; may be called twice."""
        self._alarm.clear()

    def _run(self) -> None:
        self._alarm.set(self._seconds, self._run)
        try:
            self._work()
        except Exception:
            self._log.failure("a repeated task failed, it goes on")
