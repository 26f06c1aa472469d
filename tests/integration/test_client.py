"""The companion client with real nodes: by pipes and on a terminal, with a service and without."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.client.spawned import PtyProcess, environment
from tests.integration.peers import Peer, PeersTestCase, picture
from tests.lab.processes import wait_until

FOREST, BEE = picture(1_000_003, 1), picture(40_000, 2)
CLIENT = (str(Path(sys.executable).with_name("peershare")),)
PATIENCE_SECONDS = 30.0


class ClientTestCase(PeersTestCase):
    def run_client(
        self, peer: Peer, *arguments: str, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run the client on this peer's folders, with pipes for everything, to its end."""
        name, *rest = arguments
        return subprocess.run(
            [*CLIENT, name, *peer.options(), *rest],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            env=environment(peer.folder),
            check=False,
        )

    def on_terminal(self, peer: Peer, *arguments: str) -> PtyProcess:
        """Run it on a terminal."""
        command = (*CLIENT, *arguments, *peer.options())
        child = PtyProcess(command, 80, 24, environment(peer.folder))
        self.addCleanup(child.close)
        return child

    def values(self, text: str) -> list[dict[str, Any]]:
        """One JSON value a line."""
        return [json.loads(line) for line in text.splitlines()]


class WithServiceTests(ClientTestCase):
    def test_piped_names(self) -> None:
        """Names on standard input; the paths on standard output, all the rest beside it."""
        one, two = self.start(1, forest_png=FOREST, bee_png=BEE), self.start(2)
        two.wait_to_know(one.address, "forest", "bee")
        elsewhere = two.folder / "elsewhere"
        done = self.run_client(two, "get", "--output", str(elsewhere), "-", stdin="forest\nbee\n")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual((elsewhere / "forest.png").read_bytes(), FOREST)
        self.assertEqual((elsewhere / "bee.png").read_bytes(), BEE)
        self.assertIn(str(elsewhere / "forest.png"), done.stdout)
        self.assertIn("unverified", done.stdout)
        self.assertNotIn("\x1b", done.stdout + done.stderr)
        self.assertEqual(len(two.history("download")), 10, "the service did it")

    def test_everything_that_can_be_asked(self) -> None:
        """List, peers, share and history, as one JSON value each."""
        one, two = self.start(1, forest_png=FOREST), self.start(2)
        two.wait_to_know(one.address, "forest")
        outside = two.folder / "outside.png"
        outside.write_bytes(BEE)
        (shared,) = json.loads(self.run_client(two, "share", "--json", str(outside)).stdout)
        self.assertEqual(shared["chunks"][0], "outside_1")
        self.assertEqual(self.run_client(two, "get", "forest").returncode, 0)
        listed = json.loads(self.run_client(two, "list", "--json").stdout)
        self.assertEqual({c["name"] for c in listed}, {"forest.png", "outside.png"})
        (peer,) = json.loads(self.run_client(two, "peers", "--json").stdout)
        self.assertEqual((peer["address"], peer["given"]), (one.address, len(FOREST)))
        history = json.loads(self.run_client(two, "history", "--json").stdout)
        self.assertEqual(len(history), 5)

    def test_at_the_prompt(self) -> None:
        """What is on the network, a name typed, a bar, the next name; end of input ends it."""
        one = self.start(1, "--upload-limit", "700k", forest_png=FOREST, bee_png=BEE)
        two = self.start(2)
        two.wait_to_know(one.address, "forest", "bee")
        child = self.on_terminal(two)
        child.sees("forest")
        child.until(lambda: child.terminal.cursor_line == "peershare>", "the prompt")
        child.type("for\t\r")
        child.until(lambda: "%" in child.terminal.text, "progress")
        child.type("bee\r")
        child.until(lambda: child.terminal.text.count("unverified") >= 2, "both")
        self.assert_fetched(two, "forest.png", FOREST)
        self.assert_fetched(two, "bee.png", BEE)
        child.type("\x04")
        self.assertEqual(child.wait(), 0)
        self.assertNotIn("Traceback", child.terminal.text)

    def test_failover_is_shown_as_it_happens(self) -> None:
        """The peer that gives is killed in the middle; the reader is told, and gets the file."""
        self.peer(3).write("forest.png", FOREST)
        one = self.start(1, "--upload-limit", "400k", forest_png=FOREST)
        two = self.start(2)
        two.wait_to_know(one.address, "forest")
        three = self.start(3)
        two.wait_to_know(three.address, "forest")
        client = two.client("get", "forest")
        wait_until(lambda: two.downloads() and two.downloads()[0].received > 300_000, "a part")
        one.kill()
        self.assertEqual(client.wait(), 0, client.describe())
        self.assertIn(f"trying {three.address}", client.errors)
        self.assert_fetched(two, "forest.png", FOREST)


class WithoutServiceTests(ClientTestCase):
    def test_gets_a_name(self) -> None:
        """It is a peer itself for as long as it needs; then nothing of it runs any more."""
        one, two = self.start(1, forest_png=FOREST), self.peer(2)
        one.ready()
        wait_until(lambda: one.node().announced_names == 5, "its file to be announced")
        done = self.run_client(two, "get", "--json", "forest")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assert_fetched(two, "forest.png", FOREST)
        events = self.values(done.stdout)
        downloads = [event["download"] for event in events if event["type"] == "download"]
        self.assertEqual(downloads[-1]["state"], "done")
        self.assertEqual(events[-1]["path"], str(two.share / "forest.png"))
        self.assertFalse((two.state / "control.json").exists())
        two.start()
        wait_until(lambda: two.node().files == 1, "the file to be shared on")

    def test_waits_for_a_name_and_gives_up(self) -> None:
        """A name that nobody tells: it says what it waits for, and exit status 3."""
        two = self.peer(2)
        done = self.run_client(two, "get", "--wait", "1", "nothing")
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn("nothing", done.stderr)
        self.assertEqual(done.stdout, "")
        self.assertEqual(list(two.share.iterdir()), [])

    def test_interrupted(self) -> None:
        """Ctrl-C leaves the part for next time and says so; then nothing is fetched twice."""
        one, two = self.start(1, "--upload-limit", "400k", forest_png=FOREST), self.peer(2)
        one.ready()
        wait_until(lambda: one.node().announced_names == 5, "its file to be announced")
        client = two.client("get", "forest")
        wait_until(lambda: "forest_2" in one.gave(), client.describe)
        os.kill(client.pid, signal.SIGINT)
        self.assertEqual(client.wait(), 130, client.describe())
        self.assertIn("part", client.errors)
        done = self.run_client(two, "get", "forest")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assert_fetched(two, "forest.png", FOREST)
        self.assertEqual([one.gave().count(f"forest_{n}") for n in (1, 2)], [1, 1])

    def test_two_clients_at_once(self) -> None:
        """The one that comes second uses the node of the first."""
        one, two = self.start(1, forest_png=FOREST, bee_png=BEE), self.peer(2)
        one.ready()
        wait_until(lambda: one.node().announced_names == 10, "its files to be announced")
        clients = [two.client("get", name) for name in ("forest", "bee")]
        for client in clients:
            self.assertEqual(client.wait(), 0, client.describe())
        self.assert_fetched(two, "forest.png", FOREST)
        self.assert_fetched(two, "bee.png", BEE)
