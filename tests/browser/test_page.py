"""What people do with the page, from the first look to the shared file."""

from __future__ import annotations

import time

from peershare.status import DownloadState
from tests.browser.chromium import ARROW_DOWN, ENTER
from tests.browser.pages import CARD, PageTestCase
from tests.integration.peers import picture
from tests.lab.processes import wait_until

FOREST, BEE = picture(6_000_000, 1), picture(3_000_000, 2)
SLOW = ("--upload-limit", "1m")
# What the canvas shows, by how many pixels have a colour.
COLOURS = """
const canvas = document.querySelector(".card .map");
const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
const seen = new Set();
for (let at = 0; at < data.length; at += 4) {
  seen.add(`${data[at]},${data[at + 1]},${data[at + 2]},${data[at + 3]}`);
}
return seen.size;
"""


class PageTests(PageTestCase):
    def test_download(self) -> None:
        """A content appears, a click fetches it, its map fills, its end is said and logged."""
        two = self.start(2).ready()
        browser = self.open(two)
        browser.wait_for_text("#nobody", "Nothing yet")
        self.start(1, *SLOW, forest_png=FOREST)
        self.wait_to_see("forest.png")
        row = browser.text("#rows [role=row]")
        self.assertIn("6.0 MB", row)
        self.assertIn("verified", row)
        self.get("forest.png")
        label = 'return document.querySelector(".card .map").getAttribute("aria-label")'
        browser.wait_for(lambda: "from 127.0.1.1" in browser.run(label), "a block from peer 1")
        self.assertIn("missing", browser.run(label))
        self.assertGreaterEqual(browser.run(COLOURS), 3)
        self.assertIn("127.0.1.1", browser.text(f"{CARD} .legend button"))
        browser.wait_for_text(f"{CARD} .line", "left")
        browser.wait_for_text(f"{CARD} .chip", "Done")
        browser.wait_for(lambda: "0 missing" in browser.run(label), "the whole map")
        self.assertIn("from 127.0.1.1", browser.text(f"{CARD} .line"))
        self.assert_fetched(two, "forest.png", FOREST)
        browser.wait_for_text("#rows .state", "here")
        self.show("history")
        browser.wait_for_text("#history-table tbody", "127.0.1.1")
        self.show("peers")
        browser.wait_for_text("#peers-table tbody", "6.0 MB")
        hosts = (
            "return performance.getEntriesByType('resource').map((one) => new URL(one.name).host)"
        )
        self.assertEqual({*browser.run(hosts)}, {browser.run("return location.host")})
        self.assertEqual(browser.problems(), [])

    def test_pause(self) -> None:
        """Paused, nothing comes; resumed, it goes on; cancelled, it is no more."""
        self.start(1, *SLOW, forest_png=FOREST)
        two = self.start(2).ready()
        browser = self.open(two)
        self.wait_to_see("forest.png")
        self.get("forest.png")
        browser.wait_for(lambda: two.downloads()[0].received > 500_000, "some of it")
        browser.click(f'{CARD} button[aria-label="Pause forest.png"]')
        browser.wait_for_text(f"{CARD} .chip", "Paused")
        self.assertEqual(two.downloads()[0].state, DownloadState.PAUSED)
        received = two.downloads()[0].received
        time.sleep(1.0)
        self.assertEqual(two.downloads()[0].received, received)
        focus = 'return document.activeElement.getAttribute("aria-label")'
        self.assertEqual(browser.run(focus), "Resume forest.png")
        browser.click(f'{CARD} button[aria-label="Resume forest.png"]')
        browser.wait_for_text(f"{CARD} .chip", "Downloading")
        browser.wait_for(lambda: two.downloads()[0].received > received, "more of it")
        browser.click(f'{CARD} button[aria-label="Cancel forest.png"]')
        browser.wait_for_text(f"{CARD} .chip", "Cancelled")
        self.assertEqual(two.downloads()[0].state, DownloadState.STOPPED)
        self.assertEqual(browser.problems(), [])

    def test_search(self) -> None:
        """The list follows what is typed, and the chosen order; Enter gets the active row."""
        files = {f"track{number}_mp3": picture(1000 * number, number) for number in (1, 2, 10)}
        self.start(1, forest_png=FOREST, **files)
        browser = self.open(self.start(2).ready())
        browser.wait_for_text("#found", "4 files")
        self.wait_for_names("forest.png", "track1.mp3", "track2.mp3", "track10.mp3")
        browser.keys("/")
        browser.keys("rack 1")
        browser.wait_for_text("#found", "2 of 4 files")
        self.wait_for_names("track1.mp3", "track10.mp3")
        browser.click("#grid [data-order=size]")
        self.wait_for_names("track10.mp3", "track1.mp3")
        sorted_by = '[role=columnheader][aria-sort="descending"]'
        self.assertIn("Size", browser.text(sorted_by))
        browser.type("#search", "nothing of that name")
        browser.wait_for_text("#nothing", "No name fits")
        browser.type("#search", "track2")
        browser.wait_for_text("#found", "1 of 4")
        browser.keys(ARROW_DOWN, ENTER)
        browser.wait_for_text(f"{CARD} .chip", "Done")
        self.assertEqual(browser.problems(), [])

    def wait_for_names(self, *names: str) -> None:
        """Wait until these are in the list, in this order."""
        shown = lambda: tuple(self.browser.text("#rows .c-name").split()) == names  # noqa: E731
        self.browser.wait_for(shown, f"{names} in the list")

    def test_drop(self) -> None:
        """A dropped file is shared: the other peer sees it and has the same bytes."""
        one, two = self.start(1).ready(), self.start(2).ready()
        browser = self.open(two)
        text = "The bees are well.\n" * 500
        browser.drop("bees.txt", text)
        browser.wait_for_text("#notices", "bees.txt is shared")
        self.wait_to_see("bees.txt")
        self.wait_to_find(one, text.encode())
        one.download("bees.txt").wait()
        self.assert_fetched(one, "bees.txt", text.encode())
        browser.drop("..", "no name for a file")
        browser.wait_for_text("#alerts", "..")
        self.assertEqual(sorted(path.name for path in two.share.glob("[!.]*")), ["bees.txt"])

    def test_share_path(self) -> None:
        """A file of this machine is shared by its path; what is no path is said beside it."""
        two = self.start(2).ready()
        browser = self.open(two)
        elsewhere = self.folder / "elsewhere.png"
        elsewhere.write_bytes(BEE)
        browser.click("#share-open")
        browser.type("#share-path", "elsewhere.png")
        browser.click("#share-form [type=submit]")
        browser.wait_for_text("#share-problem", "whole path")
        browser.type("#share-path", str(elsewhere))
        browser.click("#share-form [type=submit]")
        browser.wait_for_text("#notices", "elsewhere.png")
        self.wait_to_see("elsewhere.png")
        self.assertEqual((two.share / "elsewhere.png").read_bytes(), BEE)
        self.assertEqual(browser.problems(), [])

    def test_limits(self) -> None:
        """A limit is changed while a download runs, which then takes longer."""
        self.start(1, forest_png=FOREST)
        two = self.start(2).ready()
        browser = self.open(two, "node")
        browser.type("#limit-download", "fast")
        browser.wait_for_text("#limits-problem", "bytes per second")
        browser.type("#limit-download", "500k")
        browser.click("#limits-form [type=submit]")
        browser.wait_for_text("#limits-now", "download 500 kB/s")
        wait_until(lambda: two.node().download_limit == 500_000, "the limit")
        self.wait_to_find(two, FOREST)
        download = two.download("forest.png")
        begun = download.wait_until_moving().received
        time.sleep(2.0)
        self.assertLess(download.status.received - begun, 2_000_000)
        browser.type("#limit-download", "")
        browser.click("#limits-form [type=submit]")
        browser.wait_for_text("#limits-now", "no limits")
        download.wait()
        self.assertEqual(browser.problems(), [])
