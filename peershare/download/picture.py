"""The picture of a download that people see: progress, rate, time left, who gives what.

Not for: deciding anything.
"""

from __future__ import annotations

from math import exp

from peershare.content.chunks import CHUNK_COUNT
from peershare.download.content import ContentDownload
from peershare.status import FINAL_STATES, ChunkState, ChunkStatus, DownloadState, DownloadStatus

_SMOOTHING_SECONDS = 3.0


class RateMeter:
    """Bytes per second, smoothed over a few seconds so that it does not jump; pure."""

    def __init__(self, now: float) -> None:
        self._since = now
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


def picture(download: ContentDownload, folder: str, meter: RateMeter, now: float) -> DownloadStatus:
    """How the download looks at `now` (monotonic seconds)."""
    plan, fetching = download.plan, download.fetching
    chunks = tuple(_chunk(download, number) for number in range(1, CHUNK_COUNT + 1))
    received = sum(chunk.received for chunk in chunks)
    size = plan.size
    if size is None and plan.chunk_size is not None:
        size = CHUNK_COUNT * plan.chunk_size
    over = download.state in FINAL_STATES
    end = download.finished_at if download.finished_at is not None else now
    rate = meter.rate(now)
    if over and end > download.started_at:
        rate = sum(download.given.values()) / (end - download.started_at)
    moving = download.state is DownloadState.DOWNLOADING and rate > 0 and size is not None
    return DownloadStatus(
        id=download.id,
        name=download.name,
        state=download.state,
        folder=folder,
        chunks=chunks,
        received=received,
        size=size,
        rate=rate,
        seconds_left=((size or 0) - received) / rate if moving else None,
        peer=fetching[1] if fetching else "",
        given=dict(download.given),
        problem=download.problem,
        path=download.path,
        idle_seconds=max(0.0, end - download.progress_at),
        elapsed_seconds=end - download.started_at,
        verified=False,
    )


def _chunk(download: ContentDownload, number: int) -> ChunkStatus:
    held, fetching = download.plan.held.get(number), download.fetching
    if held is not None:
        return ChunkStatus(
            number=number, state=ChunkState.HELD, received=held.length, source=held.source
        )
    if fetching is not None and fetching[0] == number:
        return ChunkStatus(
            number=number,
            state=ChunkState.FETCHING,
            received=fetching[2],
            source=fetching[1],
        )
    return ChunkStatus(number=number, state=ChunkState.MISSING, received=0)
