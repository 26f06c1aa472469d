"""Scanning the share folder: what is offered, and from when on."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from peershare.library import scan as module
from peershare.library.files import Identity
from peershare.library.scan import REST_SECONDS, FolderScan, Scanner


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
