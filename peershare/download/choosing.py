"""Choosing: which contents a person may mean by a name or an id.

A name decides nothing: everything that it fits is a candidate, however well it fits and whoever
offers it, natively or by the classic protocol, and the person picks where the bytes can differ
(hostile world, 18 and 27).  Not for: what is unfinished here (starting), nor for fetching.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

from peershare.content.chunks import CHUNK_COUNT
from peershare.content.manifest import ID_PREFIX, id_query
from peershare.content.names import display, split_name
from peershare.dictionary import ContentDictionary, Found
from peershare.errors import AmbiguousContentError, AmbiguousNameError
from peershare.holdings import Holdings, Known
from peershare.library.files import identity_of
from peershare.library.library import Library
from peershare.resolving import normal
from peershare.status import ContentChoice
from peershare.wire.catalogue import CatalogueEntry

# A native peer announces a file to classic peers before it has hashed it: so long its catalogue is
# waited for, which says what it is.
CATALOGUE_GRACE_SECONDS = 3.0
# Nobody chooses among more, or reads more addresses of one.
_MOST_CANDIDATES = 100
_MOST_ADDRESSES = 8
_NOBODY = Found(extension="", sources=((),) * CHUNK_COUNT)


@dataclass(frozen=True)
class Asked:
    """What a person asks for: a name, or the beginning of an id, as it was typed.

    `source`: only what this address has is meant; `classic`: only what has no id.
    """

    query: str
    source: str = ""
    classic: bool = False

    @property
    def digits(self) -> str | None:
        """`b3:` and the beginning of an id, where that is what was typed."""
        return id_query(self.query) if self.query.startswith(ID_PREFIX) else None


@dataclass(frozen=True)
class Candidate:
    """Something that may be meant; `bases` are the names that classic peers announce it under."""

    choice: ContentChoice
    bases: tuple[str, ...] = ()


class Chooser:
    """Asks the library, the holdings and the dictionary."""

    def __init__(
        self,
        library: Library,
        holdings: Holdings,
        clock: Callable[[], float],
        dictionary: ContentDictionary,
        is_native: Callable[[str], bool] = lambda address: False,
    ) -> None:
        """`clock` gives monotonic seconds; `is_native`: whether an address has native beacons."""
        self._library = library
        self._holdings = holdings
        self._clock = clock
        self._dictionary = dictionary
        self._is_native = is_native

    # -- what there is

    def candidates(self, asked: Asked) -> list[Candidate]:
        """Every content on the network that is fit to be meant, native ones first."""
        found = [] if asked.classic else self._native(asked)
        if asked.digits is None:
            found += self._classic(asked)
        return found[:_MOST_CANDIDATES]

    def _native(self, asked: Asked) -> list[Candidate]:
        found = []
        for known in self._holdings.lookup(asked.query):
            addresses = self._holdings.addresses(known.id)
            if not asked.source or asked.source in addresses:
                found.append(Candidate(self._offered(known, addresses)))
        return found

    def _classic(self, asked: Asked) -> list[Candidate]:
        now, skip = self._clock(), self.skipping(asked.source)
        found: Iterable[Found] = ()
        if asked.classic:  # who chooses the classic one by its very name means no other name
            with suppress(AmbiguousNameError):
                found = (self.find(asked.query, (), skip),)
        if not any(each.bases for each in found):
            found = self._dictionary.contents(asked.query, now, skip)
        return [_announced(each, asked.query) for each in found if each.addresses]

    def skipping(self, source: str = "", chunk_bytes: int | None = None) -> Skipping:
        """Which classic announcements do not count now; `source`: whose alone do."""
        return Skipping(self._holdings, self._is_native, self._clock(), source, chunk_bytes)

    def _offered(self, known: Known, addresses: tuple[str, ...]) -> ContentChoice:
        return ContentChoice(
            id=known.id,
            name=known.name,
            size=known.size,
            peers=known.peers,
            complete=known.complete,
            age_seconds=max(0.0, self._clock() - known.first_heard_at),
            addresses=addresses[:_MOST_ADDRESSES],
        )

    # -- what we have ourselves

    def own(self, name: str) -> ContentChoice | None:
        """The content of this name that we have ourselves."""
        return next(iter(self._ours(lambda entry: entry.name == name)), None)

    def own_of_id(self, digits: str) -> tuple[ContentChoice, ...]:
        """What we have ourselves with an id that begins so."""
        return self._ours(lambda entry: entry.id.startswith(digits))

    def _ours(self, fits: Callable[[CatalogueEntry], bool]) -> tuple[ContentChoice, ...]:
        found = {
            entry.id: ContentChoice(
                id=entry.id,
                name=entry.name,
                size=entry.size,
                peers=1,
                complete=int(entry.complete),
                age_seconds=0.0,
            )
            for entry in self._library.catalogue()
            if fits(entry) and self._is_here(entry)
        }
        return tuple(found.values())

    def _is_here(self, entry: CatalogueEntry) -> bool:
        """Whether what we tell of our own is still so: the last scan may be a while ago."""
        own = self._library.find_content(entry.id)
        return own is not None and own.identity in (None, identity_of(own.path))

    # -- for a download without an id

    def sources(
        self,
        name: str,
        *,
        chosen: bool,
        source: str = "",
        chunk_bytes: Callable[[], int | None] = lambda: None,
    ) -> ClassicSources:
        """Who gives it; `chosen`: it is not to become a native one any more.

        `chunk_bytes` is how long its chunks are, once that is known.
        """
        return ClassicSources(self, name, chosen=chosen, source=source, chunk_bytes=chunk_bytes)

    def find(self, name: str, bases: tuple[str, ...], skip: Skipping) -> Found:
        """Who has what of a classic content that was chosen, under these names if any.

        Without them, what is called just so goes before a longer name of that stem, which would be
        another file.  Raises `AmbiguousNameError`.
        """
        now, spelled = self._clock(), normal(name)
        found = self._dictionary.lookup(name, now, skip, bases)
        exact = tuple(b for b in found.bases if b in (spelled, split_name(spelled)[0]))
        if exact and exact != found.bases:
            found = self._dictionary.lookup(name, now, skip, exact)
        return found


class Skipping:
    """Which classic announcements do not count.

    What a native peer announces that offers the content itself is nothing of its own, whatever the
    name stands for; and what it has just announced may be such.  `until` is when one of those
    counts, if it is not offered by then.  With `chunk_bytes`, the length of the chunks of a classic
    download under way that nobody else gives, a file that can be the same by its size does count.
    """

    def __init__(
        self,
        holdings: Holdings,
        is_native: Callable[[str], bool],
        now: float,
        source: str,
        chunk_bytes: int | None,
    ) -> None:
        self._holdings = holdings
        self._is_native = is_native
        self._now = now
        self._source = source
        self._chunk_bytes = chunk_bytes
        self.until: float | None = None

    def __call__(self, address: str, base: str, since: float) -> bool:
        """Whether what this address announces under this base, since then, does not count."""
        if self._source and address != self._source:
            return True
        sizes = self._holdings.offers(address, base)
        if sizes:
            length = self._chunk_bytes
            return length is None or all(-(-size // CHUNK_COUNT) != length for size in sizes)
        due = since + CATALOGUE_GRACE_SECONDS
        if due <= self._now or not self._is_native(address):
            return False
        self.until = due if self.until is None else min(self.until, due)
        return True


class ClassicSources:
    """Who gives a download that has no id.

    Until a byte has arrived it is a name alone: where that may be several contents, or is offered
    natively, nobody gives it.  From then on it is what it began as.
    """

    def __init__(
        self,
        chooser: Chooser,
        name: str,
        *,
        chosen: bool,
        source: str,
        chunk_bytes: Callable[[], int | None],
    ) -> None:
        self._chooser = chooser
        self._chunk_bytes = chunk_bytes
        self._source = source
        self._bases: tuple[str, ...] = ()
        self._found = _NOBODY
        self.name = name
        self.decided = chosen
        self.until: float | None = None  # when somebody counts who does not yet

    def find(self) -> tuple[Found, str]:
        """Who has what of it now; a name that is ambiguous finds nobody, and the text says why."""
        skip = self._chooser.skipping(self._source)
        self._found, problem = _NOBODY, ""
        try:
            if self.decided:
                self._found = self._chooser.find(self.name, self._bases, skip)
            else:
                problem = self._find_undecided(skip)
        except AmbiguousNameError as ambiguous:
            problem = str(ambiguous)
        self.until = skip.until
        length = self._chunk_bytes() if self.decided else None
        if length is not None and not problem and not self._found.addresses:
            last = self._chooser.skipping(self._source, length)
            with suppress(AmbiguousNameError):
                self._found = self._chooser.find(self.name, self._bases, last)
        return self._found, problem

    def _find_undecided(self, skip: Skipping) -> str:
        candidates = self._chooser.candidates(Asked(self.name))
        if len(candidates) > 1:
            return several(self.name, [candidate.choice for candidate in candidates])
        if not candidates:
            self._chooser.find(self.name, (), skip)  # for `until`
        elif not candidates[0].choice.id:
            self._found = self._chooser.find(self.name, candidates[0].bases, skip)
        return ""

    def received(self) -> None:
        """A byte has arrived of what was found last."""
        if not self._bases and self._found.bases:
            self._bases = self._found.bases
        self.decided = True


def _announced(found: Found, query: str) -> Candidate:
    """What classic peers announce."""
    name = found.name
    if not name:
        extension = split_name(query)[1]
        name = max(found.bases, key=len)
        if extension and len(found.bases) == 1 and name == split_name(query)[0]:
            name += extension
    choice = ContentChoice(
        id="",
        name=name,
        size=None,
        peers=len(found.addresses),
        complete=len(set.intersection(*({s.address for s in each} for each in found.sources))),
        age_seconds=0.0,
        addresses=found.addresses[:_MOST_ADDRESSES],
    )
    return Candidate(choice, found.bases)


def several(query: str, choices: list[ContentChoice]) -> str:
    """The sentence that a query fits these."""
    shown = ", ".join(display(name) for name in dict.fromkeys(c.name for c in choices[:10]))
    return f"{display(query)} fits {len(choices)} different contents ({shown}): choose one"


def ambiguous(query: str, choices: list[ContentChoice]) -> AmbiguousContentError:
    """To raise where a query fits all of these."""
    return AmbiguousContentError(several(query, choices), tuple(choices))
