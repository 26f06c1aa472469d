"""`status`: once, live, and as events."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred

from peershare.client.outcome import GoneError
from peershare.client.watching import Watcher, show_once
from peershare.status import ContentsChanged, DownloadState
from tests.client.doubles import ClientTestCase, PaperConsole, until
from tests.client.emulator import Terminal


def kinds(console: PaperConsole) -> list[str]:
    """What each line of JSON is."""
    return [json.loads(line)["type"] for line in console.printed]


class StatusTestCase(ClientTestCase):
    async def begin(self, **fields: Any) -> None:
        """The session is open, and a download is on its way."""
        await self.session.open()
        status = self.node.start_download("forest.png", None)
        moving = {"state": DownloadState.DOWNLOADING, "received": 450_000, "size": 1_000_000}
        self.node.change(status.id, **{**moving, "elapsed_seconds": 9.0, **fields})

    def watch(self, console: PaperConsole, *, json: bool = False) -> Deferred[Any]:
        watcher = Watcher(self.session, console, reactor, json=json)
        running: Deferred[Any] = Deferred.fromCoroutine(watcher.run())
        running.addErrback(lambda failure: failure.trap(CancelledError))
        self.addCleanup(running.cancel)
        return running


class OnceTests(StatusTestCase):
    async def test_plain(self) -> None:
        """In a pipe: one line for each thing."""
        await self.begin()
        console = PaperConsole()
        await show_once(await self.session.client(), console, json=False)
        kinds = [line.split("\t")[0] for line in console.printed[0].split("\n")]
        self.assertEqual(kinds, ["node", "download", "peer"])

    async def test_json(self) -> None:
        """For a program: the whole as one value."""
        await self.begin()
        console = PaperConsole()
        await show_once(await self.session.client(), console, json=True)
        value = json.loads(console.printed[0])
        self.assertEqual(value["type"], "status")
        self.assertEqual(value["downloads"][0]["name"], "forest.png")

    async def test_drawn(self) -> None:
        """On a terminal everything there is, however little room there would be."""
        await self.begin()
        for number in range(40):
            status = self.node.start_download(f"file {number}", None)
            self.node.change(status.id, state=DownloadState.PAUSED)
        console = PaperConsole(Terminal(80, 10))
        await show_once(await self.session.client(), console, json=False)
        self.assertEqual(console.printed[0].count("paused"), 40)


class LiveTests(StatusTestCase):
    async def test_wide(self) -> None:
        """What changes is seen at once; the last picture stays."""
        await self.follows(80)

    async def test_narrow(self) -> None:
        """In 40 columns, too."""
        await self.follows(40)

    async def follows(self, columns: int) -> None:
        await self.begin()
        terminal = Terminal(columns)
        running = self.watch(PaperConsole(terminal))
        await until(lambda: "45%" in terminal.text)
        self.node.change("1", received=700_000)
        await until(lambda: "70%" in terminal.text)
        self.node.change("1", state=DownloadState.PAUSED)
        await until(lambda: "paused, 700 kB here" in terminal.text)
        self.assertIn("198.18.0.2", terminal.text)
        self.assertNotIn("45%", terminal.text, "it is drawn in one place")
        running.cancel()
        self.assertIn("paused, 700 kB here", terminal.text)
        self.assertEqual(terminal.before_cursor, "")

    async def test_looks_again(self) -> None:
        """What no event tells is looked for once a second: peers come and go."""
        await self.begin()
        terminal = Terminal(80)
        self.watch(PaperConsole(terminal))
        await until(lambda: "198.18.0.2" in terminal.text)
        self.node.heard = ()
        await until(lambda: "nobody was heard" in terminal.text)

    async def test_forgotten(self) -> None:
        """A download that the service knows no more is shown no more."""
        await self.begin()
        terminal = Terminal(80)
        self.watch(PaperConsole(terminal))
        await until(lambda: "forest.png" in terminal.text)
        self.node.started.clear()
        await until(lambda: "no download" in terminal.text)

    async def test_events(self) -> None:
        """For a program: the whole first, then each event in its order."""
        await self.begin()
        console = PaperConsole()
        self.watch(console, json=True)
        await until(lambda: console.printed)
        self.node.change("1", received=700_000)
        self.node.emit(ContentsChanged(3, 1))
        await until(lambda: "contents" in kinds(console))
        self.assertEqual(kinds(console).count("status"), 1)
        self.assertEqual(kinds(console)[0], "status")
        self.assertEqual(kinds(console)[-2:], ["download", "contents"])
        self.assertEqual(json.loads(console.printed[-2])["download"]["received"], 700_000)

    async def test_another_service(self) -> None:
        """When the service is restarted, it goes on with the new one, from a whole picture."""
        await self.begin()
        console = PaperConsole()
        self.watch(console, json=True)
        await until(lambda: console.printed)
        self.second_service()
        await self.service.stopService()
        await until(lambda: kinds(console).count("status") == 2)
        whole = [json.loads(line) for line in console.printed if '"type": "status"' in line]
        self.assertEqual([len(one["downloads"]) for one in whole], [1, 0])

    async def test_no_service_any_more(self) -> None:
        """When it is gone for good, that is an error and not a stale picture."""
        await self.begin()
        terminal = Terminal(80)
        watcher = Watcher(self.session, PaperConsole(terminal), reactor, json=False)
        running: Deferred[Any] = Deferred.fromCoroutine(watcher.run())
        await until(lambda: "45%" in terminal.text)
        await self.service.stopService()
        await self.assertFailure(running, GoneError)
