"""libtorrent to be measured beside: its environment, v2 torrents, and peers in processes.

It comes from PyPI into `bench/.venv-rivals`, so that nothing of it is ever mixed with what we
install.  Not for: what a peer does inside; `torrent_peer.py` says that, and runs over there.
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from services import cpu_seconds, peak_mebibytes

LIBTORRENT = "libtorrent>=2,<3"
PORT = 6881
_ENVIRONMENT = Path(__file__).resolve().with_name(".venv-rivals")
_PYTHON = _ENVIRONMENT / "bin" / "python"
_PEER = Path(__file__).resolve().with_name("torrent_peer.py")
_MAKE_TORRENT = """\
import sys, libtorrent as lt
path, folder, torrent = sys.argv[1:]
files = lt.file_storage()
lt.add_files(files, path)
made = lt.create_torrent(files, 0, lt.create_torrent.v2_only)
lt.set_piece_hashes(made, folder)
open(torrent, "wb").write(lt.bencode(made.generate()))
"""


def install_libtorrent() -> str:
    """Make sure that it is here; its version.  Ends the program where it cannot be had."""
    if not _PYTHON.exists():
        print(f"installing {LIBTORRENT} into {_ENVIRONMENT.name}", flush=True)
        venv.create(_ENVIRONMENT, with_pip=True)
        (_ENVIRONMENT / ".gitignore").write_text("*\n", encoding="ascii")
    asked = [str(_PYTHON), "-c", "import libtorrent; print(libtorrent.version)"]
    found = subprocess.run(asked, capture_output=True, text=True, check=False)
    if found.returncode != 0:
        pip = [str(_PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        if subprocess.run([*pip, LIBTORRENT], check=False).returncode != 0:
            raise SystemExit(f"{LIBTORRENT} could not be installed into {_ENVIRONMENT}")
        found = subprocess.run(asked, capture_output=True, text=True, check=True)
    return found.stdout.strip()


def make_torrent(path: Path, torrent: Path) -> None:
    """Write a v2 torrent of one file, its piece size as libtorrent picks it."""
    places = [str(path), str(path.parent), str(torrent)]
    subprocess.run([str(_PYTHON), "-W", "ignore", "-c", _MAKE_TORRENT, *places], check=True)


class TorrentPeer:
    """One peer in a process of its own; `stop` it in the end."""

    def __init__(self, address: str, port: int = PORT, around: Sequence[str] = ()) -> None:
        """`around` is a command to run it in."""
        self.address = address
        self.port = port
        self._around = around
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it and wait until it listens."""
        self._process = subprocess.Popen(
            [*self._around, str(_PYTHON), str(_PEER), self.address, str(self.port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._wait_for("ready")

    def seed(self, torrent: Path, folder: Path) -> None:
        """Share what lies in this folder; returns when it has been checked."""
        self._tell({"do": "seed", "torrent": str(torrent), "folder": str(folder)})
        self._wait_for("seeding")

    def fetch(self, torrent: Path, folder: Path, peers: Sequence[TorrentPeer]) -> None:
        """Begin to fetch into this folder from all of these peers."""
        others = [[peer.address, peer.port] for peer in peers if peer is not self]
        wish = {"do": "fetch", "torrent": str(torrent), "folder": str(folder), "peers": others}
        self._tell(wish)

    def wait_until_finished(self) -> float:
        """The moment (monotonic) at which all that it fetches was there and checked.

        Returns a little later, when the file can be read by others.
        """
        finished_at = float(self._wait_for("finished")["at"])
        self._wait_for("flushed")
        return finished_at

    @property
    def peak_mebibytes(self) -> float:
        """The most memory that it ever had resident (VmHWM), in MiB."""
        return peak_mebibytes(self._running.pid)

    @property
    def cpu_seconds(self) -> float:
        """Processor time that it used so far, of all its threads."""
        return cpu_seconds(self._running.pid)

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    @property
    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise RuntimeError("the peer is not running")
        return self._process

    def _tell(self, command: dict[str, Any]) -> None:
        stdin = self._running.stdin
        if stdin is None:
            raise RuntimeError("the peer has no standard input")
        stdin.write(json.dumps(command) + "\n")
        stdin.flush()

    def _wait_for(self, what: str) -> dict[str, Any]:
        stdout = self._running.stdout
        if stdout is None:
            raise RuntimeError("the peer has no standard output")
        for line in stdout:
            told: dict[str, Any] = json.loads(line)
            if told["is"] == "failed":
                raise RuntimeError(f"libtorrent on {self.address}: {told['why']}")
            if told["is"] == what:
                return told
        raise RuntimeError(f"libtorrent on {self.address} ended before it was {what}")


if __name__ == "__main__":
    print(install_libtorrent(), file=sys.stderr)
