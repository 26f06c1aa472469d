"""An open chunk: what is served is what was announced, or it is said."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from peershare.content.chunks import ByteRange
from peershare.content.manifest import Manifest, manifest_of
from peershare.library.entries import ChunkHandle, ContentHandle
from peershare.library.files import Identity, identity_of
from peershare.library.opened import FileChangedError, OpenChunk, OpenContents

DATA = b"0123456789"


class OpenChunkTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_bytes(DATA)
        os.utime(self.path, ns=(0, 0))
        self.identity = identity_of(self.path)

    def open(self, identity: Identity | None, *, start: int = 2, stop: int = 6) -> OpenChunk:
        handle = ChunkHandle("forest_2", self.path, ByteRange(start, stop), identity)
        chunk = OpenChunk(handle)
        self.addCleanup(chunk.close)
        return chunk

    def test_reads_its_range(self) -> None:
        """Exactly these bytes, and the file has not changed."""
        chunk = self.open(self.identity)
        self.assertEqual(chunk.read(chunk.range), b"2345")
        self.assertEqual(chunk.read(ByteRange(5, 6)), b"5")
        chunk.check_unchanged()

    def test_a_file_that_is_not_there(self) -> None:
        """The error of the system, for the caller to tell."""
        self.path.unlink()
        self.assertRaises(OSError, self.open, self.identity)

    def test_another_file_in_its_place(self) -> None:
        """It is found out when it is opened, and no descriptor stays open."""
        self.path.write_bytes(b"9876543210")
        probe = os.dup(0)
        os.close(probe)
        self.assertRaises(FileChangedError, self.open, self.identity)
        again = os.dup(0)
        os.close(again)
        self.assertEqual(again, probe)

    def test_changed_while_it_is_served(self) -> None:
        """The descriptor tells that somebody wrote into the file."""
        chunk = self.open(self.identity)
        self.path.write_bytes(b"9876543210")
        self.assertRaises(FileChangedError, chunk.check_unchanged)
        self.assertRaises(FileChangedError, chunk.read, chunk.range)

    def test_replaced_while_it_is_served(self) -> None:
        """A rename over it does no harm: what was opened is served to its end."""
        chunk = self.open(self.identity)
        other = self.path.with_name("other")
        other.write_bytes(b"9876543210")
        other.replace(self.path)
        self.assertEqual(chunk.read(chunk.range), b"2345")

    def test_truncated_while_it_is_served(self) -> None:
        """Fewer bytes than the range has are never given as the whole."""
        chunk = self.open(self.identity)
        os.truncate(self.path, 4)
        self.assertRaises(FileChangedError, chunk.read, chunk.range)
        part = self.open(None)
        self.assertRaises(FileChangedError, part.read, part.range)

    def test_a_part_may_grow(self) -> None:
        """A part changes as it is written: only its range counts."""
        chunk = self.open(None)
        self.path.write_bytes(DATA + b"more")
        chunk.check_unchanged()
        self.assertEqual(chunk.read(chunk.range), b"2345")

    def test_closing_twice(self) -> None:
        """The second time nothing of somebody else's is closed."""
        chunk = self.open(self.identity)
        chunk.close()
        reused = os.dup(0)
        self.addCleanup(os.close, reused)
        chunk.close()
        os.fstat(reused)


class OpenContentsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_bytes(bytes(200_000))
        os.utime(self.path, ns=(0, 0))
        self.contents = OpenContents()

    def handle(self, **changes: Any) -> ContentHandle:
        manifest = manifest_of(bytes(200_000))
        path = self.path
        made = ContentHandle(manifest.content_id, "x", path, identity_of(path), manifest, None)
        return replace(made, **changes)

    def test_shared(self) -> None:
        """One descriptor for all who hold it, closed by the last of them."""
        one, two = self.contents.hold(self.handle()), self.contents.hold(self.handle())
        self.assertIs(one, two)
        one.release()
        self.assertEqual(two.read(two.range_of(3)), bytes(200_000 - 3 * 65_536))
        two.release()
        self.assertEqual(two.descriptor, -1)
        three = self.contents.hold(self.handle())
        self.assertIsNot(three, one)
        three.release()

    def test_another_state_is_another_file(self) -> None:
        """A part that became a file, or a file that was changed, is opened anew."""
        part = self.contents.hold(self.handle(identity=None))
        whole = self.contents.hold(self.handle())
        self.assertIsNot(part, whole)
        os.utime(self.path, ns=(1, 1))
        self.assertRaises(FileChangedError, whole.check_unchanged)
        changed = self.contents.hold(self.handle())
        self.assertIsNot(changed, whole)
        for content in (part, whole, changed):
            content.release()

    def test_what_cannot_be_opened(self) -> None:
        """Nothing is left behind."""
        wrong = self.handle()
        os.utime(self.path, ns=(1, 1))
        self.assertRaises(FileChangedError, self.contents.hold, wrong)
        gone = self.handle(path=self.path.with_name("gone"))
        self.assertRaises(FileNotFoundError, self.contents.hold, gone)

    def test_ahead(self) -> None:
        """Windows of 16 MiB, this one and the next, each told once, none behind the end."""
        manifest = Manifest(40 << 20, bytes(32 * 640))
        content = self.contents.hold(self.handle(manifest=manifest))
        told = [list(content.ahead(offset)) for offset in (5, 6, 20 << 20, 39 << 20)]
        self.assertEqual(
            [[r.start >> 24 for r in ranges] for ranges in told], [[0, 1], [], [2], []]
        )
        content.release()
