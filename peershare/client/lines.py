"""Lines from stdin, whatever it is: a pipe, a file, a terminal that edits its lines itself.

Bounded: reading stops while over a thousand lines wait.  Not for: a terminal that we edit
lines on (`editor`).
"""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

MAX_WAITING_LINES = 1_000
# Longer than any name or path; the rest of such a line is thrown away.
MAX_LINE_BYTES = 8_192


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
