"""How a native session's messages and blocks leave, as few turns and copies as can be.

`Outgoing` is a pull producer that asks its session for the next thing to send only when there is
room for it, so nothing waits here that could still be taken back.  Over a socket it writes past
the transport: a header with MSG_MORE and the block with `os.sendfile` right behind it, several
blocks in one turn.  Elsewhere (a simulated network, TLS) it reads and writes pieces.
A block's last byte is held back until it is sure that the file did not change meanwhile.  (The
kernel sends from the page cache: what it took and has not sent can change even so, and whoever
reads it checks it.)  Not for: what is sent, or in which order.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from twisted.internet.interfaces import IPullProducer
from zope.interface import implementer

from peershare.content.chunks import ByteRange
from peershare.library.opened import FileChangedError, OpenFile
from peershare.sending import descriptor_of
from peershare.serving.tuning import Unsent, tune
from peershare.throttle import TokenBucket
from peershare.timers import Alarm

# At most about this much in one turn, so that no reader makes another wait.
TURN_BYTES = 1 << 21
LIMITED_TURN_BYTES = 1 << 16
# Pieces that are read and written where the kernel does not send.
_PIECE_BYTES = 1 << 16
# A block up to this size leaves in one write with what is before and behind it.
_SMALL_BYTES = 1 << 15
# Messages are gathered up to this size.
_GATHERED_BYTES = 1 << 16
_MORE = getattr(socket, "MSG_MORE", 0)


@dataclass(eq=False, slots=True)
class Shipment:
    """A block on its way: its message, where its bytes are, and who is told that they have left.

    Its content is held; it is released when the shipment is done, well or not.
    """

    header: bytes
    content: OpenFile
    range: ByteRange
    left: Callable[[], None]


# What a session gives to be sent: a message, bytes that follow one, or a block.
Parcel: TypeAlias = bytes | memoryview | Shipment
Warm: TypeAlias = Callable[[OpenFile, ByteRange, Callable[[], None]], bool]


@implementer(IPullProducer)
class Outgoing:
    """Sends whatever `supply` gives, for as long as the connection lasts."""

    def __init__(
        self,
        reactor: Any,
        transport: Any,
        bucket: TokenBucket,
        warm: Warm,
        *,
        supply: Callable[[], Parcel | None],
        drained: Callable[[], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """`supply()` is None when there is nothing to send; `wake` when there may be something.

        `warm(content, range, then)` is whether the range can be read without waiting for a disk;
        if not, it calls `then` when it can.  `drained`: all that there was has left.  `failed`
        gets the error of a block that cannot be sent to its end (`OSError`, `FileChangedError`);
        nothing is sent any more after that.
        """
        self._transport = transport
        self._bucket = bucket
        self._warm = warm
        self._supply = supply
        self._drained = drained
        self._failed = failed
        self._socket: socket.socket | None = None
        if descriptor_of(transport) >= 0 and hasattr(transport, "getHandle"):
            self._socket = tune(transport.getHandle())
            self._unsent = Unsent(self._socket, reactor.seconds)
        self._bytes = bytearray()
        self._parked: Shipment | None = None  # until it is readable without waiting for a disk
        self._readable = False
        self._shipment: Shipment | None = None
        self._offset = 0
        self._idle = True
        self._over = False
        self._held_up = False
        self._pause = Alarm(reactor)
        self.sent = 0

    @property
    def idle(self) -> bool:
        """Whether all that there was has left."""
        return self._idle

    @property
    def under_way(self) -> int:
        """Bytes that have left of a block that is on its way, or was when this was stopped."""
        return self._offset - self._shipment.range.start if self._shipment is not None else 0

    def was_held_up(self) -> bool:
        """Whether it was our own limit or disk that held it up since this was asked."""
        held_up, self._held_up = self._held_up, False
        return held_up or self._parked is not None or self._pause.due is not None

    def start(self) -> None:
        """Begin; the transport must be empty, and nobody else may write to it."""
        self._transport.registerProducer(self, False)

    def wake(self) -> None:
        """There may be something to send."""
        if self._idle:
            self.resumeProducing()

    def resumeProducing(self) -> None:
        """Twisted: the transport has room."""
        if self._over or self._pause.due is not None:
            return
        self._idle = False
        try:
            if self._socket is not None:
                self._send(self._socket)
            else:
                self._write()
        except (FileChangedError, OSError) as error:
            self.stopProducing()
            self._failed(error)

    def stopProducing(self) -> None:
        """Send nothing any more; the connection may be gone.  May be called twice."""
        self._pause.clear()
        if not self._over:
            self._over = True
            self._bytes.clear()
            for shipment in (self._parked, self._shipment):
                if shipment is not None:
                    shipment.content.release()

    def close(self) -> None:
        """Send nothing any more, so that the transport can end the stream."""
        self.stopProducing()
        self._transport.unregisterProducer()

    # -- what is next

    def _fill(self) -> bool:
        """Take from the session what is to go next; False if there is nothing, or not yet."""
        while self._shipment is None and len(self._bytes) < _GATHERED_BYTES:
            if self._parked is None:
                parcel = self._supply()
                if parcel is None:
                    break
                if not isinstance(parcel, Shipment):
                    self._bytes += parcel
                    continue
                self._parked = parcel
                self._readable = self._warm(parcel.content, parcel.range, self._warmed)
            if not self._readable:
                break
            shipment, self._parked = self._parked, None
            self._begin(shipment)
        return not self._over and bool(self._bytes or self._shipment is not None)

    def _warmed(self) -> None:
        """The block that is next can be read now without waiting for a disk."""
        self._held_up = self._readable = True
        self.resumeProducing()

    def _begin(self, shipment: Shipment) -> None:
        self._bytes += shipment.header
        self._shipment, self._offset = shipment, shipment.range.start
        if shipment.range.length <= _SMALL_BYTES and self._bucket.rate is None:
            self._finish(shipment)

    def _finish(self, shipment: Shipment) -> None:
        """What is left of the block goes with what comes next, if the file did not change."""
        rest = ByteRange(self._offset, shipment.range.stop)
        self._bytes += shipment.content.read(rest)
        self._done(shipment)

    def _done(self, shipment: Shipment) -> None:
        self._shipment = None
        shipment.content.release()
        shipment.left()

    def _granted(self, wanted: int) -> int:
        """How many of these bytes our limit lets go now; if none, it goes on by itself later."""
        granted = self._bucket.take(wanted)
        if granted == 0:
            self._held_up = True
            self._pause.set(self._bucket.delay(), self.resumeProducing)
        return granted

    def _rest(self) -> None:
        """There is nothing to send; perhaps only until a disk has been read."""
        self._idle = self._parked is None
        if self._idle and not self._over:
            self._drained()

    # -- past the transport

    def _send(self, connection: socket.socket) -> None:
        """Give the kernel as much as it takes, within a turn."""
        self._unsent.sent(self.sent)
        end = self.sent + (TURN_BYTES if self._bucket.rate is None else LIMITED_TURN_BYTES)
        while self._fill():
            if self.sent >= end or not (
                self._send_bytes(connection) and self._send_block(connection)
            ):
                if self._pause.due is None:
                    self._transport.startWriting()
                return
        self._rest()

    def _send_bytes(self, connection: socket.socket) -> bool:
        """Send what is gathered; False if not all of it went."""
        if not self._bytes:
            return True
        try:
            count = connection.send(self._bytes, _MORE if self._shipment is not None else 0)
        except (BlockingIOError, InterruptedError):
            return False
        self.sent += count
        del self._bytes[:count]
        return not self._bytes

    def _send_block(self, connection: socket.socket) -> bool:
        """Send of the block what may go; False if it is not at its end."""
        shipment = self._shipment
        if shipment is None:
            return True
        last = shipment.range.stop - 1
        if self._offset < last:
            turn = TURN_BYTES if self._bucket.rate is None else LIMITED_TURN_BYTES
            granted = self._granted(min(turn, last - self._offset))
            if granted == 0:
                return False
            count = _send_file(connection, shipment.content.descriptor, self._offset, granted)
            self._bucket.refund(granted - count)
            self.sent += count
            self._offset += count
            if self._offset < last:
                return False
        self._finish(shipment)
        return True

    # -- through the transport

    def _write(self) -> None:
        """Give the transport one piece; it asks again when that has left."""
        if not self._fill():
            self._rest()
            return
        shipment = self._shipment
        if shipment is not None:
            left = shipment.range.stop - self._offset
            self._read(shipment, self._granted(min(_PIECE_BYTES, left)))
        data = bytes(self._bytes)
        self._bytes.clear()
        self.sent += len(data)
        if data:
            self._transport.write(data)

    def _read(self, shipment: Shipment, count: int) -> None:
        """Read the next piece of the block."""
        data = os.pread(shipment.content.descriptor, count, self._offset)
        if len(data) < count:
            raise FileChangedError("the file is shorter than it was")
        self._bytes += data
        self._offset += count
        if self._offset == shipment.range.stop:
            shipment.content.check_unchanged()
            self._done(shipment)


def _send_file(connection: socket.socket, descriptor: int, offset: int, count: int) -> int:
    """`os.sendfile`; 0 if the connection takes nothing.  Raises `OSError`, `FileChangedError`."""
    try:
        sent = os.sendfile(connection.fileno(), descriptor, offset, count)
    except (BlockingIOError, InterruptedError):
        return 0
    if sent == 0:
        raise FileChangedError("the file is shorter than it was")
    return sent
