"""The line that is being typed."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from peershare.client.linebuffer import MAX_HISTORY_LINES, MAX_LINE_CHARACTERS, LineBuffer


class LineBufferTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.buffer = LineBuffer()

    def shows(self, text: str) -> None:
        """The line with the cursor as a bar."""
        line = self.buffer.text
        cursor = self.buffer.cursor
        self.assertEqual(f"{line[:cursor]}|{line[cursor:]}", text)

    def test_typing(self) -> None:
        """What is typed goes in at the cursor."""
        self.buffer.insert("frest")
        self.buffer.home()
        self.buffer.right()
        self.buffer.insert("o")
        self.shows("fo|rest")
        self.buffer.end()
        self.shows("forest|")

    def test_moving(self) -> None:
        """The cursor stops at both ends."""
        self.buffer.set("ab")
        self.buffer.right()
        self.shows("ab|")
        for _ in range(3):
            self.buffer.left()
        self.shows("|ab")

    def test_deleting(self) -> None:
        """Backspace takes what is before the cursor, delete what is at it; at the ends nothing."""
        self.buffer.set("abc")
        self.buffer.delete()
        self.buffer.backspace()
        self.shows("ab|")
        self.buffer.home()
        self.buffer.backspace()
        self.buffer.delete()
        self.shows("|b")

    def test_killing(self) -> None:
        """To the end, to the start, and the word before the cursor."""
        self.buffer.set("one two  three")
        self.buffer.kill_word()
        self.shows("one two  |")
        self.buffer.kill_word()
        self.shows("one |")
        self.buffer.set("abcd")
        self.buffer.left()
        self.buffer.left()
        self.buffer.kill_to_end()
        self.shows("ab|")
        self.buffer.left()
        self.buffer.kill_to_start()
        self.shows("|b")

    def test_taking(self) -> None:
        """An entered line leaves an empty one."""
        self.buffer.set("forest")
        self.assertEqual(self.buffer.take(), "forest")
        self.shows("|")

    def test_history(self) -> None:
        """Older and newer walk through what was entered, and back to what was being typed."""
        for line in ("one", "two"):
            self.buffer.set(line)
            self.buffer.take()
        self.buffer.insert("thr")
        seen = []
        for step in "oooonnnn":
            (self.buffer.older if step == "o" else self.buffer.newer)()
            seen.append(self.buffer.text)
        self.assertEqual(seen, ["two", "one", "one", "one", "two", "thr", "thr", "thr"])

    def test_history_keeps_no_blanks_and_no_repeats(self) -> None:
        """Empty lines and the same line again are not worth walking through."""
        for line in ("one", "", "  ", "one"):
            self.buffer.set(line)
            self.buffer.take()
        self.buffer.older()
        self.shows("one|")
        self.buffer.older()
        self.shows("one|")

    def test_bounds(self) -> None:
        """A line and the history are bounded, whatever is pasted."""
        self.buffer.insert("x" * (MAX_LINE_CHARACTERS + 10))
        self.buffer.insert("y")
        self.assertEqual(len(self.buffer.text), MAX_LINE_CHARACTERS)
        for number in range(MAX_HISTORY_LINES + 10):
            self.buffer.set(str(number))
            self.buffer.take()
        for _ in range(MAX_HISTORY_LINES + 20):
            self.buffer.older()
        self.shows("10|")
