"""Listening: keeps the sockets of each own address, while addresses come and go.

For every link there is a TCP port that serves, a socket for beacons, and an announcer socket if
classic peers are to be told; what is broadcast there is heard by sockets of its broadcast
addresses.  A TCP port that is taken is replaced by another, which the beacons
carry; since classic peers look for chunks on the standard port only, announcing on that link stops
until the port is free again (hostile world, 23).
Not for: what goes over the sockets.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger

from peershare.announcer import Announcer, AnnouncerProtocol
from peershare.discovery import ChunkDiscovery
from peershare.links import Interface, Link, find_links
from peershare.neighbourhood import Neighbourhood
from peershare.serving.tuning import send_unpaced
from peershare.settings import Settings
from peershare.timers import Periodic
from peershare.uploader import UploaderFactory

REFRESH_SECONDS = 5.0
_BACKLOG = 256


@dataclass
class _Sockets:
    """What is open on one link."""

    announcer: AnnouncerProtocol | None
    tcp: IListeningPort | None = None
    tcp_port: int | None = None


class Listening(Service):
    """See the module; also the answer to "is this address ours, or on our networks?"."""

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        read_interfaces: Callable[[], Iterable[Interface]],
        uploader: UploaderFactory,
        announcer: Announcer,
        discovery: ChunkDiscovery,
        neighbourhood: Neighbourhood,
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._read_interfaces = read_interfaces
        self._uploader = uploader
        self._announcer = announcer
        self._discovery = discovery
        self._neighbourhood = neighbourhood
        self._sockets: dict[Link, _Sockets] = {}
        self._periodic = Periodic(reactor, REFRESH_SECONDS, self.refresh)
        self._had_links = True
        self._blind = ""  # why the interfaces cannot be read right now

    # -- what is open

    @property
    def links(self) -> tuple[Link, ...]:
        """The own addresses in use."""
        return tuple(self._sockets)

    @property
    def tcp_ports(self) -> dict[str, int]:
        """The TCP port by own address, where one is open."""
        return {str(k.address): s.tcp_port for k, s in self._sockets.items() if s.tcp_port}

    @property
    def problems(self) -> tuple[str, ...]:
        """What is in the way, as sentences."""
        blind = (self._blind,) if self._blind else ()
        if not self._sockets:
            return blind or ("no network interface is up; waiting for one",)
        shut = (
            f"no TCP port of {link.address} can be used, so nothing is shared"
            for link, sockets in self._sockets.items()
            if sockets.tcp is None
        )
        return tuple(
            dict.fromkeys((*blind, *shut, *self._announcer.problems, *self._neighbourhood.problems))
        )

    def is_own(self, address: IPv4Address) -> bool:
        """Whether this is one of our own addresses."""
        return any(address == link.address for link in self._sockets)

    def announces(self, address: IPv4Address) -> bool:
        """Whether what is announced from this address is our own.

        Where another program has the TCP port of classic peers nothing is announced: then it is
        the other one's, which can be fetched from there.
        """
        return any(
            address == link.address and not (sockets.announcer and sockets.announcer.muted)
            for link, sockets in self._sockets.items()
        )

    def is_local(self, address: IPv4Address) -> bool:
        """Whether this is the address of a machine on the network of one of our links."""
        return any(link.has_host(address) for link in self._sockets)

    def is_another(self, address: IPv4Address) -> bool:
        """Whether this can be the address of another peer."""
        return self.is_local(address) and not self.is_own(address)

    def bind_address(self, peer: IPv4Address) -> str | None:
        """Our own address on the link that the peer is on."""
        for link in self._sockets:
            if peer in link.network:
                return str(link.address)
        return None

    # -- life

    def startService(self) -> None:
        """Open what there is to open, and look again every few seconds."""
        super().startService()
        self.refresh()
        self._periodic.start()

    def stopService(self) -> Deferred[Any]:
        """Close the TCP ports (announcer and neighbourhood close their sockets)."""
        super().stopService()
        self._periodic.stop()
        ports = [s.tcp for s in self._sockets.values() if s.tcp is not None]
        return DeferredList([maybeDeferred(port.stopListening) for port in ports])

    def refresh(self) -> None:
        """Follow the interfaces: open new links, close lost ones, take back the standard port."""
        settings = self._settings
        try:
            wanted = find_links(settings.addresses, settings.broadcasts, self._read_interfaces)
        except OSError as error:  # out of descriptors or memory: what is open stays open
            if not self._blind:
                self._log.warn("{problem}", problem=_blind(error))
            self._blind = _blind(error)
            return
        self._blind = ""
        for link in [link for link in self._sockets if link not in wanted]:
            self._log.info("{address} is gone from this machine", address=link.address)
            self._close(link)
        for link in wanted:
            if link not in self._sockets:
                self._open(link)
                continue
            if self._sockets[link].tcp_port != settings.tcp_port:
                self._listen(link)
            self._neighbourhood.take_back(link)
            announcer = self._sockets[link].announcer
            if announcer is not None:
                announcer.take_back()
        if not wanted and self._had_links:
            self._log.warn("no network interface is up; waiting for one")
        self._had_links = bool(wanted)

    def _open(self, link: Link) -> None:
        announcer = None
        if self._settings.classic:
            port = self._settings.classic_udp_port
            announcer = AnnouncerProtocol(self._reactor, link, port, self._discovery.hear)
            self._discovery.use(link)
        self._sockets[link] = _Sockets(announcer)
        self._neighbourhood.use(link)
        self._listen(link)
        if announcer is not None:
            self._announcer.use(link, announcer)

    def _close(self, link: Link) -> None:
        sockets = self._sockets.pop(link)
        self._neighbourhood.drop(link).addErrback(self._log_failure)
        if sockets.announcer is not None:
            self._announcer.drop(link).addErrback(self._log_failure)
            self._discovery.drop(link).addErrback(self._log_failure)
        if sockets.tcp is not None:
            maybeDeferred(sockets.tcp.stopListening).addErrback(self._log_failure)

    def _listen(self, link: Link) -> None:
        """Listen on the port that is wanted; on another for as long as that one is taken."""
        sockets = self._sockets[link]
        wanted = self._settings.tcp_port
        before = sockets.tcp
        for port in (wanted, 0) if before is None else (wanted,):
            try:
                sockets.tcp = self._reactor.listenTCP(
                    port, self._uploader, backlog=_BACKLOG, interface=str(link.address)
                )
            except CannotListenError:
                continue
            if isinstance(listener := getattr(sockets.tcp, "socket", None), socket.socket):
                send_unpaced(listener)
            break
        if sockets.tcp is None:
            self._mute(sockets, f"no TCP port of {link.address} can be used, so nothing is shared")
        elif sockets.tcp is not before:
            if before is not None:
                maybeDeferred(before.stopListening).addErrback(self._log_failure)
            address: Any = sockets.tcp.getHost()
            sockets.tcp_port = address.port
            self._say(link, sockets, wanted)

    def _say(self, link: Link, sockets: _Sockets, wanted: int) -> None:
        self._log.info(
            "serving chunks on {address}:{port}", address=link.address, port=sockets.tcp_port
        )
        self._neighbourhood.moved(link, sockets.tcp_port or 0)
        if sockets.tcp_port != wanted:
            self._mute(
                sockets,
                f"TCP port {wanted} of {link.address} is taken by another program,"
                f" {sockets.tcp_port} is used instead: classic peers could not fetch there, so"
                " nothing is announced; free the port to go on",
            )
        elif sockets.announcer is not None and sockets.announcer.muted:
            sockets.announcer.muted = ""
            # what was heard of it meanwhile was the other program's
            self._discovery.forget(str(link.address))
            self._announcer.shares_changed()

    def _mute(self, sockets: _Sockets, problem: str) -> None:
        """Announce nothing on this link: what is told there could not be fetched."""
        if sockets.announcer is None:
            return
        if problem != sockets.announcer.muted:
            self._log.warn("{problem}", problem=problem)
        sockets.announcer.muted = problem

    def _log_failure(self, failure: Any) -> None:
        self._log.failure("closing a socket failed", failure=failure)


def _blind(error: OSError) -> str:
    return f"the network interfaces cannot be read ({error.strerror}); trying again"
