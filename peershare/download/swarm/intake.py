"""How the bytes of a session come in: framed, counted, and no faster than our own limit.

Where a block is expected, its bytes are received into the memory where they belong, or go through a
pipe into the part file if there is none (`splicing`); messages are then read in small pieces, so
that little of the block that follows comes with them.  Not for: what messages mean.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from peershare.download.splicing import Filler, fill_from
from peershare.download.swarm.buffers import BlockBuffer
from peershare.download.swarm.lowwater import LowWater
from peershare.errors import PeerError
from peershare.library.parts import PipedBytes
from peershare.sending import descriptor_of
from peershare.throttle import TokenBucket
from peershare.timers import Alarm
from peershare.wire.framing import FrameDecoder

# One turn of the reactor takes at most this much of one connection.
READ_BYTES = 1 << 20
# What is read into the program at once; more only costs memory.
PLAIN_BYTES = 1 << 18
# Behind a large block comes a message, and then perhaps the next block.
MESSAGE_BYTES = 1 << 12
# Larger blocks than the smallest are worth system calls of their own.
LARGE_BYTES = (1 << 16) + 1
_LIMITED_READ_SECONDS = 0.05
_LEAST_READ_BYTES = 2_048


class Reader(Protocol):
    """What is told of all that comes."""

    def line_came(self, line: bytes) -> int:
        """A message without its newline; how many raw bytes follow it.  Raises `PeerError`."""

    def raw_came(self, data: memoryview | PipedBytes) -> bool:
        """Some of these; False if what was in the pipe may be there still.

        Raises `PeerError`, for a view.
        """

    def raw_ended(self) -> None:
        """They were the last ones; called for 0 bytes too.  Raises `PeerError`."""

    def wants_pipe(self) -> bool:
        """Whether raw bytes that come now may come through a pipe."""

    def buffer(self) -> BlockBuffer | None:
        """Where raw bytes that come now may be received into."""

    def raw_received(self, buffer: BlockBuffer, count: int) -> None:
        """So many raw bytes are in the buffer."""


class Intake:
    """Reads for one session."""

    def __init__(
        self,
        reactor: Any,
        bucket: TokenBucket,
        reader: Reader,
        failed: Callable[[PeerError], None],
    ) -> None:
        """`failed` is told what the reader raises, and when the framing is wrong."""
        self._reader = reader
        self._failed = failed
        self._bucket = bucket
        self._clock: Callable[[], float] = reactor.seconds
        self._low_water: LowWater | None = None
        self._decoder = FrameDecoder(self._line_came, self._raw_came)
        self._transport: Any = None
        self._filler: Filler | None = None
        self._pause = Alarm(reactor)
        self._owed = 0
        self._held_up = False
        self._large = False  # the last raw bytes that were declared, and probably the next
        self._stopped = False

    @property
    def raw_left(self) -> int:
        """How many raw bytes are still to come before the next message."""
        return self._decoder.raw_left

    def start(self, transport: Any) -> None:
        """The connection is open."""
        self._transport = transport
        transport.bufferSize = self._most(PLAIN_BYTES)
        if descriptor_of(transport) >= 0 and hasattr(transport, "getHandle"):
            self._low_water = LowWater(transport.getHandle(), self._clock)
        self._filler = fill_from(transport, self._space, self._received, self._room, self._piped)

    def stop(self) -> None:
        """Look at nothing more, hold nothing more."""
        self._stopped = True
        self._decoder.stop()
        self._pause.clear()
        if self._filler is not None:
            self._filler.stop()
            self._filler = None

    def was_held_up(self) -> bool:
        """Whether our own limit held it up since this was asked last."""
        held_up, self._held_up = self._held_up, False
        return held_up or self._pause.due is not None

    def feed(self, data: bytes) -> None:
        """Bytes that the transport read."""
        try:
            self._decoder.feed(data)
        except PeerError as error:
            self._failed(error)
            return
        self._charge(len(data))

    # -- pieces

    def _line_came(self, line: bytes) -> None:
        count = self._reader.line_came(line)
        if count:
            self._large = count >= LARGE_BYTES and (
                self._reader.buffer() is not None or self._reader.wants_pipe()
            )
            self._decoder.expect_raw(count)
        else:
            self._reader.raw_ended()

    def _raw_came(self, view: memoryview) -> None:
        self._reader.raw_came(view)
        if not self._decoder.raw_left:
            self._reader.raw_ended()

    def _space(self) -> memoryview | None:
        """Where the bytes that come now belong."""
        left = self._decoder.raw_left
        buffer = self._reader.buffer() if left and self._large else None
        return buffer.space()[: self._most(left)] if buffer is not None else None

    def _received(self, count: int) -> None:
        """So many are there."""
        buffer = self._reader.buffer()
        if buffer is not None:
            self._reader.raw_received(buffer, count)
            self._bypassed(count)

    def _bypassed(self, count: int) -> None:
        """So many raw bytes came without the decoder, and are where they belong."""
        self._decoder.bypassed(count)
        try:
            if not self._decoder.raw_left:
                self._reader.raw_ended()
        except PeerError as error:
            self._failed(error)
            return
        self._charge(count)

    def _room(self) -> int:
        """How many bytes may go through the pipe now; 0: the transport is to read."""
        left = self._decoder.raw_left
        if left and self._large and self._reader.wants_pipe():
            return self._most(min(left, READ_BYTES))
        small = self._large and not left
        self._transport.bufferSize = self._most(MESSAGE_BYTES if small else PLAIN_BYTES)
        return 0

    def _piped(self, data: PipedBytes) -> None:
        """So many are in the pipe."""
        if not self._reader.raw_came(data) and self._filler is not None:
            self._filler.close_pipe()
        self._bypassed(len(data))

    # -- our own limit

    def _most(self, count: int) -> int:
        rate = self._bucket.rate
        if rate is None:
            return count
        return min(count, max(_LEAST_READ_BYTES, int(rate * _LIMITED_READ_SECONDS)))

    def _charge(self, count: int) -> None:
        """Pay for what came; where the limit is reached, read no more until it is paid."""
        if self._low_water is not None and not self._stopped:
            self._low_water.came(count, self._decoder.raw_left)
        if self._bucket.rate is None and not self._owed:
            return
        self._owed += count
        self._owed -= self._bucket.take(self._owed)
        if self._owed and self._pause.due is None and not self._stopped:
            self._transport.pauseProducing()
            self._pause.set(self._bucket.delay(), self._pay)

    def _pay(self) -> None:
        self._held_up = True
        self._owed -= self._bucket.take(self._owed)
        if self._owed:
            self._pause.set(self._bucket.delay(), self._pay)
        else:
            self._transport.resumeProducing()
