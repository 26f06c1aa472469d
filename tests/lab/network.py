"""Network namespaces: N hosts on one bridge, the bridge in a namespace of its own.

`Network` also starts the processes in them, since they must be gone before it can be removed.

Nothing is made in the namespace of the caller, so nothing here can reach a real network or
collide with one.  Names carry the process id of their maker; what a maker that was killed left
behind is swept by the next one.  Not for: what those processes are.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.lab.processes import LabProcess

BROADCAST = "198.18.0.255"
_PREFIX = "peershare-lab"
_NAMES = Path("/run/netns")
_serial = itertools.count()


def what_is_missing() -> str | None:
    """Why there can be no lab here, as a line for a person; None where there can be one."""
    if not sys.platform.startswith("linux"):
        return "the lab needs Linux (network namespaces)"
    for program, package in (("ip", "iproute2"), ("setpriv", "util-linux")):
        if shutil.which(program) is None:
            return f"the lab needs the program {program} (package {package})"
    if os.geteuid() != 0:
        return "the lab needs root, to make network namespaces"
    tried = _ip("netns", "add", f"{_PREFIX}-{os.getpid()}-trial", check=False)
    _ip("netns", "delete", f"{_PREFIX}-{os.getpid()}-trial", check=False)
    if tried.returncode:
        return f"the lab needs the right to make network namespaces: {tried.stderr.strip()}"
    return None


def sweep() -> None:
    """Remove the namespaces of makers that are no longer there."""
    for name in _namespaces():
        match = re.fullmatch(rf"{_PREFIX}-(\d+)-.+", name)
        if match and not Path(f"/proc/{match[1]}").exists():
            _ip("netns", "delete", name, check=False)


class Network:
    """Hosts 1 … N with the addresses 198.18.0.1 … 198.18.0.N, and the bridge between them."""

    def __init__(self, hosts: int) -> None:
        """Make nothing yet: `build` does, and `remove` undoes even half of it."""
        self.hosts = hosts
        self._prefix = f"{_PREFIX}-{os.getpid()}-{next(_serial)}-"
        self.bridge = self._prefix + "bridge"
        self._processes: list[LabProcess] = []

    def host(self, number: int) -> str:
        """The namespace of a host."""
        return f"{self._prefix}{number}"

    @staticmethod
    def address(number: int) -> str:
        """The address of a host."""
        return f"198.18.0.{number}"

    def build(self) -> None:
        """Make all of it; `CalledProcessError` if that is not possible."""
        numbers = range(1, self.hosts + 1)
        names = [self.bridge, *map(self.host, numbers)]
        _batch([], [f"netns add {name}" for name in names])
        lines = ["link set lo up", "link add lan type bridge", "link set lan up"]
        for number in numbers:
            lines += [
                f"link add port{number} type veth peer name lan netns {self.host(number)}",
                f"link set port{number} master lan up",
            ]
        _batch(["-n", self.bridge], lines)
        for number in numbers:
            _batch(
                ["-n", self.host(number)],
                [
                    "link set lo up",
                    f"address add {self.address(number)}/24 broadcast {BROADCAST} dev lan",
                    "link set lan up",
                ],
            )

    def start(self, namespace: str, name: str, command: Sequence[str], folder: Path) -> LabProcess:
        """Start a process in a namespace; its output goes to files in the folder."""
        process = LabProcess(name, ["ip", "netns", "exec", namespace, *command], folder)
        self._processes.append(process)
        return process

    def remove(self) -> None:
        """End what still runs in it, and remove whatever there is of it."""
        for process in self._processes:
            if process.alive:
                process.kill()
        for name in _namespaces():
            if name.startswith(self._prefix):
                _ip("netns", "delete", name, check=False)

    def pull_cable(self, number: int) -> None:
        """Cut a host off: nothing that is sent to it is answered any more."""
        _ip("-n", self.bridge, "link", "set", f"port{number}", "down")


def _namespaces() -> list[str]:
    return sorted(path.name for path in _NAMES.iterdir()) if _NAMES.is_dir() else []


def _ip(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ip", *arguments], check=check, capture_output=True, text=True)


def _batch(options: Sequence[str], lines: Iterable[str]) -> None:
    subprocess.run(
        ["ip", *options, "-batch", "-"],
        input="\n".join(lines),
        check=True,
        capture_output=True,
        text=True,
    )
