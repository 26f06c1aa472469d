"""The parts of a node, made and wired to each other.

This is the one place where it is seen who gets what: the reactor, the workers, the clocks and
chance come from outside, so that many nodes can live in one process.
Not for: starting or stopping them (node).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address
from random import Random
from typing import Any

from peershare.admission import Admission
from peershare.announcer import Announcer
from peershare.dictionary import ContentDictionary, Told
from peershare.discovery import ChunkDiscovery, DictionaryFile
from peershare.download.dialling import Dialler
from peershare.download.manager import Downloader
from peershare.ledger import Ledger
from peershare.library.entries import Workers
from peershare.library.index import Index
from peershare.library.library import Library
from peershare.links import Interface
from peershare.listening import Listening
from peershare.settings import Settings
from peershare.status import Event
from peershare.throttle import TokenBucket
from peershare.uploader import UploaderFactory


@dataclass(frozen=True)
class World:
    """What the world gives: the real one, or a simulated one."""

    reactor: Any
    workers: Workers
    wall_clock: Callable[[], float]
    random: Random
    interfaces: Callable[[], Iterable[Interface]]


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
    uploader: UploaderFactory
    listening: Listening
    downloader: Downloader


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
    reactor = world.reactor
    ledger = Ledger(settings.state, world.wall_clock)
    library = Library(reactor, settings.share, index, world.workers, world.wall_clock)
    dictionary = ContentDictionary()
    dictionary_file = DictionaryFile(reactor, dictionary, settings.state)
    announcer = _make_announcer(settings, world, library)
    # the sockets know which addresses are ours; who filters by that is made before them
    ours = _Ours()
    uploader = _make_uploader(settings, world, library, ledger, dictionary, ours)
    discovery = ChunkDiscovery(
        reactor,
        settings.classic_udp_port,
        dictionary,
        is_own=ours.is_own,
        is_local=ours.is_local,
        on_told=on_told,
        on_expired=dictionary_file.touch,
    )
    listening = Listening(reactor, settings, world.interfaces, uploader, announcer, discovery.hear)
    ours.listening = listening
    dialler = _make_dialler(settings, world, listening)
    downloader = Downloader(
        reactor, dictionary, dialler, library, index, ledger, world.workers, emit, resume=resume
    )
    return Parts(
        index,
        ledger,
        library,
        dictionary,
        dictionary_file,
        announcer,
        discovery,
        uploader,
        listening,
        downloader,
    )


class _Ours:
    """Which addresses are ours, or on our networks, for those who are made before `listening`."""

    listening: Listening

    def is_own(self, address: IPv4Address) -> bool:
        return self.listening.is_own(address)

    def is_local(self, address: IPv4Address) -> bool:
        return self.listening.is_local(address)


def _make_announcer(settings: Settings, world: World, library: Library) -> Announcer:
    announcer = Announcer(
        world.reactor,
        settings.announce_interval_seconds,
        library.groups_to_tell,
        world.wall_clock,
        world.random,
    )
    library.on_change(announcer.shares_changed)
    return announcer


def _make_uploader(
    settings: Settings,
    world: World,
    library: Library,
    ledger: Ledger,
    dictionary: ContentDictionary,
    ours: _Ours,
) -> UploaderFactory:
    return UploaderFactory(
        world.reactor,
        library,
        ledger,
        TokenBucket(settings.upload_limit_bytes_per_second, world.reactor.seconds),
        world.workers,
        Admission(ours.is_local, dictionary.knows),
    )


def _make_dialler(settings: Settings, world: World, listening: Listening) -> Dialler:
    return Dialler(
        world.reactor,
        settings.classic_ports,
        TokenBucket(settings.download_limit_bytes_per_second, world.reactor.seconds),
        listening.bind_address,
    )
