"""Neighbourhood: peers that find each other, prove it, and learn what the others hold."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from peershare.wire.beacon import FRAME_BYTES, MAX_BEACON_BYTES, Endpoint, Nonces, decode, encode
from peershare.wire.catalogue import CatalogueEntry
from tests.beaconing import BEACON_PORT, BROADCAST, CLASSIC_PORT, FakeLan, Peer, identity

MALLORY = "198.18.9.9"


def entry(name: str, number: int, complete: bool = True) -> CatalogueEntry:
    """A content."""
    return CatalogueEntry(name, number, f"b3:{number:064x}", complete)


FOREST = entry("forest.png", 77)


class LanTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.lan = FakeLan()

    def crowd(self, count: int) -> list[Peer]:
        """So many peers that know each other; each has a file of its own, and the forest."""
        peers = [self.lan.add(number) for number in range(2, 2 + count)]
        for number, peer in enumerate(peers):
            peer.hold(entry(f"file {number}.txt", 1_000 + number), FOREST)
        self.lan.run(5.0, 0.05)
        return peers

    def beacons(self, begin: float) -> list[tuple[float, str, str, bytes]]:
        """What was sent since then, with the moment, source and target."""
        return [sent for sent in self.lan.sent if sent[0] >= begin]


class FindingTests(LanTestCase):
    def test_a_new_peer_knows_everybody_within_300_ms(self) -> None:
        """And they know it: all proven, on both sides."""
        peers = self.crowd(20)
        new = self.lan.add(99)
        self.lan.run(0.3)
        everybody = {peer.address for peer in peers}
        self.assertEqual(new.proven(), everybody)
        for peer in peers:
            self.assertIn(new.address, peer.proven())

    def test_three_datagrams_for_two_proofs(self) -> None:
        """The answer asks, the echo asks back, the last one only echoes."""
        self.crowd(10)
        begin = self.lan.reactor.seconds()
        self.lan.add(99)
        self.lan.run(0.3)
        sent = self.beacons(begin)
        self.assertEqual(len([s for s in sent if s[2] != BROADCAST]), 30)
        self.assertEqual(len([s for s in sent if s[2] == BROADCAST]), 1)

    def test_nonces_are_never_broadcast(self) -> None:
        """What everybody hears proves nothing."""
        self.crowd(5)
        for _, _, target, datagram in self.lan.sent:
            beacon = decode(datagram)
            self.assertEqual(bool(beacon.nonce or beacon.echo), target != BROADCAST)

    def test_lost_datagrams(self) -> None:
        """One in four gets lost: two intervals later everybody knows everybody all the same."""
        random = Random(5)
        self.lan.lost = lambda source, target: random.random() < 0.25
        peers = [self.lan.add(number) for number in range(2, 10)]
        self.lan.run(70.0, 0.05)
        for peer in peers:
            self.assertEqual(len(peer.proven()), 7)

    def test_quiet_once_all_is_said(self) -> None:
        """Then there is a beacon of each peer every 30 s, and nothing else."""
        self.crowd(10)
        self.lan.run(60.0, 0.5)
        begin = self.lan.reactor.seconds()
        self.lan.run(300.0, 0.5)
        sent = self.beacons(begin)
        self.assertTrue(all(target == BROADCAST for _, _, target, _ in sent))
        self.assertTrue(90 <= len(sent) <= 110, len(sent))
        size = sum(len(datagram) + FRAME_BYTES for *_, datagram in sent)
        self.assertLess(size / 300, 10_000)
        self.assertLessEqual(max(len(datagram) for *_, datagram in sent), MAX_BEACON_BYTES)

    def test_goodbye(self) -> None:
        """A peer that stops is forgotten at once, with all it has; its address is told."""
        one, two, three = self.crowd(3)
        left: list[str] = []
        one.hood.on_left(left.append)
        self.lan.stop(three)
        self.assertEqual(left, [three.address])
        self.assertEqual(one.proven(), {two.address})
        self.lan.run(0.2, 0.1)
        self.assertEqual(one.knows("forest.png"), [("forest.png", 1)])
        self.assertEqual(one.knows("file 2.txt"), [])

    def test_a_crash(self) -> None:
        """Who falls silent is forgotten after three intervals."""
        one, two, three = self.crowd(3)
        self.lan.crash(three)
        self.lan.run(50.0, 0.5)
        self.assertEqual(one.proven(), {two.address, three.address})
        self.lan.run(80.0, 0.5)
        self.assertEqual(one.proven(), {two.address})
        self.assertEqual(one.knows("file 2.txt"), [])

    def test_a_restart(self) -> None:
        """A new instance at the same address proves itself anew."""
        one, two = self.crowd(2)
        self.lan.crash(two)
        again = self.lan.add(3, identity(500), tcp_port=5010)
        self.lan.run(0.3)
        self.assertIsNotNone(
            one.hood.neighbours.proven(Endpoint(two.address, 5010, identity(500).instance))
        )
        self.assertEqual(again.proven(), {one.address})

    def test_a_clone(self) -> None:
        """A copied state folder makes another peer of the same id; our own instance is us."""
        one, _ = self.crowd(2)
        clone = self.lan.add(50, identity(2))
        self.lan.run(0.3)
        self.assertNotIn(clone.address, one.proven(), "the same instance would be ourselves")
        other = identity(60)
        self.lan.add(60, type(other)(one.hood._beacons.identity.peer, other.instance, b"x" * 32))
        self.lan.run(0.3)
        self.assertIn("198.18.0.60", one.proven())

    def test_partitions(self) -> None:
        """Who was cut off and forgotten is known again after an interval at the latest."""
        one, two = self.crowd(2)
        self.lan.lost = lambda source, target: True
        self.lan.run(130.0, 0.5)
        self.assertEqual((one.proven(), two.proven()), (set(), set()))
        self.lan.lost = lambda source, target: False
        self.lan.run(37.0, 0.1)
        self.assertEqual((one.proven(), two.proven()), ({two.address}, {one.address}))
        self.lan.run(3.0, 0.1)
        self.assertEqual(one.knows("file 1.txt"), [("file 1.txt", 1)])


class CatalogueTests(LanTestCase):
    def test_everybody_knows_what_everybody_has(self) -> None:
        """Within seconds."""
        peers = self.crowd(6)
        for peer in peers:
            self.assertEqual(peer.knows("forest"), [("forest.png", 5)])
            others = [n for n in range(6) if peers[n] is not peer]
            for number in others:
                self.assertEqual(len(peer.knows(f"file {number}.txt")), 1)

    def test_equal_ones_are_fetched_once(self) -> None:
        """From one of those who have them."""
        peers = [self.lan.add(number) for number in range(2, 8)]
        for peer in peers:
            peer.hold(FOREST)
        self.lan.run(3.0, 0.05)
        new = self.lan.add(99)
        self.lan.run(3.0, 0.05)
        self.assertEqual(new.knows("forest.png"), [("forest.png", 6)])
        self.assertEqual(len(new.sessions.asked), 1)

    def test_a_change_travels_as_a_difference(self) -> None:
        """It is told at once, and asked for with the digest that is known."""
        one, two = self.crowd(2)
        before = two.hood.catalogue.digest
        two.hold(*two.held, entry("new.txt", 5))
        self.lan.run(1.5)
        self.assertEqual(one.knows("new.txt"), [("new.txt", 1)])
        self.assertEqual(one.sessions.asked[-1], (two.address, 5000, before))

    def test_changes_are_told_once_a_second(self) -> None:
        """However many there are; the last one is told."""
        one, two = self.crowd(2)
        begin = self.lan.reactor.seconds()
        for number in range(100):
            two.hold(*two.held, entry(f"new {number}.txt", 2_000 + number))
            self.lan.run(0.1)
        told = [s for s in self.beacons(begin) if s[1] == two.address and s[2] == BROADCAST]
        self.assertTrue(9 <= len(told) <= 12, len(told))
        self.lan.run(2.0)
        self.assertEqual(len(one.knows("new 99.txt")), 1)

    def test_who_listens_to_changes(self) -> None:
        """Is told when something was learned or forgotten, not with every beacon."""
        one, two = self.crowd(2)
        self.lan.run(60.0, 0.5)
        before = one.changes
        self.lan.run(120.0, 0.5)
        self.assertEqual(one.changes, before)
        two.hold()
        self.lan.run(1.5)
        self.assertGreater(one.changes, before)
        before = one.changes
        self.lan.stop(two)
        self.lan.run(5.0, 0.1)
        self.assertGreater(one.changes, before)

    def test_a_listener_that_fails(self) -> None:
        """The others are told."""
        one, two = self.crowd(2)
        one.hood._callbacks.insert(0, lambda: 1 / 0)
        before = one.changes
        two.hold()
        self.lan.run(1.5)
        self.assertGreater(one.changes, before)
        self.assertGreater(len(self.flushLoggedErrors(ZeroDivisionError)), 0)

    def test_who_takes_no_sessions(self) -> None:
        """It is there, and is not asked for anything."""
        one = self.lan.add(2)
        two = self.lan.add(3, tcp_port=0)
        two.hold(FOREST)
        self.lan.run(3.0, 0.05)
        self.assertEqual(one.proven(), {two.address})
        self.assertEqual((one.sessions.asked, one.knows("forest.png")), ([], []))

    def test_what_cannot_be_told(self) -> None:
        """A name that other systems could not hold is not told, the rest is."""
        one, two = self.crowd(2)
        two.hold(entry("a:b", 5), entry("c.txt", 6))
        self.lan.run(2.0)
        self.assertEqual((len(one.knows("c.txt")), two.hood.catalogue.left_out), (1, 1))

    def test_stopping(self) -> None:
        """No socket and no timer is left."""
        one, two = self.crowd(2)
        two.hold(FOREST)
        self.lan.run(0.06)
        self.lan.stop(one)
        self.lan.stop(two)
        self.assertEqual(self.lan.reactor.udp_ports, [])
        self.assertEqual(self.lan.reactor.getDelayedCalls(), [])


class ForgingTestCase(LanTestCase):
    """Somebody sends beacons in the names of others."""

    def setUp(self) -> None:
        super().setUp()
        self.one, self.two = self.crowd(2)
        self.begin = self.lan.reactor.seconds()

    def told_of(self, address: str) -> list[bytes]:
        """What peer one sent there since."""
        mine = [s for s in self.beacons(self.begin) if s[1] == self.one.address]
        return [datagram for _, _, target, datagram in mine if target == address]

    def forge(self, source: str, port: int = BEACON_PORT, **changes: object) -> None:
        """A beacon like that of peer two."""
        beacon = decode(next(s[3] for s in self.lan.sent if s[1] == self.two.address))
        told = {name: getattr(beacon, name) for name in beacon.__struct_fields__}
        datagram = encode(type(beacon)(**{**told, "nonce": "", "echo": "", **changes}))
        self.lan.hear(self.one, datagram, source, port)


class ForgingTests(ForgingTestCase):
    def test_nobody_is_dialled_who_does_not_answer(self) -> None:
        """A classic peer in whose name a beacon comes is asked by UDP, and never dialled."""
        asked = len(self.one.sessions.asked)
        self.forge(MALLORY, instance="f" * 16, catalogue="d" * 64, ask=True)
        self.lan.run(20.0, 0.1)
        self.assertEqual(len(self.one.sessions.asked), asked)
        self.assertTrue(1 <= len(self.told_of(MALLORY)) <= 4)

    def test_another_port_of_a_peer(self) -> None:
        """Nobody is sent to a port that its owner did not prove."""
        self.forge(self.two.address, port=5000, catalogue="d" * 64)
        self.forge(self.two.address, instance="f" * 16, ask=True)
        self.lan.run(1.0)
        proven = [n.instance for n in self.one.hood.neighbours.at(self.two.address) if n.proven]
        self.assertEqual(proven, [identity(3).instance])

    def test_a_goodbye_in_the_name_of_another(self) -> None:
        """It is not believed: it lacks what the two of them exchanged."""
        asked = len(self.one.sessions.asked)
        for echo in ("", "e" * 32):
            self.forge(self.two.address, bye=True, echo=echo)
        self.assertEqual(self.one.proven(), {self.two.address})
        self.lan.run(1.2)
        self.assertEqual(self.one.proven(), {self.two.address})
        self.assertEqual(len(self.one.knows("file 1.txt")), 1)
        self.assertEqual(len(self.one.sessions.asked), asked)

    def test_a_digest_in_the_name_of_another(self) -> None:
        """It costs one fetch; what is held stays, and is not fetched again and again."""
        asked = len(self.one.sessions.asked)
        self.forge(self.two.address, catalogue="d" * 64)
        self.lan.run(5.0, 0.05)
        self.assertEqual(len(self.one.sessions.asked), asked + 1)
        self.assertEqual(len(self.one.knows("file 1.txt")), 1)

    def test_answers_are_limited(self) -> None:
        """However often it is asked in somebody's name, and they are not larger than what came."""
        for number in range(200):
            self.forge(MALLORY, instance=f"{number:016x}", ask=True, nonce="e" * 32)
            self.lan.run(0.02)
        answers = self.told_of(MALLORY)
        self.assertTrue(5 <= len(answers) <= 25, len(answers))
        sizes = {len(datagram) for datagram in answers}
        self.assertEqual(len(sizes), 1)

    def test_ports_that_are_never_answered(self) -> None:
        """Classic listeners die of beacons; port 0 is none."""
        for port in (CLASSIC_PORT, 0):
            self.forge(MALLORY, port, instance="f" * 16, ask=True, nonce="e" * 32)
        self.lan.run(20.0, 0.1)
        self.assertEqual(self.told_of(MALLORY), [])
        refused = self.one.hood.refused
        self.assertEqual(refused["beacon from a port that may not be answered"], 2)

    def test_a_stolen_nonce(self) -> None:
        """The echo of what was sent to another proves nothing."""
        nonce = Nonces(identity(2).secret).nonce(Endpoint(self.two.address, 5000, "f" * 16))
        self.forge(MALLORY, instance="f" * 16, echo=nonce)
        self.assertEqual(self.one.proven(), {self.two.address})

    def test_one_for_one(self) -> None:
        """A stranger is sent one datagram for one, and nothing more until it is heard again."""
        for number in range(1, 4):
            self.forge(MALLORY, instance="f" * 16, ask=True)
            self.lan.run(40.0, 0.1)
            self.assertEqual(len(self.told_of(MALLORY)), number)

    def test_a_broadcast_with_a_nonce(self) -> None:
        """Everybody could answer it in one moment: neither its nonce nor its echo counts."""
        beacon = decode(next(s[3] for s in self.lan.sent if s[1] == self.two.address))
        told = {name: getattr(beacon, name) for name in beacon.__struct_fields__}
        nonce = self.one.hood.neighbours.nonces.nonce(Endpoint(MALLORY, 5000, "f" * 16))
        forged = encode(
            type(beacon)(
                **{**told, "instance": "f" * 16, "ask": True, "nonce": "e" * 32, "echo": nonce}
            )
        )
        self.one.hood._hearing.hear_broadcast(forged, MALLORY, BEACON_PORT)
        self.lan.run(1.0)
        self.assertEqual([decode(d).echo for d in self.told_of(MALLORY)], [""])
        self.assertNotIn(MALLORY, self.one.proven())

    def test_ports_of_other_services(self) -> None:
        """Name servers and the like are not sent beacons in anybody's name, carried or not."""
        for port in (7, 53, 123, 1_023, 5_001):
            self.forge(MALLORY, port, instance="f" * 16, udp=0, ask=True)
            self.forge(MALLORY, 6_000, instance="f" * 16, udp=port, ask=True)
        self.lan.run(1.0)
        self.assertEqual(self.told_of(MALLORY), [])

    def test_another_program_of_its_machine(self) -> None:
        """It does not get what a peer is sent, nor its nonce, by asking from another port."""
        self.forge(self.two.address, 44_444, udp=44_444, ask=True, nonce="e" * 32)
        self.lan.run(1.0)
        known = self.one.hood.neighbours.question(
            Endpoint(self.two.address, 5000, identity(3).instance)
        )
        assert known is not None
        self.assertEqual(known.udp_port, BEACON_PORT)
        self.assertNotEqual(known.echo, "e" * 32)
        self.assertNotIn(44_444, {port for _, port in self.lan.targets})


class JunkTests(ForgingTestCase):
    """Somebody sends as much as it can in a peer's name."""

    def flood(self, seconds: float, **changes: object) -> None:
        """Far over the budget of an address."""
        end = self.lan.reactor.seconds() + seconds
        while self.lan.reactor.seconds() < end:
            for _ in range(25):
                self.forge(self.two.address, **changes)
            self.lan.run(0.5, 0.1)

    def test_it_does_not_part_them(self) -> None:
        """Nothing of what the peer broadcasts is heard, and still it is not forgotten."""
        self.flood(120.0, instance="f" * 16)
        self.assertGreater(self.one.hood.refused["beacon over the rate limit"], 1_000)
        self.assertEqual(self.one.proven(), {self.two.address})
        self.assertEqual(len(self.one.knows("file 1.txt")), 1)

    def test_what_it_says_is_heard(self) -> None:
        """A new catalogue is known within seconds: the peer is asked directly."""
        self.flood(10.0, instance="f" * 16)
        self.two.hold(*self.two.held, entry("new.txt", 5))
        self.flood(5.0, instance="f" * 16)
        self.assertEqual(len(self.one.knows("new.txt")), 1)

    def test_its_goodbye_is_heard(self) -> None:
        """It carries what the two of them exchanged."""
        self.flood(10.0, instance="f" * 16)
        self.lan.stop(self.two)
        self.assertEqual(self.one.proven(), set())

    def test_the_peer_is_not_flooded(self) -> None:
        """It is asked every two seconds at most, whatever is sent in its name."""
        self.flood(20.0)
        self.assertLessEqual(len(self.told_of(self.two.address)), 40)


class SilenceTests(LanTestCase):
    def test_lost_broadcasts(self) -> None:
        """A peer whose broadcasts are all lost is asked, and stays; nobody else is."""
        one, two = self.crowd(2)
        self.lan.deaf_to_broadcasts = True
        self.lan.run(300.0, 0.5)
        self.assertEqual((one.proven(), two.proven()), ({two.address}, {one.address}))


class OneMachineTests(LanTestCase):
    """Two services of one address."""

    def setUp(self) -> None:
        super().setUp()
        self.one, self.two = self.crowd(2)
        self.second = self.lan.add(3, identity(77), tcp_port=5_010, beside=self.two)
        self.second.hold(entry("of the second.txt", 9_000))
        self.lan.run(5.0, 0.05)

    def proven(self, peer: Peer) -> set[tuple[str, int]]:
        """Who has proven something to it: address and TCP port."""
        return {(n.address, n.port) for n in peer.hood.neighbours.all(0) if n.proven}

    def test_two_peers_to_everybody(self) -> None:
        """Each is found, with what it has, by others and by the other one."""
        one, two = self.one.address, self.two.address
        self.assertEqual(self.proven(self.one), {(two, 5_000), (two, 5_010)})
        self.assertEqual(self.proven(self.two), {(one, 5_000), (two, 5_010)})
        self.assertEqual(self.proven(self.second), {(one, 5_000), (two, 5_000)})
        for peer in (self.one, self.two):
            self.assertEqual(len(peer.knows("of the second.txt")), 1)
        self.assertEqual(len(self.second.knows("file 1.txt")), 1)
        self.assertEqual(len(self.one.knows("file 1.txt")), 1)

    def test_for_long(self) -> None:
        """Neither takes the other's place."""
        self.lan.run(300.0, 0.5)
        self.test_two_peers_to_everybody()

    def test_one_that_goes(self) -> None:
        """The other one stays, with what it has."""
        self.lan.stop(self.second)
        self.lan.run(0.5, 0.1)
        self.assertEqual(self.proven(self.one), {(self.two.address, 5_000)})
        self.assertEqual(self.one.knows("of the second.txt"), [])
        self.assertEqual(len(self.one.knows("file 1.txt")), 1)

    def test_doubt(self) -> None:
        """Nobody of the address is proven until both have echoed anew, which takes a second."""
        self.one.hood.doubt(self.two.address)
        self.assertEqual(self.proven(self.one), set())
        self.lan.run(1.0)
        self.test_two_peers_to_everybody()
