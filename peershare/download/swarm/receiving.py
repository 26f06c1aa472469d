"""Where the raw bytes behind an answer go while they come: those of a block, of a manifest.

Not for: whether they were asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from peershare.content.blocks import BlockSet, block_count
from peershare.content.manifest import ID_PREFIX, id_hasher
from peershare.download.swarm.buffers import BlockBuffer
from peershare.download.swarm.faces import BlockSink
from peershare.errors import PeerError, Reason, StorageError
from peershare.library.parts import PipedBytes
from peershare.wire.messages import Content

# What all manifests on their way may take in a node: three of the largest contents.
MANIFESTS_BYTES = 96 << 20


class Receiver(Protocol):
    """Takes the raw bytes behind one answer."""

    @property
    def piped(self) -> bool:
        """Whether it takes `PipedBytes`."""

    @property
    def buffer(self) -> BlockBuffer | None:
        """Where the bytes may be received into; None if they are to be given to `write`."""

    def write(self, data: memoryview | PipedBytes) -> bool:
        """Take some; False if it did not look at them.  Raises `PeerError`."""

    def finish(self) -> None:
        """They were the last ones.  Raises `PeerError`."""

    def close(self) -> None:
        """No more will come."""


class Room:
    """How much memory manifests may still take; shared by all sessions of a node."""

    def __init__(self, count: int = MANIFESTS_BYTES) -> None:
        self.left = count

    def take(self, count: int) -> None:
        """Raises `PeerError` if there is not so much."""
        if count > self.left:
            raise PeerError(Reason.BUSY, "sent a manifest while too many others were on their way")
        self.left -= count

    def give(self, count: int) -> None:
        """It is free again."""
        self.left += count


class BlockReceiver:
    """The bytes of one block, into its sink; see `Receiver`."""

    def __init__(
        self,
        sink: BlockSink,
        arrived: Callable[[], None],
        failed: Callable[[StorageError], None],
    ) -> None:
        """`arrived` or `failed` is called in the end."""
        self._sink: BlockSink | None = sink
        self._arrived = arrived
        self._failed = failed

    @property
    def piped(self) -> bool:
        """Whether it takes `PipedBytes`."""
        return self._sink is not None and self._sink.piped

    @property
    def buffer(self) -> BlockBuffer | None:
        """The sink, if it is one."""
        return self._sink if isinstance(self._sink, BlockBuffer) else None

    def write(self, data: memoryview | PipedBytes) -> bool:
        """Take some; what comes after the disk has failed is dropped."""
        if self._sink is None:
            return False
        try:
            self._sink.write(data)
        except StorageError as error:
            self._sink = None
            self._failed(error)
            return False
        return True

    def finish(self) -> None:
        """They were the last ones."""
        if self._sink is not None:
            self._arrived()

    def close(self) -> None:
        """No more will come."""


class ManifestReceiver:
    """Block digests, hashed while they come, then a bitmap of blocks; see `Receiver`."""

    piped = False
    buffer = None

    def __init__(
        self,
        told: Content,
        manifest: bool,
        room: Room,
        arrived: Callable[[bytes, BlockSet | None], None],
    ) -> None:
        """`manifest`: whether the digests were asked for."""
        self._told = told
        self._room = room
        self._arrived = arrived
        self._taken = bytearray()
        self._hasher = id_hasher(told.size) if manifest else None

    def write(self, data: memoryview | PipedBytes) -> bool:
        """Take some."""
        if isinstance(data, PipedBytes):
            return False
        self._room.take(len(data))
        if self._hasher is not None:
            self._hasher.update(data[: max(0, self._told.digests - len(self._taken))])
        self._taken += data
        return True

    def finish(self) -> None:
        """They were the last ones."""
        if self._hasher is not None and ID_PREFIX + self._hasher.hexdigest() != self._told.content:
            raise PeerError(Reason.WRONG_MANIFEST, "sent a manifest that is not of this content")
        digests = bytes(memoryview(self._taken)[: self._told.digests])
        have = None
        if self._told.bitmap:
            bits = bytes(memoryview(self._taken)[self._told.digests :])
            have = BlockSet.from_bytes(block_count(self._told.size), bits)
        self.close()
        self._arrived(digests, have)

    def close(self) -> None:
        """No more will come."""
        self._room.give(len(self._taken))
        self._taken = bytearray()
