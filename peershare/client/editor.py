"""The line editor of the prompt: keys in, lines out.

Twisted's `HistoricRecvLine` knows the keys, the history and the buffer; but it knows neither
UTF-8 nor lines longer than the terminal is wide, and it draws as if nobody else did.  So its own
output goes nowhere, and the buffer is drawn by the `Screen` after each burst of keys.
Not for: what a line means.
"""

from __future__ import annotations

from codecs import getincrementaldecoder
from typing import Protocol

from twisted.conch.insults.insults import ServerProtocol
from twisted.conch.recvline import HistoricRecvLine
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from peershare.client.screen import InputLine, Screen
from peershare.content.names import display

PROMPT = "peershare> "
MAX_LINE_CHARACTERS = 4_096


class EditorEvents(Protocol):
    """What the editor tells whoever asked for lines."""

    def line_entered(self, line: str) -> None:
        """A line was entered."""

    def input_ended(self) -> None:
        """Ctrl-D on an empty line, or the terminal is gone."""

    def interrupted(self) -> None:
        """Ctrl-C on an empty line."""

    def suspended(self) -> None:
        """Ctrl-Z."""

    def completed(self, line: str) -> str:
        """Tab: the line, completed as far as it can be."""


class Editor(HistoricRecvLine):
    """Edits one line after the other on a screen."""

    def __init__(self, screen: Screen, events: EditorEvents) -> None:
        self._screen = screen
        self._events = events
        self._decoder = getincrementaldecoder("utf-8")("replace")
        self._closed = False

    def connectionMade(self) -> None:
        """Twisted: keys may come."""
        super().connectionMade()
        self.keyHandlers.update(
            {
                b"\x01": self.handle_HOME,
                b"\x02": self.handle_LEFT,
                b"\x03": self.handle_INTERRUPT,
                b"\x04": self.handle_EOF,
                b"\x05": self.handle_END,
                b"\x06": self.handle_RIGHT,
                b"\x08": self.handle_BACKSPACE,
                b"\x0b": self.handle_KILL_END,
                b"\x0c": self._screen.clear,
                b"\x0e": self.handle_DOWN,
                b"\x10": self.handle_UP,
                b"\x15": self.handle_KILL_LINE,
                b"\x17": self.handle_KILL_WORD,
                b"\x1a": self._events.suspended,
            }
        )
        self.draw()

    def initializeScreen(self) -> None:
        """Twisted: the screen is the console's; only the mode is set."""
        self.setInsertMode()

    def keystrokeReceived(self, keyID: bytes, modifier: object) -> None:
        """Twisted: a key, or one byte of a character."""
        if self._closed:
            if keyID == b"\x03":
                self._events.interrupted()
            return
        handler = self.keyHandlers.get(keyID)
        if modifier is not None:
            return  # Alt and Shift with a key mean nothing here
        if handler is not None:
            handler()
        elif len(keyID) == 1 and keyID >= b" ":
            self.characterReceived(keyID, False)

    def characterReceived(self, ch: bytes, moreCharactersComing: bool) -> None:
        """Twisted: one byte of a character to insert."""
        for character in self._decoder.decode(ch):
            if len(self.lineBuffer) < MAX_LINE_CHARACTERS:
                self.lineBuffer.insert(self.lineBufferIndex, character.encode())
                self.lineBufferIndex += 1

    def handle_TAB(self) -> None:
        """Twisted: complete what is before the cursor, if that is all of it."""
        if self.lineBufferIndex == len(self.lineBuffer):
            line = b"".join(self.lineBuffer).decode()
            self._set_line(self._events.completed(line))

    def handle_INTERRUPT(self) -> None:
        """Ctrl-C: away with the line, or with us."""
        if self.lineBuffer:
            self._set_line("")
        else:
            self._events.interrupted()

    def handle_EOF(self) -> None:
        """Ctrl-D: the end on an empty line, else the character under the cursor."""
        if self.lineBuffer:
            self.handle_DELETE()
        else:
            self._events.input_ended()

    def handle_KILL_END(self) -> None:
        """Ctrl-K: away with what is behind the cursor."""
        del self.lineBuffer[self.lineBufferIndex :]

    def handle_KILL_LINE(self) -> None:
        """Ctrl-U: away with what is before the cursor."""
        del self.lineBuffer[: self.lineBufferIndex]
        self.lineBufferIndex = 0

    def handle_KILL_WORD(self) -> None:
        """Ctrl-W: away with the word before the cursor."""
        start = self.lineBufferIndex
        while start and self.lineBuffer[start - 1] == b" ":
            start -= 1
        while start and self.lineBuffer[start - 1] != b" ":
            start -= 1
        del self.lineBuffer[start : self.lineBufferIndex]
        self.lineBufferIndex = start

    def handle_INSERT(self) -> None:
        """Twisted: there is no typing over here."""

    def lineReceived(self, line: bytes) -> None:
        """Twisted: a line was entered."""
        text = line.decode()
        self.draw()
        self._screen.print(PROMPT + display(text, MAX_LINE_CHARACTERS))
        self._events.line_entered(text)

    def draw(self) -> None:
        """Show the line as it is now."""
        if not self._closed:
            shown = [display(character.decode()) for character in self.lineBuffer]
            self._screen.set_input(InputLine(PROMPT, shown, self.lineBufferIndex))

    def close(self) -> None:
        """Take no more lines; Ctrl-C still counts."""
        self._closed = True
        self._screen.set_input(None)

    def connectionLost(self, reason: Failure) -> None:
        """Twisted: the terminal is gone."""
        if not self._closed:
            self._events.input_ended()

    def _set_line(self, line: str) -> None:
        self.lineBuffer = [character.encode() for character in line]
        self.lineBufferIndex = len(self.lineBuffer)


@implementer(IHalfCloseableProtocol)
class KeyReader(ServerProtocol):
    """Turns what a terminal sends into keys; what the editor writes back goes nowhere."""

    def __init__(self, editor: Editor) -> None:
        super().__init__(lambda: editor)
        self._editor = editor

    def write(self, data: bytes) -> None:
        """Twisted: the screen draws, nobody else."""

    def dataReceived(self, data: bytes) -> None:
        """Twisted: keys."""
        super().dataReceived(data)
        self._editor.draw()

    def readConnectionLost(self) -> None:
        """Twisted: there is no terminal to read any more."""
        self._editor.connectionLost(Failure(EOFError()))

    def writeConnectionLost(self) -> None:
        """Twisted: there is no terminal to write to any more."""

    def reset(self) -> None:
        """Twisted: a terminal that is not ours alone is not reset."""
