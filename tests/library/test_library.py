"""The library: what is offered, under which names, and what is found for a request."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import NoReturn

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from peershare.content.chunks import ByteRange
from peershare.library import library as module
from peershare.library import scan
from peershare.library.files import identity_of
from peershare.library.index import Index
from peershare.library.library import Library
from peershare.library.scan import REST_SECONDS
from tests.fakes import FakeReactor, HeldWorkers

LONG_AGO = 3_600.0


class FakeWatch:
    """Watches nothing; works as long as the test says so."""

    def __init__(self, folder: Path, changed: object) -> None:
        self.changed = changed
        self.working = False
        self.events: list[str] = []

    def start(self) -> None:
        self.events.append("start")
        self.working = True

    def stop(self) -> None:
        self.events.append("stop")
        self.working = False


class LibraryTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        base = Path(self.mktemp())
        self.share, self.state = base / "share", base / "state"
        self.share.mkdir(parents=True)
        self.state.mkdir()
        self.patch(module, "FolderWatch", FakeWatch)
        self.reactor = FakeReactor()
        self.workers, self.hashers = HeldWorkers(), HeldWorkers()
        self.index = Index(self.state)
        self.addCleanup(self.index.close)
        self.changes = 0
        self.library = self.make()

    def make(self) -> Library:
        library = Library(
            self.reactor,
            self.share,
            self.index,
            self.workers,
            self.hashers,
            self.wall_clock,
        )
        library.on_change(self.count)
        return library

    def count(self) -> None:
        self.changes += 1

    def wall_clock(self) -> float:
        """Long after whatever the test does now, unless the test says otherwise."""
        return self.wall

    wall = 4_000_000_000.0

    def file(self, name: str, data: bytes = b"0123456789") -> Path:
        path = self.share / name
        path.write_bytes(data)
        return path

    def start(self) -> None:
        """Start the service and let the first scan end."""
        self.library.startService()
        self.workers.do_all()

    def rescan(self) -> None:
        self.library.rescan()
        self.workers.do_all()

    def told(self) -> list[tuple[str, ...]]:
        return list(self.library.groups_to_tell())

    def found(self, requested: str) -> bytes | None:
        """The bytes that a request would get."""
        handle = self.library.find_chunk(requested)
        if handle is None:
            return None
        return handle.path.read_bytes()[handle.range.start : handle.range.stop]


class SharingTests(LibraryTestCase):
    def test_five_chunks_of_each_file(self) -> None:
        """The five names stay together, and each name gives its bytes."""
        self.file("forest.png")
        self.start()
        self.assertEqual(self.told(), [tuple(f"forest_{n}" for n in range(1, 6))])
        pieces = [self.found(f"forest_{n}") for n in range(1, 6)]
        self.assertEqual(pieces, [b"01", b"23", b"45", b"67", b"89"])
        self.assertEqual(self.changes, 1)

    def test_every_spelling_of_a_request(self) -> None:
        """With extension before or after the number, with a blank: the same bytes."""
        self.file("forest.png")
        self.start()
        for name in ("forest_2", "forest.png_2", "forest_2.png", "forest 2", "forest.png 2"):
            self.assertEqual(self.found(name), b"23", name)

    def test_what_we_have_not(self) -> None:
        """Another name, another number, junk, and what tries to lead elsewhere: nothing."""
        self.file("forest.png")
        (self.share.parent / "secret").write_bytes(b"0123456789")
        self.start()
        for name in (
            *("bee_1", "forest_0", "forest_6", "forest", "forest.jpg_1", "forest_12", ""),
            *("../secret_1", "..\\secret_1", "/etc/passwd_1", str(self.share / "forest.png_1")),
            *("./forest_1", "forest_1\0", "forest_1\n", "a" * 100_000 + "_1", "\ud800_1"),
        ):
            self.assertIsNone(self.library.find_chunk(name), name[:50])

    def test_nothing_but_five_chunks(self) -> None:
        """Sizes that the classic world cannot move are had, but not told, with one line why."""
        log = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        for size in (0, 1, 4, 5, 6, 16, 17):
            self.file(f"f{size}", b"x" * size)
        self.start()
        self.assertEqual([group[0] for group in self.told()], ["f17_1", "f5_1"])
        self.assertEqual(len(self.library.files()), 7)
        self.assertIsNone(self.library.find_chunk("f16_1"))
        self.rescan()
        said = [event["sentence"] for event in log if "sentence" in event]
        self.assertEqual(len(said), 5)
        self.assertIn("f0 is not announced to classic peers: 0 bytes cannot be", min(said))

    def test_names_that_cannot_be_told(self) -> None:
        """They are left out of the classic world and said; other files are not concerned."""
        self.file("a:b.png")
        self.file("forest.png")
        self.start()
        self.assertEqual([group[0] for group in self.told()], ["forest_1"])
        problems = {file.key: file.problem for file in self.library.files()}
        self.assertIn(":", problems["a:b.png"])
        self.assertEqual(problems["forest.png"], "")

    def test_two_files_with_one_stem(self) -> None:
        """Both are offered: STEM_n and STEM.EXT_n; a request with extension finds its file."""
        self.file("forest.png")
        self.start()
        self.file("forest.jpg", b"abcdefghij")
        self.rescan()
        self.assertEqual([group[0] for group in self.told()], ["forest_1", "forest.jpg_1"])
        self.assertEqual(self.found("forest_1"), b"01")
        self.assertEqual(self.found("forest.png_1"), b"01")
        self.assertEqual(self.found("forest.jpg_1"), b"ab")

    def test_a_name_told_wins_over_a_name_held(self) -> None:
        """`forest.png.gz` is told as forest.png_n: whoever asks for that means it."""
        self.file("forest.png")
        self.file("forest.png.gz", b"abcdefghij")
        self.start()
        self.assertEqual(self.found("forest.png_1"), b"ab")

    def test_over_a_restart_stems_stay(self) -> None:
        """The file that was told as forest is so again, though another sorts before it."""
        self.file("forest.png")
        self.start()
        self.library.stopService()
        self.file("forest.jpg")
        self.library = self.make()
        self.start()
        self.assertEqual(self.found("forest.png_1"), self.found("forest_1"))
        self.assertEqual(
            {group[0] for group in self.told()},
            {"forest_1", "forest.jpg_1"},
        )

    def test_links_and_folders_are_said_once(self) -> None:
        """One line in the log, however often it is scanned."""
        log = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        (self.share / "sub").mkdir()
        (self.share / "link\x1b[31m").symlink_to("/etc/passwd")
        self.start()
        self.rescan()
        said = sorted(event["sentence"] for event in log if "sentence" in event)
        self.assertEqual(len(said), 2)
        self.assertIn("link\\x1b[31m is not shared", said[0])
        self.assertIn("sub is not shared", said[1])


class ChangeTests(LibraryTestCase):
    def test_new_changed_and_removed(self) -> None:
        """Each is noticed by a scan, told once; nothing new is no change."""
        self.start()
        path = self.file("forest.png")
        self.rescan()
        self.assertEqual((len(self.told()), self.changes), (1, 1))
        self.rescan()
        self.assertEqual(self.changes, 1)
        path.write_bytes(b"abcdefghijklmno")
        self.rescan()
        self.assertEqual((self.found("forest_1"), self.changes), (b"abc", 2))
        path.unlink()
        self.rescan()
        self.assertEqual((self.told(), self.found("forest_1"), self.changes), ([], None, 3))

    def test_a_file_that_is_being_written_is_not_offered(self) -> None:
        """It is looked at again after a second, and offered when it has come to rest."""
        path = self.file("forest.png")
        self.wall = path.stat().st_ctime + 0.1
        self.start()
        self.assertEqual(self.told(), [])
        self.wall += REST_SECONDS
        self.reactor.advance(REST_SECONDS)
        self.workers.do_all()
        self.assertEqual(len(self.told()), 1)

    def test_a_change_makes_the_old_bytes_unavailable_at_once(self) -> None:
        """What was announced is not there any more, and the new is not at rest yet."""
        path = self.file("forest.png")
        self.start()
        path.write_bytes(b"abcdefghijklmno")
        self.wall = path.stat().st_ctime + 0.1
        self.rescan()
        self.assertIsNone(self.found("forest_1"))

    def test_another_link_to_a_file_does_not_hide_it(self) -> None:
        """A file whose name or link changed a moment ago still holds the same bytes."""
        path = self.file("forest.png")
        self.start()
        os.link(path, self.share.parent / "linked")
        self.wall = path.stat().st_ctime + 0.1
        self.rescan()
        self.assertEqual((self.found("forest_1"), self.changes), (b"01", 1))

    def test_a_watched_change_is_scanned_for_soon(self) -> None:
        """The watch says that something happened: a scan follows within a tenth of a second."""
        self.start()
        self.file("forest.png")
        self.library._watch.changed()
        self.reactor.advance(0.1)
        self.workers.do_all()
        self.assertEqual(len(self.told()), 1)

    def test_without_a_watch_it_is_scanned_every_second(self) -> None:
        """New files are noticed within 2 s where the folder cannot be watched."""
        self.start()
        self.library._watch.working = False
        self.rescan()
        self.file("forest.png")
        self.reactor.advance(1.0)
        self.workers.do_all()
        self.assertEqual(len(self.told()), 1)

    def test_a_scan_that_is_asked_for_while_one_runs(self) -> None:
        """It comes after it, once."""
        self.library.startService()
        for _ in range(3):
            self.library.rescan()
        self.assertEqual(self.workers.waiting, ["survey"])
        self.workers.do_all()
        self.reactor.advance(0.1)
        self.assertEqual(self.workers.waiting, ["survey"])
        self.workers.do_all()
        self.reactor.advance(0.1)
        self.assertEqual(self.workers.waiting, [])

    def test_a_folder_that_goes_and_comes_back(self) -> None:
        """It is a problem that is shown, and over when the folder is there again."""
        self.file("forest.png")
        self.start()
        self.share.rename(self.share.with_name("away"))
        self.rescan()
        self.assertIn(str(self.share), self.library.problem)
        self.assertEqual(len(self.told()), 1)  # one look is not believed
        self.reactor.advance(1.0)
        self.workers.do_all()
        self.assertEqual(self.told(), [])
        self.share.with_name("away").rename(self.share)
        self.rescan()
        self.assertEqual(self.library.problem, "")
        self.assertEqual(len(self.told()), 1)

    def test_a_look_that_fails_withdraws_nothing(self) -> None:
        """The next one comes within two seconds, though the folder is watched."""
        self.file("forest.png")
        (self.share / "sub").mkdir()
        self.start()
        reasons = dict(self.library.not_offered())

        def fail(folder: object) -> NoReturn:
            raise OSError(errno.EIO, "Input/output error")

        patched = self.patch(scan.os, "scandir", fail)
        self.rescan()
        self.assertIn("Input/output", self.library.problem)
        self.assertEqual((len(self.told()), self.library.not_offered()), (1, reasons))
        patched.restore()
        (self.share / "forest.png").unlink()
        self.reactor.advance(2.0)
        self.workers.do_all()
        self.assertEqual((self.told(), self.library.problem), ([], ""))

    def test_a_folder_that_fails_for_long(self) -> None:
        """It is looked at less and less often, and nothing is withdrawn."""
        self.file("forest.png")
        self.start()

        def fail(folder: object) -> NoReturn:
            looks.append(self.reactor.seconds())
            raise OSError(errno.EMFILE, "Too many open files")

        looks: list[float] = []
        self.patch(scan.os, "scandir", fail)
        self.rescan()
        for _ in range(600):
            self.reactor.advance(0.1)
            self.workers.do_all()
        self.assertEqual(len(self.told()), 1)
        self.assertLess(looks[1] - looks[0], 2.0)
        self.assertTrue(5 <= len(looks) <= 8, looks)

    def test_a_file_that_cannot_be_looked_at(self) -> None:
        """It stays; a new one is not offered yet, and that says why."""
        self.file("forest.png")
        self.start()
        found = self.library._surveys.scanner.scan(self.wall, self.reactor.seconds())
        del found.files["forest.png"]
        found.unseen = {"forest.png": "it fails", "new.png": "it fails"}
        self.library._surveys.scanner.scan = lambda *_: found
        self.rescan()
        self.assertEqual(len(self.told()), 1)
        self.assertEqual(self.library.not_offered(), {"new.png": "it fails"})

    def test_a_file_that_is_being_written(self) -> None:
        """It is not offered, which says why, and is looked for until it is."""
        path = self.file("forest.png")
        with path.open("r+b"):
            self.start()
            self.reactor.advance(600.0)
            self.workers.do_all()
            self.assertEqual(self.told(), [])
            self.assertEqual(self.library.not_offered(), {"forest.png": scan.WRITTEN})
        self.reactor.advance(1.0)
        self.workers.do_all()
        self.assertEqual((len(self.told()), self.library.not_offered()), (1, {}))

    def test_a_download_called_like_an_unfinished_one(self) -> None:
        """It is not offered, as no such file is."""
        path = self.file("forest.part")
        self.start()
        self.library.part_became_file("part:1", path)
        self.assertEqual((self.told(), list(self.library.not_offered())), ([], ["forest.part"]))

    def test_a_scan_that_fails_is_not_the_last(self) -> None:
        """Whatever goes wrong in it is logged, and the next one comes."""
        self.start()

        def fail(*_: object) -> None:
            raise RuntimeError("scan")

        real, self.library._surveys.scanner.scan = self.library._surveys.scanner.scan, fail
        self.rescan()
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.library._surveys.scanner.scan = real
        self.file("forest.png")
        self.reactor.advance(30.0)
        self.workers.do_all()
        self.assertEqual(len(self.told()), 1)

    def test_a_failing_index_holds_nothing_up(self) -> None:
        """A file is told at once; its stem is remembered as soon as the disk allows it."""
        self.start()
        self.state.rename(self.state.with_name("away"))
        self.file("forest.png")
        self.rescan()
        self.assertEqual(len(self.told()), 1)
        self.assertIn("index", self.index.problem)
        self.state.with_name("away").rename(self.state)
        self.index.look()
        self.assertEqual(self.index.problem, "")
        self.index.close()
        self.assertEqual(Index(self.state).stems(), {"forest.png": "forest"})


class UnwatchedTests(LibraryTestCase):
    def test_by_the_clock_alone(self) -> None:
        """No thread is started; new files are noticed within a second."""
        self.library = Library(
            self.reactor,
            self.share,
            self.index,
            self.workers,
            self.hashers,
            self.wall_clock,
            watch=False,
        )
        self.start()
        self.assertIsNone(self.library._watch)
        self.file("forest.png")
        self.reactor.advance(1.0)
        self.workers.do_all()
        self.assertEqual(len(self.told()), 1)
        self.library.stopService()
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class CountTests(LibraryTestCase):
    def test_files_and_groups(self) -> None:
        """They are counted without being made."""
        self.file("forest.png")
        self.file("tiny", b"x")
        elsewhere = self.state / "bee.png"
        elsewhere.write_bytes(b"0123456789")
        identity = identity_of(elsewhere)
        assert identity is not None
        self.start()
        self.library.add_elsewhere(elsewhere, identity)
        self.library.set_part("part:1", "sun", elsewhere, {1: ByteRange(0, 2)})
        self.assertEqual(self.library.file_count, len(self.library.files()))
        self.assertEqual(self.library.file_count, 3)
        self.assertEqual(self.library.group_count, len(self.told()))
        self.assertEqual(self.library.group_count, 3)


class LifeTests(LibraryTestCase):
    def test_first_scan(self) -> None:
        """It is told when the first scan has ended."""
        first: Deferred[None] = self.library.first_scan
        self.library.startService()
        self.assertNoResult(first)
        self.workers.do_all()
        self.successResultOf(first)

    def test_stopping(self) -> None:
        """A stopped library scans no more, not even after a scan that was running."""
        self.library.startService()
        self.library.stopService()
        self.workers.do_all()
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual(self.library._watch.events, ["start", "stop"])
        self.library._watch.changed()
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class PartTests(LibraryTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.part = self.state / "1-forest.part"
        self.part.write_bytes(b"abcdefghij")

    def hold(self, *numbers: int, name: str = "forest") -> None:
        held = {n: ByteRange(2 * n - 2, 2 * n) for n in numbers}
        self.library.set_part("part:1", name, self.part, held)

    def test_held_chunks_are_offered(self) -> None:
        """Chunk by chunk: what another peer's file is held in part is told and served."""
        self.start()
        self.hold(2)
        self.assertEqual(self.told(), [("forest_2",)])
        self.hold(2, 4)
        self.assertEqual(self.told(), [("forest_2", "forest_4")])
        self.assertEqual([self.found("forest_4"), self.found("forest_1")], [b"gh", None])
        self.assertEqual(self.changes, 2)

    def test_with_the_extension_that_was_typed(self) -> None:
        """A request may name the extension, as for whole files."""
        self.start()
        self.hold(2, name="forest.png")
        self.assertEqual(self.told(), [("forest_2",)])
        for name in ("forest_2", "forest.png_2", "forest_2.png"):
            handle = self.library.find_chunk(name)
            assert handle is not None, name
            self.assertEqual(handle.name, "forest_2")
        self.assertIsNone(self.library.find_chunk("forest.jpg_2"))

    def test_a_chunk_that_is_lost_is_not_offered(self) -> None:
        """When nothing is held any more, nothing is told."""
        self.start()
        self.hold(2)
        self.hold()
        self.assertEqual((self.told(), self.found("forest_2"), self.changes), ([], None, 2))
        self.hold()
        self.assertEqual(self.changes, 2)

    def test_a_part_beside_a_file_of_that_stem(self) -> None:
        """The file was told first: the part is told under another name, and both are served."""
        self.file("forest.png")
        self.start()
        self.hold(2, name="forest.jpg")
        self.assertEqual(self.told()[1], ("forest.jpg_2",))
        self.assertEqual([self.found("forest_2"), self.found("forest.jpg_2")], [b"23", b"cd"])

    def test_a_complete_part_becomes_a_file(self) -> None:
        """At once, under the stem it was told by, and no scan in between makes it vanish."""
        self.start()
        self.hold(1, 2, 3, 4, 5)
        final = self.share / "forest.png"
        self.part.rename(final)
        self.wall = final.stat().st_ctime + 0.1
        self.library.part_became_file("part:1", final)
        self.assertEqual(self.told(), [tuple(f"forest_{n}" for n in range(1, 6))])
        self.rescan()
        self.assertEqual(self.found("forest_5"), b"ij")
        self.wall += 10
        self.rescan()
        self.assertEqual(self.found("forest.png_5"), b"ij")

    def test_a_scan_that_began_before_the_file_came(self) -> None:
        """It has not seen the new file, which is there nevertheless."""
        self.start()
        self.hold(1, 2, 3, 4, 5)
        found = self.library._surveys.scanner.scan(self.wall, self.reactor.seconds())
        self.library._surveys.scanner.scan = lambda *_: found
        self.library.rescan()
        self.part.rename(self.share / "forest.png")
        self.library.part_became_file("part:1", self.share / "forest.png")
        self.workers.do_all()
        self.assertEqual(self.found("forest_5"), b"ij")

    def test_a_file_elsewhere(self) -> None:
        """A download into another folder is offered from there, while it is unchanged."""
        self.start()
        self.hold(1, 2, 3, 4, 5)
        final = self.state / "forest.png"
        self.part.rename(final)
        self.library.part_became_file("part:1", final)
        self.assertEqual(self.found("forest_1"), b"ab")
        final.write_bytes(b"something else")
        self.rescan()
        self.assertEqual((self.told(), self.found("forest_1")), ([], None))

    def test_a_former_download_elsewhere(self) -> None:
        """After a restart it is offered only if it is what it was, and not twice."""
        self.start()
        identity = identity_of(self.part)
        assert identity is not None
        self.library.add_elsewhere(self.part, msgspec.structs.replace(identity, size=11))
        self.assertEqual(self.told(), [])
        self.library.add_elsewhere(self.part, identity)
        self.assertEqual([group[0] for group in self.told()], ["1-forest_1"])
        inside = self.file("bee.png")
        self.rescan()
        bee = identity_of(inside)
        assert bee is not None
        self.library.add_elsewhere(inside, bee)
        self.assertEqual(len(self.library.files()), 2)
