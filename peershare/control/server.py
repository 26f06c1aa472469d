"""ControlService: the API's port and its `control.json`, for as long as the node runs.

Loopback only, or nowhere at all if that is what the settings say.
Not for: what is answered there (`resource`, `api`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.http import Request
from twisted.web.server import Site

from peershare.control.controlfile import (
    ControlFile,
    no_api,
    remove_control_file,
    write_control_file,
)
from peershare.control.events import EventStreams
from peershare.control.face import NodeFace
from peershare.control.guard import Guard
from peershare.control.opening import Openings, random_secret
from peershare.control.pagefiles import load_page_files
from peershare.control.request import ApiRequest
from peershare.control.resource import ApiResource
from peershare.control.uploads import Uploads
from peershare.errors import StorageError
from peershare.settings import Settings
from peershare.timers import Alarm

MAX_CONNECTIONS = 128
IDLE_SECONDS = 60.0
# How long a stop waits for what is being read; SIGTERM has to be through within 2 s.
STOP_SECONDS = 0.5

T = TypeVar("T")


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
        self._uploads: Uploads | None = None
        self._written: ControlFile | None = None
        self.control: ControlFile | None = None  # while it listens

    def startService(self) -> None:
        """Listen, unless the API is off, and write `control.json`.

        A control file that cannot be written is said and no more: the peer is useful without.
        """
        super().startService()
        if self._settings.control_port == 0:
            self._log.info(
                "the local API is off (--control-port 0): no client and no page can ask this node"
            )
            self._write(no_api(os.getpid()))
            return
        self.control = self._start(random_secret())
        self._log.info("control: {url}, for peershare alone", url=self.control.url)
        self._write(self.control)

    def _start(self, token: str) -> ControlFile:
        """Listen; where that is."""
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
        openings = Openings(self._reactor.seconds)
        guard = Guard(token, address, host.port, openings)
        self._uploads = Uploads(self._node, partial(_in_thread, self._reactor))
        self._connections.wrappedFactory.resource = ApiResource(
            self._node, guard, openings, self._streams, self._uploads, load_page_files()
        )
        return ControlFile(f"http://{address}:{host.port}", token, os.getpid())

    def _write(self, control: ControlFile) -> None:
        self._written = control
        try:
            write_control_file(self._settings.state, control)
        except StorageError as error:
            self._log.error("the client cannot find this service: {error}", error=error)

    def stopService(self) -> Deferred[Any]:
        """Close the port and every connection; event streams are ended."""
        super().stopService()
        port, connections, uploads = self._port, self._connections, self._uploads
        written, self._written = self._written, None
        self._port = self._connections = self._uploads = self.control = None
        if written is not None:
            remove_control_file(self._settings.state, written)
        if port is None or connections is None or uploads is None:
            return succeed(None)
        self._streams.close()
        return Deferred.fromCoroutine(_stop(port, connections, uploads))

    def _address(self) -> str:
        """The first own address if that is a loopback one, so that peers can share a machine."""
        addresses = self._settings.addresses
        return str(addresses[0]) if addresses and addresses[0].is_loopback else "127.0.0.1"

    def _listen(self, address: str, factory: Connections) -> IListeningPort:
        wanted = self._settings.control_port or 0  # 0 is any free one, for the system
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


def _in_thread(reactor: Any, function: Callable[..., T], *arguments: Any) -> Deferred[T]:
    """Run it where it may wait for the disk."""
    return deferToThreadPool(reactor, reactor.getThreadPool(), function, *arguments)


async def _stop(port: IListeningPort, connections: Connections, uploads: Uploads) -> None:
    stopped = port.stopListening()
    given_up = uploads.close()
    await connections.end_all()
    await given_up
    if stopped is not None:
        await stopped
