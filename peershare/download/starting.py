"""Starting: from what a person wants to a download that can begin, verified where that is possible.

Not for: what becomes of it (manager), or how it goes (content, swarm).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace
from twisted.logger import Logger

from peershare.content.manifest import ID_PREFIX, SHORTEST_ID_DIGITS, id_query, is_content_id
from peershare.content.names import (
    check_file_name,
    display,
    folded,
    safe_file_name,
    split_name,
)
from peershare.download.choosing import Asked, Candidate, Chooser, ambiguous
from peershare.download.content import ContentDownload
from peershare.download.context import Download, DownloadContext
from peershare.download.plan import ChunkPlan
from peershare.download.storing import PartStore
from peershare.download.swarm.context import SwarmContext
from peershare.download.swarm.download import SwarmDownload
from peershare.errors import UnknownContentError
from peershare.library.files import identity_of
from peershare.library.index import DownloadRecord
from peershare.library.parts import PART_FOLDER, check_destination
from peershare.resolving import names_it
from peershare.status import (
    ChunkState,
    ChunkStatus,
    ContentChoice,
    DownloadState,
    DownloadStatus,
)

# What is remembered in the place of an id of a download that is to stay a classic one: this, and
# the one address that was chosen, if any.
CHOSEN_CLASSIC = "classic"


@dataclass(frozen=True)
class Wish:
    """A content under a name, into a folder.

    `content` is its id, `CHOSEN_CLASSIC` (and an address) for the classic one that was chosen, or
    None for a name alone.  `typed` is what was asked for; `named`: that was a name, not an id.
    """

    name: str
    folder: Path
    content: str | None
    sequential: bool = False
    typed: str = ""
    named: bool = False

    @property
    def verified(self) -> bool:
        """Whether it has an id."""
        return self.content is not None and is_content_id(self.content)


class Unfinished:
    """Downloads that have no final file yet, of former runs too, found by name and by id."""

    def __init__(self) -> None:
        self._records: dict[int, DownloadRecord] = {}
        self._places: dict[tuple[str, str], dict[int, None]] = {}

    def put(self, record: DownloadRecord) -> None:
        """It was begun, or is something else by now."""
        self.drop(record.id)
        self._records[record.id] = record
        for place in _places(record):
            self._places.setdefault(place, {})[record.id] = None

    def drop(self, identifier: int) -> None:
        """It has ended in a file, or is forgotten."""
        record = self._records.pop(identifier, None)
        for place in _places(record) if record is not None else ():
            del self._places[place][identifier]
            if not self._places[place]:
                del self._places[place]

    def fitting(self, query: str, folder: Path) -> list[DownloadRecord]:
        """Those into this folder that a name, or the beginning of an id, may mean."""
        digits = id_query(query) if query.startswith(ID_PREFIX) else None
        if digits is not None:
            found = self._at(folder, digits[:_DIGITS])
            return [each for each in found if (each.content or "").startswith(digits)]
        roots = dict.fromkeys((folded(query), split_name(folded(query))[0]))
        found = [record for root in roots for record in self._at(folder, root)]
        return [record for record in found if names_it(query, record.name)]

    def _at(self, folder: Path, key: str) -> list[DownloadRecord]:
        return [self._records[number] for number in self._places.get((str(folder), key), ())]


_DIGITS = len(ID_PREFIX) + SHORTEST_ID_DIGITS


def _places(record: DownloadRecord) -> list[tuple[str, str]]:
    keys = [split_name(folded(record.name))[0]]
    if record.content is not None and is_content_id(record.content):
        keys.append(record.content[:_DIGITS])
    return [(record.folder, key) for key in keys]


class Starter:
    """Makes downloads out of wishes and records."""

    _log = Logger()

    def __init__(self, context: DownloadContext, swarm: SwarmContext, chooser: Chooser) -> None:
        self._context = context
        self._swarm = swarm
        self._chooser = chooser
        self._library = swarm.library
        self._index = swarm.index
        self.unfinished = Unfinished()

    def wish(
        self,
        asked: Asked,
        folder: Path | None,
        *,
        sequential: bool = False,
        decided: Callable[[DownloadRecord], bool],
    ) -> Wish:
        """What is meant by what is asked for; None as a folder is the share folder.

        What is on its way into that folder, or was begun, is meant as well as what is offered.
        `decided`: whether a download without an id has received something.  Raises `BadNameError`,
        `AmbiguousContentError`, `UnknownContentError`.
        """
        folder = folder or self._library.share
        digits = asked.digits
        candidates = self._chooser.candidates(asked)
        begun = self._begun(asked, folder, candidates, decided)
        choices = _merged(candidates, begun)
        if not choices and not asked.source and not asked.classic:
            choices = self._own(asked)
        if len(choices) > 1:
            raise ambiguous(asked.query, choices)
        if not choices:
            if digits is not None:
                raise UnknownContentError(f"no peer has announced the id {display(digits)} yet")
            name = check_file_name(asked.query)
            safe_file_name(name)  # what it will be stored as; classic peers know it as it is
            content = _classic_content(asked)
            return Wish(name, folder, content, sequential, asked.query, named=True)
        (choice,) = choices
        content = choice.id or _classic_content(asked)
        for record in begun:
            if choice.id == (record.content or "") or not choice.id:
                name, content = record.name, record.content
                return Wish(name, folder, content, sequential, asked.query, digits is None)
        name = (safe_file_name if choice.id else check_file_name)(choice.name)
        return Wish(name, folder, content, sequential, asked.query, named=digits is None)

    def _begun(
        self,
        asked: Asked,
        folder: Path,
        candidates: list[Candidate],
        decided: Callable[[DownloadRecord], bool],
    ) -> list[DownloadRecord]:
        """What was begun into this folder, and may be meant."""
        found = []
        ids, names = {each.choice.id for each in candidates}, _classic_names(candidates)
        for record in self.unfinished.fitting(asked.query, folder):
            if record.content is not None and is_content_id(record.content):
                meant = not asked.classic and (not asked.source or record.content in ids)
            elif asked.source or asked.classic:
                chosen = record.content == _classic_content(asked)
                alone = record.content is None and asked.classic and not asked.source
                meant = chosen or (alone and decided(record))
            else:
                meant = decided(record) or (record.content is None and record.name in names)
            if meant:
                found.append(record)
        return found

    def _own(self, asked: Asked) -> list[ContentChoice]:
        """What we have ourselves, where nobody offers anything: who has a file means another."""
        if asked.digits is not None:
            return list(self._chooser.own_of_id(asked.digits))
        own = self._chooser.own(unicodedata.normalize("NFC", asked.query))
        return [] if own is None else [own]

    def complete(self, wish: Wish) -> DownloadStatus | None:
        """The picture of what is wished for, if it lies there already.  Raises `StorageError`."""
        contents = (None, CHOSEN_CLASSIC) if wish.content is None else (wish.content,)
        for name in dict.fromkeys((wish.name, wish.typed)):
            for content in contents:
                record = self._index.find_download(name, wish.folder, content)
                if record is not None and _still_there(record):
                    return _complete(record)
        if not wish.verified:
            return None
        return self._own_file(wish, wish.content or "")

    def _own_file(self, wish: Wish, content: str) -> DownloadStatus | None:
        """The same of a file of our own, under the name that was asked for if one was."""
        own = self._library.find_content(content, wish.folder / wish.name)
        if own is None or own.held is not None or own.path.parent != wish.folder:
            return None
        if wish.named and folded(own.path.name) != folded(wish.name):
            return None
        if own.identity is None or identity_of(own.path) != own.identity:
            return None
        made = self._index.add_download(wish.name, wish.folder, content)
        self._index.finish(made.id, own.path, own.identity)
        record = self._index.find_download(wish.name, wish.folder, content)
        return _complete(record) if record is not None else None

    def record(self, wish: Wish) -> DownloadRecord:
        """What is remembered of this wish: an unfinished download, or a new one.

        Raises `BadPathError`, at once where nothing can ever be written into its folder.
        """
        check_destination(wish.folder)
        record = self._index.find_download(wish.name, wish.folder, wish.content)
        if record is None or record.path is not None:
            if record is not None:
                self.unfinished.drop(record.id)
            return self._index.add_download(wish.name, wish.folder, wish.content)
        self._index.set_wanted(record.id, True)
        return replace(record, wanted=True, paused=False)

    def make(self, record: DownloadRecord, *, sequential: bool = False) -> Download:
        """The download of a record; it has not begun."""
        self.unfinished.put(record)
        if record.content is not None and is_content_id(record.content):
            return SwarmDownload(self._swarm, record, sequential=sequential)
        plan = ChunkPlan()
        store = PartStore(record, plan, self._index, self._library, self._swarm.workers)
        source = (record.content or "").removeprefix(CHOSEN_CLASSIC).strip()
        chosen = record.content is not None or has_received(record)
        sources = self._chooser.sources(
            record.name, chosen=chosen, source=source, chunk_bytes=lambda: plan.chunk_size
        )
        return ContentDownload(self._context, record.id, plan, store, sources)

    # -- from a name to a verified download

    def better(self, download: Download) -> Wish | None:
        """What a download of a name alone is, as a verified one; None where it is to go on.

        One that has received a byte goes on as what it is, whoever offers what from then on; and
        so does one whose name may mean several contents.
        """
        if download.decided or download.state not in _CONVERTIBLE:
            return None
        candidates = self._chooser.candidates(Asked(download.name))
        if len(candidates) != 1 or not candidates[0].choice.id:
            return None
        choice = candidates[0].choice
        return Wish(safe_file_name(choice.name), Path(), choice.id)

    def convert(self, download: Download, folder: Path, wish: Wish) -> DownloadRecord:
        """Have a download of a name alone, which has ended, go on as a verified one."""
        before = folder / PART_FOLDER / f"{download.id}-{download.name}.part"
        record = self._index.set_content(int(download.id), wish.name, wish.content or "")
        self._library.drop_part(f"part:{download.id}")
        try:
            before.unlink(missing_ok=True)  # it was made, and nothing arrived
        except OSError as error:
            self._log.warn("{path} is not used any more: {error}", path=before, error=error)
        return record


def _classic_content(asked: Asked) -> str | None:
    """What is remembered in the place of an id."""
    if not asked.classic and not asked.source:
        return None
    return f"{CHOSEN_CLASSIC} {asked.source}".strip()


def _classic_names(candidates: list[Candidate]) -> set[str]:
    """What those that have no id are called."""
    classic = (each for each in candidates if not each.choice.id)
    return {name for each in classic for name in (*each.bases, each.choice.name)}


def _merged(candidates: list[Candidate], begun: list[DownloadRecord]) -> list[ContentChoice]:
    """What may be meant, each once: what is offered, and what was begun."""
    choices = [candidate.choice for candidate in candidates]
    ids, names = {choice.id for choice in choices}, _classic_names(candidates)
    for record in begun:
        content = record.content or ""
        content = content if is_content_id(content) else ""
        if (content not in ids) if content else (record.name not in names):
            choices.append(
                ContentChoice(
                    id=content,
                    name=record.name,
                    size=None,
                    peers=0,
                    complete=0,
                    age_seconds=0.0,
                    here=True,
                )
            )
    return choices


def has_received(record: DownloadRecord) -> bool:
    """Whether something of a download arrived in a former run, were it but a part of a chunk."""
    if record.chunks:
        return True
    part = Path(record.folder) / PART_FOLDER / f"{record.id}-{record.name}.part"
    identity = identity_of(part)
    return identity is not None and identity.size > 0


_CONVERTIBLE = {DownloadState.SEARCHING, DownloadState.WAITING, DownloadState.DOWNLOADING}


def _still_there(record: DownloadRecord) -> bool:
    """Whether a former download still lies there as it was."""
    return record.path is not None and identity_of(Path(record.path)) == record.identity


def _id(record: DownloadRecord) -> str:
    """The content id of a download, "" for one that has none."""
    return record.content if record.content and is_content_id(record.content) else ""


def _complete(record: DownloadRecord) -> DownloadStatus:
    """The picture of a download that was complete before it was asked for again."""
    size = record.identity.size if record.identity else 0
    return DownloadStatus(
        id=str(record.id),
        name=record.name,
        content=_id(record),
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
        verified=bool(_id(record)),
    )
