"""Stock: the catalogues of our neighbours, and the peers that have them.  Pure.

Catalogues are kept once however many peers have them, contents once however many catalogues name
them (`shelves`).  What can take long, as a catalogue has up to 100,000 entries, is an iterator of
short steps; only one of them may be under way at a time.

Memory is shared equally among addresses: where it is full, the catalogue of whoever has most of it
loses its last entries, and one that has most itself is kept in part.  How much of a catalogue is
not kept is known.  Not for: questions about contents (`holdings`), nor for fetching catalogues.
Times are monotonic seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator

from peershare.shelves import Item, Shelves
from peershare.wire.beacon import Endpoint
from peershare.wire.catalogue import EMPTY_DIGEST, CatalogueEntry, CatalogueReader

# Estimated memory of everything, as `--directory-memory` sets it for catalogues by default.
MAX_COST_BYTES = 96 * 1024 * 1024
# Entries between two steps: some milliseconds.
STEP_ENTRIES = 250
_COST_OF_ENTRY_BYTES = 8
_EMPTY_SLOT = 0
# With so much forgotten, what the tables of the rest waste is worth a look.
_COMPACT_BYTES = 8 * 1024 * 1024


class Catalogue:
    """`slot` is its bit in the masks of its items; `peers` are those that have it.

    `cost` are the estimated bytes of its items, as if no other catalogue had them, too; `left_out`
    counts its entries that are not kept.
    """

    __slots__ = ("canonical", "cost", "digest", "items", "left_out", "peers", "slot")

    def __init__(self, digest: str, slot: int) -> None:
        self.digest = digest
        self.slot = slot
        self.canonical = True
        self.items: list[Item] = []
        self.cost = 0
        self.left_out = 0
        self.peers: dict[Endpoint, None] = {}


class Stock:
    """See the module.  `version` grows with every change that a question could show."""

    def __init__(
        self, is_contacted: Callable[[Endpoint], bool], max_cost: int = MAX_COST_BYTES
    ) -> None:
        """`is_contacted`: whether we ever exchanged bytes with a peer.

        Of two that take as much of the `max_cost` bytes, the other one loses.
        """
        self._is_contacted = is_contacted
        self._max_cost = max_cost
        self._shelves = Shelves()
        self._entries = 0
        self._slots: list[Catalogue | None] = []
        self._free: list[int] = []
        self._catalogues: dict[str, Catalogue] = {EMPTY_DIGEST: self._shelve(EMPTY_DIGEST)}
        self._of_peer: dict[Endpoint, Catalogue] = {}
        self._at: dict[str, dict[Endpoint, None]] = {}  # the same peers by address
        self._idle: deque[Catalogue] = deque()
        # how many peers -> the slots of the catalogues that so many peers have, as bits; all slots
        self._counts: dict[int, int] = {}
        self._live = 0
        self._forgotten = 0  # bytes, since the tables were compacted
        self.version = 0
        self.given_back = 0  # grows whenever much memory has become free

    @property
    def cost(self) -> int:
        """Estimated bytes of memory."""
        return self._shelves.cost + self._entries * _COST_OF_ENTRY_BYTES

    @property
    def left_out(self) -> int:
        """How many entries of catalogues that peers have now are not kept."""
        return sum(held.left_out for held in set(self._of_peer.values()))

    @property
    def idle(self) -> bool:
        """Whether there is something to sweep."""
        return bool(self._idle)

    def base_of(self, peer: Endpoint) -> str:
        """The digest of the catalogue this peer is held to have; "" if no difference from it helps.

        That is so where we keep not all of it.
        """
        catalogue = self._of_peer.get(peer)
        return catalogue.digest if catalogue and catalogue.canonical else ""

    def entries(self, digest: str) -> Iterator[CatalogueEntry]:
        """What a catalogue that we have consists of, in canonical order.  Raises KeyError."""
        return (item.entry for item in tuple(self._catalogues[digest].items))

    def learning(self, reader: CatalogueReader, now: float) -> Iterator[None]:
        """Take in a catalogue, step by step; `attach` then says who has it, before the next sweep.

        Raises what the reader raises; then nothing is taken in.
        """
        catalogue = self._shelve(reader.digest)
        alike: dict[int, int] = {}
        full = False
        try:
            for number, entry in enumerate(reader, 1):
                if entry is not None:
                    if full:
                        catalogue.left_out += 1
                    else:
                        self._hold(catalogue, entry, now, alike)
                if number % STEP_ENTRIES == 0:
                    full = full or not (yield from self._make_room(catalogue))
                    yield
            yield from self._make_room(catalogue)
        finally:
            self._idle.append(catalogue)
        catalogue.canonical = reader.canonical and not catalogue.left_out
        self._catalogues.setdefault(catalogue.digest, catalogue)

    def _hold(
        self, catalogue: Catalogue, entry: CatalogueEntry, now: float, alike: dict[int, int]
    ) -> None:
        item, fresh = self._shelves.hold(entry, catalogue.slot, now, alike)
        if fresh:
            catalogue.items.append(item)
            catalogue.cost += item.cost
            self._entries += 1

    def attach(self, peer: Endpoint, digest: str) -> bool:
        """This peer has this catalogue now, and no other; False if we have not got that."""
        catalogue = self._catalogues.get(digest)
        if catalogue is None:
            return False
        if self._of_peer.get(peer) is not catalogue:
            self.detach(peer)
            self._of_peer[peer] = catalogue
            self._at.setdefault(peer.address, {})[peer] = None
            self._count(catalogue, len(catalogue.peers) + 1)
            catalogue.peers[peer] = None
        return True

    def detach(self, peer: Endpoint) -> None:
        """This peer has nothing, as far as we know."""
        catalogue = self._of_peer.pop(peer, None)
        if catalogue is not None:
            self._count(catalogue, len(catalogue.peers) - 1)
            del catalogue.peers[peer]
            del self._at[peer.address][peer]
            if not self._at[peer.address]:
                del self._at[peer.address]
            if not catalogue.peers:
                self._idle.append(catalogue)

    def sweeping(self) -> Iterator[None]:
        """Forget, step by step, the catalogues that nobody has any more."""
        while self._idle:
            yield from self._sweep(self._idle.popleft())

    def _shelve(self, digest: str) -> Catalogue:
        """A new catalogue in a free slot; nobody sees it yet."""
        slot = self._free.pop() if self._free else len(self._slots)
        if slot == len(self._slots):
            self._slots.append(None)
        catalogue = self._slots[slot] = Catalogue(digest, slot)
        return catalogue

    def _sweep(self, catalogue: Catalogue) -> Iterator[None]:
        slot = catalogue.slot
        if catalogue.peers or slot == _EMPTY_SLOT or self._slots[slot] is not catalogue:
            return
        if self._catalogues.get(catalogue.digest) is catalogue:
            del self._catalogues[catalogue.digest]
        yield from self._trimming(catalogue, 0)
        self._slots[slot] = None
        self._free.append(slot)
        if self._forgotten >= _COMPACT_BYTES:
            self._forgotten = 0
            yield from self._shelves.compacting()
            self.given_back += 1

    def _trimming(self, catalogue: Catalogue, kept: int) -> Iterator[None]:
        """Forget its last entries, but for so many."""
        items = catalogue.items
        while len(items) > kept:
            for _ in range(min(STEP_ENTRIES, len(items) - kept)):
                item = items.pop()
                catalogue.cost -= item.cost
                self._forgotten += item.cost
                self._shelves.release(item, catalogue.slot)
                self._entries -= 1
            yield

    def _make_room(self, catalogue: Catalogue) -> Generator[None, None, bool]:
        """Forget of others, if need be, for this one; False (as a result) if it has most itself."""
        while self.cost > self._max_cost:
            if self._idle:
                yield from self._sweep(self._idle.popleft())
                continue
            burden, largest = self._heaviest() if self._of_peer else (0, catalogue)
            if burden <= catalogue.cost:
                return False
            size = len(largest.items)
            largest.left_out += min(STEP_ENTRIES, size)
            largest.canonical = False
            yield from self._trimming(largest, max(0, size - STEP_ENTRIES))
            self.version += 1
        return True

    def _heaviest(self) -> tuple[int, Catalogue]:
        """How much the address takes that takes most, and its largest catalogue."""
        shares = {held: self._share(held) for held in set(self._of_peer.values())}
        burdens: dict[str, int] = {}
        for peer, held in self._of_peer.items():
            burdens[peer.address] = burdens.get(peer.address, 0) + shares[held]
        address = max(
            self._of_peer, key=lambda p: (burdens[p.address], not self._is_contacted(p))
        ).address
        own = [held for peer, held in self._of_peer.items() if peer.address == address]
        return burdens[address], max(own, key=shares.__getitem__)

    def _share(self, catalogue: Catalogue) -> int:
        """Its bytes, parted among the addresses that have it."""
        return catalogue.cost // max(1, len({peer.address for peer in catalogue.peers}))

    def _count(self, catalogue: Catalogue, peers: int) -> None:
        """So many peers have it now."""
        bit, before = 1 << catalogue.slot, len(catalogue.peers)
        if before:
            self._counts[before] ^= bit
            if not self._counts[before]:
                del self._counts[before]
        if peers:
            self._counts[peers] = self._counts.get(peers, 0) | bit
        self._live = self._live | bit if peers else self._live & ~bit
        self.version += 1
