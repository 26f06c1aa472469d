"""Metering: rates of a second, of a peer, and how late timers are."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from peershare.metering import SAMPLES, Metering, Totals

A, B = "198.18.0.2", "198.18.0.3"


class MeteringTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.totals = Totals()
        self.sampled = 0
        self.metering = Metering(self.clock, lambda: self.totals, self.count)
        self.metering.start()
        self.addCleanup(self.metering.stop)

    def count(self) -> None:
        self.sampled += 1

    def second(self) -> None:
        self.clock.pump([0.25] * 4)

    def test_one_pair_a_second(self) -> None:
        """Download and upload, oldest first."""
        self.assertEqual(self.metering.rates, ())
        self.totals = Totals(downloaded=1_000, uploaded=10)
        self.second()
        self.totals = Totals(downloaded=4_000, uploaded=10)
        self.second()
        self.assertEqual(self.metering.rates, ((1_000.0, 10.0), (3_000.0, 0.0)))
        self.assertEqual(self.sampled, 2)

    def test_the_last_minute(self) -> None:
        """What is older is forgotten."""
        for number in range(SAMPLES + 5):
            self.totals = Totals(downloaded=number * number)
            self.second()
        self.assertEqual(len(self.metering.rates), SAMPLES)
        self.assertEqual(self.metering.rates[-1][0], 2 * (SAMPLES + 5) - 3)

    def test_of_a_peer(self) -> None:
        """Over a few seconds, and nothing once nothing has come for as long."""
        self.assertEqual(self.metering.peer(A), (0.0, 0.0))
        for number in (1, 2, 3):
            self.totals = Totals(given={A: 300 * number}, taken={B: 30 * number})
            self.second()
        self.assertEqual(self.metering.peer(A), (300.0, 0.0))
        self.assertEqual(self.metering.peer(B), (0.0, 30.0))
        for _ in range(3):
            self.second()
        self.assertEqual(self.metering.peer(A), (0.0, 0.0))

    def test_counts_that_begin_anew(self) -> None:
        """An upload that was counted as under way and then was not: never below zero."""
        self.totals = Totals(uploaded=100, taken={A: 100})
        self.second()
        self.totals = Totals(uploaded=40, taken={A: 40})
        self.second()
        self.assertEqual(self.metering.rates[-1], (0.0, 0.0))
        self.assertEqual(self.metering.upload_rate, 50.0)

    def test_a_reactor_that_was_held_up(self) -> None:
        """The worst of the last minute."""
        self.second()
        self.assertEqual(self.metering.delay, 0.0)
        self.clock.advance(0.25 + 0.4)
        self.assertAlmostEqual(self.metering.delay, 0.4)
        for _ in range(SAMPLES + 1):
            self.second()
        self.assertEqual(self.metering.delay, 0.0)
