"""The console: what a terminal is taken for."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios

from twisted.trial.unittest import SynchronousTestCase

from peershare.client.console import Console


class SizeTests(SynchronousTestCase):
    def console_of(self, rows: int, columns: int) -> Console:
        """A console whose stdout is a pseudo-terminal of this size."""
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        self.addCleanup(os.close, slave)
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        console = Console({"TERM": "xterm"})
        console.out.number = slave
        return console

    def test_as_wide_as_it_says(self) -> None:
        """A terminal with a size has that size."""
        self.assertEqual(self.console_of(24, 40).columns, 40)

    def test_a_terminal_without_a_size(self) -> None:
        """A new pseudo-terminal has 0 columns; nothing could be drawn in them."""
        self.assertEqual(self.console_of(0, 0).columns, 80)
