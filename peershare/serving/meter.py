"""How fast a session takes what it asks for.  Pure: the time is given.

Not for: judging whether that is fast enough (pace), or for limiting it (throttle).
"""

from __future__ import annotations

# Rates are taken over at least so long, and half of the one before stays.
_OVER_SECONDS = 0.25
_KEPT = 0.5
# A receiver's window is what goes to it in this time, within these bounds in blocks.
_WINDOW_SECONDS = 0.2
_FEWEST, _MOST = 2, 64
_FIRST_BYTES = 1 << 17


class Meter:
    """Bytes a second, while there are bytes."""

    def __init__(self, now: float) -> None:
        """`now` is monotonic seconds."""
        self._since = now
        self._count = 0
        self.rate: float | None = None

    def add(self, count: int, now: float) -> None:
        """So many bytes have left."""
        self._count += count
        seconds = now - self._since
        if seconds >= _OVER_SECONDS:
            rate = self._count / seconds
            self.rate = rate if self.rate is None else _KEPT * self.rate + (1 - _KEPT) * rate
            self._since, self._count = now, 0

    def window(self, block_size: int) -> int:
        """How many blocks of this size should be on order at a time."""
        wanted = _FIRST_BYTES if self.rate is None else self.rate * _WINDOW_SECONDS
        return max(_FEWEST, min(_MOST, round(wanted / block_size)))
