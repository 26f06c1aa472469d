"""The service around the API: its port, its file, its end."""

from __future__ import annotations

import os
import shutil
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import Resource

from peershare.control import controlfile
from peershare.control.controlfile import (
    ControlFile,
    keep_control_file,
    no_api,
    read_control_file,
    read_no_api,
    remove_control_file,
    write_control_file,
)
from peershare.control.server import (
    MAX_CONNECTIONS,
    MAX_STRANGERS,
    STRANGER_SECONDS,
    Connections,
    ControlService,
    QuietSite,
)
from peershare.settings import Settings
from tests.control.fake_node import FakeNode
from tests.control.http import ServiceTestCase, mode_of


class ServiceTests(ServiceTestCase):
    async def test_control_file(self) -> None:
        """While it runs there is a file for its owner alone, that tells how to ask."""
        path = self.state / "control.json"
        self.assertEqual(mode_of(path), 0o600)
        self.assertEqual(read_control_file(self.state), self.control)
        self.assertEqual(self.control.pid, os.getpid())
        self.assertGreaterEqual(len(self.control.token), 43)
        await self.service.stopService()
        self.assertFalse(path.exists())

    async def test_new_token_each_start(self) -> None:
        """A token that was seen once is worth nothing after a restart."""
        await self.service.stopService()
        self.service.startService()
        self.assertNotEqual(self.service.control.token, self.control.token)

    async def test_stop_leaves_another_ones_file(self) -> None:
        """A file that another service has written since is not removed."""
        other = ControlFile("http://127.0.0.1:1", "x", 1)
        write_control_file(self.state, other)
        await self.service.stopService()
        self.assertEqual(read_control_file(self.state), other)

    async def test_written_again(self) -> None:
        """A file that is removed while it runs, with its folder, is there again soon."""
        self.service._keeping._seconds = 0.05
        for remove in (
            lambda: (self.state / "control.json").unlink(),
            lambda: (self.state / "control.json").write_bytes(b"{torn"),
            lambda: shutil.rmtree(self.state),
        ):
            self.service._keeping.start()
            remove()
            while read_control_file(self.state) != self.control:
                await deferLater(reactor, 0.02)
        self.assertEqual(mode_of(self.state / "control.json"), 0o600)

    async def test_written_until_it_stands(self) -> None:
        """One that cannot be written at first is tried again."""
        await self.service.stopService()
        shutil.rmtree(self.state)
        self.state.write_bytes(b"in the way")
        self.service.startService()
        self.service._keeping._seconds = 0.05
        self.service._keeping.start()
        await deferLater(reactor, 0.2)
        self.state.unlink()
        while read_control_file(self.state) != self.service.control:
            await deferLater(reactor, 0.02)

    async def test_another_owner(self) -> None:
        """A folder that another process owns by now has that one's file, and keeps it."""
        other = ControlFile("http://127.0.0.1:1", "x", 1)
        write_control_file(self.state, other)
        self.patch(controlfile, "find_owner", lambda _: os.getpid() + 1)
        self.assertFalse(keep_control_file(self.state, self.control))
        self.assertEqual(read_control_file(self.state), other)
        self.patch(controlfile, "find_owner", lambda _: os.getpid())
        self.assertTrue(keep_control_file(self.state, self.control))

    async def test_stop_ends_idle_connections(self) -> None:
        """A connection that is kept open does not keep the service."""
        wire = await self.connect()
        wire.transport.write(self.request("GET", "/api/node", self.headers(connection=None)))
        await wire.until(b'"problems"')
        began = reactor.seconds()
        await self.service.stopService()
        await wire.ended
        self.assertLess(reactor.seconds() - began, 0.5)

    async def test_stop_aborts_what_is_under_way(self) -> None:
        """A request that is not finished is cut off after a moment."""
        wire = await self.connect()
        headers = self.headers(content_type="application/json", content_length="100")
        wire.transport.write(self.request("POST", "/api/shares", headers))
        await self.ask("GET", "/api/node")
        began = reactor.seconds()
        await self.service.stopService()
        await wire.ended
        self.assertLess(reactor.seconds() - began, 1.0)

    async def test_stop_twice(self) -> None:
        """Stopping what is stopped does nothing."""
        await self.service.stopService()
        await self.service.stopService()

    async def test_many_connections(self) -> None:
        """Connections are counted; what is over the cap is closed at once, then there is room."""
        wires = [await self.connect() for _ in range(MAX_CONNECTIONS)]
        while len(self.service._connections.protocols) < MAX_CONNECTIONS:
            await self.pause()
        extra = await self.connect()
        self.assertEqual(await extra.ended, b"")
        for wire in wires:
            await wire.close()
        while self.service._connections.protocols:
            await self.pause()
        self.assertEqual((await self.ask("GET", "/api/node")).status, 200)

    async def pause(self) -> None:
        from twisted.internet.task import deferLater

        await deferLater(reactor, 0.01)


class PortTests(TestCase):
    def service(self, port: int | None, *addresses: str) -> ControlService:
        state = Path(self.mktemp())
        state.mkdir()
        settings = Settings(
            share=state / "share",
            state=state,
            addresses=tuple(map(IPv4Address, addresses)),
            control_port=port,
        )
        service = ControlService(FakeNode(), settings, reactor)
        service.startService()
        self.addCleanup(service.stopService)
        return service

    def test_own_loopback_address(self) -> None:
        """With a loopback address of its own it listens there: peers share a machine."""
        service = self.service(None, "127.0.0.20")
        self.assertTrue(service.control.url.startswith("http://127.0.0.20:"))

    def test_default_address(self) -> None:
        """Else on 127.0.0.1, never on the network."""
        for addresses in ((), ("198.18.0.1",)):
            service = self.service(None, *addresses)
            self.assertTrue(service.control.url.startswith("http://127.0.0.1:"))

    def test_taken_port(self) -> None:
        """A port that is taken is replaced by a free one, and the file tells which."""
        first = self.service(None, "127.0.0.20")
        port = int(first.control.url.rpartition(":")[2])
        second = self.service(port, "127.0.0.20")
        self.assertNotEqual(second.control.url, first.control.url)

    async def test_off(self) -> None:
        """Without an API nothing listens; a file for its owner alone says so, until the end."""
        service = self.service(0, "127.0.0.20")
        state = service._settings.state
        self.assertIsNone(service.control)
        self.assertIsNone(service._port)
        self.assertEqual(mode_of(state / "control.json"), 0o600)
        self.assertIsNone(read_control_file(state))
        self.assertEqual(read_no_api(state), os.getpid())
        await service.stopService()
        self.assertFalse((state / "control.json").exists())


class ConnectionTests(SynchronousTestCase):
    """What connections to the API may do to each other: any user of the machine can open some."""

    def setUp(self) -> None:
        self.clock = MemoryReactorClock()
        self.connections = Connections(QuietSite(Resource(), reactor=self.clock), self.clock)

    def connect(self) -> tuple[Any, StringTransport]:
        wire = self.connections.buildProtocol(None)
        assert wire is not None
        transport = StringTransport()
        wire.makeConnection(transport)
        return wire, transport

    def test_stranger(self) -> None:
        """One that shows no token has an absolute deadline, however it trickles."""
        wire, transport = self.connect()
        for _ in range(int(STRANGER_SECONDS) - 1):
            wire.dataReceived(b"G")
            self.clock.advance(1)
        self.assertFalse(transport.disconnected)
        wire.dataReceived(b"E")
        self.clock.advance(1)
        self.assertTrue(transport.disconnected)

    def test_known(self) -> None:
        """One that has shown it stays."""
        wire, transport = self.connect()
        wire.mark_known()
        self.clock.advance(STRANGER_SECONDS)
        self.assertFalse(transport.disconnected)

    def test_owner_is_let_in(self) -> None:
        """However many idle ones there are: the oldest stranger makes room, and no known one."""
        known, kept = self.connect()
        known.mark_known()
        strangers = [self.connect()[1] for _ in range(MAX_STRANGERS)]
        _, owner = self.connect()
        self.assertEqual(
            [t.disconnected for t in strangers], [True] + [False] * (len(strangers) - 1)
        )
        self.assertFalse(owner.disconnected)
        self.assertFalse(kept.disconnected)

    def test_log(self) -> None:
        """A flood of them is not a flood of lines."""
        with capturedLogs() as captured:
            for _ in range(3 * MAX_STRANGERS):
                self.connect()
        self.assertLess(len(captured), 50)

    def test_heads_that_cannot_be_read(self) -> None:
        """They end their connection; no traceback, and few lines however many there are."""
        heads = (b"Content-Length: " + b"9" * 5_000, b"Content-Length: \xd9\xa3")
        with capturedLogs() as captured:
            for number in range(400):
                wire, transport = self.connect()
                wire.dataReceived(b"GET / HTTP/1.1\r\n" + heads[number % 2] + b"\r\n\r\n")
                self.assertTrue(transport.disconnected or transport.disconnecting)
        self.assertLess(len(captured), 50)
        self.assertEqual([event for event in captured if "log_failure" in event], [])


class UnwritableTests(TestCase):
    def test_unwritable_state(self) -> None:
        """A control file that cannot be written is said, and the service goes on without."""
        state = Path(self.mktemp())
        state.mkdir()
        (state / "control.json").mkdir()  # not even root can put a file there
        settings = Settings(share=state / "share", state=state, control_port=None)
        service = ControlService(FakeNode(), settings, reactor)
        service.startService()
        self.addCleanup(service.stopService)
        self.assertIsNotNone(service.control)


class ControlFileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.state = Path(self.mktemp())
        self.state.mkdir()
        self.path = self.state / "control.json"
        self.control = ControlFile("http://127.0.0.1:5002", "t", 12)

    def test_round(self) -> None:
        """What was written is read."""
        write_control_file(self.state, self.control)
        self.assertEqual(read_control_file(self.state), self.control)

    def test_no_api(self) -> None:
        """A service without an API is told apart from no service."""
        self.assertIsNone(read_no_api(self.state))
        write_control_file(self.state, self.control)
        self.assertIsNone(read_no_api(self.state))
        write_control_file(self.state, no_api(12))
        self.assertEqual(read_no_api(self.state), 12)
        self.assertIsNone(read_control_file(self.state))
        remove_control_file(self.state, no_api(12))
        self.assertIsNone(read_no_api(self.state))

    def test_none(self) -> None:
        """No file, no folder, or something that is no control file, is none."""
        self.assertIsNone(read_control_file(self.state))
        self.assertIsNone(read_control_file(self.state / "nowhere"))
        for text in ("", "{", "[]", '{"url":1}', "x" * 100_000, '{"url":"u","token":"t"}'):
            self.path.write_text(text)
            self.assertIsNone(read_control_file(self.state), text[:20])

    def test_no_regular_file(self) -> None:
        """A link, a pipe or a folder in its place is not read, and does not block."""
        target = self.state / "elsewhere"
        write_control_file(self.state, self.control)
        self.path.rename(target)
        self.path.symlink_to(target)
        self.assertIsNone(read_control_file(self.state))
        self.path.unlink()
        os.mkfifo(self.path)
        self.assertIsNone(read_control_file(self.state))
        self.path.unlink()
        self.path.mkdir()
        self.assertIsNone(read_control_file(self.state))

    def test_remove(self) -> None:
        """Only the file that was written is removed; one that is gone is no error."""
        write_control_file(self.state, self.control)
        remove_control_file(self.state, ControlFile("http://127.0.0.1:5002", "t", 13))
        self.assertTrue(self.path.exists())
        remove_control_file(self.state, self.control)
        remove_control_file(self.state, self.control)
        self.assertFalse(self.path.exists())
