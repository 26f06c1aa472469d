"""Native peers whose answers are not what they were asked for; and all kinds that misbehave.

Not for: right answers with wrong contents, or none (`hostile`).
"""

from __future__ import annotations

from collections.abc import Sequence

from peershare.content.blocks import BlockSet, runs
from peershare.wire.framing import MAX_MESSAGE_BYTES
from peershare.wire.messages import Block, GetBlocks, Hello
from tests.integration.giving import Shared
from tests.integration.hostile import (
    Changed,
    EndlessHaves,
    HasImpossibleBlocks,
    Hostile,
    HugeInCatalogue,
    HugeSize,
    Late,
    NeverGrants,
    OtherBlocks,
    RefusesAll,
    RefusesTheContent,
    SilentFromTheStart,
    SilentWhenAsked,
    SmallInCatalogue,
    Stalls,
    Trickles,
    WrongBytes,
    WrongManifest,
    WrongOnce,
    WrongSize,
)


class OutOfOrder(Hostile):
    """The last block that it is asked for comes first; that is allowed."""

    harmless = True

    def give_all(self, shared: Shared, blocks: Sequence[int]) -> None:
        super().give_all(shared, blocks[::-1])


class Unasked(Hostile):
    """Before each block it gives one that it was not asked for."""

    reasons = frozenset({"bad-message"})

    def give(self, shared: Shared, index: int) -> None:
        key, asked = shared.id, self.counts.asked
        others = [other for other in range(shared.count) if not asked[key, other]]
        for other in others[:1]:
            super().give(shared, other)
        super().give(shared, index)


class TooLong(Hostile):
    """Its blocks are longer than they can be."""

    reasons = frozenset({"bad-message"})

    def give(self, shared: Shared, index: int) -> None:
        self.give_bytes(shared, index, shared.block(index) + b"more")


class TooShort(Hostile):
    """Its blocks are shorter than they can be."""

    reasons = frozenset({"bad-message"})

    def give(self, shared: Shared, index: int) -> None:
        self.give_bytes(shared, index, shared.block(index)[:-1])


class NoSuchBlock(Hostile):
    """It gives a block behind the last one."""

    reasons = frozenset({"bad-message"})

    def give(self, shared: Shared, index: int) -> None:
        self.give_bytes(shared, shared.count + index, shared.block(index))


class Garbage(Hostile):
    """No messages at all, once it is asked for blocks."""

    reasons = frozenset({"bad-message"})

    def give_all(self, shared: Shared, blocks: Sequence[int]) -> None:
        self.send_raw(bytes(range(256)) * 64 + b"\n")


class EndlessLine(Hostile):
    """A message that does not end."""

    reasons = frozenset({"bad-message"})

    def give_all(self, shared: Shared, blocks: Sequence[int]) -> None:
        for _ in range(4):
            self.send_raw(b" {" * (MAX_MESSAGE_BYTES // 2))


class Closes(Hostile):
    """It ends the connection in the middle of a block."""

    reasons = frozenset({"short", "reset", "empty"})

    def give(self, shared: Shared, index: int) -> None:
        data = shared.block(index)
        told = Block(content=shared.id, index=index, length=len(data))
        self.send(told, data[: len(data) // 2])
        self.close()


class OldVersion(Late):
    """It speaks a version that was not offered."""

    reasons = frozenset({"version"})

    def late_hello(self) -> None:
        self.send(Hello(versions=(999,)))


class TwiceEach(Hostile):
    """It gives every block twice."""

    reasons = frozenset({"bad-message"})

    def get_blocks(self, message: GetBlocks) -> None:
        super().get_blocks(message)
        super().get_blocks(message)


class PermutedRuns(Hostile):
    """It tells everything it has block by block, in the worst order; that is allowed."""

    harmless = True

    def tell(self, shared: Shared, digests: bytes, bitmap: bytes) -> None:
        super().tell(shared, digests, BlockSet(shared.count).to_bytes())
        for first, count in runs(range(0, shared.count, 2)) + runs(range(1, shared.count, 2)):
            self.have(shared, first, count)


# One of each kind of lie or delay that every pair of is tried.
CHIEF: tuple[type[Hostile], ...] = (WrongBytes, Stalls, Trickles, RefusesAll, WrongSize, Changed)

KINDS: tuple[type[Hostile], ...] = (
    *(WrongBytes, WrongOnce, WrongManifest, OtherBlocks),
    *(WrongSize, HugeSize, SmallInCatalogue, HugeInCatalogue),
    *(Stalls, SilentFromTheStart, SilentWhenAsked, Trickles, NeverGrants),
    *(RefusesAll, RefusesTheContent, Changed, EndlessHaves, HasImpossibleBlocks),
    *(OutOfOrder, Unasked, TooLong, TooShort, NoSuchBlock, Garbage, EndlessLine, Closes),
    *(OldVersion, TwiceEach, PermutedRuns),
)
