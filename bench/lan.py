"""A switched network of so many hosts with links of one rate, in network namespaces.

The switch is a bridge in a namespace of its own, host N has 198.18.0.N in another; nothing is made
in the namespace of the caller.  Each link is shaped on both of its ends, so in both directions.
Needs root and iproute2.  Not for: what runs on the hosts.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

from services import Service

BROADCAST = "198.18.255.255"
_PREFIX = "peershare-bench"
_NAMES = Path("/run/netns")
_CLONE_NEWNET = 0x40000000
_CONGESTION_CONTROL = Path("/proc/sys/net/ipv4/tcp_congestion_control")
# Of a switch with small buffers, 20 ms of the rate wait at a port; on a host, 1,000 frames do, as
# on an interface of a real one (TCP waits for its own queue, so that nothing is lost there).  What
# 1 ms takes may leave at once.
_QUEUE_SECONDS = 0.02
_HOST_QUEUE_BYTES = 1_000 * 1_514
_BURST_SECONDS = 0.001
_MIN_BURST_BYTES = 16_384
_libc = ctypes.CDLL(None, use_errno=True)
_serial = itertools.count()


class Lan:
    """Hosts 1 … N; `build` makes them, `remove` undoes even half of it."""

    def __init__(self, hosts: int, megabits: int, congestion: str = "") -> None:
        """`megabits`: the rate of each link, in 10**6 bits a second, both ways.

        `congestion`: TCP's congestion control on all hosts; "" is what the system has.
        """
        self.hosts = hosts
        self._congestion = congestion
        self.bytes_per_second = megabits * 125_000
        self._prefix = f"{_PREFIX}-{os.getpid()}-{next(_serial)}-"
        self._bridge = self._prefix + "bridge"

    def namespace(self, number: int) -> str:
        """The network namespace of a host."""
        return f"{self._prefix}{number}"

    def around(self, number: int) -> list[str]:
        """The command to run another in on a host; it becomes the other."""
        return ["ip", "netns", "exec", self.namespace(number)]

    @staticmethod
    def address(number: int) -> str:
        """The address of a host."""
        return f"198.18.0.{number}"

    def build(self) -> None:
        """Make all of it; `CalledProcessError` if that is not possible."""
        numbers = range(1, self.hosts + 1)
        names = [self._bridge, *map(self.namespace, numbers)]
        _batch("ip", [], [f"netns add {name}" for name in names])
        lines = ["link set lo up", "link add lan type bridge", "link set lan up"]
        for number in numbers:
            lines += [
                f"link add port{number} type veth peer name lan netns {self.namespace(number)}",
                f"link set port{number} master lan up",
            ]
        _batch("ip", ["-n", self._bridge], lines)
        queue = int(self.bytes_per_second * _QUEUE_SECONDS)
        ports = [self._shaping(f"port{number}", queue) for number in numbers]
        _batch("tc", ["-n", self._bridge], ports)
        for number in numbers:
            namespace = self.namespace(number)
            address = f"{self.address(number)}/16 broadcast {BROADCAST}"
            lines = ["link set lo up", f"address add {address} dev lan", "link set lan up"]
            _batch("ip", ["-n", namespace], lines)
            _batch("tc", ["-n", namespace], [self._shaping("lan", _HOST_QUEUE_BYTES)])
            if self._congestion:
                with inside(namespace):
                    _CONGESTION_CONTROL.write_text(self._congestion)

    def _shaping(self, device: str, queue_bytes: int) -> str:
        burst = max(int(self.bytes_per_second * _BURST_SECONDS), _MIN_BURST_BYTES)
        limit = queue_bytes + burst
        rate = f"rate {self.bytes_per_second * 8}bit burst {burst}b limit {limit}b"
        return f"qdisc add dev {device} root tbf {rate}"

    def remove(self) -> None:
        """Remove whatever there is of it; what runs there has to have ended."""
        for name in _namespaces():
            if name.startswith(self._prefix):
                subprocess.run(["ip", "netns", "delete", name], check=False)

    @property
    def congestion(self) -> str:
        """TCP's congestion control on the hosts."""
        with inside(self.namespace(1)):
            return _CONGESTION_CONTROL.read_text().strip()

    def sent_bytes(self, number: int) -> int:
        """How many bytes a host has sent so far, headers included: its interface's counter."""
        command = ["ip", "-n", self.namespace(number), "-s", "-j", "link", "show", "lan"]
        told = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        return int(told[0]["stats64"]["tx"]["bytes"])

    def stream_seconds(self, path: Path) -> float:
        """How long a file takes as a plain TCP stream from host 1 to host 2: what TCP can do."""
        with inside(self.namespace(1)):
            listening = socket.create_server((self.address(1), 0))
        port = listening.getsockname()[1]

        def give() -> None:
            with listening, listening.accept()[0] as connection, path.open("rb") as file:
                connection.sendfile(file)

        giving = threading.Thread(target=give)
        giving.start()
        begun = time.monotonic()
        with inside(self.namespace(2)):
            connection = socket.create_connection((self.address(1), port))
        with connection:
            buffer = bytearray(1 << 18)
            while connection.recv_into(buffer):
                pass
        seconds = time.monotonic() - begun
        giving.join()
        return seconds


class LanService(Service):
    """A service on a host of the network, with the standard ports."""

    broadcast = BROADCAST

    def __init__(self, home: Path, lan: Lan, number: int) -> None:
        super().__init__(home, lan.address(number))
        self._lan = lan
        self._number = number

    def start(self, *options: str, around: Sequence[str] = ()) -> None:
        """Start it on its host and wait for its API."""
        super().start(*options, around=[*self._lan.around(self._number), *around])

    def open(self, connection: HTTPConnection) -> None:
        """Connect to its API, which is on the loopback interface of its host."""
        with inside(self._lan.namespace(self._number)):
            connection.connect()


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """While this lasts, the sockets that this thread makes belong to the namespace."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    there = os.open(_NAMES / namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _enter(there)
        try:
            yield
        finally:
            _enter(home)
    finally:
        os.close(there)
        os.close(home)


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def sweep() -> None:
    """Remove what makers left behind that were killed.  Ends the program where we may not."""
    if os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("tc") is None:
        raise SystemExit("this needs root and iproute2, to make network namespaces")
    for name in _namespaces():
        match = re.fullmatch(rf"{_PREFIX}-(\d+)-.+", name)
        if match and not Path(f"/proc/{match[1]}").exists():
            subprocess.run(["ip", "netns", "delete", name], check=False)


def _namespaces() -> list[str]:
    return sorted(path.name for path in _NAMES.iterdir()) if _NAMES.is_dir() else []


def _batch(program: str, options: Sequence[str], lines: Sequence[str]) -> None:
    command = [program, *options, "-batch", "-"]
    subprocess.run(command, input="\n".join(lines), check=True, text=True)
