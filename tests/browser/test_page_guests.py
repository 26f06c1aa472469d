"""Guests, as the person at the node sees them; the guest itself uses a browser, too."""

from __future__ import annotations

import socket

from tests.browser.pages import PageTestCase
from tests.integration.peers import free_ports, picture

PHOTO = picture(300_000, 1)
ROW = "#guest-uploads .card"


class GuestTests(PageTestCase):
    def test_none(self) -> None:
        """Where no page is served to guests, nothing is said of any."""
        browser = self.open(self.start(2).ready())
        self.assertNotIn("Guests", browser.text("nav"))
        self.show("guests")
        self.assertEqual(browser.text("#guests"), "")
        self.assertEqual(browser.problems(), [])

    def test_upload(self) -> None:
        """The link and its code are shown; what a guest sends is accepted, or refused."""
        port = str(free_ports(socket.SOCK_STREAM, 1)[0])
        two = self.start(2, "--guest", "--guest-port", port, "--guest-upload").ready()
        browser = self.open(two, "guests")
        link = browser.wait_for(lambda: browser.text("#guest-link"), "the link")
        self.assertEqual(link, two.node().guest)
        drawn = "return document.getElementById('guest-qr').naturalWidth"
        browser.wait_for(lambda: browser.run(drawn) > 0, "the code")
        self.assertIn("plain HTTP", browser.text("#guests"))
        self.assert_accessible("the guests' view")
        for name in ("photo.png", "unwanted.png"):
            self.send(link, name)
            browser.wait_for_text(ROW, name)
        browser.wait_for_text("#guest-count", "2")
        browser.click(f'{ROW} button[aria-label="Refuse unwanted.png"]')
        browser.wait_for_text("#notices", "unwanted.png is refused")
        browser.click(f'{ROW} button[aria-label="Accept photo.png"]')
        browser.wait_for_text("#notices", "photo.png lies in")
        self.assertEqual((two.share / "Inbox" / "photo.png").read_bytes(), PHOTO)
        self.assertEqual(list(two.share.rglob("*unwanted*")), [])
        browser.wait_for(lambda: not browser.text("#guest-count"), "nothing to wait")
        self.assertEqual(browser.problems(), [])

    def send(self, link: str, name: str) -> None:
        """Send a file as a guest does, in a tab of its own."""
        driver = self.browser.driver
        page = driver.current_window_handle
        path = self.folder / name
        path.write_bytes(PHOTO)
        driver.switch_to.new_window("tab")
        driver.get(link)
        self.browser.type("#file", str(path))
        self.browser.click("#send button")
        self.browser.wait_for(lambda: "%" not in self.browser.text("#sending small"), "the end")
        self.browser.wait_for_text("#sending small", ".")
        driver.close()
        driver.switch_to.window(page)
