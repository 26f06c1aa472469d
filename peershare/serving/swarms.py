"""Swarms: the receivers of each content, who is told what we get of it, and who meets whom.

A `Swarm` steers its receivers as long as nobody but us has the whole content: each is granted
other blocks, until every block has left once.  Not for: sending, nor for which block is granted to
whom (`serving.steering`).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from random import Random
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from peershare.ledger import Ledger
from peershare.library.entries import ContentHandle, Workers
from peershare.library.library import Library
from peershare.library.opened import OpenContent, OpenContents
from peershare.serving.receiver import Face, Receiver
from peershare.serving.steering import Steering
from peershare.serving.warming import Warmer
from peershare.serving.wrong import WrongBlocks
from peershare.throttle import TimeShares, TokenBucket
from peershare.timers import Alarm, Periodic
from peershare.wire.catalogue import CatalogueAnswer
from peershare.wire.messages import MAX_RECEIVERS, Hello

# Blocks that we get within this time are told together.
GATHER_SECONDS = 0.03
# How often it is looked whether steering goes well, and whether it is still of use.
STEER_SECONDS = 0.25
# A receiver that was granted blocks and takes none for so long gets no more of them.
STALLED_SECONDS = 2.0
# A content of fewer blocks has left before steering could be of use.
FEWEST_STEERED_BLOCKS = 8


# Of the processor's time so much is for the requests of one address, and of all that want more.
# What is sent pays for what it was asked with: that is limited by the network, or by the user.
SHARE_OF_TIME, BURST_SECONDS, TOGETHER = 0.05, 0.1, 0.15
PAID_SECONDS_A_BYTE = 5e-9


class OwnCatalogue(Protocol):
    """Our own catalogue, and what it was."""

    def since(self, known: str) -> CatalogueAnswer:
        """What changed since the one of this digest; all of it if that is not known."""


class Swarm:
    """The receivers of one content, from the first that joins until the last has left."""

    def __init__(
        self, reactor: Any, content: str, random: Random, is_alone: Callable[[str], bool]
    ) -> None:
        """`is_alone(content)`: whether we know of nobody else who has the whole of it."""
        self._clock: Callable[[], float] = reactor.seconds
        self._content = content
        self._random = random
        self._is_alone = is_alone
        self._receivers: dict[int, Receiver] = {}
        self._places: Counter[tuple[str, int]] = Counter()  # of the sessions of the receivers
        self._steering: Steering | None = None
        self._opened = False
        self._steered_on = Periodic(reactor, STEER_SECONDS, self._steer_on)
        self._fresh: list[int] = []
        self._told_at = float("-inf")
        self._alarm = Alarm(reactor)

    def __len__(self) -> int:
        return len(self._receivers)

    # -- coming and going

    def join(self, receiver: Receiver) -> None:
        """A receiver more; its `steered` is set, and what it is to be told comes as news."""
        self._receivers[receiver.number] = receiver
        self._places[receiver.session.address, receiver.session.port] += 1
        if self._steering is not None:
            self._steer(self._steering, receiver)
        elif self._should_steer(receiver.handle):
            steering = self._steering = Steering(receiver.handle.manifest.block_count, self._random)
            for other in self._receivers.values():
                self._steer(steering, other)
            self._steered_on.start()
        self._grant_all()

    def leave(self, receiver: Receiver) -> None:
        """A receiver less; may be called twice."""
        if self._receivers.pop(receiver.number, None) is None:
            return
        place = receiver.session.address, receiver.session.port
        self._places[place] -= 1
        if not self._places[place]:
            del self._places[place]
        receiver.forget_news()
        receiver.steered = False
        receiver.turn.clear()
        if self._steering is not None:
            self._steering.left(receiver.number)
            self._grant_all()
        if not self._receivers:
            self._alarm.clear()
            self._steered_on.stop()

    def others(self, receiver: Receiver) -> tuple[tuple[str, int], ...]:
        """Some of those who are fetching it too and can be dialled: (address, port)."""
        own = (receiver.session.address, receiver.session.port)
        there = [place for place in self._places if place[1] and place != own]
        return tuple(self._random.sample(there, min(MAX_RECEIVERS, len(there))))

    # -- what we get

    def came(self, blocks: Sequence[int]) -> None:
        """We have these blocks now, too: tell everybody, with those that come meanwhile."""
        self._fresh += blocks
        if self._alarm.due is None:
            since = self._clock() - self._told_at
            self._alarm.set(max(0.0, GATHER_SECONDS - since), self._tell)

    def _tell(self) -> None:
        fresh, self._fresh = self._fresh, []
        self._told_at = self._clock()
        for receiver in tuple(self._receivers.values()):
            receiver.fresh += fresh
            receiver.session.news(receiver)

    # -- steering

    def asked(self, receiver: Receiver, block: int) -> bool:
        """It asks for a block; False if that is not for it now, and has to wait for others."""
        if self._steering is None:
            return True
        self._steering.asked(receiver.number, block)
        return block in receiver.turn

    def left(self, receiver: Receiver, block: int) -> None:
        """A block has left to it."""
        receiver.has.add(block)
        receiver.turn.pop(block, None)
        if self._steering is not None:
            receiver.moved_at = self._clock()
            self._steering.sent(receiver.number, block)
            self._grant(receiver)

    def declined(self, receiver: Receiver, blocks: Iterable[int]) -> None:
        """It has taken back that it wants these: it has them from elsewhere."""
        for block in sorted(blocks):
            receiver.turn.pop(block, None)
            if self._steering is not None:
                self._steering.declined(receiver.number, block)
        self._grant(receiver)

    def look_around(self) -> None:
        """Somebody else may have the whole content now; then everybody asks whom he likes."""
        if self._steering is not None and not self._is_alone(self._content):
            self._open()

    def _steer_on(self) -> None:
        """Give to others what a receiver does not take."""
        self.look_around()
        now = self._clock()
        for receiver in self._receivers.values():
            receiver.look(now)
            waits = bool(receiver.turn) and now - receiver.moved_at >= STALLED_SECONDS
            if waits and self._steering is not None:
                self._steering.stalled(receiver.number)
        self._grant_all()

    def _should_steer(self, handle: ContentHandle) -> bool:
        return (
            not self._opened
            and handle.held is None
            and len(self._receivers) > 1
            and handle.manifest.block_count >= FEWEST_STEERED_BLOCKS
            and self._is_alone(self._content)
        )

    def _steer(self, steering: Steering, receiver: Receiver) -> None:
        receiver.steered = True
        receiver.moved_at = self._clock()
        steering.joined(receiver.number, receiver.has)

    def _grant_all(self) -> None:
        for receiver in tuple(self._receivers.values()):
            self._grant(receiver)

    def _grant(self, receiver: Receiver) -> None:
        """Fill what a receiver may ask for up to its window; or let all ask for all."""
        steering = self._steering
        if steering is None:
            return
        if steering.open:
            self._open()
            return
        window = receiver.session.window(receiver.handle.manifest.block_size)
        granted = steering.grants(receiver.number, window)
        if granted:
            if not receiver.turn:
                receiver.moved_at = self._clock()
            receiver.turn.update(dict.fromkeys(granted))
            receiver.granted += granted
            receiver.session.news(receiver)

    def _open(self) -> None:
        self._steering = None
        self._opened = True
        self._steered_on.stop()
        for receiver in tuple(self._receivers.values()):
            receiver.steered = False
            receiver.turn.clear()
            receiver.granted.clear()
            receiver.opened = True
            receiver.session.news(receiver)


class Serving:
    """What all native sessions share: the swarms, what is open, and who we are."""

    def __init__(
        self,
        reactor: Any,
        library: Library,
        ledger: Ledger,
        bucket: TokenBucket,
        workers: Workers,
        random: Random,
        hello: Callable[[str], Hello],
        catalogue: OwnCatalogue,
        is_alone: Callable[[str], bool],
        met: Callable[[str, str, int], None],
        cpu: Callable[[], float] = time.thread_time,
    ) -> None:
        """`hello(address)` is ours for a peer there; `is_alone(content)`: nobody else is known to
        have it whole.

        `met(content, address, port)` is told who wants a content, so that whoever fetches it
        here, too, can turn to them.
        """
        self.reactor = reactor
        self.library = library
        self.ledger = ledger
        self.bucket = bucket
        self.hello = hello
        self.catalogue = catalogue
        self.warmer = Warmer(workers)
        self.contents = OpenContents()
        self.wrong = WrongBlocks(reactor, library, workers)
        self.cpu = cpu
        self.shares = TimeShares(SHARE_OF_TIME, BURST_SECONDS, TOGETHER)
        self._workers = workers
        self._random = random
        self._is_alone = is_alone
        self._met = met
        self._swarms: dict[str, Swarm] = {}
        self._receivers = count(1)
        library.on_blocks(self.came)

    def open(self, handle: ContentHandle) -> Deferred[OpenContent]:
        """Have a worker open a content; fires with it, to be released.

        Fails with `OSError`, `FileChangedError`.
        """
        opening: Deferred[OpenContent] = self._workers(OpenContent, handle)
        opening.addCallback(self.contents.take)
        return opening

    def receiver(self, session: Face, handle: ContentHandle) -> Receiver:
        """A session wants something of a content."""
        return Receiver(next(self._receivers), session, handle, self.reactor.seconds())

    def join(self, receiver: Receiver) -> Swarm:
        """It wants to be told what we get of it, too; its swarm."""
        content = receiver.handle.id
        swarm = self._swarms.get(content)
        if swarm is None:
            swarm = self._swarms[content] = Swarm(
                self.reactor, content, self._random, self._is_alone
            )
        swarm.join(receiver)
        self._met(content, receiver.session.address, receiver.session.port)
        return swarm

    def leave(self, receiver: Receiver) -> None:
        """It wants nothing more of it; may be called twice."""
        swarm = self._swarms.get(receiver.handle.id)
        if swarm is not None:
            swarm.leave(receiver)
            if not swarm:
                del self._swarms[receiver.handle.id]

    def swarm(self, content: str) -> Swarm | None:
        """Its receivers, if it has any."""
        return self._swarms.get(content)

    def came(self, content: str, blocks: Sequence[int]) -> None:
        """We have blocks of a content now."""
        swarm = self._swarms.get(content)
        if swarm is not None:
            swarm.came(blocks)

    def holders_changed(self) -> None:
        """Others may have got something whole, or be gone."""
        for swarm in tuple(self._swarms.values()):
            swarm.look_around()
