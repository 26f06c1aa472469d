"""kill -9 at random moments of a verified download and of an upload: what was there is kept.

`PEERSHARE_KILLS` is how many moments are tried (`make kills` tries 50), `PEERSHARE_KILLS_SEED`
picks them.  What counts as kept is looked up in the part file itself, right after the kill.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random

from peershare.content.blocks import block_range
from peershare.status import DownloadState
from tests.integration.giving import Giving, Shared
from tests.integration.native import NativePeer
from tests.integration.peers import Download, Peer, PeersTestCase
from tests.lab.processes import wait_until

KILLS = int(os.environ.get("PEERSHARE_KILLS", "4"))
SEED = int(os.environ.get("PEERSHARE_KILLS_SEED", "1"))
# The whole battery is over a 256 MiB file; a few kills are as good over less.
SIZE = (256 << 20) + 12_345 if KILLS > 10 else (48 << 20) + 12_345
# A download lasts about so long, not counting restarts.
SECONDS = 5.0
# The moment of a kill, after the start of the process or after the first block.
FIRST_SECONDS, LAST_SECONDS, MOVING_SECONDS = 0.2, 2.0, 1.0
# What one session may be asked for at once.
WINDOW_BLOCKS = 64
NAME = "forest.bin"
PATIENCE_SECONDS = 60.0


class Steady(Giving):
    """Gives the whole file in `SECONDS`."""

    rate = SIZE / SECONDS


class KillsTestCase(PeersTestCase):
    timeout = 60 * KILLS

    def setUp(self) -> None:
        super().setUp()
        self.random = Random(SEED)
        mebibyte = self.random.randbytes(1 << 20)
        whole, rest = divmod(SIZE, len(mebibyte))
        pieces = (number.to_bytes(8, "big") + mebibyte[8:] for number in range(whole))
        self.shared = Shared(NAME, b"".join(pieces) + mebibyte[:rest])
        self.report: list[str] = []

    def moment(self, moves: Callable[[], object]) -> None:
        """Let a random time pass: since the start, or oftener since blocks began to come."""
        if self.random.random() < 0.3:
            time.sleep(self.random.uniform(FIRST_SECONDS, LAST_SECONDS))
        else:
            wait_until(moves, "blocks to come", PATIENCE_SECONDS)
            time.sleep(self.random.uniform(0.0, MOVING_SECONDS))

    def parts(self, peer: Peer) -> list[Path]:
        """The part files that lie there."""
        return list((peer.share / ".peershare").glob("*.part"))

    def kept(self, peer: Peer) -> set[int]:
        """The blocks that lie in the part file and are right."""
        found: set[int] = set()
        for part in self.parts(peer):
            with part.open("rb") as file:
                for index in range(self.shared.count):
                    where = block_range(index, SIZE)
                    file.seek(where.start)
                    if file.read(where.length) == self.shared.block(index):
                        found.add(index)
        return found

    def check_final(self, peer: Peer) -> bool:
        """Whether the file has its final name; then it has to be the file."""
        path = peer.share / NAME
        if not path.exists():
            return False
        self.assertTrue(path.read_bytes() == self.shared.data, f"{path} is not the file")
        return True

    def settled(self, peer: Peer) -> None:
        """The download comes to its end, and the file is right."""
        wait_until(
            lambda: (peer.share / NAME).exists(),
            lambda: f"the end\n{peer.downloads()}\n{peer.running.describe()}",
            PATIENCE_SECONDS,
        )
        self.assertTrue(self.check_final(peer))
        wait_until(lambda: not self.parts(peer), "the part file to be gone")


class DownloadTests(KillsTestCase):
    def test_killed(self) -> None:
        """What was in the part file and right is never asked for again, whoever checked it."""
        seed = NativePeer(1, self.ports, self.shared, giving=Steady)
        self.addCleanup(seed.close)
        two = self.peer(2)
        before: set[int] = set()
        wanted, resumed = False, 0
        for number in range(1, KILLS + 1):
            seed.counts.clear()
            two.start()
            if not wanted:
                self.begin(two, seed)
                wanted = True
            self.moment(lambda: seed.counts.given or (two.share / NAME).exists())
            two.kill()
            seed.disconnect()
            resumed += bool(before)
            before = self.check_life(number, two, seed, before)
            if self.check_final(two):
                (two.share / NAME).unlink()
                before, wanted = set(), False
        self.assertGreater(resumed, 0, "no kill came when there was something to lose")
        seed.counts.clear()
        two.start()
        if not wanted:
            self.begin(two, seed)
        self.settled(two)
        asked = Counter({index: n for (_, index), n in seed.counts.asked.items()})
        self.assertEqual(asked, Counter(set(range(self.shared.count)) - before))
        print("\n".join(self.report))

    def begin(self, two: Peer, seed: NativePeer) -> None:
        """Wish for the file, once somebody is known to have it."""
        two.ready()
        seed.announce()
        wait_until(lambda: self.shared.id in str(two.ask("GET", "/api/contents")), two.log)
        two.download(NAME)

    def check_life(self, number: int, two: Peer, seed: NativePeer, before: set[int]) -> set[int]:
        """What was asked for between a start and a kill; what is kept now."""
        final = self.check_final(two)
        now = set(range(self.shared.count)) if final else self.kept(two)
        with seed.counts.lock:
            asked = {index for _, index in seed.counts.asked}
            given = {index for _, index in seed.counts.given}
        again = asked & before
        self.assertEqual(again, set(), f"kill {number}: asked for again though they were there")
        self.assertLessEqual(before, now, f"kill {number}: were there and are gone")
        lost = given - now
        self.assertLessEqual(len(lost), WINDOW_BLOCKS, f"kill {number}")
        self.report.append(
            f"kill {number}: {len(before)} blocks were there, {len(given)} given,"
            f" {len(now)} there, {len(lost)} lost of {self.shared.count}"
        )
        return now


class UploadTests(KillsTestCase):
    @staticmethod
    def moves(running: Download, came: int) -> bool:
        """Whether more than so much is there."""
        status = running.status
        return status.received > came or status.state is DownloadState.DONE

    def test_killed(self) -> None:
        """The downloader goes on with what it has each time; in the end the file is right."""
        one, two = self.peer(1), self.peer(2)
        one.write(NAME, self.shared.data)
        two.start()
        two.ready()
        wanted, fetched, came = False, 0, 0
        for _ in range(KILLS):
            one.start("--upload-limit", f"{int(SIZE / SECONDS / 1_000)}k")
            one.ready()
            if not wanted:
                wait_until(
                    lambda: self.shared.id in str(two.ask("GET", "/api/contents")), two.log, 30.0
                )
                running = two.download(NAME)
                wanted, came = True, 0
            self.moment(partial(self.moves, running, came))
            came = running.status.received
            one.kill()
            if self.check_final(two):
                fetched += 1
                (two.share / NAME).unlink()
                wanted = False
        one.start()
        if wanted:
            self.settled(two)
            fetched += 1
        (took,) = [peer["given"] for peer in two.ask("GET", "/api/peers")]
        # of what was asked for, one block at a time is coming
        limit = fetched * SIZE + KILLS * self.shared.manifest.block_size
        self.report.append(f"{took:,} bytes came, {limit:,} may, for {fetched} x {SIZE:,}")
        print("\n".join(self.report))
        self.assertGreaterEqual(took, fetched * SIZE)
        self.assertLessEqual(took, limit)
        self.assertEqual({address for address, _, _ in two.failures()} - {one.address}, set())
