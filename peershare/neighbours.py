"""Neighbours: the native peers that are heard, and which of them have proven that they hear us.

A beacon can come from anybody in anybody's name.  What one tells of an address holds only once our
nonce came back from there (`proven`): nobody else is dialled.  Pure: times are monotonic seconds,
given to each call.  Not for: sending anything.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from msgspec import Struct

from peershare.wire.beacon import BEACON_BYTES, FRAME_BYTES, Beacon, Nonces

MAX_NEIGHBOURS = 2_048
SHORTEST_INTERVAL_SECONDS = 30
# All beacons of a whole network, as a goal; with jitter and changes it stays below 10,000.
_NETWORK_BYTES_PER_SECOND = 8_000
# A peer is forgotten after so many of its own intervals, taken as no shorter and no longer than.
_INTERVALS = 3
_INTERVAL_BOUNDS = (5, 600)
# After a goodbye; whoever is there after all has the time to say so.
_LEAVING_SECONDS = 3.0
# When a stranger is asked again, counted from when it was last heard.
_RETRY_SECONDS = (0.5, 1.5, 4.5)


class Neighbour(Struct, frozen=True, gc=False):
    """A native peer; `port` is where it takes sessions, 0 if nowhere.

    `digest` names its catalogue of `count` entries; `peer` is who it says it is, `instance` its
    run.  Only if it is `proven` any of it may be acted upon.
    """

    address: str
    port: int
    peer: str
    instance: str
    digest: str
    count: int
    heard_at: float
    proven: bool


class Heard(Struct, frozen=True):
    """What became of a beacon.

    `neighbour` is what we now hold of that address, None if nothing; `doubtful`: what the beacon
    tells is not proven, and its sender should be asked; `changed`: what is proven is not what it
    was.
    """

    neighbour: Neighbour | None
    doubtful: bool
    changed: bool


class _Record:
    """What is kept of an address; `udp_port` is where its beacons come from."""

    __slots__ = ("contacted", "expires_at", "neighbour", "retries", "udp_port")

    def __init__(self) -> None:
        self.contacted = False
        self.neighbour: Neighbour
        self.expires_at: float
        self.udp_port: int
        self.retries: list[float] = []  # when it is to be asked again, the last one first


def beacon_interval(neighbours: int) -> int:
    """How many seconds to leave between two beacons with so many neighbours."""
    size = (neighbours + 1) * (BEACON_BYTES + FRAME_BYTES)
    return max(SHORTEST_INTERVAL_SECONDS, math.ceil(size / _NETWORK_BYTES_PER_SECOND))


class Neighbours:
    """See the module.  At most 2,048: strangers go before those who have proven something."""

    def __init__(self, nonces: Nonces) -> None:
        self.nonces = nonces
        self._proven: dict[str, _Record] = {}
        self._strangers: dict[str, _Record] = {}  # the one that was silent longest comes first
        self._evicted: list[str] = []

    def heard(self, beacon: Beacon, address: str, udp_port: int, now: float) -> Heard:
        """Take in a beacon that came from this address and UDP port."""
        known = self._proven.get(address)
        proof = self.nonces.proves(beacon, address)
        if beacon.bye:
            return self._bye(beacon, address, now)
        if known is not None and not proof:
            if not _agree(beacon, known.neighbour) or not known.neighbour.proven:
                return Heard(known.neighbour, doubtful=True, changed=False)
            return self._keep(known, beacon, address, udp_port, now, proven=True)
        if not proof:
            record = self._strangers.pop(address, None) or self._admit()
            if record is None:
                return Heard(None, doubtful=False, changed=False)
            self._strangers[address] = record
            return self._keep(record, beacon, address, udp_port, now, proven=False)
        if known is None:
            known = self._strangers.pop(address, None) or self._admit() or self._evict()
            self._proven[address] = known
        return self._keep(known, beacon, address, udp_port, now, proven=True)

    def _keep(
        self,
        record: _Record,
        beacon: Beacon,
        address: str,
        udp_port: int,
        now: float,
        *,
        proven: bool,
    ) -> Heard:
        before = getattr(record, "neighbour", None)
        record.neighbour = Neighbour(
            address=address,
            port=beacon.port,
            peer=beacon.peer,
            instance=beacon.instance,
            digest=beacon.catalogue,
            count=beacon.count,
            heard_at=now,
            proven=proven,
        )
        low, high = _INTERVAL_BOUNDS
        record.expires_at = now + _INTERVALS * min(max(beacon.interval, low), high)
        record.udp_port = udp_port
        record.retries = [] if proven else [now + s for s in reversed(_RETRY_SECONDS)]
        changed = proven and (before is None or _facts(before) != _facts(record.neighbour))
        return Heard(record.neighbour, doubtful=not proven, changed=changed)

    def _bye(self, beacon: Beacon, address: str, now: float) -> Heard:
        self._strangers.pop(address, None)
        known = self._proven.get(address)
        if known is None or not known.neighbour.proven or not _agree(beacon, known.neighbour):
            return Heard(self.get(address), doubtful=False, changed=False)
        self._doubt(known, now)
        known.expires_at = now + _LEAVING_SECONDS
        return Heard(known.neighbour, doubtful=False, changed=True)

    def _doubt(self, record: _Record, now: float) -> None:
        n = record.neighbour
        record.neighbour = Neighbour(
            n.address, n.port, n.peer, n.instance, n.digest, n.count, n.heard_at, proven=False
        )
        record.retries = [now + s for s in reversed(_RETRY_SECONDS)]

    def _admit(self) -> _Record | None:
        """A new record, if need be in the place of the stranger that was silent longest."""
        if len(self) >= MAX_NEIGHBOURS:
            if not self._strangers:
                return None
            del self._strangers[next(iter(self._strangers))]
        return _Record()

    def _evict(self) -> _Record:
        """A new record in the place of a proven one: one with whom we never dealt goes first."""
        records = self._proven.items()
        worst, _ = min(records, key=lambda item: (item[1].contacted, item[1].neighbour.heard_at))
        del self._proven[worst]
        self._evicted.append(worst)
        return _Record()

    # -- what time and others tell

    def expire(self, now: float) -> tuple[str, ...]:
        """Forget who was silent too long.

        Gives the addresses of all who had proven something and were forgotten since the last call.
        """
        for address in [a for a, r in self._strangers.items() if r.expires_at <= now]:
            del self._strangers[address]
        gone = [a for a, r in self._proven.items() if r.expires_at <= now]
        for address in gone:
            del self._proven[address]
        evicted, self._evicted = self._evicted, []
        return (*(a for a in evicted if a not in self._proven), *gone)

    def due(self, now: float) -> tuple[tuple[Neighbour, int], ...]:
        """Who is to be asked for a proof again, and at which UDP port."""
        found = []
        for record in self._records():
            if record.retries and record.retries[-1] <= now:
                record.retries.pop()
                found.append((record.neighbour, record.udp_port))
        return tuple(found)

    def doubt(self, address: str, now: float) -> None:
        """Whoever is there did not do what it should: nobody dials it before a new proof."""
        record = self._proven.get(address)
        if record is not None and record.neighbour.proven:
            self._doubt(record, now)

    def contacted(self, address: str) -> None:
        """Note that bytes were exchanged with this address: others are forgotten before it."""
        record = self._proven.get(address)
        if record is not None:
            record.contacted = True

    # -- questions

    def __len__(self) -> int:
        return len(self._proven) + len(self._strangers)

    @property
    def proven_count(self) -> int:
        """How many have proven something, and are not forgotten."""
        return len(self._proven)

    def all(self, now: float) -> tuple[Neighbour, ...]:
        """Everybody who is not to be forgotten by now, strangers last."""
        return tuple(r.neighbour for r in self._records() if r.expires_at > now)

    def get(self, address: str) -> Neighbour | None:
        """What we hold of an address, proven or not."""
        record = self._proven.get(address) or self._strangers.get(address)
        return record.neighbour if record is not None else None

    def proven(self, address: str) -> Neighbour | None:
        """The peer at this address, if it may be dialled natively (where its `port` is not 0)."""
        record = self._proven.get(address)
        return record.neighbour if record is not None and record.neighbour.proven else None

    def was_contacted(self, address: str) -> bool:
        """Whether we ever exchanged bytes with it."""
        record = self._proven.get(address)
        return record is not None and record.contacted

    def _records(self) -> Iterator[_Record]:
        yield from self._proven.values()
        yield from self._strangers.values()


def _agree(beacon: Beacon, neighbour: Neighbour) -> bool:
    """Whether a proof of the one is a proof of the other."""
    return (beacon.instance, beacon.port) == (neighbour.instance, neighbour.port)


def _facts(neighbour: Neighbour) -> tuple[object, ...]:
    n = neighbour
    return n.port, n.peer, n.instance, n.digest, n.count, n.proven
