"""Tests of `peershare.timers`."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial import unittest

from peershare.timers import Alarm, Periodic


class AlarmTests(unittest.TestCase):
    """At most one call is to come."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.calls: list[str] = []
        self.alarm = Alarm(self.clock)

    def test_rings_once(self) -> None:
        """It calls with the arguments, once, and is not due any more."""
        self.alarm.set(2, self.calls.append, "ring")
        self.assertEqual(self.alarm.due, 2)
        self.clock.pump([1, 1, 10])
        self.assertEqual(self.calls, ["ring"])
        self.assertIsNone(self.alarm.due)

    def test_set_again(self) -> None:
        """A new call replaces the old one."""
        self.alarm.set(2, self.calls.append, "old")
        self.alarm.set(3, self.calls.append, "new")
        self.clock.advance(10)
        self.assertEqual(self.calls, ["new"])

    def test_cleared(self) -> None:
        """A cleared one never rings; clearing twice, or after it rang, is nothing."""
        self.alarm.set(2, self.calls.append, "never")
        self.alarm.clear()
        self.alarm.clear()
        self.clock.advance(10)
        self.assertEqual(self.calls, [])

    def test_set_from_its_own_call(self) -> None:
        """The call may set the alarm anew."""

        def again() -> None:
            self.calls.append("again")
            if len(self.calls) < 3:
                self.alarm.set(1, again)

        self.alarm.set(1, again)
        self.clock.pump([1] * 5)
        self.assertEqual(self.calls, ["again"] * 3)


class PeriodicTests(unittest.TestCase):
    """A repeated call survives its exceptions."""

    def test_repeats_until_stopped(self) -> None:
        """It calls after each interval, first after one, and no more once stopped."""
        clock, calls = Clock(), []
        periodic = Periodic(clock, 5, lambda: calls.append(clock.seconds()))
        periodic.start()
        clock.pump([5, 5, 5])
        periodic.stop()
        periodic.stop()
        clock.advance(50)
        self.assertEqual(calls, [5, 10, 15])

    def test_survives_exceptions(self) -> None:
        """An exception is logged and the next call comes all the same."""
        clock, calls = Clock(), []

        def work() -> None:
            calls.append(1)
            raise OSError("network is unreachable")

        periodic = Periodic(clock, 1, work)
        periodic.start()
        clock.pump([1, 1, 1])
        self.assertEqual(len(calls), 3)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 3)
        periodic.stop()
