"""The roster: which downloads may run, which wait, and what is remembered."""

from __future__ import annotations

from base64 import b64decode
from pathlib import Path
from typing import Any

from msgspec import structs
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from peershare.download.picture import RateMeter
from peershare.download.roster import REMEMBERED_DOWNLOADS, Entry, Roster
from peershare.download.starting import CHOSEN_CLASSIC, Wish
from peershare.download.swarm.download import SwarmDownload
from peershare.download.swarm.order import Order
from peershare.errors import UnknownDownloadError
from peershare.status import DownloadState
from peershare.timers import Alarm
from tests.control.fake_node import a_download

ID = "b3:" + "1" * 64


class Fake:
    """A download that only stands somewhere."""

    def __init__(self, identifier: int, content: str, state: DownloadState) -> None:
        self.id, self.name, self.content, self.state = str(identifier), "forest", content, state
        self.decided = True


class RosterTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.roster = Roster()

    def add(
        self, number: int, content: str = ID, state: DownloadState = DownloadState.SEARCHING
    ) -> Entry:
        download: Any = Fake(number, content, state)
        entry = Entry(download, Path(f"/{number}"), RateMeter(0.0), Alarm(Clock()), waits=True)
        self.roster.add(entry)
        return entry

    def ready(self) -> list[str]:
        return [entry.download.id for entry in self.roster.ready()]

    def test_one_of_a_content_at_a_time(self) -> None:
        """The next one when that has ended, or was paused, or was stopped while it waited."""
        first, second, third, fourth = (self.add(number) for number in (1, 2, 3, 4))
        self.assertEqual((self.ready(), self.ready()), (["1"], []))
        first.download.state = DownloadState.DONE
        third.download.state = DownloadState.STOPPED
        self.assertEqual(self.ready(), ["2"])
        second.download.state = DownloadState.PAUSED
        self.assertEqual(self.ready(), ["4"])
        second.waits = True  # resumed
        self.assertEqual(self.ready(), [])
        self.assertFalse(second.active)
        fourth.download.state = DownloadState.FAILED
        self.assertEqual(self.ready(), ["2"])

    def test_classic_ones_do_not_wait(self) -> None:
        """Without an id nobody knows whether they are the same."""
        for number in (1, 2):
            self.add(number, content="")
        self.assertEqual(self.ready(), ["1", "2"])

    def test_what_fulfils_a_wish(self) -> None:
        """The same content into the same folder, unless it is over, or has to have another name."""
        entry = self.add(1)
        self.assertTrue(entry.fulfils(Wish("other name", Path("/1"), ID)))
        self.assertTrue(entry.fulfils(Wish("Forest", Path("/1"), ID, named=True)))
        self.assertFalse(entry.fulfils(Wish("other name", Path("/1"), ID, named=True)))
        self.assertFalse(entry.fulfils(Wish("forest", Path("/1"), None)))
        self.assertFalse(entry.fulfils(Wish("forest", Path("/1"), "b3:" + "2" * 64)))
        self.assertFalse(entry.fulfils(Wish("forest", Path("/2"), ID)))
        entry.download.state = DownloadState.STOPPED
        self.assertFalse(entry.fulfils(Wish("forest", Path("/1"), ID)))

    def test_what_fulfils_a_wish_without_an_id(self) -> None:
        """The same name; what has received a byte is not what another protocol offers."""
        entry = self.add(1, content="")
        by_name, by_id = Wish("forest", Path("/1"), None), Wish("forest", Path("/1"), ID)
        chosen = Wish("forest", Path("/1"), CHOSEN_CLASSIC)
        wishes = (by_name, by_id, chosen)
        self.assertEqual([entry.fulfils(wish) for wish in wishes], [True, False, False])
        entry.chosen = CHOSEN_CLASSIC
        self.assertEqual([entry.fulfils(wish) for wish in wishes], [False, False, True])
        entry.chosen, entry.download.decided = "", False
        self.assertEqual([entry.fulfils(wish) for wish in wishes], [True, True, False])
        self.assertTrue(entry.fulfils(Wish("forest.png", Path("/1"), ID, typed="forest")))

    def test_complete_ones(self) -> None:
        """They are found, and all of their blocks are here; an odd id is safe to show."""
        done = structs.replace(a_download("7"), content=ID, received=3 * 65_536 - 1)
        self.roster.add_complete(done)
        self.assertIs(self.roster.find("7"), done)
        found = self.roster.block_map("7")
        self.assertEqual((found.block_size, b64decode(found.cells)), (65_536, b"\2\2\2"))
        with self.assertRaises(UnknownDownloadError) as caught:
            self.roster.find("8\x1b[31m")
        self.assertNotIn("\x1b", str(caught.exception))

    def test_what_is_over_is_forgotten_in_time(self) -> None:
        """Those that run never are."""
        self.add(0)
        for number in range(1, REMEMBERED_DOWNLOADS + 50):
            self.add(number, state=DownloadState.DONE)
        self.assertEqual(len(list(self.roster)), REMEMBERED_DOWNLOADS + 1)
        self.assertIsNotNone(self.roster.get("0"))


class OrderTests(SynchronousTestCase):
    def test_fetch_in_order(self) -> None:
        """The download of that content goes on in order, no other does."""
        roster, downloads = Roster(), []
        for number, content in enumerate(("b3:a", "b3:b")):
            download = SwarmDownload.__new__(SwarmDownload)  # nothing of it runs
            download.id, download.content, download.order = str(number), content, Order()
            download.state = DownloadState.DOWNLOADING
            roster.add(Entry(download, Path("/x"), RateMeter(0.0), Alarm(Clock())))
            downloads.append(download)
        roster.fetch_in_order("b3:a")
        roster.fetch_in_order("b3:c")
        self.assertEqual([download.order.sequential for download in downloads], [True, False])
