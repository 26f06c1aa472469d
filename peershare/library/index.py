"""The index: what must be remembered over restarts, in SQLite.

Stems (which file is told under which classic name), downloads, the chunks that were read to
their end, manifests.  All of it but the hashes of files is in memory, too: what is asked is
answered from there, and a change counts at once and is written by one thread, together with
whatever else has come meanwhile.  `flushed` says when it is durable, for whoever must not answer
before that.  Trouble is waited for; an index that is damaged or gone is written anew.
It is never trusted over the bytes: a chunk counts after a restart only if it still hashes to what
is recorded.  Not for: touching files, nor for what they hash to (hashes).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from peershare.content.manifest import Manifest
from peershare.errors import StorageError
from peershare.library.entries import Workers, at_once
from peershare.library.files import Identity
from peershare.library.hashes import HashStore
from peershare.library.indexfile import Change, IndexBusyError, IndexFile, IndexLostError
from peershare.library.schema import restored, restored_text, stored
from peershare.timers import Alarm

INDEX_NAME = "index.sqlite"
# So many downloads that have ended are remembered, the newest ones; history is in the logs.
MOST_FINISHED = 5_000
# After trouble the index is tried again so soon, and less and less often.
_RETRY_SECONDS, _MOST_RETRY_SECONDS = 0.25, 5.0

_ADD_STEM = "INSERT OR REPLACE INTO stems (key, stem) VALUES (?, ?)"
_ADD_DOWNLOAD = (
    "INSERT OR REPLACE INTO downloads (id, name, folder, wanted, chunk_size, path, device, inode,"
    " size, mtime_ns, content, paused) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_DROP_DOWNLOAD = "DELETE FROM downloads WHERE id = ?"
_ADD_CHUNK = "INSERT OR REPLACE INTO chunks VALUES (?, ?, ?, ?, ?)"
_ADD_MANIFEST = "INSERT OR IGNORE INTO manifests VALUES (?, ?, ?)"

_Wish = tuple[str, str, str | None]  # what two downloads cannot have in common


class ChunkRecord(Struct, frozen=True):
    """A chunk that was read to its end and is on the disk."""

    number: int
    length: int
    digest: bytes
    source: str


class DownloadRecord(Struct, frozen=True, kw_only=True):
    """A download as it is remembered."""

    id: int
    name: str
    folder: str
    wanted: bool
    chunk_size: int | None
    path: str | None
    identity: Identity | None
    chunks: tuple[ChunkRecord, ...]
    content: str | None = None  # the content id; None for one by the classic protocol
    paused: bool = False  # by the user


class Index:
    """The open index.

    Changes count at once and are written soon; what cannot be written is kept and tried again,
    and `problem` says so.  After `close` they raise `StorageError`.
    """

    _log = Logger()

    def __init__(self, folder: Path) -> None:
        """Open or make it in the state folder.  Raises `StorageError`."""
        self.path = folder / INDEX_NAME
        self.hashes = HashStore(self.path, self._change)
        self._file = IndexFile(self.path)
        self._workers: Workers = at_once
        self._alarm: Alarm | None = None
        self._queue: list[Change] = []
        self._writing = False
        self._rewriting = False  # all of it is to be written, into a new file
        self._closed = False
        self._delay = _RETRY_SECONDS
        self._waiting: list[Deferred[None]] = []  # for what is in the queue
        self._idle: list[Deferred[None]] = []  # for the writer to pause
        self._on_rewritten: list[Callable[[], None]] = []
        self._trouble = ""
        self._lost = self._file.open(self._load)
        self.was_damaged = bool(self._lost)

    def start(self, reactor: Any, workers: Workers) -> None:
        """From now on have changes written by `workers`, which must keep their order."""
        self._alarm = Alarm(reactor)
        self._workers = workers

    @property
    def problem(self) -> str:
        """One sentence while something is wrong with it, or if it was lost since the last one."""
        return self._trouble or self._lost

    def on_rewritten(self, callback: Callable[[], None]) -> None:
        """Call this when the file was lost and made anew, for what is only in the file."""
        self._on_rewritten.append(callback)

    def look(self) -> None:
        """See that the file is still there and whole; to be called now and then."""
        if not self._closed:
            self._change("", [])

    def flushed(self) -> Deferred[None]:
        """Fires when every change so far is durable; fails with `StorageError` if it never is."""
        if not self._queue and not self._writing:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        return waiting

    def close(self) -> Deferred[None]:
        """Write what is to be written and close it; fires when that is done.

        What cannot be written now is lost, which is logged.  May be called twice.
        """
        if self._closed:
            return succeed(None)
        self._closed = True
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        if self._alarm is not None:
            self._alarm.clear()
        await self._rested()
        if self._queue or self._trouble:
            self._write()
            await self._rested()
        end = self._file.disconnect if self._trouble else self._file.close
        try:
            await self._workers(end)
        except StorageError as error:
            self._log.warn("{error}", error=error)
        if self._queue:
            self._log.error(
                "{path}: {count} changes could not be written and are lost",
                path=str(self.path),
                count=len(self._queue),
            )
        for waiting in self._waiting:
            waiting.errback(StorageError(f"{self.path}: the service was stopped"))
        self._waiting.clear()

    def abandon(self) -> None:
        """Let go of the file as a process that is killed does."""
        self._closed = True
        self._file.disconnect()

    def reopen(self) -> None:
        """Open it anew: a connection must not be carried over a fork.  Raises `StorageError`."""
        self._closed = False
        self._file.reopen()

    # -- stems

    def stems(self) -> dict[str, str]:
        """Every stem by its key, in the order of assignment."""
        return {key: stem for stem, key in self._key_of.items()}

    def add_stems(self, stems: dict[str, str]) -> None:
        """Remember new stems, in this order.  Raises `StorageError` if one is taken."""
        taken = next((stem for stem in stems.values() if stem in self._key_of), None)
        if taken is not None:
            raise StorageError(f"{self.path}: the stem {taken} is taken")
        self._stems.update(stems)
        self._key_of.update((stem, key) for key, stem in stems.items())
        self._change(_ADD_STEM, list(stems.items()))

    def drop_stems(self, keys: list[str]) -> None:
        """These keys have no stem any more."""
        for key in keys:
            self._key_of.pop(self._stems.pop(key, ""), None)
        self._change("DELETE FROM stems WHERE key = ?", [(key,) for key in keys])

    def rename_stem(self, key: str, new_key: str) -> None:
        """A part became a file: its stem stays what it was told under."""
        stem = self._stems.pop(key, None)
        if stem is None:
            return
        self._key_of.pop(self._stems.pop(new_key, ""), None)
        self._stems[new_key] = stem
        self._key_of[stem] = new_key
        self._change("DELETE FROM stems WHERE key = ?", [(new_key,)])
        self._change("UPDATE stems SET key = ? WHERE key = ?", [(new_key, key)])

    # -- downloads

    def downloads(self) -> tuple[DownloadRecord, ...]:
        """Every download, oldest first."""
        return tuple(self._downloads.values())

    def download(self, download: int) -> DownloadRecord | None:
        """The download of this id, if it is remembered."""
        return self._downloads.get(download)

    def is_former(self, download: int) -> bool:
        """Whether it was begun by a former run."""
        return download <= self._former_id

    def find_download(
        self, name: str, folder: Path, content: str | None = None
    ) -> DownloadRecord | None:
        """The download of this name (and content id, or by none) into this folder, if any."""
        found = self._wishes.get((name, str(folder), content))
        return None if found is None else self._downloads[found]

    def add_download(self, name: str, folder: Path, content: str | None = None) -> DownloadRecord:
        """Begin to remember a download; a former one of the same wish is forgotten."""
        self._forget(self._wishes.get((name, str(folder), content)))
        self._last_id += 1
        record = DownloadRecord(
            id=self._last_id,
            name=name,
            folder=str(folder),
            wanted=True,
            chunk_size=None,
            path=None,
            identity=None,
            chunks=(),
            content=content,
        )
        self._put(record)
        self._change(_ADD_DOWNLOAD, [_row(record)])
        return record

    def set_content(self, download: int, name: str, content: str) -> DownloadRecord:
        """By which name and content id it is fetched from now on.

        Another download of the same wish is forgotten.
        """
        record = self._downloads.get(download)
        other = None if record is None else self._wishes.get((name, record.folder, content))
        if other != download:
            self._forget(other)
        changed = self._set(download, name=name, content=content)
        if changed is None:
            raise StorageError(f"{self.path}: there is no download {download} any more")
        return changed

    def set_wanted(self, download: int, wanted: bool, *, paused: bool = False) -> None:
        """Whether it is there again after a restart, and goes on by itself or is `paused`."""
        self._set(download, wanted=wanted, paused=paused)

    def set_chunk_size(self, download: int, chunk_size: int | None) -> None:
        """What its chunk size is taken for."""
        self._set(download, chunk_size=chunk_size)

    def add_chunk(self, download: int, chunk: ChunkRecord) -> None:
        """A chunk is on the disk."""
        record = self._downloads.get(download)
        if record is None:
            return
        chunks = {known.number: known for known in record.chunks} | {chunk.number: chunk}
        ordered = tuple(chunks[number] for number in sorted(chunks))
        self._downloads[download] = replace(record, chunks=ordered)
        self._change(_ADD_CHUNK, [_chunk_row(download, chunk)])

    def drop_chunks(self, download: int, numbers: tuple[int, ...]) -> None:
        """These chunks do not count any more."""
        record = self._downloads.get(download)
        if record is None:
            return
        chunks = tuple(chunk for chunk in record.chunks if chunk.number not in numbers)
        self._downloads[download] = replace(record, chunks=chunks)
        self._change(
            "DELETE FROM chunks WHERE download = ? AND number = ?",
            [(download, number) for number in numbers],
        )

    def finish(self, download: int, path: Path, identity: Identity) -> None:
        """The final file is there."""
        if self._set(download, wanted=False, path=str(path), identity=identity) is None:
            return
        finished = self._finished
        finished.pop(download, None)
        finished[download] = None
        while len(finished) > MOST_FINISHED:
            self._forget(next(iter(finished)))

    # -- manifests

    def save_manifest(self, manifest: Manifest) -> None:
        """Remember the manifest of a content for as long as a download or a file has that id."""
        content = manifest.content_id
        if content in self._manifests:
            return
        self._manifests[content] = manifest
        self._change(_ADD_MANIFEST, [(content, manifest.size, manifest.digests)])

    def manifest(self, content: str) -> Manifest | None:
        """The manifest of a content that is being downloaded, if it is remembered."""
        return self._manifests.get(content)

    # -- in memory

    def _load(self, connection: sqlite3.Connection) -> None:
        """Read all of it.  Raises `sqlite3.Error`, and ValueError or TypeError for odd rows."""
        rows = connection.execute("SELECT key, stem FROM stems ORDER BY place")
        self._stems: dict[str, str] = {restored_text(row[0]): row[1] for row in rows}
        self._key_of = {stem: key for key, stem in self._stems.items()}  # in the order of places
        chunks: dict[int, list[ChunkRecord]] = {}
        for download, *chunk in connection.execute(
            "SELECT download, number, length, digest, source FROM chunks ORDER BY number"
        ):
            chunks.setdefault(download, []).append(ChunkRecord(*chunk))
        self._downloads: dict[int, DownloadRecord] = {}
        self._wishes: dict[_Wish, int] = {}
        self._finished: dict[int, None] = {}  # the ids of those that have ended, oldest first
        for row in connection.execute("SELECT * FROM downloads ORDER BY id"):
            self._put(_record(row, tuple(chunks.get(row["id"], ()))))
        last = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'downloads'")
        self._last_id: int = max([*self._downloads, *(row[0] for row in last), 0])
        self._former_id: int = self._last_id
        rows = connection.execute(
            "SELECT content, size, digests FROM manifests"
            " WHERE content IN (SELECT content FROM downloads WHERE path IS NULL)"
        )
        self._manifests = {row[0]: Manifest(row[1], row[2]) for row in rows}

    def _put(self, record: DownloadRecord) -> None:
        self._downloads[record.id] = record
        self._wishes[_wish(record)] = record.id
        if record.path is not None:
            self._finished[record.id] = None

    def _set(self, download: int, **values: Any) -> DownloadRecord | None:
        """Change a record; None if it is forgotten already."""
        before = self._downloads.get(download)
        if before is None:
            return None
        record = self._downloads[download] = replace(before, **values)
        if self._wishes.get(_wish(before)) == download:
            del self._wishes[_wish(before)]
        self._wishes[_wish(record)] = download
        if record.path is not None and record.content is not None:
            self._manifests.pop(record.content, None)
        columns = _row(record)
        self._change(
            "UPDATE downloads SET name = ?, folder = ?, wanted = ?, chunk_size = ?, path = ?,"
            " device = ?, inode = ?, size = ?, mtime_ns = ?, content = ?, paused = ? WHERE id = ?",
            [(*columns[1:], columns[0])],
        )
        return record

    def _forget(self, download: int | None) -> None:
        record = None if download is None else self._downloads.pop(download, None)
        if record is not None:
            self._wishes.pop(_wish(record), None)
            self._finished.pop(record.id, None)
            self._change(_DROP_DOWNLOAD, [(record.id,)])

    def _everything(self) -> list[Change]:
        """What it takes to write all that is in memory into an empty file."""
        records = self._downloads.values()
        chunks = [_chunk_row(record.id, chunk) for record in records for chunk in record.chunks]
        manifests = [(content, m.size, m.digests) for content, m in self._manifests.items()]
        return [
            (_ADD_STEM, [(key, stem) for stem, key in self._key_of.items()]),
            (_ADD_DOWNLOAD, [_row(record) for record in records]),
            (_ADD_CHUNK, chunks),
            (_ADD_MANIFEST, manifests),
            ("DELETE FROM sqlite_sequence WHERE name = 'downloads'", [()]),
            ("INSERT INTO sqlite_sequence VALUES ('downloads', ?)", [(self._last_id,)]),
        ]

    # -- writing

    def _change(self, statement: str, rows: list[Any]) -> None:
        """Have a change written."""
        if self._closed:
            raise StorageError(f"{self.path}: the index cannot be used: it is closed")
        if rows:
            self._queue.append((statement, rows))
        if self._alarm is None or self._alarm.due is None:
            self._write()

    def _write(self) -> None:
        """Write what is in the queue, unless that is being done."""
        if self._writing:
            return
        self._writing = True
        batch, self._queue = self._queue, []
        waiting, self._waiting = self._waiting, []
        if self._rewriting:
            # the changes are in memory, too, and of hashes those who wait for this know more
            work = self._workers(self._file.rebuild, self._everything())
        else:
            work = self._workers(self._file.commit, batch)
        work.addCallbacks(self._written, self._failed, (waiting,), {}, (batch, waiting))
        work.addErrback(lambda f: self._log.failure("writing the index failed", failure=f))

    def _written(self, kept: str | None, waiting: list[Deferred[None]]) -> None:
        self._writing = False
        self._delay = _RETRY_SECONDS
        if self._trouble:
            self._trouble = ""
            self._log.warn("{path}: it is written again", path=str(self.path))
        if self._rewriting:
            self._rewriting = False
            self._lost = (
                f"{self.path}: the index was damaged or removed while the service ran; a new one"
                f" was written, and nothing is lost ({kept})"
            )
            self._log.warn("{lost}", lost=self._lost)
            for callback in self._on_rewritten if not self._closed else ():
                callback()
        if not self._queue:
            waiting, self._waiting = [*waiting, *self._waiting], []
        for deferred in waiting:
            deferred.callback(None)
        self._go_on(bool(self._queue))

    def _failed(self, failure: Failure, batch: list[Change], waiting: list[Deferred[None]]) -> None:
        """Nothing of it is lost: it is written when that is possible again."""
        self._writing = False
        self._queue[:0] = batch
        self._waiting[:0] = waiting
        lost = failure.check(IndexLostError) is not None and not self._rewriting
        if lost:
            self._rewriting = True
        elif not failure.check(IndexBusyError):
            self._log.failure("writing the index failed", failure=failure)
        if not self._trouble:
            self._log.warn("{error}; what is to be written is kept", error=failure.value)
        self._trouble = f"{failure.getErrorMessage()} (nothing is lost while the service runs)"
        if not lost and self._alarm is not None and not self._closed:
            self._alarm.set(self._delay, self._write)
            self._delay = min(2 * self._delay, _MOST_RETRY_SECONDS)
        self._go_on(lost)

    def _go_on(self, more: bool) -> None:
        """Write more at once, or tell who waits for the writer to rest."""
        if more:
            self._write()
        if not self._writing:
            idle, self._idle = self._idle, []
            for deferred in idle:
                deferred.callback(None)

    def _rested(self) -> Deferred[None]:
        """Fires when nothing is being written."""
        if not self._writing:
            return succeed(None)
        idle: Deferred[None] = Deferred()
        self._idle.append(idle)
        return idle


def _wish(record: DownloadRecord) -> _Wish:
    return (record.name, record.folder, record.content)


def _row(record: DownloadRecord) -> tuple[object, ...]:
    """As `_ADD_DOWNLOAD` wants it."""
    identity = record.identity
    return (
        *(record.id, record.name, record.folder, record.wanted, record.chunk_size, record.path),
        *((None,) * 4 if identity is None else stored(identity)),
        *(record.content, record.paused),
    )


def _chunk_row(download: int, chunk: ChunkRecord) -> tuple[object, ...]:
    return (download, chunk.number, chunk.length, chunk.digest, chunk.source)


def _record(row: sqlite3.Row, chunks: Iterable[ChunkRecord]) -> DownloadRecord:
    done = row["path"] is not None
    return DownloadRecord(
        id=row["id"],
        name=row["name"],
        folder=restored_text(row["folder"]),
        wanted=bool(row["wanted"]),
        chunk_size=row["chunk_size"],
        path=restored_text(row["path"]) if done else None,
        identity=restored(row["device"], row["inode"], row["size"], row["mtime_ns"])
        if done
        else None,
        chunks=tuple(chunks),
        content=row["content"],
        paused=bool(row["paused"]),
    )
