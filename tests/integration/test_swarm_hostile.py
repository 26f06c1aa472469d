"""Hostile native peers of every kind, beside one honest real peer, against a real service.

Each content has peers of its own that misbehave with it, so all downloads run at once: what comes
out is right, who deserves it stands in the download log, the service stays up within bounds.
`PEERSHARE_KILLS` over 10 tries every pair of kinds, not only those of the chief ones, and
neighbours in the list.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from itertools import combinations_with_replacement
from pathlib import Path
from random import Random

from peershare.download.swarm.session import STALLED_SECONDS
from tests.integration.giving import Shared
from tests.integration.hostile import (
    Hostile,
    Late,
    NeverGrants,
    SilentWhenAsked,
    Stalls,
    Trickles,
)
from tests.integration.misframing import CHIEF, KINDS
from tests.integration.native import NativePeer
from tests.integration.peers import Download, Peer, PeersTestCase
from tests.lab.processes import read_text, wait_until

SIZE = 24 * 65_536 + 321
# What keeps the honest peer busy, so that everybody else is asked in time.
BUSY_SIZE = 4 * SIZE
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
        self.kinds: dict[str, Sequence[type[Hostile]]] = {}
        self.shared: dict[str, Shared] = {}
        self.addCleanup(self.close_natives)
        self._number = 0

    def close_natives(self) -> None:
        """End every scripted peer."""
        for natives in self.natives.values():
            for native in natives:
                native.close()
        self.natives.clear()

    def content(self, name: str, kinds: Sequence[type[Hostile]], size: int = SIZE) -> None:
        """A content that the honest peer has, and one peer of each of these kinds."""
        self.shared[name] = shared = Shared(f"{name}.bin", self.random.randbytes(size))
        self.honest.write(shared.name, shared.data)
        self.natives[name], self.kinds[name] = [], kinds
        for kind in kinds:
            self._number += 1
            # Equal catalogues are fetched once; everybody is to be asked for this one.
            own = Shared(f"of {self._number}.bin", self._number.to_bytes(8, "big"))
            native = NativePeer(self._number, self.ports, shared, own, giving=kind)
            self.natives[name].append(native)

    def fetch_all(self) -> float:
        """Fetch every content, by its id, once everybody who says that he has it is known.

        How many seconds that took.
        """
        self.content("busy", (), BUSY_SIZE)
        self.two.start("--no-classic")
        self.honest.start("--no-classic", *HONEST)
        self.two.ready()
        for natives in self.natives.values():
            for native in natives:
                native.announce()
        wait_until(self.all_known, self.unknown, PATIENCE_SECONDS)
        begun = time.monotonic()
        names = sorted(self.shared, key=lambda name: name != "busy")
        running = {name: self.two.download(self.shared[name].id) for name in names}
        for name, download in running.items():
            self.assert_right(name, download)
        took = time.monotonic() - begun
        self.assertTrue(self.two.running.alive)
        self.assertLess(peak_mebibytes(self.two), MOST_MEBIBYTES)
        return took

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

    def assert_charged(self, kind: type[Hostile], native: NativePeer, shared: Shared) -> None:
        """It was asked, and the log says of it what it must, and not that it was at fault else."""
        counts = native.counts
        if not issubclass(kind, Late):
            asked = {*counts.joined, *(content for content, _ in counts.asked)}
            self.assertEqual(asked, {shared.id}, f"{kind.__name__} was not asked")
        if not kind.reasons and not kind.harmless:
            self.assertGreater(counts.misdeeds, 0, f"{kind.__name__} was not put to the test")
        reasons = {why for where, _, why in self.two.failures() if where == native.address}
        if kind.harmless:
            self.assertEqual(reasons, set(), kind.__name__)
        elif kind.reasons:
            self.assertTrue(reasons & kind.reasons, f"{kind.__name__}: {reasons}")
        if "wrong-bytes" in kind.reasons:
            asked = max(counts.joined.count(shared.id), kind.told_size is not None)
            self.assertEqual(asked, 1, f"{kind.__name__} was asked again for this content")

    def assert_all_charged(self) -> None:
        """Everybody who deserves it, and the honest peer not."""
        for name, natives in self.natives.items():
            for kind, native in zip(self.kinds[name], natives, strict=True):
                self.assert_charged(kind, native, self.shared[name])
        self.assertNotIn(self.honest.address, {where for where, _, _ in self.two.failures()})

    def test_alone(self) -> None:
        """Each kind beside the honest peer."""
        kinds = [kind for kind in KINDS if kind.__name__ in ONLY or not ONLY]
        for kind in kinds:
            self.content(kind.__name__, (kind,))
        self.fetch_all()
        self.assert_all_charged()

    def test_slow_alone(self) -> None:
        """Nobody waits for those who are slow: it is over before they could be given up."""
        for kind in (Stalls, SilentWhenAsked, Trickles, NeverGrants):
            self.content(kind.__name__, (kind,))
        self.assertLess(self.fetch_all(), STALLED_SECONDS - 3.0)
        self.assert_all_charged()

    def test_chief_pairs(self) -> None:
        """Every pair of the chief kinds, each with its like too, beside the honest peer."""
        for kind, other in combinations_with_replacement(CHIEF, 2):
            self.content(f"{kind.__name__} and {other.__name__}", (kind, other))
        self.fetch_all()
        self.assert_all_charged()

    def pairs(self, shift: int) -> None:
        """Each kind with the one so far behind it in the list, beside the honest peer."""
        for number, kind in enumerate(KINDS):
            other = KINDS[(number + shift) % len(KINDS)]
            self.content(f"{kind.__name__} and {other.__name__}", (kind, other))
        self.fetch_all()
        self.assert_all_charged()

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
