"""How many bytes have to wait before a session is read."""

from __future__ import annotations

import socket

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from peershare.download.swarm.lowwater import FAST_RATE, GATHER_SECONDS, MOST_BYTES, LowWater

BLOCK = 1 << 20


class LowWaterTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.connection = socket.socket()
        self.addCleanup(self.connection.close)
        self.low_water = LowWater(self.connection, self.clock.seconds)

    def mark(self) -> int:
        """What the kernel was told."""
        return self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)

    def run_at(self, rate: float, left: int = BLOCK) -> None:
        """For half a second bytes come at this rate."""
        for _ in range(50):
            self.clock.advance(0.01)
            self.low_water.came(int(rate * 0.01), left)

    def test_follows_the_rate(self) -> None:
        """Some milliseconds of bytes, rounded down to a power of two, within bounds."""
        for rate in (1e3, 1e5, 1e6, 1e7, 1e8):
            with self.subTest(rate=rate):
                self.run_at(rate)
                wanted = min(rate * GATHER_SECONDS, MOST_BYTES)
                self.assertLessEqual(self.mark(), max(1, wanted))
                self.assertGreaterEqual(self.mark(), wanted / 2.1)

    def test_never_more_than_is_to_come(self) -> None:
        """Nobody waits for bytes that are not sent yet, be it a block or a message."""
        self.run_at(1e7)
        for left in (50_000, 3_000, 1, 0):
            self.low_water.came(1, left)
            self.assertLessEqual(self.mark(), max(1, left))

    def test_a_fast_link(self) -> None:
        """There is always enough there: nothing is set."""
        self.run_at(2 * FAST_RATE)
        self.assertEqual(self.mark(), 1)
        self.run_at(FAST_RATE / 2)
        self.assertEqual(self.mark(), MOST_BYTES)

    def test_no_socket(self) -> None:
        """A system that cannot does without."""
        self.connection.close()
        self.run_at(1e7)
