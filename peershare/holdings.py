"""Holdings: who holds what, by the catalogues of our neighbours.  Pure.

The catalogues themselves are `stock.Stock`; here are the questions that are asked of them.  Not
for: believing them.  An id is a fact once bytes hash to it; who holds it and what it is called are
hints.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import chain

from msgspec import Struct

from peershare.content.manifest import ID_PREFIX, id_query, is_content_id
from peershare.content.names import folded, split_name
from peershare.resolving import fitting, names_it, normal
from peershare.shelves import Item
from peershare.stock import MAX_COST_BYTES, STEP_ENTRIES, Catalogue, Stock
from peershare.wire.beacon import Endpoint

__all__ = ["MAX_COST_BYTES", "STEP_ENTRIES", "Holder", "Holdings", "Known"]

# Nobody reads more answers to one question.
MAX_ANSWERS = 100
# So many entries of an address are looked at in its turn.
_WALK_ENTRIES = 100
# So many different sets of holders are remembered; most contents are held by one of a few.
_MAX_CROWDS = 1_000


class Known(Struct, frozen=True, gc=False):
    """A content that somebody holds.

    `name` is the one that was asked for, else the one that most peers tell, `names` are all (100
    at most); `size` is what most peers tell.  Of `peers` that hold it, `complete` hold all of it.
    """

    id: str
    name: str
    size: int
    peers: int
    complete: int
    first_heard_at: float
    names: tuple[str, ...]


class Holder(Struct, frozen=True, gc=False):
    """A peer that holds a content, all of it or (not `complete`) a part; `size` as it says."""

    endpoint: Endpoint
    complete: bool
    size: int


class Holdings(Stock):
    """See the module."""

    def __init__(
        self, is_contacted: Callable[[Endpoint], bool], max_cost: int = MAX_COST_BYTES
    ) -> None:
        """As `Stock`."""
        super().__init__(is_contacted, max_cost)
        self._addresses: dict[int, tuple[str, ...]] = {}  # of the holders of many contents
        self._addresses_at = self.version

    def lookup(self, query: str) -> tuple[Known, ...]:
        """What a person may mean by this, the one that most peers hold first; at most 100.

        However it fits: what has this name, whatever the case; for a query without an extension
        what has this stem (`forest` of `forest.png`); and an id that begins so (8 or more hex
        digits; with `b3:` before them nothing else).  A name fits better than another in nothing
        but what a content is called that has both.  Of very many contents of one name those known
        first are looked at.
        """
        prefix = id_query(query)
        beginning: list[Item] = []
        if prefix is not None:
            digits = prefix.removeprefix(ID_PREFIX)
            beginning = self._living(self._shelves.beginning(digits))
            if query.startswith(ID_PREFIX):
                return self._answers(beginning, named=False)
        wanted = normal(query)
        items = self._living(self._shelves.named(wanted))
        named = [item for item in items if names_it(wanted, item.text)]
        encoded, caseless = wanted.encode("utf-8", "replace"), folded(wanted)
        named.sort(key=lambda item: (item.name != encoded, folded(item.text) != caseless))
        found = self._answers(named, named=True)
        ids = {known.id for known in found}
        others = self._answers(beginning, named=False)
        return (*found, *(known for known in others if known.id not in ids))[:MAX_ANSWERS]

    def offers(self, address: str, name: str) -> tuple[int, ...]:
        """What a peer there holds that classic peers are told of under this name: its sizes."""
        slots = 0
        for peer in self._at.get(address, ()):
            slots |= 1 << self._of_peer[peer].slot
        if not slots:
            return ()
        caseless = folded(name)
        return tuple(
            item.size
            for item in self._shelves.named(name)
            if item.holders & slots
            and caseless in (folded(item.text), folded(split_name(item.text)[0]))
        )

    def has_catalogue(self, address: str) -> bool:
        """Whether the catalogue of a peer there is known."""
        return address in self._at

    def holders(self, content_id: str) -> tuple[Holder, ...]:
        """Who holds this content, each peer once, always in the same order."""
        if not is_content_id(content_id):
            return ()
        found: dict[Endpoint, Holder] = {}
        for item in self._shelves.variants(bytes.fromhex(content_id.removeprefix(ID_PREFIX))):
            for catalogue in self._catalogues_in(item.holders & self._live):
                for peer in catalogue.peers:
                    if item.complete or peer not in found:
                        found[peer] = Holder(peer, item.complete, item.size)
        return tuple(found.values())

    def addresses(self, content_id: str) -> tuple[str, ...]:
        """Where those are who hold this content, each once."""
        holders = 0
        for item in self._shelves.variants(bytes.fromhex(content_id.removeprefix(ID_PREFIX))):
            holders |= item.holders
        holders &= self._live
        if self._addresses_at != self.version:
            self._addresses_at = self.version
            self._addresses.clear()
        found = self._addresses.get(holders)
        if found is None:
            catalogues = self._catalogues_in(holders)
            peers = chain.from_iterable(c.peers for c in catalogues)
            found = tuple(dict.fromkeys(peer.address for peer in peers))
            if len(self._addresses) < _MAX_CROWDS:
                self._addresses[holders] = found
        return found

    def contents(self) -> Iterator[Known]:
        """Everything that somebody holds; it may change meanwhile, then some may be missing."""
        return (known for known in self.matching("*") if known is not None)

    def matching(self, pattern: str) -> Iterator[Known | None]:
        """The contents with a name that fits, `*` being any text, without regard to case.

        They come from each address in turn, each content once.  None comes now and then, after so
        many that were looked at that a pause may be due.
        """
        fits = fitting(pattern)
        seen: set[bytes] = set()
        turns = deque(self._walk(held, fits) for held in self._by_address())
        while turns:
            walk = turns.popleft()
            for item in walk:
                if item is None or item.id in seen:
                    yield None
                    break
                variants = self._living(self._shelves.variants(item.id))
                if variants:
                    seen.add(item.id)
                    yield self._known(item.id, item.text, variants)
                    break
            else:
                continue
            turns.append(walk)

    @property
    def content_count(self) -> int:
        """How many contents there are; those that are about to be forgotten count, too."""
        return self._shelves.contents

    def counting(self, pattern: str) -> Generator[None, None, int]:
        """How many contents have a name that fits, counted step by step."""
        fits = fitting(pattern)
        count = looked_at = 0
        for catalogues in self._by_address():
            for catalogue in catalogues:
                for item in tuple(catalogue.items):
                    looked_at += 1
                    if looked_at % STEP_ENTRIES == 0:
                        yield
                    holders = item.holders & self._live
                    # each content once: where it is first
                    if holders & -holders == 1 << catalogue.slot and fits(folded(item.text)):
                        count += self._shelves.is_only(item) or self._is_first(item, fits)
        return count

    def _is_first(self, item: Item, fits: Callable[[str], bool]) -> bool:
        """Whether no other item of its id fits and comes before it."""
        variants = self._living(self._shelves.variants(item.id))
        return next((v for v in variants if fits(folded(v.text))), None) is item

    def _by_address(self) -> list[list[Catalogue]]:
        """The catalogues that somebody has, each once, by the first address that has it."""
        found: dict[str, dict[Catalogue, None]] = {}
        taken: set[Catalogue] = set()
        for peer, catalogue in self._of_peer.items():
            if catalogue not in taken:
                taken.add(catalogue)
                found.setdefault(peer.address, {})[catalogue] = None
        return [list(catalogues) for catalogues in found.values()]

    def _walk(
        self, catalogues: list[Catalogue], fits: Callable[[str], bool]
    ) -> Iterator[Item | None]:
        """The items of an address that fit; None after some that did not."""
        looked_at = 0
        for catalogue in catalogues:
            for item in tuple(catalogue.items):
                looked_at += 1
                if item.holders & self._live and fits(folded(item.text)):
                    yield item
                elif looked_at % _WALK_ENTRIES == 0:
                    yield None

    def names_of(self, peer: Endpoint, most: int) -> tuple[str, ...]:
        """What a peer holds, by name: so many of them at most."""
        catalogue = self._of_peer.get(peer)
        return tuple(item.text for item in catalogue.items[:most]) if catalogue else ()

    def _catalogues_in(self, mask: int) -> Iterator[Catalogue]:
        """Those whose bits are set, by slot."""
        bits = f"{mask:b}"[::-1]
        slot = bits.find("1")
        while slot >= 0:
            catalogue = self._slots[slot]
            if catalogue is not None:
                yield catalogue
            slot = bits.find("1", slot + 1)

    def _living(self, items: Iterable[Item]) -> list[Item]:
        """Those that somebody holds: the others are about to be swept."""
        return [item for item in items if item.holders & self._live]

    def _peers(self, holders: int) -> int:
        """How many peers have one of these catalogues."""
        return sum(n * (holders & mask).bit_count() for n, mask in self._counts.items())

    def _answers(self, items: list[Item], *, named: bool) -> tuple[Known, ...]:
        names = {item.id: item.text if named else "" for item in reversed(items)}
        if len(items) > MAX_ANSWERS:
            items = self._most_useful(items)
        contents = dict.fromkeys(item.id for item in items)
        known = [
            self._known(content, names[content], self._living(self._shelves.variants(content)))
            for content in list(contents)[:MAX_ANSWERS]
        ]
        return tuple(sorted(known, key=lambda k: (-k.peers, k.first_heard_at, k.id)))

    def _most_useful(self, items: list[Item]) -> list[Item]:
        """Sort those to the front that most peers have, among equals the first ones of each."""
        counts: dict[int, int] = {}
        ranks = []
        for item in items:
            count = counts[item.holders] = counts.get(item.holders, 0) + 1
            ranks.append((-self._peers(item.holders), count))
        order = sorted(range(len(items)), key=ranks.__getitem__)
        return [items[number] for number in order]

    def _known(self, content: bytes, name: str, items: list[Item]) -> Known:
        """A content that somebody holds as these, under this name or the most usual one."""
        if len(items) == 1:
            return self._known_as(items[0])
        # among names that as many tell, the one of a peer that has fewer for it
        told = Counter(item.holders for item in items)
        items.sort(key=lambda item: (-self._peers(item.holders), told[item.holders]))
        holders = complete = 0
        for item in items:
            holders |= item.holders
            complete |= item.holders if item.complete else 0
        return Known(
            id=ID_PREFIX + content.hex(),
            name=name or items[0].text,
            size=items[0].size,
            peers=self._peers(holders),
            complete=self._peers(complete),
            first_heard_at=min(item.since for item in items),
            names=tuple(dict.fromkeys(item.text for item in items[:MAX_ANSWERS])),
        )

    def _known_as(self, item: Item) -> Known:
        """A content that everybody tells alike, as most are."""
        peers, name = self._peers(item.holders), item.text
        return Known(
            id=ID_PREFIX + item.id.hex(),
            name=name,
            size=item.size,
            peers=peers,
            complete=peers if item.complete else 0,
            first_heard_at=item.since,
            names=(name,),
        )
