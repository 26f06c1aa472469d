"""The list of contents: what is on the network and what we have, by name.

A page asks for it in windows, and again whenever the node says that it changed: it is made anew
only where something that it shows has changed, and what native peers tell only where they tell
something else.  It is made in slices, between which the reactor goes on turning.  Where there is
more than is listed, each address has an equal part of the list, and how much there is in all is
counted.  One row is one content: what a native peer announces to classic ones adds nothing to its
catalogue, and what others announce by the classic protocol may be other bytes.
Not for: finding the one content that somebody means (`download.choosing`).
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from typing import Any, Generic, TypeVar

from msgspec.structs import replace
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from peershare.content.chunks import CHUNK_COUNT
from peershare.content.names import folded
from peershare.dictionary import KnownBase
from peershare.holdings import Holdings, Known
from peershare.library.entries import SharedFile
from peershare.overview import printable
from peershare.resolving import fitting
from peershare.status import ContentStatus, Listing
from peershare.timers import Alarm
from peershare.wiring import Parts

# Of what native peers tell, and as many names of classic ones.
MOST_CONTENTS = 10_000
# Of those that have a content so many are named.
MOST_PEERS = 64
# Each a pattern that somebody asks with again: the page's own, and what is typed there.
MAX_LISTS = 4
# So many own files, or names of classic peers, in a step.
_STEP_NAMES = 100
# So long the processor works on lists in one turn of the reactor.
SLICE_SECONDS = 0.015
# So long names of native peers are looked for; what was not looked at counts as not listed.
LONGEST_SEARCH_SECONDS = 2.0
# A list that took long is good enough for as many times that, up to a second.
_LONG_SECONDS, _TIMES_GOOD, _LONGEST_GOOD_SECONDS = 0.02, 10.0, 1.0

_Contents = tuple[ContentStatus, ...]
T = TypeVar("T")


class ContentsList:
    """Every content on the network, and every file of our own."""

    def __init__(
        self, parts: Parts, reactor: Any, cpu: Callable[[], float] = time.thread_time
    ) -> None:
        """`cpu` gives the seconds that the processor has spent on us."""
        self._parts = parts
        self._reactor = reactor
        self._cpu = cpu
        self._lists = _Kept[Listing]()
        self._natives = _Kept[tuple[_Contents, int]]()
        self._last: dict[str, tuple[Listing, float]] = {}  # by pattern, and until when it is good
        self._waiting: dict[str, list[Deferred[Listing]]] = {}
        self._work: deque[_Making] = deque()
        self._alarm = Alarm(reactor)
        self._own_changes = 0
        parts.library.on_change(self._own_changed)

    def get(self, pattern: str = "") -> Deferred[Listing]:
        """Those whose names fit the pattern, by name.

        What native peers told has an id; names that only classic peers tell have none.  At most
        `MOST_CONTENTS` of either are listed, an equal part of each address.  What ran out may be
        listed for a few seconds more.
        """
        found = self._lists.get(self._made_of(), pattern) or self._recent(pattern)
        if found is not None:
            return succeed(found)
        waiting: Deferred[Listing] = Deferred()
        if pattern not in self._waiting:
            self._waiting[pattern] = []
            self._work.append(_Making(pattern, self._made_of(), self._making(pattern)))
            if self._alarm.due is None:
                self._alarm.set(0, self._turn)
        self._waiting[pattern].append(waiting)
        return waiting

    def stop(self) -> None:
        """Make no more lists."""
        self._alarm.clear()
        self._work.clear()
        self._waiting.clear()

    def _own_changed(self) -> None:
        self._own_changes += 1

    def _made_of(self) -> tuple[object, ...]:
        """What a list shows, as of now."""
        parts = self._parts
        own = (self._own_changes, parts.library.not_offered_version)
        natives, wanted = parts.neighbourhood.holdings.version, parts.downloader.under_way()
        return (*own, parts.dictionary.version, natives, wanted)

    def _recent(self, pattern: str) -> Listing | None:
        found, good_until = self._last.get(pattern, (None, 0.0))
        return found if self._reactor.seconds() < good_until else None

    # -- making one, in turns

    def _turn(self) -> None:
        """Work on the list that was asked for first."""
        making = self._work[0]
        began = self._cpu()
        spent = 0.0
        done: Listing | Failure | None = None
        while done is None and spent < SLICE_SECONDS:
            done = making.step()
            spent = self._cpu() - began
        making.cost += spent
        if done is not None:
            self._work.popleft()
            self._finish(making, done)
        if self._work:
            self._alarm.set(0, self._turn)

    def _finish(self, making: _Making, done: Listing | Failure) -> None:
        waiting = self._waiting.pop(making.pattern)
        if isinstance(done, Listing):
            self._lists.put(making.made_of, making.pattern, done)
            self._last.pop(making.pattern, None)
            if making.cost > _LONG_SECONDS:
                good = min(making.cost * _TIMES_GOOD, _LONGEST_GOOD_SECONDS)
                self._last[making.pattern] = done, self._reactor.seconds() + good
                if len(self._last) > MAX_LISTS:
                    del self._last[next(iter(self._last))]
        for each in waiting:
            each.callback(done)

    def _making(self, pattern: str) -> Generator[None, None, Listing]:
        """Our own, the native ones that are not, and what is left of what classic peers tell."""
        now, wanted = self._reactor.seconds(), self._parts.downloader.under_way()
        fits = fitting(pattern or "*")
        merged: list[ContentStatus] = []
        used: set[str] = set()  # names of classic peers that are files which came from there
        ours = yield from self._add_own(merged, used, fits, now)
        natives, total = yield from self._native(pattern)
        total += len(merged)
        for number, content in enumerate(natives):
            if (content.id, folded(content.name)) in ours:
                total -= 1
            else:
                merged.append(content)
            if number % _STEP_NAMES == 0:
                yield
        total += yield from self._add_classic(merged, used, fits, now)
        if not pattern:
            total += self._parts.neighbourhood.holdings.left_out
        marked = (
            replace(content, downloading=True) if {content.id, content.name} & wanted else content
            for content in merged
        )
        found = tuple(sorted(marked, key=lambda content: content.name.casefold()))
        return Listing(found, max(total, len(found)), len(found))

    def _add_own(
        self,
        merged: list[ContentStatus],
        used: set[str],
        fits: Callable[[str], bool],
        now: float,
    ) -> Generator[None, None, set[tuple[str, str]]]:
        """Our own; their ids, and their names without regard to case."""
        library, holdings = self._parts.library, self._parts.neighbourhood.holdings
        ours: set[tuple[str, str]] = set()
        not_offered = dict(library.not_offered())
        for number, file in enumerate(library.files()):
            if number % _STEP_NAMES == 0:
                yield
            reason = not_offered.pop(file.key, "")
            names = library.chunk_names(file)
            came = self._parts.downloader.is_classic_file(file.path)
            stem = names[0].rpartition("_")[0] if names and came else ""
            used.add(stem)
            if not fits(folded(printable(file.path.name))):
                continue
            base = self._base(stem, now) if stem else None
            content_id = library.content_id(file)
            others = holdings.addresses(content_id) if content_id else ()
            own = _own(file, content_id, bool(names), base, others)
            own = replace(own, verified=own.verified and not came)
            if reason or file.problem:
                own = replace(own, not_offered=reason, not_announced=file.problem)
            ours.add((own.id, folded(own.name)))
            merged.append(own)
        left_out = itertools.starmap(_left_out, not_offered.items())
        merged += [content for content in left_out if fits(folded(content.name))]
        return ours

    def _native(self, pattern: str) -> Generator[None, None, tuple[_Contents, int]]:
        """What native peers tell, and how much there is of it."""
        holdings = self._parts.neighbourhood.holdings
        made_of = (holdings.version,)
        kept = self._natives.get(made_of, pattern)
        if kept is not None:
            return kept
        found: list[ContentStatus] = []
        for known in holdings.matching(pattern or "*"):
            if known is not None:
                found.append(_status(known, holdings))
                if len(found) == MOST_CONTENTS:
                    break
            yield
            if self._work[0].cost > LONGEST_SEARCH_SECONDS:
                break  # whoever has few has been looked at whole
        total = len(found)
        cut = self._work[0].cost > LONGEST_SEARCH_SECONDS
        if total == MOST_CONTENTS and pattern.strip("*") and not cut:
            total = max(total, (yield from holdings.counting(pattern)))
        elif total == MOST_CONTENTS or cut:
            total = max(total, holdings.content_count)
        self._natives.put(made_of, pattern, (tuple(found), total))
        return tuple(found), total

    def _base(self, name: str, now: float) -> KnownBase | None:
        """Who announces this name, and has no catalogue that says what it has."""
        without = self._parts.neighbourhood.holdings.has_catalogue
        return self._parts.dictionary.base(name, now, without)

    def _add_classic(
        self,
        merged: list[ContentStatus],
        used: set[str],
        fits: Callable[[str], bool],
        now: float,
    ) -> Generator[None, None, int]:
        """What classic peers tell and is not `used`; how much there is of it."""
        total = shown = 0
        for number, name in enumerate(self._parts.dictionary.names_in_turn()):
            if number % _STEP_NAMES == 0:
                yield
            if name in used or not fits(folded(name)):
                continue
            base = self._base(name, now)
            total += base is not None
            if base is not None and shown < MOST_CONTENTS:
                shown += 1
                merged.append(_classic(base))
        return total


class _Making:
    """A list that is being made: `made_of` what was there at its beginning."""

    def __init__(
        self, pattern: str, made_of: tuple[object, ...], work: Generator[None, None, Listing]
    ) -> None:
        self.pattern = pattern
        self.made_of = made_of
        self.cost = 0.0  # seconds of the processor
        self._work = work

    def step(self) -> Listing | Failure | None:
        """One step; the list, or what is wrong, if that was the last one."""
        try:
            next(self._work)
        except StopIteration as over:
            done: Listing = over.value
            return done
        except Exception:
            return Failure()
        return None


class _Kept(Generic[T]):
    """Lists by pattern, as long as what they were made of is as it was."""

    def __init__(self) -> None:
        self._made_of: tuple[object, ...] = ()
        self._lists: dict[str, T] = {}

    def get(self, made_of: tuple[object, ...], pattern: str) -> T | None:
        """What is kept for a pattern, if it is still true."""
        if made_of != self._made_of:
            self._made_of = made_of
            self._lists.clear()
        found = self._lists.pop(pattern, None)
        if found is not None:
            self._lists[pattern] = found  # the one that was asked for last goes last
        return found

    def put(self, made_of: tuple[object, ...], pattern: str, contents: T) -> None:
        """Keep this, unless something else is true by now, and of many patterns the last ones."""
        if made_of == self._made_of:
            self._lists[pattern] = contents
        if len(self._lists) > MAX_LISTS:
            del self._lists[next(iter(self._lists))]


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
        peers=tuple(dict.fromkeys((*others, *(told.addresses if told else ()))))[:MOST_PEERS],
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
        peers=holdings.addresses(known.id)[:MOST_PEERS],
        complete=known.complete > 0,
        shared=False,
        size=known.size,
    )


def _classic(base: KnownBase) -> ContentStatus:
    return ContentStatus(
        name=base.name,
        chunks=base.chunks,
        peers=base.addresses[:MOST_PEERS],
        complete=all(base.chunks),
        shared=False,
    )
