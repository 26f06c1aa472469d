"""The hashes: what files hashed to, remembered by what a file is known by.

A file with the same device, inode, size and modification time is taken for the same bytes, so
that a restart hashes nothing.  What reads is called in a worker, and reads on a connection of its
own, so that it waits for no commit; what changes is handed to the one writer of the index, on the
reactor.  It is not the end of the world to lose the newest rows: the files are hashed again.
Not for: hashing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from peershare.content.manifest import Manifest
from peershare.errors import StorageError
from peershare.library.files import Identity
from peershare.library.schema import stored

# Of files that are not there any more so many are remembered at the most (they may be on a disk
# that is not mounted), and so many bytes of digests.
MOST_ABSENT = 20_000
MOST_ABSENT_BYTES = 1 << 26
# More than this are not looked up one by one, nor deleted in one statement.
_MANY = 500
_WAIT_SECONDS = 10.0


class Known(NamedTuple):
    """What a file hashed to; its inode's change time then, in ns, 0 where that is not known."""

    content: str
    manifest: Manifest
    ctime_ns: int = 0


class Forgettable(NamedTuple):
    """Rows that may go: the places of hashes, the contents of manifests; `newest` is a place."""

    places: list[int]
    contents: list[str]
    newest: int


class HashStore:
    """Two tables of the index."""

    def __init__(self, path: Path, change: Callable[[str, list[Any]], None]) -> None:
        """`path` is the index, which has been made; `change` has a statement written."""
        self.path = path
        self._change = change

    # -- workers

    def find(self, identities: Collection[Identity]) -> dict[Identity, Known]:
        """Worker: what those of these files that were hashed hashed to.  Raises `StorageError`."""
        if not identities:
            return {}
        wanted = {stored(identity): identity for identity in identities}
        found: dict[Identity, Known] = {}
        manifests: dict[str, Manifest] = {}
        query = (
            "SELECT device, inode, hashes.size, mtime_ns, content, manifests.size, digests,"
            " ctime_ns"
            " FROM hashes JOIN manifests USING (content)"
        )
        one = f"{query} WHERE device = ? AND inode = ? AND hashes.size = ? AND mtime_ns = ?"
        with self._open() as connection:
            many = len(wanted) > _MANY
            for rows in (
                [connection.execute(query)]
                if many
                else (connection.execute(one, key) for key in wanted)
            ):
                for *key, content, size, digests, ctime_ns in rows:
                    identity = wanted.get(tuple(key))
                    if identity is not None:
                        manifest = manifests.setdefault(content, Manifest(size, digests))
                        found[identity] = Known(content, manifest, ctime_ns)
        return found

    def forgettable(self, present: Collection[Identity]) -> Forgettable:
        """Worker: what may be forgotten where only these files are left.

        Of the others those go that were hashed longest ago, and manifests that belong to no file
        and no download.  Raises `StorageError`.
        """
        there = set(map(stored, present))
        with self._open() as connection:
            rows = connection.execute(
                "SELECT place, device, inode, hashes.size, mtime_ns, length(digests), content"
                " FROM hashes LEFT JOIN manifests USING (content) ORDER BY place DESC"
            )
            count = total = newest = 0
            places: list[int] = []
            kept: set[str] = set()
            for place, *key, length, content in rows:
                newest = max(newest, place)
                if tuple(key) not in there:
                    count, total = count + 1, total + (length or 0)
                    if count > MOST_ABSENT or total > MOST_ABSENT_BYTES:
                        places.append(place)
                        continue
                kept.add(content)
            contents = connection.execute(
                "SELECT content FROM manifests WHERE content NOT IN"
                " (SELECT content FROM downloads WHERE content IS NOT NULL)"
            )
            return Forgettable(places, [c for (c,) in contents if c not in kept], newest)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            place = f"{self.path.absolute().as_uri()}?mode=ro"
            with closing(sqlite3.connect(place, timeout=_WAIT_SECONDS, uri=True)) as connection:
                yield connection
        except sqlite3.Error as error:
            raise StorageError(f"{self.path}: the index cannot be used: {error}") from error

    # -- changes

    def save(self, hashed: Sequence[tuple[Identity, Manifest]], ctimes: Sequence[int] = ()) -> None:
        """Remember what these files hashed to.

        `ctimes` says when the inode of each had changed last before that, in ns.
        """
        contents = {manifest.content_id: manifest for _, manifest in hashed}
        self._change(
            "INSERT OR IGNORE INTO manifests VALUES (?, ?, ?)",
            [(content, m.size, m.digests) for content, m in contents.items()],
        )
        self._change(
            "INSERT OR REPLACE INTO hashes (device, inode, size, mtime_ns, content, ctime_ns)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            [
                (*stored(identity), manifest.content_id, ctime_ns)
                for (identity, manifest), ctime_ns in zip(
                    hashed, ctimes or [0] * len(hashed), strict=True
                )
            ],
        )

    def refresh(self, ctimes: Sequence[tuple[Identity, int]]) -> None:
        """The inodes of these files have changed since, and their bytes have not."""
        self._change(
            "UPDATE hashes SET ctime_ns = ?"
            " WHERE device = ? AND inode = ? AND size = ? AND mtime_ns = ?",
            [(ctime_ns, *stored(identity)) for identity, ctime_ns in ctimes],
        )

    def drop(self, identity: Identity) -> None:
        """What is remembered of this file is not right."""
        self._change(
            "DELETE FROM hashes WHERE device = ? AND inode = ? AND size = ? AND mtime_ns = ?",
            [stored(identity)],
        )

    def forget(self, some: Forgettable) -> None:
        """Forget these, but for manifests that have found a file or a download meanwhile."""
        self._change("DELETE FROM hashes WHERE place = ?", [(place,) for place in some.places])
        self._change(
            "DELETE FROM manifests WHERE content = ?1"
            " AND NOT EXISTS (SELECT 1 FROM hashes WHERE place > ?2 AND content = ?1)"
            " AND NOT EXISTS (SELECT 1 FROM downloads WHERE content = ?1)",
            [(content, some.newest) for content in some.contents],
        )
