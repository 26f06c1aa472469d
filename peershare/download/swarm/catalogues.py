"""Catalogues that are asked for on one session: one after the other, each into its sink.

Not for: what is in them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.defer import Deferred

from peershare.download.swarm.faces import CatalogueSink
from peershare.errors import PeerError, Reason
from peershare.library.parts import PipedBytes
from peershare.wire.messages import Catalogue


class CatalogueQueue:
    """Those who want the peer's catalogue; the first one has asked."""

    def __init__(self, ask: Callable[[str], None]) -> None:
        """`ask(known)` sends the request."""
        self._ask = ask
        self._wanted: deque[tuple[str, CatalogueSink, Deferred[Catalogue]]] = deque()

    def __len__(self) -> int:
        return len(self._wanted)

    def add(self, known: str, sink: CatalogueSink) -> Deferred[Catalogue]:
        """Fires when all of it went to the sink; fails with `PeerError`."""
        done: Deferred[Catalogue] = Deferred()
        self._wanted.append((known, sink, done))
        if len(self._wanted) == 1:
            self._ask(known)
        return done

    def begins(self, told: Catalogue) -> CatalogueReceiver:
        """The answer for the first one: where its raw bytes go.  Raises `PeerError`."""
        if not self._wanted:
            raise PeerError(Reason.BAD_MESSAGE, "sent a catalogue that nobody asked for")
        known, sink, _ = self._wanted[0]
        if told.base not in ("", known):
            raise PeerError(Reason.BAD_MESSAGE, "sent the difference from an unknown catalogue")
        sink.begins(told)
        return CatalogueReceiver(sink, lambda: self._next().callback(told))

    def refused(self, error: PeerError) -> None:
        """The first one does not get it."""
        self._next().errback(error)

    def end(self, error: PeerError) -> None:
        """Nobody gets it any more."""
        wanted, self._wanted = self._wanted, deque()
        for _, _, done in wanted:
            done.errback(error)

    def _next(self) -> Deferred[Catalogue]:
        """Ask for the next one; whoever was the first."""
        _, _, done = self._wanted.popleft()
        if self._wanted:
            self._ask(self._wanted[0][0])
        return done


class CatalogueReceiver:
    """The raw bytes of a catalogue, into its sink; see `receiving.Receiver`."""

    piped = False
    buffer = None

    def __init__(self, sink: CatalogueSink, arrived: Callable[[], None]) -> None:
        self._sink = sink
        self._arrived = arrived

    def write(self, data: memoryview | PipedBytes) -> bool:
        """Take some."""
        if isinstance(data, PipedBytes):
            return False
        self._sink.write(data)
        return True

    def finish(self) -> None:
        """They were the last ones."""
        self._arrived()

    def close(self) -> None:
        """No more will come."""
