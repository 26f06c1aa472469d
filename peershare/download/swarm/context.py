"""What all verified downloads of a node share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from peershare.content.manifest import Manifest
from peershare.download.context import DownloadContext
from peershare.download.swarm.buffers import Memory
from peershare.download.swarm.part import VerifiedPart
from peershare.download.swarm.pool import SessionPool
from peershare.holdings import Holder
from peershare.library.entries import Workers
from peershare.library.index import DownloadRecord, Index
from peershare.library.library import Library
from peershare.wire.beacon import Endpoint


@dataclass(frozen=True)
class SwarmContext:
    """What a verified download needs beside what every download needs."""

    common: DownloadContext
    random: Random
    pool: SessionPool
    library: Library
    index: Index
    workers: Workers
    hashers: Workers
    holders: Callable[[str], Sequence[Holder]]  # who may be dialled and has some of a content
    # who may be dialled natively at an address and port, if anybody
    proven_at: Callable[[str, int], Endpoint | None]
    memory: Memory = field(default_factory=Memory)  # for blocks on their way

    def part(self, record: DownloadRecord, manifest: Manifest) -> VerifiedPart:
        """The part of a download."""
        return VerifiedPart(record, manifest, self.index, self.library, self.workers, self.hashers)
