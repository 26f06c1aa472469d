"""Admission: who may have a connection, and that strangers lock nobody out."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from twisted.trial.unittest import SynchronousTestCase

from peershare.admission import (
    MAX_CONNECTIONS,
    MAX_CONNECTIONS_PER_ADDRESS,
    RESERVED_FOR_FIRST,
    RESERVED_FOR_KNOWN,
    Admission,
)

NETWORK = IPv4Network("198.18.0.0/24")
KNOWN = "198.18.0.200"


class AdmissionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.admission = Admission(lambda address: address in NETWORK, {KNOWN}.__contains__)

    def open(self, host: str) -> bool:
        """Open a connection if it is welcome."""
        if self.admission.refusal(host) is not None:
            return False
        self.admission.opened(host)
        return True

    def flood(self) -> int:
        """Strangers open as many as they can; how many that were."""
        hosts = [str(IPv4Address("198.18.0.1") + n) for n in range(100)]
        return sum(self.open(host) for host in hosts for _ in range(50))

    def test_only_from_our_networks(self) -> None:
        """A source on no network of ours is turned away."""
        self.assertEqual(self.admission.refusal("203.0.113.1"), "connection from elsewhere")
        self.assertIsNone(self.admission.refusal("198.18.0.1"))

    def test_one_address_has_its_cap(self) -> None:
        """However many it opens, others are not concerned."""
        opened = sum(self.open("198.18.0.1") for _ in range(100))
        self.assertEqual(opened, MAX_CONNECTIONS_PER_ADDRESS)
        self.assertTrue(self.open("198.18.0.2"))

    def test_a_reserve_for_who_has_announced_something(self) -> None:
        """Strangers leave room for known peers, who have a cap in all too."""
        self.assertEqual(self.flood(), MAX_CONNECTIONS - RESERVED_FOR_KNOWN)
        self.assertEqual(self.admission.refusal("198.18.0.150"), "too many connections")
        opened = sum(self.open(KNOWN) for _ in range(100))
        self.assertEqual(opened, MAX_CONNECTIONS_PER_ADDRESS)

    def test_a_reserve_for_first_connections(self) -> None:
        """Six addresses with as many as they may have leave a place for everybody else's first."""
        opened = sum(self.open(f"198.18.0.{host}") for host in range(1, 7) for _ in range(50))
        self.assertEqual(opened, MAX_CONNECTIONS - RESERVED_FOR_KNOWN - RESERVED_FOR_FIRST + 1)
        others = [f"198.18.0.{host}" for host in range(50, 100)]
        self.assertEqual(sum(map(self.open, others)), RESERVED_FOR_FIRST - 1)

    def test_a_closed_connection_makes_room(self) -> None:
        """Recovery needs nothing but the end of connections; nothing is remembered of them."""
        self.flood()
        self.admission.closed("198.18.0.1")
        self.assertTrue(self.open("198.18.0.150"))
        again = Admission(lambda address: True, lambda host: False)
        for number in range(1_000):
            host = str(IPv4Address(number))
            again.opened(host)
            again.closed(host)
        self.assertEqual(len(again._open), 0)

    def test_room(self) -> None:
        """How much is left before a refusal, for this address."""
        self.assertEqual(
            self.admission.room("198.18.0.1"),
            (MAX_CONNECTIONS - RESERVED_FOR_KNOWN, MAX_CONNECTIONS_PER_ADDRESS),
        )
        for _ in range(3):
            self.open("198.18.0.1")
        self.assertEqual(
            self.admission.room(KNOWN), (MAX_CONNECTIONS - 3, MAX_CONNECTIONS_PER_ADDRESS)
        )
        self.flood()
        self.assertEqual(self.admission.room("198.18.0.150")[0], 0)
        self.assertIsNotNone(self.admission.refusal("198.18.0.150"))
