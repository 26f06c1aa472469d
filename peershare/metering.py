"""Metering: what goes by in a second, of all and of each peer, and how late timers are.

Cumulative counts are looked at once a second; a rate is the difference of two of them.
Not for: counting bytes; whoever moves them does that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from peershare.timers import Periodic

SAMPLES = 60
TICKS = 4  # a second: what blocks the reactor for longer than one is always seen
# The rate of a peer is that of so many seconds: blocks come in lumps.
_PEER_SAMPLES = 3


@dataclass(frozen=True)
class Totals:
    """Bytes since the start, of all and by address, in both directions."""

    downloaded: int = 0
    uploaded: int = 0
    given: Mapping[str, int] = field(default_factory=dict)
    taken: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Sample:
    at: float
    totals: Totals


class Metering:
    """From `start` to `stop`; `sampled` is called after each sample."""

    def __init__(
        self, reactor: Any, totals: Callable[[], Totals], sampled: Callable[[], object]
    ) -> None:
        """`totals` gives what was counted so far, in mappings that do not change any more."""
        self._reactor = reactor
        self._totals = totals
        self._sampled = sampled
        beginning = _Sample(reactor.seconds(), Totals())
        self._samples = deque((beginning,), maxlen=_PEER_SAMPLES + 1)
        self._rates: deque[tuple[float, float]] = deque(maxlen=SAMPLES)
        self._delays: deque[float] = deque(maxlen=SAMPLES)
        self._due = 0.0
        self._ticks = 0
        self._late = 0.0  # at most, since the last sample
        self._periodic = Periodic(reactor, 1 / TICKS, self._tick)

    def start(self) -> None:
        """Begin; the first rates are there after one second."""
        now = self._reactor.seconds()
        self._due = now + 1 / TICKS
        self._periodic.start()

    def stop(self) -> None:
        """End."""
        self._periodic.stop()

    @property
    def rates(self) -> tuple[tuple[float, float], ...]:
        """(download, upload) in bytes per second, one a second, oldest first, 60 at most."""
        return tuple(self._rates)

    @property
    def delay(self) -> float:
        """By how many seconds a timer was late at most, in the last minute."""
        return max(self._late, *self._delays, 0.0)

    @property
    def upload_rate(self) -> float:
        """Bytes per second over the last few seconds."""
        lately = tuple(self._rates)[-_PEER_SAMPLES:]
        return sum(up for _, up in lately) / len(lately) if lately else 0.0

    def peer(self, address: str) -> tuple[float, float]:
        """(download, upload) from and to an address, in bytes per second over a few seconds."""
        first, last = self._samples[0], self._samples[-1]
        seconds = last.at - first.at
        if seconds <= 0:
            return 0.0, 0.0
        given = last.totals.given.get(address, 0) - first.totals.given.get(address, 0)
        taken = last.totals.taken.get(address, 0) - first.totals.taken.get(address, 0)
        return max(0.0, given / seconds), max(0.0, taken / seconds)

    def _tick(self) -> None:
        now = self._reactor.seconds()
        self._late = max(self._late, now - self._due)
        self._due = now + 1 / TICKS
        self._ticks = (self._ticks + 1) % TICKS
        if not self._ticks:
            self._sample(now)

    def _sample(self, now: float) -> None:
        self._delays.append(self._late)
        self._late = 0.0
        before, totals = self._samples[-1], self._totals()
        self._samples.append(_Sample(now, totals))
        seconds = now - before.at
        if seconds > 0:
            down = (totals.downloaded - before.totals.downloaded) / seconds
            up = (totals.uploaded - before.totals.uploaded) / seconds
            self._rates.append((max(0.0, down), max(0.0, up)))
        self._sampled()
