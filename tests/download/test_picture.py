"""The rate that people see: smooth, and right on the whole."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from peershare.download.picture import RateMeter


class RateMeterTests(SynchronousTestCase):
    def run_meter(self, meter: RateMeter, counts: list[int], now: float = 0.0) -> list[float]:
        """Bytes in each tenth of a second; the rates shown."""
        rates = []
        for count in counts:
            now += 0.1
            meter.add(count)
            rates.append(meter.rate(now))
        return rates

    def test_nothing(self) -> None:
        """No bytes are no rate, at no time even."""
        meter = RateMeter(0.0)
        self.assertEqual([meter.rate(0.0), meter.rate(10.0)], [0.0, 0.0])

    def test_steady(self) -> None:
        """A steady flow is shown as it is from the beginning."""
        rates = self.run_meter(RateMeter(0.0), [1_000] * 100)
        for rate in rates[3:]:
            self.assertTrue(9_000 < rate < 11_000, rate)

    def test_bursts_are_smoothed(self) -> None:
        """Bytes that come all at once each second do not make the rate jump."""
        rates = self.run_meter(RateMeter(0.0), ([10_000] + [0] * 9) * 20)
        for rate in rates[100:]:
            self.assertTrue(7_000 < rate < 13_000, rate)

    def test_a_stall_is_seen(self) -> None:
        """Within some seconds the rate goes down to nothing."""
        meter = RateMeter(0.0)
        self.run_meter(meter, [1_000] * 100)
        rates = self.run_meter(meter, [0] * 200, 10.0)
        self.assertLess(rates[60], 2_000)
        self.assertLess(rates[-1], 100)
