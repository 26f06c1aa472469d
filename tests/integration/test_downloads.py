"""Classic downloads between real services: from one peer, passed on, side by side."""

from __future__ import annotations

import json
import stat

from tests.integration.peers import ClassicPeersTestCase, picture
from tests.lab.processes import wait_until

FOREST, BEE = picture(1_000_003, 1), picture(40_000, 2)


class DownloadTests(ClassicPeersTestCase):
    def test_from_one(self) -> None:
        """Every byte, the extension from the content, a line for each chunk on both sides."""
        one = self.start(1, forest_png=FOREST)
        two = self.start(2)
        two.wait_to_know(one.address, "forest")
        status = two.download("forest").wait()
        self.assert_fetched(two, "forest.png", FOREST)
        self.assertEqual(status.path, str(two.share / "forest.png"))
        self.assertFalse(status.verified)
        chunks = [f"forest_{number}" for number in range(1, 6)]
        self.assertEqual([line.chunk for line in two.history("download")], chunks)
        self.assertEqual({line.result for line in two.history("download")}, {"ok unverified"})
        wait_until(lambda: one.gave() == chunks, lambda: str(one.history("upload")))
        self.assertEqual({line.address for line in one.history("upload")}, {two.address})
        self.assertEqual(sum(line.bytes for line in one.history("upload")), len(FOREST))

    def test_a_peer_that_announces_itself_knows_the_network(self) -> None:
        """Long before the next interval, and what it hears is in its text file."""
        one = self.start(1, "--announce-interval", "60", forest_png=FOREST)
        two = self.start(2, "--announce-interval", "60", bee_png=BEE)
        two.wait_to_know(one.address, "forest")
        one.wait_to_know(two.address, "bee")
        text = (two.state / "content_dictionary.txt").read_text()
        self.assertEqual(json.loads(text)["forest_1"], [one.address])

    def test_passed_on(self) -> None:
        """What was downloaded is served on when the first one is gone."""
        one = self.start(1, forest_png=FOREST)
        two = self.start(2)
        two.wait_to_know(one.address, "forest")
        two.download("forest").wait()
        one.stop()
        three = self.start(3)
        three.wait_to_know(two.address, "forest")
        three.download("forest.png").wait()
        self.assert_fetched(three, "forest.png", FOREST)
        self.assertEqual({line.address for line in three.history("download")}, {two.address})

    def test_passed_on_while_it_is_still_arriving(self) -> None:
        """A third one gets the first chunks from the second, which has not all five yet."""
        one = self.start(1, "--upload-limit", "150k", forest_png=FOREST)
        two, three = self.start(2), self.start(3)
        two.wait_to_know(one.address, "forest")
        three.ready()
        running = two.download("forest")
        running.wait_until_moving(210_000)
        wait_until(
            lambda: two.address in three.dictionary().get("forest_1", ()),
            lambda: str(three.dictionary()),
        )
        running.wait_until_moving()
        one.kill()
        later = three.download("forest")
        later.wait_for(lambda status: status.given.get(two.address, 0) >= 200_000)
        self.assertNotIn("forest_5", two.gave())

    def test_side_by_side(self) -> None:
        """Several names at once, into the share folder and elsewhere."""
        one = self.start(1, forest_png=FOREST, bee_png=BEE)
        two = self.start(2)
        two.wait_to_know(one.address, "forest", "bee")
        elsewhere = two.folder / "elsewhere"
        running = [two.download("forest"), two.download("bee"), two.download("bee", elsewhere)]
        for download in running:
            download.wait()
        self.assert_fetched(two, "forest.png", FOREST)
        self.assert_fetched(two, "bee.png", BEE)
        self.assertEqual((elsewhere / "bee.png").read_bytes(), BEE)

    def test_a_name_that_nobody_has_yet(self) -> None:
        """It waits, and starts when somebody comes who has it."""
        two = self.start(2)
        running = two.download("forest")
        self.assertEqual(running.status.state, "searching")
        self.start(1, forest_png=FOREST)
        running.wait()
        self.assert_fetched(two, "forest.png", FOREST)

    def test_new_changed_and_removed_files(self) -> None:
        """Each is noticed and told within moments."""
        one, two = self.start(1), self.start(2)
        one.write("forest.png", FOREST)
        two.wait_to_know(one.address, "forest")
        wait_until(lambda: one.node().files == 1, "one file")
        one.write("forest.png", BEE)
        two.wait_to_know(one.address, "forest")
        sizes = [len(BEE)]
        wait_until(lambda: [c["size"] for c in one.ask("GET", "/api/contents")] == sizes, "it")
        two.download("forest").wait()
        self.assert_fetched(two, "forest.png", BEE)
        (one.share / "forest.png").unlink()
        wait_until(lambda: one.node().files == 0, "no file any more")

    def test_never_over_a_file_of_the_user(self) -> None:
        """A different file of that name stays; the download becomes (2)."""
        one = self.start(1, forest_png=FOREST)
        two = self.start(2, forest_png=BEE)
        two.wait_to_know(one.address, "forest")
        status = two.download("forest.png").wait()
        self.assertEqual(status.path, str(two.share / "forest (2).png"))
        self.assertEqual((two.share / "forest.png").read_bytes(), BEE)
        self.assertEqual((two.share / "forest (2).png").read_bytes(), FOREST)

    def test_private_files(self) -> None:
        """The state folder and what is in it are the user's alone."""
        one = self.start(1, forest_png=FOREST)
        two = self.start(2)
        two.wait_to_know(one.address, "forest")
        two.download("forest").wait()
        for path in (two.state, *two.state.iterdir()):
            self.assertEqual(stat.S_IMODE(path.stat().st_mode) & 0o077, 0, path.name)
