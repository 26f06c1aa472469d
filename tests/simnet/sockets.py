"""What all sockets of a simulated kernel have; those that listen are here too.

Not for: connections (`streams`), datagrams (`datagrams`), or who is told that one is ready
(`reactor`).
"""

from __future__ import annotations

import errno
import os
from typing import Any

from tests.simnet.network import Host


class SimSocket:
    """What all sockets of a host have; `watch` is told when it may be ready."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.network = host.network
        self.local = ("0.0.0.0", 0)
        self.watch: Any = None
        self.options: dict[tuple[int, int], Any] = {}

    def poll(self) -> None:
        """It may be ready for something now."""
        if self.watch is not None:
            self.watch.poll()

    def fileno(self) -> int:
        """There is no descriptor."""
        return -1

    def setblocking(self, blocking: bool) -> None:
        """It never blocks."""

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        """Remembered; what matters is looked up."""
        self.options[level, option] = value

    def getsockopt(self, level: int, option: int) -> Any:
        """What was set, or 0."""
        return self.options.get((level, option), 0)

    def getsockname(self) -> tuple[str, int]:
        """Our end."""
        return self.local

    def check_own(self, address: str) -> None:
        """Raise OSError unless this is an address of the host."""
        if address not in ("", "0.0.0.0", self.host.address):
            raise failed(errno.EADDRNOTAVAIL)


def failed(number: int) -> OSError:
    """The error of this number."""
    return OSError(number, os.strerror(number))
