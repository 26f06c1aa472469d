"""Neighbourhood: the native peers around us and what they hold, and that they know the same of us.

This is where beacons, neighbours, catalogues and holdings are wired to each other.  Not for:
sessions, downloads, nor for anything classic.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address
from random import Random
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from peershare.beacons import Beacons, BeaconSocket
from peershare.catalogues import Chores, Fetcher, Sessions
from peershare.hearing import Hearing
from peershare.holdings import MAX_COST_BYTES, Holdings
from peershare.identity import Identity
from peershare.links import Link
from peershare.neighbours import Heard, Neighbours
from peershare.timers import Paced
from peershare.wire.beacon import Endpoint, Nonces
from peershare.wire.catalogue import CatalogueEntry, CatalogueHistory

# How soon a change of what we hold becomes one of our catalogue, and how soon another one does.
_UPDATE_DELAY_SECONDS, _UPDATE_GAP_SECONDS = 0.05, 1.0
# The same of whoever wants to hear of changes.
_TELL_DELAY_SECONDS, _TELL_GAP_SECONDS = 0.0, 0.1


class Neighbourhood(Service):
    """See the module.  `catalogue` is our own, `neighbours` and `holdings` are those of others."""

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        *,
        beacon_port: int,
        classic_udp_port: int,
        identity: Identity,
        random: Random,
        sessions: Sessions,
        entries: Callable[[], Iterable[CatalogueEntry]],
        is_local: Callable[[IPv4Address], bool],
        memory: int = MAX_COST_BYTES,
        cpu: Callable[[], float] = time.thread_time,
    ) -> None:
        """`entries` gives what we hold; `shares_changed` says that it is not what it was.

        `memory` are the bytes that what others hold may take; `cpu` gives the seconds that the
        processor has spent on us.

        `sessions` is a pool of sessions, which is asked only for who has proven to be there.
        `is_local`: on the network of one of our links.
        """
        self._reactor, self._port, self._entries = reactor, beacon_port, entries
        self.catalogue = CatalogueHistory()
        self.neighbours = Neighbours(Nonces(identity.secret))
        self.holdings = Holdings(self.neighbours.was_contacted, memory)
        self._beacons = Beacons(
            reactor,
            identity,
            random,
            catalogue=lambda: (self.catalogue.digest, self.catalogue.count),
            neighbours=lambda: self.neighbours.proven_count,
            known=self.neighbours.questions,
        )
        self._chores = Chores(reactor, cpu)
        self._fetcher = self._make_fetcher(sessions, random)
        self._hearing = self._make_hearing(classic_udp_port, random, is_local)
        self._callbacks: list[Callable[[], object]] = []
        self._on_left: list[Callable[[str], object]] = []
        self._version, self._seen = 0, (0, 0)
        self._telling = Paced(reactor, _TELL_DELAY_SECONDS, _TELL_GAP_SECONDS, self._tell, cpu)
        self._updating = Paced(
            reactor, _UPDATE_DELAY_SECONDS, _UPDATE_GAP_SECONDS, self._update, cpu
        )

    def _make_hearing(
        self, classic_udp_port: int, random: Random, is_local: Callable[[IPv4Address], bool]
    ) -> Hearing:
        return Hearing(
            self._reactor,
            self._port,
            classic_udp_port,
            self._beacons,
            self.neighbours,
            random,
            is_local=is_local,
            on_heard=self._heard,
            on_gone=self._gone,
        )

    def _make_fetcher(self, sessions: Sessions, random: Random) -> Fetcher:
        held, chores = self.holdings, self._chores
        return Fetcher(
            self._reactor, self.neighbours, held, sessions, random, chores, self._changed
        )

    def on_change(self, callback: Callable[[], object]) -> None:
        """Call this whenever something was learned or forgotten (at most ten times a second)."""
        self._callbacks.append(callback)

    def on_left(self, callback: Callable[[str], object]) -> None:
        """Call this with an address where nobody is known any more."""
        self._on_left.append(callback)

    @property
    def problems(self) -> tuple[str, ...]:
        """What is in the way of being heard, as sentences."""
        return self._beacons.problems

    @property
    def refused(self) -> Counter[str]:
        """Beacons and catalogues turned away, by reason."""
        return self._hearing.refusals.counts + self._fetcher.refusals.counts

    @property
    def sent_beacons(self) -> int:
        """How many were sent since the start."""
        return self._beacons.sent_datagrams

    # -- life

    def startService(self) -> None:
        """Listen, and say that we are here."""
        super().startService()
        self._hearing.open()
        self._beacons.startService()
        self.shares_changed()

    def stopService(self) -> Deferred[Any]:
        """Say goodbye; close the sockets; leave what is under way."""
        super().stopService()
        closing = [self._hearing.close(), self._beacons.stopService()]
        self._fetcher.stop()
        self._chores.stop()
        self._telling.stop()
        self._updating.stop()
        return DeferredList(closing)

    # -- sockets: for `listening`

    def use(self, link: Link) -> BeaconSocket:
        """Be heard on one more link; its socket is told where sessions are taken (`moved`)."""
        socket = BeaconSocket(self._reactor, link, self._port, self._hearing.hear)
        self._hearing.use(link)
        self._beacons.use(link, socket)
        return socket

    def take_back(self, link: Link) -> None:
        """Hear what is sent to us alone at the usual UDP port, if nobody else does any more.

        Those who know us are told where we are, by what only we were given.
        """
        if self._beacons.take_back(link):
            for known in self.neighbours.questions():
                if known.echo:
                    self._beacons.tell(known.endpoint.address, known.udp_port, echo=known.echo)

    @property
    def udp_ports(self) -> dict[str, int]:
        """The UDP port where each own address hears what is sent to it alone."""
        return self._beacons.ports

    def moved(self, link: Link, tcp_port: int) -> None:
        """Sessions are taken at this TCP port of the link from now on, 0 if nowhere."""
        self._beacons.moved(link, tcp_port)

    def drop(self, link: Link) -> Deferred[Any]:
        """Be heard there no more."""
        return DeferredList([self._hearing.drop(link), self._beacons.drop(link)])

    # -- what we hold

    def shares_changed(self) -> None:
        """What we hold is not what it was: it is told within about a second."""
        if self.running:
            self._updating.ask()

    def _update(self) -> None:
        before = self.catalogue.digest
        work = self.catalogue.updating(self._entries())
        self._chores.add(work, lambda problem: self._updated(before, problem))

    def _updated(self, before: str, problem: Exception | None) -> None:
        if problem is not None:
            self._log.failure("making our catalogue failed", failure=Failure(problem))
        elif self.catalogue.digest != before:
            self._beacons.changed()

    # -- what others hold

    def doubt(self, address: str) -> None:
        """Somebody there is not as it was: nobody at this address is dialled before a new proof."""
        if self.neighbours.doubt(address, self._reactor.seconds()):
            self._version += 1
            self._changed()

    def _heard(self, heard: Heard) -> None:
        if heard.neighbour is not None and heard.neighbour.proven:
            self._fetcher.told(heard.neighbour)
        if heard.changed:
            self._version += 1
            self._changed()

    def _gone(self, peer: Endpoint) -> None:
        self._version += 1
        self._fetcher.gone(peer)
        if not self.neighbours.at(peer.address):
            for callback in tuple(self._on_left):
                callback(peer.address)

    def _changed(self) -> None:
        """Tell it soon, if it is true."""
        if self.running and (self._version, self.holdings.version) != self._seen:
            self._telling.ask()

    def _tell(self) -> None:
        self._seen = (self._version, self.holdings.version)
        for callback in tuple(self._callbacks):
            try:
                callback()
            except Exception:
                self._log.failure("whoever listens to changes failed")
