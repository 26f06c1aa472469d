"""Pausing, and limits that are changed while bytes move: real services, over their API."""

from __future__ import annotations

import time
from base64 import b64decode

import msgspec

from peershare.status import CELL_HELD, CELL_MISSING, BlockMap, DownloadState, DownloadStatus
from tests.integration.peers import ClassicPeersTestCase, Download, Peer, PeersTestCase, picture
from tests.integration.test_swarm import SwarmTestCase
from tests.lab.processes import wait_until

FOREST = picture(6_000_003, 1)
SLOW = ("--upload-limit", "1m")
ENOUGH = 1_500_000
LOOK_SECONDS = 1.5


class PausingTestCase(PeersTestCase):
    def say(self, peer: Peer, running: Download, what: str) -> DownloadStatus:
        """Pause, resume or cancel a download."""
        told = peer.ask("POST", f"/api/downloads/{running.status.id}/{what}", {})
        return msgspec.convert(told, DownloadStatus)

    def pause(self, peer: Peer, running: Download) -> None:
        self.assertEqual(self.say(peer, running, "pause").state, DownloadState.PAUSED)

    def wait_for_share(self, running: Download, share: float) -> None:
        """Wait until so much of it is here."""
        running.wait_for(lambda status: status.received >= share * len(FOREST))

    def block_map(self, peer: Peer, running: Download) -> BlockMap:
        found = peer.ask("GET", f"/api/downloads/{running.status.id}/map")
        return msgspec.convert(found, BlockMap)

    def taken(self, giver: Peer) -> int:
        """How many bytes have left this peer."""
        return sum(peer["taken"] for peer in giver.ask("GET", "/api/peers"))

    def connections(self, giver: Peer) -> int:
        """How many connections are open at the port where it serves."""
        port = f"{self.ports.tcp:04X}"
        with open("/proc/net/tcp") as table:  # noqa: PTH123  # a file of the kernel's
            fields = [line.split() for line in table][1:]
        own = "".join(f"{int(part):02X}" for part in reversed(giver.address.split(".")))
        return sum(f[1] == f"{own}:{port}" and f[3] == "01" for f in fields)

    def assert_nothing_moves(self, giver: Peer, taker: Peer, running: Download) -> None:
        """No byte leaves or arrives."""
        before = (self.taken(giver), running.status.given, running.status.received)
        time.sleep(LOOK_SECONDS)
        after = (self.taken(giver), running.status.given, running.status.received)
        self.assertEqual(before, after)
        self.assertEqual(running.status.state, DownloadState.PAUSED)
        wait_until(lambda: taker.node().rates[-1][0] == 0.0, "a second in which nothing came")


class SwarmPausingTests(SwarmTestCase, PausingTestCase):
    def test_over_a_restart(self) -> None:
        """Paused in the middle: nothing moves, the part is offered, and it goes on from there."""
        one, two = self.start(1, *SLOW, forest_png=FOREST), self.start(2)
        content = self.wait_to_find(two, FOREST)
        running = two.download("forest.png")
        running.wait_until_moving(ENOUGH)
        self.pause(two, running)
        wait_until(lambda: not self.connections(one), "the connections to be closed")
        self.assert_nothing_moves(one, two, running)
        held = running.status.received
        self.assertGreaterEqual(held, ENOUGH // 2)
        found = self.block_map(two, running)
        self.assertEqual(found.sources, (one.address,))
        self.assertEqual(set(b64decode(found.cells)), {CELL_MISSING, CELL_HELD + 1})
        two.stop()
        two.start()
        (status,) = two.downloads()
        self.assertEqual((status.state, status.content), (DownloadState.PAUSED, content))
        running = Download(two, status.id)
        running.wait_for(lambda status: status.received == held)
        self.assert_nothing_moves(one, two, running)
        self.assertEqual(running.status.given, {})
        self.say(two, running, "resume")
        running.wait()
        self.assert_fetched(two, "forest.png", FOREST)
        self.assertEqual(sum(running.status.given.values()), len(FOREST) - held)
        found = self.block_map(two, running)
        self.assertEqual(set(b64decode(found.cells)), {CELL_HELD, CELL_HELD + 1})

    def test_what_is_here_is_served(self) -> None:
        """Another gets the blocks of a paused download when nobody else is there."""
        one, two = self.start(1, *SLOW, forest_png=FOREST), self.start(2)
        self.wait_to_find(two, FOREST)
        running = two.download("forest.png")
        running.wait_until_moving(ENOUGH)
        self.pause(two, running)
        held = running.wait_for(lambda status: status.received).received
        three = self.start(3)
        self.wait_to_find(three, FOREST, 2)
        one.stop()
        fetching = three.download("forest.png")
        fetching.wait_for(lambda status: status.received == held)
        self.assertEqual(fetching.status.given, {two.address: held})
        self.assertEqual(running.status.state, DownloadState.PAUSED)

    def test_again_and_again(self) -> None:
        """Whatever was under way each time, no block is lost, none is taken for another."""
        self.start(1, *SLOW, forest_png=FOREST)
        two = self.start(2)
        self.wait_to_find(two, FOREST)
        running = two.download("forest.png")
        for number in range(1, 9):
            self.wait_for_share(running, number / 10)
            self.say(two, running, "pause")
            self.say(two, running, "resume")
        running.wait()
        self.assert_fetched(two, "forest.png", FOREST)
        self.assertLess(sum(running.status.given.values()), 2 * len(FOREST))
        self.assertEqual(two.failures(), [])


class ClassicPausingTests(ClassicPeersTestCase, PausingTestCase):
    def test_over_a_crash(self) -> None:
        """Chunks that are here stay here, and kill -9 does not wake it up."""
        one, two = self.start(1, *SLOW, forest_png=FOREST), self.start(2)
        two.wait_to_know(one.address, "forest")
        running = two.download("forest")
        running.wait_until_moving(ENOUGH)
        self.pause(two, running)
        self.assertEqual(running.status.received, 1_200_001)  # one chunk; of another nothing
        wait_until(lambda: not self.connections(one), "the connection to be closed", 15.0)
        two.kill()
        two.start()
        (status,) = two.downloads()
        self.assertEqual(status.state, DownloadState.PAUSED)
        running = Download(two, status.id)
        running.wait_for(lambda status: status.received == 1_200_001)
        two.wait_to_know(one.address, "forest")
        self.assert_nothing_moves(one, two, running)
        self.say(two, running, "resume")
        running.wait()
        self.assert_fetched(two, "forest.png", FOREST)
        self.assertEqual(one.gave().count("forest_1"), 1)


class LiveLimitTests(SwarmTestCase, PausingTestCase):
    def limit(self, peer: Peer, upload: float | None, download: float | None) -> None:
        limits = {"upload": upload, "download": download}
        self.assertEqual(peer.ask("PUT", "/api/limits", limits), limits)
        self.assertEqual(peer.ask("GET", "/api/limits"), limits)

    def seconds_for(self, running: Download, count: int) -> float:
        """How long it takes until so many bytes more are here."""
        began, first = time.monotonic(), sum(running.status.given.values())
        running.wait_for(lambda status: sum(status.given.values()) >= first + count)
        return time.monotonic() - began

    def test_both_ways(self) -> None:
        """Slower at once, at either end; and without a limit again."""
        one, two = self.start(1, *SLOW, forest_png=FOREST), self.start(2)
        self.wait_to_find(two, FOREST)
        running = two.download("forest.png")
        running.wait_until_moving(200_000)
        for upload, download in ((100_000.0, None), (None, 100_000.0)):
            self.limit(two, None, download)  # first: there is no moment without a limit
            self.limit(one, upload, None)
            self.seconds_for(running, 65_536)  # what was on its way at the old rate
            self.assertGreater(self.seconds_for(running, 131_072), 0.8)
        self.limit(two, None, None)
        self.assertLess(running.wait().elapsed_seconds, 60)
        self.assert_fetched(two, "forest.png", FOREST)
