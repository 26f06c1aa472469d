"""Finding a service, or being one: with real state folders, locks and control files."""

from __future__ import annotations

import os
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from msgspec.structs import replace as replace_struct
from twisted.application.service import Service
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from peershare.client.hosting import PATIENCE_SECONDS, Hosting
from peershare.client.outcome import ClientError, ExitStatus
from peershare.control.controlfile import ControlFile, no_api, write_control_file
from peershare.control.server import ControlService
from peershare.errors import SettingsError, StorageError
from peershare.settings import Settings, default_share
from peershare.state import StateLock
from tests.client.test_api import Saying
from tests.control.fake_node import FakeNode


class OwnNode(FakeNode, Service):
    """A node that owns its state folder while it runs, as a real one does."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.lock = StateLock(settings.state)

    def stopService(self) -> None:
        super().stopService()
        self.lock.release()


class HostingTests(TestCase):
    timeout = 20

    def setUp(self) -> None:
        self.state = Path(self.mktemp()).absolute()
        self.settings = Settings(share=self.state / "s", state=self.state, control_port=None)
        self.made: list[OwnNode] = []

    def make(self, settings: Settings) -> Any:
        node = OwnNode(settings)
        self.made.append(node)
        return node

    def hosting(self) -> Hosting:
        hosting = Hosting(self.settings, reactor, self.make)
        self.addCleanup(lambda: Deferred.fromCoroutine(hosting.close()))
        return hosting

    async def test_own_node(self) -> None:
        """Without a service a node is made here, and is asked over HTTP like any other."""
        hosting = self.hosting()
        client = await hosting.connect()
        self.assertTrue(hosting.is_own)
        self.assertEqual((await client.node()).share, "/share")
        self.assertTrue((self.state / "control.json").exists())
        await hosting.close()
        self.assertFalse((self.state / "control.json").exists())
        StateLock(self.state).release()  # it is free again

    async def test_running_service(self) -> None:
        """A service that runs is used, and nothing is made."""
        first, second = self.hosting(), self.hosting()
        await first.connect()
        client = await second.connect()
        self.assertFalse(second.is_own)
        self.assertEqual(client.pid, os.getpid())
        self.assertEqual(len(self.made), 1)

    async def test_service_without_api(self) -> None:
        """A service that runs without its API is named at once, and nothing is waited for."""
        self.state.mkdir(mode=0o700)
        settings = replace(self.settings, control_port=0)
        service = ControlService(FakeNode(), settings, reactor)
        service.startService()
        self.addCleanup(service.stopService)
        self.addCleanup(StateLock(self.state).release)
        error = await self.fails()
        self.assertIn(f"pid {os.getpid()}", str(error))
        self.assertIn("--control-port 0", str(error))
        self.assertEqual(self.made, [])

    async def test_own_node_without_api(self) -> None:
        """A client that is told to have no API is told what that means."""
        self.settings = replace(self.settings, control_port=0)
        error = await self.fails()
        self.assertEqual(error.status, ExitStatus.USAGE)
        self.assertIn("auto", str(error))
        self.assertEqual(self.made, [])

    async def test_killed_service_without_api(self) -> None:
        """What such a service left behind when it was killed is in nobody's way."""
        self.state.mkdir(mode=0o700)
        write_control_file(self.state, no_api(2**22 + 1))
        client = await self.hosting().connect()
        self.assertEqual((await client.node()).share, "/share")

    async def test_no_node_of_its_own(self) -> None:
        """What is about a service that runs begins none: it says so at once, and what to do."""
        hosting = Hosting(self.settings, reactor, self.make, may_start=False)
        error = await self.assertFailure(Deferred.fromCoroutine(hosting.connect()), ClientError)
        self.assertIn(f"no service answers on {self.state}", str(error))
        self.assertIn("twistd -n peershare", str(error))
        self.assertEqual(self.made, [])

    async def test_waits_for_a_restart(self) -> None:
        """A service that went away is waited for: it may be restarted."""
        service = self.hosting()
        await service.connect()
        hosting = Hosting(self.settings, reactor, self.make, may_start=False)
        await hosting.connect()
        await service.close()
        again = Deferred.fromCoroutine(hosting.connect())
        await deferLater(reactor, 0.3)
        self.assertFalse(again.called)
        await self.hosting().connect()
        client = await again
        self.assertEqual((await client.node()).share, "/share")
        self.assertFalse(hosting.is_own)

    async def test_both_at_once(self) -> None:
        """Of two clients that start at one moment, the slower one uses the other's node."""
        first, second = self.hosting(), self.hosting()
        both = [Deferred.fromCoroutine(hosting.connect()) for hosting in (first, second)]
        for client in await gatherResults(both):
            self.assertEqual((await client.node()).share, "/share")
        self.assertEqual(len(self.made), 1)
        self.assertEqual([first.is_own, second.is_own].count(True), 1)

    async def test_service_that_is_starting(self) -> None:
        """A state folder that is owned and does not answer yet is waited for."""
        lock = StateLock(self.state)
        hosting = self.hosting()
        connecting = Deferred.fromCoroutine(hosting.connect())
        reactor.callLater(0.5, self.start_service)
        client = await connecting
        self.assertEqual((await client.node()).share, "/share")
        self.assertFalse(hosting.is_own)
        lock.release()

    def start_service(self) -> None:
        service = ControlService(FakeNode(), self.settings, reactor)
        service.startService()
        self.addCleanup(service.stopService)

    async def test_service_that_never_answers(self) -> None:
        """One that never answers is named with its pid, after a while."""
        lock = StateLock(self.state)
        self.addCleanup(lock.release)
        self.patch(reactor, "seconds", self.fast_clock())
        failure = await self.fails()
        self.assertIn(f"pid {os.getpid()}", str(failure))

    def fast_clock(self) -> Any:
        """The reactor's clock, ten times as fast: nobody wants to wait for patience."""
        began, real = reactor.seconds(), reactor.seconds
        self.assertLess(PATIENCE_SECONDS, 60)
        return lambda: began + 10 * (real() - began)

    async def fails(self) -> ClientError:
        try:
            await self.hosting().connect()
        except ClientError as error:
            return error
        raise AssertionError("it was connected")

    async def test_left_behind(self) -> None:
        """A control file that a kill left behind is passed over."""
        self.state.mkdir(mode=0o700)
        gone = 2**22 + 1  # above the largest process id that Linux gives out
        for control in (
            ControlFile("http://127.0.0.1:9", "x", gone),
            ControlFile("http://127.0.0.1:9", "x", os.getpid()),
            ControlFile("http://127.0.0.1:9", "x", 0),
            ControlFile("nonsense", "x", os.getpid()),
        ):
            write_control_file(self.state, control)
            hosting = self.hosting()
            await hosting.connect()
            self.assertTrue(hosting.is_own, control)
            await hosting.close()

    async def test_token_goes_nowhere_else(self) -> None:
        """A control file that points off this machine is not believed."""
        self.state.mkdir(mode=0o700)
        for url in (
            "http://198.18.0.9:5002",
            "http://127.evil.example:5002",
            "https://127.0.0.1:1",
        ):
            write_control_file(self.state, ControlFile(url, "x", os.getpid()))
            hosting = self.hosting()
            await hosting.connect()
            self.assertTrue(hosting.is_own, url)
            await hosting.close()

    async def test_node_that_cannot_be_made(self) -> None:
        """Why there is no node is said; wrong settings are wrong usage."""
        for error, status in (
            (SettingsError("--address: no"), ExitStatus.USAGE),
            (StorageError("/s: cannot make"), ExitStatus.FAILED),
        ):
            self.make = self.raiser(error)
            failure = await self.fails()
            self.assertIs(failure.status, status)
            self.assertIn(str(error), str(failure))

    def raiser(self, error: Exception) -> Any:
        def make(settings: Settings) -> Any:
            raise error

        return make

    async def test_impostor(self) -> None:
        """Whoever has the port of a killed service, and its process id, decides nothing."""
        self.state.mkdir(mode=0o700)
        stranger = FakeNode()
        elsewhere = replace(self.settings, state=self.state / "elsewhere")
        elsewhere.state.mkdir()
        service = ControlService(stranger, elsewhere, reactor)
        service.startService()
        self.addCleanup(service.stopService)
        assert service.control is not None
        write_control_file(self.state, replace_struct(service.control, token="ours"))
        hosting = self.hosting()
        client = await hosting.connect()
        self.assertTrue(hosting.is_own)
        self.assertNotEqual(client.url, service.control.url)
        self.assertEqual(stranger.asked, [])
        self.assertEqual([node.settings for node in self.made], [self.settings])

    async def test_older_service(self) -> None:
        """A service of a former version that holds the folder is named, and no node made."""
        self.addCleanup(StateLock(self.state).release)
        factory = Saying(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n", None)
        port: Any = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        url = f"http://127.0.0.1:{port.getHost().port}"
        write_control_file(self.state, ControlFile(url, "x", os.getpid()))
        self.assertIn("restart it", str(await self.fails()))
        self.assertEqual(self.made, [])

    async def test_lock_that_cannot_be_seen(self) -> None:
        """Where the system cannot say whether a service runs, none is begun beside it."""
        self.state.mkdir(mode=0o700)
        (self.state / "lock").symlink_to("elsewhere")
        self.assertIn("cannot be seen", str(await self.fails()))
        self.assertEqual(self.made, [])

    async def test_last_service(self) -> None:
        """After the end of a service a client's own node keeps to its network and folder."""
        self.state.mkdir(mode=0o700)
        told = Settings(
            share=Path(os.fsdecode(b"/tmp/\xff")),
            state=self.state,
            addresses=(IPv4Address("127.0.0.77"),),
            broadcasts=(IPv4Address("127.255.255.255"),),
            tcp_port=5_100,
            control_port=None,
            classic=False,
            upload_limit_bytes_per_second=5_000.0,
        )
        service = ControlService(FakeNode(), told, reactor, remembered=True)
        service.startService()
        await service.stopService()
        self.settings = Settings(share=default_share(), state=self.state, control_port=None)
        hosting = self.hosting()
        await hosting.connect()
        self.assertEqual([node.settings for node in self.made], [told])
        await hosting.close()
        named = (IPv4Address("127.0.0.78"),)
        self.settings = replace(self.settings, addresses=named, share=self.state / "mine")
        await self.hosting().connect()
        settings = self.made[-1].settings
        self.assertEqual((settings.addresses, settings.broadcasts), (named, ()))
        self.assertEqual((settings.share, settings.tcp_port), (self.state / "mine", 5_100))

    async def test_heir(self) -> None:
        """Who goes on for a service that went away keeps to its folder, network and limits."""
        told: list[Settings] = []

        def make(settings: Settings) -> Any:
            told.append(settings)
            return self.make(settings)

        service = self.hosting()
        await service.connect()
        client = Hosting(self.settings, reactor, make)
        self.addCleanup(lambda: Deferred.fromCoroutine(client.close()))
        status = await (await client.connect()).node()
        await service.close()
        await client.connect()
        self.assertTrue(client.is_own)
        (settings,) = told
        self.assertEqual(settings.state, self.state)
        self.assertEqual(str(settings.share), status.share)
        self.assertEqual(tuple(map(str, settings.addresses)), status.addresses)
        self.assertEqual(tuple(map(str, settings.broadcasts)), status.broadcasts)
        self.assertTrue(settings.addresses)
