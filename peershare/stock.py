"""Stock: the catalogues of our neighbours, and the peers that have them.  Pure.

Catalogues are kept once however many peers have them, contents once however many catalogues name
them (`shelves`).  What can take long, as a catalogue has up to 100,000 entries, is an iterator of
short steps; only one of them may be under way at a time.  Not for: questions about contents
(`holdings`), nor for fetching catalogues.  Times are monotonic seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from peershare.errors import LocalError
from peershare.shelves import Item, Shelves
from peershare.wire.beacon import Endpoint
from peershare.wire.catalogue import EMPTY_DIGEST, CatalogueEntry, CatalogueReader

# Estimated memory of everything; a million contents, all different, take two thirds of it.
MAX_COST_BYTES = 800 * 1024 * 1024
# Entries between two steps: some milliseconds.
STEP_ENTRIES = 250
_COST_OF_ENTRY_BYTES = 8
_EMPTY_SLOT = 0


class FullError(LocalError):
    """There is no room for a catalogue, and nothing less useful that could make room."""


class Catalogue:
    """`slot` is its bit in the masks of its items; `peers` are those that have it."""

    __slots__ = ("canonical", "digest", "items", "peers", "slot")

    def __init__(self, digest: str, slot: int) -> None:
        self.digest = digest
        self.slot = slot
        self.canonical = True
        self.items: tuple[Item, ...] = ()
        self.peers: dict[Endpoint, None] = {}


class Stock:
    """See the module.  `version` grows with every change that a question could show."""

    def __init__(
        self, is_contacted: Callable[[Endpoint], bool], max_cost: int = MAX_COST_BYTES
    ) -> None:
        """`is_contacted`: whether we ever exchanged bytes with a peer; others go first."""
        self._is_contacted = is_contacted
        self._max_cost = max_cost
        self._shelves = Shelves()
        self._entries = 0
        self._slots: list[Catalogue | None] = []
        self._free: list[int] = []
        self._catalogues: dict[str, Catalogue] = {EMPTY_DIGEST: self._shelve(EMPTY_DIGEST)}
        self._of_peer: dict[Endpoint, Catalogue] = {}
        self._idle: deque[Catalogue] = deque()
        # how many peers -> the slots of the catalogues that so many peers have, as bits; all slots
        self._counts: dict[int, int] = {}
        self._live = 0
        self.version = 0

    @property
    def cost(self) -> int:
        """Estimated bytes of memory."""
        return self._shelves.cost + self._entries * _COST_OF_ENTRY_BYTES

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
        return (item.entry for item in self._catalogues[digest].items)

    def learning(self, reader: CatalogueReader, now: float) -> Iterator[None]:
        """Take in a catalogue, step by step; `attach` then says who has it, before the next sweep.

        Raises what the reader raises, and `FullError`; then nothing is taken in.
        """
        catalogue = self._shelve(reader.digest)
        items: list[Item] = []
        alike: dict[int, int] = {}
        try:
            for number, entry in enumerate(reader, 1):
                if entry is not None:
                    item, fresh = self._shelves.hold(entry, catalogue.slot, now, alike)
                    if fresh:
                        items.append(item)
                        self._entries += 1
                if number % STEP_ENTRIES == 0:
                    yield from self._make_room(len(items))
                    yield
            yield from self._make_room(len(items))
        finally:
            catalogue.items = tuple(items)
            self._idle.append(catalogue)
        catalogue.canonical = reader.canonical
        self._catalogues.setdefault(catalogue.digest, catalogue)

    def attach(self, peer: Endpoint, digest: str) -> bool:
        """This peer has this catalogue now, and no other; False if we have not got that."""
        catalogue = self._catalogues.get(digest)
        if catalogue is None:
            return False
        if self._of_peer.get(peer) is not catalogue:
            self.detach(peer)
            self._of_peer[peer] = catalogue
            self._count(catalogue, len(catalogue.peers) + 1)
            catalogue.peers[peer] = None
        return True

    def detach(self, peer: Endpoint) -> None:
        """This peer has nothing, as far as we know."""
        catalogue = self._of_peer.pop(peer, None)
        if catalogue is not None:
            self._count(catalogue, len(catalogue.peers) - 1)
            del catalogue.peers[peer]
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
        for number, item in enumerate(catalogue.items, 1):
            self._shelves.release(item, slot)
            self._entries -= 1
            if number % STEP_ENTRIES == 0:
                yield
        self._slots[slot] = None
        self._free.append(slot)

    def _make_room(self, size: int) -> Iterator[None]:
        """Forget others, if need be, for a catalogue of so many entries.  Raises `FullError`."""
        while self.cost > self._max_cost:
            if not self._idle:
                self._give_up(size)
            yield from self._sweep(self._idle.popleft())

    def _give_up(self, size: int) -> None:
        """The largest catalogue, if larger, of those that only strangers have."""
        larger = [
            catalogue
            for catalogue in self._catalogues.values()
            if len(catalogue.items) > size and not any(map(self._is_contacted, catalogue.peers))
        ]
        if not larger:
            raise FullError("there is no memory left for one more catalogue")
        for peer in tuple(max(larger, key=lambda c: len(c.items)).peers):
            self.detach(peer)

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
