"""Framing of a native session: newline-delimited messages, raw bytes where one declares them.

Pure: bytes in, in however many pieces; each is looked at once.  Not for: what they mean.
"""

from __future__ import annotations

from collections.abc import Callable

from peershare.errors import PeerError, Reason

# With its newline; what is longer is no message.
MAX_MESSAGE_BYTES = 65_536


class FrameDecoder:
    """Tells lines from raw bytes.

    `on_line(line)` gets every message without its newline.  It may call `expect_raw(n)`: the next n
    bytes then go to `on_raw(view)`, piece by piece; `raw_left` is 0 when the last of them is given.
    """

    def __init__(
        self, on_line: Callable[[bytes], None], on_raw: Callable[[memoryview], None]
    ) -> None:
        self._on_line = on_line
        self._on_raw = on_raw
        self._buffer = bytearray()
        self._stopped = False
        self.raw_left = 0

    def feed(self, data: bytes | memoryview) -> None:
        """Take the next bytes.  Raises `PeerError` (bad-message) for a line that is too long."""
        view = memoryview(data)
        while view and not self._stopped:
            if self.raw_left:
                piece, view = view[: self.raw_left], view[self.raw_left :]
                self.raw_left -= len(piece)
                self._on_raw(piece)
            else:
                view = self._feed_line(view)

    def _feed_line(self, view: memoryview) -> memoryview:
        """Take bytes up to the end of the line; what is behind it."""
        room = MAX_MESSAGE_BYTES - len(self._buffer)
        head = bytes(view[:room])
        end = head.find(b"\n")
        if end < 0:
            if len(head) == room:
                self.stop()
                raise PeerError(
                    Reason.BAD_MESSAGE, f"sent a message longer than {MAX_MESSAGE_BYTES} bytes"
                )
            self._buffer += head
            return view[len(head) :]
        line = bytes(self._buffer) + head[:end]
        self._buffer.clear()
        if line.strip():
            self._on_line(line)
        return view[end + 1 :]

    def expect_raw(self, count: int) -> None:
        """The next `count` bytes are raw; to be called from within `on_line`."""
        self.raw_left = count

    def bypassed(self, count: int) -> None:
        """So many of the raw bytes that were expected went another way (the kernel's)."""
        if not 0 <= count <= self.raw_left:
            raise ValueError(f"{count} bytes went by, {self.raw_left} were expected")
        self.raw_left -= count

    def stop(self) -> None:
        """Look at nothing more."""
        self._stopped = True
        self._buffer.clear()
