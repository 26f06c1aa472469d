"""Asking a service over HTTP: one request, one answer, in so many seconds.

It asks over connections that are proven (`proven`).  Not for: what can be asked (`api`).
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from twisted.internet import defer
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectError, ConnectionLost, TimeoutError
from twisted.web.client import (
    Agent,
    RequestTransmissionFailed,
    ResponseFailed,
    ResponseNeverReceived,
    readBody,
)
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from peershare.client.outcome import ClientError, ExitStatus, GoneError
from peershare.client.proven import ProvenEndpoints
from peershare.control.controlfile import ControlFile
from peershare.control.messages import ApiError

REPLY_SECONDS = 15.0

_FAILED = (
    ConnectError,
    ConnectionLost,
    TimeoutError,
    defer.TimeoutError,  # of an answer; the other one is of a connection
    ResponseFailed,
    ResponseNeverReceived,
    RequestTransmissionFailed,
)
# What a refusal comes to, where it is no failure.
_STATUSES = {
    "bad-name": ExitStatus.USAGE,
    "too-long": ExitStatus.USAGE,
    "ambiguous-name": ExitStatus.AMBIGUOUS,
    "unknown-content": ExitStatus.NOT_FOUND,
    "unknown-download": ExitStatus.NOT_FOUND,
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


class Asker:
    """Asks one service.  Every call raises `GoneError` if it does not answer."""

    def __init__(self, reactor: Any, control: ControlFile) -> None:
        self._reactor = reactor
        self._control = control
        self._agent: IAgent = Agent.usingEndpointFactory(reactor, ProvenEndpoints(reactor, control))

    @property
    def control(self) -> ControlFile:
        """Whom it asks."""
        return self._control

    @property
    def pid(self) -> int:
        """The service's process id."""
        return self._control.pid

    async def ask(
        self,
        method: str,
        path: str,
        kind: type[T],
        body: object = None,
        seconds: float = REPLY_SECONDS,
    ) -> T:
        """The answer to a request; `path` is the one below /api.  Raises `RefusedError`."""
        answer, _ = await self.ask_all(method, path, kind, body, seconds)
        return answer

    async def ask_all(
        self,
        method: str,
        path: str,
        kind: type[T],
        body: object = None,
        seconds: float = REPLY_SECONDS,
    ) -> tuple[T, Headers]:
        """The same with the headers of the answer."""
        response = await self.request(method, path, body, seconds)
        try:
            data = await self._patiently(readBody(response), REPLY_SECONDS)
        except _FAILED as error:
            raise self._gone(error) from None
        try:
            if 200 <= response.code < 300:
                return msgspec.json.decode(data, type=kind), response.headers
            raise RefusedError(response.code, msgspec.json.decode(data, type=ApiError))
        except msgspec.DecodeError:
            raise ClientError(
                f"the service (pid {self.pid}) answers in a way that this client does not"
                " understand: are they of one version?"
            ) from None

    async def request(
        self, method: str, path: str, body: object = None, seconds: float = REPLY_SECONDS
    ) -> IResponse:
        """The same, with its body still to come, whatever its status."""
        url = f"{self._control.url}/api{path}".encode("ascii")
        headers = Headers({b"authorization": [f"Bearer {self._control.token}".encode("ascii")]})
        producer = None
        if body is not None:
            headers.addRawHeader(b"content-type", b"application/json")
            producer = _Body(_encoded(body))
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
        return GoneError(
            f"the service (pid {self.pid}) does not answer: {_reason(error)}; try again, and"
            " restart it if it stays so"
        )


def _encoded(body: object) -> bytes:
    """A body as JSON.  Raises `ClientError` where it holds what no JSON can."""
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError as error:
        raise ClientError(f"{error.object!a} is no text in UTF-8", ExitStatus.USAGE) from None


def _reason(error: Exception) -> str:
    """The innermost cause, in words."""
    if isinstance(error, defer.TimeoutError):
        return "it took too long"
    reasons = getattr(error, "reasons", None)
    if reasons:
        return _reason(reasons[0].value)
    return str(error).rstrip(".") or type(error).__name__
