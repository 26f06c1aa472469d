"""The companion client with real nodes: by pipes and on a terminal, with a service and without."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

from peershare.content.manifest import manifest_of
from peershare.control.controlfile import read_control_file
from tests.client.spawned import PtyProcess, environment
from tests.integration.peers import Peer, PeersTestCase, picture
from tests.lab.processes import wait_until

FOREST, BEE = picture(1_000_003, 1), picture(40_000, 2)
CLIENT = (str(Path(sys.executable).with_name("peershare")),)
PATIENCE_SECONDS = 30.0


def received(peer: Peer) -> int:
    """How much its client's own node has of its first download."""
    control = read_control_file(peer.state)
    if control is None:
        return 0
    headers = {"Authorization": f"Bearer {control.token}"}
    request = urllib.request.Request(f"{control.url}/api/downloads", headers=headers)
    with urllib.request.urlopen(request, timeout=10) as response:
        downloads = json.loads(response.read())
    return int(downloads[0]["received"]) if downloads else 0


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

    def on_terminal(self, peer: Peer, *arguments: str, columns: int = 80) -> PtyProcess:
        """Run it on a terminal."""
        command = self.command(peer, *arguments)
        child = PtyProcess(command, columns, 24, environment(peer.folder))
        self.addCleanup(child.close)
        return child

    def command(self, peer: Peer, *arguments: str) -> tuple[str, ...]:
        """The client's command line on this peer's folders."""
        return (*CLIENT, *arguments, *peer.options())

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
        self.assertEqual(done.stdout.count("\tverified\n"), 2)
        self.assertNotIn("\x1b", done.stdout + done.stderr)
        told = [line.chunk for line in two.history("download")]
        self.assertEqual(told, ["forest.png", "bee.png"], "the service did it")

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
        self.assertEqual([line["chunk"] for line in history], ["forest.png"])
        listed = json.loads(self.run_client(two, "list", "--json", "OUT*").stdout)
        self.assertEqual([c["name"] for c in listed], ["outside.png"])

    def test_again(self) -> None:
        """What lies there complete is not transferred again, whatever it is asked for by."""
        one, two = self.start(1, forest_png=FOREST), self.start(2)
        two.wait_to_know(one.address, "forest")
        identifier = manifest_of(FOREST).content_id
        for name in (identifier, "forest.png", "forest", identifier[3:15].upper()):
            done = self.run_client(two, "get", name)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(done.stdout, f"{two.share / 'forest.png'}\tverified\n")
            again = "it was complete already" in done.stderr
            self.assertEqual(again, name != identifier, done.stderr)
        self.assertEqual(len(one.history("upload")), 1)

    def test_two_contents(self) -> None:
        """Two contents of one name are both listed, and either is had by its id."""
        other = picture(len(FOREST), 3)
        one, two = self.start(1, forest_png=FOREST), self.start(2, forest_png=other)
        three = self.start(3)
        for peer in (one, two):
            three.wait_to_know(peer.address, "forest")
        ids = [manifest_of(data).content_id for data in (FOREST, other)]
        wait_until(lambda: all(i in str(three.ask("GET", "/api/contents")) for i in ids), "both")
        done = self.run_client(three, "get", "forest")
        self.assertEqual(done.returncode, 4, done.stderr)
        rows = [line.split("\t") for line in done.stdout.splitlines()]
        self.assertEqual(sorted(row[1] for row in rows), sorted(ids))
        self.assertEqual([row[0] for row in rows], [str(len(FOREST))] * 2)
        self.assertEqual(list(three.share.glob("*")), [])
        child = self.on_terminal(three, "get", "forest")
        child.sees("which one? 1-2")
        child.type("2\r")
        self.assertEqual(child.wait(), 0, child.terminal.text)
        fetched = (three.share / "forest.png").read_bytes()
        self.assertEqual(manifest_of(fetched).content_id, rows[1][1])
        done = self.run_client(three, "get", rows[0][1])
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual((three.share / "forest (2).png").stat().st_size, len(FOREST))

    def test_verify(self) -> None:
        """What was changed behind the back of the service is found out."""
        one = self.start(1, forest_png=FOREST, bee_png=BEE)
        wait_until(lambda: str(one.ask("GET", "/api/contents")).count("b3:") == 2, "two ids")
        done = self.run_client(one, "verify")
        self.assertEqual((done.returncode, done.stderr.count("not as")), (0, 0), done.stderr)
        self.assertEqual(done.stdout.count("\tunchanged\t"), 2)
        before = (one.share / "bee.png").stat()
        with (one.share / "bee.png").open("r+b") as file:
            file.seek(20_000)
            file.write(b"rot")
        os.utime(one.share / "bee.png", ns=(before.st_atime_ns, before.st_mtime_ns))
        done = self.run_client(one, "verify")
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("bee.png\tchanged\t", done.stdout)
        self.assertIn("forest.png\tunchanged\t", done.stdout)
        self.assertEqual(self.run_client(one, "verify", "forest.png").returncode, 0)
        self.assertEqual(self.run_client(one, "verify", "nothing").returncode, 3)

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
        child.until(lambda: child.terminal.text.count(": done, ") >= 2, "both")
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
        three = self.start(3, "--upload-limit", "400k")
        two.wait_to_know(three.address, "forest")
        client = two.client("get", "forest")
        wait_until(
            lambda: two.downloads() and two.downloads()[0].given.get(one.address, 0) > 100_000,
            "a part of it",
        )
        one.kill()
        self.assertEqual(client.wait(), 0, client.describe())
        self.assertIn(f"forest.png: {one.address} ", client.errors)
        self.assertIn("going on with", client.errors)
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
        wait_until(lambda: received(two) > 300_000, client.describe)
        os.kill(client.pid, signal.SIGINT)
        self.assertEqual(client.wait(), 130, client.describe())
        self.assertIn("part", client.errors)
        done = self.run_client(two, "get", "forest")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assert_fetched(two, "forest.png", FOREST)
        gave = sum(line.bytes for line in one.history("upload"))
        self.assertLess(gave, len(FOREST) + 300_000, one.history("upload"))

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
