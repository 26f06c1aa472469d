"""Identity: what stays with the state folder, and what is new with every run."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from peershare.errors import StorageError
from peershare.identity import PEER_ID_NAME, Identity


class IdentityTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir(parents=True)
        self.path = self.folder / PEER_ID_NAME

    def identity(self, seed: int) -> Identity:
        return Identity.of_this_run(self.folder, Random(seed))

    def test_what_stays(self) -> None:
        """The peer id; instance and secret do not."""
        one, two = self.identity(1), self.identity(2)
        self.assertEqual(one.peer, two.peer)
        self.assertNotEqual(one.instance, two.instance)
        self.assertNotEqual(one.secret, two.secret)
        self.assertEqual([len(t) for t in (one.peer, one.instance, one.secret)], [32, 16, 32])
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)

    def test_chance_is_injected(self) -> None:
        """The same seed gives the same names."""
        one = self.identity(1)
        self.path.unlink()
        self.assertEqual(self.identity(1), one)

    def test_something_else_in_the_file(self) -> None:
        """A new id takes its place."""
        for text in (b"", b"../../x", b"A" * 32, b"a" * 31, b"a" * 33, b"\xff" * 32, b"a" * 9_999):
            self.path.write_bytes(text)
            peer = self.identity(3).peer
            self.assertEqual(self.path.read_text(), f"{peer}\n")

    def test_a_disk_that_fails(self) -> None:
        """It is said which file it is."""
        self.path.mkdir()
        error = self.assertRaises(StorageError, self.identity, 1)
        self.assertIn(os.fspath(self.path), str(error))
