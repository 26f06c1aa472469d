"""Virtual time goes by as a reactor's does."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.simnet.clock import START_SECONDS, SimClock
from tests.simnet.rig import Rig


class ClockTests(SynchronousTestCase):
    """Calls come at their time, in order, unless they are taken back or moved."""

    def setUp(self) -> None:
        self.rig = Rig(1)
        self.clock = self.rig.clock
        self.reactor = self.rig.reactors[0]
        self.called: list[tuple[float, Any]] = []

    def note(self, what: Any) -> None:
        self.called.append((self.clock.now - START_SECONDS, what))

    def run_to(self, seconds: float) -> None:
        self.clock.run(START_SECONDS + seconds)

    def test_interfaces(self) -> None:
        """It is what Twisted asks for."""
        verifyObject(IReactorTime, self.reactor)
        verifyObject(IDelayedCall, self.reactor.callLater(1, self.note, 1))

    def test_order(self) -> None:
        """By time; those of one moment in the order in which they were set."""
        for seconds, what in ((2, "c"), (1, "a"), (1, "b"), (3, "d")):
            self.reactor.callLater(seconds, self.note, what)
        self.run_to(2)
        self.assertEqual(self.called, [(1, "a"), (1, "b"), (2, "c")])
        self.assertEqual(self.reactor.seconds(), START_SECONDS + 2)
        self.assertEqual(len(self.reactor.getDelayedCalls()), 1)

    def test_taken_back(self) -> None:
        """A cancelled call does not come; it cannot be cancelled twice, or after it came."""
        call = self.reactor.callLater(1, self.note, "a")
        call.cancel()
        self.assertFalse(call.active())
        self.assertRaises(AlreadyCancelled, call.cancel)
        other = self.reactor.callLater(1, self.note, "b")
        self.run_to(5)
        self.assertEqual(self.called, [(1, "b")])
        self.assertRaises(AlreadyCalled, other.reset, 1)

    def test_moved(self) -> None:
        """A call can be moved in both directions, again and again, and comes once."""
        late = self.reactor.callLater(1, self.note, "late")
        early = self.reactor.callLater(9, self.note, "early")
        late.delay(4)
        early.reset(2)
        early.reset(1)
        early.delay(2)
        self.assertEqual(early.getTime(), START_SECONDS + 3)
        self.run_to(20)
        self.assertEqual(self.called, [(3, "early"), (5, "late")])

    def test_many_cancelled(self) -> None:
        """Calls that were cancelled do not pile up."""
        for _ in range(50):
            for _ in range(100):
                self.reactor.callLater(1_000, self.note, "never").cancel()
            self.reactor.callLater(0, self.note, "now")
            self.clock.run(self.clock.now)
        self.assertLess(len(self.clock._heap), 1_500)
        self.assertEqual(len(self.called), 50)

    def test_dead(self) -> None:
        """Nothing that a dead process was to do is done."""
        self.reactor.callLater(1, self.note, "never")
        self.reactor.die()
        self.run_to(2)
        self.assertEqual(self.called, [])

    def test_errors(self) -> None:
        """What a call raises is told, and time goes on."""
        errors: list[Exception] = []
        clock = SimClock(errors.append)
        clock.after(1, lambda: 1 / 0)
        clock.after(2, self.called.append, (2.0, "after"))
        clock.run(clock.now + 3)
        self.assertIsInstance(errors[0], ZeroDivisionError)
        self.assertEqual(self.called, [(2.0, "after")])

    def test_stop(self) -> None:
        """A run can end with the event that was waited for."""
        for number in range(5):
            self.reactor.callLater(number, self.note, number)
        self.assertTrue(self.clock.run(START_SECONDS + 9, lambda: len(self.called) == 2))
        self.assertEqual(self.clock.now, START_SECONDS + 1)
