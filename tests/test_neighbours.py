"""Neighbours: who is there, who has proven it, and for how long that holds."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from peershare.neighbours import (
    MAX_NEIGHBOURS,
    SHORTEST_INTERVAL_SECONDS,
    Heard,
    Neighbours,
    beacon_interval,
)
from peershare.wire.beacon import BEACON_BYTES, FRAME_BYTES, Beacon, Nonces

A, B = "198.18.0.2", "198.18.0.3"
NOW = 1_000.0


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
        echo = self.nonces.nonce(address, told.instance, told.port)
        return self.hear(address, now, **changes, echo=echo)

    def proven(self) -> list[str]:
        return [n.address for n in self.neighbours.all(NOW) if n.proven]


class ProofTests(NeighboursTestCase):
    def test_a_stranger(self) -> None:
        """It is kept, is to be asked, and may not be dialled."""
        heard = self.hear()
        self.assertEqual((heard.doubtful, heard.changed), (True, False))
        self.assertIsNone(self.neighbours.proven(A))
        known = self.neighbours.get(A)
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
        for echo in ("0" * 32, self.nonces.nonce(B, "b" * 16, 5000)):
            self.assertTrue(self.hear(echo=echo).doubtful)
        echo = self.nonces.nonce(A, "b" * 16, 5000)
        self.assertTrue(self.hear(port=22, echo=echo).doubtful)
        self.assertEqual(self.proven(), [])

    def test_what_needs_no_new_proof(self) -> None:
        """Another catalogue of the same instance is believed at once."""
        self.prove()
        heard = self.hear(catalogue="d" * 64, count=4)
        self.assertEqual((heard.doubtful, heard.changed), (False, True))
        self.assertFalse(self.hear(catalogue="d" * 64, count=4).changed)
        known = self.neighbours.proven(A)
        assert known is not None
        self.assertEqual((known.digest, known.count), ("d" * 64, 4))

    def test_what_does(self) -> None:
        """Another instance or TCP port: what was proven stays until that is, too."""
        self.prove()
        for changes in ({"port": 22}, {"instance": "e" * 16}):
            heard = self.hear(**changes)
            self.assertEqual((heard.doubtful, heard.changed), (True, False))
            known = self.neighbours.proven(A)
            assert known is not None
            self.assertEqual((known.port, known.instance), (5000, "b" * 16))
        self.assertTrue(self.prove(instance="e" * 16, port=5010).changed)
        known = self.neighbours.proven(A)
        assert known is not None
        self.assertEqual((known.port, known.instance), (5010, "e" * 16))

    def test_clones(self) -> None:
        """Two peers with one peer id are two."""
        self.prove(A, instance="b" * 16)
        self.prove(B, instance="d" * 16)
        self.assertEqual(self.proven(), [A, B])

    def test_doubt(self) -> None:
        """Who failed us must prove itself again, and is asked to."""
        self.prove()
        self.neighbours.doubt(A, NOW)
        self.neighbours.doubt(B, NOW)
        self.assertIsNone(self.neighbours.proven(A))
        self.assertTrue(self.hear().doubtful)
        self.assertTrue(self.prove().changed)
        self.assertEqual(self.proven(), [A])


class TimeTests(NeighboursTestCase):
    def test_three_intervals(self) -> None:
        """Of the sender; then it is forgotten, and who had proven something is named."""
        self.prove(A, interval=40)
        self.hear(B, interval=40)
        self.assertEqual(self.neighbours.expire(NOW + 119), ())
        self.assertEqual(len(self.neighbours), 2)
        self.assertEqual(self.neighbours.expire(NOW + 120), (A,))
        self.assertEqual(len(self.neighbours), 0)

    def test_sane_intervals(self) -> None:
        """Neither for a second nor for days."""
        self.prove(A, interval=1)
        self.prove(B, interval=86_400)
        self.assertEqual(self.neighbours.expire(NOW + 14), ())
        self.assertEqual(self.neighbours.expire(NOW + 15), (A,))
        self.assertEqual(self.neighbours.expire(NOW + 1_800), (B,))

    def test_heard_again(self) -> None:
        """Every beacon counts anew, but none that is not proven."""
        self.prove(A)
        self.hear(A, NOW + 80)
        self.hear(A, NOW + 100, instance="e" * 16)
        self.assertEqual(self.neighbours.expire(NOW + 169), ())
        self.assertEqual(self.neighbours.expire(NOW + 170), (A,))

    def test_goodbye(self) -> None:
        """It is not dialled any more, asked whether that is true, then forgotten."""
        self.prove()
        self.assertTrue(self.hear(bye=True).changed)
        self.assertIsNone(self.neighbours.proven(A))
        self.assertEqual([n.address for n, _ in self.neighbours.due(NOW + 1)], [A])
        self.assertEqual(self.neighbours.expire(NOW + 3), (A,))

    def test_a_goodbye_that_was_a_lie(self) -> None:
        """Who is there after all proves it, and stays."""
        self.prove()
        self.hear(bye=True)
        self.prove(now=NOW + 1)
        self.assertEqual(self.neighbours.expire(NOW + 80), ())
        self.assertEqual(self.proven(), [A])

    def test_a_goodbye_of_another_instance(self) -> None:
        """It is not its own; that of a stranger is taken at its word."""
        self.prove(A)
        self.hear(A, instance="e" * 16, bye=True)
        self.hear(B)
        self.hear(B, bye=True)
        self.hear("198.18.0.4", bye=True)
        self.assertEqual(self.proven(), [A])
        self.assertEqual(len(self.neighbours), 1)

    def test_asking_again(self) -> None:
        """A stranger is asked three times more after it was heard; then not before it is again."""
        self.hear()
        asked = [t / 2 for t in range(40) if self.neighbours.due(NOW + t / 2)]
        self.assertEqual(asked, [0.5, 1.5, 4.5])
        self.hear(now=NOW + 30)
        self.assertEqual(len(self.neighbours.due(NOW + 31)), 1)
        self.prove(now=NOW + 31)
        self.assertEqual(self.neighbours.due(NOW + 40), ())


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
        self.assertIsNone(self.neighbours.get(self.address(5)))
        self.assertFalse(self.prove(self.address(5)).doubtful, "a proof needs no record")

    def test_a_full_house(self) -> None:
        """Among the proven those go first with whom we never dealt; a stranger finds no room."""
        for number in range(MAX_NEIGHBOURS):
            self.prove(self.address(number), NOW + number)
        for number in range(10):
            self.neighbours.contacted(self.address(number))
        heard = self.hear(A)
        self.assertEqual((heard.neighbour, heard.doubtful), (None, False))
        self.prove(A)
        self.assertIsNone(self.neighbours.get(self.address(10)))
        self.assertIsNotNone(self.neighbours.get(self.address(9)))
        self.assertEqual(len(self.neighbours), MAX_NEIGHBOURS)
        self.assertEqual(self.neighbours.expire(NOW), (self.address(10),))
        self.assertTrue(self.neighbours.was_contacted(self.address(9)))
        self.assertFalse(self.neighbours.was_contacted(A))


class IntervalTests(SynchronousTestCase):
    def test_it_grows_with_the_network(self) -> None:
        """All beacons together stay below 10 kB a second, jitter included."""
        self.assertEqual(beacon_interval(0), SHORTEST_INTERVAL_SECONDS)
        for count in (1, 30, 500, 1_000, 2_048):
            rate = (count + 1) * (BEACON_BYTES + FRAME_BYTES) / (0.8 * beacon_interval(count))
            self.assertLessEqual(rate, 10_000)
