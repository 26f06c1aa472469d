"""Stdin as Twisted reads it, and the terminal given back as it was.

`StandardIO` makes what it reads and writes non-blocking, and that holds for every process that
has the terminal from the same shell, the shell included.  So a terminal is opened anew where that
is allowed, and everything that goes to it is written by the one transport; where stdin is a pipe
or a file, stdout is left alone.  Not for: what is read (`lines`, `editor`).
"""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol
from twisted.internet.stdio import StandardIO
from twisted.internet.task import deferLater
from zope.interface import implementer

from peershare.client.console import Console, Descriptor

_FLUSH_SECONDS = 1.0
_STANDARD = (0, 1, 2)


class Stdin:
    """Owns stdin from `open` to `close`."""

    def __init__(self, console: Console, reactor: Any) -> None:
        self._console = console
        self._reactor = reactor
        self._diverted: list[Descriptor] = []
        self._transport: Any = None
        self._before = {number: _is_blocking(number) for number in _STANDARD}
        self._lent: dict[int, bool | None] = {}

    def open(self, protocol: Protocol) -> None:
        """Read stdin into this protocol; if it is a terminal, write to that by its transport."""
        both = (self._console.out, self._console.err)
        self._diverted = [one for one in both if _one_terminal(0, one.number)]
        if self._diverted:
            output = _opened_anew(self._diverted[0].number, os.O_WRONLY)
        else:
            output = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        standard_io: Any = StandardIO  # what is typed is its form for another system
        source = _opened_anew(0, os.O_RDONLY)
        self._transport = standard_io(protocol, source, output, self._reactor)
        self._transport.registerProducer(_Brake(self._console), True)
        for descriptor in self._diverted:
            descriptor.divert(self._transport.write)

    async def close(self) -> None:
        """Write what is left (a terminal that takes nothing costs a second), and give all back."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.unregisterProducer()
            transport.loseConnection()
            deadline = self._reactor.seconds() + _FLUSH_SECONDS
            while not transport.disconnected and self._reactor.seconds() < deadline:
                await deferLater(self._reactor, 0.01)
        self.restore()

    def restore(self) -> None:
        """Give all back at once; may be called at any time."""
        for descriptor in self._diverted:
            descriptor.divert(None)
        _set_blocking(self._before)

    def lend(self) -> None:
        """Give it back for a while: another process is in the foreground."""
        self._lent = {number: _is_blocking(number) for number in _STANDARD}
        _set_blocking(self._before)

    def take_back(self) -> None:
        """We are in the foreground again."""
        _set_blocking(self._lent)


@implementer(IPushProducer)
class _Brake:
    """Keeps the screen from drawing while the terminal takes nothing (Ctrl-S, a stuck window)."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def pauseProducing(self) -> None:
        """Twisted: there is much to be written already."""
        self._hold(True)

    def resumeProducing(self) -> None:
        """Twisted: it was written."""
        self._hold(False)

    def stopProducing(self) -> None:
        """Twisted: the terminal is gone."""
        self._hold(True)

    def _hold(self, held: bool) -> None:
        if self._console.screen is not None:
            self._console.screen.hold(held)


def _one_terminal(first: int, second: int) -> bool:
    """Whether two descriptors are one terminal."""
    if not (os.isatty(first) and os.isatty(second)):
        return False
    return os.fstat(first).st_rdev == os.fstat(second).st_rdev


def _opened_anew(number: int, flags: int) -> int:
    """A descriptor of our own for the terminal; the given one if it is none, or not ours to open.

    (A terminal that `su` was called on belongs to somebody else.)
    """
    try:
        return os.open(os.ttyname(number), flags | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return number


def _is_blocking(number: int) -> bool | None:
    try:
        return os.get_blocking(number)
    except OSError:
        return None


def _set_blocking(states: dict[int, bool | None]) -> None:
    for number, blocking in states.items():
        if blocking is not None:
            os.set_blocking(number, blocking)
