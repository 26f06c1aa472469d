"""Server-sent events, decoded as they arrive (WHATWG HTML, 9.2).  Pure.

Not for: what the events mean.  `id` and `retry` are ignored: our service sends neither.
"""

from __future__ import annotations

from typing import NamedTuple

# The longest line of ours is one download's picture; this is a hundred of them.
MAX_LINE_BYTES = 1024 * 1024


class ServerEvent(NamedTuple):
    """One event: its name and its data."""

    name: str
    data: bytes


class EventStreamDecoder:
    """Turns bytes into events, wherever they are cut."""

    def __init__(self) -> None:
        self._rest = b""
        self._name = "message"
        self._data: list[bytes] = []

    def feed(self, data: bytes) -> list[ServerEvent]:
        """The events that are complete now.  Raises `ValueError` for a line over 1 MiB."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MAX_LINE_BYTES:
            raise ValueError(f"a line of the event stream is over {MAX_LINE_BYTES} bytes")
        return [event for line in lines if (event := self._take(line.removesuffix(b"\r")))]

    def _take(self, line: bytes) -> ServerEvent | None:
        if not line:
            event = ServerEvent(self._name, b"\n".join(self._data)) if self._data else None
            self._name, self._data = "message", []
            return event
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
        elif field == b"event":
            self._name = value.decode("utf-8", "replace")
        return None
