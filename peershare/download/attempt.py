"""One attempt: one chunk asked of one address, from dialling to the end of the connection.

The request and the place for the bytes are ready before it dials: a classic peer dies of a
connection on which nothing is asked.  Not for: what follows from success or failure.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred

from peershare.download.dialling import Dialler
from peershare.download.rounds import Choice
from peershare.download.session import ChunkSession, Sink


class Attempt:
    """Dialled once, asked once."""

    def __init__(
        self,
        choice: Choice,
        request: bytes,
        sink: Sink,
        started: float,
        chunk_size: int | None = None,
    ) -> None:
        """`started` is monotonic seconds.

        `chunk_size` in bytes: by which the place for the bytes was chosen, None for the front;
        what is known of it may be another by the time when they are here.
        """
        self.number = choice.number
        self.address = choice.source.address
        self.started = started
        self.chunk_size = chunk_size
        self._request = request
        self._sink = sink
        self._dialling: Deferred[None] | None = None
        self._session: ChunkSession | None = None

    @property
    def received(self) -> int:
        """Bytes of the chunk that came so far."""
        return self._session.received if self._session is not None else 0

    @property
    def receiving(self) -> bool:
        """Whether the chunk has been asked for."""
        return self._session is not None

    def dial(self, dialler: Dialler) -> Deferred[None]:
        """Connect when the address is free.  Fails with `PeerError`, CancelledError."""
        self._dialling = Deferred.fromCoroutine(self._dial(dialler))
        return self._dialling

    async def _dial(self, dialler: Dialler) -> None:
        self._session = await dialler.dial(self.address)

    def ask(self, most: int | None, on_bytes: Callable[[int], None]) -> Deferred[int]:
        """Request the chunk, which can be `most` bytes long; fires with its length.

        Fails with `PeerError` or `StorageError`.
        """
        if self._session is None:
            raise ValueError("ask before the connection is open")
        self._session.on_bytes = on_bytes
        return self._session.ask(self._request, self._sink, most)

    def let_go(self) -> None:
        """It is not wanted any more: dial no further, or read and drop what still comes."""
        if self._session is not None:
            self._session.drain()
        elif self._dialling is not None:
            self._dialling.cancel()
