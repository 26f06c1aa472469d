"""Session: one connection to the node for as long as the client lives, through whatever happens.

It keeps the event stream open and hands events to who watches a download.  When the service goes
away it finds another one, or starts an own node, and the watches learn that they are lost, so
that their downloads are asked for again.  Not for: what to do with a download (`following`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from peershare.client.api import ApiClient
from peershare.client.feed import EventFeed
from peershare.client.hosting import Hosting
from peershare.client.outcome import ClientError, GoneError
from peershare.status import DownloadChanged, DownloadStatus, Event, Notice
from peershare.timers import Alarm

# A service that goes away so often in a row is no service.
MAX_LOSSES = 5
# Events of the moment between asking for a download and knowing its id.
_REMEMBERED_EVENTS = 512


class Watch:
    """What one download looks like, for whoever waits for its changes."""

    def __init__(self, reactor: Any, status: DownloadStatus) -> None:
        self.status = status
        self.lost = False
        self.began_at: float = reactor.seconds()
        self.received_at = self.began_at
        self.changes = 0
        self._reactor = reactor
        self._alarm = Alarm(reactor)
        self._waiting: Deferred[None] | None = None

    def update(self, status: DownloadStatus) -> None:
        """There is a new picture."""
        self.status = status
        self.changes += 1
        self.received_at = self._reactor.seconds()
        self.wake()

    def lose(self) -> None:
        """The service is gone; nothing will come any more."""
        self.lost = True
        self.wake()

    def wake(self) -> None:
        """Have the waiter look again."""
        self._alarm.clear()
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    def changed(self, seconds: float | None) -> Deferred[None]:
        """Fires at the next change, or after so many seconds."""
        self._waiting = Deferred(lambda _: self._forget())
        if seconds is not None:
            self._alarm.set(max(0.0, seconds), self.wake)
        return self._waiting

    def _forget(self) -> None:
        self._alarm.clear()
        self._waiting = None


class Session:
    """The connection to the node."""

    _log = Logger()

    def __init__(self, hosting: Hosting, reactor: Any, say: Callable[[str], None]) -> None:
        """`say` tells the user when the service went away, and what is done about it."""
        self.hosting = hosting
        self._reactor = reactor
        self._say = say
        self._client: ApiClient | None = None
        self._feed: EventFeed | None = None
        self._reconnecting: Deferred[None] | None = None
        self._waiters: list[Deferred[None]] = []
        self._failure: GoneError | None = None
        self._losses = 0
        self._closed = False
        self._watches: list[Watch] = []
        self._recent: deque[tuple[int, Event]] = deque(maxlen=_REMEMBERED_EVENTS)
        self._count = 0
        self._listeners: list[Callable[[Event], None]] = []

    async def open(self) -> ApiClient:
        """Connect.  Raises `ClientError`."""
        client = await self.hosting.connect()
        self._feed = await client.events(self._happened, lambda: self.lose(client))
        self._client = client
        return client

    async def client(self) -> ApiClient:
        """The service, after a reconnection if need be.  Raises `GoneError` if that failed."""
        while self._client is None:
            if self._failure is not None:
                raise self._failure
            if self._closed or self._reconnecting is None:
                raise GoneError("there is no connection to a service")
            waiter: Deferred[None] = Deferred(self._waiters.remove)
            self._waiters.append(waiter)
            await waiter
        return self._client

    async def close(self) -> None:
        """End the connection, and the own node if there is one."""
        self._closed = True
        self._client = None
        if self._feed is not None:
            self._feed.stop()
        if self._reconnecting is not None:
            self._reconnecting.cancel()
        for watch in tuple(self._watches):
            watch.lose()
        await self.hosting.close()

    def lose(self, client: ApiClient) -> None:
        """This service does not answer any more: find or make another one."""
        if client is not self._client or self._closed:
            return
        self._client = None
        if self._feed is not None:
            self._feed.stop()
        self._losses += 1
        self._say(f"the service (pid {client.pid}) went away")
        self._reconnecting = Deferred.fromCoroutine(self._reconnect())
        self._reconnecting.addErrback(self._not_reconnected)
        self._reconnecting.addBoth(lambda _: self._settled())
        self._reconnecting.addErrback(lambda f: self._log.failure("cannot go on", failure=f))
        for watch in tuple(self._watches):
            watch.lose()

    async def _reconnect(self) -> None:
        if self._losses > MAX_LOSSES:
            raise GoneError(f"{self._losses} services went away in a row")
        await self.open()
        self._say("going on with an own node" if self.hosting.is_own else "going on with another")

    def _not_reconnected(self, failure: Failure) -> None:
        """It is over."""
        self._failure = GoneError(f"there is no service any more: {failure.getErrorMessage()}")
        if not failure.check(ClientError, CancelledError):
            self._log.failure("cannot reconnect", failure=failure)

    def _settled(self) -> None:
        """Everybody who waits for a connection has it, or has to do without."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(None)

    # -- events

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Call this with every event."""
        self._listeners.append(listener)

    def mark(self) -> int:
        """This moment: see `watch`."""
        return self._count

    def watch(self, status: DownloadStatus, mark: int) -> tuple[Watch, list[Event]]:
        """Watch a download from now on.

        Also gives the events of it since `mark`: they may come before the answer to the request
        that began it.
        """
        self._losses = 0
        watch = Watch(self._reactor, status)
        self._watches.append(watch)
        missed = [e for n, e in self._recent if n > mark and _download_of(e) == status.id]
        for event in missed:
            if isinstance(event, DownloadChanged):
                watch.update(event.download)
        return watch, missed

    def unwatch(self, watch: Watch) -> None:
        """Watch it no more."""
        if watch in self._watches:
            self._watches.remove(watch)

    def wake_all(self) -> None:
        """Have everybody look again: the limits have changed."""
        for watch in tuple(self._watches):
            watch.wake()

    def _happened(self, event: Event) -> None:
        self._count += 1
        self._recent.append((self._count, event))
        for listener in tuple(self._listeners):
            listener(event)
        if isinstance(event, DownloadChanged):
            for watch in tuple(self._watches):
                if watch.status.id == event.download.id:
                    watch.update(event.download)


def _download_of(event: Event) -> str:
    """The id of the download that an event is about, "" for none."""
    if isinstance(event, DownloadChanged):
        return event.download.id
    return event.download if isinstance(event, Notice) else ""
