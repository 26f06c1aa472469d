"""Reports of a verified download: what each peer gave is in the log, whatever became of it."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from peershare.download.swarm.reports import SwarmReports
from peershare.errors import PeerError, Reason
from peershare.wire.beacon import Endpoint

A, B = Endpoint("198.18.0.2", 5000, "aa"), Endpoint("198.18.0.2", 5010, "bb")
CUT = PeerError(Reason.RESET, "cut the connection")


class ReportsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.lines: list[tuple[str, int, str]] = []
        ledger: Any = self
        self.reports = SwarmReports("forest.png", ledger, lambda *_: None, lambda: 0.0)

    def record_download(
        self, address: str, name: str, size: int, seconds: float, result: str
    ) -> None:
        """Ledger: a line."""
        self.lines.append((address, size, result.partition(":")[0]))

    def give(self, peer: Endpoint, *lengths: int) -> None:
        """Blocks come, and are right."""
        for length in lengths:
            self.reports.came(peer, length)
            self.reports.gave(peer, length)

    def test_in_good_order(self) -> None:
        """The bytes of its blocks; a peer that gave none has no line."""
        self.reports.joined(A)
        self.reports.joined(B)
        self.give(A, 100, 50)
        self.reports.close_all()
        self.assertEqual(self.lines, [(A.address, 150, "ok verified")])

    def test_killed_in_the_middle_of_a_block(self) -> None:
        """What had come of it is in the line of the failure."""
        self.reports.joined(A)
        self.give(A, 100)
        self.reports.came(A, 30)
        self.reports.failed(A, CUT, 0)
        self.assertEqual(
            self.lines, [(A.address, 100, "ok verified"), (A.address, 30, "failed reset")]
        )

    def test_killed_while_a_block_is_checked(self) -> None:
        """It counts once, although it proves right afterwards."""
        self.reports.joined(A)
        self.reports.came(A, 100)
        self.reports.failed(A, CUT, 0)
        self.reports.gave(A, 100)
        self.reports.close_all()
        self.assertEqual(
            self.lines, [(A.address, 100, "failed reset"), (A.address, 0, "ok verified")]
        )

    def test_stopped_while_a_block_is_checked(self) -> None:
        """It is written down when it proves right, although all is over."""
        self.reports.joined(A)
        self.reports.came(A, 100)
        self.reports.close_all()
        self.reports.gave(A, 100)
        self.assertEqual(self.lines, [(A.address, 100, "ok verified")])

    def test_two_of_one_address(self) -> None:
        """Each has its own account."""
        self.reports.joined(A)
        self.reports.joined(B)
        self.give(A, 100)
        self.give(B, 10)
        self.reports.failed(B, CUT, 1)
        self.assertEqual(self.lines[0], (B.address, 10, "ok verified"))
        self.reports.close_all()
        self.assertEqual(self.lines[-1], (A.address, 100, "ok verified"))
