"""Starting: from what a person wants to a download that can begin, verified where that is possible.

Not for: what becomes of it (manager), or how it goes (content, swarm).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace
from twisted.logger import Logger

from peershare.content.names import check_file_name, safe_file_name
from peershare.download.choosing import Chooser
from peershare.download.content import ContentDownload
from peershare.download.context import Download, DownloadContext
from peershare.download.plan import ChunkPlan
from peershare.download.storing import PartStore
from peershare.download.swarm.context import SwarmContext
from peershare.download.swarm.download import SwarmDownload
from peershare.errors import AmbiguousNameError
from peershare.library.files import identity_of
from peershare.library.index import DownloadRecord
from peershare.library.parts import PART_FOLDER, check_destination
from peershare.status import ChunkState, ChunkStatus, DownloadState, DownloadStatus


@dataclass(frozen=True)
class Wish:
    """A content by its name, into a folder; `content` is its id, None by the classic protocol."""

    name: str
    folder: Path
    content: str | None
    sequential: bool = False


class Starter:
    """Makes downloads out of wishes and records."""

    _log = Logger()

    def __init__(self, context: DownloadContext, swarm: SwarmContext, chooser: Chooser) -> None:
        self._context = context
        self._swarm = swarm
        self._chooser = chooser
        self._library = swarm.library
        self._index = swarm.index

    def wish(self, query: str, folder: Path | None, *, sequential: bool) -> Wish:
        """What is meant by a name or an id; None as a folder is the share folder.

        Raises `BadNameError`, `AmbiguousContentError`, `AmbiguousNameError`, `UnknownContentError`.
        """
        query, folder = query.strip(), folder or self._library.share
        choice = self._chooser.choose(query)
        if choice is None:
            name = check_file_name(query)
            safe_file_name(name)  # what it will be stored as; classic peers know it as it is
            told = self._context.dictionary.lookup(name, self._context.reactor.seconds())
            choice = None if any(told.sources) else self._chooser.own(name)
            if choice is None:
                return Wish(name, folder, None)
        return Wish(safe_file_name(choice.name), folder, choice.id, sequential)

    def complete(self, wish: Wish) -> DownloadStatus | None:
        """The picture of what is wished for, if it lies there already.  Raises `StorageError`."""
        record = self._index.find_download(wish.name, wish.folder, wish.content)
        if record is not None and _still_there(record):
            return _complete(record)
        own = self._library.find_content(wish.content) if wish.content is not None else None
        if own is None or own.held is not None or own.path.parent != wish.folder:
            return None
        if own.identity is None or identity_of(own.path) != own.identity:
            return None
        made = self._index.add_download(wish.name, wish.folder, wish.content)
        self._index.finish(made.id, own.path, own.identity)
        record = self._index.find_download(wish.name, wish.folder, wish.content)
        return _complete(record) if record is not None else None

    def record(self, wish: Wish) -> DownloadRecord:
        """What is remembered of this wish: an unfinished download, or a new one.

        Raises `StorageError`, at once where nothing can ever be written into its folder.
        """
        check_destination(wish.folder)
        record = self._index.find_download(wish.name, wish.folder, wish.content)
        if record is None or record.path is not None:
            return self._index.add_download(wish.name, wish.folder, wish.content)
        self._index.set_wanted(record.id, True)
        return replace(record, wanted=True, paused=False)

    def make(self, record: DownloadRecord, *, sequential: bool = False) -> Download:
        """The download of a record; it has not begun."""
        if record.content is not None:
            return SwarmDownload(self._swarm, record, sequential=sequential)
        plan = ChunkPlan()
        store = PartStore(record, plan, self._index, self._library, self._swarm.workers)
        return ContentDownload(self._context, record.id, plan, store)

    # -- from classic to verified

    def better(self, download: Download) -> Wish | None:
        """How this classic download would be verified; None where it cannot, or should go on.

        One that is under way goes on, unless it is native peers that give to it.
        """
        choice = self._chooser.told(download.name)
        if choice is None or download.state not in _CONVERTIBLE:
            return None
        natives = {holder.endpoint.address for holder in self._swarm.holders(choice.id)}
        if download.state is DownloadState.DOWNLOADING and natives.isdisjoint(
            self._addresses(download.name)
        ):
            return None
        return Wish(safe_file_name(choice.name), Path(), choice.id)

    def convert(self, download: Download, folder: Path, wish: Wish) -> DownloadRecord:
        """Have a classic download that has ended go on as a verified one, with what it has."""
        parts = folder / PART_FOLDER
        before = parts / f"{download.id}-{download.name}.part"
        record = self._index.set_content(int(download.id), wish.name, wish.content or "")
        self._library.drop_part(f"part:{download.id}")
        try:
            before.replace(parts / f"{download.id}-{wish.name}.part")
        except OSError as error:
            if before.exists():
                self._log.warn("{path} is not used any more: {error}", path=before, error=error)
        return record

    def _addresses(self, name: str) -> set[str]:
        """Who tells this name by the classic protocol."""
        try:
            found = self._context.dictionary.lookup(name, self._context.reactor.seconds())
        except AmbiguousNameError:
            return set()
        return {source.address for column in found.sources for source in column}


_CONVERTIBLE = {DownloadState.SEARCHING, DownloadState.WAITING, DownloadState.DOWNLOADING}


def _still_there(record: DownloadRecord) -> bool:
    """Whether a former download still lies there as it was."""
    return record.path is not None and identity_of(Path(record.path)) == record.identity


def _complete(record: DownloadRecord) -> DownloadStatus:
    """The picture of a download that was complete before it was asked for again."""
    size = record.identity.size if record.identity else 0
    return DownloadStatus(
        id=str(record.id),
        name=record.name,
        content=record.content or "",
        state=DownloadState.DONE,
        folder=record.folder,
        chunks=tuple(
            ChunkStatus(number=c.number, state=ChunkState.HELD, received=c.length, source=c.source)
            for c in record.chunks
        ),
        received=size,
        size=size,
        rate=0.0,
        seconds_left=None,
        peer="",
        given={},
        problem="",
        path=record.path or "",
        idle_seconds=0.0,
        elapsed_seconds=0.0,
        verified=record.content is not None,
    )
