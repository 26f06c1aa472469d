"""The blocks that one session still has to send: bounded, in order, those out of turn last.  Pure.

Not for: whether they are there, nor for sending them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable
from itertools import chain

from peershare.content.blocks import runs
from peershare.errors import PeerError, Reason
from peershare.serving.receiver import Receiver

# More than this is refused; it is 200 ms of a fast network, and more than any window.
MAX_QUEUED_BLOCKS = 256

Pairs = Iterable[tuple[int, int]]  # runs of blocks: the first, and how many


class BlockQueue:
    """Two lanes: what waits for nothing, and what goes only when nothing else is there."""

    def __init__(self) -> None:
        self._lane: deque[tuple[Receiver, int]] = deque()
        self._late: deque[tuple[Receiver, int]] = deque()

    def __len__(self) -> int:
        return len(self._lane) + len(self._late)

    @property
    def room(self) -> int:
        """How many more blocks it takes."""
        return MAX_QUEUED_BLOCKS - len(self)

    def add(self, receiver: Receiver, block: int, *, late: bool) -> None:
        """One block more."""
        receiver.queued += 1
        (self._late if late else self._lane).append((receiver, block))

    def peek(self) -> Receiver | None:
        """Whose block goes next."""
        lane = self._lane or self._late
        return lane[0][0] if lane else None

    def pop(self) -> tuple[Receiver, int] | None:
        """What goes next."""
        lane = self._lane or self._late
        if not lane:
            return None
        receiver, block = lane.popleft()
        receiver.queued -= 1
        return receiver, block

    def advance(self, receiver: Receiver) -> None:
        """Blocks of it that were out of turn are not any more (see `Receiver.turn`)."""
        late, self._late = self._late, deque()
        for owner, block in late:
            due = owner is receiver and (not receiver.steered or block in receiver.turn)
            (self._lane if due else self._late).append((owner, block))

    def cancel(self, receiver: Receiver, wanted: Pairs) -> None:
        """Its blocks in these runs are not wanted any more."""
        gone = among({block for owner, block in self._all() if owner is receiver}, wanted)
        if gone:
            self._keep(lambda entry: entry[0] is not receiver or entry[1] not in gone)

    def drop(self, receiver: Receiver) -> list[tuple[int, int]]:
        """Send it nothing; the runs of what it waited for."""
        dropped = runs(block for owner, block in self._all() if owner is receiver)
        self._keep(lambda entry: entry[0] is not receiver)
        return dropped

    def clear(self) -> None:
        """Send nothing."""
        self._keep(lambda _: False)

    def _all(self) -> Iterable[tuple[Receiver, int]]:
        return chain(self._lane, self._late)

    def _keep(self, wanted: Callable[[tuple[Receiver, int]], bool]) -> None:
        for entry in self._all():
            if not wanted(entry):
                entry[0].queued -= 1
        self._lane = deque(entry for entry in self._lane if wanted(entry))
        self._late = deque(entry for entry in self._late if wanted(entry))


def among(blocks: Iterable[int], pairs: Pairs) -> set[int]:
    """Those of the blocks that are in these runs, however long the runs are."""
    ordered = sorted(blocks)
    found: set[int] = set()
    for first, length in pairs:
        found.update(ordered[bisect_left(ordered, first) : bisect_left(ordered, first + length)])
    return found


def check_blocks(pairs: Pairs, total: int, *, once: bool = False) -> None:
    """Raise `PeerError` (bad-message) unless there are such blocks, each named `once` if so."""
    named = tuple(pairs)
    beyond = any(first + length > total for first, length in named)
    if beyond or (once and sum(length for _, length in named) > total):
        raise PeerError(Reason.BAD_MESSAGE, f"named blocks that are not: there are {total}")


def split_blocks(pairs: Pairs, room: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """The runs of the first `room` blocks, and those of the rest."""
    taken, rest = [], []
    for first, length in pairs:
        fits = min(length, room)
        room -= fits
        if fits:
            taken.append((first, fits))
        if length > fits:
            rest.append((first + fits, length - fits))
    return taken, rest
