"""A relay between the browser and the services: SOCKS 5, so that a test can cut the connection.

It connects to loopback addresses and nowhere else.  Not for: anything beside the tests.
"""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress

_REFUSED, _DONE = b"\x05\x02\x00\x01\0\0\0\0\0\0", b"\x05\x00\x00\x01\0\0\0\0\0\0"
_BY_NAME = b"\x05\x01\x00\x03"  # so browsers send addresses, too


class Relay:
    """Listens on a port of its own, from the start."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._whole = True
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        """Where it listens."""
        host, port = self._server.getsockname()
        return f"{host}:{port}"

    def cut(self) -> None:
        """End every connection and take no new one."""
        with self._lock:
            self._whole = False
            ended, self._open = self._open, set()
        for one in ended:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Take new ones again."""
        with self._lock:
            self._whole = True

    def close(self) -> None:
        """Be gone."""
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            client.recv(257)
            client.sendall(b"\x05\x00")
            wish = client.recv(262)
            host = wish[5:-2].decode("ascii") if wish[:4] == _BY_NAME else ""
            if not host.startswith("127.") or not self._whole:
                client.sendall(_REFUSED)
                return
            with socket.create_connection((host, *struct.unpack("!H", wish[-2:]))) as service:
                client.sendall(_DONE)
                with self._lock:
                    self._open |= {client, service}
                back = threading.Thread(target=_copy, args=(service, client), daemon=True)
                back.start()
                _copy(client, service)
                back.join()
                with self._lock:
                    self._open -= {client, service}


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
