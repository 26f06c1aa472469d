"""Steering: a lone source grants each of its receivers other blocks, so that each leaves once.

Pure.  Receivers are known by numbers; what they were granted and did not get yet is theirs alone.
Each is granted a stretch of its own, from its beginning on, so that the disk is read in order; who
is through with it gets half of the largest that is left.  When nothing is left to grant, whoever
has nothing to ask for takes over from those who do not get on.  Not for: sending, nor for what
receivers have from each other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from heapq import heappop, heappush
from random import Random

# Blocks that a receiver waits for are granted to another as well if that one got so many times
# as many before.
SLOWER = 2


class _Stretch:
    """Blocks from `start` to before `stop`, some of which may have left already.

    Block numbers go round: behind the last comes the first.
    """

    __slots__ = ("start", "stop", "taken")

    def __init__(self, start: int, stop: int) -> None:
        self.start = start
        self.stop = stop
        self.taken = False  # somebody is granted from it

    def __len__(self) -> int:
        return self.stop - self.start


class _Receiver:
    """What one receiver was granted and did not get yet, in order; whether it has asked."""

    __slots__ = ("grants", "sent", "stalled", "stretch")

    def __init__(self) -> None:
        self.grants: dict[int, bool] = {}
        self.stretch: _Stretch | None = None
        self.sent = 0
        self.stalled = False

    def waiting(self, asked: bool) -> list[int]:
        """What it was granted and has asked for, or has not."""
        return [block for block, done in self.grants.items() if done is asked]


class Steering:
    """Grants the blocks of one content, of which we are the only complete source."""

    def __init__(self, total: int, random: Random) -> None:
        """`total` is how many blocks the content has; where to begin is left to chance."""
        self._receivers: dict[int, _Receiver] = {}
        self._owners: dict[int, _Receiver] = {}  # of what is granted and has not left
        self._left = bytearray(total)
        self._remaining = total
        self._returned: deque[int] = deque()
        self._moved: set[int] = set()  # each is taken over once at most
        self._serial = 0
        self._stretches: list[tuple[int, int, _Stretch]] = []  # a heap, the longest first
        start = random.randrange(max(1, total))
        self._offer(_Stretch(start, start + total))

    @property
    def open(self) -> bool:
        """Whether every block has left once, or is had by a receiver: no more steering."""
        return not self._remaining

    def joined(self, receiver: int, have: Iterable[int]) -> None:
        """A receiver more; what it has need not leave any more."""
        self.left(receiver)
        self._receivers[receiver] = _Receiver()
        for block in have:
            self._mark(block)

    def left(self, receiver: int) -> None:
        """A receiver is gone; others may have what it did not get."""
        gone = self._receivers.pop(receiver, None)
        if gone is not None:
            self._return(gone)
            if gone.stretch is not None:
                gone.stretch.taken = False
                self._offer(gone.stretch)

    def stalled(self, receiver: int) -> None:
        """A receiver does not get on: others may have its blocks.

        It is granted nothing, unless all have stalled, until it asks, declines or gets a block.
        """
        slow = self._receivers.get(receiver)
        if slow is not None:
            slow.stalled = True
            self._return(slow)

    def asked(self, receiver: int, block: int) -> None:
        """A receiver asks for a block."""
        asking = self._receivers.get(receiver)
        if asking is not None:
            asking.stalled = False
            if block in asking.grants:
                asking.grants[block] = True

    def declined(self, receiver: int, block: int) -> None:
        """A receiver does not want a block that it was granted: it has it from elsewhere."""
        owner = self._receivers.get(receiver)
        if owner is not None:
            owner.stalled = False
            if block in owner.grants:
                self._mark(block)

    def sent(self, receiver: int, block: int) -> None:
        """A block has left to this receiver, whoever it was granted to."""
        self._mark(block)
        getting = self._receivers.get(receiver)
        if getting is not None:
            getting.sent += 1
            getting.stalled = False

    def grants(self, receiver: int, window: int) -> list[int]:
        """What to grant, so that `window` granted blocks have not left to this receiver yet."""
        asking = self._receivers.get(receiver)
        if asking is None or (asking.stalled and not self._all_stalled()):
            return []
        granted: list[int] = []
        while len(asking.grants) < window:
            block = self._take(asking)
            if block is None:
                break
            self._give(asking, block)
            granted.append(block)
        if not granted:
            for block in self._take_over(asking, window - len(asking.grants)):
                self._give(asking, block)
                granted.append(block)
        return granted

    # -- below

    def _all_stalled(self) -> bool:
        return all(receiver.stalled for receiver in self._receivers.values())

    def _give(self, receiver: _Receiver, block: int) -> None:
        receiver.grants[block] = False
        self._owners[block] = receiver

    def _mark(self, block: int) -> None:
        """A block is out there."""
        if not self._left[block]:
            self._left[block] = 1
            self._remaining -= 1
        owner = self._owners.pop(block, None)
        if owner is not None:
            del owner.grants[block]

    def _return(self, receiver: _Receiver) -> None:
        for block in receiver.grants:
            del self._owners[block]
            self._returned.append(block)
        receiver.grants.clear()

    def _take(self, receiver: _Receiver) -> int | None:
        """The next block that nobody was granted; None if there is none."""
        while (stretch := receiver.stretch or self._longest()) is not None:
            receiver.stretch = stretch
            block = stretch.start % len(self._left)
            stretch.start += 1
            if not self._left[block]:
                return block
        while self._returned:
            block = self._returned.popleft()
            if not self._left[block]:
                return block
        return None

    def _longest(self) -> _Stretch | None:
        """The longest stretch that is free, or the second half of one that is taken."""
        while self._stretches:
            length, _, stretch = heappop(self._stretches)
            if -length != len(stretch):
                self._offer(stretch)
                continue
            if stretch.taken:
                rest = stretch
                stretch = _Stretch(rest.start + len(rest) // 2, rest.stop)
                rest.stop = stretch.start
                self._offer(rest)
            stretch.taken = True
            self._offer(stretch)
            return stretch
        return None

    def _offer(self, stretch: _Stretch) -> None:
        if stretch:
            self._serial += 1
            heappush(self._stretches, (-len(stretch), self._serial, stretch))

    def _take_over(self, receiver: _Receiver, limit: int) -> list[int]:
        """Blocks of others, for one who has asked for all its own and finds none in the pool.

        First half of what another has not asked for, from its end; then, if it has none left at
        all, half of what waits for somebody slower.  Those may leave twice.
        """
        if limit <= 0 or not all(receiver.grants.values()):
            return []
        unasked = self._movable(receiver, asked=False)
        if unasked or receiver.grants:
            return self._move(unasked, limit)
        slower = self._movable(receiver, asked=True)
        return self._move(slower, limit)

    def _movable(self, receiver: _Receiver, *, asked: bool) -> list[int]:
        """The longest row of blocks that can be taken over from one other."""
        rows = (
            [block for block in other.waiting(asked) if block not in self._moved]
            for other in self._receivers.values()
            if other is not receiver and (not asked or other.sent * SLOWER < receiver.sent)
        )
        return max(rows, key=len, default=[])

    def _move(self, row: list[int], limit: int) -> list[int]:
        count = min(limit, -(-len(row) // 2))
        moved = row[len(row) - count :]
        for block in moved:
            del self._owners[block].grants[block]
        self._moved.update(moved)
        return moved
