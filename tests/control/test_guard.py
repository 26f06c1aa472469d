"""Who may ask the API: the headers alone decide."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from peershare.control.guard import Guard, check_type
from peershare.control.messages import ProblemError
from peershare.control.opening import Openings
from peershare.control.route import BYTES, JSON

TOKEN = "t0ken"


class GuardTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.openings = Openings(lambda: 0.0)
        self.guard = Guard(TOKEN, "127.0.0.20", 5002, self.openings)

    def status(self, *pairs: tuple[str, str], changes: bool = False) -> int:
        """What a request with these headers would be answered with."""
        headers = Headers()
        for name, value in pairs:
            headers.addRawHeader(name, value)
        try:
            self.guard.check_site(headers)
            self.guard.check(headers, changes=changes)
        except ProblemError as problem:
            return problem.status
        return 200


class GuardTests(GuardTestCase):
    def with_host(self, host: str) -> int:
        return self.status(("host", host), ("authorization", f"Bearer {TOKEN}"))

    def with_token(self, value: str) -> int:
        return self.status(("host", "127.0.0.20:5002"), ("authorization", value))

    def with_origin(self, origin: str) -> int:
        good = ("host", "127.0.0.20:5002"), ("authorization", f"Bearer {TOKEN}")
        return self.status(*good, ("origin", origin))

    def test_own_hosts(self) -> None:
        """The address it listens on and the two names of loopback are its own, with the port."""
        for host in ("127.0.0.20:5002", "localhost:5002", "127.0.0.1:5002", "LocalHost:5002"):
            self.assertEqual(self.with_host(host), 200, host)

    def test_rebound_names(self) -> None:
        """Any other name, port or spelling is refused: a name can be rebound to loopback."""
        for host in (
            *("evil.example:5002", "evil.example", "127.0.0.20", "127.0.0.20:80", "localhost", ""),
            *("localhost:5002.evil.example", "[::1]:5002", "127.0.0.2:5002", "0.0.0.0:5002"),
            *("user@127.0.0.20:5002", "localhost.:5002", "127.1:5002", "2130706433:5002"),
        ):
            self.assertEqual(self.with_host(host), 403, host)

    def test_no_host_or_two(self) -> None:
        """Without exactly one Host it is not known who was meant."""
        token = ("authorization", f"Bearer {TOKEN}")
        host = ("host", "127.0.0.20:5002")
        self.assertEqual(self.status(token), 403)
        self.assertEqual(self.status(host, ("host", "evil.example"), token), 403)

    def test_default_port(self) -> None:
        """On port 80 browsers leave the port out."""
        self.guard = Guard(TOKEN, "127.0.0.20", 80, self.openings)
        self.assertEqual(self.with_host("127.0.0.20"), 200)
        self.assertEqual(self.with_host("127.0.0.20:80"), 200)

    def test_own_origins(self) -> None:
        """A page that came from here may ask."""
        self.assertEqual(self.with_origin("http://127.0.0.20:5002"), 200)
        self.assertEqual(self.with_origin("http://localhost:5002"), 200)

    def test_foreign_origins(self) -> None:
        """Pages of other sites, of other ports, sandboxed and local ones may not, token or not."""
        for origin in (
            *("http://evil.example", "null", "", "file://", "https://127.0.0.20:5002"),
            *("http://127.0.0.20", "http://127.0.0.20:5003", "http://localhost:5002.evil.example"),
        ):
            self.assertEqual(self.with_origin(origin), 403, origin)

    def test_two_origins(self) -> None:
        """Two origins are none of ours, even if one is."""
        own = ("origin", "http://127.0.0.20:5002")
        good = ("host", "127.0.0.20:5002"), ("authorization", f"Bearer {TOKEN}")
        self.assertEqual(self.status(*good, own, own), 403)

    def test_tokens(self) -> None:
        """Only the token itself, as a bearer, opens."""
        self.assertEqual(self.with_token(f"Bearer {TOKEN}"), 200)
        self.assertEqual(self.with_token(f"bearer {TOKEN}"), 200)
        for value in (
            *("", "Bearer", "Bearer ", "Bearer t0ke", "Bearer t0ken2", "Basic t0ken", TOKEN),
            *("Bearer T0KEN", "Bearer tök€n", "Bearer t0ken t0ken"),
        ):
            self.assertEqual(self.with_token(value), 401, value)

    def test_no_token_or_two(self) -> None:
        """No Authorization, or two of them, is no token."""
        host, token = ("host", "127.0.0.20:5002"), ("authorization", f"Bearer {TOKEN}")
        self.assertEqual(self.status(host), 401)
        self.assertEqual(self.status(host, token, token), 401)


class SessionTests(GuardTestCase):
    """A browser that the page was opened in."""

    def setUp(self) -> None:
        super().setUp()
        self.session = self.openings.exchange(self.openings.new_code().encode())

    def with_cookie(self, cookie: str, *pairs: tuple[str, str], changes: bool = False) -> int:
        own = ("host", "127.0.0.20:5002"), ("cookie", cookie)
        return self.status(*own, *pairs, changes=changes)

    def test_session(self) -> None:
        """Its cookie opens, among others and whatever stands around it."""
        good = f"peershare-5002={self.session}"
        for cookie in (good, f"a=b; {good}", f"{good}; a=b", f"a;{good};;", f"{good} ; x=y"):
            self.assertEqual(self.with_cookie(cookie), 200, cookie)

    def test_no_session(self) -> None:
        """No other cookie does: not by another name, not part of it, not more than it."""
        for cookie in (
            *("", "peershare-5002", "peershare-5002=", f"peershare={self.session}", self.session),
            *(f"peershare-5003={self.session}", f"xpeershare-5002={self.session}"),
            *(f"peershare-5002={self.session}x", f"peershare-5002={self.session[:-1]}"),
            *(f'peershare-5002="{self.session}"', f"peershare-5002={TOKEN}"),
        ):
            self.assertEqual(self.with_cookie(cookie), 401, cookie)

    def test_cookie_of_the_same_name(self) -> None:
        """Another service of this host may set one of our name: it neither opens nor closes."""
        cookie = f"peershare-5002=forged; peershare-5002={self.session}"
        self.assertEqual(self.with_cookie(cookie), 200)

    def test_wrong_token_beside_it(self) -> None:
        """Who shows a token is judged by it alone."""
        cookie = f"peershare-5002={self.session}"
        self.assertEqual(self.with_cookie(cookie, ("authorization", "Bearer x")), 401)
        self.assertEqual(self.with_cookie(cookie, ("authorization", f"Bearer {TOKEN}")), 200)

    def test_changes(self) -> None:
        """What changes something has to come from our own page, and to say so."""
        cookie = f"peershare-5002={self.session}"
        own, other = "http://127.0.0.20:5002", "http://127.0.0.20:8000"
        self.assertEqual(self.with_cookie(cookie, changes=True), 403)
        self.assertEqual(self.with_cookie(cookie, ("origin", other), changes=True), 403)
        self.assertEqual(self.with_cookie(cookie, ("origin", own), changes=True), 200)

    def test_other_pages_of_this_host(self) -> None:
        """SameSite knows no ports: the browser tells a page of another one apart."""
        cookie = f"peershare-5002={self.session}"
        for site, status in (
            *(("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)),
            *(("", 200), ("SAME-ORIGIN", 200), ("nonsense", 403)),
        ):
            self.assertEqual(self.with_cookie(cookie, ("sec-fetch-site", site)), status, site)


class CheckTypeTests(SynchronousTestCase):
    def refused(self, *values: str, wanted: str = JSON) -> bool:
        headers = Headers({"content-type": list(values)}) if values else Headers()
        try:
            check_type(headers, wanted)
        except ProblemError as problem:
            self.assertEqual(problem.status, 415)
            return True
        return False

    def test_wanted(self) -> None:
        """A type is itself in any case and with a parameter."""
        self.assertFalse(self.refused("application/json"))
        self.assertFalse(self.refused("Application/JSON; charset=utf-8"))
        self.assertFalse(self.refused("application/octet-stream", wanted=BYTES))

    def test_forms(self) -> None:
        """What a page of another site can send unasked is refused."""
        for value in (
            *("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"),
            *("", "application/jsonp", "text/plain; application/json"),
        ):
            for wanted in (JSON, BYTES):
                self.assertTrue(self.refused(value, wanted=wanted), value)
        self.assertTrue(self.refused())
        self.assertTrue(self.refused("application/json", "text/plain"))
        self.assertTrue(self.refused("application/json", wanted=BYTES))
