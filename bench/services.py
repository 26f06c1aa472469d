"""Services to measure: `twistd peershare` in processes of their own, asked through their local API.

Also what any process used of processor and memory.  Not for: what is measured, or what it is
compared with.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

BROADCAST = "127.255.255.255"
# Who sends beacons there is not heard by those on the standard port: classic only, between them.
OTHER_BEACON_PORT = 5999
_PATIENCE_SECONDS = 30.0
TWISTD = "import sys; from twisted.scripts.twistd import run; sys.argv[0] = 'twistd'; run()"


@dataclass(frozen=True)
class Event:
    """Something that a service told: its name, its fields, and when we heard it (monotonic)."""

    name: str
    fields: dict[str, Any]
    heard_at: float

    def ends(self, download: str) -> bool:
        """Whether it tells that this download is done.  Raises `RuntimeError` if it failed."""
        if self.name != "download" or self.fields["download"]["id"] != download:
            return False
        state = self.fields["download"]["state"]
        if state in ("failed", "stopped", "blocked"):
            raise RuntimeError(f"the download is {state}: {self.fields['download']['problem']}")
        return bool(state == "done")


class Service:
    """One peer on an address of its own and the standard ports; `stop` it in the end."""

    broadcast = BROADCAST
    program = TWISTD

    def __init__(self, home: Path, address: str) -> None:
        """`home` gets its share folder, its state folder and its log."""
        self.address = address
        self.share = home / "share"
        self.state = home / "state"
        self._log = home / "service.log"
        self.share.mkdir(parents=True)
        self._process: subprocess.Popen[bytes] | None = None
        self.starting_seconds = 0.0

    def start(self, *options: str, around: Sequence[str] = ()) -> None:
        """Start it and wait for its API; `starting_seconds` is how long that took.

        `options` are further ones of the service, `around` is a command to run it in.
        """
        begun = time.monotonic()
        arguments = ["--nodaemon", "--pidfile=", "peershare", "--address", self.address]
        arguments += ["--share", str(self.share), "--state", str(self.state)]
        arguments += ["--broadcast", self.broadcast, *options]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PEERSHARE_")}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*around, sys.executable, "-c", self.program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
            )
        wait_for(self._answers, f"the service on {self.address}")
        self.starting_seconds = time.monotonic() - begun

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(_PATIENCE_SECONDS)
            self._process = None

    def kill(self) -> None:
        """End it without asking, as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_PATIENCE_SECONDS)
            self._process = None

    @property
    def pid(self) -> int:
        """The process; raises `RuntimeError` if it is not running."""
        if self._process is None:
            raise RuntimeError("the service is not running")
        return self._process.pid

    @property
    def peak_mebibytes(self) -> float:
        """The most memory that it ever had resident (VmHWM), in MiB."""
        return peak_mebibytes(self.pid)

    @property
    def cpu_seconds(self) -> float:
        """Processor time that it used so far, of all its threads."""
        return cpu_seconds(self.pid)

    # -- the API

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """The answer to one request of the API.  Raises `RuntimeError` for a refusal."""
        connection, headers = self._connect()
        if body is not None:
            headers["Content-Type"] = "application/json"
        data = None if body is None else json.dumps(body)
        connection.request(method, f"/api/{path}", data, headers)
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        if response.status >= 300:
            raise RuntimeError(f"{method} {path}: {response.status} {answer!r}")
        return json.loads(answer)

    def events(self) -> Iterator[Event]:
        """What it tells from now on; the first event asked for waits until there is one."""
        connection, headers = self._connect()
        connection.request("GET", "/api/events", headers=headers)
        return _read_events(connection, connection.getresponse())

    def knows(self, name: str) -> bool:
        """Whether somebody has told it every chunk of this content."""
        contents = self.ask("GET", "contents")
        return any(found["name"] == name and found["complete"] for found in contents)

    def _connect(self) -> tuple[http.client.HTTPConnection, dict[str, str]]:
        control = json.loads((self.state / "control.json").read_text(encoding="utf-8"))
        netloc = urlsplit(control["url"]).netloc
        connection = http.client.HTTPConnection(netloc, timeout=_PATIENCE_SECONDS)
        self.open(connection)
        return connection, {"Authorization": f"Bearer {control['token']}"}

    def open(self, connection: http.client.HTTPConnection) -> None:
        """Connect to its API."""
        connection.connect()

    def _answers(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise RuntimeError(self._log.read_text(encoding="utf-8", errors="replace")[-2_000:])
        try:
            self.ask("GET", "node")
        except (OSError, ValueError):
            return False
        return True


def peak_mebibytes(pid: int) -> float:
    """The most memory that a process ever had resident (VmHWM), in MiB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def cpu_seconds(pid: int) -> float:
    """Processor time that a process used so far, of all its threads."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    user, system = stat.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _read_events(
    connection: http.client.HTTPConnection, response: http.client.HTTPResponse
) -> Iterator[Event]:
    """Decode server-sent events as they come."""
    name = ""
    try:
        for line in iter(response.readline, b""):
            field, _, value = line.rstrip(b"\r\n").partition(b": ")
            if field == b"event":
                name = value.decode("ascii")
            elif field == b"data":
                yield Event(name, json.loads(value), time.monotonic())
    finally:
        connection.close()


def wait_for(condition: Any, what: str) -> None:
    """Ask 50 times a second until the condition holds.  Raises `RuntimeError` after 30 s."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited {_PATIENCE_SECONDS:.0f} s in vain for {what}")
        time.sleep(0.02)
