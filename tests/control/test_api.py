"""The API over HTTP: what each route gives, and what it refuses."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import Deferred

from peershare.control.api import MAX_HISTORY
from peershare.control.resource import MAX_BODY_BYTES
from peershare.errors import AmbiguousNameError, BadNameError, LocalError, StorageError
from peershare.status import ShareStatus
from tests.control.http import ADDRESS, Response, ServiceTestCase

# Every method of every path; what the guard refuses, it must refuse on all of them.
ROUTES = (
    ("GET", "/api/node"),
    ("GET", "/api/contents"),
    ("GET", "/api/peers"),
    ("GET", "/api/downloads"),
    ("POST", "/api/downloads"),
    ("GET", "/api/downloads/1"),
    ("DELETE", "/api/downloads/1"),
    ("POST", "/api/shares"),
    ("GET", "/api/history"),
    ("GET", "/api/events"),
    ("GET", "/api/nowhere"),
    ("GET", "/"),
    ("PUT", "/api/node"),
    ("OPTIONS", "/api/downloads"),
)


class RoutesTests(ServiceTestCase):
    async def test_pictures(self) -> None:
        """The node, contents, peers, downloads and history are what the node shows."""
        self.node.start_download("forest", None)
        self.assertEqual((await self.ask("GET", "/api/node")).json["share"], "/share")
        self.assertEqual((await self.ask("GET", "/api/contents")).json[0]["name"], "forest")
        self.assertEqual((await self.ask("GET", "/api/peers")).json[0]["address"], "198.18.0.2")
        self.assertEqual((await self.ask("GET", "/api/downloads")).json[0]["id"], "1")
        self.assertEqual((await self.ask("GET", "/api/history")).json[1]["chunk"], "forest_2")

    async def test_one_download(self) -> None:
        """A download is shown by its id; one that there is not is 404."""
        self.node.start_download("forest", None)
        self.assertEqual((await self.ask("GET", "/api/downloads/1")).json["name"], "forest")
        missing = await self.ask("GET", "/api/downloads/2")
        self.refused(missing, 404, "unknown-download")

    async def test_start(self) -> None:
        """A download begins in the share folder, or in the folder that is named."""
        first = await self.post("/api/downloads", {"name": "forest", "folder": None})
        second = await self.post("/api/downloads", {"name": "bee", "folder": "/tmp/x"})
        self.assertEqual((first.status, second.status), (202, 202))
        self.assertEqual(first.json["state"], "searching")
        self.assertEqual(
            self.node.asked, [("start", "forest", None), ("start", "bee", Path("/tmp/x"))]
        )

    async def test_stop(self) -> None:
        """DELETE stops a download, and needs no body."""
        self.node.start_download("forest", None)
        stopped = await self.ask("DELETE", "/api/downloads/1")
        self.assertEqual((stopped.status, stopped.json["state"]), (200, "stopped"))
        self.refused(await self.ask("DELETE", "/api/downloads/7"), 404, "unknown-download")

    async def test_share(self) -> None:
        """A file is shared by its absolute path."""
        shared = await self.post("/api/shares", {"path": "/tmp/forest.png"})
        self.assertEqual((shared.status, shared.json["how"]), (201, "linked"))
        self.assertEqual(self.node.asked, [("share", Path("/tmp/forest.png"))])

    async def test_history_limit(self) -> None:
        """The limit goes to the node; one that makes no sense is refused."""
        self.assertEqual(len((await self.ask("GET", "/api/history?limit=1")).json), 1)
        self.assertEqual(self.node.asked, [("history", 1)])
        for limit in ("0", "-1", "x", "", "1e3", "²", str(MAX_HISTORY + 1), "9" * 5_000):
            answer = await self.ask("GET", f"/api/history?limit={limit}")
            if limit:  # an empty parameter is none at all
                self.assertEqual(answer.status, 400, limit)

    async def test_unknown_paths(self) -> None:
        """Whatever is not a route is 404, however it is spelled."""
        for path in (
            *("/", "/api", "/api/", "/api/x", "/api/node/", "/api/node/x", "/api/downloads/"),
            *("/api/downloads/1/x", "/api/downloads/*", "//api/node", "/api/%2e%2e/node"),
            *("/api/../api/node", "/control.json", "/api/events/x", "/api//node", "/api/%ff"),
        ):
            answer = await self.ask("GET", path)
            self.assertIn(answer.json["error"], ("unknown-path", "unknown-download"), path)
            self.assertEqual(answer.status, 404, path)

    async def test_wrong_methods(self) -> None:
        """A wrong method is 405 and names the right ones."""
        for method, path, allowed in (
            ("POST", "/api/node", "GET"),
            ("DELETE", "/api/downloads", "GET, POST"),
            ("PATCH", "/api/downloads/1", "GET, DELETE"),
            ("GET", "/api/shares", "POST"),
            ("POST", "/api/events", "GET"),
            ("OPTIONS", "/api/downloads", "GET, POST"),
        ):
            answer = await self.ask(method, path)
            self.assertEqual(answer.status, 405, path)
            self.assertEqual(answer.headers["allow"], allowed)

    async def test_head(self) -> None:
        """HEAD is a wrong method, and its answer has no body."""
        answer = await self.ask("HEAD", "/api/node")
        self.assertEqual((answer.status, answer.body), (405, b""))

    def refused(self, answer: Response, status: int, code: str) -> None:
        self.assertEqual((answer.status, answer.json["error"]), (status, code), answer.body)


class BodiesTests(ServiceTestCase):
    async def status_of(self, path: str, body: bytes, **changes: str | None) -> int:
        return (await self.post(path, body, **changes)).status

    async def test_broken_bodies(self) -> None:
        """A body that is no JSON, or not what is wanted, is 400 and never a traceback."""
        for body in (
            *(b"", b"{", b"null", b"[]", b"{}", b'{"name":1}', b'{"name":null}', b"\xff\xfe"),
            *(b'{"name":"x","folder":1}', b'{"name":"x","more":1}', b'{"name":"\\ud800"}'),
            *(b"[" * 60_000, b'{"name":' + b"9" * 5_000 + b"}", b'{"name":"x"}{"name":"y"}'),
            b'{"name":"%s"}' % (b"x" * 9_000),
        ):
            answer = await self.post("/api/downloads", body)
            self.assertEqual(answer.status, 400, body[:40])
        self.assertEqual(self.node.asked, [])

    async def test_paths(self) -> None:
        """A path that is not absolute, or none at all, is 400."""
        for path in ("", "x", "../x", "~/x", "a\\u0000b", "/a\\u0000b"):
            body = b'{"path":"%s"}' % path.encode()
            self.assertEqual(await self.status_of("/api/shares", body), 400, path)
            body = b'{"name":"x","folder":"%s"}' % path.encode()
            self.assertEqual(await self.status_of("/api/downloads", body), 400, path)
        self.assertEqual(self.node.asked, [])

    async def test_forms(self) -> None:
        """A change that is not said to be JSON is 415, and nothing is done."""
        body = b'{"name":"forest"}'
        for kind in ("text/plain", "application/x-www-form-urlencoded", None):
            headers = self.headers(content_type=kind)
            answer = await self.ask("POST", "/api/downloads", headers, body)
            self.assertEqual(answer.status, 415, kind)
        self.assertEqual(self.node.asked, [])

    async def test_long_bodies(self) -> None:
        """A body at the cap is read; one over it is 413."""
        at_cap = b'{"name":"x"}'.ljust(MAX_BODY_BYTES)
        self.assertEqual(await self.status_of("/api/downloads", at_cap), 202)
        self.assertEqual(await self.status_of("/api/downloads", at_cap + b" "), 413)

    async def test_chunked_bodies(self) -> None:
        """A body without a length is bounded too."""
        headers = self.headers(content_type="application/json", transfer_encoding="chunked")
        chunk = b"2000\r\n" + b" " * 0x2000 + b"\r\n"
        wire = await self.connect()
        wire.transport.write(self.request("POST", "/api/shares", headers) + chunk * 9)
        wire.transport.write(b"0\r\n\r\n")
        self.assertIn(b" 413 ", (await wire.ended).split(b"\r\n")[0])

    async def test_endless_bodies(self) -> None:
        """A body that does not end is cut off."""
        wire = await self.connect()
        headers = self.headers(content_type="application/json", content_length="99999999")
        wire.transport.write(self.request("POST", "/api/shares", headers) + b" " * 2_000_000)
        self.assertEqual(await wire.ended, b"")


class RefusalsTests(ServiceTestCase):
    async def refusal(self, error: Exception) -> Response:
        self.node.refusals["forest"] = error
        return await self.post("/api/downloads", {"name": "forest"})

    async def test_bad_name(self) -> None:
        """A name that cannot be one is 400, with the node's sentence."""
        answer = await self.refusal(BadNameError("it is empty"))
        self.assertEqual(answer.status, 400)
        self.assertEqual(answer.json, {"error": "bad-name", "message": "it is empty"})

    async def test_ambiguous(self) -> None:
        """A name for several contents is 409 and gives the exact names."""
        answer = await self.refusal(AmbiguousNameError("which?", ("forest.jpg", "forest.png")))
        self.assertEqual(answer.status, 409)
        self.assertEqual(answer.json["choices"], ["forest.jpg", "forest.png"])

    async def test_storage(self) -> None:
        """A disk in the way is 503 and names the bytes that are missing."""
        answer = await self.refusal(StorageError("/share: the disk is full", 4_096))
        self.assertEqual((answer.status, answer.json["needed_bytes"]), (503, 4_096))

    async def test_anything_local(self) -> None:
        """Any other refusal of the node is 503."""
        self.assertEqual((await self.refusal(LocalError("not now"))).status, 503)

    async def test_bug(self) -> None:
        """A bug is 500 without a word of it, and is logged."""
        answer = await self.refusal(ZeroDivisionError("secret detail"))
        self.assertEqual((answer.status, answer.json["error"]), (500, "internal"))
        self.assertNotIn(b"secret", answer.body)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    async def test_share_fails(self) -> None:
        """What a share ends in later is answered the same way."""
        self.node.refusals["/x"] = StorageError("/x: cannot share: no such file")
        answer = await self.post("/api/shares", {"path": "/x"})
        self.assertEqual((answer.status, answer.json["error"]), (503, "storage"))

    async def test_asker_gone(self) -> None:
        """Who hangs up before the answer costs nothing, and no error."""
        cancelled: list[object] = []
        self.node.sharing = Deferred(cancelled.append)
        wire = await self.connect()
        headers = self.headers(content_type="application/json")
        wire.transport.write(self.request("POST", "/api/shares", headers, b'{"path":"/x"}'))
        while not self.node.asked:
            await self.ask("GET", "/api/node")
        await wire.close()
        while not cancelled:
            await self.ask("GET", "/api/node")
        self.assertEqual(self.flushLoggedErrors(), [])

    async def test_slow_share(self) -> None:
        """An answer may take its time."""
        self.node.sharing = Deferred()
        asked = Deferred.fromCoroutine(self.post("/api/shares", {"path": "/x"}))
        while not self.node.asked:
            await self.ask("GET", "/api/node")
        status = ShareStatus(name="x", path="/x", size=1, how="copied", chunks=(), note="small")
        self.node.sharing.callback(status)
        self.assertEqual((await asked).json["note"], "small")


class HostileHeadersTests(ServiceTestCase):
    """No route answers whoever may not ask (hostile world, 25)."""

    async def expect(self, status: int, code: str, **changes: str | None) -> None:
        for method, path in ROUTES:
            headers = self.headers(content_type="application/json", **changes)
            answer = await self.ask(method, path, headers, b'{"name":"x","path":"/x"}')
            self.assertEqual(answer.status, status, (method, path, changes))
            self.assertEqual(answer.json["error"], code)
            self.strict(answer)
        self.assertEqual(self.node.asked, [])
        self.assertEqual(self.node.observers, [])

    def strict(self, answer: Response) -> None:
        """Nothing may frame it, sniff it, keep it or read it from another origin."""
        headers = answer.headers
        policy = headers["content-security-policy"]
        self.assertEqual(policy, "default-src 'none'; frame-ancestors 'none'")
        self.assertEqual(headers["x-content-type-options"], "nosniff")
        self.assertEqual(headers["cache-control"], "no-store")
        self.assertEqual([name for name in headers if name.startswith("access-control")], [])
        self.assertNotIn("wisted", headers["server"])

    async def test_rebound_host(self) -> None:
        """A name that was rebound to this address is refused with the right token, too."""
        await self.expect(403, "bad-host", host=f"evil.example:{self.port}")

    async def test_no_host(self) -> None:
        """So is a request that names no host."""
        await self.expect(403, "bad-host", host="")

    async def test_foreign_origin(self) -> None:
        """So is one from another site's page."""
        await self.expect(403, "bad-origin", origin="http://evil.example")

    async def test_sandboxed_origin(self) -> None:
        """And one from a page that hides where it came from."""
        await self.expect(403, "bad-origin", origin="null")

    async def test_no_token(self) -> None:
        """Without the token nothing is answered."""
        await self.expect(401, "bad-token", authorization=None)

    async def test_wrong_token(self) -> None:
        """With another service's neither."""
        await self.expect(401, "bad-token", authorization="Bearer " + "x" * 43)

    async def test_token_in_the_query(self) -> None:
        """A token in an address, where logs and histories see it, is no token."""
        headers = self.headers(authorization=None)
        answer = await self.ask("GET", f"/api/node?token={self.control.token}", headers)
        self.assertEqual(answer.status, 401)

    async def test_good_answers_are_strict_too(self) -> None:
        """The strict headers are on successes as on refusals."""
        answer = await self.ask("GET", "/api/node")
        self.assertEqual(answer.headers["content-type"], "application/json")
        self.strict(answer)

    async def test_own_origin(self) -> None:
        """A page from here may ask."""
        origin = f"http://{ADDRESS}:{self.port}"
        answer = await self.ask("GET", "/api/node", self.headers(origin=origin))
        self.assertEqual(answer.status, 200)

    async def test_odd_http(self) -> None:
        """Garbage, old and unknown HTTP harm nothing."""
        for data in (
            b"\r\n\r\n",
            b"GET\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 10 + b"\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"GET /api/node HTTP/1.0\r\n\r\n",
            b"GET /api/node HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n",
            b"GET /api/node HTTP/1.1\r\ncontent-length: x\r\n\r\n",
            b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
        ):
            wire = await self.connect()
            wire.transport.write(data)
            wire.transport.loseWriteConnection()
            self.assertNotIn(b" 200 ", (await wire.ended)[:20], data[:30])
        self.assertEqual((await self.ask("GET", "/api/node")).status, 200)
        self.assertEqual(self.flushLoggedErrors(), [])
