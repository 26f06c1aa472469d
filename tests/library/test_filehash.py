"""Hashing files and parts: the manifest of what was there all the time, or none."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from peershare.content.blocks import MAX_CONTENT_BYTES, MIN_BLOCK_BYTES, BlockSet
from peershare.content.manifest import Manifest, manifest_of
from peershare.errors import StorageError
from peershare.library import filehash as module
from peershare.library.filehash import Hashed, Wanted, check_part, hash_files, hash_large
from peershare.library.files import Identity, identity_of
from peershare.library.parts import PART_FOLDER, PartFile
from tests.fakes import HeldWorkers, run_now

SLICE = 4 * MIN_BLOCK_BYTES  # what a slice is in these tests


def never() -> bool:
    return False


class FileHashTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir(parents=True)
        self.patch(module, "SLICE_BYTES", SLICE)

    def file(self, data: bytes = b"0123456789", name: str = "forest.png") -> Path:
        path = self.folder / name
        path.write_bytes(data)
        return path

    def large(
        self, wanted: Wanted, hashers: Any = run_now, ended: Callable[[], bool] = never
    ) -> Deferred[Hashed]:
        return Deferred.fromCoroutine(hash_large(hashers, wanted, ended))

    def both(self, wanted: Wanted) -> Hashed:
        """What both ways of hashing say, which must be the same."""
        (small,) = hash_files([wanted], never)
        self.assertEqual(self.successResultOf(self.large(wanted)), small)
        return small

    def descriptors(self) -> int:
        return len(list(Path("/proc/self/fd").iterdir()))


class ManifestTests(FileHashTestCase):
    @settings(max_examples=30, deadline=None)
    @given(
        st.integers(0, 3 * SLICE)
        | st.integers(0, 12).map(lambda n: n * MIN_BLOCK_BYTES)
        | st.integers(1, 12).map(lambda n: n * MIN_BLOCK_BYTES + 1)
    )
    def test_any_size(self, size: int) -> None:
        """It is the manifest of the same bytes, an empty file's too."""
        data = os.urandom(size)
        path = self.file(data)
        identity = identity_of(path)
        hashed = self.both(Wanted(path, identity))
        self.assertEqual(hashed, Hashed(identity, manifest_of(data)))
        self.assertEqual(self.both(Wanted(path, None)), hashed)

    def test_several_files(self) -> None:
        """Each has its result, in order."""
        paths = [self.file(str(n).encode(), f"f{n}") for n in range(5)]
        paths[2].unlink()
        results = hash_files([Wanted(path, None) for path in paths], never)
        manifests = [manifest_of(str(n).encode()) for n in range(5)]
        self.assertEqual(
            [result.manifest for result in results],
            [*manifests[:2], None, *manifests[3:]],
        )

    def test_given_up(self) -> None:
        """Files that were not begun are not touched."""
        path = self.file()
        self.assertEqual(hash_files([Wanted(path, None)], lambda: True), [Hashed()])
        hashed = self.successResultOf(self.large(Wanted(path, None), run_now, lambda: True))
        self.assertEqual(hashed, Hashed())


class WrongFileTests(FileHashTestCase):
    def test_another_file(self) -> None:
        """What is not what was wanted gives nothing, and no problem: it is found anew."""
        path = self.file()
        identity = identity_of(path)
        path.write_bytes(b"something else")
        self.assertEqual(self.both(Wanted(path, identity)), Hashed())

    def test_gone(self) -> None:
        """The same."""
        path = self.file()
        path.unlink()
        self.assertEqual(self.both(Wanted(path, None)), Hashed())

    def test_no_regular_file(self) -> None:
        """A link is not followed, a FIFO not waited for; it is said what is in the way."""
        link, fifo = self.folder / "link", self.folder / "fifo"
        link.symlink_to(self.file())
        os.mkfifo(fifo)
        for path in (link, fifo, self.folder):
            hashed = self.both(Wanted(path, None))
            self.assertIsNone(hashed.manifest)
            self.assertIn(f"{path}: cannot read", hashed.problem)

    def test_a_failing_disk(self) -> None:
        """It is said, and blames nobody."""

        def fail(*_: object) -> int:
            raise OSError(5, "Input/output error")

        path = self.file()
        self.patch(os, "preadv", fail)
        hashed = self.both(Wanted(path, None))
        self.assertEqual(hashed.problem, f"{path}: cannot read: Input/output error")

    def test_larger_than_any_content(self) -> None:
        """It is not even begun."""
        path = self.file()
        os.truncate(path, MAX_CONTENT_BYTES + 1)
        self.assertEqual(self.both(Wanted(path, None)), Hashed())

    def test_no_descriptor_is_left(self) -> None:
        """Whatever becomes of it."""
        path = self.file(bytes(3 * SLICE))
        before = self.descriptors()
        self.both(Wanted(path, None))
        self.both(Wanted(path, Identity(1, 2, 3, 4)))
        self.both(Wanted(self.folder, None))
        self.assertEqual(self.descriptors(), before)


class ChangedMeanwhileTests(FileHashTestCase):
    def start(self, slices: int = 8) -> None:
        """Hash a file of so many slices; the first tasks wait."""
        self.path = self.file(os.urandom(slices * SLICE))
        self.hashers = HeldWorkers()
        self.before = self.descriptors()
        self.stop = False
        wanted = Wanted(self.path, identity_of(self.path))
        self.hashing = self.large(wanted, self.hashers, lambda: self.stop)
        self.hashers.do_one()

    def test_several_slices_wait_at_once(self) -> None:
        """So many that no thread waits for the reactor, and not more."""
        self.start()
        self.assertEqual(self.hashers.waiting, ["_hash_slice"] * 4)
        self.hashers.do_one()
        self.assertEqual(self.hashers.waiting, ["_hash_slice"] * 4)
        self.hashers.do_all()
        self.assertIsNotNone(self.successResultOf(self.hashing).manifest)

    def assert_no_manifest(self) -> None:
        self.hashers.do_all()
        self.assertEqual(self.successResultOf(self.hashing), Hashed())
        self.assertEqual(self.descriptors(), self.before)

    def test_written(self) -> None:
        """New bytes of the same length, in the midst of it."""
        self.start()
        self.hashers.do_one()
        with self.path.open("r+b") as file:
            file.write(b"other")
        os.utime(self.path, ns=(0, 0))
        self.assert_no_manifest()

    def test_grown(self) -> None:
        """Bytes that were added."""
        self.start()
        self.hashers.do_one()
        with self.path.open("ab") as file:
            file.write(b"more")
        self.assert_no_manifest()

    def test_cut_off(self) -> None:
        """There is less than there was; nothing is left open while slices are being read."""
        self.start()
        os.truncate(self.path, SLICE)
        self.hashers.do_one()
        self.hashers.do_one()
        self.assertNoResult(self.hashing)
        self.assert_no_manifest()

    def test_deleted(self) -> None:
        """An open file stays what it is: that its name is gone is for the next scan to see."""
        self.start()
        self.path.unlink()
        self.hashers.do_all()
        self.assertIsNotNone(self.successResultOf(self.hashing).manifest)

    def test_given_up_in_the_middle(self) -> None:
        """No further slice is begun."""
        self.start(100)
        self.stop = True
        self.assert_no_manifest()

    def test_a_pool_that_is_stopped(self) -> None:
        """It fails with what the pool says, and the file is closed."""
        path = self.file(bytes(3 * SLICE))
        before, calls = self.descriptors(), [0]

        def stopping(function: Any, *arguments: Any) -> Deferred[Any]:
            calls[0] += 1
            return run_now(function, *arguments) if calls[0] < 3 else run_now(divmod, 1, 0)

        self.failureResultOf(self.large(Wanted(path, None), stopping), ZeroDivisionError)
        self.assertEqual(self.descriptors(), before)


class PartTests(FileHashTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.data = os.urandom(11 * MIN_BLOCK_BYTES + 5)
        self.manifest = manifest_of(self.data)
        self.part = PartFile(self.folder, "1-forest.part")
        self.addCleanup(self.part.close)

    def write(self, *blocks: int, wrong: bool = False) -> None:
        for index in blocks:
            start = index * MIN_BLOCK_BYTES
            data = bytearray(self.data[start : start + MIN_BLOCK_BYTES])
            data[-1] ^= wrong
            self.part.write_at(bytes(data), start)

    def held(self, manifest: Manifest | None = None) -> list[int]:
        """The blocks that both ways of checking find."""
        manifest = manifest or self.manifest
        checking = Deferred.fromCoroutine(check_part(run_now, self.part, manifest))
        found = self.successResultOf(checking)
        self.assertEqual(found, self.part.check_blocks(manifest))
        return list(found)

    def test_what_is_right_is_kept(self) -> None:
        """Wherever it lies; what is wrong, half or missing is not."""
        self.write(0, 3, 4, 10)
        self.write(1, 5, wrong=True)
        self.part.write_at(self.data[7 * MIN_BLOCK_BYTES :][:1_000], 7 * MIN_BLOCK_BYTES)
        self.assertEqual(self.held(), [0, 3, 4, 10])

    def test_nothing_there(self) -> None:
        """An empty part, or one of another size."""
        self.assertEqual(self.held(), [])
        self.part.write_at(b"?" * 100, 50 * MIN_BLOCK_BYTES)
        self.assertEqual(self.held(), [])

    def test_all_there(self) -> None:
        """The last block is shorter."""
        self.write(*range(12))
        self.assertEqual(self.held(), list(range(12)))

    def test_blocks_of_zeros(self) -> None:
        """A hole is as good as zeros, where the content has them; nothing is read for it."""
        self.data = bytes(5 * MIN_BLOCK_BYTES) + b"end"
        manifest = manifest_of(self.data)
        self.assertEqual(self.held(manifest), [])
        self.write(5)
        read: list[int] = []
        real = os.preadv

        def preadv(descriptor: int, views: Any, offset: int) -> int:
            read.append(offset)
            return real(descriptor, views, offset)

        self.patch(os, "preadv", preadv)
        self.assertEqual(self.held(manifest), [0, 1, 2, 3, 4, 5])
        self.assertEqual(set(read), {5 * MIN_BLOCK_BYTES})

    def test_an_empty_content(self) -> None:
        """There is no block, and nothing to be checked."""
        self.assertEqual(self.held(manifest_of(b"")), [])

    def test_abandoned(self) -> None:
        """The rest is not looked at."""
        self.write(*range(12))
        workers = HeldWorkers()
        checking = Deferred.fromCoroutine(check_part(workers, self.part, self.manifest))
        workers.do_one()
        self.part.abandon()
        workers.do_all()
        self.assertEqual(self.successResultOf(checking), BlockSet(12))
        self.assertEqual(self.part.check_blocks(self.manifest), BlockSet(12))

    def test_a_failing_disk(self) -> None:
        """It is told with the path."""

        def fail(*_: object) -> int:
            raise OSError(5, "Input/output error")

        self.write(0)
        self.patch(os, "preadv", fail)
        checking = Deferred.fromCoroutine(check_part(run_now, self.part, self.manifest))
        self.assertIn(PART_FOLDER, str(self.failureResultOf(checking, StorageError).value))

    def test_putting_on_the_disk(self) -> None:
        """A sync that fails is told, too."""
        self.part.sync()

        def fail(_: int) -> None:
            raise OSError(28, "No space left on device")

        self.patch(os, "fdatasync", fail)
        self.assertRaises(StorageError, self.part.sync)
