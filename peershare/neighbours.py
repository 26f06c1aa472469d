"""Neighbours: the native peers that are heard, and which of them have proven that they hear us.

A beacon can come from anybody in anybody's name.  What one tells of a peer holds only once our
nonce for its address, TCP port and instance came back from there (`proven`): nobody else is
dialled.  Several peers of one machine are several peers.  Pure: times are monotonic seconds,
given to each call.  Not for: sending anything.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from peershare.wire.beacon import BEACON_BYTES, FRAME_BYTES, Beacon, Endpoint, Nonces

MAX_NEIGHBOURS = 2_048
MAX_NEIGHBOURS_AT_ONE_ADDRESS = 16
SHORTEST_INTERVAL_SECONDS = 30
# All beacons of a whole network, as a goal; with jitter and changes it stays below 10,000.
_NETWORK_BYTES_PER_SECOND = 8_000
# A peer is forgotten after so many of its own intervals, taken as no shorter and no longer than.
_INTERVALS = 3
_INTERVAL_BOUNDS = (5, 600)
# When a peer that failed us is asked whether it is still there.
_RETRY_SECONDS = (0.0, 1.0, 4.0)
# The same of one that was not heard for so many of its intervals: its beacons may be lost among
# what others send in its name.
_SILENT_INTERVALS = (1.5, 2.0, 2.5)


class Neighbour(Struct, frozen=True, gc=False):
    """A native peer; `endpoint.port` is where it takes sessions, 0 if nowhere.

    `digest` names its catalogue of `count` entries; `peer` is who it says it is.  Only if it is
    `proven` any of it may be acted upon.
    """

    endpoint: Endpoint
    peer: str
    digest: str
    count: int
    heard_at: float
    proven: bool

    @property
    def address(self) -> str:
        """Where its beacons come from."""
        return self.endpoint.address

    @property
    def port(self) -> int:
        """Where it takes sessions over TCP, 0 if nowhere."""
        return self.endpoint.port

    @property
    def instance(self) -> str:
        """Its run."""
        return self.endpoint.instance


class Heard(Struct, frozen=True):
    """What became of a beacon.

    `neighbour` is what we now hold of its sender, None if nothing; `doubtful`: what the beacon
    tells is not proven, and its sender should be asked; `changed`: what is proven is not what it
    was.
    """

    neighbour: Neighbour | None
    doubtful: bool
    changed: bool


class Question(Struct, frozen=True):
    """Whom to ask for a proof, at which UDP port; `echo` is the nonce that it gave us, or "".

    `apart`: the port is its own alone; where it is not, it is a peer of the version before.
    """

    endpoint: Endpoint
    udp_port: int
    echo: str
    apart: bool = True


class _Record:
    """What is kept of a peer; `udp_port` is where it hears what is sent to it alone.

    `nonce` is what it gave us to echo, `ours` what we gave it; both are "" until it is proven.
    """

    __slots__ = (
        "carried",
        "contacted",
        "expires_at",
        "neighbour",
        "nonce",
        "ours",
        "retries",
        "udp_port",
    )

    def __init__(self) -> None:
        self.contacted = False
        self.neighbour: Neighbour
        self.expires_at: float
        self.udp_port: int
        self.carried = False  # the port is its own alone, as its beacons carry it
        self.nonce = ""
        self.ours = b""
        self.retries: list[float] = []  # when it is to be asked again, the last one first

    @property
    def question(self) -> Question:
        """How to ask it."""
        return Question(self.neighbour.endpoint, self.udp_port, self.nonce, self.carried)


def beacon_interval(neighbours: int) -> int:
    """How many seconds to leave between two beacons with so many neighbours."""
    size = (neighbours + 1) * (BEACON_BYTES + FRAME_BYTES)
    return max(SHORTEST_INTERVAL_SECONDS, math.ceil(size / _NETWORK_BYTES_PER_SECOND))


class Neighbours:
    """Peers by endpoint: those that have proven something, and, in what room is left, strangers."""

    def __init__(self, nonces: Nonces) -> None:
        """`nonces` are ours."""
        self.nonces = nonces
        self._proven: dict[Endpoint, _Record] = {}
        self._strangers: dict[Endpoint, _Record] = {}  # that was silent longest comes first
        self._at: dict[str, dict[Endpoint, None]] = {}  # all of them, by address
        self._gone: list[Endpoint] = []

    def heard(self, beacon: Beacon, address: str, udp_port: int, now: float) -> Heard:
        """Take in a beacon that came from this address; its sender hears at this UDP port."""
        peer = beacon.sender(address)
        known = self._proven.get(peer)
        proof = self.nonces.proves(beacon, address)
        if beacon.bye:
            return self._bye(peer, proof=proof)
        if proof:
            return self._prove(known, beacon, peer, udp_port, now)
        if known is not None:
            if not known.neighbour.proven:
                return Heard(known.neighbour, doubtful=True, changed=False)
            return self._keep(known, beacon, peer, now, proven=True, doubtful=False)
        record = self._strangers.pop(peer, None) or self._admit(address)
        if record is None:
            return Heard(None, doubtful=False, changed=False)
        self._strangers[peer] = record
        self._at.setdefault(address, {})[peer] = None
        return self._keep(record, beacon, peer, now, proven=False, doubtful=True)

    def _prove(
        self, record: _Record | None, beacon: Beacon, peer: Endpoint, udp_port: int, now: float
    ) -> Heard:
        """It echoes our nonce: everything that it tells of itself holds."""
        address = peer.address
        before = self._replaced(peer, udp_port if beacon.udp else 0)
        if record is None:
            record = self._strangers.pop(peer, None) or self._admit(address) or self._evict(address)
            self._proven[peer] = record
            self._at.setdefault(address, {})[peer] = None
        record.contacted |= before
        record.udp_port, record.carried = udp_port, bool(beacon.udp)
        record.ours = self.nonces.nonce(peer).encode("ascii")
        record.nonce = beacon.nonce or record.nonce
        return self._keep(record, beacon, peer, now, proven=True, doubtful=False)

    def _replaced(self, peer: Endpoint, udp_port: int) -> bool:
        """Forget whose ports, or whose run, these were; whether we ever dealt with one of them."""
        contacted = False
        for other in tuple(self._at.get(peer.address, ())):
            record = self._proven.get(other)
            if other == peer or record is None:
                continue
            same_port = peer.port and peer.port == other.port
            same_udp = udp_port and record.carried and record.udp_port == udp_port
            if same_port or same_udp or peer.instance == other.instance:
                contacted |= record.contacted
                self._forget(other)
        return contacted

    def _keep(
        self,
        record: _Record,
        beacon: Beacon,
        peer: Endpoint,
        now: float,
        *,
        proven: bool,
        doubtful: bool,
    ) -> Heard:
        before = getattr(record, "neighbour", None)
        record.neighbour = Neighbour(
            endpoint=peer,
            peer=beacon.peer,
            digest=beacon.catalogue,
            count=beacon.count,
            heard_at=now,
            proven=proven,
        )
        low, high = _INTERVAL_BOUNDS
        interval = min(max(beacon.interval, low), high)
        record.expires_at = now + _INTERVALS * interval
        # whoever has proven to be there is asked before it is forgotten; a stranger might be
        # somebody who never said a word
        record.retries = [now + n * interval for n in reversed(_SILENT_INTERVALS)] if proven else []
        changed = proven and (before is None or _facts(before) != _facts(record.neighbour))
        return Heard(record.neighbour, doubtful=doubtful, changed=changed)

    def _bye(self, peer: Endpoint, *, proof: bool) -> Heard:
        """A goodbye counts if it carries our nonce: anybody can say the rest.

        That of a stranger, who has proven nothing, is taken at its word.
        """
        known = self._proven.get(peer)
        if known is not None and not proof:
            return Heard(known.neighbour, doubtful=False, changed=False)
        self._forget(peer)
        return Heard(None, doubtful=False, changed=known is not None)

    # -- room

    def _admit(self, address: str) -> _Record | None:
        """A new record, if need be in the place of the stranger that was silent longest."""
        here = self._at.get(address, {})
        crowded = len(here) >= MAX_NEIGHBOURS_AT_ONE_ADDRESS
        if crowded or len(self) >= MAX_NEIGHBOURS:
            strangers = (p for p in (here if crowded else self._strangers) if p in self._strangers)
            stranger = next(strangers, None)
            if stranger is None:
                return None
            self._forget(stranger)
        return _Record()

    def _evict(self, address: str) -> _Record:
        """A new record in the place of a proven one: one with whom we never dealt goes first."""
        here = self._at.get(address, {})
        crowded = len(here) >= MAX_NEIGHBOURS_AT_ONE_ADDRESS
        records = ((peer, self._proven[peer]) for peer in (here if crowded else self._proven))
        worst, _ = min(records, key=lambda item: (item[1].contacted, item[1].neighbour.heard_at))
        self._forget(worst)
        return _Record()

    def _forget(self, peer: Endpoint) -> None:
        if self._proven.pop(peer, None) is not None:
            self._gone.append(peer)
        self._strangers.pop(peer, None)
        here = self._at.get(peer.address)
        if here is not None:
            here.pop(peer, None)
            if not here:
                del self._at[peer.address]

    # -- what time and others tell

    def expire(self, now: float) -> tuple[Endpoint, ...]:
        """Forget who was silent too long.

        Gives all who had proven something and were forgotten since the last call, of this or of
        `forgotten`.
        """
        for peer in [p for p, record in self._records() if record.expires_at <= now]:
            self._forget(peer)
        return self.forgotten()

    def forgotten(self) -> tuple[Endpoint, ...]:
        """Who had proven something and was forgotten since the last call."""
        gone, self._gone = self._gone, []
        return tuple(peer for peer in dict.fromkeys(gone) if peer not in self._proven)

    def due(self, now: float) -> tuple[Question, ...]:
        """Who had proven something and is to be asked for a proof again."""
        found = []
        for record in self._proven.values():
            if record.retries and record.retries[-1] <= now:
                record.retries.pop()
                found.append(record.question)
        return tuple(found)

    def doubt(self, address: str, now: float) -> bool:
        """Somebody there did not do what it should: nobody there is dialled before a new proof.

        Whether anybody was proven there.
        """
        doubted = False
        for peer in self._at.get(address, ()):
            record = self._proven.get(peer)
            if record is not None and record.neighbour.proven:
                record.neighbour = replace(record.neighbour, proven=False)
                record.retries = [now + s for s in reversed(_RETRY_SECONDS)]
                doubted = True
        return doubted

    def contacted(self, peer: Endpoint) -> None:
        """Note that bytes were exchanged with it: others are forgotten before it."""
        record = self._proven.get(peer)
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
        return tuple(r.neighbour for _, r in self._records() if r.expires_at > now)

    def get(self, peer: Endpoint) -> Neighbour | None:
        """What we hold of a peer, proven or not."""
        record = self._proven.get(peer) or self._strangers.get(peer)
        return record.neighbour if record is not None else None

    def at(self, address: str) -> tuple[Neighbour, ...]:
        """Everybody at an address, proven or not."""
        found = (self.get(peer) for peer in self._at.get(address, ()))
        return tuple(neighbour for neighbour in found if neighbour is not None)

    def proven(self, peer: Endpoint) -> Neighbour | None:
        """This peer, if it may be dialled natively (where its `port` is not 0)."""
        record = self._proven.get(peer)
        return record.neighbour if record is not None and record.neighbour.proven else None

    def proven_at(self, address: str, port: int) -> Endpoint | None:
        """Who may be dialled natively there, if anybody."""
        for peer in self._at.get(address, ()):
            if peer.port == port and port and self.proven(peer) is not None:
                return peer
        return None

    def is_proven(self, address: str) -> bool:
        """Whether anybody at this address may be dialled natively."""
        return any(self.proven(peer) for peer in self._at.get(address, ()) if peer.port)

    def was_contacted(self, peer: Endpoint) -> bool:
        """Whether we ever exchanged bytes with it."""
        record = self._proven.get(peer)
        return record is not None and record.contacted

    def carries_proof(self, datagram: bytes, address: str) -> Endpoint | None:
        """Who at this address is known to have our nonce that this datagram carries, if anybody.

        It is looked for before the datagram is read: junk in a peer's name costs next to nothing.
        """
        for peer in self._at.get(address, ()):
            record = self._proven.get(peer)
            if record is not None and record.ours and record.ours in datagram:
                return peer
        return None

    def question(self, peer: Endpoint) -> Question | None:
        """How to ask, or answer, somebody who has proven something."""
        record = self._proven.get(peer)
        return record.question if record is not None else None

    def questions(self) -> tuple[Question, ...]:
        """The same of all of them, those with whom we dealt first."""
        records = sorted(self._proven.items(), key=lambda item: not item[1].contacted)
        return tuple(record.question for _, record in records)

    def _records(self) -> Iterator[tuple[Endpoint, _Record]]:
        yield from self._proven.items()
        yield from self._strangers.items()


def _facts(neighbour: Neighbour) -> tuple[object, ...]:
    n = neighbour
    return n.peer, n.digest, n.count, n.proven
