"""What is set on the sockets that serve, where the system has such options.

News must not wait behind megabytes that the kernel took but has not sent, and a reader whose
machine is gone must be noticed.  Not for: the sizes of buffers, which the kernel knows best.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress

# Ways of congestion control that do not pace, the best one first; and the kernel's longest name.
_BY_WINDOW = (b"cubic", b"reno")
_NAME_BYTES = 16
# A reader that answers nothing is gone after about a minute.
_KEEPALIVE = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
_UNANSWERED_MILLISECONDS = 60_000
# The kernel takes as much beyond what it can send at once as goes in this time: less would cost
# turns, more would be waited for by news.
_UNSENT_SECONDS = 0.02
_LEAST_UNSENT, _MOST_UNSENT = 1 << 17, 1 << 22
# The rate is taken over so much, or so long.
_MEASURED_BYTES = 1 << 22
_MEASURED_SECONDS = 1.0


def tune(connection: socket.socket) -> socket.socket:
    """Have what is given sent at once, and find out when the reader is gone; the same socket."""
    for name, value in _KEEPALIVE:
        _set(connection, socket.IPPROTO_TCP, name, value)
    _set(connection, socket.SOL_SOCKET, "SO_KEEPALIVE", 1)
    _set(connection, socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", _UNANSWERED_MILLISECONDS)
    _set(connection, socket.IPPROTO_TCP, "TCP_NODELAY", 1)
    return connection


def send_unpaced(listener: socket.socket) -> None:
    """Have TCP's window alone decide what its connections send, where the system would pace (BBR).

    Within one network the round trip is below a millisecond: pacing gains nothing there, and its
    timers cost a fifth of the rate that a fast link allows (docs/benchmarks.md).
    """
    option = getattr(socket, "TCP_CONGESTION", None)
    if option is None:
        return
    with suppress(OSError):  # no TCP
        current = listener.getsockopt(socket.IPPROTO_TCP, option, _NAME_BYTES)
        if not current.startswith(b"bbr"):
            return
        for name in _BY_WINDOW:
            with suppress(OSError):  # not there, or not for everybody
                listener.setsockopt(socket.IPPROTO_TCP, option, name)
                return


class Unsent:
    """How much the kernel may take of us and not send at once."""

    def __init__(self, connection: socket.socket, clock: Callable[[], float]) -> None:
        """`clock` gives monotonic seconds."""
        self._connection = connection
        self._clock = clock
        self._since, self._before = clock(), 0
        self._allowed = 0
        self._allow(_LEAST_UNSENT)

    def sent(self, total: int) -> None:
        """So many bytes were taken by now."""
        now = self._clock()
        count, seconds = total - self._before, now - self._since
        if count >= _MEASURED_BYTES or seconds >= _MEASURED_SECONDS:
            self._since, self._before = now, total
            self._allow(int(count / max(seconds, 1e-6) * _UNSENT_SECONDS))

    def _allow(self, wanted: int) -> None:
        wanted = max(_LEAST_UNSENT, min(_MOST_UNSENT, wanted))
        if not self._allowed < 2 * wanted < 4 * self._allowed:
            self._allowed = wanted
            _set(self._connection, socket.IPPROTO_TCP, "TCP_NOTSENT_LOWAT", wanted)


def _set(connection: socket.socket, level: int, name: str, value: int) -> None:
    option = getattr(socket, name, None)
    if option is not None:
        with suppress(OSError):  # no TCP, or an old kernel
            connection.setsockopt(level, option, value)
