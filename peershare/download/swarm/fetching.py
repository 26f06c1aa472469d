"""Fetching: the blocks of one content whose manifest is known, from every session at once.

The scheduler says which block from whom; here the requests go out, the bytes find their place,
and every block is checked before it counts: in memory, before it is written, or in its place on the
disk if there is no memory for it.  One session owns a block's range on the disk at a time; a second
copy takes it over if it was first, or if there is no memory for two.
Not for: with whom sessions are held (`sources`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random
from typing import Any, Protocol, TypeAlias, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from peershare.content.blocks import BlockSet, block_range
from peershare.content.chunks import ByteRange
from peershare.download.context import Progress
from peershare.download.swarm.buffers import BlockBuffer, Buffers, Memory
from peershare.download.swarm.order import Order
from peershare.download.swarm.part import VerifiedPart
from peershare.download.swarm.scheduler import Scheduler
from peershare.download.swarm.session import PeerSession
from peershare.download.swarm.sinks import BlockSink
from peershare.errors import LocalError
from peershare.timers import Periodic
from peershare.wire.beacon import Endpoint

TICK_SECONDS = 0.25

T = TypeVar("T")
Sink: TypeAlias = BlockSink | BlockBuffer


class Reports(Protocol):
    """Whom a fetch tells what happens."""

    def block_verified(self, peer: Endpoint, length: int) -> None:
        """A block is here; it came from this peer."""

    def block_wrong(self, peer: Endpoint, index: int) -> None:
        """What came from this peer is not what it should be."""

    def bytes_came(self, peer: Endpoint, count: int) -> None:
        """Bytes came, whatever they are worth."""

    def all_here(self) -> None:
        """Nothing is missing any more."""

    def disk_failed(self, failure: Failure) -> None:
        """Our own disk is in the way, or something unexpected is."""


class Fetching:
    """From `begin` to `end`; sessions are known by their peers."""

    def __init__(
        self,
        reactor: Any,
        part: VerifiedPart,
        random: Random,
        memory: Memory,
        reports: Reports,
        *,
        order: Order | None = None,
    ) -> None:
        """`memory` is what blocks on their way may take; `order` may change at any time."""
        manifest = part.manifest
        self._reactor = reactor
        self._content = manifest.content_id
        self._part = part
        self._scheduler = Scheduler(
            manifest.block_count, manifest.block_size, part.held, random, order=order
        )
        self._reports = reports
        self._buffers = Buffers(memory, manifest.block_size)
        self._sessions: dict[Endpoint, PeerSession] = {}
        self._owners: dict[int, Sink] = {}  # whose bytes may be written where the block belongs
        self._arriving: dict[tuple[Endpoint, int], Sink] = {}
        self._tick = Periodic(reactor, TICK_SECONDS, self._look)
        self._running = False

    def begin(self) -> None:
        """Start; sessions may join from now on."""
        self._running = True
        self._tick.start()

    def end(self) -> None:
        """Take nothing more."""
        self._running = False
        self._tick.stop()
        for key in tuple(self._arriving):
            self._drop(key)
        self._sessions.clear()
        self._buffers.end()

    @property
    def givers(self) -> tuple[str, ...]:
        """The addresses that give right now."""
        return tuple(dict.fromkeys(peer.address for peer, _ in self._arriving))

    def progress(self) -> Progress:
        """How far it is."""
        size, came = self._part.manifest.size, {}
        for (_, index), arriving in self._arriving.items():
            start = block_range(index, size).start
            came[index] = ByteRange(start, start + arriving.received)
        return self._part.progress(came.values(), self.givers)

    def asked_for(self) -> Iterator[int]:
        """The blocks that somebody was asked for, or that are being checked."""
        return self._scheduler.under_way()

    # -- what sessions tell

    def joined(self, session: PeerSession, have: BlockSet | None, *, steered: bool) -> None:
        """A session can give; `have` None is every block."""
        self._sessions[session.endpoint] = session
        self._scheduler.joined(session.endpoint, have, steered, self._reactor.seconds())
        self._ask(session.endpoint)

    def left(self, peer: Endpoint) -> None:
        """A session gives nothing any more."""
        if self._sessions.pop(peer, None) is None:
            return
        for key in [key for key in self._arriving if key[0] == peer]:
            self._drop(key)
        self._scheduler.left(peer, self._reactor.seconds())
        self._ask_all()

    def had(self, peer: Endpoint, blocks: Sequence[int]) -> None:
        """A session has more."""
        self._scheduler.had(peer, blocks)
        self._ask(peer)

    def granted(self, peer: Endpoint, blocks: Sequence[int]) -> None:
        """A session may be asked for these."""
        needless = self._scheduler.granted(peer, blocks)
        if needless and peer in self._sessions:
            self._sessions[peer].decline(self._content, needless)
        self._ask(peer)

    def opened(self, peer: Endpoint) -> None:
        """A session may be asked for anything."""
        self._scheduler.opened(peer)
        self._ask(peer)

    def refused(self, peer: Endpoint, blocks: Iterable[int]) -> None:
        """A session will not give these."""
        self._scheduler.refused(peer, tuple(blocks))
        self._ask_all()

    def filled(self, peer: Endpoint, index: int, length: int) -> None:
        """A block came another way; it is written, and right."""
        self._accept(peer, index, length)

    def interested(self, peer: Endpoint) -> bool:
        """Whether this session has something that we lack."""
        return self._scheduler.interested(peer)

    def begins(self, peer: Endpoint, index: int, length: int) -> Sink | None:
        """A block is coming; None if nobody needs it any more.  Raises `StorageError`."""
        if index in self._part.held:
            return None
        count = self._counter(peer)
        buffer = self._buffers.take(length, count)
        if buffer is None and index in self._owners:
            if not self._make_way(index):
                self._scheduler.forgo(peer, index)
                return None
            buffer = self._buffers.take(length, count)  # perhaps what the other one had
        sink: Sink = buffer or self._part.sink(index, count)
        self._owners.setdefault(index, sink)
        self._arriving[peer, index] = sink
        return sink

    def _make_way(self, index: int) -> bool:
        """No memory for a second copy: drop the first, which is late or slower.

        False if that is being checked already.
        """
        owner = self._owners[index]
        for key in [key for key, sink in self._arriving.items() if sink is owner]:
            self._drop(key)
            self._scheduler.forgo(*key)
            self._sessions[key[0]].cancel(self._content, [index])
            return True
        return False

    def arrived(self, peer: Endpoint, index: int) -> None:
        """All bytes of a block came: check it."""
        self._scheduler.arrived(peer, index, self._reactor.seconds())
        sink = self._arriving.pop((peer, index), None)
        if sink is None or index in self._part.held:
            self._let_go(sink)
            self._ask(peer)
            return
        checked = self._check(index, sink)
        checked.addBoth(self._done_with, sink)
        checked.addCallback(self._checked, peer, index, sink)
        checked.addErrback(self._failed)
        self._ask(peer)

    # -- checking

    def _check(self, index: int, sink: Sink) -> Deferred[bool]:
        """Check a block, and have it on the disk if it is right."""
        if isinstance(sink, BlockSink):
            return self._part.verify(index)
        if self._owners.get(index) is sink:
            return self._part.keep(index, sink.data)
        return self._part.store(index, sink.data)

    def _done_with(self, result: T, sink: Sink) -> T:
        self._let_go(sink)
        return result

    def _checked(self, right: bool, peer: Endpoint, index: int, sink: Sink) -> None:
        self._disown(index, sink)
        if right:
            self._accept(peer, index, sink.received)
        elif index not in self._part.held:
            self._scheduler.wrong(peer, index, self._reactor.seconds())
            self._reports.block_wrong(peer, index)
        self._ask(peer)

    def _accept(self, peer: Endpoint, index: int, length: int) -> None:
        if index in self._part.held:
            return
        self._owners.pop(index, None)
        for key in [key for key in self._arriving if key[1] == index]:
            self._drop(key)  # a verified range is never written again
        self._part.accept(index, peer.address)
        self._reports.block_verified(peer, length)
        if not self._running:
            return
        needless: dict[Endpoint, list[int]] = {}
        for peer, block in self._scheduler.verified(index, self._reactor.seconds()):
            needless.setdefault(peer, []).append(block)
        for peer, blocks in needless.items():
            if peer in self._sessions:
                self._sessions[peer].cancel(self._content, blocks)
                self._ask(peer)
        for peer in tuple(self._scheduler.hungry):
            self._ask(peer)
        if self._part.held.complete:
            self._reports.all_here()

    def _failed(self, failure: Failure) -> None:
        if self._running or not failure.check(LocalError):
            self._reports.disk_failed(failure)

    def _drop(self, key: tuple[Endpoint, int]) -> None:
        """What still comes of this is for nobody."""
        sink = self._arriving.pop(key)
        self._disown(key[1], sink)
        self._let_go(sink)

    def _disown(self, index: int, sink: Sink) -> None:
        """It is not written where the block belongs any more."""
        if self._owners.get(index) is sink:
            del self._owners[index]

    def _let_go(self, sink: Sink | None) -> None:
        """It takes nothing more, and nobody needs what it has."""
        if isinstance(sink, BlockSink):
            sink.drop()
        elif isinstance(sink, BlockBuffer):
            self._buffers.give(sink)

    # -- asking

    def _ask(self, peer: Endpoint) -> None:
        """Ask this session for as much as its window takes."""
        session = self._sessions.get(peer)
        if not self._running or session is None:
            return
        blocks = self._scheduler.next(peer, self._reactor.seconds())
        if blocks:
            session.request(self._content, blocks)

    def _ask_all(self) -> None:
        for peer in tuple(self._sessions):
            self._ask(peer)

    def _look(self) -> None:
        """Give what is late to others, and the memory that is not needed."""
        self._buffers.trim()
        self._scheduler.late(self._reactor.seconds())
        self._ask_all()

    def _counter(self, peer: Endpoint) -> Callable[[int], None]:
        def count(length: int) -> None:
            self._scheduler.received(peer, length, self._reactor.seconds())
            self._reports.bytes_came(peer, length)

        return count
