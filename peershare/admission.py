"""Admission: who may have a connection to the uploader.  Pure.

Caps in all and per address, with a reserve for addresses that have announced something, and one
for those that have no connection yet, so that a few strangers' idle connections lock nobody out
(hostile world, 12).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from ipaddress import IPv4Address

MAX_CONNECTIONS = 256
RESERVED_FOR_KNOWN = 64
# Of the places for strangers, for their first connection.
RESERVED_FOR_FIRST = 32
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
        if self.room(host)[0] <= 0:
            return "too many connections"
        return None

    def room(self, host: str) -> tuple[int, int]:
        """How many more this address may have: before all are too many, and before its own are."""
        reserve = 0 if self._is_known(host) else RESERVED_FOR_KNOWN
        if reserve and host in self._open:
            reserve += RESERVED_FOR_FIRST
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
