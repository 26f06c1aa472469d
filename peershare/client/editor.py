"""The line editor of the prompt: keys in, lines out, drawn on the `Screen`.

Twisted's `ServerProtocol` turns bytes into keys; what else it can do to a terminal is not used.
(Its `RecvLine` would install a reactor when it is imported, knows no UTF-8, and draws as if
nobody else did.)  Not for: what a line means.
"""

from __future__ import annotations

from codecs import getincrementaldecoder
from collections.abc import Callable
from typing import Protocol

from twisted.conch.insults.insults import ServerProtocol, TerminalProtocol
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from peershare.client.linebuffer import MAX_LINE_CHARACTERS, LineBuffer
from peershare.client.screen import InputLine, Screen
from peershare.content.names import display

PROMPT = "peershare> "


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


class Editor(TerminalProtocol):
    """Edits one line after the other."""

    def __init__(self, screen: Screen, events: EditorEvents) -> None:
        self._screen = screen
        self._events = events
        self._buffer = LineBuffer()
        self._decoder = getincrementaldecoder("utf-8")("replace")
        self._closed = False
        self._keys = self._bindings()

    def _bindings(self) -> dict[bytes, Callable[[], None]]:
        """What each key does."""
        buffer, keys = self._buffer, ServerProtocol
        names: dict[str, Callable[[], None]] = {
            "LEFT_ARROW": buffer.left,
            "RIGHT_ARROW": buffer.right,
            "UP_ARROW": buffer.older,
            "DOWN_ARROW": buffer.newer,
            "HOME": buffer.home,
            "END": buffer.end,
            "DELETE": buffer.delete,
        }
        return {
            **{getattr(keys, name): action for name, action in names.items()},
            b"\x01": buffer.home,
            b"\x02": buffer.left,
            b"\x03": self._interrupt,
            b"\x04": self._end_of_input,
            b"\x05": buffer.end,
            b"\x06": buffer.right,
            b"\x08": buffer.backspace,
            b"\t": self._complete,
            b"\n": self._enter,
            b"\x0b": buffer.kill_to_end,
            b"\x0c": self._screen.clear,
            b"\r": self._enter,
            b"\x0e": buffer.newer,
            b"\x10": buffer.older,
            b"\x15": buffer.kill_to_start,
            b"\x17": buffer.kill_word,
            b"\x1a": self._events.suspended,
            b"\x7f": buffer.backspace,
        }

    def connectionMade(self) -> None:
        """Twisted: keys may come."""
        self.draw()

    def keystrokeReceived(self, keyID: bytes, modifier: object) -> None:
        """Twisted: a key, or one byte of a character."""
        if modifier is not None:
            return  # Alt and Shift with a key mean nothing here
        if self._closed:
            if keyID == b"\x03":
                self._events.interrupted()
            return
        action = self._keys.get(keyID)
        if action is not None:
            action()
        elif len(keyID) == 1 and keyID >= b" ":
            self._buffer.insert(self._decoder.decode(keyID))

    def unhandledControlSequence(self, seq: bytes) -> None:
        """Twisted: a key that means nothing here."""

    def draw(self) -> None:
        """Show the line as it is now."""
        if not self._closed:
            shown = [display(character) for character in self._buffer.characters]
            self._screen.set_input(InputLine(PROMPT, shown, self._buffer.cursor))

    def close(self) -> None:
        """Take no more lines; Ctrl-C still counts."""
        if not self._closed:
            self._closed = True
            self._screen.set_input(None)

    def connectionLost(self, reason: Failure) -> None:
        """Twisted: the terminal is gone."""
        if not self._closed:
            self._events.input_ended()

    def _enter(self) -> None:
        line = self._buffer.take()
        self.draw()
        self._screen.print(PROMPT + display(line, MAX_LINE_CHARACTERS))
        self._events.line_entered(line)

    def _complete(self) -> None:
        if self._buffer.cursor == len(self._buffer.characters):
            self._buffer.set(self._events.completed(self._buffer.text))

    def _interrupt(self) -> None:
        if self._buffer.characters:
            self._buffer.set("")
        else:
            self._events.interrupted()

    def _end_of_input(self) -> None:
        if self._buffer.characters:
            self._buffer.delete()
        else:
            self._events.input_ended()


@implementer(IHalfCloseableProtocol)
class KeyReader(ServerProtocol):
    """Turns what a terminal sends into keys; it writes nothing, the screen draws."""

    def __init__(self, editor: Editor) -> None:
        super().__init__(lambda: editor)
        self._editor = editor

    def dataReceived(self, data: bytes) -> None:
        """Twisted: keys."""
        super().dataReceived(data)
        self._editor.draw()

    def readConnectionLost(self) -> None:
        """Twisted: there is no terminal to read any more."""
        self._editor.connectionLost(Failure(EOFError()))

    def writeConnectionLost(self) -> None:
        """Twisted: there is no terminal to write to any more."""
