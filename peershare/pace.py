"""Pace: is the other side of a transfer still moving, and fast enough to be waited for?  Pure.

Used by both ends: a peer that gives nothing, and a reader that takes nothing, hold a
connection only so long (hostile world, 13 and 16).  Not for: limiting ourselves (throttle).
"""

from __future__ import annotations

from enum import Enum

# Below this many bytes in this time (1 KiB a second) a transfer is a trickle.
SLOW_SECONDS = 60.0
SLOWEST_BYTES = 60 * 1024


class Verdict(Enum):
    """What to think of the other side."""

    MOVING = "moving"
    STALLED = "stalled"
    TOO_SLOW = "too slow"


class Pace:
    """Watches one transfer by its running total of bytes."""

    def __init__(self, now: float, stalled_seconds: float) -> None:
        """`now` is monotonic seconds; nothing for `stalled_seconds` is a stall."""
        self._stalled_seconds = stalled_seconds
        self._total = 0
        self._moved_at = now
        self._window = (now, 0)

    def excuse(self, now: float) -> None:
        """It is our own limit that holds the transfer up."""
        self._moved_at = now
        self._window = (now, self._total)

    def judge(self, now: float, total: int) -> Verdict:
        """The verdict at `now`, when `total` bytes have gone by since the start."""
        if total != self._total:
            self._total, self._moved_at = total, now
        since, before = self._window
        if now - self._moved_at >= self._stalled_seconds:
            return Verdict.STALLED
        if now - since >= SLOW_SECONDS:
            self._window = (now, total)
            if total - before < SLOWEST_BYTES:
                return Verdict.TOO_SLOW
        return Verdict.MOVING
