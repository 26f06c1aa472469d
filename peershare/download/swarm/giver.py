"""Givers: what the scheduler knows of one session, and what it may hope for from it.  Pure.

Not for: what is under way of a block altogether (`flights`).
"""

from __future__ import annotations

from collections.abc import Iterable

from peershare.download.swarm import rarity
from peershare.download.swarm.flights import Flights, Request
from peershare.download.swarm.rarity import Bitmap
from peershare.download.swarm.windows import Window

# A request is late when it has taken so much longer than the rate of its session promised.
LATE_FACTOR = 4.0
LATE_SECONDS = 2.0
# A window this wide is refilled an eighth at a time: fewer, longer requests.
BATCHED_BLOCKS = 16
# At the end a copy is asked for only where it promises to save more than half of the time, and
# not for the sake of less than this.
COPY_GAIN = 2.0
COPY_SECONDS = 0.02
MOST_COPIES = 2


class Giver:
    """One session: what it has, and what it is asked for."""

    __slots__ = (
        "_block_size",
        "counted",
        "grants",
        "have",
        "requests",
        "stalled",
        "steered",
        "window",
    )

    def __init__(self, block_size: int, have: Bitmap, *, counted: bool, steered: bool) -> None:
        """`counted`: in the rarity; what has every block makes no difference there."""
        self._block_size = block_size
        self.have = have
        self.counted = counted
        self.steered = steered
        self.window = Window(block_size)
        self.requests: dict[int, Request] = {}  # in the order asked
        self.grants: dict[int, None] = {}  # in the order granted; not asked yet
        self.stalled = False  # something became late, and nothing came since

    @property
    def late_blocks(self) -> list[int]:
        """What it is asked for and late with."""
        return [block for block, request in self.requests.items() if request.late]

    def room(self) -> int:
        """How many blocks its window has room for, if it is worth a request."""
        window = self.window.blocks
        room = window - len(self.requests)
        if self.stalled or (window >= BATCHED_BLOCKS and room < window // 8):
            return 0
        return room

    def ask(self, block: int, now: float) -> Request:
        """It is asked for a block."""
        self.window.busy(now)
        ahead = (len(self.requests) + 1) * self._block_size
        request = self.requests[block] = Request(now, ahead, self.window.rate)
        self.grants.pop(block, None)
        return request

    def close(self, block: int) -> None:
        """It is not asked for a block any more."""
        del self.requests[block]
        if not self.requests:
            self.stalled = False
            self.window.idle()

    def arrived(self, block: int) -> list[int]:
        """A block came.  Returns what is closed: its request, and the late ones it overtook.

        Blocks come in the order asked; what was left out will not come any more.
        """
        self.stalled = False
        if block not in self.requests:
            return []
        closed = []
        for other, request in self.requests.items():
            if other == block:
                break
            if request.late:
                closed.append(other)
        closed.append(block)
        for other in closed:
            self.close(other)
        return closed

    def become_late(self, now: float) -> list[int]:
        """The blocks that it is late with since now."""
        found = []
        for block, request in self.requests.items():
            promised = self._seconds(request.ahead, request)
            allowed = max(LATE_SECONDS, LATE_FACTOR * promised)
            if not request.late and now - request.asked_at > allowed:
                found.append(block)
        if found:
            self.stalled = True
        return found

    def remaining(self, position: int, request: Request, now: float) -> float:
        """In how many seconds a request may be done, of which `position` are before it.

        One that should have been done takes as long again as it is overdue.
        """
        promised = (position + 1) * self._block_size / (self.window.rate or float("inf"))
        overdue = now - request.asked_at - self._seconds(request.ahead, request)
        return max(promised, overdue)

    def _seconds(self, count: int, request: Request) -> float:
        """How long so many bytes should take; 0 if there is no rate to tell."""
        rate = request.rate or self.window.rate
        return count / rate if rate else 0.0


def copies(
    giver: Giver, others: Iterable[Giver], flights: Flights, room: int, now: float
) -> list[int]:
    """What is under way from others and would be here much sooner from this one, slowest first."""
    rate = giver.window.rate
    if rate is None:
        return []
    found: list[tuple[float, int]] = []
    for other in others:
        for position, (block, request) in enumerate(other.requests.items()):
            flight = flights.get(block)
            if (
                flight is not None
                and flight.copies < MOST_COPIES
                and block not in giver.requests
                and rarity.has(giver.have, block)
            ):
                found.append((other.remaining(position, request, now), block))
    found.sort(key=lambda each: -each[0])
    chosen: list[int] = []
    for remaining, block in found[:room]:
        here = (len(giver.requests) + len(chosen) + 1) * giver.window.block_size / rate
        if remaining < COPY_GAIN * here + COPY_SECONDS:
            break
        chosen.append(block)
    return chosen
