"""ApiRequest: one request, which is judged when its headers are here, before any of its body.

Who may not ask is told so at once, and the body is not kept; what is kept of a body is bounded.
Not for: judging or answering (`resource`).
"""

from __future__ import annotations

from io import BytesIO
from typing import Any, Protocol

from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.server import Request as SiteRequest

from peershare.control.api import local_problem
from peershare.control.messages import ProblemError, problem
from peershare.control.responding import make_strict, write_problem
from peershare.control.route import Route
from peershare.control.uploads import Upload

MAX_BODY_BYTES = 64 * 1024
# The body of a request that was refused is read and thrown away up to here, so that its sender
# gets to read why; then the connection is cut.
MAX_SURPLUS_BYTES = 1024 * 1024


class Answering(Protocol):
    """What stands behind the requests."""

    def admit(self, request: ApiRequest, length: int | None) -> None:
        """Judge the headers of a request: set its `route`, `item`, and `upload`, or raise.

        `length` is that of the body, None if it is not told.  Raises `ProblemError`, `LocalError`.
        """

    def answer(self, request: ApiRequest) -> None:
        """The body is here too: answer."""


class ApiRequest(SiteRequest):
    """A request whose body is bounded, or goes where it belongs as it comes."""

    _log = Logger()

    route: Route
    item = ""  # what stands for the variable part of the path
    upload: Upload | None = None
    _body_bytes = 0
    _whole = False
    _timeout: float | None = None  # how long the connection may be idle, while it is held
    _refused_at: int | None = None  # how much of the body was here

    def gotLength(self, length: int | None) -> None:
        """Twisted: the headers are here."""
        self.content = BytesIO()
        channel: Any = self.channel
        # Twisted hands these over only when the body is here, too
        self.method, self.uri = channel._command, channel._path
        self.clientproto = channel._version
        self.path = self.uri.partition(b"?")[0]
        make_strict(self)
        try:
            self._answering().admit(self, length)
            if self.upload is None and length is not None and length > MAX_BODY_BYTES:
                raise too_large()
        except Exception as error:
            self.refuse(error, more=length != 0)

    def handleContentChunk(self, data: bytes) -> None:
        """Twisted: some of the body is here."""
        self._body_bytes += len(data)
        if self._refused_at is not None:
            if self._body_bytes - self._refused_at > MAX_SURPLUS_BYTES:
                transport: Any = self.channel.transport
                transport.loseConnection()
        elif self.upload is not None:
            self.upload.write(data)
        elif self._body_bytes > MAX_BODY_BYTES:
            self.refuse(too_large())
        else:
            super().handleContentChunk(data)

    def process(self) -> None:
        """Twisted: all of the body is here."""
        self._whole = True
        if self._timeout is not None:
            self._end_connection()  # else it would have no timeout any more
        if self._refused_at is not None:
            self.finish()
        else:
            self._answering().answer(self)

    def connectionLost(self, reason: Failure) -> None:
        """Twisted: who asked has gone."""
        if self.upload is not None:
            self.upload.abort()
        super().connectionLost(reason)

    def mark_known(self) -> None:
        """Whoever asks has shown that it may: its connection is no stranger's."""
        channel: Any = self.channel
        if channel is not None:
            channel.transport.mark_known()

    def pause_body(self) -> None:
        """Read no more of the body for now; it is not the sender who is slow."""
        channel: Any = self.channel
        self._timeout = channel.setTimeout(None)
        channel.transport.pauseProducing()

    def resume_body(self) -> None:
        """Read on."""
        channel: Any = self.channel
        if channel is not None:
            if not self._whole:
                channel.setTimeout(self._timeout)
            self._timeout = None
            channel.transport.resumeProducing()

    def refuse(self, error: BaseException, *, more: bool = True) -> None:
        """Say what is wrong, now; `more`: some of the body is still to come, and not wanted."""
        if self._refused_at is not None or self.channel is None:
            return
        self._refused_at = self._body_bytes
        self.content = BytesIO()
        if more:
            self._end_connection()
            self.requestHeaders.removeHeader(b"expect")  # else Twisted asks for the body
        write_problem(self, problem_for(error))

    def _end_connection(self) -> None:
        """This answer is the last one on its connection."""
        channel: Any = self.channel
        channel.persistent = False
        self.setHeader(b"connection", b"close")

    def _answering(self) -> Answering:
        channel: Any = self.channel
        answering: Answering = channel.site.resource
        return answering


def problem_for(error: BaseException) -> ProblemError:
    """The answer for what was raised; a bug is logged here and only named there."""
    found = local_problem(error)
    if found is None:
        ApiRequest._log.failure("a request to the API failed", failure=Failure(error))
        found = problem(500, "internal", "an internal error; the service's log has the details")
    return found


def too_large() -> ProblemError:
    """The refusal of a long body."""
    return problem(413, "too-large", f"a body has at most {MAX_BODY_BYTES} bytes")
