"""A peer that gives wrong bytes: some of the blocks that it serves are spoilt on their way out.

Only blocks of native sessions are touched: messages, manifests and catalogues stay as they are,
and so does what goes out by the classic protocol.  Not for: lies in messages.
"""

from __future__ import annotations

from random import Random

from peershare.errors import PeerError
from peershare.wire.messages import Block, Catalogue, Content, decode_answer

_NATIVE = b'{"type":"hello"'


class Spoiler:
    """Reads along what one end of a connection sends, and changes some of it."""

    def __init__(self, random: Random, rate: float) -> None:
        """`rate` is the chance of each block to have one wrong byte."""
        self._random = random
        self._rate = rate
        self._native: bool | None = None
        self._line = bytearray()
        self._raw_left = 0
        self._flip_in = -1  # bytes until the one that is to be wrong
        self.spoilt = 0

    def pass_on(self, data: bytes) -> bytes:
        """What leaves instead of these bytes."""
        if self._native is None:
            self._native = _NATIVE.startswith(data[: len(_NATIVE)])
        if not self._native:
            return data
        out = bytearray(data)
        position = 0
        while position < len(data):
            if self._raw_left:
                position += self._pass_raw(out, position)
                continue
            end = data.find(b"\n", position)
            self._line += data[position : end if end >= 0 else len(data)]
            if end < 0:
                break
            self._message(bytes(self._line))
            self._line.clear()
            position = end + 1
        return bytes(out)

    def _pass_raw(self, out: bytearray, position: int) -> int:
        count = min(self._raw_left, len(out) - position)
        if 0 <= self._flip_in < count:
            out[position + self._flip_in] ^= 0x55
            self.spoilt += 1
        self._flip_in -= count
        self._raw_left -= count
        return count

    def _message(self, line: bytes) -> None:
        try:
            message = decode_answer(line)
        except PeerError:
            return  # a request
        if isinstance(message, Block | Catalogue | Content):
            self._raw_left = message.length
            spoil = isinstance(message, Block) and self._random.random() < self._rate
            self._flip_in = self._random.randrange(message.length) if spoil else -1
