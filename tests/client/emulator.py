"""A terminal as far as the client uses one: what it shows after some bytes, and what it said.

Not for: other programs.  What the client may not send to a terminal is an error here.
"""

from __future__ import annotations

import re
import unicodedata

from rich.cells import cell_len

_SEQUENCE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])")


class Terminal:
    """Columns and rows with a cursor; lines that scroll out at the top are kept."""

    def __init__(self, columns: int, rows: int = 24) -> None:
        self.columns = columns
        self.rows = rows
        self.scrolled: list[str] = []
        self._cells: list[list[str]] = [[]]
        self._row = 0
        self._column = 0
        self._rest = b""

    @property
    def lines(self) -> list[str]:
        """Everything that is or was on the screen, top down, without trailing blanks."""
        shown = ["".join(row).rstrip() for row in self._cells]
        while shown and not shown[-1]:
            shown.pop()
        return self.scrolled + shown

    @property
    def text(self) -> str:
        """The same as one text."""
        return "\n".join(self.lines)

    @property
    def cursor_line(self) -> str:
        """The line that the cursor is in, as far as it goes."""
        return "".join(self._cells[self._row]).rstrip()

    @property
    def before_cursor(self) -> str:
        """What stands before the cursor in its line."""
        return "".join(self._cells[self._row][: self._column])

    def feed(self, data: bytes) -> None:
        """Show this."""
        data = self._rest + data
        cut = self._complete(data)
        self._rest = data[cut:]
        text = data[:cut].decode("utf-8")
        position = 0
        while position < len(text):
            if text[position] == "\x1b":
                match = _SEQUENCE.match(text, position)
                if match is None:
                    raise AssertionError(f"unknown sequence {text[position : position + 10]!r}")
                self._sequence(match[1], match[2])
                position = match.end()
            else:
                self._character(text[position])
                position += 1

    def _complete(self, data: bytes) -> int:
        """How much of it ends with a whole character and a whole sequence."""
        cut = len(data)
        escape = data.rfind(b"\x1b")
        if escape >= 0 and not re.match(rb"\x1b\[[0-9;?]*[A-Za-z]", data[escape:]):
            cut = escape
        for back in range(1, min(4, cut) + 1):
            byte = data[cut - back]
            if byte >= 0xC0:
                need = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
                return cut - back if back < need else cut
            if byte < 0x80:
                break
        return cut

    def _sequence(self, argument: str, letter: str) -> None:
        if letter == "m":
            return
        if letter == "A":
            self._row = max(0, self._row - int(argument or 1))
        elif letter == "C":
            self._column = min(self.columns - 1, self._column + int(argument or 1))
        elif letter == "J" and argument == "":
            del self._cells[self._row][self._column :]
            del self._cells[self._row + 1 :]
        elif letter == "J" and argument == "2":
            self._cells = [[] for _ in range(self._row + 1)]
        elif letter == "H" and argument == "":
            self._row = self._column = 0
        else:
            raise AssertionError(f"unknown sequence {argument}{letter}")

    def _character(self, character: str) -> None:
        if character == "\r":
            self._column = 0
        elif character == "\n":
            self._down()
        elif unicodedata.category(character) == "Cc" and character != "\t":
            raise AssertionError(f"a control character: {character!r}")
        else:
            self._show(" " if character == "\t" else character)

    def _show(self, character: str) -> None:
        width = cell_len(character)
        if self._column + width > self.columns:
            self._column = 0
            self._down()
        row = self._cells[self._row]
        row += [" "] * (self._column - len(row))
        row[self._column : self._column + width] = [character] + [""] * (width - 1)
        self._column += width

    def _down(self) -> None:
        self._row += 1
        if self._row == len(self._cells):
            self._cells.append([])
        if self._row == self.rows:
            self.scrolled.append("".join(self._cells.pop(0)).rstrip())
            self._row -= 1
