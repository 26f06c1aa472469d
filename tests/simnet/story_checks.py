"""Two hundred stories, a large swarm, several replays.  Run by `make simnet`, not by `trial tests`.

It takes minutes, so it is no part of the suite: the name of this module keeps it from being
collected.  It is cut into pieces that `trial -j` can give to several workers.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.simnet.telling import Telling

STORIES = 200
_SHARD = 10


class SwarmChecks(Telling):
    """Many at once."""

    def test_fifty(self) -> None:
        """1 + 50 peers at 100 Mbit/s finish within 1.5 times what the bytes take on one link."""
        self.assert_swarm(50, 40_000_000, 12_500_000.0, 1.5)


class ReplayChecks(Telling):
    """One seed is one run, bit for bit."""

    def test_replays(self) -> None:
        """Whatever is drawn."""
        for seed in (1_000, 1_001, 1_002):
            self.assert_replays(seed)


class StoryChecks(Telling):
    """What must be true of a swarm is true whatever goes wrong."""


def _shard(first: int) -> Callable[[StoryChecks], None]:
    def test(self: StoryChecks) -> None:
        self.assert_true_stories(range(first, first + _SHARD))

    test.__doc__ = f"Seeds {first} to {first + _SHARD - 1}."
    return test


for _first in range(100, 100 + STORIES, _SHARD):
    setattr(StoryChecks, f"test_{_first}", _shard(_first))
