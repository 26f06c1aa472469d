"""The base of the lab's tests: a fresh network for each, and what must be true after each.

Not for: the stories themselves.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from signal import SIGTERM

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from tests.lab.classic_hosts import ClassicHost, script_command, split
from tests.lab.network import BROADCAST, Network, sweep, what_is_missing
from tests.lab.peers import PeershareHost
from tests.lab.processes import LabProcess, wait_until
from tests.lab.rules import (
    CLASSIC_PORT,
    Datagram,
    Segment,
    Stream,
    faults_of,
    faults_of_stream,
    streams_of,
)

# SIGTERM ends a service within 2 s; the rest is for a busy machine.
STOP_SECONDS = 4.0
_decode = msgspec.json.Decoder(Datagram | Segment).decode
_PNG_HEAD = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR"


def picture(size: int, seed: int = 1) -> bytes:
    """So many bytes that begin as a picture does, the same for the same seed."""
    return (_PNG_HEAD + Random(seed).randbytes(size))[:size]


class LabTestCase(SynchronousTestCase):
    """One story, on a network of `hosts` machines that is there for it alone."""

    hosts = 5
    skip = what_is_missing()

    def setUp(self) -> None:
        """Make the network, and record what crosses its bridge."""
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        self.peers: list[PeershareHost] = []
        self.classics: list[ClassicHost] = []
        sweep()
        self.network = Network(self.hosts)
        self.addCleanup(self.network.remove)
        self.network.build()
        self._recorder = self.network.start(
            self.network.bridge, "recorder", script_command("recorder"), self.folder
        )
        self._recorder.wait_for_line('{"ready"')

    def peershare(
        self, number: int, *options: str, native: bool = True, **files: bytes
    ) -> PeershareHost:
        """Start a peershare service on a host; `files` as `forest_png=bytes`."""
        peer = PeershareHost(self.network, number, self.folder / f"host-{number}")
        self.peers.append(peer)
        for name, data in files.items():
            (peer.share / name.replace("_", ".")).write_bytes(data)
        return peer.start(*options, native=native)

    def classic(
        self, number: int, pattern: str = "", data: bytes = b"", first: int = 1
    ) -> ClassicHost:
        """Prepare a host of classic peers that has a content, cut into chunk files."""
        host = ClassicHost(self.network, number, self.folder / f"host-{number}")
        self.classics.append(host)
        if pattern:
            split(data, pattern, host.chunks, first)
        return host

    def ready(self) -> None:
        """Wait until every service that was started is ready."""
        for peer in self.peers:
            peer.wait_ready()

    def meanwhile(self, running: LabProcess, condition: Callable[[], object]) -> None:
        """Wait for something to happen while a download still runs."""
        wait_until(lambda: condition() or not running.alive, running.describe)
        self.assertTrue(running.alive, f"it was to last longer: {running.describe()}")

    def got(self, peer: PeershareHost, process: LabProcess, name: str, data: bytes) -> None:
        """Check that a download ended well: exit status, name, every byte."""
        status = process.wait()
        self.assertEqual(status, 0, f"{process.describe()}\n{peer.running.describe()}")
        self.assertTrue((peer.share / name).exists(), f"{name}: {sorted(peer.share.iterdir())}")
        self.assertTrue((peer.share / name).read_bytes() == data, f"{name}: other bytes")

    def fetched(self, host: ClassicHost, process: LabProcess, content: str, data: bytes) -> None:
        """The same for a classic client's download."""
        self.assertEqual(process.wait(), 0, process.describe())
        self.assertTrue(host.fetched(content).read_bytes() == data, f"{content}: other bytes")

    def datagrams(self) -> list[Datagram]:
        """What the peershare hosts have sent by UDP so far."""
        return [one for one in self._recorded() if isinstance(one, Datagram)]

    def announcements(self) -> list[Datagram]:
        """Those that are for classic peers."""
        return [one for one in self.datagrams() if one.port == CLASSIC_PORT]

    def streams(self) -> list[Stream]:
        """What the peershare hosts have sent on the connections that they opened, so far."""
        return streams_of(one for one in self._recorded() if isinstance(one, Segment))

    def all_datagrams(self) -> list[Datagram]:
        """What anybody has sent by UDP so far."""
        return [one for one in self._all_recorded() if isinstance(one, Datagram)]

    def _recorded(self) -> list[Datagram | Segment]:
        """What the peershare hosts have sent, as it was recorded."""
        ours = {peer.address for peer in self.peers}
        return [one for one in self._all_recorded() if one.source in ours]

    def _all_recorded(self) -> list[Datagram | Segment]:
        lines = self._recorder.lines()[1:]  # the first one says that it is ready
        return [_decode(line) for line in lines]

    def wait_for_silence(self, seconds: float) -> None:
        """Wait until none of the services has announced anything for so long."""
        wait_until(
            lambda: time.monotonic() - self.announcements()[-1].at > seconds,
            f"{seconds} s of silence",
            seconds=4 * seconds,
        )

    def all_is_well(self) -> None:
        """What must be true after each story; the services are ended by it.

        Every classic peer still lives, no service wrote a traceback, each ends when it is
        asked to, and nothing crossed the network that may not be there.
        """
        for host in self.classics:
            for process in host.processes:
                self.assertTrue(process.alive, process.describe())
                self.assertNotIn("queued", process.output, "two connections at a time")
        self._stop_services()
        self._judge_datagrams()
        self._judge_streams()

    def _judge_datagrams(self) -> None:
        datagrams = self.datagrams()
        self.assertTrue(datagrams, "nothing of ours crossed the bridge: is the recorder blind?")
        peers = {peer.address: peer for peer in self.peers}
        partial = {peer.address: peer.downloaded_stems() for peer in self.peers}
        for one in datagrams:
            port = peers[one.source].beacon_port
            self.assertEqual(faults_of(one, partial[one.source], port), [], one)
            if one.target != BROADCAST:
                self.assertEqual(one.port, port, "an announcement is for everybody")
                self.assertIn(one.target, peers, "a beacon to one that sent none")
        beacons = {(one.source, one.port) for one in datagrams if one.port != CLASSIC_PORT}
        self.assertEqual(beacons, {(peer.address, peer.beacon_port) for peer in self.peers})

    def _judge_streams(self) -> None:
        peers = {peer.address: peer for peer in self.peers}
        classic = {host.address for host in self.classics}
        datagrams = self.datagrams()
        for stream in self.streams():
            self.assertIn(stream.target, classic | set(peers), stream)
            source, target = peers[stream.source], peers.get(stream.target)
            others = source.beacon_port != (target.beacon_port if target is not None else 0)
            deaf = {stream.target} if others else set()
            faults = faults_of_stream(
                stream, frozenset(classic | deaf), datagrams, source.beacon_port
            )
            self.assertEqual(faults, [], stream)

    def _stop_services(self) -> None:
        services = [peer.service for peer in self.peers if peer.service is not None]
        for service in services:
            self.assertTrue(service.alive, service.describe())
            service.terminate()
        for service in services:
            # twistd ends by the signal that it was sent, once everything is closed
            self.assertIn(service.wait(STOP_SECONDS), (0, -SIGTERM), service.describe())
            self.assertIn("Server Shut Down.", service.output)
            for word in ("Traceback", "Unhandled"):
                self.assertNotIn(word, service.output + service.errors)


def wait_for_names(host: ClassicHost, wanted: int) -> None:
    """Wait until a classic listener's JSON dictionary has so many names."""
    wait_until(
        lambda: len(_names(host)) >= wanted,
        lambda: f"{wanted} names in {host.dictionary}: {len(_names(host))} are there",
    )


def _names(host: ClassicHost) -> dict[str, list[str]]:
    try:
        names: dict[str, list[str]] = msgspec.json.decode(host.dictionary.read_bytes())
    except (FileNotFoundError, msgspec.DecodeError):
        return {}
    return names
