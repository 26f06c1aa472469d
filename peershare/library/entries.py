"""What the library holds, as values: whole files, parts, and where a chunk's bytes are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from peershare.content.chunks import ByteRange
from peershare.library.files import Identity

# Runs a blocking function elsewhere and fires with its result.
Workers = Callable[..., "Deferred[Any]"]


@dataclass(frozen=True)
class SharedFile:
    """A whole file that we have; `problem` says why it is not told in the classic world."""

    key: str
    path: Path
    identity: Identity
    problem: str = ""

    @property
    def size(self) -> int:
        """Bytes."""
        return self.identity.size


@dataclass(frozen=True)
class SharedPart:
    """The chunks of a download that we hold so far; `name` is what the user calls it."""

    key: str
    name: str
    path: Path
    held: Mapping[int, ByteRange]


@dataclass(frozen=True)
class ChunkHandle:
    """Where the bytes of a chunk are; `identity` is None for a part, which changes as it grows."""

    name: str
    path: Path
    range: ByteRange
    identity: Identity | None
