"""The line that is being typed: its characters, the cursor, and the lines before it.  Pure.

Not for: keys (`editor`) or how it is drawn (`screen`).
"""

from __future__ import annotations

MAX_LINE_CHARACTERS = 4_096
MAX_HISTORY_LINES = 500


class LineBuffer:
    """One line under the cursor, and a history that is walked with `older` and `newer`."""

    def __init__(self) -> None:
        self.characters: list[str] = []
        self.cursor = 0  # before which character
        self._history: list[str] = []
        self._position = 0  # in the history; at its end it is the line that is being typed
        self._typed = ""

    @property
    def text(self) -> str:
        """The line as it is now."""
        return "".join(self.characters)

    def set(self, text: str) -> None:
        """Make this the line, with the cursor behind it."""
        self.characters = list(text[:MAX_LINE_CHARACTERS])
        self.cursor = len(self.characters)

    def insert(self, text: str) -> None:
        """Type this at the cursor; what is over the limit is lost."""
        new = list(text[: MAX_LINE_CHARACTERS - len(self.characters)])
        self.characters[self.cursor : self.cursor] = new
        self.cursor += len(new)

    def left(self) -> None:
        """One character to the left."""
        self.cursor = max(0, self.cursor - 1)

    def right(self) -> None:
        """One character to the right."""
        self.cursor = min(len(self.characters), self.cursor + 1)

    def home(self) -> None:
        """To the beginning."""
        self.cursor = 0

    def end(self) -> None:
        """Behind the end."""
        self.cursor = len(self.characters)

    def backspace(self) -> None:
        """Away with the character before the cursor."""
        if self.cursor:
            self.cursor -= 1
            del self.characters[self.cursor]

    def delete(self) -> None:
        """Away with the character at the cursor."""
        del self.characters[self.cursor : self.cursor + 1]

    def kill_to_end(self) -> None:
        """Away with everything from the cursor on."""
        del self.characters[self.cursor :]

    def kill_to_start(self) -> None:
        """Away with everything before the cursor."""
        del self.characters[: self.cursor]
        self.cursor = 0

    def kill_word(self) -> None:
        """Away with the word before the cursor, and the spaces behind it."""
        start = self.cursor
        while start and self.characters[start - 1] == " ":
            start -= 1
        while start and self.characters[start - 1] != " ":
            start -= 1
        del self.characters[start : self.cursor]
        self.cursor = start

    def older(self) -> None:
        """The line before this one in the history; what was being typed is kept."""
        if self._position == len(self._history):
            self._typed = self.text
        if self._position > 0:
            self._position -= 1
            self.set(self._history[self._position])

    def newer(self) -> None:
        """The line after this one; behind the last one, what was being typed."""
        if self._position < len(self._history):
            self._position += 1
            at_end = self._position == len(self._history)
            self.set(self._typed if at_end else self._history[self._position])

    def take(self) -> str:
        """The line is entered: return it, and begin a new one."""
        line = self.text
        if line.strip() and line not in self._history[-1:]:
            self._history = [*self._history, line][-MAX_HISTORY_LINES:]
        self._position = len(self._history)
        self._typed = ""
        self.set("")
        return line
