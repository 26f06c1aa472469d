"""The index: what must be remembered over restarts, in SQLite.

Stems (which file is told under which classic name), downloads, the chunks that were read to
their end, manifests.  It is never trusted over the bytes: a chunk counts after a restart only if
it still hashes to what is recorded.  A damaged index is set aside as `.bad` and a new one is
begun; it is never taken for a first run (hostile world, 20).
Not for: touching files, nor for what they hash to (hashes).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from msgspec import Struct
from twisted.logger import Logger

from peershare.content.manifest import Manifest
from peershare.errors import StorageError
from peershare.library.files import Identity, storage_errors
from peershare.library.hashes import HashStore
from peershare.library.schema import prepare, restored, stored

INDEX_NAME = "index.sqlite"
# what two downloads cannot have in common
_WISH = "name = ? AND folder = ? AND content IS ?"


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
    """The open index.  Methods raise `StorageError` if the disk fails."""

    _log = Logger()

    def __init__(self, folder: Path) -> None:
        """Open or make it in the state folder.  Raises `StorageError`."""
        self.path = folder / INDEX_NAME
        self.was_damaged = False
        self.hashes = HashStore(self.path)
        try:
            self._connection = self._open()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and not _looks_damaged(error):
                raise StorageError(f"{self.path}: cannot open the index: {error}") from None
            self._set_aside(error)
            with self._errors():
                self._connection = self._open()

    def close(self) -> None:
        """Close it; nothing is lost, every change was committed."""
        self._connection.close()

    def reopen(self) -> None:
        """Open it anew: a connection must not be carried over a fork."""
        self._connection.close()
        with self._errors():
            self._connection = self._open()

    # -- stems

    def stems(self) -> dict[str, str]:
        """Every stem by its key, in the order of assignment."""
        with self._errors():
            rows = self._connection.execute("SELECT key, stem FROM stems ORDER BY place")
            return dict(rows.fetchall())

    def add_stems(self, stems: dict[str, str]) -> None:
        """Remember new stems, in this order."""
        with self._errors(), self._connection:
            self._connection.executemany(
                "INSERT INTO stems (key, stem) VALUES (?, ?)", stems.items()
            )

    def drop_stems(self, keys: list[str]) -> None:
        """These keys have no stem any more."""
        with self._errors(), self._connection:
            self._connection.executemany(
                "DELETE FROM stems WHERE key = ?", [(key,) for key in keys]
            )

    def rename_stem(self, key: str, new_key: str) -> None:
        """A part became a file: its stem stays what it was told under."""
        with self._errors(), self._connection:
            self._connection.execute("DELETE FROM stems WHERE key = ?", (new_key,))
            self._connection.execute("UPDATE stems SET key = ? WHERE key = ?", (new_key, key))

    # -- downloads

    def downloads(self) -> tuple[DownloadRecord, ...]:
        """Every download, oldest first."""
        with self._errors():
            rows = self._connection.execute("SELECT * FROM downloads ORDER BY id").fetchall()
            return tuple(self._record(row) for row in rows)

    def find_download(
        self, name: str, folder: Path, content: str | None = None
    ) -> DownloadRecord | None:
        """The download of this name (and content id, or by none) into this folder, if any."""
        with self._errors():
            row = self._connection.execute(
                f"SELECT * FROM downloads WHERE {_WISH}", (name, str(folder), content)
            ).fetchone()
            return None if row is None else self._record(row)

    def add_download(self, name: str, folder: Path, content: str | None = None) -> DownloadRecord:
        """Begin to remember a download; a former one of the same wish is forgotten."""
        wish = (name, str(folder), content)
        with self._errors(), self._connection:
            self._connection.execute(f"DELETE FROM downloads WHERE {_WISH}", wish)
            row = self._connection.execute(
                "INSERT INTO downloads (name, folder, content, wanted) VALUES (?, ?, ?, 1)"
                " RETURNING *",
                wish,
            ).fetchone()
            return self._record(row)

    def set_content(self, download: int, name: str, content: str) -> DownloadRecord:
        """By which name and content id it is fetched from now on.

        Another download of the same wish is forgotten.
        """
        with self._errors(), self._connection:
            self._connection.execute(
                "DELETE FROM downloads WHERE id <> ?1 AND name = ?2 AND content IS ?3"
                " AND folder = (SELECT folder FROM downloads WHERE id = ?1)",
                (download, name, content),
            )
            row = self._connection.execute(
                "UPDATE downloads SET name = ?, content = ? WHERE id = ? RETURNING *",
                (name, content, download),
            ).fetchone()
            return self._record(row)

    def set_wanted(self, download: int, wanted: bool, *, paused: bool = False) -> None:
        """Whether it is there again after a restart, and goes on by itself or is `paused`."""
        statement = "UPDATE downloads SET wanted = ?, paused = ? WHERE id = ?"
        self._update(statement, wanted, paused, download)

    def set_chunk_size(self, download: int, chunk_size: int | None) -> None:
        """What its chunk size is taken for."""
        self._update("UPDATE downloads SET chunk_size = ? WHERE id = ?", chunk_size, download)

    def add_chunk(self, download: int, chunk: ChunkRecord) -> None:
        """A chunk is on the disk."""
        self._update(
            "INSERT OR REPLACE INTO chunks VALUES (?, ?, ?, ?, ?)",
            *(download, chunk.number, chunk.length, chunk.digest, chunk.source),
        )

    def drop_chunks(self, download: int, numbers: tuple[int, ...]) -> None:
        """These chunks do not count any more."""
        with self._errors(), self._connection:
            self._connection.executemany(
                "DELETE FROM chunks WHERE download = ? AND number = ?",
                [(download, number) for number in numbers],
            )

    def finish(self, download: int, path: Path, identity: Identity) -> None:
        """The final file is there."""
        self._update(
            "UPDATE downloads SET wanted = 0, path = ?, device = ?, inode = ?, size = ?,"
            " mtime_ns = ? WHERE id = ?",
            *(str(path), *stored(identity), download),
        )

    # -- manifests

    def save_manifest(self, manifest: Manifest) -> None:
        """Remember the manifest of a content for as long as a download or a file has that id."""
        self._update(
            "INSERT OR IGNORE INTO manifests VALUES (?, ?, ?)",
            *(manifest.content_id, manifest.size, manifest.digests),
        )

    def manifest(self, content: str) -> Manifest | None:
        """The manifest of a content id, if it is remembered."""
        with self._errors():
            row = self._connection.execute(
                "SELECT size, digests FROM manifests WHERE content = ?", (content,)
            ).fetchone()
        return None if row is None else Manifest(*row)

    # -- below

    def _update(self, statement: str, *values: object) -> None:
        with self._errors(), self._connection:
            self._connection.execute(statement, values)

    def _record(self, row: sqlite3.Row) -> DownloadRecord:
        chunks = self._connection.execute(
            "SELECT number, length, digest, source FROM chunks WHERE download = ? ORDER BY number",
            (row["id"],),
        )
        done = row["path"] is not None
        return DownloadRecord(
            id=row["id"],
            name=row["name"],
            folder=row["folder"],
            wanted=bool(row["wanted"]),
            chunk_size=row["chunk_size"],
            path=row["path"],
            identity=restored(row["device"], row["inode"], row["size"], row["mtime_ns"])
            if done
            else None,
            chunks=tuple(ChunkRecord(*chunk) for chunk in chunks),
            content=row["content"],
            paused=bool(row["paused"]),
        )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StorageError(f"{self.path}: the index cannot be used: {error}") from error

    def _open(self) -> sqlite3.Connection:
        with storage_errors(self.path, "open the index"):
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            os.close(os.open(self.path, flags, 0o600))
        connection = sqlite3.connect(self.path, timeout=1.0)
        try:
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            prepare(connection)
            result = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if result != "ok":
                raise sqlite3.DatabaseError(result)
            connection.execute("PRAGMA foreign_keys = ON")
        except BaseException:
            connection.close()
            raise
        return connection

    def _set_aside(self, error: Exception) -> None:
        bad = self.path.with_name(self.path.name + ".bad")
        self._log.error(
            "{path} is damaged ({error}): it is kept as {bad}, a new one is made from the files",
            path=str(self.path),
            error=error,
            bad=bad.name,
        )
        self.was_damaged = True
        try:
            self.path.replace(bad)
        except OSError as failed:
            raise StorageError(f"{self.path}: cannot be set aside: {failed.strerror}") from None
        for suffix in ("-wal", "-shm"):
            with suppress(OSError):
                self.path.with_name(self.path.name + suffix).unlink()


def _looks_damaged(error: sqlite3.OperationalError) -> bool:
    """Some damage shows as an operational error: a schema that does not parse, lost tables."""
    return any(word in str(error) for word in ("malformed", "no such table", "already exists"))
