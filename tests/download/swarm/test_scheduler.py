"""The scheduler: which block from whom, how many at a time, and what becomes of what is late."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from peershare.content.blocks import BlockSet
from peershare.download.swarm.giver import LATE_FACTOR, LATE_SECONDS
from peershare.download.swarm.order import Order
from peershare.download.swarm.scheduler import RANDOM_BLOCKS, Scheduler
from peershare.download.swarm.windows import MAX_BLOCKS, MIN_BLOCKS, WINDOW_SECONDS

KIB, MIB = 1 << 10, 1 << 20
SIZE = 64 * KIB
A, B, C = "10.0.0.1", "10.0.0.2", "10.0.0.3"


class Base(SynchronousTestCase):
    now = 100.0

    def make(
        self,
        total: int = 100,
        held: tuple[int, ...] = (0,),
        *,
        size: int = SIZE,
        seed: int = 1,
        sequential: bool = False,
        budget: int = 64 * MIB,
    ) -> None:
        """Most tests begin with a block held, so that nothing is chosen by chance alone."""
        self.total, self.size = total, size
        self.order = Order(sequential)
        self.scheduler = Scheduler(
            total,
            size,
            BlockSet(total, held),
            Random(seed),
            order=self.order,
            budget_bytes=budget,
        )

    def join(self, peer: str, *blocks: int, steered: bool = False) -> None:
        """A session; with no blocks named it has all."""
        have = BlockSet(self.total, blocks) if blocks else None
        self.scheduler.joined(peer, have, steered, self.now)

    def next(self, peer: str) -> list[int]:
        return self.scheduler.next(peer, self.now)

    def give(self, peer: str, block: int, seconds: float = 0.01) -> list[tuple[str, int]]:
        """A block comes after a while and is right; returns what is to be cancelled."""
        self.now += seconds
        self.scheduler.received(peer, self.size, self.now)
        self.scheduler.arrived(peer, block, self.now)
        return self.scheduler.verified(block, self.now)

    def warm(self, peer: str, seconds: float = 0.01) -> list[int]:
        """Ask and be given until the window is as wide as it gets; returns what is asked then."""
        asked = self.next(peer)
        for _ in range(20):
            self.give(peer, asked.pop(0), seconds)
            asked += self.next(peer)
        return asked


class ChoiceTests(Base):
    def test_rarest_first(self) -> None:
        """What few have is asked for before what many have."""
        self.make(8)
        self.join(A)
        self.join(B, 1, 2, 3, 4, 5)
        self.join(C, 1, 2, 3)
        asked = self.next(A)
        self.assertEqual(set(asked[:2]), {6, 7})
        self.assertEqual(set(asked[2:]), {4, 5})

    def test_had_makes_common(self) -> None:
        """What a session gets later counts; told twice it counts once."""
        self.make(4)
        self.join(A)
        self.join(B, 0)
        self.join(C, 0)
        self.scheduler.had(B, [1, 1, 99, -1])
        self.scheduler.had(B, [1])
        self.scheduler.had(C, [2])
        self.scheduler.had(B, [2])
        self.assertEqual(self.next(A), [3, 1, 2])

    def test_gone_makes_rare(self) -> None:
        """What a session had does not count when it is gone, nor what it turned out to lack."""
        for seed in range(8):
            self.make(5, seed=seed)
            self.join(A)
            self.join(B, 1, 2)
            self.join(C, 3, 4)
            self.scheduler.left(B, self.now)
            self.scheduler.refused(C, [3])
            asked = self.next(A)
            self.assertEqual((set(asked[:3]), asked[3:]), ({1, 2, 3}, [4]))

    def test_ties_by_chance(self) -> None:
        """Equally rare blocks come in an order that the random source alone decides."""
        orders = set()
        for seed in (1, 2, 3, 1):
            self.make(seed=seed)
            self.join(A)
            self.join(B)
            orders.add(tuple(self.next(A)))
        self.assertEqual(len(orders), 3)

    def test_random_first(self) -> None:
        """The first blocks of a download are not the rarest."""
        first = set()
        for seed in range(40):
            self.make(100, held=(), seed=seed)
            self.join(A)
            self.join(B, *range(99))
            asked = self.next(A)
            self.assertEqual(len(asked), RANDOM_BLOCKS)
            first.update(asked)
            self.scheduler.left(B, self.now)
            self.join(B, *(block for block in range(100) if block not in (98, 99)))
            following = [block for block in (98, 99) if block not in asked]
            self.give(A, asked[0])
            self.assertEqual(set(following), set(self.next(A)[: len(following)]))
        self.assertGreater(len(first), 60)

    def test_only_what_it_has(self) -> None:
        """A session is asked for what it has and we lack."""
        self.make(10, held=(1, 2))
        self.join(A, 1, 2, 3)
        self.assertTrue(self.scheduler.interested(A))
        self.assertEqual(self.next(A), [3])
        self.assertEqual(self.next(A), [])
        self.give(A, 3)
        self.assertFalse(self.scheduler.interested(A))
        self.scheduler.had(A, [4])
        self.assertTrue(self.scheduler.interested(A))
        self.assertEqual(self.next(A), [4])

    def test_nobody_twice(self) -> None:
        """A block is asked of one session at a time."""
        self.make(6)
        self.join(A)
        self.join(B)
        asked = self.next(A) + self.next(B)
        self.assertEqual(sorted(asked), [1, 2, 3, 4, 5])

    def test_sequential(self) -> None:
        """On wish from the beginning to the end."""
        self.make(100, held=(2,), sequential=True)
        self.join(A, *range(50, 100))
        self.join(B)
        self.assertEqual(self.next(B), [0, 1, 3, 4])
        self.assertEqual(self.next(A), [50, 51, 52, 53])

    def test_sequential_from_now_on(self) -> None:
        """The order may change in the middle: what is missing at the front is next."""
        self.make(100, held=(2,))
        self.join(A)
        self.join(B)
        asked = self.next(A)
        self.order.sequential = True
        front = [block for block in range(100) if block != 2 and block not in asked]
        self.assertEqual(self.next(B), front[:4])

    def test_lone_source_in_order(self) -> None:
        """One source is asked for what follows, round the end; not so when there is another."""
        self.make(100)
        self.join(A)
        last = self.next(A)[-1]
        self.give(A, last)
        following = self.next(A)
        self.assertEqual(following[0], last % 99 + 1)
        self.assertEqual(following, sorted(following, key=lambda block: (block < last, block)))

    def test_unknown_sessions(self) -> None:
        """What is told of a session that is not there changes nothing."""
        self.make()
        scheduler = self.scheduler
        scheduler.left(A, self.now)
        scheduler.had(A, [1])
        scheduler.opened(A)
        scheduler.refused(A, [1])
        scheduler.received(A, 1, self.now)
        self.assertEqual(scheduler.granted(A, [1]), [])
        self.assertEqual(self.next(A), [])
        self.assertFalse(scheduler.interested(A))
        self.assertFalse(scheduler.awaits(A, 1))

    def test_nothing_missing(self) -> None:
        """A content without blocks, and one that is here already, are complete."""
        for total, held in ((0, ()), (3, (0, 1, 2))):
            self.make(total, held)
            self.join(A)
            self.assertTrue(self.scheduler.complete)
            self.assertEqual(self.next(A), [])
            self.assertFalse(self.scheduler.interested(A))

    def test_set_is_read_once(self) -> None:
        """The set of what is held may grow before `verified` tells so, and nothing comes apart."""
        held = BlockSet(3)
        self.scheduler = Scheduler(3, SIZE, held, Random(1))
        held.add(0)
        self.assertEqual(self.scheduler.missing, 3)
        self.scheduler.verified(0, self.now)
        self.assertEqual(self.scheduler.missing, 2)


class OutcomeTests(Base):
    def test_in_flight_until_checked(self) -> None:
        """What came is in flight, and not asked for again, until it is verified."""
        self.make(3)
        self.join(A, 1)
        self.join(B)
        self.next(A)
        self.assertTrue(self.scheduler.awaits(A, 1))
        self.scheduler.arrived(A, 1, self.now)
        self.assertFalse(self.scheduler.awaits(A, 1))
        self.assertEqual((self.scheduler.in_flight, self.scheduler.missing), (1, 2))
        self.assertEqual(self.next(B), [2])
        self.scheduler.verified(1, self.now)
        self.assertEqual((self.scheduler.in_flight, self.scheduler.missing), (1, 1))

    def test_wrong(self) -> None:
        """A wrong block is fetched again, from somebody else."""
        self.make(2)
        self.join(A)
        self.join(B)
        self.next(A)
        self.scheduler.arrived(A, 1, self.now)
        self.scheduler.wrong(A, 1, self.now)
        self.assertEqual(self.scheduler.in_flight, 0)
        self.assertFalse(self.scheduler.interested(A))
        self.assertEqual(self.next(A), [])
        self.assertEqual(self.next(B), [1])

    def test_wrong_after_leaving(self) -> None:
        """A block is still being checked when its session is gone."""
        self.make(2)
        self.join(A)
        self.next(A)
        self.scheduler.arrived(A, 1, self.now)
        self.scheduler.left(A, self.now)
        self.join(B)
        self.assertEqual(self.next(B), [])
        self.scheduler.wrong(A, 1, self.now)
        self.assertEqual(self.next(B), [1])

    def test_refused(self) -> None:
        """What a session has not got, whatever it told, is asked of others."""
        self.make(4)
        self.join(A)
        self.join(B)
        self.assertEqual(set(self.next(A)), {1, 2, 3})
        self.scheduler.refused(A, [1, 2, 77])
        self.assertEqual(set(self.next(B)), {1, 2})
        self.scheduler.refused(B, [1])
        self.assertEqual(self.next(A), [])
        self.scheduler.had(A, [1])
        self.assertEqual(self.next(A), [1])

    def test_left(self) -> None:
        """The blocks of a session that is gone are free; so is what it joins again with."""
        self.make(3)
        self.join(A)
        self.join(B)
        self.assertEqual(len(self.next(A)), 2)
        self.assertEqual(self.next(B), [])
        self.scheduler.left(A, self.now)
        self.assertEqual((self.next(A), self.scheduler.in_flight), ([], 0))
        self.assertEqual(set(self.next(B)), {1, 2})
        self.join(B)
        self.assertEqual(set(self.next(B)), {1, 2})

    def test_verified_from_elsewhere(self) -> None:
        """A block that came by another way is cancelled where it was asked for."""
        self.make(3)
        self.join(A)
        self.next(A)
        self.assertEqual(self.scheduler.verified(1, self.now), [(A, 1)])
        self.assertEqual(self.scheduler.verified(1, self.now), [])
        self.assertEqual(self.scheduler.verified(7, self.now), [])
        self.assertEqual((self.scheduler.in_flight, self.scheduler.missing), (1, 1))

    def test_unasked(self) -> None:
        """A block that nobody asked for counts if it is missing, and does no harm if not."""
        self.make(3)
        self.join(A)
        self.scheduler.arrived(A, 0, self.now)
        self.scheduler.arrived(A, 9, self.now)
        self.assertEqual(self.scheduler.in_flight, 0)
        self.scheduler.arrived(B, 1, self.now)
        self.scheduler.arrived(B, 1, self.now)
        self.assertEqual(self.scheduler.in_flight, 1)
        self.assertEqual(self.next(A), [2])


class WindowTests(Base):
    def test_first(self) -> None:
        """Before anything is known: up to four blocks, two if they are large."""
        for size, wanted in ((64 * KIB, 4), (256 * KIB, 4), (512 * KIB, 2), (4 * MIB, 2)):
            self.make(size=size)
            self.join(A)
            self.assertEqual(len(self.next(A)), wanted)

    def test_follows_the_rate(self) -> None:
        """200 ms of what the session delivers, from 2 to 64 blocks."""
        for seconds, wanted in ((0.5, MIN_BLOCKS), (0.011, 19), (0.001, MAX_BLOCKS)):
            self.make(1_000)
            self.join(A)
            asked = self.next(A)
            for _ in range(400):
                self.give(A, asked.pop(0), seconds)
                asked += self.next(A)
            self.assertLessEqual(abs(len(asked) - wanted), wanted / 8)
            self.assertLessEqual(len(asked), WINDOW_SECONDS / seconds + MIN_BLOCKS)

    def test_grows_at_once(self) -> None:
        """A session of 1.5 GB/s is asked for 64 blocks of 1 MiB as soon as one came."""
        self.make(1_024, size=MIB)
        self.join(A)
        asked = self.next(A)
        self.give(A, asked.pop(0), 0.001)
        asked += self.next(A)
        self.assertGreaterEqual(len(asked), MAX_BLOCKS - 2)

    def test_idle_time_is_no_slowness(self) -> None:
        """While nothing is asked for, no rate is lost."""
        self.make(1_000)
        self.join(A, *range(1, 5))
        asked = self.next(A)
        for block in asked:
            self.give(A, block, 0.01)
        self.now += 60
        self.scheduler.had(A, range(5, 500))
        asked = self.next(A)
        self.assertIn(len(asked), (20, 21))
        for block in asked[:2]:
            self.give(A, block, 0.01)
        self.assertIn(len(asked) - 2 + len(self.next(A)), (20, 21))

    def test_wide_windows_are_refilled_in_batches(self) -> None:
        """One long request instead of eight short ones."""
        self.make(1_000)
        self.join(A)
        asked = self.warm(A, 0.001)
        while not (more := self.next(A)):
            self.give(A, asked.pop(0), 0.001)
        self.assertGreaterEqual(len(more), MAX_BLOCKS // 8)


class BudgetTests(Base):
    def test_lone_session_may_use_it_all(self) -> None:
        """And no more; the blocks being checked count."""
        self.make(1_000, size=MIB, budget=20 * MIB)
        self.join(A)
        self.warm(A, 0.001)
        self.assertGreaterEqual(self.scheduler.in_flight, 18)
        self.assertLessEqual(self.scheduler.in_flight, 20)

    def test_always_one(self) -> None:
        """A block larger than the budget is asked for all the same."""
        self.make(10, size=4 * MIB, budget=MIB)
        self.join(A)
        asked = self.next(A)
        self.assertEqual(len(asked), 1)
        self.scheduler.arrived(A, asked[0], self.now)
        self.assertEqual(self.next(A), [])
        self.scheduler.verified(asked[0], self.now)
        self.assertEqual(len(self.next(A)), 1)

    def test_shared(self) -> None:
        """A fast session gives way to one that comes later."""
        self.make(5_000, size=MIB, budget=20 * MIB)
        self.join(A)
        first = self.warm(A, 0.001)
        self.join(B)
        self.assertEqual(self.next(B), [])
        self.assertEqual(self.scheduler.hungry, (B,))
        second: list[int] = []
        for _ in range(200):
            for peer, asked in ((A, first), (B, second)):
                if asked:
                    self.give(peer, asked.pop(0), 0.001)
                    asked += self.next(peer)
                for each in self.scheduler.hungry:
                    (first if each == A else second).extend(self.next(each))
            self.assertLessEqual(self.scheduler.in_flight, 20)
        self.assertLessEqual(abs(len(first) - len(second)), 3)
        self.assertEqual(self.scheduler.hungry, ())

    def test_more_sessions_than_blocks(self) -> None:
        """Where not everybody can be asked at a time, everybody has its turn."""
        peers = [f"10.0.1.{number}" for number in range(40)]
        self.make(1_000, size=4 * MIB)
        given = dict.fromkeys(peers, 0)
        waiting: list[tuple[str, int]] = []
        for peer in peers:
            self.join(peer)
        for peer in peers:
            waiting += [(peer, block) for block in self.next(peer)]
        while not self.scheduler.complete:
            self.assertLessEqual(len(waiting), 16)
            peer, block = waiting.pop(0)
            self.give(peer, block, 0.05)
            given[peer] += 1
            for each in (peer, *self.scheduler.hungry):
                waiting += [(each, more) for more in self.next(each)]
        self.assertGreater(min(given.values()), 20)

    def test_not_hungry_without_use(self) -> None:
        """Who has nothing that could be asked for waits for no budget."""
        self.make(100, size=MIB, budget=2 * MIB)
        self.join(A)
        self.join(B, 0)
        self.join(C, steered=True)
        self.next(A)
        self.assertEqual((self.next(B), self.next(C)), ([], []))
        self.assertEqual(self.scheduler.hungry, ())
        self.scheduler.granted(C, [1, 2, 3])
        self.assertEqual((self.next(C), self.scheduler.hungry), ([], (C,)))
        self.scheduler.left(C, self.now)
        self.assertEqual(self.scheduler.hungry, ())


class LateTests(Base):
    def test_silent(self) -> None:
        """Who gives nothing at all is late after two seconds; another is asked."""
        self.make(3)
        self.join(A)
        self.join(B)
        asked = self.next(A)
        self.now += LATE_SECONDS
        self.assertEqual(self.scheduler.late(self.now), [])
        self.now += 0.01
        self.assertEqual(self.scheduler.late(self.now), [(A, block) for block in asked])
        self.assertEqual(self.scheduler.late(self.now), [])
        self.assertEqual(self.scheduler.in_flight, 0)
        self.assertEqual(set(self.next(B)), {1, 2})
        self.assertEqual(self.next(A), [])
        self.assertTrue(self.scheduler.awaits(A, 1))

    def test_first_wins(self) -> None:
        """Whoever gives it first; the other is cancelled."""
        for first, other in ((A, B), (B, A)):
            self.make(2)
            self.join(A)
            self.join(B)
            self.next(A)
            self.now += 3
            self.scheduler.late(self.now)
            self.next(B)
            self.assertEqual(self.give(first, 1), [(other, 1)])
            self.assertEqual(self.scheduler.in_flight, 0)

    def test_slow_is_not_late(self) -> None:
        """What takes long at the session's own rate is waited for, four times as long."""
        self.make(100, size=4 * MIB)
        self.join(A)
        self.next(A)
        for _ in range(40):
            self.now += 0.5
            self.scheduler.received(A, 50_000, self.now)  # two blocks take 84 s
            self.assertEqual(self.scheduler.late(self.now), [])
        self.now += LATE_FACTOR * 84
        self.assertEqual(len(self.scheduler.late(self.now)), 2)

    def test_nothing_more_to_do(self) -> None:
        """Who is late gets nothing more until something comes from it."""
        self.make(100)
        self.join(A)
        asked = self.warm(A)
        self.now += 3
        self.assertEqual(len(self.scheduler.late(self.now)), len(asked))
        self.assertEqual(self.next(A), [])
        for block in asked[:-1]:
            self.give(A, block)
        self.assertNotEqual(self.next(A), [])

    def test_overtaken(self) -> None:
        """Blocks come in the order asked: what a later one overtook is asked for again."""
        self.make(4)
        self.join(A)
        first, second, third = self.next(A)
        self.now += 3
        self.scheduler.late(self.now)
        self.give(A, second)
        self.assertFalse(self.scheduler.awaits(A, first))
        self.assertTrue(self.scheduler.awaits(A, third))
        self.assertEqual(self.next(A), [first])

    def test_not_asked_again(self) -> None:
        """What a session is late with is free for others, not for itself."""
        self.make(3)
        self.join(A)
        first, second = self.next(A)
        self.now += 3
        self.scheduler.late(self.now)
        self.give(A, first)
        self.assertEqual(self.next(A), [])
        self.join(B)
        self.assertEqual(self.next(B), [second])

    def test_frees_the_budget(self) -> None:
        """What is late is no reason not to ask others."""
        self.make(100, size=MIB, budget=2 * MIB)
        self.join(A)
        self.join(B)
        self.assertEqual(len(self.next(A)), 2)
        self.assertEqual(self.next(B), [])
        self.now += 3
        self.scheduler.late(self.now)
        self.assertEqual(len(self.next(B)), 2)


class EndTests(Base):
    def test_fast_copies_from_slow(self) -> None:
        """When all is asked for, the faster one fetches what the slower would take long for."""
        self.make(40)
        self.join(A, *range(1, 4))
        self.join(B)
        slow = self.next(A)
        self.give(A, slow.pop(0), 1.5)
        fast = self.next(B)
        while not set(fast) <= set(slow):
            self.give(B, fast.pop(0), 0.001)
            fast += self.next(B)
        self.assertEqual(self.scheduler.missing, len(slow))
        self.assertEqual(set(fast), set(slow))
        self.assertEqual(fast, slow[::-1])
        self.assertEqual(self.give(B, fast[0]), [(A, fast[0])])
        self.assertEqual(self.give(A, fast[1]), [(B, fast[1])])
        self.assertTrue(self.scheduler.complete)

    def test_two_copies_at_most(self) -> None:
        """A third session fetches no third copy."""
        self.make(40)
        self.join(A, 1, 2)
        self.join(B, *range(1, 20))
        self.join(C, 1, 2, *range(20, 40))
        self.next(A)
        own = {B: self.next(B), C: self.next(C)}
        copies: list[tuple[str, int]] = []
        while own[B] or own[C]:
            for peer in (B, C):
                if own[peer]:
                    self.give(peer, own[peer].pop(0), 0.001)
                for block in self.next(peer):
                    if block in (1, 2):
                        copies.append((peer, block))
                    else:
                        own[peer].append(block)
        self.assertEqual(sorted(block for _, block in copies), [1, 2])
        self.assertEqual(self.next(B) + self.next(C), [])

    def test_no_copies_before(self) -> None:
        """As long as something was asked of nobody, nothing is fetched twice."""
        self.make(40)
        self.join(A, 1, 2)
        self.join(B, *range(1, 30))
        self.next(A)
        fast = self.next(B)
        while fast:
            self.give(B, fast.pop(0), 0.001)
            fast += self.next(B)
        self.assertEqual(self.scheduler.missing, 12)
        self.join(C, *range(30, 40))
        while len(asked := self.next(C)):
            for block in asked:
                self.give(C, block, 0.001)
        self.assertEqual(set(self.next(B)), {1, 2})

    def test_no_copies_of_what_it_lacks(self) -> None:
        """However fast it is."""
        self.make(40)
        self.join(A, 1, 2)
        self.join(B, *range(2, 40))
        self.next(A)
        fast = self.next(B)
        while self.scheduler.missing > 2:
            self.give(B, fast.pop(0), 0.001)
            fast += self.next(B)
        self.assertEqual(fast, [2])

    def test_no_copies_from_the_slow(self) -> None:
        """Who would not be sooner fetches none."""
        self.make(3)
        self.join(A)
        self.join(B)
        self.next(A)
        self.assertEqual(self.next(B), [])

    def test_overdue(self) -> None:
        """What should have come by now is copied by who can, before it is late."""
        self.make(200)
        self.join(A, *range(1, 100))
        self.join(B)
        asked = {A: self.warm(A, 0.001), B: self.warm(B, 0.001)}
        while asked[B]:
            self.give(B, asked[B].pop(0), 0.001)
            asked[B] += [block for block in self.next(B) if block not in asked[A]]
        self.now += 0.5
        self.assertEqual(self.scheduler.late(self.now), [])
        self.assertNotEqual(self.next(B), [])


class SteeredTests(Base):
    def test_only_grants_in_order(self) -> None:
        """A steered session is asked for what it grants, in its order."""
        self.make(100)
        self.join(A, steered=True)
        self.assertEqual(self.next(A), [])
        self.assertTrue(self.scheduler.interested(A))
        self.assertEqual(self.scheduler.granted(A, [7, 3, 9, 5, 8, 6]), [])
        self.assertEqual(self.next(A), [7, 3, 9, 5])
        self.give(A, 7)
        self.assertEqual(self.next(A), [8, 6])
        self.assertEqual(self.next(A), [])

    def test_opened(self) -> None:
        """Then it is a session as any other."""
        self.make(5)
        self.join(A, steered=True)
        self.scheduler.granted(A, [2])
        self.assertEqual(self.next(A), [2])
        self.scheduler.opened(A)
        self.assertEqual(set(self.next(A)), {1, 3, 4})

    def test_granted_steers(self) -> None:
        """Who grants something is asked for nothing else, whatever it told at first."""
        self.make(100)
        self.join(A)
        asked = self.next(A)
        self.scheduler.granted(A, [block for block in (1, 2, 3, 4, 5) if block not in asked][:1])
        self.give(A, asked[0])
        self.assertLess(self.next(A)[0], 6)
        self.assertEqual(self.next(A), [])

    def test_not_from_two(self) -> None:
        """What was asked of a steered session is not asked of another, unless it is late."""
        self.make(3)
        self.join(A, steered=True)
        self.join(B, 1)
        self.scheduler.had(B, [2])
        self.scheduler.left(B, self.now)
        self.scheduler.granted(A, [1, 2])
        self.assertEqual(self.next(A), [1, 2])
        self.join(B)
        self.assertEqual(self.next(B), [])
        self.now += 3
        self.scheduler.late(self.now)
        self.assertEqual(set(self.next(B)), {1, 2})

    def test_others_first(self) -> None:
        """A granted block that another has is left to that one, unless nothing else is to do."""
        self.make(10)
        self.join(A, steered=True)
        self.join(B, 1, 2)
        self.scheduler.granted(A, [1, 2, 3])
        self.assertEqual(self.next(A), [3])
        self.give(A, 3)
        self.assertEqual(self.next(A), [1])
        self.assertEqual(self.next(B), [2])
        self.assertEqual(self.next(A), [])

    def test_needless_grants(self) -> None:
        """What is here already is declined, at once or when it comes from elsewhere."""
        self.make(10, held=(4,))
        self.join(A, steered=True)
        self.join(B, 1)
        self.assertEqual(self.scheduler.granted(A, [4, 1, 99]), [4, 99])
        self.assertEqual(self.next(B), [1])
        self.assertEqual(self.give(B, 1), [(A, 1)])
        self.assertEqual(self.next(A), [])

    def test_refused_and_lost(self) -> None:
        """A grant that is refused is none; a session that joins again has none."""
        self.make(10)
        self.join(A, steered=True)
        self.scheduler.granted(A, [1, 2])
        self.scheduler.refused(A, [1])
        self.join(B, steered=True)
        self.scheduler.granted(B, [5])
        self.join(B, steered=True)
        self.assertEqual((self.next(A), self.next(B)), ([2], []))


class SizeTests(Base):
    def test_largest_content(self) -> None:
        """4 TiB: a million blocks, partial sessions, and every block is found."""
        total = 1 << 20
        self.make(total, held=(), size=4 * MIB)
        for number in range(8):
            blocks = BlockSet.from_bytes(total, bytes([1 << number]) * (total // 8))
            self.scheduler.joined(f"10.0.1.{number}", blocks, False, self.now)
        self.scheduler.had("10.0.1.1", range(0, 8_000, 8))
        for number in range(8):
            asked = self.next(f"10.0.1.{number}")
            self.assertTrue(asked)
            self.assertEqual({block % 8 for block in asked}, {number})
        self.scheduler.left("10.0.1.3", self.now)
        self.assertEqual(self.scheduler.missing, total)

    def test_many_events(self) -> None:
        """40 sessions that get every block bit by bit; each block is asked for once in all."""
        peers = [f"10.0.1.{number}" for number in range(40)]
        self.make(1_024, held=(), budget=1 << 40)
        random = Random(5)
        for peer in peers:
            self.scheduler.joined(peer, BlockSet(1_024), False, self.now)
        told = [(peer, block) for peer in peers for block in range(1_024)]
        random.shuffle(told)
        given = dict.fromkeys(peers, 0)
        asked: list[tuple[str, int]] = []
        for peer, block in told:
            self.scheduler.had(peer, [block])
            asked += [(peer, each) for each in self.next(peer)]
            if asked:
                giver, got = asked.pop(0)
                self.give(giver, got, 0.0001)
                given[giver] += 1
        self.assertTrue(self.scheduler.complete)
        self.assertGreater(min(given.values()), 0)
