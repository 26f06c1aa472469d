"""Files that come as the body of a request: how they go to the node, and how they end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from peershare.control.messages import ProblemError
from peershare.control.request import MAX_SURPLUS_BYTES
from peershare.control.server import IDLE_SECONDS
from peershare.control.uploads import MAX_UPLOADS, MAX_WAITING_BYTES, Upload, Uploads
from peershare.errors import BadNameError, StorageError
from tests.control.fake_node import FakeNode, FakeWriter, a_share
from tests.control.http import ServiceTestCase

FULL = StorageError("/share: the disk is full: 5 bytes more are needed", 5)


class SlowWorkers:
    """Workers that are done when the test says so."""

    def __init__(self) -> None:
        self.work: list[tuple[Deferred[Any], Callable[[], Any]]] = []

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self.work.append((done, lambda: function(*arguments)))
        return done

    def do(self, place: int = 0) -> None:
        """What was asked first, or at another place."""
        done, work = self.work.pop(place)
        try:
            result = work()
        except Exception as error:
            done.errback(error)
        else:
            done.callback(result)


class UploadsTests(SynchronousTestCase):
    """Also where the bytes come from: `held` while it is told to give none."""

    def setUp(self) -> None:
        self.node = FakeNode()
        self.workers = SlowWorkers()
        self.uploads = Uploads(self.node, self.workers)
        self.held = False
        self.failed: list[Exception] = []

    def pause_body(self) -> None:
        self.held = True

    def resume_body(self) -> None:
        self.held = False

    def open(self, name: str = "x.bin", size: int | None = None) -> Upload:
        """One whose file is made."""
        upload = self.uploads.open(name, size, self, self.failed.append)
        self.workers.do(-1)
        return upload

    @property
    def writer(self) -> FakeWriter:
        return self.node.writers[-1]

    def test_whole(self) -> None:
        """Every byte goes to the node in order; the name is given when all are written."""
        upload = self.open(size=6)
        for data in (b"ab", b"cd", b"ef"):
            upload.write(data)
        finished = upload.finish()
        self.assertEqual(self.writer.data, b"")  # nothing is written where it would be waited for
        self.workers.do()
        self.assertNoResult(finished)
        self.workers.do()
        self.assertEqual(self.writer.data, b"abcdef")
        self.assertEqual(self.successResultOf(finished).size, 6)
        self.assertEqual(self.node.asked, [("receive", "x.bin", 6)])

    def test_empty(self) -> None:
        """A file of no bytes is a file."""
        self.assertEqual(self.successResultOf(self.open(size=0).finish()).size, 0)

    def test_slow_disk(self) -> None:
        """While the disk is slow the source is held, and what waits is bounded."""
        upload = self.open()
        chunk, given = b"x" * 65_536, 0
        for _ in range(8):
            while not self.held:
                upload.write(chunk)
                given += len(chunk)
                waiting = given - len(self.writer.data)
                self.assertLessEqual(waiting, 2 * (MAX_WAITING_BYTES + len(chunk)))
            self.workers.do()
            self.assertFalse(self.held)
        finished = upload.finish()
        while self.workers.work:
            self.workers.do()
        self.assertEqual(self.successResultOf(finished).size, given)

    def test_lost_in_the_middle(self) -> None:
        """A connection that is lost leaves nothing, once the worker has let go of the file."""
        upload = self.open()
        upload.write(b"ab")
        upload.write(b"cd")
        upload.abort()
        self.assertEqual(self.writer.ended, "")  # a worker is still at it
        self.workers.do()
        self.assertEqual((self.writer.ended, self.writer.data), ("aborted", b"ab"))
        self.assertEqual(self.workers.work, [])
        upload.write(b"late")
        upload.abort()
        self.assertEqual(self.workers.work, [])

    def test_lost_while_held(self) -> None:
        """Nor does a lost connection stay held."""
        upload = self.open()
        while not self.held:
            upload.write(b"x" * 65_536)
        upload.abort()
        self.workers.do()
        self.assertFalse(self.held)

    def test_lost_at_the_end(self) -> None:
        """When all is here the file is kept, whoever has gone."""
        upload = self.open()
        upload.write(b"ab")
        finished = upload.finish()
        upload.abort()
        finished.cancel()
        self.failureResultOf(finished)
        self.workers.do()
        self.assertEqual((self.writer.ended, self.writer.data), ("finished", b"ab"))

    def test_disk_full(self) -> None:
        """A disk in the way is told once, while bytes still come; nothing is kept."""
        upload = self.open()
        upload.write(b"ab")
        upload.write(b"cd")
        self.writer.problem = FULL
        self.workers.do()
        self.assertEqual(self.failed, [FULL])
        self.assertEqual(self.writer.ended, "aborted")
        upload.write(b"ef")
        self.assertEqual((self.failed, self.workers.work), ([FULL], []))

    def test_disk_full_at_the_end(self) -> None:
        """Behind the last byte it is what finishing fails with."""
        for full_at_once in (True, False):
            upload = self.open()
            upload.write(b"ab")
            finished = upload.finish()
            if not full_at_once:
                self.workers.do()
                continue
            self.writer.problem = FULL
            self.workers.do()
            self.assertIs(self.failureResultOf(finished).value, FULL)
            self.assertEqual(self.writer.ended, "aborted")
        upload = self.open()
        self.writer.problem = FULL
        self.assertIs(self.failureResultOf(upload.finish()).value, FULL)
        self.assertEqual(self.failed, [])

    def test_before_its_bytes(self) -> None:
        """What the disk cannot hold is refused although nothing of it has been sent."""
        self.uploads.open("x.bin", 10**17, self, self.failed.append)
        self.writer.problem = FULL
        self.workers.do()
        self.assertEqual((self.failed, self.writer.ended), ([FULL], "aborted"))

    def test_too_many(self) -> None:
        """They are counted; one that is over makes room."""
        uploads = [self.open() for _ in range(MAX_UPLOADS)]
        self.assertEqual(self.assertRaises(ProblemError, self.open).status, 503)
        uploads[0].finish()
        uploads[1].abort()
        self.open()
        self.open()
        self.assertRaises(ProblemError, self.open)

    def test_refused(self) -> None:
        """What the node refuses takes no place."""
        self.node.refusals["bad"] = BadNameError("no file can be called so")
        for _ in range(MAX_UPLOADS + 1):
            self.assertRaises(BadNameError, self.open, "bad")

    def test_close(self) -> None:
        """At the end of the service nothing is left, and no worker is at it any more."""
        first, second, third = self.open(), self.open(), self.open()
        first.write(b"ab")
        second.write(b"cd")
        finished = second.finish()
        closed = self.uploads.close()
        self.assertEqual(self.node.writers[2].ended, "aborted")
        self.assertNoResult(closed)
        self.workers.do()
        self.workers.do()
        self.successResultOf(closed)
        self.assertEqual(self.failureResultOf(finished, ProblemError).value.status, 503)
        self.assertEqual([writer.ended for writer in self.node.writers], ["aborted"] * 3)
        third.write(b"late")
        self.assertRaises(ProblemError, self.open)


class PutTests(ServiceTestCase):
    """Over HTTP, with real workers."""

    def put_headers(self, **changes: str | None) -> list[tuple[str, str]]:
        return self.headers(content_type="application/octet-stream", **changes)

    async def put(self, name: str, body: bytes, **changes: str | None) -> Any:
        path = f"/api/shares/{name}"
        return await self.ask("PUT", path, self.put_headers(**changes), body)

    async def test_put(self) -> None:
        """A body far over what is kept of any other goes to the node, whole."""
        body = bytes(range(256)) * 20_000
        answer = await self.put("forest.png", body)
        self.assertEqual((answer.status, answer.json["how"]), (201, "received"))
        self.assertEqual(self.node.writers[0].data, body)
        self.assertEqual(self.node.asked, [("receive", "forest.png", len(body))])

    async def test_names(self) -> None:
        """The name is one segment, whatever is escaped in it; the node judges it."""
        for path, name in (
            *(("a%20b.txt", "a b.txt"), ("caf%C3%A9", "café"), ("..%2F..%2Fx", "../../x")),
            *(("a%00b", "a\0b"), ("%2e%2e", ".."), ("a?b=c", "a"), ("%ff", "\ufffd")),
        ):
            self.assertEqual((await self.put(path, b"x")).status, 201, path)
            self.assertEqual(self.node.asked[-1], ("receive", name, 1))
        self.node.refusals["../x"] = BadNameError("no file can be called so")
        refused = await self.put("..%2Fx", b"x" * 200_000)
        self.assertEqual((refused.status, refused.json["error"]), (400, "bad-name"))

    async def test_chunked(self) -> None:
        """A body without a length is taken, too."""
        wire = await self.connect()
        headers = self.put_headers(transfer_encoding="chunked")
        chunk = b"20000\r\n" + b"y" * 0x20000 + b"\r\n"
        wire.transport.write(self.request("PUT", "/api/shares/x", headers) + chunk * 9)
        wire.transport.write(b"0\r\n\r\n")
        self.assertIn(b" 201 ", (await wire.ended).split(b"\r\n")[0])
        self.assertEqual(self.node.asked, [("receive", "x", None)])
        self.assertEqual(self.node.writers[0].data, b"y" * 0x20000 * 9)

    async def test_two_on_one_connection(self) -> None:
        """The connection goes on after one."""
        wire = await self.connect()
        one = self.request("PUT", "/api/shares/a", self.put_headers(connection=None), b"a" * 9_000)
        two = self.request("PUT", "/api/shares/b", self.put_headers(), b"b" * 9_000)
        wire.transport.write(one + two)
        self.assertEqual((await wire.ended).count(b"HTTP/1.1 201 "), 2)
        self.assertEqual([len(writer.data) for writer in self.node.writers], [9_000, 9_000])

    async def test_hung_up(self) -> None:
        """Whoever hangs up in the middle leaves nothing."""
        wire = await self.connect()
        headers = self.put_headers(content_length="1000000")
        wire.transport.write(self.request("PUT", "/api/shares/x", headers) + b"z" * 500_000)
        while not (self.node.writers and len(self.node.writers[0].data) == 500_000):
            await deferLater(reactor, 0.005)
        await wire.close()
        while not self.node.writers[0].ended:
            await deferLater(reactor, 0.005)
        self.assertEqual(self.node.writers[0].ended, "aborted")
        self.assertEqual(self.flushLoggedErrors(), [])

    async def test_no_room(self) -> None:
        """A file that has no room is refused before it comes, and asked for no more."""
        self.node.refusals["x"] = FULL
        wire = await self.connect()
        headers = self.put_headers(content_length="1000000000000", expect="100-continue")
        wire.transport.write(self.request("PUT", "/api/shares/x", headers))
        await wire.until(b'"needed_bytes":5')
        self.assertTrue(wire.received.startswith(b"HTTP/1.1 503 "))
        self.assertNotIn(b"100 Continue", wire.received)
        wire.transport.write(b"z" * (MAX_SURPLUS_BYTES + 1))
        await wire.ended
        self.assertEqual(self.node.writers, [])

    async def test_expected(self) -> None:
        """One that has is asked for."""
        wire = await self.connect()
        headers = self.put_headers(content_length="3", expect="100-continue")
        wire.transport.write(self.request("PUT", "/api/shares/x", headers))
        await wire.until(b"100 Continue\r\n\r\n")
        wire.transport.write(b"abc")
        self.assertIn(b"HTTP/1.1 201 ", await wire.ended)

    async def test_disk_full_in_the_middle(self) -> None:
        """A disk that fills up is told at once; the sender may stop, or finds it at the end."""
        for length in (2_000_000, 900_000):
            wire = await self.connect()
            headers = self.put_headers(content_length=str(length))
            wire.transport.write(self.request("PUT", "/api/shares/x", headers) + b"z" * 10_000)
            while not self.node.writers or not self.node.writers[-1].data:
                await deferLater(reactor, 0.005)
            self.node.writers[-1].problem = FULL
            wire.transport.write(b"z" * 10_000)
            await wire.until(b'"needed_bytes":5')
            wire.transport.write(b"z" * (length - 20_000))
            self.assertEqual((await wire.ended).count(b"HTTP/1.1 "), 1)
            self.assertEqual(self.node.writers.pop().ended, "aborted")

    async def test_slow_to_name(self) -> None:
        """The answer may take its time; whoever leaves meanwhile takes nothing away."""
        wire = await self.connect()
        headers = self.put_headers(content_length="3")
        wire.transport.write(self.request("PUT", "/api/shares/x", headers) + b"a")
        while not self.node.writers:
            await deferLater(reactor, 0.005)
        named = self.node.writers[0].finishing = Deferred()
        wire.transport.write(b"bc")
        while not self.node.writers[0].ended:
            await deferLater(reactor, 0.005)
        await wire.close()
        await self.ask("GET", "/api/node")
        named.callback(a_share(Path("x")))
        self.assertEqual(self.node.writers[0].ended, "finished")
        self.assertEqual(self.flushLoggedErrors(), [])

    async def test_stop(self) -> None:
        """The end of the service ends what is being received."""
        wire = await self.connect()
        headers = self.put_headers(content_length="1000000")
        wire.transport.write(self.request("PUT", "/api/shares/x", headers) + b"z" * 100)
        while not (self.node.writers and self.node.writers[0].data):
            await deferLater(reactor, 0.005)
        began = reactor.seconds()
        await self.service.stopService()
        await wire.ended
        self.assertEqual(self.node.writers[0].ended, "aborted")
        self.assertLess(reactor.seconds() - began, 1.0)

    async def test_slow_disk(self) -> None:
        """While the disk is slow the sender waits, and not the memory of the service."""
        disk = threading.Event()
        self.addCleanup(disk.set)
        write = FakeWriter.write

        def write_slowly(writer: FakeWriter, data: bytes) -> None:
            disk.wait(10)
            write(writer, data)

        self.patch(FakeWriter, "write", write_slowly)
        body = b"z" * 30_000_000
        wire = await self.connect()
        wire.transport.write(self.request("PUT", "/api/shares/x", self.put_headers(), body))
        upload = None
        while upload is None or not upload._paused:
            await deferLater(reactor, 0.01)
            upload = next(iter(self.service._uploads._open), None)
        began = reactor.seconds()
        self.assertEqual((await self.ask("GET", "/api/node")).status, 200)
        self.assertLess(reactor.seconds() - began, 1.0)  # nobody else waits
        self.assertLess(upload._waiting_bytes, MAX_WAITING_BYTES + 100_000)
        disk.set()
        self.assertIn(b" 201 ", (await wire.ended).split(b"\r\n")[0])
        self.assertEqual(self.node.writers[0].data, body)

    async def test_held_connection_is_not_idle(self) -> None:
        """While our disk is slow, the minute that an idle connection gets is not counted."""
        wire = await self.connect()
        headers = self.put_headers(content_length="1000000")
        wire.transport.write(self.request("PUT", "/api/shares/x", headers) + b"z" * 100)
        while not (self.node.writers and self.node.writers[0].data):
            await deferLater(reactor, 0.005)
        (wrapper,) = self.service._connections.protocols
        channel = wrapper.wrappedProtocol._channel
        (request,) = channel.requests
        self.assertEqual(channel.timeOut, IDLE_SECONDS)
        request.pause_body()
        self.assertIsNone(channel.timeOut)
        request.resume_body()
        self.assertEqual(channel.timeOut, IDLE_SECONDS)
        await wire.close()
