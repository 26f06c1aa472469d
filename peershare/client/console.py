"""The console: data to stdout, everything else to stderr, and a screen where there is one.

Where stdout is a terminal, a `Screen` keeps progress and input at its bottom, and everything
that goes to a terminal goes through it.  Not for: what is said.
"""

from __future__ import annotations

import errno
import os
import select
from collections.abc import Callable, Mapping
from enum import Enum

from peershare.client.outcome import ClientError
from peershare.client.screen import Screen, Size

_FALLBACK = Size(80, 24)


class OutputClosedError(ClientError):
    """Who read our output has gone; there is nobody to tell."""


class Style(Enum):
    """How a line of a note looks on a terminal with colours."""

    PLAIN = ""
    DIM = "2"
    GOOD = "32"
    WARNING = "33"
    BAD = "31"


class Descriptor:
    """A file descriptor that is written to at once, and whole, whoever else made it non-blocking.

    `divert` sends everything elsewhere from then on: to the transport that owns the terminal.
    """

    def __init__(self, number: int, name: str) -> None:
        self.number = number
        self._name = name
        self._divert: Callable[[bytes], object] | None = None
        self.is_terminal = os.isatty(number)

    def divert(self, write: Callable[[bytes], object] | None) -> None:
        """Write through this from now on; None: directly again."""
        self._divert = write

    def write(self, data: bytes) -> None:
        """Write all of it.  Raises `OutputClosedError` when nobody reads any more."""
        if self._divert is not None:
            self._divert(data)
            return
        while data:
            try:
                data = data[os.write(self.number, data) :]
            except BlockingIOError:
                select.select([], [self.number], [])
            except OSError as error:
                if error.errno in (errno.EPIPE, errno.EIO, errno.EBADF):
                    raise OutputClosedError(f"{self._name} was closed") from None
                raise ClientError(f"cannot write to {self._name}: {error.strerror}") from None


class Console:
    """What the client says, and where."""

    def __init__(self, environment: Mapping[str, str], *, json: bool = False) -> None:
        """`json`: stdout is read by a program, so nothing is drawn on it."""
        self.out = Descriptor(1, "stdout")
        self.err = Descriptor(2, "stderr")
        able = environment.get("TERM", "dumb") not in ("", "dumb")
        plain = bool(environment.get("NO_COLOR"))
        self.color = self.out.is_terminal and able and not plain
        self.bars = self.color and not json
        self.closed = False  # nobody gets our data any more
        self.on_closed: Callable[[], object] = lambda: None
        self.screen: Screen | None = None
        if self.out.is_terminal and able and not json:
            self.screen = Screen(self.out.write, self._size)

    @property
    def columns(self) -> int:
        """How wide stdout is."""
        return self._size().columns

    def data(self, text: str) -> None:
        """A line (or several) of what was asked for.

        If it cannot be written any more, `closed` is set and `on_closed` called, once.
        """
        if self.closed:
            return
        try:
            if self.screen is not None:
                self.screen.print(text)
            else:
                self.out.write(f"{text}\n".encode("utf-8", "replace"))
        except ClientError as error:
            self.closed = True
            if not isinstance(error, OutputClosedError):
                self.note(f"peershare: {error}", Style.BAD)
            self.on_closed()

    def note(self, text: str, style: Style = Style.PLAIN) -> None:
        """A line of everything else; one that cannot be written is lost."""
        if style.value and self.color and self.err.is_terminal:
            text = f"\x1b[{style.value}m{text}\x1b[0m"
        if self.screen is not None and self.err.is_terminal:
            self.screen.print(text)
            return
        try:
            self.err.write(f"{text}\n".encode("utf-8", "replace"))
        except ClientError:
            return

    def close(self) -> None:
        """Leave the terminal as a shell wants it."""
        if self.screen is not None:
            self.screen.close()

    def _size(self) -> Size:
        try:
            columns, lines = os.get_terminal_size(self.out.number)
        except OSError:
            return _FALLBACK
        # a pseudo-terminal that nobody has given a size has 0 of both
        return Size(columns or _FALLBACK.columns, lines or _FALLBACK.rows)
