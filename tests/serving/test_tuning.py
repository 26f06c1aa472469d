"""What is set on sockets, and when."""

from __future__ import annotations

import socket
from pathlib import Path
from unittest import SkipTest

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from peershare.serving.tuning import Unsent, send_unpaced, tune

LEAST, MOST = 1 << 17, 1 << 22


class TuningTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.connection = socket.socket()
        self.addCleanup(self.connection.close)

    def option(self, name: str) -> int:
        """What is set, by the name of the option."""
        return self.connection.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))

    def test_a_real_socket(self) -> None:
        """Given at once, and kept alive."""
        self.assertIs(tune(self.connection), self.connection)
        self.assertTrue(self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        self.assertTrue(self.option("TCP_NODELAY"))
        self.assertEqual(self.option("TCP_KEEPIDLE"), 30)

    def test_something_else(self) -> None:
        """What has no such options goes without."""
        with socket.socket(socket.AF_UNIX) as other:
            tune(other)

    def test_unpaced(self) -> None:
        """Where the system would pace, a connection does not; any other way is left as it is."""
        ways = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")
        if not ways.exists():
            raise SkipTest("this system cannot be asked")
        for way in ways.read_text(encoding="ascii").split():
            with self.subTest(way=way), socket.create_server(("127.0.0.1", 0)) as listener:
                option = socket.IPPROTO_TCP, socket.TCP_CONGESTION
                listener.setsockopt(*option, way.encode())
                send_unpaced(listener)
                with (
                    socket.create_connection(listener.getsockname()),
                    listener.accept()[0] as accepted,
                ):
                    found = accepted.getsockopt(*option, 16).rstrip(b"\0").decode()
                self.assertIn(found, ("cubic", "reno") if way.startswith("bbr") else (way,))

    def test_unsent(self) -> None:
        """Little waits in the kernel for a slow reader, more for a fast one; it is set seldom."""
        clock = Clock()
        unsent = Unsent(self.connection, clock.seconds)
        self.assertEqual(self.option("TCP_NOTSENT_LOWAT"), LEAST)
        total = 0
        for seconds, count, wanted in (
            (0.01, 1 << 20, LEAST),  # too little to say anything
            (0.03, 3 << 20, 2 << 20),  # 100 MiB/s
            (0.05, 4 << 20, 2 << 20),  # much the same
            (0.001, 8 << 20, MOST),
            (0.5, 1 << 10, MOST),
            (0.5, 1 << 10, LEAST),
        ):
            clock.advance(seconds)
            total += count
            unsent.sent(total)
            self.assertAlmostEqual(self.option("TCP_NOTSENT_LOWAT"), wanted, delta=2_000)
