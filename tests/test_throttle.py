"""Token buckets and limiters, on a clock that is moved."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from peershare.throttle import RateLimiter, TimeShares, TokenBucket


class TokenBucketTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()

    def flow(
        self, bucket: TokenBucket, seconds: float, late: float = 0.0, most: int = 65_536
    ) -> int:
        """Take as much as goes for some seconds, waking up `late` each time."""
        end = self.clock.seconds() + seconds
        total = 0
        while self.clock.seconds() < end:
            taken = bucket.take(most)
            total += taken
            if not taken:
                delay = bucket.delay()
                self.assertGreater(delay, 0.0)
                self.clock.advance(delay + late)
        return total

    def test_no_limit(self) -> None:
        """Without a rate everything goes at once, for ever."""
        bucket = TokenBucket(None, self.clock.seconds)
        self.assertEqual([bucket.take(10**12) for _ in range(3)], [10**12] * 3)
        self.assertEqual([bucket.take(wanted) for wanted in (0, -5)], [0, 0])
        self.assertEqual(bucket.delay(), 0.0)
        bucket.refund(5)

    def test_rate(self) -> None:
        """Over 5 s every rate is held within 5 %, even if each wake-up is a little late."""
        for rate in (1_000.0, 65_536.0, 1e6, 1e8, 1e9):
            for late in (0.0, 0.005, 0.05):
                bucket = TokenBucket(rate, self.clock.seconds)
                total = self.flow(bucket, 5.0, late)
                self.assertLess(abs(total / (5 * rate) - 1), 0.05, (rate, late))

    def test_small_steps(self) -> None:
        """The rate is the same for those who take little at a time."""
        bucket = TokenBucket(100_000.0, self.clock.seconds)
        self.assertLess(abs(self.flow(bucket, 5.0, most=700) / 500_000 - 1), 0.05)

    def test_slow(self) -> None:
        """Even a byte a second goes."""
        bucket = TokenBucket(1.0, self.clock.seconds)
        self.assertIn(self.flow(bucket, 10.0), (10, 11))

    def test_wake_ups(self) -> None:
        """A flow is not chopped into more pieces than about a hundred a second."""
        bucket = TokenBucket(1e6, self.clock.seconds)
        bucket.take(10**9)
        self.assertAlmostEqual(bucket.delay(), 0.01)
        for rate, seconds in ((100_000.0, 0.04096), (10_000.0, 0.05), (5.0, 0.2)):
            slow = TokenBucket(rate, self.clock.seconds)
            slow.take(10**9)
            self.assertAlmostEqual(slow.delay(), seconds)

    def test_delay_is_enough(self) -> None:
        """After the delay there is something to take, whatever the rate."""
        for rate in (1.0, 3.0, 7.7, 999.9, 4_096.0, 1e6 / 3, 1e9 / 7):
            bucket = TokenBucket(rate, self.clock.seconds)
            for _ in range(1_000):
                bucket.take(10**12)
                self.clock.advance(bucket.delay())
                self.assertEqual(bucket.delay(), 0.0)
                self.assertGreater(bucket.take(10**12), 0)

    def test_idle(self) -> None:
        """An idle bucket saves no more than the burst."""
        bucket = TokenBucket(1_000.0, self.clock.seconds, burst_seconds=0.5)
        self.clock.advance(3_600)
        self.assertEqual(bucket.take(10**9), 500)
        self.assertEqual(bucket.take(10**9), 0)

    def test_wanted(self) -> None:
        """Never more than wanted, and nothing for those who want nothing."""
        bucket = TokenBucket(1_000.0, self.clock.seconds)
        self.assertEqual([bucket.take(n) for n in (30, 0, -5, 70, 1)], [30, 0, 0, 70, 0])

    def test_refund(self) -> None:
        """What was taken and did not go is there again, up to the burst."""
        bucket = TokenBucket(1_000.0, self.clock.seconds)
        bucket.take(100)
        bucket.refund(40)
        bucket.refund(-5)
        self.assertEqual(bucket.take(100), 40)
        bucket.refund(10**9)
        self.assertEqual(bucket.take(10**9), 100)

    def test_clock_set_back(self) -> None:
        """A clock that is set back neither stops the flow nor opens it."""
        bucket = TokenBucket(1_000.0, self.clock.seconds)
        self.clock.advance(10_000)
        bucket.take(10**9)
        self.clock.rightNow -= 5_000
        self.assertEqual(bucket.take(10**9), 0)
        self.assertLess(bucket.delay(), 0.2)
        self.clock.advance(0.05)
        self.assertEqual(bucket.take(10**9), 50)

    def test_new_rate(self) -> None:
        """A new rate holds at once, for what is saved too; no rate, no limit."""
        bucket = TokenBucket(1e6, self.clock.seconds)
        bucket.rate = 1_000.0
        self.assertEqual(bucket.rate, 1_000.0)
        self.assertEqual(bucket.take(10**9), 100)
        self.clock.advance(0.05)
        bucket.rate = 10_000.0
        self.assertEqual(bucket.take(10**9), 50)
        bucket.rate = None
        self.assertEqual(bucket.take(10**9), 10**9)
        self.clock.advance(1)
        bucket.rate = 1_000.0
        self.assertEqual(bucket.take(10**9), 0)
        self.clock.advance(0.05)
        self.assertEqual(bucket.take(10**9), 50)

    def test_no_such_rate(self) -> None:
        """A rate that is not above zero is an error, at the start and later."""
        for rate in (0.0, -1.0, float("nan")):
            with self.assertRaises(ValueError):
                TokenBucket(rate, self.clock.seconds)
            bucket = TokenBucket(5.0, self.clock.seconds)
            with self.assertRaises(ValueError):
                bucket.rate = rate

    @given(
        st.floats(1, 1e9),
        st.lists(st.tuples(st.floats(-10, 10), st.integers(-5, 10**9)), max_size=30),
    )
    def test_never_more_than_the_rate(self, rate: float, steps: list[tuple[float, int]]) -> None:
        """However it is used and whatever its clock does, no more goes than rate and burst."""
        clock = Clock()
        bucket = TokenBucket(rate, clock.seconds)
        total, forward = 0, 0.0
        for seconds, wanted in steps:
            clock.rightNow += seconds
            forward += max(0.0, seconds)
            taken = bucket.take(wanted)
            self.assertTrue(0 <= taken <= max(0, wanted))
            self.assertGreaterEqual(bucket.delay(), 0.0)
            total += taken
        self.assertLessEqual(total, rate * forward + max(1.0, rate * 0.1) + 1)


class RateLimiterTests(SynchronousTestCase):
    def limiter(self, max_sources: int = 1_024) -> RateLimiter:
        return RateLimiter(
            rate=2.0, burst=4.0, global_rate=10.0, global_burst=20.0, max_sources=max_sources
        )

    def passed(self, limiter: RateLimiter, source: str, now: float, tries: int = 100) -> int:
        return sum(limiter.allow(source, now) for _ in range(tries))

    def test_source(self) -> None:
        """A source may burst, then passes at its rate."""
        limiter = self.limiter()
        self.assertEqual(self.passed(limiter, "a", 0.0), 4)
        self.assertEqual(self.passed(limiter, "a", 0.4), 0)
        self.assertEqual(self.passed(limiter, "a", 0.5), 1)
        self.assertEqual(self.passed(limiter, "a", 1.5), 2)
        self.assertEqual(self.passed(limiter, "a", 100.0), 4)

    def test_others_pay_nothing(self) -> None:
        """A flood from one source takes nothing from the others."""
        limiter = self.limiter()
        self.passed(limiter, "flood", 0.0, 10_000)
        for source in "abcd":
            self.assertEqual(self.passed(limiter, source, 0.0), 4)

    def test_all_together(self) -> None:
        """Many sources together pass at the rate of all."""
        limiter = self.limiter()
        first = sum(self.passed(limiter, f"a{number}", 0.0) for number in range(50))
        later = sum(self.passed(limiter, f"b{number}", 1.0) for number in range(50))
        self.assertEqual((first, later), (20, 10))

    def test_refused_by_all_is_not_charged(self) -> None:
        """Who was refused because of the others has its own share left."""
        limiter = self.limiter()
        for number in range(5):
            self.passed(limiter, f"a{number}", 0.0)
        self.assertEqual(self.passed(limiter, "late", 0.0), 0)
        self.assertEqual(self.passed(limiter, "late", 0.4), 4)

    def test_bounded(self) -> None:
        """No more sources are remembered than said; the one silent the longest goes first."""
        limiter = self.limiter(max_sources=3)
        for source in ("a", "b", "c", "a", "d"):
            limiter.allow(source, 0.0)
        self.assertEqual(set(limiter._levels), {"a", "c", "d"})
        for number in range(10_000):
            limiter.allow(f"x{number}", 0.0)
        self.assertEqual(len(limiter._levels), 3)

    def test_clock_set_back(self) -> None:
        """A clock that is set back gives nothing and locks nobody out."""
        limiter = self.limiter()
        self.assertEqual(self.passed(limiter, "a", 1_000.0), 4)
        self.assertEqual(self.passed(limiter, "a", 0.0), 0)
        self.assertEqual(self.passed(limiter, "a", 0.5), 1)


class TimeSharesTests(SynchronousTestCase):
    def test_share(self) -> None:
        """A burst is free; then a tenth of the time, each address by itself."""
        shares = TimeShares(0.1, 2.0)
        shares.spend("a", 2.0, 0.0)
        self.assertEqual(shares.wait("a", 0.0), 0.0)
        shares.spend("a", 1.0, 0.0)
        self.assertAlmostEqual(shares.wait("a", 0.0), 10.0)
        self.assertAlmostEqual(shares.wait("a", 4.0), 6.0)
        self.assertEqual(shares.wait("b", 0.0), 0.0)

    def test_together(self) -> None:
        """Many addresses that want more than their share get equal parts of what there is."""
        shares = TimeShares(0.1, 0.1, together=0.5)
        spent = 0.0
        for turn in range(1_000):
            for number in range(10):
                if not shares.wait(f"a{number}", turn / 10):
                    shares.spend(f"a{number}", 0.05, turn / 10)
                    spent += 0.05
        self.assertTrue(48.0 < spent < 54.0, spent)

    def test_nothing_is_kept_of_who_owes_nothing(self) -> None:
        """What is given back, and the time that passes, pay all of it."""
        shares = TimeShares(0.1, 2.0)
        shares.spend("a", 1.0, 0.0)
        shares.spend("a", -1.5, 0.0)
        shares.spend("b", 1.0, 0.0)
        shares.expire(10.5)
        self.assertEqual(shares._debts, {})
