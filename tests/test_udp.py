"""A UDP socket that comes back by itself, and that can be left alone for a moment."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Callable
from typing import Any
from unittest import skipUnless

from twisted.internet import error, reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from peershare.udp import (
    MAX_DATAGRAM_BYTES,
    BroadcastSockets,
    OwnSocket,
    ReopeningDatagramProtocol,
)
from tests.fakes import FakeReactor, FakeUdpPort, link

HERE = ("198.18.0.1", 5001)


class UdpTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.protocol = ReopeningDatagramProtocol(self.reactor, *HERE)

    @property
    def port(self) -> FakeUdpPort:
        (port,) = self.reactor.udp_ports
        return port

    def opened_after(self) -> float:
        """How long it takes until it listens again."""
        return round(self.reactor.run_until(lambda: self.protocol.listening, 100.0), 1)


class OpeningTests(UdpTestCase):
    def test_the_socket(self) -> None:
        """Whole datagrams, shared with others; TCP keeps moving beside it."""
        options: dict[str, object] = {}
        real = self.reactor.listenMulticast

        def listen(port: int, protocol: object, **given: object) -> object:
            options.update(given)
            return real(port, protocol)

        self.patch(self.reactor, "listenMulticast", listen)
        self.protocol.open()
        self.assertEqual(
            options,
            {
                "interface": "198.18.0.1",
                "maxPacketSize": MAX_DATAGRAM_BYTES,
                "listenMultiple": True,
            },
        )
        self.assertTrue(0 < self.port.maxThroughput <= 1 << 20)
        self.assertTrue(self.port.broadcast_allowed)

    def test_the_wildcard_socket_does_not_broadcast(self) -> None:
        """It only hears; what is sent goes out of an own address."""
        ReopeningDatagramProtocol(self.reactor, "", 5001).open()
        self.assertFalse(self.port.broadcast_allowed)

    def test_closing(self) -> None:
        """It stays closed, and no timer is left; closing what is not open is no error."""
        self.successResultOf(self.protocol.close())
        self.protocol.open()
        self.successResultOf(self.protocol.close())
        self.assertEqual((self.reactor.udp_ports, self.reactor.getDelayedCalls()), ([], []))
        self.assertFalse(self.protocol.listening)


class ReopeningTests(UdpTestCase):
    def test_a_port_that_is_taken(self) -> None:
        """It is tried again after 1, 2, 4 … s, up to 30, until it is free."""
        self.reactor.taken.add(HERE)
        self.protocol.open()
        self.assertFalse(self.protocol.listening)
        tries: list[float] = []
        begin = self.reactor.seconds()
        real = self.reactor.listenMulticast

        def listen(*arguments: object, **options: object) -> object:
            tries.append(round(self.reactor.seconds() - begin))
            return real(*arguments, **options)

        self.patch(self.reactor, "listenMulticast", listen)
        self.reactor.pump([0.5] * 300)
        self.assertEqual(tries, [1, 3, 7, 15, 31, 61, 91, 121])
        self.reactor.taken.clear()
        self.opened_after()

    def test_closed_by_an_error(self) -> None:
        """Twisted closes a UDP port for good at an unexpected error: it is opened again."""
        self.protocol.open()
        self.port.break_down()
        self.assertFalse(self.protocol.listening)
        self.assertAlmostEqual(self.opened_after(), 1.0, places=0)
        self.port.break_down()
        self.assertAlmostEqual(self.opened_after(), 1.0, places=0)

    def test_not_reopened_after_the_end(self) -> None:
        """A socket that was closed while it waited to be opened again stays closed."""
        self.protocol.open()
        self.port.break_down()
        self.successResultOf(self.protocol.close())
        self.reactor.pump([1.0] * 60)
        self.assertEqual(self.reactor.udp_ports, [])

    def test_an_interface_that_is_gone(self) -> None:
        """An error that is no CannotListenError is survived too."""
        self.patch(self.reactor, "_check", self.no_such_address)
        self.protocol.open()
        self.assertFalse(self.protocol.listening)
        del self.reactor._check
        self.opened_after()

    def no_such_address(self, interface: str, port: int) -> None:
        raise OSError(99, "Cannot assign requested address")


class RestingTests(UdpTestCase):
    def test_a_moment_without_reading(self) -> None:
        """The read loop ends at once, and reading goes on after the moment."""
        self.protocol.open()
        before = self.port.maxThroughput
        self.protocol.let_go(0.05)
        self.assertEqual((self.port.events, self.port.maxThroughput), (["stop reading"], 0))
        self.reactor.advance(0.05)
        self.assertEqual(self.port.events, ["stop reading", "start reading"])
        self.assertEqual(self.port.maxThroughput, before)

    def test_a_socket_that_was_replaced_meanwhile(self) -> None:
        """The new one is not touched, nor is one that is closed."""
        self.protocol.open()
        self.protocol.let_go(5.0)
        self.port.break_down()
        self.opened_after()
        self.reactor.advance(5.0)
        self.assertEqual(self.port.events, [])
        self.protocol.let_go(5.0)
        self.successResultOf(self.protocol.close())
        self.reactor.advance(5.0)
        self.protocol.let_go(5.0)
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class OwnSocketTests(SynchronousTestCase):
    """The socket of an own address: nobody else can have it."""

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.first, self.second = OwnSocket(self.reactor, *HERE), OwnSocket(self.reactor, *HERE)

    def test_alone(self) -> None:
        """It has its port; a second one takes a free port, and both broadcast."""
        self.first.open()
        self.second.open()
        self.assertEqual(self.first.bound_port, 5001)
        self.assertNotIn(self.second.bound_port, (0, 5001))
        self.assertEqual([port.shared for port in self.reactor.udp_ports], [False, False])
        self.assertTrue(all(port.broadcast_allowed for port in self.reactor.udp_ports))
        self.assertEqual({port.maxThroughput for port in self.reactor.udp_ports}, {65_536})

    def test_taken_back(self) -> None:
        """Once the first has gone, the second has the port, and no socket is left over."""
        self.first.open()
        self.second.open()
        self.assertFalse(self.second.take_back())
        self.assertTrue(self.second.listening)
        self.successResultOf(self.first.close())
        self.assertTrue(self.second.take_back())
        (port,) = self.reactor.udp_ports
        self.assertEqual((port.port, self.second.bound_port), (5001, 5001))
        self.assertIs(self.second.transport, port)
        self.assertFalse(self.second.take_back())
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_broken_down_after_that(self) -> None:
        """It comes back as any other does."""
        self.first.open()
        self.second.open()
        self.successResultOf(self.first.close())
        self.second.take_back()
        self.reactor.udp_ports[0].break_down()
        self.assertFalse(self.second.listening)
        self.reactor.run_until(lambda: self.second.listening, 10.0)
        self.successResultOf(self.second.close())
        self.assertEqual(self.reactor.udp_ports, [])

    def test_another_error(self) -> None:
        """An address that is not there is waited for, not given another port."""
        self.patch(self.reactor, "_check", self.no_such_address)
        self.first.open()
        self.assertFalse(self.first.listening)
        del self.reactor._check
        self.reactor.run_until(lambda: self.first.listening, 10.0)
        self.assertEqual(self.first.bound_port, 5001)

    def no_such_address(self, interface: str, port: int) -> None:
        gone = OSError(99, "Cannot assign requested address")
        raise error.CannotListenError(interface, port, gone)


class Ear(OwnSocket):
    """One that notes what it hears."""

    def __init__(self, reactor: Any, interface: str, port: int) -> None:
        super().__init__(reactor, interface, port)
        self.heard: list[bytes] = []

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """Twisted: something was sent to this address alone."""
        self.heard.append(datagram)


@skipUnless(sys.platform == "linux", "elsewhere the sockets are shared")
class RealSocketTests(TestCase):
    """Two services of one address, by real sockets."""

    address = "127.77.5.1"

    def setUp(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("", 0))
            self.port = free.getsockname()[1]
        self.everybody: list[tuple[int, bytes]] = []
        self.ears = [self.service(number) for number in range(2)]

    def service(self, number: int) -> Ear:
        """Its own socket, and those that hear what is sent to all."""

        def hear(datagram: bytes, source: str, port: int) -> bool:
            self.everybody.append((number, datagram))
            return False

        own = Ear(reactor, self.address, self.port)
        others = BroadcastSockets(reactor, self.port, hear)
        others.use(link(f"{self.address}/8", "127.255.255.255"))
        others.open()
        own.open()
        self.addCleanup(own.close)
        self.addCleanup(others.close)
        return own

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something, for 5 s at most."""
        for _ in range(500):
            if condition():
                return
            await deferLater(reactor, 0.01)
        self.fail("waited 5 s in vain")

    async def test_each_hears_what_is_for_it(self) -> None:
        """Broadcasts reach both, from the right address; what is for one reaches that one."""
        first, second = self.ears
        self.assertEqual(first.bound_port, self.port)
        self.assertNotEqual(second.bound_port, self.port)
        second.transport.write(b"to all", ("127.255.255.255", self.port))
        for number, ear in enumerate(self.ears):
            first.transport.write(b"to %d" % number, (self.address, ear.bound_port))
        await self.until(lambda: len(self.everybody) == 2 and all(e.heard for e in self.ears))
        self.assertEqual(sorted(self.everybody), [(0, b"to all"), (1, b"to all")])
        self.assertEqual([ear.heard for ear in self.ears], [[b"to 0"], [b"to 1"]])

    def test_nobody_else_can_have_it(self) -> None:
        """Whatever another program asks for, on the address or on all of them."""
        for where in (self.address, ""):
            for options in ((), (socket.SO_REUSEADDR,), (socket.SO_REUSEADDR, socket.SO_REUSEPORT)):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as thief:
                    for option in options:
                        thief.setsockopt(socket.SOL_SOCKET, option, 1)
                    with self.assertRaises(OSError) as caught:
                        thief.bind((where, self.port))
                self.assertEqual(caught.exception.errno, errno.EADDRINUSE)

    async def test_taken_back(self) -> None:
        """The second has the usual port once the first is gone, and hears there."""
        first, second = self.ears
        await first.close()
        self.assertTrue(second.take_back())
        self.assertEqual(second.bound_port, self.port)
        await deferLater(reactor, 0.05)
        self.assertTrue(second.listening)
        second.transport.write(b"here", (self.address, self.port))
        await self.until(lambda: second.heard == [b"here"])
