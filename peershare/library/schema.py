"""The tables of the index, and the way from one version of them to the next.

A migration happens in one transaction: after a power loss there is the old version or the new
one.  Not for: what is asked of the tables.
"""

from __future__ import annotations

import os
import sqlite3

from peershare.library.files import Identity

VERSION = 4
_SIGN = 1 << 63  # what SQLite can hold is below that

_DOWNLOADS = """
CREATE TABLE downloads (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,                 -- as the user typed it, or as the content is called
    folder TEXT NOT NULL,
    wanted INTEGER NOT NULL,            -- 1 while it is to go on by itself after a restart
    chunk_size INTEGER,
    path TEXT,                          -- the final file, once there is one
    device INTEGER, inode INTEGER, size INTEGER, mtime_ns INTEGER,
    content TEXT,                       -- the content id; NULL for one by the classic protocol
    paused INTEGER NOT NULL DEFAULT 0   -- 1 while the user wants no bytes of it
);
"""
_WISHES = "CREATE UNIQUE INDEX wishes ON downloads (name, folder, ifnull(content, ''));\n"
_HASHES = """
CREATE TABLE manifests (
    content TEXT PRIMARY KEY,           -- the content id
    size INTEGER NOT NULL,
    digests BLOB NOT NULL
);
CREATE TABLE hashes (
    place INTEGER PRIMARY KEY,          -- the order in which the files were hashed
    device INTEGER NOT NULL, inode INTEGER NOT NULL,
    size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    content TEXT NOT NULL,
    ctime_ns INTEGER NOT NULL DEFAULT 0, -- of the file as it was hashed; 0: not known
    UNIQUE (device, inode)              -- of each file what it hashed to last
);
"""
_TABLES = f"""
CREATE TABLE stems (
    place INTEGER PRIMARY KEY,          -- order of first announcement
    key TEXT NOT NULL UNIQUE,           -- whose stem it is
    stem TEXT NOT NULL UNIQUE
);
{_DOWNLOADS}
{_WISHES}
CREATE TABLE chunks (
    download INTEGER NOT NULL REFERENCES downloads (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    length INTEGER NOT NULL,
    digest BLOB NOT NULL,               -- BLAKE3 of its bytes
    source TEXT NOT NULL,               -- the address it came from
    PRIMARY KEY (download, number)
) WITHOUT ROWID;
{_HASHES}
"""
# The ids of downloads go on where they were: a part file is called by one.
_FROM_1 = f"""
{_DOWNLOADS.replace("TABLE downloads", "TABLE new_downloads")}
INSERT INTO new_downloads SELECT *, NULL, 0 FROM downloads;
DELETE FROM sqlite_sequence WHERE name = 'new_downloads';
INSERT INTO sqlite_sequence SELECT 'new_downloads', seq FROM sqlite_sequence
    WHERE name = 'downloads';
DROP TABLE downloads;
ALTER TABLE new_downloads RENAME TO downloads;
{_WISHES}
{_HASHES}
"""
_FROM_3 = "ALTER TABLE hashes ADD COLUMN ctime_ns INTEGER NOT NULL DEFAULT 0;"
_FROM_2 = f"ALTER TABLE downloads ADD COLUMN paused INTEGER NOT NULL DEFAULT 0; {_FROM_3}"
_STEPS = {0: _TABLES, 1: _FROM_1, 2: _FROM_2, 3: _FROM_3}


def prepare(connection: sqlite3.Connection) -> None:
    """Bring the tables to the version of today; make them in an empty file.

    Raises `sqlite3.DatabaseError` for a version that is not known.  The connection must not keep
    to foreign keys yet: while a table is being replaced, its rows seem to go.
    """
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == VERSION:
        return
    if version not in _STEPS:
        raise sqlite3.DatabaseError(f"it is of version {version}, not {VERSION}")
    try:
        connection.executescript(
            f"BEGIN IMMEDIATE; {_STEPS[version]} PRAGMA user_version = {VERSION}; COMMIT;"
        )
    except BaseException:
        if connection.in_transaction:
            connection.rollback()
        raise


def stored_text(value: object) -> object:
    """A path as SQLite can hold it, as bytes where it is no UTF-8; anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        return os.fsencode(value)
    return value


def restored_text(value: str | bytes) -> str:
    """The path that was stored by `stored_text`."""
    return os.fsdecode(value)


def stored(identity: Identity) -> tuple[int, ...]:
    """An identity as SQLite can hold it: a file system may count further than 2**63 - 1."""
    numbers = (identity.device, identity.inode, identity.size, identity.mtime_ns)
    if max(numbers) < _SIGN and min(numbers) >= -_SIGN:
        return numbers
    return tuple((number + _SIGN) % (1 << 64) - _SIGN for number in numbers)


def restored(device: int, inode: int, size: int, mtime_ns: int) -> Identity:
    """The identity that was `stored` (device and inode never are below 0)."""
    return Identity(device % (1 << 64), inode % (1 << 64), size, mtime_ns)
