"""ApiClient: the service's HTTP API as typed calls.

Not for: the events of its stream (`feed`), finding a service (`hosting`), or what to do when it
goes away (`session`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectError, ConnectionLost, TimeoutError
from twisted.web.client import (
    URI,
    Agent,
    RequestTransmissionFailed,
    ResponseFailed,
    ResponseNeverReceived,
    readBody,
)
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

from peershare.client.feed import EventFeed
from peershare.client.outcome import ClientError, ExitStatus, GoneError
from peershare.control.controlfile import ControlFile
from peershare.control.messages import ApiError, ShareFile, StartDownload, VerifyShares
from peershare.status import (
    ContentStatus,
    DownloadStatus,
    Event,
    HistoryEntry,
    NodeStatus,
    PeerStatus,
    ShareStatus,
    VerifyResult,
)

CONNECT_SECONDS = 3.0
REPLY_SECONDS = 15.0
# Sharing may copy a large file first, verifying reads all there is.
DISK_SECONDS = 6 * 3600.0

_FAILED = (
    ConnectError,
    ConnectionLost,
    TimeoutError,
    ResponseFailed,
    ResponseNeverReceived,
    RequestTransmissionFailed,
)
# What a refusal comes to, where it is no failure.
_STATUSES = {
    "bad-name": ExitStatus.USAGE,
    "bad-path": ExitStatus.USAGE,
    "too-long": ExitStatus.USAGE,
    "ambiguous-name": ExitStatus.AMBIGUOUS,
    "unknown-content": ExitStatus.NOT_FOUND,
}

T = TypeVar("T")


class RefusedError(ClientError):
    """The service understood, and said no.

    `choices` are the exact names of an ambiguous one, `candidates` the contents that it fits.
    """

    def __init__(self, http_status: int, error: ApiError) -> None:
        super().__init__(error.message, _STATUSES.get(error.error, ExitStatus.FAILED))
        self.http_status = http_status
        self.choices = error.choices
        self.candidates = error.candidates


@implementer(IAgentEndpointFactory)
class _Endpoints:
    """Connects to the address in a URL; no name is looked up, no proxy asked."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def endpointForURI(self, uri: URI) -> TCP4ClientEndpoint:
        """Twisted: where this URL leads."""
        host = uri.host.decode("ascii")
        return TCP4ClientEndpoint(self._reactor, host, uri.port, timeout=CONNECT_SECONDS)


@implementer(IBodyProducer)
class _Body:
    """A request body that is there already."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.length = len(data)

    def startProducing(self, consumer: Any) -> Deferred[None]:
        """Twisted: send it."""
        consumer.write(self._data)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Twisted: nothing is left to be held back."""

    def resumeProducing(self) -> None:
        """Twisted: nothing was held back."""

    def stopProducing(self) -> None:
        """Twisted: the connection is gone."""


class ApiClient:
    """Asks one service.  Every call raises `GoneError` if it does not answer."""

    def __init__(self, reactor: Any, control: ControlFile) -> None:
        self._reactor = reactor
        self._control = control
        self._agent: IAgent = Agent.usingEndpointFactory(reactor, _Endpoints(reactor))

    @property
    def pid(self) -> int:
        """The service's process id."""
        return self._control.pid

    async def node(self) -> NodeStatus:
        """The node itself."""
        return await self._ask("GET", "/node", NodeStatus)

    async def contents(self, pattern: str = "") -> tuple[ContentStatus, ...]:
        """What is on the network; of names that fit a `*` pattern, if there is one."""
        query = f"?match={quote(pattern, safe='')}" if pattern else ""
        return await self._ask("GET", f"/contents{query}", tuple[ContentStatus, ...])

    async def peers(self) -> tuple[PeerStatus, ...]:
        """Who is on the network."""
        return await self._ask("GET", "/peers", tuple[PeerStatus, ...])

    async def downloads(self) -> tuple[DownloadStatus, ...]:
        """Every download of the service's run."""
        return await self._ask("GET", "/downloads", tuple[DownloadStatus, ...])

    async def download(self, identifier: str) -> DownloadStatus:
        """One download.  Raises `RefusedError`."""
        return await self._ask("GET", f"/downloads/{identifier}", DownloadStatus)

    async def history(self, limit: int) -> tuple[HistoryEntry, ...]:
        """The newest lines of both logs."""
        return await self._ask("GET", f"/history?limit={limit}", tuple[HistoryEntry, ...])

    async def start(
        self, name: str, folder: str | None, *, sequential: bool = False
    ) -> DownloadStatus:
        """Begin a download, by name or id.  Raises `RefusedError`."""
        wish = StartDownload(name, folder, sequential)
        return await self._ask("POST", "/downloads", DownloadStatus, wish)

    async def stop(self, identifier: str) -> DownloadStatus:
        """Stop a download; its part is kept.  Raises `RefusedError`."""
        return await self._ask("DELETE", f"/downloads/{identifier}", DownloadStatus)

    async def share(self, path: str) -> ShareStatus:
        """Put a file into the share folder.  Raises `RefusedError`."""
        return await self._ask("POST", "/shares", ShareStatus, ShareFile(path), DISK_SECONDS)

    async def verify(self, name: str | None) -> tuple[VerifyResult, ...]:
        """Have what is shared hashed anew (None: all of it).  Raises `RefusedError`."""
        kind = tuple[VerifyResult, ...]
        return await self._ask("POST", "/verify", kind, VerifyShares(name), DISK_SECONDS)

    async def events(
        self, on_event: Callable[[Event], None], on_lost: Callable[[], None]
    ) -> EventFeed:
        """Open the event stream: from now on no event is missed."""
        response = await self._request("GET", "/events", None)
        if response.code != 200:
            raise GoneError(f"the service gives no events (HTTP {response.code})")
        feed = EventFeed(self._reactor, on_event, on_lost)
        response.deliverBody(feed)
        return feed

    async def _ask(
        self,
        method: str,
        path: str,
        kind: type[T],
        body: object = None,
        seconds: float = REPLY_SECONDS,
    ) -> T:
        response = await self._request(method, path, body, seconds)
        try:
            data = await self._patiently(readBody(response), REPLY_SECONDS)
        except _FAILED as error:
            raise self._gone(error) from None
        try:
            if 200 <= response.code < 300:
                return msgspec.json.decode(data, type=kind)
            raise RefusedError(response.code, msgspec.json.decode(data, type=ApiError))
        except msgspec.DecodeError:
            raise ClientError(
                f"the service (pid {self.pid}) answers in a way that this client does not"
                " understand: are they of one version?"
            ) from None

    async def _request(
        self, method: str, path: str, body: object, seconds: float = REPLY_SECONDS
    ) -> IResponse:
        url = f"{self._control.url}/api{path}".encode("ascii")
        headers = Headers({b"authorization": [f"Bearer {self._control.token}".encode("ascii")]})
        producer = None
        if body is not None:
            headers.addRawHeader(b"content-type", b"application/json")
            producer = _Body(msgspec.json.encode(body))
        asked = self._agent.request(method.encode("ascii"), url, headers, producer)
        try:
            return await self._patiently(asked, seconds)
        except _FAILED as error:
            raise self._gone(error) from None

    def _patiently(self, inner: Deferred[T], seconds: float) -> Deferred[T]:
        """The same for so many seconds; whoever cancels it gets a `CancelledError`.

        What an agent makes of its cancellation cannot be told from a connection that failed.
        """
        over = False

        def cancel(_: Deferred[T]) -> None:
            nonlocal over
            over = True
            inner.cancel()

        outer: Deferred[T] = Deferred(cancel)
        inner.addBoth(lambda result: None if over else outer.callback(result))
        return outer.addTimeout(seconds, self._reactor)

    def _gone(self, error: Exception) -> GoneError:
        return GoneError(f"the service (pid {self.pid}) does not answer: {_reason(error)}")


def _reason(error: Exception) -> str:
    """The innermost cause, in words."""
    reasons = getattr(error, "reasons", None)
    if reasons:
        return _reason(reasons[0].value)
    return str(error).rstrip(".") or type(error).__name__
