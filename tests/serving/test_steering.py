"""Steering: every block leaves the lone source about once, and then whoever wants asks.

The last tests are of whole swarms, in a model (`tests.download.swarm.model`) of the network with
the real schedulers.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from random import Random

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from peershare.serving.steering import SLOWER, Steering
from tests.download.swarm.model import KIB, MIB, Swarm

A, B, C = 1, 2, 3


class Base(SynchronousTestCase):
    def make(self, total: int, *receivers: int, seed: int = 1) -> None:
        self.steering = Steering(total, Random(seed))
        for receiver in receivers:
            self.steering.joined(receiver, ())

    def grant(self, receiver: int, window: int) -> list[int]:
        """Grant, and be asked at once for what is granted."""
        blocks = self.steering.grants(receiver, window)
        for block in blocks:
            self.steering.asked(receiver, block)
        return blocks

    def send(self, receiver: int, *blocks: int) -> None:
        for block in blocks:
            self.steering.sent(receiver, block)


class GrantTests(Base):
    def test_disjoint(self) -> None:
        """Everybody is granted other blocks, all of them in the end."""
        self.make(100, A, B, C)
        granted = []
        while not self.steering.open:
            for receiver in (A, B, C):
                blocks = self.grant(receiver, 5)
                granted += blocks
                self.send(receiver, *blocks)
        self.assertEqual(sorted(granted), list(range(100)))

    def test_window(self) -> None:
        """As many as have not left yet; what leaves makes room."""
        self.make(100, A)
        first = self.steering.grants(A, 4)
        self.assertEqual(len(first), 4)
        self.assertEqual(self.steering.grants(A, 4), [])
        self.send(A, first[0])
        self.assertEqual(len(self.steering.grants(A, 4)), 1)
        self.assertEqual(len(self.steering.grants(A, 6)), 2)
        self.assertEqual(self.steering.grants(A, 1), [])

    def test_one_receiver_reads_on(self) -> None:
        """A lone receiver gets everything in order, from where chance began, round the end."""
        self.make(100, A)
        granted = self.grant(A, 100)
        turn = granted.index(0) if granted[0] else granted.index(99) + 1
        self.assertEqual(sorted(granted), list(range(100)))
        self.assertEqual(sorted(granted[:turn]), granted[:turn])
        self.assertEqual(sorted(granted[turn:]), granted[turn:])

    def test_stretches(self) -> None:
        """Several receivers get stretches of their own, each in order."""
        self.make(1_000, A, B, C)
        granted: dict[int, list[int]] = {A: [], B: [], C: []}
        for _ in range(10):
            for receiver, blocks in granted.items():
                more = self.grant(receiver, 4)
                blocks += more
                self.send(receiver, *more)
        for blocks in granted.values():
            steps = [later - earlier for earlier, later in pairwise(blocks)]
            self.assertGreaterEqual(steps.count(1), 38)

    def test_begins_by_chance(self) -> None:
        """Two sources that do not know of each other do not grant the same at first."""
        begun = set()
        for seed in range(10):
            self.make(1_000, A, seed=seed)
            begun.update(self.steering.grants(A, 1))
        self.assertGreater(len(begun), 8)

    def test_nothing(self) -> None:
        """A content without blocks is open; who is not known is granted nothing."""
        self.make(0, A)
        self.assertTrue(self.steering.open)
        self.make(5)
        self.assertEqual(self.steering.grants(A, 3), [])
        self.steering.asked(A, 1)
        self.steering.declined(A, 1)
        self.steering.stalled(A)
        self.steering.left(A)
        self.assertFalse(self.steering.open)


class LeavingTests(Base):
    def test_sent_to_whomever(self) -> None:
        """A block has left once it was sent to anybody; nobody is granted it any more."""
        self.make(10, A, B)
        granted = self.steering.grants(A, 3)
        self.send(B, granted[0])
        self.assertEqual(len(self.steering.grants(A, 3)), 1)
        rest = [block for block in range(10) if block not in granted]
        self.send(B, *rest)
        self.send(A, *granted)
        self.assertTrue(self.steering.open)

    def test_what_receivers_have(self) -> None:
        """What somebody has already need not leave."""
        self.make(10, A)
        self.steering.joined(B, range(8))
        self.assertEqual(sorted(self.grant(A, 10)), [8, 9])
        self.steering.joined(C, [8, 9])
        self.assertTrue(self.steering.open)
        self.steering.left(C)
        self.assertTrue(self.steering.open)

    def test_goes_back(self) -> None:
        """What a receiver was granted and did not get is granted to others when it has left."""
        self.make(10, A)
        granted = self.grant(A, 4)
        self.send(A, granted[0])
        self.steering.left(A)
        self.steering.joined(B, ())
        fresh = self.grant(B, 6)
        self.assertEqual(sorted([*granted, *fresh]), list(range(10)))
        self.assertEqual(self.grant(B, 9), granted[1:])

    def test_stretch_goes_on(self) -> None:
        """The next to come goes on where one that left had stopped."""
        self.make(100, A)
        granted = self.grant(A, 4)
        self.send(A, *granted)
        self.steering.left(A)
        self.steering.joined(B, ())
        self.assertEqual(self.grant(B, 1), [(granted[-1] + 1) % 100])

    def test_joins_again(self) -> None:
        """Then it has no grants."""
        self.make(10, A)
        self.steering.grants(A, 4)
        self.steering.joined(A, ())
        self.assertEqual(len(self.steering.grants(A, 10)), 10)

    def test_declined(self) -> None:
        """What a receiver has from elsewhere need not leave."""
        self.make(4, A, B)
        granted = self.steering.grants(A, 4)
        for block in granted:
            self.steering.declined(B, block)
        self.assertFalse(self.steering.open)
        for block in granted:
            self.steering.declined(A, block)
        self.assertTrue(self.steering.open)


class SlowTests(Base):
    def test_what_is_not_asked_for(self) -> None:
        """When nothing is left to grant, half of what another has not asked for, from its end."""
        self.make(8, A, B)
        slow = self.steering.grants(A, 8)
        taken = self.steering.grants(B, 8)
        self.assertEqual(taken, slow[4:])
        self.assertEqual(self.steering.grants(B, 8), [])
        self.assertEqual(self.steering.grants(A, 8), [])

    def test_once_only(self) -> None:
        """A block that was taken over is not taken back."""
        self.make(2, A, B)
        first, second = self.steering.grants(A, 2)
        self.assertEqual(self.steering.grants(B, 2), [second])
        self.send(A, first)
        self.assertEqual(self.steering.grants(A, 2), [])

    def test_not_while_busy(self) -> None:
        """Who has not asked for its own yet takes over nothing."""
        self.make(8, A, B)
        self.steering.grants(B, 2)
        self.steering.grants(A, 6)
        self.assertEqual(self.steering.grants(B, 4), [])

    def test_what_waits_for_the_slow(self) -> None:
        """Who has nothing gets what waits for one that got less than half as much."""
        for sent in (SLOWER, SLOWER + 1):
            self.make(10, A, B)
            slow = self.grant(A, 5)
            fast = self.grant(B, 5)
            self.send(A, slow[0])
            self.send(B, *fast[:sent])
            self.assertEqual(self.grant(B, 5), [])
            self.send(B, *fast[sent:])
            self.steering.left(C)
        self.assertEqual(self.grant(B, 5), slow[3:])

    def test_equals_do_not_double(self) -> None:
        """Between receivers of about one rate nothing leaves twice."""
        self.make(9, A, B)
        blocks = self.grant(A, 5)
        others = self.grant(B, 4)
        self.send(A, *blocks[:3])
        self.send(B, *others)
        self.assertEqual(self.grant(B, 4), [])

    def test_stalled(self) -> None:
        """What waits for one that takes nothing goes to the others; it gets none meanwhile."""
        self.make(8, A, B)
        slow = self.grant(A, 4)
        fast = self.grant(B, 4)
        self.send(B, *fast)
        self.steering.stalled(A)
        self.assertEqual(self.steering.grants(A, 4), [])
        self.assertEqual(self.grant(B, 4), slow)
        self.send(B, *slow[:2])
        self.steering.left(B)
        self.steering.asked(A, slow[3])
        self.assertEqual(self.steering.grants(A, 4), slow[2:])

    def test_gets_on_again(self) -> None:
        """A receiver that asks, declines or gets a block is granted more."""
        for what in ("asked", "declined", "sent"):
            self.make(20, A, B)
            block = self.grant(A, 4)[0]
            self.grant(B, 4)
            self.steering.stalled(A)
            self.assertEqual(self.steering.grants(A, 4), [])
            getattr(self.steering, what)(A, block)
            self.assertEqual(len(self.steering.grants(A, 4)), 4)

    def test_all_stalled(self) -> None:
        """Where nobody gets on, everybody may go on trying."""
        self.make(8, A, B)
        self.grant(A, 4)
        self.grant(B, 4)
        self.steering.stalled(A)
        self.steering.stalled(B)
        self.assertEqual(len(self.steering.grants(A, 4)), 4)


receivers = st.integers(1, 4)
one_block = st.integers(0, 29)


class Machine(RuleBasedStateMachine):
    """Any events: grants are disjoint, of what has not left, and everything leaves in the end."""

    @initialize(total=st.integers(1, 30), seed=st.integers(0, 99))
    def begin(self, total: int, seed: int) -> None:
        self.total = total
        self.steering = Steering(total, Random(seed))
        self.out: set[int] = set()
        self.granted: dict[int, list[int]] = {}
        self.times = Counter[int]()

    @rule(receiver=receivers, have=st.sets(one_block))
    def join(self, receiver: int, have: set[int]) -> None:
        blocks = sorted(block for block in have if block < self.total)
        self.leave(receiver)
        self.steering.joined(receiver, blocks)
        self.granted[receiver] = []
        self.mark(*blocks)

    @rule(receiver=receivers)
    def leave(self, receiver: int) -> None:
        self.steering.left(receiver)
        self.times.subtract(self.granted.pop(receiver, ()))

    @rule(receiver=receivers)
    def stall(self, receiver: int) -> None:
        self.steering.stalled(receiver)
        if receiver in self.granted:
            self.times.subtract(self.granted[receiver])
            self.granted[receiver] = []

    @rule(receiver=receivers, window=st.integers(0, 12))
    def grant(self, receiver: int, window: int) -> None:
        blocks = self.steering.grants(receiver, window)
        assert len(set(blocks)) == len(blocks)
        assert not set(blocks) & self.out
        if blocks:
            others = [row for number, row in self.granted.items() if number != receiver]
            for block in blocks:
                for row in others:
                    if block in row:  # it was taken over
                        row.remove(block)
                assert block not in self.granted[receiver]
                self.times[block] += 1
                assert self.times[block] <= 2
            self.granted[receiver] += blocks
            assert len(self.granted[receiver]) <= window

    @rule(receiver=receivers, block=one_block)
    def ask(self, receiver: int, block: int) -> None:
        self.steering.asked(receiver, block)

    @rule(receiver=receivers, block=one_block)
    def decline(self, receiver: int, block: int) -> None:
        self.steering.declined(receiver, block)
        if block in self.granted.get(receiver, ()):
            self.mark(block)

    @rule(receiver=receivers, block=one_block)
    def send(self, receiver: int, block: int) -> None:
        if block < self.total:
            self.steering.sent(receiver, block)
            self.mark(block)

    def mark(self, *blocks: int) -> None:
        self.out.update(blocks)
        for row in self.granted.values():
            row[:] = [block for block in row if block not in blocks]

    @invariant()
    def opens_in_the_end(self) -> None:
        assert self.steering.open is (len(self.out) == self.total)

    def teardown(self) -> None:
        """One receiver that goes on is enough, if the others are told to stall."""
        if not hasattr(self, "steering"):
            return
        for receiver in list(self.granted):
            self.stall(receiver)
        self.join(9, set())
        for _ in range(self.total):
            self.grant(9, 3)
            for block in list(self.granted[9]):
                self.send(9, block)
        assert self.steering.open


class PropertyTests(SynchronousTestCase):
    def test_like_the_model(self) -> None:
        """Whoever comes, goes, stalls and asks."""
        run_state_machine_as_test(Machine)


class SwarmTests(SynchronousTestCase):
    """Links of one rate both ways, 50 ms until what one has is told; 64 KiB blocks, 64 MiB."""

    rate = 12.5e6

    def swarm(self, receivers: int, seed: int, *, steered: bool = True) -> Swarm:
        return Swarm(receivers, self.rate, 1_024, 64 * KIB, seed, steered=steered)

    def held(self, swarm: Swarm, seconds: float, copies: float) -> None:
        """At most so many times the physical bound, and so many copies from the source."""
        finished = swarm.run(60.0)
        self.assertEqual(swarm.lacking(), {})
        self.assertLessEqual(finished / swarm.bound, seconds)
        self.assertLessEqual(swarm.seed_copies, copies)

    def test_seven(self) -> None:
        """1 + 7 peers."""
        for seed in (1, 2, 3):
            self.held(self.swarm(7, seed), 1.06, 1.05)

    def test_fifteen(self) -> None:
        """1 + 15 peers."""
        for seed in (1, 2):
            self.held(self.swarm(15, seed), 1.07, 1.05)

    def test_one_leaves(self) -> None:
        """A receiver that is gone midway, and another near the end."""
        for seed, seconds in ((1, 2.5), (2, 5.2)):
            swarm = self.swarm(7, seed)
            swarm.at(seconds, lambda swarm=swarm: swarm.leave(3))
            self.held(swarm, 1.1, 1.1)

    def test_large_blocks(self) -> None:
        """64 blocks of 1 MiB: passing on takes longer, and still no second copy is needed."""
        self.held(Swarm(7, self.rate, 64, MIB, 1), 1.2, 1.15)

    def test_without_steering(self) -> None:
        """Steering saves the source more than a tenth, and all of them as much time."""
        for receivers in (7, 15):
            alone, steered = (self.swarm(receivers, 1, steered=way) for way in (False, True))
            self.assertGreater(alone.run(60.0), 1.1 * steered.run(60.0))
            self.assertGreater(alone.seed_copies, 1.1 * steered.seed_copies)

    def test_slow_receiver(self) -> None:
        """Who takes five times as long, both ways, holds nobody up."""
        slow = {3: (self.rate / 5, self.rate / 5)}
        swarm = Swarm(7, self.rate, 1_024, 64 * KIB, 1, rates=slow)
        self.assertAlmostEqual(swarm.run(60.0) / swarm.bound, 5, 1)
        others = [peer.finished_at for peer in swarm.peers[1:] if peer.number != 3]
        self.assertLess(max(at or 60.0 for at in others) / swarm.bound, 1.15)

    def test_stalled_giver(self) -> None:
        """Who suddenly gives nothing, and still takes, costs what it was to pass on."""
        swarm = self.swarm(7, 1)
        swarm.at(2.5, lambda: setattr(swarm.peers[3], "up", 1.0))
        self.held(swarm, 1.3, 1.25)

    def test_everybody_gives(self) -> None:
        """Each receiver asks each other one, and the source."""
        swarm = self.swarm(7, 4)
        swarm.run(60.0)
        givers = [peer.uploaded for peer in swarm.peers[1:]]
        self.assertGreater(min(givers), 0.5 * max(givers))

    def test_one_receiver(self) -> None:
        """One source and one receiver are a stream, on a slow and on a fast link."""
        self.held(self.swarm(1, 1), 1.01, 1.0)
        fast = Swarm(1, 1.5e9, 1_024, MIB, 1, latency=0.0001, pipe=4 * MIB, segment=MIB)
        self.held(fast, 1.01, 1.0)

    def test_replay(self) -> None:
        """One seed is one run."""
        runs = [
            (swarm.run(60.0), swarm.seed_copies) for swarm in (self.swarm(4, 9), self.swarm(4, 9))
        ]
        self.assertEqual(runs[0], runs[1])
