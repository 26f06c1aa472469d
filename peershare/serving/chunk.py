"""The answer to one classic request: exactly the chunk's bytes, then the end of the stream.

A chunk that is not available is answered with a reset: more clients go on to another peer after
a reset than after an empty reply.  Not for: reading the request, or what comes after the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from peershare.content.chunks import ByteRange
from peershare.ledger import Ledger
from peershare.library.entries import Workers
from peershare.library.library import Library
from peershare.library.opened import FileChangedError, OpenChunk
from peershare.pace import Pace, Verdict
from peershare.sending import FileRangeProducer, is_theirs
from peershare.serving.host import CUT_SHORT, Host
from peershare.throttle import TokenBucket
from peershare.timers import Alarm

# A reader that takes nothing, or next to nothing, holds a connection only so long.
STALLED_SECONDS = 30.0
CHECK_SECONDS = 5.0
# A chunk up to this size leaves in one write: some classic clients call recv once.
ONE_WRITE_BYTES = 131_072


@dataclass(frozen=True)
class Means:
    """What all answers share."""

    reactor: Any
    library: Library
    ledger: Ledger
    bucket: TokenBucket
    workers: Workers


class ChunkAnswer:
    """One chunk for one connection, from `start` until the connection is lost."""

    _log = Logger()

    def __init__(self, means: Means, host: Host, requested: str) -> None:
        """`requested` is the name as it was asked for."""
        self._means = means
        self._host = host
        self._requested = requested
        self._chunk_name = ""
        self._chunk: OpenChunk | None = None
        self._producer: FileRangeProducer | None = None
        self._alarm = Alarm(means.reactor)
        self._started = means.reactor.seconds()
        self._pace = Pace(self._started, STALLED_SECONDS)
        self._written = 0
        self._result = ""
        self._ended = False
        self._lost = False

    @property
    def sent(self) -> int:
        """Bytes of the chunk that left so far."""
        return self._written + (self._producer.sent if self._producer is not None else 0)

    def start(self) -> None:
        """Send the chunk, or reset the connection."""
        handle = self._means.library.find_chunk(self._requested)
        if handle is None:
            if self._host.note("chunk not here", self._requested):
                self._log_upload(self._requested, "failed not-here: we do not have this chunk")
            self._host.transport.abortConnection()
            return
        self._chunk_name = handle.name
        opening: Deferred[OpenChunk] = self._means.workers(OpenChunk, handle)
        opening.addCallbacks(self._opened, self._not_opened)
        opening.addErrback(lambda f: self._log.failure("answering with a chunk failed", failure=f))

    def _opened(self, chunk: OpenChunk) -> None:
        if self._lost:
            chunk.close()
            return
        self._chunk = chunk
        try:
            self._send(chunk)
        except (FileChangedError, OSError) as failed:
            self._fail(failed)

    def _not_opened(self, failure: Failure) -> None:
        failed = failure.value
        if not isinstance(failed, FileChangedError | OSError):
            self._host.transport.abortConnection()
            failure.raiseException()
        if not self._lost:
            self._fail(failed)

    def written(self) -> None:
        """The end of the stream has left: the reader has taken all that it can take."""
        self._alarm.clear()

    def abort(self, result: str) -> None:
        """Cut the connection now; if it was not finished, it is logged with this result."""
        if not self._ended:
            self._result = result
        self._host.transport.abortConnection()

    def lost(self, *, clean: bool) -> None:
        """The connection is gone, in order or not: log what became of it, hold nothing."""
        self._lost = True
        self._alarm.clear()
        if self._producer is not None:
            self._producer.stopProducing()
        if self._chunk is not None:
            self._chunk.close()
        if self._chunk_name:
            reset = self._result == "ok" and not clean
            self._log_upload(self._chunk_name, CUT_SHORT if reset else self._result or CUT_SHORT)
            self._host.uploaded(self.sent)

    # -- sending

    def _send(self, chunk: OpenChunk) -> None:
        """Send a small chunk in one write, a large or slowed one piece by piece.

        Of that the last byte is held back, as all of a small one is, until it is sure that the
        file did not change meanwhile: a reader must never have the whole of something mixed.
        """
        means = self._means
        self._pace = Pace(means.reactor.seconds(), STALLED_SECONDS)
        self._alarm.set(CHECK_SECONDS, self._check_progress)
        if chunk.range.length <= ONE_WRITE_BYTES and means.bucket.rate is None:
            self._send_last(chunk, chunk.range)
        else:
            start, stop = chunk.range
            self._producer = FileRangeProducer(
                means.reactor,
                self._host.transport,
                chunk.descriptor,
                ByteRange(start, stop - 1),
                means.bucket,
                means.workers,
                self._produced,
            )
            self._producer.start()

    def _produced(self, failed: Exception | None) -> None:
        """The producer has finished, well or not."""
        if failed is not None and is_theirs(failed):
            self._host.transport.abortConnection()
        elif failed is not None:
            self._fail(failed)
        elif self._chunk is not None:
            stop = self._chunk.range.stop
            self._send_last(self._chunk, ByteRange(stop - 1, stop))

    def _send_last(self, chunk: OpenChunk, last: ByteRange) -> None:
        """Send the rest in one write and end the stream, unless the file changed under us."""
        try:
            data = chunk.read(last)
        except (FileChangedError, OSError) as failed:
            self._fail(failed)
            return
        self._host.transport.write(data)
        self._written = len(data)
        self._result = "ok"
        self._ended = True
        self._host.end_stream()

    def _fail(self, failed: Exception) -> None:
        """It is our side that cannot: reset, look at the folder again."""
        kind = "unreadable" if isinstance(failed, OSError) else "changed"
        self._result = f"failed {kind}: {failed}"
        self._host.transport.abortConnection()
        self._means.library.rescan()

    def _check_progress(self) -> None:
        """Cut a reader that does not read, or only pretends to."""
        now = self._means.reactor.seconds()
        if self._producer is not None and self._producer.was_held_up():
            self._pace.excuse(now)
        verdict = self._pace.judge(now, self.sent)
        if verdict is Verdict.STALLED:
            self.abort(f"failed stalled: the reader took nothing for {STALLED_SECONDS:.0f} s")
        elif verdict is Verdict.TOO_SLOW:
            self.abort("failed too-slow: the reader took less than 1 KiB a second")
        else:
            self._alarm.set(CHECK_SECONDS, self._check_progress)

    def _log_upload(self, chunk: str, result: str) -> None:
        seconds = self._means.reactor.seconds() - self._started
        self._means.ledger.record_upload(self._host.host, chunk, self.sent, seconds, result)
