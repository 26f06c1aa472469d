"""The companion client where nobody gives natively, and nothing is ever called verified."""

from __future__ import annotations

import json
import os
import signal

from tests.integration.peers import ClassicPeersTestCase, Peer, picture
from tests.integration.test_client import ClientTestCase
from tests.lab.processes import wait_until

FOREST, BEE = picture(1_000_003, 1), picture(40_000, 2)
SLOW = ("--upload-limit", "400k")


class ClassicClientTests(ClassicPeersTestCase, ClientTestCase):
    def test_piped_names(self) -> None:
        """The paths on standard output, each with the word that nothing vouches for it."""
        one, two = self.start(1, forest_png=FOREST, bee_png=BEE), self.start(2)
        two.wait_to_know(one.address, "forest", "bee")
        elsewhere = two.folder / "elsewhere"
        done = self.run_client(two, "get", "--output", str(elsewhere), "-", stdin="forest\nbee\n")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual((elsewhere / "forest.png").read_bytes(), FOREST)
        self.assertEqual((elsewhere / "bee.png").read_bytes(), BEE)
        self.assertEqual(done.stdout.count("\tunverified\n"), 2, done.stdout)
        self.assertEqual(len(two.history("download")), 10, "the service did it, by chunks")

    def test_everything_that_can_be_asked(self) -> None:
        """What is listed has no id, the giver is known, and each chunk has its line of history."""
        one, two = self.start(1, forest_png=FOREST), self.start(2)
        two.wait_to_know(one.address, "forest")
        (listed,) = json.loads(self.run_client(two, "list", "--json").stdout)
        self.assertEqual((listed["name"], listed["id"]), ("forest", ""))
        self.assertEqual(self.run_client(two, "get", "forest").returncode, 0)
        (peer,) = json.loads(self.run_client(two, "peers", "--json").stdout)
        self.assertEqual((peer["address"], peer["given"]), (one.address, len(FOREST)))
        history = json.loads(self.run_client(two, "history", "--json").stdout)
        chunks = [f"forest_{number}" for number in range(1, 6)]
        self.assertEqual(sorted(line["chunk"] for line in history), chunks)

    def test_at_the_prompt(self) -> None:
        """A name typed, a bar, the next name; both are called unverified."""
        one = self.start(1, "--upload-limit", "700k", forest_png=FOREST, bee_png=BEE)
        two = self.start(2)
        two.wait_to_know(one.address, "forest", "bee")
        child = self.on_terminal(two)
        child.sees("forest")
        child.until(lambda: child.terminal.cursor_line == "peershare>", "the prompt")
        child.type("for\t\r")
        child.until(lambda: "%" in child.terminal.text, "progress")
        child.type("bee\r")
        child.until(lambda: child.terminal.text.count(": done, ") >= 2, "both")
        child.until(lambda: child.terminal.text.count(".png unverified") >= 2, "both paths")
        self.assert_fetched(two, "forest.png", FOREST)
        self.assert_fetched(two, "bee.png", BEE)
        child.type("\x04")
        self.assertEqual(child.wait(), 0)
        self.assertNotIn("Traceback", child.terminal.text)

    def test_failover_is_shown_as_it_happens(self) -> None:
        """The peer that gives is killed in the middle; the reader is told who is tried next."""
        self.peer(3).write("forest.png", FOREST)
        one, two = self.start(1, *SLOW, forest_png=FOREST), self.start(2)
        two.wait_to_know(one.address, "forest")
        three = self.start(3)
        two.wait_to_know(three.address, "forest")
        client = two.client("get", "forest")
        wait_until(lambda: two.downloads() and two.downloads()[0].received > 300_000, "a part")
        one.kill()
        self.assertEqual(client.wait(), 0, client.describe())
        self.assertIn(f"trying {three.address}", client.errors)
        self.assert_fetched(two, "forest.png", FOREST)

    def test_interrupted(self) -> None:
        """Ctrl-C of a client without a service: no chunk that came whole is fetched again."""
        one, two = self.start(1, *SLOW, forest_png=FOREST), self.peer(2)
        self.announced(one)
        client = two.client("get", "forest")
        wait_until(lambda: "forest_2" in one.gave(), client.describe)
        os.kill(client.pid, signal.SIGINT)
        self.assertEqual(client.wait(), 130, client.describe())
        self.assertIn("part", client.errors)
        done = self.run_client(two, "get", "forest")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assert_fetched(two, "forest.png", FOREST)
        self.assertEqual([one.gave().count(f"forest_{n}") for n in (1, 2)], [1, 1])

    def announced(self, peer: Peer) -> None:
        """Wait until its only file is."""
        peer.ready()
        wait_until(lambda: peer.node().announced_names == 5, "its file to be announced")
