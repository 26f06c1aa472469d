"""What the library holds, as values: whole files, parts, and where a chunk's bytes are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec import Struct
from twisted.internet.defer import Deferred, maybeDeferred

from peershare.content.blocks import BlockSet
from peershare.content.chunks import ByteRange
from peershare.content.manifest import Manifest
from peershare.library.files import Identity

# Runs a blocking function elsewhere and fires with its result.
Workers = Callable[..., "Deferred[Any]"]


def at_once(function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
    """Workers that do it here and now: where nothing else runs."""
    return maybeDeferred(function, *arguments)


class SharedFile(Struct, frozen=True, gc=False):
    """A whole file that we have; `problem` says why it is not told in the classic world.

    `ctime_ns` is when its inode had changed last as it was looked at, 0 where that is not known:
    the identity stays where the bytes do, which another time may mean or not.
    """

    key: str
    folder: Path
    name: str
    identity: Identity
    problem: str = ""
    ctime_ns: int = 0

    @property
    def path(self) -> Path:
        """Where it lies."""
        return self.folder / self.name

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


@dataclass(frozen=True)
class ContentHandle:
    """Where the bytes of a content are; `identity` is None for a part, which changes as it grows.

    `held` is None where every block is there, else the live set of those that are.
    """

    id: str
    name: str
    path: Path
    identity: Identity | None
    manifest: Manifest
    held: BlockSet | None
