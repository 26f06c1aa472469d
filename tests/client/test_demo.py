"""The demo says only what it saw, and waits for what it says."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from peershare.client.demo import _has, _Seen, _tell_seen
from tests.control.fake_node import a_content


class FakePeer:
    """A peer of an address that knows of these contents."""

    def __init__(self, *contents: Any) -> None:
        self.address = "127.0.0.3"
        self.known = contents

    def contents(self) -> tuple[Any, ...]:
        return self.known


class SeenTests(SynchronousTestCase):
    def said(self, **seen: Any) -> str:
        lines: list[str] = []
        given = {"killed": 40.0, "helper": 50.0, "last": 60.0, "gave": True, "pid": 7, **seen}
        peer: Any = FakePeer()
        _tell_seen(lines.append, _Seen(**given), peer, peer)
        return "\n".join(lines)

    def test_in_the_middle(self) -> None:
        """It was killed while it gave."""
        self.assertIn("at 60% the download went on from the others", self.said())

    def test_nothing_given(self) -> None:
        """What did not give is not said to have."""
        self.assertIn("It had given nothing yet", self.said(gave=False))

    def test_too_late(self) -> None:
        """A download that was complete went on from nobody."""
        said = self.said(last=100.0)
        self.assertIn("complete by then", said)
        self.assertNotIn("went on", said)

    def test_complete_before_it_was_killed(self) -> None:
        """A peer that had all of it has it after its start, though no download is in its list."""
        known = a_content("forest.png", id="b3:1", shared=True)
        peer: Any = FakePeer(known)
        self.assertTrue(_has(peer, "b3:1"))
        self.assertFalse(_has(peer, "b3:2"))
