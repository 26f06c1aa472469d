"""Peers that misbehave as they are told: an uploader in a thread, announcing when asked to.

Not for: fragile but honest classic peers, those are the lab's.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable

from tests.integration.peers import BROADCAST, Ports, address

Answer = Callable[[socket.socket, str], None]


class ScriptedPeer:
    """Accepts, reads one request, lets `answer` do with the connection what it wants."""

    def __init__(self, number: int, ports: Ports, answer: Answer | None) -> None:
        """Without an `answer` nobody listens: connections are refused."""
        self.address = address(number)
        self.requests: list[str] = []
        self._ports = ports
        self._answer = answer
        self._open: list[socket.socket] = []
        self._listening: socket.socket | None = None
        if answer is not None:
            self._listening = socket.create_server((self.address, ports.tcp))
            threading.Thread(target=self._serve, daemon=True).start()

    def announce(self, *stems: str) -> None:
        """Tell the five chunks of each stem, by broadcast."""
        names = [f"{stem}_{number}" for stem in stems for number in range(1, 6)]
        self.send(json.dumps({"chunks": names}).encode())

    def send(self, datagram: bytes) -> None:
        """Broadcast any datagram from this address."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sender.bind((self.address, 0))
            sender.sendto(datagram, (BROADCAST, self._ports.udp))

    def close(self) -> None:
        """Listen no more, close what is open."""
        for one in (self._listening, *self._open):
            if one is not None:
                one.close()

    def _serve(self) -> None:
        assert self._listening is not None and self._answer is not None
        while True:
            try:
                connection, _ = self._listening.accept()
                self._open.append(connection)
                name = json.loads(connection.recv(1_024))["requested_content"]
                self.requests.append(name)
                self._answer(connection, name)
            except (OSError, ValueError):
                return


def reset(connection: socket.socket) -> None:
    """Close so that the other side sees a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def giving(data: bytes, ending: Callable[[socket.socket], None] = socket.socket.close) -> Answer:
    """Answer everything with these bytes, then end so."""

    def answer(connection: socket.socket, name: str) -> None:
        connection.sendall(data)
        ending(connection)

    return answer


def stalling(data: bytes) -> Answer:
    """Answer with these bytes and nothing more, keeping the connection open."""

    def answer(connection: socket.socket, name: str) -> None:
        connection.sendall(data)

    return answer


class SwallowingPeer(ScriptedPeer):
    """A port whose backlog is full: the kernel drops every further SYN, as a dead host does."""

    def __init__(self, number: int, ports: Ports) -> None:
        super().__init__(number, ports, None)
        full = socket.socket()
        full.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        full.bind((self.address, ports.tcp))
        full.listen(0)
        self._open.append(full)
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex((self.address, ports.tcp))
            self._open.append(filler)
