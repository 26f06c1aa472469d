"""Listens to the network where no service of ours does, and asks native peers who they are.

What is broadcast, to the port of the beacons alone, is a beacon as a service sends at its start;
who answers is sent our nonce, and whoever echoes it has proven to be a native peer.  Announcements
of classic peers are only listened to.  Not for: calling anybody (`calling`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Any

import msgspec
from twisted.internet.defer import DeferredList
from twisted.internet.task import deferLater

from peershare.doctor.evidence import Arrivals, Peer
from peershare.doctor.judging.interfaces import reachable
from peershare.doctor.probing.sockets import (
    RandomBytes,
    Socket,
    beacon_of,
    heard_on,
    link_to,
)
from peershare.errors import PeerError
from peershare.links import Link
from peershare.settings import Settings
from peershare.timers import Alarm
from peershare.wire import announcement, beacon
from peershare.wire.beacon import SECRET_BYTES, Beacon, Nonces

MOST_ADDRESSES = 256
_MOST_STRANGE = 64
# To one address go so many questions, so far apart.
_MOST_QUESTIONS, _QUESTION_GAP_SECONDS = 3, 0.5
_ASK_AGAIN_SECONDS = 1.0


@dataclass
class _Record:
    """What is known of an address."""

    heard_at: float
    beacons: bool = False
    proven: bool = False
    tcp_port: int = 0
    count: int = 0
    stems: set[str] = field(default_factory=set)
    questions: int = 0
    asked_at: float = float("-inf")

    def peer(self, address: str, now: float) -> Peer:
        return Peer(
            address=address,
            beacons=self.beacons,
            proven=self.proven,
            classic=bool(self.stems),
            heard_seconds_ago=now - self.heard_at,
            tcp_port=self.tcp_port if self.proven else 0,
            contents=self.count if self.beacons else len(self.stems),
        )


class Asking:
    """One stretch of listening."""

    def __init__(
        self, reactor: Any, settings: Settings, links: Sequence[Link], random: RandomBytes
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._links = tuple(links)
        self._own = {link.address for link in links}
        self._beacon = beacon_of(random)
        self._nonces = Nonces(random(SECRET_BYTES))
        self._mouths: dict[Link, Socket] = {}
        self._records: dict[str, _Record] = {}
        self._elsewhere: dict[str, None] = {}
        self._strange: dict[str, None] = {}
        self._again = Alarm(reactor)

    async def listen(self, seconds: float) -> Arrivals:
        """Ask, and hear for so many seconds."""
        port, ears, deaf = self._settings.beacon_port, list[Socket](), list[str]()
        try:
            for address in heard_on(self._links):
                ears.append(Socket(self._reactor, self._hear_beacon))
                deaf.append(ears[-1].open_ear(port, address))
                if self._settings.classic:
                    ears.append(Socket(self._reactor, self._hear_announcement))
                    deaf.append(ears[-1].open_ear(self._settings.classic_udp_port, address))
            for link in self._links:
                mouth = self._mouths[link] = Socket(self._reactor, self._hear_beacon)
                # answers are to come in by the port that a firewall is opened for, if it is free
                if mouth.open_mouth(link.address, port):
                    deaf.append(mouth.open_mouth(link.address))
            self._broadcast(ask=True)
            self._again.set(_ASK_AGAIN_SECONDS, self._ask_again)
            await deferLater(self._reactor, seconds)
        finally:
            self._again.clear()
            self._broadcast(bye=True)
            sockets = (*ears, *self._mouths.values())
            await DeferredList([socket.close() for socket in sockets])
        now = self._reactor.seconds()
        return Arrivals(
            peers=tuple(record.peer(a, now) for a, record in self._records.items()),
            seconds=seconds,
            elsewhere=tuple(self._elsewhere),
            not_understood=tuple(self._strange),
            deaf=tuple(problem for problem in deaf if problem),
        )

    def _broadcast(self, **more: Any) -> None:
        """Send our beacon to every broadcast address; what cannot be sent shows in the echoes."""
        datagram = beacon.encode(msgspec.structs.replace(self._beacon, **more))
        for link, mouth in self._mouths.items():
            for address in reachable(link):
                mouth.send(datagram, str(address), self._settings.beacon_port)

    def _ask_again(self) -> None:
        self._broadcast(ask=True)

    # -- what is heard

    def _record(self, source: str) -> _Record | None:
        """The record of an address that may be listened to."""
        address = IPv4Address(source)
        if address in self._own:
            return None
        if link_to(self._links, source) is None:
            if len(self._elsewhere) < _MOST_STRANGE:
                self._elsewhere[source] = None
            return None
        if source not in self._records and len(self._records) >= MOST_ADDRESSES:
            return None
        return self._records.get(source) or _Record(self._reactor.seconds())

    def _hear_announcement(self, datagram: bytes, source: str, port: int) -> None:
        record = self._record(source)
        if record is None:
            return
        try:
            names = announcement.decode(datagram).names
        except PeerError:
            self._note_strange(source)
            return
        record.heard_at = self._reactor.seconds()
        record.stems |= {name.base for name in names}
        self._records[source] = record

    def _hear_beacon(self, datagram: bytes, source: str, port: int) -> None:
        record = self._record(source)
        if record is None:
            return
        try:
            told = beacon.decode(datagram)
        except PeerError:
            self._note_strange(source)
            return
        if told.bye:
            self._records.pop(source, None)
            return
        record.heard_at = self._reactor.seconds()
        record.beacons, record.count = True, told.count
        self._records[source] = record
        if self._nonces.proves(told, source):
            record.proven, record.tcp_port = True, told.port
        elif not record.proven:
            self._ask(record, told, source, port)

    def _note_strange(self, source: str) -> None:
        if len(self._strange) < _MOST_STRANGE:
            self._strange[source] = None

    def _ask(self, record: _Record, told: Beacon, address: str, port: int) -> None:
        """Send it our nonce, if it may be answered there."""
        now, link = self._reactor.seconds(), link_to(self._links, address)
        if port in (0, self._settings.classic_udp_port) or link is None:
            return
        if record.questions >= _MOST_QUESTIONS or now < record.asked_at + _QUESTION_GAP_SECONDS:
            return
        record.questions += 1
        record.asked_at = now
        nonce = self._nonces.nonce(told.sender(address))
        question = msgspec.structs.replace(self._beacon, ask=True, nonce=nonce)
        self._mouths[link].send(beacon.encode(question), address, port)
