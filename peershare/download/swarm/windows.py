"""Windows: how fast a session delivers, and so how many blocks it is asked for at a time.  Pure.

Times are monotonic seconds, rates bytes a second.  Not for: which blocks.
"""

from __future__ import annotations

from math import ceil, exp

# So much of what a session delivers is asked for ahead, within these bounds.
WINDOW_SECONDS = 0.2
MIN_BLOCKS = 2
MAX_BLOCKS = 64
# Before anything is known of a session: up to four blocks, if they are small.
_FIRST_BYTES = 1 << 20
_FIRST_BLOCKS = 4
# What came longer ago than this hardly counts.
_MEMORY_SECONDS = 1.0


class Window:
    """The measured rate of one session, and the window that follows from it.

    Only the time in which something was asked for counts.
    """

    def __init__(self, block_size: int) -> None:
        self.block_size = block_size
        self._since: float | None = None  # measured up to here; None: nothing is asked for
        self._bytes = 0.0
        self._seconds = 0.0
        self.rate: float | None = None  # as of the last bytes that came
        self.blocks = min(_FIRST_BLOCKS, max(MIN_BLOCKS, _FIRST_BYTES // block_size))

    def busy(self, now: float) -> None:
        """Something is asked for, from now on."""
        if self._since is None:
            self._since = now

    def idle(self) -> None:
        """Nothing is asked for any more."""
        self._since = None

    def received(self, count: int, now: float) -> None:
        """So many bytes came."""
        elapsed = 0.0 if self._since is None else max(0.0, now - self._since)
        keep = exp(-elapsed / _MEMORY_SECONDS)
        self._bytes = self._bytes * keep + count
        self._seconds = self._seconds * keep + elapsed
        if self._since is not None:
            self._since = now
        if self._seconds > 0:
            self.rate = self._bytes / self._seconds
            blocks = ceil(WINDOW_SECONDS * self.rate / self.block_size)
            self.blocks = min(MAX_BLOCKS, max(MIN_BLOCKS, blocks))
