"""Who meets whom, and how a lone source steers its receivers."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

from twisted.internet import error

from peershare.content.blocks import unrolled
from peershare.library.entries import ContentHandle
from peershare.serving.meter import Meter
from peershare.serving.receiver import Receiver
from peershare.serving.swarms import GATHER_SECONDS, STALLED_SECONDS, STEER_SECONDS
from peershare.wire.messages import (
    MAX_RECEIVERS,
    Cancel,
    Content,
    GetBlocks,
    Grant,
    Hello,
    Join,
    Leave,
    Open,
)
from tests.serving.world import A, B, C, Client, ServingTestCase


def granted(client: Client) -> list[int]:
    """All blocks that were granted to it so far."""
    return [block for grant in client.of(Grant) for block in unrolled(grant.blocks)]


class ReceiversTests(ServingTestCase):
    def test_those_that_can_be_dialled(self) -> None:
        """Whoever asks is told who is fetching it, where they take sessions; never himself."""
        handle, _ = self.large(3, "part", 0)
        other, _ = self.large(4, "other", 0)
        self.joined(other, "198.18.0.9", port=5_000)
        self.joined(handle, A, port=5_000)
        self.joined(handle, A, port=5_000)
        self.joined(handle, B, port=0)
        left = self.joined(handle, C, port=5_001)
        again = self.joined(handle, A, port=5_000)
        self.assertEqual(again.messages[0].receivers, ((C, 5_001),))
        last = self.joined(handle, "198.18.0.7", port=5_000)
        self.assertEqual(sorted(last.messages[0].receivers), [(A, 5_000), (C, 5_001)])
        left.send(Leave(content=handle.id))
        places = self.joined(handle).messages[0].receivers
        self.assertEqual(sorted(places), [(A, 5_000), ("198.18.0.7", 5_000)])

    def test_a_part_of_many(self) -> None:
        """At most 50, taken by chance."""
        handle, _ = self.large(3, "part", 0)
        for number in range(70):
            self.joined(handle, f"198.18.1.{number}", port=5_000, pieces=True)
        told = [self.joined(handle, pieces=True).messages[0].receivers for _ in range(2)]
        self.assertEqual([len(set(places)) for places in told], [MAX_RECEIVERS] * 2)
        self.assertNotEqual(*told)


class SteeringTests(ServingTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.alone = True

    def take(self, handle: ContentHandle, client: Client, limit: int = 1_000) -> list[int]:
        """Ask for what was granted and not asked yet; the blocks that came."""
        client.take()
        asked = getattr(client, "asked", 0)
        wanted = granted(client)[asked : asked + limit]
        client.asked = asked + len(wanted)  # type: ignore[attr-defined]
        if not wanted:
            return []
        before = len(client.blocks())
        client.send(self.asks(handle, *wanted))
        return [index for index, _ in client.blocks()[before:]]

    def test_each_block_once(self) -> None:
        """Receivers are granted other blocks each; then all is open to all.

        Those that are slow to ask at the very end may get some that another has got, too.
        """
        handle, data = self.large(100)
        clients = [self.joined(handle, host) for host in (A, B, C)]
        self.assertEqual([client.of(Content)[0].steered for client in clients], [False, True, True])
        came: Counter[int] = Counter()
        rounds = 0
        while any(not client.of(Open) for client in clients):
            for client in clients:
                came.update(self.take(handle, client))
                self.assertLessEqual(len(granted(client)) - len(client.blocks()), 64)
            self.reactor.advance(0.01)
            rounds += 1
            self.assertLess(rounds, 200)
        self.assertEqual(sorted(came), list(range(100)))
        self.assertLessEqual(came.total(), 105)
        for client in clients:
            self.assertEqual(len(client.of(Open)), 1)
            self.assertGreater(len(client.blocks()), 20)
        before = len(clients[0].blocks())
        clients[0].send(GetBlocks(content=handle.id, blocks=((0, 100),)))
        self.assertEqual(len(clients[0].blocks()), before + 100)
        self.assertEqual(len(data), handle.manifest.size)

    def test_never_alone(self) -> None:
        """A single receiver is not steered, nor are those of a content of a few blocks."""
        handle, _ = self.large(100)
        small, _ = self.large(5, "small")
        one, two = self.joined(handle, A), self.joined(small, B)
        three = self.joined(small, C)
        for client in (one, two, three):
            self.assertFalse(client.of(Content)[0].steered)
            self.assertEqual(granted(client), [])

    def test_not_while_others_have_it_all(self) -> None:
        """Nor do we steer if we are not the only source, or have not all of it."""
        part, _ = self.large(100, "part", *range(90))
        self.joined(part, A)
        self.assertFalse(self.joined(part, B).of(Content)[0].steered)
        self.alone = False
        handle, _ = self.large(99)
        self.joined(handle, A)
        self.assertFalse(self.joined(handle, B).of(Content)[0].steered)

    def test_until_others_have_it_all(self) -> None:
        """When somebody else has all of it everybody may ask for all, at once or soon."""
        for tell in (True, False):
            self.alone = True
            handle, _ = self.large(100 + tell)
            clients = [self.joined(handle, A), self.joined(handle, B)]
            self.alone = False
            if tell:
                self.serving.holders_changed()
            else:
                self.reactor.advance(STEER_SECONDS)
            for client in clients:
                self.assertEqual(len(client.take().of(Open)), 1)
            self.assertFalse(self.joined(handle, C).of(Content)[0].steered)

    def test_what_they_have_already(self) -> None:
        """It need not leave any more, whether they say so or had it from us."""
        handle, _ = self.large(100)
        first = self.joined(handle, A).send(GetBlocks(content=handle.id, blocks=((0, 20),)))
        second = self.greeted(B).send(Join(content=handle.id, have=((20, 30),)))
        came: Counter[int] = Counter()
        for _ in range(100):
            for client in (first, second):
                came.update(self.take(handle, client))
            self.reactor.advance(0.01)
        self.assertEqual(sorted(came), list(range(50, 100)))
        self.assertLessEqual(came.total(), 53)
        self.assertEqual(len(first.of(Open)), 1)

    def test_out_of_turn(self) -> None:
        """What was not granted is sent, but after what was."""
        handle, _ = self.large(100)
        first, second = self.joined(handle, A, buffer=65_536), self.joined(handle, B)
        mine = granted(first.take())
        others = granted(second.take())[:3]
        first.clear()
        first.give(self.asks(handle, *others), self.asks(handle, *mine))
        first.take()
        order = [index for index, _ in first.blocks()]
        self.assertEqual(sorted(order), sorted(mine + others))
        self.assertEqual(order[-2:], others[-2:])

    def test_a_receiver_that_leaves(self) -> None:
        """What it did not take is granted to the others."""
        for leave in (True, False):
            handle, _ = self.large(40 + leave)
            total = handle.manifest.block_count
            first, second = self.joined(handle, A), self.joined(handle, B)
            self.take(handle, first.take(), 3)
            if leave:
                first.send(Leave(content=handle.id))
            else:
                first.transport.lose(error.ConnectionLost())
            for _ in range(100):
                self.take(handle, second)
            self.assertEqual(len(second.of(Open)), 1)
            self.assertGreaterEqual(len(set(granted(second))), total - 3)

    def test_a_receiver_that_takes_nothing(self) -> None:
        """The others get its blocks after a while, and it may still ask."""
        handle, _ = self.large(40)
        idle, busy = self.joined(handle, A), self.joined(handle, B)
        waited = 0.0
        while not busy.of(Open):
            self.take(handle, busy)
            self.reactor.advance(STEER_SECONDS)
            waited += STEER_SECONDS
            self.assertLess(waited, STALLED_SECONDS + 5.0)
        self.assertEqual(sorted({index for index, _ in busy.blocks()}), list(range(40)))
        self.assertEqual(len(self.take(handle, idle)), len(granted(idle)))

    def test_what_is_taken_back(self) -> None:
        """A granted block that somebody cancels is out there: it has it from elsewhere."""
        handle, _ = self.large(40)
        first, second = self.joined(handle, A), self.joined(handle, B)
        for block in range(40):
            first.give(Cancel(content=handle.id, blocks=((block, 1),)))
        for _ in range(50):
            first.take()
            first.give(Cancel(content=handle.id, blocks=((0, 40),)))
            second.take()
            second.give(Cancel(content=handle.id, blocks=((0, 40),)))
        self.assertEqual(len(first.take().of(Open)), 1)
        self.assertEqual(first.blocks(), [])

    def test_one_seed(self) -> None:
        """The same receivers that do the same are granted the same."""
        told = []
        for _ in range(2):
            self.setUp()
            handle, _ = self.large(50)
            clients = [self.joined(handle, A), self.joined(handle, B)]
            for client in clients * 3:
                self.take(handle, client)
            told.append([granted(client) for client in clients])
            self.tearDown()
        self.assertEqual(*told)

    def test_a_swarm_that_is_over(self) -> None:
        """When all have left nothing is left of it, and the next one is a new one."""
        handle, _ = self.large(40)
        for _ in range(2):
            clients = [self.joined(handle, A), self.joined(handle, B)]
            self.assertTrue(clients[1].of(Content)[0].steered)
            for client in clients:
                client.send(Leave(content=handle.id))
            self.assertIsNone(self.serving.swarm(handle.id))
        self.assertEqual(self.reactor.getDelayedCalls()[5:], [])

    def test_news_after_leaving(self) -> None:
        """Blocks that come while somebody leaves are told to nobody."""
        handle, _ = self.large(40, "part", 0)
        client = self.joined(handle)
        self.library.add_blocks(handle, 1, 2)
        client.send(Leave(content=handle.id))
        client.clear()
        self.reactor.advance(GATHER_SECONDS)
        self.assertEqual(client.take().messages, [])


class LookTests(ServingTestCase):
    def test_a_large_block_on_a_slow_line(self) -> None:
        """It moves as long as some of what was asked for leaves, not only at its end."""
        handle, _ = self.large(3)
        session: Any = SimpleNamespace(progress=0)
        receiver = Receiver(1, session, handle, 0.0)
        moved = []
        for now, (progress, queued, shipped) in enumerate(
            ((0, 1, 0), (5, 1, 0), (9, 0, 1), (9, 0, 1), (12, 0, 0), (15, 2, 0)), 1
        ):
            session.progress = progress
            receiver.queued, receiver.shipped = queued, shipped
            receiver.look(now)
            moved.append(receiver.moved_at == now)
        self.assertEqual(moved, [False, True, True, False, False, True])


class MeterTests(ServingTestCase):
    def test_window(self) -> None:
        """Little at first; then 200 ms of the rate, within its bounds."""
        meter = Meter(0.0)
        self.assertEqual([meter.window(1 << bits) for bits in (16, 20, 22)], [2, 2, 2])
        for step in range(1, 41):
            meter.add(1_000_000, step / 10)
        self.assertAlmostEqual(meter.rate or 0, 1e7, delta=1e6)
        self.assertEqual(meter.window(1 << 16), round((meter.rate or 0) * 0.2 / 65_536))
        for step in range(41, 100):
            meter.add(100, step / 10)
        self.assertEqual(meter.window(1 << 16), 2)
        for step in range(100, 200):
            meter.add(10**9, step / 10)
        self.assertEqual(meter.window(1 << 16), 64)

    def test_greeting(self) -> None:
        """The port that others are told is the one of the hello."""
        client = self.open().send(Hello(versions=(1,), port=1_234))
        session = client.protocol._session
        assert session is not None
        self.assertEqual((session.address, session.port), (A, 1_234))
