"""Our own disk, files that change while they are served, and names that lead elsewhere."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path
from urllib.error import HTTPError

from peershare.status import DownloadState
from tests.integration.peers import ClassicPeersTestCase, Peer, PeersTestCase, picture
from tests.integration.scripted import ScriptedPeer
from tests.lab.processes import wait_until

FOREST, OTHER = picture(1_000_003, 1), picture(1_100_000, 2)


def _no_mounts() -> str | None:
    """Why no file system can be mounted for a test; None if it can."""
    try:
        tried = subprocess.run(
            ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        return "there is no unshare here"
    return None if tried.returncode == 0 else "needs root, to mount a small file system"


class SmallDiskTestCase(PeersTestCase):
    """Peer 2 has its share folder on a small disk of its own, seen by nobody else."""

    skip = _no_mounts()

    def on_a_small_disk(self, options: str) -> Peer:
        """Start peer 2 with its share folder on a tmpfs, mounted so."""
        two = self.peer(2)
        script = f'mount -t tmpfs -o {options} tmpfs "$0" && exec "$@"'
        command = ("unshare", "--mount", "--propagation", "private", "sh", "-c", script)
        two.start(around=(*command, str(two.share)))
        return two.ready()

    def remount(self, two: Peer, options: str) -> None:
        """Change the small disk under the running service."""
        enter = ["nsenter", "--target", str(two.running.pid), "--mount"]
        mount = ["mount", "-o", f"remount,{options}", str(two.share)]
        subprocess.run([*enter, *mount], check=True)

    def seen(self, two: Peer) -> Path:
        """The share folder as the service sees it."""
        return Path(f"/proc/{two.running.pid}/root{two.share}")


class DiskTests(ClassicPeersTestCase, SmallDiskTestCase):
    def test_full(self) -> None:
        """It names the folder and the bytes needed, blames no peer, and goes on by itself."""
        one, two = self.start(1, forest_png=FOREST), self.on_a_small_disk("size=512k")
        two.wait_to_know(one.address, "forest")
        running = two.download("forest")
        status = running.wait_for(lambda status: status.state is DownloadState.BLOCKED)
        self.assertIn(str(two.share), status.problem)
        self.assertRegex(status.problem, r"the disk is full: (at least )?\d+ bytes more are needed")
        self.assertEqual(two.failures(), [])
        self.remount(two, "size=16m")
        running.wait()
        self.assertEqual((self.seen(two) / "forest.png").read_bytes(), FOREST)
        self.assertEqual(two.failures(), [])
        self.assertEqual(one.gave().count("forest_1"), 1)

    def test_too_small_for_the_first_chunk(self) -> None:
        """Nobody knows yet how large it is: the room is given back, the peer is left in peace."""
        one, two = self.start(1, forest_png=FOREST), self.on_a_small_disk("size=128k")
        two.wait_to_know(one.address, "forest")
        running = two.download("forest")
        running.wait_for(lambda status: status.state is DownloadState.BLOCKED)
        free = os.statvfs(self.seen(two))
        self.assertGreater(free.f_bavail * free.f_frsize, 64 * 1_024)
        self.remount(two, "size=16m")
        running.wait()
        self.assertEqual((self.seen(two) / "forest.png").read_bytes(), FOREST)

    def test_read_only(self) -> None:
        """A share folder that cannot be written: said at once, with its path."""
        one, two = self.start(1, forest_png=FOREST), self.on_a_small_disk("size=16m")
        self.remount(two, "ro")
        two.wait_to_know(one.address, "forest")
        with self.assertRaises(HTTPError) as caught:
            two.download("forest")
        self.addCleanup(caught.exception.close)
        problem = json.loads(caught.exception.read())["message"]
        self.assertIn(f"{two.share}: cannot write into this folder: Read-only", problem)
        self.assertEqual(one.history("upload"), [], "nobody was asked in vain")
        self.remount(two, "rw")
        running = two.download("forest")
        running.wait()
        self.assertEqual((self.seen(two) / "forest.png").read_bytes(), FOREST)


class ChangingFileTests(ClassicPeersTestCase):
    def in_the_middle(self) -> tuple[Peer, Peer]:
        """Peer 1 gives slowly, peer 2 has a part."""
        one = self.start(1, "--upload-limit", "600k", forest_png=FOREST)
        two = self.start(2)
        two.wait_to_know(one.address, "forest")
        self.running = two.download("forest")
        self.running.wait_until_moving(250_000)
        return one, two

    def test_changed_while_served(self) -> None:
        """The chunk is broken off; what is there in the end is one of the two, never a mixture."""
        one, two = self.in_the_middle()
        (one.share / "forest.png").write_bytes(OTHER)
        self.running.wait(40.0)
        self.assert_fetched(two, "forest.png", OTHER)
        results = [line.result.split(":")[0] for line in one.history("upload")]
        self.assertIn("failed changed", results)

    def test_truncated_while_served(self) -> None:
        """A short chunk is never taken for a whole one."""
        one, two = self.in_the_middle()
        os.truncate(one.share / "forest.png", 300_000)
        self.running.wait(40.0)
        self.assert_fetched(two, "forest.png", FOREST[:300_000])
        results = [line.result.split(":")[0] for line in one.history("upload")]
        self.assertIn("failed changed", results)

    def test_deleted_while_served(self) -> None:
        """What is open is served to its end; the rest waits until somebody has it again."""
        one, two = self.in_the_middle()
        (one.share / "forest.png").unlink()
        self.running.wait_for(lambda status: status.state == "waiting")
        one.write("forest.png", FOREST)
        self.running.wait(40.0)
        self.assert_fetched(two, "forest.png", FOREST)


class HostileNameTests(ClassicPeersTestCase):
    def asked(self, peer: Peer, request: bytes) -> bytes | None:
        """What a request gets: the bytes, or None for a reset."""
        with socket.create_connection((peer.address, self.ports.tcp), 5) as connection:
            connection.sendall(request)
            pieces = []
            try:
                while data := connection.recv(65_536):
                    pieces.append(data)
            except ConnectionResetError:
                return None
            return b"".join(pieces)

    def test_in_requests(self) -> None:
        """No request leads out of the share folder; the log stays one line for each."""
        one = self.start(1, forest_png=FOREST)
        (one.folder / "secret").write_bytes(FOREST)
        (one.share / "link.png").symlink_to(one.folder / "secret")
        (one.share / ".hidden.png").write_bytes(FOREST)
        wait_until(lambda: one.node().announced_names == 5, "its file to be announced")
        names = (
            *("../secret_1", "../state/control.json_1", "/etc/passwd_1", "..\\secret_1"),
            *("forest/../../secret_1", "link_1", ".hidden_1", "C:\\secret_1", "\0_1", "forest_6"),
            *("forest_1\n2026-11-22\t127.0.0.1\tforged_1\t1\t1\tok", "\x1b[2J_1"),
        )
        for name in names:
            request = json.dumps({"requested_content": name}).encode()
            self.assertIsNone(self.asked(one, request), name)
        self.assertEqual(self.asked(one, b'{"requested_content": "forest_1"}'), FOREST[:200_001])
        lines = len(names) + 1
        wait_until(lambda: len(one.history("upload")) == lines, lambda: str(one.history("upload")))
        self.assertNotIn("\x1b", (one.state / "upload_log.txt").read_text())

    def test_in_announcements(self) -> None:
        """They are no names; what is hostile beside a good one does not keep that out."""
        two = self.start(2).ready()
        liar = ScriptedPeer(3, self.ports, None)
        for datagram in (
            *(b"", b"\xff\xfe", b"[" * 60_000, b'{"user": 1}', b'{"chunks": "x"}', b"\x16\x03\x01"),
            *(b'{"chunks": [1e999, null]}', b'{"chunks": ["\\ud800_1"]}', b'{"chunks": ["a_1"'),
        ):
            liar.send(datagram)
        hostile = ["../../etc/cron_1", "/etc/passwd_1", "a:b_1", "\x1b[2J_1", "..\\x_1", "._1"]
        liar.send(json.dumps({"chunks": [*hostile, "forest_1"]}).encode())
        wait_until(lambda: "forest_1" in two.dictionary(), lambda: str(two.dictionary()))
        self.assertEqual(two.dictionary(), {"forest_1": [liar.address]})
        self.assertEqual(two.node().refused["datagram not understood"], 9)
        self.assertEqual([path.name for path in two.folder.rglob("cron*")], [])

    def test_in_what_the_user_types(self) -> None:
        """A name that could not be a file's is refused, with the reason."""
        two = self.start(2)
        client = two.ready().client("get", "../forest", "a/b", "nul")
        self.assertEqual(client.wait(), 2)
        self.assertEqual(two.downloads(), [])
        for part in ("../forest", "a/b", "nul"):
            self.assertIn(part, client.errors)
