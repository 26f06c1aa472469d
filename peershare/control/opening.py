"""Openings: how a browser, which cannot read the token, gets to use the page.

Whoever has the token asks for a code, good once and for a minute; the browser exchanges it for
a session, which it keeps in a cookie.  Both live in this process alone and end with it.
Pure.  Not for: the cookie's form (`guard`), or what the browser is shown (`resource`).
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable

CODE_SECONDS = 60.0
MAX_CODES = 16
MAX_SESSIONS = 64
_SECRET_BYTES = 32


def random_secret() -> str:
    """One that nobody guesses, fit for a URL and a cookie."""
    return secrets.token_urlsafe(_SECRET_BYTES)


class Openings:
    """The codes and the sessions that are good right now; the oldest makes room for a new one."""

    def __init__(
        self, clock: Callable[[], float], new_secret: Callable[[], str] = random_secret
    ) -> None:
        """`clock` counts seconds."""
        self._clock = clock
        self._new_secret = new_secret
        # by digest: how long it takes to find one tells nothing about it
        self._codes: dict[bytes, float] = {}  # until when each is good
        self._sessions: dict[bytes, None] = {}

    def new_code(self) -> str:
        """A code that opens the page once."""
        while len(self._codes) >= MAX_CODES:
            del self._codes[next(iter(self._codes))]
        code = self._new_secret()
        self._codes[_digest(code.encode("ascii"))] = self._clock() + CODE_SECONDS
        return code

    def exchange(self, code: bytes) -> str | None:
        """A new session for a code that is good; None for any other."""
        good_until = self._codes.pop(_digest(code), None)
        if good_until is None or self._clock() >= good_until:
            return None
        while len(self._sessions) >= MAX_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        session = self._new_secret()
        self._sessions[_digest(session.encode("ascii"))] = None
        return session

    def knows(self, session: bytes) -> bool:
        """Whether this is a session."""
        return _digest(session) in self._sessions


def _digest(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()
