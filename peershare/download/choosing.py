"""Choosing: which content a person means by a name or an id.

What native peers told is asked, and, where nobody tells it, what we have ourselves: who has a file
and asks for its name means another one.  A name that fits several contents is told as several,
never guessed (hostile world, 18).  Not for: names that only classic peers tell.
"""

from __future__ import annotations

from collections.abc import Callable

from peershare.content.manifest import ID_PREFIX, id_query
from peershare.content.names import display
from peershare.errors import AmbiguousContentError, UnknownContentError
from peershare.holdings import Holdings, Known
from peershare.library.files import identity_of
from peershare.library.library import Library
from peershare.status import ContentChoice
from peershare.wire.catalogue import CatalogueEntry


class Chooser:
    """Asks the library and the holdings."""

    def __init__(self, library: Library, holdings: Holdings, clock: Callable[[], float]) -> None:
        """`clock` gives monotonic seconds."""
        self._library = library
        self._holdings = holdings
        self._clock = clock

    def choose(self, query: str) -> ContentChoice | None:
        """The one content that is meant; None if no native peer tells anything that fits.

        Raises `AmbiguousContentError` with all that fit, `UnknownContentError` for an id that
        neither they nor we know.
        """
        fit = tuple(map(self._told, self._holdings.lookup(query)))
        if not fit and query.startswith(ID_PREFIX):
            fit = self._ours(lambda entry: entry.id.startswith(id_query(query) or query))
        if len(fit) > 1:
            raise AmbiguousContentError(
                f"{display(query)} fits {len(fit)} different contents: name one by its id", fit
            )
        if not fit and query.startswith(ID_PREFIX):
            raise UnknownContentError(f"nobody has told a content with the id {display(query)} yet")
        return fit[0] if fit else None

    def own(self, name: str) -> ContentChoice | None:
        """The content of this name that we have ourselves."""
        fit = self._ours(lambda entry: entry.name == name)
        return fit[0] if fit else None

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

    def told(self, query: str) -> ContentChoice | None:
        """The one content of this name that native peers tell, if it is but one."""
        known = self._holdings.lookup(query)
        return self._told(known[0]) if len(known) == 1 else None

    def _is_here(self, entry: CatalogueEntry) -> bool:
        """Whether what we tell of our own is still so: the last scan may be a while ago."""
        own = self._library.find_content(entry.id)
        return own is not None and own.identity in (None, identity_of(own.path))

    def _told(self, known: Known) -> ContentChoice:
        return ContentChoice(
            id=known.id,
            name=known.name,
            size=known.size,
            peers=known.peers,
            complete=known.complete,
            age_seconds=max(0.0, self._clock() - known.first_heard_at),
        )
