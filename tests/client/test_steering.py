"""`pause`, `resume`, `cancel` and `limits`, with a service."""

from __future__ import annotations

import json

from twisted.internet import reactor

from peershare.client.api import ApiClient
from peershare.client.outcome import ClientError, ExitStatus
from peershare.client.steering import Steering
from peershare.status import DownloadState, Limits
from tests.client.doubles import PaperConsole
from tests.control.http import ServiceTestCase


class SteeringTests(ServiceTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.client = ApiClient(reactor, self.control)
        self.console = PaperConsole()
        self.steering = Steering(self.console, json=False)
        for name in ("forest.png", "bee.mp4"):
            status = self.node.start_download(name, None)
            self.node.change(
                status.id, state=DownloadState.DOWNLOADING, received=450_000, size=1_000_000
            )

    async def steer(self, verb: str, *names: str) -> ExitStatus:
        self.console.printed.clear()
        return await self.steering.steer(self.client, verb, names, everything=not names)

    def states(self) -> list[str]:
        return [str(one.state) for one in self.node.downloads()]

    async def test_pause_and_resume(self) -> None:
        """One is held and goes on, by its name."""
        self.assertEqual(await self.steer("pause", "forest"), ExitStatus.DONE)
        self.assertEqual(self.console.printed, ["forest.png\tpaused at 45% (450 kB of 1.0 MB)"])
        self.assertEqual(self.states(), ["paused", "downloading"])
        self.assertEqual(await self.steer("resume", "forest.png"), ExitStatus.DONE)
        self.assertEqual(self.console.printed, ["forest.png\tgoes on at 45% (450 kB of 1.0 MB)"])
        self.assertNotIn("paused", self.states())

    async def test_all(self) -> None:
        """All that it can be done to; none is no failure."""
        self.assertEqual(await self.steer("pause"), ExitStatus.DONE)
        self.assertEqual(self.states(), ["paused", "paused"])
        self.assertEqual(await self.steer("pause"), ExitStatus.DONE)
        self.assertEqual(self.console.notes, ["no download is there to be paused"])
        await self.steer("cancel")
        self.assertEqual(self.states(), ["stopped", "stopped"])
        self.assertIn("bee.mp4\tcancelled; the part file", self.console.printed[1])

    async def test_over(self) -> None:
        """What is over cannot be held; what was cancelled can go on."""
        self.node.change("1", state=DownloadState.DONE)
        self.assertEqual(await self.steer("pause", "forest"), ExitStatus.FAILED)
        self.assertEqual(self.console.notes, ["forest: it cannot be paused: it is done already"])
        await self.steer("cancel", "bee")
        self.assertEqual(await self.steer("resume", "bee"), ExitStatus.DONE)

    async def test_several(self) -> None:
        """One that is not there is told, the others are done; the worst status counts."""
        self.assertEqual(await self.steer("pause", "tree", "bee"), ExitStatus.NOT_FOUND)
        self.assertEqual(self.states(), ["downloading", "paused"])
        self.assertIn("tree: no download is called that", self.console.notes[0])

    async def test_gone_meanwhile(self) -> None:
        """A download that the service has forgotten meanwhile is not found."""
        statuses = self.node.downloads()
        self.node.downloads = lambda: statuses
        del self.node.started["2"]
        self.assertEqual(await self.steer("pause", "bee"), ExitStatus.NOT_FOUND)

    async def test_json(self) -> None:
        """For a program: the downloads as they are then."""
        self.steering = Steering(self.console, json=True)
        await self.steer("pause", "bee", "tree")
        (line,) = self.console.printed
        self.assertEqual([one["state"] for one in json.loads(line)], ["paused"])


class LimitsTests(ServiceTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.client = ApiClient(reactor, self.control)
        self.console = PaperConsole()
        self.steering = Steering(self.console, json=False)

    async def test_limits(self) -> None:
        """Shown, changed one by one, and taken off."""
        await self.steering.limits(self.client, {})
        await self.steering.limits(self.client, {"upload": 500_000.0})
        await self.steering.limits(self.client, {"download": 2_000_000.0})
        await self.steering.limits(self.client, {"upload": None})
        self.assertEqual(
            self.console.printed,
            [
                "upload\toff\ndownload\toff",
                "upload\t500 kB/s\ndownload\toff",
                "upload\t500 kB/s\ndownload\t2.0 MB/s",
                "upload\toff\ndownload\t2.0 MB/s",
            ],
        )
        self.assertEqual(self.node.limits(), Limits(upload=None, download=2_000_000.0))

    async def test_json(self) -> None:
        """For a program: bytes per second, null for none."""
        await Steering(self.console, json=True).limits(self.client, {"upload": 1_000.0})
        self.assertEqual(json.loads(self.console.printed[0]), {"upload": 1000.0, "download": None})

    async def test_refused(self) -> None:
        """What the service refuses is said in its words."""
        with self.assertRaises(ClientError):
            await self.steering.limits(self.client, {"upload": -1.0})
