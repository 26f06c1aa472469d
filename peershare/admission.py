"""Admission: who may have a connection to the uploader.  Pure.

Caps in all and per address, with a reserve for addresses that have announced something, so
that idle connections of strangers lock nobody out (hostile world, 12).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from ipaddress import IPv4Address

MAX_CONNECTIONS = 256
RESERVED_FOR_KNOWN = 64
MAX_CONNECTIONS_PER_ADDRESS = 32
FROM_ELSEWHERE = "connection from elsewhere"


class Admission:
    """Counts the connections that are open."""

    def __init__(
        self, is_local: Callable[[IPv4Address], bool], is_known: Callable[[str], bool]
    ) -> None:
        """`is_local`: on one of our networks; `is_known`: has announced something."""
        self._is_local = is_local
        self._is_known = is_known
        self._open: Counter[str] = Counter()

    def refusal(self, host: str) -> str | None:
        """Why one more connection from this address is refused; None if it is welcome."""
        if not self._is_local(IPv4Address(host)):
            return FROM_ELSEWHERE
        if self._open[host] >= MAX_CONNECTIONS_PER_ADDRESS:
            return "too many connections from one address"
        room = MAX_CONNECTIONS - self._open.total()
        if room <= 0 or (room <= RESERVED_FOR_KNOWN and not self._is_known(host)):
            return "too many connections"
        return None

    def room(self, host: str) -> tuple[int, int]:
        """How many more this address may have: before all are too many, and before its own are."""
        reserve = 0 if self._is_known(host) else RESERVED_FOR_KNOWN
        in_all = MAX_CONNECTIONS - self._open.total() - reserve
        return in_all, MAX_CONNECTIONS_PER_ADDRESS - self._open[host]

    def opened(self, host: str) -> None:
        """A connection is open."""
        self._open[host] += 1

    def closed(self, host: str) -> None:
        """It is closed."""
        self._open[host] -= 1
        if not self._open[host]:
            del self._open[host]
