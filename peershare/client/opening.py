"""`open`: has a browser open the service's page, without telling anybody else the way in.

The service gives a code that is good once and for a minute.  It stands in a small page of our own
(0600, in the state folder) that leads on to the service; only the path of that page is on a
command line, which others on the machine can read (hostile world, 26).  The page is removed when
it was read, or when its code is good no more.

A file's access time tells that it was read; where the file system keeps none, the minute passes.
Not for: codes and cookies; the service judges them.
"""

from __future__ import annotations

import contextlib
import html
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from msgspec import Struct
from twisted.internet.task import deferLater

from peershare.client.api import ApiClient
from peershare.client.console import Console, Style
from peershare.client.outcome import ClientError, ExitStatus
from peershare.client.wording import json_text

CODE_SECONDS = 60.0
_POLL_SECONDS = 0.25
# A browser that has read the page asks the service within this.
_GRACE_SECONDS = 2.0
_OPENER_SECONDS = 15.0
_PATTERN = "open-*.html"
# In a process of its own: a browser may block, print, or die.
_OPENER = "import sys, webbrowser; sys.exit(not webbrowser.open(sys.argv[1]))"
_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="referrer" content="no-referrer">
<meta http-equiv="refresh" content="0; url={link}">
<title>peershare</title>
<p><a href="{link}" rel="noreferrer">peershare</a></p>
</html>
"""


class Link(Struct, frozen=True):
    """What `open --json` prints."""

    link: str  # good once, and for a minute


async def open_page(
    client: ApiClient, state: Path, console: Console, reactor: Any, environment: Mapping[str, str]
) -> ExitStatus:
    """Have the page opened, or say how that is done where no browser is.  Raises `ClientError`."""
    path = _write_page(state, await link_of(client))
    try:
        address = path.as_uri()
        if has_browser(environment) and await _open(address, reactor, environment):
            console.note(f"opening {client.url} in the browser", Style.DIM)
        else:
            console.note(_how(client.url), Style.PLAIN)
            console.data(address)
        await _read(path, reactor)
    finally:
        _remove(path)
    return ExitStatus.DONE


async def print_link(client: ApiClient, console: Console, *, json: bool) -> ExitStatus:
    """Print the link for somebody to open."""
    link = await link_of(client)
    console.data(json_text(Link(link)) if json else link)
    return ExitStatus.DONE


async def link_of(client: ApiClient) -> str:
    """A link that opens the page once, within a minute.  Raises `ClientError`."""
    return f"{client.url}/open?code={quote(await client.opening(), safe='')}"


def has_browser(environment: Mapping[str, str], platform: str = sys.platform) -> bool:
    """Whether there is a screen on which a browser could be opened."""
    if platform in ("darwin", "win32"):
        return True
    return any(environment.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))


def _how(url: str) -> str:
    """What to do where no browser can be opened from here."""
    port = urlsplit(url).port
    return (
        "no browser can be opened from here.  In one on this machine, open the file below within a"
        f" minute.  From another machine: ssh -L {port}:{urlsplit(url).netloc} to this one, then"
        " peershare open --print here, and open that link there."
    )


def _write_page(state: Path, link: str) -> Path:
    """The page that leads on, readable by its owner alone.  Raises `ClientError`."""
    _sweep(state)
    path = state / f"open-{secrets.token_hex(8)}.html"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(path, flags, 0o600), "w", encoding="ascii") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(_PAGE.format(link=html.escape(link)))
        os.utime(path, (0, path.stat().st_mtime))  # reading it will set the first one
    except OSError as error:
        _remove(path)
        raise ClientError(f"{path}: cannot be written: {error.strerror}") from None
    return path


def _sweep(state: Path) -> None:
    """Remove what a killed `open` left behind; its code is long good for nothing."""
    for path in state.glob(_PATTERN):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > 2 * CODE_SECONDS:
                path.unlink()


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _was_read(path: Path) -> bool:
    """Whether somebody has; or has removed it."""
    try:
        return path.stat().st_atime > 0
    except OSError:
        return True


async def _read(path: Path, reactor: Any) -> None:
    """Wait until the page was read, or its code is too old."""
    deadline = reactor.seconds() + CODE_SECONDS
    while reactor.seconds() < deadline:
        if _was_read(path):
            await deferLater(reactor, _GRACE_SECONDS)
            return
        await deferLater(reactor, _POLL_SECONDS)


def _opener(address: str, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """What asks the system for a browser; it goes on without us."""
    return subprocess.Popen(
        [sys.executable, "-c", _OPENER, address],
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


async def _open(address: str, reactor: Any, environment: Mapping[str, str]) -> bool:
    """Whether a browser was found; one that is still starting after a while counts."""
    opener = _opener(address, environment)
    deadline = reactor.seconds() + _OPENER_SECONDS
    while opener.poll() is None and reactor.seconds() < deadline:
        await deferLater(reactor, _POLL_SECONDS)
    return opener.returncode in (None, 0)
