"""The index: remembers over restarts, and is never taken for a first run when it is damaged."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from peershare.content.manifest import manifest_of
from peershare.errors import StorageError
from peershare.library import index as module
from peershare.library import indexfile
from peershare.library.files import Identity
from peershare.library.hashes import Known
from peershare.library.index import INDEX_NAME, ChunkRecord, Index
from peershare.library.indexfile import MARK_NAME, MOST_BAD
from tests.fakes import HeldWorkers, run_now

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

    def test_paths_that_are_no_utf8(self) -> None:
        """The bytes of a path are kept as they are, in stems and in downloads."""
        odd = "/caf\udce9"
        self.index.add_stems({f"{odd}/x.png": "x", "part:1": "y"})
        self.index.rename_stem("part:1", f"{odd}/y.png")
        made = self.index.add_download("x", Path(odd))
        self.index.finish(made.id, Path(odd, "x"), IDENTITY)
        stems = self.reopened().stems()
        self.assertEqual(stems, {f"{odd}/x.png": "x", f"{odd}/y.png": "y"})
        record = self.index.find_download("x", Path(odd))
        assert record is not None
        self.assertEqual((record.folder, record.path), (odd, f"{odd}/x"))
        self.index.drop_stems([f"{odd}/x.png"])
        self.assertEqual(self.reopened().stems(), {f"{odd}/y.png": "y"})

    def test_dropping(self) -> None:
        """A dropped stem is free for another key."""
        self.index.add_stems({"a.png": "a"})
        self.index.drop_stems(["a.png", "never there"])
        self.index.add_stems({"a.jpg": "a"})
        self.assertEqual(self.reopened().stems(), {"a.jpg": "a"})

    def test_two_keys_never_share_a_stem(self) -> None:
        """It is refused, and then nothing of the batch is remembered."""
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
        self.index.add_download("forest", FOLDER, manifest.content_id)
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

    def test_nothing_is_taken_after_the_end(self) -> None:
        """What comes after the end is refused with a StorageError that names the file."""
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


class OpeningTests(IndexTestCase):
    """A start that meets trouble throws no healthy index away."""

    def setUp(self) -> None:
        super().setUp()
        self.slept: list[float] = []
        self.patch(indexfile, "sleep", self.slept.append)
        self.index.add_stems({"a.png": "a"})
        self.index.close()

    def fail(self, what: Any, name: str, error: Exception, times: int) -> None:  # type: ignore[override]  # shorter than another name
        """The next so many calls raise this."""
        real, left = getattr(what, name), [times]

        def call(*arguments: Any, **keywords: Any) -> Any:
            if left[0] > 0 and INDEX_NAME in str(arguments[0]):
                left[0] -= 1
                raise error
            return real(*arguments, **keywords)

        self.patch(what, name, call)

    def assert_kept(self) -> None:
        self.assertEqual(self.open().stems(), {"a.png": "a"})
        self.assertEqual(list(self.folder.glob("*.bad*")), [])

    def test_one_error_is_waited_for(self) -> None:
        """Whatever it is that the database or the disk says once."""
        for code, text in (
            (sqlite3.SQLITE_IOERR, "disk I/O error"),
            (sqlite3.SQLITE_IOERR | 1 << 8, "disk I/O error"),
            (sqlite3.SQLITE_CANTOPEN, "unable to open database file"),
            (sqlite3.SQLITE_BUSY, "database is locked"),
            (sqlite3.SQLITE_READONLY, "attempt to write a readonly database"),
            (sqlite3.SQLITE_FULL, "database or disk is full"),
            (None, "disk I/O error"),
        ):
            error = sqlite3.OperationalError(text)
            if code is not None:
                error.sqlite_errorcode = code
            self.fail(sqlite3, "connect", error, 1)
            self.assert_kept()
            self.index.close()
        for number in (errno.EIO, errno.EACCES, errno.EMFILE, errno.EROFS, errno.ENFILE):
            self.fail(os, "open", OSError(number, os.strerror(number)), 1)
            self.assert_kept()
        self.assertEqual(len(self.slept), 12)

    def test_an_error_that_lasts_is_refused_with_its_cause(self) -> None:
        """Nothing was touched, and the next start finds everything."""
        before = (self.folder / INDEX_NAME).read_bytes()
        for number in (errno.EIO, errno.EACCES, errno.EMFILE):
            self.fail(os, "open", OSError(number, os.strerror(number)), 31)
            error = self.assertRaises(StorageError, Index, self.folder)
            self.assertIn(os.strerror(number), str(error))
        self.assertEqual((self.folder / INDEX_NAME).read_bytes(), before)
        self.assert_kept()

    def test_locked_by_another_program(self) -> None:
        """As long as a start waits for anything, and it says why it gives up."""
        connection = sqlite3.connect(self.folder / INDEX_NAME, isolation_level=None)
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        self.patch(indexfile, "_LOCK_SECONDS", 0.001)
        self.assertIn("locked", str(self.assertRaises(StorageError, Index, self.folder)))
        connection.close()
        self.assert_kept()

    def test_reading_fails_in_the_middle(self) -> None:
        """The tables were opened, but their rows cannot be read at first."""
        real, left = Index._load, [1]

        def load(index: Index, connection: sqlite3.Connection) -> None:
            if left.pop() if left else 0:
                error = sqlite3.OperationalError("disk I/O error")
                error.sqlite_errorcode = sqlite3.SQLITE_IOERR
                raise error
            real(index, connection)

        self.patch(Index, "_load", load)
        self.assert_kept()

    def test_no_damaged_one_is_overwritten(self) -> None:
        """Each has a name of its own; of very many the last ones are not kept."""
        for number in range(MOST_BAD + 2):
            for path in self.folder.glob(f"{INDEX_NAME}-*"):
                path.unlink()
            (self.folder / INDEX_NAME).write_bytes(b"damaged %d" % number * 1_000)
            index = self.open()
            self.assertTrue(index.was_damaged)
            self.assertIn("kept", index.problem)
            index.close()
        kept = [self.folder / f"{INDEX_NAME}.bad"]
        kept += [self.folder / f"{INDEX_NAME}.bad.{n}" for n in range(2, MOST_BAD + 1)]
        self.assertEqual(sorted(self.folder.glob("*.bad*")), sorted(kept))
        for number, path in enumerate(kept):
            self.assertEqual(path.read_bytes(), b"damaged %d" % number * 1_000)


class LostTests(IndexTestCase):
    """What an earlier run remembered is never silently nothing."""

    def setUp(self) -> None:
        super().setUp()
        self.log = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)

    def assert_said(self, word: str) -> None:
        self.index = self.open()
        self.assertTrue(self.index.was_damaged)
        self.assertIn(word, self.index.problem)
        self.assertIn(self.index.problem, [event.get("lost") for event in self.log])
        self.assertEqual(self.reopened().problem, "")

    def test_a_first_run(self) -> None:
        """There is nothing to be said."""
        self.assertEqual((self.index.problem, self.index.was_damaged), ("", False))

    def test_gone(self) -> None:
        """The file was removed between two runs."""
        self.index.close()
        (self.folder / INDEX_NAME).unlink()
        self.assert_said("gone or empty")

    def test_empty(self) -> None:
        """It was emptied."""
        self.index.close()
        (self.folder / INDEX_NAME).write_bytes(b"")
        self.assert_said("gone or empty")

    def test_gone_since_the_version_before(self) -> None:
        """That left no mark, but a peer id."""
        self.index.close()
        for path in self.folder.iterdir():
            path.unlink()
        (self.folder / "peer_id").write_text("00" * 16)
        self.assert_said("gone or empty")

    def test_of_the_version_before(self) -> None:
        """Without a mark, it is simply used."""
        self.index.add_stems({"a.png": "a"})
        self.index.close()
        (self.folder / MARK_NAME).unlink()
        self.index = self.open()
        self.assertEqual((self.index.problem, self.index.stems()), ("", {"a.png": "a"}))

    def test_no_log_after_a_kill(self) -> None:
        """What was written last may be gone with it."""
        self.index.add_stems({"a.png": "a"})
        kept = {path: path.read_bytes() for path in self.folder.iterdir()}
        self.index.abandon()
        for path, data in kept.items():
            path.write_bytes(data)
        for path in self.folder.glob(f"{INDEX_NAME}-*"):
            path.unlink()
        self.assert_said("-wal")

    def test_a_kill_alone(self) -> None:
        """Everything is there: there is nothing to be said."""
        self.index.add_stems({"a.png": "a"})
        kept = {path: path.read_bytes() for path in self.folder.iterdir()}
        self.index.abandon()
        for path, data in kept.items():
            path.write_bytes(data)
        index = self.open()
        self.assertEqual((index.problem, index.stems()), ("", {"a.png": "a"}))

    def test_no_log_after_a_clean_end(self) -> None:
        """There is none then."""
        self.index.add_stems({"a.png": "a"})
        self.assertEqual(self.reopened().problem, "")


class WritingTests(IndexTestCase):
    """Changes count at once, and are written beside the reactor, many at a time."""

    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.workers = HeldWorkers()
        self.index.start(self.clock, self.workers)

    def rows(self, query: str) -> list[Any]:
        connection = sqlite3.connect(self.folder / INDEX_NAME)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def done(self, deferred: Deferred[Any]) -> None:
        """It is, once the workers have done what is to be done."""
        self.assertNoResult(deferred)
        self.workers.do_all()
        self.successResultOf(deferred)

    def test_no_call_touches_the_disk(self) -> None:
        """Neither a change nor a question: only the workers do."""
        for name in ("open", "stat", "lstat", "replace", "fsync"):
            self.patch(os, name, None)
        self.patch(sqlite3, "connect", None)
        self.index._file._connection, connection = None, self.index._file._connection
        record = self.index.add_download("forest", FOLDER, A)
        self.index.set_chunk_size(record.id, 10)
        self.index.add_chunk(record.id, CHUNK)
        self.index.add_stems({"part:1": "forest"})
        self.index.rename_stem("part:1", "forest.png")
        self.index.hashes.save([(IDENTITY, manifest_of(b"one"))])
        self.index.finish(record.id, FOLDER / "forest", IDENTITY)
        found = self.index.find_download("forest", FOLDER, A)
        assert found is not None
        self.assertEqual((found.chunks, found.identity), ((CHUNK,), IDENTITY))
        self.assertEqual(self.index.stems(), {"forest.png": "forest"})
        self.index._file._connection = connection

    def test_what_came_meanwhile_is_one_transaction(self) -> None:
        """A slow commit is waited for once, not once for each change."""
        for number in range(100):
            self.index.add_download(f"{number}", FOLDER)
        flushed = self.index.flushed()
        self.assertEqual(self.workers.waiting, ["commit"])
        self.workers.do_one()
        self.assertNoResult(flushed)
        self.assertEqual(self.workers.waiting, ["commit"])
        self.workers.do_one()
        self.successResultOf(flushed)
        self.assertEqual(self.workers.waiting, [])
        self.assertEqual(self.rows("SELECT count(*) FROM downloads"), [(100,)])

    def test_flushed(self) -> None:
        """At once where nothing is to be written."""
        self.successResultOf(self.index.flushed())
        self.index.add_stems({"a.png": "a"})
        self.done(self.index.flushed())

    def test_a_clean_end_waits(self) -> None:
        """Everything is on the disk by then."""
        self.index.add_stems({"a.png": "a"})
        self.index.add_stems({"b.png": "b"})
        self.done(self.index.close())
        self.assertEqual(list(self.open().stems()), ["a.png", "b.png"])

    def test_a_row_that_cannot_be_written(self) -> None:
        """A name that is no text holds up nothing else."""
        self.index.add_stems({"\ud800.png": "\ud800"})
        self.index.add_stems({"a.png": "a"})
        self.done(self.index.flushed())
        self.assertEqual(len(self.flushLoggedErrors(UnicodeEncodeError)), 1)
        self.assertEqual(self.rows("SELECT key FROM stems"), [("a.png",)])

    def test_finished_ones_are_bounded(self) -> None:
        """The newest are remembered; what has not ended is, whatever its age."""
        self.patch(module, "MOST_FINISHED", 3)
        unfinished = self.index.add_download("unfinished", FOLDER)
        for number in range(5):
            record = self.index.add_download(f"{number}", FOLDER)
            self.index.finish(record.id, FOLDER / f"{number}", IDENTITY)
        names = ["unfinished", "2", "3", "4"]
        self.assertEqual([record.name for record in self.index.downloads()], names)
        self.done(self.index.close())
        self.assertEqual([record.name for record in self.open().downloads()], names)
        self.assertIsNone(self.index.find_download("1", FOLDER))
        self.assertEqual(self.index.download(unfinished.id), unfinished)


class TroubleTests(IndexTestCase):
    """Trouble while it runs: waited for, or the file is made anew; nothing is lost."""

    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.index.start(self.clock, run_now)
        self.patch(indexfile, "_LOCK_SECONDS", 0.001)
        self.record = self.index.add_download("forest", FOLDER, A)
        self.index.add_chunk(self.record.id, CHUNK)
        self.index.add_stems({"a.png": "a", "b.png": "b"})
        self.manifest = manifest_of(b"one")
        self.index.hashes.save([(IDENTITY, self.manifest)])
        self.index.on_rewritten(lambda: self.index.hashes.save([(IDENTITY, self.manifest)]))
        self.path = self.folder / INDEX_NAME

    def change(self) -> None:
        """Something to be written."""
        self.index.add_stems({"c.png": "c"})

    def assert_whole(self, bad: int = 0, *, anew: bool = False) -> None:
        """All is well, also after a restart; so many damaged ones were set aside.

        `anew`: it was written anew, and that is told for as long as the service runs.
        """
        self.assertEqual("a new one was written" in self.index.problem, anew)
        self.assertEqual(bool(self.index.problem), anew)
        downloads = self.index.downloads()
        self.successResultOf(self.index.flushed())
        self.reopened()
        self.assertEqual(self.index.problem, "")
        self.assertEqual(self.index.stems(), {"a.png": "a", "b.png": "b", "c.png": "c"})
        self.assertEqual(self.index.downloads(), downloads)
        known = Known(self.manifest.content_id, self.manifest)
        self.assertEqual(self.index.hashes.find([IDENTITY]), {IDENTITY: known})
        self.assertEqual(len(list(self.folder.glob("*.bad*"))), bad)
        self.assertGreater(self.index.add_download("bee", FOLDER).id, self.record.id)

    def test_locked_for_seconds(self) -> None:
        """By a backup, say: it is told, and written when the lock is gone."""
        other = sqlite3.connect(self.path, isolation_level=None)
        self.addCleanup(other.close)
        other.execute("BEGIN IMMEDIATE")
        self.index.reopen()
        self.index.start(self.clock, run_now)
        self.change()
        flushed = self.index.flushed()
        self.assertIn("locked", self.index.problem)
        self.clock.pump([1.0] * 20)
        self.assertNoResult(flushed)
        other.execute("ROLLBACK")
        self.clock.advance(5.0)
        self.successResultOf(flushed)
        self.assert_whole()

    def test_an_error_of_the_disk(self) -> None:
        """Full, failing, read-only: whatever passes is waited for."""
        for code in ("FULL", "IOERR", "READONLY", "CANTOPEN"):
            error = sqlite3.OperationalError(code)
            error.sqlite_errorcode = getattr(sqlite3, f"SQLITE_{code}")
            self.failing(error, lambda: self.index.set_wanted(self.record.id, True))
        for number in (errno.EIO, errno.EMFILE, errno.ENOSPC):
            self.failing(OSError(number, os.strerror(number)), self.index.look)
        self.change()
        self.assert_whole()

    def failing(self, error: Exception, act: Callable[[], None]) -> None:
        with_trouble: list[str] = []

        def write(*_: object) -> None:
            with_trouble.append(str(error))
            raise error

        patch = self.patch(indexfile.IndexFile, "_write", write)
        act()
        self.assertIn(str(getattr(error, "strerror", error)), self.index.problem)
        self.clock.pump([1.0] * 10)
        patch.restore()
        self.assertGreater(len(with_trouble), 2)
        self.assertLess(len(with_trouble), 8)
        self.clock.advance(5.0)
        self.assertEqual(self.index.problem, "")

    def test_overwritten(self) -> None:
        """The damaged one is kept, and a new one made of what is in memory."""
        self.path.write_bytes(os.urandom(self.path.stat().st_size))
        (self.folder / f"{INDEX_NAME}-wal").write_bytes(os.urandom(4_096))
        self.change()
        self.assert_whole(bad=2, anew=True)

    def test_overwritten_and_found_by_looking(self) -> None:
        """No change is needed: it is looked at now and then."""
        self.change()
        self.reopened()  # all of it is in the file itself
        self.index.start(self.clock, run_now)
        self.index.on_rewritten(lambda: self.index.hashes.save([(IDENTITY, self.manifest)]))
        size = self.path.stat().st_size
        with self.path.open("r+b") as file:
            file.seek(4_096)
            file.write(os.urandom(size - 4_096))
        self.index.look()
        self.assert_whole(bad=1, anew=True)

    def test_removed(self) -> None:
        """SQLite would go on writing into a file without a name."""
        self.change()
        for path in self.folder.glob(f"{INDEX_NAME}*"):
            path.unlink()
        self.index.look()
        self.assertTrue(self.path.exists())
        self.assert_whole(anew=True)

    def test_replaced(self) -> None:
        """By an older copy, say, which is not what this run has seen: that one is kept aside."""
        other = self.folder / "other"
        other.mkdir()
        Index(other).close()
        self.change()
        (other / INDEX_NAME).replace(self.path)
        self.index.look()
        self.assert_whole(bad=1, anew=True)

    def test_its_log_removed(self) -> None:
        """What was in it comes into the file, before anybody is killed."""
        (self.folder / f"{INDEX_NAME}-wal").unlink()
        self.change()
        kept = {path: path.read_bytes() for path in self.folder.iterdir()}
        self.index.abandon()
        for path, data in kept.items():
            path.write_bytes(data)
        self.index = self.open()
        self.assertEqual(self.index.stems(), {"a.png": "a", "b.png": "b", "c.png": "c"})

    def test_the_end_in_trouble(self) -> None:
        """What cannot be written is said to be lost, and the next start does not wonder."""
        log = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        self.path.unlink()
        self.folder.rename(self.folder.with_name("away"))
        self.change()
        flushed = self.index.flushed()
        self.successResultOf(self.index.close())
        self.failureResultOf(flushed, StorageError)
        self.assertIn("are lost", str([event.get("log_format") for event in log]))
        self.folder.with_name("away").rename(self.folder)
