"""`status`: looks at the service once, or again and again, and shows what it sees.

On a terminal a live picture, in a pipe one list and the end, as JSON one line for the moment and
one for each event after it.  Not for: how it looks (`statusview`).
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.task import deferLater

from peershare.client.api import ApiClient
from peershare.client.console import Console
from peershare.client.outcome import ExitStatus, GoneError
from peershare.client.progress import Progress
from peershare.client.session import Session
from peershare.client.smoothing import Paces
from peershare.client.statusview import Room, Snapshot, plain_status, status_lines
from peershare.client.wording import json_text
from peershare.status import DownloadChanged, DownloadStatus, Event, NodeChanged
from peershare.timers import Alarm

LOOK_SECONDS = 1.0
_DRAW_SECONDS = 0.1


async def look(client: ApiClient) -> Snapshot:
    """How it is at this moment."""
    return Snapshot(
        node=await client.node(),
        downloads=await client.downloads(),
        peers=await client.peers(),
    )


async def show_once(client: ApiClient, console: Console, *, json: bool) -> ExitStatus:
    """Show how it is, and no more."""
    snapshot = await look(client)
    if json:
        console.data(json_text(snapshot))
    elif console.screen is None:
        console.data(plain_status(snapshot))
    else:
        downloads = [Progress(one, 0.0, one.rate, one.seconds_left) for one in snapshot.downloads]
        most = 4 * (len(snapshot.downloads) + len(snapshot.peers) + len(snapshot.node.problems) + 4)
        room = Room(console.columns, most, console.color)
        lines = status_lines(snapshot.node, downloads, snapshot.peers, room)
        console.data("\n".join(lines))
    return ExitStatus.DONE


class Watcher:
    """Looks again and again until it is cancelled; survives a restart of the service."""

    def __init__(self, session: Session, console: Console, reactor: Any, *, json: bool) -> None:
        self._session = session
        self._console = console
        self._reactor = reactor
        self._json = json
        self._client: ApiClient | None = None
        self._snapshot: Snapshot | None = None
        self._downloads: dict[str, tuple[DownloadStatus, float]] = {}
        self._paces = Paces()
        self._draw_soon = Alarm(reactor)
        self._held_back: list[Event] | None = []  # until the first picture is told

    async def run(self) -> ExitStatus:
        """Show it for as long as somebody looks.  Raises `GoneError`."""
        self._session.listen(self._happened)
        try:
            while not self._console.closed:
                client = await self._session.client()
                if client is not self._client:
                    self._client, self._snapshot, self._held_back = client, None, []
                try:
                    self._take(await look(client))
                except GoneError:
                    self._session.lose(client)
                    continue
                await deferLater(self._reactor, LOOK_SECONDS)
        except CancelledError:
            self._leave()
            raise
        finally:
            self._draw_soon.clear()
        return ExitStatus.DONE

    def _take(self, snapshot: Snapshot) -> None:
        first, self._snapshot = self._snapshot is None, snapshot
        now = self._reactor.seconds()
        gone = self._downloads.keys() - {one.id for one in snapshot.downloads}
        for identifier in gone:
            del self._downloads[identifier]
            self._paces.forget(identifier)
        for one in snapshot.downloads:
            self._downloads[one.id] = (one, now)
            self._paces.look(one, now)
        if not self._json:
            self._draw()
        elif first:
            self._console.data(json_text(snapshot))
            held_back, self._held_back = self._held_back or [], None
            for event in held_back:
                self._console.data(json_text(event))

    def _happened(self, event: Event) -> None:
        if self._json:
            if self._held_back is not None:
                self._held_back.append(event)
            else:
                self._console.data(json_text(event))
            return
        if self._snapshot is None:
            return
        if isinstance(event, DownloadChanged):
            now = self._reactor.seconds()
            self._downloads[event.download.id] = (event.download, now)
            self._paces.look(event.download, now)
        elif isinstance(event, NodeChanged):
            peers, downloads = self._snapshot.peers, self._snapshot.downloads
            self._snapshot = Snapshot(node=event.node, downloads=downloads, peers=peers)
        if self._draw_soon.due is None:
            self._draw_soon.set(_DRAW_SECONDS, self._draw)

    def _lines(self, rows: int) -> list[str]:
        if self._snapshot is None:
            return []
        now = self._reactor.seconds()
        downloads = [
            Progress(status, now - at, *self._paces.shown(status, now))
            for status, at in self._downloads.values()
        ]
        room = Room(self._console.columns, rows, self._console.color)
        return status_lines(self._snapshot.node, downloads, self._snapshot.peers, room)

    def _draw(self) -> None:
        screen = self._console.screen
        if screen is not None:
            screen.set_block(self._lines(screen.size.rows - 2))

    def _leave(self) -> None:
        """The last picture stays on the terminal."""
        screen = self._console.screen
        if screen is not None and not self._json:
            lines = self._lines(screen.size.rows - 2)
            screen.set_block([])
            if lines:
                self._console.data("\n".join(lines))
