"""News: events reach whoever observes; the node is told as often as it is of use."""

from __future__ import annotations

from msgspec.structs import replace
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from peershare.news import QUIET_SECONDS, News
from peershare.status import ContentsChanged, Event, NodeChanged
from tests.control.fake_node import FakeNode

NODE = FakeNode().node_status()
LISTS = ContentsChanged(1, 2)


class NewsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.news = News(self.clock.seconds)
        self.events: list[Event] = []
        self.end = self.news.observe(self.events.append)

    def test_observers_come_and_go(self) -> None:
        """One that fails costs the others nothing, and is logged."""

        def fail(event: Event) -> None:
            raise ValueError

        self.news.observe(fail)
        self.news.observe(self.events.append)
        self.news.emit(LISTS)
        self.assertEqual(self.events, [LISTS, LISTS])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.end()
        self.assertTrue(self.news.anybody)

    def test_lists(self) -> None:
        """Told once for each version."""
        for version in (1, 1, 2):
            self.news.lists(version, lambda: LISTS)
        self.assertEqual(self.events, [LISTS, LISTS])

    def test_a_busy_node(self) -> None:
        """Told whenever it is looked at."""
        for _ in range(3):
            self.news.node(NODE, busy=True)
        self.assertEqual(self.events, [NodeChanged(NODE)] * 3)

    def test_a_quiet_node(self) -> None:
        """Told where it has changed, now and then; what always differs a little is no change."""
        self.news.node(NODE, busy=False)
        for number in range(20):
            self.clock.advance(1.0)
            self.news.node(replace(NODE, reactor_delay=0.1 * number), busy=False)
        self.assertEqual(len(self.events), 1)
        for number in range(10):
            self.clock.advance(1.0)
            self.news.node(replace(NODE, peers=number + 10), busy=False)
        self.assertEqual(len(self.events), 1 + round(10 / QUIET_SECONDS))
