"""Listening TCP sockets of a simulated kernel.  Not for: connections (`streams`)."""

from __future__ import annotations

import errno
import socket
from collections import deque

from tests.simnet.network import Host
from tests.simnet.sockets import SimSocket, failed
from tests.simnet.streams import StreamSocket


class Listener(SimSocket):
    """A listening TCP socket."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._backlog = 0
        self._waiting: deque[StreamSocket] = deque()
        self._opening = 0

    def bind(self, address: tuple[str, int]) -> None:
        """Choose address and port.  Raises OSError."""
        self.check_own(address[0])
        where = (address[0] or "0.0.0.0", address[1] or self.host.free_port())
        taken = {where, ("0.0.0.0", where[1])}
        if where[0] == "0.0.0.0":
            taken.add((self.host.address, where[1]))
        if not taken.isdisjoint(self.host.listeners):
            raise failed(errno.EADDRINUSE)
        self.local = where
        self.host.listeners[where] = self

    def listen(self, backlog: int) -> None:
        """Take so many connections before they are accepted."""
        self._backlog = backlog

    def accept(self) -> tuple[StreamSocket, tuple[str, int]]:
        """The next connection and where it comes from.  Raises OSError."""
        if not self._waiting:
            raise failed(errno.EWOULDBLOCK)
        stream = self._waiting.popleft()
        return stream, stream.remote

    def shutdown(self, how: int) -> None:
        """Nothing to do before it is closed."""

    def close(self) -> None:
        """Take nobody any more; who waits is reset."""
        self.watch = None
        self.host.listeners.pop(self.local, None)
        for stream in self._waiting:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 0)
            stream.close()
        self._waiting.clear()

    @property
    def readable(self) -> bool:
        """Whether somebody waits."""
        return bool(self._waiting)

    @property
    def writable(self) -> bool:
        """Never."""
        return False

    @property
    def has_room(self) -> bool:
        """Whether one more can wait."""
        return len(self._waiting) + self._opening < self._backlog

    def open(self, dialling: StreamSocket) -> StreamSocket:
        """Our end of a connection that somebody wishes for."""
        stream = StreamSocket(self.host)
        stream.local, stream.remote = dialling.remote, dialling.local
        stream.peer = dialling
        stream.state = "open"
        self.host.streams[stream] = None
        self._opening += 1
        return stream

    def opened(self) -> None:
        """A connection has opened, or not."""
        self._opening -= 1

    def take(self, stream: StreamSocket) -> None:
        """It is open: the application may have it."""
        if self.host.listeners.get(self.local) is not self:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 0)
            stream.close()
        else:
            self._waiting.append(stream)
            self.poll()
