"""A session with a peer that is the test: it sees what is asked, and answers what it likes.

Not for: whole downloads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet import error
from twisted.trial.unittest import SynchronousTestCase

from peershare.content.blocks import BlockSet, block_range
from peershare.content.manifest import Manifest, manifest_of
from peershare.download.swarm.receiving import Room
from peershare.download.swarm.session import Household, PeerSession
from peershare.errors import PeerError, StorageError
from peershare.library.parts import PipedBytes
from peershare.throttle import TokenBucket
from peershare.wire.beacon import Endpoint
from peershare.wire.messages import (
    Block,
    Catalogue,
    Content,
    Hello,
    Message,
    Request,
    Unknown,
    decode_request,
    encode,
)
from tests.fakes import FakeReactor, FakeTransport

PEER, PORT = "198.18.0.2", 5000
HELLO = Hello(versions=(1,), agent="test")
DATA = bytes(range(251)) * 800  # 3 whole blocks and a bit
MANIFEST: Manifest = manifest_of(DATA)
ID = MANIFEST.content_id
OTHER = "b3:" + "0" * 64


def block(index: int, data: bytes = DATA) -> bytes:
    """The bytes of one block."""
    where = block_range(index, len(data))
    return data[where.start : where.stop]


class ListSink:
    """Keeps what it is given; `failing` is raised instead."""

    piped = False

    def __init__(self) -> None:
        self.data = b""
        self.failing: StorageError | None = None

    def write(self, data: memoryview | PipedBytes) -> None:
        if self.failing is not None:
            raise self.failing
        assert isinstance(data, memoryview)
        self.data += bytes(data)


class ListCatalogueSink:
    """Keeps what it is given; `failing` is raised instead."""

    def __init__(self) -> None:
        self.told: Catalogue | None = None
        self.data = b""
        self.failing: PeerError | None = None

    def begins(self, told: Catalogue) -> None:
        self.told = told
        self._check()

    def write(self, data: memoryview) -> None:
        self._check()
        self.data += bytes(data)

    def _check(self) -> None:
        if self.failing is not None:
            raise self.failing


class Listening:
    """A listener that keeps what it was told, as tuples that begin with the name of the call."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.sinks: dict[int, Any] = {}
        self.make_sink: Any = ListSink
        self.failing: Exception | None = None
        self.objection: PeerError | None = None
        self.reaction: Any = lambda name: None

    @property
    def names(self) -> list[str]:
        return [call[0] for call in self.calls]

    @property
    def error(self) -> PeerError:
        """Why the session was lost."""
        (found,) = (call[1] for call in self.calls if call[0] == "session_lost")
        assert isinstance(found, PeerError)
        return found

    def _note(self, name: str, *details: Any) -> None:
        self.calls.append((name, *details))
        self.reaction(name)
        if self.failing is not None:
            raise self.failing

    def content_told(
        self, session: PeerSession, told: Content, digests: bytes, have: BlockSet | None
    ) -> None:
        self._note("content_told", told, digests, have)
        if self.objection is not None:
            raise self.objection

    def blocks_had(self, session: PeerSession, blocks: Sequence[int]) -> None:
        self._note("blocks_had", list(blocks))

    def blocks_granted(self, session: PeerSession, blocks: Sequence[int]) -> None:
        self._note("blocks_granted", list(blocks))

    def opened(self, session: PeerSession) -> None:
        self._note("opened")

    def block_begins(self, session: PeerSession, index: int, length: int) -> Any:
        self._note("block_begins", index, length)
        self.sinks[index] = self.make_sink() if self.make_sink is not None else None
        return self.sinks[index]

    def block_arrived(self, session: PeerSession, index: int) -> None:
        self._note("block_arrived", index)

    def storage_failed(self, session: PeerSession, index: int, failed: StorageError) -> None:
        self.calls.append(("storage_failed", index, failed))

    def refused(self, session: PeerSession, problem: Any) -> None:
        self._note("refused", problem)

    def session_lost(self, session: PeerSession, lost: PeerError) -> None:
        self._note("session_lost", lost)


class TalkTestCase(SynchronousTestCase):
    """One session over a fake transport, greeted already unless `greet` is False."""

    greet = True
    rate: float | None = None

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.over: list[PeerSession] = []
        self.received: list[tuple[str, int]] = []
        self.room = Room()
        self.household = Household(
            self.reactor,
            TokenBucket(self.rate, self.reactor.seconds),
            self.room,
            lambda peer, count: self.received.append((peer.address, count)),
            self.over.append,
        )
        self.session = PeerSession(self.household, Endpoint(PEER, PORT, "ab"), HELLO)
        self.transport = FakeTransport(self.reactor, self.session)
        self.session.makeConnection(self.transport)
        self.listener = Listening()
        if self.greet:
            self.give(Hello(versions=(1,), peer="ab"))
            self.asked()

    def tearDown(self) -> None:
        """Nothing may go on by itself once the connection is closed."""
        self.transport.lose(error.ConnectionDone())
        self.reactor.advance(0)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    # -- what we do

    def join(self, *, manifest: bool = True, content: str = ID) -> Listening:
        """Join, and be told of all blocks."""
        listener = Listening()
        self.session.join(content, listener, manifest=manifest)
        return listener

    def joined(self) -> Listening:
        """Joined and answered; nothing is noted of that."""
        listener = self.join(manifest=False)
        self.give(Content(content=ID, size=len(DATA), length=0))
        listener.calls.clear()
        self.asked()
        return listener

    def asked(self) -> list[Request | Unknown]:
        """What was asked since this was looked at last."""
        lines = self.transport.written.splitlines()
        self.transport.writes.clear()
        return [decode_request(line) for line in lines]

    # -- what the peer does

    def give(self, message: Message | bytes, raw: bytes = b"") -> None:
        """A message, or bytes that are none."""
        line = message if isinstance(message, bytes) else encode(message)
        self.session.dataReceived(line + raw)

    def give_block(self, index: int, data: bytes | None = None, content: str = ID) -> None:
        data = block(index) if data is None else data
        self.give(Block(content=content, index=index, length=len(data)), data)

    def assert_over(self, reason: str, text: str = "") -> PeerError:
        """The session has ended and is being cut, for this reason."""
        failed = self.session.over
        assert failed is not None, "the session goes on"
        self.assertEqual(failed.reason, reason)
        self.assertIn(text, str(failed))
        self.assertIn("reset", self.transport.events)
        self.assertEqual(self.over, [self.session])
        return failed
