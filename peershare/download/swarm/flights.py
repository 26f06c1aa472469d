"""Flights: which blocks of a content are missing, asked of whom, or being checked.  Pure.

A request is closed when its block came, when it is cancelled or refused, or when its session is
over.  A late request stays open, but its block is free: others may be asked for it as well.
Not for: choosing blocks (`scheduler`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from peershare.content.blocks import BlockSet
from peershare.download.swarm import rarity
from peershare.wire.beacon import Endpoint


@dataclass(slots=True)
class Request:
    """A block that a session was asked for."""

    asked_at: float
    ahead: int  # bytes that the session was asked for at that time, these included
    rate: float | None  # the session's, at that time
    late: bool = False


@dataclass(slots=True)
class Flight:
    """All that is under way for one block."""

    requests: dict[Endpoint, Request] = field(default_factory=dict)
    checking: dict[Endpoint, None] = field(default_factory=dict)  # who gave what is being checked

    @property
    def live(self) -> bool:
        """Whether somebody is likely to give it, or has."""
        return bool(self.checking) or not all(r.late for r in self.requests.values())

    @property
    def copies(self) -> int:
        """How many copies of it may come."""
        return len(self.requests) + len(self.checking)


class Flights:
    """The blocks of one content that are not verified yet."""

    def __init__(self, total: int, held: BlockSet) -> None:
        everything = rarity.full(total)
        self._total = total
        self.missing = [a & ~b for a, b in zip(everything, rarity.of(held), strict=True)]
        self.free = list(self.missing)  # missing, and nobody is likely to give it
        self.left = total - len(held)
        self.busy = 0  # requests that are not late, and copies being checked
        self._flights: dict[int, Flight] = {}

    @property
    def all_asked(self) -> bool:
        """Whether somebody was asked for every missing block."""
        return len(self._flights) == self.left

    def lacks(self, block: int) -> bool:
        """Whether there is such a block and it is missing."""
        return 0 <= block < self._total and rarity.has(self.missing, block)

    def get(self, block: int) -> Flight | None:
        """What is under way for a block."""
        return self._flights.get(block)

    def items(self) -> Iterator[tuple[int, Flight]]:
        """All that is under way."""
        return iter(self._flights.items())

    def ask(self, peer: Endpoint, block: int, request: Request) -> None:
        """A session is asked for a missing block."""
        self._flights.setdefault(block, Flight()).requests[peer] = request
        self.busy += 1
        rarity.drop(self.free, block)

    def close(self, peer: Endpoint, block: int) -> None:
        """A request is open no more."""
        flight = self._flights[block]
        self.busy -= not flight.requests.pop(peer).late
        self._settle(block, flight)

    def delay(self, peer: Endpoint, block: int) -> None:
        """A request is late."""
        flight = self._flights[block]
        flight.requests[peer].late = True
        self.busy -= 1
        self._settle(block, flight)

    def check(self, peer: Endpoint, block: int) -> None:
        """A missing block came from a session and is being checked."""
        flight = self._flights.setdefault(block, Flight())
        if peer not in flight.checking:
            flight.checking[peer] = None
            self.busy += 1
        rarity.drop(self.free, block)

    def fail(self, peer: Endpoint, block: int) -> None:
        """What came from a session is wrong."""
        flight = self._flights.get(block)
        if flight is not None and peer in flight.checking:
            del flight.checking[peer]
            self.busy -= 1
            self._settle(block, flight)

    def land(self, block: int) -> list[Endpoint]:
        """A missing block is here.  Returns the sessions whose requests that closed."""
        flight = self._flights.pop(block, None) or Flight()
        self.busy -= sum(not r.late for r in flight.requests.values()) + len(flight.checking)
        self.left -= 1
        rarity.drop(self.missing, block)
        rarity.drop(self.free, block)
        return list(flight.requests)

    def _settle(self, block: int, flight: Flight) -> None:
        if not flight.copies:
            del self._flights[block]
        if not flight.live:
            rarity.put(self.free, block)
