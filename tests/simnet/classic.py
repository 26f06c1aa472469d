"""A peer that speaks the classic protocol only, and dies of anything else, as real ones do.

It tells the five chunks of its files by broadcast and serves one connection at a time.
Not for: downloading.
"""

from __future__ import annotations

import json
from random import Random
from typing import Any

from twisted.internet.protocol import DatagramProtocol, Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from peershare.content.chunks import chunk_ranges
from peershare.content.names import chunk_name, split_name
from peershare.wire.announcement import pack
from tests.simnet.network import LAN, Host
from tests.simnet.reactor import SimReactor
from tests.simnet.world import Simulation

_UDP_PORT, _TCP_PORT = 5001, 5000
_INTERVAL_SECONDS = 30.0


class ClassicPeer:
    """Runs from its making; `died_of` is what killed it, "" while nothing has."""

    def __init__(
        self, simulation: Simulation, host: Host, files: dict[str, bytes], *, hardy: bool = False
    ) -> None:
        """`files` by name, told by their stems; where networks fail, `hardy` survives that."""
        self.host = host
        self.reactor = SimReactor(simulation.clock, host)
        self.chunks: dict[str, bytes] = {}
        self.died_of = ""
        self.hardy = hardy
        self._random = Random(f"{simulation.seed}/classic/{host.number}")
        self._groups: list[list[str]] = []
        for name, data in files.items():
            names = [chunk_name(split_name(name)[0], number) for number in range(1, 6)]
            self._groups.append(names)
            for chunk, where in zip(names, chunk_ranges(len(data)), strict=True):
                self.chunks[chunk] = data[where.start : where.stop]
        factory = Factory()
        factory.noisy = False
        factory.protocol = lambda: _Serving(self)
        self.reactor.listenTCP(_TCP_PORT, factory, backlog=1)
        self._mouth = _Mouth()
        self.reactor.listenMulticast(_UDP_PORT, self._mouth, listenMultiple=True)
        self._mouth.transport.setBroadcastAllowed(True)
        self._tell()

    def _tell(self) -> None:
        for datagram in pack(self._groups):
            self._mouth.transport.write(datagram, (str(LAN.broadcast_address), _UDP_PORT))
        self.reactor.callLater(_INTERVAL_SECONDS * self._random.uniform(0.9, 1), self._tell)

    def die(self, of: str) -> None:
        """Something that no classic peer survives."""
        if not self.died_of:
            self.died_of = of
            self.reactor.die()
            self.host.kill()


class _Mouth(DatagramProtocol):
    transport: Any
    noisy = False

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """Twisted: what others tell is of no interest."""


class _Serving(Protocol):
    """One connection: one request in one piece, one chunk, the end."""

    transport: Any

    def __init__(self, peer: ClassicPeer) -> None:
        self._peer = peer
        self._asked = False

    def dataReceived(self, data: bytes) -> None:
        """Twisted: the request, or the end of us."""
        try:
            chunk = self._peer.chunks[json.loads(data)["requested_content"]]
        except (ValueError, KeyError, TypeError):
            self._peer.die(f"{data[:80]!r} from {self.transport.getPeer().host}")
            return
        if self._asked:
            self._peer.die("a second request")
            return
        self._asked = True
        self.transport.write(chunk)
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Twisted: served, or a client that went without a word."""
        if not self._asked and not self._peer.hardy:
            self._peer.die("a connection without a request")
