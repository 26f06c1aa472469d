"""Peershare and classic peers as each other's second source, when the first one dies."""

from __future__ import annotations

from tests.lab.peers import PeershareHost
from tests.lab.processes import LabProcess, wait_until
from tests.lab.story import LabTestCase, picture

FOREST = picture(400_004)
NAMES = [f"forest_{number}" for number in range(1, 6)]


class SecondSourceTests(LabTestCase):
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
        other = self.peershare(3, forest_png=FOREST)
        one.wait_to_know(other.address, "forest")
        watcher = self.classic(4)
        watcher.listen()
        download = one.get("forest")
        self.meanwhile(download, lambda: one.address in watcher.known("forest_1"))
        host.lose(uploader)
        self.finished(one, download, host.address, other.address)
        self.all_is_well()

    def test_a_peershare_peer_dies_and_a_classic_one_goes_on(self) -> None:
        """The service is killed in mid-chunk; what is missing comes from a classic peer."""
        one = self.peershare(1)
        two = self.peershare(2, "--upload-limit", "150k", forest_png=FOREST)
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
