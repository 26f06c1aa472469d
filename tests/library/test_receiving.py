"""Receiving a file into the share folder: whole and durable under a free name, or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from peershare.errors import BadNameError, StorageError
from peershare.library import receiving, sharing
from peershare.library.receiving import ReceivedFile, sweep


class ReceivingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.share = Path(self.mktemp())
        self.share.mkdir(parents=True)

    def receive(self, name: str, data: bytes, size: int | None = None) -> ReceivedFile:
        file = ReceivedFile(self.share, name, size)
        file.write(data)
        return file

    def names(self) -> list[str]:
        """What is in the share folder, and in its private folder."""
        found = [*self.share.iterdir(), *(self.share / ".peershare").glob("*")]
        return sorted(path.name for path in found if path.name != ".peershare")

    def test_whole(self) -> None:
        """It lies there under its name, with the rights of any other file."""
        file = self.receive("forest.png", b"da", 4)
        file.write(b"ta")
        shared = file.finish()
        self.assertEqual((shared.path, shared.how), (self.share / "forest.png", "received"))
        self.assertEqual(shared.path.read_bytes(), b"data")
        self.assertEqual(shared.path.stat().st_mode & 0o600, 0o600)
        self.assertEqual(shared.path.stat().st_nlink, 1)
        self.assertEqual(self.names(), ["forest.png"])

    def test_not_seen_before_it_is_whole(self) -> None:
        """On its way it is in the folder that no scan looks into."""
        self.receive("forest.png", b"data")
        self.assertEqual([path.name for path in self.share.iterdir()], [".peershare"])
        self.assertEqual((self.share / ".peershare").stat().st_mode & 0o777, 0o700)

    def test_an_empty_one(self) -> None:
        """There are such files."""
        self.assertEqual(self.receive("empty", b"", 0).finish().path.read_bytes(), b"")

    def test_never_over_another_file(self) -> None:
        """Another file of that name, or one that differs by case, keeps it."""
        (self.share / "forest.png").write_bytes(b"precious")
        self.assertEqual(self.receive("forest.png", b"data").finish().path.name, "forest (2).png")
        self.assertEqual(self.receive("FOREST.png", b"more").finish().path.name, "FOREST (3).png")
        self.assertEqual((self.share / "forest.png").read_bytes(), b"precious")

    def test_already_there(self) -> None:
        """The same bytes under that name are the same file."""
        self.receive("forest.png", b"data").finish()
        again = self.receive("forest.png", b"data").finish()
        self.assertEqual(again.how, "already there")
        self.assertEqual(self.names(), ["forest.png"])

    def test_names_that_cannot_be(self) -> None:
        """They are refused before a byte is taken."""
        for name in ("", "../forest", "a/b", ".hidden", "nul", "a\0b", "x" * 300):
            self.assertRaises(BadNameError, ReceivedFile, self.share, name, None)
        self.assertEqual(self.names(), [])

    def test_misleading_names(self) -> None:
        """What hides, or what file managers obey, is stored as what harms nobody."""
        for name, stored in (("a\u200b.png", "a_.png"), ("-x", "_-x"), ("x.lnk", "x.lnk.txt")):
            self.assertEqual(self.receive(name, name.encode()).finish().path.name, stored)

    def test_fewer_or_more_bytes_than_were_said(self) -> None:
        """Nothing half is kept."""
        self.assertRaises(StorageError, self.receive("forest.png", b"data", 5).finish)
        file = ReceivedFile(self.share, "forest.png", 3)
        self.assertRaises(StorageError, file.write, b"data")
        self.assertRaises(StorageError, file.write, b"")
        self.assertRaises(StorageError, file.finish)
        self.assertEqual(self.names(), [])

    def test_given_up(self) -> None:
        """Nothing is kept, however often it is said."""
        file = self.receive("forest.png", b"data")
        file.abort()
        file.abort()
        self.assertEqual(self.names(), [])
        done = self.receive("forest.png", b"data")
        done.finish()
        done.abort()
        self.assertEqual(self.names(), ["forest.png"])

    def test_no_room(self) -> None:
        """It is said beforehand how many bytes are missing."""

        class Full:
            free = 1

        self.patch(sharing.shutil, "disk_usage", lambda path: Full)
        with self.assertRaises(StorageError) as caught:
            ReceivedFile(self.share, "forest.png", 4)
        self.assertEqual(caught.exception.needed_bytes, 3)

    def test_a_disk_that_fails(self) -> None:
        """While writing and at the end: told with the folder, and nothing is kept."""

        def fail(*_: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        for call in ("fsync", "write"):  # what is patched stays so until the end of the test
            file = ReceivedFile(self.share, "forest.png", None)
            self.patch(receiving.os, call, fail)
            with self.assertRaises(StorageError) as caught:
                file.write(b"data")
                file.finish()
            self.assertIn(str(self.share), str(caught.exception))
            self.assertEqual(self.names(), [], call)

    def test_a_file_in_the_way(self) -> None:
        """The private folder cannot be made: told, not overwritten."""
        (self.share / ".peershare").write_bytes(b"mine")
        self.assertRaises(StorageError, ReceivedFile, self.share, "forest.png", None)
        self.assertEqual((self.share / ".peershare").read_bytes(), b"mine")

    def test_given_up_while_a_worker_writes(self) -> None:
        """It is closed once that is done, and never while it is in use."""
        file = ReceivedFile(self.share, "forest.png", None)
        write = os.write

        def give_up_first(descriptor: int, data: memoryview) -> int:
            file.abort()
            return write(descriptor, data)

        self.patch(receiving.os, "write", give_up_first)
        file.write(b"data")
        self.assertEqual(self.names(), [])
        self.assertRaises(StorageError, file.finish)

    def test_what_a_killed_run_left(self) -> None:
        """Half files that are old go; parts of downloads and young files stay."""
        folder = self.share / ".peershare"
        folder.mkdir()
        for name in ("a.received", "b.copy", "7-bee.part", "young.received"):
            (folder / name).write_bytes(b"x")
            os.utime(folder / name, (500, 500) if name != "young.received" else (2_000, 2_000))
        sweep(self.share, 1_000.0)
        self.assertEqual(self.names(), ["7-bee.part", "young.received"])
        sweep(self.share.with_name("nothing"), 1_000.0)
