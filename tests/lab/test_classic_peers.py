"""The classic peers of the lab: they work among themselves, and are as fragile as real ones.

A story that says "they are all still alive" is worth what is shown here: that each of the
things that must not be done to them would have ended them.
"""

from __future__ import annotations

import json
import socket
import struct
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.lab.classic_hosts import script_command, split
from tests.lab.processes import LabProcess, wait_until
from tests.lab.story import LabTestCase, picture, wait_for_names

LOOPBACK = "127.0.0.40"
REQUEST = b'{"requested_content": "forest_1"}'
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class ClassicWorldTests(LabTestCase):
    """Classic peers with classic peers: the lab's own ground."""

    hosts = 4

    def test_they_find_and_serve_each_other(self) -> None:
        """By broadcast from one namespace to the others, in three dialects, to the last byte."""
        data = picture(60_001)
        giver = self.classic(1, "forest_{}", data)
        one, lines = self.classic(2), self.classic(3)
        one.listen("--buffer", "1024")
        lines.listen("--buffer", "4096", "--form", "lines", "--keep", "duplicates")
        giver.upload()
        giver.announce("--period", "0.2")
        wait_for_names(one, 5)
        wait_until(lambda: self.lines_say_twice(lines.dictionary), "a name to be told twice")
        self.fetched(one, one.fetch("forest_{}"), "forest_{}", data)
        patient = lines.fetch("forest_{}", "--form", "lines")
        self.fetched(lines, patient, "forest_{}", data)
        for host in self.classics:
            for process in host.processes:
                self.assertTrue(process.alive, process.describe())

    @staticmethod
    def lines_say_twice(path: Path) -> bool:
        """Whether a dictionary in the form of lines has a duplicate entry."""
        text = path.read_text() if path.exists() else ""
        return "198.18.0.1, 198.18.0.1" in text


class FragilityTestCase(SynchronousTestCase):
    """Starts one script on loopback."""

    def start(self, script: str, *flags: str) -> tuple[LabProcess, int]:
        """Start it on a free port and return it with that port."""
        self.folder = Path(self.mktemp()).absolute()
        split(picture(3_000_000), "forest_{}", self.folder / "chunks")
        flags = ("--address", LOOPBACK, "--port", "0", *flags)
        process = LabProcess(script, script_command(script, *flags), self.folder)
        self.addCleanup(process.kill)
        return process, int(process.wait_for_line("ready").split()[1])


class FragileUploaderTests(FragilityTestCase):
    def uploader(self, *flags: str) -> tuple[LabProcess, int]:
        """Start an uploader."""
        return self.start("uploader", "--folder", "chunks", *flags)

    def test_what_it_survives(self) -> None:
        """A plain request, a newline, other keys, a half-close: served, and it lives."""
        process, port = self.uploader()
        wanted = (self.folder / "chunks" / "forest_1").read_bytes()
        three = {"requested_content": "forest_1", "requested content": "forest_1"}
        for request in (REQUEST, REQUEST + b"\n", json.dumps(three).encode()):
            with socket.create_connection((LOOPBACK, port)) as connection:
                connection.sendall(request)
                connection.shutdown(socket.SHUT_WR)
                self.assertTrue(_read_all(connection) == wanted)
        self.assertTrue(process.alive)

    def test_what_ends_it(self) -> None:
        """A request it cannot read, a chunk it lacks, silence, binary: each ends it."""
        for request in (
            REQUEST[:10],
            b"",
            b"\x16\x03\x01\x02\x00",
            json.dumps({"pad": "x" * 1_024, "requested_content": "forest_1"}).encode(),
            b'{"requested_content": "forest_6"}',
            b'{"requested content": "forest_1"}',
        ):
            process, port = self.uploader()
            with socket.create_connection((LOOPBACK, port)) as connection:
                connection.sendall(request)
                connection.shutdown(socket.SHUT_WR)
                self.assertEqual(process.wait(), 1, request)

    def test_a_reset_in_mid_transfer_ends_it(self) -> None:
        """Nobody may stop reading in the middle."""
        process, port = self.uploader("--rate", "500000")
        connection = socket.create_connection((LOOPBACK, port))
        connection.sendall(REQUEST)
        connection.recv(1_000)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        connection.close()
        self.assertEqual(process.wait(), 1)

    def test_an_idle_connection_blocks_it(self) -> None:
        """While one is silent nobody is served; and that somebody waited is on record."""
        process, port = self.uploader()
        idle = socket.create_connection((LOOPBACK, port))
        self.addCleanup(idle.close)
        with socket.create_connection((LOOPBACK, port)) as second:
            second.sendall(REQUEST)
            second.settimeout(0.3)
            self.assertRaises(TimeoutError, second.recv, 1)
            idle.sendall(REQUEST)
            _read_all(idle)
            second.settimeout(None)
            _read_all(second)
        process.wait_for_line("queued")


class FragileListenerTests(FragilityTestCase):
    def listener(self, *flags: str) -> tuple[LabProcess, int]:
        """Start a listener."""
        return self.start("listener", "--dictionary", "dictionary.txt", *flags)

    def test_what_ends_it(self) -> None:
        """No `chunks`, binary, no JSON, a name that is none: each ends it."""
        for datagram in (
            b'{"files": ["forest_1"]}',
            b"\xff\xfe\x00",
            b"",
            b"hello",
            b'["forest_1"]',
            b'{"chunks": [1]}',
            b'{"chunks": null}',
        ):
            process, port = self.listener()
            _tell(port, datagram)
            self.assertEqual(process.wait(), 1, datagram)

    def test_a_datagram_longer_than_its_buffer_ends_it(self) -> None:
        """1,024 bytes are the most that each of them can take."""
        for size in (1_024, 2_048, 4_096):
            process, port = self.listener("--buffer", str(size))
            _tell(port, _announcement_of(size))
            wait_until((self.folder / "dictionary.txt").exists, "the dictionary")
            _tell(port, _announcement_of(size + 1))
            self.assertEqual(process.wait(), 1, size)

    def test_a_colon_in_a_name_breaks_the_form_of_lines(self) -> None:
        """Which is why such names are never told."""
        process, port = self.listener("--form", "lines")
        _tell(port, b'{"chunks": ["a:b_1"]}')
        self.assertEqual(process.wait(), 1)

    def test_one_kind_keeps_only_the_last_datagram(self) -> None:
        """Which is why the five names of a file are told together."""
        process, port = self.listener("--keep", "replace")
        for name in ("forest_1", "forest_2"):
            _tell(port, json.dumps({"chunks": [name]}).encode())
        wanted = {"forest_1": [], "forest_2": ["127.0.0.1"]}
        path = self.folder / "dictionary.txt"
        wait_until(lambda: path.exists() and path.read_text() == json.dumps(wanted), "both")
        self.assertTrue(process.alive)


class FragileClientTests(FragilityTestCase):
    """One that reads once, and one that waits for the end."""

    def client(self, port: int, *flags: str) -> LabProcess:
        """Fetch forest from addresses .41 and .40 in this order."""
        names = {f"forest_{number}": ["127.0.0.41", LOOPBACK] for number in range(1, 6)}
        (self.folder / "dictionary.txt").write_text(json.dumps(names))
        arguments = ["--dictionary", "dictionary.txt", "--content", "forest_{}"]
        arguments += ["--output", "forest", "--port", str(port), *flags]
        process = LabProcess("client", script_command("client", *arguments), self.folder)
        self.addCleanup(process.kill)
        return process

    def test_it_goes_on_to_the_next_address(self) -> None:
        """Where the first refuses, the second is asked."""
        uploader, port = self.start("uploader", "--folder", "chunks")
        process = self.client(port)
        self.assertEqual(process.wait(), 0, process.describe())
        self.assertTrue((self.folder / "forest").read_bytes() == picture(3_000_000))
        self.assertTrue(uploader.alive)

    def test_an_empty_reply_spoils_its_file(self) -> None:
        """Which is why a chunk that is not there is answered with a reset."""
        uploader, port = self.start("uploader", "--folder", "chunks")
        (self.folder / "chunks" / "forest_3").write_bytes(b"")
        self.assertEqual(self.client(port).wait(), 0)
        self.assertFalse((self.folder / "forest").read_bytes() == picture(3_000_000))
        self.assertTrue(uploader.alive)

    def test_without_the_end_of_the_stream_it_hangs(self) -> None:
        """All the bytes are there, and it waits for more."""
        self.start("uploader", "--folder", "chunks")
        with socket.create_server((LOOPBACK, 0)) as server:
            process = self.client(server.getsockname()[1])
            connection, _ = server.accept()
            with connection:
                connection.recv(1_024)
                connection.sendall(b"the whole chunk")
                self.assertRaises(AssertionError, process.wait, 0.5)


def _read_all(connection: socket.socket) -> bytes:
    data = b""
    while more := connection.recv(65_536):
        data += more
    return data


def _tell(port: int, datagram: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(datagram, (LOOPBACK, port))


def _announcement_of(size: int) -> bytes:
    """A good announcement of exactly so many bytes."""
    frame = len(b'{"chunks": [""]}')
    return json.dumps({"chunks": ["x" * (size - frame)]}).encode()
