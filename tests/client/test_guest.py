"""`guest`, with a service."""

from __future__ import annotations

import json
from types import SimpleNamespace

from twisted.internet import reactor

from peershare.client.api import ApiClient
from peershare.client.guest import show_guest
from peershare.client.outcome import ExitStatus
from peershare.guest.qr import text_code
from peershare.guest.status import GuestStatus
from tests.client.doubles import PaperConsole
from tests.control.http import ServiceTestCase
from tests.control.test_guest_api import an_upload


class GuestTests(ServiceTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.client = ApiClient(reactor, self.control)
        self.console = PaperConsole()
        self.console.out = SimpleNamespace(is_terminal=False)  # type: ignore[assignment]

    async def show(self, *, json: bool = False) -> ExitStatus:
        return await show_guest(self.client, self.console, json=json)

    async def test_for_a_program(self) -> None:
        """The link alone goes to whatever reads it; what to know goes to the side."""
        self.assertEqual(await self.show(), ExitStatus.DONE)
        self.assertEqual(self.console.printed, [self.node.guest.status().link])
        self.assertIn("plain HTTP", self.console.notes[0])

    async def test_on_a_terminal(self) -> None:
        """A code for a camera, light on dark whatever the colours are."""
        self.console.out.is_terminal = True  # type: ignore[misc]
        self.console.color = False
        await self.show()
        code = text_code(self.node.guest.status().link).rstrip("\n")
        self.assertEqual(self.console.printed[1], code)
        self.console.color = True
        await self.show()
        for line in self.console.printed[3].split("\n"):
            self.assertTrue(line.startswith("\x1b[97;40m") and line.endswith("\x1b[0m"))

    async def test_what_waits(self) -> None:
        """Names that were made to mislead are shown plainly, and how to decide."""
        self.node.guest.uploads.append(an_upload("7", "a\u202egnp.exe"))
        await self.show()
        self.assertIn("waiting: a\\u202egnp.exe (10 B) from 198.18.0.2", self.console.notes[1])
        self.assertIn("peershare open", self.console.notes[2])

    async def test_json(self) -> None:
        """All of it, for programs."""
        await self.show(json=True)
        self.assertEqual(json.loads(self.console.printed[0])["upload_limit"], 1_000)

    async def test_none(self) -> None:
        """Where there is no page it is said how to have one."""
        self.patch(self.node.guest, "status", lambda: GuestStatus(link=""))
        self.assertEqual(await self.show(), ExitStatus.FAILED)
        self.assertEqual(self.console.printed, [])
        self.assertIn("--guest", self.console.notes[0])
