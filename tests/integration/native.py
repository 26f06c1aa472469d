"""Scripted native peers: beacons, a catalogue and sessions, from threads on plain sockets.

They speak the native protocol through `peershare.wire` alone and share nothing else with the
product.  A peer is honest unless it is given another kind of `Giving`.  Not for: what it gives,
`giving` and `hostile` say that.
"""

from __future__ import annotations

import itertools
import select
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress

from peershare.errors import PeerError
from peershare.wire import beacon
from peershare.wire.beacon import Beacon
from peershare.wire.catalogue import CatalogueEntry, digest_of, line_of
from tests.integration.giving import Counts, Giving, Shared
from tests.integration.peers import BROADCAST, Ports

INTERVAL_SECONDS = 30
_LOOK_SECONDS = 0.05
_serial = itertools.count(1)


def native_address(number: int) -> str:
    """The address of scripted peer 1, 2, 3 …"""
    return f"127.0.{3 + number // 250}.{1 + number % 250}"


class NativePeer:
    """One such peer; it listens from the start, and tells of itself once `announce` is called."""

    def __init__(
        self, number: int, ports: Ports, *shared: Shared, giving: type[Giving] = Giving
    ) -> None:
        """`giving` is how each of its connections behaves."""
        self.address = native_address(number)
        self.port = ports.tcp
        self.instance = f"{next(_serial):016x}"
        self.counts = Counts()
        self.beacons: list[tuple[str, Beacon]] = []
        self._beacon_port = ports.beacon
        self._shared = {one.id: one for one in shared}
        self._giving = giving
        self._open: list[socket.socket] = []
        self._closed = threading.Event()
        self._server = socket.create_server((self.address, self.port), backlog=64)
        self._own = self._listen(self.address)
        self._everybody = self._listen(BROADCAST)
        self._threads = [threading.Thread(target=run) for run in (self._accept, self._hear)]
        for thread in self._threads:
            thread.daemon = True
            thread.start()

    def _listen(self, where: str) -> socket.socket:
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        one.bind((where, self._beacon_port))
        return one

    @property
    def closed(self) -> bool:
        """Whether it is to say nothing any more."""
        return self._closed.is_set()

    # -- what it has

    def find(self, content: str) -> Shared | None:
        """What it shares, by its id."""
        return self._shared.get(content)

    def share(self, shared: Shared) -> None:
        """Share this, too; `announce` tells it."""
        self._shared[shared.id] = shared

    def lines(self) -> list[bytes]:
        """The lines of its catalogue, in order."""
        shared, told = list(self._shared.values()), self._giving.told_size
        return sorted(
            line_of(CatalogueEntry(one.name, told or one.size, one.id, one.held is None))
            for one in shared
        )

    @property
    def digest(self) -> str:
        """What names its catalogue."""
        return digest_of(b"".join(self.lines()))

    # -- beacons

    def beacon(self, **changes: object) -> Beacon:
        """What it says of itself."""
        fields: dict[str, object] = {
            "peer": self.instance,
            "instance": self.instance,
            "port": self.port,
            "catalogue": self.digest,
            "count": len(self.lines()),
            "interval": INTERVAL_SECONDS,
        }
        return Beacon(**{**fields, **changes})  # type: ignore[arg-type]

    def announce(self) -> None:
        """Tell everybody; they answer, since they are asked to."""
        self.send(self.beacon(ask=True))

    def send(self, told: Beacon, to: str = BROADCAST) -> None:
        """Send a beacon from our own address."""
        with suppress(OSError):
            self._own.sendto(beacon.encode(told), (to, self._beacon_port))

    def hear(self, source: str, told: Beacon) -> None:
        """Echo every nonce, answer whoever asks."""
        if told.nonce:
            self.send(self.beacon(echo=told.nonce), source)
        elif told.ask:
            self.send(self.beacon(), source)

    def _hear(self) -> None:
        sockets = [self._own, self._everybody]
        while not self._closed.is_set():
            for one in select.select(sockets, [], [], _LOOK_SECONDS)[0]:
                with suppress(OSError, PeerError):
                    datagram, (source, _) = one.recvfrom(65_535)
                    told = beacon.decode(datagram)
                    if told.instance != self.instance:
                        self.beacons.append((source, told))
                        self.hear(source, told)

    # -- sessions

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self._open.append(connection)
            with self.counts.lock:
                self.counts.connections += 1
            giving = self._giving(self, connection)
            threading.Thread(target=giving.run, daemon=True).start()

    def disconnect(self) -> None:
        """Cut every connection."""
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def close(self) -> None:
        """Say nothing any more, listen no more, cut every connection."""
        self._closed.set()
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.disconnect()
        for thread in self._threads:
            thread.join()
        for one in (self._own, self._everybody):
            one.close()


def announce_all(peers: Sequence[NativePeer]) -> None:
    """Have all of them tell of themselves."""
    for peer in peers:
        peer.announce()
