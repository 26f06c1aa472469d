"""Filling: what classic peers give counts only block by block, and only if it is right."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from peershare.content.chunks import chunk_ranges
from peershare.dictionary import ContentDictionary
from peershare.download.context import DownloadContext
from peershare.download.dialling import Dialler
from peershare.download.swarm.filling import RETRY_SECONDS, ClassicFilling
from peershare.throttle import TokenBucket
from peershare.wire.beacon import Endpoint
from tests.download.swarm.parts import block_of, content, make_part
from tests.download.world import names
from tests.fakes import FakeReactor

A, B = "198.18.0.2", "198.18.0.3"


class Taker:
    """Notes what is filled."""

    def __init__(self, part: Any) -> None:
        self.part = part
        self.blocks: dict[int, str] = {}
        self.came = 0
        self.failures: list[Any] = []

    def bytes_came(self, peer: Endpoint, count: int) -> None:
        self.came += count

    def filled(self, address: str, index: int, length: int) -> None:
        self.blocks[index] = address
        self.part.accept(index)

    def disk_failed(self, failure: Any) -> None:
        self.failures.append(failure.value)


class FillingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.data = content(12.3)
        self.reactor = FakeReactor()
        self.part, _, _ = make_part(self, self.data)
        self.successResultOf(self.part.check())
        self.dictionary = ContentDictionary()
        clock = self.reactor.seconds
        dialler = Dialler(self.reactor, (5000,), TokenBucket(None, clock), lambda _: None)
        nothing: Any = None
        common = DownloadContext(
            self.reactor, self.dictionary, dialler, nothing, nothing, nothing, nothing
        )
        self.taker = Taker(self.part)
        context: Any = SimpleNamespace(common=common)
        self.filling = ClassicFilling(context, "forest.bin", self.part, self.taker)
        self.addCleanup(self.filling.stop)

    def tell(self, address: str, *numbers: int) -> None:
        told = names(*(f"forest_{number}" for number in numbers or range(1, 6)))
        self.dictionary.tell(address, told, self.reactor.seconds())

    def answer(self, data: bytes | None = None, *, number: int | None = None) -> str:
        """Give the one who is dialled its chunk (or these bytes); who that was."""
        (dialled,) = self.reactor.waiting
        dialled.accept()
        self.reactor.advance(0)
        asked = int(dialled.request.split(b'"forest_')[1][:1])
        if number is not None:
            self.assertEqual(asked, number)
        where = chunk_ranges(len(self.data))[asked - 1]
        whole = self.data[where.start : where.stop] if data is None else data
        for start in range(0, len(whole), 50_000):
            dialled.give(whole[start : start + 50_000])
        dialled.end()
        self.reactor.advance(0)
        return str(dialled.host)

    def test_all_of_it(self) -> None:
        """Five chunks make every block, those that lie in two chunks too."""
        self.tell(A)
        self.assertTrue(self.filling.go_on())
        for number in range(1, 6):
            self.answer(number=number)
        self.assertEqual(sorted(self.taker.blocks), list(range(13)))
        self.assertTrue(self.part.held.complete)
        self.assertEqual(self.part.path.read_bytes(), self.data)
        self.assertEqual(self.taker.came, len(self.data))
        self.assertFalse(self.filling.go_on())

    def test_another_file_of_that_name(self) -> None:
        """Not a byte of it counts; it is left at the first wrong block, and not asked soon."""
        self.tell(A, 1)
        self.filling.go_on()
        where = chunk_ranges(len(self.data))[0]
        self.answer(b"?" * where.length)
        self.assertEqual(self.taker.blocks, {})
        self.assertFalse(self.filling.go_on())
        self.reactor.advance(RETRY_SECONDS)
        self.tell(A, 1)
        self.assertTrue(self.filling.go_on())

    def test_a_chunk_from_each(self) -> None:
        """A block whose halves come from two peers counts if it is right."""
        self.tell(A, 1)
        self.tell(B, 2)
        self.filling.go_on()
        self.assertEqual(self.answer(number=1), A)
        self.assertEqual(self.answer(number=2), B)
        shared = chunk_ranges(len(self.data))[0].stop // 65_536
        self.assertEqual(self.taker.blocks[shared], B)
        self.assertEqual(sorted(self.taker.blocks), list(range(4)))

    def test_cut_short_and_fetched_anew(self) -> None:
        """Blocks that came are kept; the rest of the chunk is not pieced together wrongly."""
        self.tell(A, 1)
        self.tell(B, 1)
        where = chunk_ranges(len(self.data))[0]
        self.filling.go_on()
        self.answer(self.data[where.start : where.start + 100_000])
        self.assertEqual(list(self.taker.blocks), [0])
        self.assertEqual(self.answer(number=1), B)
        self.assertEqual(sorted(self.taker.blocks), [0, 1])
        self.assertEqual(self.taker.blocks[1], B)

    def test_only_where_blocks_are_missing(self) -> None:
        """A chunk all of whose blocks are here is not asked for."""
        for index in range(3):
            self.successResultOf(self.part.store(index, block_of(self.data, index)))
            self.part.accept(index)
        self.tell(A)
        self.filling.go_on()
        self.answer(number=2)

    def test_stop(self) -> None:
        """Nobody is asked any more."""
        self.tell(A)
        self.filling.go_on()
        self.filling.stop()
        self.assertFalse(self.filling.go_on())
        self.assertEqual(self.taker.failures, [])
