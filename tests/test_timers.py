"""Timers: one call that can be taken back, and one that repeats whatever happens."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from peershare.timers import Alarm, Paced, Periodic


class AlarmTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.calls: list[str] = []
        self.alarm = Alarm(self.clock)

    def test_calls_once(self) -> None:
        """At its time, with its arguments, and then it is not due any more."""
        self.alarm.set(2.0, self.calls.append, "called")
        self.assertEqual(self.alarm.due, 2.0)
        self.clock.pump([1.0, 1.0, 1.0, 1.0])
        self.assertEqual(self.calls, ["called"])
        self.assertIsNone(self.alarm.due)

    def test_setting_again_replaces(self) -> None:
        """At most one call is still to come."""
        self.alarm.set(1.0, self.calls.append, "first")
        self.alarm.set(3.0, self.calls.append, "second")
        self.clock.pump([1.0] * 5)
        self.assertEqual(self.calls, ["second"])

    def test_clearing(self) -> None:
        """Nothing is called; clearing what is not set is no error."""
        self.alarm.clear()
        self.alarm.set(1.0, self.calls.append, "called")
        self.alarm.clear()
        self.alarm.clear()
        self.assertEqual((self.clock.getDelayedCalls(), self.alarm.due), ([], None))

    def test_set_from_within_its_own_call(self) -> None:
        """How a repetition is made."""

        def again() -> None:
            self.calls.append("called")
            self.alarm.set(1.0, again)

        self.alarm.set(1.0, again)
        self.clock.pump([1.0] * 3)
        self.assertEqual(len(self.calls), 3)


class PeriodicTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.calls = 0
        self.failing = False
        self.periodic = Periodic(self.clock, 5.0, self.work)

    def work(self) -> None:
        self.calls += 1
        if self.failing:
            raise RuntimeError("work")

    def test_every_interval(self) -> None:
        """The first call comes after one interval."""
        self.periodic.start()
        self.clock.pump([1.0] * 4)
        self.assertEqual(self.calls, 0)
        self.clock.pump([1.0] * 11)
        self.assertEqual(self.calls, 3)

    def test_survives_its_exceptions(self) -> None:
        """They are logged, and the next call comes."""
        self.periodic.start()
        self.failing = True
        self.clock.pump([5.0] * 2)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)
        self.failing = False
        self.clock.advance(5.0)
        self.assertEqual(self.calls, 3)

    def test_stopping(self) -> None:
        """No call any more; stopping twice is no error."""
        self.periodic.start()
        self.periodic.stop()
        self.periodic.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopped_from_within_its_own_call(self) -> None:
        """That was the last one."""
        periodic = Periodic(self.clock, 1.0, lambda: periodic.stop())
        periodic.start()
        self.clock.advance(1.0)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class PacedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.calls: list[float] = []
        self.spent = 0.0
        self.cost = 0.0
        self.paced = Paced(self.clock, 0.0, 0.25, self.call, lambda: self.spent)

    def call(self) -> None:
        self.calls.append(self.clock.seconds())
        self.spent += self.cost

    def test_many_wishes_are_one_call(self) -> None:
        """At once, and then not before the gap is over."""
        for _ in range(100):
            self.paced.ask()
            self.clock.advance(0.01)
        self.assertLess(len(self.calls), 6)

    def test_what_takes_long_is_called_less_often(self) -> None:
        """A call of 100 ms is not made again before two seconds are over."""
        self.cost = 0.1
        for _ in range(100):
            self.paced.ask()
            self.clock.advance(0.1)
        self.assertLessEqual(len(self.calls), 6)

    def test_stop(self) -> None:
        """Nothing is called that was asked for."""
        self.paced.ask()
        self.paced.stop()
        self.clock.advance(1.0)
        self.assertEqual(self.calls, [])
