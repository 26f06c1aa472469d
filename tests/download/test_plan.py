"""The plan: which chunks are held, whether they can be one file, and who is outvoted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from peershare.content.chunks import chunk_ranges, has_five_chunks
from peershare.download.plan import ChunkPlan
from peershare.errors import PeerError, Reason

SHORT = PeerError(Reason.SHORT, "gave too little")
SURPLUS = PeerError(Reason.SURPLUS, "gave too much")
RESET = PeerError(Reason.RESET, "cut the connection")


def holding(*numbers: int, size: int = 10) -> ChunkPlan:
    """A plan that holds these chunks, `size` bytes long, from 198.18.0.2."""
    plan = ChunkPlan()
    for number in numbers:
        plan.accept(number, size, "198.18.0.2")
    return plan


class FittingTests(SynchronousTestCase):
    def test_a_new_plan_misses_all_but_the_fifth(self) -> None:
        """Chunk 5 may be shorter than the others: it cannot tell where it belongs."""
        self.assertEqual(ChunkPlan().missing(), (1, 2, 3, 4))

    def test_the_fifth_is_missed_once_the_size_is_known(self) -> None:
        """Any of the others says where chunk 5 begins."""
        self.assertEqual(holding(2).missing(), (1, 3, 4, 5))

    def test_the_first_reply_goes_to_the_front(self) -> None:
        """While the chunk size is unknown there is no other place than the front."""
        self.assertEqual([ChunkPlan().offset(n) for n in (1, 2, 4)], [0, 0, 0])

    def test_later_replies_have_their_place(self) -> None:
        """Chunk n begins after n - 1 chunk sizes."""
        self.assertEqual([holding(3).offset(n) for n in range(1, 6)], [0, 10, 20, 30, 40])

    def test_any_length_but_none_fits_first(self) -> None:
        """The first whole reply is believed, an empty one is a failure."""
        self.assertIsNone(ChunkPlan().misfit(1, 1))
        empty = ChunkPlan().misfit(1, 0)
        assert empty is not None
        self.assertEqual(empty.reason, Reason.EMPTY)

    def test_another_length_does_not_fit(self) -> None:
        """Chunks 1 to 4 are c bytes long, chunk 5 between c - 4 and c."""
        plan = holding(1)
        fits = [n for n in range(13) if plan.misfit(2, n) is None]
        self.assertEqual(fits, [10])
        self.assertEqual([n for n in range(13) if plan.misfit(5, n) is None], [6, 7, 8, 9, 10])
        misfit = plan.misfit(2, 9)
        assert misfit is not None
        self.assertEqual(misfit.reason, Reason.SHORT)
        self.assertIn("9 bytes where 10", str(misfit))

    def test_an_empty_reply_is_empty_even_where_a_size_is_known(self) -> None:
        """A clean close without a byte is no disagreement about the size."""
        misfit = holding(1).misfit(5, 0)
        assert misfit is not None
        self.assertEqual(misfit.reason, Reason.EMPTY)

    def test_complete_and_stored(self) -> None:
        """Complete is five held; stored is five recorded for good; the size is their sum."""
        plan = holding(1, 2, 3, 4)
        self.assertFalse(plan.complete)
        self.assertIsNone(plan.size)
        plan.accept(5, 7, "198.18.0.3")
        self.assertTrue(plan.complete)
        self.assertEqual(plan.size, 47)
        self.assertFalse(plan.stored)
        for number in range(1, 6):
            plan.mark_stored(number)
        self.assertTrue(plan.stored)
        self.assertEqual(plan.held[5].source, "198.18.0.3")

    def test_without_chunks_the_size_is_unknown_again(self) -> None:
        """When the last held chunk turns out bad, nothing is believed any more."""
        plan = holding(1, 2)
        plan.drop(1)
        self.assertEqual(plan.chunk_size, 10)
        plan.drop(2)
        self.assertIsNone(plan.chunk_size)
        plan.drop(2)

    @given(st.integers(1, 10_000).filter(has_five_chunks))
    def test_the_chunks_of_one_file_always_agree(self, size: int) -> None:
        """Whatever the size, the five chunks of a file fit each other and give its size."""
        plan = ChunkPlan()
        for number, piece in enumerate(chunk_ranges(size), 1):
            self.assertIsNone(plan.misfit(number, piece.length))
            self.assertEqual(plan.offset(number), piece.start)
            plan.accept(number, piece.length, "198.18.0.2")
        self.assertEqual(plan.size, size)


class DisagreementTests(SynchronousTestCase):
    def test_an_odd_source_may_be_asked_ever_less_often(self) -> None:
        """After 1, 2, 4 … rounds: its end may have come too early."""
        plan = holding(1)
        asked = []
        for round_number in range(1, 20):
            if plan.may_ask(2, "198.18.0.3", round_number):
                asked.append(round_number)
                plan.failed(2, "198.18.0.3", SHORT, round_number)
        self.assertEqual(asked, [1, 2, 4, 8, 16])

    def test_only_misfits_are_odd(self) -> None:
        """A reset says nothing about the size of the file."""
        plan = holding(1)
        plan.failed(2, "198.18.0.3", RESET, 1)
        self.assertEqual(plan.odd, {})
        plan.failed(2, "198.18.0.3", SURPLUS, 1)
        self.assertFalse(plan.may_ask(2, "198.18.0.3", 1))
        self.assertTrue(plan.may_ask(2, "198.18.0.4", 1))
        self.assertTrue(plan.may_ask(3, "198.18.0.3", 1))

    def test_a_chunk_that_comes_after_all_is_odd_no_more(self) -> None:
        """What fits settles the question for that chunk."""
        plan = holding(1)
        plan.failed(2, "198.18.0.3", SHORT, 1)
        plan.accept(2, 10, "198.18.0.4")
        self.assertEqual(plan.odd, {})

    def test_one_against_one_is_no_majority(self) -> None:
        """A single odd reply does not throw away what is held."""
        plan = holding(1)
        plan.failed(2, "198.18.0.3", SHORT, 1)
        self.assertFalse(plan.outvoted())

    def test_many_addresses_odd_in_one_chunk_count_once(self) -> None:
        """It is chunks that vote: whoever repeats one lie gains nothing."""
        plan = holding(1, 2)
        for last in range(3, 30):
            plan.failed(3, f"198.18.0.{last}", SHORT, 1)
        self.assertFalse(plan.outvoted())

    def test_the_majority_of_chunks_decides(self) -> None:
        """Two odd chunks against one held: that one does not belong to the file."""
        plan = holding(1)
        plan.failed(2, "198.18.0.3", SURPLUS, 1)
        plan.failed(3, "198.18.0.3", SURPLUS, 1)
        self.assertTrue(plan.outvoted())
        self.assertEqual(plan.begin_anew(), (1,))
        self.assertEqual(plan.missing(), (1, 2, 3, 4))
        self.assertEqual((plan.held, plan.odd, plan.chunk_size), ({}, {}, None))
        self.assertEqual(plan.suspects, {"198.18.0.2"})

    def odd(self, plan: ChunkPlan, *numbers: int, times: int, source: str = "198.18.0.3") -> None:
        """So many odd replies of a source for each of these chunks."""
        for number in numbers:
            for _ in range(times):
                plan.failed(number, source, SHORT, 1)

    def test_a_stalemate(self) -> None:
        """All that is missing is odd again and again, and its source has told all five."""
        plan = holding(1, 2, 3)
        self.odd(plan, 4, 5, times=2)
        self.assertFalse(plan.stalemate({"198.18.0.3"}), "its end may have come too early")
        self.odd(plan, 4, 5, times=1)
        self.assertTrue(plan.stalemate({"198.18.0.3"}))
        self.assertFalse(plan.stalemate({"198.18.0.4"}), "it has not all five")
        self.assertFalse(plan.outvoted())

    def test_no_stalemate_while_a_chunk_may_still_come(self) -> None:
        """A missing chunk without an odd reply may be had from somebody tomorrow."""
        plan = holding(1, 2, 3)
        self.odd(plan, 4, times=3)
        self.assertFalse(plan.stalemate({"198.18.0.3"}))

    def test_no_stalemate_with_those_who_gave_what_is_held(self) -> None:
        """They are where it came from; and whoever was let go of once is not chosen again."""
        plan = holding(1, 2, 3)
        self.odd(plan, 4, 5, times=3, source="198.18.0.2")
        self.assertFalse(plan.stalemate({"198.18.0.2"}))
        self.odd(plan, 4, 5, times=3)
        plan.suspects.add("198.18.0.3")
        self.assertFalse(plan.stalemate({"198.18.0.2", "198.18.0.3"}))

    def test_no_stalemate_with_nothing_held(self) -> None:
        """There is nothing to let go of, and nothing that is missing disagrees with it."""
        plan = ChunkPlan()
        self.odd(plan, 1, 2, 3, 4, times=3)
        self.assertFalse(plan.stalemate({"198.18.0.3"}))

    def test_nothing_held_cannot_be_outvoted(self) -> None:
        """There has to be something to let go of."""
        plan = ChunkPlan()
        plan.failed(2, "198.18.0.3", SURPLUS, 1)
        self.assertFalse(plan.outvoted())
