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
        """Of each that was added, in their order."""
        found = [ready for entry in self.roster for ready in self.roster.ready(entry)]
        return [entry.download.id for entry in found]

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

    def test_one_among_very_many(self) -> None:
        """Whom to take a wish for, and who may run, is found without looking at all of them."""
        looked_at: list[str] = []

        class Watched(Fake):
            def __getattribute__(self, name: str) -> Any:
                if name == "state":
                    looked_at.append(object.__getattribute__(self, "id"))
                return object.__getattribute__(self, name)

        for number in range(1_000):
            download: Any = Watched(number, f"b3:{number:064}", DownloadState.SEARCHING)
            download.name = f"forest {number}"
            entry = Entry(download, Path("/"), RateMeter(0.0), Alarm(Clock()), waits=True)
            self.roster.add(entry)
        looked_at.clear()
        wish = Wish("Forest 500", Path("/"), f"b3:{500:064}", named=True)
        found = self.roster.fulfilling(wish)
        assert found is not None
        self.assertEqual([entry.download.id for entry in self.roster.ready(found)], ["500"])
        self.assertIs(self.roster.running(found.download.content), found)
        self.assertIsNone(self.roster.fulfilling(Wish("forest 5000", Path("/"), None)))
        self.assertEqual(set(looked_at), {"500"})

    def test_exchanged(self) -> None:
        """A classic download that goes on as a verified one is found as that."""
        entry = self.add(1, content="")
        self.assertEqual(self.roster.of_content(""), [entry])
        changed: Any = Fake(1, ID, DownloadState.SEARCHING)
        entry.download = changed
        self.roster.exchanged(entry)
        self.assertEqual((self.roster.of_content(""), self.roster.of_content(ID)), ([], [entry]))

    def test_complete_ones_are_forgotten_in_time(self) -> None:
        """A list that is fetched again every night leaves no more than anything else."""
        for number in range(REMEMBERED_DOWNLOADS + 50):
            self.roster.add_complete(a_download(f"{number}"))
        self.assertEqual(len(self.roster.complete), REMEMBERED_DOWNLOADS)
        self.assertIn(f"{REMEMBERED_DOWNLOADS + 49}", self.roster.complete)

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
            download.name, download.state = "forest", DownloadState.DOWNLOADING
            roster.add(Entry(download, Path("/x"), RateMeter(0.0), Alarm(Clock())))
            downloads.append(download)
        roster.fetch_in_order("b3:a")
        roster.fetch_in_order("b3:c")
        self.assertEqual([download.order.sequential for download in downloads], [True, False])
