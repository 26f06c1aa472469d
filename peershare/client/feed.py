"""EventFeed: the open event stream of a service.

Not for: opening it (`api`), or what its events come to (`session`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from peershare.client.sse import EventStreamDecoder
from peershare.status import Event

# The service sends something every 15 s.
SILENCE_SECONDS = 40.0

_EVENTS: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


class EventFeed(Protocol):
    """The open event stream; ended by `stop`, or by itself, which `lost` is told once."""

    def __init__(
        self, reactor: Any, on_event: Callable[[Event], None], on_lost: Callable[[], None]
    ) -> None:
        self._reactor = reactor
        self._on_event = on_event
        self._on_lost = on_lost
        self._decoder = EventStreamDecoder()
        self._over = False
        self._silence: Any = None

    def connectionMade(self) -> None:
        """Twisted: the stream begins."""
        self._silence = self._reactor.callLater(SILENCE_SECONDS, self._lose)

    def dataReceived(self, data: bytes) -> None:
        """Twisted: some of the stream is here."""
        if self._over:
            return
        self._silence.reset(SILENCE_SECONDS)
        try:
            events = self._decoder.feed(data)
        except ValueError:
            self._lose()
            return
        for _, text in events:
            event = _decode_event(text)
            if event is not None and not self._over:
                self._on_event(event)

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Twisted: the stream has ended."""
        if not self._over:
            self.stop()
            self._on_lost()

    def stop(self) -> None:
        """End it; nothing is told any more."""
        self._over = True
        if self._silence is not None and self._silence.active():
            self._silence.cancel()
        transport: Any = self.transport
        if transport is not None:
            transport.loseConnection()

    def _lose(self) -> None:
        self.connectionLost()


def _decode_event(text: bytes) -> Event | None:
    """An event; None for what a newer service may send."""
    try:
        return _EVENTS.decode(text)
    except msgspec.DecodeError:
        return None
