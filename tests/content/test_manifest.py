"""Manifests and content ids."""

from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from peershare.content.blocks import MAX_CONTENT_BYTES, block_count, block_range, block_size
from peershare.content.manifest import (
    DIGEST_BYTES,
    Manifest,
    content_id,
    digest,
    id_query,
    is_content_id,
    manifest_of,
)

BLOCK = 65_536
AN_ID = "b3:" + "0123456789abcdef" * 4
# Bytes of any size around the ends of the first blocks, without drawing each of them.
CONTENTS = st.builds(
    lambda seed, size: (seed * (size // len(seed) + 1))[:size],
    st.binary(min_size=1, max_size=40),
    st.one_of(st.integers(0, 300), st.integers(BLOCK - 2, BLOCK + 2), st.integers(0, 4 * BLOCK)),
)


class DigestTests(SynchronousTestCase):
    def test_published_vectors(self) -> None:
        """The first bytes of two of the vectors that the authors of BLAKE3 publish."""
        self.assertEqual(
            digest(b"").hex(), "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
        )
        self.assertEqual(
            digest(b"\x00").hex(),
            "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213",
        )

    def test_any_buffer(self) -> None:
        """Whatever has bytes can be hashed where it lies."""
        for data in (bytearray(b"bee"), memoryview(b"a bee")[2:]):
            self.assertEqual(digest(data), digest(b"bee"))


class ManifestTests(SynchronousTestCase):
    def test_by_hand(self) -> None:
        """An id is BLAKE3 of head, size, block size and digests, integers as 8 bytes each."""
        data = b"b" * (BLOCK + 1)
        digests = blake3(b"b" * BLOCK).digest() + blake3(b"b").digest()
        text = b"peershare content 1\n" + (65_537).to_bytes(8, "little")
        expected = blake3(text + (65_536).to_bytes(8, "little") + digests).hexdigest()
        manifest = manifest_of(data)
        self.assertEqual(manifest, Manifest(65_537, digests))
        self.assertEqual(manifest.content_id, f"b3:{expected}")

    def test_empty(self) -> None:
        """A content without a byte has no digest, and an id."""
        manifest = manifest_of(b"")
        self.assertEqual((manifest.size, manifest.digests, manifest.block_count), (0, b"", 0))
        head = b"peershare content 1\n" + bytes(8) + (65_536).to_bytes(8, "little")
        self.assertEqual(manifest.content_id, f"b3:{blake3(head).hexdigest()}")

    def test_no_such_block(self) -> None:
        """There is no digest behind the last one, and none before the first one."""
        for manifest in (manifest_of(b""), manifest_of(b"b" * (BLOCK + 1))):
            for index in (-1, manifest.block_count, 1 << 70):
                with self.assertRaises(IndexError):
                    manifest.digest_of(index)
                with self.assertRaises(IndexError):
                    manifest.check(index, b"")

    def test_wrong_number_of_digests(self) -> None:
        """Digests that do not fit the size have no id: too few, too many, half a digest."""
        for size, length in ((0, 32), (1, 0), (1, 31), (1, 33), (1, 64), (BLOCK + 1, 32)):
            with self.assertRaises(ValueError):
                content_id(size, bytes(length))

    def test_lies_about_size(self) -> None:
        """A size that no content has is refused, not computed with."""
        for size in (-1, MAX_CONTENT_BYTES + 1, 10**15, 1 << 4_000):
            with self.assertRaises(ValueError):
                content_id(size, bytes(32))

    def test_size_is_in_the_id(self) -> None:
        """The same digests under another size that has as many blocks are another content."""
        ids = {content_id(size, bytes(32)) for size in (1, 2, BLOCK - 1, BLOCK)}
        self.assertEqual(len(ids), 4)

    @given(CONTENTS)
    @settings(max_examples=50)
    def test_each_block(self, data: bytes) -> None:
        """Each block is checked by its own digest, and an altered one is found out."""
        manifest = manifest_of(data)
        self.assertEqual(manifest.block_size, block_size(len(data)))
        self.assertEqual(manifest.block_count, block_count(len(data)))
        self.assertEqual(len(manifest.digests), manifest.block_count * DIGEST_BYTES)
        for index in range(manifest.block_count):
            start, stop = block_range(index, len(data))
            block = bytearray(data[start:stop])
            self.assertTrue(manifest.check(index, block))
            self.assertFalse(manifest.check(index, block[:-1]))
            self.assertFalse(manifest.check(index, block + b"\0"))
            block[len(block) // 2] ^= 1
            self.assertFalse(manifest.check(index, block))

    @given(CONTENTS, CONTENTS)
    @settings(max_examples=50)
    def test_one_content_one_id(self, data: bytes, other: bytes) -> None:
        """Equal bytes have one id, other bytes another one."""
        ids = [manifest_of(content).content_id for content in (data, bytes(data), other)]
        self.assertTrue(all(is_content_id(text) for text in ids))
        self.assertEqual(ids[0], ids[1])
        self.assertEqual(ids[0] == ids[2], data == other)

    @given(st.integers(0, 64 * (1 << 20)), st.data())
    def test_any_part_of_it_matters(self, size: int, data: st.DataObject) -> None:
        """One other bit in the digests is another id."""
        digests = bytearray(block_count(size) * DIGEST_BYTES)
        before = content_id(size, bytes(digests))
        if digests:
            digests[data.draw(st.integers(0, len(digests) - 1))] ^= 1 << data.draw(
                st.integers(0, 7)
            )
            self.assertNotEqual(content_id(size, bytes(digests)), before)


class IdTests(SynchronousTestCase):
    def test_whole_ids(self) -> None:
        """An id is `b3:` and 64 lower hex digits, nothing before or behind it."""
        self.assertTrue(is_content_id(AN_ID))
        for text in (
            "",
            AN_ID[3:],
            AN_ID[:-1],
            AN_ID + "0",
            AN_ID + "\n",
            " " + AN_ID,
            AN_ID.upper(),
            "b3:" + AN_ID[3:].upper(),
            "b2:" + AN_ID[3:],
            "b3:" + "٣" * 64,
            "b3:" + "g" * 64,
        ):
            self.assertFalse(is_content_id(text), text)

    def test_queries(self) -> None:
        """8 to 64 hex digits of either case, with or without the prefix."""
        for text in ("0123abcd", "b3:0123abcd", "0123ABCD", "b3:0123ABCD"):
            self.assertEqual(id_query(text), "b3:0123abcd")
        self.assertEqual(id_query(AN_ID), AN_ID)
        self.assertEqual(id_query(AN_ID[3:]), AN_ID)

    def test_no_queries(self) -> None:
        """Too short, too long, other characters, or anything around it."""
        for text in (
            "",
            "b3:",
            "0123abc",
            "b3:0123abc",
            "0123abcg",
            "0123abcd\n",
            " 0123abcd",
            "b3:b3:0123abcd",
            "٠١٢٣٤٥٦٧",
            AN_ID + "0",
            "0" * 65,
            "0" * 60_000,
            "\ud800" * 8,
        ):
            self.assertIsNone(id_query(text), text)

    @given(st.text())
    def test_any_text(self, text: str) -> None:
        """Whatever a person types: if it is a query, it is the beginning of an id."""
        found = id_query(text)
        if found is not None:
            self.assertTrue(is_content_id(found.ljust(67, "0")))
