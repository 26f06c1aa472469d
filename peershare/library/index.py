"""The index: what must be remembered over restarts, in SQLite.

Stems (which file is told under which classic name), downloads, and the chunks that were read
to their end.  It is never trusted over the bytes: a chunk counts after a restart only if it
still hashes to what is recorded.  A damaged index is set aside as `.bad` and a new one is
begun; it is never taken for a first run (hostile world, 20).  Not for: touching files.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from msgspec import Struct
from twisted.logger import Logger

from peershare.errors import StorageError
from peershare.library.files import Identity, storage_errors

INDEX_NAME = "index.sqlite"
_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE stems (
    place INTEGER PRIMARY KEY,          -- order of first announcement
    key TEXT NOT NULL UNIQUE,           -- whose stem it is
    stem TEXT NOT NULL UNIQUE
);
CREATE TABLE downloads (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,                 -- as the user typed it
    folder TEXT NOT NULL,
    wanted INTEGER NOT NULL,            -- 1 while it is to go on by itself after a restart
    chunk_size INTEGER,
    path TEXT,                          -- the final file, once there is one
    device INTEGER, inode INTEGER, size INTEGER, mtime_ns INTEGER,
    UNIQUE (name, folder)
);
CREATE TABLE chunks (
    download INTEGER NOT NULL REFERENCES downloads (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    length INTEGER NOT NULL,
    digest BLOB NOT NULL,               -- BLAKE3 of its bytes
    source TEXT NOT NULL,               -- the address it came from
    PRIMARY KEY (download, number)
) WITHOUT ROWID;
"""


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


class Index:
    """The open index.  Methods raise `StorageError` if the disk fails."""

    _log = Logger()

    def __init__(self, folder: Path) -> None:
        """Open or make it in the state folder.  Raises `StorageError`."""
        self.path = folder / INDEX_NAME
        self.was_damaged = False
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

    def find_download(self, name: str, folder: Path) -> DownloadRecord | None:
        """The download of this name into this folder, if there was one."""
        with self._errors():
            row = self._connection.execute(
                "SELECT * FROM downloads WHERE name = ? AND folder = ?", (name, str(folder))
            ).fetchone()
            return None if row is None else self._record(row)

    def add_download(self, name: str, folder: Path) -> DownloadRecord:
        """Begin to remember a download; a former one of that name and folder is forgotten."""
        with self._errors(), self._connection:
            self._connection.execute(
                "DELETE FROM downloads WHERE name = ? AND folder = ?", (name, str(folder))
            )
            row = self._connection.execute(
                "INSERT INTO downloads (name, folder, wanted) VALUES (?, ?, 1) RETURNING *",
                (name, str(folder)),
            ).fetchone()
            return self._record(row)

    def set_wanted(self, download: int, wanted: bool) -> None:
        """Whether it goes on by itself after a restart."""
        self._update("UPDATE downloads SET wanted = ? WHERE id = ?", wanted, download)

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
            *(str(path), *identity, download),
        )

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
            identity=Identity(row["device"], row["inode"], row["size"], row["mtime_ns"])
            if done
            else None,
            chunks=tuple(ChunkRecord(*chunk) for chunk in chunks),
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
            connection.execute("PRAGMA foreign_keys = ON")
            self._check(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _check(self, connection: sqlite3.Connection) -> None:
        """Make the tables in a new file; raise DatabaseError for a damaged or foreign one."""
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            with connection:
                connection.executescript(_SCHEMA)
                connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
        elif version != _SCHEMA_VERSION:
            raise sqlite3.DatabaseError(f"it is of version {version}, not {_SCHEMA_VERSION}")
        result = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if result != "ok":
            raise sqlite3.DatabaseError(result)

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
