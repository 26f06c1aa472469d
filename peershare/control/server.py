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
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger, LogLevel
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.http import Request
from twisted.web.server import Site

from peershare.control.controlfile import (
    CONTROL_NAME,
    ControlFile,
    keep_control_file,
    no_api,
    remove_control_file,
    write_control_file,
    write_service_record,
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
from peershare.refusals import Refusals
from peershare.settings import Settings
from peershare.timers import Alarm, Periodic

MAX_CONNECTIONS = 128
# Of those that have not shown the token yet; a client shows it within a few milliseconds.
MAX_STRANGERS = 256
STRANGER_SECONDS = 15.0
IDLE_SECONDS = 60.0
# How often it is seen to that `control.json` is there.
KEEP_SECONDS = 2.0
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


class Connection(ProtocolWrapper):
    """One connection; a stranger's until a request on it has shown the token or a session."""

    factory: Connections

    def mark_known(self) -> None:
        """Whoever is there may ask."""
        self.factory.became_known(self)

    def dataReceived(self, data: bytes) -> None:
        """Twisted: some bytes are here; those that Twisted's parser raises at end it."""
        try:
            super().dataReceived(data)
        except Exception as error:
            self.factory.parser_failed(self, error)


class Connections(WrappingFactory):
    """Counts the connections, and ends them.

    Any user of the machine can open some.  Those that have shown nothing yet have a bound and a
    deadline of their own, and the oldest of them makes room for the next: they cannot keep out
    the owner, whose first request makes its connection known.
    """

    noisy = False
    protocol = Connection
    _log = Logger()

    def __init__(self, site: Site, reactor: Any) -> None:
        super().__init__(site)
        self._reactor = reactor
        self._ended: Deferred[None] | None = None
        self._alarm = Alarm(reactor)
        self._strangers: dict[ProtocolWrapper, Alarm] = {}  # the oldest first
        self._known: set[ProtocolWrapper] = set()
        self._refusals = Refusals(reactor.seconds, LogLevel.warn)

    def buildProtocol(self, addr: IAddress | None) -> ProtocolWrapper | None:  # type: ignore[override]  # None refuses, as IFactory says
        """Twisted: somebody connects."""
        if self._ended is not None:
            return None
        if len(self._known) >= MAX_CONNECTIONS:
            self._note(f"over {MAX_CONNECTIONS} connections of its owner")
            return None
        if len(self._strangers) >= MAX_STRANGERS:
            self._note(f"over {MAX_STRANGERS} connections that have not shown the token")
            self._drop(next(iter(self._strangers)))
        connection = super().buildProtocol(addr)
        alarm = self._strangers[connection] = Alarm(self._reactor)
        alarm.set(STRANGER_SECONDS, self._drop, connection)
        return connection

    def became_known(self, connection: ProtocolWrapper) -> None:
        """It has shown the token, or a session."""
        if self._forget(connection):
            self._known.add(connection)

    def _forget(self, connection: ProtocolWrapper) -> bool:
        """It is no stranger any more; whether it was one."""
        alarm = self._strangers.pop(connection, None)
        if alarm is not None:
            alarm.clear()
        return alarm is not None

    def parser_failed(self, connection: ProtocolWrapper, error: Exception) -> None:
        """Twisted raises at what it did not expect in a head: this is the sender's fault."""
        if not isinstance(error, ValueError):
            self._log.failure("a request cannot be read", failure=Failure(error))
        self._note("a request that cannot be read", str(error)[:100])
        connection.abortConnection()

    def _drop(self, connection: ProtocolWrapper) -> None:
        self._forget(connection)
        connection.abortConnection()

    def _note(self, reason: str, details: str = "") -> None:
        self._refusals.note("the local API", reason, details)

    def unregisterProtocol(self, p: ProtocolWrapper) -> None:
        """Twisted: one has ended."""
        super().unregisterProtocol(p)
        self._forget(p)
        self._known.discard(p)
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

    def __init__(
        self, node: NodeFace, settings: Settings, reactor: Any, *, remembered: bool = False
    ) -> None:
        """`remembered`: what this service was told holds for clients after its end, too."""
        self._node = node
        self._remembered = remembered
        self._settings = settings
        self._reactor = reactor
        self._port: IListeningPort | None = None
        self._connections: Connections | None = None
        self._streams = EventStreams(node, reactor)
        self._uploads: Uploads | None = None
        self._written: ControlFile | None = None
        self.control: ControlFile | None = None  # while it listens
        self._keeping = Periodic(reactor, KEEP_SECONDS, self._keep)
        self._kept: Deferred[Any] | None = None  # while the files are looked at
        self._trouble = False  # it was said that the files cannot be written

    def startService(self) -> None:
        """Listen, unless the API is off, and write `control.json`.

        A control file that cannot be written is tried again and again: the peer is useful without.
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
            if self._remembered:
                write_service_record(self._settings)
        except StorageError as error:
            self._not_written(error)
        self._keeping.start()

    def _keep(self) -> None:
        """See that the files are there: they may be removed while it runs."""
        if self._kept is not None or self._written is None:
            return
        self._kept = _in_thread(self._reactor, self._keep_files, self._written)
        self._kept.addCallbacks(self._files_stand, lambda f: self._not_written(f.value))
        self._kept.addBoth(lambda _: setattr(self, "_kept", None))

    def _keep_files(self, control: ControlFile) -> bool:
        """Worker: whether something had to be written."""
        state = self._settings.state
        anew = keep_control_file(state, control)
        if anew and self._remembered:
            write_service_record(self._settings)
        return anew

    def _files_stand(self, anew: bool) -> None:
        if anew:
            self._log.warn(
                "{path} was not there any more, and was written again",
                path=str(self._settings.state / CONTROL_NAME),
            )
        self._trouble = False

    def _not_written(self, error: Exception) -> None:
        if not self._trouble:
            self._log.error(
                "the client cannot find this service: {error}; it is tried again", error=error
            )
        self._trouble = True

    def stopService(self) -> Deferred[Any]:
        """Close the port and every connection; event streams are ended."""
        super().stopService()
        self._keeping.stop()
        port, connections, uploads = self._port, self._connections, self._uploads
        written, self._written = self._written, None
        self._port = self._connections = self._uploads = self.control = None
        if port is None or connections is None or uploads is None:
            return Deferred.fromCoroutine(self._remove(written))
        self._streams.close()
        return Deferred.fromCoroutine(self._stop(written, port, connections, uploads))

    async def _remove(self, written: ControlFile | None) -> None:
        """Remove the control file, once nobody is writing it any more."""
        if self._kept is not None:
            await self._kept
        if written is not None:
            remove_control_file(self._settings.state, written)

    async def _stop(
        self,
        written: ControlFile | None,
        port: IListeningPort,
        connections: Connections,
        uploads: Uploads,
    ) -> None:
        await self._remove(written)
        stopped = port.stopListening()
        given_up = uploads.close()
        await connections.end_all()
        await given_up
        if stopped is not None:
            await stopped

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
