"""The hashes: what files hashed to, remembered by what a file is known by.

A file with the same device, inode, size and modification time is taken for the same bytes, so
that a restart hashes nothing.  All methods block and are called in a worker; each opens the index
for itself.  It is not the end of the world to lose the newest rows in a power loss: the files are
hashed again.  Not for: hashing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from peershare.content.manifest import Manifest
from peershare.errors import StorageError
from peershare.library.files import Identity
from peershare.library.schema import stored

# Of files that are not there any more so many are remembered at the most (they may be on a disk
# that is not mounted), and so many bytes of digests.
MOST_ABSENT = 20_000
MOST_ABSENT_BYTES = 1 << 26
# More than this are not looked up one by one.
_MANY = 500
_WAIT_SECONDS = 10.0


class HashStore:
    """Two tables of the index.  Methods raise `StorageError` if the disk fails."""

    def __init__(self, path: Path) -> None:
        """`path` is the index, which has been made."""
        self.path = path

    def find(self, identities: Collection[Identity]) -> dict[Identity, str]:
        """The content ids of those of these files that were hashed."""
        if not identities:
            return {}
        rows: dict[tuple[int, ...], str] = {}
        with self._open() as connection:
            if len(identities) > _MANY:
                query = "SELECT device, inode, size, mtime_ns, content FROM hashes"
                for device, inode, size, mtime_ns, content in connection.execute(query):
                    rows[device, inode, size, mtime_ns] = content
            else:
                query = (
                    "SELECT content FROM hashes"
                    " WHERE device = ? AND inode = ? AND size = ? AND mtime_ns = ?"
                )
                for key in map(stored, identities):
                    for (content,) in connection.execute(query, key):
                        rows[key] = content
        found = ((identity, rows.get(stored(identity))) for identity in identities)
        return {identity: content for identity, content in found if content is not None}

    def save(self, hashed: Sequence[tuple[Identity, Manifest]]) -> None:
        """Remember what these files hashed to."""
        rows = [(identity, manifest, manifest.content_id) for identity, manifest in hashed]
        with self._open() as connection, connection:
            connection.executemany(
                "INSERT OR IGNORE INTO manifests VALUES (?, ?, ?)",
                [(content, manifest.size, manifest.digests) for _, manifest, content in rows],
            )
            connection.executemany(
                "INSERT OR REPLACE INTO hashes (device, inode, size, mtime_ns, content)"
                " VALUES (?, ?, ?, ?, ?)",
                [(*stored(identity), content) for identity, _, content in rows],
            )

    def prune(self, present: Collection[Identity]) -> None:
        """Forget files that are none of these, those that were hashed longest ago first."""
        there = set(map(stored, present))
        with self._open() as connection:
            rows = connection.execute(
                "SELECT place, device, inode, hashes.size, mtime_ns, length(digests)"
                " FROM hashes LEFT JOIN manifests USING (content) ORDER BY place DESC"
            )
            count = total = 0
            forgotten: list[tuple[int]] = []
            for place, *key, length in rows:
                if tuple(key) in there:
                    continue
                count, total = count + 1, total + (length or 0)
                if count > MOST_ABSENT or total > MOST_ABSENT_BYTES:
                    forgotten.append((place,))
            for start in range(0, len(forgotten), _MANY):
                with connection:  # whoever else writes is let in between
                    some = forgotten[start : start + _MANY]
                    connection.executemany("DELETE FROM hashes WHERE place = ?", some)
            self._drop_manifests(connection)

    def _drop_manifests(self, connection: sqlite3.Connection) -> None:
        """Forget manifests that belong to no file and no download."""
        newest = connection.execute("SELECT ifnull(max(place), 0) FROM hashes").fetchone()[0]
        unused = connection.execute(
            "SELECT content FROM manifests WHERE content NOT IN (SELECT content FROM hashes)"
            " AND content NOT IN (SELECT content FROM downloads WHERE content IS NOT NULL)"
        ).fetchall()
        for start in range(0, len(unused), _MANY):
            with connection:
                connection.executemany(
                    "DELETE FROM manifests WHERE content = ?1"
                    " AND NOT EXISTS (SELECT 1 FROM hashes WHERE place > ?2 AND content = ?1)"
                    " AND NOT EXISTS (SELECT 1 FROM downloads WHERE content = ?1)",
                    [(content, newest) for (content,) in unused[start : start + _MANY]],
                )

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            place = f"{self.path.absolute().as_uri()}?mode=rw"
            with closing(sqlite3.connect(place, timeout=_WAIT_SECONDS, uri=True)) as connection:
                # no fsync for each batch: what is lost is hashed again
                connection.execute("PRAGMA synchronous = NORMAL")
                yield connection
        except sqlite3.Error as error:
            raise StorageError(f"{self.path}: the index cannot be used: {error}") from error
