"""No route answers whoever may not ask (hostile world, 25): each case over every route there is.

The cases run over `ROUTES`, so that a route which is added is asked all of this; `test_good` shows
that each of these requests is answered once its headers are good.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from peershare.control.messages import (
    Nothing,
    SetLimits,
    ShareFile,
    StartDownload,
    VerifyShares,
)
from peershare.control.proof import PROOF_PATH
from peershare.control.request import MAX_BODY_BYTES
from peershare.control.responding import API_POLICY, PAGE_POLICY
from peershare.control.route import EVENTS, JSON, Access, Route
from peershare.control.routes import ROUTES
from tests.control.http import ADDRESS, Response, ServiceTestCase, parse_response
from tests.control.test_guest_api import an_upload

# A body that would do, for each that there is.
BODIES: dict[object, bytes] = {
    Nothing: b"{}",
    SetLimits: b'{"upload":null,"download":null}',
    ShareFile: b'{"path":"/x"}',
    StartDownload: b'{"name":"bee"}',
    VerifyShares: b"{}",
}
# What stands for the variable part of a path.
ITEMS = {"/page/{name}": "main.js", "/api/shares/{name}": "x.bin"}
# What a good request names behind its path.
QUERIES = {PROOF_PATH: f"?nonce={64 * '0'}"}
FORMS = (
    *("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"),
    *("", "text/plain; application/json", "application/json-patch+json", None),
)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get", "PROPFIND")
# What a node in the network could have its name rebound to, and what parsers differ about.
HOSTS = (
    *("evil.example:{port}", "evil.example", "", "{port}", "127.0.0.20", "127.0.0.20:80"),
    *("localhost:{port}.evil.example", "127.0.0.20.evil.example:{port}", "[::1]:{port}"),
    *("user@127.0.0.20:{port}", "127.0.0.20:{port}@evil.example", "127.0.0.2:{port}"),
    *("localhost.:{port}", "2130706452:{port}", "0x7f000014:{port}", "0.0.0.0:{port}"),
    *("127.0.0.20:{port}, evil.example", "127.0.0.20:{port} evil.example", "127.0.0.20:0{port}"),
)
ORIGINS = (
    *("http://evil.example", "null", "", "file://", "https://127.0.0.20:{port}"),
    *("http://127.0.0.20", "http://127.0.0.20:8000", "http://127.0.0.20:{port}.evil.example"),
    *("http://evil.example:{port}", "chrome-extension://x", "http://127.0.0.20:{port}/"),
)


@dataclass(frozen=True)
class Asking:
    """A request that one of the routes answers, but for its headers."""

    route: Route
    path: str
    body: bytes | None

    @property
    def method(self) -> str:
        return self.route.method


def a_request(route: Route) -> Asking:
    """A good request for a route.  KeyError: say above what a good body for it is."""
    item = ITEMS.get(route.path, "1")
    path = "/".join(item if part[:1] == "{" else part for part in route.path.split("/"))
    body = None
    if route.takes_body:
        body = b"bytes" if route.body is None else BODIES[route.body]
    return Asking(route, path + QUERIES.get(route.path, ""), body)


ASKED = tuple(map(a_request, ROUTES))


class HostileTestCase(ServiceTestCase):
    timeout = 60

    async def send(self, asking: Asking, **changes: str | None) -> Response:
        """What it is answered with; good headers, but for these."""
        type_of_body = asking.route.body_media if asking.route.takes_body else None
        headers = self.headers(**{"content_type": type_of_body, **changes})
        if asking.route.reply_media == EVENTS:
            return await self.open_stream(asking, headers)
        return await self.ask(asking.method, asking.path, headers, asking.body)

    async def open_stream(self, asking: Asking, headers: list[tuple[str, str]]) -> Response:
        """The beginning of the answer, which may have no end."""
        wire = await self.connect()
        wire.transport.write(self.request(asking.method, asking.path, headers))
        await wire.until(b"\r\n\r\n")
        if b" 200 " not in wire.received.split(b"\r\n")[0]:
            return parse_response(await wire.ended)
        return parse_response(await wire.close())

    async def refuse(self, code: str, *, but: Access | None = None, **changes: str | None) -> None:
        """Every route refuses this with this code, but those that are open where they are excepted.

        Nothing is asked of the node, and nothing is left open.
        """
        for asking in ASKED:
            if asking.route.access is not but:
                self.refused(asking, await self.send(asking, **changes), code)
        self.untouched()

    def refused(self, asking: Asking, answer: Response, code: str) -> None:
        named = (asking.method, asking.path)
        self.strict(answer)
        if answer.headers["content-type"] == JSON:
            self.assertEqual(answer.json["error"], code, named)
        else:  # a page for people
            self.assertEqual((*named, code), ("GET", "/", "bad-token"))
            self.assertIn(b"peershare open", answer.body)
        self.assertEqual(answer.status, 401 if code == "bad-token" else 403, named)
        self.assertNotIn("set-cookie", answer.headers)

    def strict(self, answer: Response) -> None:
        """Nothing may frame it, sniff it, keep it or read it from another origin."""
        headers = answer.headers
        policies = [policy.decode() for policy in (API_POLICY, PAGE_POLICY)]
        self.assertIn(headers["content-security-policy"], policies)
        self.assertIn("frame-ancestors 'none'", headers["content-security-policy"])
        self.assertEqual(headers["x-frame-options"], "DENY")
        self.assertEqual(headers["x-content-type-options"], "nosniff")
        self.assertEqual(headers["referrer-policy"], "no-referrer")
        self.assertEqual(headers["cross-origin-resource-policy"], "same-origin")
        self.assertIn(headers["cache-control"], ("no-store", "no-cache"))
        self.assertEqual([name for name in headers if name.startswith("access-control")], [])
        self.assertNotIn("wisted", headers["server"])

    def untouched(self) -> None:
        """The node was asked nothing, and nobody listens to it."""
        self.assertEqual(self.node.asked, [])
        self.assertEqual(self.node.writers, [])
        self.assertEqual(self.node.observers, [])
        self.assertEqual(self.flushLoggedErrors(), [])


class EveryRouteTests(HostileTestCase):
    async def test_good(self) -> None:
        """With good headers each of these requests is answered, by token or by cookie."""
        self.node.start_download("forest", None)
        cookie = await self.open_page()
        for asking in ASKED:
            if asking.path == "/open":
                continue
            for allowed, access in (
                (asking.route.access is not Access.COOKIE, {}),
                (
                    asking.path != "/api/opening",
                    {"authorization": None, "cookie": cookie, "origin": self.origin},
                ),
            ):
                self.node.guest.uploads = [an_upload("1")]
                answer = await self.send(asking, **access)
                self.strict(answer)
                status = asking.route.status if allowed else 401
                self.assertEqual(answer.status, status, (asking.path, answer.body))

    async def test_hosts(self) -> None:
        """A name that was rebound to this address is refused with the right token, too."""
        for host in HOSTS:
            await self.refuse("bad-host", host=host.format(port=self.port))
        await self.refuse("bad-host", host=None)

    async def test_two_hosts(self) -> None:
        """Two hosts are none, even if both are ours; one of a proxy does not count."""
        for asking in ASKED:
            for extra in (f"{ADDRESS}:{self.port}", "evil.example"):
                headers = [*self.headers(), ("host", extra)]
                answer = await self.ask(asking.method, asking.path, headers, asking.body)
                self.refused(asking, answer, "bad-host")
        own = f"{ADDRESS}:{self.port}"
        await self.refuse("bad-host", host="evil.example", x_forwarded_host=own)
        self.untouched()

    async def test_origins(self) -> None:
        """A page of another site, a sandboxed one, or one of another port is refused."""
        for origin in ORIGINS:
            await self.refuse("bad-origin", origin=origin.format(port=self.port))

    async def test_two_origins(self) -> None:
        """Two origins are none of ours."""
        for asking in ASKED:
            headers = [*self.headers(origin=self.origin), ("origin", self.origin)]
            answer = await self.ask(asking.method, asking.path, headers, asking.body)
            self.refused(asking, answer, "bad-origin")
        self.untouched()

    async def test_tokens(self) -> None:
        """Without the token nothing is answered, nor with anything that is like it."""
        token = self.control.token
        for value in (
            *(None, "", "Bearer", "Bearer " + "x" * 43, f"Bearer {token}x", f"Bearer {token[:-1]}"),
            *(f"Basic {token}", token, f"Bearer {token.swapcase()}", f"Bearer {token} {token}"),
        ):
            await self.refuse("bad-token", but=Access.OPEN, authorization=value)

    async def test_cookies(self) -> None:
        """Nor with a cookie that is none of ours."""
        for value in (self.control.token, "x" * 43, ""):
            cookie = f"peershare-{self.port}={value}"
            await self.refuse("bad-token", but=Access.OPEN, authorization=None, cookie=cookie)

    async def test_token_elsewhere(self) -> None:
        """A token in an address, where logs and histories see it, is no token."""
        for asking in ASKED:
            if asking.route.access is not Access.OPEN:
                for name in ("token", "access_token", "code"):
                    path = f"{asking.path}?{name}={self.control.token}"
                    headers = self.headers(authorization=None)
                    answer = await self.ask(asking.method, path, headers, asking.body)
                    self.refused(asking, answer, "bad-token")
        self.untouched()

    async def test_cookie_without_origin(self) -> None:
        """A cookie that was sent by itself changes nothing."""
        cookie = await self.open_page()
        for asking in ASKED:
            if asking.method != "GET" and asking.path != "/api/opening":
                answer = await self.send(asking, authorization=None, cookie=cookie)
                self.refused(asking, answer, "bad-origin")
        self.untouched()

    async def test_cookie_from_another_page(self) -> None:
        """Nor does it show anything to a page of another port of this host, but the page itself."""
        cookie = await self.open_page()
        for asking in ASKED:
            if asking.route.access is Access.OPEN or asking.path in ("/", "/api/opening"):
                continue
            changes = {"authorization": None, "cookie": cookie, "sec_fetch_site": "same-site"}
            self.refused(asking, await self.send(asking, **changes), "bad-origin")
        self.untouched()

    async def test_forms(self) -> None:
        """A change with a body that another site's page could send is refused."""
        for asking in ASKED:
            if not asking.route.takes_body:
                continue
            for kind in FORMS:
                answer = await self.send(asking, content_type=kind)
                self.assertEqual(answer.status, 415, (asking.path, kind))
                self.strict(answer)
        self.untouched()

    async def test_methods(self) -> None:
        """A method that a path does not know is 405 with those it knows; none is let pass.

        Nothing of the request comes back, and no other origin is told that it may ask.
        """
        known: dict[str, set[str]] = {}
        for asking in ASKED:
            known.setdefault(asking.path, set()).add(asking.method)
        for path, methods in known.items():
            for method in METHODS:
                if method in methods:
                    continue
                origin = {"access_control_request_method": "POST", "x_secret": "quicksilver"}
                answer = await self.ask(method, path, self.headers(**origin), b"{}")
                self.assertEqual(answer.status, 405, (method, path))
                self.assertEqual(set(answer.headers["allow"].split(", ")), methods)
                self.assertNotIn(b"quicksilver", answer.body)
                self.strict(answer)
                if method == "HEAD":
                    self.assertEqual(answer.body, b"")
        self.untouched()

    async def test_methods_without_token(self) -> None:
        """Whoever may not ask is not even told what is known."""
        for asking in ASKED:
            for method in ("OPTIONS", "TRACE", "HEAD", "PATCH"):
                answer = await self.ask(method, asking.path, self.headers(authorization=None))
                self.assertEqual(answer.status, 401, (method, asking.path))
                self.assertNotIn("allow", answer.headers)


class SizesTests(HostileTestCase):
    async def test_huge_headers(self) -> None:
        """Headers that are too long, or too many, end the connection with nothing done."""
        for asking in ASKED:
            for extra in (
                [("x-long", "x" * 20_000)],
                [(f"x-{number}", "x") for number in range(600)],
                [("cookie", "a=b; " * 4_000)],
            ):
                wire = await self.connect()
                headers = [*self.headers(), *extra]
                wire.transport.write(self.request(asking.method, asking.path, headers))
                self.assertIn(await wire.ended, (b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"))
        self.untouched()

    async def test_huge_bodies(self) -> None:
        """A body that nobody wants is refused by its length alone, and not waited for."""
        cookie = await self.open_page()
        for asking in ASKED:
            if asking.route.takes_body and asking.route.body is None:
                continue  # a file; see `test_uploads`
            kind = asking.route.body_media if asking.route.takes_body else None
            for length in (MAX_BODY_BYTES + 1, 10**15):
                headers = self.headers(cookie=cookie, content_type=kind, content_length=str(length))
                wire = await self.connect()
                wire.transport.write(self.request(asking.method, asking.path, headers))
                await wire.until(b"too-large")
                self.assertIn(b"HTTP/1.1 413 ", wire.received)
                await wire.close()
        self.untouched()

    async def test_huge_bodies_of_strangers(self) -> None:
        """Of whoever may not ask no body is kept, whatever it is said to be."""
        for asking in ASKED:
            if asking.route.access is Access.OPEN or asking.path == "/":
                continue
            headers = self.headers(authorization=None, content_length=str(10**15))
            wire = await self.connect()
            wire.transport.write(self.request(asking.method, asking.path, headers))
            await wire.until(b"bad-token")
            wire.transport.write(b"x" * 2_000_000)
            await wire.ended
        self.untouched()

    async def test_two_lengths(self) -> None:
        """A body whose end two readers would see in two places is no request."""
        for asking in ASKED:
            for extra in (
                [("content-length", "5"), ("content-length", "6")],
                [("content-length", "5"), ("transfer-encoding", "chunked")],
                [("transfer-encoding", "chunked, identity")],
                [("content-length", "+5")],
                [("content-length", "-1")],
            ):
                answer = await self.ask(asking.method, asking.path, [*self.headers(), *extra])
                self.assertEqual(answer.status, 400, (asking.path, extra))
        self.untouched()


class PathsTests(HostileTestCase):
    def spellings(self, path: str) -> tuple[str, ...]:
        """Ways to write something like a path, which must not be taken for it."""
        return (
            *(f"/..{path}", f"/%2e%2e{path}", f"/.{path}", f"/x/..{path}", f"/{path}", f"{path}/"),
            *(
                f"{path}/..",
                f"{path}/%2e",
                f"{path}%00",
                f"{path}%00.html",
                f"{path};x",
                f"{path}.",
            ),
            *(path.replace("/", "%2f"), path.replace("/", "\\"), path.replace("/", "%5c")),
            *(path.replace("/", "/%2f"), f"{path}%20", f"{path}%0d%0ax:y", f"*{path}", f"{path}%"),
            *(f"http://{ADDRESS}:{self.port}{path}", f"//{ADDRESS}:{self.port}{path}"),
            path.upper(),
        )

    async def test_spellings(self) -> None:
        """No other spelling of a path is that path; a variable part is taken as it stands."""
        cookie = await self.open_page()
        good = {asking.path for asking in ASKED}
        for asking in ASKED:
            if asking.route.path == "/api/shares/{name}":
                continue  # any text may be a name; see `test_uploads`
            kind = asking.route.body_media if asking.route.takes_body else None
            headers = self.headers(cookie=cookie, content_type=kind)
            for path in self.spellings(asking.path.partition("?")[0]):
                if path in good:
                    continue
                answer = await self.ask(asking.method, path, headers, asking.body)
                self.assertIn(answer.status, (400, 404, 405), (asking.method, path, answer.body))
                self.strict(answer)
        self.assertEqual(self.node.writers, [])
        verbs = {asked[0] for asked in self.node.asked}
        self.assertLessEqual(verbs, {"pause", "resume", "stop"})  # of downloads that there are not
        self.assertEqual(self.node.started, {})

    async def test_files(self) -> None:
        """No file is had by a path: a name of the page's files is one of a table."""
        cookie = await self.open_page()
        headers = self.headers(authorization=None, cookie=cookie)
        for name in (
            *("../api.py", "..%2fapi.py", "%2e%2e%2f%2e%2e%2fapi.py", "..%5capi.py", "__init__.py"),
            *("%2fetc%2fpasswd", "/etc/passwd", ".", "..", "%2e%2e", "", "main.js%00", "%00"),
            *("main.js%00.html", "control.json", "MAIN.JS", "main.js~", "index.html/../main.js"),
            *("main%2ejs/", "file:%2f%2f%2fetc%2fpasswd", "C:%5c", "%c0%ae%c0%ae%c0%af", "%ff"),
        ):
            answer = await self.ask("GET", f"/page/{name}", headers)
            self.assertEqual((answer.status, answer.json["error"]), (404, "unknown-path"), name)
        # an escaped letter is that letter, and nothing more
        self.assertEqual((await self.ask("GET", "/page/main%2ejs", headers)).status, 200)

    async def test_odd_http(self) -> None:
        """Garbage, old and unknown HTTP harm nothing."""
        for data in (
            b"\r\n\r\n",
            b"GET\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 10 + b"\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"GET /api/node HTTP/1.0\r\n\r\n",
            b"OPTIONS * HTTP/1.1\r\nconnection: close\r\n\r\n",
            b"CONNECT evil.example:80 HTTP/1.1\r\nconnection: close\r\n\r\n",
            b"GET /api/node\r\nHTTP/1.1\r\n\r\n",
            b"GET /api/node HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n",
            b"GET /api/node HTTP/1.1\r\ncontent-length: x\r\n\r\n",
            b"GET /api/node HTTP/1.1\r\nno colon\r\n\r\n",
            b"GET /api/node HTTP/1.1\r\nx: a\x00b\r\n\r\n",
            b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
        ):
            wire = await self.connect()
            wire.transport.write(data)
            wire.transport.loseWriteConnection()
            self.assertNotIn(b" 200 ", (await wire.ended)[:20], data[:30])
        self.assertEqual((await self.ask("GET", "/api/node")).status, 200)
        self.untouched()

    async def test_star(self) -> None:
        """Not even the server as a whole is told about without the token."""
        wire = await self.connect()
        headers = self.headers(authorization=None)
        wire.transport.write(self.request("OPTIONS", "*", headers))
        answer = parse_response(await wire.ended)
        self.assertEqual(answer.status, 401)
        self.strict(answer)


class TableTests(HostileTestCase):
    def test_every_route_is_asked(self) -> None:
        """The cases go over all that is answered, and know a good request for each."""
        self.assertEqual({asking.route for asking in ASKED}, set(ROUTES))
        self.assertEqual(len({(a.method, a.path) for a in ASKED}), len(ROUTES))
        for asking in ASKED:
            if asking.route.body is not None:
                msgspec.json.decode(asking.body or b"", type=asking.route.body)

    def test_open_routes(self) -> None:
        """What is answered without token and cookie is little, and was meant to be."""
        is_open = {route.path for route in ROUTES if route.access is Access.OPEN}
        self.assertEqual(is_open, {"/open", "/healthz", "/api/proof"})

    def test_changes_take_no_get(self) -> None:
        """What is read changes nothing, so that a link or an image does no harm."""
        for route in ROUTES:
            self.assertIn(route.method, ("GET", "POST", "PUT", "DELETE"))
            self.assertEqual(route.takes_body, route.method in ("POST", "PUT"), route.path)
