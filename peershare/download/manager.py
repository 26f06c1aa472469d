"""Chunk_Downloader: all downloads of a node, those of former runs included (requirements 2.3).

Not for: how one download goes (content, swarm), what a name means (starting, choosing) or what is
on the network (dictionary, holdings).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from peershare.content.names import display
from peershare.dictionary import ContentDictionary
from peershare.download.choosing import Chooser
from peershare.download.context import Download, DownloadContext
from peershare.download.dialling import Dialler
from peershare.download.picture import RateMeter, picture
from peershare.download.starting import Starter, Wish
from peershare.download.swarm.context import SwarmContext
from peershare.errors import PeershareError, StorageError, UnknownDownloadError
from peershare.ledger import Ledger
from peershare.library.index import DownloadRecord
from peershare.status import (
    FINAL_STATES,
    DownloadChanged,
    DownloadState,
    DownloadStatus,
    Event,
    Notice,
    NoticeKind,
)
from peershare.timers import Alarm

PICTURE_SECONDS = 0.1
REMEMBERED_DOWNLOADS = 100


@dataclass
class _Entry:
    """A download of this run, its folder and its meter."""

    download: Download
    folder: Path
    meter: RateMeter
    alarm: Alarm  # of the next picture
    begun: bool = True  # False while it waits for another download of the same content
    converting: bool = False


class Downloader(Service):
    """Starts, stops and shows downloads; `emit` gets every event for people."""

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        dictionary: ContentDictionary,
        dialler: Dialler,
        ledger: Ledger,
        make_swarm: Callable[[DownloadContext], tuple[SwarmContext, Chooser]],
        emit: Callable[[Event], None],
        *,
        resume: bool,
    ) -> None:
        """`make_swarm`: what verified downloads need beside what all of them share.

        `resume`: go on by itself with what a former run had not finished.
        """
        self._reactor = reactor
        self._emit = emit
        self._resume = resume
        self._entries: dict[str, _Entry] = {}
        self._complete: dict[str, DownloadStatus] = {}
        self.given: Counter[str] = Counter()  # bytes by address since our start
        self._meter = RateMeter(reactor.seconds())
        context = DownloadContext(
            reactor=reactor,
            dictionary=dictionary,
            dialler=dialler,
            ledger=ledger,
            tell=self._tell,
            changed=self._changed,
            received=self._received,
        )
        swarm, chooser = make_swarm(context)
        self._index = swarm.index
        self._library = swarm.library
        self._starter = Starter(context, swarm, chooser)

    def startService(self) -> None:
        """Offer what former downloads left elsewhere; go on with what is unfinished."""
        super().startService()
        for record in self._index.downloads():
            if record.path is not None and record.identity is not None:
                self._library.add_elsewhere(Path(record.path), record.identity)
            elif self._resume and record.wanted:
                self._begin(record)

    def stopService(self) -> Deferred[Any]:
        """Stop all downloads; what they hold is kept.  Fires when nothing is under way."""
        super().stopService()
        entries = tuple(self._entries.values())
        for entry in entries:
            entry.download.stop()
            entry.alarm.clear()
        return DeferredList([entry.download.ended for entry in entries])

    # -- what people ask

    @property
    def rate(self) -> float:
        """Bytes per second of all downloads together."""
        return self._meter.rate(self._reactor.seconds())

    def start(self, query: str, folder: Path | None, *, sequential: bool = False) -> DownloadStatus:
        """Download a content, by name or id, into a folder (None: the share folder).

        What lies there already is done at once.  Raises `BadNameError`, `AmbiguousNameError`,
        `AmbiguousContentError`, `UnknownContentError`, `StorageError`.
        """
        wish = self._starter.wish(query, folder, sequential=sequential)
        for entry in self._entries.values():
            if entry.download.state not in FINAL_STATES and _fulfils(entry, wish, query.strip()):
                return self._picture(entry)
        complete = self._starter.complete(wish)
        if complete is not None:
            if complete.id not in self._entries:
                self._complete[complete.id] = complete
            return complete
        return self._picture(self._begin(self._starter.record(wish), wish.sequential))

    def stop(self, identifier: str) -> DownloadStatus:
        """Stop a download; its part is kept for next time.  Raises `UnknownDownloadError`."""
        if identifier in self._complete:
            return self._complete[identifier]
        entry = self._entries.get(identifier)
        if entry is None:
            raise UnknownDownloadError(f"there is no download {display(identifier)}")
        entry.converting = False
        entry.download.stop()
        if entry.download.state is DownloadState.STOPPED:
            try:
                self._index.set_wanted(int(identifier), False)
            except StorageError as error:
                self._log.warn("{error}", error=error)
        return self._picture(entry)

    def pictures(self) -> tuple[DownloadStatus, ...]:
        """Every download of this run, oldest first."""
        running = tuple(self._picture(entry) for entry in self._entries.values())
        return (*self._complete.values(), *running)

    def network_changed(self) -> None:
        """Somebody told something new, by either protocol."""
        for entry in tuple(self._entries.values()):
            if entry.download.state in FINAL_STATES or not entry.begun:
                continue
            if not self._convert(entry):
                entry.download.network_changed()

    def met(self, content: str, address: str) -> None:
        """This address fetches a content from us: whoever fetches it here can turn to it, too."""
        for entry in tuple(self._entries.values()):
            if entry.download.content == content and entry.download.state not in FINAL_STATES:
                entry.download.met(address)

    # -- below

    def _begin(self, record: DownloadRecord, sequential: bool = False) -> _Entry:
        download = self._starter.make(record, sequential=sequential)
        meter = RateMeter(self._reactor.seconds())
        entry = _Entry(download, Path(record.folder), meter, Alarm(self._reactor))
        self._complete.pop(download.id, None)
        self._entries.pop(download.id, None)
        before = self._running(download.content)
        self._entries[download.id] = entry
        self._forget_old()
        if before is None:
            download.begin()
        else:  # it will be copied from there
            entry.begun = False
            before.ended.addCallback(lambda _: self._begin_now(entry))
        return entry

    def _begin_now(self, entry: _Entry) -> None:
        if self.running and entry.download.state not in FINAL_STATES:
            entry.begun = True
            entry.download.begin()

    def _running(self, content: str) -> Download | None:
        """The last download of a content that has not ended."""
        running = [
            entry.download
            for entry in self._entries.values()
            if content and entry.download.content == content
        ]
        running = [download for download in running if download.state not in FINAL_STATES]
        return running[-1] if running else None

    def _convert(self, entry: _Entry) -> bool:
        """Whether a classic download is to go on as a verified one, and does."""
        if entry.download.content or entry.converting:
            return entry.converting
        wish = self._starter.better(entry.download)
        if wish is None or self._running(wish.content or "") is not None:
            return False
        entry.converting = True
        entry.download.stop()
        entry.download.ended.addCallback(lambda _: self._converted(entry, wish))
        return True

    def _converted(self, entry: _Entry, wish: Wish) -> None:
        if not self.running or not entry.converting:
            return
        entry.converting = False
        before = entry.download
        try:
            record = self._starter.convert(before, entry.folder, wish)
        except PeershareError as error:
            self._log.warn("{error}", error=error)
            return
        download = entry.download = self._starter.make(record)
        download.given.update(before.given)
        download.started_at = before.started_at
        download.begin()

    def _forget_old(self) -> None:
        """Keep the list of what is over short."""
        over = [k for k, e in self._entries.items() if e.download.state in FINAL_STATES]
        for identifier in over[: max(0, len(over) - REMEMBERED_DOWNLOADS)]:
            del self._entries[identifier]
        for identifier in tuple(self._complete)[:-REMEMBERED_DOWNLOADS]:
            del self._complete[identifier]

    def _picture(self, entry: _Entry) -> DownloadStatus:
        now = self._reactor.seconds()
        return picture(entry.download, str(entry.folder), entry.meter, now)

    def _changed(self, download: Download) -> None:
        """A download looks different: show it, at most ten times a second while it runs."""
        entry = self._entries.get(download.id)
        if entry is None or entry.download is not download or entry.converting:
            return
        if download.state in FINAL_STATES:
            entry.alarm.clear()
            self._emit(DownloadChanged(self._picture(entry)))
        elif entry.alarm.due is None:
            entry.alarm.set(
                PICTURE_SECONDS, lambda: self._emit(DownloadChanged(self._picture(entry)))
            )

    def _received(self, download: Download, address: str, count: int) -> None:
        """Bytes came in for a download."""
        self.given[address] += count
        self._meter.add(count)
        entry = self._entries.get(download.id)
        if entry is not None:
            entry.meter.add(count)

    def _tell(self, download: Download, kind: NoticeKind, chunk: str, peer: str, text: str) -> None:
        log = self._log.warn if kind is NoticeKind.WARNING else self._log.info
        log("{text}", text=text)
        self._emit(Notice(kind=kind, download=download.id, chunk=chunk, peer=peer, text=text))


def _fulfils(entry: _Entry, wish: Wish, query: str) -> bool:
    """Whether this running download is what is wished for."""
    download = entry.download
    if entry.folder != wish.folder:
        return False
    if download.content and wish.content is not None:
        return download.content == wish.content
    return download.name in (wish.name, query)
