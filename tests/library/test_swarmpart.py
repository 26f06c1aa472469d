"""Parts of verified downloads as classic peers see them: chunk by chunk, out of blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from peershare.content.blocks import (
    MAX_CONTENT_BYTES,
    MIN_BLOCK_BYTES,
    BlockSet,
    block_count,
    block_range,
)
from peershare.content.chunks import chunk_ranges, has_five_chunks
from peershare.content.manifest import Manifest
from peershare.library.swarmpart import SwarmPart

PATH = Path("/there/1-forest.part")


def manifest(size: int) -> Manifest:
    """One of that size; whatever its blocks hash to."""
    return Manifest(size, bytes(32) * block_count(size))


def part(size: int, *blocks: int) -> SwarmPart:
    held = BlockSet(block_count(size), blocks)
    return SwarmPart("forest", PATH, manifest(size), held)


def whole_chunks(size: int, held: BlockSet) -> list[int]:
    """What it ought to be: the chunks none of whose bytes is in a block that is missing."""
    if not has_five_chunks(size):
        return []
    missing = [block_range(index, size) for index in held.missing()]
    return [
        number + 1
        for number, chunk in enumerate(chunk_ranges(size))
        if not any(m.start < chunk.stop and chunk.start < m.stop for m in missing)
    ]


class ChunkTests(SynchronousTestCase):
    @settings(max_examples=200, deadline=None)
    @given(st.integers(0, 40 * MIN_BLOCK_BYTES), st.data())
    def test_as_blocks_come(self, size: int, data: Any) -> None:
        """In any order, some twice, some from the start: the chunks are those that are whole."""
        total = block_count(size)
        blocks = st.lists(st.integers(0, max(0, total - 1)), max_size=2 * total if total else 0)
        first, later = data.draw(blocks), data.draw(st.lists(blocks, max_size=8))
        held = BlockSet(total, first)
        found = SwarmPart("forest", PATH, manifest(size), held)
        self.assertEqual(list(found.chunks), whole_chunks(size, held))
        for some in later:
            before = whole_chunks(size, held)
            for index in some:
                held.add(index)
            self.assertEqual(found.add(some), whole_chunks(size, held) != before)
            self.assertEqual(list(found.chunks), whole_chunks(size, held))

    def test_one_block_of_five_chunks(self) -> None:
        """A small content is there or not."""
        found = part(100)
        self.assertEqual(found.chunks, {})
        self.assertTrue(found.add([0]))
        self.assertEqual(found.chunks, dict(enumerate(chunk_ranges(100), 1)))
        self.assertFalse(found.add([0]))

    def test_the_largest_content(self) -> None:
        """A million blocks are no trouble."""
        total = block_count(MAX_CONTENT_BYTES)
        held = BlockSet.full(total)
        held.discard(total - 1)
        found = SwarmPart("forest", PATH, manifest(MAX_CONTENT_BYTES), held)
        self.assertEqual(list(found.chunks), [1, 2, 3, 4])
        self.assertTrue(found.add([total - 1]))
        self.assertEqual(list(found.chunks), [1, 2, 3, 4, 5])

    def test_the_handle(self) -> None:
        """It has the live set of blocks, not a copy of it."""
        held = BlockSet(3)
        found = SwarmPart("forest", PATH, manifest(3 * MIN_BLOCK_BYTES), held)
        self.assertIs(found.handle.held, held)
        self.assertEqual(found.handle.id, found.handle.manifest.content_id)
