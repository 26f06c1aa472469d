"""How the page looks and is used: light and dark, wide and narrow, keys, a long list.

Not for: what it does; see `test_page`.
"""

from __future__ import annotations

from tests.browser.chromium import ARROW_DOWN, END, ENTER, NARROW, SPACE, TAB, WIDE
from tests.browser.pages import CARD, PageTestCase
from tests.integration.giving import Shared
from tests.integration.native import NativePeer
from tests.integration.peers import Peer, picture

FOREST = picture(20_000_000, 1)
SLOW = ("--upload-limit", "500k")
VIEWS = ("network", "downloads", "peers", "history", "node")
MANY = 10_000
# Rows in the document: what is seen, and some above and below.
MOST_ROWS = 50
# A frame in which the list is drawn anew; 60 a second are smooth, this machine may be busy.
MOST_FRAME_MS = 50
SCROLL = """
const done = arguments[arguments.length - 1];
const grid = document.getElementById("grid");
const frames = [], rows = [], names = [];
let before = 0, step = 0;
function frame(now) {
  if (before) frames.push(now - before);
  before = now;
  const shown = [...document.querySelectorAll("#rows [role=row]")];
  rows.push(shown.length);
  const top = grid.getBoundingClientRect().top + 40;
  names.push(shown.some((row) => row.getBoundingClientRect().top <= top));
  if (++step > 120) {
    done({frames, rows: Math.max(...rows), covered: names.every(Boolean)});
    return;
  }
  grid.scrollTop += grid.scrollHeight / 150;
  requestAnimationFrame(frame);
}
requestAnimationFrame(frame);
"""
FOCUSED = """
const one = document.activeElement, style = getComputedStyle(one);
const drawn = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1;
return [one.id || one.getAttribute("aria-label") || one.innerText, drawn];
"""


class LooksTestCase(PageTestCase):
    def busy(self) -> Peer:
        """A peer that has a download under way, and some history."""
        self.start(1, *SLOW, forest_png=FOREST, small_txt=FOREST[:2000])
        two = self.start(2).ready()
        self.wait_to_find(two, FOREST[:2000])
        two.download("small.txt").wait()
        self.wait_to_find(two, FOREST)
        two.download("forest.png").wait_until_moving()
        return two


class ThemeTests(PageTestCase):
    def test_theme(self) -> None:
        """It follows the system, until the switch says otherwise; that is remembered."""
        self.browser.set_scheme("dark")
        browser = self.open(self.start(2).ready())
        ground = "return getComputedStyle(document.body).backgroundColor"
        theme = "return document.documentElement.dataset.theme"
        self.assertEqual(browser.run(theme), "dark")
        dark = browser.run(ground)
        browser.set_scheme("light")
        browser.wait_for(lambda: browser.run(theme) == "light", "the light theme")
        self.assertNotEqual(browser.run(ground), dark)
        browser.click("#theme")
        self.assertEqual(browser.run(theme), "dark")
        self.assertEqual(browser.run(ground), dark)
        browser.driver.refresh()
        self.assertEqual(browser.run(theme), "dark")
        self.assertEqual(browser.count('#theme[aria-pressed="true"]'), 1)


class AccessTests(LooksTestCase):
    def test_axe(self) -> None:
        """Nothing that keeps people out, in any view, light and dark, wide and narrow."""
        browser = self.open(self.busy())
        browser.wait_for_text(f"{CARD} .legend", "127.0.1.1")
        for size in (WIDE, NARROW):
            browser.set_size(*size)
            for scheme in ("light", "dark"):
                browser.set_scheme(scheme)
                for view in VIEWS:
                    self.show(view)
                    self.assert_accessible(f"{view}, {scheme}, {size[0]} px")
        browser.click("#share-open")
        self.assert_accessible("the dialog")

    def test_narrow(self) -> None:
        """On a phone's width nothing sticks out to the side, and all views can be reached.

        Nor does the page scroll as a whole: its views do.
        """
        self.browser.set_size(*NARROW)
        browser = self.open(self.busy())
        for view in VIEWS:
            browser.run("document.getElementById(arguments[0]).click()", f"to-{view}")
            browser.wait_for(lambda view=view: browser.text(f"#{view} h2"), f"the view {view}")
            wide = browser.run(
                "return [...document.querySelectorAll('header, main, main *')]"
                ".filter(one => one.checkVisibility() && !one.closest('.unseen, thead'))"
                ".filter(one => one.getBoundingClientRect().right > innerWidth + 0.5)"
                ".map(one => one.outerHTML.slice(0, 120))"
            )
            self.assertEqual(wide, [], view)
            whole = "const e = document.documentElement; return [e.scrollWidth, e.scrollHeight]"
            self.assertEqual(browser.run(whole), list(NARROW), view)

    def test_keyboard(self) -> None:
        """By keys alone: past the header, through the list, to a download."""
        self.start(1, *SLOW, forest_png=FOREST, bee_png=FOREST[:3000])
        browser = self.open(self.start(2).ready())
        self.wait_to_see("forest.png")
        browser.keys(TAB)
        self.assertEqual(browser.run(FOCUSED), ["skip", True])
        browser.keys(ENTER)
        self.assertEqual(browser.run("return document.activeElement.id"), "main")
        seen = []
        while (focused := browser.run(FOCUSED))[0] != "grid":
            browser.keys(TAB)
            seen.append(browser.run(FOCUSED))
            self.assertLess(len(seen), 8, seen)
        self.assertTrue(all(drawn for _, drawn in seen), seen)
        self.assertEqual(focused[0], "grid")
        active = (
            "return document.getElementById(document.activeElement"
            ".getAttribute('aria-activedescendant'))?.innerText ?? ''"
        )
        browser.keys(ARROW_DOWN)
        self.assertIn("bee.png", browser.run(active))
        browser.keys(END)
        self.assertIn("forest.png", browser.run(active))
        browser.keys(ENTER)
        browser.wait_for_text(f"{CARD} h3", "forest.png")
        browser.wait_for_text(f"{CARD} .chip", "Downloading")
        while browser.run(FOCUSED)[0] != "Pause forest.png":
            browser.keys(TAB)
            seen.append(browser.run(FOCUSED))
            self.assertLess(len(seen), 30, seen)
        browser.keys(SPACE)
        browser.wait_for_text(f"{CARD} .chip", "Paused")
        told = "return document.getElementById('told').textContent"
        browser.wait_for(lambda: "is paused" in browser.run(told), "the pause to be told")


class LongListTests(PageTestCase):
    def test_ten_thousand(self) -> None:
        """Only what is seen is in the document, and scrolling through it all is smooth."""
        files = [Shared(f"file {number:05}.txt", b"%d" % number) for number in range(MANY)]
        stranger = NativePeer(1, self.ports, *files)
        self.addCleanup(stranger.close)
        browser = self.open(self.start(2).ready())
        stranger.announce()
        browser.wait_for_text("#found", "10,000 files", 60.0)
        self.assertEqual(browser.count(f'#grid[aria-rowcount="{MANY + 1}"]'), 1)
        self.assertLess(browser.count("#rows [role=row]"), MOST_ROWS)
        scrolled = browser.driver.execute_async_script(SCROLL)
        self.assertLess(scrolled["rows"], MOST_ROWS)
        self.assertTrue(scrolled["covered"], "rows were missing on the way")
        frames = sorted(scrolled["frames"])
        self.assertLess(frames[len(frames) // 2], MOST_FRAME_MS, frames)
        browser.run("document.getElementById('grid').focus()")
        browser.keys(END)
        browser.wait_for_text("#rows .active", "file 09999.txt")
        browser.type("#search", "4321")
        browser.wait_for_text("#found", "1 of 10,000 files")
        self.assertEqual(browser.text("#rows .c-name"), "file 04321.txt")
        self.assertEqual(browser.problems(), [])
