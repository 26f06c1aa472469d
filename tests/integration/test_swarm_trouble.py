"""Verified downloads in trouble: our disk, files that change while they are served, the end."""

from __future__ import annotations

import json
import os
import signal
import time
from urllib.error import HTTPError

from peershare.status import DownloadState, DownloadStatus
from tests.integration.peers import Download, Peer, picture
from tests.integration.test_swarm import SwarmTestCase, content_of
from tests.integration.test_trouble import SmallDiskTestCase
from tests.lab.processes import wait_until

FOREST, OTHER = picture(1_000_003, 1), picture(1_100_000, 2)
PATIENCE_SECONDS = 40.0
SLOW = ("--upload-limit", "500k")


class DiskTests(SwarmTestCase, SmallDiskTestCase):
    def test_full(self) -> None:
        """It names the folder and the bytes needed, blames no peer, and goes on by itself."""
        one, two = self.start(1, forest_png=FOREST), self.on_a_small_disk("size=512k")
        self.wait_to_find(two, FOREST)
        running = two.download("forest.png")
        status = running.wait_for(lambda status: status.state is DownloadState.BLOCKED)
        self.assertIn(str(two.share), status.problem)
        self.assertRegex(status.problem, r"the disk is full: (at least )?\d+ bytes more are needed")
        self.assertEqual(two.failures(), [])
        self.remount(two, "size=16m")
        self.assertTrue(running.wait().verified)
        self.assertEqual((self.seen(two) / "forest.png").read_bytes(), FOREST)
        self.assertEqual(two.failures(), [])
        wait_until(lambda: one.history("upload"), "what it gave to be written down")
        self.assertLess(sum(line.bytes for line in one.history("upload")), 2 * len(FOREST))

    def test_read_only(self) -> None:
        """A share folder that cannot be written: said at once, with its path."""
        one, two = self.start(1, forest_png=FOREST), self.on_a_small_disk("size=16m")
        self.remount(two, "ro")
        self.wait_to_find(two, FOREST)
        with self.assertRaises(HTTPError) as caught:
            two.download("forest.png")
        self.addCleanup(caught.exception.close)
        problem = json.loads(caught.exception.read())["message"]
        self.assertIn(f"{two.share}: cannot write into this folder: Read-only", problem)
        self.assertEqual(one.history("upload"), [], "nobody was asked for blocks in vain")
        self.assertEqual(two.failures(), [])
        self.remount(two, "rw")
        running = two.download("forest.png")
        self.assertTrue(running.wait().verified)
        self.assertEqual((self.seen(two) / "forest.png").read_bytes(), FOREST)


class MiddleTestCase(SwarmTestCase):
    """Peer 1 gives slowly, peer 2 has a part."""

    def in_the_middle(self) -> tuple[Peer, Peer, Download]:
        one, two = self.start(1, *SLOW, forest_png=FOREST), self.start(2)
        self.wait_to_find(two, FOREST)
        running = two.download("forest.png")
        running.wait_until_moving(250_000)
        return one, two, running


class ChangingFileTests(MiddleTestCase):
    """What is fetched is what was chosen, whatever becomes of the file of that name."""

    def assert_waits(self, running: Download) -> DownloadStatus:
        """Nobody has this content any more: it keeps what it has, and says so."""
        waiting = (DownloadState.WAITING, DownloadState.SEARCHING)
        status = running.wait_for(lambda status: status.state in waiting, PATIENCE_SECONDS)
        self.assertGreater(status.received, 0)
        return status

    def assert_goes_on(self, two: Peer, running: Download) -> None:
        """Now somebody has it again."""
        self.assertTrue(running.wait(PATIENCE_SECONDS).verified)
        self.assert_fetched(two, "forest.png", FOREST)

    def test_changed_while_served(self) -> None:
        """The new bytes are another content: not a block of them gets in."""
        one, two, running = self.in_the_middle()
        (one.share / "forest.png").write_bytes(OTHER)
        self.assert_waits(running)
        self.wait_to_find(two, OTHER)
        other = two.download(content_of(OTHER))
        self.assertTrue(other.wait(PATIENCE_SECONDS).verified)
        self.assertEqual((two.share / "forest.png").read_bytes(), OTHER)
        one.write("forest.png", FOREST)
        self.assertTrue(running.wait(PATIENCE_SECONDS).verified)
        self.assertEqual((two.share / "forest (2).png").read_bytes(), FOREST)
        self.assertNotIn("wrong-bytes", {reason for _, _, reason in two.failures()})

    def test_truncated_while_served(self) -> None:
        """A part of a block is never taken for it."""
        one, two, running = self.in_the_middle()
        os.truncate(one.share / "forest.png", 300_000)
        self.assert_waits(running)
        one.write("forest.png", FOREST)
        self.assert_goes_on(two, running)

    def test_deleted_while_served(self) -> None:
        """The rest waits until somebody has it again."""
        one, two, running = self.in_the_middle()
        (one.share / "forest.png").unlink()
        one.write("forest.png", FOREST)
        self.assert_goes_on(two, running)

    def test_deleted_for_a_while(self) -> None:
        """The same, when everybody knows that it is gone."""
        one, two, running = self.in_the_middle()
        (one.share / "forest.png").unlink()
        self.assert_waits(running)
        wait_until(lambda: one.node().files == 0, "no file any more")
        one.write("forest.png", FOREST)
        self.assert_goes_on(two, running)


class EndTests(MiddleTestCase):
    def assert_ends(self, peer: Peer, signal_number: int) -> None:
        """Within 2 s, without a traceback (see tearDown), leaving nothing that misleads."""
        begun = time.monotonic()
        os.kill(peer.running.pid, signal_number)
        status = peer.running.wait(4.0)
        self.assertLess(time.monotonic() - begun, 2.0)
        self.assertIn(status, (0, -signal_number))
        self.assertFalse((peer.state / "control.json").exists())
        self.assertIn("Server Shut Down", peer.log)

    def test_in_mid_transfer(self) -> None:
        """SIGTERM while receiving and while giving; it goes on after a restart of both."""
        one, two, _ = self.in_the_middle()
        self.assert_ends(two, signal.SIGTERM)
        self.assert_ends(one, signal.SIGTERM)
        one.start("--no-classic")
        two.start("--no-classic")
        wait_until(
            lambda: [status.state for status in two.downloads()] == ["done"],
            lambda: f"{two.downloads()}\n{two.running.describe()}",
            PATIENCE_SECONDS,
        )
        self.assert_fetched(two, "forest.png", FOREST)

    def test_the_giver_by_the_keyboard(self) -> None:
        """SIGINT of the one that gives, first: the other says that nobody is left."""
        one, two, running = self.in_the_middle()
        self.assert_ends(one, signal.SIGINT)
        waiting = (DownloadState.WAITING, DownloadState.SEARCHING)
        running.wait_for(lambda status: status.state in waiting, PATIENCE_SECONDS)
        self.assert_ends(two, signal.SIGINT)
