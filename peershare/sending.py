"""How a range of a file leaves: the kernel moves the bytes, a token bucket sets the pace.

`FileRangeProducer` is a pull producer: the transport asks for more whenever it has drained,
and one `os.sendfile` goes from the page cache to the socket, so memory stays flat.  Where
there is no `sendfile` the same producer reads and writes pieces.  Two traps: the transport
stops writing before it asks for more, so writing must be started again after each
`sendfile`, EAGAIN included; and a file that shrank ends `sendfile` early without an error.
Not for: finding the file, or ending the connection, nor for native sessions, which send many
ranges and messages between them (`serving.outgoing`).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPullProducer, ISSLTransport
from zope.interface import implementer

from peershare.content.chunks import ByteRange
from peershare.throttle import TokenBucket
from peershare.timers import Alarm

# At most this much in one turn, so that no reader makes another wait.
_TURN_BYTES = 1 << 20
_LIMITED_TURN_BYTES = 1 << 16
_READ_AHEAD_BYTES = 16 << 20
_CONNECTION_ERRORS = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.ENOTCONN}
_HAS_SENDFILE = hasattr(os, "sendfile")


def descriptor_of(transport: Any) -> int:
    """The descriptor that the kernel can send to past the transport; -1 where there is none.

    There is none in a simulated network, below TLS, and where there is no `sendfile`.
    """
    if not _HAS_SENDFILE or ISSLTransport.providedBy(transport) or not hasattr(transport, "fileno"):
        return -1
    return int(transport.fileno())


def is_theirs(failed: Exception) -> bool:
    """Whether sending failed because of the connection, not because of the file."""
    return isinstance(failed, ConnectionError | TimeoutError) or (
        isinstance(failed, OSError) and failed.errno in _CONNECTION_ERRORS
    )


class FileCutShortError(Exception):
    """The file ended before the range did."""


@implementer(IPullProducer)
class FileRangeProducer:
    """Sends one byte range of an open descriptor, then calls `done` with None or an error."""

    def __init__(
        self,
        reactor: Any,
        transport: Any,
        descriptor: int,
        byte_range: ByteRange,
        bucket: TokenBucket,
        workers: Callable[..., Any],
        done: Callable[[Exception | None], None],
    ) -> None:
        """The descriptor stays the caller's, who closes it after `done` or `stopProducing`."""
        self._transport = transport
        self._descriptor = descriptor
        self._offset = byte_range.start
        self._stop = byte_range.stop
        self._bucket = bucket
        self._workers = workers
        self._done: Callable[[Exception | None], None] | None = done
        self._pause = Alarm(reactor)
        self._held_up = False
        self._read_ahead_to = byte_range.start
        self.sent = 0

    def was_held_up(self) -> bool:
        """Whether it was our own limit, not the reader, that held it up since this was asked."""
        held_up, self._held_up = self._held_up, False
        return held_up or self._pause.due is not None

    def start(self) -> None:
        """Begin; the transport must be empty."""
        self._transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        """Twisted: the transport has drained."""
        if self._done is None or self._pause.due is not None:
            return
        if self._offset == self._stop:
            self._finish(None)
            return
        turn = _TURN_BYTES if self._bucket.rate is None else _LIMITED_TURN_BYTES
        granted = self._bucket.take(min(turn, self._stop - self._offset))
        if granted == 0:
            self._held_up = True
            self._pause.set(self._bucket.delay(), self.resumeProducing)
            return
        self._read_ahead()
        try:
            sent = self._send(granted)
        except OSError as error:
            self._finish(error)
            return
        if sent is None:
            self._finish(FileCutShortError(f"{self._stop - self._offset} bytes are missing"))
            return
        self._bucket.refund(granted - sent)
        self._offset += sent
        self.sent += sent

    def stopProducing(self) -> None:
        """Twisted: the connection is gone."""
        self._done = None
        self._pause.clear()

    def _send(self, count: int) -> int | None:
        """Send up to `count` bytes; how many went, None if the file ends here."""
        descriptor = descriptor_of(self._transport)
        if descriptor < 0:
            data = os.pread(self._descriptor, min(count, _LIMITED_TURN_BYTES), self._offset)
            if data:
                self._transport.write(data)
            return len(data) or None
        try:
            sent = os.sendfile(descriptor, self._descriptor, self._offset, count)
        except (BlockingIOError, InterruptedError):
            sent = 0
        else:
            if sent == 0:
                return None
        self._transport.startWriting()
        return sent

    def _read_ahead(self) -> None:
        """Have a worker ask for the next pages: on a cold disk `sendfile` blocks the reactor."""
        if self._offset + _READ_AHEAD_BYTES // 2 < self._read_ahead_to:
            return
        start, self._read_ahead_to = self._read_ahead_to, self._offset + _READ_AHEAD_BYTES
        length = min(self._read_ahead_to, self._stop) - start
        if length > 0 and hasattr(os, "posix_fadvise"):
            ahead = self._workers(_will_need, self._descriptor, start, length)
            ahead.addErrback(lambda _: None)  # a hint: the descriptor may be closed by then

    def _finish(self, error: Exception | None) -> None:
        done, self._done = self._done, None
        self._transport.unregisterProducer()
        if done is not None:
            done(error)


def _will_need(descriptor: int, start: int, length: int) -> None:
    os.posix_fadvise(descriptor, start, length, os.POSIX_FADV_WILLNEED)
