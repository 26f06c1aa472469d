"""The simulated network does what a network does, and the same every time."""

from __future__ import annotations

import errno
from typing import Any

from twisted.internet import error
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IReadDescriptor, ITCPTransport
from twisted.internet.protocol import DatagramProtocol, Factory
from twisted.trial.unittest import SynchronousTestCase

from tests.simnet.network import LAN
from tests.simnet.rig import End, HalfEnd, Rig
from tests.simnet.streams import SEND_BUFFER_BYTES

MEGABYTE = 1_000_000


class ConnectingTests(SynchronousTestCase):
    """Connections open, or fail for the right reason."""

    def dial(self, rig: Rig, address: str, port: int = 5000, **more: Any) -> Any:
        return TCP4ClientEndpoint(rig.reactors[0], address, port, timeout=3, **more).connect(
            Factory.forProtocol(End)
        )

    def test_addresses(self) -> None:
        """Both ends know where they are; the dialling one is where it was bound."""
        rig = Rig(2)
        one, other = rig.hosts
        listening = Factory.forProtocol(End)
        rig.reactors[1].listenTCP(5000, listening, interface=other.address)
        dialled = self.dial(rig, other.address, bindAddress=(one.address, 0))
        rig.run(1)
        transport = self.successResultOf(dialled).transport
        self.assertEqual(transport.getPeer().host, other.address)
        self.assertEqual(transport.getPeer().port, 5000)
        self.assertEqual(transport.getHost().host, one.address)
        self.assertTrue(ITCPTransport.providedBy(transport))
        self.assertFalse(IReadDescriptor.providedBy(transport))
        self.assertEqual(transport.fileno(), -1)
        transport.setTcpNoDelay(True)
        transport.setTcpKeepAlive(True)

    def test_nobody(self) -> None:
        """No listener refuses, no host lets it time out, a foreign own address cannot be bound."""
        rig = Rig(2)
        refused = self.dial(rig, rig.hosts[1].address)
        silent = self.dial(rig, str(LAN.network_address + 99))
        unbound = self.dial(rig, rig.hosts[1].address, bindAddress=("198.18.0.77", 0))
        rig.run(0.1)
        self.failureResultOf(refused, error.ConnectionRefusedError)
        self.failureResultOf(unbound, error.ConnectBindError)
        self.assertNoResult(silent)
        rig.run(3)
        self.failureResultOf(silent, error.TimeoutError)

    def test_taken_port(self) -> None:
        """A port can be listened on once, and again after that."""
        rig = Rig(1)
        factory = Factory.forProtocol(End)
        port = rig.reactors[0].listenTCP(5000, factory)
        failed = self.assertRaises(
            error.CannotListenError, rig.reactors[0].listenTCP, 5000, factory
        )
        self.assertEqual(failed.socketError.errno, errno.EADDRINUSE)
        port.stopListening()
        rig.run(0)
        rig.reactors[0].listenTCP(5000, factory)

    def test_partition(self) -> None:
        """Over a cut nobody is reached; who is still trying when it heals gets through."""
        rig = Rig(2)
        rig.reactors[1].listenTCP(5000, Factory.forProtocol(End))
        rig.network.partition([[rig.hosts[0]]])
        lost = self.dial(rig, rig.hosts[1].address)
        rig.run(3.5)
        self.failureResultOf(lost, error.TimeoutError)
        patient = self.dial(rig, rig.hosts[1].address)
        rig.run(1.5)
        rig.network.heal()
        rig.run(1.5)
        self.successResultOf(patient)


class StreamTests(SynchronousTestCase):
    """Bytes arrive in order, as fast as the links allow; ends are told as Twisted tells them."""

    def test_rate(self) -> None:
        """One stream takes the time that its bytes take on the link."""
        rig = Rig(2, MEGABYTE)
        one, other = rig.connect(0, 1)
        begin = rig.clock.now
        data = bytes(range(250)) * 8_000
        one.transport.write(data)
        rig.run(10)
        self.assertEqual(other.received, data)
        self.assertApproximates(other.last_at - begin, 2.0, 0.05)

    def test_shared_uplink(self) -> None:
        """Four streams of one host share its uplink fairly."""
        rig = Rig(5, MEGABYTE)
        pairs = [rig.connect(0, number) for number in range(1, 5)]
        begin = rig.clock.now
        for one, _ in pairs:
            one.transport.write(bytes(MEGABYTE))
        rig.run(2)
        for _, other in pairs:
            self.assertApproximates(len(other.received), MEGABYTE / 2, 40_000)
        rig.run(8)
        for _, other in pairs:
            self.assertApproximates(other.last_at - begin, 4.0, 0.1)

    def test_shared_downlink(self) -> None:
        """Four hosts that send to one share its downlink fairly."""
        rig = Rig(5, MEGABYTE)
        pairs = [rig.connect(number, 0) for number in range(1, 5)]
        begin = rig.clock.now
        for one, _ in pairs:
            one.transport.write(bytes(MEGABYTE))
        rig.run(2)
        for _, other in pairs:
            self.assertApproximates(len(other.received), MEGABYTE / 2, 80_000)
        rig.run(8)
        for _, other in pairs:
            self.assertApproximates(other.last_at - begin, 4.0, 0.2)

    def test_both_directions(self) -> None:
        """A link takes its rate in each direction at once."""
        rig = Rig(2, MEGABYTE)
        one, other = rig.connect(0, 1)
        begin = rig.clock.now
        one.transport.write(bytes(MEGABYTE))
        other.transport.write(bytes(MEGABYTE))
        rig.run(5)
        for end in (one, other):
            self.assertApproximates(end.last_at - begin, 1.0, 0.05)

    def test_half_close(self) -> None:
        """One direction ends and the other goes on."""
        rig = Rig(2)
        one, other = rig.connect(0, 1, HalfEnd)
        one.transport.write(b"question")
        one.transport.loseWriteConnection()
        rig.run(1)
        self.assertEqual((other.received, other.events), (b"question", ["read lost"]))
        self.assertEqual(one.events, ["write lost"])
        other.transport.write(b"answer")
        other.transport.loseConnection()
        rig.run(1)
        self.assertEqual(one.received, b"answer")
        self.assertEqual(one.events, ["write lost", "read lost"])
        one.transport.loseConnection()
        rig.run(1)
        self.assertEqual(rig.hosts[0].streams, {})
        self.assertEqual(rig.hosts[1].streams, {})

    def test_close(self) -> None:
        """All that was written arrives before the end does."""
        rig = Rig(2, MEGABYTE)
        one, other = rig.connect(0, 1)
        one.transport.write(bytes(500_000))
        one.transport.loseConnection()
        rig.run(3)
        self.assertEqual(len(other.received), 500_000)
        assert one.ended and other.ended
        self.assertTrue(one.ended.check(error.ConnectionDone))
        self.assertTrue(other.ended.check(error.ConnectionDone))

    def test_abort(self) -> None:
        """A reset drops what has not left, and is told as such."""
        rig = Rig(2, MEGABYTE)
        one, other = rig.connect(0, 1)
        one.transport.write(bytes(500_000))
        rig.run(0.1)
        one.transport.abortConnection()
        rig.run(1)
        assert one.ended and other.ended
        self.assertTrue(one.ended.check(error.ConnectionAborted))
        self.assertTrue(other.ended.check(error.ConnectionLost))
        self.assertLess(len(other.received), 300_000)

    def test_unread(self) -> None:
        """Who closes without having read what came resets the other."""
        rig = Rig(2)
        one, other = rig.connect(0, 1)
        other.transport.pauseProducing()
        one.transport.write(b"unread")
        rig.run(1)
        other.transport.loseConnection()
        rig.run(1)
        assert one.ended
        self.assertTrue(one.ended.check(error.ConnectionLost))

    def test_backpressure(self) -> None:
        """Who does not read stops the other end's producer, and starts it again."""
        rig = Rig(2)
        one, other = rig.connect(0, 1)
        producer = Pushing(one.transport)
        one.transport.registerProducer(producer, True)
        other.transport.pauseProducing()
        producer.resumeProducing()
        rig.run(1)
        self.assertTrue(producer.paused)
        window = rig.network.conditions.window_bytes
        buffers = SEND_BUFFER_BYTES + window + one.transport.bufferSize
        self.assertApproximates(producer.given, buffers, 150_000)
        other.transport.resumeProducing()
        rig.run(0.02)
        self.assertGreater(len(other.received), 2 * buffers)

    def test_pull_producer(self) -> None:
        """A pull producer is asked at once, and then whenever all has left."""
        rig = Rig(2, MEGABYTE)
        one, other = rig.connect(0, 1)
        producer = Pulled(one.transport, 20)
        one.transport.registerProducer(producer, False)
        self.assertEqual(producer.asked, 1)
        rig.run(3)
        self.assertEqual(len(other.received), 20 * 50_000)

    def test_order(self) -> None:
        """Jitter reorders nothing within a stream."""
        rig = Rig(2)
        rig.network.conditions.jitter_seconds = 0.5
        one, other = rig.connect(0, 1)
        for number in range(200):
            one.transport.write(f"{number};".encode())
            rig.run(0.01)
        rig.run(2)
        self.assertEqual(other.received, b"".join(b"%d;" % number for number in range(200)))

    def test_to_oneself(self) -> None:
        """A host reaches itself."""
        rig = Rig(1)
        one, other = rig.connect(0, 0)
        one.transport.write(b"hello")
        rig.run(1)
        self.assertEqual(other.received, b"hello")


class Pushing:
    """A push producer without end."""

    def __init__(self, transport: Any) -> None:
        self.transport = transport
        self.paused = False
        self.given = 0

    def resumeProducing(self) -> None:
        self.paused = False
        while not self.paused:
            self.given += 10_000
            self.transport.write(bytes(10_000))

    def pauseProducing(self) -> None:
        self.paused = True

    def stopProducing(self) -> None:
        self.paused = True


class Pulled:
    """A pull producer of so many pieces."""

    def __init__(self, transport: Any, pieces: int) -> None:
        self.transport = transport
        self.asked = 0
        self.pieces = pieces

    def resumeProducing(self) -> None:
        self.asked += 1
        if self.asked > self.pieces:
            self.transport.unregisterProducer()
        else:
            self.transport.write(bytes(50_000))

    def stopProducing(self) -> None:
        self.pieces = 0


class FaultTests(SynchronousTestCase):
    """What goes wrong on networks goes wrong here."""

    def test_reset(self) -> None:
        """A connection that is cut by something between is lost for both."""
        rig = Rig(2)
        ends = rig.connect(0, 1)
        rig.network.reset(rig.network.streams()[0])
        rig.run(1)
        for end in ends:
            assert end.ended
            self.assertTrue(end.ended.check(error.ConnectionLost))

    def test_short_partition(self) -> None:
        """A stream that stalls goes on when the network is whole again."""
        rig = Rig(2, MEGABYTE)
        one, other = rig.connect(0, 1)
        one.transport.write(bytes(MEGABYTE))
        rig.run(0.2)
        rig.network.partition([[rig.hosts[0]]])
        rig.run(5)
        self.assertLess(len(other.received), 500_000)
        rig.network.heal()
        rig.run(3)
        self.assertEqual(len(other.received), MEGABYTE)
        self.assertEqual((one.ended, other.ended), (None, None))

    def test_long_partition(self) -> None:
        """Who sends into nothing gives up; who waits does not know."""
        rig = Rig(2, MEGABYTE)
        one, other = rig.connect(0, 1)
        rig.network.partition([[rig.hosts[0]]])
        one.transport.write(b"anybody?")
        rig.run(rig.network.conditions.patience_seconds + 1)
        assert one.ended
        self.assertTrue(one.ended.check(error.ConnectionLost))
        self.assertIsNone(other.ended)
        rig.network.heal()
        other.transport.write(b"yes")
        rig.run(2)
        assert other.ended
        self.assertTrue(other.ended.check(error.ConnectionLost))

    def test_killed(self) -> None:
        """The kernel of a killed process ends its connections; what was written still leaves."""
        rig = Rig(2, MEGABYTE)
        one, other = rig.connect(0, 1)
        one.transport.write(bytes(50_000))
        rig.run(0.01)
        rig.reactors[0].die()
        rig.hosts[0].kill()
        rig.run(1)
        assert other.ended
        self.assertTrue(other.ended.check(error.ConnectionDone))
        self.assertEqual(len(other.received), 50_000)
        self.assertIsNone(one.ended)

    def test_power_off(self) -> None:
        """Nobody is told; who sends learns it, at the latest from the machine that is back."""
        rig = Rig(3)
        (_, waiting), (_, sending) = rig.connect(0, 1), rig.connect(0, 2)
        rig.reactors[0].die()
        rig.hosts[0].power_off()
        sending.transport.write(b"hello")
        rig.run(3)
        self.assertEqual((waiting.ended, sending.ended), (None, None))
        rig.hosts[0].power_on()
        rig.run(1.5)
        assert sending.ended
        self.assertTrue(sending.ended.check(error.ConnectionLost))
        self.assertIsNone(waiting.ended)
        waiting.transport.write(b"still there?")
        rig.run(1)
        self.assertIsNotNone(waiting.ended)


class DatagramTests(SynchronousTestCase):
    """Datagrams reach whom they should, or nobody."""

    def test_broadcast(self) -> None:
        """All wildcard sockets of all hosts hear it, our own too; others do not."""
        rig = Rig(3)
        ears = [rig.hear(number, 5000) for number in range(3)]
        bound = rig.hear(0, 5000, rig.hosts[0].address)
        elsewhere = rig.hear(1, 5001)
        broadcast = (str(LAN.broadcast_address), 5000)
        self.assertRaises(PermissionError, bound.transport.write, b"hello", broadcast)
        bound.transport.setBroadcastAllowed(True)
        bound.transport.write(b"hello", broadcast)
        rig.run(1)
        for ear in ears:
            self.assertEqual(ear.heard, [(b"hello", rig.hosts[0].address)])
        self.assertEqual((bound.heard, elsewhere.heard), ([], []))

    def test_bound_to_the_broadcast_address(self) -> None:
        """Several that share it hear what is sent there, and nothing else."""
        rig = Rig(2)
        address = str(LAN.broadcast_address)
        ears = [rig.hear(1, 5000, address) for _ in range(2)]
        limited = rig.hear(1, 5000, "255.255.255.255")
        mouth = rig.hear(0, 5000, rig.hosts[0].address)
        mouth.transport.setBroadcastAllowed(True)
        for target in (address, rig.hosts[1].address):
            mouth.transport.write(b"hello", (target, 5000))
        rig.run(1)
        self.assertEqual([len(ear.heard) for ear in (*ears, limited)], [1, 1, 0])

    def test_a_port_of_one_alone(self) -> None:
        """Nobody else can have it, there or on all addresses; elsewhere it is free."""
        rig = Rig(2)
        reactor, address = rig.reactors[1], rig.hosts[1].address
        reactor.listenUDP(5000, DatagramProtocol(), interface=address)
        for interface in (address, ""):
            for shared in (False, True):
                with self.assertRaises(error.CannotListenError) as caught:
                    reactor.listenMulticast(
                        5000, DatagramProtocol(), interface=interface, listenMultiple=shared
                    )
                self.assertEqual(caught.exception.socketError.errno, errno.EADDRINUSE)
        rig.hear(1, 5000, str(LAN.broadcast_address))
        rig.hear(1, 5001)
        rig.hear(0, 5000)

    def test_unicast(self) -> None:
        """The socket of the address hears it, the wildcard one only where there is none."""
        rig = Rig(2)
        wild, bound = rig.hear(1, 5000), rig.hear(1, 5000, rig.hosts[1].address)
        other = rig.hear(1, 5001)
        asking = rig.hear(0, 5000, rig.hosts[0].address)
        for port in (5000, 5001, 5002):
            asking.transport.write(b"hello", (rig.hosts[1].address, port))
        rig.run(1)
        self.assertEqual([len(ear.heard) for ear in (wild, bound, other)], [0, 1, 1])

    def test_loss(self) -> None:
        """As many are lost, and doubled, as was said."""
        rig = Rig(2)
        conditions = rig.network.conditions
        conditions.loss, conditions.duplication = 0.3, 0.2
        ear, mouth = rig.hear(1, 5000), rig.hear(0, 5000, rig.hosts[0].address)
        for number in range(2_000):
            mouth.transport.write(b"%d" % number, (rig.hosts[1].address, 5000))
            rig.run(0.001)
        rig.run(1)
        self.assertApproximates(len({data for data, _ in ear.heard}), 1_400, 80)
        self.assertApproximates(len(ear.heard), 1_400 * 1.2, 120)

    def test_reordering(self) -> None:
        """Some come later than others that were sent after them."""
        rig = Rig(2)
        rig.network.conditions.reordering = 0.3
        ear, mouth = rig.hear(1, 5000), rig.hear(0, 5000, rig.hosts[0].address)
        for number in range(100):
            mouth.transport.write(b"%d" % number, (rig.hosts[1].address, 5000))
            rig.run(0.005)
        rig.run(1)
        numbers = [int(data) for data, _ in ear.heard]
        self.assertEqual(sorted(numbers), list(range(100)))
        self.assertNotEqual(numbers, sorted(numbers))

    def test_partition(self) -> None:
        """What is sent over a cut vanishes."""
        rig = Rig(2)
        ear, mouth = rig.hear(1, 5000), rig.hear(0, 5000, rig.hosts[0].address)
        rig.network.partition([[rig.hosts[0]], [rig.hosts[1]]])
        mouth.transport.write(b"lost", (rig.hosts[1].address, 5000))
        rig.run(1)
        rig.network.heal()
        mouth.transport.write(b"heard", (rig.hosts[1].address, 5000))
        rig.run(1)
        self.assertEqual([data for data, _ in ear.heard], [b"heard"])

    def test_beside_streams(self) -> None:
        """A datagram takes its turn on a busy uplink, it does not wait for all that waits there."""
        rig = Rig(2, MEGABYTE)
        one, _ = rig.connect(0, 1)
        ear, mouth = rig.hear(1, 5000), rig.hear(0, 5000, rig.hosts[0].address)
        one.transport.write(bytes(10 * MEGABYTE))
        rig.run(0.5)
        mouth.transport.write(b"urgent", (rig.hosts[1].address, 5000))
        rig.run(0.3)
        self.assertEqual(len(ear.heard), 1)


class ReplayTests(SynchronousTestCase):
    """The same seed is the same run."""

    def digest(self, seed: int) -> str:
        rig = Rig(3, MEGABYTE, seed)
        rig.network.conditions.jitter_seconds = 0.01
        pairs = [rig.connect(0, 1), rig.connect(1, 2), rig.connect(2, 0)]
        for one, other in pairs:
            one.transport.write(bytes(200_000))
            other.transport.write(bytes(100_000))
        rig.run(2)
        return rig.network.trace.digest

    def test_same_seed(self) -> None:
        """To the last byte and microsecond; another seed is another run."""
        self.assertEqual(self.digest(1), self.digest(1))
        self.assertNotEqual(self.digest(1), self.digest(2))
