"""The scheduler: which block of a content to ask which session for.  Pure; the time is given.

Random first blocks, then the rarest among what the sessions have, ties by chance; a window a
session that follows its rate; what is late goes to another; at the end the fastest fetch copies
of what is still on its way.  Sessions are known by their peers; times are
monotonic seconds.  Not for: sockets, digests or disks; whoever has those tells what happened.

Nothing wakes up here: after an event `next` is to be called for the sessions that it may have
given something to do, after `verified` also for the `hungry`, and a few times a second `late`,
then `next` for all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from random import Random

from peershare.content.blocks import BlockSet
from peershare.download.swarm import rarity
from peershare.download.swarm.budget import Budget
from peershare.download.swarm.flights import Flights
from peershare.download.swarm.giver import Giver, copies
from peershare.download.swarm.order import Order
from peershare.download.swarm.rarity import Rarity
from peershare.wire.beacon import Endpoint

BUDGET_BYTES = 64 << 20
# The first blocks of a download are picked by chance alone, so that downloads which begin
# together do not all run after the same.
RANDOM_BLOCKS = 4
# The rarest are looked for in so many regions (`rarity.REGION`), taken by chance: contents of up
# to 131,072 blocks (512 GiB) are looked through altogether.
_MOST_REGIONS = 8


class Scheduler:
    """Chooses blocks for the sessions of one download."""

    def __init__(
        self,
        total: int,
        block_size: int,
        held: BlockSet,
        random: Random,
        *,
        order: Order | None = None,
        budget_bytes: int = BUDGET_BYTES,
    ) -> None:
        """`held` is what is here already; it is only read now, `verified` tells what comes.

        No more than `budget_bytes` are asked for or being checked at a time, but always one block.
        """
        self._total = total
        self._block_size = block_size
        self._random = random
        self._order = Order() if order is None else order
        self._budget = Budget(max(1, budget_bytes // block_size))
        self._givers: dict[Endpoint, Giver] = {}
        self._rarity = Rarity(total)
        self._flights = Flights(total, held)
        self._random_left = 0 if len(held) else RANDOM_BLOCKS
        self._next: int | None = None  # behind the last block asked for

    @property
    def missing(self) -> int:
        """How many blocks are not verified yet."""
        return self._flights.left

    @property
    def complete(self) -> bool:
        """Whether no block is missing."""
        return not self._flights.left

    @property
    def in_flight(self) -> int:
        """How many copies of blocks are asked for (and not late) or being checked."""
        return self._flights.busy

    def under_way(self) -> Iterator[int]:
        """The blocks that some session was asked for, or has given and that are being checked."""
        return (block for block, _ in self._flights.items())

    @property
    def hungry(self) -> tuple[Endpoint, ...]:
        """The sessions that the budget left nothing, in the order in which to call `next`."""
        return self._budget.hungry

    # -- sessions

    def joined(self, peer: Endpoint, have: BlockSet | None, steered: bool, now: float) -> None:
        """A session can be asked; `have` None is every block.

        `steered`: only what it grants may be asked for.  Who joins again starts afresh.
        """
        self.left(peer, now)
        whole = have is None or have.complete
        bitmap = rarity.full(self._total) if have is None else rarity.of(have)
        giver = self._givers[peer] = Giver(
            self._block_size, bitmap, counted=not whole, steered=steered
        )
        if giver.counted:
            self._rarity.add(bitmap)

    def left(self, peer: Endpoint, now: float) -> None:
        """A session is over: what it was asked for is free again; what it gave stays in check."""
        giver = self._givers.pop(peer, None)
        if giver is None:
            return
        self._budget.forget(peer)
        if giver.counted:
            self._rarity.remove(giver.have)
        for block in giver.requests:
            self._flights.close(peer, block)

    def had(self, peer: Endpoint, blocks: Iterable[int]) -> None:
        """A session has these, too; what is no block is ignored."""
        giver = self._givers.get(peer)
        if giver is None:
            return
        for block in blocks:
            if 0 <= block < self._total and not rarity.has(giver.have, block):
                rarity.put(giver.have, block)
                if giver.counted:
                    self._rarity.add_one(block)

    def granted(self, peer: Endpoint, blocks: Iterable[int]) -> list[int]:
        """A session may be asked for these, and from now on only for what it grants.

        Returns those that are not needed: they are to be cancelled, so that others get them.
        """
        giver = self._givers.get(peer)
        if giver is None:
            return []
        giver.steered = True
        needless = []
        for block in blocks:
            if not self._flights.lacks(block):
                needless.append(block)
            elif block not in giver.requests:
                giver.grants[block] = None
        self.had(peer, giver.grants)
        return needless

    def opened(self, peer: Endpoint) -> None:
        """A session may be asked for anything from now on."""
        giver = self._givers.get(peer)
        if giver is not None:
            giver.steered = False
            giver.grants.clear()

    def interested(self, peer: Endpoint) -> bool:
        """Whether a session has blocks that are missing here."""
        giver = self._givers.get(peer)
        return giver is not None and rarity.meet(self._flights.missing, giver.have)

    # -- what comes

    def received(self, peer: Endpoint, count: int, now: float) -> None:
        """So many bytes of blocks came."""
        giver = self._givers.get(peer)
        if giver is not None:
            giver.window.received(count, now)

    def awaits(self, peer: Endpoint, block: int) -> bool:
        """Whether this session was asked for the block, and it is still wanted from it."""
        giver = self._givers.get(peer)
        return giver is not None and block in giver.requests

    def arrived(self, peer: Endpoint, block: int, now: float) -> None:
        """All of a block came; it is in flight until it is `verified` or `wrong`."""
        if self._flights.lacks(block):
            self._flights.check(peer, block)
        giver = self._givers.get(peer)
        if giver is not None:
            for closed in giver.arrived(block):
                self._flights.close(peer, closed)

    def verified(self, block: int, now: float) -> list[tuple[Endpoint, int]]:
        """A block is here, from wherever.  Returns what is to be cancelled: (peer, block).

        That is what sessions are still asked for, and what they granted and were not asked for.
        """
        if not self._flights.lacks(block):
            return []
        needless = self._flights.land(block)
        for peer in needless:
            self._givers[peer].close(block)
        for peer, giver in self._givers.items():
            if block in giver.grants:
                del giver.grants[block]
                needless.append(peer)
        return [(peer, block) for peer in needless]

    def wrong(self, peer: Endpoint, block: int, now: float) -> None:
        """What came from a session was not the block; it is not asked for it again."""
        self._flights.fail(peer, block)
        self.refused(peer, (block,))

    def refused(self, peer: Endpoint, blocks: Iterable[int]) -> None:
        """A session has not got these, whatever it told; it is not asked for them again."""
        giver = self._givers.get(peer)
        if giver is None:
            return
        if not giver.counted:
            giver.counted = True
            self._rarity.add(giver.have)
        for block in blocks:
            giver.grants.pop(block, None)
            self.forgo(peer, block)
            if 0 <= block < self._total and rarity.has(giver.have, block):
                rarity.drop(giver.have, block)
                self._rarity.remove_one(block)

    def forgo(self, peer: Endpoint, block: int) -> None:
        """What a session gives of a block now is not taken; it may be asked for it again."""
        giver = self._givers.get(peer)
        if giver is not None and block in giver.requests:
            giver.close(block)
            self._flights.close(peer, block)

    def late(self, now: float) -> list[tuple[Endpoint, int]]:
        """What has become late against the rate of its own session: (peer, block).

        Others may be asked for it now; the request stays open, and whoever is first wins.  The
        session gets nothing more to do until a block of it arrives.
        """
        found = []
        for peer, giver in self._givers.items():
            for block in giver.become_late(now):
                self._flights.delay(peer, block)
                found.append((peer, block))
        return found

    # -- what to ask for

    def next(self, peer: Endpoint, now: float) -> list[int]:
        """The blocks to ask this session for now, in this order; they count as asked."""
        giver = self._givers.get(peer)
        if giver is None or not self._useful(giver):
            self._budget.forget(peer)
            return []
        room = self._budget.room(peer, self._givers, self._flights.busy)
        if room <= 0:
            return []
        blocks = self._granted(giver, room) if giver.steered else self._rarest(giver, room)
        if not blocks and not giver.steered and self._flights.all_asked:
            blocks = copies(giver, self._givers.values(), self._flights, room, now)
        for block in blocks:
            self._flights.ask(peer, block, giver.ask(block, now))
            self._next = block + 1
        return blocks

    def _useful(self, giver: Giver) -> bool:
        """Whether there may be something to ask a session for."""
        if giver.steered:
            return bool(giver.grants)
        return self._flights.all_asked or rarity.meet(self._flights.free, giver.have)

    def _rarest(self, giver: Giver, room: int) -> list[int]:
        """Free blocks that a session has: the first by chance, then the rarest.

        A lone source is asked in order, from where chance has begun: its disk likes it better.
        """
        some = rarity.common(self._flights.free, giver.have)
        some = rarity.without(some, giver.late_blocks)
        if self._order.sequential:
            return rarity.first(some, room)
        if len(self._givers) == 1 and self._next is not None:
            return rarity.first(some, room, self._next)
        chosen: list[int] = []
        if self._random_left:
            chosen = rarity.sample(some, min(room, self._random_left), self._random)
            self._random_left -= len(chosen)
            some = rarity.without(some, chosen)
        if len(some) > _MOST_REGIONS:
            some = self._random.sample(some, _MOST_REGIONS)
        for level in self._rarity.levels(some):
            if len(chosen) == room:
                break
            chosen += rarity.sample(level, room - len(chosen), self._random)
        return chosen

    def _granted(self, giver: Giver, room: int) -> list[int]:
        """Granted blocks, in the order granted.

        What others have is left to them, unless nothing else is left to ask of this session.
        """
        free = [block for block in giver.grants if rarity.has(self._flights.free, block)]
        others = [g.have for g in self._givers.values() if g is not giver and not g.steered]
        alone = rarity.outside(free, others)
        if not alone and not giver.requests:
            return free[:1]
        return alone[:room]
