"""Peershare and classic peers as each other's second source, when the first one dies.

Where peershare gives natively it is the first one, and the classic chunks fill what is missing.
"""

from __future__ import annotations

import json

from peershare.content.manifest import manifest_of
from tests.lab.classic_hosts import ClassicHost
from tests.lab.peers import PeershareHost, received, told
from tests.lab.processes import LabProcess, wait_until
from tests.lab.story import LabTestCase, picture

FOREST = picture(400_004)
NAMES = [f"forest_{number}" for number in range(1, 6)]
LARGE = picture(2_000_003)
MANIFEST = manifest_of(LARGE)
EXIT_AMBIGUOUS = 4


class SecondSourceTests(LabTestCase):
    """By the classic protocol: no peershare peer hears the beacons of another."""

    hosts = 4

    def test_a_classic_peer_dies_and_peershare_goes_on(self) -> None:
        """The classic uploader is killed in mid-chunk; what is missing comes from peershare.

        Meanwhile others hear of each chunk that has arrived, before the file is whole.
        """
        one = self.peershare(1)
        self.ready()
        host = self.classic(2, "forest.png_{}", FOREST)
        uploader = host.upload("--rate", "150000")
        host.announce()
        wait_until(lambda: host.address in str(one.dictionary()), "the classic peer")
        other = self.peershare(3, native=False, forest_png=FOREST)
        one.wait_to_know(other.address, "forest")
        watcher = self.classic(4)
        watcher.listen()
        # without the extension these are two names, which may be two files
        download = one.get("forest.png")
        self.meanwhile(download, lambda: one.address in watcher.known("forest_1"))
        host.lose(uploader)
        self.finished(one, download, host.address, other.address)
        self.all_is_well()

    def test_a_peershare_peer_dies_and_a_classic_one_goes_on(self) -> None:
        """The service is killed in mid-chunk; what is missing comes from a classic peer."""
        one = self.peershare(1)
        two = self.peershare(2, "--upload-limit", "150k", native=False, forest_png=FOREST)
        self.ready()
        one.wait_to_know(two.address, "forest")
        host = self.classic(3, "forest_{}", FOREST)
        host.upload()
        host.announce()
        one.wait_to_know(host.address, "forest")
        download = one.get("forest")
        self.meanwhile(download, one.downloads)
        two.kill()
        self.finished(one, download, two.address, host.address)
        self.all_is_well()

    def test_peershare_is_the_second_source_of_a_classic_client(self) -> None:
        """The first address of its dictionary is dead: it goes on to ours."""
        host = self.classic(1, "forest_{}", FOREST)
        client = self.classic(2)
        client.listen()
        announcer = host.announce()
        wait_until(lambda: client.told("forest_5"), "the classic peer")
        two = self.peershare(3, forest_png=FOREST)
        wait_until(lambda: two.address in client.known("forest_5"), "the peershare peer")
        host.lose(announcer)
        self.fetched(client, client.fetch("forest_{}"), "forest_{}", FOREST)
        self.assertEqual([line.chunk for line in two.uploads()], NAMES)
        self.all_is_well()

    def finished(self, peer: PeershareHost, download: LabProcess, first: str, second: str) -> None:
        """All bytes are there; the first source gave the beginning, the second the rest."""
        self.got(peer, download, "forest.png", FOREST)
        lines = peer.downloads()
        self.assertEqual([line.chunk[-2:] for line in lines], [name[-2:] for name in NAMES])
        sources = [line.address for line in lines]
        self.assertEqual(sources, sorted(sources, key=[first, second].index))
        self.assertEqual({*sources}, {first, second})
        self.assertEqual({line.address for line in peer.downloads(ok=False)}, {first})


class VerifiedTests(LabTestCase):
    """The id is known: whoever gives, and by whichever protocol, every block is checked."""

    hosts = 4

    def classic_source(self, number: int, *flags: str) -> tuple[ClassicHost, LabProcess]:
        """A classic peer with the whole of it, not announced yet; and its uploader."""
        host = self.classic(number, "forest_{}", LARGE)
        return host, host.upload(*flags)

    def begun_natively(self, number: int) -> tuple[PeershareHost, PeershareHost, LabProcess]:
        """Host 1 fetches from a slow native peer, and has some of it."""
        one = self.peershare(1)
        two = self.peershare(number, "--upload-limit", "500k", forest_png=LARGE)
        self.ready()
        one.wait_to_find(MANIFEST.content_id)
        for host in self.classics:
            host.announce()
            one.wait_to_know(host.address, "forest")
        download = one.get(MANIFEST.content_id)  # by its name it may be what the classic one has
        self.meanwhile(download, lambda: received(download) > 600_000)
        return one, two, download

    def test_a_native_peer_dies_and_a_classic_one_fills_the_rest(self) -> None:
        """Natively as long as that is possible; then chunks, for the blocks that are missing."""
        host, _ = self.classic_source(3)
        one, two, download = self.begun_natively(2)
        self.assertEqual(host.asked(), [], "native peers first")
        two.kill()
        self.verified(one, download)
        blocks = self.blocks(one)
        self.assertEqual(set(blocks), {two.address, host.address})
        self.assertEqual(sum(blocks.values()), MANIFEST.block_count)
        self.assertEqual({line.address for line in one.downloads(ok=False)}, {two.address})
        asked = host.asked()
        self.assertEqual(asked, sorted(set(asked)), "each chunk once")
        self.all_is_well()

    def test_a_classic_peer_dies_while_it_fills_and_a_native_one_comes(self) -> None:
        """The native one dies, the classic one after it: a new native one has the rest."""
        host, uploader = self.classic_source(3, "--rate", "300000")
        other = self.peershare(4)
        one, two, download = self.begun_natively(2)
        two.kill()
        self.meanwhile(download, lambda: len(host.asked()) >= 2)
        host.lose(uploader)
        self.share_now(other)
        self.verified(one, download)
        blocks = self.blocks(one)
        self.assertEqual(set(blocks), {two.address, host.address, other.address})
        self.assertEqual(sum(blocks.values()), MANIFEST.block_count)
        failed = {line.address for line in one.downloads(ok=False)}
        self.assertLessEqual(failed, {two.address, host.address})
        self.all_is_well()

    def test_a_classic_peer_dies_and_a_native_one_comes(self) -> None:
        """What began without an id goes on without one: the name may be another file there.

        Whoever asks again is told of both, and chooses.
        """
        one, other = self.peershare(1), self.peershare(2)
        self.ready()
        host, uploader = self.classic_source(3, "--rate", "400000")
        host.announce()
        one.wait_to_know(host.address, "forest")
        download = one.get("forest")
        self.meanwhile(download, lambda: len(host.asked()) == 3)
        host.lose(uploader)
        self.share_now(other)
        one.wait_to_find(MANIFEST.content_id)
        again = one.get("forest")
        self.assertEqual(again.wait(), EXIT_AMBIGUOUS)
        found = json.loads(again.lines()[-1])["candidates"]
        self.assertEqual({choice["id"] for choice in found}, {MANIFEST.content_id, ""})
        self.assertFalse(told(download)[-1]["verified"])
        chosen = one.get(MANIFEST.content_id)
        self.verified(one, chosen)
        chunks = [line for line in one.downloads() if line.address == host.address]
        self.assertEqual([line.chunk for line in chunks], NAMES[:2])
        self.assertEqual({line.result for line in chunks}, {"ok unverified"})
        self.assertEqual(self.blocks(one), {other.address: MANIFEST.block_count})
        download.kill()

    def share_now(self, peer: PeershareHost) -> None:
        """From now on this peer has it, too."""
        unfinished = self.folder / "unfinished"
        unfinished.write_bytes(LARGE)
        unfinished.rename(peer.share / "forest.png")

    def verified(self, peer: PeershareHost, download: LabProcess) -> None:
        """It came to its end, and is what the id says."""
        self.got(peer, download, "forest.png", LARGE)
        last = told(download)[-1]
        self.assertEqual((last["state"], last["verified"]), ("done", True))
        self.assertEqual(last["content"], MANIFEST.content_id)

    def blocks(self, peer: PeershareHost) -> dict[str, int]:
        """How many blocks, each of them checked, came from each address."""
        found: dict[str, int] = {}
        for line in peer.downloads():
            if line.verified_blocks:
                found[line.address] = found.get(line.address, 0) + line.verified_blocks
        wait_until(
            lambda: (
                set(found) <= {one.target for one in self.streams() if one.source == peer.address}
            ),
            "the connections to be recorded",
        )
        return found
