"""The guest site: from a request to what is answered.

Whatever does not begin with the token, and whatever is not there, is one and the same 404, so that
nothing is learned by asking.  Not for: connections, or the bytes of files.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from urllib.parse import parse_qs

from peershare.content.chunks import ByteRange
from peershare.guest.inbox import Inbox
from peershare.guest.multipart import FormDecoder, boundary_of
from peershare.guest.naming import disposition
from peershare.guest.offers import Offer, Offers
from peershare.guest.pages import (
    LINES_A_PAGE,
    SCRIPT,
    STYLE,
    Listing,
    list_page,
    sentence_page,
)
from peershare.guest.ranges import select
from peershare.guest.request import HttpError, Request

_REASONS = {
    200: "OK",
    206: "Partial Content",
    303: "See Other",
    304: "Not Modified",
    308: "Permanent Redirect",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    411: "Length Required",
    412: "Precondition Failed",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    416: "Range Not Satisfiable",
    431: "Request Header Fields Too Large",
    507: "Insufficient Storage",
}
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_FILE_POLICY = "sandbox; default-src 'none'; frame-ancestors 'none'"
_ALWAYS = (
    ("Connection", "close"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
_HTML, _TEXT = "text/html; charset=utf-8", "text/plain; charset=utf-8"
_MAX_FIND_LENGTH = 200
_FORM_ROOM_BYTES = 1 << 16


@dataclass(frozen=True)
class Response:
    """A whole answer: its head, and a body that may be empty."""

    status: int
    head: bytes
    body: bytes = b""


@dataclass(frozen=True)
class FileResponse:
    """A head, and the bytes of a file that follow it."""

    head: bytes
    offer: Offer
    range: ByteRange


@dataclass(frozen=True)
class UploadResponse:
    """A body is to be read first; `decoder` takes `length` bytes of it."""

    decoder: FormDecoder
    length: int
    plain: bool


Answer = Response | FileResponse | UploadResponse


class GuestSite:
    """Answers requests."""

    def __init__(
        self,
        token: str,
        offers: Offers,
        inbox: Inbox | None,
        upload_limit: int,
        wall_clock: Callable[[], float],
    ) -> None:
        """`inbox` None: nothing is taken; `upload_limit` in bytes."""
        self._token = token.encode("ascii")
        self._offers = offers
        self._inbox = inbox
        self._upload_limit = upload_limit
        self._wall_clock = wall_clock

    def answer(self, request: Request) -> Answer:
        """What is answered to a request.  Raises `HttpError`."""
        token, *path = request.path
        if not hmac.compare_digest(token.encode("utf-8", "surrogateescape"), self._token):
            raise not_found()
        if not path:
            return self._response(308, [("Location", f"/{self._token.decode()}/")])
        if path == ["upload"] and self._inbox is not None:
            _allow(request, "POST")
            return self._upload(request)
        if path == [""]:
            _allow(request, "GET", "HEAD")
            return self._list(request)
        for name, kind, data in (("guest.css", "css", STYLE), ("guest.js", "javascript", SCRIPT)):
            if path == [name]:
                _allow(request, "GET", "HEAD")
                return self._whole(request, 200, f"text/{kind}; charset=utf-8", data)
        offer = self._offers.find(path[0], path[1]) if len(path) == 2 else None
        if offer is None:
            raise not_found()
        _allow(request, "GET", "HEAD")
        return self._file(request, offer)

    def refusal(
        self, error: HttpError, request: Request | None, *, plain: bool = False
    ) -> Response:
        """The answer that says why there is no other."""
        more = [("Allow", error.allowed)] if isinstance(error, WrongMethodError) else []
        if plain:
            return self._whole(request, error.status, _TEXT, f"{error}".encode(), more)
        body = sentence_page(_REASONS[error.status], str(error))
        return self._whole(request, error.status, _HTML, body, more)

    def taken(self, plain: bool) -> Response:
        """The answer to an upload that has come whole."""
        if plain:
            text = b"It arrived, and waits until somebody there accepts it."
            return self._whole(None, 200, _TEXT, text)
        return self._response(303, [("Location", f"/{self._token.decode()}/?sent=1")])

    # -- below

    def _list(self, request: Request) -> Response:
        query = _query(request.query)
        find = query.get("find", [""])[0][:_MAX_FIND_LENGTH]
        offers = self._offers.matching(find) if find else self._offers.all()
        digits = query.get("page", ["1"])[0]
        page = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 7 else 1
        page = max(1, min(page, -(-len(offers) // LINES_A_PAGE)))
        some = offers[(page - 1) * LINES_A_PAGE : page * LINES_A_PAGE]
        listing = Listing(
            [(offer, self._offers.held_bytes(offer)) for offer in some],
            len(offers),
            find,
            page,
            self._upload_limit if self._inbox is not None else None,
            "sent" in query,
        )
        return self._whole(request, 200, _HTML, list_page(listing))

    def _file(self, request: Request, offer: Offer) -> Answer:
        selection = select(request.method, request.headers, offer.size, offer.etag)
        start, stop = selection.range
        headers = [
            ("ETag", offer.etag),
            ("Accept-Ranges", "bytes"),
            ("Cache-Control", "private, no-cache, no-transform"),
            ("Content-Security-Policy", _FILE_POLICY),
        ]
        if selection.status in (304, 412):
            return self._response(selection.status, headers)
        if selection.status == 416:
            headers.append(("Content-Range", f"bytes */{offer.size}"))
            return self._response(416, headers)
        if selection.status == 206:
            headers.append(("Content-Range", f"bytes {start}-{stop - 1}/{offer.size}"))
        headers += (
            ("Content-Type", "application/octet-stream"),
            ("Content-Disposition", disposition(offer.name)),
            ("Content-Length", str(stop - start)),
        )
        head = self._head(selection.status, headers)
        if request.method == "HEAD":
            return Response(selection.status, head)
        return FileResponse(head, offer, selection.range)

    def _upload(self, request: Request) -> UploadResponse:
        if request.length is None:
            raise HttpError(411, "say how long the body is: Content-Length")
        if not request.length:
            raise HttpError(400, "no file was chosen")
        if request.length > self._upload_limit + _FORM_ROOM_BYTES:
            raise HttpError(413, f"at most {self._upload_limit:,} bytes at a time, please")
        boundary = boundary_of(request.headers.get("content-type", ""))
        decoder = FormDecoder(boundary, request.length)
        return UploadResponse(decoder, request.length, wants_text(request))

    def _whole(
        self,
        request: Request | None,
        status: int,
        kind: str,
        body: bytes,
        more: list[tuple[str, str]] | None = None,
    ) -> Response:
        headers = [
            *(more or ()),
            ("Cache-Control", "no-store"),
            ("Content-Security-Policy", _PAGE_POLICY),
            ("Content-Type", kind),
            ("Content-Length", str(len(body))),
        ]
        head = self._head(status, headers)
        return Response(status, head, b"" if request and request.method == "HEAD" else body)

    def _response(self, status: int, headers: list[tuple[str, str]]) -> Response:
        """An answer without a body."""
        length = [] if status == 304 else [("Content-Length", "0")]
        return Response(status, self._head(status, [*headers, *length]))

    def _head(self, status: int, headers: list[tuple[str, str]]) -> bytes:
        lines = [f"HTTP/1.1 {status} {_REASONS[status]}"]
        date = ("Date", formatdate(self._wall_clock(), usegmt=True))
        lines += (f"{name}: {value}" for name, value in (date, *_ALWAYS, *headers))
        return "\r\n".join([*lines, "", ""]).encode("ascii")


class WrongMethodError(HttpError):
    """A method that this path does not know; `allowed` are those that it does."""

    def __init__(self, allowed: tuple[str, ...]) -> None:
        super().__init__(405, "this cannot be done here")
        self.allowed = ", ".join(allowed)


def not_found() -> HttpError:
    """The one answer to everything that is not there."""
    return HttpError(
        404, "There is nothing here. A link of this page is long, and has to be whole."
    )


def wants_text(request: Request) -> bool:
    """Whether it is our script that asks: then the answer is a sentence, not a page."""
    return request.headers.get("accept", "") == "text/plain"


def _query(text: str) -> dict[str, list[str]]:
    """What is asked of the list; nothing if it makes no sense."""
    try:
        return parse_qs(text, max_num_fields=10)
    except ValueError:
        return {}


def _allow(request: Request, *methods: str) -> None:
    if request.method not in methods:
        raise WrongMethodError(methods)
