"""Chunk_Downloader: all downloads of a node, those of former runs included (requirements 2.3).

Not for: how one download goes (content) or what is on the network (dictionary).
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

from peershare.content.names import check_file_name, display
from peershare.dictionary import ContentDictionary
from peershare.download.content import ContentDownload
from peershare.download.context import DownloadContext
from peershare.download.dialling import Dialler
from peershare.download.picture import RateMeter, picture
from peershare.download.plan import ChunkPlan
from peershare.download.storing import PartStore
from peershare.errors import StorageError, UnknownDownloadError
from peershare.ledger import Ledger
from peershare.library.entries import Workers
from peershare.library.files import identity_of
from peershare.library.index import DownloadRecord, Index
from peershare.library.library import Library
from peershare.status import (
    FINAL_STATES,
    ChunkState,
    ChunkStatus,
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

    download: ContentDownload
    folder: Path
    meter: RateMeter
    alarm: Alarm  # of the next picture


class Downloader(Service):
    """Starts, stops and shows downloads; `emit` gets every event for people."""

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        dictionary: ContentDictionary,
        dialler: Dialler,
        library: Library,
        index: Index,
        ledger: Ledger,
        workers: Workers,
        emit: Callable[[Event], None],
        *,
        resume: bool,
    ) -> None:
        """`resume`: go on by itself with what a former run had not finished."""
        self._reactor = reactor
        self._dictionary = dictionary
        self._library = library
        self._index = index
        self._workers = workers
        self._emit = emit
        self._resume = resume
        self._entries: dict[str, _Entry] = {}
        self._complete: dict[str, DownloadStatus] = {}
        self.given: Counter[str] = Counter()  # bytes by address since our start
        self._meter = RateMeter(reactor.seconds())
        self._context = DownloadContext(
            reactor=reactor,
            dictionary=dictionary,
            dialler=dialler,
            ledger=ledger,
            tell=self._tell,
            changed=self._changed,
            received=self._received,
        )

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

    def start(self, name: str, folder: Path | None) -> DownloadStatus:
        """Download a content into a folder (None: the share folder).

        Raises `BadNameError`, `AmbiguousNameError`, `StorageError`.
        """
        name = check_file_name(name.strip())
        folder = folder or self._library.share
        for entry in self._entries.values():
            running = entry.download.state not in FINAL_STATES
            if running and entry.download.name == name and entry.folder == folder:
                return self._picture(entry)
        record = self._index.find_download(name, folder)
        if record is not None and self._still_there(record):
            return self._remember_complete(record)
        self._dictionary.lookup(name, self._reactor.seconds())  # an ambiguous name is told now
        if record is None or record.path is not None:
            record = self._index.add_download(name, folder)
        else:
            self._index.set_wanted(record.id, True)
        return self._picture(self._begin(record))

    def stop(self, identifier: str) -> DownloadStatus:
        """Stop a download; its part is kept for next time.  Raises `UnknownDownloadError`."""
        if identifier in self._complete:
            return self._complete[identifier]
        entry = self._entries.get(identifier)
        if entry is None:
            raise UnknownDownloadError(f"there is no download {display(identifier)}")
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

    def dictionary_changed(self) -> None:
        """Somebody told something new."""
        for entry in tuple(self._entries.values()):
            entry.download.dictionary_changed()

    # -- below

    def _begin(self, record: DownloadRecord) -> _Entry:
        plan = ChunkPlan()
        store = PartStore(record, plan, self._index, self._library, self._workers)
        download = ContentDownload(self._context, record.id, plan, store)
        meter = RateMeter(self._reactor.seconds())
        entry = _Entry(download, Path(record.folder), meter, Alarm(self._reactor))
        self._complete.pop(download.id, None)
        self._entries.pop(download.id, None)
        self._entries[download.id] = entry
        self._forget_old()
        download.begin()
        return entry

    def _still_there(self, record: DownloadRecord) -> bool:
        """Whether a former download of this name still lies there as it was."""
        return record.path is not None and identity_of(Path(record.path)) == record.identity

    def _remember_complete(self, record: DownloadRecord) -> DownloadStatus:
        """The picture of a download that was complete before it was asked for again."""
        held = tuple(
            ChunkStatus(number=c.number, state=ChunkState.HELD, received=c.length, source=c.source)
            for c in record.chunks
        )
        size = record.identity.size if record.identity else None
        status = DownloadStatus(
            id=str(record.id),
            name=record.name,
            state=DownloadState.DONE,
            folder=record.folder,
            chunks=held,
            received=size or 0,
            size=size,
            rate=0.0,
            seconds_left=None,
            peer="",
            given={},
            problem="",
            path=record.path or "",
            idle_seconds=0.0,
            elapsed_seconds=0.0,
            verified=False,
        )
        if status.id not in self._entries:
            self._complete[status.id] = status
        return status

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

    def _changed(self, download: ContentDownload) -> None:
        """A download looks different: show it, at most ten times a second while it runs."""
        entry = self._entries.get(download.id)
        if entry is None or entry.download is not download:
            return
        if download.state in FINAL_STATES:
            entry.alarm.clear()
            self._emit(DownloadChanged(self._picture(entry)))
        elif entry.alarm.due is None:
            entry.alarm.set(
                PICTURE_SECONDS, lambda: self._emit(DownloadChanged(self._picture(entry)))
            )

    def _received(self, download: ContentDownload, address: str, count: int) -> None:
        """Bytes came in for a download."""
        self.given[address] += count
        self._meter.add(count)
        entry = self._entries.get(download.id)
        if entry is not None:
            entry.meter.add(count)

    def _tell(
        self, download: ContentDownload, kind: NoticeKind, chunk: str, peer: str, text: str
    ) -> None:
        log = self._log.warn if kind is NoticeKind.WARNING else self._log.info
        log("{text}", text=text)
        self._emit(Notice(kind=kind, download=download.id, chunk=chunk, peer=peer, text=text))
