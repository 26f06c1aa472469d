"""Node: the four parts and the library, made, wired and owned in one place.

What the world gives is injected (reactor, workers, wall clock, chance, interfaces), so that
many nodes can live in one process.  What the node shows are `status` values; whoever shows
them (API, client) asks here.  Not for: HTTP, flags, terminals.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from random import Random
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from peershare import __version__, overview
from peershare.announcer import Announcer
from peershare.content.names import display, parse_chunk_name
from peershare.dictionary import LIFETIME_SECONDS, ContentDictionary, Told, parse_dictionary
from peershare.discovery import ChunkDiscovery, DictionaryFile
from peershare.download.dialling import Dialler
from peershare.download.manager import Downloader
from peershare.download.picture import RateMeter
from peershare.ledger import Ledger
from peershare.library.index import Index
from peershare.library.library import Library, Workers
from peershare.library.sharing import Shared, share_file
from peershare.links import Interface, check_addresses, find_links, read_interfaces
from peershare.listening import Listening
from peershare.periodic import Periodic
from peershare.settings import Settings
from peershare.state import StateLock, make_private_folder
from peershare.status import (
    ContentsChanged,
    ContentStatus,
    DownloadStatus,
    Event,
    HistoryEntry,
    NodeStatus,
    PeerStatus,
    ShareStatus,
)
from peershare.throttle import TokenBucket
from peershare.uploader import UploaderFactory

_SHARE_SECONDS = 3.0
_EVENT_SECONDS = 1.0


class Node(MultiService):
    """One peer.  Made by `make_node`; started and stopped as a service."""

    _log = Logger()

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        *,
        resume: bool,
        lock: StateLock,
        index: Index,
        workers: Workers,
        wall_clock: Callable[[], float],
        random: Random,
        interfaces: Callable[[], Iterable[Interface]],
    ) -> None:
        """`resume`: go on by itself with the downloads that a former run had not finished."""
        super().__init__()
        self.settings = settings
        self._reactor = reactor
        self._workers = workers
        self._wall_clock = wall_clock
        self._lock = lock
        self._index = index
        self._pid = os.getpid()
        self._observers: list[Callable[[Event], None]] = []
        self._seen: tuple[int, int] = (0, 0)
        clock = reactor.seconds
        self._ledger = Ledger(settings.state, wall_clock)
        self._library = Library(reactor, settings.share, index, workers, wall_clock)
        self._dictionary = ContentDictionary()
        self._file = DictionaryFile(reactor, self._dictionary, settings.state)
        self._announcer = Announcer(
            reactor,
            settings.announce_interval_seconds,
            self._library.groups_to_tell,
            wall_clock,
            random,
        )
        self._uploader = UploaderFactory(
            reactor,
            self._library,
            self._ledger,
            TokenBucket(settings.upload_limit_bytes_per_second, clock),
            workers,
            is_local=lambda address: self._listening.is_local(address),
            is_known=self._dictionary.knows,
        )
        self._discovery = ChunkDiscovery(
            reactor,
            settings.classic_udp_port,
            self._dictionary,
            is_own=lambda address: self._listening.is_own(address),
            is_local=lambda address: self._listening.is_local(address),
            on_told=self._told,
            on_expired=self._file.touch,
        )
        self._listening = Listening(
            reactor, settings, interfaces, self._uploader, self._announcer, self._discovery.hear
        )
        dialler = Dialler(
            reactor,
            settings.classic_ports,
            TokenBucket(settings.download_limit_bytes_per_second, clock),
            self._listening.bind_address,
        )
        self._downloader = Downloader(
            reactor,
            self._dictionary,
            dialler,
            self._library,
            index,
            self._ledger,
            workers,
            self._emit,
            resume=resume,
        )
        self._upload_meter = RateMeter(clock())
        self._metered = 0
        self._events = Periodic(reactor, _EVENT_SECONDS, self._emit_contents)
        self._library.on_change(self._announcer.shares_changed)
        # the order of starting; of stopping it is the reverse
        for service in (self._library, self._listening, self._announcer, self._downloader):
            service.setServiceParent(self)

    # -- life

    def startService(self) -> None:
        """Start all parts; say what is shared, where, and how to fetch."""
        if os.getpid() != self._pid:
            self._index.reopen()
            self._lock.claim()
        self._discovery.open()
        super().startService()
        self._recall()
        self._file.touch()
        self._events.start()
        self._library.first_scan.addCallback(lambda _: self._say_hello())
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            self._log.warn("running as root: a user of its own is safer for a network service")

    def stopService(self) -> Deferred[Any]:
        """Stop all parts, cutting transfers; fires when nothing is under way."""
        self._events.stop()
        self._uploader.abort_all()
        self._file.close()
        self._discovery.close()
        stopped: Deferred[Any] = Deferred.fromCoroutine(self._stop(super().stopService()))
        return stopped

    async def _stop(self, children: Deferred[Any]) -> None:
        try:
            await children
        finally:
            self._index.close()
            self._lock.release()

    def _recall(self) -> None:
        """Begin with what a former run (or a classic discovery) wrote into the dictionary file."""
        try:
            age = self._wall_clock() - self._file.path.stat().st_mtime
            text = self._file.path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return
        if not 0 <= age < LIFETIME_SECONDS:
            return
        told_at = self._reactor.seconds() - age
        for chunk, addresses in parse_dictionary(text).items():
            name = parse_chunk_name(chunk)
            for address in addresses:
                if name is not None and self._listening.is_another(IPv4Address(address)):
                    self._dictionary.tell(address, [name], told_at)

    def _say_hello(self) -> None:
        """What is shared, where it is served, where it is announced, how to fetch."""
        settings, files = self.settings, self._library.files()
        self._log.info("sharing {count} files of {share}", count=len(files), share=settings.share)
        for link in self._listening.links:
            self._log.info(
                "announcing from {address} to {broadcasts} (UDP {port}) every {seconds:g} s",
                address=link.address,
                broadcasts=", ".join(map(str, link.broadcasts)),
                port=settings.classic_udp_port,
                seconds=settings.announce_interval_seconds,
            )
        self._log.info("to fetch: peershare get NAME --state {state}", state=settings.state)

    # -- what people ask (see `control`)

    def node_status(self) -> NodeStatus:
        """The node itself."""
        now, listening = self._reactor.seconds(), self._listening
        sent = self._uploader.sent_so_far()
        self._upload_meter.add(sent - self._metered)
        self._metered = sent
        ports = sorted(set(listening.tcp_ports.values()))
        return NodeStatus(
            version=__version__,
            pid=os.getpid(),
            share=str(self.settings.share),
            state=str(self.settings.state),
            addresses=tuple(str(link.address) for link in listening.links),
            broadcasts=tuple(str(b) for link in listening.links for b in link.broadcasts),
            tcp_port=ports[0] if ports else None,
            classic_udp_port=self.settings.classic_udp_port,
            announcing=self._announcer.announcing,
            last_announced_at=self._announcer.last_announced_at,
            announced_names=self._announcer.announced_names,
            peers=len(self._dictionary.addresses(now)),
            files=len(self._library.files()),
            upload_rate=self._upload_meter.rate(now),
            download_rate=self._downloader.rate,
            refused=dict(self._discovery.refused + self._uploader.refused),
            problems=tuple(p for p in (*listening.problems, self._library.problem) if p),
        )

    def contents(self) -> tuple[ContentStatus, ...]:
        """What is on the network, and our own files."""
        return overview.contents(self._dictionary, self._library, self._reactor.seconds())

    def peers(self) -> tuple[PeerStatus, ...]:
        """Who is on the network."""
        given, taken = self._downloader.given, self._uploader.taken
        return overview.peers(self._dictionary, given, taken, self._reactor.seconds())

    def downloads(self) -> tuple[DownloadStatus, ...]:
        """Every download of this run."""
        return self._downloader.pictures()

    def history(self, limit: int) -> tuple[HistoryEntry, ...]:
        """The newest lines of both logs, newest first."""
        return self._ledger.history(limit)

    def start_download(self, name: str, folder: Path | None) -> DownloadStatus:
        """Download a content by its name into a folder (None: the share folder).

        A content that a former download completed and that lies there unchanged is done at once.
        Raises `BadNameError`, `AmbiguousNameError`, `StorageError`.
        """
        return self._downloader.start(name, folder)

    def stop_download(self, identifier: str) -> DownloadStatus:
        """Stop a download, keeping its part file.  Raises `UnknownDownloadError`."""
        return self._downloader.stop(identifier)

    def share(self, path: Path) -> Deferred[ShareStatus]:
        """Put a file into the share folder; fires once it is announced, or it is clear why not.

        Fails with `StorageError` or `BadNameError`.
        """
        return Deferred.fromCoroutine(self._share(path))

    async def _share(self, path: Path) -> ShareStatus:
        shared: Shared = await self._workers(share_file, path, self.settings.share)
        file = None
        deadline = self._reactor.seconds() + _SHARE_SECONDS
        while file is None and self._reactor.seconds() < deadline:
            self._library.rescan()
            await deferLater(self._reactor, 0.2)
            file = next((f for f in self._library.files() if f.path == shared.path), None)
        return ShareStatus(
            name=shared.path.name,
            path=str(shared.path),
            size=file.size if file else shared.path.stat().st_size,
            how=shared.how,
            chunks=self._library.chunk_names(file) if file else (),
            note=overview.share_note(file),
        )

    def observe(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Call this with every event from now on; returns what ends that."""
        self._observers.append(callback)
        return lambda: self._observers.remove(callback)

    # -- wiring

    def _told(self, source: str, told: Told) -> None:
        """Discovery heard an announcement."""
        if told.first_heard:
            self._log.info("heard of {source}", source=display(source))
            self._announcer.newcomer_heard()
        if told.changed:
            self._file.touch()
            self._downloader.dictionary_changed()

    def _emit(self, event: Event) -> None:
        for observer in tuple(self._observers):
            try:
                observer(event)
            except Exception:
                self._log.failure("an observer failed")

    def _emit_contents(self) -> None:
        now = self._reactor.seconds()
        seen = (self._dictionary.version, len(self._library.files()))
        if seen != self._seen:
            self._seen = seen
            bases, addresses = self._dictionary.bases(now), self._dictionary.addresses(now)
            self._emit(ContentsChanged(len(bases), len(addresses)))


def use_monotonic_clock(reactor: Any) -> None:
    """Make the reactor count in monotonic time: by default a clock set back stops all timers.

    To be called before the first timer is set.
    """
    reactor.seconds = time.monotonic


def make_node(settings: Settings, reactor: Any, *, resume: bool) -> Node:
    """A node in the real world.

    Raises `StateInUseError` (with the pid of the owner), `SettingsError`, `StorageError`.
    """
    links = find_links(settings.addresses, settings.broadcasts, read_interfaces)
    check_addresses(settings.addresses, links)
    lock = StateLock(settings.state)
    try:
        make_private_folder(settings.share)
        index = Index(settings.state)
    except BaseException:
        lock.release()
        raise
    return Node(
        settings,
        reactor,
        resume=resume,
        lock=lock,
        index=index,
        workers=partial(deferToThreadPool, reactor, reactor.getThreadPool()),
        wall_clock=time.time,
        random=Random(),
        interfaces=read_interfaces,
    )
