"""Which downloads are meant."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from peershare.client.outcome import ClientError, ExitStatus
from peershare.client.picking import fitting, pick
from peershare.status import DownloadState, DownloadStatus
from tests.control.fake_node import a_download

AN_ID = "b3:" + "0123456789abcdef" * 4
RUNNING = DownloadState.DOWNLOADING


class PickTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.downloads = [
            a_download("a1", "forest.png", state=RUNNING, content=AN_ID),
            a_download("b2", "bee.mp4", state=DownloadState.PAUSED),
            a_download("c3", "old.txt", state=DownloadState.DONE),
        ]

    def pick(self, text: str) -> DownloadStatus:
        return pick(self.downloads, text)

    def refused(self, text: str) -> ClientError:
        return self.assertRaises(ClientError, self.pick, text)

    def test_each_way(self) -> None:
        """By id, name, name without extension in any case, or the beginning of a content id."""
        for text in ("a1", "forest.png", "forest", "FOREST.png", AN_ID, "01234567", "b3:01234567"):
            self.assertEqual(self.pick(text).id, "a1", text)
        self.assertEqual(self.pick("old").id, "c3")

    def test_running_before_ended(self) -> None:
        """Of the same name, the one that is under way is meant; of ended ones the last."""
        self.downloads += [
            a_download("d4", "old.txt", state=DownloadState.STOPPED),
            a_download("e5", "forest.png", state=DownloadState.DONE),
        ]
        self.assertEqual(self.pick("forest").id, "a1")
        self.assertEqual(self.pick("old.txt").id, "d4")

    def test_several(self) -> None:
        """Where several are under way, their ids and folders are told."""
        self.downloads.append(a_download("d4", "forest.png", state=RUNNING, folder="/else"))
        error = self.refused("forest.png")
        self.assertEqual(error.status, ExitStatus.AMBIGUOUS)
        self.assertIn("a1 into /share; d4 into /else", str(error))

    def test_nothing(self) -> None:
        """What is not there is told beside what is."""
        error = self.refused("tree")
        self.assertEqual(error.status, ExitStatus.NOT_FOUND)
        self.assertIn("under way: forest.png, bee.mp4", str(error))
        self.downloads = []
        self.assertIn("no download is under way", str(self.refused("tree")))

    def test_hostile_names(self) -> None:
        """Names in a sentence are harmless, and not too many."""
        self.downloads = [a_download(str(n), f"{n}\x1b[2J", state=RUNNING) for n in range(20)]
        text = str(self.refused("x\x1b"))
        self.assertNotIn("\x1b", text)
        self.assertIn("and 12 more", text)

    def test_all(self) -> None:
        """All that something can be done to."""
        for verb, ids in (("pause", ["a1"]), ("resume", ["b2"]), ("cancel", ["a1", "b2"])):
            self.assertEqual([one.id for one in fitting(self.downloads, verb)], ids)
