"""A rate and a time left that a person can read: they do not jump.  Pure.

Rate: what the node tells is averaged with a time constant of `RATE_SECONDS`.  What is shown stays
as it is while that average is within `RATE_BAND` of it, and changes at most once in
`RATE_HOLD_SECONDS`; only a change to or from a standstill is shown at once.

Time left: the bytes to go by an average with the longer time constant `LEFT_SECONDS`.  What is
shown counts down with the clock, second by second, as long as that estimate is within `LEFT_BAND`
(and at least `LEFT_SLACK_SECONDS`) of it; when it has been outside for `LEFT_HOLD_SECONDS` without
a break, the clock is set anew.  One burst or one pause of a peer changes nothing.

Times are monotonic seconds, rates bytes per second.  Not for: measuring; the node does.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp

from peershare.status import DownloadState, DownloadStatus

RATE_SECONDS = 2.0
RATE_BAND = 0.05
RATE_HOLD_SECONDS = 1.0
LEFT_SECONDS = 10.0
LEFT_BAND = 0.15
LEFT_SLACK_SECONDS = 2.0
LEFT_HOLD_SECONDS = 2.0
# Before so much of a download has been seen, a rate and a time left are guesses.
SETTLING_SECONDS = 1.0
# As long as it would take to count the seconds of a year nobody believes a clock.
_MOST_SECONDS = 359_999.0  # 99:59:59


@dataclass
class Average:
    """An exponential average over time that is right from its first value on."""

    seconds: float
    value: float = 0.0
    weight: float = 0.0

    def add(self, value: float, elapsed: float) -> float:
        """It was `value` for so many seconds; returns the average."""
        decay = exp(-elapsed / self.seconds)
        self.value = self.value * decay + value * (1 - decay)
        self.weight = self.weight * decay + (1 - decay)
        return self.value / self.weight if self.weight else value


class Pace:
    """The rate and the time left of one flow, as they are shown."""

    def __init__(self) -> None:
        self._looked_at: float | None = None
        self._short = Average(RATE_SECONDS)
        self._long = Average(LEFT_SECONDS)
        self._rate = 0.0
        self._rate_at = 0.0
        self._ends_at: float | None = None
        self._off_since: float | None = None

    @property
    def rate(self) -> float:
        """The rate to show."""
        return self._rate

    def left(self, now: float) -> float | None:
        """The time left to show; None while there is none."""
        return None if self._ends_at is None else max(1.0, self._ends_at - now)

    def look(self, rate: float, to_go: int | None, now: float, *, settled: bool) -> None:
        """The node tells this rate, and so many bytes to go (None: not known).

        Until it has `settled`, it is followed as it comes, and there is no time left.
        """
        if self._looked_at is None:
            self._looked_at = now
            self._rate, self._rate_at = rate, now
        elapsed = max(0.001, now - self._looked_at)
        self._looked_at = now
        self._show_rate(self._short.add(rate, elapsed), now)
        self._set_clock(self._long.add(rate, elapsed), to_go if settled else None, now)

    def _show_rate(self, average: float, now: float) -> None:
        wakes = (self._rate < 1) != (average < 1)
        off = abs(average - self._rate) > RATE_BAND * self._rate
        if wakes or (off and now - self._rate_at >= RATE_HOLD_SECONDS):
            self._rate, self._rate_at = average, now

    def _set_clock(self, average: float, to_go: int | None, now: float) -> None:
        if to_go is None or average < 1 or to_go / average > _MOST_SECONDS:
            self._ends_at = self._off_since = None
            return
        left = to_go / average
        if self._ends_at is None:
            self._ends_at = now + left
            return
        shown = self._ends_at - now
        if abs(left - shown) <= max(LEFT_SLACK_SECONDS, LEFT_BAND * shown):
            self._off_since = None
            return
        if self._off_since is None:
            self._off_since = now
        if now - self._off_since >= LEFT_HOLD_SECONDS:
            self._ends_at, self._off_since = now + left, None


class Paces:
    """A `Pace` for each download that is shown."""

    def __init__(self) -> None:
        self._paces: dict[str, Pace] = {}

    def look(self, status: DownloadStatus, now: float) -> None:
        """There is a new picture of this download."""
        if status.state is not DownloadState.DOWNLOADING:
            self.forget(status.id)  # it begins anew when it flows again
            return
        to_go = None if status.size is None else max(0, status.size - status.received)
        settled = status.elapsed_seconds >= SETTLING_SECONDS
        self._paces.setdefault(status.id, Pace()).look(status.rate, to_go, now, settled=settled)

    def forget(self, identifier: str) -> None:
        """It is shown no more."""
        self._paces.pop(identifier, None)

    def shown(self, status: DownloadStatus, now: float) -> tuple[float, float | None]:
        """The rate and the time left to show for it: bytes per second, seconds or None."""
        pace = self._paces.get(status.id)
        return (pace.rate, pace.left(now)) if pace is not None else (status.rate, None)
