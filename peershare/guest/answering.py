"""One answer on its way: a head, and the bytes of a file if it has any.

Not for: what is answered (`site`), or when a connection is given up (`connection`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from peershare.guest.giving import Giving, Sources
from peershare.guest.inbox import Inbox
from peershare.guest.site import GuestSite
from peershare.ledger import Ledger
from peershare.serving.host import CUT_SHORT
from peershare.serving.outgoing import Outgoing, Parcel, Warm
from peershare.throttle import TokenBucket

OK = "ok guest"


@dataclass(frozen=True)
class Means:
    """What all connections share; `uploaded(address, count)` counts bytes that left.

    `note(address, reason, details)` counts what was refused; `rescan` has the folder looked at.
    """

    reactor: Any
    site: GuestSite
    sources: Sources
    inbox: Inbox | None
    bucket: TokenBucket
    warm: Warm
    ledger: Ledger
    uploaded: Callable[[str, int], None]
    note: Callable[[str, str, str], bool]
    rescan: Callable[[], None]


class Answering:
    """From `start` until `done` or `failed` is called, or it is stopped."""

    def __init__(
        self,
        means: Means,
        transport: Any,
        head: bytes,
        giving: Giving | None,
        *,
        done: Callable[[], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """`failed` gets what is in the way of the file, or of the connection."""
        self._means = means
        self._head = head
        self._giving = giving
        self._done = done
        self._began_at: float = means.reactor.seconds()
        self._counted = 0
        self._over = False
        self._outgoing = Outgoing(
            means.reactor,
            transport,
            means.bucket,
            means.warm,
            supply=self._supply,
            drained=self._drained,
            failed=failed,
        )

    @property
    def sent(self) -> int:
        """Bytes that left so far, of all kinds."""
        return self._outgoing.sent

    @property
    def waiting_since(self) -> float | None:
        """Since when the next block is waited for; None while it is here."""
        return None if self._giving is None else self._giving.waiting_since

    def awaits(self, content: str) -> bool:
        """Whether the next block of this content is waited for ("": of any)."""
        giving = self._giving
        if giving is None or giving.waiting_since is None or self._over:
            return False
        return content in ("", giving.content)

    def was_held_up(self) -> bool:
        """Whether it was not the reader who held it up since this was asked."""
        return self._outgoing.was_held_up() or self.waiting_since is not None

    def start(self) -> None:
        """Begin; the transport must be empty."""
        self._outgoing.start()

    def wake(self) -> None:
        """Look again whether there is something to send."""
        if not self._over:
            self._outgoing.wake()

    def close(self) -> None:
        """Send nothing any more, so that the transport can take something else."""
        self._over = True
        self._outgoing.close()
        if self._giving is not None:
            self._giving.close()

    def lost(self, address: str, result: str) -> None:
        """The connection is gone: hold nothing; a file gets its line in the log."""
        self._over = True
        self._outgoing.stopProducing()
        if self._giving is not None:
            self.count(address)
            self._giving.close()
            seconds = self._means.reactor.seconds() - self._began_at
            name, sent = self._giving.name, self._file_bytes
            self._means.ledger.record_upload(address, name, sent, seconds, result or CUT_SHORT)

    def count(self, address: str) -> None:
        """Tell of what has left of the file since this was done last."""
        sent = self._file_bytes
        if sent > self._counted:
            self._means.uploaded(address, sent - self._counted)
            self._counted = sent

    @property
    def _file_bytes(self) -> int:
        return 0 if self._giving is None else self._giving.left_bytes + self._outgoing.under_way

    def _supply(self) -> Parcel | None:
        """Outgoing: what is next."""
        if self._head:
            head, self._head = self._head, b""
            return head
        return self._giving.next() if self._giving is not None else None

    def _drained(self) -> None:
        """Outgoing: nothing is left, or the next block is not here yet."""
        if not self._over and (self._giving is None or self._giving.over):
            self._over = True
            self._outgoing.close()
            self._done()
