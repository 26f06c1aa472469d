"""The rounds of one download: who was tried for which chunk, who is next, how long to rest.

Pure: a round goes over all missing chunks in order and, for each, over all addresses that
have told it, the first address first.  Not for: sizes (plan), sockets or timers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from peershare.dictionary import Found, Source
from peershare.download.plan import ChunkPlan
from peershare.errors import PeerError, Reason

FIRST_BACKOFF_SECONDS = 1.0
LONGEST_BACKOFF_SECONDS = 30.0
# An address that could not be reached is asked last for this long, so that a dead first
# address costs its connect timeout once and not for each of the five chunks.
UNREACHABLE_SECONDS = 30.0
_UNREACHABLE = {Reason.CONNECT_TIMEOUT, Reason.UNREACHABLE, Reason.REFUSED, Reason.STALLED}


@dataclass(frozen=True)
class Choice:
    """The chunk to fetch and the source to ask."""

    number: int
    source: Source


class Rounds:
    """What was tried in the current round, and the choice that follows."""

    def __init__(self, plan: ChunkPlan, busy: Callable[[str], bool]) -> None:
        """`busy`: whether another download has a connection to this address."""
        self._plan = plan
        self._busy = busy
        self._backoff = FIRST_BACKOFF_SECONDS
        self._progressed = False
        self._started_over = False
        self._warned: set[int] = set()
        self._unreachable_until: dict[str, float] = {}
        self.number = 1
        self.tried: dict[int, dict[str, str]] = {}  # chunk -> address -> why it failed

    def next(self, found: Found, now: float) -> Choice | None:
        """The first missing chunk that has an untried address, and the first such address."""
        for number in self._plan.missing():
            source = self._pick(number, found.sources[number - 1], now)
            if source is not None:
                return Choice(number, source)
        return None

    def _pick(self, number: int, sources: tuple[Source, ...], now: float) -> Source | None:
        """The first address in order of arrival; the lately unreachable and the outvoted last."""
        tried = self.tried.get(number, {})
        untried = [
            source
            for source in sources
            if source.address not in tried
            and self._plan.may_ask(number, source.address, self.number)
        ]
        return min(
            untried,
            default=None,
            key=lambda source: (
                source.address in self._plan.suspects,
                self._unreachable_until.get(source.address, now) > now,
                self._busy(source.address),
            ),
        )

    @property
    def anything_tried(self) -> bool:
        """Whether there is somebody to go round to again."""
        return bool(self.tried or self._plan.odd)

    def arrived(self, number: int, address: str) -> None:
        """A chunk came."""
        self.tried.pop(number, None)
        self._unreachable_until.pop(address, None)
        self._progressed = True

    def failed(self, number: int, address: str, error: PeerError, now: float) -> None:
        """An address did not give a chunk."""
        self.tried.setdefault(number, {})[address] = str(error)
        if error.reason in _UNREACHABLE:
            self._unreachable_until[address] = now + UNREACHABLE_SECONDS

    def exhausted(self, before: int | None) -> list[int]:
        """The missing chunks below `before` (None: all) that were tried in vain, each once."""
        new = [
            number
            for number in self._plan.missing()
            if (before is None or number < before)
            and number in self.tried
            and number not in self._warned
        ]
        self._warned.update(new)
        return new

    def rest_seconds(self) -> float:
        """How long to rest before the next round: 1 s doubling to 30 s, anew after progress."""
        if self._progressed:
            self._backoff = FIRST_BACKOFF_SECONDS
        seconds, self._backoff = self._backoff, min(2 * self._backoff, LONGEST_BACKOFF_SECONDS)
        return seconds

    def begin(self) -> None:
        """The next round."""
        self.number += 1
        self._progressed = False
        self._started_over = False
        self._forget()

    def stalemate(self, found: Found) -> bool:
        """Whether it is better to begin anew with somebody who has told all five chunks."""
        told = ({source.address for source in column} for column in found.sources)
        return self._plan.stalemate(set.intersection(*told))

    def begin_anew(self) -> tuple[int, ...]:
        """Let go of the chunks that do not belong, and return them; everybody may be asked again.

        That once a round: replies that never agree must not become a loop without rest.
        """
        if not self._started_over:
            self._started_over = True
            self._forget()
        return self._plan.begin_anew()

    def _forget(self) -> None:
        self.tried.clear()
        self._warned.clear()
