"""What guests can fetch: every whole file of ours, and every verified download under way.

A file is named by its content id, which names its bytes; one that has no id (it is still to be
hashed, or no peer can be told its name) by a digest of what it is known by.  A request is looked
up in here and never becomes a path.  Not for: sending.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from blake3 import blake3

from peershare.content.blocks import block_size
from peershare.content.manifest import ID_PREFIX, is_content_id
from peershare.guest.naming import shown_name
from peershare.library.entries import ContentHandle, SharedFile
from peershare.library.library import Library

# The list is made anew at most so often, however fast it is asked for.
FRESH_SECONDS = 1.0
# As many files as are listed, so that no library is so large that making the list holds up others;
# who has a link to another file gets that one, too.
MOST_LISTED = 10_000
_PLAIN_KEY_BYTES = 16


@dataclass(frozen=True)
class Offer:
    """One line of the list; `key` and `name` are what its link is made of.

    `content` is its id, "" for a file that has none; `file` is set for such a one alone.
    """

    key: str
    name: str
    size: int
    content: str = ""
    complete: bool = True
    file: SharedFile | None = None

    @property
    def etag(self) -> str:
        """A strong entity tag: other bytes have another one."""
        return f'"{self.key}"'


class Offers:
    """The list, made from the library when it is asked for and has changed."""

    def __init__(self, library: Library, clock: Callable[[], float]) -> None:
        """`clock` gives monotonic seconds."""
        self._library = library
        self._clock = clock
        self._made_at = float("-inf")
        self._sorted: tuple[Offer, ...] = ()
        self._folded: tuple[str, ...] = ()
        self._found: dict[tuple[str, str], Offer] = {}
        self._stale = True
        library.on_change(self._changed)

    def all(self) -> tuple[Offer, ...]:
        """The offers by name, `MOST_LISTED` at most."""
        self._refresh()
        return self._sorted

    def matching(self, text: str) -> tuple[Offer, ...]:
        """Those of them that have this in their name, whatever the case."""
        wanted, offers = text.casefold(), self.all()
        found = zip(offers, self._folded, strict=True)
        return tuple(offer for offer, name in found if wanted in name)

    def find(self, key: str, name: str) -> Offer | None:
        """The offer that a link names, listed or not; None if there is none."""
        self._refresh()
        offer = self._found.get((key, name))
        if offer is not None or not is_content_id(ID_PREFIX + key):
            return offer
        handle = self._library.find_content(ID_PREFIX + key)
        if handle is None or shown_name(handle.name) != name:
            return None
        return Offer(key, name, handle.manifest.size, handle.id, handle.held is None)

    def held_bytes(self, offer: Offer) -> int:
        """How much of it is here."""
        handle = None if offer.complete else self._library.find_content(offer.content)
        if handle is None or handle.held is None:
            return offer.size
        return min(offer.size, len(handle.held) * block_size(offer.size))

    def handle(self, offer: Offer) -> ContentHandle | None:
        """Where its bytes are now, as far as it has an id; None if they are nowhere."""
        return self._library.find_content(offer.content)

    def _changed(self) -> None:
        self._stale = True

    def _refresh(self) -> None:
        now = self._clock()
        if not self._stale or now - self._made_at < FRESH_SECONDS:
            return
        self._stale, self._made_at = False, now
        found: dict[tuple[str, str], Offer] = {}
        for entry in islice(self._library.catalogue(), MOST_LISTED):
            key = entry.id.removeprefix(ID_PREFIX)
            offer = Offer(key, shown_name(entry.name), entry.size, entry.id, entry.complete)
            known = found.get((key, offer.name))
            if known is None or not known.complete:
                found[key, offer.name] = offer
        for file in islice(self._library.files(), MOST_LISTED):
            if len(found) < MOST_LISTED and not self._library.content_id(file):
                key, name = _key_of(file), shown_name(file.name)
                found[key, name] = Offer(key, name, file.size, file=file)
        listed = sorted((o.name.casefold(), o.key, o) for o in found.values())
        self._found = found
        self._sorted = tuple(offer for _, _, offer in listed)
        self._folded = tuple(folded for folded, _, _ in listed)


def _key_of(file: SharedFile) -> str:
    """What names a file that has no id: its place, and what it is known by."""
    known = f"{file.key}\0{file.identity}".encode("utf-8", "surrogateescape")
    return blake3(known).hexdigest(length=_PLAIN_KEY_BYTES)
