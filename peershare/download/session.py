"""One connection to a classic uploader: one request in one write, read to the end.

Real uploaders die of a split request, of a second one, of a reset in mid-transfer: so the
request is one write right after connecting, nothing else is ever sent, and a transfer that is
no longer wanted is read and dropped for a while before it is cut.  Not for: choosing whom to
ask, or judging whether a length fits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from typing import Protocol as TypingProtocol

from twisted.internet import error
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from peershare.download.splicing import Splicer, splice_from
from peershare.errors import LocalError, PeerError, Reason, StorageError
from peershare.library.parts import PipedBytes
from peershare.pace import Pace, Verdict
from peershare.throttle import TokenBucket
from peershare.timers import Alarm

CONNECT_SECONDS = 3.0
STALLED_SECONDS = 15.0
CHECK_SECONDS = 1.0
# What is no longer wanted is read and dropped up to here, then the connection is cut.
SURPLUS_BYTES = 1 << 20
SURPLUS_SECONDS = 10.0
# One read of a fast connection; Twisted's 64 KiB cost half of the speed.
READ_BYTES = 1 << 20
_LIMITED_READ_SECONDS = 0.05


class Sink(TypingProtocol):
    """Where the bytes of a chunk go."""

    def write(self, data: bytes | PipedBytes) -> None:
        """Take the next bytes, `bytes` or `PipedBytes`.  Raises `StorageError`, `PeerError`."""


class ChunkSession(Protocol):
    """The client protocol: `ask` once, then `finished` fires with the length or fails.

    Failures are `PeerError` (theirs) or `StorageError` (ours).  `gone` fires when the
    connection is really closed: only then may the address be dialled again.
    """

    transport: Any
    _log = Logger()

    def __init__(self, reactor: Any, bucket: TokenBucket) -> None:
        self._reactor = reactor
        self._bucket = bucket
        self._sink: Sink | None = None
        self._most: int | None = None
        self._alarm = Alarm(reactor)
        self._pause = Alarm(reactor)
        self._owed = 0
        self._dropped = 0
        self._pace = Pace(reactor.seconds(), STALLED_SECONDS)
        self._result: Deferred[int] | None = None
        self._splicer: Splicer | None = None
        self.on_bytes: Callable[[int], None] = lambda count: None
        self.received = 0
        self.gone: Deferred[None] = Deferred()

    def ask(self, request: bytes, sink: Sink, most: int | None) -> Deferred[int]:
        """Send the request; fires with the bytes received once the stream has ended.

        `most` is how long the chunk can be; more than that is surplus, and a failure.
        """
        self._sink, self._most = sink, most
        self._pace = Pace(self._reactor.seconds(), STALLED_SECONDS)
        self._result = Deferred()
        rate = self._bucket.rate
        self.transport.bufferSize = (
            READ_BYTES
            if rate is None
            else max(2_048, min(READ_BYTES, int(rate * _LIMITED_READ_SECONDS)))
        )
        self._splicer = splice_from(self.transport, self._room, self._take)
        self.transport.write(request)
        self._alarm.set(CHECK_SECONDS, self._check)
        return self._result

    def drain(self) -> None:
        """The rest is not wanted: drop it for a while, then cut the connection."""
        self._sink = None
        self._read_plainly()
        self._resume()
        self._alarm.set(SURPLUS_SECONDS, self.transport.abortConnection)

    def dataReceived(self, data: bytes) -> None:
        """Twisted: bytes of the chunk, or surplus."""
        if self._sink is None:
            self._drop(len(data))
            return
        if self._most is not None and self.received + len(data) > self._most:
            self._dropped = self.received + len(data) - self._most
            self._fail(
                PeerError(Reason.SURPLUS, f"sent more than the {self._most} bytes a chunk can have")
            )
            return
        self._take(data)

    def _room(self) -> int:
        """How many bytes one read may take: none that are surplus."""
        size: int = self.transport.bufferSize
        return size if self._most is None else min(size, self._most - self.received)

    def _take(self, data: bytes | PipedBytes) -> None:
        """Bytes of the chunk, which it has room for."""
        if self._sink is None:
            return
        try:
            self._sink.write(data)
        except (PeerError, StorageError) as failed:
            self._fail(failed)
            return
        self.received += len(data)
        self.on_bytes(len(data))
        self._throttle(len(data))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Twisted: the stream has ended, in order or not."""
        self._alarm.clear()
        self._pause.clear()
        self._read_plainly()
        self.gone.callback(None)  # first: the address is free for what follows from the result
        whole = self._most is not None and self.received == self._most
        if reason.check(error.ConnectionDone) or whole:
            self._succeed()
        else:
            self._fail(PeerError(Reason.RESET, f"cut the connection after {self.received} bytes"))

    def _succeed(self) -> None:
        result, self._result = self._result, None
        if result is not None:
            result.callback(self.received)

    def _fail(self, failed: PeerError | LocalError) -> None:
        """End with an error; what still comes is dropped for a while."""
        result, self._result = self._result, None
        if self.transport is not None and self.transport.connected:
            self.drain()
        if result is not None:
            result.errback(failed)

    def _read_plainly(self) -> None:
        """What comes from now on is for nobody, or nothing comes: the pipe is not needed."""
        if self._splicer is not None:
            self._splicer.stop()
            self._splicer = None

    def _drop(self, count: int) -> None:
        self._dropped += count
        if self._dropped > SURPLUS_BYTES:
            self.transport.abortConnection()

    # -- pace

    def _throttle(self, count: int) -> None:
        """Charge what came; where the limit is reached, read no more until it is paid."""
        self._owed += count
        self._owed -= self._bucket.take(self._owed)
        if self._owed and self._pause.due is None:
            self.transport.pauseProducing()
            self._pause.set(self._bucket.delay(), self._pay)

    def _pay(self) -> None:
        self._pace.excuse(self._reactor.seconds())
        self._owed -= self._bucket.take(self._owed)
        if self._owed:
            self._pause.set(self._bucket.delay(), self._pay)
        else:
            self.transport.resumeProducing()

    def _resume(self) -> None:
        if self._pause.due is not None:
            self._pause.clear()
            self._owed = 0
            self.transport.resumeProducing()

    def _check(self) -> None:
        """Fail a peer that gives nothing, or next to nothing."""
        self._alarm.set(CHECK_SECONDS, self._check)
        verdict = self._pace.judge(self._reactor.seconds(), self.received)
        if verdict is Verdict.STALLED and self._most is not None and self.received == self._most:
            self._succeed()  # all is here, only the end of the stream never came
            self.drain()
        elif verdict is Verdict.STALLED:
            text = f"sent nothing for {STALLED_SECONDS:.0f} s, after {self.received} bytes"
            self._fail(PeerError(Reason.STALLED, text))
        elif verdict is Verdict.TOO_SLOW:
            self._fail(PeerError(Reason.TOO_SLOW, "sent less than 1 KiB a second for 60 s"))
