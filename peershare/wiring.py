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
    reactor, clock = world.reactor, world.reactor.seconds
    ledger = Ledger(settings.state, world.wall_clock)
    library = Library(reactor, settings.share, index, world.workers, world.wall_clock)
    dictionary = ContentDictionary()
    dictionary_file = DictionaryFile(reactor, dictionary, settings.state)
    announcer = Announcer(
        reactor,
        settings.announce_interval_seconds,
        library.groups_to_tell,
        world.wall_clock,
        world.random,
    )

    # the sockets know which addresses are ours; who filters by that is made before them
    def is_local(address: IPv4Address) -> bool:
        return listening.is_local(address)

    def is_own(address: IPv4Address) -> bool:
        return listening.is_own(address)

    uploader = UploaderFactory(
        reactor,
        library,
        ledger,
        TokenBucket(settings.upload_limit_bytes_per_second, clock),
        world.workers,
        Admission(is_local, dictionary.knows),
    )
    discovery = ChunkDiscovery(
        reactor,
        settings.classic_udp_port,
        dictionary,
        is_own=is_own,
        is_local=is_local,
        on_told=on_told,
        on_expired=dictionary_file.touch,
    )
    listening = Listening(reactor, settings, world.interfaces, uploader, announcer, discovery.hear)
    dialler = Dialler(
        reactor,
        settings.classic_ports,
        TokenBucket(settings.download_limit_bytes_per_second, clock),
        listening.bind_address,
    )
    downloader = Downloader(
        reactor, dictionary, dialler, library, index, ledger, world.workers, emit, resume=resume
    )
    library.on_change(announcer.shares_changed)
    return Parts(
        index=index,
        ledger=ledger,
        library=library,
        dictionary=dictionary,
        dictionary_file=dictionary_file,
        announcer=announcer,
        discovery=discovery,
        uploader=uploader,
        listening=listening,
        downloader=downloader,
    )
