"""Peers on loopback addresses: real services, each in a process, asked over their API.

Every test has ports of its own, so that tests of other runs on this machine are not heard.
Not for: what the peers are to do.
"""

from __future__ import annotations

import json
import socket
import sys
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import copy
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from peershare.control.controlfile import read_control_file
from peershare.status import DownloadState, DownloadStatus, HistoryEntry, NodeStatus
from tests.lab.processes import LabProcess, read_text, wait_until

BROADCAST = "127.255.255.255"
# SIGTERM ends a service within 2 s; the rest is for a busy machine.
STOP_SECONDS = 4.0
# So many peers of a test can be classic ones to each other.
MAX_CLASSIC = 8
_PROGRAMS = Path(sys.executable).parent
_PNG_HEAD = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR"


def picture(size: int, seed: int = 1) -> bytes:
    """So many bytes that begin as a picture does, the same for the same seed."""
    return (_PNG_HEAD + Random(seed).randbytes(size))[:size]


def address(number: int) -> str:
    """The address of peer 1, 2, 3 …"""
    return f"127.0.1.{number}"


def free_ports(kind: socket.SocketKind, count: int) -> list[int]:
    """Ports that nobody uses on any of these addresses right now."""
    sockets = [socket.socket(socket.AF_INET, kind) for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


class Ports:
    """The ports of one test: TCP, the second classic TCP port, UDP for classic and for beacons."""

    def __init__(self) -> None:
        self.tcp, self.second = free_ports(socket.SOCK_STREAM, 2)
        self.udp, self.beacon, *self._others = free_ports(socket.SOCK_DGRAM, 2 + MAX_CLASSIC)

    def without_beacons(self, number: int) -> Ports:
        """The same for peer 1 to `MAX_CLASSIC`, whose beacons nobody else hears."""
        ports = copy(self)
        ports.beacon = self._others[number - 1]
        return ports

    @property
    def options(self) -> list[str]:
        """As options of the service and the client."""
        return [
            *("--port", str(self.tcp), "--classic-ports", f"{self.tcp},{self.second}"),
            *("--classic-udp-port", str(self.udp), "--beacon-port", str(self.beacon)),
            *("--broadcast", BROADCAST),
        ]


class Peer:
    """One service; `share` and `state` are its folders, which stay over its restarts."""

    def __init__(self, number: int, folder: Path, ports: Ports) -> None:
        self.address = address(number)
        self.ports = ports
        self.folder = folder
        self.share, self.state = folder / "share", folder / "state"
        self.share.mkdir(parents=True)
        self.process: LabProcess | None = None
        self._starts = 0
        self._clients = 0
        self.clients: list[LabProcess] = []

    def write(self, name: str, data: bytes) -> None:
        """Put a file into the share folder, in one rename."""
        unfinished = self.folder / "unfinished"
        unfinished.write_bytes(data)
        unfinished.rename(self.share / name)

    def options(self, *more: str) -> list[str]:
        """What the service and a client without one are told."""
        folders = ["--share", str(self.share), "--state", str(self.state)]
        return [*folders, "--address", self.address, *self.ports.options, *more]

    def ready(self) -> Peer:
        """Wait until the service listens and can be asked."""
        process = self.running
        wait_until(
            lambda: not process.alive or self._answers(process.pid),
            lambda: f"the service to be ready\n{process.describe()}",
        )
        if not process.alive:
            raise AssertionError(process.describe())
        return self

    def start(self, *more: str, around: Sequence[str] = ()) -> LabProcess:
        """Start the service; `around` is a command to run it in."""
        self._starts += 1
        command = [str(_PROGRAMS / "twistd"), "-n", "--pidfile=", "peershare"]
        command = [*around, *command, *self.options(*more)]
        self.process = LabProcess(f"service-{self._starts}", command, self.folder)
        return self.process

    def client(self, *arguments: str) -> LabProcess:
        """Run the companion client, which uses this service, or can be such a peer itself."""
        self._clients += 1
        name, *rest = arguments
        command = [str(_PROGRAMS / "peershare"), name, *self.options(), *rest]
        client = LabProcess(f"client-{self._clients}", command, self.folder)
        self.clients.append(client)
        return client

    @property
    def running(self) -> LabProcess:
        """The service's process."""
        if self.process is None:
            raise AssertionError(f"no service on {self.address}")
        return self.process

    @property
    def log(self) -> str:
        """The service's own log, since its last start."""
        return self.running.output + self.running.errors

    def kill(self) -> None:
        """End the service without asking, as a crash does."""
        self.running.kill()

    def stop(self) -> None:
        """End the service in order."""
        self.running.terminate()
        self.running.wait(STOP_SECONDS)

    # -- asking it

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Ask the API, once it can be asked; what it answers, decoded from JSON."""
        control = read_control_file(self.ready().state)
        if control is None:
            raise AssertionError(f"no control.json in {self.state}")
        request = urllib.request.Request(
            control.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {control.token}",
                "Content-Type": "application/json",
            },
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.loads(response.read() or "null")

    def _answers(self, pid: int) -> bool:
        control = read_control_file(self.state)
        return control is not None and control.pid == pid

    def node(self) -> NodeStatus:
        """What the node says of itself."""
        return msgspec.convert(self.ask("GET", "/api/node"), NodeStatus)

    def download(self, name: str, folder: Path | None = None) -> Download:
        """Begin to download."""
        wish = {"name": name, "folder": None if folder is None else str(folder)}
        return Download(self, self.ask("POST", "/api/downloads", wish)["id"])

    def downloads(self) -> list[DownloadStatus]:
        """Every download of this run of the service."""
        return msgspec.convert(self.ask("GET", "/api/downloads"), list[DownloadStatus])

    def history(self, direction: str) -> list[HistoryEntry]:
        """The lines of one log, oldest first; those of a service that runs are written by then."""
        if self.running.alive:
            with suppress(OSError, AssertionError):  # it may be ending
                self.ask("GET", "/api/history?limit=1")
        path = self.state / f"{direction}_log.txt"
        lines = [line.split("\t") for line in read_text(path).splitlines()]
        return [
            HistoryEntry(
                direction=direction,
                time=time,
                address=source,
                chunk=chunk,
                bytes=int(size),
                seconds=float(seconds),
                result=result,
            )
            for time, source, chunk, size, seconds, result in lines
        ]

    def gave(self) -> list[str]:
        """The chunks it gave whole, in order."""
        return [line.chunk for line in self.history("upload") if line.result == "ok"]

    def failures(self) -> list[tuple[str, str, str]]:
        """Address, chunk and reason of each attempt to download that failed."""
        return [
            (line.address, line.chunk, line.result.split(":")[0].removeprefix("failed "))
            for line in self.history("download")
            if line.result.startswith("failed")
        ]

    def dictionary(self) -> dict[str, list[str]]:
        """The content dictionary, as it is on disk; empty while there is none."""
        found: dict[str, list[str]] = json.loads(
            read_text(self.state / "content_dictionary.txt") or "{}"
        )
        return found

    def wait_to_know(self, source: str, *stems: str) -> None:
        """Wait until it knows the five chunks of each stem at an address."""
        wanted = [f"{stem}_{number}" for stem in stems for number in range(1, 6)]
        wait_until(
            lambda: all(source in self.dictionary().get(name, ()) for name in wanted),
            lambda: f"{self.address} to hear of {stems} at {source}: {self.dictionary()}",
        )


class Download:
    """One download of a peer, as its API shows it."""

    def __init__(self, peer: Peer, identifier: str) -> None:
        self._peer = peer
        self._id = identifier

    @property
    def status(self) -> DownloadStatus:
        """How it is now."""
        found = self._peer.ask("GET", f"/api/downloads/{self._id}")
        return msgspec.convert(found, DownloadStatus)

    def wait_for(
        self, condition: Callable[[DownloadStatus], object], seconds: float = 20.0
    ) -> DownloadStatus:
        """Wait until its status is as the condition wants it, and return it."""

        def reached() -> DownloadStatus | None:
            status = self.status
            return status if condition(status) else None

        def what() -> str:
            return f"{self.status}\n{self._peer.running.describe()}"

        status = wait_until(reached, what, seconds)
        assert status is not None
        return status

    def wait(self, seconds: float = 20.0) -> DownloadStatus:
        """Wait until it is done."""
        return self.wait_for(lambda status: status.state is DownloadState.DONE, seconds)

    def wait_until_moving(self, count: int = 1) -> DownloadStatus:
        """Wait until so many bytes have come, with more to come."""
        status = self.wait_for(lambda status: status.received >= count)
        if status.state is not DownloadState.DOWNLOADING:
            raise AssertionError(f"it was to last longer: {status}")
        return status

    def stop(self) -> None:
        """The user wants it no more."""
        self._peer.ask("DELETE", f"/api/downloads/{self._id}")


class PeersTestCase(SynchronousTestCase):
    """A test with peers; afterwards every one has ended, and none had a traceback.

    `native`: they hear each other's beacons.  Where they do not, each has a port of its own for
    these, and they are classic peers to each other.
    """

    native = True

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        self.ports = Ports()
        self.peers: dict[int, Peer] = {}
        self.addCleanup(self._kill_all)

    def tearDown(self) -> None:
        for peer in self.peers.values():
            if peer.process is not None and peer.process.alive:
                peer.stop()
            for path in peer.folder.glob("service-*.*"):
                log = path.read_text(errors="replace")
                self.assertNotIn("Traceback", log, log)
                self.assertNotIn("Unhandled", log, log)

    def _kill_all(self) -> None:
        for peer in self.peers.values():
            for process in (peer.process, *peer.clients):
                if process is not None and process.alive:
                    process.kill()

    def peer(self, number: int) -> Peer:
        """Peer 1, 2, 3 …, not started."""
        if number not in self.peers:
            ports = self.ports if self.native else self.ports.without_beacons(number)
            self.peers[number] = Peer(number, self.folder / f"peer-{number}", ports)
        return self.peers[number]

    def start(self, number: int, *options: str, **files: bytes) -> Peer:
        """Start a peer that shares these files, `forest_png=bytes`.

        It does not wait for it: so several start at once.
        """
        peer = self.peer(number)
        for name, data in files.items():
            peer.write(name.replace("_", "."), data)
        peer.start(*options)
        return peer

    def assert_fetched(self, peer: Peer, name: str, data: bytes) -> None:
        """The file is there, byte for byte, and no part file is left of it."""
        self.assertEqual((peer.share / name).read_bytes(), data)
        parts = [path.name for path in (peer.share / ".peershare").glob("*")]
        self.assertEqual([part for part in parts if name.split(".")[0] in part], [])


class ClassicPeersTestCase(PeersTestCase):
    """Such a test with peers that are classic ones to each other.

    They announce often: one that starts late, on a busy machine, is not to wait a minute.
    """

    native = False

    def start(self, number: int, *options: str, **files: bytes) -> Peer:
        return super().start(number, "--announce-interval", "2", *options, **files)
