"""Periodic: a call that repeats and survives its own exceptions.

`LoopingCall` and `TimerService` die at their first exception; one ENETUNREACH would end
announcing for good (hostile world, 22).  Not for: schedules that jitter or that are brought
forward, the announcer has its own.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger


class Periodic:
    """Calls `work` every `seconds` from `start` to `stop`; errors are logged and change nothing."""

    _log = Logger()

    def __init__(self, clock: IReactorTime, seconds: float, work: Callable[[], object]) -> None:
        self._clock = clock
        self._seconds = seconds
        self._work = work
        self._call: IDelayedCall | None = None

    def start(self) -> None:
        """Begin; the first call comes after one interval."""
        if self._call is None:
            self._call = self._clock.callLater(self._seconds, self._run)

    def stop(self) -> None:
        """End; may be called twice."""
        call, self._call = self._call, None
        if call is not None and call.active():
            call.cancel()

    def _run(self) -> None:
        self._call = self._clock.callLater(self._seconds, self._run)
        try:
            self._work()
        except Exception:
            self._log.failure("a repeated task failed, it goes on")
