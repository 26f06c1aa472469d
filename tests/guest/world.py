"""A guest page over real files, and guests on fake connections with real sockets below.

Not for: what is asserted of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet import error
from twisted.internet.address import IPv4Address as TcpAddress
from twisted.trial.unittest import SynchronousTestCase

from peershare.admission import Admission
from peershare.content.blocks import BlockSet
from peershare.content.manifest import manifest_of
from peershare.guest.answering import Means
from peershare.guest.connection import GuestConnection
from peershare.guest.giving import Sources
from peershare.guest.inbox import Inbox
from peershare.guest.offers import Offers
from peershare.guest.server import GuestFactory
from peershare.guest.site import GuestSite
from peershare.guest.status import GuestUpload
from peershare.ledger import Ledger
from peershare.library.entries import ContentHandle, SharedFile
from peershare.library.files import identity_of
from peershare.library.opened import OpenContents
from peershare.serving.warming import Warmer
from peershare.throttle import TokenBucket
from peershare.wire.catalogue import CatalogueEntry
from tests.fakes import FakeReactor, FakeTransport, SocketTransport, run_now

NETWORK = IPv4Network("198.18.0.0/16")
GUEST, OTHER = "198.18.0.2", "198.18.0.3"
WALL = 1_790_000_000.0
TOKEN = "a-token_that-nobody-guesses"
BLOCK = 65_536
LIMIT = 1_000_000


class FakeLibrary:
    """Contents and files without an id, as a test puts them there."""

    def __init__(self) -> None:
        self.contents: dict[str, ContentHandle] = {}
        self.plain: dict[str, SharedFile] = {}
        self.rescans = 0
        self._on_change: list[Callable[[], None]] = []
        self._on_blocks: list[Callable[[str, Sequence[int]], None]] = []

    def on_change(self, callback: Callable[[], None]) -> None:
        self._on_change.append(callback)

    def on_blocks(self, callback: Callable[[str, Sequence[int]], None]) -> None:
        self._on_blocks.append(callback)

    def catalogue(self) -> tuple[CatalogueEntry, ...]:
        return tuple(
            CatalogueEntry(handle.name, handle.manifest.size, handle.id, handle.held is None)
            for handle in self.contents.values()
        )

    def files(self) -> tuple[SharedFile, ...]:
        return tuple(self.plain.values())

    def content_id(self, file: SharedFile) -> str:
        return ""

    def find_content(self, content: str) -> ContentHandle | None:
        return self.contents.get(content)

    def rescan(self) -> None:
        self.rescans += 1

    def changed(self) -> None:
        """It has other things than it had."""
        for callback in self._on_change:
            callback()

    def add_blocks(self, handle: ContentHandle, *blocks: int) -> None:
        """A part has got these blocks."""
        assert handle.held is not None
        for block in blocks:
            handle.held.add(block)
        for callback in self._on_blocks:
            callback(handle.id, blocks)


@dataclass(frozen=True)
class Answer:
    """What came back: header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def parse(data: bytes) -> Answer:
    """A whole answer."""
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("ascii").split("\r\n")
    pairs = [line.partition(": ") for line in lines]
    return Answer(int(first.split()[1]), {name.lower(): value for name, _, value in pairs}, body)


class Guest:
    """One connection: what is sent, and all that came."""

    def __init__(self, transport: Any, connection: GuestConnection) -> None:
        self.transport = transport
        self.connection = connection
        self.received = b""

    def send(self, data: bytes) -> Guest:
        """Send this, then take everything that comes."""
        self.connection.dataReceived(data)
        return self.take()

    def take(self, turns: int = 10_000) -> Guest:
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
            arrived = transport.read() + transport.written
            transport.writes.clear()
        else:
            arrived = transport.written
            transport.writes.clear()
            if transport.producer is not None:
                transport.producer.resumeProducing()
        self.received += arrived
        return len(arrived)

    def get(self, path: str, method: str = "GET", **headers: str) -> Guest:
        """Ask for a path; `_` in a header's name stands for a dash."""
        lines = [f"{method} {path} HTTP/1.1", "host: 198.18.0.1:5080"]
        lines += (f"{name.replace('_', '-')}: {value}" for name, value in headers.items())
        return self.send("\r\n".join([*lines, "", ""]).encode())

    @property
    def answer(self) -> Answer:
        """What has come so far."""
        return parse(self.received)

    @property
    def ended(self) -> bool:
        """Whether the stream was ended in order."""
        return "end of stream" in self.transport.events

    @property
    def reset(self) -> bool:
        """Whether the connection was cut."""
        return "reset" in self.transport.events


class GuestTestCase(SynchronousTestCase):
    """A guest page; afterwards no file is open and no call is to come."""

    rate: float | None = None
    uploads = True
    workers: Any = staticmethod(run_now)

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        (self.folder / "share").mkdir(parents=True)
        self.reactor = FakeReactor()
        self.library: Any = FakeLibrary()
        self.ledger = Ledger(self.folder, lambda: WALL)
        self.offers = Offers(self.library, self.reactor.seconds)
        self.waiting: list[GuestUpload] = []
        self.inbox = Inbox(
            self.folder / "Inbox",
            self.folder,
            LIMIT,
            self.workers,
            Random(1),
            lambda: WALL,
            self.waiting.append,
        )
        self.in_order: list[str] = []
        self.uploaded: list[tuple[str, int]] = []
        self.factory = GuestFactory(
            self.reactor, Admission(lambda address: address in NETWORK, lambda _: False)
        )
        inbox = self.inbox if self.uploads else None
        self.factory.means = Means(
            reactor=self.reactor,
            site=GuestSite(TOKEN, self.offers, inbox, LIMIT, lambda: WALL),
            sources=Sources(self.reactor, self.offers, OpenContents(), self.in_order.append),
            inbox=inbox,
            bucket=TokenBucket(self.rate, self.reactor.seconds),
            warm=Warmer(self.workers).warm,
            ledger=self.ledger,
            uploaded=lambda address, count: self.uploaded.append((address, count)),
            note=self.factory.refusals.note,
            rescan=self.library.rescan,
        )
        self.library.on_blocks(lambda content, _: self.factory.wake(content))
        self.library.on_change(lambda: self.factory.wake(""))
        self.guests: list[Guest] = []

    def tearDown(self) -> None:
        for guest in self.guests:
            guest.transport.lose(error.ConnectionLost())
        self.reactor.advance(0)
        opened = [path.resolve() for path in Path("/proc/self/fd").iterdir()]
        ours = [path for path in opened if path.is_relative_to(self.folder.resolve())]
        self.assertEqual(ours, [])
        self.assertEqual([str(call.func) for call in self.reactor.getDelayedCalls()], [])

    # -- what there is

    def content(self, name: str, data: bytes, held: Sequence[int] | None = None) -> ContentHandle:
        """A content that is here, whole or these blocks of it."""
        path = self.folder / "share" / name
        path.write_bytes(data)
        manifest = manifest_of(data)
        handle = ContentHandle(
            manifest.content_id,
            name,
            path,
            identity_of(path) if held is None else None,
            manifest,
            None if held is None else BlockSet(manifest.block_count, held),
        )
        self.library.contents[handle.id] = handle
        self.library.changed()
        self.reactor.advance(1)
        return handle

    def plain(self, name: str, data: bytes) -> SharedFile:
        """A file without an id."""
        path = self.folder / "share" / name
        path.write_bytes(data)
        identity = identity_of(path)
        assert identity is not None
        file = self.library.plain[name] = SharedFile(name, path.parent, name, identity)
        self.library.changed()
        self.reactor.advance(1)
        return file

    def link(self, name: str) -> str:
        """The path of a file, as the page has it."""
        page = self.open().get(f"/{TOKEN}/").answer.body.decode()
        links = [part.split('"')[0] for part in page.split('href="')[1:]]
        (found,) = [link for link in links if link.endswith(f"/{name}")]
        return f"/{TOKEN}/{found}"

    # -- guests

    def open(self, host: str = GUEST, *, pieces: bool = False, buffer: int = 1 << 20) -> Guest:
        """A connection; `pieces`: one that the kernel knows nothing of."""
        connection = self.factory.buildProtocol(TcpAddress("TCP", host, 40_000))
        assert isinstance(connection, GuestConnection)
        if pieces:
            transport: Any = FakeTransport(self.reactor, connection)
        else:
            transport = SocketTransport(self.reactor, connection, buffer)
            self.addCleanup(transport.close)
        connection.makeConnection(transport)
        guest = Guest(transport, connection)
        self.guests.append(guest)
        return guest

    def get(self, path: str, method: str = "GET", **headers: str) -> Answer:
        """One request on a connection of its own, to its end."""
        guest = self.open().get(path, method, **headers)
        self.assertTrue(guest.ended)
        guest.transport.lose(error.ConnectionDone())
        return guest.answer

    def log(self) -> list[tuple[str, str, int, str]]:
        """Address, name, bytes and result of each line of the upload log, oldest first."""
        entries = reversed([e for e in self.ledger.history(1_000) if e.direction == "upload"])
        return [(e.address, e.chunk, e.bytes, e.result) for e in entries]


def form(*files: tuple[str, bytes], boundary: str = "XyZ") -> bytes:
    """A form with these files, as browsers write it."""
    parts = []
    for name, data in files:
        quoted = name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{quoted}"'
        parts.append(f"{head}\r\nContent-Type: image/png\r\n\r\n".encode() + data + b"\r\n")
    return b"".join(parts) + f"--{boundary}--\r\n".encode()


def post(body: bytes, length: int | None = None, *more: str, boundary: str = "XyZ") -> bytes:
    """The request that sends it; `length` is the one that is declared."""
    lines = [
        f"POST /{TOKEN}/upload HTTP/1.1",
        "Host: 198.18.0.1:5080",
        f"Content-Type: multipart/form-data; boundary={boundary}",
        f"Content-Length: {len(body) if length is None else length}",
        *more,
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body
