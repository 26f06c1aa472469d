"""One connection to a native uploader, shared by all downloads of the node.

We ask, the peer answers (`inbox`).  Whatever it sends that nobody asked for, or that cannot be
right, ends the session, and everybody on it is told why.  Not for: choosing what to ask for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from twisted.internet import error
from twisted.internet.defer import Deferred, fail
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from peershare.download.swarm.catalogues import CatalogueQueue
from peershare.download.swarm.faces import CatalogueSink, ContentListener
from peershare.download.swarm.inbox import Inbox
from peershare.download.swarm.intake import Intake
from peershare.download.swarm.receiving import Room
from peershare.errors import PeerError, Reason
from peershare.pace import Pace, Verdict
from peershare.throttle import TokenBucket
from peershare.timers import Alarm
from peershare.wire.beacon import Endpoint
from peershare.wire.messages import (
    MAX_RUNS,
    VERSION_OF_WRONG,
    Cancel,
    Catalogue,
    GetBlocks,
    GetCatalogue,
    Hello,
    Join,
    Leave,
    Message,
    Run,
    Wrong,
    encode,
)

STALLED_SECONDS = 15.0
CHECK_SECONDS = 1.0
# Who is told of a wrong block is believed to be honest if it withdraws the content so soon.
WITHDRAWAL_SECONDS = 10.0
# A peer that takes nothing more would keep a connection from closing for ever.
CLOSE_SECONDS = 5.0


class Household(NamedTuple):
    """What the sessions of one node share."""

    reactor: Any
    bucket: TokenBucket
    room: Room
    received: Callable[[Endpoint, int], None]  # a peer, and how many raw bytes came from it
    over: Callable[[PeerSession], None]


class PeerSession(Protocol):
    """The client protocol.  Once it is `over`, nothing can be asked and nothing is told."""

    transport: Any

    def __init__(self, household: Household, peer: Endpoint, ours: Hello) -> None:
        """`ours` is the `hello` that we send."""
        self.endpoint = peer
        self.address = peer.address
        self.over: PeerError | None = None
        self.closed_by_us = False
        self.used_at = household.reactor.seconds()
        self._household = household
        self._reactor = household.reactor
        self._ours = ours
        self._catalogues = CatalogueQueue(lambda known: self._ask(GetCatalogue(known=known)))
        self._inbox = Inbox(self, household.room, self._catalogues, self._count)
        self._intake = Intake(household.reactor, household.bucket, self._inbox, self._fail)
        self._pace = Pace(household.reactor.seconds(), STALLED_SECONDS)
        self._watch = Alarm(household.reactor)
        self._reported: dict[str, tuple[float, Callable[[], None]]] = {}

    @property
    def hello(self) -> Hello | None:
        """What the peer said of itself; None until that came."""
        return self._inbox.hello

    @property
    def idle(self) -> bool:
        """Whether nobody wants anything of this peer."""
        return self._inbox.asked.idle and not self._catalogues

    # -- asking

    def join(
        self, content: str, listener: ContentListener, *, manifest: bool, have: Sequence[Run] = ()
    ) -> None:
        """Ask for a content; `manifest`: whether the block digests are wanted too.

        `have` is what we have of it; what is beyond the limit of a message is not told.
        Raises ValueError if somebody wants it on this session already.
        """
        if not self._is_over_for(listener):
            self._inbox.asked.join(content, listener, manifest=manifest)
            runs = tuple(have[:MAX_RUNS])
            self._ask(Join(content=content, manifest=manifest, have=runs))

    def attach(self, content: str, size: int, listener: ContentListener) -> None:
        """Have blocks of a content whose size is known asked for, and nothing else of it.

        Raises ValueError if somebody wants it on this session already.
        """
        if not self._is_over_for(listener):
            self._inbox.asked.attach(content, size, listener)

    def leave(self, content: str) -> None:
        """Nothing more is wanted of this content; its listener is told nothing more."""
        joined, blocks = self._inbox.asked.leave(content)
        self._inbox.drop(content)
        if joined:
            self._ask(Leave(content=content))
        else:
            self._ask_for(Cancel, content, blocks)
        self.used_at = self._reactor.seconds()

    def request(self, content: str, blocks: Sequence[int]) -> None:
        """Ask for blocks, in this order; what has been asked for is not asked for again."""
        self._ask_for(GetBlocks, content, self._inbox.asked.request(content, blocks))

    def cancel(self, content: str, blocks: Sequence[int]) -> None:
        """These are wanted no more, not even the one that is coming just now."""
        self._inbox.drop(content, blocks)
        self._ask_for(Cancel, content, self._inbox.asked.cancel(content, blocks))

    def decline(self, content: str, blocks: Sequence[int]) -> None:
        """These were granted, and will not be asked for: others may have them."""
        self._ask_for(Cancel, content, blocks)

    def report_wrong(self, content: str, block: int, withdrew: Callable[[], None]) -> None:
        """Say that a block that it sent is wrong, to a peer that knows such a message.

        `withdrew` is called if it withdraws the content within `WITHDRAWAL_SECONDS`.
        """
        hello = self.hello
        if hello is None or hello.versions[0] < VERSION_OF_WRONG or len(self._reported) >= MAX_RUNS:
            return
        self._reported[content] = (self._reactor.seconds() + WITHDRAWAL_SECONDS, withdrew)
        self._ask(Wrong(content=content, blocks=((block, 1),)))

    def withdrew(self, content: str) -> None:
        """The peer says that its content is not what it was."""
        until, withdrew = self._reported.pop(content, (0.0, None))
        if withdrew is not None and self._reactor.seconds() <= until:
            withdrew()

    def get_catalogue(self, known: str, sink: CatalogueSink) -> Deferred[Catalogue]:
        """Ask what the peer has; `known` is the digest of its catalogue that we have, or "".

        Fires when all of it went to the sink; fails with `PeerError`.
        """
        return fail(self.over) if self.over is not None else self._catalogues.add(known, sink)

    def close(self) -> None:
        """End it in order; whoever still wants something is told that it is over."""
        self.closed_by_us = self.over is None
        self._end(PeerError(Reason.RESET, "is not connected any more"), self._close)

    def _is_over_for(self, listener: ContentListener) -> bool:
        """Whether nothing can be asked any more; the listener is told so soon."""
        if self.over is None:
            return False
        self._reactor.callLater(0, listener.session_lost, self, self.over)
        return True

    def _ask_for(
        self, kind: type[GetBlocks] | type[Cancel], content: str, blocks: Sequence[int]
    ) -> None:
        pairs = _runs_in_order(blocks)
        for start in range(0, len(pairs), MAX_RUNS):
            self._ask(kind(content=content, blocks=tuple(pairs[start : start + MAX_RUNS])))

    def _ask(self, message: Message) -> None:
        if self.over is not None:
            return
        self.transport.write(encode(message))
        self.used_at = self._reactor.seconds()
        if self._watch.due is None:
            self._pace.excuse(self.used_at)
            self._watch.set(CHECK_SECONDS, self._check)

    # -- Twisted's

    def connectionMade(self) -> None:
        """Twisted: the connection is open."""
        self.transport.setTcpNoDelay(True)
        self.transport.setTcpKeepAlive(True)
        self._intake.start(self.transport)
        self._ask(self._ours)

    def dataReceived(self, data: bytes) -> None:
        """Twisted: bytes that did not go through the pipe."""
        if self.over is None:
            self._intake.feed(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Twisted: the stream has ended, in order or not."""
        self._watch.clear()
        how = "closed" if reason.check(error.ConnectionDone) else "cut"
        left = self._intake.raw_left
        if left:
            self._end(PeerError(Reason.SHORT, f"{how} the connection {left} bytes too early"))
        else:
            self._end(PeerError(Reason.RESET, f"{how} the connection"))

    # -- the end

    def _count(self, count: int) -> None:
        self._household.received(self.endpoint, count)

    def _check(self) -> None:
        """Fail a peer that gives nothing of what was asked for, or next to nothing."""
        if not self._inbox.due:
            return
        self._watch.set(CHECK_SECONDS, self._check)
        now = self._reactor.seconds()
        if self._intake.was_held_up():
            self._pace.excuse(now)
        verdict = self._pace.judge(now, self._inbox.useful_bytes)
        if verdict is Verdict.STALLED:
            text = f"sent nothing of what was asked for in {STALLED_SECONDS:.0f} s"
            self._fail(PeerError(Reason.STALLED, text))
        elif verdict is Verdict.TOO_SLOW:
            self._fail(PeerError(Reason.TOO_SLOW, "sent less than 1 KiB a second for 60 s"))

    def _fail(self, error: PeerError) -> None:
        self._end(error, self.transport.abortConnection)

    def _close(self) -> None:
        self._watch.set(CLOSE_SECONDS, self.transport.abortConnection)
        self.transport.loseConnection()

    def _end(self, error: PeerError, hang_up: Callable[[], None] = lambda: None) -> None:
        """It is over; `hang_up` closes the connection, if it is open."""
        if self.over is not None:
            return
        self.over = error
        self._watch.clear()
        self._intake.stop()
        hang_up()
        self._household.over(self)
        for listener in self._inbox.end():
            listener.session_lost(self, error)
        self._catalogues.end(error)


def _runs_in_order(blocks: Sequence[int]) -> list[tuple[int, int]]:
    """Blocks as (first, count) pairs, in the order in which they are wanted."""
    found: list[tuple[int, int]] = []
    for index in blocks:
        if found and sum(found[-1]) == index:
            found[-1] = (found[-1][0], found[-1][1] + 1)
        else:
            found.append((index, 1))
    return found
