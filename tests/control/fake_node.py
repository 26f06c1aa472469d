"""A node that is none: it remembers what it was asked, and tells what the test makes it tell."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from math import inf
from pathlib import Path
from typing import Any

from msgspec import structs
from twisted.internet.defer import Deferred, fail, succeed

from peershare.content.names import display
from peershare.errors import UnknownDownloadError, UnknownUploadError
from peershare.guest.status import GuestStatus, GuestUpload, UploadState
from peershare.status import (
    FINAL_STATES,
    BlockMap,
    ChunkState,
    ChunkStatus,
    ContentChoice,
    ContentStatus,
    Counters,
    DownloadChanged,
    DownloadState,
    DownloadStatus,
    Event,
    HistoryEntry,
    Limits,
    Listing,
    NodeStatus,
    PeerStatus,
    ShareMode,
    ShareStatus,
    VerifyResult,
)

NOTHING_YET = tuple(
    ChunkStatus(number=number, state=ChunkState.MISSING, received=0) for number in range(1, 6)
)


def a_download(identifier: str = "1", name: str = "forest", **fields: Any) -> DownloadStatus:
    """A download that has just begun, but for these fields."""
    status = DownloadStatus(
        id=identifier,
        name=name,
        state=DownloadState.SEARCHING,
        folder="/share",
        chunks=NOTHING_YET,
        received=0,
        size=None,
        rate=0.0,
        seconds_left=None,
        peer="",
        given={},
        problem="",
        path="",
        idle_seconds=0.0,
        elapsed_seconds=0.0,
        verified=False,
    )
    return structs.replace(status, **fields)


def a_content(name: str = "forest", **fields: Any) -> ContentStatus:
    """A content that one peer has whole, but for these fields."""
    status = ContentStatus(
        name=name, chunks=(1,) * 5, peers=("198.18.0.2",), complete=True, shared=False
    )
    return structs.replace(status, **fields)


def a_peer(address: str = "198.18.0.2", **fields: Any) -> PeerStatus:
    """A peer that has told a forest, but for these fields."""
    status = PeerStatus(
        address=address,
        contents=("forest",),
        chunks=5,
        heard_seconds_ago=1.5,
        given=0,
        taken=0,
    )
    return structs.replace(status, **fields)


def an_entry(chunk: str = "forest_1", **fields: Any) -> HistoryEntry:
    """A line of the download log, but for these fields."""
    entry = HistoryEntry(
        direction="download",
        time="2026-11-22T07:43:17.000+00:00",
        address="198.18.0.2",
        chunk=chunk,
        bytes=1_000,
        seconds=0.5,
        result="ok unverified",
    )
    return structs.replace(entry, **fields)


def a_choice(number: int = 1, **fields: Any) -> ContentChoice:
    """One of the contents called forest.png, but for these fields."""
    choice = ContentChoice(
        id=f"b3:{number:x}" + "0" * (64 - len(f"{number:x}")),
        name="forest.png",
        size=1_000_000 * number,
        peers=2,
        complete=1,
        age_seconds=60.0,
    )
    return structs.replace(choice, **fields)


def a_classic_choice(name: str, *addresses: str) -> ContentChoice:
    """What classic peers announce under a name."""
    count = len(addresses)
    return a_choice(
        id="",
        name=name,
        size=None,
        peers=count,
        complete=count,
        age_seconds=0.0,
        addresses=addresses,
    )


def a_result(name: str = "forest.png", **fields: Any) -> VerifyResult:
    """A file that is as it was, but for these fields."""
    result = VerifyResult(
        name=name,
        path=f"/share/{name}",
        id=a_choice().id,
        state="unchanged",
        size=1_000,
        detail="",
    )
    return structs.replace(result, **fields)


def a_share(path: Path, **fields: Any) -> ShareStatus:
    """A file that was linked and is announced, but for these fields."""
    status = ShareStatus(
        name=path.name,
        path=f"/share/{path.name}",
        size=10,
        how="linked",
        chunks=tuple(f"{path.stem}_{number}" for number in range(1, 6)),
        note="",
    )
    return structs.replace(status, **fields)


class FakeWriter:
    """Implements `ShareWriter`: keeps what it is given."""

    def __init__(self, name: str, size: int | None) -> None:
        self.name = name
        self.size = size
        self.data = b""
        self.ended = ""  # "finished" or "aborted"
        self.problem: Exception | None = None  # of the next write, and of finishing
        self.finishing: Deferred[ShareStatus] | None = None

    def write(self, data: bytes, /) -> None:
        if self.problem is not None:
            raise self.problem
        self.data += data

    def finish(self) -> Deferred[ShareStatus]:
        self.ended = "finished"
        if self.problem is not None:
            return fail(self.problem)
        if self.finishing is not None:
            return self.finishing
        return succeed(a_share(Path(self.name), size=len(self.data), how="received"))

    def abort(self) -> None:
        self.ended = self.ended or "aborted"


class FakeGuest:
    """The guest page; uploads are those of a test."""

    def __init__(self, asked: list[tuple[Any, ...]]) -> None:
        self._asked = asked
        self.uploads: list[GuestUpload] = []

    def status(self) -> GuestStatus:
        link = "http://198.18.0.1:5080/token/"
        return GuestStatus(
            link=link,
            links=(link,),
            qr="<svg></svg>",
            takes_uploads=True,
            upload_limit=1_000,
            uploads=tuple(self.uploads),
        )

    def accept(self, identifier: str) -> Deferred[GuestUpload]:
        self._asked.append(("accept", identifier))
        return succeed(
            structs.replace(self._take(identifier), state=UploadState.ACCEPTED, path="/inbox/f")
        )

    def refuse(self, identifier: str) -> GuestUpload:
        self._asked.append(("refuse", identifier))
        return structs.replace(self._take(identifier), state=UploadState.REFUSED)

    def _take(self, identifier: str) -> GuestUpload:
        for upload in self.uploads:
            if upload.id == identifier:
                self.uploads.remove(upload)
                return upload
        raise UnknownUploadError(f"no upload {identifier}")


class FakeNode:
    """Implements `NodeFace`; `asked` is the list of what was asked of it."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.guest = FakeGuest(self.asked)
        self.refusals: dict[str, Exception] = {}  # by the name or path asked for
        self.observers: list[Callable[[Event], None]] = []
        self.started: dict[str, DownloadStatus] = {}
        self.known = (a_content(),)
        self.not_listed = 0
        self.heard = (a_peer(),)
        self.past: tuple[HistoryEntry, ...] = (an_entry(), an_entry("forest_2"))
        self.problems: tuple[str, ...] = ()
        self.verified: tuple[VerifyResult, ...] = ()
        self.sharing: Deferred[ShareStatus] | None = None  # of the next `share`, if set
        self.writers: list[FakeWriter] = []
        self.map = BlockMap(
            download="1", block_size=0, blocks_per_cell=1, count=5, sources=(), cells="AAAAAAA="
        )
        self.limited = Limits(upload=None, download=None)
        self.counted = Counters(
            downloaded_bytes=0,
            uploaded_bytes=0,
            downloads={},
            uploads={},
            peers=1,
            refused={},
            announcements=0,
            beacons=0,
            reactor_delay=0.0,
        )

    def node_status(self) -> NodeStatus:
        return NodeStatus(
            version="0",
            pid=1,
            share="/share",
            state="/state",
            addresses=("198.18.0.1",),
            broadcasts=("198.18.255.255",),
            tcp_port=5000,
            classic_udp_port=5001,
            announcing=True,
            last_announced_at=None,
            announced_names=0,
            peers=len(self.heard),
            files=0,
            upload_rate=0.0,
            download_rate=0.0,
            refused={},
            problems=self.problems,
        )

    def contents(self, pattern: str = "") -> Deferred[Listing]:
        found = tuple(c for c in self.known if not pattern or fnmatchcase(c.name, pattern))
        return succeed(Listing(found, len(found) + self.not_listed, len(found)))

    def peers(self) -> tuple[PeerStatus, ...]:
        return self.heard

    def downloads(self) -> tuple[DownloadStatus, ...]:
        return tuple(self.started.values())

    def download(self, identifier: str) -> DownloadStatus:
        if identifier not in self.started:
            raise UnknownDownloadError(f"there is no download {display(identifier)}")
        return self.started[identifier]

    def download_ids(self) -> tuple[str, ...]:
        return tuple(self.started)

    def history(
        self, limit: int, since: float | None = None, direction: str = ""
    ) -> Deferred[tuple[HistoryEntry, ...]]:
        narrowed = (since, direction) if since is not None or direction else ()
        self.asked.append(("history", limit, *narrowed))
        past = [entry for entry in self.past if direction in ("", entry.direction)]
        return succeed(tuple(past[:limit]))

    def counters(self) -> Counters:
        return self.counted

    def limits(self) -> Limits:
        return self.limited

    def set_limits(self, limits: Limits, /) -> Limits:
        for rate in (limits.upload, limits.download):
            if rate is not None and not 1 <= rate < inf:
                raise ValueError(f"a limit is at least 1 byte a second, or none: not {rate}")
        self.asked.append(("limits", limits))
        self.limited = limits
        return limits

    def block_map(self, identifier: str, /) -> BlockMap:
        self._known(identifier)
        return structs.replace(self.map, download=identifier)

    def start_download(
        self,
        name: str,
        folder: Path | None,
        *,
        sequential: bool = False,
        source: str = "",
        classic: bool = False,
    ) -> DownloadStatus:
        self._refuse(name)
        for running in self.started.values():
            if running.name == name and running.state not in FINAL_STATES:
                return running
        more = (("sequential",) if sequential else ()) + (("classic",) if classic else ())
        self.asked.append(("start", name, folder, *more, *((source,) if source else ())))
        status = a_download(str(len(self.started) + 1), name)
        self.started[status.id] = status
        return status

    def stop_download(self, identifier: str, /) -> DownloadStatus:
        self.asked.append(("stop", identifier))
        self._known(identifier)
        return self.change(identifier, state=DownloadState.STOPPED)

    def pause_download(self, identifier: str, /) -> DownloadStatus:
        self.asked.append(("pause", identifier))
        self._known(identifier)
        return self.change(identifier, state=DownloadState.PAUSED)

    def resume_download(self, identifier: str, /) -> DownloadStatus:
        self.asked.append(("resume", identifier))
        self._known(identifier)
        return self.change(identifier, state=DownloadState.SEARCHING)

    def _known(self, identifier: str) -> None:
        if identifier not in self.started:
            raise UnknownDownloadError(f"there is no download {display(identifier)}")

    def share(self, path: Path, how: ShareMode = ShareMode.AUTO) -> Deferred[ShareStatus]:
        self.asked.append(("share", path, *((how,) if how is not ShareMode.AUTO else ())))
        if self.sharing is not None:
            return self.sharing
        try:
            self._refuse(str(path))
        except Exception as error:
            return fail(error)
        return succeed(a_share(path))

    def recorded(self) -> Deferred[None]:
        return succeed(None)

    def receive_share(self, name: str, size: int | None = None) -> FakeWriter:
        self.asked.append(("receive", name, size))
        self._refuse(name)
        self.writers.append(FakeWriter(name, size))
        return self.writers[-1]

    def verify(self, name: str | None) -> Deferred[tuple[VerifyResult, ...]]:
        self.asked.append(("verify", name))
        return succeed(self.verified)

    def observe(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        self.observers.append(callback)
        return lambda: self.observers.remove(callback)

    # -- what a test does with it

    def emit(self, event: Event) -> None:
        for observer in tuple(self.observers):
            observer(event)

    def change(self, identifier: str, **fields: Any) -> DownloadStatus:
        """Let a download look like this from now on, and tell it."""
        status = structs.replace(self.started[identifier], **fields)
        self.started[identifier] = status
        self.emit(DownloadChanged(status))
        return status

    def _refuse(self, what: str) -> None:
        if what in self.refusals:
            raise self.refusals[what]
