"""Chunk_Downloader: all downloads of a node, those of former runs included (requirements 2.3).

Not for: how one download goes (content, swarm), what a name means (starting, choosing) or what is
on the network (dictionary, holdings).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from peershare.content.manifest import is_content_id
from peershare.content.names import display, folded
from peershare.dictionary import ContentDictionary
from peershare.download.choosing import Asked, Chooser
from peershare.download.context import Download, DownloadContext
from peershare.download.dialling import Dialler
from peershare.download.picture import RateMeter, picture
from peershare.download.roster import Entry, Roster
from peershare.download.starting import Starter, Wish, has_received
from peershare.download.swarm.context import SwarmContext
from peershare.errors import PeershareError, StorageError
from peershare.ledger import Ledger
from peershare.library.index import DownloadRecord
from peershare.status import (
    FINAL_STATES,
    BlockMap,
    DownloadChanged,
    DownloadState,
    DownloadStatus,
    Event,
    Notice,
    NoticeKind,
)
from peershare.timers import Alarm

PICTURE_SECONDS = 0.1
_ENDED_EARLY = {DownloadState.STOPPED, DownloadState.FAILED}


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
        self._roster = Roster()
        self.fetch_in_order = self._roster.fetch_in_order
        self.given: Counter[str] = Counter()  # bytes by address since our start
        self._classic_paths: set[str] = set()  # of files that came by the classic protocol
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
                self._note_classic(record.content, record.path)
                continue
            self._starter.unfinished.put(record)
            if self._resume and record.wanted:
                self._begin(record)

    def stopService(self) -> Deferred[Any]:
        """Stop all downloads; what they hold is kept.  Fires when nothing is under way."""
        super().stopService()
        for entry in self._roster:
            entry.download.stop()
            entry.alarm.clear()
        return DeferredList([entry.download.ended for entry in self._roster])

    # -- what people ask

    @property
    def rate(self) -> float:
        """Bytes per second of all downloads together."""
        return self._meter.rate(self._reactor.seconds())

    def start(
        self,
        query: str,
        folder: Path | None,
        *,
        sequential: bool = False,
        source: str = "",
        classic: bool = False,
    ) -> DownloadStatus:
        """Download a content, by name or id, into a folder (None: the share folder).

        `source`: what this address has is meant; `classic`: what has no id.  What lies there
        already is done at once.  Raises `BadNameError`, `AmbiguousContentError`,
        `UnknownContentError`, `StorageError`.
        """
        asked = Asked(query, source, classic)
        wish = self._starter.wish(asked, folder, sequential=sequential, decided=self._decided)
        entry = self._roster.fulfilling(wish)
        if entry is not None:
            if wish.verified:
                self._convert(entry)
            return self.resume(entry.download.id)
        complete = self._starter.complete(wish)
        if complete is not None:
            self._roster.add_complete(complete)
            return complete
        return self._picture(self._begin(self._starter.record(wish), wish.sequential))

    def stop(self, identifier: str) -> DownloadStatus:
        """Stop a download; its part is kept for next time.  Raises `UnknownDownloadError`."""
        entry = self._roster.find(identifier)
        if not isinstance(entry, Entry):
            return entry
        entry.converting = False
        entry.unwanted = True
        entry.download.stop()
        self._forget_wish(entry)
        return self._picture(entry)

    def pause(self, identifier: str) -> DownloadStatus:
        """Take no bytes of it until it is resumed, not even after a restart.

        One that is over, or all but over, is not changed.  Raises `UnknownDownloadError`,
        `StorageError`.
        """
        entry = self._roster.find(identifier)
        if not isinstance(entry, Entry):
            return entry
        ending = entry.download.state is DownloadState.FINISHING or entry.download.path
        if entry.converting or (not entry.over and not ending):
            self._index.set_wanted(int(identifier), True, paused=True)
            entry.waits = False
            entry.download.pause()
            self._begin_ready(entry)
        return self._picture(entry)

    def resume(self, identifier: str) -> DownloadStatus:
        """Go on with one that was paused or stopped, or that failed; any other is not changed.

        Raises `UnknownDownloadError`, `StorageError`.
        """
        entry = self._roster.find(identifier)
        if not isinstance(entry, Entry):
            return entry
        download = entry.download
        if download.state in _ENDED_EARLY and not entry.converting:
            wish = Wish(download.name, entry.folder, download.content or entry.chosen or None)
            return self._picture(self._begin(self._starter.record(wish), entry.sequential))
        if download.state is DownloadState.PAUSED and not entry.waits:
            self._index.set_wanted(int(identifier), True)
            entry.waits = True
            self._begin_ready(entry)
            self._changed(download)
        return self._picture(entry)

    def pictures(self) -> tuple[DownloadStatus, ...]:
        """Every download of this run, oldest first."""
        return (*self._roster.complete.values(), *map(self._picture, self._roster))

    def shown(self, identifier: str) -> DownloadStatus:
        """One of them.  Raises `UnknownDownloadError`."""
        found = self._roster.find(identifier)
        return self._picture(found) if isinstance(found, Entry) else found

    def identifiers(self) -> tuple[str, ...]:
        """The ids of all of them: first of what goes on, then of what is over, the newest first."""
        over = [entry.download.id for entry in self._roster if entry.over]
        going_on = [entry.download.id for entry in self._roster if not entry.over]
        return (*going_on, *reversed(over), *reversed(tuple(self._roster.complete)))

    def block_map(self, identifier: str) -> BlockMap:
        """Which blocks are here, and from whom.  Raises `UnknownDownloadError`."""
        return self._roster.block_map(identifier)

    @property
    def busy(self) -> bool:
        """Whether a download is to go on right now."""
        return any(entry.active for entry in self._roster)

    def under_way(self) -> frozenset[str]:
        """The content ids, and the names of the classic downloads, of all that are not over."""
        running = (entry.download for entry in self._roster if not entry.over)
        return frozenset(download.content or download.name for download in running)

    def problems(self) -> dict[str, str]:
        """Why addresses that running downloads would ask are not asked right now."""
        found: dict[str, str] = {}
        for entry in self._roster:
            if entry.active:
                found |= entry.download.problems()
        return found

    def is_classic_file(self, path: Path) -> bool:
        """Whether this file was downloaded by the classic protocol: nothing vouches for it."""
        return str(path) in self._classic_paths

    def network_changed(self) -> None:
        """Somebody told something new, by either protocol."""
        for entry in self._roster:
            if entry.active and not self._convert(entry):
                entry.download.network_changed()

    def met(self, content: str, address: str, port: int) -> None:
        """This address fetches a content from us: whoever fetches it here can turn to it, too."""
        for entry in self._roster.of_content(content):
            if not entry.over:
                entry.download.met(address, port)

    # -- below

    def _decided(self, record: DownloadRecord) -> bool:
        """Whether a download without an id has received something, in this run or a former one."""
        entry = self._roster.get(str(record.id))
        if entry is not None and entry.download.decided:
            return True
        return has_received(record)

    def _note_classic(self, content: str | None, path: str) -> None:
        """A file came by the classic protocol."""
        if content is None or not is_content_id(content):
            self._classic_paths.add(path)

    def _begin(self, record: DownloadRecord, sequential: bool = False) -> Entry:
        download = self._starter.make(record, sequential=sequential)
        meter = RateMeter(self._reactor.seconds())
        alarm, chosen = Alarm(self._reactor), "" if download.content else record.content or ""
        entry = Entry(download, Path(record.folder), meter, alarm, sequential, chosen)
        self._roster.add(entry)
        self._run(entry, record)
        return entry

    def _run(self, entry: Entry, record: DownloadRecord) -> None:
        """Begin the download of an entry, now or in its turn, or as a paused one."""
        entry.download.ended.addCallback(lambda _: self._ended(entry, record))
        if record.paused:
            entry.download.pause()
        else:
            entry.waits = True
            self._begin_ready(entry)
            leader = self._leader(entry)
            if leader is not None:
                text = f"{display(record.name)}: {_in_turn(leader)}"
                self._tell(entry.download, NoticeKind.INFO, "", "", text)

    def _ended(self, entry: Entry, record: DownloadRecord) -> None:
        """A download is over: whatever waited for it has its turn."""
        self._forget_wish(entry)
        download = entry.download
        if download.state is DownloadState.DONE:
            self._starter.unfinished.drop(record.id)
        self._begin_ready(entry)
        for other in self._roster.of_content("") if download.content else ():
            if other.active:
                self._convert(other)

    def _leader(self, entry: Entry) -> Entry | None:
        """Which download this one waits for; None where it has its turn."""
        if not entry.waits or entry.over:
            return None
        leader = self._roster.running(entry.download.content)
        return leader if leader is not entry else None

    def _forget_wish(self, entry: Entry) -> None:
        """What the user stopped, or what failed, does not go on by itself after a restart."""
        download = entry.download
        stopped = download.state is DownloadState.STOPPED and entry.unwanted
        if self._roster.get(download.id) is not entry or entry.converting:
            return  # it goes on, as another one
        if stopped or download.state is DownloadState.FAILED:
            try:
                self._index.set_wanted(int(download.id), False)
            except StorageError as error:
                self._log.warn("{error}", error=error)

    def _begin_ready(self, entry: Entry) -> None:
        """Begin whatever of this content waits for no other: it can be copied from there."""
        for ready in self._roster.ready(entry) if self.running else ():
            if ready.download.state is DownloadState.PAUSED:
                ready.download.resume()
                self._convert(ready)
            else:
                ready.download.begin()

    def _convert(self, entry: Entry) -> bool:
        """Whether a classic download is to go on as a verified one, and does."""
        if entry.download.content or entry.converting:
            return entry.converting
        wish = self._starter.better(entry.download)
        if wish is None or self._is_begun(wish, entry):
            return False
        entry.converting = True
        entry.download.stop()
        entry.download.ended.addCallback(lambda _: self._converted(entry, wish))
        return True

    def _is_begun(self, wish: Wish, entry: Entry) -> bool:
        """Whether another download brings this into the same folder, under the same name."""
        return any(
            not other.over
            and other.folder == entry.folder
            and folded(other.download.name) == folded(wish.name)
            for other in self._roster.of_content(wish.content or "")
        )

    def _converted(self, entry: Entry, wish: Wish) -> None:
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
        self._roster.exchanged(entry)
        download.given.update(before.given)
        download.started_at = before.started_at
        self._run(entry, record)

    def _picture(self, entry: Entry) -> DownloadStatus:
        now = self._reactor.seconds()
        status = picture(entry.download, str(entry.folder), entry.meter, now)
        leader = self._leader(entry)
        if leader is None:
            return status
        idle = max(0.0, now - leader.download.progress_at)  # it goes on as the other one does
        problem, state = _in_turn(leader), status.state
        if state is not DownloadState.PAUSED:
            state = DownloadState.WAITING
        return replace(status, problem=problem, state=state, idle_seconds=idle)

    def _changed(self, download: Download) -> None:
        """A download looks different: show it, at most ten times a second while it runs."""
        entry = self._roster.get(download.id)
        if entry is None or entry.download is not download or entry.converting:
            return
        if download.state in FINAL_STATES:
            if download.state is DownloadState.DONE:
                self._note_classic(download.content or None, download.path)
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
        entry = self._roster.get(download.id)
        if entry is not None:
            entry.meter.add(count)

    def _tell(self, download: Download, kind: NoticeKind, chunk: str, peer: str, text: str) -> None:
        log = self._log.warn if kind is NoticeKind.WARNING else self._log.info
        log("{text}", text=text)
        self._emit(Notice(kind=kind, download=download.id, chunk=chunk, peer=peer, text=text))


def _in_turn(leader: Entry) -> str:
    """Why a download has not begun."""
    return f"it waits for the download of the same content into {display(str(leader.folder))}"
