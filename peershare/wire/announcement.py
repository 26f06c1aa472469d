"""Announcements: classic UDP datagrams, packed strictly and read liberally (2.1.0-D, 2.2.0-B).

Pure: names in, datagrams out, and back.  Not for: sockets, schedules, or whom to believe.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from peershare.content.names import ChunkName, parse_chunk_name
from peershare.errors import PeerError, Reason

# Longer ones kill or pass by half of the classic listeners, whose buffers are this small.
MAX_ANNOUNCEMENT_BYTES = 1_024
# More names than one address may have in the dictionary are not looked at: 1,000 files.
MAX_NAMES_HEARD = 5_000

# What `json.dumps` does to a string, without asking what it is given.
_quoted = json.encoder.encode_basestring_ascii
_HEAD, _SEPARATOR, _TAIL = '{"chunks": [', ", ", "]}"


def pack(groups: Iterable[Sequence[str]]) -> list[bytes]:
    """Write names into as few datagrams `{"chunks": [...]}` as their order allows.

    Each group is one file's names: they stay together.  A datagram has 1,024 bytes at most, is
    ASCII, never empty, and spaced as `json.dumps` does it.  Raises ValueError if a group does not
    fit into one (`content.names.stem_problem` tells beforehand).
    """
    datagrams: list[bytes] = []
    parts: list[str] = []
    room = 0
    for group in groups:
        if not group:
            continue
        part = _SEPARATOR.join(map(_quoted, group))
        if len(part) > MAX_ANNOUNCEMENT_BYTES - len(_HEAD) - len(_TAIL):
            raise ValueError(f"these names do not fit into one datagram: {part[:80]} …")
        if parts and len(part) + len(_SEPARATOR) > room:
            datagrams.append(_datagram(parts))
            parts = []
        if not parts:
            room = MAX_ANNOUNCEMENT_BYTES - len(_HEAD) - len(_TAIL) + len(_SEPARATOR)
        parts.append(part)
        room -= len(part) + len(_SEPARATOR)
    if parts:
        datagrams.append(_datagram(parts))
    return datagrams


def _datagram(parts: list[str]) -> bytes:
    return (_HEAD + _SEPARATOR.join(parts) + _TAIL).encode("ascii")


class Heard(Struct, frozen=True):
    """What a datagram told: each name once, in order; `junk` is how many were no chunk names."""

    names: tuple[ChunkName, ...]
    junk: int


class _Announcement(Struct):
    """The keys in use; others are ignored, and `files` too where there are `chunks`."""

    chunks: Raw = Raw()
    files: Raw = Raw()


_decode = msgspec.json.Decoder(_Announcement).decode
# The values of an object are nobody's business; the items of a list are sorted out one by one.
_decode_names = msgspec.json.Decoder(list[Any] | dict[str, Raw]).decode


def decode(datagram: bytes) -> Heard:
    """Read a datagram from anyone, in any of the dialects in use.

    The names are a list or the keys of an object, under `chunks` or (without that) `files`; what
    is no chunk name among them is counted as junk.  Raises `PeerError` (bad-datagram) for
    everything else: not UTF-8, no JSON, no object, neither key, a wrong type, nested too deep.
    """
    try:
        told = _decode(datagram.decode("utf-8-sig"))
        raw = told.chunks if len(told.chunks) else told.files
        if not len(raw):
            raise _bad("it has neither of the keys chunks and files")
        names = list(_decode_names(raw))
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise _bad(f"it is no announcement: {error}") from None
    return _sort_out(names)


def _bad(problem: str) -> PeerError:
    return PeerError(Reason.BAD_DATAGRAM, problem)


def _sort_out(names: list[Any]) -> Heard:
    heard: dict[ChunkName, None] = {}
    junk = max(0, len(names) - MAX_NAMES_HEARD)
    for name in names[:MAX_NAMES_HEARD]:
        parsed = parse_chunk_name(name) if isinstance(name, str) else None
        if parsed is None:
            junk += 1
        else:
            heard[parsed] = None
    return Heard(tuple(heard), junk)
