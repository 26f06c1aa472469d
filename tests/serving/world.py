"""A peer that serves native sessions, and others who ask it: real files, fake connections.

Not for: what is asserted of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import IPv4Network
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from twisted.internet import error
from twisted.internet.address import IPv4Address as TcpAddress
from twisted.trial.unittest import SynchronousTestCase

from peershare.admission import Admission
from peershare.content.blocks import BlockSet
from peershare.content.manifest import manifest_of
from peershare.ledger import Ledger
from peershare.library.entries import ContentHandle
from peershare.library.files import identity_of
from peershare.serving.swarms import Serving
from peershare.throttle import TokenBucket
from peershare.uploader import UploaderFactory, UploaderProtocol
from peershare.wire.catalogue import CatalogueAnswer
from peershare.wire.framing import FrameDecoder
from peershare.wire.messages import (
    GetBlocks,
    Hello,
    Join,
    Message,
    decode_answer,
    encode,
)
from tests.fakes import FakeReactor, FakeTransport, SocketTransport, run_now

NETWORK = IPv4Network("198.18.0.0/16")
A, B, C = "198.18.0.2", "198.18.0.3", "198.18.0.4"
WALL = 1_790_000_000.0
OURS = Hello(versions=(1,), agent="peershare test", peer="ab", instance="cd", port=5_000)
BLOCK = 65_536


class FakeLibrary:
    """Contents as a test puts them there; `rescans` counts."""

    def __init__(self) -> None:
        self.contents: dict[str, ContentHandle] = {}
        self.rescans = 0
        self._on_blocks: list[Callable[[str, Sequence[int]], None]] = []

    def find_content(self, content_id: str) -> ContentHandle | None:
        return self.contents.get(content_id)

    def on_blocks(self, callback: Callable[[str, Sequence[int]], None]) -> None:
        self._on_blocks.append(callback)

    def withdraw(self, content_id: str, path: Path) -> None:
        assert self.contents.pop(content_id).path == path

    def rescan(self) -> None:
        self.rescans += 1

    def add_blocks(self, handle: ContentHandle, *blocks: int) -> None:
        """A part has got these blocks."""
        assert handle.held is not None
        for block in blocks:
            handle.held.add(block)
        for callback in self._on_blocks:
            callback(handle.id, blocks)


class FakeCatalogue:
    """Our catalogue; a difference is known only from the digest `aa…`."""

    lines = b'{"id":"b3:..."}\n' * 3

    def since(self, known: str) -> CatalogueAnswer:
        if known == "aa" * 32:
            return CatalogueAnswer("cc" * 32, known, 1, b"+" + self.lines[:16])
        return CatalogueAnswer("cc" * 32, "", 3, self.lines)


class Client:
    """The other side of one session: what it sends, and all that came, message by message."""

    def __init__(self, transport: Any, protocol: UploaderProtocol) -> None:
        self.transport = transport
        self.protocol = protocol
        self.messages: list[Any] = []
        self.raw: list[bytes] = []  # of each message, what came behind it
        self._decoder = FrameDecoder(self._on_line, self._on_raw)

    def _on_line(self, line: bytes) -> None:
        message = decode_answer(line)
        self.messages.append(message)
        self.raw.append(b"")
        self._decoder.expect_raw(getattr(message, "length", 0))

    def _on_raw(self, view: memoryview) -> None:
        self.raw[-1] += bytes(view)

    def send(self, *messages: Message | bytes) -> Client:
        """Send these in one piece, then take everything that comes."""
        self.give(*messages)
        return self.take()

    def give(self, *messages: Message | bytes) -> None:
        """Send these in one piece."""
        data = b"".join(m if isinstance(m, bytes) else encode(m) for m in messages)
        self.protocol.dataReceived(data)

    def take(self, turns: int = 100_000) -> Client:
        """Read until nothing more comes."""
        silent = 0
        while silent < 2 and turns:
            turns -= 1
            arrived = self.once()
            silent = 0 if arrived else silent + 1
        return self

    def once(self) -> int:
        """Let the transport ask for more once, and read; how many bytes came."""
        transport = self.transport
        if isinstance(transport, SocketTransport):
            transport.turn()
            arrived = transport.read()
        else:
            arrived = transport.written
            transport.writes.clear()
            if transport.producer is not None:
                transport.producer.resumeProducing()
        self._decoder.feed(arrived)
        return len(arrived)

    def of(self, kind: type) -> list[Any]:
        """The messages of one kind."""
        return [message for message in self.messages if isinstance(message, kind)]

    def clear(self) -> None:
        """Forget what came."""
        self.messages.clear()
        self.raw.clear()

    def blocks(self) -> list[tuple[int, bytes]]:
        """The blocks that came, with their bytes."""
        pairs = zip(self.messages, self.raw, strict=True)
        return [(m.index, raw) for m, raw in pairs if type(m).__name__ == "Block"]


class ServingTestCase(SynchronousTestCase):
    """`self.alone` is what `is_alone` says."""

    rate: float | None = None
    workers: Any = staticmethod(run_now)

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir(parents=True)
        self.reactor = FakeReactor()
        self.library: Any = FakeLibrary()
        self.ledger = Ledger(self.folder, lambda: WALL)
        self.bucket = TokenBucket(self.rate, self.reactor.seconds)
        self.alone = False
        self.met: list[tuple[str, str]] = []
        self.spent = self.cost = 0.0  # seconds of the processor; of each look at its clock
        self.serving = Serving(
            self.reactor,
            self.library,
            self.ledger,
            self.bucket,
            self.workers,
            Random(1),
            lambda address: OURS,
            FakeCatalogue(),
            lambda content: self.alone,
            lambda content, address, port: self.met.append((content, address)),
            cpu=self.cpu,
        )
        self.known: set[str] = set()
        self.factory = UploaderFactory(
            self.reactor,
            self.library,
            self.ledger,
            self.bucket,
            self.workers,
            Admission(lambda address: address in NETWORK, self.known.__contains__),
            self.serving,
        )
        self.clients: list[Client] = []

    def tearDown(self) -> None:
        for client in self.clients:
            client.transport.lose(error.ConnectionLost())
        self.reactor.advance(0)
        self.assertEqual(self.open_files(), [])
        self.assertEqual([str(call.func) for call in self.reactor.getDelayedCalls()], [])

    def cpu(self) -> float:
        """The processor's clock, as slow as a test makes it."""
        self.spent += self.cost
        return self.spent

    def open_files(self) -> list[Path]:
        """The files of this test that are open."""
        opened = [path.resolve() for path in Path("/proc/self/fd").iterdir()]
        return [path for path in opened if path.is_relative_to(self.folder.resolve())]

    # -- contents

    def content(self, name: str, data: bytes, *held: int, part: bool = False) -> ContentHandle:
        """A content that we have, whole or these blocks of it."""
        path = self.folder / name
        path.write_bytes(data)
        manifest = manifest_of(data)
        handle = ContentHandle(
            manifest.content_id,
            name,
            path,
            None if part or held else identity_of(path),
            manifest,
            BlockSet(manifest.block_count, held) if part or held else None,
        )
        self.library.contents[handle.id] = handle
        return handle

    def large(self, blocks: int, name: str = "large", *held: int) -> tuple[ContentHandle, bytes]:
        """A content of so many blocks, the last of which is short, and its bytes."""
        data = Random(blocks).randbytes(blocks * BLOCK - 1_000)
        return self.content(name, data, *held), data

    # -- others

    def open(self, host: str = A, *, pieces: bool = False, buffer: int = 1 << 20) -> Client:
        """A connection; `pieces`: one that the kernel knows nothing of."""
        protocol = self.factory.buildProtocol(TcpAddress("TCP", host, 40_000))
        assert isinstance(protocol, UploaderProtocol)
        if pieces:
            transport: Any = FakeTransport(self.reactor, protocol)
        else:
            transport = SocketTransport(self.reactor, protocol, buffer)
            self.addCleanup(transport.close)
        protocol.makeConnection(transport)
        client = Client(transport, protocol)
        self.clients.append(client)
        return client

    def greeted(self, host: str = A, *, port: int = 0, **more: Any) -> Client:
        """A session that has begun."""
        client = self.open(host, **more).send(Hello(versions=(1,), port=port))
        self.assertEqual([type(message) for message in client.messages], [Hello])
        client.clear()
        return client

    def joined(self, handle: ContentHandle, host: str = A, **more: Any) -> Client:
        """A session that has joined a content; the answer is still there to be looked at."""
        return self.greeted(host, **more).send(Join(content=handle.id))

    def asks(self, handle: ContentHandle, *blocks: int) -> GetBlocks:
        """A request for these blocks, in this order."""
        return GetBlocks(content=handle.id, blocks=tuple((block, 1) for block in blocks))

    def uploads(self) -> list[tuple[str, str, int, str]]:
        """Address, name, bytes and result of each line of the upload log, oldest first."""
        entries = reversed([e for e in self.ledger.history(1_000) if e.direction == "upload"])
        return [(e.address, e.chunk, e.bytes, e.result) for e in entries]


def line(**keys: Any) -> bytes:
    """Any JSON object as a message."""
    return msgspec.json.encode(keys) + b"\n"
