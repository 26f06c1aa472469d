"""A service to be asked, and a client that sends exactly the bytes it is told to."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from peershare.control import server
from peershare.control.pagefiles import PageFile
from peershare.control.server import ControlService
from peershare.settings import Settings
from tests.control.fake_node import FakeNode

ADDRESS = "127.0.0.20"
# A page, whatever the real one looks like.
PAGE = {
    "index.html": PageFile(b"<title>peershare</title>", b"text/html; charset=utf-8", b'"1"'),
    "main.js": PageFile(b"// nothing", b"text/javascript; charset=utf-8", b'"2"'),
}


@dataclass(frozen=True)
class Response:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return msgspec.json.decode(self.body)


def parse_response(data: bytes) -> Response:
    """A whole response; the body is what is behind the headers."""
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("ascii").split("\r\n")
    pairs = (line.partition(": ") for line in lines)
    headers = {name.lower(): value for name, _, value in pairs}
    return Response(int(first.split()[1]), headers, body)


class Wire(Protocol):
    """One connection: sends bytes, keeps what comes."""

    def __init__(self) -> None:
        self.received = b""
        self.ended: Deferred[bytes] = Deferred()
        self._waiting: list[tuple[bytes, Deferred[None]]] = []

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self._look()

    def until(self, text: bytes) -> Deferred[None]:
        """Fires when this has been received."""
        waiter: Deferred[None] = Deferred()
        self._waiting.append((text, waiter))
        self._look()
        return waiter

    def _look(self) -> None:
        for text, waiter in tuple(self._waiting):
            if text in self.received:
                self._waiting.remove((text, waiter))
                waiter.callback(None)

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.ended.callback(self.received)

    def close(self) -> Deferred[bytes]:
        """Hang up."""
        transport: Any = self.transport
        transport.abortConnection()
        return self.ended


class ServiceTestCase(TestCase):
    """A `ControlService` in front of a `FakeNode`, on a port of its own."""

    timeout = 20

    def setUp(self) -> None:
        self.state = Path(self.mktemp())
        self.state.mkdir(mode=0o700)
        self.settings = Settings(
            share=self.state / "share",
            state=self.state,
            addresses=(IPv4Address(ADDRESS),),
            control_port=None,
        )
        self.node = FakeNode()
        self.patch(server, "load_page_files", lambda: PAGE)
        self.service = ControlService(self.node, self.settings, reactor)
        self.service.startService()
        self.addCleanup(self.stop_service)
        assert self.service.control is not None
        self.control = self.service.control
        self.port = int(self.control.url.rpartition(":")[2])

    def stop_service(self) -> Any:
        return self.service.stopService() if self.service.running else None

    def headers(self, **changes: str | None) -> list[tuple[str, str]]:
        """Good headers, but for these; `None` leaves one out, `_` stands for a dash."""
        good: dict[str, str | None] = {
            "host": f"{ADDRESS}:{self.port}",
            "authorization": f"Bearer {self.control.token}",
            "connection": "close",
        }
        good.update({name.replace("_", "-"): value for name, value in changes.items()})
        return [(name, value) for name, value in good.items() if value is not None]

    @property
    def origin(self) -> str:
        """What our own page's requests say that they come from."""
        return f"http://{ADDRESS}:{self.port}"

    async def open_page(self) -> str:
        """The cookie of a browser that the page was opened in."""
        code = (await self.post("/api/opening", {})).json["code"]
        opened = await self.ask("GET", f"/open?code={code}", self.headers(authorization=None))
        assert opened.status == 200, opened
        return opened.headers["set-cookie"].partition(";")[0]

    async def connect(self) -> Wire:
        endpoint = TCP4ClientEndpoint(reactor, ADDRESS, self.port)
        return await connectProtocol(endpoint, Wire())

    async def ask(
        self,
        method: str,
        path: str,
        headers: list[tuple[str, str]] | None = None,
        body: bytes | None = None,
    ) -> Response:
        """Send one request, read until the service hangs up."""
        wire = await self.connect()
        transport: Any = wire.transport
        transport.write(self.request(method, path, headers, body))
        return parse_response(await wire.ended)

    def request(
        self,
        method: str,
        path: str,
        headers: list[tuple[str, str]] | None = None,
        body: bytes | None = None,
    ) -> bytes:
        """The bytes of a request."""
        lines = [f"{method} {path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in headers or self.headers()]
        if body is not None:
            lines.append(f"content-length: {len(body)}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + (body or b"")

    async def post(self, path: str, value: object, **changes: str | None) -> Response:
        """Send JSON."""
        headers = self.headers(**{"content_type": "application/json", **changes})
        body = value if isinstance(value, bytes) else msgspec.json.encode(value)
        return await self.ask("POST", path, headers, body)


def mode_of(path: Path) -> int:
    """The permission bits of a file."""
    return path.stat().st_mode & 0o777
