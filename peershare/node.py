"""Node: one peer, whole: it owns the four parts, the library, and every download.

What it shows are `status` values; whoever shows them (API, client) asks here.
Not for: how the parts are wired (parts), HTTP, flags, terminals.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import SystemRandom
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from peershare import overview
from peershare.content.names import display
from peershare.dictionary import Told
from peershare.download.picture import RateMeter
from peershare.library.hashing import HashingPool
from peershare.library.index import Index
from peershare.library.sharing import Shared, share_file
from peershare.links import check_addresses, find_links, read_interfaces
from peershare.settings import CLASSIC_TCP_PORTS, LONGEST_GOOD_INTERVAL_SECONDS, Settings
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
    VerifyResult,
)
from peershare.timers import Periodic
from peershare.wiring import World, make_parts

_SHARE_SECONDS = 3.0
_EVENT_SECONDS = 1.0


class Node(MultiService):
    """One peer.  Made by `make_node`; started and stopped as a service."""

    _log = Logger()

    def __init__(
        self,
        settings: Settings,
        world: World,
        lock: StateLock,
        index: Index,
        *,
        resume: bool,
        hashing: HashingPool | None = None,
    ) -> None:
        """`resume`: go on by itself with the downloads that a former run had not finished.

        `hashing` is the pool that lives as long as the node does, where there is one.
        """
        super().__init__()
        self.settings = settings
        self._world = world
        self._reactor = world.reactor
        self._lock = lock
        self._hashing = hashing
        self._pid = os.getpid()
        self._observers: list[Callable[[Event], None]] = []
        self._parts = make_parts(
            settings, world, index, resume=resume, on_told=self._told, emit=self._emit
        )
        self._upload_meter = RateMeter(world.reactor.seconds())
        self._metered = 0
        self._seen = (0, 0)
        self._ended = threading.Event()  # workers look at it
        self._events = Periodic(world.reactor, _EVENT_SECONDS, self._emit_contents)
        parts = self._parts
        # the order of starting; of stopping it is the reverse
        for service in (
            *(parts.library, parts.listening, parts.announcer),
            *(parts.neighbourhood, parts.downloader),
        ):
            service.setServiceParent(self)

    # -- life

    def startService(self) -> None:
        """Start all parts; say what is shared, where, and how to fetch."""
        parts = self._parts
        if os.getpid() != self._pid:
            parts.index.reopen()
            self._lock.claim()
        if self._hashing is not None:
            self._hashing.start()
        if self.settings.classic:
            parts.discovery.open()
        super().startService()
        parts.dictionary_file.recall(self._world.wall_clock(), parts.listening.is_another)
        parts.dictionary_file.touch()
        parts.downloader.network_changed()
        self._events.start()
        first_scan = parts.library.first_scan.addCallback(lambda _: self._say_hello())
        first_scan.addErrback(lambda f: self._log.failure("saying hello failed", failure=f))
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            self._log.warn("running as root: a user of its own is safer for a network service")

    def stopService(self) -> Deferred[Any]:
        """Stop all parts, cutting transfers; fires when nothing is under way."""
        self._ended.set()
        self._events.stop()
        self._parts.uploader.abort_all()
        self._parts.pool.close()
        stopping = DeferredList([super().stopService(), self._parts.discovery.close()])
        stopped: Deferred[Any] = Deferred.fromCoroutine(self._stop(stopping))
        return stopped

    async def _stop(self, stopping: Deferred[Any]) -> None:
        try:
            await stopping
        finally:
            if self._hashing is not None:
                await self._hashing.stop()
            self._parts.dictionary_file.close()
            self._parts.index.close()
            self._lock.release()

    def _say_hello(self) -> None:
        """What is shared, where it is announced, how to fetch (where it is served was said)."""
        settings, count = self.settings, len(self._parts.library.files())
        self._log.info("sharing {count} files of {share}", count=count, share=settings.share)
        for link in self._parts.announcer.links:
            self._log.info(
                "announcing from {address} to {broadcasts} (UDP {port}) every {seconds:g} s",
                address=link.address,
                broadcasts=", ".join(map(str, link.broadcasts)),
                port=settings.classic_udp_port,
                seconds=settings.announce_interval_seconds,
            )
        if settings.tcp_port not in CLASSIC_TCP_PORTS:
            self._log.warn(
                "classic peers look for chunks on TCP 5000 only: on {port} they will not find us",
                port=settings.tcp_port,
            )
        if settings.announce_interval_seconds > LONGEST_GOOD_INTERVAL_SECONDS:
            self._log.warn("with so long an interval classic peers forget us between announcements")
        self._log.info("to fetch: peershare get NAME --state {state}", state=settings.state)

    # -- what people ask (see `control`)

    def node_status(self) -> NodeStatus:
        """The node itself."""
        now, sent = self._reactor.seconds(), self._parts.uploader.sent_so_far()
        self._upload_meter.add(sent - self._metered)
        self._metered = sent
        return overview.node(self.settings, self._parts, self._upload_meter.rate(now), now)

    def contents(self, pattern: str = "") -> tuple[ContentStatus, ...]:
        """What is on the network, and our own files; of names that fit a `*` pattern, if given."""
        return overview.contents(self._parts, self._reactor.seconds(), pattern)

    def peers(self) -> tuple[PeerStatus, ...]:
        """Who is on the network."""
        return overview.peers(self._parts, self._reactor.seconds())

    def downloads(self) -> tuple[DownloadStatus, ...]:
        """Every download of this run."""
        return self._parts.downloader.pictures()

    def history(self, limit: int) -> tuple[HistoryEntry, ...]:
        """The newest lines of both logs, newest first."""
        return self._parts.ledger.history(limit)

    def start_download(
        self, name: str, folder: Path | None, *, sequential: bool = False
    ) -> DownloadStatus:
        """Download a content, by name or id, into a folder (None: the share folder).

        A content that lies there already, unchanged, is done at once.  Raises `BadNameError`,
        `AmbiguousNameError`, `AmbiguousContentError`, `UnknownContentError`, `StorageError`.
        """
        return self._parts.downloader.start(name, folder, sequential=sequential)

    def stop_download(self, identifier: str) -> DownloadStatus:
        """Stop a download, keeping its part file.  Raises `UnknownDownloadError`."""
        return self._parts.downloader.stop(identifier)

    def share(self, path: Path) -> Deferred[ShareStatus]:
        """Put a file into the share folder; fires once it is announced, or it is clear why not.

        Fails with `StorageError` or `BadNameError`.
        """
        return Deferred.fromCoroutine(self._share(path))

    async def _share(self, path: Path) -> ShareStatus:
        library = self._parts.library
        shared: Shared = await self._world.workers(
            share_file, path, self.settings.share, self._ended.is_set
        )
        file = None
        deadline = self._reactor.seconds() + _SHARE_SECONDS
        while file is None and self._reactor.seconds() < deadline:
            library.rescan()
            await deferLater(self._reactor, 0.2)
            file = next((f for f in library.files() if f.path == shared.path), None)
        return ShareStatus(
            name=overview.printable(shared.path.name),
            path=overview.printable(str(shared.path)),
            size=file.size if file else shared.path.stat().st_size,
            how=shared.how,
            chunks=library.chunk_names(file) if file else (),
            note=overview.share_note(file),
        )

    def verify(self, name: str | None) -> Deferred[tuple[VerifyResult, ...]]:
        """Hash what is shared anew (None: all of it); what that shows, by name."""
        return self._parts.library.verify(name)

    def observe(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Call this with every event from now on; returns what ends that."""
        self._observers.append(callback)
        return lambda: self._observers.remove(callback)

    # -- wiring

    def _told(self, source: str, told: Told) -> None:
        """Discovery heard an announcement."""
        if told.first_heard:
            self._log.info("heard of {source}", source=display(source))
            self._parts.announcer.newcomer_heard()
        if told.changed:
            self._parts.dictionary_file.touch()
            self._parts.downloader.network_changed()

    def _emit(self, event: Event) -> None:
        for observer in tuple(self._observers):
            try:
                observer(event)
            except Exception:
                self._log.failure("an observer failed")

    def _emit_contents(self) -> None:
        """Say that the lists changed, if they did."""
        now, dictionary = self._reactor.seconds(), self._parts.dictionary
        seen = (dictionary.version, len(self._parts.library.files()))
        if seen != self._seen:
            self._seen = seen
            self._emit(ContentsChanged(len(dictionary.bases(now)), len(dictionary.addresses(now))))


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
    hashing = HashingPool(reactor)
    world = World(
        reactor=reactor,
        workers=partial(deferToThreadPool, reactor, reactor.getThreadPool()),
        hashers=hashing,
        wall_clock=time.time,
        random=SystemRandom(),  # what it gives must not be guessed: see `wire.beacon.Nonces`
        interfaces=read_interfaces,
    )
    return Node(settings, world, lock, index, resume=resume, hashing=hashing)
