"""The demo: three real services on this machine, one picture, one peer killed in mid-download.

What is shown is what happens: the services are `twistd peershare` processes on 127.0.0.2-4, the
download is `peershare get`, the killed peer is killed.  Everything made is cleaned up.
Linux only: other systems have no 127.0.0.N without being asked.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from peershare.client.picture import draw_forest

_BROADCAST = "127.255.255.255"
# so slow that a download of the picture lasts long enough to be watched
_UPLOAD_LIMIT = "250k"
_PATIENCE_SECONDS = 20.0
_TWISTD = "import sys; from twisted.scripts.twistd import run; sys.argv[0] = 'twistd'; run()"
_CLIENT = "import sys; from peershare.client.main import main; sys.exit(main())"


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
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _TWISTD, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_clean_environment(),
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


def run_demo(stream: TextIO) -> int:
    """Run the demo, telling about it on `stream`; the exit status is 0 if all went well."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with _peers() as (home, first, second, third):
            _show(stream, home, first, second, third)
    except DemoError as error:
        print(f"the demo failed: {error}", file=stream)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; everything is cleaned up", file=stream)
        return 130
    return 0


@contextmanager
def _peers() -> Iterator[tuple[Path, Peer, Peer, Peer]]:
    """Three peers that are not started yet; stopped and deleted in the end."""
    home = Path(tempfile.mkdtemp(prefix="peershare-demo-"))
    peers = tuple(Peer(home, number) for number in (2, 3, 4))
    try:
        yield home, peers[0], peers[1], peers[2]
    finally:
        for peer in peers:
            peer.stop()
        shutil.rmtree(home, ignore_errors=True)


def _show(stream: TextIO, home: Path, first: Peer, second: Peer, third: Peer) -> None:
    """The whole story."""

    def say(text: str) -> None:
        print(text, file=stream, flush=True)

    say("1. A picture of a forest, drawn for this demo, goes into the share folders of two peers.")
    picture = draw_forest(seed=1)
    for peer in (first, second):
        (peer.share / "forest.png").write_bytes(picture)
    say(f"   forest.png, {len(picture):,} bytes, BLAKE2b {_digest(picture)}")
    say("2. Three peers start, each a service of its own: `twistd --nodaemon peershare`.")
    for peer in (first, second, third):
        peer.start()
    _wait(
        lambda: all(third.text("content_dictionary.txt").count(p.address) for p in (first, second)),
        "the third peer to hear the other two",
        first,
        second,
        third,
    )
    say(f"   {third.address} has heard {first.address} and {second.address}.")
    say(f"3. {third.address} downloads it: `peershare get forest`.  In the middle of the second")
    say("   chunk the peer that gives is killed.  Watch the download go on from the other one.")
    giver = _download(third, (first, second))
    say(f"   *** {giver.address} (process {giver.pid}) was killed: that was the failover above ***")
    found = list(third.share.glob("forest*"))
    if not found or found[0].read_bytes() != picture:
        raise DemoError(f"what arrived is not the picture: {found}")
    say(f"4. {found[0].name} arrived, BLAKE2b {_digest(found[0].read_bytes())}: the same bytes,")
    say(f"   though {giver.address} died on the way.")
    other = second if giver is first else first
    other.stop()
    for peer, name in (
        (third, "content_dictionary.txt"),
        (third, "download_log.txt"),
        (other, "upload_log.txt"),
    ):
        say(f"\n--- {name} of {peer.address}\n{peer.text(name).rstrip()}")
    say(f"\nDone; {home} is removed again.")


def _download(third: Peer, givers: tuple[Peer, Peer]) -> Peer:
    """Run the client, kill the peer that gives after its first chunk; return that peer.

    The client has the terminal for itself meanwhile: it draws a progress bar there.
    """
    client = subprocess.Popen(
        [sys.executable, "-c", _CLIENT, "get", "forest", "--state", str(third.state)],
        stdin=subprocess.DEVNULL,
        env=_clean_environment(),
    )
    try:
        _wait(lambda: "\tok" in third.text("download_log.txt"), "the first chunk", third)
        giver = next(p for p in givers if p.address in third.text("download_log.txt"))
        time.sleep(0.5)  # into the middle of the second chunk
        giver.kill()
        if client.wait(_PATIENCE_SECONDS) != 0:
            raise DemoError(f"the client ended with status {client.returncode}")
    except subprocess.TimeoutExpired:
        raise DemoError("the download did not come to its end") from None
    finally:
        if client.poll() is None:
            client.kill()
            client.wait()
    return giver


def _wait(condition: Callable[[], bool], what: str, *peers: Peer) -> None:
    """Wait for something to happen among peers that must stay up."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        for peer in peers:
            peer.check()
        if time.monotonic() > deadline:
            raise DemoError(f"waited in vain for {what}")
        time.sleep(0.05)


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _clean_environment() -> dict[str, str]:
    """This process's environment without the user's own settings of peershare."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PEERSHARE_")}
