"""Native peers that misbehave: each kind is a way to give, with the reason that is due to it.

Not for: messages that are none, `misframing` has those, nor beacons that lie.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import ClassVar

from peershare.content.blocks import MAX_CONTENT_BYTES, BlockSet
from peershare.wire.messages import Block, Content, GetCatalogue, Hello, Join
from tests.integration.giving import Giving, Shared

# Longer than any test lasts.
_FOREVER_SECONDS = 3_600.0


def wrong(data: bytes) -> bytes:
    """The same bytes, but for the first one."""
    return bytes([data[0] ^ 1]) + data[1:]


class Hostile(Giving):
    """Base of them: what the download log must say of such a peer.

    `reasons` are those that may stand there, empty where nothing has to: then it counts its
    misdeeds.  `harmless`: it gives right bytes all the same.
    """

    reasons: ClassVar[frozenset[str]] = frozenset()
    harmless = False

    def send_json(self, kind: str, **fields: object) -> None:
        """Send a message that ours would refuse to make."""
        self.send_raw(json.dumps({"type": kind, **fields}).encode() + b"\n")

    def misbehaves(self) -> None:
        """Count that it does what it is here for."""
        with self.counts.lock:
            self.counts.misdeeds += 1

    def hang(self) -> None:
        """Say nothing more, and keep the connection open."""
        self.misbehaves()
        deadline = time.monotonic() + _FOREVER_SECONDS
        while time.monotonic() < deadline and not self.peer.closed:
            time.sleep(0.05)


class Late(Hostile):
    """Base of those who tell their catalogue first, and behave so from the second connection on."""

    def hello(self, message: Hello) -> None:
        if self.counts.catalogues[self.source]:
            self.late_hello()
        else:
            super().hello(message)

    def get_catalogue(self, message: GetCatalogue) -> None:
        super().get_catalogue(message)
        self.close()

    def late_hello(self) -> None:
        """What it does then."""


# -- wrong bytes


class WrongBytes(Hostile):
    """Every block is wrong by one bit."""

    reasons = frozenset({"wrong-bytes"})

    def give(self, shared: Shared, index: int) -> None:
        self.give_bytes(shared, index, wrong(shared.block(index)))


class WrongOnce(Hostile):
    """The first block that it ever gives is wrong, all others are right."""

    reasons = frozenset({"wrong-bytes"})

    def give(self, shared: Shared, index: int) -> None:
        with self.counts.lock:
            first = not self.counts.given
        data = shared.block(index)
        self.give_bytes(shared, index, wrong(data) if first else data)


class WrongManifest(Hostile):
    """Its digests are not those of the content."""

    reasons = frozenset({"wrong-manifest"})

    def tell(self, shared: Shared, digests: bytes, bitmap: bytes) -> None:
        super().tell(shared, wrong(digests) if digests else b"", bitmap)


class WrongSize(Hostile):
    """It says that the content has one byte more."""

    reasons = frozenset({"wrong-manifest"})

    def tell(self, shared: Shared, digests: bytes, bitmap: bytes) -> None:
        self.send(
            Content(
                content=shared.id,
                size=shared.size + 1,
                length=len(digests) + len(bitmap),
                digests=len(digests),
                bitmap=len(bitmap),
            ),
            digests + bitmap,
        )


class HugeSize(Hostile):
    """It says that the content has a petabyte."""

    reasons = frozenset({"bad-message"})

    def tell(self, shared: Shared, digests: bytes, bitmap: bytes) -> None:
        fields = {"content": shared.id, "size": 1 << 50, "length": len(digests)}
        self.send_json("content", **fields, digests=len(digests))
        self.send_raw(digests)


class SmallInCatalogue(Hostile):
    """Its catalogue says that the content is so small that no manifest is needed."""

    reasons = frozenset({"wrong-bytes"})
    told_size = 1_000

    def give(self, shared: Shared, index: int) -> None:
        self.give_bytes(shared, index, shared.block(index)[: self.told_size])


class HugeInCatalogue(Hostile):
    """Its catalogue says that the content is as large as one can be."""

    harmless = True
    told_size = MAX_CONTENT_BYTES


class OtherBlocks(Hostile):
    """It gives the bytes of the block after the one that was asked for."""

    reasons = frozenset({"wrong-bytes"})

    def give(self, shared: Shared, index: int) -> None:
        other = shared.block((index + 1) % (shared.count - 1))
        self.give_bytes(shared, index, other[: len(shared.block(index))])


# -- too slow


class Stalls(Hostile):
    """99 % of its third block, and then nothing."""

    def give(self, shared: Shared, index: int) -> None:
        data = shared.block(index)
        if self.counts.given_bytes < 2 * len(data):
            super().give(shared, index)
            return
        told = Block(content=shared.id, index=index, length=len(data))
        self.send(told, data[: len(data) * 99 // 100])
        self.hang()


class SilentFromTheStart(Late):
    """It takes connections and says nothing at all."""

    def late_hello(self) -> None:
        self.hang()


class SilentWhenAsked(Hostile):
    """It tells what it has, and gives nothing of it."""

    def give_all(self, shared: Shared, blocks: Sequence[int]) -> None:
        self.hang()


class Trickles(Hostile):
    """500 bytes a second."""

    def give(self, shared: Shared, index: int) -> None:
        data = shared.block(index)
        self.misbehaves()
        self.send(Block(content=shared.id, index=index, length=len(data)))
        for start in range(0, len(data), 50):
            self.send_raw(data[start : start + 50])
            time.sleep(0.1)


class NeverGrants(Hostile):
    """It wants to be asked only for what it grants, and grants nothing."""

    def tell(self, shared: Shared, digests: bytes, bitmap: bytes) -> None:
        self.misbehaves()
        told = Content(
            content=shared.id,
            size=shared.size,
            length=len(digests),
            digests=len(digests),
            steered=True,
        )
        self.send(told, digests)


# -- lies about what it has


class RefusesAll(Hostile):
    """It says that it has every block, and refuses each that is asked for."""

    def give_all(self, shared: Shared, blocks: Sequence[int]) -> None:
        self.misbehaves()
        for index in blocks:
            self.refuse(shared.id, [index])


class RefusesTheContent(Hostile):
    """Its catalogue lists what it knows nothing of."""

    reasons = frozenset({"not-here"})

    def join(self, message: Join) -> None:
        with self.counts.lock:
            self.counts.joined.append(message.content)
        self.refuse(message.content)


class Changed(Hostile):
    """After two blocks its file is not what it was."""

    reasons = frozenset({"changed"})

    def give(self, shared: Shared, index: int) -> None:
        if self.counts.given_bytes >= 2 * len(shared.block(index)):
            self.refuse(shared.id, [index], "changed")
            self.refuse(shared.id, (), "changed")
        else:
            super().give(shared, index)


class EndlessHaves(Hostile):
    """It has nothing, and says again and again that it has everything."""

    reasons = frozenset({"bad-message"})

    def tell(self, shared: Shared, digests: bytes, bitmap: bytes) -> None:
        super().tell(shared, digests, BlockSet(shared.count).to_bytes())
        while not self.peer.closed:
            self.have(shared, 0, shared.count)

    def give_all(self, shared: Shared, blocks: Sequence[int]) -> None:
        for index in blocks:
            self.refuse(shared.id, [index])


class HasImpossibleBlocks(Hostile):
    """It says that it has blocks which the content has not."""

    reasons = frozenset({"bad-message"})

    def tell(self, shared: Shared, digests: bytes, bitmap: bytes) -> None:
        super().tell(shared, digests, bitmap)
        self.send_json("have", content=shared.id, blocks=[[shared.count + 5, 1 << 40]])
