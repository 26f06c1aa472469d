"""Tests of `peershare.admission`."""

from __future__ import annotations

from twisted.trial import unittest

from peershare.admission import (
    MAX_CONNECTIONS,
    MAX_CONNECTIONS_PER_ADDRESS,
    RESERVED_FOR_KNOWN,
    Admission,
)


class AdmissionTests(unittest.TestCase):
    """Idle connections of strangers lock nobody out."""

    def setUp(self) -> None:
        """127/8 is local, 127.0.0.9 has announced something."""
        self.admission = Admission(lambda a: a.is_loopback, lambda host: host == "127.0.0.9")

    def fill(self, count: int) -> None:
        """Open so many connections from strangers, few from each."""
        for number in range(count):
            host = f"127.0.{number // 16 + 1}.1"
            self.assertIsNone(self.admission.refusal(host))
            self.admission.opened(host)

    def test_elsewhere(self) -> None:
        """An address that is not on our networks is refused."""
        self.assertIn("elsewhere", self.admission.refusal("198.18.0.1") or "")

    def test_per_address(self) -> None:
        """One address has only so many, and gets a place back for each that it closes."""
        for _ in range(MAX_CONNECTIONS_PER_ADDRESS):
            self.admission.opened("127.0.0.2")
        self.assertIn("one address", self.admission.refusal("127.0.0.2") or "")
        self.assertIsNone(self.admission.refusal("127.0.0.3"))
        self.admission.closed("127.0.0.2")
        self.assertIsNone(self.admission.refusal("127.0.0.2"))

    def test_reserve(self) -> None:
        """The last places are for addresses that have announced something."""
        self.fill(MAX_CONNECTIONS - RESERVED_FOR_KNOWN)
        self.assertIn("too many", self.admission.refusal("127.0.0.2") or "")
        for _ in range(MAX_CONNECTIONS_PER_ADDRESS):
            self.assertIsNone(self.admission.refusal("127.0.0.9"))
            self.admission.opened("127.0.0.9")

    def test_full(self) -> None:
        """When all places are taken, known addresses wait too, until one is free."""
        for number in range(MAX_CONNECTIONS):
            self.admission.opened(f"127.1.{number}.1")
        self.assertIn("too many", self.admission.refusal("127.0.0.9") or "")
        self.admission.closed("127.1.0.1")
        self.assertIsNone(self.admission.refusal("127.0.0.9"))
