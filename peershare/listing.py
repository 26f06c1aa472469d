"""The list of contents: what is on the network and what we have, by name.

A page asks for it in windows, and again whenever the node says that it changed: it is made anew
only where something that it shows has changed, and what native peers tell only where they tell
something else.  Not for: finding the one content that somebody means (`download.choosing`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from msgspec.structs import replace

from peershare.content.chunks import CHUNK_COUNT
from peershare.content.names import split_name
from peershare.dictionary import KnownBase
from peershare.holdings import Holdings, Known
from peershare.library.entries import SharedFile
from peershare.overview import printable
from peershare.status import ContentStatus
from peershare.wiring import Parts

MOST_CONTENTS = 10_000
# Each a pattern that somebody asks with again: the page's own, and what is typed there.
MAX_LISTS = 4
# So often it may be long that nothing fits: a large network is not searched to its end at once.
_MOST_PAUSES = 200

_Contents = tuple[ContentStatus, ...]


class ContentsList:
    """Every content on the network, and every file of our own."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._lists = _Kept()
        self._natives = _Kept()
        self._own_changes = 0
        parts.library.on_change(self._own_changed)

    def get(self, now: float, pattern: str = "") -> _Contents:
        """Those whose names fit the pattern, by name, at `now` (monotonic seconds).

        What native peers told has an id; names that only classic peers tell have none.  At most
        `MOST_CONTENTS` native ones are listed.  What ran out may be listed for a few seconds more.
        """
        parts = self._parts
        natives, wanted = parts.neighbourhood.holdings.version, parts.downloader.under_way()
        own = (self._own_changes, parts.library.not_offered_version)
        made_of = (*own, parts.dictionary.version, natives, wanted)
        found = self._lists.get(made_of, pattern)
        if found is None:
            merged = self._merged(now, pattern)
            marked = (
                replace(content, downloading=True)
                if {content.id, content.name} & wanted
                else content
                for content in merged
            )
            found = tuple(sorted(marked, key=lambda content: content.name.casefold()))
            self._lists.put(pattern, found)
        return found

    def _own_changed(self) -> None:
        self._own_changes += 1

    def _merged(self, now: float, pattern: str) -> list[ContentStatus]:
        """Our own, the native ones that are not, and what is left of what classic peers tell."""
        library, holdings = self._parts.library, self._parts.neighbourhood.holdings
        told = {base.name: base for base in self._parts.dictionary.bases(now)}
        merged = []
        ours: set[tuple[str, str]] = set()
        not_offered = dict(library.not_offered())
        for file in library.files():
            names = library.chunk_names(file)
            base = told.pop(names[0].rpartition("_")[0], None) if names else None
            content_id = library.content_id(file)
            others = holdings.addresses(content_id) if content_id else ()
            own = _own(file, content_id, bool(names), base, others)
            reason = not_offered.pop(file.key, "")
            if reason or file.problem:
                own = replace(own, not_offered=reason, not_announced=file.problem)
            ours.add((own.id, own.name))
            merged.append(own)
        merged += itertools.starmap(_left_out, not_offered.items())
        for content in self._native(pattern):
            if (content.id, content.name) not in ours:
                merged.append(_told_too(content, told) if told else content)
        merged += [_classic(base) for base in told.values()]
        if pattern:
            merged = [content for content in merged if fits(content.name, pattern)]
        return merged

    def _native(self, pattern: str) -> _Contents:
        """What native peers tell, as far as there is time to look."""
        holdings = self._parts.neighbourhood.holdings
        found = self._natives.get((holdings.version,), pattern)
        if found is None:
            found = tuple(_status(known, holdings) for known in _matching(holdings, pattern))
            self._natives.put(pattern, found)
        return found


class _Kept:
    """Lists by pattern, as long as what they were made of is as it was."""

    def __init__(self) -> None:
        self._made_of: tuple[object, ...] = ()
        self._lists: dict[str, _Contents] = {}

    def get(self, made_of: tuple[object, ...], pattern: str) -> _Contents | None:
        """What is kept for a pattern, if it is still true."""
        if made_of != self._made_of:
            self._made_of = made_of
            self._lists.clear()
        found = self._lists.pop(pattern, None)
        if found is not None:
            self._lists[pattern] = found  # the one that was asked for last goes last
        return found

    def put(self, pattern: str, contents: _Contents) -> None:
        """Keep this, and of many patterns the last ones."""
        self._lists[pattern] = contents
        if len(self._lists) > MAX_LISTS:
            del self._lists[next(iter(self._lists))]


def fits(name: str, pattern: str) -> bool:
    """Whether a name fits a pattern in which `*` is anything, whatever the case."""
    return fnmatchcase(name.casefold(), pattern.casefold().replace("[", "[[]").replace("?", "[?]"))


def _matching(holdings: Holdings, pattern: str) -> Iterator[Known]:
    pauses = 0
    found = 0
    for known in holdings.matching(pattern or "*"):
        pauses += known is None
        if pauses == _MOST_PAUSES or found == MOST_CONTENTS:
            return
        if known is not None:
            found += 1
            yield known


def _own(
    file: SharedFile,
    content: str,
    whole: bool,
    told: KnownBase | None,
    others: Sequence[str],
) -> ContentStatus:
    """One of our own; `others` are the native peers that have it too."""
    return ContentStatus(
        name=printable(file.path.name),
        id=content,
        chunks=told.chunks if told else (0,) * CHUNK_COUNT,
        peers=tuple(dict.fromkeys((*others, *(told.addresses if told else ())))),
        complete=whole or bool(content),
        shared=True,
        size=file.size,
        verified=bool(content),
    )


def _left_out(name: str, reason: str) -> ContentStatus:
    """Something in the share folder that is no file to offer."""
    return ContentStatus(
        name=printable(name),
        chunks=(0,) * CHUNK_COUNT,
        peers=(),
        complete=False,
        shared=False,
        not_offered=reason,
    )


def _status(known: Known, holdings: Holdings) -> ContentStatus:
    return ContentStatus(
        name=known.name,
        id=known.id,
        chunks=(known.complete,) * CHUNK_COUNT,
        peers=holdings.addresses(known.id),
        complete=known.complete > 0,
        shared=False,
        size=known.size,
        verified=True,
    )


def _told_too(content: ContentStatus, told: dict[str, KnownBase]) -> ContentStatus:
    """The same with what classic peers tell of it, which is taken from `told`."""
    names = {content.name, split_name(content.name)[0]}
    classic: Sequence[KnownBase] = [told.pop(name) for name in names if name in told]
    if not classic:
        return content
    others = (address for base in classic for address in base.addresses)
    return replace(
        content,
        peers=tuple(dict.fromkeys((*content.peers, *others))),
        complete=content.complete or any(all(base.chunks) for base in classic),
    )


def _classic(base: KnownBase) -> ContentStatus:
    return ContentStatus(
        name=base.name,
        chunks=base.chunks,
        peers=base.addresses,
        complete=all(base.chunks),
        shared=False,
    )
