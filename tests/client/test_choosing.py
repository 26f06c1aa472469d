"""Asking which of several contents is meant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from peershare.client.choosing import LineChooser, PromptChooser, answer_of
from peershare.client.console import Style
from peershare.client.lines import LineSource
from peershare.status import ContentChoice
from tests.control.fake_node import a_choice

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
