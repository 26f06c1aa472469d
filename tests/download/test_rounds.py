"""The rounds: who is asked next, who was tried in vain, how long to rest."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from peershare.dictionary import Found, Source
from peershare.download.plan import ChunkPlan
from peershare.download.rounds import UNREACHABLE_SECONDS, Choice, Rounds
from peershare.errors import PeerError, Reason

A, B, C = "198.18.0.2", "198.18.0.3", "198.18.0.4"
REFUSED = PeerError(Reason.REFUSED, "refused the connection")
RESET = PeerError(Reason.RESET, "cut the connection")
SHORT = PeerError(Reason.SHORT, "gave too little")


def found(*columns: str) -> Found:
    """Five columns of addresses, separated by blanks; the last one is repeated."""
    filled = [*columns, *(columns[-1:] * (5 - len(columns)))]
    return Found(
        extension="",
        sources=tuple(
            tuple(Source(address, f"forest_{number}") for address in column.split())
            for number, column in enumerate(filled, 1)
        ),
    )


class RoundsTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.plan = ChunkPlan()
        self.busy: set[str] = set()
        self.rounds = Rounds(self.plan, self.busy.__contains__)

    def next(self, told: Found, now: float = 0.0) -> tuple[int, str] | None:
        choice = self.rounds.next(told, now)
        return choice and (choice.number, choice.source.address)


class ChoosingTests(RoundsTestCase):
    def test_first_chunk_first_address(self) -> None:
        """The first missing chunk is asked of the first address that told it (2.3.0-D)."""
        choice = self.rounds.next(found(f"{B} {A}"), 0.0)
        self.assertEqual(choice, Choice(1, Source(B, "forest_1")))

    def test_next_address_after_a_failure(self) -> None:
        """A failure leads to the next address for the same chunk."""
        self.rounds.failed(1, A, RESET, 0.0)
        self.assertEqual(self.next(found(f"{A} {B}")), (1, B))

    def test_next_chunk_when_nobody_is_left_for_one(self) -> None:
        """A chunk that nobody gives does not hold up the others."""
        self.rounds.failed(1, A, RESET, 0.0)
        self.assertEqual(self.next(found(A, f"{A} {B}")), (2, A))

    def test_next_chunk_after_success(self) -> None:
        """What is held is not asked for again."""
        self.plan.accept(1, 10, A)
        self.rounds.arrived(1, A)
        self.assertEqual(self.next(found(A)), (2, A))

    def test_a_chunk_that_nobody_told_is_passed_by(self) -> None:
        """There is nobody to ask for it yet."""
        self.assertEqual(self.next(found("", A)), (2, A))
        self.assertIsNone(self.next(found("")))

    def test_unreachable_addresses_go_last_for_a_while(self) -> None:
        """A dead first address costs its timeout once, not for each of the five chunks."""
        self.rounds.failed(1, A, REFUSED, 0.0)
        self.plan.accept(1, 10, B)
        told = found(f"{A} {B}")
        self.assertEqual(self.next(told, 1.0), (2, B))
        self.assertEqual(self.next(told, UNREACHABLE_SECONDS), (2, A))

    def test_an_unreachable_address_is_still_asked_if_it_is_the_only_one(self) -> None:
        """Last is not never."""
        self.rounds.failed(1, A, REFUSED, 0.0)
        self.assertEqual(self.next(found(f"{A} {B}", A), 0.0), (1, B))
        self.rounds.failed(1, B, RESET, 0.0)
        self.assertEqual(self.next(found(f"{A} {B}", A), 0.0), (2, A))

    def test_who_gave_a_chunk_is_reachable(self) -> None:
        """One chunk that came clears its name at once."""
        self.rounds.failed(1, A, REFUSED, 0.0)
        self.plan.accept(2, 10, A)
        self.rounds.arrived(2, A)
        self.assertEqual(self.next(found("", "", f"{A} {B}"), 0.0), (3, A))

    def test_a_reset_keeps_the_order(self) -> None:
        """Whoever answers at all is reachable, whatever it answers."""
        self.rounds.failed(1, A, RESET, 0.0)
        self.plan.accept(1, 10, B)
        self.assertEqual(self.next(found(f"{A} {B}"), 0.0), (2, A))

    def test_busy_addresses_go_last(self) -> None:
        """Where another download is being served, waiting is the second choice."""
        self.busy.add(A)
        self.assertEqual(self.next(found(f"{A} {B}")), (1, B))

    def test_outvoted_addresses_go_last(self) -> None:
        """Whose chunks did not belong to the file is asked after the others."""
        self.plan.suspects.add(A)
        self.assertEqual(self.next(found(f"{A} {B}")), (1, B))

    def test_odd_addresses_wait_for_their_round(self) -> None:
        """Who gave an odd reply is asked again in a later round only."""
        self.plan.accept(1, 10, A)
        self.plan.failed(2, A, SHORT, 1)
        self.plan.failed(2, A, SHORT, 1)
        told = found("", A, "")
        self.assertIsNone(self.next(told))
        self.rounds.begin()
        self.assertIsNone(self.next(told))
        self.rounds.begin()
        self.assertEqual(self.next(told), (2, A))


class RoundTests(RoundsTestCase):
    def test_nothing_tried_is_nothing_to_go_round_to(self) -> None:
        """Nobody known and everybody tried are two things."""
        self.assertFalse(self.rounds.anything_tried)
        self.rounds.failed(1, A, RESET, 0.0)
        self.assertTrue(self.rounds.anything_tried)

    def test_who_is_odd_is_somebody_to_go_round_to(self) -> None:
        """Also in a round in which it may not be asked."""
        self.plan.failed(1, A, SHORT, 1)
        self.assertTrue(self.rounds.anything_tried)

    def test_a_new_round_asks_everybody_again(self) -> None:
        """It goes round again for as long as the user lets it."""
        self.rounds.failed(1, A, RESET, 0.0)
        self.assertIsNone(self.next(found(A, "")))
        self.rounds.begin()
        self.assertEqual(self.next(found(A, "")), (1, A))

    def test_each_chunk_is_warned_of_once_a_round(self) -> None:
        """When a later chunk is chosen, the ones before it are exhausted; each is told once."""
        self.rounds.failed(1, A, RESET, 0.0)
        self.assertEqual(self.rounds.exhausted(2), [1])
        self.assertEqual(self.rounds.exhausted(2), [])
        self.rounds.failed(3, A, RESET, 0.0)
        self.assertEqual(self.rounds.exhausted(3), [])
        self.assertEqual(self.rounds.exhausted(None), [3])
        self.rounds.begin()
        self.assertEqual(self.rounds.exhausted(None), [])

    def test_the_rest_doubles_up_to_thirty_seconds(self) -> None:
        """1, 2, 4, 8, 16, 30, 30 seconds while nothing comes."""
        rests = []
        for _ in range(7):
            rests.append(self.rounds.rest_seconds())
            self.rounds.begin()
        self.assertEqual(rests, [1, 2, 4, 8, 16, 30, 30])

    def test_after_progress_the_rest_is_short_again(self) -> None:
        """A chunk in the last round is a reason to come back soon."""
        for _ in range(4):
            self.rounds.rest_seconds()
            self.rounds.begin()
        self.rounds.arrived(1, A)
        self.assertEqual(self.rounds.rest_seconds(), 1)
        self.rounds.begin()
        self.assertEqual(self.rounds.rest_seconds(), 2)

    def test_everybody_again_once_a_round(self) -> None:
        """Beginning anew asks at once, but a second time only after a rest."""
        told = found(A, "")
        self.rounds.failed(1, A, RESET, 0.0)
        self.rounds.begin_anew()
        self.assertEqual(self.next(told), (1, A))
        self.rounds.failed(1, A, RESET, 0.0)
        self.rounds.begin_anew()
        self.assertIsNone(self.next(told))
        self.rounds.begin()
        self.rounds.failed(1, A, RESET, 0.0)
        self.rounds.begin_anew()
        self.assertEqual(self.next(told), (1, A))
