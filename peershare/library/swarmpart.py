"""A part of a verified download, as the classic world sees it: chunks out of blocks.

Chunk n is there once every block that covers it is.  Not for: the bytes, or who has blocks.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from peershare.content.blocks import BlockSet, block_range, block_size
from peershare.content.chunks import ByteRange, chunk_ranges, has_five_chunks
from peershare.content.manifest import Manifest
from peershare.library.entries import ContentHandle


class SwarmPart:
    """One part; `held` is the set of its verified blocks, which belongs to the download."""

    def __init__(self, name: str, path: Path, manifest: Manifest, held: BlockSet) -> None:
        self.handle = ContentHandle(manifest.content_id, name, path, None, manifest, held)
        self._counted = held.copy()
        size = manifest.size
        self._ranges = chunk_ranges(size) if has_five_chunks(size) else ()
        bits, length = int.from_bytes(held.to_bytes(), "little"), block_size(size)
        self._lacking: list[int] = []  # of each chunk, how many blocks
        for chunk in self._ranges:
            first, last = chunk.start // length, (chunk.stop - 1) // length
            count = last + 1 - first
            self._lacking.append(count - (bits >> first & (1 << count) - 1).bit_count())

    @property
    def chunks(self) -> dict[int, ByteRange]:
        """The chunks that are there, by number."""
        return {n + 1: self._ranges[n] for n, lacking in enumerate(self._lacking) if not lacking}

    def add(self, blocks: Iterable[int]) -> bool:
        """These blocks are held now; whether that made a chunk whole."""
        size, became_whole = self.handle.manifest.size, False
        for index in blocks:
            if not self._counted.add(index) or not self._ranges:
                continue
            where, length = block_range(index, size), self._ranges[0].length
            for chunk in range(where.start // length, (where.stop - 1) // length + 1):
                self._lacking[chunk] -= 1
                became_whole |= not self._lacking[chunk]
        return became_whole
