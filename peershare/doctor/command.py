"""`peershare doctor`: runs an examination and prints what came of it; the exit status says it too.

The composition root of the doctor: the real reactor and the wall clock are met here.
Not for: what is looked at (`examination`).
"""

from __future__ import annotations

import os
import time
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from peershare.client.arguments import Options
from peershare.client.console import Console, Style
from peershare.client.outcome import ExitStatus
from peershare.client.wording import json_text
from peershare.doctor.checks import (
    Check,
    Verdict,
    cells_of,
    diagnosis_of,
    line_of,
    summary_of,
)
from peershare.doctor.examination import Examination
from peershare.doctor.probing.probes import RealProbes
from peershare.node import use_monotonic_clock
from peershare.settings import Settings

DEFAULT_SECONDS = 5.0
_COLOURS = {Verdict.PASS: "32", Verdict.WARN: "33", Verdict.FAIL: "31"}
_STYLES = {Verdict.PASS: Style.GOOD, Verdict.WARN: Style.WARNING, Verdict.FAIL: Style.BAD}


def run_doctor(options: Options, settings: Settings) -> int:
    """Examine and tell; the exit status: 1 if a check failed, 0 otherwise."""
    from twisted.internet import reactor

    use_monotonic_clock(reactor)
    console = Console(os.environ, json=options.json)
    doctor = Doctor(console, settings, json=options.json)
    seconds = DEFAULT_SECONDS if options.seconds is None else options.seconds
    try:
        return _Run(reactor, doctor, seconds).run()
    finally:
        console.close()


class _Run:
    """One run of the reactor; a signal that ends it closes what is open first."""

    def __init__(self, reactor: Any, doctor: Doctor, seconds: float) -> None:
        self._reactor = reactor
        self._doctor = doctor
        self._seconds = seconds
        self._task: Deferred[None] | None = None
        self._status = ExitStatus.INTERRUPTED

    def run(self) -> int:
        """Run it to its end; the exit status."""
        self._reactor.callWhenRunning(self._start)
        self._reactor.addSystemEventTrigger("before", "shutdown", self._cancel)
        self._reactor.run()
        return self._status

    def _start(self) -> None:
        probes = RealProbes(self._reactor, time.time)
        self._task = Deferred.fromCoroutine(self._doctor.run(probes, self._seconds))
        self._task.addCallbacks(self._done, self._failed)

    def _cancel(self) -> Deferred[None] | None:
        """End what is under way, if there is anything; the reactor waits for that."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
        return task

    def _done(self, _: None) -> None:
        self._status = self._doctor.status
        self._stop()

    def _failed(self, failure: Failure) -> None:
        if failure.check(CancelledError) is None:
            self._status = ExitStatus.FAILED
            failure.printTraceback()
        self._stop()

    def _stop(self) -> None:
        if self._task is not None:
            self._task = None
            self._reactor.stop()


class Doctor:
    """Tells an examination to a console."""

    def __init__(self, console: Console, settings: Settings, *, json: bool) -> None:
        self._console = console
        self._settings = settings
        self._json = json
        self.checks: list[Check] = []

    async def run(self, probes: Any, seconds: float) -> None:
        """Examine; `seconds` is how long to listen for others."""
        examination = Examination(self._settings, probes, self._tell)
        await examination.run(seconds, self._note)
        diagnosis = diagnosis_of(self.checks)
        if self._json:
            self._console.data(json_text(diagnosis))
        else:
            self._console.note(summary_of(self.checks), _STYLES[diagnosis.verdict])

    @property
    def status(self) -> ExitStatus:
        """The exit status."""
        failed = self._console.closed or diagnosis_of(self.checks).verdict is Verdict.FAIL
        return ExitStatus.FAILED if failed else ExitStatus.DONE

    def _note(self, text: str) -> None:
        if not self._json:
            self._console.note(text, Style.DIM)

    def _tell(self, checks: Any) -> None:
        self.checks += checks
        if self._json:
            return
        for check in checks:
            self._console.data(self._line(check))

    def _line(self, check: Check) -> str:
        if self._console.screen is None:
            return "\t".join(cells_of(check))
        line = line_of(check)
        if self._console.color:
            word, rest = line[:4], line[4:]
            return f"\x1b[{_COLOURS[check.verdict]}m{word}\x1b[0m{rest}"
        return line
