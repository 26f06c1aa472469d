"""Low water: on a link that trickles, wake up for some milliseconds of bytes, not for each packet.

The kernel says that a connection can be read once so many bytes wait there (SO_RCVLOWAT).  At 100
Mbit/s that saves most of the turns of the reactor.  Not for: how much is read.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress

# So much of the measured rate is waited for, never more bytes than this, and never more than are
# still to come of a block.
GATHER_SECONDS = 0.02
MOST_BYTES = 1 << 16
# Faster than this, more than that waits there at each turn anyhow.
FAST_RATE = 2e8
_MEMORY_SECONDS = 0.1


class LowWater:
    """Sets the mark of one socket."""

    def __init__(self, connection: socket.socket, clock: Callable[[], float]) -> None:
        """`clock` gives monotonic seconds."""
        self._connection = connection
        self._clock = clock
        self._since = clock()
        self._count = 0
        self._wanted = 1
        self._mark = 1

    def came(self, count: int, left: int) -> None:
        """So many bytes were read; so many raw ones are still to come before the next message."""
        self._count += count
        elapsed = self._clock() - self._since
        if elapsed >= _MEMORY_SECONDS:
            rate = self._count / elapsed
            self._since, self._count = self._since + elapsed, 0
            wanted = min(int(rate * GATHER_SECONDS), MOST_BYTES) if rate < FAST_RATE else 1
            self._wanted = 1 << wanted.bit_length() >> 1 or 1
        mark = self._wanted
        while mark > max(left, 1):
            mark >>= 1
        if mark != self._mark:
            self._mark = mark
            with suppress(OSError):
                self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, mark)
