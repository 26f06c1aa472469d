"""UDP sockets of a simulated kernel: broadcasts, and datagrams that get lost on the way.

Not for: TCP, or who is told that a socket is ready (`reactor`).
"""

from __future__ import annotations

import errno
import socket
from collections import deque

from tests.simnet.network import LAN, Host
from tests.simnet.sockets import SimSocket, failed

_BROADCASTS = (str(LAN.broadcast_address), "255.255.255.255")
_ALL = "0.0.0.0"
_BUFFER_BYTES = 212_992
_MAX_BYTES = 65_507


class DatagramSocket(SimSocket):
    """One UDP socket; as a flow it takes its turns on the uplink like a connection."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.queued = False
        self._outbox: deque[Datagram] = deque()
        self._outbox_bytes = 0
        self._inbox: deque[tuple[bytes, tuple[str, int]]] = deque()
        self._inbox_bytes = 0

    def bind(self, address: tuple[str, int]) -> None:
        """Choose address and port; several may have the same if all allow it.  Raises OSError."""
        if address[0] not in _BROADCASTS:
            self.check_own(address[0])
        local = (address[0] or _ALL, address[1] or self.host.free_port())
        for other in self.host.datagrams:
            overlap = local[0] == other.local[0] or _ALL in (local[0], other.local[0])
            if other.local[1] == local[1] and overlap and not (self.reuse and other.reuse):
                raise failed(errno.EADDRINUSE)
        self.local = local
        self.host.datagrams[self] = None

    @property
    def reuse(self) -> bool:
        """Whether another that allows it may have the same address and port."""
        return bool(self.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR))

    def sendto(self, data: bytes, address: tuple[str, int]) -> int:
        """Send.  Raises OSError."""
        if len(data) > _MAX_BYTES:
            raise failed(errno.EMSGSIZE)
        if address[0] in _BROADCASTS and not self.getsockopt(
            socket.SOL_SOCKET, socket.SO_BROADCAST
        ):
            raise failed(errno.EACCES)
        if not self.host.plugged:
            raise failed(errno.ENETUNREACH)
        if self._outbox_bytes + len(data) > _BUFFER_BYTES:
            raise failed(errno.EAGAIN)
        self._outbox.append(Datagram(self.host, self._source, address, bytes(data)))
        self._outbox_bytes += len(data)
        self.host.uplink.want(self)
        return len(data)

    def recvfrom(self, most: int) -> tuple[bytes, tuple[str, int]]:
        """One datagram, cut short if it is longer, and its source.  Raises OSError."""
        if not self._inbox:
            raise failed(errno.EWOULDBLOCK)
        data, source = self._inbox.popleft()
        self._inbox_bytes -= len(data)
        return data[:most], source

    def close(self) -> None:
        """No more of it."""
        self.watch = None
        self.host.datagrams.pop(self, None)
        self._outbox.clear()

    @property
    def _source(self) -> tuple[str, int]:
        return (self.host.address, self.local[1])

    @property
    def readable(self) -> bool:
        """Whether a datagram waits."""
        return bool(self._inbox)

    @property
    def writable(self) -> bool:
        """Always, as far as anybody asks."""
        return True

    # -- the uplink's side

    def wants(self) -> bool:
        """Whether there is something to send."""
        return bool(self._outbox)

    def take(self) -> Datagram | None:
        """The next one."""
        if not self._outbox:
            return None
        datagram = self._outbox.popleft()
        self._outbox_bytes -= datagram.size
        return datagram

    def hear(self, data: bytes, source: tuple[str, int]) -> None:
        """A datagram came; it is dropped where there is no room for it."""
        if self._inbox_bytes + len(data) <= _BUFFER_BYTES:
            self._inbox.append((data, source))
            self._inbox_bytes += len(data)
            self.poll()


class Datagram:
    """One datagram on its way, to one host or to all."""

    def __init__(
        self, host: Host, source: tuple[str, int], target: tuple[str, int], data: bytes
    ) -> None:
        self.size = len(data)
        self._host = host
        self._network = host.network
        self._source = source
        self._target = target
        self._data = data

    def leave(self) -> None:
        """It is on its way to whoever can hear it."""
        address = self._target[0]
        if address in _BROADCASTS:
            for host in self._network.hosts.values():
                self._carry(host)
        elif address in self._network.hosts:
            self._carry(self._network.hosts[address])

    def _carry(self, host: Host) -> None:
        network, now = self._network, self._network.conditions
        if host is self._host:
            network.clock.after(0, self._arrive, host)
            return
        if network.apart(self._host, host) or network.random.random() < now.loss:
            return
        copies = 2 if now.duplication and network.random.random() < now.duplication else 1
        for _ in range(copies):
            delay = network.delay()
            if now.reordering and network.random.random() < now.reordering:
                delay += now.reordered_seconds * network.random.random()
            network.clock.after(delay, host.receive, self.size, self._arrive, (host,))

    def _arrive(self, host: Host) -> None:
        """Give it to the socket of the address, to all where it was for all."""
        if not host.up:
            return
        address, port = self._target
        local = "{}:{}".format(*self._source)
        sockets = [each for each in host.datagrams if each.local[1] == port]
        if address in _BROADCASTS:
            sockets = [each for each in sockets if each.local[0] in (address, _ALL)]
        else:
            own = [each for each in sockets if each.local[0] == address]
            sockets = (own or [each for each in sockets if each.local[0] == _ALL])[-1:]
        if sockets:
            what = f"{local} > {host.address}:{port}"
            self._network.note("datagram", what, self._data)
        for each in sockets:
            each.hear(self._data, self._source)
