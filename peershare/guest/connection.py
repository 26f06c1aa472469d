"""One connection of a guest: a request, its answer, and the end.

Everything has its deadline: the head of a request (slow or endless ones), an upload that stands
still, a reader that does not read.  Not for: what is answered (`site`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet import error
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from peershare.guest.answering import OK, Answering, Means
from peershare.guest.giving import Giving
from peershare.guest.receiving import Receiving
from peershare.guest.request import HeadDecoder, HttpError, Request
from peershare.guest.site import (
    FileResponse,
    Response,
    UploadResponse,
    not_found,
    wants_text,
)
from peershare.pace import Pace, Verdict
from peershare.sending import is_theirs
from peershare.serving.host import CUT_SHORT
from peershare.timers import Alarm

# From the connection to the end of the head, however busily it comes.
HEAD_SECONDS = 10.0
STALLED_SECONDS = 30.0
CHECK_SECONDS = 5.0
# So long the next block of a download is waited for; whoever resumes later gets on from there.
PATIENCE_SECONDS = 300.0
# After our end of stream: so long the other side may still send, and so much, before it is cut.
LINGER_SECONDS = 5.0
_MAX_SURPLUS_BYTES = 64 << 20


@implementer(IHalfCloseableProtocol)
class GuestConnection(Protocol):
    """See the module."""

    transport: Any

    def __init__(self, means: Means, host: str, gone: Callable[[GuestConnection], None]) -> None:
        """`gone` is called when the connection is."""
        self._means = means
        self._host = host
        self._gone = gone
        self._alarm = Alarm(means.reactor)
        self._decoder: HeadDecoder | None = HeadDecoder()
        self._receiving: Receiving | None = None
        self._answering: Answering | None = None
        self._result = ""
        self._ended = self._input_ended = False
        self._surplus = 0
        self._pace = Pace(means.reactor.seconds(), STALLED_SECONDS)

    # -- the request

    def connectionMade(self) -> None:
        """Twisted: the deadline of the request begins."""
        self._alarm.set(HEAD_SECONDS, self.abort, "no request came in time")

    def dataReceived(self, data: bytes) -> None:
        """Twisted: some of the request, of an upload, or of what nobody asked for."""
        if self._decoder is not None:
            try:
                request = self._decoder.feed(data)
            except HttpError as refused:
                self._refuse(refused, None)
                return
            if request is not None:
                rest, self._decoder = self._decoder.rest, None
                self._answer(request, rest)
        elif self._receiving is not None:
            self._receiving.feed(data)
        else:
            self._surplus += len(data)
            if self._surplus > _MAX_SURPLUS_BYTES:
                self.abort("too much came")

    def _answer(self, request: Request, rest: bytes) -> None:
        try:
            answer = self._means.site.answer(request)
        except HttpError as refused:
            self._refuse(refused, request, plain=wants_text(request))
            return
        if isinstance(answer, UploadResponse):
            self._receive(answer, request, rest)
        elif isinstance(answer, FileResponse):
            giving = Giving(self._means.sources, answer.offer, answer.range)
            self._send(answer.head, giving)
        else:
            self._send(answer.head + answer.body)

    def _refuse(self, refused: HttpError, request: Request | None, *, plain: bool = False) -> None:
        self._decoder = None
        self._means.note(self._host, f"guest page: {refused.status}", str(refused))
        self._send_all(self._means.site.refusal(refused, request, plain=plain))

    def _send_all(self, response: Response) -> None:
        self._send(response.head + response.body)

    # -- uploads

    def _receive(self, answer: UploadResponse, request: Request, rest: bytes) -> None:
        inbox = self._means.inbox
        if inbox is None:
            self.abort("no uploads are taken")
            return

        def done(refused: HttpError | None) -> None:
            self._receiving = None
            if refused is None:
                self._send_all(self._means.site.taken(answer.plain))
            else:
                self._refuse(refused, None, plain=answer.plain)

        if not rest and request.headers.get("expect", "").lower() == "100-continue":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._receiving = Receiving(inbox, self._host, answer.decoder, answer.length, done)
        self._watch()
        self._receiving.feed(rest)

    # -- the answer

    def _send(self, head: bytes, giving: Giving | None = None) -> None:
        """Send these bytes, then those of the file, if there is one."""
        self._answering = Answering(
            self._means,
            self.transport,
            head,
            giving,
            done=self._done,
            failed=lambda failed: self._failed(failed, giving is not None),
        )
        self._watch()
        self._answering.start()

    def _done(self) -> None:
        """Answering: everything has left."""
        self._result = OK
        self._ended = True
        self.transport.loseWriteConnection()

    def _failed(self, failed: Exception, of_file: bool) -> None:
        """Answering: the file, or the connection, is in the way."""
        if is_theirs(failed):
            self.abort(CUT_SHORT)
            return
        self._means.rescan()
        if of_file and self._answering is not None and not self._answering.sent:
            self._answering.close()
            self._refuse(not_found(), None)
            return
        kind = "unreadable" if isinstance(failed, OSError) else "changed"
        self.abort(f"failed {kind}: {failed}")

    def awaits(self, content: str) -> bool:
        """Whether the next block of this content is waited for ("": of any)."""
        return self._answering is not None and self._answering.awaits(content)

    def wake(self) -> None:
        """Look again whether there is something to send."""
        if self._answering is not None and not self._ended:
            self._answering.wake()

    # -- deadlines

    def _watch(self) -> None:
        self._pace = Pace(self._means.reactor.seconds(), STALLED_SECONDS)
        self._alarm.set(CHECK_SECONDS, self._check)

    def _check(self) -> None:
        """Cut whoever does not read, or does not send."""
        now = self._means.reactor.seconds()
        total, answering = 0, self._answering
        if self._receiving is not None:
            total = self._receiving.received
            if self._receiving.waiting:
                self._pace.excuse(now)
        elif answering is not None:
            total, since = answering.sent, answering.waiting_since
            if since is not None and now - since >= PATIENCE_SECONDS:
                self.abort("failed waited: the next block did not arrive here in time")
                return
            if answering.was_held_up():
                self._pace.excuse(now)
            answering.count(self._host)
        verdict = self._pace.judge(now, total)
        if verdict is Verdict.MOVING:
            self._alarm.set(CHECK_SECONDS, self._check)
        elif verdict is Verdict.STALLED:
            self.abort(f"failed stalled: nothing moved for {STALLED_SECONDS:.0f} s")
        else:
            self.abort("failed too-slow: less than 1 KiB a second moved")

    # -- the end

    def abort(self, result: str) -> None:
        """Cut the connection now."""
        if not self._ended:
            self._result = result
        self._ended = True
        self.transport.abortConnection()

    def writeConnectionLost(self) -> None:
        """Twisted: our end of stream has left; wait a moment for the other's."""
        if self._input_ended:
            self.transport.loseConnection()
        else:
            self._alarm.set(LINGER_SECONDS, self.transport.loseConnection)

    def readConnectionLost(self) -> None:
        """Twisted: nothing more will come."""
        self._input_ended = True
        if self._decoder is not None or self._receiving is not None or self._ended:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Twisted: the connection is gone; hold nothing."""
        self._alarm.clear()
        if self._receiving is not None:
            self._receiving.lost()
        if self._answering is not None:
            cut = self._result == OK and not reason.check(error.ConnectionDone)
            self._answering.lost(self._host, "" if cut else self._result)
        self._gone(self)
