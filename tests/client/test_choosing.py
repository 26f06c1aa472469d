"""Asking which of several contents is meant."""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from peershare.client.arguments import Options, flags_of, parse_arguments
from peershare.client.choosing import LineChooser, PromptChooser, answer_of, commands_for
from peershare.client.console import Style
from peershare.client.lines import LineSource
from peershare.content.names import display
from peershare.status import ContentChoice
from tests.control.fake_node import a_choice, a_classic_choice

A, B = "198.18.0.2", "198.18.0.3"
BOTH = (a_choice(1), a_choice(2))


class Notes:
    """A console that remembers what it is to say."""

    screen = None
    columns = 80
    color = False

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str, style: Style = Style.PLAIN) -> None:
        self.said.append(text)

    @property
    def text(self) -> str:
        return "\n".join(self.said)


class AnswerTests(SynchronousTestCase):
    def test_answers(self) -> None:
        """A number of the list, or nothing; everything else is no answer."""
        self.assertEqual(answer_of(" 2 ", BOTH), (True, BOTH[1]))
        self.assertEqual(answer_of("", BOTH), (True, None))
        for line in ("0", "3", "-1", "1.0", "two", "²", "٢", "1 2", "9" * 5_000):
            self.assertEqual(answer_of(line, BOTH), (False, None), line)


class CommandTests(SynchronousTestCase):
    """What is printed for a candidate is read by a shell, and by the parser, as what is meant."""

    def parsed(self, *candidates: ContentChoice, flags: Sequence[str] = ()) -> list[Options]:
        found = []
        for command in commands_for(candidates, flags):
            program, *words = self.shell_words(command)
            self.assertEqual(program, "peershare")
            found.append(parse_arguments(words))
        return found

    def shell_words(self, command: str) -> list[str]:
        """The words as bash reads them."""
        program = f"printf '%s\\0' {command}"
        done = subprocess.run(["bash", "-c", program], capture_output=True, check=True)
        return done.stdout.decode().split("\0")[:-1]

    def test_native(self) -> None:
        """By the whole id, with what this get was given."""
        flags = ("--output", "my folder", "--state", "/s")
        (options,) = self.parsed(a_choice(1), flags=flags)
        self.assertEqual((options.command, options.names), ("get", (a_choice(1).id,)))
        self.assertEqual((options.output, options.flags["state"]), ("my folder", ["/s"]))

    def test_classic(self) -> None:
        """As the classic one, and, where several have it, as the one that each of them has."""
        found = self.parsed(a_classic_choice("forest", A))
        self.assertEqual([(o.names, o.classic, o.source) for o in found], [(("forest",), True, "")])
        found = self.parsed(a_classic_choice("forest", A, B), a_classic_choice("Forest", B))
        self.assertEqual(
            [(o.names[0], o.classic, o.source) for o in found],
            [
                ("forest", True, ""),
                ("forest", False, A),
                ("forest", True, B),
                ("Forest", True, ""),
            ],
        )

    def test_any_name(self) -> None:
        """Spaces, quotes, a dash, what no terminal should be given."""
        for name in (
            *(
                "my forest",
                " x ",
                "it's",
                '"',
                "$(date)",
                "`date`",
                "a\\b",
                "-x",
                "--classic",
                "!a",
            ),
            *(
                "caf\u00e9",
                "\u200bx",
                "a\u202eb",
                "\x1b[2J",
                "\u2800",
                "a;b",
                "~",
                "*",
                "#x",
                "\\x41'",
            ),
        ):
            with self.subTest(name=name):
                (command,) = commands_for([a_classic_choice(name, A)], ("--state", "/s"))
                self.assertEqual(command, display(command, 1_000))
                (options,) = self.parsed(a_classic_choice(name, A), flags=("--state", "/s"))
                self.assertEqual((options.names, options.classic), ((name,), True))
                self.assertEqual(options.flags["state"], ["/s"])

    def test_flags(self) -> None:
        """Those of this get, as they were given."""
        given = ["--output", "x", "--sequential", "--state", "/s", "--address", "127.0.0.2"]
        options = parse_arguments(["get", "forest", *given, "--classic"])
        again = parse_arguments(["get", "forest", *flags_of(options)])
        self.assertEqual(again, dataclasses.replace(options, classic=False))


class LineChooserTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.notes: Any = Notes()
        self.lines = LineSource()
        self.begun: list[None] = []
        self.chooser = LineChooser(self.notes, self.lines, lambda: self.begun.append(None))

    def choose(self) -> Deferred[ContentChoice | None]:
        return Deferred.fromCoroutine(self.chooser.choose("forest", BOTH))

    def test_list(self) -> None:
        """The list has numbers, sizes, short ids, peers and ages; then there is a question."""
        self.choose().addErrback(lambda failure: None)
        for part in (
            "forest fits 2 different contents",
            "1  1.0 MB",
            "b3:2000000",
            "1-2",
        ):
            self.assertIn(part, self.notes.text)
        self.assertEqual(self.begun, [None])

    def test_answer(self) -> None:
        """It is asked until there is an answer."""
        chosen = self.choose()
        self.lines.dataReceived(b"7\nwhat?\n")
        self.assertNoResult(chosen)
        self.assertEqual(self.notes.text.count("a number from 1 to 2"), 2)
        self.lines.dataReceived(b"2\n")
        self.assertEqual(self.successResultOf(chosen), BOTH[1])

    def test_none(self) -> None:
        """An empty line, or the end of the input, chooses nothing."""
        chosen = self.choose()
        self.lines.dataReceived(b"\n")
        self.assertIsNone(self.successResultOf(chosen))
        chosen = self.choose()
        self.lines.readConnectionLost()
        self.assertIsNone(self.successResultOf(chosen))
        self.assertEqual(self.begun, [None])


class PromptChooserTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.notes: Any = Notes()
        self.chooser = PromptChooser(self.notes)

    def choose(self, candidates: Sequence[ContentChoice] = BOTH) -> Deferred[ContentChoice | None]:
        return Deferred.fromCoroutine(self.chooser.choose("forest", candidates))

    def test_no_question(self) -> None:
        """Where nothing was asked a line is a request."""
        self.assertFalse(self.chooser.take("1"))
        self.assertFalse(self.chooser.take(""))

    def test_answer(self) -> None:
        """A number is the answer; another request can be made meanwhile."""
        chosen = self.choose()
        self.assertFalse(self.chooser.take("list"))
        self.assertNoResult(chosen)
        self.assertTrue(self.chooser.take("1"))
        self.assertEqual(self.successResultOf(chosen), BOTH[0])
        self.assertFalse(self.chooser.take("1"))

    def test_two_questions(self) -> None:
        """The question that was asked last is answered first."""
        first, second = self.choose(), self.choose((a_choice(3), a_choice(4)))
        self.chooser.take("2")
        self.assertEqual(self.successResultOf(second), a_choice(4))
        self.chooser.take("")
        self.assertIsNone(self.successResultOf(first))

    def test_interrupted(self) -> None:
        """Who does not wait for the answer any more is not given one."""
        chosen = self.choose()
        chosen.cancel()
        self.failureResultOf(chosen, CancelledError)
        self.assertFalse(self.chooser.take("1"))

    def test_end(self) -> None:
        """At the end of the input nothing is chosen, and nothing asked any more."""
        chosen = self.choose()
        self.chooser.close()
        self.assertIsNone(self.successResultOf(chosen))
        self.assertIsNone(self.successResultOf(self.choose()))
