"""Framing of a native session: newline-delimited messages, raw bytes where one declares them.

Pure: bytes in, in however many pieces; each is looked at once.  Blank lines, and blanks before a
message, are skipped.  Not for: what they mean.
"""

from __future__ import annotations

from collections.abc import Callable

from peershare.errors import PeerError, Reason

# With its newline; what is longer is no message.
MAX_MESSAGE_BYTES = 65_536
# Most messages are shorter than this; what is behind them is not copied.
_PIECE_BYTES = 1_024


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
        """Take bytes up to the end of the line, or a piece of it; what is behind them."""
        piece = bytes(view[:_PIECE_BYTES])
        if not self._buffer:
            blank = len(piece) - len(piece.lstrip())
            if blank:
                return view[blank:]
        end = piece.find(b"\n")
        length = len(piece) if end < 0 else end + 1
        # Without its newline, a line is one byte shorter.
        if len(self._buffer) + length + (end < 0) > MAX_MESSAGE_BYTES:
            self.stop()
            raise PeerError(
                Reason.BAD_MESSAGE, f"sent a message longer than {MAX_MESSAGE_BYTES} bytes"
            )
        if end < 0:
            self._buffer += piece
        else:
            line = bytes(self._buffer) + piece[:end]
            self._buffer.clear()
            self._on_line(line)
        return view[length:]

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
