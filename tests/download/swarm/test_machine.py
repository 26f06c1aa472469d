"""The machine of a verified download: one test for each (state, input), expected or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from automat import NoTransition
from twisted.trial.unittest import SynchronousTestCase

from peershare.download.swarm import machine as states
from peershare.download.swarm.machine import Facts, swarm_machine
from peershare.errors import StorageError
from tests.download.test_machine import RecordingActions

DISK_ERROR = StorageError("/there: the disk is full")
INPUTS: dict[str, tuple[Exception, ...]] = {
    name: (DISK_ERROR,) if name in ("disk_failed", "disk_refused", "held_up") else ()
    for name in vars(Facts)
    if not name.startswith("_")
}
BUSY = ("learning", "checking", "fetching", "blocked")
OVER = ("finishing", "leaving", "ending", "done", "failed", "halted")
STATES = {name: getattr(states, name) for name in ("new", *BUSY, "paused", *OVER)}
# (state, input) -> the next state, and the verbs with what they are given.
EXPECTED: dict[tuple[str, str], tuple[Any, ...]] = {
    ("new", "begun"): ("learning", "learn"),
    ("new", "paused"): ("paused", "look"),
    ("new", "stopped"): ("halted", "halt"),
    ("learning", "learned"): ("checking", "check"),
    ("checking", "checked"): ("fetching", "fetch"),
    ("fetching", "nothing_missing"): ("finishing", "finish"),
    ("blocked", "rested"): ("learning", "learn"),
    ("paused", "resumed"): ("learning", "learn"),
    ("paused", "paused"): ("paused",),
    ("paused", "stopped"): ("halted", "halt"),
    ("finishing", "finished"): ("done", "succeed"),
    ("finishing", "disk_failed"): ("blocked", ("await_disk", DISK_ERROR)),
    ("finishing", "stopped"): ("leaving",),
    ("leaving", "finished"): ("done", "succeed"),
    ("leaving", "disk_failed"): ("halted", "halt"),
    ("leaving", "stopped"): ("leaving",),
}
EXPECTED |= {
    (state, "disk_failed"): ("blocked", ("await_disk", DISK_ERROR))
    for state in ("learning", "checking", "fetching")
}
# What will never be mended by waiting ends it.
EXPECTED |= {
    (state, "disk_refused"): ("failed", ("fail", DISK_ERROR))
    for state in ("learning", "checking", "fetching", "finishing", "leaving")
}
# Once it has its final name there is no way back.
EXPECTED |= {
    ("finishing", "held_up"): ("ending", ("await_end", DISK_ERROR)),
    ("leaving", "held_up"): ("done", "succeed"),
    ("ending", "rested"): ("finishing", "finish"),
    ("ending", "stopped"): ("done", "succeed"),
}
EXPECTED |= {(state, "stopped"): ("halted", "halt") for state in BUSY}
EXPECTED |= {(state, "paused"): ("paused", "suspend") for state in BUSY}
EXPECTED |= {(state, "resumed"): (state,) for state in ("new", *BUSY)}
EXPECTED |= {(state, wish): (state,) for state in OVER for wish in ("paused", "resumed")}
# What was under way still comes in, and changes nothing.
EXPECTED |= {
    (state, late): (state,)
    for state in ("blocked", "paused", "ending", "done", "failed", "halted")
    for late in ("disk_failed", "disk_refused", "learned", "checked", "nothing_missing")
}
EXPECTED |= {
    (state, late): (state,)
    for state in ("done", "failed", "halted")
    for late in ("stopped", "rested")
}


class EveryInputTests(SynchronousTestCase):
    """The methods are made below, one for each (state, input)."""

    def check(self, state: str, fact: str) -> None:
        actions = RecordingActions()
        machine = swarm_machine(actions, STATES[state])
        give = getattr(machine, fact)
        expected = EXPECTED.get((state, fact))
        if expected is None:
            self.assertRaises(NoTransition, give, *INPUTS[fact])
            expected = (state,)
        else:
            give(*INPUTS[fact])
        now: Any = machine
        found = now.__automat_transitioner__._state
        self.assertIs(found, STATES[expected[0]])
        self.assertEqual(tuple(actions.events), expected[1:])

    def test_no_state_is_forgotten(self) -> None:
        """The table above knows every state that the machine has."""
        built: Any = swarm_machine(RecordingActions())
        automaton = built.__automat_transitioner__._automaton
        self.assertEqual(set(automaton.states()), set(STATES.values()))


def _test_of(state: str, fact: str) -> Callable[[EveryInputTests], None]:
    def test(self: EveryInputTests) -> None:
        self.check(state, fact)

    expected = EXPECTED.get((state, fact))
    ending = f"leads to {expected}" if expected else "is a mistake that is seen"
    test.__doc__ = f"In the state {state}, {fact} {ending}."
    test.__name__ = f"test_{state}_{fact}"
    return test


for _state in STATES:
    for _fact in INPUTS:
        _test = _test_of(_state, _fact)
        setattr(EveryInputTests, _test.__name__, _test)
