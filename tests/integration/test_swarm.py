"""Verified downloads as a user sees them: real services, real clients, on loopback."""

from __future__ import annotations

import json
import os
import time
from urllib.error import HTTPError

from peershare.content.manifest import manifest_of
from peershare.status import DownloadState
from tests.integration.giving import Shared
from tests.integration.native import NativePeer
from tests.integration.peers import Peer, PeersTestCase, picture
from tests.integration.scripted import ScriptedPeer
from tests.lab.processes import LabProcess, wait_until

FOREST, OTHER = picture(3_000_003, 1), picture(2_000_000, 2)
CLASSIC_CHUNK = -(-len(FOREST) // 5)
SLOW = ("--upload-limit", "1m")
EXIT_CHANGED, EXIT_AMBIGUOUS = 1, 4
PATIENCE_SECONDS = 40.0


def content_of(data: bytes) -> str:
    """The id of these bytes."""
    return manifest_of(data).content_id


class SwarmTestCase(PeersTestCase):
    """Peers that speak the native protocol only, unless a test says otherwise."""

    timeout = 180

    def start(self, number: int, *options: str, **files: bytes) -> Peer:
        return super().start(number, "--no-classic", *options, **files)

    def wait_to_find(self, peer: Peer, data: bytes, holders: int = 1) -> str:
        """Wait until a peer knows of these bytes at so many others; their id."""
        content = content_of(data)

        def found() -> bool:
            told = peer.ask("GET", "/api/contents")
            return any(one["id"] == content and len(one["peers"]) >= holders for one in told)

        wait_until(found, lambda: f"{peer.address} to hear of it\n{peer.running.describe()}")
        return content

    def finished(self, client: LabProcess, status: int = 0) -> str:
        """The client ends with this exit status; what it wrote to standard output."""
        self.assertEqual(client.wait(PATIENCE_SECONDS), status, client.describe())
        return client.output


class SwarmTests(SwarmTestCase):
    def test_four(self) -> None:
        """Three fetch from a slow one, and from each other while they still do."""
        one = self.start(1, "--upload-limit", "1m", forest_png=FOREST)
        others = [self.start(number) for number in (2, 3, 4)]
        for other in others:
            self.wait_to_find(other, FOREST)
        running = [other.download("forest.png") for other in others]
        for download, other in zip(running, others, strict=True):
            status = download.wait(PATIENCE_SECONDS)
            self.assertTrue(status.verified)
            self.assertEqual(status.content, content_of(FOREST))
            self.assert_fetched(other, "forest.png", FOREST)
            self.assertGreater(len(status.given), 1, f"{status.given}: only the first one gave")
        taken = [peer["given"] for other in others for peer in other.ask("GET", "/api/peers")]
        self.assertLess(sum(taken), 4 * len(FOREST))
        self.assertEqual([other.failures() for other in others], [[], [], []])
        self.assertTrue(one.running.alive)

    def test_by_id_and_by_stem(self) -> None:
        """Eight digits of the id are enough, so is the stem, so is the name in other letters."""
        self.start(1, forest_png=FOREST)
        two = self.start(2)
        content = self.wait_to_find(two, FOREST)
        for number, query in enumerate((content[3:11], content, "forest", "FOREST.PNG")):
            folder = two.folder / f"elsewhere-{number}"
            self.finished(two.client("get", "--output", str(folder), query))
            self.assertEqual((folder / "forest.png").read_bytes(), FOREST)

    def test_complete_already(self) -> None:
        """It says so, and nothing is transferred."""
        one, two = self.start(1, forest_png=FOREST), self.start(2)
        self.wait_to_find(two, FOREST)
        self.finished(two.client("get", "forest.png"))
        wait_until(lambda: one.history("upload"), "what peer 1 gave to be written down")
        gave = one.history("upload")
        said = self.finished(two.client("get", "forest.png"))
        self.assertIn(str(two.share / "forest.png"), said)
        self.assertEqual(one.history("upload"), gave)
        self.assertEqual([path.name for path in two.share.glob("*.png")], ["forest.png"])

    def test_two_contents_of_one_name(self) -> None:
        """Both are listed with their ids; the exit status says that a choice is due."""
        self.start(1, forest_png=FOREST)
        self.start(3, forest_png=OTHER)
        two = self.start(2)
        ids = [self.wait_to_find(two, data) for data in (FOREST, OTHER)]
        client = two.client("get", "forest.png")
        client.wait(PATIENCE_SECONDS)
        self.assertEqual(client.wait(), EXIT_AMBIGUOUS, client.describe())
        for content in ids:
            self.assertIn(content[3:11], client.output + client.errors)
        self.assertEqual(list(two.share.glob("*.png")), [])
        self.finished(two.client("get", ids[1][3:15]))
        self.assertEqual((two.share / "forest.png").read_bytes(), OTHER)
        self.finished(two.client("get", ids[0][3:15]))
        self.assertEqual((two.share / "forest (2).png").read_bytes(), FOREST)

    def test_many_small_ones(self) -> None:
        """200 contents of one block from one peer, on one connection."""
        seed = NativePeer(1, self.ports)
        self.addCleanup(seed.close)
        files = {f"{number}.png": picture(500 + number, number) for number in range(200)}
        for name, data in files.items():
            seed.share(Shared(name, data))
        two = self.start(2).ready()
        seed.announce()
        wait_until(lambda: len(two.ask("GET", "/api/contents")) == len(files), two.running.describe)
        client = two.client("get", *files)
        self.assertEqual(client.wait(4 * PATIENCE_SECONDS), 0, client.describe())
        for name, data in files.items():
            self.assertEqual((two.share / name).read_bytes(), data)
        self.assertLessEqual(seed.counts.connections, 2)
        self.assertEqual(two.failures(), [])

    def test_empty(self) -> None:
        """A file without a byte has a name and an id, too."""
        self.start(1, nothing_txt=b"")
        two = self.start(2)
        self.wait_to_find(two, b"")
        self.finished(two.client("get", "nothing.txt"))
        self.assertEqual((two.share / "nothing.txt").read_bytes(), b"")


class LaterTests(SwarmTestCase):
    def test_killed_and_started(self) -> None:
        """The service is killed in the middle: it goes on from where it was."""
        one, two = self.start(1, *SLOW, forest_png=FOREST), self.start(2)
        self.wait_to_find(two, FOREST)
        two.download("forest.png").wait_until_moving(1_000_000)
        two.kill()
        two.start("--no-classic")
        wait_until(
            lambda: [status.state for status in two.downloads()] == ["done"],
            lambda: f"{two.downloads()}\n{two.running.describe()}",
            PATIENCE_SECONDS,
        )
        self.assert_fetched(two, "forest.png", FOREST)
        self.assertLess(sum(two.downloads()[0].given.values()), len(FOREST) - 500_000)
        self.assertTrue(one.running.alive)

    def test_nobody_left(self) -> None:
        """It says that nobody is left, and goes on by itself when somebody comes."""
        one, two = self.start(1, *SLOW, forest_png=FOREST), self.start(2)
        self.wait_to_find(two, FOREST)
        running = two.download("forest.png")
        running.wait_until_moving(500_000)
        one.kill()
        status = running.wait_for(
            lambda status: status.state in (DownloadState.WAITING, DownloadState.SEARCHING),
            PATIENCE_SECONDS,
        )
        self.assertGreater(status.received, 300_000)
        self.start(3, forest_png=FOREST)
        running.wait(PATIENCE_SECONDS)
        self.assert_fetched(two, "forest.png", FOREST)

    def test_late_seeder(self) -> None:
        """Nobody has it yet: it waits, and begins by itself."""
        two = self.start(2).ready()
        running = two.download("forest.png")
        running.wait_for(lambda status: status.state is DownloadState.SEARCHING)
        time.sleep(1.0)
        self.start(1, forest_png=FOREST)
        self.assertTrue(running.wait(PATIENCE_SECONDS).verified)
        self.assert_fetched(two, "forest.png", FOREST)

    def test_flipped_byte(self) -> None:
        """`verify` tells what is not what it was; the new bytes are another content."""
        one = self.start(1, forest_png=FOREST, other_png=OTHER)
        two = self.start(2)
        self.wait_to_find(two, FOREST)
        spoiled = FOREST[:1_000] + b"!" + FOREST[1_001:]
        path = one.share / "forest.png"
        before = path.stat()
        with path.open("r+b") as file:
            file.seek(1_000)
            file.write(b"!")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as a disk does that errs
        said = json.loads(self.finished(one.client("verify", "--json"), EXIT_CHANGED))
        states = {result["name"]: result["state"] for result in said}
        self.assertEqual(states, {"forest.png": "changed", "other.png": "unchanged"})
        self.wait_to_find(two, spoiled)


class MixedTests(SwarmTestCase):
    """Native and classic peers beside each other."""

    def start(self, number: int, *options: str, **files: bytes) -> Peer:
        return PeersTestCase.start(self, number, *options, **files)

    def classic(self, number: int, data: bytes) -> ScriptedPeer:
        """A classic peer with these bytes."""

        def answer(connection: object, name: str) -> None:
            index = int(name[-1]) - 1
            size = -(-len(data) // 5)
            connection.sendall(data[index * size : (index + 1) * size])  # type: ignore[attr-defined]
            connection.close()  # type: ignore[attr-defined]

        scripted = ScriptedPeer(number, self.ports, answer)
        self.addCleanup(scripted.close)
        return scripted

    def test_native_first(self) -> None:
        """What was chosen by its id comes natively, all of it, and is verified.

        By its name it may be what the classic peer has: that cannot be known.
        """
        two = self.start(2).ready()
        classic = self.classic(3, FOREST)
        classic.announce("forest")
        self.start(1, forest_png=FOREST)
        self.wait_to_find(two, FOREST)
        two.wait_to_know(classic.address, "forest")
        with self.assertRaises(HTTPError) as refused:
            two.download("forest.png")
        self.assertEqual(refused.exception.code, 409)
        status = two.download(content_of(FOREST)).wait(PATIENCE_SECONDS)
        self.assertTrue(status.verified)
        self.assertEqual(classic.requests, [])
        self.assert_fetched(two, "forest.png", FOREST)

    def test_classic_fills(self) -> None:
        """The native peer goes in the middle: classic chunks fill the blocks that verify."""
        one, two = self.start(1, "--no-classic", *SLOW, forest_png=FOREST), self.start(2)
        self.wait_to_find(two, FOREST)
        running = two.download("forest.png")
        running.wait_until_moving(1_000_000)
        classic = self.classic(3, FOREST)
        classic.announce("forest")
        two.wait_to_know(classic.address, "forest")
        one.kill()
        status = running.wait(PATIENCE_SECONDS)
        self.assertTrue(status.verified)
        self.assertGreater(status.given[classic.address], 0)
        self.assert_fetched(two, "forest.png", FOREST)

    def test_classic_lies(self) -> None:
        """A classic peer with other bytes fills nothing; the file is right in the end."""
        one, two = self.start(1, "--no-classic", *SLOW, forest_png=FOREST), self.start(2)
        self.wait_to_find(two, FOREST)
        running = two.download("forest.png")
        running.wait_until_moving(500_000)
        classic = self.classic(3, bytes(len(FOREST)))
        classic.announce("forest")
        two.wait_to_know(classic.address, "forest")
        one.kill()
        wait_until(lambda: len(classic.requests) > 1, running._peer.running.describe, 60.0)
        self.start(4, "--no-classic", forest_png=FOREST)
        self.assertTrue(running.wait(PATIENCE_SECONDS).verified)
        self.assert_fetched(two, "forest.png", FOREST)

    def test_classic_only(self) -> None:
        """What only classic peers have comes as it ever did, and is not called verified."""
        two = self.start(2).ready()
        classic = self.classic(3, FOREST)
        classic.announce("forest")
        two.wait_to_know(classic.address, "forest")
        status = two.download("forest").wait(PATIENCE_SECONDS)
        self.assertFalse(status.verified)
        self.assertEqual((two.share / "forest.png").read_bytes(), FOREST)
