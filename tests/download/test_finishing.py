"""What has its final name is finished, and what our disk will never take ends a download."""

from __future__ import annotations

import contextlib  # a name `suppress` means something to trial
import errno
import itertools
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from peershare.content.manifest import manifest_of
from peershare.download.content import DISK_RETRY_SECONDS
from peershare.errors import LASTING, StorageError
from peershare.library import parts
from peershare.library.entries import ContentHandle
from peershare.library.filehash import Wanted, hash_files
from peershare.library.files import identity_of, open_regular
from peershare.library.index import DownloadRecord
from peershare.library.opened import OpenFile
from peershare.status import FINAL_STATES, DownloadState, NoticeKind
from tests.download.swarm.parts import block_of, content, make_part
from tests.download.world import CONTENT, A, DownloadTestCase, pieces
from tests.fakes import HeldWorkers, run_now

ONE, TWO, THREE, FOUR, FIVE = pieces(CONTENT)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(40))


def failing(number: int) -> Callable[..., Any]:
    """What raises this error."""

    def fail(*arguments: Any, **_: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


class Broken:
    """A function of `os` that fails with this error for some arguments, while it is `on`."""

    def __init__(self, case: Any, name: str, number: int, which: Callable[..., bool]) -> None:
        self.on = True
        real = getattr(os, name)

        def broken(*arguments: Any, **keywords: Any) -> Any:
            if self.on and which(*arguments):
                raise OSError(number, os.strerror(number))
            return real(*arguments, **keywords)

        case.patch(os, name, broken)


def is_folder(descriptor: int) -> bool:
    return stat.S_ISDIR(os.fstat(descriptor).st_mode)


class NamedTests(DownloadTestCase):
    """A fault that comes after the rename: nothing is begun anew, and nothing is fetched again."""

    def setUp(self) -> None:
        super().setUp()
        self.tell(A)

    def files(self) -> dict[str, bytes]:
        paths = (path for path in self.share.iterdir() if path.is_file())
        return {path.name: path.read_bytes() for path in paths}

    def fetch(self) -> int:
        """All five chunks; how often somebody was dialled."""
        self.start()
        self.serve()
        return len(self.reactor.dialled)

    def test_the_folder_cannot_be_synced(self) -> None:
        """It says so, and does that again until it is done."""
        broken = Broken(self, "fsync", errno.EIO, is_folder)
        dialled = self.fetch()
        self.reactor.pump([1.0] * 20)
        self.assert_state(DownloadState.BLOCKED)
        self.assertIn("Input/output error", self.status.problem)
        self.assertEqual(self.files(), {"forest": CONTENT})
        broken.on = False
        self.reactor.advance(DISK_RETRY_SECONDS)
        self.assert_state(DownloadState.DONE)
        self.assertEqual(self.status.path, str(self.share / "forest"))
        self.assertEqual(self.files(), {"forest": CONTENT})
        self.assertEqual(len(self.reactor.dialled), dialled)
        self.assertEqual(len(self.notices(NoticeKind.WARNING)), 1)

    def test_the_part_cannot_be_removed(self) -> None:
        """It has its name: a part that stays is no reason to fail."""
        Broken(self, "unlink", errno.EROFS, lambda path, *_: str(path).endswith(".part"))
        self.fetch()
        self.assert_state(DownloadState.DONE)
        self.assertEqual(self.files(), {"forest": CONTENT})

    def test_the_index_cannot_be_written(self) -> None:
        """It is told that it is done once that is remembered."""
        held = HeldWorkers()
        self.start()
        self.workers = held
        self.serve()
        while held.waiting != ["finish"]:
            held.do_one()
        self.workers = run_now
        self.patch(self.index, "finish", self.fail_to_record)
        held.do_all()
        dialled = len(self.reactor.dialled)
        self.assert_state(DownloadState.BLOCKED)
        self.assertEqual(self.files(), {"forest": CONTENT})
        del self.index.finish
        self.reactor.advance(DISK_RETRY_SECONDS)
        self.assert_state(DownloadState.DONE)
        self.assertEqual(len(self.reactor.dialled), dialled)
        (record,) = self.index.downloads()
        self.assertEqual((record.wanted, record.path), (False, str(self.share / "forest")))

    def fail_to_record(self, *_: object) -> None:
        raise StorageError("the index cannot be used: database or disk is full")

    def test_it_is_offered_meanwhile(self) -> None:
        """From where it lies now."""
        Broken(self, "fsync", errno.EIO, is_folder)
        self.fetch()
        handle = self.library.find_chunk("forest_2")
        assert handle is not None
        self.assertEqual(handle.path, self.share / "forest")

    def test_paused_meanwhile(self) -> None:
        """There is nothing left of it to be paused."""
        broken = Broken(self, "fsync", errno.EIO, is_folder)
        self.fetch()
        self.downloader.pause(self.status.id)
        self.assertFalse(self.index.downloads()[0].paused)
        broken.on = False
        self.reactor.advance(DISK_RETRY_SECONDS)
        self.assert_state(DownloadState.DONE)

    def test_stopped_meanwhile(self) -> None:
        """Then it is done: it has its name."""
        Broken(self, "fsync", errno.EIO, is_folder)
        self.fetch()
        self.downloader.stop(self.status.id)
        self.assert_state(DownloadState.DONE)
        self.assertEqual(self.files(), {"forest": CONTENT})
        self.assert_no_timers()

    def killed_after_the_name(self, name: str = "forest", data: bytes = CONTENT) -> DownloadRecord:
        """A run that ended before it could record that; what it had recorded."""
        self.start(name)
        held = HeldWorkers()
        self.workers = held
        self.serve(data)
        while held.waiting != ["finish"]:
            held.do_one()
        (record,) = self.index.downloads()
        self.workers = run_now
        self.patch(self.index, "finish", lambda *_: None)
        self.patch(self.index, "set_wanted", lambda *_, **__: None)
        held.do_all()
        return record

    def test_killed_after_the_name(self) -> None:
        """The next run knows it by its bytes, under whatever name it got."""
        (self.share / "forest.png").write_bytes(b"of the user")
        self.killed_after_the_name(data=PNG)
        self.assertEqual(self.files()["forest (2).png"], PNG)
        dialled = len(self.reactor.dialled)
        self.restart()
        self.assert_state(DownloadState.DONE)
        self.assertEqual(self.status.path, str(self.share / "forest (2).png"))
        self.assertEqual(self.status.received, len(PNG))
        self.assertEqual(len(self.reactor.dialled), dialled)
        self.assertEqual(sorted(self.files()), ["forest (2).png", "forest.png"])
        (record,) = self.index.downloads()
        self.assertEqual(record.identity, identity_of(self.share / "forest (2).png"))

    def test_killed_and_another_file_lies_there(self) -> None:
        """Of the same name and size, but of other bytes: that one is not it."""
        self.killed_after_the_name()
        (self.share / "forest").write_bytes(CONTENT[::-1])
        self.restart()
        self.serve()
        self.assert_state(DownloadState.DONE)
        self.assertEqual(self.files(), {"forest": CONTENT[::-1], "forest (2)": CONTENT})

    def test_stopped_by_the_user_while_it_is_named(self) -> None:
        """If that fails it has ended, and does not go on by itself after a restart."""
        held = HeldWorkers()
        self.start()
        self.workers = held
        self.serve()
        while held.waiting != ["finish"]:
            held.do_one()
        self.downloader.stop(self.status.id)
        broken = Broken(self, "fsync", errno.EIO, lambda _: True)
        held.do_all()
        self.assert_state(DownloadState.STOPPED)
        broken.on = False
        self.workers = run_now
        self.restart()
        self.assertEqual(self.downloader.pictures(), ())


class LastingTests(DownloadTestCase):
    """What waiting does not mend ends a download, with its cause; what passes is waited for."""

    def setUp(self) -> None:
        super().setUp()
        self.tell(A)

    def fail_writing(self, number: int) -> Broken:
        """From the second chunk on nothing can be written."""
        return Broken(self, "pwrite", number, lambda _, __, offset: offset >= 10)

    def test_too_large(self) -> None:
        """It is not begun again and again; the part stays, and it can be gone on with."""
        broken = self.fail_writing(errno.EFBIG)
        self.start()
        self.serve()
        self.assert_state(DownloadState.FAILED)
        self.assertIn("File too large", self.status.problem)
        self.assertEqual(self.notices(NoticeKind.WARNING), [self.status.problem])
        self.assertEqual([line[2] for line in self.log_lines()], ["ok unverified"])
        self.reactor.pump([1.0] * 30)
        self.assertEqual(self.reactor.waiting, [])
        self.assert_no_timers()
        broken.on = False
        self.downloader.resume(self.status.id)
        self.assertEqual(self.serve()[0], (A, "forest_2"))
        self.assert_state(DownloadState.DONE)

    def test_not_after_a_restart(self) -> None:
        """What failed is asked for again by a person."""
        broken = self.fail_writing(errno.EFBIG)
        self.start()
        self.serve()
        broken.on = False
        self.restart()
        self.assertEqual(self.downloader.pictures(), ())
        self.start()
        self.serve()
        self.assert_state(DownloadState.DONE)

    def test_each(self) -> None:
        """By its number, whatever it is called."""
        for number in (errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG):
            with self.subTest(errno.errorcode[number]):
                broken = self.fail_writing(number)
                self.start()
                self.serve()
                self.assert_state(DownloadState.FAILED)
                broken.on = False
        for number in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.EBUSY):
            with self.subTest(errno.errorcode[number]):
                self.assertNotIn(number, LASTING)
                broken = self.fail_writing(number)
                self.start()
                self.serve()
                self.assert_state(DownloadState.BLOCKED)
                self.downloader.stop(self.status.id)
                self.let_connections_end()
                broken.on = False

    def test_a_part_that_cannot_be_opened(self) -> None:
        """A name that is too long here, a folder that is not ours."""
        Broken(self, "open", errno.ENAMETOOLONG, lambda path, *_: str(path).endswith(".part"))
        self.start()
        self.assert_state(DownloadState.FAILED)
        self.assertIn("File name too long", self.status.problem)
        self.assertEqual(self.reactor.dialled, [])

    def test_refused_at_once(self) -> None:
        """A destination in which nothing can ever be made."""
        (self.share / "file").write_bytes(b"")
        for folder in (Path("/proc/nowhere"), self.share / "file", self.share / "file" / "in it"):
            with self.subTest(folder.name):
                refused = self.assertRaises(StorageError, self.start, "forest", folder)
                self.assertIn(str(folder), str(refused))
                self.assertTrue(refused.lasting)
        self.patch(os, "access", lambda *_, **__: False)
        self.assertRaises(StorageError, self.start)
        self.assertEqual(self.downloader.pictures(), ())
        self.assertEqual(self.index.downloads(), ())

    def test_a_new_folder(self) -> None:
        """It is made once there is something to be put into it."""
        self.start("bee", self.share / "new" / "folder")
        self.assertFalse((self.share / "new").exists())
        self.start("forest", self.share / "new" / "folder")
        self.serve()
        self.assertEqual((self.share / "new" / "folder" / "forest").read_bytes(), CONTENT)

    def test_a_look_that_fails(self) -> None:
        """Nothing is removed, and nothing refused, for a folder that cannot be looked at."""
        for name in ("lstat", "stat", "mkdir"):
            broken = Broken(self, name, errno.EIO, lambda path, *_, **__: path == self.share)
            parts.check_destination(self.share)
            broken.on = False
            self.assertTrue(self.share.is_dir(), name)

    def test_bytes_that_are_not_kept_are_no_progress(self) -> None:
        """The same ones again and again, though the disk takes them for a moment."""
        broken = Broken(self, "fdatasync", errno.EIO, lambda _: True)
        self.start()
        asked: list[float] = []
        for _ in range(140):
            if self.serve(CONTENT, 2):
                asked.append(self.reactor.seconds())
            self.reactor.advance(1.0)
        self.assertNotIn(self.status.state, FINAL_STATES)
        self.assertGreater(self.status.idle_seconds, 130)
        self.assertEqual(self.status.given[A], 7 * len(ONE))
        gaps = [after - before for before, after in itertools.pairwise(asked)]
        self.assertEqual(gaps, [5.0, 10.0, 20.0, 30.0, 30.0, 30.0])
        broken.on = False
        self.reactor.advance(30.0)
        self.serve()
        self.assert_state(DownloadState.DONE)
        self.assertLess(self.status.idle_seconds, 1.0)


class VerifiedTests(SynchronousTestCase):
    """The same of a verified part."""

    def test_recognised(self) -> None:
        """Nothing is missing of what a former run had named, and no part is made."""
        data = content(2.5)
        part, library, folder = make_part(self, data, former=True)
        (folder / "forest.bin").write_bytes(data[::-1])
        (folder / "forest (2).bin").write_bytes(data)
        self.successResultOf(part.check())
        self.assertTrue(part.held.complete)
        self.successResultOf(part.check_room())
        final = folder / "forest (2).bin"
        self.assertEqual(self.successResultOf(part.finish()), final)
        self.assertEqual(library.finished, [(part.key, final, manifest_of(data))])
        self.assertFalse((folder / ".peershare").exists())

    def test_another_file(self) -> None:
        """A file of that name and size is looked at, and left alone."""
        data = content(2)
        part, _, folder = make_part(self, data, former=True)
        (folder / "forest.bin").write_bytes(data[::-1])
        self.successResultOf(part.check())
        self.assertEqual(len(part.held), 0)

    def test_named_and_not_recorded(self) -> None:
        """Asked again it goes on where it failed, without the part."""
        data = content(2)
        part, library, folder = make_part(self, data)
        self.successResultOf(part.check())
        for index in range(2):
            self.successResultOf(part.store(index, block_of(data, index)))
            part.accept(index)
        broken = Broken(self, "fsync", errno.EIO, is_folder)
        self.failureResultOf(part.finish(), StorageError)
        self.assertEqual(part.final, folder / "forest.bin")
        broken.on = False
        self.assertEqual(self.successResultOf(part.finish()), folder / "forest.bin")
        self.assertEqual([path for _, path, _ in library.finished], [folder / "forest.bin"])
        self.assertEqual((folder / "forest.bin").read_bytes(), data)
        self.assertEqual([path.name for path in folder.iterdir()], ["forest.bin"])

    def test_where_holes_are_not_known(self) -> None:
        """A file system that cannot say so has its parts read."""
        data = content(2)
        part, _, folder = make_part(self, data)
        (folder / ".peershare").mkdir()
        part.path.write_bytes(data)
        Broken(self, "lseek", errno.EINVAL, lambda *_: True)
        self.successResultOf(part.check())
        self.assertTrue(part.held.complete)

    def test_what_is_elsewhere_cannot_be_read(self) -> None:
        """Then it is fetched: that is no fault of the disk that it is to be written to."""
        data = content(2)
        part, library, _ = make_part(self, data)
        manifest = manifest_of(data)
        path = Path(self.mktemp())
        path.write_bytes(data)
        library.own = ContentHandle(
            manifest.content_id, "forest", path, identity_of(path), manifest, None
        )
        Broken(self, "open", errno.EACCES, lambda where, *_: where == path)
        self.successResultOf(part.check())
        self.assertEqual(len(part.held), 0)


class DescriptorTests(SynchronousTestCase):
    """Nothing stays open where a look at a fresh descriptor fails."""

    def test_part(self) -> None:
        """Nor a lock, which would stand in the way of the next try."""
        folder = Path(self.mktemp()).absolute()
        for name, module in (("fstat", os), ("flock", parts.fcntl)):
            before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
            with self.subTest(name):
                real = getattr(module, name)
                self.patch(module, name, failing(errno.EIO))
                self.assertRaises(StorageError, parts.PartFile, folder, "1-forest.part")
                setattr(module, name, real)
                self.assertEqual(len(os.listdir("/proc/self/fd")), before)  # noqa: PTH208
        parts.PartFile(folder, "1-forest.part").close()

    def test_others(self) -> None:
        """Files that are served, hashed, or only looked at."""
        path = Path(self.mktemp()).absolute()
        path.write_bytes(b"hello")
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        real = os.fstat
        calls = good = 0

        def fail_later(descriptor: int) -> os.stat_result:
            nonlocal calls
            calls += 1
            if calls > good:
                raise OSError(errno.EIO, "Input/output error")
            return real(descriptor)

        self.patch(os, "fstat", fail_later)
        for good in range(3):  # noqa: B007
            calls = 0
            with contextlib.suppress(OSError):
                OpenFile(path, None, 5).close()
            calls = 0
            hash_files([Wanted(path, None)], lambda: False)
            calls = 0
            with contextlib.suppress(OSError):
                os.close(open_regular(path))
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)  # noqa: PTH208
