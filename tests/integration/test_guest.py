"""The guest page as a phone sees it: a real service, real sockets, curl."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import threading
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

from peershare.content.manifest import manifest_of
from tests.integration.peers import Peer, PeersTestCase, free_ports, picture
from tests.lab.processes import wait_until

FOREST, SMALL = picture(3_000_003, 1), picture(100_003, 2)
# Guests of their own, so that each has its own share of the connections.
PHONE, CROWD = "127.0.9.1", "127.0.9.2"


class GuestTestCase(PeersTestCase):
    timeout = 120

    def host(self, number: int, *options: str, **files: bytes) -> Peer:
        """A peer with a guest page."""
        (port,) = free_ports(socket.SOCK_STREAM, 1)
        peer = self.start(
            number, "--no-classic", "--guest", "--guest-port", str(port), *options, **files
        )
        return peer.ready()

    def link(self, peer: Peer) -> str:
        """The link of its page."""
        link: str = peer.ask("GET", "/api/guest")["link"]
        self.assertEqual(peer.node().guest, link)
        return link

    def ask(
        self, link: str, method: str = "GET", source: str = PHONE, **headers: str
    ) -> HTTPResponse:
        """One request of a phone; the body is still to be read."""
        parts = urlsplit(link)
        connection = HTTPConnection(
            str(parts.hostname), parts.port, timeout=30, source_address=(source, 0)
        )
        self.addCleanup(connection.close)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, parts.path, headers=named)
        return connection.getresponse()

    def find(self, link: str, name: str) -> str:
        """The link of a file, once the page has it."""

        def found() -> str:
            page = self.ask(link).read().decode()
            links = [part.split('"')[0] for part in page.split('href="')[1:]]
            return next((link + one for one in links if one.endswith(f"/{name}")), "")

        return wait_until(found, f"{name} to be on the page")

    def curl(self, *arguments: str) -> str:
        """Run curl; what it wrote to standard output."""
        command = ["curl", "-sS", "--interface", PHONE, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return done.stdout


class FetchTests(GuestTestCase):
    def test_while_it_arrives(self) -> None:
        """A phone gets a file that the node is still fetching, byte for byte, as it comes."""
        self.start(1, "--no-classic", "--upload-limit", "800k", forest_png=FOREST)
        two = self.host(2)
        wait_until(lambda: two.ask("GET", "/api/contents"), "the content to be told")
        download = two.download("forest.png")
        download.wait_until_moving(100_000)
        link = self.find(self.link(two), "forest.png")
        self.assertIn(b"still arriving here", self.ask(self.link(two)).read())
        answer = self.ask(link)
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.headers["Content-Length"], str(len(FOREST)))
        first = answer.read(1)
        self.assertNotEqual(download.status.state, "done")
        self.assertEqual(first + answer.read(), FOREST)
        download.wait()
        self.assert_fetched(two, "forest.png", FOREST)
        later = self.ask(link, range="bytes=5-", if_range=answer.headers["ETag"])
        self.assertEqual((later.status, later.read()), (206, FOREST[5:]))
        content = manifest_of(FOREST).content_id.removeprefix("b3:")
        self.assertEqual(answer.headers["ETag"], f'"{content}"')
        wait_until(lambda: len(two.history("upload")) >= 2, "the log")
        self.assertEqual({line.address for line in two.history("upload")}, {PHONE})

    def test_the_other_peer_goes_and_comes_back(self) -> None:
        """The answer stands still with the download, and goes on with it."""
        one = self.start(1, "--no-classic", "--upload-limit", "500k", forest_png=FOREST)
        two = self.host(2)
        wait_until(lambda: two.ask("GET", "/api/contents"), "the content to be told")
        download = two.download("forest.png")
        download.wait_until_moving(300_000)
        answer = self.ask(self.find(self.link(two), "forest.png"))
        got = answer.read(1)
        one.kill()
        one.start("--no-classic")
        self.assertEqual(got + answer.read(), FOREST)

    def test_curl_resumes(self) -> None:
        """What was cut goes on where it was, and what is whole is left alone."""
        if shutil.which("curl") is None:
            self.skipTest("there is no curl")
        peer = self.host(1, "--upload-limit", "2m", forest_png=FOREST)
        link, target = self.find(self.link(peer), "forest.png"), self.folder / "got.png"
        self.curl("--max-time", "0.6", "-o", str(target), link)
        size = target.stat().st_size
        self.assertTrue(0 < size < len(FOREST), size)
        self.assertEqual(target.read_bytes(), FOREST[:size])
        told = self.curl("-C", "-", "-o", str(target), "-w", "%{http_code}", link)
        self.assertEqual(told, "206")
        self.assertEqual(target.read_bytes(), FOREST)
        self.curl("-C", "-", "-o", str(target), link)
        self.assertEqual(target.read_bytes(), FOREST)

    def test_names(self) -> None:
        """A phone saves it under its very name, and nothing of a name becomes a header."""
        peer = self.host(1)
        peer.write("für \r\nX-Evil: 1 <b>.html", b"<script>alert(1)</script>")
        link = self.find(self.link(peer), "f%C3%BCr%20_x0d_x0aX-Evil%3A%201%20%3Cb%3E.html")
        answer = self.ask(link)
        self.assertIsNone(answer.headers["X-Evil"])
        self.assertEqual(answer.headers["Content-Type"], "application/octet-stream")
        self.assertIn("UTF-8''f%C3%BCr%20_x0d_x0aX-Evil", answer.headers["Content-Disposition"])
        self.assertEqual(answer.read(), b"<script>alert(1)</script>")

    def test_client_prints_it(self) -> None:
        """`peershare guest` tells the link; without a page, that there is none."""
        peer = self.host(1)
        client = peer.client("guest")
        self.assertEqual(client.wait(20), 0, client.describe())
        self.assertEqual(client.output.strip(), self.link(peer))
        self.assertIn("plain HTTP", client.errors)
        none = self.start(2, "--no-classic").ready().client("guest")
        self.assertEqual(none.wait(20), 1, none.describe())
        self.assertIn("--guest", none.errors)


class CrowdTests(GuestTestCase):
    def test_idle_connections(self) -> None:
        """Hundreds of connections that do nothing keep nobody else out."""
        peer = self.host(1, small_png=SMALL)
        link = self.find(self.link(peer), "small.png")
        parts = urlsplit(link)
        for _ in range(400):
            with contextlib.suppress(ConnectionResetError):  # as it should be, for most of them
                one = socket.create_connection(
                    (str(parts.hostname), parts.port), timeout=10, source_address=(CROWD, 0)
                )
                self.addCleanup(one.close)
                one.sendall(b"GET /x HTTP/1.1\r\nHo")
        self.assertEqual(self.ask(link).read(), SMALL)
        refused = peer.node().refused
        self.assertGreater(refused["guest page: too many connections from one address"], 300)

    def test_many_at_once(self) -> None:
        """Thirty phones get all of it."""
        peer = self.host(1, forest_png=FOREST)
        link = self.find(self.link(peer), "forest.png")
        got: list[bool] = []

        def fetch(number: int) -> None:
            got.append(self.ask(link, source=f"127.0.10.{number}").read() == FOREST)

        threads = [threading.Thread(target=fetch, args=(number,)) for number in range(1, 31)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(got, [True] * 30)


class UploadTests(GuestTestCase):
    def waiting(self, peer: Peer) -> list[tuple[str, str, int]]:
        """Id, name and size of what waits."""
        uploads = peer.ask("GET", "/api/guest")["uploads"]
        return [(u["id"], u["name"], u["size"]) for u in uploads if u["state"] == "waiting"]

    def hidden(self, peer: Peer) -> list[Path]:
        return sorted((peer.share / "Inbox" / ".peershare").glob("*"))

    def test_sent_and_accepted(self) -> None:
        """What curl sends waits over a restart, and is there once it is accepted."""
        if shutil.which("curl") is None:
            self.skipTest("there is no curl")
        peer = self.host(1, "--guest-upload")
        source = self.folder / "photo.png"
        source.write_bytes(FOREST)
        told = self.curl(
            *("-F", f"file=@{source}", "-w", "%{http_code}", "-o", "/dev/null"),
            f"{self.link(peer)}upload",
        )
        self.assertEqual(told, "303")
        ((identifier, name, size),) = self.waiting(peer)
        self.assertEqual((name, size), ("photo.png", len(FOREST)))
        peer.kill()
        peer.start("--no-classic", "--guest", "--guest-upload")
        peer.ready()
        self.assertEqual([found for found, _, _ in self.waiting(peer)], [identifier])
        peer.ask("POST", f"/api/guest/uploads/{identifier}/accept", {})
        self.assertEqual((peer.share / "Inbox" / "photo.png").read_bytes(), FOREST)
        self.assertEqual((self.waiting(peer), self.hidden(peer)), ([], []))

    def test_killed_in_the_middle(self) -> None:
        """An upload that was cut leaves nothing, even by kill -9."""
        peer = self.host(1, "--guest-upload")
        parts = urlsplit(self.link(peer))
        with socket.create_connection((str(parts.hostname), parts.port), timeout=10) as one:
            one.sendall(
                f"POST {parts.path}upload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n"
                "Content-Type: multipart/form-data; boundary=XyZ\r\n\r\n--XyZ\r\n"
                'Content-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'.encode()
                + bytes(500_000)
            )
            wait_until(lambda: self.hidden(peer), "the upload to begin")
            peer.kill()
        self.assertEqual(len(self.hidden(peer)), 1)
        peer.start("--no-classic", "--guest", "--guest-upload")
        peer.ready()
        wait_until(lambda: not self.hidden(peer), "what is not whole to be removed")
