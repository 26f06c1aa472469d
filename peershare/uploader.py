"""Chunk_Uploader: serves chunks over TCP (requirements 2.4).

`UploaderFactory` takes connections within its caps; an `UploaderProtocol` takes one classic
request, answers with exactly the chunk's bytes, ends the stream and logs.  A chunk that is not
available is answered with a reset: more clients go on to another peer after a reset than after
an empty reply.  Not for: finding files (library) or moving bytes (sending).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv4Address
from typing import Any

from twisted.internet import error
from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from peershare.content.names import display
from peershare.errors import PeerError
from peershare.ledger import Ledger
from peershare.library.files import Identity, open_regular
from peershare.library.library import ChunkHandle, Library, Workers
from peershare.sending import FileRangeProducer
from peershare.throttle import TokenBucket
from peershare.wire.request import RequestDecoder

# From the connection to the end of its request; classic clients ask right away.
REQUEST_SECONDS = 10.0
# A reader that takes nothing, or next to nothing, holds a connection only so long.
STALLED_SECONDS = 30.0
SLOW_SECONDS = 60.0
SLOWEST_BYTES = 60 * 1024
CHECK_SECONDS = 5.0
# After our end of stream: how long the reader's own end is waited for.
LINGER_SECONDS = 2.0
# A chunk up to this size leaves in one write: some classic clients call recv once.
ONE_WRITE_BYTES = 131_072
MAX_CONNECTIONS = 256
RESERVED_FOR_KNOWN = 64
MAX_CONNECTIONS_PER_ADDRESS = 32


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
        *,
        is_local: Callable[[IPv4Address], bool],
        is_known: Callable[[str], bool],
    ) -> None:
        """`is_known`: an address that has announced something; some places are kept for those."""
        self.reactor = reactor
        self.library = library
        self.ledger = ledger
        self.bucket = bucket
        self.workers = workers
        self._is_local = is_local
        self._is_known = is_known
        self._connections: dict[UploaderProtocol, str] = {}
        self._per_address: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.taken: Counter[str] = Counter()
        self.sent_bytes = 0

    def buildProtocol(self, addr: Any) -> Protocol | None:
        """Twisted: somebody connected; None turns them away."""
        refusal = self._refusal(addr.host)
        if refusal is not None:
            self.refused[refusal] += 1
            self._log.debug("{host}: connection refused, {why}", host=addr.host, why=refusal)
            return None
        protocol = UploaderProtocol(self, addr.host)
        self._connections[protocol] = addr.host
        self._per_address[addr.host] += 1
        return protocol

    def _refusal(self, host: str) -> str | None:
        if not self._is_local(IPv4Address(host)):
            return "connection from elsewhere"
        if self._per_address[host] >= MAX_CONNECTIONS_PER_ADDRESS:
            return "too many connections from one address"
        room = MAX_CONNECTIONS - len(self._connections)
        if room <= 0 or (room <= RESERVED_FOR_KNOWN and not self._is_known(host)):
            return "too many connections"
        return None

    def gone(self, protocol: UploaderProtocol) -> None:
        """A connection has ended."""
        host = self._connections.pop(protocol)
        self._per_address[host] -= 1
        if not self._per_address[host]:
            del self._per_address[host]

    def uploaded(self, host: str, count: int) -> None:
        """Bytes went to an address."""
        self.sent_bytes += count
        if host in self.taken or len(self.taken) < 4 * MAX_CONNECTIONS:
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
        self._handle: ChunkHandle | None = None
        self._descriptor = -1
        self._identity: Identity | None = None
        self._producer: FileRangeProducer | None = None
        self._timer: IDelayedCall | None = None
        self._started = factory.reactor.seconds()
        self._window = (self._started, 0)
        self._sent = 0
        self._result = ""
        self._ended = False
        self._input_ended = False

    @property
    def sent(self) -> int:
        """Bytes of the chunk that left so far."""
        return self._producer.sent if self._producer is not None else self._sent

    # -- the request

    def connectionMade(self) -> None:
        """Twisted: the deadline of the request begins."""
        self._after(REQUEST_SECONDS, self._refuse, "no request came in time", False)

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
            self._stop_timer()
            self._answer(requested)

    def _refuse(self, why: str, explain: bool) -> None:
        """A request that is none; only somebody who is no classic client gets a sentence."""
        self.factory.refused["request not understood"] += 1
        self._log.info("{host}: not served: {why}", host=self._host, why=display(why))
        self._decoder = None
        if explain:
            self._stop_timer()
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
            self._log_upload(requested, "failed not-here: we do not have this chunk")
            self.transport.abortConnection()
            return
        self._handle = handle
        try:
            self._descriptor = open_regular(handle.path)
            self._identity = self._identity_now()
        except OSError as failed:
            self._fail(f"failed unreadable: {failed.strerror}")
            return
        if handle.identity is not None and handle.identity != self._identity:
            self._fail("failed changed: the file is not what was announced")
            return
        if not self._send_at_once(handle):
            self._send_by_producer(handle)

    def _send_at_once(self, handle: ChunkHandle) -> bool:
        """Send a small chunk in one write; False if it is not small, or must be slowed."""
        length = handle.range.length
        bucket = self.factory.bucket
        if length > ONE_WRITE_BYTES or bucket.rate is not None:
            return False
        data = os.pread(self._descriptor, length, handle.range.start)
        if len(data) < length:
            self._fail("failed changed: the file is shorter than it was")
            return True
        self.transport.write(data)
        self._watch_progress()
        self._sent_all(length)
        return True

    def _send_by_producer(self, handle: ChunkHandle) -> None:
        self._producer = FileRangeProducer(
            self.factory.reactor,
            self.transport,
            self._descriptor,
            handle.range,
            self.factory.bucket,
            self.factory.workers,
            self._produced,
        )
        self._watch_progress()
        self._producer.start()

    def _produced(self, failed: Exception | None) -> None:
        """The producer has finished, well or not."""
        if failed is None:
            self._sent_all(self.sent)
        elif isinstance(failed, BrokenPipeError | ConnectionResetError):
            self.transport.abortConnection()
        else:
            self._fail(f"failed changed: {failed}")

    def _sent_all(self, sent: int) -> None:
        """Every byte was handed over: end the stream, unless the file changed under us."""
        self._sent = sent
        handle = self._handle
        if handle is not None and handle.identity not in (None, self._identity_now()):
            self._fail("failed changed: the file changed while it was sent")
            return
        self._result = "ok"
        self._end_stream()

    def _identity_now(self) -> Identity:
        return Identity.of(os.fstat(self._descriptor))

    def _fail(self, result: str) -> None:
        """It is our side that cannot: reset, look at the folder again."""
        self._result = result
        self.transport.abortConnection()
        self.factory.library.rescan()

    # -- the end

    def _end_stream(self) -> None:
        self._ended = True
        self.transport.loseWriteConnection()

    def writeConnectionLost(self) -> None:
        """Twisted: our end of stream has left; wait a moment for the reader's."""
        self._stop_timer()
        if self._input_ended:
            self.transport.loseConnection()
        else:
            self._after(LINGER_SECONDS, self.transport.loseConnection)

    def readConnectionLost(self) -> None:
        """Twisted: the reader will send no more; fine unless the request is still to come."""
        self._input_ended = True
        if self._decoder is not None:
            self.factory.refused["closed without a request"] += 1
            self.transport.loseConnection()
        elif self._ended and self._timer is not None:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Twisted: the connection is gone; log what became of the upload, hold nothing."""
        self._stop_timer()
        if self._producer is not None:
            self._producer.stopProducing()
        if self._descriptor >= 0:
            with suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = -1
        if self._handle is not None:
            cut = "failed cut-short: the other side closed or reset the connection"
            reset = self._result == "ok" and not reason.check(error.ConnectionDone)
            self._log_upload(self._handle.name, cut if reset else self._result or cut)
            self.factory.uploaded(self._host, self.sent)
        self.factory.gone(self)

    def abort(self, result: str) -> None:
        """Cut the connection now; an upload that was not finished is logged with this result."""
        if not self._ended:
            self._result = result
        self.transport.abortConnection()

    # -- timers

    def _watch_progress(self) -> None:
        self._window = (self.factory.reactor.seconds(), 0)
        self._after(CHECK_SECONDS, self._check_progress)

    def _check_progress(self) -> None:
        """Cut a reader that does not read, or only pretends to."""
        now = self.factory.reactor.seconds()
        sent = self.sent
        progress_at = self._producer.progress_at if self._producer else self._started
        since, before = self._window
        if now - progress_at >= STALLED_SECONDS:
            self.abort(f"failed stalled: the reader took nothing for {STALLED_SECONDS:.0f} s")
            return
        if now - since >= SLOW_SECONDS:
            if self.factory.bucket.rate is None and sent - before < SLOWEST_BYTES:
                self.abort("failed too-slow: the reader took less than 1 KiB a second")
                return
            self._window = (now, sent)
        self._after(CHECK_SECONDS, self._check_progress)

    def _after(self, seconds: float, call: Callable[..., object], *arguments: object) -> None:
        self._stop_timer()
        self._timer = self.factory.reactor.callLater(seconds, call, *arguments)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _log_upload(self, chunk: str, result: str) -> None:
        seconds = self.factory.reactor.seconds() - self._started
        self.factory.ledger.record_upload(self._host, chunk, self.sent, seconds, result)
