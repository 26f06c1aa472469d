"""Processes of the lab: started with their output in files, watched, and ended on every path.

Not for: knowing what a process is; `peers` and `classic_hosts` do.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

POLL_SECONDS = 0.02
# Generous: the machine that runs the tests may be busy with others.
PATIENCE_SECONDS = 20.0
_TAIL_CHARACTERS = 3_000


def wait_until(
    condition: Callable[[], T], what: str | Callable[[], str], seconds: float = PATIENCE_SECONDS
) -> T:
    """Poll until the condition is true and return it; `AssertionError` after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            told = what if isinstance(what, str) else what()
            raise AssertionError(f"waited {seconds:.0f} s in vain: {told}")
        time.sleep(POLL_SECONDS)
    return value


def read_text(path: Path) -> str:
    """The text of a file, empty while there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


class LabProcess:
    """One process; its standard output and standard error are files beside each other."""

    def __init__(self, name: str, command: Sequence[str], folder: Path) -> None:
        """Start it.  It dies with the process that started it, however that one ends."""
        self.name = name
        folder.mkdir(parents=True, exist_ok=True)
        self._out, self._err = folder / f"{name}.out", folder / f"{name}.err"
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            # as in a background job of a script; whoever we start has to hear the keyboard's signal
            signal.signal(signal.SIGINT, signal.default_int_handler)
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._popen = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=folder,
                env=_environment(folder),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process id; what starts it only ever replaces itself by the next program."""
        return self._popen.pid

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._popen.poll() is None

    @property
    def output(self) -> str:
        """What it has written to standard output."""
        return self._out.read_text(encoding="utf-8", errors="replace")

    def lines(self) -> list[str]:
        """The lines of standard output, without one that is still being written."""
        return self.output.rpartition("\n")[0].splitlines()

    @property
    def errors(self) -> str:
        """What it has written to standard error."""
        return self._err.read_text(encoding="utf-8", errors="replace")

    def wait(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Wait for its end and return its exit status, negative for a signal."""
        try:
            return self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            message = f"{self.describe()}\n{self.name} did not end within {seconds:.0f} s"
            raise AssertionError(message) from None

    def kill(self) -> None:
        """End it without asking; returns when it is gone."""
        self._popen.kill()
        self._popen.wait()

    def terminate(self) -> None:
        """Ask it to end."""
        self._popen.terminate()

    def wait_for_line(self, part: str, seconds: float = PATIENCE_SECONDS) -> str:
        """Wait for a line of standard output with this in it; a process that ends is an error."""

        def line() -> str:
            ended = not self.alive  # asked first: what it wrote at its end counts
            for one in self.lines():
                if part in one:
                    return one
            if ended:
                raise AssertionError(f"{self.name} ended before it said {part!r}")
            return ""

        return wait_until(line, lambda: f"{self.name} to say {part!r}\n{self.describe()}", seconds)

    def describe(self) -> str:
        """Its state and the ends of what it wrote, for a message to a person."""
        state = "runs" if self.alive else f"ended with {self._popen.returncode}"
        out, err = self.output[-_TAIL_CHARACTERS:], self.errors[-_TAIL_CHARACTERS:]
        return f"{self.name} {state}\n--- output\n{out}\n--- errors\n{err}"


def _environment(folder: Path) -> dict[str, str]:
    """Nothing of the caller's settings gets in."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        # the programs are those of this tree, wherever another one is installed
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
