"""The region that is redrawn in place, on an emulated terminal."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from twisted.trial.unittest import SynchronousTestCase

from peershare.client.screen import InputLine, Screen, Size, cells_of, fit_input
from tests.client.emulator import Terminal


def typed(text: str, cursor: int | None = None) -> InputLine:
    return InputLine("peershare> ", tuple(text), len(text) if cursor is None else cursor)


class ScreenTests(SynchronousTestCase):
    def make(self, columns: int = 40, rows: int = 10) -> None:
        self.size = Size(columns, rows)
        self.terminal = Terminal(columns, rows)
        self.screen = Screen(self.terminal.feed, lambda: self.size)

    def test_print_without_region(self) -> None:
        """Without a region, printing is printing."""
        self.make()
        self.screen.print("one")
        self.screen.print("two\nthree")
        self.assertEqual(self.terminal.lines, ["one", "two", "three"])

    def test_region_stays_below(self) -> None:
        """What is printed goes above progress and input, which stay as they are."""
        self.make()
        self.screen.set_block(["bar one", "bar two"])
        self.screen.set_input(typed("for"))
        self.screen.print("a notice")
        self.screen.print("another")
        self.assertEqual(
            self.terminal.lines, ["a notice", "another", "bar one", "bar two", "peershare> for"]
        )
        self.assertEqual(self.terminal.before_cursor, "peershare> for")

    def test_typing_under_a_moving_bar(self) -> None:
        """Between any two redraws the typed text and the cursor are where they were."""
        self.make()
        for step in range(30):
            self.screen.set_block([f"forest {step} %"])
            self.screen.set_input(typed("be careful", 2))
            self.assertEqual(self.terminal.lines, [f"forest {step} %", "peershare> be careful"])
            self.assertEqual(self.terminal.before_cursor, "peershare> be")

    def test_block_grows_and_shrinks(self) -> None:
        """Lines that are no longer needed leave nothing behind."""
        self.make()
        self.screen.set_input(typed(""))
        for count in (3, 1, 2, 0):
            self.screen.set_block([f"bar {number}" for number in range(count)])
            bars = [f"bar {number}" for number in range(count)]
            self.assertEqual(self.terminal.lines, [*bars, "peershare>"])

    def test_long_print(self) -> None:
        """A line longer than the terminal is wide wraps, and the region is intact below."""
        self.make(columns=20)
        self.screen.set_block(["bar"])
        self.screen.print("x" * 50)
        self.screen.print("end")
        self.assertEqual(self.terminal.lines, ["x" * 20, "x" * 20, "x" * 10, "end", "bar"])

    def test_scrolling(self) -> None:
        """At the bottom of the terminal the region moves with what scrolls."""
        self.make(rows=5)
        self.screen.set_block(["bar"])
        self.screen.set_input(typed("f"))
        for number in range(20):
            self.screen.print(f"line {number}")
        wanted = [f"line {number}" for number in range(20)]
        self.assertEqual(self.terminal.lines, [*wanted, "bar", "peershare> f"])

    def test_block_higher_than_the_terminal(self) -> None:
        """A block is cut to what fits, since what has scrolled out cannot be redrawn."""
        self.make(rows=5)
        for _ in range(3):
            self.screen.set_block([f"bar {number}" for number in range(10)])
            self.screen.set_input(typed(""))
        self.assertEqual(self.terminal.lines, ["bar 0", "bar 1", "bar 2", "peershare>"])

    def test_narrower_terminal(self) -> None:
        """A terminal that was made narrower has broken the lines; they are all taken away."""
        self.make(columns=40)
        self.screen.print("before")
        self.screen.set_block(["b" * 35])
        self.screen.set_input(typed("t" * 20))
        self.size = Size(20, 10)
        narrow = Terminal(20, 10)
        narrow.feed(b"before\r\n" + b"b" * 35 + b"\r\n" + b"peershare> " + b"t" * 20)
        self.screen._write = narrow.feed
        self.screen.set_block(["short"])
        self.assertEqual(narrow.lines[:2], ["before", "short"])
        self.assertEqual(len(narrow.lines), 3)

    def test_close(self) -> None:
        """The end takes the region away and leaves what was printed; nothing is drawn after."""
        self.make()
        self.screen.set_block(["bar"])
        self.screen.set_input(typed("forest"))
        self.screen.print("notice")
        self.screen.close()
        self.screen.close()
        self.screen.set_block(["again"])
        self.screen.print("the end")
        self.assertEqual(self.terminal.lines, ["notice", "the end"])

    def test_hide(self) -> None:
        """Hidden for a while, the region comes back below what was written meanwhile."""
        self.make()
        self.screen.set_block(["bar"])
        self.screen.set_input(typed("f"))
        self.screen.hide()
        self.assertEqual(self.terminal.lines, [])
        self.terminal.feed(b"$ fg\r\n")
        self.screen.redraw()
        self.assertEqual(self.terminal.lines, ["$ fg", "bar", "peershare> f"])

    def test_hold(self) -> None:
        """While the terminal takes nothing only what is printed is kept for it."""
        self.make()
        self.screen.set_block(["bar 0"])
        written: list[bytes] = []
        self.screen._write = written.append
        self.screen.hold(True)
        for number in range(1, 1_000):
            self.screen.set_block([f"bar {number}"])
        self.assertEqual(written, [])
        self.screen.hold(False)
        self.terminal.feed(b"".join(written))
        self.assertEqual(self.terminal.lines, ["bar 999"])

    def test_clear(self) -> None:
        """A clear screen shows the region alone."""
        self.make()
        self.screen.print("old")
        self.screen.set_input(typed("x"))
        self.screen.clear()
        self.assertEqual(self.terminal.lines, ["peershare> x"])
        self.screen.print("new")
        self.assertEqual(self.terminal.lines, ["new", "peershare> x"])


class FitInputTests(SynchronousTestCase):
    def test_short(self) -> None:
        """What fits is shown whole."""
        self.assertEqual(fit_input(typed("forest"), 39), ("peershare> forest", 17))
        self.assertEqual(fit_input(typed("forest", 0), 39), ("peershare> forest", 11))

    def test_long(self) -> None:
        """What does not fit is a window around the cursor."""
        text = "".join(chr(97 + number % 26) for number in range(100))
        shown, column = fit_input(typed(text), 39)
        self.assertTrue(shown.startswith("peershare> …") and shown.endswith(text[-5:]), shown)
        self.assertEqual(column, cells_of(shown))
        shown, column = fit_input(typed(text, 0), 39)
        self.assertTrue(shown.endswith("…") and shown.startswith("peershare> abc"), shown)
        self.assertEqual(column, 11)

    def test_no_room_for_the_prompt(self) -> None:
        """On a tiny terminal the prompt makes room."""
        shown, column = fit_input(typed("abc"), 9)
        self.assertEqual((shown, column), ("abc", 3))

    @given(
        st.lists(st.sampled_from(["a", "ß", "漢", "🦉", "\\x1b"]), max_size=80),
        st.integers(0, 80),
        st.integers(9, 100),
    )
    def test_any(self, characters: list[str], cursor: int, width: int) -> None:
        """It never is wider than the terminal, and the cursor is before its character."""
        cursor = min(cursor, len(characters))
        shown, column = fit_input(InputLine("peershare> ", characters, cursor), width)
        self.assertLessEqual(cells_of(shown), width)
        self.assertLessEqual(column, width)
        if cursor < len(characters):
            rest = shown
            while cell_len(shown) - cell_len(rest) < column:
                rest = rest[1:]
            self.assertTrue(rest.startswith((characters[cursor], "…")), (shown, column))


class CellsTests(SynchronousTestCase):
    def test_colours(self) -> None:
        """Colours fill no cells, wide characters two."""
        self.assertEqual(cells_of("\x1b[1;31mred\x1b[0m"), 3)
        self.assertEqual(cells_of("漢字"), 4)
