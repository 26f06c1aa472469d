"""Disks fail where they are told to, and forget what was not made durable."""

from __future__ import annotations

import errno
import io
import os
import sqlite3
from pathlib import Path
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from tests.faults.disk import SimDisk
from tests.faults.steps import Death, Kind, Steps
from tests.simnet.world import Simulation


class DiskTests(SynchronousTestCase):
    """Disks fail where they are told to; files of the dead are closed."""

    def setUp(self) -> None:
        self.simulation = Simulation("disk")
        self.addCleanup(self.simulation.close)
        self.disk = self.simulation.disk
        self.sick, self.well = self.simulation.root / "1", self.simulation.root / "10"
        for folder in (self.sick, self.well):
            folder.mkdir()

    def opened(self, *folders: object) -> list[int]:
        flags = os.O_RDWR | os.O_CREAT
        descriptors = [os.open(f"{folder}/file", flags, 0o600) for folder in folders]
        for descriptor in descriptors:
            self.addCleanup(os.close, descriptor)
        return descriptors

    def test_full(self) -> None:
        """Nothing can be written there, and there is no room; elsewhere all is well."""
        sick, well = self.opened(self.sick, self.well)
        self.disk.fail(self.sick, errno.ENOSPC)
        failed = self.assertRaises(OSError, os.pwrite, sick, b"data", 0)
        self.assertEqual(failed.errno, errno.ENOSPC)
        self.assertEqual(os.fstatvfs(sick).f_bavail, 0)
        self.assertEqual(os.pwrite(well, b"data", 0), 4)
        self.assertGreater(os.fstatvfs(well).f_bavail, 0)
        self.disk.mend(self.sick)
        self.assertEqual(os.pwrite(sick, b"data", 0), 4)

    def test_failing(self) -> None:
        """What cannot be written cannot be made durable either."""
        (sick,) = self.opened(self.sick)
        self.disk.fail(self.sick, errno.EIO)
        self.assertRaises(OSError, os.fsync, sick)
        self.assertRaises(OSError, os.splice, 0, sick, 1, offset_dst=0)

    def test_power_loss(self) -> None:
        """What was not made durable may be gone, what was is not."""
        sick, well = self.opened(self.sick, self.well)
        for number in range(40):
            os.pwrite(sick, b"durable.", 8 * number)
        os.fsync(sick)
        for number in range(40, 80):
            os.pwrite(sick, b"at risk!", 8 * number)
            os.pwrite(well, b"at risk!", 8 * number)
        self.disk.lose_power(self.sick, Random(1))
        data = os.pread(sick, 1_000, 0)
        self.assertEqual(data[:320], b"durable." * 40)
        pieces = [data[at : at + 8] for at in range(320, 640, 8)]
        self.assertEqual(set(pieces), {b"at risk!", bytes(8)})
        self.assertEqual(os.pread(well, 320, 320), b"at risk!" * 40)

    def test_dead(self) -> None:
        """A killed process has nothing open any more, and its numbers are not given to others."""
        sick = os.open(self.sick / "file", os.O_RDWR | os.O_CREAT, 0o600)
        self.assertEqual(self.disk.open_below(self.sick), [str(self.sick / "file")])
        self.disk.drop_descriptors(self.sick)
        self.assertEqual(self.disk.open_below(self.sick), [])
        (well,) = self.opened(self.well)
        self.assertNotEqual(well, sick)

    def test_restored(self) -> None:
        """After a simulation the functions are those of the system."""
        before = os.pwrite
        disk = SimDisk()
        self.assertIsNot(os.pwrite, before)
        disk.restore()
        self.assertIs(os.pwrite, before)


class WatchedTests(SynchronousTestCase):
    """Every call below a folder is seen, and fails as it should."""

    def setUp(self) -> None:
        self.simulation = Simulation("watched")
        self.addCleanup(self.simulation.close)
        self.disk = self.simulation.disk
        self.folder = self.simulation.root / "watched"
        self.folder.mkdir()
        self.disk.watched = self.folder

    def meet(self, at: int, kind: Kind) -> Steps:
        steps = Steps(self.folder, at, kind)
        self.disk.watch = steps
        return steps

    def names(self, steps: Steps) -> list[str]:
        return [step.name for step in steps.steps]

    def test_calls(self) -> None:
        """By path and by descriptor, of `os`, `open`, `pathlib` and a database; no others."""
        steps = self.meet(-1, Kind.EIO)
        path = self.folder / "file"
        path.write_bytes(b"data")
        self.assertEqual(self.names(steps), ["open", "write"])
        self.assertEqual([step.where for step in steps.steps], ["file", "file"])
        with io.open(path, "rb") as file:  # noqa: UP020
            self.assertEqual(file.read(), b"data")
        with os.scandir(self.folder) as entries:
            self.assertEqual([entry.stat().st_size for entry in entries], [4])
        self.assertIn("stat", self.names(steps))
        before = len(steps.steps)
        connection = sqlite3.connect(self.folder / "index.sqlite")
        with connection:
            connection.execute("CREATE TABLE numbers (number INTEGER)")
            connection.execute("INSERT INTO numbers VALUES (1)")
        self.assertEqual(connection.execute("SELECT * FROM numbers").fetchall(), [(1,)])
        connection.close()
        expected = ["connect", "execute", "execute", "commit", "execute", "fetchall"]
        self.assertEqual(self.names(steps)[before:], expected)
        before = len(steps.steps)
        (self.simulation.root / "elsewhere").write_bytes(b"")
        with self.disk.quiet():
            path.unlink()
        self.assertEqual(len(steps.steps), before)

    def test_short(self) -> None:
        """Half is written, and half is read."""
        descriptor = os.open(self.folder / "file", os.O_RDWR | os.O_CREAT, 0o600)
        self.addCleanup(os.close, descriptor)
        self.meet(0, Kind.SHORT)
        self.assertEqual(os.pwrite(descriptor, b"12345678", 0), 4)
        self.assertEqual(os.pwrite(descriptor, b"5678", 4), 4)
        self.meet(0, Kind.SHORT)
        self.assertEqual(os.pread(descriptor, 8, 0), b"1234")
        self.meet(1, Kind.SHORT)
        with io.open(self.folder / "other", "wb") as file:  # noqa: UP020
            file.write(b"12345678")
        self.assertEqual((self.folder / "other").read_bytes(), b"12345678")

    def test_by_linked_descriptor(self) -> None:
        """A name that is given to a descriptor is seen, too."""
        descriptor = os.open(self.folder, os.O_RDWR | os.O_TMPFILE, 0o600)
        folder = os.open(self.folder, os.O_RDONLY)
        self.addCleanup(os.close, descriptor)
        self.addCleanup(os.close, folder)
        steps = self.meet(0, Kind.EIO)
        link = f"/proc/self/fd/{descriptor}"
        self.assertRaises(OSError, os.link, link, "name", dst_dir_fd=folder)
        self.assertEqual(steps.steps[0].where, "name")

    def test_database(self) -> None:
        """A commit that fails has changed nothing; what is locked is told by its code."""
        connection = sqlite3.connect(self.folder / "index.sqlite")
        self.addCleanup(connection.close)
        connection.execute("CREATE TABLE numbers (number INTEGER)")
        self.meet(1, Kind.LOCKED)
        with self.assertRaises(sqlite3.OperationalError) as raised, connection:
            connection.execute("INSERT INTO numbers VALUES (1)")
        self.assertEqual(raised.exception.sqlite_errorcode, sqlite3.SQLITE_BUSY)
        self.assertEqual(connection.execute("SELECT * FROM numbers").fetchall(), [])

    def test_lasting(self) -> None:
        """Whatever writes fails until it is lifted; whatever reads does not."""
        steps = self.meet(0, Kind.FULL)
        for _ in range(2):
            failed = self.assertRaises(OSError, (self.folder / "file").write_bytes, b"")
            self.assertEqual(failed.errno, errno.ENOSPC)
        self.assertEqual(list(self.folder.iterdir()), [])
        steps.lift()
        (self.folder / "file").write_bytes(b"")

    def test_death(self) -> None:
        """Nothing can be done any more."""
        steps = self.meet(1, Kind.DEATH)
        (self.folder / "one").mkdir()
        self.assertRaises(Death, (self.folder / "two").mkdir)
        self.assertRaises(Death, (self.folder / "one").rmdir)
        self.assertTrue(steps.dead)


class PowerCutTests(SynchronousTestCase):
    """What was not made durable is gone, bytes and names alike."""

    def setUp(self) -> None:
        self.simulation = Simulation("power")
        self.addCleanup(self.simulation.close)
        self.disk = self.simulation.disk
        self.folder = self.simulation.root / "home"
        (self.folder / "inner").mkdir(parents=True)
        (self.folder / "before").write_bytes(b"before")
        self.disk.keep_durable(self.folder)

    def sync(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)

    def left(self) -> dict[str, bytes]:
        self.disk.power_cut()
        files = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in files}

    def test_bytes(self) -> None:
        """Those of the last fsync, under the names of the last one of their folder."""
        for name in ("neither", "data", "name", "both"):
            (self.folder / "inner" / name).write_bytes(b"first")
        for name in ("data", "both"):
            self.sync(self.folder / "inner" / name)
        (self.folder / "inner" / "data").rename(self.folder / "inner" / "moved")
        self.assertEqual(self.left(), {"before": b"before"})
        for name in ("name", "both"):
            (self.folder / "inner" / name).write_bytes(b"first")
        self.sync(self.folder / "inner" / "both")
        self.sync(self.folder / "inner")
        (self.folder / "inner" / "both").write_bytes(b"second")
        expected = {"before": b"before", "inner/name": b"", "inner/both": b"first"}
        self.assertEqual(self.left(), expected)

    def test_renamed_and_removed(self) -> None:
        """A name that was given or taken away comes and goes with its folder."""
        (self.folder / "before").rename(self.folder / "after")
        self.assertEqual(self.left(), {"before": b"before"})
        (self.folder / "before").rename(self.folder / "after")
        self.sync(self.folder)
        (self.folder / "after").unlink()
        self.assertEqual(self.left(), {"after": b"before"})
        (self.folder / "after").unlink()
        self.sync(self.folder)
        self.assertEqual(self.left(), {})

    def test_same_file(self) -> None:
        """What was durable is still the same file, with its times."""
        before = (self.folder / "before").stat()
        self.left()
        after = (self.folder / "before").stat()
        self.assertEqual((before.st_ino, before.st_mtime_ns), (after.st_ino, after.st_mtime_ns))

    def test_new_folder(self) -> None:
        """A folder is a name, too."""
        (self.folder / "new").mkdir()
        (self.folder / "new" / "file").write_bytes(b"data")
        self.sync(self.folder / "new" / "file")
        self.sync(self.folder / "new")
        self.left()
        self.assertFalse((self.folder / "new").exists())

    def test_database(self) -> None:
        """What was committed is there."""
        connection = sqlite3.connect(self.folder / "index.sqlite")
        connection.execute("PRAGMA journal_mode = WAL")
        with connection:
            connection.execute("CREATE TABLE numbers (number INTEGER)")
        self.addCleanup(connection.close)
        self.assertIn("index.sqlite", self.left())
        again = sqlite3.connect(self.folder / "index.sqlite")
        self.addCleanup(again.close)
        self.assertEqual(again.execute("SELECT * FROM numbers").fetchall(), [])
