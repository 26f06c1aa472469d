r"""The event stream: server-sent events of what happens in the node.

A stream begins with a `download` event for every current download, those that are over last; then
each `Event` follows as it happens, named by its tag (`download`, `notice`, `contents`, `node`), the
JSON of the Struct as data, and a comment every 15 s so that both sides see that the other lives.

A reader that does not read never slows the node: nothing is written while its connection is full,
and what waits for it is which downloads changed, not their pictures, which are made as they leave.
So a beginning of any length is sent at the pace of its reader; one that leaves over 256 KiB of
other events unread is dropped.
Not for: deciding what is an event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from twisted.web.http import Request
from zope.interface import implementer

from peershare.control.face import NodeFace
from peershare.control.messages import problem
from peershare.control.responding import json_of
from peershare.errors import UnknownDownloadError
from peershare.status import (
    FINAL_STATES,
    ContentsChanged,
    DownloadChanged,
    DownloadStatus,
    Event,
    NodeChanged,
)
from peershare.timers import Periodic

HEARTBEAT_SECONDS = 15.0
MAX_BACKLOG_BYTES = 256 * 1024
# Downloads whose picture waits for a reader.
MAX_BACKLOG_DOWNLOADS = 100_000
# Each is a connection and a backlog; nobody has more windows open than this.
MAX_READERS = 32

_DOWNLOAD = "download "  # before its id, the key of a download
_TAGS = {DownloadChanged: b"download", ContentsChanged: b"contents", NodeChanged: b"node"}


def encode_event(event: Event) -> bytes:
    """One event as it stands in the stream."""
    tag = _TAGS.get(type(event), b"notice")
    return b"event: %s\ndata: %s\n\n" % (tag, json_of(event))


@implementer(IPushProducer)
class EventReader:
    """One open stream."""

    _log = Logger()

    def __init__(
        self,
        request: Request,
        picture: Callable[[str], DownloadStatus],
        over: Callable[[EventReader], None],
    ) -> None:
        """`picture(id)` is that of a download now, it raises `UnknownDownloadError`.

        `over` is called once, when the reader has gone or was dropped.
        """
        self._request = request
        self._picture = picture
        self._over = over
        self._paused = False
        self._ended = False
        # what is to be written, in this order: an event as it stands in the stream, or, under its
        # id, a download: what it looks like is asked when its turn has come, unless it is over
        self._backlog: dict[str | int, bytes] = {}
        self._downloads: dict[str, DownloadStatus | None] = {}
        self._backlog_bytes = 0
        gone: Deferred[None] = request.notifyFinish()
        gone.addBoth(lambda _: self._end())
        request.registerProducer(self, True)

    def begin(self, identifiers: Iterable[str]) -> None:
        """Write the pictures of these downloads, as fast as they are read."""
        for identifier in identifiers:
            self._backlog[_DOWNLOAD + identifier] = b""
            self._downloads[identifier] = None
        self._write_on()

    def send(self, key: str | int, data: bytes) -> None:
        """Write it; or keep it for later, in the place of what has the same key."""
        if self._ended:
            return
        if not self._paused and not self._backlog:
            self._request.write(data)
            return
        self._backlog_bytes += len(data) - len(self._backlog.pop(key, b""))
        self._backlog[key] = data
        if self._backlog_bytes > MAX_BACKLOG_BYTES:
            self._log.warn("a reader of the event stream does not read: it is dropped")
            self.drop()

    def send_download(self, status: DownloadStatus, data: bytes) -> None:
        """The same for a download, `data` being its picture as it stands in the stream."""
        if self._ended:
            return
        if not self._paused and not self._backlog:
            self._request.write(data)
            return
        key = _DOWNLOAD + status.id
        self._backlog.pop(key, None)
        self._backlog[key] = b""
        self._downloads[status.id] = status if status.state in FINAL_STATES else None
        if len(self._downloads) > MAX_BACKLOG_DOWNLOADS:
            self._log.warn("a reader of the event stream does not read: it is dropped")
            self.drop()

    def beat(self) -> None:
        """Show that the stream lives."""
        if not self._paused and not self._ended:
            self._request.write(b": \n\n")

    def close(self) -> None:
        """End the stream in order."""
        if not self._ended:
            self._end()
            self._request.unregisterProducer()
            self._request.finish()

    def drop(self) -> None:
        """End it at once, whatever the reader has not read."""
        self._end()
        transport: Any = self._request.channel.transport
        transport.abortConnection()

    def pauseProducing(self) -> None:
        """Twisted: the connection is full."""
        self._paused = True

    def resumeProducing(self) -> None:
        """Twisted: the connection takes bytes again."""
        self._paused = False
        self._write_on()

    def stopProducing(self) -> None:
        """Twisted: the connection is gone."""
        self._end()

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._backlog.clear()
            self._downloads.clear()
            self._over(self)

    def _write_on(self) -> None:
        """Write what waits, until the connection is full."""
        while self._backlog and not self._paused and not self._ended:
            key = next(iter(self._backlog))
            data = self._backlog.pop(key)
            self._backlog_bytes -= len(data)
            data = data or self._encoded(str(key).removeprefix(_DOWNLOAD))
            if data:
                self._request.write(data)

    def _encoded(self, identifier: str) -> bytes:
        """The picture of a download now; nothing if it is forgotten."""
        status = self._downloads.pop(identifier)
        try:
            return encode_event(DownloadChanged(status or self._picture(identifier)))
        except UnknownDownloadError:
            return b""


class EventStreams:
    """All open streams of a node."""

    def __init__(self, node: NodeFace, reactor: Any) -> None:
        self._node = node
        self._readers: list[EventReader] = []
        self._stop_observing: Callable[[], None] | None = None
        self._told = 0
        self._heart = Periodic(reactor, HEARTBEAT_SECONDS, self._beat)

    def open(self, request: Request) -> None:
        """Make the request a stream.  Raises `ProblemError` (503) if there are too many."""
        if len(self._readers) >= MAX_READERS:
            raise problem(503, "too-many-streams", f"{MAX_READERS} event streams are open already")
        if self._stop_observing is None:
            self._stop_observing = self._node.observe(self._tell)
            self._heart.start()
        request.setHeader(b"content-type", b"text/event-stream")
        reader = EventReader(request, self._node.download, self._over)
        self._readers.append(reader)
        request.write(b": peershare events\n\n")
        reader.begin(self._node.download_ids())

    @property
    def count(self) -> int:
        """How many are open."""
        return len(self._readers)

    def close(self) -> None:
        """End all streams."""
        for reader in tuple(self._readers):
            reader.close()

    def _tell(self, event: Event) -> None:
        data = encode_event(event)
        for reader in tuple(self._readers):
            if isinstance(event, DownloadChanged):
                reader.send_download(event.download, data)
            else:
                reader.send(self._key(event), data)

    def _key(self, event: Event) -> str | int:
        """Events of one key replace each other in a backlog; every notice has its own."""
        if isinstance(event, ContentsChanged | NodeChanged):
            return type(event).__name__
        self._told += 1
        return self._told

    def _beat(self) -> None:
        for reader in tuple(self._readers):
            reader.beat()

    def _over(self, reader: EventReader) -> None:
        if reader in self._readers:
            self._readers.remove(reader)
        if not self._readers and self._stop_observing is not None:
            self._heart.stop()
            self._stop_observing()
            self._stop_observing = None
