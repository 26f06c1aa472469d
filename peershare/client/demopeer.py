"""The peers of the demo: real services in processes of their own, and what they say of themselves.

Not for: what the demo shows.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any, TypeVar
from urllib.request import ProxyHandler, Request, build_opener

import msgspec

from peershare.control.controlfile import read_control_file
from peershare.control.messages import StartDownload
from peershare.status import ContentStatus, DownloadStatus

# A machine may be busy with other things.
PATIENCE_SECONDS = 60.0
_BROADCAST = "127.255.255.255"
# so slow that a download of the picture lasts long enough to be watched
_UPLOAD_LIMIT = "200k"
_ASK_SECONDS = 5.0
_TWISTD = "import sys; from twisted.scripts.twistd import run; sys.argv[0] = 'twistd'; run()"

T = TypeVar("T")


class DemoError(Exception):
    """Something did not go as it should; the text says what."""


class Peer:
    """One service in a process of its own, with a share and a state folder."""

    def __init__(self, home: Path, number: int) -> None:
        self.address = f"127.0.0.{number}"
        self.share = home / f"peer{number}" / "share"
        self.state = home / f"peer{number}" / "state"
        self.log = home / f"peer{number}" / "service.log"
        self.share.mkdir(parents=True)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id of the service."""
        return self._process.pid if self._process is not None else 0

    def start(self) -> None:
        """Start the service."""
        arguments = [
            *("--nodaemon", "--pidfile=", "peershare", "--share", str(self.share)),
            *("--state", str(self.state), "--address", self.address),
            *("--broadcast", _BROADCAST, "--upload-limit", _UPLOAD_LIMIT),
        ]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _TWISTD, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=clean_environment(),
            )

    def check(self) -> None:
        """Raise `DemoError` with the end of its log if the service is not running."""
        if self._process is not None and self._process.poll() is not None:
            text = self.log.read_text(encoding="utf-8", errors="replace")
            raise DemoError(f"the peer on {self.address} did not stay up:\n{text[-2000:]}")

    def kill(self) -> None:
        """Kill it, as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """End it in good order, whatever state it is in."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self.kill()

    def text(self, name: str) -> str:
        """One of the text files in its state folder; empty if it is not there (yet)."""
        try:
            return (self.state / name).read_text(encoding="utf-8")
        except OSError:
            return ""

    # -- what its API says

    def contents(self) -> tuple[ContentStatus, ...]:
        """What it knows to be on the network; nothing while it starts."""
        return self._ask("/contents", tuple[ContentStatus, ...]) or ()

    def begin(self, name: str) -> None:
        """Have it download something."""
        wish = StartDownload(name)
        ask = partial(self._ask, "/downloads", DownloadStatus, wish)
        wait(ask, f"{self.address} to begin", self)

    def download(self) -> DownloadStatus | None:
        """How far its only download is; None while there is none."""
        downloads = self._ask("/downloads", tuple[DownloadStatus, ...])
        return downloads[0] if downloads else None

    def percent(self) -> float:
        """How much of it is there."""
        status = self.download()
        return 100 * status.received / status.size if status and status.size else 0.0

    def _ask(self, path: str, kind: type[T], body: Any = None) -> T | None:
        """An answer of its API; None if it gives none."""
        control = read_control_file(self.state)
        if control is None:
            return None
        headers = {"Authorization": f"Bearer {control.token}", "Content-Type": "application/json"}
        data = None if body is None else msgspec.json.encode(body)
        request = Request(f"{control.url}/api{path}", data, headers)
        try:
            with build_opener(ProxyHandler({})).open(request, timeout=_ASK_SECONDS) as answer:
                return msgspec.json.decode(answer.read(), type=kind)
        except (OSError, HTTPException, msgspec.DecodeError):
            return None


def wait(condition: Callable[[], object], what: str, *peers: Peer) -> None:
    """Wait for something to happen among peers that must stay up."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        for peer in peers:
            peer.check()
        if time.monotonic() > deadline:
            raise DemoError(f"waited in vain for {what}")
        time.sleep(0.05)


def clean_environment() -> dict[str, str]:
    """This process's environment without the user's own settings of peershare."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PEERSHARE_")}
