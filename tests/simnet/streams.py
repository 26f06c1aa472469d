"""TCP connections of a simulated kernel, as far as Twisted looks: non-blocking, errors by number.

A `StreamSocket` is one end of a connection.  What an application has written leaves in segments
through the uplink; so much is on its way as the window allows that has not been read at the other
end.  Acknowledgements take no time and no room.  Not for: UDP, or listening (`listeners`).
"""

from __future__ import annotations

import errno
import socket
from collections import deque
from typing import TYPE_CHECKING, Any

from tests.simnet.network import Host
from tests.simnet.sockets import SimSocket, failed

if TYPE_CHECKING:
    from tests.simnet.listeners import Listener

SEGMENT_BYTES = 16_384
SEND_BUFFER_BYTES = 131_072
# Between two attempts to reach somebody who does not answer, and when the kernel gives up.
_SYN_SECONDS = 1.0
_SYN_TRIES = 4


class Segment:
    """Some bytes of a connection on their way; `last`: the end of the stream comes with them."""

    def __init__(self, stream: StreamSocket, data: bytes, last: bool) -> None:
        self.size = len(data)
        self._stream = stream
        self._data = data
        self._last = last

    def leave(self) -> None:
        """It is on its way."""
        self._stream.carry(self.size, self._arrive)

    def _arrive(self) -> None:
        stream, peer = self._stream, self._stream.peer
        if peer is None or not peer.host.up:
            stream.unanswered()
            return
        what = "end" if self._last else "data"
        stream.network.note(what, f"{stream.name}", self._data)
        peer.receive(self._data, self._last)


class StreamSocket(SimSocket):
    """One end of a TCP connection."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.peer: StreamSocket | None = None
        self.remote = ("", 0)
        self.state = "new"  # then connecting, open, gone
        self.dialled = False
        self.queued = False
        self.error = 0
        self._unsent: deque[memoryview] = deque()
        self._unsent_bytes = 0
        self._underway = 0  # sent, and not yet read at the other end
        self._inbox: deque[bytes] = deque()
        self._arrival = 0.0
        self._to_end = self._ended = False  # our direction of the stream
        self._their_end = False  # of theirs
        self._reads = True
        self._let_go = False  # the application closed it
        self._waits = 0
        self._spoiler = host.spoiler() if host.spoiler is not None else None

    @property
    def name(self) -> str:
        """For people."""
        return "{}:{} > {}:{}".format(*self.local, *self.remote)

    # -- the calls of an application

    def bind(self, address: tuple[str, int]) -> None:
        """Choose our end."""
        self.check_own(address[0])
        self.local = (address[0] or self.host.address, address[1])

    def connect_ex(self, address: tuple[str, int]) -> int:
        """Begin to connect, or say how far it is; an error number."""
        if not self.host.plugged:
            return errno.ENETUNREACH
        if self.state == "new":
            self.state = "connecting"
            self.dialled = True
            self.remote = address
            self.local = (self.host.address, self.local[1] or self.host.free_port())
            self.host.streams[self] = None
            self._dial(1)
        if self.error:
            return self.error
        return errno.EISCONN if self.state == "open" else errno.EINPROGRESS

    def getsockopt(self, level: int, option: int) -> Any:
        """SO_ERROR, or what was set."""
        if (level, option) == (socket.SOL_SOCKET, socket.SO_ERROR):
            return self.error
        return super().getsockopt(level, option)

    def getpeername(self) -> tuple[str, int]:
        """Their end."""
        return self.remote

    def recv(self, most: int) -> bytes:
        """Bytes, b"" at the end of the stream.  Raises OSError."""
        if self._inbox:
            return self._read(most)
        if self.error:
            raise failed(self.error)
        if self._their_end or not self._reads:
            return b""
        raise failed(errno.EWOULDBLOCK)

    def send(self, data: bytes | memoryview) -> int:
        """Take what there is room for.  Raises OSError."""
        if self.error:
            raise failed(self.error)
        if self._to_end or self.state != "open":
            raise failed(errno.EPIPE)
        room = SEND_BUFFER_BYTES - self._unsent_bytes
        if room <= 0:
            raise failed(errno.EWOULDBLOCK)
        taken = bytes(memoryview(data)[:room])
        if self._spoiler is not None:
            taken = self._spoiler.pass_on(taken)
        self._unsent.append(memoryview(taken))
        self._unsent_bytes += len(taken)
        self.host.uplink.want(self)
        return len(taken)

    def shutdown(self, how: int) -> None:
        """End our direction of the stream after what was written; 2 ends both."""
        if self.state != "open":
            raise failed(errno.ENOTCONN)
        if how == socket.SHUT_RDWR:
            self._reads = False
        if not self._to_end and not self.error:
            self._to_end = True
            self.host.uplink.want(self)

    def close(self) -> None:
        """The application has no more use for it; what it did not read costs a reset."""
        self.watch = None
        if self.state == "open" and not self.error:
            lingers = (socket.SOL_SOCKET, socket.SO_LINGER) not in self.options
            if self._inbox or not lingers:
                self._cut()
                return
            self._let_go = True
            if not self._to_end:
                self._to_end = True
                self.host.uplink.want(self)
            self._leave_if_done()
        else:
            self.vanish()

    # -- ready for what

    @property
    def readable(self) -> bool:
        """Whether `recv` would say something."""
        return bool(self._inbox or self.error or self._their_end or not self._reads)

    @property
    def writable(self) -> bool:
        """Whether `send` would take something, or connecting has come to an end."""
        if self.state == "connecting":
            return bool(self.error)
        return bool(self.error) or 3 * self._unsent_bytes <= 2 * SEND_BUFFER_BYTES

    # -- the uplink's side

    def wants(self) -> bool:
        """Whether there is something to be sent now."""
        if self._unsent_bytes:
            return self._underway < self.network.conditions.window_bytes
        return self._to_end and not self._ended

    def take(self) -> Segment | None:
        """The next segment."""
        peer = self.peer
        if self.state != "open" or self.error or peer is None or not self.wants():
            return None
        if self.network.apart(self.host, peer.host):
            self._wait_in(self.network.parked)
            return None
        room = self.network.conditions.window_bytes - self._underway
        data = self._cut_off(min(SEGMENT_BYTES, room, self._unsent_bytes))
        self._ended = self._to_end and not self._unsent_bytes
        self._underway += len(data)
        self.host.sent_bytes += len(data)
        self.poll()
        self._leave_if_done()
        return Segment(self, data, self._ended)

    def carry(self, size: int, function: Any) -> None:
        """Have something arrive at the other end, after all that went there before."""
        peer, now = self.peer, self.network.clock.now
        if peer is None:
            return
        self._arrival = max(self._arrival, now + self.network.delay())
        self.network.clock.at(self._arrival, peer.host.receive, size, function, ())

    def _cut_off(self, count: int) -> bytes:
        """The first bytes of what is not sent yet."""
        pieces = []
        self._unsent_bytes -= count
        while count:
            piece = self._unsent.popleft()
            if len(piece) > count:
                self._unsent.appendleft(piece[count:])
                piece = piece[:count]
            pieces.append(piece)
            count -= len(piece)
        return b"".join(pieces)

    # -- what comes from the other end

    def receive(self, data: bytes, last: bool) -> None:
        """A segment came."""
        if self.state != "open" or self.error:
            self._tell_reset()
            return
        if self._let_go and data:
            self._cut()
            return
        if data:
            self._inbox.append(data)
        if last:
            self._their_end = True
            self._leave_if_done()
        self.poll()

    def receive_reset(self) -> None:
        """The other end knows nothing of this connection (any more)."""
        if self.state in ("connecting", "open") and not self.error:
            self.network.note("reset", f"at {self.name}")
            refused = self.state == "connecting"
            self._fail(errno.ECONNREFUSED if refused else errno.ECONNRESET)

    def acknowledge(self, count: int) -> None:
        """So many bytes were read at the other end."""
        self._underway -= count
        if self._unsent_bytes:
            self.host.uplink.want(self)

    def unanswered(self) -> None:
        """What was sent went to nobody."""
        if self.peer is not None:
            self._wait_in(self.peer.host.unanswered)

    def resume(self) -> None:
        """The network is whole again, or differently cut."""
        self._waits += 1
        self.host.uplink.want(self)

    def vanish(self) -> None:
        """It is no more, without a word."""
        self.state = "gone"
        self.watch = None
        self.host.streams.pop(self, None)
        self._unsent.clear()
        self._unsent_bytes = 0

    def _read(self, most: int) -> bytes:
        pieces: list[bytes] = []
        left = most
        while self._inbox and left:
            piece = self._inbox.popleft()
            if len(piece) > left:
                self._inbox.appendleft(piece[left:])
                piece = piece[:left]
            pieces.append(piece)
            left -= len(piece)
        self._acknowledge(most - left)
        return b"".join(pieces)

    def _acknowledge(self, count: int) -> None:
        if self.peer is not None:
            self.peer.acknowledge(count)

    def _cut(self) -> None:
        """Reset the connection, and forget it."""
        self._tell_reset()
        self.vanish()

    def _tell_reset(self) -> None:
        peer = self.peer
        if peer is not None and not self.network.apart(self.host, peer.host):
            self.carry(0, peer.receive_reset)

    def _fail(self, number: int) -> None:
        self.error = number
        self._unsent.clear()
        self._unsent_bytes = 0
        if self._let_go:
            self.vanish()
        self.poll()

    def _leave_if_done(self) -> None:
        """Forget it once it was closed, and both directions have ended."""
        if self._let_go and self._ended and self._their_end:
            self.vanish()

    # -- waiting for somebody

    def _wait_in(self, waiting: dict[StreamSocket, None]) -> None:
        """Nobody answers: give up after a while, unless something comes of it."""
        if self not in waiting:
            waiting[self] = None
            self._waits += 1
            patience = self.network.conditions.patience_seconds
            self.network.clock.after(patience, self._give_up, self._waits)

    def _give_up(self, waits: int) -> None:
        if waits == self._waits and self.state == "open" and not self.error:
            self.network.note("given up", self.name)
            self.network.parked.pop(self, None)
            self._fail(errno.ETIMEDOUT)

    def _dial(self, attempt: int) -> None:
        """Ask for a connection, again and again until there is an answer."""
        if self.state != "connecting" or self.error:
            return
        if attempt > _SYN_TRIES:
            self._fail(errno.EHOSTUNREACH)
            return
        clock, host = self.network.clock, self.network.hosts.get(self.remote[0])
        if host is not None and not self.network.apart(self.host, host):
            clock.after(self.network.delay(), self._knock, host)
        clock.after(_SYN_SECONDS, self._dial, attempt + 1)

    def _knock(self, host: Host) -> None:
        """The wish for a connection has reached a host."""
        if not host.up or self.state != "connecting" or self.peer is not None:
            return
        address, port = self.remote
        listener = host.listeners.get((address, port)) or host.listeners.get(("0.0.0.0", port))
        if listener is None:
            self.network.clock.after(self.network.delay(), self.receive_reset)
        elif listener.has_room:
            self.peer = listener.open(self)
            self.network.clock.after(self.network.delay(), self._opened, listener)

    def _opened(self, listener: Listener) -> None:
        peer = self.peer
        listener.opened()
        if peer is None or peer.state != "open":
            self.receive_reset()
        elif self.state != "connecting":
            peer.receive_reset()
        else:
            self.network.note("open", self.name)
            self.state = "open"
            self.network.clock.after(self.network.delay(), listener.take, peer)
            self.poll()
