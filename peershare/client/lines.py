"""Lines from stdin, whatever it is: a pipe, a file, a terminal that edits its lines itself.

Bounded: reading stops while over a thousand lines wait.  Not for: a terminal that we edit
lines on (`editor`).
"""

from __future__ import annotations

import os
from collections import deque
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.stdio import StandardIO
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from zope.interface import implementer

from peershare.client.console import Console, Descriptor

MAX_WAITING_LINES = 1_000
# Longer than any name or path; the rest of such a line is thrown away.
MAX_LINE_BYTES = 8_192
_FLUSH_SECONDS = 1.0


@implementer(IHalfCloseableProtocol)
class LineSource(Protocol):
    """The lines of stdin, in order, to whoever asks for the next one."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque()
        self._rest = b""
        self._skipping = False
        self._ended = False
        self._waiter: Deferred[None] | None = None

    async def next_line(self) -> str | None:
        """The next line without its end; None at the end of the input."""
        while not self._lines and not self._ended:
            self._waiter = Deferred(lambda _: self._forget())
            await self._waiter
        transport: Any = self.transport
        if transport is not None and len(self._lines) == MAX_WAITING_LINES // 2:
            transport.resumeProducing()
        return self._lines.popleft() if self._lines else None

    def dataReceived(self, data: bytes) -> None:
        """Twisted: some of the input is here."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if not self._skipping:
                self._lines.append(_text(line))
            self._skipping = False
        if len(self._rest) > MAX_LINE_BYTES:
            if not self._skipping:
                self._lines.append(_text(self._rest[:MAX_LINE_BYTES]))
            self._skipping, self._rest = True, b""
        transport: Any = self.transport
        if transport is not None and len(self._lines) > MAX_WAITING_LINES:
            transport.pauseProducing()
        self._wake()

    def readConnectionLost(self) -> None:
        """Twisted: the input has ended; the last line may lack its end."""
        if self._rest and not self._skipping:
            self._lines.append(_text(self._rest))
        self._rest = b""
        self._ended = True
        self._wake()

    def writeConnectionLost(self) -> None:
        """Twisted: the terminal takes no more output."""

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Twisted: both are over."""
        self.readConnectionLost()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.callback(None)

    def _forget(self) -> None:
        self._waiter = None


def _text(line: bytes) -> str:
    return line.removesuffix(b"\r").decode("utf-8", "replace")


class Stdin:
    """Owns stdin while it is read by Twisted, and gives it back as it was.

    `StandardIO` makes what it reads and writes non-blocking, and with a terminal that is
    stdin, stdout and stderr at once.  So it gets the terminal for its output too if stdin is one,
    and everything that goes to that terminal is written by its transport; where stdin is a pipe
    or a file, stdout is left alone.
    """

    def __init__(self, console: Console, reactor: Any) -> None:
        self._console = console
        self._reactor = reactor
        self._diverted: list[Descriptor] = []
        self._transport: Any = None
        self._were_blocking = {n: _is_blocking(n) for n in (0, 1, 2)}

    def open(self, protocol: Protocol) -> None:
        """Read stdin into this protocol."""
        mine = os.fstat(0)
        shared = [
            descriptor
            for descriptor in (self._console.out, self._console.err)
            if descriptor.is_terminal
            and os.isatty(0)
            and os.fstat(descriptor.number).st_rdev == mine.st_rdev
        ]
        output = shared[0].number if shared else os.open(os.devnull, os.O_RDWR)
        standard_io: Any = StandardIO  # what is typed is its form for another system
        self._transport = standard_io(protocol, 0, output, self._reactor)
        self._diverted = shared
        for descriptor in shared:
            descriptor.divert(self._transport.write)

    async def close(self) -> None:
        """Write what is left (a terminal that takes nothing costs a second), and give all back."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.loseConnection()
            deadline = self._reactor.seconds() + _FLUSH_SECONDS
            while not transport.disconnected and self._reactor.seconds() < deadline:
                await deferLater(self._reactor, 0.01)
        self.restore()

    def restore(self) -> None:
        """Give all back at once, as blocking as it was; may be called at any time."""
        for descriptor in self._diverted:
            descriptor.divert(None)
        for number, blocking in self._were_blocking.items():
            if blocking is not None:
                os.set_blocking(number, blocking)


def _is_blocking(number: int) -> bool | None:
    try:
        return os.get_blocking(number)
    except OSError:
        return None
