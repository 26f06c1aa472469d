"""The hashes: what a file hashed to is known as long as it is the same, and not forever."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from peershare.content.manifest import Manifest, manifest_of
from peershare.errors import StorageError
from peershare.library import hashes as module
from peershare.library.files import Identity
from peershare.library.hashes import Known
from peershare.library.index import INDEX_NAME, Index

FILE = Identity(1, 2, 3, 4)
ONE, OTHER = manifest_of(b"one"), manifest_of(b"two")


class HashesTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir(parents=True)
        self.index = Index(self.folder)
        self.addCleanup(self.index.close)
        self.store = self.index.hashes

    def files(self, count: int) -> list[Identity]:
        return [msgspec.structs.replace(FILE, inode=inode) for inode in range(count)]

    def known(self, *files: Identity) -> list[str]:
        found = self.store.find(files)
        return [found[file].content if file in found else "" for file in files]

    def manifest(self, file: Identity) -> Manifest | None:
        found = self.store.find([file])
        return found[file].manifest if file in found else None

    def prune(self, present: list[Identity]) -> None:
        self.store.forget(self.store.forgettable(present))


class FindingTests(HashesTestCase):
    def test_as_long_as_it_is_the_same(self) -> None:
        """Another size or time is another file; so is another inode, or device."""
        self.store.save([(FILE, ONE)])
        self.assertEqual(self.store.find([FILE]), {FILE: Known(ONE.content_id, ONE)})
        for field in ("device", "inode", "size", "mtime_ns"):
            self.assertEqual(self.store.find([msgspec.structs.replace(FILE, **{field: 9})]), {})
        self.assertEqual(self.store.find([]), {})

    def test_the_last_state_of_each_file(self) -> None:
        """Of one that changed nothing else is kept."""
        changed = msgspec.structs.replace(FILE, size=5)
        self.store.save([(FILE, ONE)])
        self.store.save([(changed, OTHER)])
        self.assertEqual(self.known(FILE, changed), ["", OTHER.content_id])

    def test_many(self) -> None:
        """All at once is the same as one by one."""
        files = self.files(2_000)
        self.store.save([(file, ONE) for file in files[::2]])
        many = self.store.find(files)
        few = {}
        for start in range(0, len(files), 100):
            few.update(self.store.find(files[start : start + 100]))
        self.assertEqual(many, few)
        self.assertEqual(len(many), 1_000)

    def test_over_a_restart(self) -> None:
        """And the manifests too, which are found by id."""
        self.store.save([(FILE, ONE)])
        self.index.close()
        index = Index(self.folder)
        self.addCleanup(index.close)
        self.assertEqual(index.hashes.find([FILE]), {FILE: Known(ONE.content_id, ONE)})

    @settings(max_examples=25, deadline=None)
    @given(
        st.integers(0, (1 << 64) - 1),
        st.integers(0, (1 << 64) - 1),
        st.integers(-(1 << 70), 1 << 70),
    )
    def test_whatever_a_file_system_counts(self, device: int, inode: int, mtime_ns: int) -> None:
        """Numbers that SQLite cannot hold are no trouble (a time in the year 9999, say)."""
        file = Identity(device, inode, 3, mtime_ns)
        self.store.save([(file, ONE)])
        self.assertEqual(self.known(file), [ONE.content_id])

    def test_beside_the_index(self) -> None:
        """A manifest that a download brought is the one of the file that it becomes."""
        self.index.save_manifest(ONE)
        self.store.save([(FILE, ONE)])
        self.index.save_manifest(ONE)
        self.assertEqual(self.manifest(FILE), ONE)

    def test_reading_waits_for_nobody(self) -> None:
        """While another program holds the lock for writing, what is known is found."""
        self.store.save([(FILE, ONE)])
        other = sqlite3.connect(self.folder / INDEX_NAME)
        self.addCleanup(other.close)
        other.execute("BEGIN IMMEDIATE")
        self.assertEqual(self.known(FILE), [ONE.content_id])

    def test_a_failing_disk(self) -> None:
        """It is said with the path; no empty index is made in the place of a lost one."""
        (self.folder / INDEX_NAME).unlink()
        for call in (lambda: self.store.find([FILE]), lambda: self.store.forgettable([])):
            self.assertIn(INDEX_NAME, str(self.assertRaises(StorageError, call)))
        self.assertFalse((self.folder / INDEX_NAME).exists())


class PruningTests(HashesTestCase):
    def contents(self) -> list[str]:
        connection = sqlite3.connect(self.folder / INDEX_NAME)
        try:
            return [row[0] for row in connection.execute("SELECT content FROM manifests")]
        finally:
            connection.close()

    def rows(self, table: str) -> int:
        connection = sqlite3.connect(self.folder / INDEX_NAME)
        try:
            count: int = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            return count
        finally:
            connection.close()

    def test_a_few_that_are_gone_stay(self) -> None:
        """They may be on a disk that is not mounted at the moment."""
        self.store.save([(file, ONE) for file in self.files(5)])
        self.prune([])
        self.assertEqual(self.rows("hashes"), 5)

    def test_too_many_that_are_gone(self) -> None:
        """Those go that were hashed longest ago; what is there stays."""
        self.patch(module, "MOST_ABSENT", 3)
        self.patch(module, "_MANY", 2)
        files = self.files(10)
        for number, file in enumerate(files):
            self.store.save([(file, manifest_of(bytes([number])))])
        self.prune(files[:2])
        there = [bool(content) for content in self.known(*files)]
        self.assertEqual(there, [True, True, *[False] * 5, True, True, True])
        self.assertEqual(self.rows("manifests"), 5)

    def test_digests_are_counted_too(self) -> None:
        """Large contents have long manifests."""
        self.patch(module, "MOST_ABSENT_BYTES", 100)
        files = self.files(6)
        for number, file in enumerate(files):
            self.store.save([(file, manifest_of(bytes([number])))])
        self.prune([])
        self.assertEqual(
            [bool(content) for content in self.known(*files)], [False] * 3 + [True] * 3
        )

    def test_manifests_of_downloads_stay(self) -> None:
        """As long as there is the download, though no file has that id yet."""
        self.index.add_download("forest", self.folder, ONE.content_id)
        for manifest in (ONE, OTHER):
            self.index.save_manifest(manifest)
        self.prune([])
        self.assertEqual(self.contents(), [ONE.content_id])

    def test_one_content_of_two_files(self) -> None:
        """Its manifest goes with the last of them."""
        self.patch(module, "MOST_ABSENT", 0)
        files = self.files(2)
        self.store.save([(file, ONE) for file in files])
        self.prune(files[:1])
        self.assertEqual(self.contents(), [ONE.content_id])
        self.prune([])
        self.assertEqual(self.contents(), [])

    def test_a_large_manifest(self) -> None:
        """A mebibyte of digests goes in and out."""
        large = Manifest(1 << 37, bytes(range(256)) * 4_096)
        self.store.save([(FILE, large)])
        self.assertEqual(self.manifest(FILE), large)
