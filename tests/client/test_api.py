"""The typed calls, over real connections to a service."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory, Protocol

from peershare.client.api import ApiClient, RefusedError
from peershare.client.asking import Asker
from peershare.client.feed import SILENCE_SECONDS, EventFeed
from peershare.client.outcome import ClientError, ExitStatus, GoneError
from peershare.client.proven import OlderServiceError, UnprovenError
from peershare.control.controlfile import ControlFile
from peershare.control.proof import prove
from peershare.errors import (
    AmbiguousContentError,
    AmbiguousNameError,
    BadNameError,
    StorageError,
    UnknownContentError,
)
from peershare.status import ContentsChanged, DownloadState, Event, Limits, NodeStatus
from tests.client.doubles import until
from tests.control.fake_node import a_choice, a_content, a_download, a_result
from tests.control.http import ADDRESS, ServiceTestCase


class Saying(Factory):
    """Answers one question with what it was made with, and hangs up."""

    noisy = False
    port = 0

    def __init__(self, data: bytes, token: str | None) -> None:
        self.data = data
        self.token = token
        self.received: list[bytes] = []

    def buildProtocol(self, addr: Any) -> Protocol:
        return SayingProtocol(self)


class SayingProtocol(Protocol):
    def __init__(self, factory: Saying) -> None:
        self.said = factory
        self.proven = False

    def dataReceived(self, asked: bytes) -> None:
        transport: Any = self.transport
        self.said.received.append(asked)
        if self.said.token is not None and not self.proven:
            self.proven = True
            nonce = parse_qs(urlsplit(asked.split(b" ")[1]).query)[b"nonce"][0].decode()
            body = msgspec.json.encode(prove(self.said.token, nonce))
            transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
            return
        transport.write(self.said.data)
        transport.loseConnection()


class CallsTests(ServiceTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.client = ApiClient(reactor, self.control)

    async def test_pictures(self) -> None:
        """What the node shows arrives as the same values."""
        self.node.start_download("forest", None)
        self.assertEqual(await self.client.node(), self.node.node_status())
        self.assertEqual(await self.client.contents(), self.node.known)
        self.node.not_listed = 9
        listing = await self.client.listing()
        count = len(self.node.known)
        self.assertEqual((listing.total, listing.shown), (count + 9, count))
        self.assertEqual(await self.client.peers(), self.node.heard)
        self.assertEqual(await self.client.downloads(), (a_download(),))
        self.assertEqual(await self.client.download("1"), a_download())
        self.assertEqual(await self.client.history(1), self.node.past[:1])

    async def test_changes(self) -> None:
        """Starting, stopping and sharing reach the node."""
        self.assertEqual(await self.client.start("Wäld 漢", None), a_download(name="Wäld 漢"))
        self.assertIs((await self.client.stop("1")).state, DownloadState.STOPPED)
        self.assertEqual((await self.client.share("/tmp/x.txt")).name, "x.txt")

    async def test_steering(self) -> None:
        """Pausing, resuming and cancelling reach the node, and what became of it comes back."""
        self.node.start_download("forest", None)
        self.assertIs((await self.client.pause("1")).state, DownloadState.PAUSED)
        self.assertIsNot((await self.client.resume("1")).state, DownloadState.PAUSED)
        self.assertIs((await self.client.cancel("1")).state, DownloadState.STOPPED)
        failure = await self.assertFailure(self.later(self.client.pause("9")), RefusedError)
        self.assertEqual(failure.status, ExitStatus.NOT_FOUND)

    async def test_limits(self) -> None:
        """Limits are told and set, both at once."""
        wanted = Limits(upload=5_000.0, download=None)
        self.assertEqual(await self.client.set_limits(wanted), wanted)
        self.assertEqual(await self.client.limits(), wanted)

    async def test_history(self) -> None:
        """What is asked of the logs reaches the node as it was meant."""
        await self.client.history(7, 1_700_000_000.25, "upload")
        self.assertEqual(self.node.asked, [("history", 7, 1_700_000_000.25, "upload")])

    async def test_opening(self) -> None:
        """A new code each time."""
        codes = {await self.client.opening() for _ in range(3)}
        self.assertEqual(len(codes), 3)

    async def test_patterns(self) -> None:
        """A pattern reaches the node as it was typed."""
        self.node.known = (a_content("Wäld & co.png"), a_content("bee.mp4"))
        self.assertEqual(await self.client.contents("Wäld & *"), self.node.known[:1])

    async def test_verify(self) -> None:
        """What hashing showed, of one file or all."""
        self.node.verified = (a_result(),)
        self.assertEqual(await self.client.verify("forest.png"), (a_result(),))
        await self.client.verify(None)
        self.assertEqual(self.node.asked, [("verify", "forest.png"), ("verify", None)])

    async def test_what_is_meant(self) -> None:
        """Whose, and by which protocol; what no address is, is refused."""
        await self.client.start("forest", None, source="198.18.0.2", classic=True)
        self.assertEqual(self.node.asked, [("start", "forest", None, "classic", "198.18.0.2")])
        with self.assertRaises(RefusedError):
            await self.client.start("forest", None, source="somebody")

    async def test_sequential(self) -> None:
        """The order of the bytes is a wish of its own."""
        await self.client.start("forest", None, sequential=True)
        self.assertEqual(self.node.asked, [("start", "forest", None, "sequential")])

    async def test_refusals(self) -> None:
        """A refusal has the service's sentence, the exact names, and an exit status."""
        for error, status in (
            (BadNameError("no name"), ExitStatus.USAGE),
            (AmbiguousNameError("which?", ("a", "b")), ExitStatus.AMBIGUOUS),
            (AmbiguousContentError("which?", (a_choice(), a_choice(2))), ExitStatus.AMBIGUOUS),
            (UnknownContentError("nobody"), ExitStatus.NOT_FOUND),
            (StorageError("disk full"), ExitStatus.FAILED),
        ):
            self.node.refusals["x"] = error
            caught = await self.refusal()
            self.assertEqual((str(caught), caught.status), (str(error), status))
            self.assertEqual(caught.choices, getattr(error, "choices", ()))
            self.assertEqual(caught.candidates, getattr(error, "candidates", ()))

    async def refusal(self) -> RefusedError:
        try:
            await self.client.start("x", None)
        except RefusedError as error:
            return error
        raise AssertionError("it was not refused")

    async def test_wrong_token(self) -> None:
        """A service that does not know our token is not ours, and never sees it."""
        stranger = ApiClient(reactor, ControlFile(self.control.url, "x", 1))
        await self.assertFailure(self.later(stranger.node()), UnprovenError)
        self.assertEqual(self.node.asked, [])

    async def test_nobody_there(self) -> None:
        """Where nobody listens the service is gone."""
        await self.service.stopService()
        failure = await self.assertFailure(self.later(self.client.node()), GoneError)
        self.assertIn("does not answer", str(failure))

    async def test_no_answer(self) -> None:
        """A service that takes the question and says nothing is as good as gone."""
        factory = Factory.forProtocol(Protocol)
        factory.noisy = False
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        url = f"http://127.0.0.1:{port.getHost().port}"
        silent = Asker(reactor, ControlFile(url, "x", 1)).ask("GET", "/node", NodeStatus, None, 0.1)
        failure = await self.assertFailure(self.later(silent), GoneError)
        self.assertIn("does not answer", str(failure))

    async def test_cancelled(self) -> None:
        """Who does not want to know any more is not told that the service is gone."""
        for moment in (0, 1):  # while it connects; while it waits for the answer
            self.node.sharing = Deferred()
            asked = self.later(self.client.share("/x"))
            if moment:
                await until(lambda: self.node.asked)
            asked.cancel()
            await self.assertFailure(asked, CancelledError)

    async def test_hangs_up(self) -> None:
        """So it is when it hangs up instead of answering."""
        failure = await self.answered(b"")
        self.assertIsInstance(failure, GoneError)

    async def test_cut_short(self) -> None:
        """And when it hangs up in the middle of its answer."""
        failure = await self.answered(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n[")
        self.assertIsInstance(failure, GoneError)

    async def test_another_version(self) -> None:
        """An answer that is not understood is said to be that."""
        failure = await self.answered(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        self.assertNotIsInstance(failure, GoneError)
        self.assertIn("one version", str(failure))

    async def test_impostor(self) -> None:
        """Whoever has the port and not the token is believed nothing, and sent nothing."""
        impostor = self.listen(b"", None)
        proof = msgspec.json.encode(prove("guessed", "0" * 64))
        echo = b'{"proof":"' + 64 * b"0" + b'"}'
        for body in (proof, echo, b"{}", b"[]", b"", b"\xff"):
            impostor.data = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body
            failure = await self.asked(impostor)
            self.assertIsInstance(failure, UnprovenError, body)
            self.assertNotIsInstance(failure, OlderServiceError)
            self.assertIn("another program", str(failure))
        for data in (
            b"HTTP/1.1 200 OK\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 999999999\r\n\r\n",
            b"SSH-2.0-x\r\n\r\n",
            20_000 * b"x",
        ):
            impostor.data = data
            self.assertIsInstance(await self.asked(impostor), UnprovenError, data[:60])
        self.assertNotIn(b"secret-token", b"".join(impostor.received))
        self.assertNotIn(b"uthorization", b"".join(impostor.received))

    async def test_older_service(self) -> None:
        """One of a former version cannot prove anything: it is to be restarted."""
        for status in (b"401 Unauthorized", b"404 Not Found"):
            older = self.listen(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\n\r\n", None)
            failure = await self.asked(older)
            self.assertIsInstance(failure, OlderServiceError)
            self.assertIn("restart it", str(failure))

    async def answered(self, data: bytes) -> BaseException:
        """What becomes of a question to a service that proves itself, and then says just this."""
        return await self.asked(self.listen(data, "secret-token"))

    def listen(self, data: bytes, token: str | None) -> Saying:
        """Somebody who answers with this; before that with a proof, where he knows a token."""
        factory = Saying(data, token)
        port = reactor.listenTCP(0, factory, interface=ADDRESS)
        self.addCleanup(port.stopListening)
        factory.port = port.getHost().port
        return factory

    async def asked(self, who: Saying) -> BaseException:
        control = ControlFile(f"http://{ADDRESS}:{who.port}", "secret-token", 1)
        client = ApiClient(reactor, control)
        return await self.assertFailure(self.later(client.node()), ClientError)

    def later(self, coroutine: Any) -> Deferred[Any]:
        return Deferred.fromCoroutine(coroutine)


class FeedTests(ServiceTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.client = ApiClient(reactor, self.control)
        self.events: list[Event] = []
        self.lost: list[str] = []

    async def open(self) -> EventFeed:
        feed = await self.client.events(self.events.append, lambda: self.lost.append("lost"))
        self.addCleanup(feed.stop)
        return feed

    async def test_nothing_is_missed(self) -> None:
        """What happens once it is open is told."""
        await self.open()
        self.node.emit(ContentsChanged(1, 1))
        await until(lambda: self.events)
        self.assertEqual(self.events, [ContentsChanged(1, 1)])

    async def test_service_ends(self) -> None:
        """The end of the service is told once."""
        await self.open()
        await self.service.stopService()
        await until(lambda: self.lost)
        self.assertEqual(self.lost, ["lost"])

    async def test_stop(self) -> None:
        """After a stop nothing is told, and the service sees the reader go."""
        feed = await self.open()
        feed.stop()
        self.node.emit(ContentsChanged(1, 1))
        await until(lambda: not self.node.observers)
        self.assertEqual((self.events, self.lost), ([], []))

    async def test_unknown_events(self) -> None:
        """What a newer service may send is passed over."""
        feed = await self.open()
        feed.dataReceived(b'event: new\ndata: {"type":"new"}\n\ndata: junk\n\n')
        self.node.emit(ContentsChanged(2, 2))
        await until(lambda: self.events)
        self.assertEqual(self.events, [ContentsChanged(2, 2)])

    async def test_refused(self) -> None:
        """A service that gives no stream is as good as gone."""
        stranger = ApiClient(reactor, ControlFile(self.control.url, "x", 1))
        with self.assertRaises(GoneError):
            await stranger.events(self.events.append, lambda: None)


class SilenceTests(ServiceTestCase):
    def test_silence(self) -> None:
        """A stream without even a heartbeat is lost."""
        from twisted.internet.task import Clock
        from twisted.internet.testing import StringTransport

        clock, lost = Clock(), []
        feed = EventFeed(clock, lambda event: None, lambda: lost.append("lost"))
        feed.makeConnection(StringTransport())
        clock.advance(SILENCE_SECONDS - 1)
        feed.dataReceived(b": \n\n")
        clock.advance(SILENCE_SECONDS - 1)
        self.assertEqual(lost, [])
        clock.advance(1)
        self.assertEqual((lost, clock.getDelayedCalls()), (["lost"], []))
