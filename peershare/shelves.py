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

# Anybody can tell any number of contents of one name, or that begin alike: those that were known
# first are looked at.
MAX_LOOKED_AT = 1_000
# As many tables for ids, and for names.
_TABLES = 64
_PREFIX_DIGITS = 8
# Measured; the name comes on top.
_COST_OF_ITEM_BYTES = 500


class Item(Struct, gc=False, eq=False):
    """One id under one name, as some catalogues tell it.

    Its holders are the catalogue `slot`, or, where there are several, the bits of `mask`.
    """

    id: bytes
    name: bytes
    size: int
    complete: bool
    since: float
    slot: int
    mask: int = 0

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


_Key = tuple[bytes, bytes, int, bool]


class Shelves:
    """All items.  Where several are in one place they are in order of arrival."""

    def __init__(self) -> None:
        # by the first 32 bits of the id, and by the hash of the stem without regard to case
        self._ids: list[dict[int, Item | dict[_Key, Item]]] = [{} for _ in range(_TABLES)]
        self._names: list[dict[int, Item | dict[Item, None]]] = [{} for _ in range(_TABLES)]
        self.cost = 0

    def hold(self, entry: CatalogueEntry, slot: int, now: float) -> tuple[Item, bool]:
        """The item of an entry, held by that catalogue from now on; whether it was not before."""
        content, name = bytes.fromhex(entry.id[len(ID_PREFIX) :]), entry.name.encode("utf-8")
        key = (content, name, entry.size, entry.complete)
        prefix = int.from_bytes(content[: _PREFIX_DIGITS // 2], "big")
        table = self._ids[prefix % _TABLES]
        place = table.get(prefix)
        found = place.get(key) if isinstance(place, dict) else place
        if found is not None and _key(found) == key:
            return found, self._add_holder(found, slot)
        item = Item(content, name, entry.size, entry.complete, now, slot)
        if place is None:
            table[prefix] = item
        elif isinstance(place, dict):
            place[key] = item
        else:
            table[prefix] = {_key(place): place, key: item}
        self._add_name(item)
        self.cost += item.cost
        return item, True

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

    def _remove(self, item: Item) -> None:
        prefix = int.from_bytes(item.id[: _PREFIX_DIGITS // 2], "big")
        table = self._ids[prefix % _TABLES]
        place = table[prefix]
        if isinstance(place, dict):
            del place[_key(item)]
        if not isinstance(place, dict) or not place:
            del table[prefix]
        self._remove_name(item)
        self.cost -= item.cost

    def _add_name(self, item: Item) -> None:
        number = hash(_root(item.text))
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
                found += islice(place, MAX_LOOKED_AT)
            elif place is not None:
                found.append(place)
        return found

    def beginning(self, prefix: str) -> Iterator[Item]:
        """What has an id that begins so: 8 to 64 lower hex digits."""
        number = int(prefix[:_PREFIX_DIGITS], 16)
        place = self._ids[number % _TABLES].get(number)
        if place is None:
            return
        items = islice(place.values(), MAX_LOOKED_AT) if isinstance(place, dict) else (place,)
        for item in items:
            if item.id.hex().startswith(prefix):
                yield item

    def variants(self, content: bytes) -> list[Item]:
        """Every item of this id."""
        return list(self.beginning(content.hex()))


def _key(item: Item) -> _Key:
    return item.id, item.name, item.size, item.complete


def _root(name: str) -> str:
    """What a name has in common with every query that means it."""
    return split_name(folded(name))[0]
