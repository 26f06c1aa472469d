"""A native session, seen from the side that serves: requests come, answers and blocks go.

What is sent next is decided when there is room for it: answers first, then news (`have`, `grant`,
`open`), then blocks.  A reader that does not read is not read from, so what waits here stays
small.  Not for: what becomes of an order (`orders`), or how bytes leave (`outgoing`).
"""

from __future__ import annotations

from collections import deque

import msgspec

from peershare.errors import PeerError, Reason
from peershare.pace import Pace, Verdict
from peershare.sending import is_theirs
from peershare.serving.answers import Answers
from peershare.serving.host import CUT_SHORT, Host
from peershare.serving.meter import Meter
from peershare.serving.orders import Orders
from peershare.serving.outgoing import Outgoing, Parcel
from peershare.serving.receiver import Receiver
from peershare.serving.swarms import PAID_SECONDS_A_BYTE, Serving
from peershare.timers import Alarm
from peershare.wire.framing import FrameDecoder
from peershare.wire.messages import (
    VERSIONS,
    Cancel,
    Catalogue,
    GetBlocks,
    GetCatalogue,
    Hello,
    Join,
    Leave,
    Problem,
    Request,
    Unknown,
    Wrong,
    decode_request,
)

# Without a request, and without a content that is joined, a session is closed.
IDLE_SECONDS = 60.0
# A reader that takes nothing, or next to nothing, is cut.
STALLED_SECONDS = 30.0
CHECK_SECONDS = 5.0
# While more than this waits to be sent in answers, no request is looked at.
MAX_ANSWER_BYTES = 1 << 20
# So many messages of unknown types are answered.
MAX_UNKNOWN = 16
# So many requests are handled in one turn; a long `have` counts as many.
MAX_EFFORT = 128
# And for so long, by the processor's clock.
SLICE_SECONDS = 0.004
_BLOCKS_AN_EFFORT = 64
_SENTENCE_LIMIT = 500


class ServingSession:
    """See the module.  The uploader tells it what comes, and when the connection is gone."""

    def __init__(self, serving: Serving, connection: Host) -> None:
        reactor = serving.reactor
        self._serving = serving
        self._connection = connection
        self._clock = reactor.seconds
        self.address = connection.host
        self.port = 0
        self._lines: deque[bytes] = deque()
        self._decoder = FrameDecoder(self._lines.append, lambda _: None)
        self._answers = Answers()
        self._news: dict[Receiver, None] = {}
        self._orders = Orders(serving, self, self._answers.add, self._uploaded, self._wake)
        self._outgoing = Outgoing(
            reactor,
            connection.transport,
            serving.bucket,
            serving.warmer.warm,
            supply=self._supply,
            drained=self._drained,
            failed=self._failed,
        )
        self._asked_at = reactor.seconds()
        self._meter = Meter(self._asked_at)
        self._pace = Pace(self._asked_at, STALLED_SECONDS)
        self._alarm, self._later = Alarm(reactor), Alarm(reactor)
        self._greeted = self._handling = self._paused = self._finishing = False
        self._unknown = 0
        self._result = ""

    @property
    def idle_since(self) -> float | None:
        """Since when nothing was asked (the clock's seconds); None while something is sent."""
        return self._asked_at if self._outgoing.idle else None

    @property
    def joined(self) -> bool:
        """Whether the other side waits for news of a content."""
        return self._orders.joined

    @property
    def sent(self) -> int:
        """Bytes that have left of the block on its way."""
        return self._outgoing.under_way

    # -- what the uploader tells

    def start(self, hello: bytes, rest: bytes) -> None:
        """Begin, with the other side's `hello` and what came behind it."""
        self._alarm.set(CHECK_SECONDS, self._check)
        self._lines.append(hello)
        self._outgoing.start()
        self.feed(rest)

    def feed(self, data: bytes) -> None:
        """Bytes came."""
        if self._finishing:
            return
        self._asked_at = self._clock()
        broken = ""
        try:
            self._decoder.feed(data)
        except PeerError as error:
            broken = str(error)
        self._work()
        if broken and not self._finishing:
            self._break_off("bad-message", broken)
        self._outgoing.wake()

    def finish(self) -> None:
        """Send what was asked for so far, then end; nothing more is listened to."""
        self._finishing = True
        self._decoder.stop()
        self._lines.clear()
        self._later.clear()
        self._read_on()
        if not self._handling:
            self._outgoing.wake()

    def abort(self, result: str) -> None:
        """Cut the connection; `result` is for the log."""
        self._result = self._result or result
        self._outgoing.stopProducing()
        self._connection.transport.abortConnection()

    def written(self) -> None:
        """The end of our stream has left."""

    def lost(self, *, clean: bool) -> None:
        """The connection is gone: log what became of each content, hold nothing."""
        self._outgoing.stopProducing()
        self._alarm.clear()
        self._later.clear()
        self._orders.end(self._outgoing.under_way, self._result or CUT_SHORT)

    # -- requests

    def _work(self) -> None:
        """Handle what has come, within a turn, and as long as answers do not pile up."""
        shares, cpu = self._serving.shares, self._serving.cpu
        wait = shares.wait(self.address, self._clock())
        if wait and self._lines:
            self._rest(wait)
            return
        self._handling = True
        effort = 0
        began = cpu()
        try:
            while self._lines and self._answers.waiting < MAX_ANSWER_BYTES and effort < MAX_EFFORT:
                request = decode_request(self._lines.popleft())
                effort += 1
                if isinstance(request, Join):
                    effort += sum(count for _, count in request.have) // _BLOCKS_AN_EFFORT
                self._handle(request)
                if cpu() - began > SLICE_SECONDS:
                    effort = MAX_EFFORT
        except PeerError as error:
            self._break_off("bad-message", str(error))
        self._handling = False
        shares.spend(self.address, cpu() - began, self._clock())
        if not self._lines:
            self._read_on()
            return
        if effort >= MAX_EFFORT:
            self._rest(0.0)
        else:
            self._pause()

    def _rest(self, seconds: float) -> None:
        """Look at what has come in so many seconds, and read no more before."""
        self._pause()
        self._later.set(seconds, self.feed, b"")

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._connection.transport.pauseProducing()

    def _read_on(self) -> None:
        if self._paused:
            self._paused = False
            self._connection.transport.resumeProducing()

    def _handle(self, request: Request | Unknown) -> None:
        if isinstance(request, GetBlocks):
            self._orders.get_blocks(request)
        elif isinstance(request, Cancel):
            self._orders.cancel(request)
        elif isinstance(request, Wrong):
            self._orders.wrong(request)
        elif isinstance(request, Join):
            self._orders.join(request)
        elif isinstance(request, Leave):
            self._orders.leave(request)
        elif isinstance(request, GetCatalogue):
            told = self._serving.catalogue.since(request.known)
            self._answers.add(
                Catalogue(
                    digest=told.digest, base=told.base, count=told.count, length=len(told.data)
                ),
                told.data,
            )
        elif isinstance(request, Hello):
            self._greet(request)
        elif self._unknown < MAX_UNKNOWN:
            self._unknown += 1
            why = f"no request of version {VERSIONS[-1]} has this type"
            self._answers.add(Problem(code="unknown-type", message=why))

    def _greet(self, hello: Hello) -> None:
        """Answer with the version to speak, the newest that both sides know."""
        if self._greeted:
            raise PeerError(Reason.BAD_MESSAGE, "said hello a second time")
        self._greeted = True
        common = [version for version in VERSIONS if version in hello.versions]
        if not common:
            known = ", ".join(map(str, VERSIONS))
            self._break_off("version", f"we speak only these versions: {known}")
            return
        self.port = hello.port
        ours = self._serving.hello(self.address)
        self._answers.add(msgspec.structs.replace(ours, versions=(max(common),)))

    def _break_off(self, code: str, why: str) -> None:
        """Say what is wrong, and end."""
        self._connection.note(f"native request: {code}", why)
        self._result = f"failed {code}: {why}"
        self._orders.give_up_all()
        self._answers.add(Problem(code=code, message=why[:_SENTENCE_LIMIT]))
        self.finish()

    # -- what goes out

    def news(self, receiver: Receiver) -> None:
        """Face: there is something to tell."""
        self._news[receiver] = None
        self._wake()

    def _wake(self) -> None:
        """There is something to send."""
        if not self._handling:
            self._outgoing.wake()

    @property
    def progress(self) -> int:
        """Face: bytes that have left, of whatever."""
        return self._outgoing.sent

    def window(self, block_size: int) -> int:
        """Face: how many blocks go to it in about 200 ms."""
        return self._meter.window(block_size)

    def _supply(self) -> Parcel | None:
        """What is to be sent next."""
        while True:
            answer = self._answers.pop()
            if answer is not None:
                return answer
            if self._lines and not self._handling and self._later.due is None:
                self._work()
            elif self._news:
                receiver = next(iter(self._news))
                del self._news[receiver]
                for message in self._orders.news(receiver):
                    self._answers.add(message)
            else:
                shipment = self._orders.ship()
                if shipment is not None or not self._answers.waiting:
                    return shipment

    def _uploaded(self, count: int) -> None:
        now = self._asked_at = self._clock()
        self._serving.shares.spend(self.address, -PAID_SECONDS_A_BYTE * count, now)
        self._meter.add(count, now)
        self._connection.uploaded(count)

    def _drained(self) -> None:
        """Everything has left, or waits for a disk."""
        if self._finishing and not self._orders.opening:
            self._outgoing.close()
            self._connection.end_stream()

    def _failed(self, failed: Exception) -> None:
        """A block that is on its way cannot be sent to its end."""
        if is_theirs(failed):
            self._connection.transport.abortConnection()
            return
        kind = "unreadable" if isinstance(failed, OSError) else "changed"
        self.abort(f"failed {kind}: {failed}")
        self._serving.library.rescan()

    # -- timers

    def _check(self) -> None:
        """Cut a reader that does not read, and end a session that nobody uses."""
        now = self._clock()
        self._alarm.set(CHECK_SECONDS, self._check)
        if self._outgoing.was_held_up() or self._outgoing.idle:
            self._pace.excuse(now)
        verdict = self._pace.judge(now, self._outgoing.sent)
        if verdict is Verdict.STALLED:
            self.abort(f"failed stalled: the reader took nothing for {STALLED_SECONDS:.0f} s")
        elif verdict is Verdict.TOO_SLOW:
            self.abort("failed too-slow: the reader took less than 1 KiB a second")
        elif self._outgoing.idle and now - self._asked_at >= CHECK_SECONDS:
            self._orders.rest()
            if not self.joined and now - self._asked_at >= IDLE_SECONDS:
                self.finish()
