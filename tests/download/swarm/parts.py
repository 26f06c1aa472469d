"""What the tests of verified downloads share: a part on a real disk, sessions that only note."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from peershare.content.blocks import block_range
from peershare.content.manifest import Manifest, manifest_of
from peershare.download.swarm.part import VerifiedPart
from peershare.errors import PeerError
from peershare.library.entries import ContentHandle
from peershare.library.index import Index
from peershare.wire.beacon import Endpoint
from tests.fakes import run_now

BLOCK = 65_536


def content(blocks: float, seed: int = 7) -> bytes:
    """Random bytes, so many blocks long."""
    return Random(seed).randbytes(int(blocks * BLOCK))


def block_of(data: bytes, index: int) -> bytes:
    """The bytes of one block."""
    where = block_range(index, len(data))
    return data[where.start : where.stop]


class NotingLibrary:
    """Remembers what it is told of parts; `own` is what it has elsewhere."""

    def __init__(self) -> None:
        self.parts: dict[str, Any] = {}
        self.added: list[int] = []
        self.finished: list[tuple[str, Path, Manifest | None]] = []
        self.own: ContentHandle | None = None

    def find_content(self, identifier: str) -> ContentHandle | None:
        return self.own

    def set_swarm(self, key: str, name: str, path: Path, manifest: Manifest, held: Any) -> None:
        self.parts[key] = held

    def blocks_added(self, key: str, blocks: Sequence[int]) -> None:
        self.added += blocks

    def part_became_file(
        self,
        key: str,
        path: Path,
        manifest: Manifest | None = None,
        seen: Any = None,
    ) -> None:
        self.finished.append((key, path, manifest))


class NotingSession:
    """A session that notes what is asked of it."""

    def __init__(self, peer: Endpoint) -> None:
        self.endpoint = peer
        self.address = peer.address
        self.requested: list[int] = []
        self.cancelled: list[int] = []
        self.declined: list[int] = []
        self.joined: list[tuple[str, bool, Any]] = []
        self.attached: list[tuple[str, int]] = []
        self.left: list[str] = []
        self.reported: list[tuple[int, Any]] = []

    def join(self, identifier: str, listener: Any, *, manifest: bool, have: Any = ()) -> None:
        self.joined.append((identifier, manifest, have))

    def attach(self, identifier: str, size: int, listener: Any) -> None:
        self.attached.append((identifier, size))

    def leave(self, identifier: str) -> None:
        self.left.append(identifier)

    def request(self, identifier: str, blocks: Sequence[int]) -> None:
        self.requested += blocks

    def cancel(self, identifier: str, blocks: Sequence[int]) -> None:
        self.cancelled += blocks

    def report_wrong(self, identifier: str, index: int, withdrew: Any) -> None:
        self.reported.append((index, withdrew))

    def decline(self, identifier: str, blocks: Sequence[int]) -> None:
        self.declined += blocks


class Reports:
    """Notes what a fetch, or a filling, tells."""

    def __init__(self) -> None:
        self.verified: list[tuple[Endpoint, int]] = []
        self.wrong: list[tuple[Endpoint, int]] = []
        self.came: dict[Endpoint, int] = {}
        self.complete = 0
        self.failures: list[Any] = []

    def block_verified(self, peer: Endpoint, length: int) -> None:
        self.verified.append((peer, length))

    def block_wrong(self, peer: Endpoint, index: int) -> None:
        self.wrong.append((peer, index))

    def bytes_came(self, peer: Endpoint, count: int) -> None:
        self.came[peer] = self.came.get(peer, 0) + count

    def all_here(self) -> None:
        self.complete += 1

    def disk_failed(self, failure: Any) -> None:
        self.failures.append(failure.value)


def make_part(
    case: Any,
    data: bytes,
    *,
    name: str = "forest.bin",
    hashers: Any = run_now,
    former: bool = False,
) -> tuple[VerifiedPart, NotingLibrary, Path]:
    """A part of this content in a new folder; what its library is told; the folder.

    `former`: a former run began it.
    """
    base = Path(case.mktemp()).absolute()
    folder, state = base / "share", base / "state"
    folder.mkdir(parents=True)
    state.mkdir()
    index = Index(state)
    manifest = manifest_of(data)
    record = index.add_download(name, folder, manifest.content_id)
    if former:
        index.close()
        index = Index(state)
    case.addCleanup(index.close)
    library: Any = NotingLibrary()
    part = VerifiedPart(record, manifest, index, library, run_now, hashers)
    case.addCleanup(part.close)
    return part, library, folder


def an_error() -> PeerError:
    """Some fault of a peer's."""
    from peershare.errors import Reason

    return PeerError(Reason.RESET, "cut the connection")
