"""Responding: the answers that HTTP gets, each with the strict headers.

Not for: what is answered (`resource`, `api`).
"""

from __future__ import annotations

import msgspec
from twisted.web.http import Request, datetimeToString

from peershare.control.messages import SHOWN_HEADER, TOTAL_HEADER, ProblemError
from peershare.status import Listing

API_POLICY = b"default-src 'none'; frame-ancestors 'none'"
PAGE_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    b" connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none';"
    b" frame-ancestors 'none'"
)
JSON_TYPE = b"application/json"
HTML_TYPE = b"text/html; charset=utf-8"

_HEADERS = {
    b"server": b"peershare",
    b"cache-control": b"no-store",
    b"content-security-policy": API_POLICY,
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"referrer-policy": b"no-referrer",
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
}


def make_strict(request: Request) -> None:
    """Nothing may frame the answer, sniff its type, keep it, or read it from another origin."""
    for name, value in _HEADERS.items():
        request.setHeader(name, value)
    request.setHeader(b"date", datetimeToString())


def write_answer(request: Request, status: int, kind: bytes, body: bytes) -> None:
    """Write a whole answer; whoever calls this finishes the request."""
    request.setResponseCode(status)
    request.setHeader(b"content-type", kind)
    request.setHeader(b"content-length", b"%d" % len(body))
    request.write(b"" if request.method == b"HEAD" else body)


def send(request: Request, status: int, kind: bytes, body: bytes) -> None:
    """Answer."""
    write_answer(request, status, kind, body)
    request.finish()


def json_of(value: object) -> bytes:
    """A value of ours as JSON; what is no UTF-8 in a path or a name becomes question marks."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return msgspec.json.encode(_printable(msgspec.to_builtins(value)))


def _printable(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {_printable(key): _printable(one) for key, one in value.items()}
    return [_printable(one) for one in value] if isinstance(value, list | tuple) else value


def send_json(request: Request, status: int, value: object) -> None:
    """Answer with a value of ours; of a `Listing` the rows are the body, the rest are headers."""
    if isinstance(value, Listing):
        request.setHeader(TOTAL_HEADER.encode("ascii"), b"%d" % value.total)
        request.setHeader(SHOWN_HEADER.encode("ascii"), b"%d" % value.shown)
        value = value.contents
    send(request, status, JSON_TYPE, json_of(value))


def write_problem(request: Request, found: ProblemError) -> None:
    """Write what is wrong; whoever calls this finishes the request."""
    if found.allowed:
        request.setHeader(b"allow", ", ".join(found.allowed).encode("ascii"))
    if found.status == 401:
        request.setHeader(b"www-authenticate", b"Bearer")
    write_answer(request, found.status, JSON_TYPE, json_of(found.error))
