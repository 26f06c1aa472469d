"""Clock, folders and limits: the verdicts, and the looking on the real file system."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from peershare.doctor.checks import Check
from peershare.doctor.evidence import (
    Clock,
    Descriptors,
    Folder,
    Service,
    ServiceState,
    Watches,
)
from peershare.doctor.judging.machine import (
    judge_clock,
    judge_descriptors,
    judge_folder,
    judge_watches,
)
from peershare.doctor.probing import machine
from tests.fakes import WALL_START

SERVICE = Service(ServiceState.RUNNING, 7)
GOOD = Clock(WALL_START, 0.0)
FOLDER = Folder("share", Path("/files"), exists=True, free_bytes=5 << 30, free_inodes=10_000)


class ClockTests(SynchronousTestCase):
    def judged(self, service: Service = SERVICE, **more: Any) -> Check:
        (check,) = judge_clock(replace(GOOD, **more), service)
        return check

    def test_good(self) -> None:
        """Of today and steady; small steps are what NTP does."""
        self.assertEqual(self.judged().verdict, "pass")
        self.assertEqual(self.judged(strayed=-1.5).verdict, "pass")

    def test_impossible(self) -> None:
        """Long ago, as with an empty battery, or far ahead."""
        self.assertEqual(self.judged(now=0.0).verdict, "fail")
        self.assertEqual(self.judged(now=5e9).verdict, "fail")

    def test_stepped(self) -> None:
        """While we looked, or since the service wrote down a time."""
        self.assertIn("-30 s", self.judged(strayed=-30.0).text)
        for past in ({"started_at": WALL_START + 90}, {"announced_at": WALL_START + 90}):
            check = self.judged(replace(SERVICE, **past))  # type: ignore[arg-type]
            self.assertEqual(check.verdict, "warn")
            self.assertIn("90 s", check.text)

    def test_files_of_the_future(self) -> None:
        """They are named, some of them."""
        check = self.judged(future=("bee.png",), future_count=4)
        self.assertEqual(check.verdict, "warn")
        self.assertIn("4 shared files", check.text)


class FolderTests(SynchronousTestCase):
    def rights(self, **more: Any) -> Check:
        return judge_folder(replace(FOLDER, **more))[0]

    def room(self, role: str, **more: Any) -> str:
        return judge_folder(replace(FOLDER, role=role, **more))[1].verdict

    def test_rights(self) -> None:
        """What is in the way, and the command against it."""
        self.assertEqual(self.rights().verdict, "pass")
        self.assertEqual(self.rights(exists=False).verdict, "pass")
        for more, part in (
            ({"exists": False, "can_make": False}, "make it"),
            ({"is_folder": False}, "name another"),
            ({"read_only": True}, "mount"),
            ({"can_write": False}, "chmod u+rwx /files"),
            ({"can_read": False}, "chmod u+rwx /files"),
            ({"can_write": False, "ours": False}, "chown"),
            ({"problem": "it cannot be looked at"}, "--share"),
        ):
            check = self.rights(**more)
            self.assertEqual(check.verdict, "fail", more)
            self.assertIn(part, check.advice)

    def test_doubtful_rights(self) -> None:
        """A state folder that others can look into; one of another user."""
        check = self.rights(role="state", mode=0o755)
        self.assertEqual((check.verdict, check.advice), ("warn", "chmod 700 /files"))
        self.assertEqual(self.rights(mode=0o755).verdict, "pass", "a share folder is no secret")
        self.assertEqual(self.rights(ours=False).verdict, "warn")

    def test_room(self) -> None:
        """A share folder needs more than a state folder; files need inodes."""
        self.assertEqual(self.room("share"), "pass")
        self.assertEqual(self.room("share", free_bytes=500 << 20), "warn")
        self.assertEqual(self.room("share", free_bytes=1 << 20), "fail")
        self.assertEqual(self.room("state", free_bytes=500 << 20), "pass")
        self.assertEqual(self.room("state", free_bytes=10 << 20), "warn")
        self.assertEqual(self.room("state", free_bytes=1 << 20), "fail")
        self.assertEqual(self.room("share", free_inodes=7), "fail")
        self.assertEqual(self.room("share", free_inodes=None), "pass")


class LimitTests(SynchronousTestCase):
    def test_descriptors(self) -> None:
        """How many there may be, and how many there are."""
        for one, verdict in (
            (Descriptors(1_024), "pass"),
            (Descriptors(512), "warn"),
            (Descriptors(128), "fail"),
            (Descriptors(1_024, 100, 7), "pass"),
            (Descriptors(1_024, 1_000, 7), "fail"),
        ):
            self.assertEqual(judge_descriptors(one).verdict, verdict, one)
        self.assertIn("service (pid 7)", judge_descriptors(Descriptors(1_024, 9, 7)).text)

    def test_watches(self) -> None:
        """What is used up is named with the command that raises it."""
        self.assertEqual(judge_watches(Watches(8_192, 128)).verdict, "pass")
        check = judge_watches(Watches(8_192, 128, "instances"))
        self.assertEqual(check.advice, "sudo sysctl fs.inotify.max_user_instances=1024")
        check = judge_watches(Watches(8_192, 128, "watches"))
        self.assertEqual(check.advice, "sudo sysctl fs.inotify.max_user_watches=16384")
        check = judge_watches(Watches(8_192, 128, "Operation not supported"))
        self.assertIn("not supported", check.text)
        self.assertEqual(check.verdict, "warn")


class LookingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(mode=0o700)

    def test_folders(self) -> None:
        """One that is there, one that is to be, and what is none."""
        found = machine.look_at_folder("state", self.folder)
        self.assertEqual((found.exists, found.mode, found.ours), (True, 0o700, True))
        self.assertGreater(found.free_bytes or 0, 0)
        found = machine.look_at_folder("share", self.folder / "deep" / "down")
        self.assertEqual((found.exists, found.can_make), (False, True))
        (self.folder / "file").write_bytes(b"")
        found = machine.look_at_folder("share", self.folder / "file")
        self.assertEqual((found.exists, found.is_folder), (True, False))
        found = machine.look_at_folder("share", self.folder / "file" / "under")
        self.assertTrue(found.problem)
        self.assertEqual(list(self.folder.iterdir()), [self.folder / "file"], "nothing is made")

    def test_files_of_the_future(self) -> None:
        """Only regular files, and only by their own times."""
        for name, ahead in (("now", 0), ("soon", 30), ("bee\n.png", 3_600), ("folder", 3_600)):
            path = self.folder / name
            path.mkdir() if name == "folder" else path.write_bytes(b"x")
            os.utime(path, (WALL_START + ahead, WALL_START + ahead))
        clock = machine.look_at_clock(WALL_START, 0.5, self.folder)
        self.assertEqual(clock, Clock(WALL_START, 0.5, ("bee\\x0a.png",), 1))
        gone = machine.look_at_clock(WALL_START, 0.0, self.folder / "gone")
        self.assertEqual(gone.future_count, 0)

    def test_descriptors(self) -> None:
        """Those of a process, by its id; those of this one if it is gone."""
        ours = machine.look_at_descriptors(os.getpid())
        self.assertEqual(ours.pid, os.getpid())
        self.assertGreater(ours.used or 0, 2)
        self.assertEqual(machine.look_at_descriptors(1 << 30).pid, 0)

    def test_watches(self) -> None:
        """A real folder can be watched, or what is above one that is not there."""
        if not Path("/proc/sys/fs/inotify").is_dir():
            self.assertIsNone(machine.look_at_watches(self.folder))
            return
        for folder in (self.folder, self.folder / "not" / "there"):
            found = machine.look_at_watches(folder)
            assert found is not None
            self.assertEqual(found.problem, "")
            self.assertGreater(found.max_watches, 0)

    def test_watches_are_used_up(self) -> None:
        """The error that the system gives says which limit it is."""
        for number, expected in ((errno.EMFILE, "instances"), (errno.ENOSYS, os.strerror(38))):
            library = _Library(number)
            self.patch(machine.ctypes, "CDLL", lambda *_, library=library, **__: library)
            self.patch(machine.ctypes, "get_errno", lambda number=number: number)
            found = machine.look_at_watches(self.folder)
            self.assertEqual(found and found.problem, expected)


class _Library:
    """A C library in which nobody can watch anything."""

    def __init__(self, number: int) -> None:
        self.number = number

    def inotify_init1(self, flags: int) -> int:
        return -1

    def inotify_add_watch(self, *arguments: object) -> int:
        return -1
