"""Input and output: lines in, keys in, bytes out."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from peershare.client.console import Descriptor, OutputClosedError
from peershare.client.editor import Editor, KeyReader
from peershare.client.getting import get_all
from peershare.client.lines import MAX_LINE_BYTES, MAX_WAITING_LINES, LineSource
from peershare.client.outcome import ClientError, ExitStatus, Outcome
from peershare.client.screen import Screen, Size
from tests.client.emulator import Terminal


class LineSourceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.source = LineSource()
        self.transport = StringTransport()
        self.source.makeConnection(self.transport)

    def next(self) -> str | None:
        return self.successResultOf(Deferred.fromCoroutine(self.source.next_line()))

    def rest(self) -> list[str]:
        """Every line up to the end of the input."""
        self.source.readConnectionLost()
        lines = []
        while (line := self.next()) is not None:
            lines.append(line)
        return lines

    def test_whole(self) -> None:
        """Lines come in order, with either kind of end, and the last one without."""
        self.source.dataReceived(b"forest\r\nbee\n\nlast")
        self.assertEqual(self.rest(), ["forest", "bee", "", "last"])

    def test_byte_by_byte(self) -> None:
        """It does not matter where the bytes are cut, within a character neither."""
        for byte in "Wäld\n漢\n".encode():
            self.source.dataReceived(bytes([byte]))
        self.assertEqual(self.rest(), ["Wäld", "漢"])

    def test_waiting(self) -> None:
        """Who asks for a line that is not there yet gets it when it comes."""
        waiting = Deferred.fromCoroutine(self.source.next_line())
        self.assertNoResult(waiting)
        self.source.dataReceived(b"forest\n")
        self.assertEqual(self.successResultOf(waiting), "forest")

    def test_end(self) -> None:
        """The end of the input is told to who waits, and to everybody after."""
        waiting = Deferred.fromCoroutine(self.source.next_line())
        self.source.readConnectionLost()
        self.assertIsNone(self.successResultOf(waiting))
        self.assertIsNone(self.next())

    def test_cancelled(self) -> None:
        """Who does not want to wait any more takes no line with him."""
        waiting = Deferred.fromCoroutine(self.source.next_line())
        waiting.cancel()
        self.failureResultOf(waiting)
        self.source.dataReceived(b"forest\n")
        self.assertEqual(self.next(), "forest")

    def test_no_utf8(self) -> None:
        """Bytes that are no UTF-8 are seen as that, and harm nothing."""
        self.source.dataReceived(b"\xff\xfe\n")
        self.assertEqual(self.rest(), ["\ufffd\ufffd"])

    def test_endless_line(self) -> None:
        """A line without an end is cut, its rest thrown away, and the next one is whole."""
        for _ in range(20):
            self.source.dataReceived(b"x" * MAX_LINE_BYTES)
        self.source.dataReceived(b"x\nforest\n")
        self.assertEqual(self.rest(), ["x" * MAX_LINE_BYTES, "forest"])

    def test_backpressure(self) -> None:
        """Reading pauses while many lines wait, and goes on when half of them are taken."""
        self.source.dataReceived(b"x\n" * (MAX_WAITING_LINES + 1))
        self.assertEqual(self.transport.producerState, "paused")
        while self.transport.producerState == "paused":
            self.assertEqual(self.next(), "x")
        self.assertEqual(len(self.rest()), MAX_WAITING_LINES // 2 - 1)


class FakeFollower:
    """Has an outcome for each name."""

    def __init__(self, **statuses: ExitStatus) -> None:
        self.statuses = statuses
        self.asked: list[tuple[str, str | None]] = []

    async def get(self, name: str, folder: str | None) -> Outcome:
        self.asked.append((name, folder))
        return Outcome(name=name, status=self.statuses.get(name, ExitStatus.DONE), message="")


class GetAllTests(SynchronousTestCase):
    def run_with(self, *names: str, stdin: bytes = b"", **statuses: ExitStatus) -> ExitStatus:
        source = LineSource()
        source.dataReceived(stdin)
        source.readConnectionLost()
        self.follower = FakeFollower(**statuses)
        getting = get_all(self.follower, names, source, "/tmp/x")
        return self.successResultOf(Deferred.fromCoroutine(getting))

    def names(self) -> list[str]:
        return [name for name, _ in self.follower.asked]

    def test_in_turn(self) -> None:
        """Every name is taken in turn, whatever became of those before; the worst one counts."""
        status = self.run_with(
            "forest", "bee", "owl", bee=ExitStatus.NOT_FOUND, owl=ExitStatus.FAILED
        )
        self.assertIs(status, ExitStatus.FAILED)
        self.assertEqual(self.follower.asked[0], ("forest", "/tmp/x"))
        self.assertEqual(self.names(), ["forest", "bee", "owl"])

    def test_from_stdin(self) -> None:
        """A dash stands for the lines of stdin; a blank before or behind a name is part of it."""
        self.assertIs(self.run_with("a", "-", "z", stdin=b" forest \n\nbee"), ExitStatus.DONE)
        self.assertEqual(self.names(), ["a", " forest ", "bee", "z"])

    def test_nothing_on_stdin(self) -> None:
        """No names at all are done."""
        self.assertIs(self.run_with("-"), ExitStatus.DONE)


class Events:
    """Remembers what the editor tells."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.complete: Callable[[str], str] = lambda line: line

    def line_entered(self, line: str) -> None:
        self.told.append(f"line {line}")

    def input_ended(self) -> None:
        self.told.append("end")

    def interrupted(self) -> None:
        self.told.append("interrupt")

    def suspended(self) -> None:
        self.told.append("suspend")

    def completed(self, line: str) -> str:
        return self.complete(line)


class EditorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.terminal = Terminal(40, 10)
        self.screen = Screen(self.terminal.feed, lambda: Size(40, 10))
        self.events = Events()
        self.editor = Editor(self.screen, self.events)
        self.transport = StringTransport()
        self.reader = KeyReader(self.editor)
        self.reader.makeConnection(self.transport)

    def type(self, keys: bytes) -> None:
        self.reader.dataReceived(keys)

    def shows(self, line: str, before: str | None = None) -> None:
        self.assertEqual(self.terminal.cursor_line, line)
        if before is not None:
            self.assertEqual(self.terminal.before_cursor, before)

    def test_begins(self) -> None:
        """There is a prompt before the first key."""
        self.shows("peershare>")

    def test_a_line(self) -> None:
        """What is typed is shown, entered, and stays readable above the next prompt."""
        self.type(b"forest")
        self.shows("peershare> forest")
        self.type(b"\r")
        self.assertEqual(self.events.told, ["line forest"])
        self.assertEqual(self.terminal.lines, ["peershare> forest", "peershare>"])

    def test_keys(self) -> None:
        """Arrows, home, end, delete, backspace and the control keys do what they do elsewhere."""
        self.type(b"ab\x1b[D\x1b[Dx\x1b[C\x7f\x1b[3~")
        self.shows("peershare> x", "peershare> x")
        self.type(b"\x01y\x05z\x02\x06!\x1b[H>\x1b[F<")
        self.shows("peershare> >yxz!<")
        self.type(b"\x15one two\x17\x01\x0btwo\x08")
        self.shows("peershare> tw")

    def test_history(self) -> None:
        """Up and down bring back what was entered."""
        self.type(b"one\rtwo\rth\x1b[A\x1b[A")
        self.shows("peershare> one")
        self.type(b"\x0e\x1b[B")
        self.shows("peershare> th")
        self.type(b"\x10\r")
        self.assertEqual(self.events.told[-1], "line two")

    def test_unicode(self) -> None:
        """Characters of several bytes and cells are one character each, however they arrive."""
        for byte in "漢ä".encode():
            self.type(bytes([byte]))
        self.shows("peershare> 漢ä")
        self.type(b"\x1b[D\x7fx\r")
        self.assertEqual(self.events.told, ["line xä"])

    def test_hostile_paste(self) -> None:
        """What cannot be shown is shown as an escape, and does nothing to the terminal."""
        self.type("a\u202eb\x07\x00\x9b2J".encode())
        self.shows("peershare> a\\u202eb\\x9b2J")

    def test_unknown_keys(self) -> None:
        """Function keys, Alt, mouse reports and broken sequences type nothing."""
        self.type(b"\x1bOP\x1b[15~\x1b[1;5C\x1bx\x1b[<0;1;1M\x1b[200~\x1b[Z\x1b[99q")
        self.shows("peershare>")
        self.type(b"ok")
        self.shows("peershare> ok")

    def test_long_line(self) -> None:
        """A line that is wider than the terminal scrolls, and is entered whole."""
        self.type(b"x" * 100 + b"end")
        self.assertEqual(len(self.terminal.lines), 1)
        self.assertTrue(self.terminal.cursor_line.endswith("end"))
        self.type(b"\r")
        self.assertEqual(self.events.told, ["line " + "x" * 100 + "end"])

    def test_completion(self) -> None:
        """Tab completes at the end of the line, and only there."""
        self.events.complete = lambda line: line + "est"
        self.type(b"for\t")
        self.shows("peershare> forest")
        self.type(b"\x1b[D\t")
        self.shows("peershare> forest")

    def test_interrupt(self) -> None:
        """Ctrl-C takes the line away; on an empty one it ends."""
        self.type(b"for\x03")
        self.assertEqual((self.events.told, self.terminal.cursor_line), ([], "peershare>"))
        self.type(b"\x03")
        self.assertEqual(self.events.told, ["interrupt"])

    def test_end_of_input(self) -> None:
        """Ctrl-D deletes in a line; on an empty one the input ends."""
        self.type(b"ab\x01\x04")
        self.shows("peershare> b")
        self.type(b"\x05\x7f\x04")
        self.assertEqual(self.events.told, ["end"])

    def test_suspend_and_clear(self) -> None:
        """Ctrl-Z is told, Ctrl-L wipes the screen."""
        self.screen.print("old")
        self.type(b"ab\x1a\x0c")
        self.assertEqual(self.events.told, ["suspend"])
        self.assertEqual(self.terminal.lines, ["peershare> ab"])

    def test_closed(self) -> None:
        """After the end there is no line any more, but Ctrl-C counts."""
        self.type(b"for")
        self.editor.close()
        self.type(b"est\r\x04\x03")
        self.assertEqual(self.events.told, ["interrupt"])
        self.assertEqual(self.terminal.lines, [])

    def test_terminal_gone(self) -> None:
        """A terminal that is closed is an end of input."""
        self.reader.readConnectionLost()
        self.assertEqual(self.events.told, ["end"])

    def test_nothing_is_written_past_the_screen(self) -> None:
        """Nobody else writes to the terminal."""
        self.type(b"forest\r\x1b[A\x03\x03")
        self.assertEqual(self.transport.value(), b"")


class DescriptorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.read, self.written = os.pipe()
        self.addCleanup(self.close, self.read)
        self.addCleanup(self.close, self.written)

    def close(self, number: int) -> None:
        try:
            os.close(number)
        except OSError:
            return

    def test_non_blocking(self) -> None:
        """All is written, in order, to a full pipe that somebody made non-blocking."""
        os.set_blocking(self.written, False)
        fcntl.fcntl(self.written, fcntl.F_SETPIPE_SZ, 4_096)
        data = os.urandom(100_000)
        got = bytearray()

        def read() -> None:
            while len(got) < len(data):
                got.extend(os.read(self.read, 10_000))

        reader = threading.Thread(target=read)
        reader.start()
        Descriptor(self.written, "stdout").write(data)
        reader.join(10)
        self.assertEqual(bytes(got), data)

    def test_closed(self) -> None:
        """When nobody reads any more, that is an error of its own."""
        os.close(self.read)
        self.assertRaises(OutputClosedError, Descriptor(self.written, "stdout").write, b"x")

    def test_full_disk(self) -> None:
        """Any other error names what could not be written."""
        number = os.open("/dev/full", os.O_WRONLY)
        self.addCleanup(os.close, number)
        error = self.assertRaises(ClientError, Descriptor(number, "stdout").write, b"x")
        self.assertIn("stdout: No space left", str(error))

    def test_diverted(self) -> None:
        """What is diverted goes elsewhere, until it is not any more."""
        elsewhere: list[Any] = []
        descriptor = Descriptor(self.written, "stdout")
        descriptor.divert(elsewhere.append)
        descriptor.write(b"one")
        descriptor.divert(None)
        descriptor.write(b"two")
        self.assertEqual((elsewhere, os.read(self.read, 10)), ([b"one"], b"two"))
