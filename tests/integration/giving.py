"""How scripted native peers give: one connection from a downloader, served in order by a thread.

`Giving` is honest; whoever misbehaves overrides what is to go wrong.  It counts what it gave.
Not for: being found, `native` does that.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from peershare.content.blocks import BlockSet, block_count, block_range, unrolled
from peershare.content.manifest import Manifest, manifest_of
from peershare.wire.messages import (
    Block,
    Cancel,
    Catalogue,
    Content,
    GetBlocks,
    GetCatalogue,
    Have,
    Hello,
    Join,
    Leave,
    Message,
    Problem,
    decode_request,
    encode,
)

if TYPE_CHECKING:
    from tests.integration.native import NativePeer


class Shared:
    """A content that a scripted peer gives, or says that it does."""

    def __init__(self, name: str, data: bytes, manifest: Manifest | None = None) -> None:
        self.name = name
        self.data = data
        self.manifest = manifest_of(data) if manifest is None else manifest
        self.id = self.manifest.content_id
        self.held: BlockSet | None = None  # None: every block

    @property
    def size(self) -> int:
        """Its size, as the manifest says."""
        return self.manifest.size

    @property
    def count(self) -> int:
        """How many blocks it has."""
        return block_count(self.size)

    def block(self, index: int) -> bytes:
        """The bytes of one block."""
        where = block_range(index, self.size)
        return self.data[where.start : where.stop]


class Counts:
    """What the connections of one peer were asked for and gave, of (content, block)."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.joined: list[str] = []
        self.asked: Counter[tuple[str, int]] = Counter()
        self.given: Counter[tuple[str, int]] = Counter()
        self.cancelled: Counter[tuple[str, int]] = Counter()
        self.catalogues: Counter[str] = Counter()  # by the address that asked
        self.connections = 0
        self.given_bytes = 0
        self.misdeeds = 0

    def clear(self) -> None:
        """Count from nothing again."""
        with self.lock:
            self.joined.clear()
            for counter in (self.asked, self.given, self.cancelled, self.catalogues):
                counter.clear()
            self.connections = self.given_bytes = 0


class Giving:
    """One connection; every method may be overridden."""

    # bytes a second, of this connection; None: as fast as it goes
    rate: float | None = None
    # of everything, in the catalogue; None: as it is
    told_size: int | None = None

    def __init__(self, peer: NativePeer, connection: socket.socket) -> None:
        self.peer = peer
        self.counts = peer.counts
        self.source: str = connection.getpeername()[0]
        self.ended = False
        self._connection = connection
        self._file = connection.makefile("rb")

    def run(self) -> None:
        """Answer until the other side closes."""
        try:
            for line in self._file:
                message = decode_request(line)
                if isinstance(message, Hello):
                    self.hello(message)
                elif isinstance(message, GetCatalogue):
                    self.get_catalogue(message)
                elif isinstance(message, Join):
                    self.join(message)
                elif isinstance(message, GetBlocks):
                    self.get_blocks(message)
                elif isinstance(message, Cancel):
                    self.cancel(message)
                elif isinstance(message, Leave):
                    self.leave(message)
        except OSError:
            pass
        except ValueError:
            if not self.ended:  # the file was closed by another thread
                raise
        finally:
            self.close()

    def close(self) -> None:
        """End it."""
        self.ended = True
        for closing in (self._file.close, self._connection.close):
            with suppress(OSError):
                closing()

    def send(self, message: Message, raw: bytes = b"") -> None:
        """Send a message, and what it declares."""
        self.send_raw(encode(message) + raw)

    def send_raw(self, data: bytes) -> None:
        """Send any bytes."""
        self._connection.sendall(data)

    # -- what is asked

    def hello(self, message: Hello) -> None:
        """Answer with our own."""
        self.send(Hello(versions=(1,), agent="scripted", instance=self.peer.instance))

    def get_catalogue(self, message: GetCatalogue) -> None:
        """Answer with the whole of it."""
        with self.counts.lock:
            self.counts.catalogues[self.source] += 1
        lines = self.peer.lines()
        data = b"".join(lines)
        self.send(Catalogue(digest=self.peer.digest, count=len(lines), length=len(data)), data)

    def join(self, message: Join) -> None:
        """Answer with the manifest and what is held."""
        shared = self.peer.find(message.content)
        with self.counts.lock:
            self.counts.joined.append(message.content)
        if shared is None:
            self.refuse(message.content)
            return
        digests = shared.manifest.digests if message.manifest else b""
        bitmap = b"" if shared.held is None else shared.held.to_bytes()
        self.tell(shared, digests, bitmap)

    def tell(self, shared: Shared, digests: bytes, bitmap: bytes) -> None:
        """The answer to `join`."""
        told = Content(
            content=shared.id,
            size=shared.size,
            length=len(digests) + len(bitmap),
            digests=len(digests),
            bitmap=len(bitmap),
        )
        self.send(told, digests + bitmap)

    def get_blocks(self, message: GetBlocks) -> None:
        """Give them, in order."""
        shared = self.peer.find(message.content)
        blocks = list(unrolled(message.blocks))
        with self.counts.lock:
            self.counts.asked.update((message.content, index) for index in blocks)
        if shared is None:
            self.refuse(message.content, blocks)
            return
        self.give_all(shared, blocks)

    def give_all(self, shared: Shared, blocks: Sequence[int]) -> None:
        """Give these blocks."""
        for index in blocks:
            if shared.held is not None and index not in shared.held:
                self.refuse(shared.id, [index])
            else:
                self.give(shared, index)

    def give(self, shared: Shared, index: int) -> None:
        """Give one block."""
        self.give_bytes(shared, index, shared.block(index))

    def give_bytes(self, shared: Shared, index: int, data: bytes) -> None:
        """Give these bytes as this block."""
        begun = time.monotonic()
        self.send(Block(content=shared.id, index=index, length=len(data)), data)
        with self.counts.lock:
            self.counts.given[shared.id, index] += 1
            self.counts.given_bytes += len(data)
        if self.rate is not None:
            time.sleep(max(0.0, len(data) / self.rate - (time.monotonic() - begun)))

    def refuse(self, content: str, blocks: Sequence[int] = (), code: str = "not-here") -> None:
        """Say that these, or all of it, are not to be had."""
        told = tuple((index, 1) for index in blocks)
        self.send(Problem(code=code, message="scripted", content=content, blocks=told))

    def have(self, shared: Shared, first: int, count: int) -> None:
        """Tell of blocks that are here now."""
        self.send(Have(content=shared.id, blocks=((first, count),)))

    def cancel(self, message: Cancel) -> None:
        """Too late: whatever was asked for has been sent."""
        with self.counts.lock:
            gone = ((message.content, index) for index in unrolled(message.blocks))
            self.counts.cancelled.update(gone)

    def leave(self, message: Leave) -> None:
        """They want nothing more of it."""
