"""The guard: who may ask the API at all (hostile world, 25).  Pure.

Any web page in any browser on this machine can send requests to a loopback port; a name that
is rebound to 127.0.0.1 even gets to read the answers.  So a request must name a host that we
are, come from no foreign origin, and know the token, which lies in a file that only its owner
can read, or the session of a browser that this owner has opened the page in.  A cookie goes
wherever the browser goes, so a session alone changes nothing: our own page must have asked.
Not for: what is asked.
"""

from __future__ import annotations

import hmac

from twisted.web.http_headers import Headers

from peershare.control.messages import problem
from peershare.control.opening import Openings
from peershare.control.proof import Proof, ProofQuery, is_client, prove
from peershare.control.route import BYTES, JSON

_HTTP_PORT = 80
# What a browser says of a request that our own page made, or the person at the keyboard.
_OWN_SITES = (b"", b"same-origin", b"none")


class Guard:
    """Judges the headers of a request."""

    def __init__(self, token: str, address: str, port: int, openings: Openings) -> None:
        """`address` and `port` are where the API listens."""
        self._token = token.encode("ascii")
        self._openings = openings
        names = (address, "localhost", "127.0.0.1")
        hosts = [f"{name}:{port}" for name in names]
        if port == _HTTP_PORT:
            hosts.extend(names)
        self._hosts = frozenset(host.encode("ascii") for host in hosts)
        self._origins = frozenset(b"http://" + host for host in self._hosts)
        # cookies know no ports: without ours in its name, two nodes would replace each other's
        self.cookie_name = f"peershare-{port}"

    def check_site(self, headers: Headers) -> None:
        """Raise `ProblemError` (403) unless the request is meant for us, and from no other site."""
        if _only(headers, "host").lower() not in self._hosts:
            raise problem(403, "bad-host", "this API answers to its own address alone")
        if headers.hasHeader("origin") and _only(headers, "origin").lower() not in self._origins:
            raise problem(403, "bad-origin", "this API answers to no other site's pages")

    def has_token(self, headers: Headers) -> bool:
        """Whether the request shows the token."""
        scheme, _, token = _only(headers, "authorization").partition(b" ")
        known = hmac.compare_digest(token.strip(), self._token)
        return known and scheme.lower() == b"bearer"

    def prove(self, query: ProofQuery) -> Proof:
        """Show that the token is known here."""
        return prove(self._token.decode("ascii"), query.nonce)

    def knows_client(self, query: ProofQuery) -> bool:
        """Whether who asks for the proof has shown that it knows the token, too."""
        return is_client(self._token.decode("ascii"), query.nonce, query.mac)

    def has_session(self, headers: Headers) -> bool:
        """Whether the request shows a session: its browser is one that the page was opened in."""
        sessions = _cookies(headers, self.cookie_name.encode("ascii"))
        return any(map(self._openings.knows, sessions))

    def check_token(self, headers: Headers) -> None:
        """Raise `ProblemError` (401) unless the request shows the token."""
        if not self.has_token(headers):
            raise problem(
                401,
                "bad-token",
                "the token is missing or wrong; it is in control.json in the state folder"
                " (a browser is let in by: peershare open)",
            )

    def check_session(self, headers: Headers, *, changes: bool = False) -> None:
        """Raise `ProblemError` unless our own page asks, in a browser that it was opened in.

        401 for another browser, 403 for another page; `changes`: it is to change something.
        """
        if not self.has_session(headers):
            raise problem(401, "bad-token", "the page is not open here; open it: peershare open")
        _check_own_page(headers, changes)

    def check(self, headers: Headers, *, changes: bool = False) -> None:
        """Raise `ProblemError` (401 or 403) unless the request shows the token or a session.

        Where it shows any token, that alone counts.
        """
        if not headers.hasHeader("authorization") and self.has_session(headers):
            self.check_session(headers, changes=changes)
        else:
            self.check_token(headers)


def _check_own_page(headers: Headers, changes: bool) -> None:
    """Raise `ProblemError` (403) if a browser that is let in was sent by another site's page."""
    if _only(headers, "sec-fetch-site").lower() not in _OWN_SITES:
        raise problem(403, "bad-origin", "this API answers to no other site's pages")
    if changes and not headers.hasHeader("origin"):
        raise problem(403, "bad-origin", "a change asked with a cookie needs our own Origin")


def check_type(headers: Headers, wanted: str) -> None:
    """Raise `ProblemError` (415) unless the body is said to be of this type.

    A page of another site can send forms and plain text without asking, but neither JSON nor
    bytes of no kind.
    """
    kind = _only(headers, "content-type").split(b";")[0].strip().lower()
    if kind != wanted.encode("ascii"):
        code = {JSON: "not-json", BYTES: "not-octets"}[wanted]
        raise problem(415, code, f"send the body with Content-Type: {wanted}")


def _only(headers: Headers, name: str) -> bytes:
    """The one value of a header; none at all and several are both nothing."""
    values = headers.getRawHeaders(name.encode("ascii")) or []
    return values[0] if len(values) == 1 else b""


def _cookies(headers: Headers, name: bytes) -> list[bytes]:
    """The values of every cookie of this name."""
    pairs = b";".join(headers.getRawHeaders(b"cookie") or []).split(b";")
    return [
        value for key, _, value in (pair.strip().partition(b"=") for pair in pairs) if key == name
    ]
