"""HTTP for the API: from a request to a call, from a reply or a problem to a response.

Every response carries strict headers, and nothing of an exception but that there was one.
Not for: the routes (`api`), or who may ask (`guard`).
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from twisted.web.server import Request as SiteRequest

from peershare.control.api import (
    EVENTS_PATH,
    Api,
    Call,
    Reply,
    find_handler,
    local_problem,
    wrong_method,
)
from peershare.control.events import EventStreams
from peershare.control.guard import Guard, check_json
from peershare.control.messages import ProblemError, problem

MAX_BODY_BYTES = 64 * 1024
# A body that is too long is read and thrown away up to here, so that its sender gets to read
# why it was refused; then the connection is cut.
_MAX_SURPLUS_BYTES = 1024 * 1024

_HEADERS = {
    b"server": b"peershare",
    b"cache-control": b"no-store",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"cross-origin-resource-policy": b"same-origin",
    b"referrer-policy": b"no-referrer",
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
}


class ApiRequest(SiteRequest):
    """A request whose body is bounded."""

    body_bytes = 0

    def gotLength(self, length: int | None) -> None:
        """Twisted: the headers are here."""
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        """Twisted: some of the body is here."""
        self.body_bytes += len(data)
        if self.body_bytes <= MAX_BODY_BYTES:
            super().handleContentChunk(data)
        elif self.body_bytes > _MAX_SURPLUS_BYTES:
            transport: Any = self.channel.transport
            transport.abortConnection()


class ApiResource(Resource):
    """The whole API: one leaf, so that nothing is answered that the guard has not seen."""

    isLeaf = True
    _log = Logger()

    def __init__(self, api: Api, streams: EventStreams, guard: Guard) -> None:
        super().__init__()
        self._api = api
        self._streams = streams
        self._guard = guard

    def render(self, request: ApiRequest) -> int:
        """Twisted: answer."""
        for name, value in _HEADERS.items():
            request.setHeader(name, value)
        answer: Deferred[None] = Deferred.fromCoroutine(self._answer(request))
        request.notifyFinish().addErrback(lambda _: answer.cancel())
        answer.addErrback(self._failed, request)
        answer.addErrback(lambda failure: self._log.failure("cannot answer", failure=failure))
        return NOT_DONE_YET

    async def _answer(self, request: ApiRequest) -> None:
        self._guard.check(request.requestHeaders)
        method, path = request.method.decode("ascii", "replace"), _path(request)
        if request.body_bytes > MAX_BODY_BYTES:
            raise problem(413, "too-large", f"a body has at most {MAX_BODY_BYTES} bytes")
        if path == EVENTS_PATH:
            if method != "GET":
                wrong_method(("GET",))
            self._streams.open(request)
            return
        handler, item = find_handler(method, path)
        body = request.content.read() if request.content else b""
        if method == "POST":
            check_json(request.requestHeaders)
        reply = handler(self._api, Call(item, request.args or {}, body))
        if isinstance(reply, Deferred):
            reply = await reply
        _send(request, reply)

    def _failed(self, failure: Failure, request: Request) -> None:
        """Answer with what is wrong; a bug is logged here and only named there."""
        if failure.check(CancelledError):
            return  # who asked has gone
        raised: Any = failure.value
        found = local_problem(raised)
        if found is None:
            self._log.failure("a request to the API failed", failure=failure)
            found = problem(500, "internal", "an internal error; the service's log has the details")
        _send_problem(request, found)


def _path(request: ApiRequest) -> tuple[str, ...]:
    """The path below /api.  Raises `ProblemError` (404) if it is another one."""
    segments = [segment.decode("utf-8", "replace") for segment in request.postpath or ()]
    if segments[:1] != ["api"]:
        raise problem(404, "unknown-path", "there is nothing at this path")
    return tuple(segments[1:])


def _send_problem(request: Request, found: ProblemError) -> None:
    if found.allowed:
        request.setHeader(b"allow", ", ".join(found.allowed).encode("ascii"))
    if found.status == 401:
        request.setHeader(b"www-authenticate", b"Bearer")
    _send(request, Reply(found.status, found.error))


def _send(request: Request, reply: Reply) -> None:
    body = msgspec.json.encode(reply.value)
    request.setResponseCode(reply.status)
    request.setHeader(b"content-type", b"application/json")
    request.setHeader(b"content-length", b"%d" % len(body))
    if request.method != b"HEAD":
        request.write(body)
    request.finish()
