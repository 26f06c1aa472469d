"""Opening and naming files: nothing is followed that was not meant, nothing is overwritten."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from peershare.errors import StorageError
from peershare.library import files
from peershare.library.files import (
    Identity,
    identity_of,
    move_without_overwriting,
    open_regular,
    place_at_free_name,
    storage_errors,
    sync_folder,
)


class FolderTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir(parents=True)

    def file(self, name: str, data: bytes = b"data") -> Path:
        path = self.folder / name
        path.write_bytes(data)
        return path

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


class OpeningTests(FolderTestCase):
    def test_a_regular_file(self) -> None:
        """It is opened for reading, and not for the programs that we start."""
        descriptor = open_regular(self.file("forest.png"))
        self.addCleanup(os.close, descriptor)
        self.assertEqual(os.read(descriptor, 10), b"data")
        self.assertFalse(os.get_inheritable(descriptor))

    def test_a_link_is_not_followed(self) -> None:
        """A link that was put there between listing and opening leads nowhere."""
        link = self.folder / "link"
        link.symlink_to(self.file("secret"))
        self.assertRaises(OSError, open_regular, link)

    def test_a_pipe_does_not_block(self) -> None:
        """A FIFO without a writer would hold up a plain open for ever."""
        pipe = self.folder / "pipe"
        os.mkfifo(pipe)
        self.assertRaises(OSError, open_regular, pipe)

    def test_what_is_no_file_is_refused(self) -> None:
        """A folder, a socket: nothing that is served; no descriptor stays open."""
        listening = socket.socket(socket.AF_UNIX)
        self.addCleanup(listening.close)
        with socket.socket() as probe:
            before = probe.fileno()
        here = Path.cwd()
        os.chdir(self.folder)  # the name of a socket must be short
        self.addCleanup(os.chdir, here)
        listening.bind("socket")
        self.assertRaises(OSError, open_regular, Path("socket"))
        self.assertRaises(OSError, open_regular, Path())
        with socket.socket() as probe:
            self.assertEqual(probe.fileno(), before)


class IdentityTests(FolderTestCase):
    def test_changes_with_the_bytes(self) -> None:
        """Another size or time is another identity."""
        path = self.file("forest.png")
        before = identity_of(path)
        self.assertEqual(before, identity_of(path))
        path.write_bytes(b"other")
        self.assertNotEqual(before, identity_of(path))
        os.utime(path, ns=(0, 0))
        assert before is not None
        self.assertEqual(identity_of(path), Identity(before.device, before.inode, 5, 0))

    def test_of_what_is_no_regular_file(self) -> None:
        """Nothing there, a link, a folder: None."""
        link = self.folder / "link"
        link.symlink_to(self.file("forest.png"))
        for path in (self.folder / "nothing", link, self.folder):
            self.assertIsNone(identity_of(path))


class ErrorTests(SynchronousTestCase):
    def test_names_path_deed_and_cause(self) -> None:
        """The sentence says what could not be done to which path, and why."""
        with self.assertRaises(StorageError) as caught, storage_errors("/there", "write"):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        self.assertEqual(str(caught.exception), "/there: cannot write: Read-only file system")


class MovingTests(FolderTestCase):
    def test_moves(self) -> None:
        """The file has its new name, and only that."""
        move_without_overwriting(self.file("part"), self.folder / "forest.png")
        self.assertEqual(self.names(), ["forest.png"])

    def test_never_over_an_existing_file(self) -> None:
        """What is there stays, and so does what was to be moved."""
        there, part = self.file("forest.png", b"precious"), self.file("part")
        self.assertRaises(FileExistsError, move_without_overwriting, part, there)
        self.assertEqual(there.read_bytes(), b"precious")
        self.assertEqual(self.names(), ["forest.png", "part"])

    def test_never_over_a_dangling_link(self) -> None:
        """A name that leads nowhere is taken too."""
        link = self.folder / "forest.png"
        link.symlink_to("nowhere")
        self.assertRaises(FileExistsError, move_without_overwriting, self.file("part"), link)

    def test_where_there_are_no_hard_links(self) -> None:
        """On FAT the name is held by an empty file of our own, then replaced."""

        def no_links(*_: object, **__: object) -> None:
            raise PermissionError(errno.EPERM, "Operation not permitted")

        self.patch(files.os, "link", no_links)
        move_without_overwriting(self.file("part"), self.folder / "forest.png")
        self.assertEqual(self.names(), ["forest.png"])
        self.assertEqual((self.folder / "forest.png").read_bytes(), b"data")
        again = self.file("part")
        self.assertRaises(
            FileExistsError, move_without_overwriting, again, self.folder / "forest.png"
        )


class FreeNameTests(FolderTestCase):
    def place(self, wanted: str, data: bytes = b"data") -> str:
        source = self.folder.parent / "source"
        source.write_bytes(data)
        placed = place_at_free_name(self.folder, wanted, source, move_without_overwriting)
        return placed.name

    def test_a_free_name(self) -> None:
        """Nothing in the way: the name as wanted."""
        self.assertEqual(self.place("forest.png"), "forest.png")

    def test_a_taken_name_gets_a_number(self) -> None:
        """Different files keep their bytes; the new one is (2), then (3)."""
        self.file("forest.png", b"a")
        self.assertEqual(self.place("forest.png", b"b"), "forest (2).png")
        self.assertEqual(self.place("forest.png", b"c"), "forest (3).png")
        self.assertEqual(self.place("v1.2", b"d"), "v1.2")
        self.assertEqual(self.place("v1.2", b"e"), "v1.2 (2)")
        self.assertEqual((self.folder / "forest.png").read_bytes(), b"a")

    def test_an_identical_file_is_the_answer(self) -> None:
        """The same bytes need no second place, whichever number they have."""
        self.file("forest.png", b"a")
        self.file("forest (2).png", b"b")
        self.assertEqual(self.place("forest.png", b"b"), "forest (2).png")
        self.assertEqual(self.names(), ["forest (2).png", "forest.png"])

    def test_the_same_file_is_the_answer(self) -> None:
        """A crash between link and unlink left both names: it is one file."""
        source = self.file("part")
        os.link(source, self.folder / "forest.png")
        placed = place_at_free_name(self.folder, "forest.png", source, move_without_overwriting)
        self.assertEqual(placed.name, "forest.png")

    def test_names_that_collide_elsewhere_are_taken(self) -> None:
        """A name that differs by case or normal form would be the same file on other systems."""
        self.file("Forest.PNG", b"a")
        self.file("a\u0308.png", b"a")
        self.assertEqual(self.place("forest.png", b"b"), "forest (2).png")
        self.assertEqual(self.place("\u00e4.png", b"b"), "\u00e4 (2).png")

    def test_folders_and_links_are_in_the_way(self) -> None:
        """Nothing that has the name is replaced, whatever it is."""
        (self.folder / "forest.png").mkdir()
        (self.folder / "forest (2).png").symlink_to("nowhere")
        self.assertEqual(self.place("forest.png"), "forest (3).png")

    def test_a_name_taken_at_the_last_moment(self) -> None:
        """Somebody makes the file after we looked: it is theirs, we take the next name."""
        source = self.file("part", b"ours")

        def late(source: Path, target: Path) -> None:
            if target.name == "forest.png":
                target.write_bytes(b"theirs")
            move_without_overwriting(source, target)

        placed = place_at_free_name(self.folder, "forest.png", source, late)
        self.assertEqual(placed.name, "forest (2).png")
        self.assertEqual((self.folder / "forest.png").read_bytes(), b"theirs")

    def test_syncing_a_folder(self) -> None:
        """A folder can be synced; what is none cannot."""
        sync_folder(self.folder)
        self.assertRaises(OSError, sync_folder, self.file("file"))
