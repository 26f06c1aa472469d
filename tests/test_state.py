"""The state folder: private, one owner, files replaced whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from peershare import state
from peershare.errors import StateInUseError, StorageError
from peershare.state import LOCK_NAME, StateLock, make_private_folder, replace_file

_HOLD = """
import sys
from pathlib import Path
from peershare.state import StateLock
lock = StateLock(Path(sys.argv[1]))
print("locked", flush=True)
sys.stdin.read()
"""


class StateTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()


class FolderTests(StateTestCase):
    def test_private_whatever_the_umask(self) -> None:
        """0700, its parents as usual."""
        umask = os.umask(0)
        self.addCleanup(os.umask, umask)
        make_private_folder(self.folder / "a" / "b")
        self.assertEqual(stat.S_IMODE((self.folder / "a" / "b").stat().st_mode), 0o700)

    def test_an_existing_folder_stays_as_it_is(self) -> None:
        """Whoever made it had reasons."""
        self.folder.mkdir(mode=0o755, parents=True)
        self.folder.chmod(0o755)
        make_private_folder(self.folder)
        self.assertEqual(stat.S_IMODE(self.folder.stat().st_mode), 0o755)

    def test_what_cannot_be_made(self) -> None:
        """A file in the way is named."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self.folder.write_bytes(b"")
        for path in (self.folder, self.folder / "inner"):
            with self.assertRaises(StorageError) as caught:
                make_private_folder(path)
            self.assertIn(str(path), str(caught.exception))


class ReplacingTests(StateTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder.mkdir(parents=True)
        self.path = self.folder / "content_dictionary.txt"

    def test_whole_and_private(self) -> None:
        """0600, and nothing else is left in the folder."""
        umask = os.umask(0)
        self.addCleanup(os.umask, umask)
        replace_file(self.path, b"first, which is longer")
        replace_file(self.path, b"second")
        self.assertEqual(self.path.read_bytes(), b"second")
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.assertEqual(list(self.folder.iterdir()), [self.path])

    def test_a_reader_never_sees_half_of_it(self) -> None:
        """Whoever has the old file open reads the old one to its end."""
        replace_file(self.path, b"first")
        with self.path.open("rb") as reader:
            replace_file(self.path, b"second")
            self.assertEqual(reader.read(), b"first")

    def test_a_full_disk_keeps_the_old_one(self) -> None:
        """And says so."""
        replace_file(self.path, b"first")

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        self.patch(state.os, "fchmod", full)
        self.assertRaises(StorageError, replace_file, self.path, b"second")
        self.assertEqual(self.path.read_bytes(), b"first")

    def test_links_are_replaced_not_followed(self) -> None:
        """A link in the place of the file, or of the one beside it, leads nowhere."""
        precious = self.folder / "precious"
        precious.write_bytes(b"precious")
        self.path.symlink_to(precious)
        replace_file(self.path, b"second")
        self.assertFalse(self.path.is_symlink())
        self.path.with_name(f".{self.path.name}.new").symlink_to(precious)
        self.assertRaises(StorageError, replace_file, self.path, b"third")
        self.assertEqual(precious.read_bytes(), b"precious")


class LockTests(StateTestCase):
    def test_one_owner(self) -> None:
        """The second one is told the pid of the first, and what to do."""
        lock = StateLock(self.folder)
        self.addCleanup(lock.release)
        with self.assertRaises(StateInUseError) as caught:
            StateLock(self.folder)
        self.assertIn(f"pid {os.getpid()}", str(caught.exception))
        self.assertIn(str(self.folder), str(caught.exception))

    def test_released(self) -> None:
        """Then it is somebody else's; releasing twice takes it from nobody."""
        lock = StateLock(self.folder)
        lock.release()
        second = StateLock(self.folder)
        self.addCleanup(second.release)
        lock.release()
        self.assertRaises(StateInUseError, StateLock, self.folder)

    def test_private(self) -> None:
        """The folder and the lock in it."""
        lock = StateLock(self.folder)
        self.addCleanup(lock.release)
        self.assertEqual(stat.S_IMODE(self.folder.stat().st_mode), 0o700)
        self.assertEqual(stat.S_IMODE((self.folder / LOCK_NAME).stat().st_mode), 0o600)

    def test_an_owner_that_was_killed(self) -> None:
        """The kernel gives the lock back at once, and the pid that is left means nothing."""
        command = [sys.executable, "-c", _HOLD, str(self.folder)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
            assert holder.stdout is not None
            self.assertEqual(holder.stdout.readline(), b"locked\n")
            with self.assertRaises(StateInUseError) as caught:
                StateLock(self.folder)
            self.assertIn(f"pid {holder.pid}", str(caught.exception))
            holder.kill()
        lock = StateLock(self.folder)
        self.addCleanup(lock.release)
        self.assertEqual((self.folder / LOCK_NAME).read_text(), f"{os.getpid()}\n")

    def test_garbage_in_the_lock(self) -> None:
        """What is no pid is not shown as one."""
        lock = StateLock(self.folder)
        self.addCleanup(lock.release)
        (self.folder / LOCK_NAME).write_bytes(b"\x1b[31mno pid\n")
        with self.assertRaises(StateInUseError) as caught:
            StateLock(self.folder)
        self.assertIn("pid unknown", str(caught.exception))

    def test_a_lock_that_is_no_file(self) -> None:
        """A link in its place is not followed; it is an error that is told."""
        self.folder.mkdir(parents=True)
        (self.folder / LOCK_NAME).symlink_to(self.folder / "elsewhere")
        self.assertRaises(StorageError, StateLock, self.folder)
        self.assertFalse((self.folder / "elsewhere").exists())
