"""Files that are given to a real service over its API: whole in its share folder, or not at all."""

from __future__ import annotations

import http.client
import json
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from peershare.control.controlfile import ControlFile, read_control_file
from tests.integration.peers import STOP_SECONDS, Peer, PeersTestCase, picture
from tests.lab.processes import wait_until

ROOT = Path(__file__).resolve().parents[2]
ADDRESS = "127.32.1.1"
SIZE = 8_000_000


class ReceivedTests(PeersTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.one = self.peer(1)
        self.one.address = ADDRESS
        self.control = self.started(self.one)

    def started(self, peer: Peer) -> ControlFile:
        peer.start("--control-port", "auto", around=("env", f"PYTHONPATH={ROOT}"))
        control = read_control_file(peer.ready().state)
        assert control is not None
        return control

    def begin(self, name: str, size: int) -> http.client.HTTPConnection:
        """Say that a file of so many bytes comes."""
        connection = http.client.HTTPConnection(urlsplit(self.control.url).netloc, timeout=10)
        connection.putrequest("PUT", f"/api/shares/{quote(name, safe='')}")
        connection.putheader("Authorization", f"Bearer {self.control.token}")
        connection.putheader("Content-Type", "application/octet-stream")
        connection.putheader("Content-Length", str(size))
        connection.endheaders()
        self.addCleanup(connection.close)
        return connection

    def put(self, name: str, data: bytes) -> tuple[int, Any]:
        """Give a file; the status, and the answer."""
        connection = self.begin(name, len(data))
        connection.send(data)
        response = connection.getresponse()
        return response.status, json.loads(response.read())

    def unfinished(self) -> list[str]:
        """What lies where files are received."""
        return [path.name for path in (self.one.share / ".peershare").glob("*.received")]

    def test_given(self) -> None:
        """It is there as it was given and announced; a taken name is not overwritten."""
        first, second = picture(SIZE, 1), picture(SIZE, 2)
        status, shared = self.put("forest.png", first)
        self.assertEqual((status, shared["how"], shared["size"]), (201, "received", SIZE))
        self.assertEqual(len(shared["chunks"]), 5)
        status, shared = self.put("forest.png", second)
        self.assertEqual((status, shared["name"]), (201, "forest (2).png"))
        self.assertEqual((self.one.share / "forest.png").read_bytes(), first)
        self.assertEqual((self.one.share / "forest (2).png").read_bytes(), second)
        self.assertEqual(self.unfinished(), [])
        names = [content["name"] for content in self.one.ask("GET", "/api/contents")]
        self.assertEqual(names, ["forest (2).png", "forest.png"])

    def test_refused(self) -> None:
        """A name that leads elsewhere, and a file that no disk holds, are refused unread."""
        for name in ("../x", "/etc/passwd", "..", "a\0b", ".hidden/x", "x" * 300):
            connection = self.begin(name, 1_000_000)
            response = connection.getresponse()
            answer = json.loads(response.read())
            self.assertEqual((response.status, answer["error"]), (400, "bad-name"), name)
        response = self.begin("large.bin", 10**17).getresponse()
        answer = json.loads(response.read())
        self.assertEqual((response.status, answer["error"]), (503, "storage"))
        self.assertGreater(answer["needed_bytes"], 0)
        self.assertEqual([path.name for path in self.one.share.iterdir()], [".peershare"])
        self.assertEqual(self.unfinished(), [])

    def test_hung_up(self) -> None:
        """What was not sent to its end leaves nothing, and is in nobody's way."""
        connection = self.begin("forest.png", SIZE)
        connection.send(picture(SIZE // 2))
        wait_until(lambda: self.unfinished(), lambda: "the file to be received")
        connection.close()
        wait_until(lambda: not self.unfinished(), lambda: "nothing to be left")
        self.assertFalse((self.one.share / "forest.png").exists())
        self.assertEqual(self.put("forest.png", picture(SIZE))[1]["name"], "forest.png")
        self.assertNotIn("Traceback", self.one.log)

    def test_stopped(self) -> None:
        """A service that is stopped meanwhile stops at once and leaves nothing, either."""
        connection = self.begin("forest.png", SIZE)
        connection.send(picture(SIZE // 2))
        wait_until(lambda: self.unfinished(), lambda: "the file to be received")
        self.one.running.terminate()
        self.one.running.wait(STOP_SECONDS)
        self.assertEqual(self.unfinished(), [])
        self.assertFalse((self.one.share / "forest.png").exists())
        self.assertNotIn("Traceback", self.one.log)

    def test_metrics(self) -> None:
        """A real node counts what its metrics name."""
        url = f"{self.control.url}/metrics"
        headers = {"Authorization": f"Bearer {self.control.token}"}
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(urllib.request.Request(url, headers=headers), timeout=10) as response:
            text = response.read().decode()
        for line in (
            'peershare_bytes_total{direction="upload"} 0.0',
            'peershare_downloads{state="done"} 0.0',
            "peershare_peers 0.0",
            "peershare_event_streams 0.0",
        ):
            self.assertIn(f"{line}\n", text)
        self.assertIn("peershare_announcements_total{protocol=", text)
        self.assertIn("peershare_reactor_delay_seconds ", text)
