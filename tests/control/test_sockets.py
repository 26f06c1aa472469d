"""The port asked by other people's clients, over real sockets, several at once."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from http.cookiejar import CookieJar
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from peershare.status import ContentsChanged, NodeChanged
from tests.control.http import ADDRESS, PAGE, ServiceTestCase

SECONDS = 10


class SocketsTestCase(ServiceTestCase):
    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(ADDRESS, self.port, timeout=SECONDS)

    def call(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: object = None
    ) -> Any:
        """What a script gets, in a thread of its own; it keeps its connection."""
        headers = {"Authorization": f"Bearer {self.control.token}"}
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body)
        connection.request(method, path, data, headers)
        response = connection.getresponse()
        answer = response.read()
        assert response.status < 300, (response.status, answer)
        return json.loads(answer)


class Browser:
    """A client that keeps cookies as a browser does, and asks what a page asks."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.jar = CookieJar()
        handlers = urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(self.jar)
        self.opener = urllib.request.build_opener(*handlers)

    def get(self, path: str) -> tuple[int, bytes]:
        return self._open(urllib.request.Request(self.origin + path))

    def put(self, path: str, body: bytes) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/octet-stream", "Origin": self.origin}
        url = self.origin + path
        return self._open(urllib.request.Request(url, body, headers, method="PUT"))

    def _open(self, request: urllib.request.Request) -> tuple[int, bytes]:
        try:
            with self.opener.open(request, timeout=SECONDS) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()


class SeveralTests(SocketsTestCase):
    async def test_two_clients_a_page_and_a_reader(self) -> None:
        """Each gets its own answers, whatever the others ask; the reader gets every event."""
        code = (await self.post("/api/opening", {})).json["code"]
        rounds = 50
        reading = deferToThread(self.read_events, rounds)
        while not self.node.observers:
            await deferLater(reactor, 0.01)
        telling = Deferred.fromCoroutine(self.tell(rounds))
        asking = [deferToThread(self.ask_often, name, rounds) for name in ("bee", "wasp")]
        page = deferToThread(self.use_page, code, rounds)
        results = await gatherResults([reading, telling, *asking, page], consumeErrors=True)
        self.assertEqual(results[0], list(range(rounds)))
        names = [status.name for status in self.node.downloads()]
        self.assertEqual(sorted(names), ["bee", "wasp"])
        self.assertEqual({len(writer.data) for writer in self.node.writers}, {100_000})
        self.assertEqual(len(self.node.writers), rounds)

    async def tell(self, rounds: int) -> None:
        """Things happen in the node."""
        for number in range(rounds):
            self.node.emit(NodeChanged(self.node.node_status()))
            self.node.emit(ContentsChanged(number, 0))
            await deferLater(reactor, 0.005)

    def ask_often(self, name: str, rounds: int) -> None:
        """What a script does."""
        connection = self.connection()
        identifier = self.call(connection, "POST", "/api/downloads", {"name": name})["id"]
        for _ in range(rounds):
            assert self.call(connection, "GET", f"/api/downloads/{identifier}")["name"] == name
            assert self.call(connection, "GET", "/api/contents")[0]["name"] == "forest"
        connection.close()

    def use_page(self, code: str, rounds: int) -> None:
        """What a browser does."""
        browser = Browser(self.origin)
        assert browser.get("/")[0] == 401
        assert browser.get(f"/open?code={code}")[0] == 200
        for number in range(rounds):
            assert browser.get("/") == (200, PAGE["index.html"].data)
            assert browser.put(f"/api/shares/file{number}", b"x" * 100_000)[0] == 201

    def read_events(self, rounds: int) -> list[int]:
        """The numbers that were told, as a reader of the stream gets them."""
        connection = self.connection()
        headers = {"Authorization": f"Bearer {self.control.token}"}
        connection.request("GET", "/api/events", headers=headers)
        response = connection.getresponse()
        name, found, nodes = "", [], 0
        while len(found) < rounds:
            field, _, value = response.readline().decode().rstrip("\n").partition(": ")
            if field == "event":
                name = value
            elif field == "data" and name == "contents":
                found.append(json.loads(value)["contents"])
            elif field == "data" and name == "node":
                nodes += json.loads(value)["node"]["pid"]
        connection.close()
        assert nodes == rounds
        return found


class CookieTests(SocketsTestCase):
    async def test_cookie(self) -> None:
        """A client that knows cookies gets in with a code, and stays in, with nothing else."""
        code = (await self.post("/api/opening", {})).json["code"]
        browser, other = Browser(self.origin), Browser(self.origin)
        for path, status in (
            *(("/", 401), ("/api/node", 401), (f"/open?code={code}x", 403), ("/page/main.js", 401)),
            *((f"/open?code={code}", 200), ("/", 200), ("/api/node", 200), ("/page/main.js", 200)),
            *((f"/open?code={code}", 403), ("/api/node", 200), ("/metrics", 200)),
        ):
            self.assertEqual((await deferToThread(browser.get, path))[0], status, path)
        (cookie,) = browser.jar
        self.assertEqual(cookie.path, "/")
        self.assertTrue(cookie.has_nonstandard_attr("HttpOnly"))
        self.assertTrue(cookie.discard)  # it ends with the browser, at the latest
        self.assertEqual((await deferToThread(other.get, "/api/node"))[0], 401)

    async def test_change(self) -> None:
        """It shares a file from the page, and not from a page that says to be another."""
        code = (await self.post("/api/opening", {})).json["code"]
        browser = Browser(self.origin)
        await deferToThread(browser.get, f"/open?code={code}")
        status, _ = await deferToThread(browser.put, "/api/shares/x", b"x")
        self.assertEqual(status, 201)
        self.patch(browser, "_open", self.from_elsewhere(browser))
        status, _ = await deferToThread(browser.put, "/api/shares/x", b"x")
        self.assertEqual(status, 403)

    def from_elsewhere(self, browser: Browser) -> Any:
        send = browser._open

        def open_it(request: urllib.request.Request) -> tuple[int, bytes]:
            request.add_header("Origin", "http://evil.example")
            return send(request)

        return open_it
