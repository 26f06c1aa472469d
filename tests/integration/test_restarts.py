"""Restarts in the middle, in order and by kill -9, on both sides; and the end of a service."""

from __future__ import annotations

import os
import signal
import time

from peershare.status import ChunkState
from tests.integration.peers import ClassicPeersTestCase, Download, Peer, picture
from tests.integration.scripted import SwallowingPeer
from tests.lab.processes import wait_until

FOREST = picture(1_000_003, 1)
SLOW = ("--upload-limit", "500k")


class MiddleTestCase(ClassicPeersTestCase):
    """Peer 1 gives slowly, peer 2 has two of the five chunks."""

    def in_the_middle(self) -> tuple[Peer, Peer, Download]:
        one, two = self.start(1, *SLOW, forest_png=FOREST), self.start(2)
        two.wait_to_know(one.address, "forest")
        running = two.download("forest")
        running.wait_for(
            lambda status: (
                [c.state for c in status.chunks].count(ChunkState.HELD) >= 2
                and status.chunks[2].received > 1_000
            )
        )
        return one, two, running

    def finished_again(self, two: Peer) -> None:
        """The downloads of peer 2 come to their end."""
        wait_until(
            lambda: [status.state for status in two.downloads()] == ["done"],
            lambda: f"{two.downloads()}\n{two.running.describe()}",
        )
        self.assert_fetched(two, "forest.png", FOREST)


class DownloaderTests(MiddleTestCase):
    def assert_resumed(self, one: Peer, two: Peer) -> None:
        """It goes on by itself; each chunk was given whole exactly once."""
        two.start()
        self.finished_again(two)
        chunks = [f"forest_{number}" for number in range(1, 6)]
        wait_until(lambda: sorted(one.gave()) == chunks, lambda: str(one.history("upload")))

    def test_stopped_and_started(self) -> None:
        """Chunks already there are not fetched again."""
        one, two, _ = self.in_the_middle()
        two.stop()
        self.assert_resumed(one, two)

    def test_killed_and_started(self) -> None:
        """kill -9 loses at most what was in flight; the state folder is free at once."""
        one, two, _ = self.in_the_middle()
        two.kill()
        self.assert_resumed(one, two)

    def test_stopped_by_the_user(self) -> None:
        """It does not go on by itself, but from where it was when it is wanted again."""
        one, two, running = self.in_the_middle()
        running.stop()
        two.stop()
        two.start()
        self.assertEqual(two.downloads(), [])
        two.wait_to_know(one.address, "forest")
        two.download("forest").wait()
        self.assert_fetched(two, "forest.png", FOREST)
        self.assertEqual(one.gave().count("forest_1"), 1)


class UploaderTests(MiddleTestCase):
    def test_killed_and_started(self) -> None:
        """The downloader waits, and goes on when the only source is back."""
        one, two, running = self.in_the_middle()
        one.kill()
        running.wait_for(lambda status: status.state == "waiting")
        one.start()
        running.wait(40.0)
        self.assert_fetched(two, "forest.png", FOREST)
        self.assertEqual([line.chunk for line in two.history("download")].count("forest_1"), 1)

    def test_stopped_and_started(self) -> None:
        """In order: the upload that was cut off has a line that says so."""
        one, two, running = self.in_the_middle()
        one.stop()
        results = [line.result.split(":")[0] for line in one.history("upload")]
        self.assertEqual(results[-1], "failed stopped")
        one.start()
        running.wait(40.0)
        self.assert_fetched(two, "forest.png", FOREST)


class EndTests(MiddleTestCase):
    def assert_ends(self, peer: Peer, signal_number: int) -> None:
        """Within 2 s, without a traceback (see tearDown), leaving nothing that misleads."""
        begun = time.monotonic()
        os.kill(peer.running.pid, signal_number)
        status = peer.running.wait(4.0)
        took = time.monotonic() - begun
        self.assertLess(took, 2.0)
        self.assertIn(status, (0, -signal_number))
        self.assertFalse((peer.state / "control.json").exists())
        self.assertIn("Server Shut Down", peer.log)

    def test_in_mid_transfer(self) -> None:
        """SIGTERM while giving and while receiving, with somebody at the event stream."""
        one, two, _ = self.in_the_middle()
        follower = two.client("get", "forest", "--json")
        wait_until(lambda: '"download' in follower.output, follower.describe)
        self.assert_ends(two, signal.SIGTERM)
        self.assert_ends(one, signal.SIGTERM)

    def test_by_the_keyboard(self) -> None:
        """SIGINT does the same."""
        one, two, _ = self.in_the_middle()
        self.assert_ends(two, signal.SIGINT)
        self.assert_ends(one, signal.SIGINT)

    def test_while_it_connects(self) -> None:
        """A download that waits for a dead host holds up nothing."""
        dead = SwallowingPeer(3, self.ports)
        self.addCleanup(dead.close)
        two = self.start(2).ready()
        dead.announce("forest")
        two.wait_to_know(dead.address, "forest")
        two.download("forest").wait_for(lambda status: status.state == "downloading")
        self.assert_ends(two, signal.SIGTERM)


class OneServiceTests(ClassicPeersTestCase):
    def test_a_second_one_on_the_same_state_folder(self) -> None:
        """It is refused with the pid of the first, in one line and with exit status 1."""
        one = self.start(1).ready()
        pid = one.running.pid
        second = self.peer(1)
        first, process = second.process, second.start()
        self.assertEqual(process.wait(), 1)
        lines = (process.output + process.errors).strip().splitlines()
        self.assertEqual(len(lines), 1, lines)
        self.assertIn(f"pid {pid}", lines[0])
        self.assertIn(str(one.state), lines[0])
        second.process = first
        self.assertEqual(one.node().pid, pid)

    def test_after_a_kill(self) -> None:
        """A lock that was left behind is nobody's."""
        one = self.start(1).ready()
        one.kill()
        one.start()
        self.assertEqual(one.node().pid, one.running.pid)
