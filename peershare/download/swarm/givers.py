"""Givers: from whom each block of a content came, and the map of blocks that people see.

Pure.  Not for: which blocks are held (`part`), or whom to ask (`scheduler`).
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable

from peershare.status import (
    CELL_ARRIVING,
    CELL_HELD,
    CELL_MISSING,
    CELL_SOURCES,
    MAX_CELLS,
    MAX_SOURCES,
    OTHER_SOURCES,
    BlockMap,
)

_ARRIVING = bytes((CELL_ARRIVING,))


class Givers:
    """One byte a block; see `status.BlockMap`."""

    def __init__(self, count: int, block_size: int) -> None:
        """`count` blocks of `block_size` bytes, all of them missing."""
        self.block_size = block_size
        self._cells = bytearray(count)
        self._codes: dict[str, int] = {}  # by address

    def gave(self, block: int, giver: str) -> None:
        """A block is held; `giver` is an address, "" where nobody remembers one."""
        self._cells[block] = self._code(giver) if giver else CELL_HELD

    def _code(self, giver: str) -> int:
        code = self._codes.get(giver)
        if code is None and len(self._codes) < MAX_SOURCES - 1:
            code = self._codes[giver] = CELL_SOURCES + len(self._codes)
        if code is None:
            code = self._codes.setdefault(OTHER_SOURCES, CELL_SOURCES + MAX_SOURCES - 1)
        return code

    def map(self, download: str, arriving: Iterable[int]) -> BlockMap:
        """The picture; `arriving` are blocks that somebody was asked for."""
        cells = bytearray(self._cells)
        for block in arriving:
            if cells[block] == CELL_MISSING:
                cells[block] = CELL_ARRIVING
        together = max(1, -(-len(cells) // MAX_CELLS))
        return BlockMap(
            download=download,
            block_size=self.block_size,
            blocks_per_cell=together,
            count=-(-len(cells) // together),
            sources=tuple(self._codes),
            cells=b64encode(_merged(cells, together)).decode(),
        )


def _merged(cells: bytearray, together: int) -> bytes:
    """Neighbours as one: in flight if any is, missing if any is, else by the giver of the first."""
    if together == 1:
        return bytes(cells)
    merged = bytearray()
    for start in range(0, len(cells), together):
        group = cells[start : start + together]
        if _ARRIVING in group:
            merged.append(CELL_ARRIVING)
        else:
            merged.append(CELL_MISSING if CELL_MISSING in group else group[0])
    return bytes(merged)
