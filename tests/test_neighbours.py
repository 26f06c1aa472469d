"""Neighbours: who is there, who has proven it, and for how long that holds."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from peershare.neighbours import (
    MAX_NEIGHBOURS,
    MAX_NEIGHBOURS_AT_ONE_ADDRESS,
    SHORTEST_INTERVAL_SECONDS,
    Heard,
    Neighbours,
    Question,
    beacon_interval,
)
from peershare.wire.beacon import BEACON_BYTES, FRAME_BYTES, Beacon, Endpoint, Nonces, encode

A, B = "198.18.0.2", "198.18.0.3"
NOW = 1_000.0


def at(address: str, port: int = 5000, instance: str = "b" * 16) -> Endpoint:
    """The peer of `NeighboursTestCase.beacon` at an address, or another one there."""
    return Endpoint(address, port, instance)


class NeighboursTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.nonces = Nonces(b"s" * 32)
        self.neighbours = Neighbours(self.nonces)

    def beacon(self, **changes: Any) -> Beacon:
        told = {
            "peer": "a" * 32,
            "instance": "b" * 16,
            "port": 5000,
            "catalogue": "c" * 64,
            "count": 3,
            "interval": 30,
        }
        return Beacon(**{**told, **changes})

    def hear(self, address: str = A, now: float = NOW, **changes: Any) -> Heard:
        return self.neighbours.heard(self.beacon(**changes), address, 5000, now)

    def prove(self, address: str = A, now: float = NOW, **changes: Any) -> Heard:
        """As `hear`, with the right echo."""
        told = self.beacon(**changes)
        echo = self.nonces.nonce(told.sender(address))
        return self.hear(address, now, **changes, echo=echo)

    def proven(self) -> list[str]:
        return [n.address for n in self.neighbours.all(NOW) if n.proven]


class ProofTests(NeighboursTestCase):
    def test_a_stranger(self) -> None:
        """It is kept, is to be asked, and may not be dialled."""
        heard = self.hear()
        self.assertEqual((heard.doubtful, heard.changed), (True, False))
        self.assertIsNone(self.neighbours.proven(at(A)))
        known = self.neighbours.get(at(A))
        assert known is not None
        self.assertEqual((known.port, known.digest, known.count), (5000, "c" * 64, 3))

    def test_a_proof(self) -> None:
        """With the echo it may be dialled; without a stranger's beacon before, too."""
        self.hear()
        heard = self.prove()
        self.assertEqual((heard.doubtful, heard.changed), (False, True))
        self.assertEqual(self.proven(), [A])
        self.assertFalse(self.prove(B).doubtful)

    def test_a_wrong_echo(self) -> None:
        """It proves nothing: another address's, another port's, a made-up one."""
        for echo in ("0" * 32, self.nonces.nonce(at(B))):
            self.assertTrue(self.hear(echo=echo).doubtful)
        self.assertTrue(self.hear(port=22, echo=self.nonces.nonce(at(A))).doubtful)
        self.assertEqual(self.proven(), [])

    def test_what_needs_no_new_proof(self) -> None:
        """Another catalogue of the same instance is believed at once."""
        self.prove()
        heard = self.hear(catalogue="d" * 64, count=4)
        self.assertEqual((heard.doubtful, heard.changed), (False, True))
        self.assertFalse(self.hear(catalogue="d" * 64, count=4).changed)
        known = self.neighbours.proven(at(A))
        assert known is not None
        self.assertEqual((known.digest, known.count), ("d" * 64, 4))

    def test_what_does(self) -> None:
        """Another instance or TCP port: what was proven stays, as the other is another peer."""
        self.prove()
        for changes in ({"port": 22}, {"instance": "e" * 16}):
            heard = self.hear(**changes)
            self.assertEqual((heard.doubtful, heard.changed), (True, False))
            self.assertIsNotNone(self.neighbours.proven(at(A)))
        self.assertEqual(self.proven(), [A])

    def test_two_of_one_machine(self) -> None:
        """Each has proven something, and each says what it holds."""
        self.prove()
        self.assertTrue(self.prove(instance="e" * 16, port=5010, catalogue="e" * 64).changed)
        self.hear(instance="e" * 16, port=5010, catalogue="f" * 64)
        self.assertEqual({n.digest for n in self.neighbours.at(A)}, {"c" * 64, "f" * 64})
        self.assertEqual(self.proven(), [A, A])
        self.assertEqual(self.neighbours.proven_at(A, 5010), at(A, 5010, "e" * 16))
        self.assertIsNone(self.neighbours.proven_at(A, 22))
        self.assertEqual(self.neighbours.forgotten(), ())

    def test_a_new_run(self) -> None:
        """It takes the place of the one whose port it has, or whose instance, if it moved."""
        self.prove()
        self.neighbours.contacted(at(A))
        self.prove(instance="e" * 16)
        self.assertEqual(self.neighbours.forgotten(), (at(A),))
        self.prove(instance="e" * 16, port=5010)
        self.assertEqual(self.neighbours.forgotten(), (at(A, 5000, "e" * 16),))
        self.assertEqual(self.proven(), [A])
        self.assertTrue(self.neighbours.was_contacted(at(A, 5010, "e" * 16)))

    def test_a_new_run_at_a_udp_port_of_its_own(self) -> None:
        """Two cannot have the port that is carried; one that is not carried several may have."""
        self.prove(udp=5000)
        self.prove(instance="e" * 16, port=5010, udp=5000)
        self.assertEqual(self.neighbours.forgotten(), (at(A),))
        self.prove(instance="d" * 16, port=5011)
        self.prove(instance="c" * 16, port=5012)
        self.assertEqual(self.neighbours.forgotten(), ())

    def test_clones(self) -> None:
        """Two peers with one peer id are two."""
        self.prove(A, instance="b" * 16)
        self.prove(B, instance="d" * 16)
        self.assertEqual(self.proven(), [A, B])

    def test_doubt(self) -> None:
        """Everybody at an address must prove itself again, and is asked to; nobody elsewhere."""
        self.prove()
        self.prove(instance="e" * 16, port=5010)
        self.prove(B)
        self.assertTrue(self.neighbours.doubt(A, NOW))
        self.assertFalse(self.neighbours.doubt(A, NOW))
        self.assertEqual((self.proven(), self.neighbours.is_proven(A)), ([B], False))
        self.assertEqual([q.endpoint.port for q in self.neighbours.due(NOW)], [5000, 5010])
        self.assertTrue(self.hear().doubtful)
        self.assertTrue(self.prove().changed)
        self.assertEqual(self.proven(), [A, B])


class TimeTests(NeighboursTestCase):
    def test_three_intervals(self) -> None:
        """Of the sender; then it is forgotten, and who had proven something is named."""
        self.prove(A, interval=40)
        self.hear(B, interval=40)
        self.assertEqual(self.neighbours.expire(NOW + 119), ())
        self.assertEqual(len(self.neighbours), 2)
        self.assertEqual(self.neighbours.expire(NOW + 120), (at(A),))
        self.assertEqual(len(self.neighbours), 0)

    def test_sane_intervals(self) -> None:
        """Neither for a second nor for days."""
        self.prove(A, interval=1)
        self.prove(B, interval=86_400)
        self.assertEqual(self.neighbours.expire(NOW + 14), ())
        self.assertEqual(self.neighbours.expire(NOW + 15), (at(A),))
        self.assertEqual(self.neighbours.expire(NOW + 1_800), (at(B),))

    def test_heard_again(self) -> None:
        """Every beacon counts anew, but none that is not proven."""
        self.prove(A)
        self.hear(A, NOW + 80)
        self.hear(A, NOW + 100, instance="e" * 16)
        self.assertEqual(self.neighbours.expire(NOW + 169), ())
        self.assertEqual(self.neighbours.expire(NOW + 170), (at(A),))

    def test_goodbye(self) -> None:
        """With our nonce it counts at once."""
        self.prove()
        self.assertTrue(self.prove(bye=True).changed)
        self.assertEqual((self.neighbours.forgotten(), len(self.neighbours)), ((at(A),), 0))

    def test_a_goodbye_that_carries_nothing(self) -> None:
        """Anybody can say it: expiry does its work.  A stranger is taken at its word."""
        self.prove(A)
        self.hear(B)
        for echo in ("", "0" * 32, self.nonces.nonce(at(B))):
            self.assertFalse(self.hear(bye=True, echo=echo).changed)
            self.assertFalse(self.hear(B, bye=True, echo=echo).changed)
        self.assertEqual((self.proven(), len(self.neighbours)), ([A], 1))
        self.assertEqual(self.neighbours.expire(NOW + 90), (at(A),))

    def test_a_goodbye_of_another_instance(self) -> None:
        """It is not its own."""
        self.prove(A)
        self.prove(A, instance="e" * 16, bye=True)
        self.assertEqual(self.proven(), [A])

    def test_asking_again(self) -> None:
        """A peer that falls silent is asked three times before it is forgotten."""
        self.prove(nonce="9" * 32)
        asked = [(t, self.neighbours.due(NOW + t)) for t in range(90)]
        self.assertEqual([t for t, due in asked if due], [45, 60, 75])
        self.assertEqual(asked[45][1], (Question(at(A), 5000, "9" * 32, apart=False),))
        self.hear(now=NOW + 80)
        self.assertEqual(self.neighbours.due(NOW + 124), ())

    def test_a_stranger_is_not_asked_again(self) -> None:
        """It may be somebody who never said a word."""
        self.hear()
        self.assertEqual(self.neighbours.due(NOW + 80), ())

    def test_what_it_gave_us(self) -> None:
        """Its nonce is taken with a proof alone."""
        self.prove(nonce="9" * 32)
        self.hear(nonce="8" * 32)
        self.prove()
        self.assertEqual(
            self.neighbours.question(at(A)), Question(at(A), 5000, "9" * 32, apart=False)
        )
        self.assertIsNone(self.neighbours.question(at(B)))

    def test_what_carries_our_nonce(self) -> None:
        """It is seen before the datagram is read; of those alone that were given it."""
        told = encode(self.beacon(echo=self.nonces.nonce(at(A))))
        self.assertIsNone(self.neighbours.carries_proof(told, A))
        self.prove()
        self.assertEqual(self.neighbours.carries_proof(told, A), at(A))
        self.assertIsNone(self.neighbours.carries_proof(told, B))
        self.assertIsNone(self.neighbours.carries_proof(encode(self.beacon()), A))


class BoundsTests(NeighboursTestCase):
    def address(self, number: int) -> str:
        return f"198.19.{number >> 8}.{number & 255}"

    def test_strangers_make_room(self) -> None:
        """2,048 in all; the stranger that was silent longest goes, not who has proven something."""
        self.prove(A)
        for number in range(MAX_NEIGHBOURS + 10):
            self.hear(self.address(number), NOW + number)
        self.assertEqual(len(self.neighbours), MAX_NEIGHBOURS)
        self.assertEqual(self.proven(), [A])
        self.assertIsNone(self.neighbours.get(at(self.address(5))))
        self.assertFalse(self.prove(self.address(5)).doubtful, "a proof needs no record")

    def test_a_full_house(self) -> None:
        """Among the proven those go first with whom we never dealt; a stranger finds no room."""
        for number in range(MAX_NEIGHBOURS):
            self.prove(self.address(number), NOW + number)
        for number in range(10):
            self.neighbours.contacted(at(self.address(number)))
        heard = self.hear(A)
        self.assertEqual((heard.neighbour, heard.doubtful), (None, False))
        self.prove(A)
        self.assertIsNone(self.neighbours.get(at(self.address(10))))
        self.assertIsNotNone(self.neighbours.get(at(self.address(9))))
        self.assertEqual(len(self.neighbours), MAX_NEIGHBOURS)
        self.assertEqual(self.neighbours.expire(NOW), (at(self.address(10)),))
        self.assertTrue(self.neighbours.was_contacted(at(self.address(9))))
        self.assertFalse(self.neighbours.was_contacted(at(A)))


class OneAddressTests(NeighboursTestCase):
    """Sixteen peers of one address, and no more."""

    def test_strangers(self) -> None:
        """The one that was silent longest makes room; a proof needs no record."""
        self.prove()
        for number in range(40):
            self.hear(instance=f"{number:016x}", now=NOW + number)
        self.assertEqual(len(self.neighbours), MAX_NEIGHBOURS_AT_ONE_ADDRESS)
        self.assertIsNotNone(self.neighbours.proven(at(A)))
        self.hear(B)
        self.assertEqual(len(self.neighbours), MAX_NEIGHBOURS_AT_ONE_ADDRESS + 1)

    def test_the_proven(self) -> None:
        """One with whom we dealt stays."""
        self.prove()
        self.neighbours.contacted(at(A))
        for number in range(40):
            self.prove(instance=f"{number:016x}", port=6_000 + number, now=NOW + number)
        self.assertEqual(len(self.neighbours), MAX_NEIGHBOURS_AT_ONE_ADDRESS)
        self.assertIsNotNone(self.neighbours.proven(at(A)))
        self.assertIsNone(self.hear(instance="f" * 16).neighbour)


class IntervalTests(SynchronousTestCase):
    def test_it_grows_with_the_network(self) -> None:
        """All beacons together stay below 10 kB a second, jitter included."""
        self.assertEqual(beacon_interval(0), SHORTEST_INTERVAL_SECONDS)
        for count in (1, 30, 500, 1_000, 2_048):
            rate = (count + 1) * (BEACON_BYTES + FRAME_BYTES) / (0.8 * beacon_interval(count))
            self.assertLessEqual(rate, 10_000)
