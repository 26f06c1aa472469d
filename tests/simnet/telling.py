"""What the short tests and the long checks have in common: stories told, swarms measured.

Not for: which of them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable

from twisted.trial.unittest import SynchronousTestCase

from tests.simnet.story import Outcome, Story
from tests.simnet.swarm import measure


class Telling(SynchronousTestCase):
    """Assertions on whole simulations."""

    def assert_true_stories(self, seeds: Iterable[int]) -> None:
        """In each of these stories all that must be true is."""
        outcomes = [Story(seed).run() for seed in seeds]
        broken = [outcome for outcome in outcomes if outcome.problems]
        self.flushLoggedErrors()  # they are among the problems
        if broken:
            self.fail("\n\n".join(map(_told, broken)))

    def assert_swarm(self, peers: int, size: int, rate: float, factor: float) -> None:
        """One content to many takes at most `factor` times what it takes on one link."""
        measured = measure(1, peers, size, rate)
        self.flushLoggedErrors()  # they are among the errors
        self.assertEqual(measured.errors, [])
        self.assertLessEqual(measured.seconds, factor * measured.bound, str(measured))
        self.assertLessEqual(measured.copies, 2.0, str(measured))

    def assert_replays(self, seed: int) -> None:
        """A story is the same in another process, whatever its hash seed and what was before."""
        alone = _tell_elsewhere("1", seed)
        self.assertIn(f"seed {seed}: ", alone)
        later = _tell_elsewhere("2", seed + 1, seed)
        self.assertEqual(alone, later[later.index(f"seed {seed}: ") :])


def _told(outcome: Outcome) -> str:
    lines = [
        f"seed {outcome.seed} went wrong; tell it alone:"
        f" python -m tests.simnet {outcome.seed} --trace trace.txt",
        *(f"  {line}" for line in outcome.plot),
        *(f"  ! {problem}" for problem in outcome.problems[:20]),
    ]
    return "\n".join(lines)


def _tell_elsewhere(hash_seed: str, *seeds: int) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tests.simnet", *map(str, seeds)],
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise AssertionError(done.stderr)
    return done.stdout
