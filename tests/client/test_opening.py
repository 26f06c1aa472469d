"""`open`: the page in a browser, and the code in no wrong place."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from peershare.client import opening
from peershare.client.api import ApiClient
from peershare.client.outcome import ClientError
from tests.client.doubles import PaperConsole, until
from tests.control.http import ServiceTestCase, mode_of

# Reads the page as a browser does, and tells its own command line.
BROWSER = """#!{python}
import pathlib, sys, urllib.parse, urllib.request
path = urllib.parse.unquote(urllib.parse.urlsplit(sys.argv[1]).path)
page = pathlib.Path(path).read_text()
pathlib.Path({out!r}).write_text(ascii(sys.argv) + chr(10) + page)
"""


class OpenTests(ServiceTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.client = ApiClient(reactor, self.control)
        self.console = PaperConsole()
        self.state = self.state.absolute()
        self.patch(opening, "_GRACE_SECONDS", 0.05)

    def pages(self) -> list[Path]:
        return list(self.state.glob("open-*.html"))

    def open(self, **environment: str) -> Deferred[Any]:
        base = {"PATH": os.environ.get("PATH", os.defpath), **environment}
        coroutine = opening.open_page(self.client, self.state, self.console, reactor, base)
        return Deferred.fromCoroutine(coroutine)

    async def test_browser(self) -> None:
        """The browser is given a path; the page behind it leads on, and is gone afterwards."""
        out = self.state / "out"
        browser = self.state / "browser"
        browser.write_text(BROWSER.format(python=sys.executable, out=str(out)))
        browser.chmod(0o700)
        await self.open(BROWSER=f"{browser} %s")
        self.assertEqual(self.pages(), [])
        command, page = out.read_text().split("\n", 1)
        (link,) = set(re.findall(r'"(http[^"]*)"', page))
        self.assertTrue(link.startswith(f"{self.control.url}/open?code="), link)
        code = link.partition("code=")[2]
        self.assertGreaterEqual(len(code), 40)
        self.assertNotIn(code, command)
        self.assertNotIn(code, "".join(self.console.printed + self.console.notes))

    async def test_the_way_in(self) -> None:
        """The link of the page lets in once."""
        link = await opening.link_of(self.client)
        target = link.removeprefix(self.control.url)
        host = [("host", urlsplit(self.control.url).netloc), ("connection", "close")]
        first = await self.ask("GET", target, host)
        self.assertIn("peershare", first.headers.get("set-cookie", ""))
        self.assertEqual((await self.ask("GET", target, host)).status, 403)

    async def test_no_screen(self) -> None:
        """Where there is no browser, the path of a private file is told, with what to do."""
        opened = self.open()
        await until(lambda: self.console.printed)
        (path,) = self.pages()
        self.assertEqual(self.console.printed, [path.as_uri()])
        self.assertEqual(unquote(urlsplit(path.as_uri()).path), str(path))
        self.assertEqual(mode_of(path), 0o600)
        self.assertIn("ssh -L", self.console.notes[0])
        self.assertIn("--print", self.console.notes[0])
        path.read_bytes()
        await opened
        self.assertEqual(self.pages(), [])

    async def test_a_browser_that_fails(self) -> None:
        """One that cannot be started counts as none."""
        opened = self.open(BROWSER="/nowhere/browser %s", PATH="/nowhere")
        await until(lambda: self.console.printed)
        self.pages()[0].read_bytes()
        await opened

    async def test_interrupted(self) -> None:
        """Ctrl-C leaves no file behind."""
        opened = self.open()
        await until(self.pages)
        opened.cancel()
        await self.assertFailure(opened, CancelledError)
        self.assertEqual(self.pages(), [])

    async def test_left_behind(self) -> None:
        """What a killed `open` left behind is removed by the next one; a new one is not."""
        for name, age in (("open-old.html", 3_600), ("open-new.html", 5)):
            (self.state / name).write_text("")
            os.utime(self.state / name, (time.time() - age,) * 2)
        opened = self.open()
        await until(lambda: self.console.printed)
        self.assertFalse((self.state / "open-old.html").exists())
        self.assertTrue((self.state / "open-new.html").exists())
        opened.cancel()
        await self.assertFailure(opened, CancelledError)

    async def test_no_room(self) -> None:
        """A state folder that cannot be written to is named."""
        self.state = self.state / "missing"
        error = await self.assertFailure(self.open(), ClientError)
        self.assertIn(str(self.state), str(error))

    async def test_print(self) -> None:
        """The link itself, for a person and for a program."""
        await opening.print_link(self.client, self.console, json=False)
        await opening.print_link(self.client, self.console, json=True)
        plain, value = self.console.printed
        self.assertTrue(plain.startswith(f"{self.control.url}/open?code="))
        self.assertTrue(json.loads(value)["link"].startswith(f"{self.control.url}/open?code="))
        self.assertEqual(self.pages(), [])


class ReadTests(ServiceTestCase):
    async def test_never_read(self) -> None:
        """A page that nobody reads is waited for as long as its code is good."""
        clock = Clock()
        path = opening._write_page(self.state, "http://127.0.0.1:1/open?code=x")
        waiting: Deferred[Any] = Deferred.fromCoroutine(opening._read(path, clock))
        clock.pump([0.25] * int(opening.CODE_SECONDS * 4 - 1))
        self.assertFalse(waiting.called)
        clock.advance(0.5)
        self.assertTrue(waiting.called)

    def test_where_a_browser_is(self) -> None:
        """A display, or a browser that was named; other systems have one."""
        self.assertFalse(opening.has_browser({}, "linux"))
        self.assertTrue(opening.has_browser({}, "darwin"))
        for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
            self.assertTrue(opening.has_browser({name: "x"}, "linux"))
