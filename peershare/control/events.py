r"""The event stream: server-sent events of what happens in the node.

A stream begins with a `download` event for every current download; then each `Event` follows as
it happens, named by its tag (`download`, `notice`, `contents`, `node`), the JSON of the Struct as
data, and a comment every 15 s so that both sides see that the other lives.

A reader that does not read never slows the node: while its connection is full, only the newest
picture of each download is kept for it, and one with over 256 KiB of backlog is dropped.
Not for: deciding what is an event.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from twisted.web.http import Request
from zope.interface import implementer

from peershare.control.face import NodeFace
from peershare.control.messages import problem
from peershare.status import ContentsChanged, DownloadChanged, Event, NodeChanged
from peershare.timers import Periodic

HEARTBEAT_SECONDS = 15.0
MAX_BACKLOG_BYTES = 256 * 1024
# Each is a connection and a backlog; nobody has more windows open than this.
MAX_READERS = 32

_TAGS = {DownloadChanged: b"download", ContentsChanged: b"contents", NodeChanged: b"node"}


def encode_event(event: Event) -> bytes:
    """One event as it stands in the stream."""
    tag = _TAGS.get(type(event), b"notice")
    return b"event: %s\ndata: %s\n\n" % (tag, msgspec.json.encode(event))


@implementer(IPushProducer)
class EventReader:
    """One open stream."""

    _log = Logger()

    def __init__(self, request: Request, over: Callable[[EventReader], None]) -> None:
        """`over` is called once, when the reader has gone or was dropped."""
        self._request = request
        self._over = over
        self._paused = False
        self._ended = False
        self._backlog: dict[object, bytes] = {}
        self._backlog_bytes = 0
        gone: Deferred[None] = request.notifyFinish()
        gone.addBoth(lambda _: self._end())
        request.registerProducer(self, True)

    def send(self, key: object, data: bytes) -> None:
        """Write it; or keep it for later, in the place of what has the same key."""
        if self._ended:
            return
        if not self._paused:
            self._request.write(data)
            return
        self._backlog_bytes += len(data) - len(self._backlog.pop(key, b""))
        self._backlog[key] = data
        if self._backlog_bytes > MAX_BACKLOG_BYTES:
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
        backlog, self._backlog = self._backlog, {}
        self._backlog_bytes = 0
        if backlog and not self._ended:
            self._request.write(b"".join(backlog.values()))

    def stopProducing(self) -> None:
        """Twisted: the connection is gone."""
        self._end()

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._backlog.clear()
            self._over(self)


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
        reader = EventReader(request, self._over)
        self._readers.append(reader)
        request.write(b": peershare events\n\n")
        for status in self._node.downloads():
            reader.send(("download", status.id), encode_event(DownloadChanged(status)))

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
        key = self._key(event)
        for reader in tuple(self._readers):
            reader.send(key, data)

    def _key(self, event: Event) -> object:
        """Events of one key replace each other in a backlog; every notice has its own."""
        if isinstance(event, DownloadChanged):
            return ("download", event.download.id)
        if isinstance(event, ContentsChanged):
            return "contents"
        if isinstance(event, NodeChanged):
            return "node"
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
