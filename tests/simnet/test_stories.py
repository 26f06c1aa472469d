"""A few stories, a small swarm, and one replay; `make simnet` tells many more (`story_checks`)."""

from __future__ import annotations

from tests.simnet.telling import Telling


class StoryTests(Telling):
    """What must be true of a swarm is true whatever goes wrong."""

    def test_stories(self) -> None:
        """Random faults: everybody who can finishes, with the right bytes and no surprises."""
        self.assert_true_stories(range(10))

    def test_swarm(self) -> None:
        """1 + 12 peers at 100 Mbit/s finish in little more than the time of one."""
        self.assert_swarm(12, 16_000_000, 12_500_000.0, 1.5)

    def test_replay(self) -> None:
        """One seed is one run, bit for bit."""
        self.assert_replays(3)
