"""The event stream: what is in it, and what a reader that does not read costs."""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.internet import reactor
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase

from peershare.client.sse import EventStreamDecoder
from peershare.control.events import (
    HEARTBEAT_SECONDS,
    MAX_BACKLOG_BYTES,
    MAX_READERS,
    EventStreams,
    encode_event,
)
from peershare.status import (
    ContentsChanged,
    DownloadChanged,
    DownloadState,
    DownloadStatus,
    Event,
    NodeChanged,
    Notice,
    NoticeKind,
)
from tests.control.fake_node import FakeNode, a_download
from tests.control.http import ServiceTestCase, Wire


def a_notice(text: str = "forest_2: 198.18.0.2 refused", download: str = "1") -> Notice:
    """A failover that is told."""
    return Notice(
        kind=NoticeKind.FAILOVER, download=download, chunk="forest_2", peer="198.18.0.2", text=text
    )


class EncodeEventTests(SynchronousTestCase):
    def test_every_kind(self) -> None:
        """The name of an event is its tag, and its data one line that decodes to it."""
        for name, event in (
            ("download", DownloadChanged(a_download())),
            ("notice", a_notice("two\nlines\r\n\r\nevent: forged")),
            ("contents", ContentsChanged(1, 2)),
            ("node", NodeChanged(FakeNode().node_status())),
        ):
            (found,) = EventStreamDecoder().feed(encode_event(event))
            self.assertEqual(found.name, name)
            self.assertEqual(msgspec.json.decode(found.data, type=Event), event)


class StreamTests(ServiceTestCase):
    async def open(self) -> Wire:
        wire = await self.connect()
        wire.transport.write(self.request("GET", "/api/events", self.headers(connection=None)))
        await wire.until(b": peershare events")
        return wire

    async def test_begins_with_the_downloads(self) -> None:
        """A new reader is told every current download first."""
        self.node.start_download("forest", None)
        self.node.start_download("bee", None)
        wire = await self.open()
        await wire.until(b'"name":"bee"')
        self.assertIn(b"content-type: text/event-stream", wire.received.lower())
        self.assertEqual(wire.received.count(b"event: download\n"), 2)
        await wire.close()

    async def test_events_come_as_they_happen(self) -> None:
        """Every event goes to every reader."""
        wires = [await self.open(), await self.open()]
        self.node.emit(a_notice())
        self.node.emit(ContentsChanged(3, 4))
        for wire in wires:
            await wire.until(b'data: {"type":"contents","contents":3,"peers":4}\n\n')
            self.assertIn(b"event: notice\n", wire.received)
            await wire.close()

    async def test_nobody_listens_when_nobody_reads(self) -> None:
        """The node is observed once for all readers, and not any more when the last has gone."""
        wires = [await self.open(), await self.open()]
        self.assertEqual(len(self.node.observers), 1)
        for wire in wires:
            await wire.close()
        while self.node.observers:
            await self.ask("GET", "/api/node")
        await (await self.open()).close()

    async def test_too_many_readers(self) -> None:
        """The readers are counted; one too many is 503, and a place that was left is free."""
        wires = [await self.open() for _ in range(MAX_READERS)]
        self.assertEqual((await self.ask("GET", "/api/events")).status, 503)
        await wires.pop().close()
        wires.append(await self.open())
        for wire in wires:
            await wire.close()

    async def test_stop_ends_streams(self) -> None:
        """The end of the service ends a stream in order, and at once."""
        wire = await self.open()
        began = reactor.seconds()
        await self.service.stopService()
        self.assertTrue((await wire.ended).endswith(b"0\r\n\r\n"))
        self.assertLess(reactor.seconds() - began, 0.5)

    async def test_stop_ends_full_streams(self) -> None:
        """A reader that does not read does not keep the service either."""
        wire = await self.open()
        wire.transport.pauseProducing()
        reader = self.service._streams._readers[0]
        while not reader._paused:
            self.node.emit(a_notice("x" * 60_000))
            await deferLater(reactor, 0)
        began = reactor.seconds()
        await self.service.stopService()
        self.assertLess(reactor.seconds() - began, 1.0)
        await wire.close()

    async def fill(self, wire: Wire) -> None:
        """Stop reading, and have events sent until the connection is full."""
        wire.transport.pauseProducing()
        for _ in range(200):
            self.node.emit(a_notice("x" * 60_000))
            await deferLater(reactor, 0)
            if not self.node.observers:
                return

    async def test_reader_that_does_not_read(self) -> None:
        """It is dropped, and neither the node nor another reader notices."""
        stuck, other = await self.open(), await self.open()
        await self.fill(stuck)
        self.node.emit(a_notice("the last one"))
        await other.until(b"the last one")
        while len(self.service._streams._readers) > 1:
            await deferLater(reactor, 0.01)
        stuck.transport.resumeProducing()
        self.assertNotIn(b"the last one", await stuck.ended)
        await other.close()

    async def test_reader_that_sleeps_for_a_while(self) -> None:
        """It gets only the newest picture of a download, behind what it has already."""
        self.node.start_download("forest", None)
        wire = await self.open()
        wire.transport.pauseProducing()
        sent = 0
        reader = self.service._streams._readers[0]
        while not reader._paused:
            sent += 1
            self.node.change("1", received=sent)
            await deferLater(reactor, 0)
        for received in range(sent, sent + 10_000):
            self.node.change("1", received=received)
        self.node.change("1", state=DownloadState.DONE)
        wire.transport.resumeProducing()
        await wire.until(b'"state":"done"')
        self.assertLess(wire.received.count(b"event: download"), sent + 10)
        await wire.close()


class FakeRequest:
    """A request whose connection is full once it has taken so many bytes, and then some more."""

    def __init__(self, room: float = float("inf")) -> None:
        self.room = room
        self.written = b""
        self.dropped = False
        self.channel = self
        self.transport = self
        self.producer: Any = None

    def notifyFinish(self) -> Any:
        from twisted.internet.defer import Deferred

        return Deferred()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self.producer = producer

    def setHeader(self, name: bytes, value: bytes) -> None:
        pass

    def write(self, data: bytes) -> None:
        self.written += data
        self.room -= len(data)
        if self.room <= 0:
            self.producer.pauseProducing()

    def read(self, room: float) -> list[DownloadStatus]:
        """The downloads that were written; there is room for so many bytes now."""
        written, self.written, self.room = self.written, b"", room
        self.producer.resumeProducing()
        events = (
            msgspec.json.decode(e.data, type=Event) for e in EventStreamDecoder().feed(written)
        )
        return [event.download for event in events if isinstance(event, DownloadChanged)]

    def abortConnection(self) -> None:
        self.dropped = True


class EventStreamsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.node = FakeNode()
        self.streams = EventStreams(self.node, self.clock)
        self.request = FakeRequest()
        self.streams.open(self.request)

    def test_heartbeat(self) -> None:
        """A silent stream has a comment every 15 s, until nobody reads any more."""
        before = self.request.written
        self.clock.advance(HEARTBEAT_SECONDS)
        self.assertEqual(self.request.written, before + b": \n\n")
        self.request.producer.stopProducing()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_heartbeat_into_a_full_connection(self) -> None:
        """A reader that does not read gets no comments piled up."""
        self.request.producer.pauseProducing()
        before = self.request.written
        self.clock.advance(HEARTBEAT_SECONDS)
        self.assertEqual(self.request.written, before)

    def test_backlog_is_bounded(self) -> None:
        """Notices are all kept for a reader that comes back, up to the bound."""
        self.request.producer.pauseProducing()
        notice = a_notice("x" * 1_000)
        size = len(encode_event(notice))
        for _ in range(MAX_BACKLOG_BYTES // size):
            self.node.emit(notice)
        self.assertFalse(self.request.dropped)
        self.node.emit(notice)
        self.assertTrue(self.request.dropped)
        self.assertEqual(self.node.observers, [])

    def test_pictures_of_the_node(self) -> None:
        """A reader that sleeps for a day gets one picture of the node and one of the lists."""
        self.request.producer.pauseProducing()
        for number in range(86_400):
            self.node.problems = (f"the {number}th",)
            self.node.emit(NodeChanged(self.node.node_status()))
            self.node.emit(ContentsChanged(number, 0))
        self.assertFalse(self.request.dropped)
        before = len(self.request.written)
        self.request.producer.resumeProducing()
        found = EventStreamDecoder().feed(self.request.written[before:])
        self.assertEqual([event.name for event in found], ["node", "contents"])
        self.assertIn(b"the 86399th", found[0].data)

    def test_order_of_a_backlog(self) -> None:
        """The last picture of a download comes behind the notices that led to it."""
        self.request.producer.pauseProducing()
        self.node.start_download("forest", None)
        self.node.change("1", received=1)
        self.node.emit(a_notice("on the way"))
        self.node.change("1", state=DownloadState.DONE)
        before = len(self.request.written)
        self.request.producer.resumeProducing()
        found = EventStreamDecoder().feed(self.request.written[before:])
        self.assertEqual([event.name for event in found], ["notice", "download"])
        self.assertIn(b'"done"', found[1].data)

    def test_beginning_is_as_long_as_it_may(self) -> None:
        """A reader of 10,000 downloads is sent no more than it reads, and is not dropped."""
        names = [str(number) for number in range(10_000)]
        self.node.started = {name: a_download(name, name * 50) for name in names}
        request = FakeRequest(room=65_536)
        self.streams.open(request)
        found: list[DownloadStatus] = []
        while len(found) < len(names):
            self.assertLess(len(request.written), 2 * 65_536)
            self.assertFalse(request.dropped)
            found += request.read(65_536)
        self.assertEqual([status.id for status in found], names)

    def test_pictures_of_many_downloads_are_made_as_they_leave(self) -> None:
        """All change again and again for a slow reader: it is told each once, as it is then."""
        for number in range(2_000):
            self.node.start_download(f"forest{number}", None)
        request = FakeRequest(room=1)
        self.streams.open(request)
        for received in range(5):
            for identifier in self.node.download_ids():
                self.node.change(identifier, received=received)
        self.assertFalse(request.dropped)
        request.read(float("inf"))
        found = request.read(float("inf"))
        self.assertEqual(len(found), 2_000)
        self.assertEqual({status.received for status in found}, {4})

    def test_end_of_a_forgotten_download(self) -> None:
        """A slow reader is told how a download ended, although the node has forgotten it since."""
        self.node.start_download("forest", None)
        self.request.producer.pauseProducing()
        self.node.change("1", state=DownloadState.DONE)
        self.node.started.clear()
        self.request.written = b""
        self.request.producer.resumeProducing()
        self.assertIn(b'"done"', self.request.written)
