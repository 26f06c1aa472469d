"""Part files: written at their places, checked, finished without overwriting anything."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from blake3 import blake3
from twisted.trial.unittest import SynchronousTestCase

from peershare.errors import StorageError
from peershare.library import files, parts
from peershare.library.parts import PartFile
from tests.fakes import FakeDisk


class PartTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.part = PartFile(self.folder, "1-forest.part")
        self.addCleanup(self.part.close)


class OpeningTests(PartTestCase):
    def test_lies_in_a_private_folder(self) -> None:
        """`.peershare` is 0700, the part 0600, whatever the umask; the destination is made."""
        self.assertEqual(self.part.path, self.folder / ".peershare" / "1-forest.part")
        self.assertEqual(stat.S_IMODE(self.part.path.parent.stat().st_mode), 0o700)
        self.assertEqual(stat.S_IMODE(self.part.path.stat().st_mode), 0o600)

    def test_what_was_written_before_is_still_there(self) -> None:
        """Opening goes on with what a former run left."""
        self.part.write_at(b"data", 0)
        self.part.close()
        self.part.close()
        again = PartFile(self.folder, "1-forest.part")
        self.addCleanup(again.close)
        self.assertEqual(again.head(10), b"data")

    def test_one_writer(self) -> None:
        """Another node with this destination, or a second download of this one, has to wait."""
        with self.assertRaises(StorageError) as caught:
            PartFile(self.folder, "1-forest.part")
        self.assertIn("another peershare is downloading this", str(caught.exception))
        self.part.close()
        again = PartFile(self.folder, "1-forest.part")
        again.close()

    def test_a_file_system_without_locks(self) -> None:
        """There it goes without."""

        def fail(*_: object) -> None:
            raise OSError(errno.ENOLCK, "No locks available")

        self.patch(parts.fcntl, "flock", fail)
        again = PartFile(self.folder, "1-forest.part")
        again.close()

    def test_links_are_not_followed(self) -> None:
        """Neither a link in the place of the part nor one in the place of its folder."""
        target = self.folder / "precious"
        target.write_bytes(b"precious")
        (self.folder / ".peershare" / "2-bee.part").symlink_to(target)
        self.assertRaises(StorageError, PartFile, self.folder, "2-bee.part")
        other = Path(self.mktemp())
        other.mkdir()
        (other / ".peershare").symlink_to(self.folder)
        self.assertRaises(StorageError, PartFile, other, "1-forest.part")
        self.assertEqual(target.read_bytes(), b"precious")

    def test_what_is_no_file_is_in_the_way(self) -> None:
        """A pipe in the place of the part does not hang us, a file is no folder."""
        os.mkfifo(self.folder / ".peershare" / "pipe")
        with self.assertRaises(StorageError) as caught:
            PartFile(self.folder, "pipe")
        self.assertIn("in the way", str(caught.exception))
        (self.folder / "file").write_bytes(b"")
        self.assertRaises(StorageError, PartFile, self.folder / "file", "1-forest.part")


class WritingTests(PartTestCase):
    def test_each_byte_at_its_place(self) -> None:
        """Chunks can come in any order."""
        self.part.write_at(b"world", 6)
        self.part.write_at(b"hello ", 0)
        self.assertEqual(self.part.path.read_bytes(), b"hello world")
        self.assertEqual(self.part.size, 11)

    def test_a_write_that_is_taken_in_pieces(self) -> None:
        """The kernel may take less than was offered; the rest follows."""
        real = os.pwrite
        self.patch(parts.os, "pwrite", lambda fd, data, at: real(fd, data[:3], at))
        self.part.write_at(b"hello world", 0)
        self.assertEqual(self.part.path.read_bytes(), b"hello world")

    def test_a_full_disk_is_named_with_the_bytes_needed(self) -> None:
        """The error is ours, names the folder, and how much room is missing at least."""
        disk = FakeDisk(self.patch)
        disk.full_after = 4
        with self.assertRaises(StorageError) as caught:
            self.part.write_at(b"hello world", 0)
        self.assertEqual(caught.exception.needed_bytes, 7)
        self.assertIn(str(self.folder), str(caught.exception))
        self.assertIn("the disk is full", str(caught.exception))

    def test_a_failing_disk_is_named(self) -> None:
        """Whatever the disk says is told, with the path."""

        def fail(*_: object) -> int:
            raise OSError(errno.EIO, "Input/output error")

        self.patch(parts.os, "pwrite", fail)
        with self.assertRaises(StorageError) as caught:
            self.part.write_at(b"hello", 0)
        self.assertIn("Input/output error", str(caught.exception))
        self.assertIsNone(caught.exception.needed_bytes)

    def test_room_is_asked_for_beforehand(self) -> None:
        """More than there is on the disk is refused, naming what is missing; nothing is made."""
        room = os.statvfs(self.folder)
        free = room.f_bavail * room.f_frsize
        self.part.check_room(1)
        with self.assertRaises(StorageError) as caught:
            self.part.check_room(free + (1 << 40))
        self.assertGreater(caught.exception.needed_bytes or 0, 1 << 39)
        self.assertEqual(self.part.size, 0)


class CheckingTests(PartTestCase):
    def test_digest_of_a_range(self) -> None:
        """BLAKE3 of exactly that range, read in pieces where it is long."""
        data = bytes(range(256)) * 10_000
        self.part.write_at(data, 0)
        self.assertEqual(self.part.hash(0, len(data)), blake3(data).digest())
        self.assertEqual(self.part.hash(5, 2_000_003), blake3(data[5:2_000_008]).digest())
        self.assertEqual(self.part.sync_and_hash(1, 3), blake3(data[1:4]).digest())

    def test_abandoned(self) -> None:
        """A worker that reads for long gives up when nobody waits for it any more."""
        self.part.write_at(bytes(5_000_000), 0)
        self.part.abandon()
        self.assertIsNone(self.part.hash(0, 5_000_000))
        self.assertRaises(StorageError, self.part.move, 0, 5_000_000, 5_000_000)

    def test_a_range_that_is_not_there(self) -> None:
        """A file that became shorter holds none of it; right after writing that is an error."""
        self.part.write_at(b"hello", 0)
        self.assertIsNone(self.part.hash(0, 6))
        self.assertRaises(StorageError, self.part.sync_and_hash, 0, 6)

    def test_moving_a_range(self) -> None:
        """The first chunk that came lies at the front until it is known where it belongs."""
        data = os.urandom(2_500_000)
        self.part.write_at(data, 0)
        self.part.move(0, 2_500_000, 2_500_000)
        self.assertEqual(self.part.hash(2_500_000, 2_500_000), blake3(data).digest())

    def test_moving_what_cannot_be_read(self) -> None:
        """A disk that cannot give back what it took is a StorageError, and so is a short file."""
        self.part.write_at(b"hello", 0)
        self.assertRaises(StorageError, self.part.move, 5, 10, 1)

        def fail(*_: object) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

        self.patch(parts.os, "pread", fail)
        self.assertRaises(StorageError, self.part.move, 0, 10, 5)


class FinishingTests(PartTestCase):
    def test_final_name_and_mode(self) -> None:
        """Cut to its size, readable as files of the user are, and nothing left behind."""
        self.part.write_at(b"hello world and what a former attempt left", 0)
        final = self.part.finish("forest.png", 11)
        self.assertEqual(final, self.folder / "forest.png")
        self.assertEqual(final.read_bytes(), b"hello world")
        (self.folder / "made by the user").write_bytes(b"")
        self.assertEqual(final.stat().st_mode, (self.folder / "made by the user").stat().st_mode)
        self.assertFalse(self.part.path.exists())

    def test_order_of_durability(self) -> None:
        """Data first, then the name, then the folder: no name before the bytes are safe."""
        events: list[str] = []
        real_fsync, real_link = os.fsync, os.link

        def fsync(descriptor: int) -> None:
            is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
            events.append("sync folder" if is_folder else "sync data")
            real_fsync(descriptor)

        def link(*arguments: object, **options: object) -> None:
            events.append("name")
            real_link(*arguments, **options)  # type: ignore[arg-type]

        self.part.write_at(b"hello", 0)
        self.patch(os, "fsync", fsync)
        self.patch(os, "link", link)
        self.part.finish("forest.png", 5)
        self.assertEqual(events, ["sync data", "name", "sync folder"])

    def test_never_over_another_file(self) -> None:
        """A different file of that name stays, ours becomes (2)."""
        (self.folder / "forest.png").write_bytes(b"precious")
        self.part.write_at(b"hello", 0)
        self.assertEqual(self.part.finish("forest.png", 5).name, "forest (2).png")
        self.assertEqual((self.folder / "forest.png").read_bytes(), b"precious")

    def test_an_equal_file_is_the_result(self) -> None:
        """The user has it already: the part goes, the file stays as it is."""
        there = self.folder / "forest.png"
        there.write_bytes(b"hello")
        before = there.stat()
        self.part.write_at(b"hello", 0)
        self.assertEqual(self.part.finish("forest.png", 5), there)
        self.assertEqual(there.stat().st_ino, before.st_ino)
        self.assertFalse(self.part.path.exists())

    def test_a_disk_that_cannot_sync(self) -> None:
        """No final name, the part is kept, and it can be tried again."""
        real = os.fsync

        def fail(_: int) -> None:
            raise OSError(errno.EIO, "Input/output error")

        self.patch(os, "fsync", fail)
        self.part.write_at(b"hello", 0)
        self.assertRaises(StorageError, self.part.finish, "forest.png", 5)
        self.assertEqual([p.name for p in self.folder.iterdir()], [".peershare"])
        self.patch(os, "fsync", real)
        self.assertEqual(self.part.finish("forest.png", 5).read_bytes(), b"hello")

    def test_part_replaced_by_name(self) -> None:
        """The name is given to what was checked, and a stranger's file stays where it is."""
        self.part.write_at(b"hello", 0)
        self.part.path.rename(self.part.path.with_name("kept"))
        self.part.path.write_bytes(b"older")
        self.assertEqual(self.part.finish("forest.png", 5).read_bytes(), b"hello")
        self.assertEqual(self.part.path.read_bytes(), b"older")

    def test_folders_removed(self) -> None:
        """The hidden folder, or the whole destination, is removed while it arrives."""
        for folder in (self.part.path.parent, self.folder):
            part = PartFile(self.folder, "2-bee.part")
            part.write_at(b"hello", 0)
            shutil.rmtree(folder)
            final = part.finish("forest.png", 5)
            self.assertEqual(final, self.folder / "forest.png")
            self.assertEqual(final.read_bytes(), b"hello")
            self.assertEqual([path.name for path in self.folder.iterdir()], ["forest.png"])

    def test_folder_swapped(self) -> None:
        """The hidden folder is replaced by somebody's with a file of the part's name in it."""
        self.part.write_at(b"hello", 0)
        self.part.path.parent.rename(self.folder / ".old")
        self.part.path.parent.mkdir()
        self.part.path.write_bytes(b"evil!")
        self.assertEqual(self.part.finish("forest.png", 5).read_bytes(), b"hello")
        self.assertEqual(self.part.path.read_bytes(), b"evil!")

    def test_no_modes(self) -> None:
        """On CIFS and NTFS nothing has a mode that can be changed."""
        self.part.write_at(b"hello", 0)
        self.patch(os, "fchmod", fail_with(errno.EPERM))
        self.assertEqual(self.part.finish("forest.png", 5).read_bytes(), b"hello")

    def test_again_after_each_error(self) -> None:
        """Whatever call fails: no name without its bytes, and the second try ends it."""
        for call in ("ftruncate", "fchmod", "fsync", "link", "unlink", "open", "listdir", "mkdir"):
            for number in (errno.EIO, errno.EROFS, errno.ENOSPC, errno.EMFILE):
                name = f"{call}-{number}.png"
                part = PartFile(self.folder, "2-bee.part")
                part.write_at(b"hello", 0)
                patch = self.patch(os, call, fail_with(number))
                with contextlib.suppress(StorageError):
                    part.finish(name, 4)
                patch.restore()
                if (self.folder / name).exists():
                    self.assertEqual((self.folder / name).read_bytes(), b"hell")
                if part.descriptor >= 0:
                    self.assertEqual(part.finish(name, 4), self.folder / name)
                (self.folder / name).unlink()
                self.assertFalse(part.path.exists())
        self.assertEqual(list(self.folder.glob("*.png")), [])

    def test_name_that_was_given_before(self) -> None:
        """A kill right after the final name left the part's, too: it is one file, and stays."""
        self.part.write_at(b"hello", 0)
        self.part.close()
        final = self.folder / "forest.png"
        os.link(self.part.path, final)
        again = PartFile(self.folder, "1-forest.part")
        self.assertEqual(again.finish("forest.png", 5), final)
        self.assertEqual([p.name for p in self.folder.iterdir()], ["forest.png"])

    def test_what_has_a_name_is_a_users(self) -> None:
        """What is written to such a part does not change the user's file."""
        self.part.write_at(b"hello", 0)
        self.part.close()
        final = self.folder / "forest.png"
        os.link(self.part.path, final)
        for change in (lambda part: part.write_at(b"J", 0), lambda part: part.truncate()):
            again = PartFile(self.folder, "1-forest.part")
            self.addCleanup(again.close)
            change(again)
            self.assertEqual(final.read_bytes(), b"hello")
            self.assertIn(again.path.read_bytes(), (b"Jello", b""))
            self.assertRaises(StorageError, PartFile, self.folder, "1-forest.part")
            again.close()
            again.path.unlink()
            os.link(final, again.path)


class BeginningTests(SynchronousTestCase):
    """Where nothing can get a name it is said before a byte is fetched."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())

    def refused(self) -> str:
        with self.assertRaises(StorageError) as caught:
            PartFile(self.folder, "1-forest.part")
        return str(caught.exception)

    def test_neither_links_nor_renames(self) -> None:
        """The sentence says which folder, why, and what to do."""
        before = open_files()
        self.patch(os, "link", fail_with(errno.EPERM))
        self.patch(files, "_exclusive_rename", lambda: (None, 0))
        said = self.refused()
        self.assertIn(str(self.folder), said)
        self.assertIn("neither hard links nor a rename", said)
        self.assertEqual(open_files(), before)

    def test_one_of_them(self) -> None:
        """Renames are enough, and leave the part where it is."""
        self.patch(os, "link", fail_with(errno.EPERM))
        part = PartFile(self.folder, "1-forest.part")
        self.addCleanup(part.close)
        self.assertEqual([path.name for path in part.path.parent.iterdir()], ["1-forest.part"])

    def test_killed_while_it_was_tried(self) -> None:
        """What that left is taken away."""
        part = PartFile(self.folder, "1-forest.part")
        part.close()
        os.link(part.path, f"{part.path}~")
        again = PartFile(self.folder, "1-forest.part")
        self.addCleanup(again.close)
        self.assertEqual([path.name for path in part.path.parent.iterdir()], ["1-forest.part"])

    def test_no_descriptor_is_left(self) -> None:
        """Whatever fails while it is opened: what was open is closed."""
        for call in ("open", "mkdir", "fstat", "link", "unlink", "stat"):
            for number in (errno.EMFILE, errno.EIO, errno.EROFS):
                before = open_files()
                patch = self.patch(os, call, fail_with(number, getattr(os, call), 2))
                with contextlib.suppress(StorageError):
                    PartFile(self.folder, f"{call}.part").close()
                patch.restore()
                self.assertEqual(open_files(), before, call)


def open_files() -> int:
    """How many descriptors are open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def fail_with(number: int, real: Any = None, good: int = 0) -> Callable[..., Any]:
    """A function of `os` that fails, after `good` calls of the real one."""
    left = [good]

    def fail(*arguments: Any, **more: Any) -> Any:
        left[0] -= 1
        if left[0] >= 0:
            return real(*arguments, **more)
        raise OSError(number, os.strerror(number))

    return fail
