"""The state folder: private, one owner, files replaced whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from peershare import state
from peershare.errors import StateInUseError, StorageError
from peershare.state import (
    LOCK_NAME,
    STARTING_SECONDS,
    StateLock,
    find_owner,
    make_private_folder,
    replace_file,
)

_HOLD = """
import sys
from pathlib import Path
from typing import Any
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

    def test_look(self) -> None:
        """Whether it is held can be seen without holding it; a number alone says nothing."""
        self.assertIsNone(find_owner(self.folder))
        lock = StateLock(self.folder)
        self.assertEqual(find_owner(self.folder), os.getpid())
        lock.release()
        (self.folder / LOCK_NAME).write_text(f"{os.getpid()}\n")
        self.assertIsNone(find_owner(self.folder))

    def test_look_stops_nobody(self) -> None:
        """A service that starts while somebody looks tries again."""
        self.folder.mkdir(parents=True)
        looking = os.open(self.folder / LOCK_NAME, os.O_RDWR | os.O_CREAT)
        fcntl.flock(looking, fcntl.LOCK_SH)
        self.patch(state.time, "sleep", lambda seconds: os.close(looking))
        lock = StateLock(self.folder, STARTING_SECONDS)
        self.addCleanup(lock.release)
        self.assertEqual(find_owner(self.folder), os.getpid())

    def test_errors_of_the_lock(self) -> None:
        """A file system without locks is said to be that, and not that somebody has it."""
        lock = StateLock(self.folder)
        self.addCleanup(lock.release)
        for number in (errno.ENOLCK, errno.ENOTSUP, errno.EINVAL, errno.EIO):
            self.patch(fcntl, "flock", self.raiser(number))
            for attempt in (StateLock, find_owner):
                with self.assertRaises(StorageError) as caught:
                    attempt(self.folder)
                self.assertIn(os.strerror(number), str(caught.exception))
                self.assertNotIn("in use", str(caught.exception))

    def raiser(self, number: int) -> Any:
        def fail(*_: object) -> None:
            raise OSError(number, os.strerror(number))

        return fail

    def test_full_disk(self) -> None:
        """That the process id cannot be written is no reason not to start."""
        self.patch(os, "pwrite", self.raiser(errno.ENOSPC))
        lock = StateLock(self.folder)
        self.addCleanup(lock.release)
        self.assertEqual(find_owner(self.folder), 0)

    def test_removed(self) -> None:
        """A lock, or its folder, that is removed while it is held is made anew."""
        lock = StateLock(self.folder)
        self.addCleanup(lock.release)
        self.assertFalse(lock.stand())
        for remove in ((self.folder / LOCK_NAME).unlink, lambda: shutil.rmtree(self.folder)):
            remove()
            self.assertIsNone(find_owner(self.folder))
            self.assertTrue(lock.stand())
            self.assertEqual(find_owner(self.folder), os.getpid())
        self.assertRaises(StateInUseError, StateLock, self.folder)
        shutil.rmtree(self.folder)
        other = StateLock(self.folder)
        self.addCleanup(other.release)
        self.assertRaises(StateInUseError, lock.stand)

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
