"""Codes and sessions: how long each is good, and how many there are."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from peershare.control.opening import CODE_SECONDS, MAX_CODES, MAX_SESSIONS, Openings


class OpeningsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.openings = Openings(self.clock.seconds)

    def exchange(self, code: str) -> str | None:
        return self.openings.exchange(code.encode())

    def test_once(self) -> None:
        """A code is good for one session, and not again."""
        code = self.openings.new_code()
        session = self.exchange(code)
        assert session is not None
        self.assertTrue(self.openings.knows(session.encode()))
        self.assertIsNone(self.exchange(code))
        self.assertTrue(self.openings.knows(session.encode()))

    def test_each_of_its_own(self) -> None:
        """Codes and sessions are long, and all different; neither is good for the other."""
        codes = [self.openings.new_code() for _ in range(3)]
        sessions = [self.exchange(code) for code in codes]
        self.assertEqual(len({*codes, *sessions}), 6)
        self.assertTrue(all(len(secret or "") >= 43 for secret in (*codes, *sessions)))
        self.assertFalse(any(self.openings.knows(code.encode()) for code in codes))
        self.assertIsNone(self.exchange(sessions[0] or ""))

    def test_old(self) -> None:
        """A code is good for a minute."""
        first, second = self.openings.new_code(), self.openings.new_code()
        self.clock.advance(CODE_SECONDS - 0.1)
        self.assertIsNotNone(self.exchange(first))
        self.clock.advance(0.1)
        self.assertIsNone(self.exchange(second))

    def test_unknown(self) -> None:
        """Nothing else is a code or a session."""
        code = self.openings.new_code()
        for other in (b"", code[:-1].encode(), code.encode() + b"x", b"\xff\x00"):
            self.assertIsNone(self.openings.exchange(other))
            self.assertFalse(self.openings.knows(other))

    def test_caps(self) -> None:
        """Of too many, the oldest is forgotten."""
        codes = [self.openings.new_code() for _ in range(MAX_CODES + 1)]
        self.assertIsNone(self.exchange(codes[0]))
        self.assertIsNotNone(self.exchange(codes[1]))
        made = [self.exchange(self.openings.new_code()) for _ in range(MAX_SESSIONS + 1)]
        self.assertFalse(self.openings.knows((made[0] or "").encode()))
        self.assertTrue(all(self.openings.knows((one or "").encode()) for one in made[1:]))
