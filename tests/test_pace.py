"""Pace: who stalls, who trickles, and whose fault it is not."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from peershare.pace import SLOW_SECONDS, SLOWEST_BYTES, Pace, Verdict

NOW = 1_000.0


class PaceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.pace = Pace(NOW, 15.0)

    def test_nothing_for_too_long(self) -> None:
        """A stall is told when its time is over, not before."""
        self.assertIs(self.pace.judge(NOW + 14.9, 0), Verdict.MOVING)
        self.assertIs(self.pace.judge(NOW + 15.0, 0), Verdict.STALLED)

    def test_one_byte_is_movement(self) -> None:
        """Its time begins anew."""
        self.assertIs(self.pace.judge(NOW + 14.9, 1), Verdict.MOVING)
        self.assertIs(self.pace.judge(NOW + 29.8, 1), Verdict.MOVING)
        self.assertIs(self.pace.judge(NOW + 29.9, 1), Verdict.STALLED)

    def test_a_trickle(self) -> None:
        """Less than 1 KiB a second over a minute."""
        verdicts = [self.pace.judge(NOW + second, second) for second in range(61)]
        self.assertEqual(set(verdicts[:60]), {Verdict.MOVING})
        self.assertIs(verdicts[60], Verdict.TOO_SLOW)

    def test_just_fast_enough(self) -> None:
        """1 KiB a second is waited for."""
        self.pace.judge(NOW + SLOW_SECONDS - 1, SLOWEST_BYTES - 1)
        self.assertIs(self.pace.judge(NOW + SLOW_SECONDS, SLOWEST_BYTES), Verdict.MOVING)

    def test_each_minute_counts_for_itself(self) -> None:
        """A fast minute does not pay for a slow one."""
        self.pace.judge(NOW + 59.0, 1 << 30)
        self.assertIs(self.pace.judge(NOW + 60.0, 1 << 30), Verdict.MOVING)
        for second in range(61, 120):
            self.pace.judge(NOW + second, (1 << 30) + second)
        self.assertIs(self.pace.judge(NOW + 120.0, (1 << 30) + 120), Verdict.TOO_SLOW)

    def test_our_own_limit_excuses(self) -> None:
        """While we hold the transfer up ourselves nobody is judged."""
        self.pace.excuse(NOW + 14.0)
        self.assertIs(self.pace.judge(NOW + 28.9, 0), Verdict.MOVING)
        self.assertIs(self.pace.judge(NOW + 29.0, 0), Verdict.STALLED)
