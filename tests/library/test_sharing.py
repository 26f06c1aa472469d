"""Putting a file into the share folder: linked, copied, or already there; nothing overwritten."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from peershare.errors import BadNameError, BadPathError, StorageError
from peershare.library import sharing
from peershare.library.sharing import Shared
from peershare.status import ShareMode


class SharingTests(SynchronousTestCase):
    def setUp(self) -> None:
        base = Path(self.mktemp())
        self.home, self.share = base / "home", base / "share"
        self.home.mkdir(parents=True)
        self.share.mkdir()
        self.source = self.home / "forest.png"
        self.source.write_bytes(b"data")

    def put(self, source: Path, share: Path) -> Shared:
        """Share it with a service that runs."""
        return sharing.share_file(source, share, lambda: False)

    def names(self) -> list[str]:
        return sorted(path.name for path in self.share.iterdir())

    def no_links(self) -> None:
        """As if the share folder lay on another disk."""

        def link(*_: object, **__: object) -> None:
            raise OSError(errno.EXDEV, "Invalid cross-device link")

        self.patch(sharing.os, "link", link)

    def test_linked(self) -> None:
        """On one disk it costs no space."""
        shared = self.put(self.source, self.share)
        self.assertEqual(shared, Shared(self.share / "forest.png", "linked"))
        self.assertEqual(shared.path.stat().st_ino, self.source.stat().st_ino)

    def test_copied(self) -> None:
        """Over two disks it is copied, by way of the unscanned folder, which is left empty."""
        self.no_links()
        shared = self.put(self.source, self.share)
        self.assertEqual(shared, Shared(self.share / "forest.png", "copied"))
        self.assertEqual(shared.path.read_bytes(), b"data")
        self.assertEqual(list((self.share / ".peershare").iterdir()), [])

    def test_already_there(self) -> None:
        """Shared twice, or lying in the share folder: nothing happens."""
        first = self.put(self.source, self.share)
        again = self.put(self.source, self.share)
        self.assertEqual((again.path, again.how), (first.path, "already there"))
        inside = self.put(self.share / "forest.png", self.share)
        self.assertEqual((inside.path, inside.how), (first.path, "already there"))
        self.assertEqual(self.names(), ["forest.png"])

    def test_never_over_another_file(self) -> None:
        """A different file of that name makes it forest (2).png, linked or copied."""
        (self.share / "forest.png").write_bytes(b"precious")
        self.assertEqual(self.put(self.source, self.share).path.name, "forest (2).png")
        self.source.unlink()
        self.source.write_bytes(b"other")
        self.no_links()
        self.assertEqual(self.put(self.source, self.share).path.name, "forest (3).png")
        self.assertEqual((self.share / "forest.png").read_bytes(), b"precious")

    def test_a_symbolic_link_is_refused(self) -> None:
        """What it leads to is not shared, whoever made it; a folder may be reached by one."""
        link = self.home / "shortcut.png"
        link.symlink_to(self.source.resolve())
        with self.assertRaises(StorageError) as caught:
            self.put(link, self.share)
        self.assertIn("symbolic link", str(caught.exception))
        self.assertEqual(self.names(), [])
        folder = self.home.with_name("folder")
        folder.symlink_to(self.home.resolve())
        self.assertEqual(self.put(folder / "forest.png", self.share).how, "linked")

    def test_replaced_while_it_is_linked(self) -> None:
        """What was opened is what is shared, and not what has its name a moment later."""
        secret = self.home / "secret"
        secret.write_bytes(b"secret")
        link = os.link

        def replace_first(source: str, target: str, **more: Any) -> None:
            self.source.unlink()
            self.source.symlink_to(secret.resolve())
            link(source, target, **more)

        self.patch(sharing.os, "link", replace_first)
        with self.assertRaises(StorageError):
            sharing.share_file(self.source, self.share, lambda: False, ShareMode.LINK)
        self.assertEqual(self.names(), [])

    def test_as_a_link_or_not_at_all(self) -> None:
        """Over two disks it says why not, and what can be done."""
        self.no_links()
        with self.assertRaises(StorageError) as caught:
            sharing.share_file(self.source, self.share, lambda: False, ShareMode.LINK)
        self.assertIn("can be copied instead", str(caught.exception))
        self.assertEqual(self.names(), [])

    def test_as_a_copy(self) -> None:
        """What is changed afterwards changes nothing that is shared."""
        shared = sharing.share_file(self.source, self.share, lambda: False, ShareMode.COPY)
        self.assertEqual(shared.how, "copied")
        self.assertNotEqual(shared.path.stat().st_ino, self.source.stat().st_ino)

    def test_what_cannot_be_shared(self) -> None:
        """A folder, nothing, a pipe: told with the path."""
        pipe = self.home / "pipe"
        os.mkfifo(pipe)
        for path in (self.home, self.home / "nothing", pipe):
            with self.assertRaises(BadPathError) as caught:
                self.put(path, self.share)
            self.assertIn(path.name, str(caught.exception))
        self.assertEqual(self.names(), [])

    def test_no_descriptor_for_it(self) -> None:
        """What is wrong with us is not the path's fault."""

        def fail(path: Path) -> int:
            raise OSError(errno.EMFILE, "Too many open files")

        self.patch(sharing, "open_regular", fail)
        with self.assertRaises(StorageError) as caught:
            self.put(self.source, self.share)
        self.assertNotIsInstance(caught.exception, BadPathError)

    def test_a_name_that_others_cannot_hold(self) -> None:
        """It is refused with the reason, not renamed behind the user's back."""
        odd = self.source.rename(self.home / "a:b.png")
        self.assertRaises(BadNameError, self.put, odd, self.share)

    def test_no_room_for_a_copy(self) -> None:
        """It is said beforehand how many bytes are missing."""
        self.no_links()

        class Full:
            free = 1

        self.patch(sharing.shutil, "disk_usage", lambda path: Full)
        with self.assertRaises(StorageError) as caught:
            self.put(self.source, self.share)
        self.assertEqual(caught.exception.needed_bytes, 3)
        self.assertEqual(self.names(), [".peershare"])

    def test_a_copy_that_fails(self) -> None:
        """Nothing half is left behind."""
        self.no_links()

        def fail(_: int) -> None:
            raise OSError(errno.EIO, "Input/output error")

        self.patch(sharing.os, "fsync", fail)
        self.assertRaises(StorageError, self.put, self.source, self.share)
        self.assertEqual(list((self.share / ".peershare").iterdir()), [])
        self.assertEqual(self.names(), [".peershare"])

    def test_a_copy_that_nobody_waits_for(self) -> None:
        """The end of the service ends it, however large it is; nothing is left behind."""
        self.no_links()
        self.source.write_bytes(bytes(5_000_000))
        answers = iter([False, True])
        with self.assertRaises(StorageError) as caught:
            sharing.share_file(self.source, self.share, lambda: next(answers))
        self.assertIn("the service was stopped", str(caught.exception))
        self.assertEqual(list((self.share / ".peershare").iterdir()), [])
        self.assertEqual(self.names(), [".peershare"])
