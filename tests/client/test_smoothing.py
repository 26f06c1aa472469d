"""A rate and a time left that do not jump, and that are true all the same."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from peershare.client.smoothing import RATE_HOLD_SECONDS, Pace, Paces
from peershare.status import DownloadState
from tests.control.fake_node import a_download

STEP = 0.1
MB = 1_000_000


class Flow:
    """A flow of some size that a `Pace` is told of ten times a second."""

    def __init__(self, size: int) -> None:
        self.pace = Pace()
        self.now = 100.0
        self.to_go = float(size)
        self.rates: list[float] = []
        self.lefts: list[float | None] = []

    def go(self, seconds: float, rate: float, noise: float = 0.0, seed: int = 1) -> None:
        random = Random(seed)
        for _ in range(round(seconds / STEP)):
            told = rate * (1 + random.uniform(-noise, noise))
            self.now += STEP
            self.to_go -= told * STEP
            self.pace.look(told, max(0, round(self.to_go)), self.now, settled=True)
            self.rates.append(self.pace.rate)
            self.lefts.append(self.pace.left(self.now))


def steps(values: list[float]) -> int:
    """How often the value shown changed."""
    return sum(before != after for before, after in pairwise(values))


class PaceTests(SynchronousTestCase):
    def test_steady(self) -> None:
        """What flows steadily has one rate, and a clock that runs down second by second."""
        flow = Flow(100 * MB)
        flow.go(30, 2.0 * MB)
        self.assertEqual(set(flow.rates), {2.0 * MB})
        for number, left in enumerate(flow.lefts):
            self.assertAlmostEqual(left or 0.0, 49.9 - number * STEP, places=3)

    def test_noise(self) -> None:
        """Of a rate that jumps by a half ten times a second, little is to be seen."""
        flow = Flow(1_000 * MB)
        flow.go(60, 5.0 * MB, noise=0.5)
        self.assertLessEqual(steps(flow.rates), 60 / RATE_HOLD_SECONDS)
        for rate in flow.rates[20:]:
            self.assertLess(abs(rate - 5.0 * MB), 0.2 * 5.0 * MB)
        lefts = [left for left in flow.lefts[30:] if left is not None]
        jumps = [b - a for a, b in pairwise(lefts) if b - a > 0]
        self.assertLessEqual(len(jumps), 1, "the clock runs down, it does not run up")

    def test_one_pause_of_a_peer(self) -> None:
        """A second without a byte does not turn the clock."""
        flow = Flow(200 * MB)
        flow.go(20, 2.0 * MB)
        before = flow.pace.left(flow.now)
        flow.go(1, 0.0)
        flow.go(1, 2.0 * MB)
        self.assertAlmostEqual((before or 0.0) - 2.0, flow.pace.left(flow.now) or 0.0, places=3)

    def test_a_new_rate(self) -> None:
        """A rate that stays is shown soon, and the clock follows."""
        flow = Flow(400 * MB)
        flow.go(20, 4.0 * MB)
        flow.go(8, 2.0 * MB)
        self.assertLess(abs(flow.pace.rate - 2.0 * MB), 0.1 * MB)
        flow.go(22, 2.0 * MB)
        truth = flow.to_go / (2.0 * MB)
        self.assertLess(abs((flow.pace.left(flow.now) or 0.0) - truth), 0.2 * truth)

    def test_standstill(self) -> None:
        """A standstill is shown at once when the average has come to it; it has no time left."""
        flow = Flow(400 * MB)
        flow.go(5, 1.0 * MB)
        flow.go(60, 0.0)
        self.assertLess(flow.pace.rate, 1.0)
        flow.go(60, 0.0)
        self.assertIsNone(flow.pace.left(flow.now))

    def test_never_at_the_end_before_it(self) -> None:
        """While bytes are to come there is a second left."""
        flow = Flow(10 * MB)
        flow.go(4, 2.0 * MB)
        flow.go(2, 0.5 * MB)
        self.assertTrue(all(left is not None and left >= 1.0 for left in flow.lefts))

    def test_for_ever(self) -> None:
        """What would take more than a hundred hours has no clock."""
        flow = Flow(10**15)
        flow.go(3, 1_000.0)
        self.assertEqual(set(flow.lefts), {None})


class PacesTests(SynchronousTestCase):
    def test_by_download(self) -> None:
        """Each download has its own, until it is over or held."""
        paces = Paces()
        running = {"state": DownloadState.DOWNLOADING, "size": 10 * MB, "elapsed_seconds": 5.0}
        fast = a_download("1", rate=2.0 * MB, **running)
        slow = a_download("2", rate=1.0 * MB, **running)
        for status in (fast, slow):
            paces.look(status, 50.0)
        self.assertEqual(paces.shown(fast, 50.0), (2.0 * MB, 5.0))
        self.assertEqual(paces.shown(slow, 51.0), (1.0 * MB, 9.0))
        paused = a_download("1", state=DownloadState.PAUSED)
        paces.look(paused, 52.0)
        self.assertEqual(paces.shown(paused, 52.0), (0.0, None))

    def test_guesses(self) -> None:
        """In its first second a download has no time left."""
        paces = Paces()
        young = a_download(state=DownloadState.DOWNLOADING, size=MB, rate=9.0, elapsed_seconds=0.4)
        paces.look(young, 1.0)
        self.assertEqual(paces.shown(young, 1.0), (9.0, None))
