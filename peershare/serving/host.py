"""What is served over one connection, and the connection: how each sees the other.

Not for: what is served.
"""

from __future__ import annotations

from typing import Any, Protocol

# What the log says of somebody who goes before all was sent.
CUT_SHORT = "failed cut-short: the other side closed or reset the connection"


class Host(Protocol):
    """The connection, as the uploader keeps it."""

    transport: Any
    host: str  # the address of the other side

    def uploaded(self, count: int) -> None:
        """Bytes of contents have left."""

    def note(self, reason: str, details: str) -> bool:
        """Something was refused; whether it may be written down."""

    def end_stream(self) -> None:
        """Everything was given to the transport: end in order."""


class Served(Protocol):
    """One classic answer, or a native session."""

    @property
    def sent(self) -> int:
        """Bytes that have left and were not told by `uploaded` yet."""

    def written(self) -> None:
        """The end of our stream has left."""

    def abort(self, result: str) -> None:
        """Cut the connection; `result` is for the log, of what was not finished."""

    def lost(self, *, clean: bool) -> None:
        """The connection is gone, in order or not; hold nothing."""
