"""A receiver: what one session wants of one content, and what it was given of it.

Values that the session and the swarm of the content share.  Not for: deciding or sending.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from peershare.content.blocks import BlockSet, runs
from peershare.library.entries import ContentHandle
from peershare.wire.messages import MAX_RUNS, Grant, Have, Message, Open


class Face(Protocol):
    """The session of a receiver, as a swarm sees it."""

    address: str
    port: int  # where it takes sessions itself, 0 if nowhere

    @property
    def progress(self) -> int:
        """Bytes that have left to it, of whatever."""

    def news(self, receiver: Receiver) -> None:
        """There is something to tell: fresh or granted blocks, or that it may ask for all."""

    def window(self, block_size: int) -> int:
        """How many blocks of this size go to it in about 200 ms."""


class Receiver:
    """See the module; `number` is its own in the whole service."""

    def __init__(self, number: int, session: Face, handle: ContentHandle, now: float) -> None:
        """`now` is monotonic seconds."""
        self.number = number
        self.session = session
        self.handle = handle
        self.found_at = now  # when the library gave this handle
        self.began_at = now
        self.joined = False
        # in the session's queue, and on their way
        self.queued = 0
        self.shipped = 0
        # what it was given
        self.blocks = 0
        self.bytes = 0
        self.failure = ""
        # what it has, as far as we know: told by itself, or given by us
        self.has = BlockSet(handle.manifest.block_count)
        # still to be told
        self.fresh: list[int] = []
        self.granted: list[int] = []
        self.opened = False
        # while it is steered: the blocks that were granted to it and have not left yet
        self.steered = False
        self.turn: dict[int, None] = {}
        self.moved_at = now  # when some of one left, or it was granted some after it had none
        self._progress = 0

    def now_has(self, pairs: Iterable[tuple[int, int]]) -> None:
        """It says that it has these runs of blocks; there are such."""
        bits = int.from_bytes(self.has.to_bytes(), "little")
        for first, count in pairs:
            bits |= ((1 << count) - 1) << first
        length = -(-self.has.total // 8)
        self.has = BlockSet.from_bytes(self.has.total, bits.to_bytes(length, "little"))

    def look(self, now: float) -> None:
        """See whether anything of what it has asked for leaves."""
        progress = self.session.progress
        if progress != self._progress and (self.queued or self.shipped):
            self.moved_at = now
        self._progress = progress

    def told(self) -> Iterator[Message]:
        """Its news, as messages; they are told once."""
        content = self.handle.id
        fresh, granted, opened = runs(self.fresh), runs(self.granted), self.opened
        self.forget_news()
        if opened:
            yield Open(content=content)
        for start in range(0, len(fresh), MAX_RUNS):
            yield Have(content=content, blocks=tuple(fresh[start : start + MAX_RUNS]))
        if granted:
            yield Grant(content=content, blocks=tuple(granted))

    def forget_news(self) -> None:
        """Whatever was to be told is of no interest any more."""
        self.fresh, self.granted, self.opened = [], [], False
