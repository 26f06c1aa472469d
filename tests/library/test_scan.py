"""Scanning the share folder: what is offered, and from when on."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from peershare.library import scan as module
from peershare.library.entries import SharedFile
from peershare.library.files import Identity
from peershare.library.scan import LONG_REST_SECONDS, REST_SECONDS, FolderScan, Scanner


class ScanTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir(parents=True)
        self.scanner = Scanner(self.folder)
        self.now = 1_000.0
        self.file("forest.png")
        self.wall = self.changed_at("forest.png") + 3_600

    def file(self, name: str, data: bytes = b"data") -> Path:
        path = self.folder / name
        path.write_bytes(data)
        return path

    def changed_at(self, name: str) -> float:
        return (self.folder / name).stat().st_ctime

    def scan(self) -> FolderScan:
        return self.scanner.scan(self.wall, self.now)


class WhatTests(ScanTestCase):
    def test_regular_files_with_their_identity(self) -> None:
        """Each by its name, with what it is known by."""
        found = self.scan()
        self.assertEqual(
            found.files, {"forest.png": Identity.of((self.folder / "forest.png").stat())}
        )
        self.assertEqual((found.left_out, found.problem), ({}, ""))

    def test_no_dotfiles(self) -> None:
        """What is hidden is never offered; of files it is said."""
        self.file(".profile")
        (self.folder / ".peershare").mkdir()
        found = self.scan()
        self.assertEqual(list(found.files), ["forest.png"])
        self.assertEqual(found.left_out, {".profile": "its name begins with a dot"})

    def test_folders_are_named_only(self) -> None:
        """Sub-folders are left for later; nothing in them is looked at."""
        (self.folder / "sub").mkdir()
        self.file("sub/inner.png")
        found = self.scan()
        self.assertEqual((list(found.files), list(found.left_out)), (["forest.png"], ["sub"]))

    def test_nothing_that_is_no_regular_file(self) -> None:
        """Links (to files of the folder too), FIFOs and sockets are named, never offered."""
        (self.folder / "link").symlink_to("forest.png")
        (self.folder / "away").symlink_to("/etc/passwd")
        (self.folder / "to folder").symlink_to("/etc")
        os.mkfifo(self.folder / "pipe")
        listening = socket.socket(socket.AF_UNIX)
        self.addCleanup(listening.close)
        here = Path.cwd()
        os.chdir(self.folder)
        self.addCleanup(os.chdir, here)
        listening.bind("socket")
        os.chdir(here)
        found = self.scan()
        self.assertEqual(list(found.files), ["forest.png"])
        reasons = {name: reason.split()[2:4] for name, reason in found.left_out.items()}
        link = ["a", "symbolic"]
        self.assertEqual(
            reasons,
            {"away": link, "link": link, "to folder": link}
            | {"pipe": ["a", "named"], "socket": ["a", "socket,"]},
        )

    def test_no_permission(self) -> None:
        """A file that this user may not read is left out, whatever is known of its bytes."""
        self.file("secret.txt").chmod(0o000)
        if os.geteuid() == 0:
            self.patch(module.os, "access", lambda *_, **__: False)
        found = self.scan()
        self.assertEqual(list(found.files), ["forest.png"])
        self.assertIn("permission", found.left_out["secret.txt"])

    def test_hard_links_are_files(self) -> None:
        """Two names of one file are two files."""
        os.link(self.folder / "forest.png", self.folder / "again.png")
        self.assertEqual(sorted(self.scan().files), ["again.png", "forest.png"])

    def test_names_that_are_no_text(self) -> None:
        """A name that is not UTF-8 does not stop the scan."""
        with open(os.fsencode(self.folder) + b"/\xff\xfe.png", "wb"):  # noqa: PTH123 - bytes
            pass
        self.assertEqual(len(self.scan().files), 2)

    def test_a_folder_that_cannot_be_read(self) -> None:
        """It is a problem that is named, not an exception; nothing is offered."""
        found = Scanner(self.folder / "gone").scan(self.wall, self.now)
        self.assertIn("No such file", found.problem)
        self.assertEqual(found.files, {})


class RestTests(ScanTestCase):
    def test_a_file_at_rest_for_a_second(self) -> None:
        """By its own times, at the first look."""
        self.wall = self.changed_at("forest.png") + REST_SECONDS
        self.assertEqual(list(self.scan().files), ["forest.png"])

    def test_a_file_that_changed_a_moment_ago(self) -> None:
        """It is not offered, but known to be restless."""
        self.wall = self.changed_at("forest.png") + REST_SECONDS - 0.01
        found = self.scan()
        self.assertEqual((list(found.files), list(found.restless)), ([], ["forest.png"]))

    def test_an_old_time_on_a_new_file(self) -> None:
        """A copy that keeps the old modification time changed when its inode did."""
        os.utime(self.folder / "forest.png", (0, 0))
        self.wall = self.changed_at("forest.png") + 0.5
        self.assertEqual(list(self.scan().files), [])

    def test_a_time_in_the_future(self) -> None:
        """A clock that was set back hides no file: unchanged for a second is at rest."""
        self.wall = self.changed_at("forest.png") - 10_000
        self.assertEqual(list(self.scan().files), [])
        self.now += 0.5
        self.assertEqual(list(self.scan().files), [])
        self.now += 0.5
        self.assertEqual(list(self.scan().files), ["forest.png"])

    def test_every_change_begins_the_second_anew(self) -> None:
        """A file that is being written is not offered before it is done."""
        self.wall = self.changed_at("forest.png") - 10_000
        for size in range(5):
            self.file("forest.png", b"x" * size)
            self.assertEqual(list(self.scan().files), [])
            self.now += 0.9
        self.now += 0.1
        self.assertEqual(list(self.scan().files), ["forest.png"])

    def test_what_was_seen_is_forgotten_with_the_file(self) -> None:
        """A file that went and came again begins its second anew."""
        self.wall = self.changed_at("forest.png") - 10_000
        self.scan()
        (self.folder / "forest.png").rename(self.folder / ".hidden")
        self.now += 0.6
        self.scan()
        (self.folder / ".hidden").rename(self.folder / "forest.png")
        self.now += 0.6
        self.assertEqual(list(self.scan().files), [])


class WriterTests(ScanTestCase):
    """What another program has open for writing is not offered, however long it rests."""

    def setUp(self) -> None:
        super().setUp()
        self.path = self.folder / "forest.png"

    def assertHeldBack(self, name: str = "forest.png") -> None:
        found = self.scan()
        self.assertNotIn(name, found.files)
        self.assertIn(name, found.written)
        self.assertIn(name, found.restless)

    def test_until_it_is_closed(self) -> None:
        """For an hour, whatever its times say."""
        with self.path.open("r+b"):
            self.assertHeldBack()
            self.now += 3_600
            self.assertHeldBack()
        self.assertEqual(list(self.scan().files), ["forest.png"])

    def test_mapped(self) -> None:
        """A mapping writes without a descriptor."""
        with self.path.open("r+b") as file:
            mapped = mmap.mmap(file.fileno(), 0)
        self.assertHeldBack()
        mapped.close()
        self.assertEqual(list(self.scan().files), ["forest.png"])

    def test_a_link_to_it(self) -> None:
        """It is the file that is written, by whatever name."""
        away = self.folder.with_name("away")
        self.path.rename(away)
        with away.open("r+b"):
            os.link(away, self.folder / "linked.png")
            self.assertHeldBack("linked.png")

    def test_readers(self) -> None:
        """They are in nobody's way, nor is a lease that is given back."""
        with self.path.open("rb"):
            for _ in range(3):
                self.assertEqual(list(self.scan().files), ["forest.png"])

    def test_what_is_offered(self) -> None:
        """It stays so as long as its bytes do; changed, it is like a new one."""
        identity = self.scan().files["forest.png"]
        known = {"forest.png": SharedFile("forest.png", self.folder, "forest.png", identity)}
        with self.path.open("r+b") as file:
            found = self.scanner.scan(self.wall, self.now, known)
            self.assertEqual((list(found.files), found.written), (["forest.png"], set()))
            file.write(b"other bytes")
            file.flush()
            found = self.scanner.scan(self.wall, self.now, known)
            self.assertEqual((list(found.files), found.written), ([], {"forest.png"}))

    def test_somebody_opens_it_in_that_instant(self) -> None:
        """It waits for a moment, and the signal for it does not end the process."""
        opened = threading.Event()

        def write() -> None:
            with self.path.open("r+b"):
                opened.set()

        def call(descriptor: int, command: int, *arguments: Any) -> Any:
            result = real(descriptor, command, *arguments)
            if (command, *arguments) == (fcntl.F_SETLEASE, fcntl.F_RDLCK):
                writer.start()
                self.assertFalse(opened.wait(0.1))
            return result

        real, writer = fcntl.fcntl, threading.Thread(target=write)
        self.patch(module.fcntl, "fcntl", call)
        self.assertEqual(list(self.scan().files), ["forest.png"])
        writer.join(5)
        self.assertTrue(opened.is_set())

    def test_where_the_system_cannot_say(self) -> None:
        """Another owner, a network or FUSE disk, another system: unchanged for ten seconds."""
        for number in (errno.EACCES, errno.EINVAL, errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):

            def fail(*_: object, number: int = number) -> None:
                raise OSError(number, os.strerror(number))

            self.patch(module.fcntl, "fcntl", fail)
            self.assertTenSeconds()
        self.patch(module, "_LEASE", None)
        self.assertTenSeconds()

    def test_where_the_signal_would_end_the_process(self) -> None:
        """No lease is taken."""
        self.addCleanup(signal.signal, signal.SIGIO, signal.signal(signal.SIGIO, signal.SIG_DFL))
        self.assertTenSeconds()

    def assertTenSeconds(self) -> None:
        self.wall = self.changed_at("forest.png") + LONG_REST_SECONDS - 0.1
        self.scanner = Scanner.__new__(Scanner)
        self.scanner.__dict__ |= {"folder": self.folder, "_seen": {}, "_place": None}
        self.scanner._lost = False
        found = self.scan()
        self.assertEqual((found.files, list(found.restless)), ({}, ["forest.png"]))
        self.now += LONG_REST_SECONDS
        self.assertEqual(list(self.scan().files), ["forest.png"])

    def test_names_of_unfinished_downloads(self) -> None:
        """Of browsers and download managers, of editors and office programs."""
        names = ("a.part", "b.crdownload", "c.!qB", "d.TMP", "e.partial", "f.download", "g~")
        names += ("h.opdownload", "i.aria2", "j.filepart", "~$k.docx", "l.iso.!ut", "m.swp")
        for name in names:
            self.file(name)
        found = self.scan()
        self.assertEqual(list(found.files), ["forest.png"])
        self.assertEqual(set(found.left_out), set(names))
        self.assertIn("unfinished", found.left_out["c.!qB"])


class TroubleTests(ScanTestCase):
    """What cannot be looked at just now is not gone."""

    @contextmanager
    def failing(self, number: int, name: str = "") -> Iterator[None]:
        """Looking at the folder fails, or at one entry."""
        error = OSError(number, os.strerror(number))

        class Entry:
            def __init__(self, entry: os.DirEntry[str]) -> None:
                self.name, self.path, self._entry = entry.name, entry.path, entry

            def stat(self, *, follow_symlinks: bool) -> os.stat_result:
                if self.name == name:
                    raise error
                return self._entry.stat(follow_symlinks=follow_symlinks)

        @contextmanager
        def scandir(folder: Path) -> Iterator[Iterator[Entry]]:
            if not name:
                raise error
            with real(folder) as entries:
                yield map(Entry, entries)

        real = os.scandir
        patched = self.patch(module.os, "scandir", scandir)
        yield
        patched.restore()

    def test_an_entry(self) -> None:
        """It is said why, and that it has gone is not."""
        self.file("bee.mp4")
        for number in (errno.EIO, errno.EACCES, errno.ENOMEM, errno.ESTALE):
            with self.failing(number, "bee.mp4"):
                found = self.scan()
            self.assertEqual(list(found.files), ["forest.png"])
            self.assertEqual(list(found.unseen), ["bee.mp4"])
        with self.failing(errno.ENOENT, "bee.mp4"):
            self.assertEqual(self.scan().unseen, {})

    def test_a_file_that_cannot_be_opened(self) -> None:
        """We have no descriptor left: later, perhaps."""

        def fail(path: Path) -> int:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        self.patch(module, "open_regular", fail)
        found = self.scan()
        self.assertEqual((found.files, list(found.unseen)), ({}, ["forest.png"]))

    def test_errors_of_the_folder(self) -> None:
        """However often they come, they say nothing of what is in it."""
        for number in (errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE):
            for _ in range(3):
                with self.failing(number):
                    found = self.scan()
                self.assertTrue(found.doubtful)
                self.assertIn(os.strerror(number), found.problem)

    def test_a_folder_that_is_gone(self) -> None:
        """That is believed when the next look says so, too."""
        for number in (errno.ENOENT, errno.EACCES):
            with self.failing(number):
                self.assertTrue(self.scan().doubtful)
                self.assertFalse(self.scan().doubtful)
            self.assertFalse(self.scan().doubtful)

    def test_another_folder(self) -> None:
        """A disk that was unmounted leaves an empty folder: the second look is believed."""
        self.scan()
        self.folder.rename(self.folder.with_name("away"))
        self.folder.mkdir()
        found = self.scan()
        self.assertEqual((found.doubtful, found.files), (True, {}))
        self.assertIn("another", found.problem)
        found = self.scan()
        self.assertEqual((found.doubtful, found.problem), (False, ""))

    def test_an_empty_folder(self) -> None:
        """The same one: it is what it says."""
        self.scan()
        (self.folder / "forest.png").unlink()
        self.assertEqual((self.scan().doubtful, self.scan().problem), (False, ""))
