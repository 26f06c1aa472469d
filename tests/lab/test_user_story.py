"""Five peershare peers in five namespaces: the user's whole story, with real broadcast."""

from __future__ import annotations

from peershare.content.manifest import manifest_of
from tests.lab.peers import PeershareHost, received
from tests.lab.processes import wait_until
from tests.lab.story import LabTestCase, picture

FOREST = [f"forest_{number}" for number in range(1, 6)]
DATA = picture(1_500_003)
MANIFEST = manifest_of(DATA)


class UserStoryTests(LabTestCase):
    """As every user has it: the peers hear each other, and every block is checked."""

    def test_share_list_download_fail_over_and_pass_on(self) -> None:
        """One shares; the others see it, fetch it, lose it in mid-download and still get it."""
        one = self.peershare(1, "--upload-limit", "600k", forest_png=DATA)
        two = self.peershare(2, "--upload-limit", "600k")
        three, four, five = (self.peershare(number) for number in (3, 4, 5))
        self.ready()
        for peer in (two, three, four, five):
            peer.wait_to_find(MANIFEST.content_id)
            self.sees_forest(peer)
        self.got(two, two.get("forest"), "forest.png", DATA)
        self.came_verified(two, {one})
        wait_until(lambda: one.uploads(), "what was given to be written down")
        self.assertEqual({line.address for line in one.uploads()}, {two.address})
        self.assertEqual(sum(line.size for line in one.uploads()), len(DATA))
        three.wait_to_find(MANIFEST.content_id, 2)
        self.one_is_lost_while_three_downloads(one, two, three)
        four.wait_to_find(MANIFEST.content_id, 2)
        four.wait_to_know(three.address, "forest")
        self.assertEqual(
            four.dictionary(), {name: [p.address for p in (one, two, three)] for name in FOREST}
        )
        self.got(four, four.get("forest"), "forest.png", DATA)
        self.came_verified(four, {two, three})
        self.assertLessEqual({line.address for line in four.downloads(ok=False)}, {one.address})
        self.network.pull_cable(2)
        self.got(five, five.get("forest.png"), "forest.png", DATA)
        self.came_verified(five, {three, four})
        self.all_is_well()

    def one_is_lost_while_three_downloads(
        self, one: PeershareHost, two: PeershareHost, three: PeershareHost
    ) -> None:
        """Both give; the first one dies, the other one has what is missing."""
        download = three.get("forest.png")
        self.meanwhile(download, lambda: received(download) > 400_000)
        one.kill()
        self.got(three, download, "forest.png", DATA)
        self.came_verified(three, {one, two})
        self.assertIn(two.address, {line.address for line in three.downloads()})
        self.assertEqual({line.address for line in three.downloads(ok=False)}, {one.address})

    def sees_forest(self, peer: PeershareHost) -> None:
        """The client's list has the content, whole, with its size and id."""
        (listed,) = peer.listed()
        self.assertEqual((listed["name"], listed["size"]), ("forest.png", len(DATA)))
        self.assertTrue(listed["complete"], listed)

    def came_verified(self, peer: PeershareHost, sources: set[PeershareHost]) -> None:
        """The download log has every block, once and checked, from no others than these."""
        lines = peer.downloads()
        self.assertEqual(sum(line.verified_blocks for line in lines), MANIFEST.block_count, lines)
        self.assertEqual(sum(line.size for line in lines), len(DATA))
        given = {line.address for line in lines}
        self.assertLessEqual(given, {source.address for source in sources})
        wait_until(
            lambda: given <= {one.target for one in self.streams() if one.source == peer.address},
            "the connections to be recorded",
        )


class ClassicUserStoryTests(LabTestCase):
    """The same where no peer hears the beacons of another: all of it by the classic protocol."""

    def test_share_list_download_fail_over_and_pass_on(self) -> None:
        """One shares; the others see it, fetch it, lose it in mid-download and still get it."""
        one = self.peershare(1, "--upload-limit", "1M", native=False, forest_png=DATA)
        two, three, four, five = (self.peershare(n, native=False) for n in range(2, 6))
        self.ready()
        for peer in (two, three, four, five):
            peer.wait_to_know(one.address, "forest")
            self.sees_forest(peer)
        self.got(two, two.get("forest"), "forest.png", DATA)
        self.came_in_order(two, [one.address] * 5)
        self.assertEqual([line.chunk for line in one.uploads()], FOREST)
        self.assertEqual({line.address for line in one.uploads()}, {two.address})
        three.wait_to_know(two.address, "forest")
        self.one_is_lost_while_three_downloads(one, two, three)
        four.wait_to_know(three.address, "forest")
        self.assertEqual(
            four.dictionary(), {name: [p.address for p in (one, two, three)] for name in FOREST}
        )
        self.got(four, four.get("forest"), "forest.png", DATA)
        self.came_in_order(four, [two.address] * 5)
        self.assertEqual({line.address for line in four.downloads(ok=False)}, {one.address})
        self.network.pull_cable(2)
        self.got(five, five.get("forest.png"), "forest.png", DATA)
        self.came_in_order(five, [three.address] * 5)
        self.all_is_well()

    def one_is_lost_while_three_downloads(
        self, one: PeershareHost, two: PeershareHost, three: PeershareHost
    ) -> None:
        """The first source dies behind the first chunk; the second has what is missing."""
        download = three.get("forest.png")
        self.meanwhile(download, three.downloads)
        one.kill()
        self.got(three, download, "forest.png", DATA)
        self.assertEqual([line.chunk for line in three.downloads()], FOREST)
        sources = [line.address for line in three.downloads()]
        self.assertEqual((sources[0], sources[-1]), (one.address, two.address))
        self.assertEqual({line.address for line in three.downloads(ok=False)}, {one.address})
        self.assertIn(three.address, {line.address for line in two.uploads()})

    def sees_forest(self, peer: PeershareHost) -> None:
        """The client's list has the content, whole."""
        listed = {content["name"]: content for content in peer.listed()}
        self.assertTrue(listed["forest"]["complete"], listed)

    def came_in_order(self, peer: PeershareHost, sources: list[str]) -> None:
        """The download log has the five chunks in order, with their sources."""
        self.assertEqual([line.chunk for line in peer.downloads()], FOREST)
        self.assertEqual([line.address for line in peer.downloads()], sources)


class NewcomerTests(LabTestCase):
    hosts = 3

    def test_a_classic_newcomer_knows_the_network_at_once(self) -> None:
        """It announces itself, and in under half a second it has heard everybody."""
        one = self.peershare(1, forest_png=picture(10_000))
        two = self.peershare(2, bee_png=picture(10_000))
        self.ready()
        one.wait_to_know(two.address, "bee")
        two.wait_to_know(one.address, "forest")
        self.wait_for_silence(10.5)  # they heard each other: the next answer is 10 s off
        newcomer = self.classic(3, "oak_{}", picture(5_000))
        listener = newcomer.listen("--buffer", "1024")
        told_at = _time_of(newcomer.announce().wait_for_line(" told "))
        for peer in (one, two):
            heard_at = _time_of(listener.wait_for_line(f" {peer.address} :"))
            self.assertLess(heard_at - told_at, 0.5, peer.address)
            peer.wait_to_know(newcomer.address, "oak")
        self.all_is_well()


def _time_of(line: str) -> float:
    """The time that a line of a classic peer begins with."""
    return float(line.split()[0])
