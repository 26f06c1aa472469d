"""Filling: blocks of a known content out of the chunks that classic peers give.

A classic peer tells no id, so its bytes only count where a whole block of them hashes to what the
manifest says.  Used while nobody gives natively.  Not for: contents without an id (`content`).
"""

from __future__ import annotations

import os
from typing import Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from peershare.content.blocks import block_range, block_size
from peershare.content.chunks import ByteRange, chunk_ranges, has_five_chunks
from peershare.download.attempt import Attempt
from peershare.download.rounds import Choice
from peershare.download.swarm.context import SwarmContext
from peershare.download.swarm.part import VerifiedPart
from peershare.errors import LocalError, PeerError, Reason
from peershare.library.parts import PipedBytes
from peershare.wire.beacon import Endpoint
from peershare.wire.request import encode_request

# An address whose chunk did not fit is asked again after so long.
RETRY_SECONDS = 60.0


class Taker(Protocol):
    """The download that is filled."""

    def bytes_came(self, peer: Endpoint, count: int) -> None:
        """Bytes came, whatever they are worth."""

    def filled(self, address: str, index: int, length: int) -> None:
        """A block is written, and right."""

    def disk_failed(self, failure: Failure) -> None:
        """Our own disk is in the way."""


class ClassicFilling:
    """One attempt at a time, each for a chunk in which blocks are missing."""

    _log = Logger()

    def __init__(self, context: SwarmContext, name: str, part: VerifiedPart, taker: Taker) -> None:
        self._common = context.common
        self._reactor = context.common.reactor
        self._name = name
        self._part = part
        self._taker = taker
        self._attempt: Attempt | None = None
        self._retry_at: dict[tuple[int, str], float] = {}
        self._pieces: dict[int, _Pieces] = {}  # of blocks that are not whole yet
        self._stopped = False

    def go_on(self) -> bool:
        """Ask somebody, if nobody is asked and there is somebody; whether anybody is asked."""
        if self._attempt is None and not self._stopped:
            self._begin()
        return self._attempt is not None

    def stop(self) -> None:
        """Ask nobody any more."""
        self._stopped = True
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.let_go()

    def _begin(self) -> None:
        choice = self._choose()
        if choice is None:
            return
        number, source = choice.number, choice.source
        where = chunk_ranges(self._part.manifest.size)[number - 1]
        try:
            request = encode_request(source.asked)
        except PeerError:
            self._keep_away(number, source.address)
            return
        sink = _ChunkSink(self, source.address, number, where)
        attempt = self._attempt = Attempt(choice, request, sink, self._reactor.seconds())
        done = Deferred.fromCoroutine(self._run(attempt, where))
        done.addErrback(self._failed, attempt)
        done.addErrback(lambda failure: self._log.failure("filling failed", failure=failure))

    def _choose(self) -> Choice | None:
        """The first chunk in which blocks are missing, and the first address that has it."""
        size, now = self._part.manifest.size, self._reactor.seconds()
        if not has_five_chunks(size):
            return None
        found, _ = self._common.find(self._name)
        for number, where in enumerate(chunk_ranges(size), 1):
            if all(index in self._part.held for index in _blocks_in(where, size)):
                continue
            for source in found.sources[number - 1]:
                if self._retry_at.get((number, source.address), now) <= now:
                    return Choice(number, source)
        return None

    async def _run(self, attempt: Attempt, where: ByteRange) -> None:
        await attempt.dial(self._common.dialler)
        address, number = attempt.address, attempt.number
        length = await attempt.ask(
            where.length, lambda count: self._taker.bytes_came(Endpoint(address), count)
        )
        if length != where.length:
            text = f"gave {length} bytes where {where.length} are due"
            raise PeerError(Reason.SHORT, text)
        self._keep_away(number, address)  # if it did not help, it does not help again soon
        self._end(attempt)

    def _failed(self, failure: Failure, attempt: Attempt) -> None:
        self._keep_away(attempt.number, attempt.address)
        self._end(attempt)
        if failure.check(LocalError):
            self._taker.disk_failed(failure)
        elif not failure.check(PeerError, CancelledError):
            failure.raiseException()

    def _keep_away(self, number: int, address: str) -> None:
        self._retry_at[number, address] = self._reactor.seconds() + RETRY_SECONDS

    def _end(self, attempt: Attempt) -> None:
        if self._attempt is attempt:
            self._attempt = None
            self.go_on()

    # -- what the sink brings

    @property
    def size(self) -> int:
        """The bytes of the content."""
        return self._part.manifest.size

    def pieces(self, index: int, length: int) -> _Pieces:
        """What came of a block so far."""
        return self._pieces.setdefault(index, _Pieces(bytearray(length)))

    def forget(self, index: int, number: int) -> None:
        """A chunk is fetched anew: what came of it before does not count."""
        if index in self._pieces:
            self._pieces[index].forget(number)

    def wanted(self, index: int) -> bool:
        """Whether this block is still missing."""
        return not self._stopped and index not in self._part.held

    def block_came(self, address: str, number: int, index: int, data: bytearray) -> None:
        """A whole block came: it counts if it is right."""
        self._pieces.pop(index, None)
        stored = self._part.store(index, data)
        stored.addCallback(self._stored, address, number, index, len(data))
        stored.addErrback(self._taker.disk_failed)

    def _stored(self, right: bool, address: str, number: int, index: int, length: int) -> None:
        if right:
            self._taker.filled(address, index, length)
            return
        attempt = self._attempt
        if attempt is not None and (attempt.number, attempt.address) == (number, address):
            # another content of this name: the rest of it is of no use either
            self._keep_away(number, address)
            self._attempt = None
            attempt.let_go()
            self.go_on()


class _Pieces:
    """What came of one block, which two chunks may share."""

    def __init__(self, data: bytearray) -> None:
        self.data = data
        self._came: dict[int, int] = {}  # chunk -> bytes

    def add(self, number: int, offset: int, data: bytes) -> bool:
        """Put bytes of a chunk in; whether the block is whole now."""
        self.data[offset : offset + len(data)] = data
        self._came[number] = self._came.get(number, 0) + len(data)
        return sum(self._came.values()) >= len(self.data)

    def forget(self, number: int) -> None:
        """What came of this chunk does not count."""
        self._came.pop(number, None)


class _ChunkSink:
    """Cuts one chunk, as it arrives, into blocks."""

    def __init__(
        self, filling: ClassicFilling, address: str, number: int, where: ByteRange
    ) -> None:
        self._filling = filling
        self._address = address
        self._number = number
        self._size = filling.size
        self._offset = where.start
        for index in _blocks_in(where, self._size):
            filling.forget(index, number)

    def write(self, data: bytes | PipedBytes) -> None:
        """Take the next bytes of the chunk."""
        view = memoryview(_read(data) if isinstance(data, PipedBytes) else data)
        while view:
            index = self._offset // block_size(self._size)
            block = block_range(index, self._size)
            piece = view[: block.stop - self._offset]
            self._take(index, block, bytes(piece))
            self._offset += len(piece)
            view = view[len(piece) :]

    def _take(self, index: int, block: ByteRange, piece: bytes) -> None:
        filling = self._filling
        if not filling.wanted(index):
            return
        pieces = filling.pieces(index, block.length)
        if pieces.add(self._number, self._offset - block.start, piece):
            filling.block_came(self._address, self._number, index, pieces.data)


def _blocks_in(where: ByteRange, size: int) -> range:
    """The blocks that some of these bytes belong to."""
    length = block_size(size)
    return range(where.start // length, (where.stop - 1) // length + 1)


def _read(piped: PipedBytes) -> bytes:
    """What is in the pipe."""
    pieces, left = [], piped.length
    while left:
        data = os.read(piped.descriptor, left)
        pieces.append(data)
        left -= len(data)
    return b"".join(pieces)
