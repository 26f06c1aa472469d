"""What the page shows when something goes wrong: a peer, the network, the service, a stranger."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request

from peershare.content.names import display
from peershare.control.controlfile import read_control_file
from tests.browser.pages import CARD, PageTestCase
from tests.integration.peers import free_ports, picture
from tests.integration.scripted import ScriptedPeer, giving

FOREST = picture(8_000_000, 1)
SLOW = ("--upload-limit", "600k")
HOSTILE_NAMES = (
    *(
        "plain.txt",
        "grüße.txt",
        "写真.jpg",
        "👩\u200d👩\u200d👧 family.png",
        "☎\ufe0f.txt",
        "1\ufe0f\u20e3.txt",
    ),
    *(
        "evil\u202egnp.exe",
        "a\u200db",
        "zero\u200bwidth",
        "می\u200cخواهم.txt",
        "می\u200c",
        "क्\u200dष क्\u200cष.txt",
        "ශ්\u200dරී.doc",
        "അവന്\u200d.txt",
        "\u1820\u180e\u1820 \u180eb",
        "tags\U000e0041\U000e0065 \U0001d173 \u2065 \u2800",
        "tab\tline\n",
        "esc\x1b[31m",
        "\u2800\u3164",
    ),
    *(
        "<img src=x onerror=alert(1)>",
        "&lt;b&gt;",
        "\u2066isolate\u2069",
        "\ue000private",
        "x" * 250,
    ),
    *("e\u0301", "क्ष", "שלום", "\U000e0101variant", "♀\u200d", "🏳\ufe0f\u200d🌈"),
)


class TroubleTests(PageTestCase):
    def test_failover(self) -> None:
        """A peer that gives is killed: the other one goes on, and the map says who gave what."""
        one = self.start(1, *SLOW, forest_png=FOREST)
        self.start(3, *SLOW, forest_png=FOREST)
        two = self.start(2).ready()
        browser = self.open(two)
        self.wait_to_find(two, FOREST, 2)
        self.wait_to_see("forest.png")
        self.get("forest.png")
        for giver in ("127.0.1.1", "127.0.1.3"):
            browser.wait_for_text(f"{CARD} .legend button", giver)
        one.kill()
        browser.wait_for_text(f"{CARD} .chip", "from 1 peer")
        browser.wait_for_text(f"{CARD} .chip", "Done")
        line = browser.text(f"{CARD} .line")
        self.assertIn("127.0.1.1", line)
        self.assertIn("127.0.1.3", line)
        self.assert_fetched(two, "forest.png", FOREST)

    def test_network_lost(self) -> None:
        """A lost connection is said, and when it comes back the page is as the node is."""
        two = self.start(2).ready()
        browser = self.open(two)
        self.relay.cut()
        browser.wait_for_text("#connection.lost", "lost")
        two.write("while-away.png", FOREST[:1000])
        self.relay.mend()
        browser.wait_for_text("#connection.back", "Connected again")
        self.wait_to_see("while-away.png")
        browser.wait_for(lambda: browser.text("#connection") == "", "the line to go")

    def test_service_restarted(self) -> None:
        """Sessions end with the service: the page says how to open it, and comes back by itself."""
        port = ("--control-port", str(free_ports(socket.SOCK_STREAM, 1)[0]))
        two = self.start(2, *port).ready()
        browser = self.open(two)
        two.stop()
        browser.wait_for_text("#connection.lost", "lost")
        two.start("--no-classic", *port)
        two.ready()
        browser.wait_for_text("#connection.lost", "peershare open")
        code = two.ask("POST", "/api/opening", {})["code"]
        control = read_control_file(two.state)
        assert control is not None
        tab = browser.driver.current_window_handle
        browser.driver.switch_to.new_window("tab")
        browser.driver.get(f"{control.url}/open?code={code}")
        browser.driver.switch_to.window(tab)
        browser.wait_for_text("#connection.back", "Connected again")

    def test_stranger(self) -> None:
        """Without the cookie a sentence says how to open the page, and nothing else is shown."""
        self.start(1, secret_png=FOREST)
        two = self.start(2).ready()
        self.wait_to_find(two, FOREST)
        control = read_control_file(two.state)
        assert control is not None
        self.browser.driver.get(control.url)
        self.assertIn("peershare open", self.browser.text("body"))
        self.assertNotIn("secret", self.browser.driver.page_source)
        for path in ("/page/main.js", "/api/node"):
            with self.assertRaises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(control.url + path, timeout=10)
            self.assertEqual(caught.exception.code, 401)
            caught.exception.close()

    def test_hostile_names(self) -> None:
        """The page shows names of peers exactly as `display` makes them, and runs none of them."""
        browser = self.open(self.start(2).ready())
        script = """
        const done = arguments[arguments.length - 1];
        const names = arguments[0];
        import("/page/words.js").then((words) => done(names.map((name) => words.safe(name))));
        """
        shown = browser.driver.execute_async_script(script, list(HOSTILE_NAMES))
        self.assertEqual(shown, [display(name) for name in HOSTILE_NAMES])

    def test_late_answers(self) -> None:
        """An answer that comes after newer events of a download does not undo them."""
        browser = self.open(self.start(2).ready())
        script = """
        const done = arguments[arguments.length - 1];
        import("/page/store.js").then(({ Store }) => {
          const store = new Store();
          const asked = performance.now();
          const state = () => store.downloads.get("1").state;
          const seen = [];
          store.setDownload({ id: "1", state: "done" });
          store.answered({ id: "1", state: "downloading" }, asked);
          seen.push(state());
          store.setDownloads([{ id: "1", state: "downloading" }], asked);
          seen.push(state());
          store.answered({ id: "1", state: "stopped" }, performance.now() + 1);
          seen.push(state());
          done(seen);
        });
        """
        seen = browser.driver.execute_async_script(script)
        self.assertEqual(seen, ["done", "done", "stopped"])

    def test_hostile_files(self) -> None:
        """A name that is markup is a text in the list, in what is refused, and among the peers."""
        name = "<img src=x onerror=document.title='owned'>"
        two = self.peer(2)
        two.start()
        stranger = ScriptedPeer(3, self.ports, giving(FOREST[:1000]))
        self.addCleanup(stranger.close)
        browser = self.open(two.ready())
        stranger.announce(name)
        self.wait_to_see(name)
        browser.click("#rows .get")
        browser.wait_for_text("#alerts", name)  # it can be no file's name
        self.show("peers")
        browser.wait_for_text("#peers-table tbody", "<img src=x")
        self.assertEqual(browser.count("main img:not(#guest-qr)"), 0)
        self.assertNotIn("owned", browser.driver.title)
