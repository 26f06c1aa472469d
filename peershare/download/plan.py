"""The plan of one classic download: which chunks are held, and whether they can be one file.

Pure.  The classic protocol tells no size and no digest.  All that can be checked is that
chunks 1-4 are c bytes long and chunk 5 between max(1, c - 4) and c.  The first whole reply of
a chunk 1-4 gives c; whatever does not fit it is an *odd* reply.  After a round over all
addresses the majority decides: if odd replies came for more chunks than are held, it is the
held ones that do not belong, and the plan begins anew without them.  It also does where all
that is missing is odd, round after round, and somebody else has a whole file of that name.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field

from peershare.content.chunks import CHUNK_COUNT, chunk_fits, chunk_offset
from peershare.errors import PeerError, Reason

_ODD = {Reason.SHORT, Reason.SURPLUS}
# So many odd replies of one address: its chunk was not cut short, it belongs to another file.
_PATIENCE = 3
NUMBERS = range(1, CHUNK_COUNT + 1)


@dataclass(frozen=True)
class HeldChunk:
    """A chunk whose bytes are in the part file; `stored` once they are recorded for good."""

    length: int
    source: str
    stored: bool = False


@dataclass(frozen=True)
class OddReply:
    """An address disagreed: how often, and in which round it may be asked again."""

    times: int
    ask_again_in_round: int


@dataclass
class ChunkPlan:
    """What is held, what was odd, and what follows from it."""

    chunk_size: int | None = None
    held: dict[int, HeldChunk] = field(default_factory=dict)
    odd: dict[int, dict[str, OddReply]] = field(default_factory=dict)  # chunk -> address -> reply
    suspects: set[str] = field(default_factory=set)  # outvoted: asked last from now on

    @property
    def complete(self) -> bool:
        """All five are held (and so agree on c)."""
        return len(self.held) == CHUNK_COUNT

    @property
    def stored(self) -> bool:
        """All five are recorded for good."""
        return self.complete and all(chunk.stored for chunk in self.held.values())

    @property
    def size(self) -> int | None:
        """The size of the file in bytes, once all five are held."""
        return sum(c.length for c in self.held.values()) if self.complete else None

    def missing(self) -> tuple[int, ...]:
        """The chunks to fetch, in order; chunk 5 has no place before c is known."""
        return tuple(
            n
            for n in NUMBERS
            if n not in self.held and not (n == CHUNK_COUNT and self.chunk_size is None)
        )

    def offset(self, number: int) -> int:
        """Where the chunk is written; at the front while c is unknown."""
        return 0 if self.chunk_size is None else chunk_offset(number, self.chunk_size)

    def misfit(self, number: int, length: int, begun_by: int | None = None) -> PeerError | None:
        """Why a whole reply of this length cannot be this chunk; None if it can.

        `begun_by` is the chunk size by which the reply was given its place: that one holds where
        all by which it was known were lost meanwhile.
        """
        size = self.chunk_size or begun_by
        if length == 0:
            return PeerError(Reason.EMPTY, "closed without a byte")
        if size is None or chunk_fits(number, length, size):
            return None
        return PeerError(
            Reason.SHORT,
            f"gave {length} bytes where {size} are due: cut short,"
            " or a chunk of another file of this name",
        )

    def accept(self, number: int, length: int, source: str, begun_by: int | None = None) -> None:
        """A whole reply that fits; see `misfit`."""
        if self.chunk_size is None:
            self.chunk_size = begun_by or length
        self.held[number] = HeldChunk(length, source)
        self.odd.pop(number, None)

    def mark_stored(self, number: int) -> None:
        """The chunk is recorded for good."""
        chunk = self.held[number]
        self.held[number] = HeldChunk(chunk.length, chunk.source, True)

    def drop(self, number: int) -> None:
        """The chunk is not held after all."""
        self.held.pop(number, None)
        if not self.held:
            self.chunk_size = None

    def failed(self, number: int, source: str, error: PeerError, round_number: int) -> None:
        """An attempt failed; note it if the reply cannot belong to one file with what is held.

        The address is asked for it again, since its end may have come too early, but ever
        less often: after 1, 2, 4, 8 … rounds.
        """
        if error.reason not in _ODD:
            return
        replies = self.odd.setdefault(number, {})
        times = replies[source].times + 1 if source in replies else 1
        replies[source] = OddReply(times, round_number + 2 ** min(times - 1, 10))

    def may_ask(self, number: int, source: str, round_number: int) -> bool:
        """Whether this address is to be asked for this chunk in this round."""
        reply = self.odd.get(number, {}).get(source)
        return reply is None or round_number >= reply.ask_again_in_round

    def outvoted(self) -> bool:
        """Whether more chunks speak against c than for it."""
        return len(self.odd) > len(self.held) > 0

    def stalemate(self, whole: Set[str]) -> bool:
        """Whether nobody can give the rest, but somebody else could give a whole file.

        That is one of the addresses `whole` that gave nothing of what is held, and whose reply
        for a missing chunk was odd again and again.
        """
        missing = self.missing()
        if not self.held or not missing or any(number not in self.odd for number in missing):
            return False
        others = whole - self.suspects - {chunk.source for chunk in self.held.values()}
        replies = self.odd[missing[0]]
        return any(replies[a].times >= _PATIENCE for a in others if a in replies)

    def begin_anew(self) -> tuple[int, ...]:
        """Let go of what does not belong; return the chunks that are held no more."""
        dropped = tuple(self.held)
        self.suspects |= {chunk.source for chunk in self.held.values()}
        self.held.clear()
        self.odd.clear()
        self.chunk_size = None
        return dropped
