"""Proven connections: to the service that `control.json` names, once it has shown that it is it.

Each connection begins with the proof (`control.proof`); nothing else is sent, and nothing
believed, before that.  No name is looked up, no proxy asked.
Not for: what is asked then.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import msgspec
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from twisted.web.client import URI
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from peershare.client.outcome import GoneError
from peershare.control.controlfile import ControlFile
from peershare.control.proof import Proof, is_service, new_nonce, proof_path

CONNECT_SECONDS = 3.0
# Of the answer to the question for a proof.
_MOST_BYTES = 8_192
# What a service answers that knows no proof: the path is unknown to it, or needs the token.
_OLDER = (401, 404)


class UnprovenError(GoneError):
    """Whoever listens there is not the service that wrote `control.json`."""


class OlderServiceError(UnprovenError):
    """It answers as services of former versions do, which cannot prove anything."""


class _Prover(Protocol):
    """Asks for the proof, and hands the connection over once it is there."""

    def __init__(self, control: ControlFile, factory: IProtocolFactory, address: IAddress) -> None:
        self._control = control
        self._factory = factory
        self._address = address
        self._nonce = new_nonce()
        self._received = b""
        self.proven: Deferred[IProtocol] = Deferred(lambda _: self._abort())

    def connectionMade(self) -> None:
        """Twisted: it is open."""
        assert self.transport is not None
        path = proof_path(self._control.token, self._nonce)
        host = urlsplit(self._control.url).netloc
        self.transport.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode("ascii"))

    def dataReceived(self, data: bytes) -> None:
        """Twisted: some of the answer is here."""
        self._received += data
        try:
            if len(self._received) > _MOST_BYTES:
                raise ValueError("the answer is too long")
            answer = _parse(self._received)
            if answer is None:
                return
            _judge(self._control, self._nonce, *answer)
        except (UnprovenError, ValueError) as error:
            self._fail(error if isinstance(error, UnprovenError) else _unproven(self._control))
            return
        self._hand_over()

    def _hand_over(self) -> None:
        transport: Any = self.transport
        protocol = self._factory.buildProtocol(self._address)
        if protocol is None:
            self._fail(GoneError("nobody wants the connection any more"))
            return
        transport.protocol = protocol
        protocol.makeConnection(transport)
        self.proven.callback(protocol)

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Twisted: it was closed too early."""
        self._fail(GoneError(f"the service (pid {self._control.pid}) closed the connection"))

    def _fail(self, error: Exception) -> None:
        if not self.proven.called:
            self.proven.errback(Failure(error))
        self._abort()

    def _abort(self) -> None:
        transport: Any = self.transport
        if transport is not None:
            transport.abortConnection()


class _Provers(Factory):
    """Begins every connection with a proof."""

    noisy = False

    def __init__(self, control: ControlFile, factory: IProtocolFactory) -> None:
        self._control = control
        self._factory = factory

    def buildProtocol(self, addr: IAddress | None) -> _Prover:
        """Twisted: a connection is open."""
        assert addr is not None
        return _Prover(self._control, self._factory, addr)


class _Endpoint:
    """Where the service is; gives connections that are proven."""

    def __init__(self, reactor: Any, control: ControlFile, inner: TCP4ClientEndpoint) -> None:
        self._reactor = reactor
        self._control = control
        self._inner = inner

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Twisted: a connection for this factory.  Fails with `GoneError`, too."""
        factory = _Provers(self._control, protocolFactory)
        connected: Deferred[Any] = maybeDeferred(self._inner.connect, factory)
        connected.addCallback(
            lambda prover: prover.proven.addTimeout(CONNECT_SECONDS, self._reactor)
        )
        return connected


@implementer(IAgentEndpointFactory)
class ProvenEndpoints:
    """Connects to the address in the URL of the control file, and lets it prove itself."""

    def __init__(self, reactor: Any, control: ControlFile) -> None:
        self._reactor = reactor
        self._control = control

    def endpointForURI(self, uri: URI) -> Any:
        """Twisted: where this URL leads."""
        host = uri.host.decode("ascii")
        inner = TCP4ClientEndpoint(self._reactor, host, uri.port, timeout=CONNECT_SECONDS)
        return _Endpoint(self._reactor, self._control, inner)


def _parse(data: bytes) -> tuple[int, bytes] | None:
    """The status and the body of an answer; None while it is not whole.  Raises ValueError."""
    head, separator, body = data.partition(b"\r\n\r\n")
    if not separator:
        return None
    first, *lines = head.split(b"\r\n")
    version, status, *_ = [*first.split(b" "), b"", b""]
    headers = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(b":") for line in lines)
    }
    length = int(headers.get(b"content-length", b"").decode("ascii"))
    if not version.startswith(b"HTTP/1.") or not 0 <= length <= _MOST_BYTES or len(body) > length:
        raise ValueError("this is no answer to the question")
    return (int(status.decode("ascii")), body) if len(body) == length else None


def _judge(control: ControlFile, nonce: str, status: int, body: bytes) -> None:
    """Raise `UnprovenError` unless this is the proof."""
    if status in _OLDER:
        raise OlderServiceError(
            f"the service (pid {control.pid}) is of an older version and cannot prove that it is"
            " the one of this state folder: restart it"
        )
    try:
        proof = msgspec.json.decode(body, type=Proof).proof if status == 200 else ""
    except msgspec.DecodeError:
        proof = ""
    if not is_service(control.token, nonce, proof):
        raise _unproven(control)


def _unproven(control: ControlFile) -> UnprovenError:
    return UnprovenError(
        f"another program answers at {control.url} in place of the service (pid {control.pid})"
        " that control.json names; nothing was sent to it"
    )
