"""GuestService: the guest page's ports, one on each own address, for as long as the node runs.

The link has a new token at every start, so whoever has an old one gets nothing.  Not for: what is
answered (`site`), or one connection (`connection`).
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger, LogLevel

from peershare.admission import Admission
from peershare.errors import UnknownUploadError
from peershare.guest.answering import Means
from peershare.guest.connection import GuestConnection
from peershare.guest.inbox import Inbox
from peershare.guest.qr import svg_code
from peershare.guest.status import GuestStatus, GuestUpload
from peershare.links import Link
from peershare.refusals import Refusal, Refusals
from peershare.settings import Settings
from peershare.timers import Periodic

REFRESH_SECONDS = 5.0
_BACKLOG = 128
_TOKEN_BITS = 128


def make_token(random: Random) -> str:
    """What makes the link one that nobody guesses; `random` must not be guessed either."""
    data = random.getrandbits(_TOKEN_BITS).to_bytes(_TOKEN_BITS // 8, "big")
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


class GuestFactory(Factory):
    """Takes the connections of guests, within the caps of an `Admission` of its own."""

    noisy = False

    def __init__(self, reactor: Any, admission: Admission) -> None:
        self._admission = admission
        self._connections: dict[GuestConnection, str] = {}
        self.refusals = Refusals(reactor.seconds, LogLevel.info)
        self.means: Means | None = None  # to be set before somebody connects

    def buildProtocol(self, addr: Any) -> Protocol | None:
        """Twisted: somebody connected; who cannot be served is reset."""
        refusal = self._admission.refusal(addr.host)
        if refusal is not None or self.means is None:
            self.refusals.note(addr.host, f"guest page: {refusal or 'not ready'}")
            return Refusal()
        connection = GuestConnection(self.means, addr.host, self._gone)
        self._connections[connection] = addr.host
        self._admission.opened(addr.host)
        return connection

    def wake(self, content: str) -> None:
        """Something of this content came here ("": perhaps of any)."""
        for connection in tuple(self._connections):
            if connection.awaits(content):
                connection.wake()

    def abort_all(self) -> None:
        """Cut every connection: the service ends."""
        for connection in tuple(self._connections):
            connection.abort("failed stopped: the service was stopped")

    def _gone(self, connection: GuestConnection) -> None:
        self._admission.closed(self._connections.pop(connection))


class GuestService(Service):
    """See the module; without `--guest` it opens nothing, and has nothing to show."""

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        links: Callable[[], Sequence[Link]],
        factory: GuestFactory,
        token: str,
        inbox: Inbox | None,
    ) -> None:
        """`links` are the own addresses in use; `inbox` None: nothing is taken from guests."""
        self._reactor = reactor
        self._settings = settings
        self._links = links
        self._token = token
        self._inbox = inbox
        self._ports: dict[Link, IListeningPort] = {}
        self._shut: set[Link] = set()
        self._periodic = Periodic(reactor, REFRESH_SECONDS, self.refresh)
        self._factory = factory
        self.refusals = factory.refusals

    # -- life

    def startService(self) -> None:
        """Listen on every own address, and look again every few seconds."""
        super().startService()
        if not self._settings.guest:
            if self._settings.guest_upload:
                self._log.warn("guest-upload does nothing: there is no guest page without guest")
            return
        self.refresh()
        self._periodic.start()

    def stopService(self) -> Deferred[Any]:
        """Close the ports and every connection; what waits to be accepted is kept."""
        super().stopService()
        self._periodic.stop()
        ports = tuple(self._ports.values())
        self._ports.clear()
        self._factory.abort_all()
        if self._inbox is not None:
            self._inbox.stop()
        return DeferredList([maybeDeferred(port.stopListening) for port in ports])

    def refresh(self) -> None:
        """Follow the own addresses, as they come and go."""
        if self._inbox is not None:
            self._inbox.recall()
        links = self._links()
        for link in [link for link in self._ports if link not in links]:
            stopped = maybeDeferred(self._ports.pop(link).stopListening)
            stopped.addErrback(lambda f: self._log.failure("closing a port failed", failure=f))
        self._shut.intersection_update(links)
        for link in links:
            if link not in self._ports:
                self._listen(link)

    def _listen(self, link: Link) -> None:
        """Listen on the port that is wanted, on another if that one is taken."""
        wanted = self._settings.guest_port
        for port in (wanted, 0):
            try:
                opened = self._reactor.listenTCP(
                    port, self._factory, backlog=_BACKLOG, interface=str(link.address)
                )
            except CannotListenError:
                continue
            self._ports[link] = opened
            self._shut.discard(link)
            self._log.info(
                "guest page: on {address}:{port}, plain HTTP; peershare guest tells the link",
                address=link.address,
                port=opened.getHost().port,
            )
            return
        if link not in self._shut:
            self._shut.add(link)
            self._log.warn("guest page: no port of {address} can be used", address=link.address)

    # -- what people ask

    @property
    def link(self) -> str:
        """The first of its links, "" while there is none."""
        return next(iter(self.links), "")

    @property
    def links(self) -> tuple[str, ...]:
        """The link of the page, for each own address."""
        found = []
        for link, port in self._ports.items():
            host: Any = port.getHost()
            found.append(f"http://{link.address}:{host.port}/{self._token}/")
        return tuple(found)

    def status(self) -> GuestStatus:
        """The page, and what guests sent."""
        link, inbox = self.link, self._inbox
        return GuestStatus(
            link=link,
            links=self.links,
            qr=svg_code(link) if link else "",
            takes_uploads=inbox is not None,
            upload_limit=self._settings.guest_upload_limit_bytes if inbox is not None else 0,
            uploads=inbox.uploads() if inbox is not None else (),
        )

    def accept(self, identifier: str) -> Deferred[GuestUpload]:
        """Take an upload into the inbox folder.

        Raises `UnknownUploadError`; fails with `StorageError`: then it still waits.
        """
        return self._some_inbox().accept(identifier)

    def refuse(self, identifier: str) -> GuestUpload:
        """Remove an upload.  Raises `UnknownUploadError`; `StorageError`: then it still waits."""
        return self._some_inbox().refuse(identifier)

    def _some_inbox(self) -> Inbox:
        if self._inbox is None:
            raise UnknownUploadError("nothing is taken from guests: see --guest-upload")
        return self._inbox
