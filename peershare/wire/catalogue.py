r"""Catalogues: the whole list of what one peer holds, as canonical lines named by their digest.

A line is `{"id":…,"name":…,"size":…,"complete":…}` and a newline; a catalogue is its lines, each
once, in the order of their bytes; its digest is that of a fixed head and the lines.  A difference
is lines with a `+` or a `-` before each.  Pure: entries in, lines out, and back, in steps that
take microseconds each.  Not for: whom to ask, nor for who holds what (`holdings`).
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import Annotated

import msgspec
from blake3 import blake3
from msgspec import Meta, Struct

from peershare.content.blocks import MAX_CONTENT_BYTES
from peershare.content.names import check_file_name
from peershare.errors import BadNameError, PeerError, Reason

MAX_ENTRIES = 100_000
# As many names one peer may have for one content.
MAX_NAMES = 64
MAX_LINE_BYTES = 1_024
MAX_CATALOGUE_BYTES = 32 * 1024 * 1024
MAX_DIFFERENCE_BYTES = 1024 * 1024
# How far back differences can be asked for.
MAX_VERSIONS = 64
MAX_PAST_BYTES = MAX_DIFFERENCE_BYTES
# Between two steps of `CatalogueHistory.updating`.
_STEP_ENTRIES = 500
_STEP_PARTS = 16

_HEAD = b"peershare catalogue 1\n"
# What `check_file_name` is sure to pass as it is; device names begin with fewer letters.
_PLAIN = re.compile(r"[A-Za-z0-9_\-]{5,80}(?:[A-Za-z0-9_\-. ()]{0,80}[A-Za-z0-9_\-()])?")


class CatalogueEntry(Struct, frozen=True, gc=False):
    """One content of one peer.  `complete` is False while it is only there in part."""

    name: str
    size: int
    id: str
    complete: bool


class _Line(Struct, frozen=True, gc=False):
    """An entry as it is written; whoever changes the order of the keys changes every digest."""

    id: Annotated[str, Meta(pattern=r"^b3:[0-9a-f]{64}\Z")]
    name: Annotated[str, Meta(max_length=MAX_LINE_BYTES)]
    size: Annotated[int, Meta(ge=0, le=MAX_CONTENT_BYTES)]
    complete: bool


class CatalogueAnswer(Struct, frozen=True):
    """A catalogue as it is sent: `data` are `count` lines, a difference from `base` if that is set.

    The lines of a difference begin with `+` (there now) or `-` (gone).
    """

    digest: str
    base: str
    count: int
    data: bytes


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Line).decode


def line_of(entry: CatalogueEntry) -> bytes:
    """The canonical line of an entry, its newline included."""
    return _encode(_Line(entry.id, entry.name, entry.size, entry.complete)) + b"\n"


def digest_of(lines: bytes | bytearray) -> str:
    """What names the catalogue of these lines: BLAKE3 of a fixed head and the lines, in hex."""
    return blake3(_HEAD).update(lines).hexdigest()


EMPTY_DIGEST = digest_of(b"")


def is_fit(name: str) -> bool:
    """Whether a file can be created under this very name, on any system."""
    if _PLAIN.fullmatch(name):
        return True
    try:
        return check_file_name(name) == name
    except BadNameError:
        return False


class CatalogueReader:
    """Reads a catalogue that a peer sent; iterate once.

    Each step looks at one line and gives its entry, or None where there is none to keep.  Raises
    `PeerError` (bad-message) when it turns out not to be the catalogue of that digest, which for a
    difference may be at its very end.  `unfit` counts names that are refused, or too many for one
    content; `canonical` says whether the entries given are all of it, so that differences from it
    can be read.
    """

    def __init__(
        self, digest: str, data: bytes | bytearray, base: Iterable[CatalogueEntry] | None = None
    ) -> None:
        """`data` is a difference from the entries of `base`, if that is not None."""
        self.digest = digest
        self._data = data
        self._base = base
        self.unfit = 0
        self.canonical = True

    def __iter__(self) -> Iterator[CatalogueEntry | None]:
        content, names = "", 0
        for entry in self._read_all() if self._base is None else self._read_changes(self._base):
            if entry is not None:
                content, names = entry.id, names + 1 if entry.id == content else 1
            refused = names > MAX_NAMES and entry is not None
            yield self._refused() if refused else entry

    def _lines(self, data: bytes | bytearray) -> Iterator[bytes]:
        start, before = 0, b""
        while start < len(data):
            end = data.find(b"\n", start, start + MAX_LINE_BYTES) + 1
            if not end:
                raise _bad("a line is too long, or has no end")
            line = bytes(data[start:end])
            if line <= before:
                raise _bad("its lines are not in order")
            yield line
            start, before = end, line

    def _read_all(self) -> Iterator[CatalogueEntry | None]:
        if digest_of(self._data) != self.digest:
            raise _bad("its lines have another digest")
        for number, line in enumerate(self._lines(self._data)):
            if number == MAX_ENTRIES:
                raise _bad(f"it has more than {MAX_ENTRIES} lines")
            yield self._read(line)

    def _read(self, line: bytes) -> CatalogueEntry | None:
        try:
            told = _decode(line)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise _bad(str(error)) from None
        entry = CatalogueEntry(told.name, told.size, told.id, told.complete)
        if not is_fit(told.name):
            return self._refused()
        if line_of(entry) != line:
            self.canonical = False
        return entry

    def _refused(self) -> CatalogueEntry | None:
        self.unfit += 1
        self.canonical = False
        return None

    def _read_changes(self, base: Iterable[CatalogueEntry]) -> Iterator[CatalogueEntry | None]:
        if len(self._data) > MAX_DIFFERENCE_BYTES:
            raise _bad("the difference is too long")
        changes = bytes(self._data).splitlines(keepends=True)
        gone = {line[1:] for line in changes if line.startswith(b"-")}
        added = b"".join(line[1:] for line in changes if line.startswith(b"+"))
        hasher = blake3(_HEAD)
        kept = ((line_of(entry), entry) for entry in base)
        fresh = ((line, None) for line in self._lines(added))
        number = 0
        for line, entry in heapq.merge(kept, fresh, key=itemgetter(0)):
            if entry is not None and line in gone:
                yield None
                continue
            number += 1
            if number > MAX_ENTRIES:
                raise _bad(f"it has more than {MAX_ENTRIES} lines")
            hasher.update(line)
            yield entry or self._read(line)
        if hasher.hexdigest() != self.digest:
            raise _bad("the difference leads to another digest")


def _bad(problem: str) -> PeerError:
    return PeerError(Reason.BAD_MESSAGE, f"sent a catalogue that is none: {problem}")


class _Change(Struct, frozen=True):
    """What led from one version to the one called `to`."""

    to: str
    added: list[bytes]
    gone: list[bytes]

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(map(len, self.added)) + sum(map(len, self.gone))


class CatalogueHistory:
    """Our own catalogue, and how it came to be what it is.

    `digest` and `count` name it; `left_out` is how many entries cannot be told, for their names or
    because there are too many.
    """

    def __init__(self) -> None:
        self.digest = EMPTY_DIGEST
        self.count = 0
        self.left_out = 0
        self._lines: dict[CatalogueEntry, bytes | None] = {}
        # by the first byte of the id, which is what lines are sorted by first
        self._parts: list[list[bytes]] = [[] for _ in range(256)]
        self._past: dict[str, _Change] = {}
        self._whole: CatalogueAnswer | None = None

    def update(self, entries: Iterable[CatalogueEntry]) -> bool:
        """Hold these from now on; whether that changed anything.  Long ones take long."""
        before = self.digest
        for _ in self.updating(entries):
            pass
        return self.digest != before

    def updating(self, entries: Iterable[CatalogueEntry]) -> Iterator[None]:
        """The same in steps of a few milliseconds; nothing changes before the last one."""
        lines: dict[CatalogueEntry, bytes | None] = {}
        parts: list[list[bytes]] = [[] for _ in range(256)]
        count = left_out = 0
        for number, entry in enumerate(entries):
            if number % _STEP_ENTRIES == _STEP_ENTRIES - 1:
                yield
            if entry in lines:
                continue
            line = lines[entry] = self._lines[entry] if entry in self._lines else _told(entry)
            if line is None or count == MAX_ENTRIES:
                left_out += 1
                continue
            parts[int(entry.id[3:5], 16)].append(line)
            count += 1
        hasher = blake3(_HEAD)
        added: list[bytes] = []
        gone: list[bytes] = []
        for number, (part, old) in enumerate(zip(parts, self._parts, strict=True)):
            part.sort()
            hasher.update(b"".join(part))
            if part != old:
                now, before = set(part), set(old)
                added += [line for line in part if line not in before]
                gone += [line for line in old if line not in now]
            if number % _STEP_PARTS == _STEP_PARTS - 1:
                yield
        self._lines, self._parts = lines, parts
        self.left_out = left_out
        self._become(hasher.hexdigest(), count, added, gone)

    def _become(self, digest: str, count: int, added: list[bytes], gone: list[bytes]) -> None:
        if digest == self.digest:
            return
        self._past.pop(self.digest, None)  # the way on that is true now is the newest
        self._past[self.digest] = _Change(digest, added, gone)
        self.digest, self.count, self._whole = digest, count, None
        size = sum(change.size for change in self._past.values())
        while len(self._past) > MAX_VERSIONS or size > MAX_PAST_BYTES:
            size -= self._past.pop(next(iter(self._past))).size

    def since(self, known: str) -> CatalogueAnswer:
        """What a peer is sent that has our catalogue of digest `known` ("": none)."""
        changes = self._changes_since(known)
        if changes is not None:
            marked = [changes[line] + line for line in sorted(changes)]
            data = b"".join(marked)
            if len(data) <= MAX_DIFFERENCE_BYTES and len(marked) <= self.count:
                return CatalogueAnswer(self.digest, known, len(marked), data)
        if self._whole is None:
            data = b"".join(b"".join(part) for part in self._parts)
            self._whole = CatalogueAnswer(self.digest, "", self.count, data)
        return self._whole

    def _changes_since(self, known: str) -> dict[bytes, bytes] | None:
        """What all changes since then come to: line -> `+` or `-`; None if they are forgotten."""
        net: dict[bytes, bytes] = {}
        while known != self.digest:
            change = self._past.get(known)
            if change is None:
                return None
            for mark, lines in ((b"-", change.gone), (b"+", change.added)):
                for line in lines:
                    if net.pop(line, mark) == mark:
                        net[line] = mark
            known = change.to
        return net


def _told(entry: CatalogueEntry) -> bytes | None:
    return line_of(entry) if is_fit(entry.name) else None
