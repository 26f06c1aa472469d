"""Opening and naming files: nothing is followed that was not meant, nothing is overwritten."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from peershare.errors import StorageError
from peershare.library import files
from peershare.library.files import (
    AstrayError,
    Identity,
    Name,
    OpenFolder,
    give_name,
    identity_of,
    name_file,
    open_regular,
    set_mode,
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


class NamingTestCase(FolderTestCase):
    """A file of ours on its way: `part` in a hidden folder, open as `descriptor`."""

    def setUp(self) -> None:
        super().setUp()
        self.hidden = self.folder / ".hidden"
        self.hidden.mkdir()
        self.into = self.opened(OpenFolder(self.folder))
        self.private = self.opened(OpenFolder(self.hidden))

    def opened(self, folder: OpenFolder) -> OpenFolder:
        self.addCleanup(folder.close)
        return folder

    def part(self, data: bytes = b"data") -> int:
        (self.hidden / "part").unlink(missing_ok=True)
        self.descriptor = self.private.create("part")
        self.addCleanup(os.close, self.descriptor)
        os.write(self.descriptor, data)
        return self.descriptor

    @property
    def own(self) -> Name:
        return Name(self.private, "part")

    def give(self, name: str) -> None:
        give_name(self.descriptor, self.into, name, self.own)

    def named(self, wanted: str) -> str:
        return name_file(self.into, wanted, self.descriptor, self.own).name

    def visible(self) -> dict[str, bytes]:
        """What is in the folder, without the hidden folder: names and bytes."""
        files = [path for path in self.folder.iterdir() if path != self.hidden]
        return {path.name: path.read_bytes() for path in sorted(files)}

    def fails(self, call: str, number: int) -> None:
        """From now on this function of `os` fails."""

        def fail(*_: object, **__: object) -> None:
            raise OSError(number, os.strerror(number))

        self.patch(files.os, call, fail)

    def no_rename(self) -> None:
        """This file system, or this system, does not rename without overwriting."""

        def fail(*_: object) -> int:
            ctypes.set_errno(errno.EINVAL)
            return -1

        self.patch(files, "_exclusive_rename", lambda: (fail, 1))

    def before_rename(self, do: Callable[[], None]) -> None:
        """Somebody does this at the last moment before a rename, once."""
        real, flag = files._exclusive_rename()
        todo = [do]

        def rename(*arguments: Any) -> Any:
            if todo:
                todo.pop()()
            return real(*arguments)

        self.patch(files, "_exclusive_rename", lambda: (rename, flag))

    def swap(self) -> None:
        """Something else gets the part's name."""
        (self.hidden / "part").unlink()
        (self.hidden / "part").write_bytes(b"evil")


class GivingTests(NamingTestCase):
    """One name for an open file; what is found under a name decides nothing."""

    def test_linked(self) -> None:
        """It is the file that is open, and the other name is left to whoever gave it."""
        self.part()
        self.give("forest.png")
        self.assertEqual(self.visible(), {"forest.png": b"data"})
        self.assertTrue(self.into.leads_to("forest.png", self.descriptor))
        self.private.unlink("part", self.descriptor)
        self.assertEqual(list(self.hidden.iterdir()), [])

    def test_never_over_an_existing_file(self) -> None:
        """What is there stays, a dangling link, too; with and without hard links."""
        self.file("forest.png", b"precious")
        (self.folder / "link").symlink_to("nowhere")
        self.part()
        for number in (0, *files.NO_LINKS):
            if number:
                self.fails("link", number)
            for name in ("forest.png", "link"):
                self.assertRaises(FileExistsError, self.give, name)
        self.assertEqual((self.folder / "forest.png").read_bytes(), b"precious")
        self.assertTrue(self.private.leads_to("part", self.descriptor))

    def test_replaced_by_name(self) -> None:
        """Whatever has the part's name by now does not get ours."""
        self.part()
        (self.hidden / "kept").hardlink_to(self.hidden / "part")
        self.swap()
        self.give("forest.png")
        self.assertEqual(self.visible(), {"forest.png": b"data"})
        self.private.unlink("part", self.descriptor)
        self.assertEqual((self.hidden / "part").read_bytes(), b"evil")

    def test_without_hard_links(self) -> None:
        """The name moves in one step, whatever the file system says instead of linking."""
        for number in files.NO_LINKS:
            self.fails("link", number)
            self.part(b"%d" % number)
            self.give(f"{number}.png")
            self.assertFalse((self.hidden / "part").exists())
            self.assertTrue(self.into.leads_to(f"{number}.png", self.descriptor))

    def test_other_errors_leave_nothing(self) -> None:
        """A disk that fails is no file system without links: no name, no empty file."""
        self.part()
        for number in (errno.EIO, errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EACCES):
            self.fails("link", number)
            failed = self.assertRaises(OSError, self.give, "forest.png")
            self.assertEqual((failed.errno, self.visible()), (number, {}))

    def test_no_proc(self) -> None:
        """Without /proc it is renamed."""
        self.fails("link", errno.ENOENT)
        self.part()
        self.give("forest.png")
        self.assertEqual(self.visible(), {"forest.png": b"data"})

    def test_neither(self) -> None:
        """It says what to do, and leaves nothing."""
        self.fails("link", errno.EPERM)
        self.no_rename()
        self.part()
        failed = self.assertRaises(OSError, self.give, "forest.png")
        self.assertIn("choose a folder on another one", str(failed))
        self.assertEqual(self.visible(), {})

    def test_stranger_moved_back(self) -> None:
        """What got the part's name in the last moment is put back, and never keeps ours."""
        self.fails("link", errno.EPERM)
        self.part()
        self.before_rename(self.swap)
        self.assertRaises(AstrayError, self.give, "forest.png")
        self.assertEqual(self.visible(), {})
        self.assertEqual((self.hidden / "part").read_bytes(), b"evil")

    def test_stranger_with_a_successor(self) -> None:
        """Where its name is taken again, too, it gets another hidden one."""
        self.fails("link", errno.EPERM)
        self.part()
        real, flag = files._exclusive_rename()

        def rename(*arguments: Any) -> Any:
            if arguments[1] == b"part":
                self.swap()
            else:
                (self.hidden / "part").touch()
            return real(*arguments)

        self.patch(files, "_exclusive_rename", lambda: (rename, flag))
        self.assertRaises(AstrayError, self.give, "forest.png")
        self.assertEqual(self.visible(), {})
        self.assertEqual((self.hidden / "part.1").read_bytes(), b"evil")


class NamingTests(NamingTestCase):
    """What is open gets its name in any case, if need be as a copy."""

    def test_unlinked(self) -> None:
        """Somebody tidied up: the bytes are still here."""
        self.part()
        (self.hidden / "part").unlink()
        self.assertEqual(self.named("forest.png"), "forest.png")
        self.assertEqual(self.visible(), {"forest.png": b"data"})

    def test_whole_folder_removed(self) -> None:
        """The same where the hidden folder went with it."""
        self.part()
        (self.hidden / "part").unlink()
        self.hidden.rmdir()
        self.assertEqual(self.named("forest.png"), "forest.png")
        self.assertEqual(self.visible(), {"forest.png": b"data"})

    def test_unlinked_without_hard_links(self) -> None:
        """Removed, or replaced, and nothing but a rename."""
        for spoil in ((self.hidden / "part").unlink, self.swap):
            (self.folder / "forest.png").unlink(missing_ok=True)
            self.part()
            with self.patched_link(errno.EPERM):
                spoil()
                self.assertEqual(self.named("forest.png"), "forest.png")
            self.assertEqual(self.visible(), {"forest.png": b"data"})

    def test_swapped_before_the_rename(self) -> None:
        """A stranger's file is moved back, ours is copied from what is open."""
        self.part()
        with self.patched_link(errno.EPERM):
            self.before_rename(self.swap)
            self.assertEqual(self.named("forest.png"), "forest.png")
        self.assertEqual(self.visible(), {"forest.png": b"data"})

    def test_another_file_system(self) -> None:
        """It is copied where it cannot be linked to, by its error alone."""
        self.part(b"x" * 3_000_000)
        real = os.link

        def link(source: str, name: str, **more: Any) -> None:
            if os.path.samestat(Path(source).stat(), os.fstat(self.descriptor)):
                raise OSError(errno.EXDEV, "Invalid cross-device link")
            real(source, name, **more)

        def rename(*_: object) -> int:
            ctypes.set_errno(errno.EXDEV)
            return -1

        self.patch(files.os, "link", link)
        self.patch(files, "_exclusive_rename", lambda: (rename, 1))
        self.assertEqual(self.named("forest.png"), "forest.png")
        self.assertEqual(self.visible(), {"forest.png": b"x" * 3_000_000})

    def test_a_real_other_file_system(self) -> None:
        """From the memory of this machine, where there is such a place."""
        elsewhere = Path("/dev/shm")
        if not elsewhere.is_dir() or elsewhere.stat().st_dev == self.folder.stat().st_dev:
            raise SkipTest("there is no second file system here")
        own = Name(self.opened(OpenFolder(elsewhere)), f"peershare-test-{os.getpid()}")
        descriptor = own.folder.create(own.name)
        self.addCleanup(os.close, descriptor)
        self.addCleanup(own.folder.unlink, own.name, descriptor)
        os.write(descriptor, b"data")
        self.assertEqual(name_file(self.into, "a.png", descriptor, own).name, "a.png")
        self.assertEqual(self.visible(), {"a.png": b"data"})

    def test_no_room_for_a_copy(self) -> None:
        """A copy that fails leaves nothing, not even a hidden one."""
        self.part()
        (self.hidden / "part").unlink()
        self.fails("pwrite", errno.ENOSPC)
        self.assertRaises(OSError, self.named, "forest.png")
        self.assertEqual(self.visible(), {})

    def test_equal_file_swapped_meanwhile(self) -> None:
        """What was compared is not what has the name any more: it is no answer."""
        self.part()
        there = self.file("forest.png")
        real = files._equal

        def equal(theirs: int, ours: int) -> bool:
            found = real(theirs, ours)
            there.unlink()
            there.write_bytes(b"evil")
            return found

        self.patch(files, "_equal", equal)
        self.assertEqual(self.named("forest.png"), "forest (2).png")
        self.assertEqual((self.folder / "forest (2).png").read_bytes(), b"data")

    def test_equal_file_changed_meanwhile(self) -> None:
        """The same where its bytes change after they were read."""
        self.part()
        there = self.file("forest.png")
        real = files._equal

        def equal(theirs: int, ours: int) -> bool:
            found = real(theirs, ours)
            there.write_bytes(b"evil")
            os.utime(there, ns=(1, 1))
            return found

        self.patch(files, "_equal", equal)
        self.assertEqual(self.named("forest.png"), "forest (2).png")

    def test_folder_renamed_meanwhile(self) -> None:
        """The name is given in the folder that was opened, wherever it is by now."""
        self.part()
        moved = self.folder.with_name("moved")
        self.folder.rename(moved)
        self.folder.mkdir()
        self.assertEqual(self.named("forest.png"), "forest.png")
        self.assertEqual(list(self.folder.iterdir()), [])
        self.assertEqual((moved / "forest.png").read_bytes(), b"data")
        self.assertEqual(self.into.path, moved.resolve())

    def test_modes_that_do_not_exist(self) -> None:
        """A file system without modes is no reason to fail; a failing disk is."""
        self.part()
        for number in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
            self.fails("fchmod", number)
            set_mode(self.descriptor, 0o644)
        for number in (errno.EIO, errno.EROFS):
            self.fails("fchmod", number)
            self.assertRaises(OSError, set_mode, self.descriptor, 0o644)

    @contextmanager
    def patched_link(self, number: int) -> Iterator[None]:
        def fail(*_: object, **__: object) -> None:
            raise OSError(number, os.strerror(number))

        patch = self.patch(files.os, "link", fail)
        try:
            yield
        finally:
            patch.restore()


class FreeNameTests(NamingTestCase):
    def place(self, wanted: str, data: bytes = b"data") -> str:
        self.part(data)
        return self.named(wanted)

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
        self.assertEqual(sorted(self.visible()), ["forest (2).png", "forest.png"])

    def test_the_same_file_is_the_answer(self) -> None:
        """A crash between link and unlink left both names: it is one file."""
        self.part()
        os.link(self.hidden / "part", self.folder / "forest.png")
        self.assertEqual(self.named("forest.png"), "forest.png")

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
        self.part(b"ours")
        real = os.link

        def late(source: str, name: str, **more: Any) -> None:
            if name == "forest.png":
                (self.folder / name).write_bytes(b"theirs")
            real(source, name, **more)

        self.patch(files.os, "link", late)
        self.assertEqual(self.named("forest.png"), "forest (2).png")
        self.assertEqual((self.folder / "forest.png").read_bytes(), b"theirs")

    def test_syncing_a_folder(self) -> None:
        """A folder can be synced; what is none cannot."""
        sync_folder(self.folder)
        self.assertRaises(OSError, sync_folder, self.file("file"))
