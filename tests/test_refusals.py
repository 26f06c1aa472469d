"""Refusals: all are counted, few are said."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from peershare.refusals import Refusals


class RefusalsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.log = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        self.clock = Clock()
        self.refusals = Refusals(self.clock.seconds, LogLevel.info)

    def test_said_and_counted(self) -> None:
        """The line names source, reason and details, made safe; the count goes by reason."""
        self.assertTrue(self.refusals.note("198.18.0.7", "request not understood", "a\x1b[31m\nb"))
        (event,) = self.log
        self.assertEqual(
            formatEvent(event),
            "198.18.0.7: refused: request not understood (a\\x1b[31m\\x0ab)",
        )
        self.assertEqual(dict(self.refusals.counts), {"request not understood": 1})

    def test_one_source_cannot_fill_the_log(self) -> None:
        """A thousand in a moment are a thousand counted, a few lines, and silence for a while."""
        written = sum(self.refusals.note("198.18.0.7", "chunk not here") for _ in range(1_000))
        self.assertEqual(self.refusals.counts["chunk not here"], 1_000)
        self.assertTrue(1 <= written <= 50, written)
        self.assertEqual(len(self.log), written)
        self.assertTrue(self.refusals.note("198.18.0.8", "chunk not here"))
        self.clock.advance(60)
        self.assertTrue(self.refusals.note("198.18.0.7", "chunk not here"))

    def test_many_sources_cannot_either(self) -> None:
        """Invented sources share a limit."""
        for number in range(1_000):
            self.refusals.note(f"198.18.{number // 250}.{number % 250}", "datagram not understood")
        self.assertTrue(1 <= len(self.log) <= 90, len(self.log))
