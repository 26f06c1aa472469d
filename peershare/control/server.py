"""ControlService: the API's port and its `control.json`, for as long as the node runs.

Loopback only.  Not for: what is answered there (`resource`, `api`).
"""

from __future__ import annotations

import os
import secrets
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.http import Request
from twisted.web.server import Site

from peershare.control.api import Api
from peershare.control.controlfile import ControlFile, remove_control_file, write_control_file
from peershare.control.events import EventStreams
from peershare.control.face import NodeFace
from peershare.control.guard import Guard
from peershare.control.resource import ApiRequest, ApiResource
from peershare.errors import StorageError
from peershare.settings import Settings
from peershare.timers import Alarm

MAX_CONNECTIONS = 128
IDLE_SECONDS = 60.0
# How long a stop waits for what is being read; SIGTERM has to be through within 2 s.
STOP_SECONDS = 0.5
_TOKEN_BYTES = 32


class QuietSite(Site):
    """A site without an access log and the timer that goes with it."""

    noisy = False

    def startFactory(self) -> None:
        """Twisted: the port is open."""

    def stopFactory(self) -> None:
        """Twisted: the port is closed."""

    def log(self, request: Request) -> None:
        """Twisted: a request was answered."""


class Connections(WrappingFactory):
    """Counts the connections, and ends them."""

    noisy = False
    _log = Logger()

    def __init__(self, site: Site, reactor: Any) -> None:
        super().__init__(site)
        self._ended: Deferred[None] | None = None
        self._alarm = Alarm(reactor)

    def buildProtocol(self, addr: IAddress | None) -> ProtocolWrapper | None:  # type: ignore[override]  # None refuses, as IFactory says
        """Twisted: somebody connects."""
        if len(self.protocols) >= MAX_CONNECTIONS or self._ended is not None:
            self._log.warn("over {count} connections to the API", count=MAX_CONNECTIONS)
            return None
        return super().buildProtocol(addr)

    def unregisterProtocol(self, p: ProtocolWrapper) -> None:
        """Twisted: one has ended."""
        super().unregisterProtocol(p)
        if not self.protocols:
            self._all_ended()

    def end_all(self) -> Deferred[None]:
        """End every connection, at the latest after `STOP_SECONDS`; fires when all have."""
        ended = self._ended = Deferred()
        for wrapper in tuple(self.protocols):
            wrapper.loseConnection()
        if self.protocols:
            self._alarm.set(STOP_SECONDS, self._abort_all)
        else:
            self._all_ended()
        return ended

    def _abort_all(self) -> None:
        for wrapper in tuple(self.protocols):
            wrapper.abortConnection()

    def _all_ended(self) -> None:
        self._alarm.clear()
        if self._ended is not None and not self._ended.called:
            self._ended.callback(None)


class ControlService(Service):
    """Serves the API of a node."""

    _log = Logger()

    def __init__(self, node: NodeFace, settings: Settings, reactor: Any) -> None:
        self._node = node
        self._settings = settings
        self._reactor = reactor
        self._port: IListeningPort | None = None
        self._connections: Connections | None = None
        self._streams = EventStreams(node, reactor)
        self.control: ControlFile | None = None  # while it listens

    def startService(self) -> None:
        """Listen, and write `control.json`.

        A control file that cannot be written is said and no more: the peer is useful without.
        """
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        address = self._address()
        site = QuietSite(
            None,
            ApiRequest,
            parsePOSTFormSubmission=False,
            timeout=IDLE_SECONDS,
            reactor=self._reactor,
        )
        self._connections = Connections(site, self._reactor)
        self._port = self._listen(address, self._connections)
        host: Any = self._port.getHost()
        guard = Guard(token, address, host.port)
        resource = ApiResource(Api(self._node), self._streams, guard)
        self._connections.wrappedFactory.resource = resource
        self.control = ControlFile(f"http://{address}:{host.port}", token, os.getpid())
        self._log.info("control: {url}, for peershare alone", url=self.control.url)
        try:
            write_control_file(self._settings.state, self.control)
        except StorageError as error:
            self._log.error("the client cannot find this service: {error}", error=error)
        super().startService()

    def stopService(self) -> Deferred[Any]:
        """Close the port and every connection; event streams are ended."""
        super().stopService()
        port, connections, control = self._port, self._connections, self.control
        self._port = self._connections = self.control = None
        if port is None or connections is None:
            return succeed(None)
        if control is not None:
            remove_control_file(self._settings.state, control)
        self._streams.close()
        return Deferred.fromCoroutine(_stop(port, connections))

    def _address(self) -> str:
        """The first own address if that is a loopback one, so that peers can share a machine."""
        addresses = self._settings.addresses
        return str(addresses[0]) if addresses and addresses[0].is_loopback else "127.0.0.1"

    def _listen(self, address: str, factory: Connections) -> IListeningPort:
        wanted = self._settings.control_port
        try:
            return self._open(wanted, factory, address)
        except CannotListenError:
            port = self._open(0, factory, address)
        host: Any = port.getHost()
        self._log.info(
            "control port {wanted} of {address} is taken; {port} is used instead",
            wanted=wanted,
            address=address,
            port=host.port,
        )
        return port

    def _open(self, port: int, factory: Connections, address: str) -> IListeningPort:
        opened: IListeningPort = self._reactor.listenTCP(port, factory, interface=address)
        return opened


async def _stop(port: IListeningPort, connections: Connections) -> None:
    stopped = port.stopListening()
    await connections.end_all()
    if stopped is not None:
        await stopped
