"""The machine of a download: one test for each (state, input), expected and unexpected ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from automat import NoTransition
from twisted.trial.unittest import SynchronousTestCase

from peershare.download import machine as states
from peershare.download.machine import Facts, download_machine
from peershare.errors import PeerError, Reason, StorageError

PEER_ERROR = PeerError(Reason.RESET, "cut the connection after 5 bytes")
DISK_ERROR = StorageError("/there: the disk is full")
# Each input, with what it carries.
INPUTS: dict[str, tuple[Exception, ...]] = {
    name: {
        "attempt_failed": (PEER_ERROR,),
        **dict.fromkeys(("disk_failed", "disk_refused", "held_up"), (DISK_ERROR,)),
    }.get(name, ())
    for name in vars(Facts)
    if not name.startswith("_")
}
STATES = {
    name: getattr(states, name)
    for name in (
        *("new", "checking", "choosing", "connecting", "receiving", "searching", "resting"),
        *("blocked", "paused", "joining", "leaving", "ending", "done", "failed", "halted"),
    )
}
# (state, input) -> the next state, and the verbs with what they are given.
EXPECTED: dict[tuple[str, str], tuple[Any, ...]] = {
    ("new", "begun"): ("checking", "check"),
    ("new", "peer_told"): ("new",),
    ("new", "stopped"): ("halted", "halt"),
    ("checking", "checked"): ("choosing", "choose"),
    ("checking", "disk_failed"): ("blocked", ("await_disk", DISK_ERROR)),
    ("checking", "peer_told"): ("checking",),
    ("checking", "stopped"): ("halted", "halt"),
    ("choosing", "chosen"): ("connecting", "dial"),
    ("choosing", "all_tried"): ("resting", "rest"),
    ("choosing", "nobody_known"): ("searching", "search"),
    ("choosing", "nothing_missing"): ("joining", "join"),
    ("choosing", "disk_failed"): ("blocked", ("await_disk", DISK_ERROR)),
    ("choosing", "peer_told"): ("choosing",),
    ("choosing", "stopped"): ("halted", "halt"),
    ("connecting", "connected"): ("receiving", "ask"),
    ("connecting", "attempt_failed"): ("choosing", ("fail_over", PEER_ERROR), "choose"),
    ("connecting", "disk_failed"): ("blocked", ("await_disk", DISK_ERROR)),
    ("connecting", "peer_told"): ("connecting",),
    ("connecting", "stopped"): ("halted", "halt"),
    ("receiving", "chunk_arrived"): ("choosing", "keep", "choose"),
    ("receiving", "attempt_failed"): ("choosing", ("fail_over", PEER_ERROR), "choose"),
    ("receiving", "disk_failed"): ("blocked", ("await_disk", DISK_ERROR)),
    ("receiving", "peer_told"): ("receiving",),
    ("receiving", "stopped"): ("halted", "halt"),
    ("searching", "peer_told"): ("choosing", "choose"),
    ("searching", "stopped"): ("halted", "halt"),
    ("resting", "rested"): ("choosing", "choose"),
    ("resting", "peer_told"): ("choosing", "choose"),
    ("resting", "stopped"): ("halted", "halt"),
    ("blocked", "rested"): ("checking", "check"),
    ("blocked", "peer_told"): ("blocked",),
    ("blocked", "stopped"): ("halted", "halt"),
    ("joining", "joined"): ("done", "succeed"),
    ("joining", "chunk_lost"): ("choosing", "choose"),
    ("joining", "disk_failed"): ("blocked", ("await_disk", DISK_ERROR)),
    ("joining", "peer_told"): ("joining",),
    ("joining", "stopped"): ("leaving",),
    ("leaving", "joined"): ("done", "succeed"),
    ("leaving", "chunk_lost"): ("halted", "halt"),
    ("leaving", "disk_failed"): ("halted", "halt"),
    ("leaving", "peer_told"): ("leaving",),
    ("leaving", "stopped"): ("leaving",),
}
# What will never be mended by waiting ends it.
EXPECTED |= {
    (state, "disk_refused"): ("failed", ("fail", DISK_ERROR))
    for state in ("checking", "choosing", "connecting", "receiving", "joining", "leaving")
}
# Once it has its final name there is no way back.
EXPECTED |= {
    ("joining", "held_up"): ("ending", ("await_end", DISK_ERROR)),
    ("leaving", "held_up"): ("done", "succeed"),
    ("ending", "rested"): ("joining", "join"),
    ("ending", "stopped"): ("done", "succeed"),
    ("ending", "peer_told"): ("ending",),
}
# It can be paused wherever it waits for somebody or for the disk, but not at its end.
EXPECTED |= {
    ("new", "paused"): ("paused", "look"),
    ("paused", "resumed"): ("checking", "check"),
    ("paused", "stopped"): ("halted", "halt"),
    ("paused", "peer_told"): ("paused",),
    ("paused", "paused"): ("paused",),
}
_UNPAUSED = ("checking", "choosing", "connecting", "receiving", "searching", "resting", "blocked")
EXPECTED |= {(state, "paused"): ("paused", "suspend") for state in _UNPAUSED}
EXPECTED |= {(state, "resumed"): (state,) for state in ("new", *_UNPAUSED)}
EXPECTED |= {
    (state, wish): (state,)
    for state in ("joining", "leaving", "ending", "done", "failed", "halted")
    for wish in ("paused", "resumed")
}
# What was under way when it ended still comes in, and changes nothing.
EXPECTED |= {
    (state, late): (state,)
    for state in ("done", "failed", "halted")
    for late in (
        *("checked", "connected", "chunk_arrived", "attempt_failed", "disk_failed"),
        *("disk_refused", "peer_told", "stopped"),
    )
}


class RecordingActions:
    """Writes down each verb; answers nothing."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def __getattr__(self, verb: str) -> Callable[..., None]:
        def record(*arguments: object) -> None:
            self.events.append((verb, *arguments) if arguments else verb)

        return record


def state_of(machine: Any) -> str:
    """The name of the module's variable for the state that the machine is in."""
    state = machine.__automat_transitioner__._state
    return next(name for name, known in STATES.items() if known is state)


class EveryInputTests(SynchronousTestCase):
    """The methods are made below, one for each (state, input)."""

    def check(self, state: str, fact: str) -> None:
        actions = RecordingActions()
        machine = download_machine(actions, STATES[state])
        give = getattr(machine, fact)
        expected = EXPECTED.get((state, fact))
        if expected is None:
            self.assertRaises(NoTransition, give, *INPUTS[fact])
            expected = (state,)
        else:
            give(*INPUTS[fact])
        self.assertEqual((state_of(machine), *actions.events), expected)


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


class WholeMachineTests(SynchronousTestCase):
    def test_no_state_is_forgotten(self) -> None:
        """The table above knows every state that the machine has."""
        machine = download_machine(RecordingActions())
        automaton = machine.__automat_transitioner__._automaton
        self.assertEqual(set(automaton.states()), set(STATES.values()))

    def test_it_begins_as_new(self) -> None:
        """A machine is in the state new when it is made."""
        self.assertEqual(state_of(download_machine(RecordingActions())), "new")

    def test_every_state_but_the_last_ones_can_be_left_by_stopping(self) -> None:
        """A wish to stop leads to an end from everywhere, at once or once it is joined."""
        for state in set(STATES) - {"done", "failed", "halted"}:
            after = EXPECTED[state, "stopped"][0]
            self.assertIn(after, ("halted", "leaving", "done"), state)

    def test_outputs_may_answer_at_once(self) -> None:
        """Inputs given by an output while it runs are queued, not nested."""

        class Eager(RecordingActions):
            def check(self) -> None:
                self.events.append("check")
                machine.checked()
                self.events.append("checked was queued")

            def choose(self) -> None:
                self.events.append("choose")
                machine.nothing_missing()

        actions = Eager()
        machine = download_machine(actions)
        machine.begun()
        self.assertEqual(actions.events, ["check", "checked was queued", "choose", "join"])
