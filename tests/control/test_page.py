"""How a browser gets to the page: a code, a cookie, and what it may do with it."""

from __future__ import annotations

from peershare.control.pagefiles import CLOSED_PAGE
from peershare.control.responding import API_POLICY, PAGE_POLICY
from tests.control.http import PAGE, Response, ServiceTestCase


class PageTests(ServiceTestCase):
    async def visit(self, path: str, **changes: str | None) -> Response:
        """A browser asks, without the token."""
        return await self.ask("GET", path, self.headers(authorization=None, **changes))

    async def test_closed(self) -> None:
        """Without a cookie there is one page, which says how to open the other; and no file."""
        answer = await self.visit("/")
        self.assertEqual((answer.status, answer.body), (401, CLOSED_PAGE))
        self.assertEqual(answer.headers["content-type"], "text/html; charset=utf-8")
        self.assertEqual(answer.headers["content-security-policy"], API_POLICY.decode())
        self.assertEqual((await self.visit("/page/main.js")).status, 401)
        self.assertEqual((await self.ask("GET", "/")).status, 401)  # the token opens no page

    async def test_open(self) -> None:
        """A code opens it once: the cookie is this browser's, for this host and no script."""
        code = (await self.post("/api/opening", {})).json["code"]
        opened = await self.visit(f"/open?code={code}")
        self.assertEqual(opened.status, 200)
        # no redirect: a strict cookie does not go with one that began elsewhere
        self.assertIn(b'<meta http-equiv="refresh" content="0; url=/">', opened.body)
        cookie, *attributes = opened.headers["set-cookie"].split("; ")
        self.assertEqual(sorted(attributes), ["HttpOnly", "Path=/", "SameSite=strict"])
        self.assertTrue(cookie.startswith(f"peershare-{self.port}="))
        self.assertGreaterEqual(len(cookie.partition("=")[2]), 43)
        page = await self.visit("/", cookie=cookie)
        self.assertEqual((page.status, page.body), (200, PAGE["index.html"].data))
        again = await self.visit(f"/open?code={code}")
        self.assertEqual(again.status, 403)
        self.assertNotIn("set-cookie", again.headers)
        self.assertIn(b"peershare open", again.body)

    async def test_wrong_codes(self) -> None:
        """No other code opens it: not none, not two, and not the token."""
        code = (await self.post("/api/opening", {})).json["code"]
        for query in (
            *("", "?code=", "?code=x", f"?code={self.control.token}", f"?CODE={code}"),
            *(f"?code={code}&code={code}", f"?code={code}%00", f"?code={code}+"),
        ):
            answer = await self.visit(f"/open{query}")
            self.assertEqual(answer.status, 403, query)
            self.assertNotIn("set-cookie", answer.headers)
        self.assertEqual((await self.visit(f"/open?code={code}")).status, 200)

    async def test_files(self) -> None:
        """The page's files are had with the cookie, under the page's policy."""
        cookie = await self.open_page()
        answer = await self.visit("/page/main.js", cookie=cookie)
        self.assertEqual((answer.status, answer.body), (200, PAGE["main.js"].data))
        self.assertEqual(answer.headers["content-type"], "text/javascript; charset=utf-8")
        self.assertEqual(answer.headers["content-security-policy"], PAGE_POLICY.decode())
        self.assertEqual((await self.visit("/page/other.js", cookie=cookie)).status, 404)

    async def test_not_modified(self) -> None:
        """A browser keeps a file and asks whether it still holds."""
        cookie = await self.open_page()
        tag = (await self.visit("/page/main.js", cookie=cookie)).headers["etag"]
        kept = await self.visit("/page/main.js", cookie=cookie, if_none_match=tag)
        self.assertEqual((kept.status, kept.body), (304, b""))
        self.assertEqual(kept.headers["cache-control"], "no-cache")
        other = await self.visit("/page/main.js", cookie=cookie, if_none_match='"other"')
        self.assertEqual(other.status, 200)
        stranger = await self.visit("/page/main.js", if_none_match=tag)
        self.assertEqual(stranger.status, 401)

    async def test_api(self) -> None:
        """With the cookie the API answers; it changes something for our own page alone."""
        cookie = await self.open_page()
        self.assertEqual((await self.visit("/api/node", cookie=cookie)).status, 200)
        change = {"cookie": cookie, "authorization": None}
        body = {"name": "bee"}
        self.assertEqual((await self.post("/api/downloads", body, **change)).status, 403)
        change["origin"] = self.origin
        self.assertEqual((await self.post("/api/downloads", body, **change)).status, 202)

    async def test_cookie_makes_no_code(self) -> None:
        """Whoever has the page cannot let another browser in."""
        cookie = await self.open_page()
        change = {"cookie": cookie, "authorization": None, "origin": self.origin}
        self.assertEqual((await self.post("/api/opening", {}, **change)).status, 401)

    async def test_restart(self) -> None:
        """Sessions end with the service."""
        cookie = await self.open_page()
        await self.service.stopService()
        self.service.startService()
        assert self.service.control is not None
        self.port = int(self.service.control.url.rpartition(":")[2])
        name, _, value = cookie.partition("=")
        self.assertTrue(name)
        cookie = f"peershare-{self.port}={value}"
        self.assertEqual((await self.visit("/", cookie=cookie)).status, 401)
