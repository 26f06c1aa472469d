"""ContentDictionary: who told that it has which chunk (requirement 2.2.0-C).  Pure.

The pairs themselves, their caps and their expiry are `pairs.PairStore`; here are the questions
that are asked of them, and the text of `content_dictionary.txt`.  Times are monotonic seconds,
given to each call.  Not for: hearing announcements, writing the file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from ipaddress import AddressValueError, IPv4Address

from msgspec import Struct

from peershare.content.chunks import CHUNK_COUNT
from peershare.content.names import parse_chunk_name
from peershare.pairs import (
    LIFETIME_SECONDS,
    MAX_ADDRESSES,
    MAX_ADDRESSES_PER_CHUNK,
    MAX_BASES_PER_ADDRESS,
    MAX_PAIRS,
    Entry,
    Pair,
    PairStore,
    Told,
)
from peershare.resolving import Resolved, contents, normal, resolve

__all__ = [
    "LIFETIME_SECONDS",
    "MAX_ADDRESSES",
    "MAX_ADDRESSES_PER_CHUNK",
    "MAX_BASES_PER_ADDRESS",
    "MAX_PAIRS",
    "ContentDictionary",
    "Found",
    "KnownAddress",
    "KnownBase",
    "Source",
    "Told",
    "parse_dictionary",
]

# What `json.dumps` does to a string, without asking what it is given.
_quoted = json.encoder.encode_basestring_ascii

_NUMBERS = range(1, CHUNK_COUNT + 1)


class Source(Struct, frozen=True):
    """An address that has a chunk; `asked` is its own spelling, which a request must use."""

    address: str
    asked: str


class Found(Struct, frozen=True):
    """Where a content can be had: `sources` of chunk 1 to 5, each in order of arrival.

    `extension` is the query's, or the told names' (".png"), or "".  All empty: nobody has it.
    `bases` are the names that it is announced under, `name` what it is called.
    """

    extension: str
    sources: tuple[tuple[Source, ...], ...]
    name: str = ""
    bases: tuple[str, ...] = ()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Everybody who has some of it, as they arrived."""
        return tuple(dict.fromkeys(s.address for column in self.sources for s in column))


class KnownBase(Struct, frozen=True):
    """A name that is told: how many addresses have chunk 1 to 5, and which, as they arrived."""

    name: str
    chunks: tuple[int, ...]
    addresses: tuple[str, ...]


class KnownAddress(Struct, frozen=True):
    """An address that has told something: which names, how many chunks, when last."""

    address: str
    bases: tuple[str, ...]
    chunks: int
    heard_at: float


# Whether what an address announces under a base, since that time, is to be left out.
Skip = Callable[[str, str, float], bool]
# By name: who announces it, and which chunks.
_Live = dict[str, list[tuple[Entry, dict[int, Pair]]]]


class ContentDictionary(PairStore):
    """Chunk -> addresses, bounded and expiring."""

    def lookup(
        self, query: str, now: float, skip: Skip | None = None, bases: tuple[str, ...] = ()
    ) -> Found:
        """Find who has a content, by its name as the user typed it (`forest`, `forest.png`).

        `bases`: it is known to be announced under these names, and no other counts.  Raises
        `AmbiguousNameError` where the name fits several contents (`resolving.resolve`).
        """
        live = self._live(query, now, skip)
        if bases:
            live = {base: live[base] for base in bases if base in live}
        told = {base: {e.owner.address for e, _ in found} for base, found in live.items()}
        return _found(resolve(query, told), live)

    def contents(self, query: str, now: float, skip: Skip | None = None) -> tuple[Found, ...]:
        """Every content that a name may mean (`resolving.contents`), and who has it."""
        live = self._live(query, now, skip)
        told = {base: {e.owner.address for e, _ in found} for base, found in live.items()}
        return tuple(_found(resolved, live) for resolved in contents(query, told))

    def _live(self, query: str, now: float, skip: Skip | None) -> _Live:
        """What is announced now, and may be what the query means."""
        live: _Live = {}
        for entry in self.candidates(query):
            chunks = entry.chunks(now)
            left_out = skip is not None and skip(entry.owner.address, entry.base, entry.since)
            if chunks and not left_out:
                live.setdefault(normal(entry.base), []).append((entry, chunks))
        return live

    def base(
        self, name: str, now: float, without: Callable[[str], bool] | None = None
    ) -> KnownBase | None:
        """Who tells this very name now; None if nobody does.

        `without`: whose announcements do not count.
        """
        found = self._bases.get(name)
        if found is None:
            return None
        live = [
            (entry, chunks)
            for entry in found.entries
            if (chunks := entry.chunks(now))
            and not (without is not None and without(entry.owner.address))
        ]
        if not live:
            return None
        live.sort(key=lambda item: min(pair.order for pair in item[1].values()))
        counts = (sum(n in chunks for _, chunks in live) for n in _NUMBERS)
        return KnownBase(name, tuple(counts), tuple(entry.owner.address for entry, _ in live))

    def bases(self, now: float) -> tuple[KnownBase, ...]:
        """Every name that somebody tells now."""
        names = tuple(self._bases)
        return tuple(base for name in names if (base := self.base(name, now)) is not None)

    def addresses(self, now: float) -> tuple[KnownAddress, ...]:
        """Every address heard within the lifetime, in order of arrival."""
        return tuple(
            KnownAddress(owner.address, tuple(owner.entries), owner.pairs, owner.heard_at)
            for owner in self._owners.values()
            if now - owner.heard_at < LIFETIME_SECONDS
        )

    def heard(self, now: float) -> list[str]:
        """The addresses alone."""
        return [o.address for o in self._owners.values() if now - o.heard_at < LIFETIME_SECONDS]

    def as_json(self, now: float) -> bytes:
        """The text of `content_dictionary.txt`: chunk name as told -> addresses as they arrived.

        One JSON object in ASCII, one chunk a line, ended by a newline.
        """
        return as_text([line for some in self.lines(now) for line in some])

    def lines(self, now: float) -> Iterator[list[str]]:
        """The lines of that text, name by name."""
        for _, entries in self.each_base():
            yield _lines_of(entries, now)


def as_text(lines: Sequence[str]) -> bytes:
    """The text of `content_dictionary.txt` with these lines."""
    return ("{\n" + ",\n".join(lines) + "\n}\n" if lines else "{}\n").encode("ascii")


def _found(resolved: Resolved, live: _Live) -> Found:
    """Who has what of a content; of two names at one address the first one counts."""
    chosen: dict[str, tuple[Entry, dict[int, Pair]]] = {}
    for base in resolved.bases:
        for entry, chunks in live[base]:
            chosen.setdefault(entry.owner.address, (entry, chunks))
    return Found(resolved.extension, _sources(chosen.values()), resolved.name, resolved.bases)


def _lines_of(entries: Iterable[Entry], now: float) -> list[str]:
    """The lines of the dictionary file for one base, by number, then by spelling."""
    told: dict[tuple[int, str], list[tuple[int, str]]] = {}
    for entry in entries:
        for pair in entry.pairs:
            if pair.lives(now):
                key = (pair.number, entry.spelling(pair))
                told.setdefault(key, []).append((pair.order, entry.owner.address))
    return [
        f"  {_quoted(key[1])}: [{', '.join(_quoted(address) for _, address in sorted(told[key]))}]"
        for key in sorted(told)
    ]


def _sources(
    chosen: Iterable[tuple[Entry, dict[int, Pair]]],
) -> tuple[tuple[Source, ...], ...]:
    """For each chunk the addresses that have it, in order of arrival."""
    found: list[list[tuple[int, Source]]] = [[] for _ in _NUMBERS]
    for entry, chunks in chosen:
        for number, pair in chunks.items():
            source = Source(entry.owner.address, entry.spelling(pair))
            found[number - 1].append((pair.order, source))
    return tuple(
        tuple(source for _, source in sorted(column, key=lambda item: item[0])) for column in found
    )


def parse_dictionary(text: str) -> dict[str, tuple[str, ...]]:
    """Read a dictionary file: chunk name as written -> its addresses, each once, in order.

    Both forms in use are understood: one JSON object, and lines `forest_5: 198.18.0.11, …`.  What
    is no chunk name or no IPv4 address is skipped.  Never raises.
    """
    try:
        written = json.loads(text)
    except (ValueError, RecursionError):
        written = None
    if isinstance(written, dict):
        lists = [(name, told) for name, told in written.items() if isinstance(told, list)]
    else:
        # Who only ever appends writes the same few lines a million times.
        rows = (line.partition(":") for line in dict.fromkeys(text.splitlines()))
        lists = [(name.strip(_QUOTING), told.split(",")) for name, _, told in rows]
    found: dict[str, dict[str, None]] = {}
    is_address = cache(_is_address)
    for name, told in lists:
        if name not in found and parse_chunk_name(name) is None:
            continue
        addresses = (a.strip(_QUOTING) for a in told if isinstance(a, str))
        known = dict.fromkeys(a for a in addresses if is_address(a))
        if known:
            found.setdefault(name, {}).update(known)
    return {name: tuple(known) for name, known in found.items()}


# What some writers of the line form leave around names and addresses.
_QUOTING = " \t[]{}'\","


def _is_address(text: str) -> bool:
    try:
        IPv4Address(text)
    except AddressValueError:
        return False
    return True
