"""The (chunk, address) pairs behind the content dictionary: bounded and expiring.  Pure.

Everything in it are hints from anyone, so everything has a cap (hostile world, 4): addresses,
names of an address, addresses of a chunk, pairs, and the memory of it all.  The worst case,
names made up to be expensive, is about 32 MiB (`MAX_COST_BYTES`); ten thousand ordinary pairs
take some 2 MiB.  What a name, or a question, costs does not grow with how many names there are:
each address has an index of its own of what its names can be asked for as.  Times are monotonic
seconds, given to each call.  Not for: answering questions about contents, that is
`dictionary.ContentDictionary`.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice

from msgspec import Struct

from peershare.content.chunks import CHUNK_COUNT
from peershare.content.names import ChunkName, chunk_name, folded, split_name

LIFETIME_SECONDS = 180.0  # three times the period of classic peers
MAX_ADDRESSES = 256
MAX_BASES_PER_ADDRESS = 1_000
MAX_ADDRESSES_PER_CHUNK = 32
MAX_PAIRS = 131_072  # 26,000 whole files
# Estimated memory of all pairs.  Ordinary names reach MAX_PAIRS first, invented ones this.
MAX_COST_BYTES = 32 * 1024 * 1024
MAX_CANDIDATES = 400  # names that are looked at for one question, an equal part of each address
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


class Base:
    """One name that is told: what each address has of it, and how many have chunk 0 to 5."""

    __slots__ = ("counts", "entries", "keys", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.keys = keys_of(name)
        self.entries: list[Entry] = []
        self.counts = bytearray(CHUNK_COUNT + 1)


class Entry:
    """What one address has of one base; `since` is when it announced it first."""

    __slots__ = ("of", "owner", "pairs", "since")

    def __init__(self, of: Base, owner: Owner, since: float) -> None:
        self.of = of
        self.owner = owner
        self.since = since
        self.pairs: list[Pair] = []

    @property
    def base(self) -> str:
        """The name."""
        return self.of.name

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

    __slots__ = ("address", "contacted", "cost", "entries", "heard_at", "named", "oldest", "pairs")

    def __init__(self, address: str, now: float) -> None:
        self.address = address
        self.heard_at = now
        self.contacted = False
        self.cost = 0
        self.pairs = 0
        self.oldest = now  # no pair of it was heard before this
        self.entries: dict[str, Entry] = {}
        self.named: dict[str, Entry | list[Entry]] = {}  # by `keys_of`

    def find(self, key: str) -> Sequence[Entry]:
        """Its names that can be asked for as this key."""
        found = self.named.get(key, ())
        return (found,) if isinstance(found, Entry) else found


class PairStore:
    """Who told what, within the caps."""

    def __init__(self, max_cost: int | None = None) -> None:
        """`max_cost`: estimated bytes of memory; None: `MAX_COST_BYTES`."""
        self._max_cost = MAX_COST_BYTES if max_cost is None else max_cost
        self._owners: dict[str, Owner] = {}
        self._bases: dict[str, Base] = {}
        self._pairs = 0
        self._cost = 0
        self._order = 0
        self._version = 0
        self._oldest = float("inf")  # no pair was heard before this
        self._full = False  # for the address that tells something just now

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
        owner.oldest = min(owner.oldest, now)
        self._oldest = min(self._oldest, now)
        self._order += 1
        self._full = False
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
            if now - owner.oldest >= LIFETIME_SECONDS:
                gone = self._expire(owner, now) or gone
            if not owner.entries and now - owner.heard_at >= LIFETIME_SECONDS:
                del self._owners[owner.address]
                gone = True
            else:
                self._oldest = min(self._oldest, owner.oldest)
        return gone

    def _expire(self, owner: Owner, now: float) -> bool:
        owner.oldest = owner.heard_at
        gone = False
        for entry in tuple(owner.entries.values()):
            for pair in tuple(entry.pairs):
                if pair.lives(now):
                    owner.oldest = min(owner.oldest, pair.heard_at)
                else:
                    self._remove(entry, pair)
                    gone = True
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

    @property
    def base_count(self) -> int:
        """How many names are told."""
        return len(self._bases)

    def each_base(self) -> Iterator[tuple[str, list[Entry]]]:
        """Every base with the entries of those who told it, expired ones included.

        What changes meanwhile may be there or not.
        """
        for name in tuple(self._bases):
            base = self._bases.get(name)
            if base is not None:
                yield name, base.entries

    def names_in_turn(self) -> Iterator[str]:
        """Every name once, one of each address in turn; what changes meanwhile may be missing."""
        seen: set[str] = set()
        turns = deque(iter(tuple(owner.entries)) for owner in self._owners.values())
        while turns:
            names = turns.popleft()
            name = next((name for name in names if name not in seen), None)
            if name is not None:
                seen.add(name)
                turns.append(names)
                yield name

    def candidates(self, query: str) -> list[Entry]:
        """What a query may mean, its own spelling first; entries may have no live chunk.

        Of very many it is an equal part of each address.
        """
        stem = split_name(query)[0]
        found: dict[Entry, None] = {}
        for name in (query, stem):
            base = self._bases.get(name)
            found.update(dict.fromkeys(base.entries if base else ()))
        keys = dict.fromkeys((folded(query), folded(stem)))
        named = [more for o in self._owners.values() for k in keys if (more := o.find(k))]
        share = max(1, MAX_CANDIDATES // max(1, len(named)))
        for entries in named:
            found.update(dict.fromkeys(islice(entries, share)))
        return list(found)

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
        if entry is None or pair is None:
            return self._add(owner, name.base, Pair(name.number, spelled, now, self._order))
        if not pair.lives(now):
            pair.order = self._order
            self._version += 1
        if pair.spelled != spelled:
            before = pair.cost
            pair.spelled = spelled
            self._count(owner, 0, pair.cost - before)
        pair.heard_at = now
        return True

    def _add(self, owner: Owner, name: str, pair: Pair) -> bool:
        entry = owner.entries.get(name)
        if entry is None and len(owner.entries) >= MAX_BASES_PER_ADDRESS:
            return False
        base = self._bases.get(name) or Base(name)
        cost = pair.cost + (0 if entry else _entry_cost(base))
        if not self._room_at_chunk(owner, base, pair) or not self._room(owner, cost):
            return False
        if entry is None:
            # it may be gone since: room was made
            base = self._bases.setdefault(name, base)
            entry = owner.entries[base.name] = Entry(base, owner, pair.heard_at)
            base.entries.append(entry)
            _index(owner, entry)
        entry.pairs.append(pair)
        entry.of.counts[pair.number] += 1
        self._count(owner, 1, cost)
        return True

    def _room_at_chunk(self, owner: Owner, base: Base, pair: Pair) -> bool:
        """Whether the chunk has room for one more address; a contacted one displaces another."""
        if base.counts[pair.number] < MAX_ADDRESSES_PER_CHUNK:
            return True
        if not owner.contacted:
            return False
        strangers = [
            (entry, held)
            for entry in base.entries
            if not entry.owner.contacted and (held := entry.pair(pair.number))
        ]
        if not strangers:
            return False
        self._remove(*min(strangers, key=lambda item: item[1].heard_at))
        return True

    def _room(self, owner: Owner, cost: int) -> bool:
        """Make room in all: the address that takes most goes, if it takes more than this one."""
        while self._pairs >= MAX_PAIRS or self._cost + cost > self._max_cost:
            larger = (
                []
                if self._full
                else [
                    other
                    for other in self._owners.values()
                    if other.cost > owner.cost and other.contacted <= owner.contacted
                ]
            )
            if not larger:
                self._full = True  # this address gets no more: do not look around for every name
                return False
            self.forget(min(larger, key=lambda other: (other.contacted, -other.cost)).address)
        return True

    def _remove(self, entry: Entry, pair: Pair) -> None:
        entry.pairs.remove(pair)
        base = entry.of
        base.counts[pair.number] -= 1
        cost = pair.cost
        if not entry.pairs:
            cost += _entry_cost(base)
            del entry.owner.entries[base.name]
            _unindex(entry.owner, entry)
            base.entries.remove(entry)
            if not base.entries:
                del self._bases[base.name]
        self._count(entry.owner, -1, -cost)

    def _count(self, owner: Owner, pairs: int, cost: int) -> None:
        self._pairs += pairs
        owner.pairs += pairs
        self._cost += cost
        owner.cost += cost
        self._version += 1


def keys_of(name: str) -> tuple[str, ...]:
    """What a query can have in common with a name that it means: the whole of it, and its stem."""
    stem, extension = split_name(name)
    return (folded(name), folded(stem)) if extension else (folded(name),)


def _index(owner: Owner, entry: Entry) -> None:
    for key in entry.of.keys:
        found = owner.named.get(key)
        if found is None:
            owner.named[key] = entry
        elif isinstance(found, Entry):
            owner.named[key] = [found, entry]
        else:
            found.append(entry)


def _unindex(owner: Owner, entry: Entry) -> None:
    for key in entry.of.keys:
        found = owner.named[key]
        if isinstance(found, Entry) or len(found) == 1:
            del owner.named[key]
        else:
            found.remove(entry)


def _entry_cost(base: Base) -> int:
    return _COST_OF_ENTRY_BYTES + sys.getsizeof(base.name) + sum(map(sys.getsizeof, base.keys))
