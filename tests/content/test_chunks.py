"""The five byte ranges of a file."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from peershare.content.chunks import (
    CHUNK_COUNT,
    ByteRange,
    chunk_fits,
    chunk_offset,
    chunk_ranges,
    chunk_size,
    has_five_chunks,
)

TOO_SMALL = {0, 1, 2, 3, 4, 6, 7, 8, 11, 12, 16}
SIZES = st.one_of(st.integers(0, 200), st.integers(0, 2**70)).filter(has_five_chunks)


class ChunkRangesTests(SynchronousTestCase):
    def test_sizes_without_five_chunks(self) -> None:
        """Exactly the sizes that the classic protocol names give fewer than five chunks."""
        self.assertEqual({size for size in range(1_000) if not has_five_chunks(size)}, TOO_SMALL)

    def test_sizes_without_five_chunks_have_no_ranges(self) -> None:
        """Such a size, or a negative one, is refused rather than cut into four."""
        for size in (*TOO_SMALL, -1, -5):
            with self.assertRaises(ValueError):
                chunk_ranges(size)

    def test_negative_size(self) -> None:
        """A negative size has no chunk size, and no five chunks."""
        with self.assertRaises(ValueError):
            chunk_size(-1)
        self.assertFalse(has_five_chunks(-1))

    def test_chunk_size(self) -> None:
        """A fifth, rounded up, and exact for sizes beyond what a float can hold."""
        sizes = {0: 0, 1: 1, 5: 1, 6: 2, 10: 2, 11: 3, 5 * 2**60 + 1: 2**60 + 1}
        self.assertEqual({size: chunk_size(size) for size in sizes}, sizes)

    def test_example(self) -> None:
        """A file of 18 bytes divides as the specification's formula says."""
        ranges = ((0, 4), (4, 8), (8, 12), (12, 16), (16, 18))
        self.assertEqual(chunk_ranges(18), tuple(ByteRange(*pair) for pair in ranges))

    @given(SIZES)
    def test_ranges_cover_the_file(self, size: int) -> None:
        """The five ranges follow one another from the first byte to the last, none empty."""
        ranges = chunk_ranges(size)
        self.assertEqual(len(ranges), CHUNK_COUNT)
        position = 0
        for number, piece in enumerate(ranges, start=1):
            self.assertEqual(piece.start, position)
            self.assertEqual(piece.start, chunk_offset(number, chunk_size(size)))
            self.assertGreater(piece.length, 0)
            position = piece.stop
        self.assertEqual(position, size)

    @given(SIZES)
    def test_own_chunks_fit(self, size: int) -> None:
        """Every chunk of a file passes the check that foreign chunks have to pass."""
        for number, piece in enumerate(chunk_ranges(size), start=1):
            self.assertTrue(chunk_fits(number, piece.length, chunk_size(size)))

    def test_offset_of_no_chunk(self) -> None:
        """Chunks are numbered 1 to 5, whatever a peer calls them."""
        for number in (0, 6, -1):
            with self.assertRaises(ValueError):
                chunk_offset(number, 10)


class ChunkFitsTests(SynchronousTestCase):
    def test_first_four(self) -> None:
        """Chunks 1 to 4 are exactly as long as the chunk size."""
        for number in (1, 2, 3, 4):
            self.assertTrue(chunk_fits(number, 10, 10))
            self.assertFalse(chunk_fits(number, 9, 10))
            self.assertFalse(chunk_fits(number, 11, 10))

    def test_fifth(self) -> None:
        """Chunk 5 is at most 4 bytes shorter, and never empty."""
        self.assertEqual([n for n in range(20) if chunk_fits(5, n, 10)], [6, 7, 8, 9, 10])
        self.assertEqual([n for n in range(20) if chunk_fits(5, n, 3)], [1, 2, 3])
        self.assertEqual([n for n in range(20) if chunk_fits(5, n, 1)], [1])

    @given(st.integers(1, 60), st.integers(0, 70))
    def test_fifth_fits_where_a_file_exists(self, c: int, length: int) -> None:
        """A fifth chunk fits if and only if there is a file with these five chunks."""
        size = 4 * c + length
        exists = has_five_chunks(size) and chunk_size(size) == c
        self.assertEqual(chunk_fits(5, length, c), exists)

    def test_no_such_chunk(self) -> None:
        """Other numbers, and a chunk size of nothing, fit never."""
        for number in (0, 6, -1):
            self.assertFalse(chunk_fits(number, 10, 10))
        for number in range(7):
            self.assertFalse(chunk_fits(number, 0, 0))
