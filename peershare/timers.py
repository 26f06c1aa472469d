"""Timers: one call that may be taken back, and a call that repeats whatever happens.

`LoopingCall` and `TimerService` die at their first exception; one ENETUNREACH would end
announcing for good (hostile world, 22).  Not for: what is done when.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger


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
