"""The answers that one session has to send: whole messages, each with the bytes that it declares.

Not for: what is answered.
"""

from __future__ import annotations

from collections import deque

from peershare.wire.messages import Message, encode

# Raw bytes are given out in pieces, so that nothing large is copied at once.
_PIECE_BYTES = 1 << 18


class Answers:
    """First in, first out; `waiting` is how many bytes there are."""

    def __init__(self) -> None:
        self._pieces: deque[bytes | memoryview] = deque()
        self.waiting = 0

    def add(self, message: Message, *raw: bytes) -> None:
        """A message, and the raw bytes behind it."""
        self._append(encode(message))
        for data in raw:
            view = memoryview(data)
            for start in range(0, len(view), _PIECE_BYTES):
                self._append(view[start : start + _PIECE_BYTES])

    def pop(self) -> bytes | memoryview | None:
        """The next piece to be sent."""
        if not self._pieces:
            return None
        piece = self._pieces.popleft()
        self.waiting -= len(piece)
        return piece

    def _append(self, piece: bytes | memoryview) -> None:
        self._pieces.append(piece)
        self.waiting += len(piece)
