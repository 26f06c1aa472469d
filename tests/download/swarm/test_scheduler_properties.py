"""The scheduler beside a simple model of what it may do, in any order of events."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from peershare.content.blocks import BlockSet
from peershare.download.swarm.order import Order
from peershare.download.swarm.scheduler import Scheduler
from peershare.download.swarm.windows import MAX_BLOCKS

SIZE = 65_536
PEERS = ("a", "b", "c", "d")
peers = st.sampled_from(PEERS)
block_sets = st.sets(st.integers(0, 19), max_size=20)


@dataclass
class Told:
    """What the model knows of a session: its requests, in order, and which of them are late."""

    have: set[int]
    steered: bool
    granted: set[int] = field(default_factory=set)
    requests: dict[int, bool] = field(default_factory=dict)


class Machine(RuleBasedStateMachine):
    """Any events; after each, the scheduler agrees with the model."""

    @initialize(
        total=st.integers(1, 20),
        held=block_sets,
        budget=st.integers(0, 12),
        seed=st.integers(0, 99),
        sequential=st.booleans(),
    )
    def begin(self, total: int, held: set[int], budget: int, seed: int, sequential: bool) -> None:
        self.now = 0.0
        self.total = total
        self.missing = set(range(total)) - held
        self.budget = max(1, budget)
        self.sessions: dict[str, Told] = {}
        self.checking: dict[tuple[str, int], None] = {}
        self.came: dict[int, int] = {}
        self.scheduler = Scheduler(
            total,
            SIZE,
            BlockSet(total, held & set(range(total))),
            Random(seed),
            order=Order(sequential),
            budget_bytes=budget * SIZE,
        )

    def within(self, blocks: set[int]) -> set[int]:
        return blocks & set(range(self.total))

    # -- sessions

    @rule(peer=peers, have=st.none() | block_sets, steered=st.booleans())
    def join(self, peer: str, have: set[int] | None, steered: bool) -> None:
        blocks = set(range(self.total)) if have is None else self.within(have)
        told = None if have is None else BlockSet(self.total, blocks)
        self.scheduler.joined(peer, told, steered, self.now)
        self.sessions[peer] = Told(blocks, steered)

    @rule(peer=peers)
    def leave(self, peer: str) -> None:
        self.scheduler.left(peer, self.now)
        self.sessions.pop(peer, None)

    @rule(peer=peers, blocks=block_sets)
    def have(self, peer: str, blocks: set[int]) -> None:
        self.scheduler.had(peer, sorted(blocks))
        if peer in self.sessions:
            self.sessions[peer].have |= self.within(blocks)

    @rule(peer=peers, blocks=block_sets)
    def grant(self, peer: str, blocks: set[int]) -> None:
        needless = self.scheduler.granted(peer, sorted(blocks))
        if peer in self.sessions:
            assert set(needless) == blocks - self.missing
            told = self.sessions[peer]
            told.steered = True
            told.granted |= (blocks & self.missing) - set(told.requests)
            told.have |= told.granted

    @rule(peer=peers)
    def open(self, peer: str) -> None:
        self.scheduler.opened(peer)
        if peer in self.sessions:
            self.sessions[peer].steered = False
            self.sessions[peer].granted.clear()

    @rule(peer=peers, blocks=block_sets)
    def refuse(self, peer: str, blocks: set[int]) -> None:
        self.scheduler.refused(peer, sorted(blocks))
        if peer in self.sessions:
            self.forget(peer, blocks)

    def forget(self, peer: str, blocks: set[int]) -> None:
        told = self.sessions[peer]
        told.have -= blocks
        told.granted -= blocks
        for block in blocks:
            told.requests.pop(block, None)

    # -- time and bytes

    @rule(seconds=st.sampled_from((0.0, 0.001, 0.1, 1.0, 3.0, 60.0)))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        late = self.scheduler.late(self.now)
        for peer, block in late:
            assert self.sessions[peer].requests[block] is False
            self.sessions[peer].requests[block] = True

    @rule(peer=peers, count=st.integers(0, 1 << 20))
    def receive(self, peer: str, count: int) -> None:
        self.scheduler.received(peer, count, self.now)

    @precondition(lambda self: any(told.requests for told in self.sessions.values()))
    @rule(data=st.data())
    def arrive(self, data: st.DataObject) -> None:
        busy = sorted(peer for peer, told in self.sessions.items() if told.requests)
        peer = data.draw(st.sampled_from(busy))
        requests = self.sessions[peer].requests
        block = data.draw(st.sampled_from(list(requests)))
        self.scheduler.arrived(peer, block, self.now)
        self.checking[peer, block] = None
        for other in list(requests):
            if other == block:
                break
            if requests[other]:
                del requests[other]
        del requests[block]

    @precondition(lambda self: self.checking)
    @rule(data=st.data(), right=st.booleans())
    def check(self, data: st.DataObject, right: bool) -> None:
        peer, block = data.draw(st.sampled_from(list(self.checking)))
        if right:
            self.verify(block)
            return
        self.scheduler.wrong(peer, block, self.now)
        del self.checking[peer, block]
        if peer in self.sessions:
            self.forget(peer, {block})

    @rule(block=st.integers(0, 19))
    def verify(self, block: int) -> None:
        cancelled = self.scheduler.verified(block, self.now)
        wanted = {
            (peer, block)
            for peer, told in self.sessions.items()
            if block in told.requests or block in told.granted
        }
        assert set(cancelled) == (wanted if block in self.missing else set())
        assert len(cancelled) == len(set(cancelled))
        if block in self.missing:
            self.came[block] = self.came.get(block, 0) + 1
        self.missing.discard(block)
        for told in self.sessions.values():
            told.requests.pop(block, None)
            told.granted.discard(block)
        for key in [key for key in self.checking if key[1] == block]:
            del self.checking[key]

    # -- what it chooses

    def copies(self, block: int, *, late: bool) -> int:
        """How many copies of a block may come, with or without those that are late."""
        asked = [told.requests[block] for told in self.sessions.values() if block in told.requests]
        checked = sum(other == block for _, other in self.checking)
        return checked + sum(late or not each for each in asked)

    @rule(peer=peers)
    def ask(self, peer: str) -> None:
        all_asked = all(self.copies(block, late=True) for block in self.missing)
        asked = self.scheduler.next(peer, self.now)
        if peer not in self.sessions:
            assert not asked
            return
        told = self.sessions[peer]
        assert len(asked) == len(set(asked))
        assert not set(asked) & set(told.requests)
        assert set(asked) <= told.have & self.missing
        if told.steered:
            assert set(asked) <= told.granted
        if asked:
            assert len(told.requests) + len(asked) <= MAX_BLOCKS
        for block in asked:
            assert self.copies(block, late=False) == 0 or all_asked
            told.requests[block] = False
            told.granted.discard(block)
            assert self.copies(block, late=False) <= 2

    @invariant()
    def agrees(self) -> None:
        flying = sum(self.copies(block, late=False) for block in self.missing)
        assert self.scheduler.in_flight == flying <= self.budget
        assert self.scheduler.missing == len(self.missing)
        assert self.scheduler.complete is (not self.missing)
        assert set(self.scheduler.hungry) <= set(self.sessions)
        for peer, told in self.sessions.items():
            assert self.scheduler.interested(peer) is bool(told.have & self.missing)
            for block in range(self.total):
                assert self.scheduler.awaits(peer, block) is (block in told.requests)

    def teardown(self) -> None:
        """However it stands, one honest session is enough, even if all others give nothing."""
        if not hasattr(self, "scheduler"):
            return
        for _, block in list(self.checking):
            self.verify(block)
        self.scheduler.joined("honest", None, False, self.now)
        self.sessions["honest"] = Told(set(range(self.total)), False)
        for _ in range(4 * self.total + 8):
            self.wait(1e6)
            for peer in self.sessions:
                self.ask(peer)
            for block in list(self.sessions["honest"].requests):
                self.now += 0.01
                self.scheduler.received("honest", SIZE, self.now)
                self.scheduler.arrived("honest", block, self.now)
                self.sessions["honest"].requests.pop(block)
                self.checking["honest", block] = None
                self.verify(block)
        assert self.scheduler.complete, self.missing
        assert set(self.came.values()) <= {1}


class PropertyTests(SynchronousTestCase):
    def test_like_the_model(self) -> None:
        """Whatever happens: nothing is asked of who has it not, nor too much, nor too often."""
        run_state_machine_as_test(Machine)
