"""The API over HTTP: what each route gives, and what it refuses."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import structs
from twisted.internet.defer import Deferred, succeed

from peershare.control.messages import MAX_HISTORY
from peershare.control.request import MAX_BODY_BYTES
from peershare.errors import (
    AmbiguousNameError,
    BadNameError,
    BadPathError,
    LocalError,
    StorageError,
)
from peershare.status import ShareMode, ShareStatus
from tests.control.fake_node import a_content, a_share
from tests.control.http import Response, ServiceTestCase


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

    async def test_paths_that_are_no_utf8(self) -> None:
        """They come as URIs, and what is answered is JSON all the same."""
        shared = await self.post("/api/shares", {"path": "file:///caf%E9/a%20b"})
        self.assertEqual(self.node.asked, [("share", Path("/caf\udce9/a b"))])
        self.assertEqual(shared.status, 201)
        self.node.sharing = succeed(structs.replace(a_share(Path("/x")), path="/caf\udce9"))
        shared = await self.post("/api/shares", {"path": "/x"})
        self.assertEqual((shared.status, shared.json["path"]), (201, "/caf?"))
        answer = await self.post("/api/shares", {"path": "file://elsewhere/x"})
        self.refused(answer, 400, "bad-path")

    async def test_share_how(self) -> None:
        """It is linked or copied as the user says."""
        for how, asked in (("copy", (ShareMode.COPY,)), ("link", (ShareMode.LINK,)), ("auto", ())):
            await self.post("/api/shares", {"path": "/x", "how": how})
            self.assertEqual(self.node.asked.pop(), ("share", Path("/x"), *asked))
        answer = await self.post("/api/shares", {"path": "/x", "how": "move"})
        self.refused(answer, 400, "bad-body")

    async def test_rest_of_a_download(self) -> None:
        """A download is paused, resumed and cancelled by its id."""
        self.node.start_download("forest", None)
        for what, state, asked in (
            ("pause", "paused", "pause"),
            ("resume", "searching", "resume"),
            ("cancel", "stopped", "stop"),
        ):
            answer = await self.post(f"/api/downloads/1/{what}", {})
            self.assertEqual((answer.status, answer.json["state"]), (200, state))
            self.assertEqual(self.node.asked[-1], (asked, "1"))
            missing = await self.post(f"/api/downloads/2/{what}", {})
            self.refused(missing, 404, "unknown-download")
            for body in (b"", b"[]", b"null", b'{"id":"1"}'):
                self.refused(await self.post(f"/api/downloads/1/{what}", body), 400, "bad-body")

    async def test_odd_ids(self) -> None:
        """An id is compared and never more; what is shown of it is made safe."""
        self.node.start_download("forest", None)
        for identifier in ("01", "1%20", "%00", "..%2f1", "%1b%5b31m", "1%2f..", "-1", "%ff"):
            for path in (f"/api/downloads/{identifier}", f"/api/downloads/{identifier}/map"):
                answer = await self.ask("GET", path)
                self.refused(answer, 404, "unknown-download")
                self.assertNotIn("\x1b", answer.json["message"])

    async def test_map(self) -> None:
        """The map of blocks of one download."""
        self.node.start_download("forest", None)
        answer = await self.ask("GET", "/api/downloads/1/map")
        self.assertEqual((answer.json["download"], answer.json["count"]), ("1", 5))
        self.refused(await self.ask("GET", "/api/downloads/9/map"), 404, "unknown-download")

    async def test_limits(self) -> None:
        """Limits are shown, and changed at once; null takes one away."""
        before = {"upload": None, "download": None}
        self.assertEqual((await self.ask("GET", "/api/limits")).json, before)
        answer = await self.put("/api/limits", {"upload": 1_000, "download": 2.5})
        self.assertEqual((answer.status, answer.json), (200, {"upload": 1000.0, "download": 2.5}))
        self.assertEqual((await self.ask("GET", "/api/limits")).json, answer.json)
        self.assertEqual((await self.put("/api/limits", before)).json, before)

    async def test_bad_limits(self) -> None:
        """A limit below a byte a second, none at all, or one too few, changes nothing."""
        for body in (
            *(b'{"upload":0,"download":null}', b'{"upload":-1,"download":null}', b"{}"),
            *(b'{"upload":1}', b'{"upload":"1","download":1}', b'{"upload":1e999,"download":1}'),
            *(b'{"upload":NaN,"download":1}', b'{"upload":1,"download":1,"more":1}', b"null"),
        ):
            self.refused(await self.put("/api/limits", body), 400, "bad-body")
        self.assertEqual(self.node.asked, [])

    async def test_changes_say_json(self) -> None:
        """A change by PUT has to be said to be JSON as well."""
        headers = self.headers(content_type="text/plain")
        body = b'{"upload":1,"download":1}'
        self.refused(await self.ask("PUT", "/api/limits", headers, body), 415, "not-json")
        self.assertEqual(self.node.asked, [])

    async def test_window_of_contents(self) -> None:
        """A part of the list can be asked for, of those that fit."""
        self.node.known = tuple(a_content(name) for name in ("a", "b", "c", "cc"))
        for query, names in (
            ("", ["a", "b", "c", "cc"]),
            ("?offset=1&limit=2", ["b", "c"]),
            ("?offset=3", ["cc"]),
            ("?offset=4", []),
            ("?match=c*&limit=1", ["c"]),
            ("?match=c*&offset=1", ["cc"]),
            ("?limit=9&limit=1", ["a"]),
        ):
            answer = await self.ask("GET", f"/api/contents{query}")
            self.assertEqual([content["name"] for content in answer.json], names, query)

    async def test_bad_parameters(self) -> None:
        """A parameter that is unknown, or makes no sense, is refused rather than passed over."""
        for path in (
            *("contents?offset=-1", "contents?limit=0", "contents?limit=x", "contents?lmit=1"),
            *("contents?match=" + "x" * 9_000, "node?x=1", "downloads/1?x=", "history?since=today"),
            *("history?direction=sideways", "history?since=1e9", "history?since=99999-01-01"),
            *("history?since=0001-01-01", "history?since=" + "9" * 100),
        ):
            self.refused(await self.ask("GET", f"/api/{path}"), 400, "bad-query")

    async def test_history_window(self) -> None:
        """A moment and a direction narrow the history."""
        for told, moment in (
            ("since=1700000000", 1_700_000_000.0),
            ("since=1700000000.25", 1_700_000_000.25),
            ("since=2023-11-14T22:13:20%2B00:00", 1_700_000_000.0),
            ("since=2023-11-14T22:13:20+00:00", 1_700_000_000.0),
            ("since=2023-11-14T22:13:20Z", 1_700_000_000.0),
            ("since=2023-11-15", datetime(2023, 11, 15).timestamp()),
            ("since=", None),
        ):
            await self.ask("GET", f"/api/history?direction=download&{told}")
            self.assertEqual(self.node.asked[-1], ("history", 100, moment, "download"), told)

    async def test_history_limit(self) -> None:
        """The limit goes to the node; one that makes no sense is refused."""
        self.assertEqual(len((await self.ask("GET", "/api/history?limit=1")).json), 1)
        self.assertEqual(self.node.asked, [("history", 1)])
        for limit in ("0", "-1", "x", "", "1.5", "%C2%B2", str(MAX_HISTORY + 1), "9" * 5_000):
            answer = await self.ask("GET", f"/api/history?limit={limit}")
            self.refused(answer, 400, "bad-query")

    async def test_unknown_paths(self) -> None:
        """Whatever is not a route is 404, however it is spelled."""
        for path in (
            *("/x", "/api", "/api/", "/api/x", "/api/node/", "/api/node/x", "/api/downloads/"),
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
            ("GET", "/api/downloads/1/pause", "POST"),
            ("POST", "/api/limits", "GET, PUT"),
            ("TRACE", "/api/limits", "GET, PUT"),
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

    async def put(self, path: str, value: object) -> Response:
        """Send JSON by PUT."""
        headers = self.headers(content_type="application/json")
        body = value if isinstance(value, bytes) else msgspec.json.encode(value)
        return await self.ask("PUT", path, headers, body)

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
        """A body that does not end is refused before it comes, and then cut off."""
        wire = await self.connect()
        headers = self.headers(content_type="application/json", content_length="99999999")
        wire.transport.write(self.request("POST", "/api/shares", headers) + b" " * 2_000_000)
        self.assertIn(b" 413 ", (await wire.ended).split(b"\r\n")[0])


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

    async def test_bad_path(self) -> None:
        """A path that is not that of a file is what is wrong with the request, not the node."""
        self.node.refusals["/x"] = BadPathError("/x: cannot share: this is no regular file")
        answer = await self.post("/api/shares", {"path": "/x"})
        self.assertEqual((answer.status, answer.json["error"]), (400, "bad-path"))

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
