"""The picture of a download that people see: progress, rate, time left, who gives what.

Not for: deciding anything.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from math import exp

from peershare.content.chunks import CHUNK_COUNT, ByteRange, chunk_size
from peershare.download.attempt import Attempt
from peershare.download.context import Download, Progress
from peershare.download.plan import NUMBERS, ChunkPlan, HeldChunk
from peershare.status import (
    CELL_ARRIVING,
    CELL_HELD,
    CELL_MISSING,
    CELL_SOURCES,
    FINAL_STATES,
    BlockMap,
    ChunkState,
    ChunkStatus,
    DownloadState,
    DownloadStatus,
)

_SMOOTHING_SECONDS = 3.0


class RateMeter:
    """Bytes per second, smoothed over a few seconds so that it does not jump; pure."""

    def __init__(self, now: float) -> None:
        self._at = now
        self._pending = 0
        self._rate = 0.0
        self._weight = 0.0

    def add(self, count: int) -> None:
        """So many bytes went by."""
        self._pending += count

    def rate(self, now: float) -> float:
        """The rate at `now` (monotonic seconds)."""
        elapsed = now - self._at
        if elapsed >= 0.2:
            decay = exp(-elapsed / _SMOOTHING_SECONDS)
            self._rate = self._rate * decay + (self._pending / elapsed) * (1 - decay)
            self._weight = self._weight * decay + (1 - decay)
            self._at, self._pending = now, 0
        return self._rate / self._weight if self._weight else 0.0


def picture(download: Download, folder: str, meter: RateMeter, now: float) -> DownloadStatus:
    """How the download looks at `now` (monotonic seconds)."""
    progress = download.progress()
    over = download.state in FINAL_STATES
    end = download.finished_at if download.finished_at is not None else now
    rate = meter.rate(now)
    if over and end > download.started_at:
        rate = sum(download.given.values()) / (end - download.started_at)
    size, seconds_left = progress.size, None
    if download.state is DownloadState.DOWNLOADING and rate > 0 and size is not None:
        seconds_left = (size - progress.received) / rate
    return DownloadStatus(
        id=download.id,
        name=download.name,
        content=download.content,
        state=download.state,
        folder=folder,
        chunks=progress.chunks,
        received=progress.received,
        size=size,
        rate=rate,
        seconds_left=seconds_left,
        peer=progress.givers[0] if progress.givers else "",
        peers=progress.givers,
        given=dict(download.given),
        problem=download.problem,
        path=download.path,
        idle_seconds=max(0.0, end - download.progress_at),
        elapsed_seconds=end - download.started_at,
        verified=bool(download.content),
        block_size=progress.block_size,
    )


def classic_progress(plan: ChunkPlan, attempt: Attempt | None) -> Progress:
    """How far a classic download is; `attempt` is what is being received."""
    chunks = tuple(_classic_chunk(number, plan.held.get(number), attempt) for number in NUMBERS)
    size = plan.size
    if size is None and plan.chunk_size is not None:
        size = CHUNK_COUNT * plan.chunk_size
    givers = (attempt.address,) if attempt is not None else ()
    return Progress(chunks, sum(chunk.received for chunk in chunks), size, givers)


def _classic_chunk(number: int, held: HeldChunk | None, attempt: Attempt | None) -> ChunkStatus:
    if held is not None:
        state, received, source = ChunkState.HELD, held.length, held.source
    elif attempt is not None and attempt.number == number:
        state, received, source = ChunkState.FETCHING, attempt.received, attempt.address
    else:
        state, received, source = ChunkState.MISSING, 0, ""
    return ChunkStatus(number=number, state=state, received=received, source=source)


_CELLS = {ChunkState.MISSING: CELL_MISSING, ChunkState.FETCHING: CELL_ARRIVING}


def chunk_map(download: str, chunks: tuple[ChunkStatus, ...]) -> BlockMap:
    """The map of a download that has chunks instead of blocks."""
    held = (chunk.source for chunk in chunks if chunk.state is ChunkState.HELD and chunk.source)
    sources = tuple(dict.fromkeys(held))
    codes = {source: CELL_SOURCES + place for place, source in enumerate(sources)}
    cells = bytes(_CELLS.get(c.state, codes.get(c.source, CELL_HELD)) for c in chunks)
    return BlockMap(
        download=download,
        block_size=0,
        blocks_per_cell=1,
        count=len(cells),
        sources=sources,
        cells=b64encode(cells).decode(),
    )


class Fifths:
    """How many bytes of each fifth of a content are here; what classic peers call its chunks."""

    def __init__(self, size: int) -> None:
        """`size` in bytes, of any content."""
        self._size = size
        self._length = chunk_size(size)
        self._received = [0] * CHUNK_COUNT

    def add(self, where: ByteRange) -> None:
        """These bytes are here now."""
        _spread(self._received, where, self._length)

    def chunks(self, arriving: Iterable[ByteRange]) -> tuple[ChunkStatus, ...]:
        """The picture, with what is arriving and not checked yet."""
        received, before = list(self._received), self._received
        for where in arriving:
            _spread(received, where, self._length)
        return tuple(
            self._chunk(number, received[number - 1], received[number - 1] > before[number - 1])
            for number in NUMBERS
        )

    def _chunk(self, number: int, received: int, moving: bool) -> ChunkStatus:
        whole = max(0, min(self._size - (number - 1) * self._length, self._length))
        state = ChunkState.FETCHING if moving else ChunkState.MISSING
        if received >= whole and not moving:
            state = ChunkState.HELD
        return ChunkStatus(number=number, state=state, received=min(received, whole))


def _spread(received: list[int], where: ByteRange, length: int) -> None:
    """Add the bytes to the fifths that they belong to."""
    start = where.start
    while start < where.stop:
        fifth = start // length
        stop = min(where.stop, (fifth + 1) * length)
        received[fifth] += stop - start
        start = stop


# The picture of a content of which nothing is known.
NOTHING_YET = Progress(Fifths(CHUNK_COUNT).chunks(()), 0, None, ())
