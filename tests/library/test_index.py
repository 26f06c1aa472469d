"""The index: remembers over restarts, and is never taken for a first run when it is damaged."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from peershare.content.manifest import manifest_of
from peershare.errors import StorageError
from peershare.library.files import Identity
from peershare.library.index import INDEX_NAME, ChunkRecord, Index

FOLDER = Path("/there")
IDENTITY = Identity(1, 2, 3, 4)
A, B = "b3:" + "a" * 64, "b3:" + "b" * 64
CHUNK = ChunkRecord(1, 10, b"digest", "198.18.0.2")


class IndexTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir(parents=True)
        self.index = self.open()

    def open(self) -> Index:
        index = Index(self.folder)
        self.addCleanup(index.close)
        return index

    def reopened(self) -> Index:
        """What a restart finds."""
        self.index.close()
        self.index = self.open()
        return self.index


class StemTests(IndexTestCase):
    def test_in_the_order_of_assignment(self) -> None:
        """The order is kept over a restart: the one announced first keeps its stem."""
        self.index.add_stems({"z.png": "z", "a.png": "a"})
        self.index.add_stems({"m.png": "m"})
        self.assertEqual(next(iter(self.reopened().stems().items())), ("z.png", "z"))
        self.assertEqual(list(self.index.stems()), ["z.png", "a.png", "m.png"])

    def test_dropping(self) -> None:
        """A dropped stem is free for another key."""
        self.index.add_stems({"a.png": "a"})
        self.index.drop_stems(["a.png", "never there"])
        self.index.add_stems({"a.jpg": "a"})
        self.assertEqual(self.reopened().stems(), {"a.jpg": "a"})

    def test_two_keys_never_share_a_stem(self) -> None:
        """The disk itself refuses it, and then nothing of the batch is remembered."""
        self.index.add_stems({"a.png": "a"})
        self.assertRaises(StorageError, self.index.add_stems, {"b.png": "b", "a.jpg": "a"})
        self.assertEqual(self.index.stems(), {"a.png": "a"})

    def test_renaming(self) -> None:
        """What a part was told under its file is told under; the file's former stem goes."""
        self.index.add_stems({"part:1": "forest", "forest.png": "forest.png"})
        self.index.rename_stem("part:1", "forest.png")
        self.assertEqual(self.reopened().stems(), {"forest.png": "forest"})


class DownloadTests(IndexTestCase):
    def test_a_new_download(self) -> None:
        """It is wanted, and nothing is known of it yet."""
        record = self.index.add_download("forest", FOLDER)
        self.assertEqual(self.reopened().downloads(), (record,))
        self.assertEqual((record.name, record.folder, record.wanted), ("forest", "/there", True))
        self.assertEqual((record.chunk_size, record.path, record.chunks), (None, None, ()))

    def test_finding_by_name_and_folder(self) -> None:
        """Both must be the same."""
        record = self.index.add_download("forest", FOLDER)
        self.assertEqual(self.index.find_download("forest", FOLDER), record)
        self.assertIsNone(self.index.find_download("forest", Path("/elsewhere")))
        self.assertIsNone(self.index.find_download("bee", FOLDER))

    def test_chunks_and_size_stay(self) -> None:
        """What was read to its end is known after a restart, with whom it came from."""
        record = self.index.add_download("forest", FOLDER)
        self.index.set_chunk_size(record.id, 10)
        self.index.add_chunk(record.id, CHUNK)
        self.index.add_chunk(record.id, ChunkRecord(3, 10, b"other", "198.18.0.3"))
        found = self.reopened().find_download("forest", FOLDER)
        assert found is not None
        self.assertEqual(found.chunk_size, 10)
        self.assertEqual(found.chunks, (CHUNK, ChunkRecord(3, 10, b"other", "198.18.0.3")))

    def test_a_chunk_can_be_replaced_and_dropped(self) -> None:
        """A chunk that was fetched anew has the new digest; a dropped one is gone."""
        record = self.index.add_download("forest", FOLDER)
        self.index.add_chunk(record.id, CHUNK)
        self.index.add_chunk(record.id, ChunkRecord(1, 9, b"newer", "198.18.0.3"))
        self.index.add_chunk(record.id, ChunkRecord(2, 9, b"two", "198.18.0.3"))
        self.index.drop_chunks(record.id, (2, 5))
        (found,) = self.index.downloads()
        self.assertEqual(found.chunks, (ChunkRecord(1, 9, b"newer", "198.18.0.3"),))

    def test_wanted(self) -> None:
        """A stopped download does not go on by itself."""
        record = self.index.add_download("forest", FOLDER)
        self.index.set_wanted(record.id, False)
        self.assertFalse(self.reopened().downloads()[0].wanted)

    def test_finished(self) -> None:
        """The final file is remembered by what it is known by; nothing is wanted any more."""
        record = self.index.add_download("forest", FOLDER)
        self.index.finish(record.id, FOLDER / "forest.png", IDENTITY)
        (found,) = self.reopened().downloads()
        self.assertEqual((found.path, found.identity), ("/there/forest.png", IDENTITY))
        self.assertFalse(found.wanted)

    def test_beginning_again_forgets_the_former_one(self) -> None:
        """A new download of that name has a new id and none of the old chunks."""
        old = self.index.add_download("forest", FOLDER)
        self.index.add_chunk(old.id, CHUNK)
        new = self.index.add_download("forest", FOLDER)
        self.assertNotEqual(new.id, old.id)
        self.assertEqual(self.index.downloads(), (new,))
        self.assertEqual(new.chunks, ())

    def test_no_id_is_used_twice(self) -> None:
        """A part file is called by the id: it must never be taken for another's."""
        first = self.index.add_download("forest", FOLDER)
        self.index.add_download("forest", FOLDER)
        ids = [self.index.add_download("forest", FOLDER).id for _ in range(3)]
        self.assertEqual(len({first.id, *ids}), 4)


class ContentTests(IndexTestCase):
    def test_one_name_of_several_contents(self) -> None:
        """The classic one and each content id are downloads of their own."""
        records = [self.index.add_download("forest", FOLDER, content) for content in (None, A, B)]
        self.assertEqual(self.reopened().downloads(), tuple(records))
        self.assertEqual([record.content for record in records], [None, A, B])
        for record in records:
            self.assertEqual(self.index.find_download("forest", FOLDER, record.content), record)
        self.assertIsNone(self.index.find_download("forest", FOLDER, "b3:" + "c" * 64))

    def test_beginning_again_forgets_the_same_one_only(self) -> None:
        """Another content of that name has nothing to do with it."""
        classic, first = (self.index.add_download("forest", FOLDER, c) for c in (None, A))
        again = self.index.add_download("forest", FOLDER, A)
        self.assertEqual(self.index.downloads(), (classic, again))
        self.index.add_download("forest", FOLDER)
        self.assertEqual(len(self.index.downloads()), 2)
        self.assertNotEqual(first.id, again.id)

    def test_the_id_becomes_known(self) -> None:
        """A download may get it later, with another name; one of the same wish goes."""
        classic = self.index.add_download("forest", FOLDER)
        other = self.index.add_download("forest.png", FOLDER, A)
        elsewhere = self.index.add_download("forest.png", Path("/elsewhere"), A)
        changed = self.index.set_content(classic.id, "forest.png", A)
        self.assertEqual((changed.id, changed.name, changed.content), (classic.id, "forest.png", A))
        self.assertEqual(self.reopened().downloads(), (changed, elsewhere))
        self.assertNotIn(other, self.index.downloads())
        self.assertEqual(self.index.set_content(classic.id, "forest.png", A), changed)

    def test_manifests(self) -> None:
        """They are found by id, over restarts, and may be saved twice."""
        manifest = manifest_of(b"forest")
        self.assertIsNone(self.index.manifest(manifest.content_id))
        self.index.save_manifest(manifest)
        self.index.save_manifest(manifest)
        self.assertEqual(self.reopened().manifest(manifest.content_id), manifest)

    def test_numbers_that_sqlite_cannot_hold(self) -> None:
        """Some file systems count inodes over 2**63."""
        record = self.index.add_download("forest", FOLDER)
        identity = Identity((1 << 64) - 1, 1 << 63, 3, 4)
        self.index.finish(record.id, FOLDER / "forest.png", identity)
        self.assertEqual(self.reopened().downloads()[0].identity, identity)


class DamageTests(IndexTestCase):
    def damage(self, data: bytes) -> None:
        self.index.add_stems({"a.png": "a"})
        self.index.close()
        for path in self.folder.iterdir():
            if path.name != INDEX_NAME:
                path.unlink()
        (self.folder / INDEX_NAME).write_bytes(data)

    def assert_set_aside(self, data: bytes) -> None:
        self.assertTrue(self.index.was_damaged)
        self.assertEqual((self.folder / f"{INDEX_NAME}.bad").read_bytes(), data)
        self.assertEqual(self.index.stems(), {})
        self.index.add_stems({"b.png": "b"})
        self.assertEqual(self.reopened().stems(), {"b.png": "b"})
        self.assertFalse(self.index.was_damaged)

    def test_garbage(self) -> None:
        """What is no database is kept as .bad, and a new one begun."""
        garbage = b"this is no database at all" * 1_000
        self.damage(garbage)
        self.index = self.open()
        self.assert_set_aside(garbage)

    def test_torn(self) -> None:
        """A database that was cut in the middle is damaged too."""
        self.index.add_stems({f"{n}.png": f"{n}" for n in range(1_000)})
        self.index.close()
        whole = (self.folder / INDEX_NAME).read_bytes()
        self.index = self.open()
        torn = whole[: len(whole) // 2]
        self.damage(torn)
        self.index = self.open()
        self.assert_set_aside(torn)

    def test_lost_tables(self) -> None:
        """A page of zeros where the tables were."""
        self.index.add_stems({f"{n}.png": f"{n}" for n in range(1_000)})
        self.index.close()
        whole = (self.folder / INDEX_NAME).read_bytes()
        self.index = self.open()
        zeroed = whole[:100] + b"\0" * 8_092 + whole[8_192:]
        self.damage(zeroed)
        self.index = self.open()
        self.assert_set_aside(zeroed)

    def test_of_another_version(self) -> None:
        """An index of a version that we do not know is not touched, but set aside."""
        connection = sqlite3.connect(self.folder / INDEX_NAME)
        connection.execute("PRAGMA user_version = 99")
        connection.close()
        self.index.close()
        index = self.open()
        self.assertTrue(index.was_damaged)

    def test_empty(self) -> None:
        """An empty file is what a power loss right after the start leaves: a beginning."""
        self.damage(b"")
        self.index = self.open()
        self.assertFalse(self.index.was_damaged)
        self.assertEqual(self.index.stems(), {})


class DiskTests(IndexTestCase):
    def test_private(self) -> None:
        """Nobody else reads what was downloaded from whom."""
        for path in self.folder.iterdir():
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600, path.name)

    def test_no_links(self) -> None:
        """A link in the place of the index is not followed."""
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / INDEX_NAME).symlink_to(self.folder / INDEX_NAME)
        self.assertRaises(StorageError, Index, folder)

    def test_a_failing_disk(self) -> None:
        """Whatever SQLite cannot do is a StorageError that names the file."""
        self.index.close()
        with self.assertRaises(StorageError) as caught:
            self.index.add_stems({"a.png": "a"})
        self.assertIn(INDEX_NAME, str(caught.exception))

    def test_a_folder_that_cannot_be_written(self) -> None:
        """It is said at the start, as a StorageError."""
        self.assertRaises(StorageError, Index, self.folder / "not there")

    def test_reopened_after_a_fork(self) -> None:
        """A daemon's child has a connection of its own, and finds everything."""
        self.index.add_stems({"a.png": "a"})
        self.index.reopen()
        self.assertEqual(self.index.stems(), {"a.png": "a"})
