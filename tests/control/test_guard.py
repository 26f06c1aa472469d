"""Who may ask the API: the headers alone decide."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from peershare.control.guard import Guard, check_json
from peershare.control.messages import ProblemError

TOKEN = "t0ken"


class GuardTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.guard = Guard(TOKEN, "127.0.0.20", 5002)

    def status(self, *pairs: tuple[str, str]) -> int:
        """What a request with these headers would be answered with."""
        headers = Headers()
        for name, value in pairs:
            headers.addRawHeader(name, value)
        try:
            self.guard.check(headers)
        except ProblemError as problem:
            return problem.status
        return 200

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
        self.guard = Guard(TOKEN, "127.0.0.20", 80)
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


class CheckJsonTests(SynchronousTestCase):
    def refused(self, *values: str) -> bool:
        headers = Headers({"content-type": list(values)}) if values else Headers()
        try:
            check_json(headers)
        except ProblemError as problem:
            self.assertEqual(problem.status, 415)
            return True
        return False

    def test_json(self) -> None:
        """JSON is JSON in any case and with a parameter."""
        self.assertFalse(self.refused("application/json"))
        self.assertFalse(self.refused("Application/JSON; charset=utf-8"))

    def test_forms(self) -> None:
        """What a page of another site can send unasked is refused."""
        for value in (
            *("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"),
            *("", "application/jsonp", "text/plain; application/json"),
        ):
            self.assertTrue(self.refused(value), value)
        self.assertTrue(self.refused())
        self.assertTrue(self.refused("application/json", "text/plain"))
