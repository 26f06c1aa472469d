r"""The part of a terminal that is redrawn in place: progress lines, and below them the input line.

Whatever else is printed goes above it and scrolls away as usual.  Every change is one write:
take the old region away, print, draw the new region.  Used are only `\r`, cursor up and forward,
erase to the end, and colours.  Pure but for the `write` that it is given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_MIN_WIDTH = 10


class Size(NamedTuple):
    """Columns and rows of a terminal."""

    columns: int
    rows: int


class InputLine(NamedTuple):
    """What is being typed, as it is shown: each character as its own text, and the cursor."""

    prompt: str
    characters: Sequence[str]
    cursor: int  # before which character


class Drawn(NamedTuple):
    """A line as it stands on the screen."""

    text: str
    cells: int


def cells_of(text: str) -> int:
    """How many cells of a terminal a text fills; colours fill none."""
    from rich.cells import cell_len

    return cell_len(_COLOUR.sub("", text))


def fit_input(line: InputLine, width: int) -> tuple[str, int]:
    """The window on a line that shows its cursor, and the cursor's column in it.

    At most `width` cells; what does not fit on a side is shown as `…` there.
    """
    sizes = [cells_of(character) for character in line.characters]
    prompt = line.prompt if cells_of(line.prompt) <= width - _MIN_WIDTH else ""
    room = max(4, width - cells_of(prompt))
    if sum(sizes) < room:  # one cell stays free for the cursor behind the end
        before = sum(sizes[: line.cursor])
        return prompt + "".join(line.characters), cells_of(prompt) + before
    start, used = line.cursor, 0
    while start > 0 and used + sizes[start - 1] <= (room - 3) * 2 // 3:
        start -= 1
        used += sizes[start]
    end, filled = line.cursor, used
    while end < len(sizes) and filled + sizes[end] <= room - 3:
        filled += sizes[end]
        end += 1
    left = "…" if start else ""
    right = "…" if end < len(sizes) else ""
    shown = f"{prompt}{left}{''.join(line.characters[start:end])}{right}"
    return shown, cells_of(prompt) + len(left) + used


class Screen:
    """The region of one terminal."""

    def __init__(self, write: Callable[[bytes], object], size: Callable[[], Size]) -> None:
        """`write` takes what is to go to the terminal; `size` asks how large it is now."""
        self._write = write
        self._size = size
        self._block: list[str] = []
        self._input: InputLine | None = None
        self._drawn: list[Drawn] = []
        self._column = 0
        self._closed = False
        self._held = False

    @property
    def size(self) -> Size:
        """How large the terminal is."""
        columns, rows = self._size()
        return Size(max(columns, _MIN_WIDTH), max(rows, 3))

    def print(self, text: str) -> None:
        """Print lines above the region."""
        lines = text.replace("\n", "\r\n")
        self._put(f"{self._erased()}{lines}\r\n{self._region()}")

    def set_block(self, lines: Sequence[str]) -> None:
        """Show these progress lines (each shorter than the terminal is wide)."""
        if list(lines) != self._block:
            self._block = list(lines)
            self.redraw()

    def set_input(self, line: InputLine | None) -> None:
        """Show this input line below them, or none."""
        self._input = line
        self.redraw()

    def redraw(self) -> None:
        """Draw the region anew, in the terminal's present size."""
        if not self._held:
            self._put(self._erased() + self._region())

    def hold(self, held: bool) -> None:
        """Draw the region no more while the terminal takes nothing: it would only pile up."""
        self._held = held
        self.redraw()

    def hide(self) -> None:
        """Take the region away for now; `redraw` brings it back, wherever the cursor is then."""
        self._put(self._erased())

    def clear(self) -> None:
        """Wipe the whole terminal and draw the region at its top."""
        self._drawn = []
        self._put(f"\x1b[H\x1b[2J{self._region()}")

    def close(self) -> None:
        """Take the region away; the cursor is at the beginning of a free line."""
        if not self._closed:
            self.hide()
            self._block, self._input, self._closed = [], None, True

    def _put(self, text: str) -> None:
        if text:
            self._write(text.encode("utf-8", "replace"))

    def _erased(self) -> str:
        """What takes the drawn region away."""
        if not self._drawn:
            return ""
        width = self.size.columns
        # a terminal that was made narrower has broken the lines that no longer fit
        above = sum(max(1, -(-drawn.cells // width)) for drawn in self._drawn[:-1])
        above += self._column // width
        self._drawn = []
        return (f"\x1b[{above}A" if above else "") + "\r\x1b[J"

    def _region(self) -> str:
        """What draws the region, from the beginning of a free line."""
        if self._closed or not (self._block or self._input):
            return ""
        size = self.size
        lines, self._column = self._block[: size.rows - 2], 0
        if self._input is not None:
            shown, self._column = fit_input(self._input, size.columns - 1)
            lines = [*lines, shown]
        else:
            lines = [*lines, ""]
        self._drawn = [Drawn(line, cells_of(line)) for line in lines]
        forward = f"\x1b[{self._column}C" if self._column else ""
        return "\r\n".join(lines) + "\r" + forward
