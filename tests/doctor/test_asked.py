"""Asking the service on a state folder: each state that it can be in, and what it has heard."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from msgspec import structs
from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from peershare.control.controlfile import ControlFile, no_api, write_control_file
from peershare.control.server import ControlService
from peershare.doctor.evidence import ServiceState
from peershare.doctor.probing import asked
from peershare.doctor.probing.asked import Found, arrivals_of, find_service
from peershare.settings import Settings
from peershare.state import StateLock, make_private_folder
from peershare.status import NodeStatus
from tests.control.fake_node import FakeNode, a_peer, an_entry
from tests.doctor.test_probing import free_ports


class Serving(FakeNode):
    """A service of another port and with something to say."""

    def node_status(self) -> NodeStatus:
        return structs.replace(
            super().node_status(),
            tcp_port=6_000,
            addresses=("127.35.5.1", "127.35.5.2"),
            broadcasts=("127.255.255.255",),
            refused={"beacon from elsewhere": 2, "datagram from elsewhere": 3, "other": 5},
            problems=("the disk is full",),
            started_at=7.0,
        )


class ServiceTestCase(TestCase):
    timeout = 20

    def setUp(self) -> None:
        self.state = Path(self.mktemp()).absolute()
        make_private_folder(self.state)
        (port,) = free_ports(socket.SOCK_STREAM, 1)
        self.settings = Settings(share=self.state / "s", state=self.state, control_port=port)

    async def find(self, **more: Any) -> Found:
        return await find_service(reactor, replace(self.settings, **more))

    def serve(self) -> Serving:
        """Run a service on the folder, in this process."""
        node = Serving()
        service = ControlService(node, self.settings, reactor)
        service.startService()
        self.addCleanup(service.stopService)
        return node

    def gone(self) -> int:
        """The id of a process that is no more."""
        process = subprocess.Popen([sys.executable, "-c", ""])
        process.wait()
        return process.pid

    def write(self, url: str, pid: int) -> None:
        write_control_file(self.state, ControlFile(url, "token", pid))


class FindTests(ServiceTestCase):
    async def test_none(self) -> None:
        """Nothing is there; nothing is made, and no node is started."""
        found = await self.find()
        self.assertEqual((found.service.state, found.client), (ServiceState.NONE, None))
        self.assertEqual(found.settings, self.settings)
        self.assertEqual(list(self.state.iterdir()), [])

    async def test_running(self) -> None:
        """It says what it is, and its ports hold."""
        self.serve()
        found = await self.find()
        service = found.service
        self.assertEqual((service.state, service.pid), (ServiceState.RUNNING, 1))
        self.assertEqual(service.problems, ("the disk is full",))
        self.assertEqual((service.from_elsewhere, service.started_at), (5, 7.0))
        self.assertEqual(found.settings.tcp_port, 6_000)
        self.assertEqual(list(map(str, found.settings.addresses)), ["127.35.5.1", "127.35.5.2"])
        self.assertFalse(service.exposed)

    async def test_the_user_narrows_it(self) -> None:
        """What was named by --address and --broadcast is all that is used."""
        self.serve()
        one, target = IPv4Address("127.35.5.2"), IPv4Address("127.35.5.255")
        found = await self.find(addresses=(one,), broadcasts=(target,))
        self.assertEqual(found.settings.addresses, (one,))
        self.assertEqual(found.settings.broadcasts, (target,))
        self.assertEqual(found.settings.tcp_port, 6_000)

    async def test_left_behind(self) -> None:
        """By a process that is gone, or whose number another program has now."""
        pid = self.gone()
        self.write("http://127.0.0.1:9", pid)
        found = await self.find()
        self.assertEqual((found.service.state, found.service.pid), (ServiceState.STALE, pid))
        (port,) = free_ports(socket.SOCK_STREAM, 1)
        self.write(f"http://127.0.0.1:{port}", os.getpid())
        self.assertIs((await self.find()).service.state, ServiceState.STALE)

    async def test_the_token_goes_nowhere_else(self) -> None:
        """A control file that points to another machine is none."""
        self.write("http://198.51.100.7:5002", os.getpid())
        self.assertIs((await self.find()).service.state, ServiceState.STALE)

    async def test_silent(self) -> None:
        """It is there, takes the connection, and does not answer."""
        self.patch(asked, "ANSWER_SECONDS", 0.1)
        self.hold()
        factory = Factory.forProtocol(Protocol)
        factory.noisy = False
        port: Any = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.write(f"http://127.0.0.1:{port.getHost().port}", os.getpid())
        found = await self.find()
        self.assertEqual((found.service.state, found.client), (ServiceState.SILENT, None))

    async def test_hidden(self) -> None:
        """The folder is held, and there is no control file; a number in it alone holds nothing."""
        (self.state / "lock").write_text(f"{os.getpid()}\n")
        self.assertIs((await self.find()).service.state, ServiceState.NONE)
        self.hold()
        service = (await self.find()).service
        self.assertEqual((service.state, service.pid), (ServiceState.HIDDEN, os.getpid()))

    async def test_without_an_api(self) -> None:
        """It says so in its control file; that of one that was killed is left behind."""
        write_control_file(self.state, no_api(os.getpid()))
        self.assertIs((await self.find()).service.state, ServiceState.STALE)
        self.hold()
        service = (await self.find()).service
        self.assertEqual((service.state, service.pid), (ServiceState.HIDDEN, os.getpid()))

    def hold(self) -> None:
        """Be the service of the folder."""
        lock = StateLock(self.state)
        self.addCleanup(lock.release)

    async def test_exposed(self) -> None:
        """A control file that others can read is told of, in whatever state."""
        self.write("http://127.0.0.1:9", self.gone())
        (self.state / "control.json").chmod(0o644)
        self.assertTrue((await self.find()).service.exposed)


class ArrivalsTests(ServiceTestCase):
    async def test_whom_it_has_heard(self) -> None:
        """Native ones with their ports, classic ones with their last download, and strangers."""
        node = self.serve()
        node.heard = (
            a_peer("198.18.0.2", native=True, count=9, tcp_port=5_005, taken=1),
            a_peer("198.18.0.3"),
            a_peer("198.18.0.4", chunks=0),
        )
        node.past = (
            an_entry(address="198.18.0.3", direction="upload", result="ok"),
            an_entry(address="198.18.0.3", result="failed refused"),
            an_entry(address="198.18.0.3", result="ok"),
        )
        client = (await self.find()).client
        assert client is not None
        native, classic, stranger = (await arrivals_of(reactor, client, 0.0)).peers
        self.assertTrue(native.proven and native.beacons and native.has_called)
        self.assertEqual((native.tcp_port, native.contents), (5_005, 9))
        self.assertEqual((classic.classic, classic.beacons), (True, False))
        self.assertEqual(classic.last_result, "failed refused")
        self.assertEqual(
            (stranger.beacons, stranger.proven, stranger.classic), (True, False, False)
        )

    async def test_nobody_yet(self) -> None:
        """It is asked again until somebody is there, or the time is over."""
        node = self.serve()
        later, node.heard = node.heard, ()
        client = (await self.find()).client
        assert client is not None
        self.patch(asked, "_POLL_SECONDS", 0.02)
        arrivals = await arrivals_of(reactor, client, 0.1)
        self.assertEqual(arrivals.peers, ())
        self.assertGreaterEqual(arrivals.seconds, 0.1)
        reactor.callLater(0.1, setattr, node, "heard", later)
        self.assertEqual(len((await arrivals_of(reactor, client, 10.0)).peers), 1)
