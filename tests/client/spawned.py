"""Processes of these tests: the story-telling service, and the client through pipes or a terminal.

Every process dies with the test; everything that is waited for has a deadline.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.client.emulator import Terminal

ROOT = Path(__file__).resolve().parents[2]
MAIN = "import sys; from peershare.client.main import main; sys.exit(main())"
CLIENT = (sys.executable, "-c", MAIN)
# As on a terminal that belongs to somebody else, which cannot be opened.
FOREIGN_TERMINAL = "def fail(number): raise PermissionError\nimport os; os.ttyname = fail\n"
SERVICE = str(Path(__file__).with_name("serve_fake.py"))
JOB = str(Path(__file__).with_name("job.py"))
PATIENCE_SECONDS = 20.0


def environment(home: Path, **more: str) -> dict[str, str]:
    """Nothing of the caller's settings gets in."""
    base = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home), "LANG": "C.UTF-8"}
    base |= {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color"}
    return base | more


def free_ports(address: str, count: int) -> list[int]:
    """TCP ports that nobody listens on there right now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind((address, 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


class PtyProcess:
    """A client on a pseudo-terminal of this size; what it shows is in `terminal`."""

    def __init__(
        self, command: tuple[str, ...], columns: int, rows: int, env: dict[str, str], **streams: Any
    ) -> None:
        self.terminal = Terminal(columns, rows)
        self.raw = b""
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.slave = slave
        self.before = termios.tcgetattr(slave)
        files = {"stdin": slave, "stdout": slave, "stderr": slave} | streams
        self.process = subprocess.Popen(command, env=env, start_new_session=True, cwd=ROOT, **files)

    def type(self, keys: str) -> None:
        """Press these keys."""
        os.write(self._master, keys.encode())

    def read(self, seconds: float = 0.02) -> None:
        """Show what has come within so long."""
        while select.select([self._master], [], [], seconds)[0]:
            data = os.read(self._master, 65_536)
            self.raw += data
            self.terminal.feed(data)
            seconds = 0.0

    def until(self, condition: Callable[[], object], what: str = "") -> None:
        """Read until this is true."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"waited in vain for {what}\n{self.terminal.text}")
            self.read()

    def sees(self, text: str) -> None:
        """Wait for this to be on the screen, or to have been there."""
        self.until(lambda: text in self.terminal.text, repr(text))

    def wait(self) -> int:
        """The exit status."""
        self.until(lambda: self.process.poll() is not None, "the end")
        self.read()
        return self.process.returncode

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal another size, as a window manager does."""
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.kill(self.process.pid, signal.SIGWINCH)

    def close(self) -> None:
        """End it."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)
        os.close(self.slave)


class SpawnedTestCase(SynchronousTestCase):
    """A state folder with the story-telling service on it, once `serve` was called."""

    def setUp(self) -> None:
        self.home = Path(self.mktemp()).absolute()
        self.state = self.home / "state"
        self.home.mkdir()

    def serve(self) -> subprocess.Popen[bytes]:
        """Start the service; returns when it can be asked."""
        service = subprocess.Popen(
            [sys.executable, SERVICE, str(self.state)],
            stdout=subprocess.PIPE,
            env=environment(self.home),
            cwd=ROOT,
        )
        self.addCleanup(self.end, service)
        assert service.stdout is not None
        self.assertEqual(service.stdout.readline(), b"ready\n")
        return service

    def end(self, process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            process.kill()
        process.communicate()

    def own_node_flags(self) -> tuple[str, ...]:
        """Settings with which a node of its own meets nobody: loopback and ports of no one else."""
        tcp, udp = free_ports("127.0.0.25", 2)
        flags = {"address": "127.0.0.25", "broadcast": "127.255.255.255", "port": tcp}
        flags |= {"control-port": "auto", "classic-udp-port": udp, "share": self.home / "share"}
        return tuple(str(part) for name, value in flags.items() for part in (f"--{name}", value))

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start the client with pipes for everything."""
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        client = subprocess.Popen(
            [*CLIENT, *arguments, "--state", str(self.state)],
            env=environment(self.home, **options.pop("env", {})),
            cwd=ROOT,
            **(streams | options),
        )
        self.addCleanup(self.end, client)
        return client

    def run_client(
        self, *arguments: str, stdin: str = "", **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run the client to its end."""
        client = self.start(*arguments, **options)
        given = stdin.encode() if client.stdin is not None else None
        out, err = client.communicate(given, timeout=PATIENCE_SECONDS)
        return subprocess.CompletedProcess(
            arguments, client.returncode, (out or b"").decode(), (err or b"").decode()
        )

    def on_terminal(
        self,
        *arguments: str,
        columns: int = 80,
        rows: int = 24,
        env: dict[str, str] | None = None,
        job: bool = False,
        foreign: bool = False,
        **streams: Any,
    ) -> PtyProcess:
        """Start the client on a terminal (that may be somebody else's).

        It is a job of a shell if it is to be stopped.
        """
        client = (sys.executable, "-c", FOREIGN_TERMINAL + MAIN) if foreign else CLIENT
        command = (*client, *arguments, "--state", str(self.state))
        if job:
            command = (sys.executable, JOB, *command)
        child = PtyProcess(command, columns, rows, environment(self.home, **(env or {})), **streams)
        self.addCleanup(child.close)
        return child
