"""The guard: who may ask the API at all (hostile world, 25).  Pure.

Any web page in any browser on this machine can send requests to a loopback port; a name that
is rebound to 127.0.0.1 even gets to read the answers.  So a request must name a host that we
are, come from no foreign origin, and know the token, which lies in a file that only its owner
can read.  Not for: what is asked.
"""

from __future__ import annotations

import hmac

from twisted.web.http_headers import Headers

from peershare.control.messages import problem

_HTTP_PORT = 80


class Guard:
    """Judges the headers of a request."""

    def __init__(self, token: str, address: str, port: int) -> None:
        """`address` and `port` are where the API listens."""
        self._token = token.encode("ascii")
        names = (address, "localhost", "127.0.0.1")
        hosts = [f"{name}:{port}" for name in names]
        if port == _HTTP_PORT:
            hosts.extend(names)
        self._hosts = frozenset(host.encode("ascii") for host in hosts)
        self._origins = frozenset(b"http://" + host for host in self._hosts)

    def check(self, headers: Headers) -> None:
        """Raise `ProblemError` (403 or 401) unless the request may be answered."""
        if _only(headers, "host").lower() not in self._hosts:
            raise problem(403, "bad-host", "this API answers to its own address alone")
        if headers.hasHeader("origin") and _only(headers, "origin").lower() not in self._origins:
            raise problem(403, "bad-origin", "this API answers to no other site's pages")
        scheme, _, token = _only(headers, "authorization").partition(b" ")
        known = hmac.compare_digest(token.strip(), self._token)
        if scheme.lower() != b"bearer" or not known:
            raise problem(
                401,
                "bad-token",
                "the token is missing or wrong; it is in control.json in the state folder",
            )


def check_json(headers: Headers) -> None:
    """Raise `ProblemError` (415) unless the body is said to be JSON.

    A page of another site can send forms and plain text without asking, but never this type.
    """
    kind = _only(headers, "content-type").split(b";")[0].strip().lower()
    if kind != b"application/json":
        raise problem(415, "not-json", "send the body with Content-Type: application/json")


def _only(headers: Headers, name: str) -> bytes:
    """The one value of a header; none at all and several are both nothing."""
    values = headers.getRawHeaders(name.encode("ascii")) or []
    return values[0] if len(values) == 1 else b""
