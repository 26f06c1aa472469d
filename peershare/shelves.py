"""Shelves: the contents that catalogues name, found by id and by name.  Pure.

The memory behind `holdings`.  Nothing in here is seen by Python's garbage collector, whose look
at a million objects would stall the node, and no table grows so large that its growth would.
Not for: who holds what.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice

from msgspec import Struct

from peershare.content.manifest import ID_PREFIX
from peershare.content.names import folded, split_name
from peershare.wire.catalogue import CatalogueEntry

# Anybody can tell any number of contents of one name, and any ids.  So a catalogue has so many of
# one name found by it (the others by id), and of all that those known first are looked at.
MAX_OF_ONE_NAME = 1_000
MAX_NAMED_ALIKE = 20_000
MAX_BEGINNING_ALIKE = 200_000
# As many tables for ids, and for names.
_TABLES = 64
_PREFIX_DIGITS = 8
# Measured; the name comes on top.
_COST_OF_ITEM_BYTES = 500


class Item(Struct, gc=False, eq=False):
    """One id under one name, as some catalogues tell it.

    Its holders are the catalogue `slot`, or, where there are several, the bits of `mask`; `named`
    is whether it is found by its name.
    """

    id: bytes
    name: bytes
    size: int
    complete: bool
    since: float
    slot: int
    mask: int = 0
    named: bool = False

    @property
    def holders(self) -> int:
        """The catalogues that hold it: a bit for each slot."""
        return self.mask or 1 << self.slot

    @property
    def cost(self) -> int:
        """Estimated bytes of memory, but for the mask."""
        return _COST_OF_ITEM_BYTES + len(self.name)

    @property
    def text(self) -> str:
        """Its name."""
        return self.name.decode("utf-8")

    @property
    def entry(self) -> CatalogueEntry:
        """As it was told."""
        return CatalogueEntry(self.text, self.size, ID_PREFIX + self.id.hex(), self.complete)


# All items of one id, by what else they tell; and what has the first 32 bits of its id in common.
_Variants = dict[bytes, Item]
_Alike = dict[bytes, Item | _Variants]


class Shelves:
    """All items.  Where several are in one place they are in order of arrival."""

    def __init__(self) -> None:
        # by the first 32 bits of the id, and by the hash of the stem without regard to case
        self._ids: list[dict[int, Item | _Alike]] = [{} for _ in range(_TABLES)]
        self._names: list[dict[int, Item | dict[Item, None]]] = [{} for _ in range(_TABLES)]
        self.cost = 0
        self.contents = 0  # ids

    def hold(
        self, entry: CatalogueEntry, slot: int, now: float, alike: dict[int, int]
    ) -> tuple[Item, bool]:
        """The item of an entry, held by that catalogue from now on; whether it was not before.

        `alike` is a dictionary of the catalogue's own, in which its names are counted.
        """
        content, name = bytes.fromhex(entry.id[len(ID_PREFIX) :]), entry.name.encode("utf-8")
        item = Item(content, name, entry.size, entry.complete, now, slot)
        found = self._add(item)
        if found is item:
            self.cost += item.cost
            fresh = True
        else:
            fresh = self._add_holder(found, slot)
        if not found.named:
            self._add_name(found, alike)
        return found, fresh

    def _add(self, item: Item) -> Item:
        """Put it in its place; if its like is there already, that."""
        prefix = _prefix(item.id)
        table = self._ids[prefix % _TABLES]
        place = table.get(prefix)
        if place is None:
            self.contents += 1
            table[prefix] = item
            return item
        if not isinstance(place, dict):
            if _same(place, item):
                return place
            place = table[prefix] = {place.id: place}
        inner = place.get(item.id)
        if inner is None:
            self.contents += 1
            place[item.id] = item
            return item
        if not isinstance(inner, dict):
            if _same(inner, item):
                return inner
            inner = place[item.id] = {_key(inner): inner}
        return inner.setdefault(_key(item), item)

    def _add_holder(self, item: Item, slot: int) -> bool:
        if item.holders >> slot & 1:
            return False
        if item.mask:
            self.cost -= sys.getsizeof(item.mask)
        item.mask = item.holders | 1 << slot
        self.cost += sys.getsizeof(item.mask)
        return True

    def release(self, item: Item, slot: int) -> None:
        """The catalogue holds it no more; whom nobody holds is forgotten."""
        if not item.mask:
            self._remove(item)
            return
        self.cost -= sys.getsizeof(item.mask)
        item.mask ^= 1 << slot
        if item.mask & item.mask - 1:
            self.cost += sys.getsizeof(item.mask)
        else:
            item.slot, item.mask = item.mask.bit_length() - 1, 0

    def compacting(self) -> Iterator[None]:
        """Give back, table by table, what tables that were larger once still take."""
        for number in range(_TABLES):
            self._ids[number] = dict(self._ids[number])
            self._names[number] = dict(self._names[number])
            yield

    def _remove(self, item: Item) -> None:
        prefix = _prefix(item.id)
        table = self._ids[prefix % _TABLES]
        place = table[prefix]
        inner = place[item.id] if isinstance(place, dict) else None
        if isinstance(inner, dict):
            del inner[_key(item)]
        if not isinstance(inner, dict) or not inner:
            self.contents -= 1
        if isinstance(place, dict) and (not isinstance(inner, dict) or not inner):
            del place[item.id]
        if not isinstance(place, dict) or not place:
            del table[prefix]
        if item.named:
            self._remove_name(item)
        self.cost -= item.cost

    def _add_name(self, item: Item, alike: dict[int, int]) -> None:
        """Have it found by its name, unless its catalogue has too many of that."""
        number = hash(_root(item.text))
        count = alike[number] = alike.get(number, 0) + 1
        if count > MAX_OF_ONE_NAME:
            return
        item.named = True
        table = self._names[number % _TABLES]
        place = table.get(number)
        if place is None:
            table[number] = item
        elif isinstance(place, dict):
            place[item] = None
        else:
            table[number] = {place: None, item: None}

    def _remove_name(self, item: Item) -> None:
        number = hash(_root(item.text))
        table = self._names[number % _TABLES]
        place = table[number]
        if isinstance(place, dict):
            del place[item]
        if not isinstance(place, dict) or not place:
            del table[number]

    def named(self, query: str) -> list[Item]:
        """What may fit this name, or this stem, without regard to case."""
        found: list[Item] = []
        for root in dict.fromkeys((_root(query), folded(query))):
            number = hash(root)
            place = self._names[number % _TABLES].get(number)
            if isinstance(place, dict):
                found += islice(place, MAX_NAMED_ALIKE)
            elif place is not None:
                found.append(place)
        return found

    def beginning(self, prefix: str) -> Iterator[Item]:
        """What has an id that begins so: 8 to 64 lower hex digits."""
        number = int(prefix[:_PREFIX_DIGITS], 16)
        place = self._ids[number % _TABLES].get(number)
        contents = islice(place, MAX_BEGINNING_ALIKE) if isinstance(place, dict) else ()
        for content in (place.id,) if isinstance(place, Item) else contents:
            if content.hex().startswith(prefix):
                yield from self.variants(content)

    def is_only(self, item: Item) -> bool:
        """Whether it is the only one of its id, as most are."""
        prefix = _prefix(item.id)
        return self._ids[prefix % _TABLES].get(prefix) is item

    def variants(self, content: bytes) -> list[Item]:
        """Every item of this id."""
        prefix = _prefix(content)
        place = self._ids[prefix % _TABLES].get(prefix)
        inner = place.get(content) if isinstance(place, dict) else place
        if isinstance(inner, dict):
            return list(inner.values())
        return [inner] if inner is not None and inner.id == content else []


def _prefix(content: bytes) -> int:
    return int.from_bytes(content[: _PREFIX_DIGITS // 2], "big")


def _same(one: Item, other: Item) -> bool:
    return one.id == other.id and _key(one) == _key(other)


def _key(item: Item) -> bytes:
    return b"%d %d " % (item.complete, item.size) + item.name


def _root(name: str) -> str:
    """What a name has in common with every query that means it."""
    return split_name(folded(name))[0]
