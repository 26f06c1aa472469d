"""An operation run again and again, each time with another fault at another of its calls.

Subclass `Operation` for what is done and what must be true of it, and `FaultTests` for its tests.
Each case is a fresh network on virtual time with whole nodes; workers do their work at once, so
that the k-th call is the same one in every run.  Not for: which calls there are (`steps`).
"""

from __future__ import annotations

import gc
import os
import sys
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any, ClassVar, TextIO

from msgspec import Struct, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from peershare.errors import PeershareError
from peershare.library import indexfile
from tests.faults.steps import DEADLY, LASTING, ONCE, Death, Kind, Step, Steps
from tests.simnet.network import GIGABIT
from tests.simnet.world import Machine, Simulation

WHOLE = os.environ.get("PEERSHARE_FAULTS") == "whole"
# What lasts is over after so many virtual seconds.
_LASTING_SECONDS = 12.0
_PATIENCE_SECONDS = 240.0
# What is to follow an operation (a scan, a hash, a look at the folder) has followed by then.
_AFTERWARDS_SECONDS = 4.0
_MOST_SHOWN = 25


class Operation:
    """One operation on `machine`; nothing runs there, and nothing is counted, before `begin`.

    A fault may make `begin`, or a `Deferred` given to `expect`, fail with a `PeershareError`:
    then it was refused, the fault is taken away, and `again` is called as a person would try
    again.  After a death a new node is started on what is left, and `again` is called, too.
    """

    # what can become of its calls
    kinds: tuple[Kind, ...] = (*ONCE, *LASTING, *DEADLY)
    # how many cases the suite runs in each test
    sample = 12

    def __init__(self, text: TextIO | None = None) -> None:
        """`text` gets a line for each thing that happens."""
        self.simulation = Simulation(type(self).__name__, text=text)
        self.disk = self.simulation.disk
        self.steps = Steps(self.simulation.root)
        self.refused = ""  # what was said instead of doing it
        self.troubles: list[str] = []  # what must not be, noticed on the way
        self.restarted = False
        self.kind = Kind.EIO
        self._logs: dict[Path, bytes] = {}  # of databases, as a death left them
        self.machine: Machine = self.add_machine()

    # -- to be filled in

    def prepare(self) -> None:
        """What is there before; starts nodes, lets time go by."""

    def begin(self) -> None:
        """Begin it.  May raise `PeershareError`."""
        raise NotImplementedError

    def over(self) -> bool:
        """Whether it has come to its end, a good one or a bad one."""
        raise NotImplementedError

    def again(self) -> None:
        """What a person does who was refused, or whose service was started anew."""
        if not self.over():
            self.begin()

    def problems(self) -> list[str]:
        """What is not as it must be, in the end; nothing is counted or fails any more."""
        return []

    # -- for them

    def add_machine(self, **settings: Any) -> Machine:
        """One more machine."""
        return self.simulation.add_machine(GIGABIT, GIGABIT, **settings)

    def run(self, seconds: float) -> None:
        """Let time go by."""
        self.simulation.run(seconds)

    def refuse(self, why: object) -> None:
        """It was refused, in these words."""
        self.refused = str(why) or "(without a word)"

    def expect(self, deferred: Deferred[Any], answered: Any = None) -> None:
        """What `begin` waits for: `answered` is called with what comes of it, if any does."""
        deferred.addCallback(answered or (lambda result: None))
        deferred.addErrback(self._refused)

    def _refused(self, failure: Failure) -> None:
        if isinstance(failure.value, PeershareError):
            self.refuse(failure.value)
        elif not isinstance(failure.value, Death):
            self.troubles.append(failure.getTraceback())

    # -- one run of it

    def play(self, at: int, kind: Kind) -> Played:
        """From the beginning to the end; `at` < 0: nothing fails."""
        try:
            self.kind = kind
            self.prepare()
            with self.disk.quiet():
                self.disk.keep_durable(self.machine.home)
            self._watch(Steps(self.machine.home, at, kind, self._note_logs))
            first = self.steps
            self._try(self.begin)
            self._run_until_settled(kind)
            self._let_follow()
            self.steps.lift()
            self._run_until(_PATIENCE_SECONDS)  # where the fault met what followed
            self._go_on(kind)
            return Played(first.steps, self._judged(), self._open(), first.struck)
        finally:
            self.disk.watch = None
            self.simulation.close()

    def _watch(self, steps: Steps) -> None:
        self.steps = steps
        self.disk.watched, self.disk.watch = self.machine.home, steps

    def _try(self, what: Any) -> None:
        try:
            what()
        except Death:
            pass
        except PeershareError as error:
            self.refuse(error)
        except Exception:
            self.troubles.append(traceback.format_exc())
            self.refuse("a traceback")

    def _over(self) -> bool:
        with self.disk.quiet():
            return bool(self.refused) or self.steps.dead or self.over()

    def _run_until(self, seconds: float) -> None:
        simulation = self.simulation
        end = simulation.elapsed + seconds
        while not self._over() and simulation.elapsed < end:
            try:
                simulation.run(0.05 if simulation.elapsed < end - _PATIENCE_SECONDS + 5 else 0.5)
            except Death:
                return

    def _run_until_settled(self, kind: Kind) -> None:
        """Up to its end; what lasts is taken away after a while."""
        if kind in LASTING:
            self._run_until(_LASTING_SECONDS)
            if not self._over():
                self.steps.lift()
        self._run_until(_PATIENCE_SECONDS)

    def _let_follow(self) -> None:
        """What follows an operation that is over."""
        if not self.steps.dead:
            with suppress(Death):
                self.run(_AFTERWARDS_SECONDS)

    def _go_on(self, kind: Kind) -> None:
        """After a refusal and after a death: the fault is over, and somebody tries again."""
        if self.steps.dead:
            self._watch(Steps(self.machine.home))
            self._restart(kind)
        elif not self.refused:
            return
        self.refused = ""
        self._try(self.again)
        self._run_until(_PATIENCE_SECONDS)
        self._let_follow()
        if self.refused:
            self.troubles.append(f"refused once more: {self.refused}")

    def _note_logs(self) -> None:
        """The process dies: its databases are not closed, though SQLite will do so here."""
        with self.disk.quiet():
            paths = self.machine.home.rglob("*-wal")
            self._logs = {path: path.read_bytes() for path in paths}

    def _restart(self, kind: Kind) -> None:
        machine = self.machine
        gc.collect()  # what was only just being made
        machine.kill()
        with self.disk.quiet():
            for path, data in self._logs.items():
                path.write_bytes(data)
        if kind is Kind.POWER:
            self.disk.power_cut()
        self.simulation.errors.clear()  # what the dead said is of no interest
        self.troubles.clear()
        self.restarted = True
        self._try(machine.start)
        if self.refused:
            self.troubles.append(f"does not start any more: {self.refused}")

    def _judged(self) -> list[str]:
        """What is wrong in the end."""
        with self.disk.quiet():
            if not self.over():
                self.troubles.append("it is not over")
            gc.collect()
            return [*self.troubles, *self.problems(), *_without_death(self.simulation.errors)]

    def _open(self) -> Counter[str]:
        home = self.machine.home
        with self.disk.quiet():
            return Counter(path.removeprefix(f"{home}/") for path in self.disk.open_below(home))


class Played(Struct):
    """What came of one run."""

    steps: list[Step]
    problems: list[str]
    open: Counter[str]  # the files that were open in the end
    struck: bool = False


class Recording(Struct):
    """An operation to which nothing happened."""

    operation: type[Operation]
    steps: list[Step] = field(default_factory=list)
    open: Counter[str] = field(default_factory=Counter)  # the files that were open in the end

    def cases(self, kinds: Sequence[Kind]) -> Iterator[tuple[int, Kind]]:
        """Every position with everything that can become of its call."""
        for kind in kinds:
            for at, step in enumerate(self.steps):
                if kind in self.operation.kinds and step.meets(kind):
                    yield at, kind

    def sample(self, kinds: Sequence[Kind]) -> list[tuple[int, Kind]]:
        """Some of these, the same ones each time, each from another place in our sources."""
        first: dict[tuple[str, str, Kind], tuple[int, Kind]] = {}
        for at, kind in self.cases(kinds):
            step = self.steps[at]
            first.setdefault((step.site, step.name, kind), (at, kind))
        found = list(first.values())
        Random(f"{self.operation.__name__}/{kinds}").shuffle(found)
        return sorted(found[: self.operation.sample], key=lambda case: (case[0], case[1].name))

    def judge(self, at: int, kind: Kind) -> list[str]:
        """Run one case; what was wrong with it."""
        try:
            played = self.operation().play(at, kind)
        except Exception:
            return [traceback.format_exc()]
        problems = played.problems
        if not played.struck:
            problems.append("there was no such call: two runs differ")
        elif played.open - self.open:
            problems.append(f"left open: {sorted((played.open - self.open).elements())}")
        return problems


def record(operation: type[Operation]) -> Recording:
    """Run it without a fault.  Raises AssertionError if it does not end well."""
    played = operation().play(-1, Kind.EIO)
    if played.problems:
        raise AssertionError("without any fault: " + "\n".join(played.problems))
    return Recording(operation, played.steps, played.open)


class FaultTests(SynchronousTestCase):
    """Whatever call of an operation fails: what must be true of it is.  To be subclassed."""

    operation: ClassVar[type[Operation]]
    _recordings: ClassVar[dict[type[Operation], Recording]] = {}

    def each_step(self, operation: type[Operation], kinds: Sequence[Kind]) -> None:
        """Every case of these kinds, or in the suite a sample of them."""
        gc.collect()
        gc.freeze()
        self.addCleanup(gc.unfreeze)
        self.patch(indexfile, "sleep", lambda seconds: None)
        recording = self._recordings.get(operation)
        if recording is None:
            recording = self._recordings[operation] = record(operation)
        cases = list(recording.cases(kinds)) if WHOLE else recording.sample(kinds)
        wrong: list[str] = []
        for at, kind in cases:
            problems = recording.judge(at, kind)
            self.flushLoggedErrors()  # they are among the problems
            if problems:
                wrong.append(_told(recording, at, kind, problems))
        if WHOLE:
            sys.stdout.write(
                f"\n{operation.__name__}: {len(recording.steps)} calls, {len(cases)} cases of"
                f" {', '.join(kind.value for kind in kinds)}: {len(wrong)} went wrong\n"
            )
        if wrong:
            shown = "\n\n".join(wrong[:_MOST_SHOWN])
            self.fail(f"{len(wrong)} of {len(cases)} cases went wrong:\n\n{shown}")


class EachStep(FaultTests):
    """The tests of one operation; not of this class itself."""

    def test_errors(self) -> None:
        """A call fails once."""
        self.each_step(self.operation, ONCE)

    def test_lasting(self) -> None:
        """All calls fail for a while."""
        self.each_step(self.operation, LASTING)

    def test_death(self) -> None:
        """The process dies, or the power goes, and a new one finds what is left."""
        self.each_step(self.operation, DEADLY)


def _without_death(errors: Sequence[str]) -> list[str]:
    """What was logged, without that a dead process is dead (which is logged in two parts)."""
    dead = [Death.__name__ in error for error in errors]
    return [
        error
        for error, own, following in zip(errors, dead, [*dead, False][1:], strict=True)
        if not own and not (following and "Unhandled error in Deferred" in error)
    ]


def _told(recording: Recording, at: int, kind: Kind, problems: Sequence[str]) -> str:
    step = recording.steps[at]
    lines = [
        f"{recording.operation.__name__} {at} {kind.name}: {step.name} {step.where}"
        f" ({step.site}) meets {kind.value}",
        *(f"  ! {problem}" for problem in problems[:6]),
    ]
    return "\n".join(lines)
