"""Busy: knows whether something is still used that is to be closed."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, succeed

T = TypeVar("T")


class Busy:
    """The work that is under way; what it uses may be closed once `idle` fires."""

    def __init__(self) -> None:
        self._running = 0
        self._idle: list[Deferred[None]] = []

    def track(self, work: Coroutine[Deferred[Any], Any, T]) -> Deferred[T]:
        """Do this, and know of it until it has ended."""
        return self.until(Deferred.fromCoroutine(work))

    def until(self, result: Deferred[T]) -> Deferred[T]:
        """Know of this work until it has ended; the same Deferred."""
        self._running += 1
        return result.addBoth(self._end)

    def _end(self, result: T) -> T:
        self._running -= 1
        if not self._running:
            idle, self._idle = self._idle, []
            for deferred in idle:
                deferred.callback(None)
        return result

    def idle(self) -> Deferred[None]:
        """Fires when nothing is under way any more."""
        if not self._running:
            return succeed(None)
        deferred: Deferred[None] = Deferred()
        self._idle.append(deferred)
        return deferred
