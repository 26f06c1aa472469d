"""Hostile native peers of every kind, beside one honest real peer, against a real service.

Each content has peers of its own that misbehave with it, so all downloads run at once: what comes
out is right, who deserves it stands in the download log, the service stays up within bounds.
`PEERSHARE_KILLS` over 10 tries every pair of kinds, not only neighbours in the list.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from random import Random

from tests.integration.giving import Shared
from tests.integration.hostile import Hostile
from tests.integration.misframing import KINDS
from tests.integration.native import NativePeer
from tests.integration.peers import Download, Peer, PeersTestCase
from tests.lab.processes import read_text, wait_until

SIZE = 24 * 65_536 + 321
PATIENCE_SECONDS = 60.0
# The honest peer gives slowly enough that everybody else is asked, too.
HONEST = ("--upload-limit", "6m")
MOST_MEBIBYTES = 128
# For a closer look at one of them.
ONLY = os.environ.get("PEERSHARE_HOSTILE", "").split()
EVERY_PAIR = int(os.environ.get("PEERSHARE_KILLS", "4")) > 10


def peak_mebibytes(peer: Peer) -> float:
    """The most memory that a service ever had resident, in MiB."""
    status = read_text(Path(f"/proc/{peer.running.pid}/status"))
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


class HostileTests(PeersTestCase):
    timeout = 600

    def setUp(self) -> None:
        super().setUp()
        self.honest, self.two = self.peer(1), self.peer(2)
        self.random = Random(7)
        self.natives: dict[str, list[NativePeer]] = {}
        self.shared: dict[str, Shared] = {}
        self.addCleanup(self.close_natives)
        self._number = 0

    def close_natives(self) -> None:
        """End every scripted peer."""
        for natives in self.natives.values():
            for native in natives:
                native.close()
        self.natives.clear()

    def content(self, name: str, kinds: Sequence[type[Hostile]]) -> None:
        """A content that the honest peer has, and one peer of each of these kinds."""
        self.shared[name] = shared = Shared(f"{name}.bin", self.random.randbytes(SIZE))
        self.honest.write(shared.name, shared.data)
        self.natives[name] = []
        for kind in kinds:
            self._number += 1
            native = NativePeer(self._number, self.ports, shared, giving=kind)
            self.natives[name].append(native)

    def fetch_all(self) -> None:
        """Fetch every content, by its id, once everybody who says that he has it is known."""
        self.two.start("--no-classic")
        self.honest.start("--no-classic", *HONEST)
        self.two.ready()
        for natives in self.natives.values():
            for native in natives:
                native.announce()
        wait_until(self.all_known, self.unknown, PATIENCE_SECONDS)
        running = {name: self.two.download(shared.id) for name, shared in self.shared.items()}
        for name, download in running.items():
            self.assert_right(name, download)
        self.assertTrue(self.two.running.alive)
        self.assertLess(peak_mebibytes(self.two), MOST_MEBIBYTES)

    def all_known(self) -> bool:
        """Whether everybody who has one of the contents is known to peer 2."""
        return not self.missing()

    def missing(self) -> list[str]:
        """The contents that not everybody who has them is known to have."""
        found = {told["id"]: len(told["peers"]) for told in self.two.ask("GET", "/api/contents")}
        return [
            name
            for name, shared in self.shared.items()
            if found.get(shared.id, 0) != 1 + len(self.natives[name])
        ]

    def unknown(self) -> str:
        """What all waited for."""
        return f"holders of {self.missing()}\n{self.two.running.describe()}"

    def assert_right(self, name: str, download: Download) -> None:
        """It comes to its end, and is what it should be."""
        status = download.wait(PATIENCE_SECONDS)
        shared = self.shared[name]
        self.assertTrue(status.verified)
        self.assert_fetched(self.two, shared.name, shared.data)
        for native in self.natives[name]:
            self.assertGreater(native.counts.connections, 0, f"{name} was not dialled")

    def assert_charged(self, kind: type[Hostile], native: NativePeer, shared: Shared) -> None:
        """The log says of it what it must, and not that it gave what it did not."""
        reasons = {why for where, _, why in self.two.failures() if where == native.address}
        if kind.harmless:
            self.assertEqual(reasons, set(), kind.__name__)
        elif kind.reasons:
            self.assertTrue(reasons & kind.reasons, f"{kind.__name__}: {reasons}")
        if "wrong-bytes" in kind.reasons:
            asked = native.counts.joined.count(shared.id)
            self.assertEqual(asked, 1, f"{kind.__name__} was asked again for this content")

    def test_alone(self) -> None:
        """Each kind beside the honest peer."""
        kinds = [kind for kind in KINDS if kind.__name__ in ONLY or not ONLY]
        for kind in kinds:
            self.content(kind.__name__, (kind,))
        self.fetch_all()
        for kind in kinds:
            (native,) = self.natives[kind.__name__]
            self.assert_charged(kind, native, self.shared[kind.__name__])
        honest = {where for where, _, _ in self.two.failures()} & {self.honest.address}
        self.assertEqual(honest, set(), "the honest peer was charged")

    def pairs(self, shift: int) -> None:
        """Each kind with the one so far behind it in the list, beside the honest peer."""
        for number, kind in enumerate(KINDS):
            other = KINDS[(number + shift) % len(KINDS)]
            self.content(f"{kind.__name__} and {other.__name__}", (kind, other))
        self.fetch_all()
        self.assertNotIn(self.honest.address, {where for where, _, _ in self.two.failures()})

    def test_in_pairs(self) -> None:
        """Each with its neighbour in the list."""
        self.pairs(1)


def _pairs_test(shift: int) -> None:
    def test(self: HostileTests) -> None:
        self.pairs(shift)

    setattr(HostileTests, f"test_in_pairs_{shift}", test)


if EVERY_PAIR:
    for _shift in range(2, len(KINDS) // 2 + 1):
        _pairs_test(_shift)
