"""Busy: knows what is still using something that is to be closed."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredList

T = TypeVar("T")


class Busy:
    """The work that is under way; what it uses may be closed once `idle` fires."""

    def __init__(self) -> None:
        self._running: dict[Deferred[None], None] = {}

    def track(self, work: Coroutine[Deferred[Any], Any, T]) -> Deferred[T]:
        """Do this, and know of it until it has ended."""
        ended: Deferred[None] = Deferred()
        self._running[ended] = None

        def end(result: T) -> T:
            del self._running[ended]
            ended.callback(None)
            return result

        return Deferred.fromCoroutine(work).addBoth(end)

    def idle(self) -> Deferred[Any]:
        """Fires when all of what is under way now has ended."""
        return DeferredList(list(self._running))
