"""Chunk_Uploader: serves chunks over TCP (requirements 2.4).

`UploaderFactory` takes connections within its caps; an `UploaderProtocol` takes one classic
request, answers with exactly the chunk's bytes, ends the stream and logs.  A chunk that is not
available is answered with a reset: more clients go on to another peer after a reset than after
an empty reply.  Not for: finding files (library) or moving bytes (sending).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from twisted.internet import error
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure
from zope.interface import implementer

from peershare.admission import Admission
from peershare.content.chunks import ByteRange
from peershare.errors import PeerError
from peershare.ledger import Ledger
from peershare.library.entries import Workers
from peershare.library.library import Library
from peershare.library.opened import FileChangedError, OpenChunk
from peershare.pace import Pace, Verdict
from peershare.refusals import Refusal, Refusals
from peershare.sending import FileRangeProducer
from peershare.throttle import TokenBucket
from peershare.timers import Alarm
from peershare.wire.request import RequestDecoder

# From the connection to the end of its request; classic clients ask right away.
REQUEST_SECONDS = 10.0
# A reader that takes nothing, or next to nothing, holds a connection only so long.
STALLED_SECONDS = 30.0
CHECK_SECONDS = 5.0
# After our end of stream: how long the reader's own end is waited for.
LINGER_SECONDS = 2.0
# A chunk up to this size leaves in one write: some classic clients call recv once.
ONE_WRITE_BYTES = 131_072
# Of so many addresses it is remembered how much they took.
REMEMBERED_ADDRESSES = 1_024


class UploaderFactory(Factory):
    """Makes a protocol for each connection that may come; owns what all of them share."""

    noisy = False
    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        library: Library,
        ledger: Ledger,
        bucket: TokenBucket,
        workers: Workers,
        admission: Admission,
    ) -> None:
        self.reactor = reactor
        self.library = library
        self.ledger = ledger
        self.bucket = bucket
        self.workers = workers
        self._admission = admission
        self._connections: dict[UploaderProtocol, str] = {}
        self.refusals = Refusals(reactor.seconds, LogLevel.info)
        self.taken: Counter[str] = Counter()
        self.sent_bytes = 0

    def buildProtocol(self, addr: Any) -> Protocol | None:
        """Twisted: somebody connected; who cannot be served is reset, a no that clients know."""
        refusal = self._admission.refusal(addr.host)
        if refusal is not None:
            self.refusals.note(addr.host, refusal)
            return Refusal()
        protocol = UploaderProtocol(self, addr.host)
        self._connections[protocol] = addr.host
        self._admission.opened(addr.host)
        return protocol

    def gone(self, protocol: UploaderProtocol) -> None:
        """A connection has ended."""
        self._admission.closed(self._connections.pop(protocol))

    def uploaded(self, host: str, count: int) -> None:
        """Bytes went to an address."""
        self.sent_bytes += count
        if host in self.taken or len(self.taken) < REMEMBERED_ADDRESSES:
            self.taken[host] += count

    def sent_so_far(self) -> int:
        """Bytes sent since our start, by what is under way too."""
        return self.sent_bytes + sum(protocol.sent for protocol in self._connections)

    def abort_all(self) -> None:
        """Cut every connection: the service ends."""
        for protocol in tuple(self._connections):
            protocol.abort("failed stopped: the service was stopped")


@implementer(IHalfCloseableProtocol)
class UploaderProtocol(Protocol):
    """One connection: reads a request, sends a chunk, ends the stream."""

    factory: UploaderFactory
    transport: Any
    _log = Logger()

    def __init__(self, factory: UploaderFactory, host: str) -> None:
        self.factory = factory
        self._host = host
        self._decoder: RequestDecoder | None = RequestDecoder()
        self._chunk_name = ""
        self._chunk: OpenChunk | None = None
        self._producer: FileRangeProducer | None = None
        self._alarm = Alarm(factory.reactor)
        self._started = factory.reactor.seconds()
        self._pace = Pace(self._started, STALLED_SECONDS)
        self._written = 0
        self._result = ""
        self._ended = False
        self._input_ended = False

    @property
    def sent(self) -> int:
        """Bytes of the chunk that left so far."""
        return self._written + (self._producer.sent if self._producer is not None else 0)

    # -- the request

    def connectionMade(self) -> None:
        """Twisted: the deadline of the request begins."""
        self._alarm.set(REQUEST_SECONDS, self._refuse, "no request came in time", False)

    def dataReceived(self, data: bytes) -> None:
        """Twisted: a piece of the request; whatever comes after it is dropped."""
        if self._decoder is None:
            return
        try:
            requested = self._decoder.feed(data)
        except PeerError as broken:
            self._refuse(str(broken), not self._decoder.started_with_brace)
            return
        if requested is not None:
            self._decoder = None
            self._alarm.clear()
            self._answer(requested)

    def _refuse(self, why: str, explain: bool) -> None:
        """A request that is none; only somebody who is no classic client gets a sentence."""
        self.factory.refusals.note(self._host, "request not understood", why)
        self._decoder = None
        if explain:
            self._alarm.clear()
            self.transport.write(
                b'{"error": "a request is a JSON object with the key requested_content"}\n'
            )
            self._end_stream()
        else:
            self.transport.abortConnection()

    # -- the answer

    def _answer(self, requested: str) -> None:
        self._started = self.factory.reactor.seconds()
        handle = self.factory.library.find_chunk(requested)
        if handle is None:
            if self.factory.refusals.note(self._host, "chunk not here", requested):
                self._log_upload(requested, "failed not-here: we do not have this chunk")
            self.transport.abortConnection()
            return
        self._chunk_name = handle.name
        try:
            self._chunk = OpenChunk(handle)
            self._send(self._chunk)
        except (FileChangedError, OSError) as failed:
            self._fail(failed)

    def _send(self, chunk: OpenChunk) -> None:
        """Send a small chunk in one write, a large or slowed one piece by piece.

        Of that the last byte is held back, as all of a small one is, until it is sure that the
        file did not change meanwhile: a reader must never have the whole of something mixed.
        """
        factory = self.factory
        self._pace = Pace(factory.reactor.seconds(), STALLED_SECONDS)
        self._alarm.set(CHECK_SECONDS, self._check_progress)
        if chunk.range.length <= ONE_WRITE_BYTES and factory.bucket.rate is None:
            self._send_last(chunk, chunk.range)
        else:
            start, stop = chunk.range
            self._producer = FileRangeProducer(
                factory.reactor,
                self.transport,
                chunk.descriptor,
                ByteRange(start, stop - 1),
                factory.bucket,
                factory.workers,
                self._produced,
            )
            self._producer.start()

    def _produced(self, failed: Exception | None) -> None:
        """The producer has finished, well or not."""
        if isinstance(failed, BrokenPipeError | ConnectionResetError):
            self.transport.abortConnection()
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
        self.transport.write(data)
        self._written = len(data)
        self._result = "ok"
        self._end_stream()

    def _fail(self, failed: Exception) -> None:
        """It is our side that cannot: reset, look at the folder again."""
        kind = "unreadable" if isinstance(failed, OSError) else "changed"
        self._result = f"failed {kind}: {failed}"
        self.transport.abortConnection()
        self.factory.library.rescan()

    # -- the end

    def _end_stream(self) -> None:
        self._ended = True
        self.transport.loseWriteConnection()

    def writeConnectionLost(self) -> None:
        """Twisted: our end of stream has left; wait a moment for the reader's."""
        self._alarm.clear()
        if self._input_ended:
            self.transport.loseConnection()
        else:
            self._alarm.set(LINGER_SECONDS, self.transport.loseConnection)

    def readConnectionLost(self) -> None:
        """Twisted: the reader will send no more; fine unless the request is still to come."""
        self._input_ended = True
        if self._decoder is not None:
            self.factory.refusals.note(self._host, "closed without a request")
            self.transport.loseConnection()
        elif self._ended and self._alarm.due is not None:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Twisted: the connection is gone; log what became of the upload, hold nothing."""
        self._alarm.clear()
        if self._producer is not None:
            self._producer.stopProducing()
        if self._chunk is not None:
            self._chunk.close()
        if self._chunk_name:
            cut = "failed cut-short: the other side closed or reset the connection"
            reset = self._result == "ok" and not reason.check(error.ConnectionDone)
            self._log_upload(self._chunk_name, cut if reset else self._result or cut)
            self.factory.uploaded(self._host, self.sent)
        self.factory.gone(self)

    def abort(self, result: str) -> None:
        """Cut the connection now; an upload that was not finished is logged with this result."""
        if not self._ended:
            self._result = result
        self.transport.abortConnection()

    # -- timers

    def _check_progress(self) -> None:
        """Cut a reader that does not read, or only pretends to."""
        now = self.factory.reactor.seconds()
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
        seconds = self.factory.reactor.seconds() - self._started
        self.factory.ledger.record_upload(self._host, chunk, self.sent, seconds, result)
