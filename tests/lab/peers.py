"""A machine on the lab's network that runs peershare: the service, and its client beside it.

The service has the default addresses and ports: in its namespace it sees the lab and nothing
else.  Not for: judging what it does.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.network import Network
from tests.lab.processes import LabProcess, read_text, wait_until
from tests.lab.rules import BEACON_PORT

_PROGRAMS = Path(sys.executable).parent


@dataclass(frozen=True)
class LogLine:
    """One line of upload_log.txt or download_log.txt."""

    time: str
    address: str
    chunk: str
    size: int
    seconds: float
    result: str

    @property
    def ok(self) -> bool:
        """Whether the transfer was finished."""
        return self.result.startswith("ok")

    @property
    def verified_blocks(self) -> int:
        """How many blocks came that hash to what they should; 0 if the line is no such."""
        match = re.match(r"ok verified: (\d+) blocks", self.result)
        return int(match[1]) if match else 0


class PeershareHost:
    """One such machine; `share` and `state` are the folders of its service."""

    def __init__(self, network: Network, number: int, folder: Path) -> None:
        self._network = network
        self._number = number
        self._folder = folder
        self._clients = 0
        self.share, self.state = folder / "share", folder / "state"
        self.share.mkdir(parents=True)
        self.service: LabProcess | None = None
        self.beacon_port = BEACON_PORT

    @property
    def address(self) -> str:
        """Its address."""
        return self._network.address(self._number)

    def start(self, *options: str, native: bool = True) -> PeershareHost:
        """Start the service; `wait_ready` waits for it.

        One that is not `native` has another port for beacons, as nobody else has: it is a classic
        peer to all others.
        """
        if not native:
            self.beacon_port = BEACON_PORT + 100 + self._number
            options = (*options, "--beacon-port", str(self.beacon_port))
        command = [str(_PROGRAMS / "twistd"), "-n", "--pidfile=", "peershare"]
        command += ["--share", str(self.share), "--state", str(self.state), *options]
        self.service = self._run(f"service-{self._number}", command)
        return self

    def wait_ready(self) -> None:
        """Wait until the service listens and can be asked."""
        service = self.running
        wait_until(
            lambda: not service.alive or _pid_in(self.state / "control.json") == service.pid,
            lambda: f"the service to be ready\n{service.describe()}",
        )
        if not service.alive:
            raise AssertionError(service.describe())

    @property
    def running(self) -> LabProcess:
        """The service's process."""
        if self.service is None:
            raise AssertionError(f"no service was started on host {self._number}")
        return self.service

    def kill(self) -> None:
        """End the service without asking, as a crash does."""
        self.running.kill()
        self.service = None

    def client(self, *arguments: str) -> LabProcess:
        """Run the companion client of this service."""
        self._clients += 1
        command = [str(_PROGRAMS / "peershare"), *arguments, "--state", str(self.state)]
        return self._run(f"client-{self._number}-{self._clients}", command)

    def get(self, *names: str) -> LabProcess:
        """Start to download; `wait` gives the exit status, 0 for done."""
        return self.client("get", *names, "--json")

    def listed(self) -> Any:
        """What `peershare list --json` prints."""
        process = self.client("list", "--json")
        if process.wait() != 0:
            raise AssertionError(process.describe())
        return json.loads(process.output)

    def dictionary(self) -> dict[str, list[str]]:
        """The content dictionary, as it is on disk; empty while there is none."""
        found: dict[str, list[str]] = json.loads(
            read_text(self.state / "content_dictionary.txt") or "{}"
        )
        return found

    def wait_to_know(self, address: str, *stems: str) -> None:
        """Wait until the dictionary has the five chunks of each stem at an address."""
        wanted = [f"{stem}_{number}" for stem in stems for number in range(1, 6)]
        wait_until(
            lambda: all(address in self.dictionary().get(name, ()) for name in wanted),
            lambda: f"{self.address} to hear of {stems} at {address}: {self.dictionary()}",
        )

    def wait_to_find(self, content: str, holders: int = 1) -> None:
        """Wait until it knows of a content by its id, at so many native peers or more."""

        def found() -> bool:
            listed = {one["id"]: one for one in self.listed()}
            return content in listed and len(listed[content]["peers"]) >= holders

        wait_until(found, lambda: f"{self.address} to hear of {content}: {self.listed()}")

    def downloads(self, *, ok: bool = True) -> list[LogLine]:
        """The lines of download_log.txt, of what arrived or of what failed."""
        return [line for line in _log_lines(self.state / "download_log.txt") if line.ok is ok]

    def downloaded_stems(self) -> frozenset[str]:
        """The stems of what was downloaded, whole or not: told chunk by chunk for a while.

        Where a stem is taken, what is downloaded is told under its whole name.
        """
        names = [line.chunk for line in self.downloads()]
        stems = {name.rpartition("_")[0] or Path(name).stem for name in names}
        return frozenset(stems | {path.name for path in self.share.iterdir()} if stems else stems)

    def uploads(self, *, ok: bool = True) -> list[LogLine]:
        """The lines of upload_log.txt, of what was given or of what was broken off."""
        return [line for line in _log_lines(self.state / "upload_log.txt") if line.ok is ok]

    def _run(self, name: str, command: list[str]) -> LabProcess:
        return self._network.start(self._network.host(self._number), name, command, self._folder)


def told(download: LabProcess) -> list[dict[str, Any]]:
    """What a client has told of its download, as time went by."""
    events = [json.loads(line) for line in download.lines()]
    return [event["download"] for event in events if event["type"] == "download"]


def received(download: LabProcess) -> int:
    """How many bytes it has, as a client has told last."""
    return max((status["received"] for status in told(download)), default=0)


def _pid_in(path: Path) -> int:
    """The process id in a control file, 0 while there is none."""
    try:
        return int(json.loads(read_text(path))["pid"])
    except (ValueError, KeyError):
        return 0


def _log_lines(path: Path) -> list[LogLine]:
    lines = []
    for line in read_text(path).splitlines():
        time, address, chunk, size, seconds, result = line.split("\t")
        lines.append(LogLine(time, address, chunk, int(size), float(seconds), result))
    return lines
