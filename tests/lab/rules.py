"""What may be on UDP port 5001: the classic protocol's rules for announcements, as a judge.

Written from the protocol's description and not from our packing, which it is to find fault with.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from typing import Any

from msgspec import Struct

CLASSIC_PORT = 5001
MAX_BYTES = 1_024


class Datagram(Struct, frozen=True):
    """One UDP datagram (or IP fragment of one) as the recorder writes it."""

    at: float  # seconds on the machine's monotonic clock
    interface: str
    source: str
    target: str
    port: int
    fragment: bool
    payload: str  # hexadecimal


def names_in(payload: bytes) -> list[str]:
    """The names that a datagram tells; only for one without faults."""
    names: list[str] = json.loads(payload)["chunks"]
    return names


def faults_of(datagram: Datagram, partial: frozenset[str] = frozenset()) -> list[str]:
    """What is wrong with a datagram of ours, as sentences; empty where nothing is.

    `partial` are the stems of which the sender holds less than five chunks.
    """
    if datagram.fragment:
        return ["it is cut into IP fragments"]
    if datagram.port != CLASSIC_PORT:
        return [f"it goes to UDP port {datagram.port}"]
    return faults_of_payload(bytes.fromhex(datagram.payload), partial)


def faults_of_payload(payload: bytes, partial: frozenset[str] = frozenset()) -> list[str]:
    """The same for the bytes alone."""
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
