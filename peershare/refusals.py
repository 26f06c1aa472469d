"""Refusals: what was turned away is counted, and said in the log now and then.

A stranger can cause as many refusals as he likes; he must not be able to fill our logs with
them (hostile world, 1 and 11).  Not for: deciding what is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import Protocol
from twisted.logger import Logger, LogLevel

from peershare.content.names import display
from peershare.throttle import RateLimiter

# Lines a second: of one source, of all.
_RATE, _BURST = 0.2, 40.0
_GLOBAL_RATE, _GLOBAL_BURST = 0.5, 80.0


class Refusals:
    """Counts by reason."""

    _log = Logger()

    def __init__(self, clock: Callable[[], float], level: LogLevel) -> None:
        """`clock` gives monotonic seconds; `level` is that of the lines."""
        self._clock = clock
        self._level = level
        self._limiter = RateLimiter(
            rate=_RATE, burst=_BURST, global_rate=_GLOBAL_RATE, global_burst=_GLOBAL_BURST
        )
        self.counts: Counter[str] = Counter()

    def note(self, source: str, reason: str, details: str = "") -> bool:
        """Count it; True if it may be written down, which it is unless that was said too often."""
        self.counts[reason] += 1
        allowed = self._limiter.allow(source, self._clock())
        if allowed:
            self._log.emit(
                self._level,
                "{source}: refused: {reason}{details}",
                source=source,
                reason=reason,
                details=f" ({display(details)})" if details else "",
            )
        return allowed


class Refusal(Protocol):
    """A connection that is reset at once: an empty reply would pass for an answer."""

    transport: Any

    def connectionMade(self) -> None:
        """Twisted: it is open."""
        self.transport.abortConnection()
