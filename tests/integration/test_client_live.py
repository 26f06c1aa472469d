"""The client with a service that runs, as people use it: progress, status, pause, limits, open."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import urllib.error
import urllib.request
from http.cookiejar import CookieJar
from itertools import pairwise

from peershare.control.controlfile import read_control_file
from peershare.status import DownloadState, DownloadStatus
from tests.client.spawned import PtyProcess, environment
from tests.integration.peers import Download, Peer, picture
from tests.integration.test_client import ClientTestCase
from tests.lab.processes import wait_until

FOREST, BEE = picture(3_000_007, 4), picture(40_000, 5)


def seconds(child: PtyProcess) -> list[int]:
    """The times left that are on the terminal right now."""
    found = re.findall(r"B/s (\d+):(\d\d)(?: |$)", child.terminal.text, re.MULTILINE)
    return [60 * int(minutes) + int(rest) for minutes, rest in found]


class LiveTestCase(ClientTestCase):
    limit = "300k"

    def swarm(self) -> tuple[Peer, Peer, Peer]:
        """Two peers that give slowly, and one that wants it."""
        for number in (1, 2):
            self.start(number, "--upload-limit", self.limit, forest_png=FOREST, bee_png=BEE)
        three = self.start(3)
        for number in (1, 2):
            three.wait_to_know(self.peer(number).address, "forest", "bee")
        return self.peer(1), self.peer(2), three

    def hurry(self) -> None:
        """They give as fast as they can from now on."""
        for number in (1, 2):
            self.peer(number).ask("PUT", "/api/limits", {"upload": None, "download": None})

    def moving(self, peer: Peer, name: str = "forest", count: int = 300_000) -> Download:
        """A download of which so much is there."""
        download = peer.download(name)
        download.wait_until_moving(count)
        return download

    def tell(self, peer: Peer, *arguments: str, status: int = 0) -> str:
        """What a command prints that ends with this status."""
        done = self.run_client(peer, *arguments)
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertNotIn("\x1b", done.stdout + done.stderr)
        return done.stdout


class GetTests(LiveTestCase):
    def test_two_give_wide(self) -> None:
        """A bar with rate and time left, and below it who gives how much."""
        self.get(80)

    def test_two_give_narrow(self) -> None:
        """In 40 columns, too."""
        self.get(40)

    def get(self, columns: int) -> None:
        one, two, three = self.swarm()
        child = self.on_terminal(three, "get", "forest", columns=columns)
        child.sees("2 peers")
        child.sees("verified: 127.0.1.")
        last = one.address.rpartition(".")[2], two.address.rpartition(".")[2]
        child.until(
            lambda: all(
                re.search(rf"verified:.*\.{number} \d+%", child.terminal.text) for number in last
            ),
            "both",
        )
        child.until(lambda: seconds(child), "a time left")
        seen = [seconds(child)[0]]
        while child.process.poll() is None and seconds(child):
            child.read(0.1)
            seen += seconds(child)[-1:]
        for before, after in pairwise(seen):
            self.assertLessEqual(after - before, 4, f"it jumps: {seen}")
        self.assertEqual(child.wait(), 0, child.terminal.text)
        self.assertNotIn("━", child.terminal.text, "the bar is gone")
        self.assertTrue(all(len(line) <= columns for line in child.terminal.lines))
        shown = "".join(child.terminal.lines)
        self.assertIn("forest: done, 3.0 MB in", shown)
        self.assertEqual((three.share / "forest.png").read_bytes(), FOREST)

    def test_events(self) -> None:
        """For a program: what happens as it happens, the outcome last."""
        _, _, three = self.swarm()
        values = self.values(self.tell(three, "get", "--json", "bee"))
        self.assertEqual({value["type"] for value in values}, {"download", "outcome"})
        self.assertEqual((values[-1]["type"], values[-1]["status"]), ("outcome", 0))


class StatusTests(LiveTestCase):
    limit = "40k"  # there is to be time for some commands, each a process of its own

    def test_wide(self) -> None:
        """A download moves, is held and goes on; the peers that give have rates."""
        self.watch(80)

    def test_narrow(self) -> None:
        """In 40 columns, too."""
        self.watch(40)

    def watch(self, columns: int) -> None:
        one, two, three = self.swarm()
        child = self.on_terminal(three, "status", columns=columns)
        child.sees("no download")
        download = self.moving(three)
        child.until(
            lambda: re.search(r"━.* [1-9]\d?%|[1-9]\d?%\n.*━", child.terminal.text), "a bar"
        )
        child.until(
            lambda: all(
                re.search(rf"(?m)^{re.escape(peer.address)} +\d.* [kM]?B/s", child.terminal.text)
                for peer in (one, two)
            ),
            "the rates of both",
        )
        told = self.tell(three, "pause", "forest")
        self.assertRegex(told, r"^forest.png\tpaused at \d+% ")
        child.until(lambda: re.search(r"paused, [\d.]+ [kM]B here", child.terminal.text), "paused")
        held = self.held(download)
        self.assertRegex(self.tell(three, "resume", "--all"), "^forest.png\tgoes on at ")
        child.until(lambda: "paused" not in child.terminal.text, "it goes on")
        status = download.wait_for(lambda status: status.received > held.received)
        self.assertLess(status.received, len(FOREST))
        self.hurry()
        child.sees("done, 3.0 MB verified")
        self.assertEqual((three.share / "forest.png").read_bytes(), FOREST)
        child.process.send_signal(signal.SIGINT)
        self.assertEqual(child.wait(), 130)
        self.assertIn("done, 3.0 MB verified", child.terminal.text, "the last picture stays")
        self.assertTrue(all(len(line) <= columns for line in child.terminal.lines))
        self.assertEqual(child.terminal.before_cursor, "")

    def held(self, download: Download) -> DownloadStatus:
        """A download that nobody gives to; what was on its way when it was held has come."""
        download.wait_for(lambda status: status.state is DownloadState.PAUSED)
        before = download.wait_for(lambda status: not status.peers)
        wait_until(lambda: download.status.idle_seconds > 1.0, "a second without a byte")
        self.assertEqual(download.status.received, before.received)
        return before

    def test_another_service(self) -> None:
        """It survives a restart of the service, and so does what was held."""
        _, _, three = self.swarm()
        self.moving(three)
        child = self.on_terminal(three, "status")
        self.tell(three, "pause", "--all")
        child.sees("paused")
        three.stop()
        child.sees("went away")
        three.start()
        three.ready()
        child.sees("going on with another")
        rows = [line.split("\t") for line in self.tell(three, "status").splitlines()]
        (row,) = [row for row in rows if row[0] == "download"]
        self.assertEqual((row[2], row[6]), ("paused", "forest.png"))
        self.tell(three, "limits", "--down", "off")
        self.tell(three, "resume", "forest")
        self.hurry()
        wait_until(lambda: (three.share / "forest.png").exists(), "the file")
        child.sees("done, 3.0 MB verified")
        child.process.send_signal(signal.SIGINT)
        child.wait()

    def test_events(self) -> None:
        """For a program: the whole, then what happens, until it is interrupted."""
        _, _, three = self.swarm()
        whole = json.loads(self.tell(three, "status", "--json", "--once"))
        self.assertEqual(len(whole["peers"]), 2)
        client = three.client("status", "--json")
        client.wait_for_line('"type": "status"')
        three.download("bee")
        client.wait_for_line('"state": "done"')
        os.kill(client.pid, signal.SIGINT)
        self.assertEqual(client.wait(), 130)
        kinds = [value["type"] for value in self.values(client.output)]
        self.assertEqual((kinds[0], kinds.count("status")), ("status", 1))

    def test_no_service(self) -> None:
        """Without a service there is nothing to be shown, and no node is begun for it."""
        peer = self.peer(1)
        for command in (("status",), ("pause", "--all"), ("limits",), ("open",)):
            done = self.run_client(peer, *command)
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertIn(f"no service answers on {peer.state}: start one", done.stderr)
        self.assertFalse(peer.state.exists())


class SteeringTests(LiveTestCase):
    limit = "40k"  # there is to be time for some commands, each a process of its own

    def test_cancel_and_history(self) -> None:
        """What is cancelled leaves its part; what came is in the history since then."""
        _, _, three = self.swarm()
        download = self.moving(three)
        self.assertRegex(
            self.tell(three, "cancel", "forest.png"), r"^forest.png\tcancelled; the part file with "
        )
        self.assertIs(download.status.state, DownloadState.STOPPED)
        self.tell(three, "get", "bee")
        rows = self.tell(three, "history", "--since", "1h", "--direction", "download").splitlines()
        self.assertTrue(any("\tbee.png\t" in row for row in rows), rows)
        self.assertEqual(self.tell(three, "history", "--since", "0s"), "")
        self.assertEqual(self.tell(three, "history", "--direction", "upload"), "")
        error = self.run_client(three, "pause", "tree")
        self.assertEqual(error.returncode, 3)
        self.assertIn("tree: no download is under way", error.stderr)

    def test_limits(self) -> None:
        """A limit holds at once, and is taken off again."""
        _, _, three = self.swarm()
        download = self.moving(three)
        told = self.tell(three, "limits", "--down", "50k")
        self.assertEqual(told, "upload\toff\ndownload\t50 kB/s\n")
        self.assertEqual(three.node().download_limit, 50_000.0)
        download.wait_for(lambda status: 0 < status.rate < 70_000)
        self.assertEqual(
            json.loads(self.tell(three, "limits", "--json", "--down", "off", "--up", "1M")),
            {"upload": 1_000_000.0, "download": None},
        )
        self.hurry()
        download.wait()


class OpenTests(LiveTestCase):
    def test_the_page(self) -> None:
        """The printed link lets a browser in, once."""
        peer = self.start(1)
        peer.ready()
        link = self.tell(peer, "open", "--print").strip()
        browser = urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(CookieJar()), urllib.request.ProxyHandler({})
        )
        with browser.open(link, timeout=10) as response:
            page = response.read().decode()
        self.assertIn("<html", page)
        control = read_control_file(peer.state)
        assert control is not None
        with browser.open(f"{control.url}/api/node", timeout=10) as response:
            self.assertEqual(json.loads(response.read())["pid"], peer.running.pid)
        with self.assertRaises(urllib.error.HTTPError):
            urllib.request.urlopen(link, timeout=10)

    def test_a_browser(self) -> None:
        """What the browser is started with holds no secret, and leads in; no file stays."""
        peer = self.start(1)
        peer.ready()
        seen = peer.folder / "seen"
        program = peer.folder / "browser"
        program.write_text(
            f"#!{sys.executable}\n"
            "import pathlib, re, sys, urllib.parse\n"
            "path = urllib.parse.unquote(urllib.parse.urlsplit(sys.argv[1]).path)\n"
            "link = re.search(r'url=([^\"]*)', pathlib.Path(path).read_text())[1]\n"
            f"pathlib.Path({str(seen)!r}).write_text(sys.argv[1] + chr(10) + link)\n"
        )
        program.chmod(0o700)
        child = PtyProcess(
            ("env", f"BROWSER={program} %s", *self.command(peer, "open")),
            80,
            24,
            environment(peer.folder),
        )
        self.addCleanup(child.close)
        self.assertEqual(child.wait(), 0, child.terminal.text)
        address, link = seen.read_text().split("\n")
        self.assertTrue(address.startswith("file:///"))
        code = link.partition("code=")[2]
        self.assertGreater(len(code), 30)
        self.assertNotIn(code, address + child.terminal.text)
        self.assertEqual(list(peer.state.glob("open-*")), [])
