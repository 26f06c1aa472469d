"""An open chunk: what is served is what was announced, or it is said."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from peershare.content.chunks import ByteRange
from peershare.library.entries import ChunkHandle
from peershare.library.files import Identity, identity_of
from peershare.library.opened import FileChangedError, OpenChunk

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
