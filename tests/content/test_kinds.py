"""Extensions from first bytes."""

import struct
import zlib

import filetype
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from peershare.content.kinds import HEAD_BYTES, sniff_extension
from peershare.content.names import split_name


def _png() -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    checksum = struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + checksum


class SniffExtensionTests(SynchronousTestCase):
    def test_pictures(self) -> None:
        """The user's pictures, and other common kinds, are recognised."""
        self.assertEqual(sniff_extension(_png()), ".png")
        self.assertEqual(sniff_extension(b"\xff\xd8\xff\xe0" + bytes(40)), ".jpg")
        self.assertEqual(sniff_extension(b"%PDF-1.7\n" + bytes(40)), ".pdf")
        self.assertEqual(sniff_extension(b"\x1f\x8b\x08" + bytes(40)), ".gz")

    def test_unknown(self) -> None:
        """Plain text, zeros and nothing at all have no extension of their own."""
        for head in (b"", b"a", b"hello, world\n" * 20, bytes(100)):
            self.assertEqual(sniff_extension(head), "")

    def test_more_than_a_head(self) -> None:
        """Whatever lies beyond the head does not matter, nor which kind of buffer it is."""
        self.assertEqual(sniff_extension(_png() + bytes(10 * HEAD_BYTES)), ".png")
        self.assertEqual(sniff_extension(memoryview(_png())), ".png")  # type: ignore[arg-type]

    def test_stumbling_matcher(self) -> None:
        """A matcher that raises on a stranger's bytes has simply not matched."""

        def stumble(head: bytes) -> None:
            raise IndexError("cut off")

        self.patch(filetype, "guess", stumble)
        self.assertEqual(sniff_extension(_png()), "")

    def test_every_extension_is_one(self) -> None:
        """Whatever the library can answer is an extension to us as well."""
        for kind in filetype.TYPES:
            name = f"forest.{kind.extension}"
            self.assertEqual(split_name(name), ("forest", f".{kind.extension}"))

    @given(st.binary(max_size=300))
    def test_never_raises(self, tail: bytes) -> None:
        """Any bytes give an extension or none."""
        for head in (tail, b"PK\x03\x04" + tail, b"\x00\x00\x00\x20ftyp" + tail, b"II*\x00" + tail):
            found = sniff_extension(head)
            self.assertTrue(found == "" or found.startswith("."), found)
