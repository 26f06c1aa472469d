"""Chunk_Announcer: what goes out, when, to where, and that nothing ends it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from peershare.announcer import (
    ANSWER_GAP_SECONDS,
    MAX_CYCLE_BYTES,
    Announcer,
    AnnouncerProtocol,
    count_names,
    plan_cycles,
)
from peershare.links import Link
from tests.fakes import WALL_START, FakeReactor, FakeUdpPort, link

INTERVAL = 60.0
FOREST = tuple(f"forest_{n}" for n in range(1, 6))


def files(count: int, length: int = 12) -> list[tuple[str, ...]]:
    """The names of so many files, each of this length."""
    return [tuple(f"{i:0{length}d}_{n}" for n in range(1, 6)) for i in range(count)]


class Announcing(SynchronousTestCase):
    """An announcer with one socket; `sent` are the datagrams with the moments they went."""

    interval = INTERVAL

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.groups: Iterable[Sequence[str]] | Exception = [FOREST]
        self.announcer = Announcer(
            self.reactor, self.interval, self.read_groups, self.wall_clock, Random(5)
        )
        self.link = link()
        self.socket = self.use(self.link)
        self.sent: list[tuple[float, bytes]] = []
        self.seen = 0

    def read_groups(self) -> Iterable[Sequence[str]]:
        if isinstance(self.groups, Exception):
            raise self.groups
        return self.groups

    def wall_clock(self) -> float:
        return WALL_START + self.reactor.seconds()

    def use(self, own: Link) -> FakeUdpPort:
        protocol = AnnouncerProtocol(self.reactor, own, 5001, lambda datagram, source: False)
        self.announcer.use(own, protocol)
        return self.reactor.udp_ports[-1]

    def run_for(self, seconds: float, step: float = 0.01) -> list[float]:
        """Let time go by; at which seconds since its begin something went out."""
        begin = self.reactor.seconds()
        moments = []
        for turn in range(round(seconds / step)):
            self.reactor.advance(step)
            if len(self.socket.sent) > self.seen:
                self.seen = len(self.socket.sent)
                moments.append(round((turn + 1) * step, 2))
        assert abs(self.reactor.seconds() - begin - seconds) < step
        return moments

    def assert_moments(self, moments: list[float], expected: list[float]) -> None:
        """These moments, but for a turn of the clock."""
        self.assertEqual(len(moments), len(expected), moments)
        for moment, wanted in zip(moments, expected, strict=True):
            self.assertTrue(0 <= moment - wanted < 0.03, moments)

    def started(self) -> None:
        """Past the beginning: nothing but the interval is due."""
        self.announcer.startService()
        self.run_for(3.0)


class ScheduleTests(Announcing):
    def test_at_the_start(self) -> None:
        """At once, after half a second, after two: datagrams get lost."""
        self.announcer.startService()
        self.assert_moments(self.run_for(10.0), [0, 0.5, 2.0])

    def test_what_goes_out(self) -> None:
        """`chunks` alone, the five names together, to the broadcast address on UDP 5001."""
        self.announcer.startService()
        self.reactor.advance(0)
        ((datagram, address, port),) = self.socket.sent
        self.assertEqual(json.loads(datagram), {"chunks": list(FOREST)})
        self.assertEqual((address, port), ("198.18.0.255", 5001))

    def test_every_interval_a_little_early(self) -> None:
        """Every 54 to 60 s: jitter only shortens, so that all is repeated within 120 s."""
        self.started()
        moments = self.run_for(600.0, 0.1)
        gaps = [b - a for a, b in itertools.pairwise(moments)]
        self.assertEqual(len(gaps), 9)
        for gap in gaps:
            self.assertTrue(53.9 <= gap <= 60.1, gaps)
        self.assertGreater(len({round(gap) for gap in gaps}), 1, "there is jitter")

    def test_a_change_is_told_soon(self) -> None:
        """Several changes are one announcement, and the next one waits for two seconds."""
        self.started()
        self.announcer.shares_changed()
        self.announcer.shares_changed()
        self.assert_moments(self.run_for(1.0), [0.1])
        self.announcer.shares_changed()
        self.assert_moments(self.run_for(3.0), [1.1])

    def test_a_newcomer_is_answered_within_a_tenth_of_a_second(self) -> None:
        """The next cycle is brought forward for it."""
        self.started()
        self.announcer.newcomer_heard()
        (moment,) = self.run_for(5.0)
        self.assertLessEqual(moment, 0.11)

    def test_many_newcomers_are_answered_once_in_ten_seconds(self) -> None:
        """A flood of new addresses is no flood of announcements; the last one is not forgotten."""
        self.started()
        moments = []
        for _ in range(60):
            self.announcer.newcomer_heard()
            moments += [round(self.reactor.seconds() + m, 2) for m in self.run_for(0.5)]
        gaps = [b - a for a, b in itertools.pairwise(moments)]
        self.assertTrue(2 <= len(gaps) <= 3, gaps)
        for gap in gaps:
            self.assertGreaterEqual(gap, ANSWER_GAP_SECONDS - 0.6)

    def test_nothing_before_the_start_and_nothing_after_the_end(self) -> None:
        """Changes and newcomers count while the service runs; then every timer is gone."""
        self.announcer.shares_changed()
        self.announcer.newcomer_heard()
        self.assertEqual(self.run_for(1.0), [])
        self.started()
        self.announcer.newcomer_heard()
        self.successResultOf(self.announcer.stopService())
        self.announcer.shares_changed()
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual(self.reactor.udp_ports, [])

    def test_nothing_to_tell_sends_nothing(self) -> None:
        """Never an empty list: that breaks listeners."""
        self.groups = []
        self.announcer.startService()
        self.assertEqual(self.run_for(100.0, 0.1), [])
        self.assertIsNone(self.announcer.last_announced_at)

    def test_last_announced(self) -> None:
        """The wall clock's time of the last datagram that went out, and how many names it told."""
        self.announcer.startService()
        self.run_for(3.0)
        told_at = self.announcer.last_announced_at
        assert told_at is not None
        self.assertAlmostEqual(told_at, self.wall_clock() - 1.0, places=1)
        self.assertEqual(self.announcer.announced_names, 5)


class TroubleTests(Announcing):
    def cycles(self) -> int:
        """How many announcements go out in five minutes."""
        return len(self.run_for(5 * INTERVAL, 0.1))

    def test_a_network_that_is_down(self) -> None:
        """ENETUNREACH for a while does not end announcing; it is a problem as long as it lasts."""
        self.socket.failing = OSError(101, "Network is unreachable")
        self.started()
        self.assertEqual(self.cycles(), 0)
        self.assertIn("Network is unreachable", self.announcer.problems[0])
        self.assertIsNone(self.announcer.last_announced_at)
        self.socket.failing = None
        self.assertGreaterEqual(self.cycles(), 5)
        self.assertEqual(self.announcer.problems, ())

    def test_a_problem_is_logged_once(self) -> None:
        """Not with every datagram; and again only after it was over."""
        log = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        both = link("198.18.0.9/24", "198.18.0.255", "198.18.1.255")
        socket = self.use(both)
        socket.failing = OSError(101, "Network is unreachable")
        socket.failing_addresses = {"198.18.1.255"}
        self.groups = files(100)
        self.started()
        self.run_for(200.0, 0.1)
        self.assertGreater(len(socket.sent), 50, "the other address is not concerned")
        self.assertEqual(len([e for e in log if "unreachable" in str(e.get("problem"))]), 1)
        self.assertEqual(len(self.announcer.problems), 1)

    def test_whatever_goes_wrong_the_next_cycle_comes(self) -> None:
        """An exception from the library is logged, and announcing goes on."""
        self.groups = RuntimeError("groups")
        self.started()
        self.assertEqual(self.cycles(), 0)
        self.assertGreaterEqual(len(self.flushLoggedErrors(RuntimeError)), 8)
        self.groups = [FOREST]
        self.assertGreaterEqual(self.cycles(), 5)

    def test_an_unforeseen_error_while_sending(self) -> None:
        """Neither the first datagram of a cycle nor a later one takes the others with it."""
        self.groups = files(100)
        self.announcer.startService()
        self.run_for(0.02)
        before = len(self.socket.sent)
        self.assertTrue(0 < before < 6)
        self.socket.failing = RuntimeError("send")
        self.run_for(0.01)
        self.socket.failing = None
        self.run_for(0.3)
        self.assertGreater(len(self.socket.sent), before + 2)
        self.assertGreaterEqual(self.cycles(), 5)

    def test_a_name_that_does_not_fit(self) -> None:
        """The library refuses such names; should one come, the next cycle comes too."""
        self.groups = [("x" * 2_000,)]
        self.started()
        self.assertGreaterEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.groups = [FOREST]
        self.assertGreaterEqual(self.cycles(), 5)

    def test_a_muted_link(self) -> None:
        """Where classic peers could not fetch, nothing is announced, and it is said why."""
        (socket,) = self.announcer._sockets.values()
        socket.muted = "TCP port 5000 is taken"
        self.started()
        self.assertEqual(self.cycles(), 0)
        self.assertEqual(self.announcer.problems, ("TCP port 5000 is taken",))
        self.assertFalse(self.announcer.announcing)
        socket.muted = ""
        self.assertGreaterEqual(self.cycles(), 5)
        self.assertTrue(self.announcer.announcing)


class LinkTests(Announcing):
    def test_each_link_tells_on_its_own_network(self) -> None:
        """From each own address to that network's broadcast address."""
        other = self.use(link("198.18.7.1/24"))
        self.started()
        self.assertEqual({address for _, address, _ in self.socket.sent}, {"198.18.0.255"})
        self.assertEqual({address for _, address, _ in other.sent}, {"198.18.7.255"})

    def test_a_link_that_comes_is_announced_on_soon(self) -> None:
        """A network that was plugged in is told within a moment."""
        self.started()
        other = self.use(link("198.18.7.1/24"))
        self.run_for(0.2)
        self.assertEqual(len(other.sent), 1)

    def test_a_link_that_goes(self) -> None:
        """Its socket is closed; the others go on."""
        self.started()
        other = self.use(link("198.18.7.1/24"))
        self.successResultOf(self.announcer.drop(self.link))
        self.assertEqual(self.reactor.udp_ports, [other])
        self.run_for(60.0, 0.1)
        self.assertGreaterEqual(len(other.sent), 2)

    def test_what_is_sent_to_our_address(self) -> None:
        """It is handed on with its source; after a flood the socket rests for a moment."""
        heard: list[tuple[bytes, str]] = []
        flood = False

        def hear(datagram: bytes, source: str) -> bool:
            heard.append((datagram, source))
            return flood

        AnnouncerProtocol(self.reactor, link("198.18.7.1/24"), 5001, hear).open()
        socket = self.reactor.udp_ports[-1]
        socket.hear(b"one", "198.18.7.9")
        self.assertEqual(heard, [(b"one", "198.18.7.9")])
        self.assertEqual(socket.events, [])
        flood = True
        socket.hear(b"two", "198.18.7.9")
        self.assertEqual((socket.events, socket.maxThroughput), (["stop reading"], 0))
        self.reactor.advance(0.1)
        self.assertEqual(socket.events, ["stop reading", "start reading"])
        self.assertGreater(socket.maxThroughput, 0)


class RotationTests(Announcing):
    def datagrams(self) -> list[bytes]:
        return [datagram for datagram, _, _ in self.socket.sent]

    def names(self, datagrams: list[bytes]) -> set[str]:
        return {name for datagram in datagrams for name in json.loads(datagram)["chunks"]}

    def test_a_large_folder_is_paced(self) -> None:
        """Several datagrams, one after another, not in one burst; each 1,024 bytes at most."""
        self.groups = files(300)
        self.announcer.startService()
        moments = self.run_for(0.45)
        self.assertGreater(len(moments), 15)
        self.assertEqual(len(self.names(self.datagrams())), 1_500)
        self.assertLessEqual(max(map(len, self.datagrams())), 1_024)

    def test_at_most_64_kib_a_cycle_and_all_within_two(self) -> None:
        """What does not fit into one cycle is told in the next: everything within 120 s."""
        self.groups = files(1_000)
        self.started()
        self.socket.sent.clear()
        self.run_for(60.0, 0.005)
        self.assertLessEqual(sum(map(len, self.datagrams())), MAX_CYCLE_BYTES)
        self.run_for(58.0, 0.005)
        self.assertEqual(len(self.names(self.datagrams())), 5_000)

    def test_a_cycle_that_is_cut_short_is_continued(self) -> None:
        """A change in the middle of a cycle does not leave out what it had not told yet."""
        self.groups = files(1_000)
        self.started()
        self.socket.sent.clear()
        self.announcer.newcomer_heard()
        self.reactor.pump([0.005] * 40)
        self.announcer.shares_changed()
        self.run_for(2.0, 0.005)
        self.assertEqual(len(self.names(self.datagrams())), 5_000)

    def test_what_is_left_out_is_said_once(self) -> None:
        """More than 64 KiB a minute cannot be told: how many files, in one line."""
        log = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        self.groups = files(3_000)
        self.started()
        self.run_for(300.0, 0.1)
        counts = [event["count"] for event in log if "count" in event]
        self.assertEqual(len(counts), 1)
        self.assertEqual(self.announcer.announced_names, 5 * (3_000 - counts[0]))
        self.groups = [FOREST]
        self.run_for(60.0, 0.1)
        self.assertEqual([e["count"] for e in log if "count" in e], counts)


class LongIntervalTests(Announcing):
    interval = 300.0

    def test_one_cycle_must_do(self) -> None:
        """With an interval over 60 s there is one cycle in 120 s: 64 KiB are all."""
        self.groups = files(1_000)
        self.started()
        told = self.announcer.announced_names
        self.assertTrue(3_000 < told < 4_000, told)


class PlanTests(SynchronousTestCase):
    @given(
        st.lists(st.integers(1, 120), max_size=400),
        st.sampled_from([1.0, 30.0, 60.0, 90.0, 120.0, 600.0]),
    )
    def test_told_and_left_out_are_everything(self, lengths: list[int], interval: float) -> None:
        """Whatever the names, each file is told whole and in order, or counted as left out."""
        groups = [
            tuple(f"{i}{'x' * length}_{n}" for n in range(1, 6)) for i, length in enumerate(lengths)
        ]
        datagrams, left_out = plan_cycles(groups, interval)
        told = [name for datagram in datagrams for name in json.loads(datagram)["chunks"]]
        kept = groups[: len(groups) - left_out]
        self.assertEqual(told, [name for group in kept for name in group])
        self.assertEqual(count_names(datagrams), len(told))
        cycles = 2 if interval <= 60 else 1
        self.assertLessEqual(sum(map(len, datagrams)), cycles * MAX_CYCLE_BYTES)
