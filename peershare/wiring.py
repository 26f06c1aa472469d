"""The parts of a node, made and wired to each other.

This is the one place where it is seen who gets what: the reactor, the workers, the clocks and
chance come from outside, so that many nodes can live in one process.
Not for: starting or stopping them (node).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address
from random import Random
from typing import Any

from peershare import __version__
from peershare.admission import Admission
from peershare.announcer import Announcer
from peershare.dictionary import ContentDictionary, Told
from peershare.discovery import ChunkDiscovery, DictionaryFile
from peershare.download.choosing import Chooser
from peershare.download.context import DownloadContext
from peershare.download.dialling import Dialler
from peershare.download.manager import Downloader
from peershare.download.swarm.context import SwarmContext
from peershare.download.swarm.pool import SessionPool
from peershare.errors import PeerError
from peershare.guest.making import Surroundings, make_guest
from peershare.guest.server import GuestService
from peershare.holdings import Holder
from peershare.identity import Identity
from peershare.ledger import Ledger
from peershare.library.entries import Workers
from peershare.library.index import Index
from peershare.library.library import Library
from peershare.links import Interface
from peershare.listening import Listening
from peershare.neighbourhood import Neighbourhood
from peershare.serving.swarms import Serving
from peershare.settings import Settings
from peershare.status import Event
from peershare.throttle import TokenBucket
from peershare.uploader import UploaderFactory
from peershare.wire.beacon import Endpoint
from peershare.wire.messages import VERSIONS, Hello

# Of the memory for what others have, this part is for what classic peers announce.
_CLASSIC_SHARE = 4


@dataclass(frozen=True)
class World:
    """What the world gives: the real one, or a simulated one."""

    reactor: Any
    workers: Workers
    hashers: Workers  # the same, for what is hashed
    wall_clock: Callable[[], float]
    random: Random
    interfaces: Callable[[], Iterable[Interface]]
    watch: bool = True  # False: the share folder is scanned by the clock alone
    cpu: Callable[[], float] = time.thread_time  # processor seconds spent on us
    recorder: Workers | None = None  # one thread, for what is written into the state folder

    @property
    def records(self) -> Workers:
        """The recorder, or where there is none the workers, which must keep their order then."""
        return self.recorder or self.workers


@dataclass(frozen=True)
class Parts:
    """The four parts, and what they share."""

    index: Index
    ledger: Ledger
    library: Library
    dictionary: ContentDictionary
    dictionary_file: DictionaryFile
    announcer: Announcer
    discovery: ChunkDiscovery
    neighbourhood: Neighbourhood
    uploader: UploaderFactory
    listening: Listening
    pool: SessionPool
    downloader: Downloader
    guest: GuestService
    taking: TokenBucket  # what comes in by downloads
    giving: TokenBucket  # what goes out by uploads


def make_parts(
    settings: Settings,
    world: World,
    index: Index,
    *,
    resume: bool,
    on_told: Callable[[str, Told], None],
    emit: Callable[[Event], None],
) -> Parts:
    """Make everything that a node consists of; nothing is started."""
    return _Wiring(settings, world, index).make(resume, on_told, emit)


class _Wiring:
    """Who gets what.  The parts are made from the bottom up.

    What a part needs of one that is made after it is looked up when it is needed.
    """

    def __init__(self, settings: Settings, world: World, index: Index) -> None:
        self.settings = settings
        self.world = world
        self.index = index
        self.clock: Callable[[], float] = world.reactor.seconds
        self.ledger = Ledger(settings.state, world.wall_clock, world.records)
        self.library = Library(
            world.reactor,
            settings.share,
            index,
            world.workers,
            world.hashers,
            world.wall_clock,
            world.watch,
        )
        memory = settings.directory_memory_bytes
        self.dictionary = ContentDictionary(memory // _CLASSIC_SHARE)
        self.holdings_memory = memory - memory // _CLASSIC_SHARE
        self.dictionary_file = DictionaryFile(
            world.reactor, self.dictionary, settings.state, world.records, cpu=world.cpu
        )
        self.identity = Identity.of_this_run(settings.state, world.random)
        self.listening: Listening
        self.downloader: Downloader

    def make(
        self, resume: bool, on_told: Callable[[str, Told], None], emit: Callable[[Event], None]
    ) -> Parts:
        """Everything."""
        reactor, settings = self.world.reactor, self.settings
        announcer = self._announcer()
        discovery = self._discovery(on_told)
        taking = TokenBucket(settings.download_limit_bytes_per_second, self.clock)
        giving = TokenBucket(settings.upload_limit_bytes_per_second, self.clock)
        pool = self._pool(taking)
        self.neighbourhood = self._neighbourhood(pool)
        uploader = self._uploader(giving)
        self.listening = Listening(
            reactor,
            settings,
            self.world.interfaces,
            uploader,
            announcer,
            discovery,
            self.neighbourhood,
        )
        self.downloader = Downloader(
            reactor,
            self.dictionary,
            Dialler(reactor, settings.classic_ports, taking, self._bind_address),
            self.ledger,
            lambda context: self._swarm(context, pool),
            emit,
            resume=resume,
        )
        self.neighbourhood.on_left(self._left)
        self.neighbourhood.on_change(self.downloader.network_changed)
        self.neighbourhood.on_change(self.serving.holders_changed)
        return Parts(
            index=self.index,
            ledger=self.ledger,
            library=self.library,
            dictionary=self.dictionary,
            dictionary_file=self.dictionary_file,
            announcer=announcer,
            discovery=discovery,
            neighbourhood=self.neighbourhood,
            uploader=uploader,
            listening=self.listening,
            pool=pool,
            downloader=self.downloader,
            guest=self._guest(uploader, emit),
            taking=taking,
            giving=giving,
        )

    # -- the parts

    def _announcer(self) -> Announcer:
        announcer = Announcer(
            self.world.reactor,
            self.settings.announce_interval_seconds,
            self.library.groups_to_tell,
            self.world.wall_clock,
            self.world.random,
            count=lambda: self.library.group_count,
        )
        self.library.on_change(announcer.shares_changed, native=False)
        return announcer

    def _pool(self, taking: TokenBucket) -> SessionPool:
        reactor, bind = self.world.reactor, self._bind_address
        return SessionPool(reactor, self._hello, taking, bind, self._given, self._not_there)

    def _discovery(self, on_told: Callable[[str, Told], None]) -> ChunkDiscovery:
        return ChunkDiscovery(
            self.world.reactor,
            self.settings.classic_udp_port,
            self.dictionary,
            is_own=lambda address: self.listening.announces(address),
            is_local=self._is_local,
            on_told=on_told,
            on_expired=self.dictionary_file.touch,
        )

    def _neighbourhood(self, pool: SessionPool) -> Neighbourhood:
        neighbourhood = Neighbourhood(
            self.world.reactor,
            beacon_port=self.settings.beacon_port,
            classic_udp_port=self.settings.classic_udp_port,
            identity=self.identity,
            random=self.world.random,
            sessions=pool,
            entries=self.library.catalogue,
            is_local=self._is_local,
            memory=self.holdings_memory,
            cpu=self.world.cpu,
        )
        self.library.on_change(neighbourhood.shares_changed, classic=False)
        return neighbourhood

    def _uploader(self, bucket: TokenBucket) -> UploaderFactory:
        world = self.world
        self.serving = Serving(
            world.reactor,
            self.library,
            self.ledger,
            bucket,
            world.workers,
            world.random,
            self._hello,
            self.neighbourhood.catalogue,
            self._is_alone,
            lambda *met: self.downloader.met(*met),
            world.cpu,
        )
        return UploaderFactory(
            world.reactor,
            self.library,
            self.ledger,
            bucket,
            world.workers,
            Admission(self._is_local, self._is_known),
            self.serving,
        )

    def _swarm(self, context: DownloadContext, pool: SessionPool) -> tuple[SwarmContext, Chooser]:
        swarm = SwarmContext(
            common=context,
            random=self.world.random,
            pool=pool,
            library=self.library,
            index=self.index,
            workers=self.world.workers,
            hashers=self.world.hashers,
            holders=self._holders,
            proven_at=self._proven_at,
        )
        holdings = self.neighbourhood.holdings
        chooser = Chooser(self.library, holdings, self.clock, self.dictionary, self._is_native)
        return swarm, chooser

    def _guest(self, uploader: UploaderFactory, emit: Callable[[Event], None]) -> GuestService:
        world = self.world
        given = Surroundings(
            world.reactor, world.workers, world.random, world.wall_clock, self.library, self.ledger
        )
        links, in_order = lambda: self.listening.links, self.downloader.fetch_in_order
        return make_guest(self.settings, given, self.serving, uploader, links, in_order, emit)

    # -- what they ask of each other

    def _given(self, peer: Endpoint, count: int) -> None:
        """Bytes came over a native session."""
        self.neighbourhood.neighbours.contacted(peer)

    def _not_there(self, peer: Endpoint, error: PeerError) -> None:
        """A native peer could not be dialled, or ended a session."""
        self.neighbourhood.doubt(peer.address)

    def _hello(self, address: str) -> Hello:
        """What we say of ourselves to a peer at this address; each link may have another port."""
        own = self.listening.bind_address(IPv4Address(address))
        return Hello(
            versions=VERSIONS,
            agent=f"peershare/{__version__}",
            peer=self.identity.peer,
            instance=self.identity.instance,
            port=self.listening.tcp_ports.get(own or "", 0),
        )

    def _is_local(self, address: IPv4Address) -> bool:
        return self.listening.is_local(address)

    def _bind_address(self, peer: IPv4Address) -> str | None:
        return self.listening.bind_address(peer)

    def _is_known(self, address: str) -> bool:
        """Whether it has announced something, by either protocol."""
        neighbours = self.neighbourhood.neighbours
        return self.dictionary.knows(address) or neighbours.is_proven(address)

    def _proven_at(self, address: str, port: int) -> Endpoint | None:
        """Who takes native sessions there, if anybody has proven that it does."""
        return self.neighbourhood.neighbours.proven_at(address, port)

    def _left(self, address: str) -> None:
        """A native peer is gone, and with it what it announced to classic ones."""
        if self.dictionary.forget(address):
            self.dictionary_file.touch()

    def _is_native(self, address: str) -> bool:
        """Whether an address has proven that it speaks natively."""
        return self.neighbourhood.neighbours.is_proven(address)

    def _holders(self, content: str) -> list[Holder]:
        """Who may be dialled, and has some of a content."""
        holders = self.neighbourhood.holdings.holders(content)
        proven = self.neighbourhood.neighbours.proven
        return [h for h in holders if h.endpoint.port and proven(h.endpoint) is not None]

    def _is_alone(self, content: str) -> bool:
        """Whether nobody else is known to have the whole of it."""
        return not any(holder.complete for holder in self._holders(content))
