"""What answers the requests: from a route and a request to an answer.

Nothing is answered that the guard has not seen, and nothing of an exception is told but that
there was one.  Not for: the routes (`routes`), who may ask (`guard`), the API's answers (`api`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import CACHED

from peershare import __version__
from peershare.control.api import Api
from peershare.control.events import EventStreams
from peershare.control.face import NodeFace
from peershare.control.guard import Guard, check_type
from peershare.control.messages import Health, OpeningCode, ProblemError, problem
from peershare.control.metrics import METRICS_TYPE, render_metrics
from peershare.control.opening import Openings
from peershare.control.pagefiles import (
    BAD_CODE_PAGE,
    CLOSED_PAGE,
    INDEX,
    OPENED_PAGE,
    PageFile,
)
from peershare.control.proof import PROOF_PATH, ProofQuery
from peershare.control.request import ApiRequest, problem_for
from peershare.control.responding import (
    HTML_TYPE,
    PAGE_POLICY,
    send,
    send_json,
    write_problem,
)
from peershare.control.route import Access, Route
from peershare.control.routes import find_route
from peershare.control.uploads import Uploads

_READING = ("GET", "HEAD")
_OPENING = "/api/opening"
_UPLOAD = "/api/shares/{name}"
_INDEX = "/"


class ApiResource:
    """All that is answered on the port; see `Answering`."""

    _log = Logger()

    def __init__(
        self,
        node: NodeFace,
        guard: Guard,
        openings: Openings,
        streams: EventStreams,
        uploads: Uploads,
        files: Mapping[str, PageFile],
    ) -> None:
        """`files` are those of the page."""
        self._node = node
        self._api = Api(node)
        self._guard = guard
        self._openings = openings
        self._streams = streams
        self._uploads = uploads
        self._files = files
        # the routes that ask no handler of the API
        self._own: dict[str, Callable[[ApiRequest], Any]] = {
            "/api/events": streams.open,
            _OPENING: self._new_code,
            _UPLOAD: self._share_upload,
            "/open": self._open_page,
            _INDEX: self._index,
            "/page/{name}": self._page_file,
            "/metrics": self._metrics,
            "/healthz": self._health,
            PROOF_PATH: self._prove,
        }

    # -- before the body

    def admit(self, request: ApiRequest, length: int | None) -> None:
        """Judge the headers of a request."""
        headers, method = request.requestHeaders, request.method.decode("ascii", "replace")
        self._guard.check_site(headers)
        try:
            route, item = find_route(method, _segments(request.path))
        except ProblemError:
            self._guard.check(headers, changes=method not in _READING)
            raise
        self._check_access(request, route)
        if route.takes_body:
            check_type(headers, route.body_media)
        request.route, request.item = route, item
        if route.path == _UPLOAD:
            request.upload = self._uploads.open(item, length, request, request.refuse)

    def _check_access(self, request: ApiRequest, route: Route) -> None:
        headers = request.requestHeaders
        if route.access is Access.OPEN or route.path == _INDEX:
            return
        if route.path == _OPENING:  # the page needs no other browser to be let in
            self._guard.check_token(headers)
        elif route.access is Access.COOKIE:
            self._guard.check_session(headers)
        else:
            self._guard.check(headers, changes=route.method not in _READING)
        request.mark_known()

    # -- the answer

    def answer(self, request: ApiRequest) -> None:
        """Answer a request that was admitted, and is whole."""
        answer: Deferred[None] = Deferred.fromCoroutine(self._answer(request))
        request.notifyFinish().addErrback(lambda _: answer.cancel())
        answer.addErrback(self._failed, request)
        answer.addErrback(lambda failure: self._log.failure("cannot answer", failure=failure))

    async def _answer(self, request: ApiRequest) -> None:
        route = request.route
        if route.handler is None:
            own = self._own[route.path](request)
            if isinstance(own, Deferred):
                await own
            return
        body = request.content.read() if request.content else b""
        value = route.call(self._api, request.item, request.args or {}, body)
        if isinstance(value, Deferred):
            value = await value
        send_json(request, route.status, value)

    def _failed(self, failure: Failure, request: ApiRequest) -> None:
        """Answer with what is wrong, unless who asked has gone."""
        if not failure.check(CancelledError):
            error: Any = failure.value
            write_problem(request, problem_for(error))
            request.finish()

    # -- the page

    def _index(self, request: ApiRequest) -> None:
        if self._guard.has_session(request.requestHeaders):
            self._send_file(request, self._files.get(INDEX))
        else:
            request.setHeader(b"www-authenticate", b"Bearer")
            send(request, 401, HTML_TYPE, CLOSED_PAGE)

    def _page_file(self, request: ApiRequest) -> None:
        self._send_file(request, self._files.get(request.item))

    def _send_file(self, request: ApiRequest, file: PageFile | None) -> None:
        if file is None:
            raise problem(404, "unknown-path", "there is nothing at this path")
        request.setHeader(b"cache-control", b"no-cache")
        request.setHeader(b"content-security-policy", PAGE_POLICY)
        if request.setETag(file.etag) is CACHED:
            request.finish()
        else:
            send(request, 200, file.kind, file.data)

    def _new_code(self, request: ApiRequest) -> None:
        request.route.decode(request.content.read() if request.content else b"")
        send_json(request, request.route.status, OpeningCode(self._openings.new_code()))

    def _open_page(self, request: ApiRequest) -> None:
        codes = (request.args or {}).get(b"code", [])
        session = self._openings.exchange(codes[0]) if len(codes) == 1 else None
        if session is None:
            send(request, 403, HTML_TYPE, BAD_CODE_PAGE)
            return
        name = self._guard.cookie_name
        request.addCookie(name, session, path="/", httpOnly=True, sameSite="strict")
        send(request, request.route.status, HTML_TYPE, OPENED_PAGE)

    # -- the rest

    def _share_upload(self, request: ApiRequest) -> Deferred[None]:
        assert request.upload is not None, "admitted without"
        shared = request.upload.finish()
        return shared.addCallback(lambda found: send_json(request, request.route.status, found))

    def _metrics(self, request: ApiRequest) -> None:
        node = self._node
        text = render_metrics(__version__, node.counters(), node.downloads(), self._streams.count)
        send(request, 200, METRICS_TYPE, text)

    def _prove(self, request: ApiRequest) -> None:
        query = request.route.decode_query(request.args or {})
        assert isinstance(query, ProofQuery)
        if self._guard.knows_client(query):
            request.mark_known()
        send_json(request, 200, self._guard.prove(query))

    def _health(self, request: ApiRequest) -> None:
        send_json(request, 200, Health())


def _segments(path: bytes) -> tuple[str, ...]:
    """The segments of a path; an escaped slash is a part of its segment, and no separator.

    Raises `ProblemError` (404) where it is no path.
    """
    if not path.startswith(b"/"):
        raise problem(404, "unknown-path", "there is nothing at this path")
    parts = path[1:].split(b"/")
    return tuple(unquote_to_bytes(part).decode("utf-8", "replace") for part in parts)
