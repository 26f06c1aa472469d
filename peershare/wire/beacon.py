"""Beacons: native UDP datagrams that say a peer is here, and the digest of what it holds.

Pure: values in, datagrams out, and back.  A beacon that is broadcast carries neither nonce nor
echo; one that is sent to a single address carries our nonce for it (`Nonces`), the echo of its
nonce for us, or both.  Every beacon of ours has the same length, padded with spaces, and shorter
ones are none, so that no answer is larger than its question.  Not for: schedules, or sockets.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

import msgspec
from blake3 import blake3
from msgspec import Meta, Struct

from peershare.errors import PeerError, Reason

VERSION = 1
# What is shorter cannot be answered without sending more than came; what is longer is none.
BEACON_BYTES = 360
MAX_BEACON_BYTES = 1_024
# What Ethernet, IP and UDP add to a datagram.
FRAME_BYTES = 42
NONCE_BYTES = 16
INSTANCE_BYTES = 8
PEER_BYTES = 16
SECRET_BYTES = 32

_Version = Annotated[int, Meta(ge=1, le=1_000)]
_Port = Annotated[int, Meta(ge=0, le=65_535)]
_Count = Annotated[int, Meta(ge=0, le=1_000_000_000)]
_Seconds = Annotated[int, Meta(ge=1, le=86_400)]
# `\Z` and not `$`, which a line end at the end would pass.
_Name = Annotated[str, Meta(pattern=r"^[0-9a-f]{8,64}\Z")]
_Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
_Nonce = Annotated[str, Meta(pattern=r"^([0-9a-f]{16,64})?\Z")]


class Endpoint(NamedTuple):
    """One peer among all of a network: by what everything that is known of it is kept.

    `port` is where it takes sessions over TCP, 0 if nowhere, `instance` its run; a classic peer has
    0 and "".  Two peers of one machine differ in both, and so does a peer that was started again.
    """

    address: str
    port: int = 0
    instance: str = ""

    def __str__(self) -> str:
        return f"{self.address}:{self.port}"


class Beacon(Struct, frozen=True, kw_only=True):
    """One beacon.  All keys but the last five are always there.

    `port` is where the sender takes sessions over TCP, 0 if nowhere; `interval` how many seconds
    later the next one comes, at the latest but for jitter; `ask`: an answer is wanted; `bye`: the
    sender goes away now; `udp` is the port where it alone hears what is sent to its address, 0 if
    that is where this beacon comes from.
    """

    peershare: _Version = VERSION
    peer: _Name
    instance: _Name
    port: _Port
    catalogue: _Digest
    count: _Count
    interval: _Seconds
    ask: bool = False
    bye: bool = False
    nonce: _Nonce = ""
    echo: _Nonce = ""
    udp: _Port = 0

    def sender(self, address: str) -> Endpoint:
        """Who tells it, if it is true and comes from this address."""
        return Endpoint(address, self.port, self.instance)


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Beacon).decode


def encode(beacon: Beacon) -> bytes:
    """The datagram, `BEACON_BYTES` long.  Raises ValueError if it does not fit."""
    datagram = _encode(beacon).ljust(BEACON_BYTES)
    if len(datagram) > BEACON_BYTES:
        raise ValueError(f"a beacon of {len(datagram)} bytes: {datagram!r}")
    return datagram


def decode(datagram: bytes) -> Beacon:
    """Read a datagram from anyone.  Unknown keys are ignored.  Raises `PeerError` (bad-beacon)."""
    if not BEACON_BYTES <= len(datagram) <= MAX_BEACON_BYTES:
        raise PeerError(Reason.BAD_BEACON, f"sent a beacon of {len(datagram)} bytes")
    try:
        return _decode(datagram)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise PeerError(Reason.BAD_BEACON, f"sent a beacon that is none: {error}") from None


class Nonces:
    """What an address has to echo to show that it hears us, and who it says it is there.

    A nonce belongs to an address, an instance and a TCP port together, and nothing is kept of it:
    it is made again when its echo comes.
    """

    def __init__(self, secret: bytes) -> None:
        """`secret` is 32 random bytes of this run."""
        self._secret = secret

    def nonce(self, endpoint: Endpoint) -> str:
        """Ours for this address, if it is this instance and takes sessions on this port; hex."""
        told = f"{endpoint.address} {endpoint.instance} {endpoint.port}".encode("ascii")
        return blake3(told, key=self._secret).digest(NONCE_BYTES).hex()

    def proves(self, beacon: Beacon, address: str) -> bool:
        """Whether this beacon, come from this address, echoes it."""
        return bool(beacon.echo) and beacon.echo == self.nonce(beacon.sender(address))
