"""The map of blocks: from whom each came, and many of them as a few."""

from __future__ import annotations

from base64 import b64decode

from twisted.trial.unittest import SynchronousTestCase

from peershare.download.swarm.givers import Givers
from peershare.status import MAX_CELLS, MAX_SOURCES, OTHER_SOURCES, BlockMap

A, B = "198.18.0.2", "198.18.0.3"


def cells(found: BlockMap) -> list[int]:
    return list(b64decode(found.cells))


class GiversTests(SynchronousTestCase):
    def test_who_gave_what(self) -> None:
        """Sources are in the order of their first gift; what nobody remembers has none."""
        givers = Givers(6, 65_536)
        for block, giver in ((4, B), (0, A), (1, B), (2, "")):
            givers.gave(block, giver)
        found = givers.map("7", [5, 0])
        self.assertEqual(found.sources, (B, A))
        self.assertEqual(cells(found), [4, 3, 2, 0, 3, 1])
        self.assertEqual((found.download, found.block_size, found.count), ("7", 65_536, 6))
        self.assertEqual(found.blocks_per_cell, 1)

    def test_nothing_is_known_yet(self) -> None:
        """There is an empty map."""
        found = Givers(0, 0).map("7", ())
        self.assertEqual((found.count, found.cells, found.sources), (0, "", ()))

    def test_neighbours_are_merged(self) -> None:
        """Held only if all are, in flight if any is, by the giver of the first."""
        count = 2 * MAX_CELLS + 1
        givers = Givers(count, 1 << 22)
        for block in (0, 1, 2, count - 1):
            givers.gave(block, A)
        found = givers.map("7", [6])
        self.assertEqual((found.blocks_per_cell, found.count), (3, -(-count // 3)))
        self.assertEqual(cells(found)[:4], [3, 0, 1, 0])
        self.assertEqual(len(cells(found)), found.count)
        self.assertEqual(cells(found)[-1], 0)

    def test_many_sources(self) -> None:
        """Those beyond the limit share the last entry, and a byte is enough for all."""
        givers = Givers(400, 65_536)
        for block in range(400):
            givers.gave(block, f"198.18.1.{block}")
        found = givers.map("7", ())
        self.assertEqual(len(found.sources), MAX_SOURCES)
        self.assertEqual(found.sources[-1], OTHER_SOURCES)
        self.assertEqual(set(cells(found)[MAX_SOURCES - 1 :]), {MAX_SOURCES + 2})
        self.assertEqual(cells(found)[: MAX_SOURCES - 1], list(range(3, MAX_SOURCES + 2)))
