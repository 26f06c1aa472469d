"""Throttles: token buckets that say how much may go now, and limiters that turn floods away.

Pure: the time is given.  Not for: waiting; whoever gets less than it wants calls again later.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

# It is not worth waking up for less than this much (or this long), if half the bucket can hold
# it; the other half is for waking up late.
_WORTHWHILE_BYTES = 4_096.0
_WORTHWHILE_SECONDS = 0.01
# Sums of floats fall short of what they stand for by less than this, in bytes and in seconds.
_ROUNDING_BYTES = 1e-6
_ROUNDING_SECONDS = 1e-9


class TokenBucket:
    """A flow of `rate` bytes per second; None lets everything through.

    Over any time t it gives at most rate * (t + burst_seconds) bytes (and always one byte
    at a time, however slow).  A clock that is set back costs nothing but the time it lost.
    """

    def __init__(
        self, rate: float | None, clock: Callable[[], float], burst_seconds: float = 0.1
    ) -> None:
        """`clock` gives monotonic seconds.  Raises ValueError if a rate is not above zero."""
        self._clock = clock
        self._burst_seconds = burst_seconds
        self._rate = _checked(rate)
        self._filled_at = clock()
        self._tokens = self._capacity

    @property
    def rate(self) -> float | None:
        """Bytes per second, or None; may be set at any time and holds from then on."""
        return self._rate

    @rate.setter
    def rate(self, rate: float | None) -> None:
        self._fill()
        self._rate = _checked(rate)

    def take(self, wanted: int) -> int:
        """Take as many of the wanted bytes as there are; 0 if none."""
        if self._rate is None:
            return max(0, wanted)
        self._fill()
        taken = max(0, min(wanted, int(self._tokens + _ROUNDING_BYTES)))
        self._tokens = max(0.0, self._tokens - taken)
        return taken

    def refund(self, count: int) -> None:
        """Give back bytes that were taken and did not go."""
        self._tokens = min(self._capacity, self._tokens + max(0, count))

    def delay(self) -> float:
        """Seconds until it is worth asking again; 0.0 if it is now."""
        if self._rate is None:
            return 0.0
        self._fill()
        worthwhile = max(_WORTHWHILE_BYTES, self._rate * _WORTHWHILE_SECONDS)
        enough = min(worthwhile, max(1.0, self._capacity / 2))
        seconds = (enough - self._tokens) / self._rate
        return seconds if seconds > _ROUNDING_SECONDS else 0.0

    @property
    def _capacity(self) -> float:
        return 0.0 if self._rate is None else max(1.0, self._rate * self._burst_seconds)

    def _fill(self) -> None:
        now = self._clock()
        elapsed, self._filled_at = max(0.0, now - self._filled_at), now
        if self._rate is not None:
            self._tokens = min(self._capacity, self._tokens + elapsed * self._rate)


def _checked(rate: float | None) -> float | None:
    if rate is not None and not rate > 0:
        raise ValueError(f"a rate is above zero, or None: {rate}")
    return rate


class _Level:
    """How many events a source may still have, and as of when."""

    __slots__ = ("at", "tokens")

    def __init__(self, tokens: float, at: float) -> None:
        self.tokens = tokens
        self.at = at

    def fill(self, rate: float, burst: float, now: float) -> None:
        """Add what the time since has earned."""
        self.tokens = min(burst, self.tokens + max(0.0, now - self.at) * rate)
        self.at = now


class RateLimiter:
    """Lets events of each source through at `rate` per second, of all at `global_rate`.

    `burst` events may come at once.  A source over its own rate costs the others nothing.  At
    most `max_sources` are remembered (about 250 bytes each): the one that was silent for the
    longest time is forgotten first, and starts afresh when it comes back.
    """

    def __init__(
        self,
        rate: float,
        burst: float,
        global_rate: float,
        global_burst: float,
        max_sources: int = 1_024,
        *,
        reserve: bool = False,
    ) -> None:
        """`reserve`: as much again as for all is kept for those that have half of their burst.

        So those that want all they may have leave room for the others.
        """
        self._rate = rate
        self._burst = burst
        self._global_rate = global_rate
        self._global_burst = global_burst
        self._max_sources = max_sources
        self._reserve = reserve
        self._all: _Level | None = None
        self._reserved: _Level | None = None
        self._levels: OrderedDict[str, _Level] = OrderedDict()

    def allow(self, source: str, now: float, cost: float = 1.0) -> bool:
        """Whether an event of this source may pass at `now` (monotonic seconds).

        It counts as `cost` events, which is no more than a burst.
        """
        level = self._levels.get(source)
        if level is None:
            level = self._levels[source] = _Level(self._burst, now)
            if len(self._levels) > self._max_sources:
                self._levels.popitem(last=False)
        else:
            self._levels.move_to_end(source)
            level.fill(self._rate, self._burst, now)
        if level.tokens < cost:
            return False
        shared = self._shared(level, now)
        if shared.tokens < cost:
            return False
        level.tokens -= cost
        shared.tokens -= cost
        return True

    def _shared(self, level: _Level, now: float) -> _Level:
        """What this source takes from beside its own."""
        if self._all is None or self._reserved is None:
            self._all, self._reserved = (_Level(self._global_burst, now) for _ in range(2))
        modest = self._reserve and level.tokens * 2 >= self._burst
        shared = self._reserved if modest else self._all
        shared.fill(self._global_rate, self._global_burst, now)
        return shared


# How often it is counted among how many the time is to be parted.
_RATE_SECONDS = 0.1
_SHORTEST_WAIT_SECONDS = 0.001


class TimeShares:
    """How much of the processor's time each address has used of its own share.

    Each may use `burst` seconds at once and `share` of every second; all that are over their burst
    have no more than `together`.  Whoever owes nothing is not remembered.
    """

    def __init__(self, share: float, burst: float, together: float = float("inf")) -> None:
        self._share = share
        self._burst = burst
        self._together = together
        self._rate = share  # of each, as many as there are now
        self._rated_at = float("-inf")
        self._debts: dict[str, tuple[float, float]] = {}  # seconds, and as of when

    def spend(self, address: str, seconds: float, now: float) -> None:
        """So much was spent on it; less than nothing is given back.  `now`: monotonic seconds."""
        debt = self._debt(address, now) + seconds
        if debt > 0:
            self._debts[address] = debt, now
        else:
            self._debts.pop(address, None)
        if now - self._rated_at >= _RATE_SECONDS:
            self._rate_anew(now)

    def wait(self, address: str, now: float) -> float:
        """In how many seconds it is its turn again."""
        over = self._debt(address, now) - self._burst
        return max(_SHORTEST_WAIT_SECONDS, over / self._rate) if over > 0 else 0.0

    def _rate_anew(self, now: float) -> None:
        """Part what there is among those that want much."""
        debts = {address: (self._debt(address, now), now) for address in self._debts}
        self._debts = {address: owed for address, owed in debts.items() if owed[0] > 0}
        many = sum(debt > self._burst / 2 for debt, _ in self._debts.values())
        self._rate = min(self._share, self._together / max(1, many))
        self._rated_at = now

    def expire(self, now: float) -> None:
        """Forget whoever owes nothing any more."""
        for address in [a for a in self._debts if not self._debt(a, now)]:
            del self._debts[address]

    def _debt(self, address: str, now: float) -> float:
        seconds, at = self._debts.get(address, (0.0, now))
        return max(0.0, seconds - (now - at) * self._rate)
