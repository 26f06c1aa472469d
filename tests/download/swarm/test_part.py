"""The part of a verified download: what counts, what is kept, and how it gets its name."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from peershare.content.manifest import manifest_of
from peershare.download.swarm import part as part_module
from peershare.download.swarm.part import manifest_of_one
from peershare.errors import StorageError
from peershare.library.entries import ContentHandle
from peershare.library.files import identity_of
from tests.download.swarm.parts import BLOCK, block_of, content, make_part
from tests.fakes import HeldWorkers


def ignore(count: int) -> None:
    """Nobody counts."""


def overwrite(path: Path, data: bytes) -> None:
    """Write these bytes at the front, as another program does, with the old mtime."""
    before = path.stat()
    while path.stat().st_ctime_ns == before.st_ctime_ns:  # until the clock of the disk ticks
        with path.open("r+b") as file:
            file.write(data)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


class PartTests(SynchronousTestCase):
    def test_nothing_counts_unverified(self) -> None:
        """A block that was written is here only once it was checked and accepted."""
        data = content(3)
        part, library, _ = make_part(self, data)
        self.successResultOf(part.check())
        part.sink(1, ignore).write(memoryview(block_of(data, 1)))
        self.assertEqual((len(part.held), library.added), (0, []))
        self.assertTrue(self.successResultOf(part.verify(1)))
        part.accept(1)
        self.assertEqual((list(part.held), library.added), ([1], [1]))
        self.assertEqual(part.missing_bytes, 2 * BLOCK)

    def test_wrong_bytes(self) -> None:
        """Whatever hashes to something else is wrong, and so is what is not there at all."""
        data = content(2.5)
        part, _, _ = make_part(self, data)
        self.successResultOf(part.check())
        wrong = bytearray(block_of(data, 0))
        wrong[100] ^= 1
        part.sink(0, ignore).write(memoryview(bytes(wrong)))
        self.assertFalse(self.successResultOf(part.verify(0)))
        self.assertFalse(self.successResultOf(part.verify(2)))
        self.assertFalse(self.successResultOf(part.store(0, bytes(wrong))))
        self.assertTrue(self.successResultOf(part.store(2, block_of(data, 2))))

    def test_checked_again(self) -> None:
        """What is missing is taken from a file that we have by now; only what is right counts."""
        data = content(3)
        part, library, _ = make_part(self, data)
        self.successResultOf(part.check())
        self.assertTrue(self.successResultOf(part.store(1, block_of(data, 1))))
        part.accept(1, "198.18.0.2")
        path = Path(self.mktemp())
        path.write_bytes(block_of(data, 0) + b"?" * BLOCK + b"?" * BLOCK)
        manifest = manifest_of(data)
        library.own = ContentHandle(
            manifest.content_id, "forest", path, identity_of(path), manifest, None
        )
        self.successResultOf(part.check())
        self.assertEqual((sorted(part.held), library.added), ([0, 1], [1, 0]))
        self.assertEqual(part.path.read_bytes()[: 2 * BLOCK], data[: 2 * BLOCK])
        path.write_bytes(data)
        self.successResultOf(part.check())
        self.assertTrue(part.held.complete)
        self.assertEqual(part.path.read_bytes(), data)
        self.assertEqual(part.givers.map("1", ()).sources, ("198.18.0.2",))

    def test_beside_the_reactor(self) -> None:
        """A small block is checked and written without a worker, a larger one checked only."""
        data = content(2)
        for checked, written, waiting in (
            (BLOCK, BLOCK, []),
            (BLOCK, BLOCK - 1, ["_write"]),
            (BLOCK - 1, BLOCK - 1, ["_check_and_write"]),
        ):
            with self.subTest(checked=checked, written=written):
                self.at_once(checked, written)
                workers = HeldWorkers()
                part, _, _ = make_part(self, data, hashers=workers)
                self.successResultOf(part.check())
                kept = part.keep(1, memoryview(block_of(data, 1)))
                self.assertEqual(workers.waiting, waiting)
                workers.do_all()
                self.assertTrue(self.successResultOf(kept))
                self.assertEqual(part.path.read_bytes()[BLOCK:], block_of(data, 1))

    def test_wrong_at_once(self) -> None:
        """What is wrong goes to no worker."""
        data = content(2)
        self.at_once(BLOCK, BLOCK - 1)
        workers = HeldWorkers()
        part, _, _ = make_part(self, data, hashers=workers)
        self.successResultOf(part.check())
        self.assertFalse(self.successResultOf(part.keep(1, memoryview(b"?" * BLOCK))))
        self.assertEqual(workers.waiting, [])

    def test_behind_the_threads(self) -> None:
        """With so much waiting for them already, the next block is not handed over."""
        data = content(3)
        self.at_once(BLOCK - 1, BLOCK - 1)
        self.patch(part_module, "MOST_HANDED_BYTES", 2 * BLOCK)
        workers = HeldWorkers()
        part, _, _ = make_part(self, data, hashers=workers)
        self.successResultOf(part.check())
        for index in (0, 1):
            self.assertNoResult(part.keep(index, memoryview(block_of(data, index))))
        self.assertTrue(self.successResultOf(part.keep(2, memoryview(block_of(data, 2)))))
        workers.do_all()
        self.assertEqual(part.path.read_bytes(), data)
        self.assertNoResult(part.keep(0, memoryview(block_of(data, 0))))

    def at_once(self, checked: int, written: int) -> None:
        """Up to what size a block is checked, and written, at once."""
        self.patch(part_module, "CHECKED_AT_ONCE", checked)
        self.patch(part_module, "WRITTEN_AT_ONCE", written)

    def test_kept_only_if_right_and_wanted(self) -> None:
        """Wrong bytes are not written, nor is what is here by now."""
        data = content(2)
        part, _, _ = make_part(self, data)
        self.successResultOf(part.check())
        self.assertFalse(self.successResultOf(part.keep(1, memoryview(b"?" * BLOCK))))
        self.assertEqual(part.path.stat().st_size, 0)
        part.accept(1)
        self.assertTrue(self.successResultOf(part.keep(1, memoryview(block_of(data, 1)))))
        self.assertEqual(part.path.stat().st_size, 0)

    def test_a_dropped_sink_writes_nothing(self) -> None:
        """Once a range is verified, nobody writes it again."""
        data = content(1.5)
        part, _, _ = make_part(self, data)
        self.successResultOf(part.check())
        sink = part.sink(0, ignore)
        sink.write(memoryview(block_of(data, 0)[:1000]))
        sink.drop()
        sink.write(memoryview(b"x" * 1000))
        self.assertEqual(part.path.read_bytes(), data[:1000])
        self.assertTrue(sink.dropped)

    def test_what_is_there_is_hashed_again(self) -> None:
        """After a restart the blocks that match are kept, damaged ones are not."""
        data = content(4)
        part, _, folder = make_part(self, data)
        part.path.parent.mkdir()
        damaged = bytearray(data[: 3 * BLOCK])
        damaged[BLOCK + 5] ^= 0xFF
        part.path.write_bytes(damaged)
        self.successResultOf(part.check())
        self.assertEqual(list(part.held), [0, 2])
        self.assertEqual(part.missing_bytes, 2 * BLOCK)
        self.assertEqual(part.fifths.chunks(())[0].received, len(data) // 5 + 1)
        self.assertEqual(folder, part.path.parent.parent)

    def test_finish(self) -> None:
        """The final file has every byte, and the library knows it without hashing it again."""
        data = content(2.2)
        part, library, folder = make_part(self, data)
        self.successResultOf(part.check())
        for index in range(3):
            self.successResultOf(part.store(index, block_of(data, index)))
            part.accept(index)
        self.assertTrue(part.held.complete)
        path = self.successResultOf(part.finish())
        self.assertEqual((path, path.read_bytes()), (folder / "forest.bin", data))
        self.assertEqual(library.finished, [(part.key, path, manifest_of(data))])
        self.assertFalse(part.path.exists())

    def test_another_program_writes_into_it(self) -> None:
        """What was verified is verified once more; only what is right is held, and told."""
        data = content(3)
        part, _, folder = make_part(self, data)
        self.successResultOf(part.check())
        for index in (0, 1, 2):
            self.successResultOf(part.store(index, block_of(data, index)))
            part.accept(index)
            if not index:
                overwrite(part.path, b"evil")
        failed = self.failureResultOf(part.finish(), StorageError)
        self.assertIn("another program", str(failed.value))
        self.assertEqual((list(part.held), part.missing_bytes), ([1, 2], BLOCK))
        self.assertEqual(list(folder.glob("forest*")), [])
        self.successResultOf(part.check())
        self.successResultOf(part.store(0, block_of(data, 0)))
        part.accept(0)
        self.assertEqual(self.successResultOf(part.finish()).read_bytes(), data)

    def test_the_same_bytes_by_another_program(self) -> None:
        """A backup that touches the part, or writes what is there, holds nothing up."""
        data = content(2)
        part, _, _ = make_part(self, data)
        self.successResultOf(part.check())
        for index in (0, 1):
            self.successResultOf(part.store(index, block_of(data, index)))
            part.accept(index)
        overwrite(part.path, data[:4])
        self.assertEqual(self.successResultOf(part.finish()).read_bytes(), data)

    def test_no_end_while_it_is_written(self) -> None:
        """A copy that a worker still has may go into the part, never into the finished file."""
        data = content(1)
        self.at_once(BLOCK - 1, BLOCK - 1)
        workers = HeldWorkers()
        part, _, folder = make_part(self, data, hashers=workers)
        self.successResultOf(part.check())
        kept = part.keep(0, memoryview(data))
        part.sink(0, ignore).write(memoryview(data))
        part.accept(0)
        finished = part.finish()
        self.assertNoResult(finished)
        self.assertFalse((folder / "forest.bin").exists())
        workers.do_all()
        self.assertTrue(self.successResultOf(kept))
        self.assertEqual(self.successResultOf(finished).read_bytes(), data)

    def test_never_overwrites(self) -> None:
        """A different file of that name keeps it."""
        data = content(0.5)
        part, _, folder = make_part(self, data)
        (folder / "forest.bin").write_bytes(b"mine")
        self.successResultOf(part.check())
        self.successResultOf(part.store(0, data))
        part.accept(0)
        path = self.successResultOf(part.finish())
        self.assertEqual(path.name, "forest (2).bin")
        self.assertEqual((folder / "forest.bin").read_bytes(), b"mine")

    def test_a_copy_from_elsewhere(self) -> None:
        """What we have in another folder need not be fetched; it is checked all the same."""
        data = content(3)
        part, library, _ = make_part(self, data)
        elsewhere = Path(self.mktemp()).absolute()
        elsewhere.write_bytes(data[: 2 * BLOCK] + b"?" * BLOCK)
        manifest = manifest_of(data)
        library.own = ContentHandle(
            manifest.content_id, "other.bin", elsewhere, identity_of(elsewhere), manifest, None
        )
        self.successResultOf(part.check())
        self.assertEqual(list(part.held), [0, 1])

    def test_no_room(self) -> None:
        """A content that cannot fit is our own disk's fault, and says how much is missing."""
        part, _, _ = make_part(self, content(1))
        self.patch(os, "fstatvfs", lambda _: os.statvfs_result((1, 1, 0, 0, 0, 0, 0, 0, 0, 0)))
        error = self.failureResultOf(part.check_room(), StorageError).value
        self.assertEqual(error.needed_bytes, BLOCK)

    def test_one_block(self) -> None:
        """A content of one block is judged by its id alone."""
        data = content(0.3)
        identifier = manifest_of(data).content_id
        self.assertEqual(manifest_of_one(data, identifier), manifest_of(data))
        self.assertIsNone(manifest_of_one(data + b"x", identifier))
