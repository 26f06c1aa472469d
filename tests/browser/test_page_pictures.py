"""The pictures of the documentation: real peers, a real download, a real page.

Written only where `PEERSHARE_SCREENSHOTS` is set: `PEERSHARE_SCREENSHOTS=1 make browser`.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.browser.chromium import NARROW, Browser
from tests.browser.pages import CARD, PageTestCase
from tests.integration.peers import picture

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
TALL = (1280, 860)
FILES = {
    1: {
        "Alpine lakes, panorama.png": 41_000_000,
        "debian-13-amd64-netinst.iso": 120_000_000,
        "Lecture 07 - Consensus.mp4": 23_400_000,
        "Recipes of our grandmother.pdf": 3_120_000,
        "field-recordings-2026.zip": 18_700_000,
        "thesis.pdf": 2_410_000,
    },
    3: {
        "Alpine lakes, panorama.png": 41_000_000,
        "debian-13-amd64-netinst.iso": 120_000_000,
        "Lecture 08 - Replication.mp4": 27_900_000,
        "choir, 2nd rehearsal.flac": 31_200_000,
        "thesis.pdf": 2_410_000,
    },
    4: {
        "debian-13-amd64-netinst.iso": 120_000_000,
        "Alpine lakes, panorama.png": 41_000_000,
        "maps-of-the-valley.tar.zst": 12_650_000,
        "team-photo.jpg": 4_870_000,
        "letters.txt": 48_200,
    },
    2: {"our-garden.jpg": 5_230_000, "minutes-2026-11.md": 11_900},
}
RATES = {1: "3200k", 3: "2100k", 4: "1300k"}


class PictureTests(PageTestCase):
    def test_pictures(self) -> None:
        """The page in light, dark and narrow, and one download near to."""
        if not os.environ.get("PEERSHARE_SCREENSHOTS"):
            self.skipTest("PEERSHARE_SCREENSHOTS is not set: the pictures stay as they are")
        sizes = {name: size for files in FILES.values() for name, size in files.items()}
        data = {name: picture(size, seed) for seed, (name, size) in enumerate(sizes.items())}
        for number, files in FILES.items():
            for name in files:
                self.peer(number).write(name, data[name])
        for number in FILES:
            limit = ("--upload-limit", RATES[number]) if number in RATES else ()
            self.start(number, *limit)
        two = self.peer(2).ready()
        for name in ("debian-13-amd64-netinst.iso", "Alpine lakes, panorama.png"):
            self.wait_to_find(two, data[name], 3)
        self.browser.set_size(*TALL)
        browser = self.open(two)
        two.download("thesis.pdf").wait()
        two.download("Alpine lakes, panorama.png").wait_until_moving(9_000_000)
        iso = two.download("debian-13-amd64-netinst.iso")
        iso.wait_until_moving(40_000_000)
        browser.wait_for_text(f"{CARD} .legend", "127.0.1.4")
        self.shoot(browser)

    def shoot(self, browser: Browser) -> None:
        """Write them."""
        IMAGES.mkdir(exist_ok=True)
        for scheme in ("light", "dark"):
            browser.set_scheme(scheme)
            self.settle()
            browser.screenshot(IMAGES / f"page-{scheme}.png")
        browser.set_scheme("light")
        self.settle()
        browser.set_size(*TALL, 2)
        self.settle()
        browser.screenshot_of(f"{CARD}:nth-child(1)", IMAGES / "page-download.png")
        browser.set_size(*NARROW, 2)
        self.show("downloads")
        self.settle()
        browser.screenshot(IMAGES / "page-narrow.png")

    def settle(self) -> None:
        """Let the page draw what has changed."""
        time.sleep(1.0)
