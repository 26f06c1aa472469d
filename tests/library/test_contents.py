"""Contents: what native peers are told of the library, and what it takes to know it."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import NoReturn

from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher

from peershare.content.blocks import MAX_CONTENT_BYTES, MIN_BLOCK_BYTES, BlockSet
from peershare.content.manifest import Manifest, manifest_of
from peershare.library import backlog, filehash, hashes
from peershare.library.files import Identity, identity_of, open_regular
from peershare.wire.catalogue import CatalogueEntry
from tests.library.test_library import LibraryTestCase

DATA = b"0123456789"


def refuse(path: Path) -> NoReturn:
    raise PermissionError(errno.EACCES, "Permission denied", str(path))


def entry(name: str, data: bytes = DATA, complete: bool = True) -> CatalogueEntry:
    return CatalogueEntry(name, len(data), manifest_of(data).content_id, complete)


class ContentsTestCase(LibraryTestCase):
    def settle(self) -> None:
        """Let everything be done that workers and hashers have to do."""
        while self.workers.waiting or self.hashers.waiting or self.is_due():
            self.workers.do_all()
            self.hashers.do_all()
            self.reactor.advance(0)

    def is_due(self) -> bool:
        """Whether something is to be done in this very moment."""
        now = self.reactor.seconds()
        return any(call.getTime() <= now for call in self.reactor.getDelayedCalls())

    def start(self) -> None:
        super().start()
        self.settle()

    def rescan(self) -> None:
        super().rescan()
        self.settle()

    def restart(self) -> None:
        self.library.stopService()
        self.settle()
        self.library = self.make()
        super().start()

    def catalogue(self) -> list[CatalogueEntry]:
        return sorted(self.library.catalogue(), key=lambda told: (told.name, told.id))

    def served(self, content: str) -> tuple[str, bytes] | None:
        """The name and bytes that a native request would get."""
        handle = self.library.find_content(content)
        if handle is None:
            return None
        self.assertEqual(handle.id, content)
        self.assertEqual(handle.manifest.content_id, content)
        return handle.name, handle.path.read_bytes()


class HashedTests(ContentsTestCase):
    def test_every_file_is_a_content(self) -> None:
        """Of any size: the empty one and those that classic peers cannot be told too."""
        contents = {f"f{size}": b"x" * size for size in (0, 1, 6, 16, 70_000)}
        for name, data in contents.items():
            self.file(name, data)
        self.start()
        self.assertEqual(
            self.catalogue(), [entry(name, contents[name]) for name in sorted(contents)]
        )
        for name, data in contents.items():
            self.assertEqual(self.served(manifest_of(data).content_id), (name, data))
        self.assertEqual(self.library.unhashed, 0)

    def test_what_is_not_offered_says_why(self) -> None:
        """Names, sizes, folders, and what cannot be read, until that is over."""
        self.file("what?.txt")
        self.file("secret.txt")
        (self.share / "sub").mkdir()
        self.patch(filehash, "open_regular", refuse)
        self.start()
        reasons = self.library.not_offered()
        self.assertEqual(list(reasons), ["secret.txt", "sub", "what?.txt"])
        self.assertIn("Permission denied", reasons["secret.txt"])
        self.assertEqual(reasons["what?.txt"], "it holds the character ?")
        self.patch(filehash, "open_regular", open_regular)
        before = self.library.not_offered_version
        (self.share / "sub").rmdir()
        self.rescan()
        self.settle()
        self.assertEqual(list(self.library.not_offered()), ["what?.txt"])
        self.assertGreater(self.library.not_offered_version, before)

    def test_classic_chunks_do_not_wait_for_the_hashing(self) -> None:
        """They are told and served as soon as the file is there."""
        self.file("forest.png")
        self.library.startService()
        self.workers.do_all()
        self.assertEqual(self.found("forest_1"), b"01")
        self.assertEqual((self.library.catalogue(), self.library.unhashed), ((), 1))
        self.assertEqual(self.hashers.waiting, ["hash_files"])
        self.settle()
        self.assertEqual(self.catalogue(), [entry("forest.png")])

    def test_a_change_of_the_catalogue_is_told(self) -> None:
        """When a file was hashed, to whom native peers concern, and not to the others."""
        native: list[int] = []
        classic: list[int] = []
        self.library.on_change(lambda: native.append(len(self.library.catalogue())), classic=False)
        self.library.on_change(lambda: classic.append(len(self.told())), native=False)
        self.file("forest.png")
        self.start()
        self.assertEqual((native, classic), ([0, 1], [1]))
        self.rescan()
        self.assertEqual((native, classic), ([0, 1], [1]))

    def test_many_files_are_not_told_one_by_one(self) -> None:
        """While there is more to hash the catalogue changes once a second at the most."""
        for number in range(600):
            self.file(f"{number:03}", b"%d" % number)
        self.library.startService()
        self.settle()
        self.assertEqual(len(self.library.catalogue()), 600)
        self.assertEqual(self.changes, 3)  # there, first hashed, all hashed

    def test_duplicates(self) -> None:
        """Two names, one id: both are told, either is given; when one goes the other stays."""
        for name in ("a.png", "b.png", "c.png"):
            self.file(name)
        self.start()
        self.assertEqual(self.catalogue(), [entry("a.png"), entry("b.png"), entry("c.png")])
        content = manifest_of(DATA).content_id
        for name in ("a.png", "b.png", "c.png"):
            found = self.served(content)
            assert found is not None
            self.assertEqual(found[1], DATA)
            (self.share / name).unlink()
            self.rescan()
        self.assertEqual((self.served(content), self.catalogue()), (None, []))

    def test_names(self) -> None:
        """A name is told as other systems can have it, or not at all, which is said once."""
        log = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        self.file("cafe\u0301.txt", b"decomposed")
        self.file("a:b.txt", b"no name on every system")
        (self.share / os.fsdecode(b"bad\xff.txt")).write_bytes(b"no text")
        self.start()
        self.rescan()
        self.assertEqual(self.catalogue(), [entry("caf\u00e9.txt", b"decomposed")])
        self.assertEqual(
            self.served(manifest_of(b"decomposed").content_id), ("caf\u00e9.txt", b"decomposed")
        )
        said = [e["sentence"] for e in log if "native peers" in e.get("sentence", "")]
        self.assertEqual(len(said), 2)

    def test_over_four_tebibytes(self) -> None:
        """Refused, with a remark; nothing is read of it."""
        log = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        os.truncate(self.file("huge"), MAX_CONTENT_BYTES + 1)
        self.file("small")
        self.start()
        self.assertEqual(self.catalogue(), [entry("small")])
        said = [e["sentence"] for e in log if "sentence" in e]
        self.assertEqual(said, ["huge is not offered to native peers: it is larger than 4 TiB"])

    def test_small_files_do_not_wait_for_a_large_one(self) -> None:
        """Nor does the large one wait for all that come later."""
        self.patch(filehash, "SLICE_BYTES", MIN_BLOCK_BYTES)
        self.patch(backlog, "SLICE_BYTES", MIN_BLOCK_BYTES)
        large = os.urandom(20 * MIN_BLOCK_BYTES)
        self.file("large", large)
        self.library.startService()
        self.workers.do_all()
        for _ in range(3):
            self.hashers.do_one()
        self.file("small")
        self.library.rescan()
        self.workers.do_all()
        self.assertEqual(self.hashers.waiting[-1], "hash_files")
        for _ in range(6):
            self.hashers.do_one()
            self.workers.do_all()
        self.assertEqual(self.catalogue(), [entry("small")])
        self.settle()
        self.assertEqual(self.catalogue(), [entry("large", large), entry("small")])


class ChangeTests(ContentsTestCase):
    def test_changed(self) -> None:
        """The old content is gone at once, the new one is there once it is hashed."""
        path = self.file("forest.png")
        self.start()
        path.write_bytes(b"something else")
        self.library.rescan()
        self.workers.do_all()
        self.assertEqual(self.library.catalogue(), ())
        self.assertIsNone(self.library.find_content(manifest_of(DATA).content_id))
        self.settle()
        self.assertEqual(self.catalogue(), [entry("forest.png", b"something else")])

    def test_renamed(self) -> None:
        """It is the same file under another name: it is offered at once."""
        path = self.file("forest.png")
        self.start()
        path.rename(self.share / "bee.png")
        self.library.rescan()
        self.workers.do_all()
        self.assertEqual(self.hashers.waiting, ["_open"])  # for its inode has changed
        self.assertEqual(self.catalogue(), [entry("bee.png")])

    def test_changed_while_it_was_hashed(self) -> None:
        """It counts only as what it is in the end."""
        path = self.file("forest.png")
        self.library.startService()
        self.workers.do_all()
        path.write_bytes(b"something else")
        self.settle()
        self.assertEqual(self.library.catalogue(), ())
        self.reactor.advance(1.0)  # it is looked at again soon
        self.settle()
        self.assertEqual(self.catalogue(), [entry("forest.png", b"something else")])

    def test_gone_while_it_was_hashed(self) -> None:
        """Nobody hears of it."""
        path = self.file("forest.png")
        self.library.startService()
        self.workers.do_all()
        self.library.rescan()
        path.unlink()
        self.workers.do_all()
        self.settle()
        self.reactor.advance(1.0)
        self.settle()
        self.assertEqual((self.library.catalogue(), self.library.unhashed), ((), 0))

    def test_unreadable(self) -> None:
        """It is said once, and tried again at every scan."""
        log = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        real = os.preadv

        def fail(*_: object) -> int:
            raise OSError(5, "Input/output error")

        self.file("forest.png")
        self.patch(os, "preadv", fail)
        self.start()
        self.rescan()
        self.assertEqual((self.library.catalogue(), self.library.unhashed), ((), 1))
        said = [e["sentence"] for e in log if "sentence" in e]
        self.assertEqual(len(said), 1)
        self.assertIn("Input/output error", said[0])
        self.patch(os, "preadv", real)
        self.rescan()
        self.assertEqual(self.catalogue(), [entry("forest.png")])

    def test_an_index_that_cannot_be_written(self) -> None:
        """What is here is offered all the same, and remembered when that is possible again."""
        self.start()
        self.state.rename(self.state.with_name("away"))
        self.file("forest.png")
        self.rescan()
        self.assertEqual(self.catalogue(), [entry("forest.png")])
        self.assertIn("index", self.index.problem)
        self.state.with_name("away").rename(self.state)
        self.index.look()
        self.restart()
        self.assertEqual(self.hashers.waiting, [])  # it need not be hashed again
        self.assertEqual(self.catalogue(), [entry("forest.png")])

    def test_an_index_that_was_lost(self) -> None:
        """It is made anew, with what the files that are here hash to."""
        self.start()
        self.file("forest.png")
        self.rescan()
        self.index.path.unlink()
        self.index.look()
        self.restart()
        self.assertEqual(self.hashers.waiting, [])
        self.assertEqual(self.catalogue(), [entry("forest.png")])


class UnseenChangeTests(ContentsTestCase):
    """Size and time are what they were; only the inode's time says that something happened."""

    OTHER = b"0123x56789"

    def change(self, path: Path, data: bytes = OTHER) -> None:
        """Other bytes with the same size and time."""
        status = path.stat()
        path.write_bytes(data)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    def test_it_is_offered_as_what_it_is(self) -> None:
        """What it was is withdrawn, which is shown for some time."""
        path = self.file("forest.png")
        self.start()
        self.change(path)
        self.rescan()
        self.settle()
        self.assertEqual(self.catalogue(), [entry("forest.png", self.OTHER)])
        self.assertIsNone(self.library.find_content(manifest_of(DATA).content_id))
        (problem,) = self.library.problems
        self.assertIn("forest.png", problem)
        self.reactor.advance(3_601.0)
        self.assertEqual(self.library.problems, ())

    def test_who_verifies_is_told(self) -> None:
        """Although it was found before, and once."""
        self.file("forest.png")
        path = self.file("bee.png")
        self.start()
        self.change(path)
        self.rescan()
        self.settle()
        for states in ({"forest.png": "unchanged", "bee.png": "changed"}, {"unchanged"}):
            verified = self.library.verify()
            self.settle()
            results = self.successResultOf(verified)
            found = {result.name: result.state for result in results}
            self.assertEqual(found if isinstance(states, dict) else {*found.values()}, states)

    def test_it_stays_offered_until_that_is_known(self) -> None:
        """A link or a chmod looks the same: nothing is withdrawn for it."""
        path = self.file("forest.png")
        self.start()
        path.chmod(0o640)
        self.library.rescan()
        self.workers.do_all()
        self.assertEqual(self.hashers.waiting, ["_open"])
        self.assertEqual(self.catalogue(), [entry("forest.png")])
        self.settle()
        self.assertEqual(self.catalogue(), [entry("forest.png")])
        self.rescan()
        self.assertEqual((self.hashers.waiting, self.library.problems), ([], ()))
        self.restart()
        self.assertEqual(self.hashers.waiting, [])

    def test_while_the_service_was_down(self) -> None:
        """It is found at the next start."""
        path = self.file("forest.png")
        self.start()
        self.library.stopService()
        self.change(path)
        self.restart()
        self.settle()
        self.assertEqual(self.catalogue(), [entry("forest.png", self.OTHER)])
        self.restart()
        self.assertEqual(self.catalogue(), [entry("forest.png", self.OTHER)])
        self.assertEqual(self.hashers.waiting, [])

    def test_rows_of_the_version_before(self) -> None:
        """They take the time of today: nothing is hashed for them."""
        path = self.file("forest.png")
        self.start()
        self.index.hashes.refresh([(self.identity(path), 0)])
        self.restart()
        self.assertEqual((self.hashers.waiting, len(self.catalogue())), ([], 1))
        self.change(path)
        self.restart()
        self.settle()
        self.assertEqual(self.catalogue(), [entry("forest.png", self.OTHER)])

    def identity(self, path: Path) -> Identity:
        identity = identity_of(path)
        assert identity is not None
        return identity

    def test_nothing_waits_for_it(self) -> None:
        """What is new is hashed before."""
        path = self.file("forest.png")
        self.start()
        path.chmod(0o640)
        self.file("bee.mp4", b"new")
        self.library.rescan()
        self.workers.do_all()
        self.assertEqual(self.hashers.waiting, ["hash_files"])
        self.hashers.do_all()
        self.assertEqual(len(self.catalogue()), 2)
        self.settle()

    def test_a_disk_that_fails(self) -> None:
        """It is tried again after the next scan, and stays offered."""
        path = self.file("forest.png")
        self.start()
        self.change(path)
        self.patch(filehash, "open_regular", refuse)
        self.rescan()
        self.assertEqual(self.catalogue(), [entry("forest.png")])
        self.patch(filehash, "open_regular", open_regular)
        self.rescan()
        self.settle()
        self.assertEqual(self.catalogue(), [entry("forest.png", self.OTHER)])

    def test_while_a_program_writes_it(self) -> None:
        """It is withdrawn, and comes back when that is over."""
        path = self.file("forest.png")
        self.start()
        self.change(path)
        with path.open("r+b"):
            self.rescan()
            self.settle()
            self.assertEqual(self.catalogue(), [])
        self.rescan()
        self.assertEqual(self.catalogue(), [entry("forest.png", self.OTHER)])

    def test_a_download_elsewhere(self) -> None:
        """No scan of the folder finds it, but it is looked at."""
        path = self.state / "bee.mp4"
        path.write_bytes(DATA)
        self.start()
        self.library.part_became_file("part:1", path, manifest_of(DATA))
        self.rescan()
        self.assertEqual(self.hashers.waiting, [])
        self.change(path)
        self.rescan()
        self.settle()
        self.assertEqual(self.catalogue(), [entry("bee.mp4", self.OTHER)])

    def test_a_receiver_found_it(self) -> None:
        """Not even the inode's time says so: the file is hashed before it is offered again."""
        path = self.file("forest.png")
        self.start()
        content = manifest_of(DATA).content_id
        self.library.withdraw(manifest_of(b"other").content_id, path)
        self.library.withdraw(content, self.state / "forest.png")
        self.assertEqual(self.library.problems, ())
        with path.open("r+b") as file:
            file.write(self.OTHER)
        status = path.stat()
        handle = self.library.find_content(content)
        assert handle is not None and handle.identity is not None
        os.utime(path, ns=(status.st_atime_ns, handle.identity.mtime_ns))
        self.library.withdraw(content, path)
        self.assertIsNone(self.library.find_content(content))
        self.assertEqual(len(self.library.problems), 1)
        self.settle()
        self.assertEqual(self.catalogue(), [entry("forest.png", self.OTHER)])

    def test_our_own_link(self) -> None:
        """It changes the inode's time, and we know that the bytes are the same."""
        path = self.file("forest.png")
        self.start()
        before = path.stat()
        os.link(path, self.state / "link")
        self.library.touched_by_us(self.identity(path), before.st_ctime_ns, path.stat().st_ctime_ns)
        self.library.rescan()
        self.workers.do_all()
        self.assertEqual(self.hashers.waiting, [])
        self.restart()
        self.assertEqual(self.hashers.waiting, [])


class RestartTests(ContentsTestCase):
    def test_nothing_is_hashed_twice(self) -> None:
        """What is unchanged is in the catalogue without a byte being read."""
        self.file("forest.png")
        changed = self.file("bee.mp4")
        self.start()
        changed.write_bytes(b"something else")
        self.restart()
        self.assertEqual(self.catalogue(), [entry("forest.png")])
        self.assertEqual(self.hashers.waiting, ["hash_files"])
        self.settle()
        self.assertEqual(
            self.catalogue(), [entry("bee.mp4", b"something else"), entry("forest.png")]
        )
        self.restart()
        self.assertEqual((self.hashers.waiting, len(self.catalogue())), ([], 2))

    def test_more_files_than_are_taken_over_at_once(self) -> None:
        """They come in slices, and others have their turn in between."""
        for number in range(1_100):
            self.file(f"{number:04}.txt", b"%05d" % number)
        self.start()
        self.assertEqual(len(self.library.catalogue()), 1_100)
        self.restart()
        self.assertEqual(self.library.file_count, 250)
        self.reactor.advance(0)
        self.assertEqual((self.library.file_count, self.workers.waiting), (1_100, ["find"]))
        self.workers.do_all()
        self.assertEqual(len(self.library.catalogue()), 500)
        self.reactor.advance(0)
        self.assertEqual(len(self.library.catalogue()), 1_100)
        self.assertEqual(self.hashers.waiting, [])
        self.assertEqual(len(self.told()), 1_100)
        stems = [group[0] for group in self.told()]
        self.assertEqual(stems, [f"{number:04}_1" for number in range(1_100)])

    def test_stopped_between_two_slices(self) -> None:
        """It ends there."""
        for number in range(600):
            self.file(f"{number:04}.txt", b"%05d" % number)
        self.library.startService()
        self.workers.do_all()
        self.library.stopService()
        self.reactor.advance(0)
        self.assertLess(self.library.file_count, 600)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_stopping_while_files_are_hashed(self) -> None:
        """It fires when no thread reads any more; what is hashed by then is remembered."""
        self.patch(backlog, "_BATCH_FILES", 2)
        for number in range(6):
            self.file(f"{number}.txt", b"%05d" % number)
        self.library.startService()
        self.workers.do_all()
        self.hashers.do_one()
        self.workers.do_all()
        stopping = self.library.stopService()
        self.assertNoResult(stopping)
        self.settle()
        self.successResultOf(stopping)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.library = self.make()
        self.library.startService()
        self.workers.do_all()
        self.assertEqual(len(self.library.catalogue()), 2)
        self.settle()
        self.assertEqual(len(self.library.catalogue()), 6)

    def test_started_again(self) -> None:
        """The same library goes on with what it had not finished."""
        self.file("forest.png")
        self.library.startService()
        self.workers.do_all()
        self.library.stopService()
        self.settle()
        self.library.startService()
        self.settle()
        self.assertEqual(self.catalogue(), [entry("forest.png")])

    def test_a_lost_manifest(self) -> None:
        """The file is hashed again."""
        self.file("forest.png")
        self.start()
        self.index._file.connection.execute("DELETE FROM manifests")
        self.restart()
        self.assertEqual(self.catalogue(), [])
        self.settle()
        self.assertEqual(self.served(manifest_of(DATA).content_id), ("forest.png", DATA))

    def test_hashes_of_files_that_are_gone_are_forgotten(self) -> None:
        """After a scan, but not when the folder could not be read."""
        self.patch(hashes, "MOST_ABSENT", 0)
        path = self.file("forest.png")
        identity = identity_of(path)
        assert identity is not None
        self.start()
        self.share.rename(self.share.with_name("away"))
        self.restart()
        self.settle()
        self.assertEqual(len(self.index.hashes.find([identity])), 1)
        self.share.with_name("away").rename(self.share)
        path.unlink()
        self.restart()
        self.rescan()
        self.assertEqual(self.index.hashes.find([identity]), {})


class PartTests(ContentsTestCase):
    """Parts of verified downloads, on their way to being files."""

    def setUp(self) -> None:
        super().setUp()
        self.data = os.urandom(11 * MIN_BLOCK_BYTES)
        self.manifest = manifest_of(self.data)
        self.content = self.manifest.content_id
        self.part = self.state / "1-forest.part"
        self.part.write_bytes(self.data)
        self.held = BlockSet(11)
        self.came: list[tuple[str, tuple[int, ...]]] = []
        self.library.on_blocks(lambda content, blocks: self.came.append((content, tuple(blocks))))

    def begin(self, *blocks: int) -> None:
        for block in blocks:
            self.held.add(block)
        self.library.set_swarm("part:1", "forest.png", self.part, self.manifest, self.held)

    def add(self, *blocks: int) -> None:
        for block in blocks:
            self.held.add(block)
        self.library.blocks_added("part:1", blocks)

    def finish(self, manifest: Manifest | None = None, folder: Path | None = None) -> Path:
        final = (folder or self.share) / "forest.png"
        self.part.rename(final)
        self.library.part_became_file("part:1", final, manifest or self.manifest)
        return final

    def test_offered_while_it_grows(self) -> None:
        """At once, with nothing yet; the set of what it holds is the live one."""
        self.start()
        self.begin()
        self.assertEqual(self.catalogue(), [entry("forest.png", self.data, complete=False)])
        handle = self.library.find_content(self.content)
        assert handle is not None
        self.assertEqual((handle.identity, handle.path), (None, self.part))
        self.assertEqual(handle.manifest, self.manifest)
        self.add(3, 4)
        self.assertEqual(list(handle.held or ()), [3, 4])
        self.assertEqual(self.came, [(self.content, (3, 4))])
        self.assertEqual(self.hashers.waiting, [])

    def test_chunks_out_of_blocks(self) -> None:
        """A classic chunk is told once every block that covers it is held."""
        self.start()
        self.begin(0, 1)
        self.assertEqual(self.told(), [])
        self.add(2)  # chunk 1 is 2.2 blocks
        self.assertEqual(self.told(), [("forest_1",)])
        self.assertEqual(self.found("forest_1"), self.data[: -(-len(self.data) // 5)])
        self.add(10, 9)
        self.assertEqual(self.told(), [("forest_1",)])
        changes = self.changes
        self.add(8)
        self.assertEqual(self.told(), [("forest_1", "forest_5")])
        self.assertEqual(self.changes, changes + 1)
        self.assertIsNone(self.found("forest_3"))

    def test_a_content_that_classic_peers_cannot_be_told(self) -> None:
        """It is native only."""
        self.start()
        manifest = manifest_of(b"x" * 6)
        self.library.set_swarm("part:1", "tiny", self.part, manifest, BlockSet.full(1))
        self.library.blocks_added("part:1", (0,))
        self.assertEqual((self.told(), len(self.library.catalogue())), ([], 1))

    def test_checked_again(self) -> None:
        """What is set anew counts, whatever was there before."""
        self.start()
        self.begin(0, 1, 2)
        self.held = BlockSet(11)
        self.begin(10)
        self.assertEqual(self.told(), [])
        handle = self.library.find_content(self.content)
        assert handle is not None
        self.assertIs(handle.held, self.held)

    def test_dropped(self) -> None:
        """Nothing is given of it any more, and what still comes is nobody's."""
        self.start()
        self.begin(0, 1, 2)
        self.library.drop_part("part:1")
        self.add(3)
        self.library.drop_part("part:1")
        self.assertEqual((self.told(), self.catalogue(), self.came), ([], [], []))
        self.assertIsNone(self.library.find_content(self.content))

    def test_complete(self) -> None:
        """It is a file at once, under the same stem and id, and is not hashed."""
        self.start()
        self.begin(0, 1, 2)
        self.add(*range(3, 11))
        final = self.finish()
        self.assertEqual(self.catalogue(), [entry("forest.png", self.data)])
        self.assertEqual(self.served(self.content), ("forest.png", self.data))
        self.assertEqual(self.told(), [tuple(f"forest_{n}" for n in range(1, 6))])
        self.settle()
        self.rescan()
        self.restart()
        self.assertEqual(self.catalogue(), [entry("forest.png", self.data)])
        self.assertEqual(self.hashers.waiting, [])
        handle = self.library.find_content(self.content)
        assert handle is not None
        self.assertEqual((handle.identity, handle.held), (identity_of(final), None))

    def test_elsewhere(self) -> None:
        """A download into another folder is offered from there, after a restart too."""
        self.start()
        self.begin(*range(11))
        final = self.finish(folder=self.state)
        self.settle()
        self.assertEqual(self.served(self.content), ("forest.png", self.data))
        identity = identity_of(final)
        assert identity is not None
        self.restart()
        self.library.add_elsewhere(final, identity)
        self.workers.do_all()
        self.assertEqual(self.served(self.content), ("forest.png", self.data))
        self.assertEqual(self.hashers.waiting, [])
        final.write_bytes(b"something else")
        self.rescan()
        self.assertEqual(self.catalogue(), [])

    def test_complete_by_the_classic_protocol(self) -> None:
        """Nothing is known of its bytes: it is hashed."""
        self.start()
        final = self.share / "forest.png"
        self.part.rename(final)
        self.library.part_became_file("part:1", final)
        self.settle()
        self.assertEqual(self.served(self.content), ("forest.png", self.data))

    def test_a_file_that_is_not_what_was_checked(self) -> None:
        """Somebody was faster: it is hashed like any other."""
        self.start()
        self.begin(*range(11))
        final = self.share / "forest.png"
        final.write_bytes(b"something else")
        self.library.part_became_file("part:1", final, self.manifest)
        self.settle()
        self.assertEqual(self.catalogue(), [entry("forest.png", b"something else")])

    def test_gone_before_it_was_told(self) -> None:
        """Then there is nothing."""
        self.start()
        self.begin(*range(11))
        self.library.part_became_file("part:1", self.share / "forest.png", self.manifest)
        self.assertEqual((self.catalogue(), self.told()), ([], []))

    def test_an_index_that_cannot_be_written(self) -> None:
        """It is offered nevertheless, and remembered when that is possible again."""
        self.start()
        self.begin(*range(11))
        self.index.path.unlink()
        self.finish()
        self.settle()
        self.assertEqual(self.served(self.content), ("forest.png", self.data))
        self.restart()
        self.assertEqual(self.catalogue(), [entry("forest.png", self.data)])

    def test_a_whole_file_is_given_before_a_part(self) -> None:
        """Where there are both."""
        self.start()
        self.begin(1)
        self.file("bee.png", self.data)
        self.rescan()
        self.assertEqual(len(self.catalogue()), 2)
        self.assertEqual(self.served(self.content), ("bee.png", self.data))
        (self.share / "bee.png").unlink()
        self.rescan()
        handle = self.library.find_content(self.content)
        assert handle is not None
        self.assertIs(handle.held, self.held)
