"""A test with a page: the browser, and the service that it is open on.

Not for: tests.
"""

from __future__ import annotations

from peershare.content.manifest import manifest_of
from peershare.control.controlfile import read_control_file
from tests.browser.chromium import Browser, axe_source, missing
from tests.browser.relay import Relay
from tests.integration.peers import Peer
from tests.integration.test_swarm import SwarmTestCase

CARD = "#cards .card"


class PageTestCase(SwarmTestCase):
    """Real services and one browser; skipped, with a sentence, where there is none."""

    timeout = 300

    def setUp(self) -> None:
        why = missing()
        if why:
            self.skipTest(why)
        super().setUp()
        self.relay = Relay()
        self.addCleanup(self.relay.close)
        self.browser = Browser(self.folder / "browser", self.relay.address)
        self.addCleanup(self.browser.quit)

    def open(self, peer: Peer, view: str = "network") -> Browser:
        """Open the page of a peer, as `peershare open` does."""
        code = peer.ask("POST", "/api/opening", {})["code"]
        control = read_control_file(peer.state)
        assert control is not None
        self.browser.driver.get(f"{control.url}/open?code={code}")
        self.browser.wait_for(lambda: self.browser.count("#main") == 1, "the page")
        self.show(view)
        self.browser.wait_for_text("#summary", "shared")
        return self.browser

    def show(self, view: str) -> None:
        """Go to a view."""
        self.browser.run("location.hash = `/${arguments[0]}`", view)

    def wait_to_see(self, name: str) -> None:
        """Wait until a file is in the list."""
        self.browser.wait_for_text("#rows", name)

    def get(self, name: str) -> None:
        """Press the button beside a name."""
        self.browser.click(f'#rows button[aria-label="Get {name}"]')
        self.browser.wait_for_text(f"{CARD} h3", name)

    def digest(self, data: bytes) -> str:
        """The content id of these bytes."""
        return manifest_of(data).content_id

    def assert_accessible(self, what: str) -> None:
        """Axe finds nothing serious in what is shown; skipped where there is no axe."""
        axe = axe_source()
        if axe is None:
            self.skipTest("axe-core-python is not installed: pip install --editable '.[dev]'")
        if not self.browser.run("return 'axe' in window"):
            self.browser.run(axe)
        script = "const done = arguments[0]; axe.run().then((found) => done(found.violations))"
        found = self.browser.driver.execute_async_script(script)
        serious = [
            (one["id"], [node["html"] for node in one["nodes"]])
            for one in found
            if one["impact"] in {"serious", "critical"}
        ]
        self.assertEqual(serious, [], what)
