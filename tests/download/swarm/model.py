"""A model of a swarm: the real schedulers and steering, on links of bytes and seconds alone.

Each peer has a link with a rate for each direction.  An uplink serves its sessions in turn, a
segment at a time; a downlink takes segments in the order in which they come; a session has at
most `pipe` bytes on its way, as a TCP connection has.  Blocks are right, peers are honest; what a
peer gets it tells after a while, for several blocks at once.  One seed gives one run, bit for bit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush
from itertools import count
from random import Random

from peershare.content.blocks import BlockSet
from peershare.download.swarm.scheduler import Scheduler
from peershare.serving.steering import Steering

KIB, MIB = 1 << 10, 1 << 20
TICK_SECONDS = 0.25
SEED = 0


@dataclass(eq=False)
class Session:
    """One connection: blocks go from `giver` to `taker`."""

    giver: Peer
    taker: Peer
    queue: deque[int] = field(default_factory=deque)
    begun: int | None = None  # the block on its way
    unsent: int = 0
    on_way: int = 0
    in_turn: bool = False
    over: bool = False
    given: int = 0


class Peer:
    """One peer: what it has, its two links, and its sessions by the number of the other."""

    def __init__(self, number: int, total: int, up: float, down: float) -> None:
        self.number = number
        self.name = str(number)
        self.up, self.down = up, down
        self.have = BlockSet(total)
        self.scheduler: Scheduler | None = None
        self.gets: dict[int, Session] = {}
        self.gives: dict[int, Session] = {}
        self.turn: deque[Session] = deque()
        self.sending = False
        self.down_free_at = 0.0
        self.untold: list[int] = []
        self.uploaded = 0  # blocks, sent to their ends
        self.finished_at: float | None = None
        self.gone = False


class Swarm:
    """Peer 0 has everything; the others want it and all know each other from the start."""

    def __init__(
        self,
        receivers: int,
        rate: float,
        blocks: int,
        block_size: int,
        seed: int,
        *,
        steered: bool = True,
        have_seconds: float = 0.05,
        latency: float = 0.001,
        rates: dict[int, tuple[float, float]] | None = None,
        pipe: int = 128 * KIB,
        segment: int = 16 * KIB,
    ) -> None:
        """`rate` is bytes a second each way; `rates` are those of peers that differ, (up, down)."""
        self.now = 0.0
        self.total, self.block_size, self.rate = blocks, block_size, rate
        self.latency, self.have_seconds = latency, have_seconds
        self.pipe, self.segment = pipe, segment
        self.random = Random(seed)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = count()
        self.peers = [
            Peer(number, blocks, *(rates or {}).get(number, (rate, rate)))
            for number in range(receivers + 1)
        ]
        self.steering = Steering(blocks, self.random) if steered else None
        for block in range(blocks):
            self.peers[SEED].have.add(block)
        for peer in self.peers[1:]:
            chance = Random(self.random.random())
            peer.scheduler = Scheduler(blocks, block_size, peer.have, chance)
            for other in self.peers:
                if other is not peer:
                    self.connect(peer, other)
            self.at(self.random.random() * TICK_SECONDS, partial(self._tick, peer))
        self._grant_all()

    # -- events

    def at(self, delay: float, call: Callable[[], None]) -> None:
        """Call later."""
        heappush(self._events, (self.now + delay, next(self._serial), call))

    def run(self, limit: float = 1e9) -> float:
        """Until everybody who stayed has everything; when that was.  Raises if it never is."""
        while any(peer.finished_at is None and not peer.gone for peer in self.peers[1:]):
            if not self._events or self.now > limit:
                raise AssertionError(f"not done by {self.now:.3f} s: {self.lacking()}")
            self.now, _, call = heappop(self._events)
            call()
        return max(peer.finished_at or 0.0 for peer in self.peers)

    def lacking(self) -> dict[int, int]:
        """How many blocks whoever stayed lacks."""
        return {
            peer.number: self.total - len(peer.have)
            for peer in self.peers
            if not peer.gone and not peer.have.complete
        }

    @property
    def bound(self) -> float:
        """Seconds that nobody can do without: everything, once, over one link."""
        return self.total * self.block_size / self.rate

    @property
    def seed_copies(self) -> float:
        """How often the source has given each block, on average."""
        return self.peers[SEED].uploaded / self.total

    # -- sessions

    def connect(self, taker: Peer, giver: Peer) -> None:
        """A session, from the moment on that its beginning is known."""
        session = Session(giver, taker)
        taker.gets[giver.number] = giver.gives[taker.number] = session
        steering = self.steering if giver.number == SEED else None
        have = None if giver.number == SEED else giver.have.copy()
        self._scheduler(taker).joined(giver.name, have, steering is not None, self.now)
        if steering is not None:
            steering.joined(taker.number, ())
        self._ask(taker, giver)

    def leave(self, number: int) -> None:
        """A peer is gone, and its sessions with it."""
        gone = self.peers[number]
        gone.gone = True
        for session in [*gone.gets.values(), *gone.gives.values()]:
            session.over = True
            session.queue.clear()
        for other in self.peers:
            if other.gets.pop(number, None) is not None:
                self._scheduler(other).left(gone.name, self.now)
                self._ask_all(other)
            other.gives.pop(number, None)
        gone.gets.clear()
        gone.gives.clear()
        if self.steering is not None:
            self.steering.left(number)
            self._grant_all()

    # -- asking

    def _scheduler(self, peer: Peer) -> Scheduler:
        assert peer.scheduler is not None
        return peer.scheduler

    def _ask(self, taker: Peer, giver: Peer) -> None:
        session = taker.gets.get(giver.number)
        if session is not None and not taker.gone:
            blocks = self._scheduler(taker).next(giver.name, self.now)
            if blocks:
                self.at(self.latency, partial(self._requested, session, blocks))

    def _ask_all(self, taker: Peer) -> None:
        for number in tuple(taker.gets):
            self._ask(taker, self.peers[number])

    def _tick(self, peer: Peer) -> None:
        if not peer.gone:
            self._scheduler(peer).late(self.now)
            self._ask_all(peer)
            if peer.finished_at is None:
                self.at(TICK_SECONDS, partial(self._tick, peer))

    def _requested(self, session: Session, blocks: Sequence[int]) -> None:
        if session.over:
            return
        session.queue.extend(blocks)
        if self.steering is not None and session.giver.number == SEED:
            for block in blocks:
                self.steering.asked(session.taker.number, block)
        self._wake(session)

    def _cancelled(self, session: Session, block: int) -> None:
        if block in session.queue:
            session.queue.remove(block)
        if self.steering is not None and session.giver.number == SEED:
            self.steering.declined(session.taker.number, block)
            self._grant(session)

    # -- giving

    def _wake(self, session: Session) -> None:
        ready = (session.queue or session.unsent) and session.on_way < self.pipe
        if ready and not session.in_turn and not session.over:
            session.in_turn = True
            session.giver.turn.append(session)
            if not session.giver.sending:
                self._send(session.giver)

    def _send(self, giver: Peer) -> None:
        """The next segment of whose turn it is."""
        giver.sending = False
        while giver.turn:
            session = giver.turn.popleft()
            session.in_turn = False
            if session.over or not (session.queue or session.unsent):
                continue
            if not session.unsent:
                session.begun, session.unsent = session.queue.popleft(), self.block_size
            size = min(self.segment, session.unsent)
            session.unsent -= size
            session.on_way += size
            giver.sending = True
            done = session.begun if not session.unsent else None
            self.at(size / giver.up, partial(self._sent, session, size, done))
            return

    def _sent(self, session: Session, size: int, done: int | None) -> None:
        giver, taker = session.giver, session.taker
        if done is not None:
            giver.uploaded += 1
            session.given += 1
            if self.steering is not None and giver.number == SEED and not session.over:
                self.steering.sent(taker.number, done)
                self._grant(session)
        begins = max(self.now + self.latency, taker.down_free_at)
        taker.down_free_at = begins + size / taker.down
        self.at(taker.down_free_at - self.now, partial(self._came, session, size, done))
        self._wake(session)
        self._send(giver)

    # -- getting

    def _came(self, session: Session, size: int, done: int | None) -> None:
        session.on_way -= size
        giver, taker = session.giver, session.taker
        if session.over or taker.gone:
            return
        self._wake(session)
        scheduler = self._scheduler(taker)
        scheduler.received(giver.name, size, self.now)
        if done is None:
            return
        scheduler.arrived(giver.name, done, self.now)
        for name, block in scheduler.verified(done, self.now):
            other = taker.gets[int(name)]
            self.at(self.latency, partial(self._cancelled, other, block))
            self._ask(taker, other.giver)
        if taker.have.add(done):
            if not taker.untold:
                self.at(self.have_seconds, partial(self._tell, taker))
            taker.untold.append(done)
            if taker.have.complete:
                taker.finished_at = self.now
        self._ask(taker, giver)

    def _tell(self, peer: Peer) -> None:
        blocks, peer.untold = peer.untold, []
        for number in tuple(peer.gives):
            self.at(self.latency, partial(self._told, self.peers[number], peer, blocks))

    def _told(self, taker: Peer, giver: Peer, blocks: Sequence[int]) -> None:
        if giver.number in taker.gets:
            self._scheduler(taker).had(giver.name, blocks)
            self._ask(taker, giver)

    # -- steering

    def _grant_all(self) -> None:
        for session in tuple(self.peers[SEED].gives.values()):
            self._grant(session)

    def _grant(self, session: Session) -> None:
        steering = self.steering
        if steering is None or session.over:
            return
        if steering.open:
            self.steering = None
            for other in self.peers[SEED].gives.values():
                self.at(self.latency, partial(self._opened, other))
            return
        rate = session.given * self.block_size / self.now if self.now > 0.5 else None
        wanted = MIB if rate is None else 0.2 * rate
        window = max(2, min(64, round(wanted / self.block_size)))
        blocks = steering.grants(session.taker.number, window)
        if blocks:
            self.at(self.latency, partial(self._granted, session, blocks))

    def _granted(self, session: Session, blocks: Sequence[int]) -> None:
        if session.over:
            return
        scheduler = self._scheduler(session.taker)
        for block in scheduler.granted(session.giver.name, blocks):
            self.at(self.latency, partial(self._cancelled, session, block))
        self._ask(session.taker, session.giver)

    def _opened(self, session: Session) -> None:
        if not session.over:
            self._scheduler(session.taker).opened(session.giver.name)
            self._ask(session.taker, session.giver)
