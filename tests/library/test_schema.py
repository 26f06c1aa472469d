"""The tables of the index: an older version becomes the one of today without losing anything."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from peershare.content.manifest import manifest_of
from peershare.library import schema as module
from peershare.library.files import Identity
from peershare.library.hashes import Known
from peershare.library.index import INDEX_NAME, ChunkRecord, Index

# As version 1 made them, word for word.
VERSION_1 = """
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
PRAGMA user_version = 1;
"""
# As version 2 made them.
VERSION_2 = """
CREATE TABLE stems (
    place INTEGER PRIMARY KEY,          -- order of first announcement
    key TEXT NOT NULL UNIQUE,           -- whose stem it is
    stem TEXT NOT NULL UNIQUE
);
CREATE TABLE downloads (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,                 -- as the user typed it, or as the content is called
    folder TEXT NOT NULL,
    wanted INTEGER NOT NULL,            -- 1 while it is to go on by itself after a restart
    chunk_size INTEGER,
    path TEXT,                          -- the final file, once there is one
    device INTEGER, inode INTEGER, size INTEGER, mtime_ns INTEGER,
    content TEXT                        -- the content id; NULL for one by the classic protocol
);
CREATE UNIQUE INDEX wishes ON downloads (name, folder, ifnull(content, ''));
CREATE TABLE chunks (
    download INTEGER NOT NULL REFERENCES downloads (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    length INTEGER NOT NULL,
    digest BLOB NOT NULL,               -- BLAKE3 of its bytes
    source TEXT NOT NULL,               -- the address it came from
    PRIMARY KEY (download, number)
) WITHOUT ROWID;
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
    UNIQUE (device, inode)              -- of each file what it hashed to last
);
PRAGMA user_version = 2;
"""
FILLED = """
INSERT INTO stems (key, stem) VALUES ('z.png', 'z'), ('a.png', 'a');
INSERT INTO downloads (name, folder, wanted, chunk_size) VALUES ('forest', '/there', 1, 10);
INSERT INTO downloads VALUES (5, 'bee', '/there', 0, 9, '/there/bee.mp4', 1, 2, 45, 4);
INSERT INTO downloads (name, folder, wanted) VALUES ('gone', '/there', 1);
DELETE FROM downloads WHERE name = 'gone';
INSERT INTO chunks VALUES (1, 1, 10, x'aa', '198.18.0.2'), (1, 3, 10, x'bb', '198.18.0.3');
INSERT INTO chunks VALUES (5, 1, 9, x'cc', '198.18.0.2');
"""
THERE = Path("/there")


class MigrationTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir(parents=True)
        self.path = self.folder / INDEX_NAME

    def make(self, script: str, tables: str = VERSION_1) -> None:
        """A file of an old version, as a former run left it."""
        connection = sqlite3.connect(self.path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(tables + script)
        connection.close()

    def open(self) -> Index:
        index = Index(self.folder)
        self.addCleanup(index.close)
        return index

    def tables(self) -> dict[str, str]:
        """How the tables were made, but for blanks and comments."""
        connection = sqlite3.connect(self.path)
        try:
            rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
            return {name: re.sub(r"--[^\n]*|[\s\"]+", "", sql) for name, sql in rows}
        finally:
            connection.close()

    def version(self) -> int:
        connection = sqlite3.connect(self.path)
        try:
            version: int = connection.execute("PRAGMA user_version").fetchone()[0]
            return version
        finally:
            connection.close()


class FromVersion1Tests(MigrationTestCase):
    def test_nothing_is_lost(self) -> None:
        """Stems, downloads and chunks are what they were; it is not taken for damaged."""
        self.make(FILLED)
        index = self.open()
        self.assertFalse(index.was_damaged)
        self.assertEqual(list(index.stems().items()), [("z.png", "z"), ("a.png", "a")])
        forest, bee = index.downloads()
        self.assertEqual((forest.id, forest.name, forest.wanted), (1, "forest", True))
        self.assertEqual(
            forest.chunks,
            (
                ChunkRecord(1, 10, b"\xaa", "198.18.0.2"),
                ChunkRecord(3, 10, b"\xbb", "198.18.0.3"),
            ),
        )
        self.assertEqual((bee.id, bee.path), (5, "/there/bee.mp4"))
        self.assertEqual(bee.identity, Identity(1, 2, 45, 4))
        self.assertEqual([record.content for record in (forest, bee)], [None, None])
        self.assertEqual([path.name for path in self.folder.glob("*.bad")], [])

    def test_no_id_is_used_twice(self) -> None:
        """Not even that of a download that was forgotten before: a part file is called by it."""
        self.make(FILLED)
        self.assertEqual(self.open().add_download("new", THERE).id, 7)

    def test_without_any_download(self) -> None:
        """There may have been some."""
        self.make(FILLED + "DELETE FROM downloads;")
        self.assertEqual(self.open().add_download("new", THERE).id, 7)

    def test_an_empty_index(self) -> None:
        """Nobody ever used it."""
        self.make("")
        self.assertEqual(self.open().add_download("new", THERE).id, 1)

    def test_the_same_tables_as_in_a_new_one(self) -> None:
        """There is one version of today, however it came about."""
        self.make(FILLED)
        self.open().close()
        migrated = self.tables()
        self.path.unlink()
        self.open().close()
        self.assertEqual(migrated, self.tables())
        self.assertEqual(self.version(), module.VERSION)

    def test_what_belongs_together_still_does(self) -> None:
        """A download that is begun again loses its chunks; another keeps its own."""
        self.make(FILLED)
        index = self.open()
        index.add_download("forest", THERE)
        found = {record.name: len(record.chunks) for record in index.downloads()}
        self.assertEqual(found, {"bee": 1, "forest": 0})

    def test_used_as_a_new_one(self) -> None:
        """Content ids and hashes have their place, and it is migrated only once."""
        self.make(FILLED)
        index = self.open()
        manifest = manifest_of(b"forest")
        index.set_content(1, "forest", manifest.content_id)
        index.hashes.save([(Identity(1, 2, 3, 4), manifest)])
        index.close()
        index = self.open()
        self.assertEqual(index.downloads()[0].content, manifest.content_id)
        self.assertEqual(index.manifest(manifest.content_id), manifest)

    def test_a_power_loss_in_the_middle(self) -> None:
        """Everything is as before; the next start makes it new."""
        self.make(FILLED)
        before = self.tables()
        steps = {**module._STEPS, 1: module._STEPS[1] + "SELECT nonsense FROM nowhere;"}
        self.patch(module, "_STEPS", steps)
        connection = sqlite3.connect(self.path)
        self.assertRaises(sqlite3.Error, module.prepare, connection)
        connection.close()
        self.assertEqual((self.tables(), self.version()), (before, 1))
        del steps[1]
        steps[1] = module._FROM_1
        self.assertEqual(len(self.open().downloads()), 2)


class FromVersion2Tests(MigrationTestCase):
    FILLED = """
    INSERT INTO downloads (id, name, folder, wanted, chunk_size, content)
        VALUES (3, 'forest', '/there', 1, 10, NULL), (5, 'bee', '/there', 1, NULL, 'b3:0');
    INSERT INTO chunks VALUES (3, 1, 10, x'aa', '198.18.0.2');
    """

    def test_nothing_is_lost_and_nothing_is_paused(self) -> None:
        """Downloads go on as they did; from now on they can be paused."""
        self.make(self.FILLED, VERSION_2)
        index = self.open()
        self.assertFalse(index.was_damaged)
        forest, bee = index.downloads()
        self.assertEqual((forest.id, forest.chunk_size, len(forest.chunks)), (3, 10, 1))
        self.assertEqual((bee.id, bee.content), (5, "b3:0"))
        self.assertEqual([(r.wanted, r.paused) for r in (forest, bee)], [(True, False)] * 2)
        index.set_wanted(5, True, paused=True)
        index.close()
        self.assertEqual([record.paused for record in self.open().downloads()], [False, True])

    def test_the_same_tables_as_in_a_new_one(self) -> None:
        """There is one version of today, however it came about."""
        self.make(self.FILLED, VERSION_2)
        self.open().close()
        migrated = self.tables()
        self.path.unlink()
        self.open().close()
        self.assertEqual(migrated, self.tables())
        self.assertEqual(self.version(), module.VERSION)

    def test_a_power_loss_in_the_middle(self) -> None:
        """Everything is as before."""
        self.make(self.FILLED, VERSION_2)
        before = self.tables()
        steps = {**module._STEPS, 2: module._STEPS[2] + "SELECT nonsense FROM nowhere;"}
        self.patch(module, "_STEPS", steps)
        connection = sqlite3.connect(self.path)
        self.assertRaises(sqlite3.Error, module.prepare, connection)
        connection.close()
        self.assertEqual((self.tables(), self.version()), (before, 2))


class FromVersion3Tests(MigrationTestCase):
    VERSION_3 = VERSION_2.replace(
        "-- the content id; NULL for one by the classic protocol\n);",
        ", paused INTEGER NOT NULL DEFAULT 0\n);",
    ).replace("user_version = 2", "user_version = 3")
    FILLED = f"""
    INSERT INTO manifests VALUES ('{manifest_of(b"bee").content_id}', 3,
        x'{manifest_of(b"bee").digests.hex()}');
    INSERT INTO hashes (device, inode, size, mtime_ns, content)
        VALUES (1, 2, 3, 4, '{manifest_of(b"bee").content_id}');
    """

    def test_what_was_hashed_still_is(self) -> None:
        """Of the inodes' times nothing is known: the rows take those of today."""
        self.make(self.FILLED, self.VERSION_3)
        index = self.open()
        bee, manifest = Identity(1, 2, 3, 4), manifest_of(b"bee")
        self.assertEqual(
            index.hashes.find([bee]), {bee: Known(manifest.content_id, manifest, ctime_ns=0)}
        )
        index.hashes.refresh([(bee, 7)])
        self.assertEqual(index.hashes.find([bee])[bee].ctime_ns, 7)

    def test_the_same_tables_as_in_a_new_one(self) -> None:
        """There is one version of today, however it came about."""
        self.make(self.FILLED, self.VERSION_3)
        self.open().close()
        migrated = self.tables()
        self.path.unlink()
        self.open().close()
        self.assertEqual(migrated, self.tables())
        self.assertEqual(self.version(), module.VERSION)
