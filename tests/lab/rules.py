"""What may cross the network: the rules of both protocols, as a judge.

UDP port 5001 and connections to classic peers: strictly the classic protocol.  The port of the
beacons: whole, well-formed beacons of one size.  A native session: only with an address that has
echoed a nonce before.  Written from the protocols' description and not from our packing, which it
is to find fault with.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct

from peershare.errors import PeerError
from peershare.wire import beacon

CLASSIC_PORT = 5001
BEACON_PORT = 5000
MAX_BYTES = 1_024
# A datagram to this host of the network goes to everybody.
_EVERYBODY = ".255"
_REQUEST_KEYS = ("requested_content", "requested content", "requested-content")


class Datagram(Struct, frozen=True, tag_field="kind", tag="datagram"):
    """One UDP datagram (or IP fragment of one) as the recorder writes it."""

    at: float  # seconds on the machine's monotonic clock
    interface: str
    source: str
    target: str
    port: int
    fragment: bool
    payload: str  # hexadecimal


class Segment(Struct, frozen=True, tag_field="kind", tag="segment"):
    """One TCP segment, from the side that opened the connection, as the recorder writes it."""

    at: float
    interface: str
    source: str
    target: str
    port: int
    connection: int
    offset: int  # of its first byte in the stream
    payload: str  # hexadecimal


class Stream(Struct, frozen=True):
    """What the side that opened a TCP connection sent."""

    at: float  # when its first byte was seen
    source: str
    target: str
    port: int
    data: bytes


def names_in(payload: bytes) -> list[str]:
    """The names that a datagram tells; only for one without faults."""
    names: list[str] = json.loads(payload)["chunks"]
    return names


def streams_of(segments: Iterable[Segment]) -> list[Stream]:
    """The connections that these segments belong to, in the order of their first bytes."""
    found: dict[int, tuple[Segment, bytearray]] = {}
    for segment in segments:
        _, data = found.setdefault(segment.connection, (segment, bytearray()))
        payload = bytes.fromhex(segment.payload)
        data.extend(bytes(max(0, segment.offset - len(data))))
        data[segment.offset : segment.offset + len(payload)] = payload
    return [
        Stream(first.at, first.source, first.target, first.port, bytes(data))
        for first, data in found.values()
    ]


def faults_of(
    datagram: Datagram, partial: frozenset[str] = frozenset(), beacon_port: int = BEACON_PORT
) -> list[str]:
    """What is wrong with a datagram of ours, as sentences; empty where nothing is.

    `partial` are the stems of which the sender holds less than five chunks.
    """
    if datagram.fragment:
        return ["it is cut into IP fragments"]
    payload = bytes.fromhex(datagram.payload)
    if datagram.port == CLASSIC_PORT:
        return faults_of_payload(payload, partial)
    if datagram.port == beacon_port:
        return faults_of_beacon(payload, broadcast=datagram.target.endswith(_EVERYBODY))
    return [f"it goes to UDP port {datagram.port}"]


def faults_of_beacon(payload: bytes, *, broadcast: bool) -> list[str]:
    """The same for the bytes of a beacon."""
    try:
        told = beacon.decode(payload)
    except PeerError as error:
        return [f"it is no beacon: {error}"]
    faults = []
    if len(payload) != beacon.BEACON_BYTES:
        faults.append(f"it has {len(payload)} bytes, all others {beacon.BEACON_BYTES}")
    if not payload.isascii() or payload != payload.strip().ljust(len(payload)):
        faults.append("it is not one object in ASCII, padded with spaces")
    if broadcast and (told.nonce or told.echo):
        faults.append("what is for one address only goes to everybody")
    return faults


def faults_of_stream(
    stream: Stream, classic: frozenset[str], datagrams: Sequence[Datagram], beacon_port: int
) -> list[str]:
    """What is wrong with a connection that we opened.

    `classic` are the addresses of classic peers, `datagrams` what was seen of our own kind.
    """
    if stream.target in classic:
        return faults_of_request(stream.data)
    if not _is_hello(stream.data):
        return faults_of_request(stream.data)
    if not _proven(stream, [one for one in datagrams if one.port == beacon_port]):
        return [f"{stream.target} is dialled natively, and had not proven that it is there"]
    return []


def faults_of_request(data: bytes) -> list[str]:
    """What is wrong with the whole of what is sent to a classic peer over TCP."""
    if len(data) > MAX_BYTES:
        return [f"the request has {len(data)} bytes"]
    if not data.isascii() or any(byte < 32 or byte == 127 for byte in data):
        return ["the request is not plain ASCII"]
    try:
        request = json.loads(data, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as error:
        return [f"the request is no JSON: {error}"]
    if not isinstance(request, _Pairs) or not data.startswith(b"{") or not data.endswith(b"}"):
        return ["the request is not one object and nothing else"]
    keys = [key for key, _ in request.items]
    if len(set(keys)) != len(keys) or not {_REQUEST_KEYS[0]} <= set(keys) <= set(_REQUEST_KEYS):
        return [f"the request has the keys {keys}"]
    names = [name for _, name in request.items]
    if not all(isinstance(name, str) and name == names[0] and name for name in names):
        return [f"the request names {names}"]
    return []


def _is_hello(data: bytes) -> bool:
    """Whether a connection opens as a native one does."""
    try:
        told = json.loads(data.partition(b"\n")[0])
    except ValueError:
        return False
    return isinstance(told, dict) and told.get("type") == "hello"


def _proven(stream: Stream, beacons: Sequence[Datagram]) -> bool:
    """Whether the target had echoed a nonce that was sent to it alone, before it was dialled."""
    nonces = set()
    for one in beacons:
        if one.at > stream.at:
            break
        told = json.loads(bytes.fromhex(one.payload))
        if (one.source, one.target) == (stream.source, stream.target) and told["nonce"]:
            nonces.add(told["nonce"])
        elif (one.source, one.target) == (stream.target, stream.source) and told["echo"] in nonces:
            return True
    return False


def faults_of_payload(payload: bytes, partial: frozenset[str] = frozenset()) -> list[str]:
    """What is wrong with the bytes of an announcement."""
    faults = []
    if len(payload) > MAX_BYTES:
        faults.append(f"it has {len(payload)} bytes")
    if not payload.isascii() or any(byte < 32 or byte == 127 for byte in payload):
        return [*faults, "it is not plain ASCII"]
    try:
        pairs = json.loads(payload, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as error:
        return [*faults, f"it is no JSON: {error}"]
    if not isinstance(pairs, _Pairs) or [key for key, _ in pairs.items] != ["chunks"]:
        return [*faults, "it is not an object with the key chunks and no other"]
    return faults + _faults_of_names(pairs.items[0][1], partial)


class _Pairs:
    """A JSON object with its keys in order, repeated ones too."""

    def __init__(self, items: list[tuple[str, Any]]) -> None:
        self.items = items


def _faults_of_names(names: Any, partial: frozenset[str]) -> list[str]:
    if not isinstance(names, list) or not names:
        return ["chunks is no list with something in it"]
    if not all(isinstance(name, str) for name in names):
        return ["a name is no string"]
    faults = []
    numbers: dict[str, list[str]] = defaultdict(list)
    for name in names:
        if re.search(r"[:\x00-\x1f\x7f-\x9f\ud800-\udfff]", name):
            faults.append(f"the name {name!r} breaks a dictionary file")
        stem, _, number = name.rpartition("_")
        numbers[stem].append(number)
    for stem, found in numbers.items():
        if stem not in partial and sorted(found) != list("12345"):
            faults.append(f"the names of {stem!r} are not together: {found}")
        if len(set(found)) != len(found) or not set(found) <= set("12345"):
            faults.append(f"the names of {stem!r} are odd: {found}")
    return faults
