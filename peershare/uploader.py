"""Chunk_Uploader: serves over TCP whoever asks (requirements 2.4).

`UploaderFactory` takes connections within its caps; an `UploaderProtocol` reads the first object
of one.  A classic request is answered with exactly the chunk's bytes and the end of the stream, a
`hello` begins a native session.  Not for: what is served (`serving`), finding files (library).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from twisted.internet import error
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import LogLevel
from twisted.python.failure import Failure
from zope.interface import implementer

from peershare.admission import FROM_ELSEWHERE, Admission
from peershare.errors import PeerError
from peershare.ledger import Ledger
from peershare.library.entries import Workers
from peershare.library.library import Library
from peershare.refusals import Refusal, Refusals
from peershare.serving.chunk import ChunkAnswer, Means
from peershare.serving.host import Served
from peershare.serving.session import ServingSession
from peershare.serving.swarms import Serving
from peershare.throttle import TokenBucket
from peershare.timers import Alarm
from peershare.wire.request import Greeting, RequestDecoder

# From the connection to the end of its request; classic clients ask right away.
REQUEST_SECONDS = 10.0
# After our end of stream: how long the reader's own end is waited for.
LINGER_SECONDS = 2.0
# Of so many addresses it is remembered how much they took.
REMEMBERED_ADDRESSES = 1_024
# With less room than this for more connections, sessions that do nothing are closed.
SPARE_CONNECTIONS = 8


class UploaderFactory(Factory):
    """Makes a protocol for each connection that may come; owns what all of them share."""

    noisy = False

    def __init__(
        self,
        reactor: Any,
        library: Library,
        ledger: Ledger,
        bucket: TokenBucket,
        workers: Workers,
        admission: Admission,
        serving: Serving | None = None,
    ) -> None:
        """`serving` is for native sessions; None: only classic requests are served."""
        self.reactor = reactor
        self.means = Means(reactor, library, ledger, bucket, workers)
        self.serving = serving
        self.bucket = bucket
        self._admission = admission
        self._connections: dict[UploaderProtocol, str] = {}
        self.refusals = Refusals(reactor.seconds, LogLevel.info)
        self.taken: Counter[str] = Counter()
        self.sent_bytes = 0

    def buildProtocol(self, addr: Any) -> Protocol | None:
        """Twisted: somebody connected; who cannot be served is reset, a no that clients know."""
        refusal = self._admission.refusal(addr.host)
        if refusal != FROM_ELSEWHERE:
            self._make_room(addr.host)
        if refusal is not None:
            self.refusals.note(addr.host, refusal)
            return Refusal()
        protocol = UploaderProtocol(self, addr.host)
        self._connections[protocol] = addr.host
        self._admission.opened(addr.host)
        return protocol

    def _make_room(self, host: str) -> None:
        """Where room is short, close the session that has done nothing for the longest time."""
        in_all, own = self._admission.room(host)
        if min(in_all, own) > SPARE_CONNECTIONS:
            return
        idle = [
            (protocol.idle, protocol)
            for protocol, address in self._connections.items()
            if protocol.idle is not None and (in_all <= SPARE_CONNECTIONS or address == host)
        ]
        if idle:
            min(idle, key=lambda found: found[0] or (True, 0.0))[1].close()

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

    def taken_so_far(self) -> Counter[str]:
        """Bytes that each address took since our start, by what is under way too."""
        taken = self.taken.copy()
        for protocol, host in self._connections.items():
            if protocol.sent:
                taken[host] += protocol.sent
        return taken

    def abort_all(self) -> None:
        """Cut every connection: the service ends."""
        for protocol in tuple(self._connections):
            protocol.abort("failed stopped: the service was stopped")


@implementer(IHalfCloseableProtocol)
class UploaderProtocol(Protocol):
    """One connection: reads the first object, then it belongs to what is served."""

    factory: UploaderFactory
    transport: Any

    def __init__(self, factory: UploaderFactory, host: str) -> None:
        self.factory = factory
        self.host = host
        self._decoder: RequestDecoder | None = RequestDecoder()
        self._served: Served | None = None
        self._session: ServingSession | None = None
        self._alarm = Alarm(factory.reactor)
        self._ended = False
        self._input_ended = False

    @property
    def sent(self) -> int:
        """Bytes that left and are not counted as uploaded yet."""
        return self._served.sent if self._served is not None else 0

    @property
    def idle(self) -> tuple[bool, float] | None:
        """Whether a session waits for news, and since when it is idle; None if nothing is."""
        session = self._session
        if session is None or self._ended or session.idle_since is None:
            return None
        return session.joined, session.idle_since

    # -- the first object

    def connectionMade(self) -> None:
        """Twisted: the deadline of the request begins."""
        self._alarm.set(REQUEST_SECONDS, self._refuse, "no request came in time", False)

    def dataReceived(self, data: bytes) -> None:
        """Twisted: a piece of the request; what comes after a classic one is dropped."""
        if self._session is not None:
            self._session.feed(data)
            return
        if self._decoder is None:
            return
        try:
            first = self._decoder.feed(data)
        except PeerError as broken:
            self._refuse(str(broken), not self._decoder.started_with_brace)
            return
        if isinstance(first, Greeting):
            self._begin_session(first)
        elif first is not None:
            self._decoder = None
            self._alarm.clear()
            answer = self._served = ChunkAnswer(self.factory.means, self, first)
            answer.start()

    def _begin_session(self, greeting: Greeting) -> None:
        serving = self.factory.serving
        if serving is None:
            self._refuse("native sessions are not served here", False)
            return
        self._decoder = None
        self._alarm.clear()
        self._served = self._session = ServingSession(serving, self)
        self._session.start(*greeting)

    def _refuse(self, why: str, explain: bool) -> None:
        """A request that is none; only somebody who is no classic client gets a sentence."""
        self.note("request not understood", why)
        self._decoder = None
        if explain:
            self._alarm.clear()
            self.transport.write(
                b'{"error": "a request is a JSON object with the key requested_content"}\n'
            )
            self.end_stream()
        else:
            self.transport.abortConnection()

    # -- what is served sees this

    def uploaded(self, count: int) -> None:
        """Host: bytes of contents have left."""
        self.factory.uploaded(self.host, count)

    def note(self, reason: str, details: str) -> bool:
        """Host: something was refused; whether it may be written down."""
        return self.factory.refusals.note(self.host, reason, details)

    def end_stream(self) -> None:
        """Host: everything was given to the transport; nothing follows."""
        self._ended = True
        self.transport.loseWriteConnection()

    # -- the end

    def close(self) -> None:
        """End in order a session that does nothing."""
        if self._session is not None:
            self._session.finish()

    def writeConnectionLost(self) -> None:
        """Twisted: our end of stream has left; wait a moment for the reader's."""
        if self._served is not None:
            self._served.written()
        if self._input_ended:
            self.transport.loseConnection()
        else:
            self._alarm.set(LINGER_SECONDS, self.transport.loseConnection)

    def readConnectionLost(self) -> None:
        """Twisted: the reader will send no more; fine unless the request is still to come."""
        self._input_ended = True
        if self._decoder is not None:
            self.note("closed without a request", "")
            self.transport.loseConnection()
        elif self._ended:
            self.transport.loseConnection()
        elif self._session is not None:
            self._session.finish()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Twisted: the connection is gone; hold nothing."""
        self._alarm.clear()
        if self._served is not None:
            self._served.lost(clean=bool(reason.check(error.ConnectionDone)))
        self.factory.gone(self)

    def abort(self, result: str) -> None:
        """Cut the connection now; an upload that was not finished is logged with this result."""
        if self._served is not None:
            self._served.abort(result)
        else:
            self.transport.abortConnection()
