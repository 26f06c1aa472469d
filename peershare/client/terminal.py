"""The terminal's mode: key by key while a line is edited here, and as it was on every way out.

Not for: what is written to it (`console`), or what the keys mean (`editor`).
"""

from __future__ import annotations

import os
import signal
import termios
from typing import Any


class KeyMode:
    """Gives every key at once, unechoed; output is left as it is."""

    def __init__(self, descriptor: int = 0) -> None:
        self._descriptor = descriptor
        self._before: list[Any] | None = None

    def enter(self) -> None:
        """From now on each key comes as it is pressed, Ctrl-C and Ctrl-Z too."""
        if self._before is None:
            self._before = termios.tcgetattr(self._descriptor)
        mode = termios.tcgetattr(self._descriptor)
        mode[0] &= ~(termios.ICRNL | termios.INLCR | termios.IXON | termios.ISTRIP)
        mode[3] &= ~(termios.ICANON | termios.ECHO | termios.ISIG | termios.IEXTEN)
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        termios.tcsetattr(self._descriptor, termios.TCSADRAIN, mode)

    def leave(self) -> None:
        """As it was before; may be called at any time, and twice."""
        before, self._before = self._before, None
        if before is None:
            return
        try:
            termios.tcsetattr(self._descriptor, termios.TCSANOW, before)
        except termios.error:
            return  # the terminal is gone

    def suspend(self) -> None:
        """Stop this job as Ctrl-Z does, with the terminal as it was; return on `fg`."""
        self.leave()
        os.kill(0, signal.SIGTSTP)
        self.enter()
