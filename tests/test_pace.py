"""Tests of `peershare.pace`."""

from __future__ import annotations

from twisted.trial import unittest

from peershare.pace import SLOW_SECONDS, SLOWEST_BYTES, Pace, Verdict


class PaceTests(unittest.TestCase):
    """A transfer is judged by its running total alone."""

    def test_moving(self) -> None:
        """A transfer that gets on is moving, however long it takes."""
        pace = Pace(0.0, stalled_seconds=15)
        for second in range(300):
            self.assertIs(pace.judge(float(second), second * 2048), Verdict.MOVING)

    def test_stalled(self) -> None:
        """Nothing for the whole time is a stall; a byte just before it is not."""
        pace = Pace(0.0, stalled_seconds=15)
        self.assertIs(pace.judge(14.5, 1), Verdict.MOVING)
        self.assertIs(pace.judge(29.0, 1), Verdict.MOVING)
        self.assertIs(pace.judge(29.5, 1), Verdict.STALLED)

    def test_too_slow(self) -> None:
        """A trickle below 1 KiB/s over a minute is too slow, just above it is not."""
        for total, verdict in (
            (SLOWEST_BYTES - 1, Verdict.TOO_SLOW),
            (SLOWEST_BYTES, Verdict.MOVING),
        ):
            pace = Pace(0.0, stalled_seconds=15)
            pace.judge(SLOW_SECONDS - 1, total - 1)
            self.assertIs(pace.judge(SLOW_SECONDS, total), verdict)

    def test_slow_after_fast(self) -> None:
        """Each minute is judged alone: a fast start does not excuse a trickle."""
        pace = Pace(0.0, stalled_seconds=15)
        self.assertIs(pace.judge(SLOW_SECONDS, 10**9), Verdict.MOVING)
        pace.judge(2 * SLOW_SECONDS - 1, 10**9 + 1)
        self.assertIs(pace.judge(2 * SLOW_SECONDS, 10**9 + 2), Verdict.TOO_SLOW)

    def test_excused(self) -> None:
        """What our own limit holds up is not the other side's fault."""
        pace = Pace(0.0, stalled_seconds=15)
        pace.excuse(100.0)
        self.assertIs(pace.judge(114.0, 0), Verdict.MOVING)
        self.assertIs(pace.judge(115.0, 0), Verdict.STALLED)
