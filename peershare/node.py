"""Node: one peer, whole: it owns the four parts, the library, and every download.

What it shows are `status` values; whoever shows them (API, client) asks here.
Not for: how the parts are wired (parts), HTTP, flags, terminals.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from pathlib import Path
from random import SystemRandom
from typing import Any

from msgspec.structs import replace
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from peershare import overview
from peershare.content.names import display
from peershare.dictionary import Told
from peershare.errors import LocalError
from peershare.hello import say_hello
from peershare.library.files import free_bytes
from peershare.library.hashing import HashingPool
from peershare.library.index import Index
from peershare.links import check_addresses, find_links, read_interfaces
from peershare.listing import ContentsList
from peershare.metering import Metering
from peershare.news import News
from peershare.offering import Offering, Writer
from peershare.settings import Settings
from peershare.state import STARTING_SECONDS, StateLock, make_private_folder
from peershare.status import (
    BlockMap,
    Counters,
    DownloadStatus,
    Event,
    HistoryEntry,
    Limits,
    Listing,
    NodeStatus,
    PeerStatus,
    ShareMode,
    ShareStatus,
    VerifyResult,
)
from peershare.throttle import RateLimiter
from peershare.timers import Paced, Periodic
from peershare.wiring import World, make_parts

_ROOM_SECONDS = 10.0
# So long an answer waits for an index in trouble.
_RECORD_SECONDS = 5.0
# Lines a second that tell of an address, of all ten times as many.
_LINE_RATE = 0.05
# How often at most downloads look whether what classic peers tell is what they wait for.
_SEARCH_GAP_SECONDS = 0.25
_KEEP_SECONDS = 2.0


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
        pools: Sequence[HashingPool] = (),
    ) -> None:
        """`resume`: go on by itself with the downloads that a former run had not finished.

        `pools` live as long as the node does; they are stopped in this order.
        """
        super().__init__()
        self.settings = settings
        self._world = world
        self._reactor = world.reactor
        self._lock = lock
        self._pools = pools
        self._pid = os.getpid()
        self._heard_lines = RateLimiter(_LINE_RATE, 3.0, 10 * _LINE_RATE, 40.0)
        self._searching = Paced(
            world.reactor, 0.0, _SEARCH_GAP_SECONDS, self._search, world.cpu, at_once=True
        )
        self._news = News(world.reactor.seconds)
        parts = self._parts = make_parts(
            settings, world, index, resume=resume, on_told=self._told, emit=self._news.emit
        )
        self.guest = parts.guest
        self._contents = ContentsList(parts, world.reactor, world.cpu)
        self._offering = Offering(world, parts.library)
        self._metering = Metering(world.reactor, lambda: overview.totals(parts), self._look)
        self._room = Periodic(world.reactor, _ROOM_SECONDS, self._look_at_disks)
        self._keeping = Periodic(world.reactor, _KEEP_SECONDS, self._keep_lock)
        self._lock_problem = ""
        self._free_bytes = 0
        self._started_at = 0.0
        # the order of starting; of stopping it is the reverse
        for service in (
            *(parts.library, parts.listening, parts.announcer),
            *(parts.neighbourhood, parts.downloader, parts.guest),
        ):
            service.setServiceParent(self)

    # -- life

    def startService(self) -> None:
        """Start all parts; say what is shared, where, and how to fetch."""
        parts = self._parts
        if os.getpid() != self._pid:
            parts.index.reopen()
            self._lock.claim()
        for pool in self._pools:
            pool.start()
        parts.index.start(self._reactor, self._world.records)
        if self.settings.classic:
            parts.discovery.open()
        super().startService()
        recalled = parts.dictionary_file.recall(
            self._world.wall_clock(), parts.listening.is_another
        )
        recalled.addCallback(lambda _: parts.downloader.network_changed())
        self._started_at = self._world.wall_clock()
        self._offering.start()
        self._metering.start()
        self._room.start()
        self._keeping.start()
        self._look_at_disks()
        first_scan = parts.library.first_scan.addCallback(lambda _: say_hello(self.settings, parts))
        first_scan.addErrback(lambda f: self._log.failure("saying hello failed", failure=f))
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            self._log.warn("running as root: a user of its own is safer for a network service")

    def stopService(self) -> Deferred[Any]:
        """Stop all parts, cutting transfers; fires when nothing is under way."""
        self._offering.end()
        self._metering.stop()
        self._room.stop()
        self._keeping.stop()
        self._searching.stop()
        self._contents.stop()
        self._parts.uploader.abort_all()
        self._parts.pool.close()
        stopping = DeferredList([super().stopService(), self._parts.discovery.close()])
        stopped: Deferred[Any] = Deferred.fromCoroutine(self._stop(stopping))
        return stopped

    async def _stop(self, stopping: Deferred[Any]) -> None:
        try:
            await stopping
        finally:
            await self._parts.dictionary_file.close()
            await self._parts.ledger.flushed()
            await self._parts.index.close()
            for pool in self._pools:
                await pool.stop()
            self._lock.release()

    # -- what people ask (see `control`)

    def node_status(self) -> NodeStatus:
        """The node itself."""
        status = overview.node(self.settings, self._parts, self._metering, self._reactor.seconds())
        problems = (*status.problems, self._lock_problem) if self._lock_problem else status.problems
        return replace(
            status,
            problems=problems,
            free_bytes=self._free_bytes,
            started_at=self._started_at,
        )

    def contents(self, pattern: str = "") -> Deferred[Listing]:
        """What is on the network, and our own files; of names that fit a `*` pattern, if given."""
        return self._contents.get(pattern)

    def peers(self) -> tuple[PeerStatus, ...]:
        """Who is on the network."""
        return overview.peers(self._parts, self._metering, self._reactor.seconds())

    def downloads(self) -> tuple[DownloadStatus, ...]:
        """Every download of this run."""
        return self._parts.downloader.pictures()

    def download(self, identifier: str) -> DownloadStatus:
        """One of them.  Raises `UnknownDownloadError`."""
        return self._parts.downloader.shown(identifier)

    def download_ids(self) -> tuple[str, ...]:
        """The ids of all of them, of those that are over last."""
        return self._parts.downloader.identifiers()

    def block_map(self, identifier: str) -> BlockMap:
        """Which blocks of a download are here, and from whom.  Raises `UnknownDownloadError`."""
        return self._parts.downloader.block_map(identifier)

    def history(
        self, limit: int, since: float | None = None, direction: str = ""
    ) -> Deferred[tuple[HistoryEntry, ...]]:
        """Fires with the newest lines of the logs, newest first; see `Ledger.history`."""
        ledger = self._parts.ledger
        written = ledger.flushed()
        return written.addCallback(
            lambda _: self._world.workers(ledger.history, limit, since, direction)
        )

    def counters(self) -> Counters:
        """What has been counted since the start."""
        return overview.counters(self._parts, self._metering, self._reactor.seconds())

    def limits(self) -> Limits:
        """How fast it may go."""
        return Limits(upload=self._parts.giving.rate, download=self._parts.taking.rate)

    def set_limits(self, limits: Limits) -> Limits:
        """Go that fast from now on, until the end of this run.

        Raises ValueError unless each is None, or finite and at least 1.
        """
        for rate in (limits.upload, limits.download):
            if rate is not None and not 1 <= rate < inf:
                raise ValueError(f"a limit is at least 1 byte a second, or none: not {rate}")
        self._parts.giving.rate, self._parts.taking.rate = limits.upload, limits.download
        return self.limits()

    def start_download(
        self,
        name: str,
        folder: Path | None,
        *,
        sequential: bool = False,
        source: str = "",
        classic: bool = False,
    ) -> DownloadStatus:
        """Download a content, by name or id, into a folder (None: the share folder).

        `source`: what this address has is meant; `classic`: what has no id.  A content that lies
        there already, unchanged, is done at once.  Raises `BadNameError`, `AmbiguousContentError`,
        `UnknownContentError`, `StorageError`.
        """
        return self._parts.downloader.start(
            name, folder, sequential=sequential, source=source, classic=classic
        )

    def stop_download(self, identifier: str) -> DownloadStatus:
        """Stop a download, keeping its part file.  Raises `UnknownDownloadError`."""
        return self._parts.downloader.stop(identifier)

    def pause_download(self, identifier: str) -> DownloadStatus:
        """Take no more bytes until it is resumed, over restarts; see `Downloader.pause`."""
        return self._parts.downloader.pause(identifier)

    def resume_download(self, identifier: str) -> DownloadStatus:
        """Go on with a download that was paused, or stopped; see `Downloader.resume`."""
        return self._parts.downloader.resume(identifier)

    def recorded(self) -> Deferred[None]:
        """Fires when everything so far is durable in the index, or soon where it is in trouble."""
        recorded, index = self._parts.index.flushed(), self._parts.index
        if not recorded.called:
            recorded.addTimeout(_RECORD_SECONDS, self._reactor)
            recorded.addErrback(lambda _: self._log.warn("{p}", p=index.problem or "still writing"))
        return recorded

    def share(self, path: Path, how: ShareMode = ShareMode.AUTO) -> Deferred[ShareStatus]:
        """Put a regular file into the share folder; fires once it is announced, or clear why not.

        A symbolic link is not followed.  Fails with `StorageError` or `BadNameError`.
        """
        return self._offering.share(path, how)

    def receive_share(self, name: str, size: int | None = None) -> Writer:
        """Take a file whose bytes follow into the share folder, as `name` or `name (2)`.

        `size` in bytes, where it is known.  Raises `BadNameError`, `StorageError`.
        """
        return self._offering.receive(name, size)

    def verify(self, name: str | None) -> Deferred[tuple[VerifyResult, ...]]:
        """Hash what is shared anew (None: all of it); what that shows, by name."""
        return self._parts.library.verify(name)

    def observe(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Call this with every event from now on; returns what ends that."""
        return self._news.observe(callback)

    # -- wiring

    def _told(self, source: str, told: Told) -> None:
        """Discovery heard an announcement."""
        if told.first_heard:
            # anybody can announce in anybody's name
            if self._heard_lines.allow(source, self._reactor.seconds()):
                self._log.info("heard of {source}", source=display(source))
            self._parts.announcer.newcomer_heard()
        if told.changed:
            self._parts.dictionary_file.touch()
            self._searching.ask()

    def _search(self) -> None:
        """Classic peers told something new: perhaps it is what is waited for."""
        if self.running:
            self._parts.downloader.network_changed()

    def _look(self) -> None:
        """Once a second: say what changed, if anybody wants to know."""
        now, parts = self._reactor.seconds(), self._parts
        seen = (parts.dictionary.version, parts.neighbourhood.holdings.version)
        own = (parts.library.file_count, parts.library.not_offered_version)
        self._news.lists((*seen, *own), lambda: overview.lists(parts, now))
        if self._news.anybody:
            status = self.node_status()
            busy = parts.downloader.busy or any(map(any, status.rates[-1:]))
            self._news.node(status, busy=busy)

    def _look_at_disks(self) -> None:
        """Ask how much is free: in a worker, for a disk may be far away; is the index there?"""
        self._parts.index.look()
        asked = self._world.workers(free_bytes, self.settings.share)
        asked.addCallback(partial(setattr, self, "_free_bytes"))
        asked.addErrback(lambda f: self._log.failure("looking for room failed", failure=f))

    def _keep_lock(self) -> None:
        """See that the lock stands: the state folder may be removed while it runs."""
        asked = self._world.workers(self._lock.stand)
        asked.addCallbacks(self._lock_stands, self._lock_lost)
        asked.addErrback(lambda f: self._log.failure("keeping the lock failed", failure=f))

    def _lock_stands(self, anew: bool) -> None:
        if anew:
            self._log.warn("{state} was removed, and is made anew", state=str(self.settings.state))
        self._lock_problem = ""

    def _lock_lost(self, failure: Failure) -> None:
        failure.trap(LocalError)
        problem = f"the state folder is not this service's any more: {failure.getErrorMessage()}"
        if not self._lock_problem:
            self._log.error("{problem}", problem=problem)
        self._lock_problem = problem


def use_monotonic_clock(reactor: Any) -> None:
    """Make the reactor count in monotonic time: by default a clock set back stops all timers.

    To be called before the first timer is set.
    """
    reactor.seconds = time.monotonic


def make_node(settings: Settings, reactor: Any, *, resume: bool) -> Node:
    """A node in the real world.

    Raises `StateInUseError` (with the pid of the owner), `SettingsError`, `StorageError`.
    """
    try:
        links = find_links(settings.addresses, settings.broadcasts, read_interfaces)
    except OSError as error:
        raise LocalError(f"the network interfaces cannot be read: {error.strerror}") from error
    check_addresses(settings.addresses, links)
    lock = StateLock(settings.state, STARTING_SECONDS if resume else 0.0)
    index: Index | None = None
    try:
        make_private_folder(settings.share)
        index = Index(settings.state)
        return _node(settings, reactor, lock, index, resume=resume)
    except BaseException:
        if index is not None:
            index.close()  # in order, and at once: it has no workers yet
        lock.release()
        raise


def _node(settings: Settings, reactor: Any, lock: StateLock, index: Index, *, resume: bool) -> Node:
    hashing, recorder = HashingPool(reactor), HashingPool(reactor, 1)
    world = World(
        reactor=reactor,
        workers=partial(deferToThreadPool, reactor, reactor.getThreadPool()),
        hashers=hashing,
        wall_clock=time.time,
        random=SystemRandom(),  # what it gives must not be guessed: see `wire.beacon.Nonces`
        interfaces=read_interfaces,
        recorder=recorder,
    )
    return Node(settings, world, lock, index, resume=resume, pools=(hashing, recorder))
