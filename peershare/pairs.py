"""The (chunk, address) pairs behind the content dictionary: bounded and expiring.  Pure.

Everything in it are hints from anyone, so everything has a cap (hostile world, 4): addresses,
names of an address, addresses of a chunk, pairs, and the memory of it all.  The worst case,
names made up to be expensive, is about 32 MiB (`MAX_COST_BYTES`); ten thousand ordinary pairs
take some 2 MiB.  Times are monotonic seconds, given to each call.  Not for: answering
questions about contents, that is `dictionary.ContentDictionary`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from msgspec import Struct

from peershare.content.chunks import CHUNK_COUNT
from peershare.content.names import ChunkName, chunk_name, folded

LIFETIME_SECONDS = 180.0  # three times the period of classic peers
MAX_ADDRESSES = 256
MAX_BASES_PER_ADDRESS = 1_000
MAX_ADDRESSES_PER_CHUNK = 32
MAX_PAIRS = 131_072  # 26,000 whole files
# Estimated memory of all pairs.  Ordinary names reach MAX_PAIRS first, invented ones this.
MAX_COST_BYTES = 32 * 1024 * 1024
_COST_OF_ENTRY_BYTES = 720  # measured where tables have just grown; names come on top
_COST_OF_PAIR_BYTES = 88


class Told(Struct, frozen=True):
    """What became of an announcement.

    `first_heard`: the address was not in the dictionary before; `changed`: some pair is new
    or spelled anew; `dropped`: how many names were over the limits.
    """

    first_heard: bool
    changed: bool
    dropped: int


class Pair:
    """One address has one chunk; `spelled` is "" where it is just `BASE_NUMBER`."""

    __slots__ = ("heard_at", "number", "order", "spelled")

    def __init__(self, number: int, spelled: str, heard_at: float, order: int) -> None:
        self.number = number
        self.spelled = spelled
        self.heard_at = heard_at
        self.order = order

    def lives(self, now: float) -> bool:
        """Whether it was told within the lifetime."""
        return now - self.heard_at < LIFETIME_SECONDS

    @property
    def cost(self) -> int:
        """Estimated bytes of memory."""
        return _COST_OF_PAIR_BYTES + (sys.getsizeof(self.spelled) if self.spelled else 0)


class Entry:
    """What one address has of one base."""

    __slots__ = ("base", "owner", "pairs")

    def __init__(self, base: str, owner: Owner) -> None:
        self.base = base
        self.owner = owner
        self.pairs: list[Pair] = []

    def pair(self, number: int) -> Pair | None:
        """The pair of this number as told, 0 to 5."""
        return next((pair for pair in self.pairs if pair.number == number), None)

    def chunks(self, now: float) -> dict[int, Pair]:
        """Its live pairs by chunk number 1 to 5; zero-based if this address told `_0`."""
        live = {pair.number: pair for pair in self.pairs if pair.lives(now)}
        shift = 1 if 0 in live else 0
        return {n + shift: live[n] for n in sorted(live) if 1 <= n + shift <= CHUNK_COUNT}

    def spelling(self, pair: Pair) -> str:
        """The chunk's name as this address told it."""
        return pair.spelled or chunk_name(self.base, pair.number)


class Owner:
    """One address."""

    __slots__ = ("address", "contacted", "cost", "entries", "heard_at")

    def __init__(self, address: str, now: float) -> None:
        self.address = address
        self.heard_at = now
        self.contacted = False
        self.cost = 0
        self.entries: dict[str, Entry] = {}


class PairStore:
    """Who told what, within the caps."""

    def __init__(self) -> None:
        self._owners: dict[str, Owner] = {}
        # base -> its entries, grouped by what every name that a query can mean has in common
        self._roots: dict[str, dict[str, list[Entry]]] = {}
        self._pairs = 0
        self._cost = 0
        self._order = 0
        self._version = 0
        self._oldest = float("inf")  # no pair was heard before this

    @property
    def version(self) -> int:
        """Grows whenever `as_json` would differ (for what ran out: at the next `expire`)."""
        return self._version

    def tell(self, address: str, names: Sequence[ChunkName], now: float) -> Told:
        """Note that an address told these names now.  Of two spellings the first one counts."""
        owner = self._owners.get(address)
        if owner is not None and now - owner.heard_at >= LIFETIME_SECONDS:
            self.forget(address)  # `expire` is late
            owner = None
        first_heard = owner is None
        if owner is None:
            owner = self._admit(address, now)
        owner.heard_at = now
        self._oldest = min(self._oldest, now)
        self._order += 1
        before, dropped = self._version, 0
        fresh: dict[tuple[str, int], ChunkName] = {}
        for name in names:
            fresh.setdefault((name.base, name.number), name)
        for name in fresh.values():
            dropped += not self._note(owner, name, now)
        return Told(first_heard, self._version != before, dropped)

    def expire(self, now: float) -> bool:
        """Forget what was last told 180 s ago; True if something went."""
        if now - self._oldest < LIFETIME_SECONDS:
            return False
        self._oldest = float("inf")
        gone = False
        for owner in tuple(self._owners.values()):
            for entry in tuple(owner.entries.values()):
                for pair in tuple(entry.pairs):
                    if pair.lives(now):
                        self._oldest = min(self._oldest, pair.heard_at)
                    else:
                        self._remove(entry, pair)
                        gone = True
            if not owner.entries and now - owner.heard_at >= LIFETIME_SECONDS:
                del self._owners[owner.address]
                gone = True
            self._oldest = min(self._oldest, owner.heard_at)
        return gone

    def forget(self, address: str) -> bool:
        """Drop an address and all it told; True if it was there."""
        owner = self._owners.pop(address, None)
        if owner is None:
            return False
        for entry in tuple(owner.entries.values()):
            for pair in tuple(entry.pairs):
                self._remove(entry, pair)
        return True

    def contacted(self, address: str) -> None:
        """Note that bytes were exchanged with this address: others are evicted before it."""
        owner = self._owners.get(address)
        if owner is not None:
            owner.contacted = True

    def knows(self, address: str) -> bool:
        """Whether this address has told anything lately."""
        return address in self._owners

    def each_base(self) -> Iterator[tuple[str, list[Entry]]]:
        """Every base with the entries of those who told it, expired ones included."""
        for group in self._roots.values():
            yield from group.items()

    def _admit(self, address: str, now: float) -> Owner:
        """Make room for a new address if need be: the longest silent stranger goes first."""
        if len(self._owners) >= MAX_ADDRESSES:
            victim = min(self._owners.values(), key=lambda o: (o.contacted, o.heard_at))
            self.forget(victim.address)
        owner = self._owners[address] = Owner(address, now)
        return owner

    def _note(self, owner: Owner, name: ChunkName, now: float) -> bool:
        """Note one name; False if it is over a limit."""
        spelled = name.spelled if name.spelled != chunk_name(name.base, name.number) else ""
        entry = owner.entries.get(name.base)
        pair = entry.pair(name.number) if entry else None
        order = self._order
        if entry is not None and pair is not None:
            if pair.lives(now):
                if pair.spelled == spelled:
                    pair.heard_at = now
                    return True
                order = pair.order
            self._remove(entry, pair)
        return self._add(owner, name.base, Pair(name.number, spelled, now, order))

    def _add(self, owner: Owner, base: str, pair: Pair) -> bool:
        entry = owner.entries.get(base)
        if entry is None and len(owner.entries) >= MAX_BASES_PER_ADDRESS:
            return False
        root = root_of(base)
        cost = pair.cost + (0 if entry else _entry_cost(base, root))
        if not self._room_at_chunk(owner, root, base, pair) or not self._room(owner, cost):
            return False
        if entry is None:
            entries = self._roots.setdefault(root, {}).setdefault(base, [])
            base = entries[0].base if entries else base  # one text, however many tell it
            entry = owner.entries[base] = Entry(base, owner)
            entries.append(entry)
        entry.pairs.append(pair)
        self._count(owner, 1, cost)
        return True

    def _room_at_chunk(self, owner: Owner, root: str, base: str, pair: Pair) -> bool:
        """Whether the chunk has room for one more address; a contacted one displaces another."""
        entries = self._roots.get(root, {}).get(base, ())
        holders = [(e, held) for e in entries if (held := e.pair(pair.number))]
        if len(holders) < MAX_ADDRESSES_PER_CHUNK:
            return True
        strangers = [item for item in holders if not item[0].owner.contacted]
        if not owner.contacted or not strangers:
            return False
        self._remove(*min(strangers, key=lambda item: item[1].heard_at))
        return True

    def _room(self, owner: Owner, cost: int) -> bool:
        """Make room in all: the address that takes most goes, if it takes more than this one."""
        while self._pairs >= MAX_PAIRS or self._cost + cost > MAX_COST_BYTES:
            larger = [
                other
                for other in self._owners.values()
                if other.cost > owner.cost and other.contacted <= owner.contacted
            ]
            if not larger:
                return False
            self.forget(min(larger, key=lambda other: (other.contacted, -other.cost)).address)
        return True

    def _remove(self, entry: Entry, pair: Pair) -> None:
        entry.pairs.remove(pair)
        cost = pair.cost
        if not entry.pairs:
            root = root_of(entry.base)
            cost += _entry_cost(entry.base, root)
            del entry.owner.entries[entry.base]
            group = self._roots[root]
            group[entry.base].remove(entry)
            if not group[entry.base]:
                del group[entry.base]
            if not group:
                del self._roots[root]
        self._count(entry.owner, -1, -cost)

    def _count(self, owner: Owner, pairs: int, cost: int) -> None:
        self._pairs += pairs
        self._cost += cost
        owner.cost += cost
        self._version += 1


def root_of(name: str) -> str:
    """What a name has in common with every other that the same query can mean."""
    return folded(name).partition(".")[0]


def _entry_cost(base: str, root: str) -> int:
    return _COST_OF_ENTRY_BYTES + sys.getsizeof(base) + sys.getsizeof(root)
