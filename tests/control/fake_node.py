"""A node that is none: it remembers what it was asked, and tells what the test makes it tell."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from msgspec import structs
from twisted.internet.defer import Deferred, fail, succeed

from peershare.errors import UnknownDownloadError
from peershare.status import (
    FINAL_STATES,
    ChunkState,
    ChunkStatus,
    ContentChoice,
    ContentStatus,
    DownloadChanged,
    DownloadState,
    DownloadStatus,
    Event,
    HistoryEntry,
    NodeStatus,
    PeerStatus,
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


class FakeNode:
    """Implements `NodeFace`; `asked` is the list of what was asked of it."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.refusals: dict[str, Exception] = {}  # by the name or path asked for
        self.observers: list[Callable[[Event], None]] = []
        self.started: dict[str, DownloadStatus] = {}
        self.known = (a_content(),)
        self.heard = (a_peer(),)
        self.past: tuple[HistoryEntry, ...] = (an_entry(), an_entry("forest_2"))
        self.problems: tuple[str, ...] = ()
        self.verified: tuple[VerifyResult, ...] = ()
        self.sharing: Deferred[ShareStatus] | None = None  # of the next `share`, if set

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

    def contents(self, pattern: str = "") -> tuple[ContentStatus, ...]:
        return tuple(c for c in self.known if not pattern or fnmatchcase(c.name, pattern))

    def peers(self) -> tuple[PeerStatus, ...]:
        return self.heard

    def downloads(self) -> tuple[DownloadStatus, ...]:
        return tuple(self.started.values())

    def history(self, limit: int) -> tuple[HistoryEntry, ...]:
        self.asked.append(("history", limit))
        return self.past[:limit]

    def start_download(
        self, name: str, folder: Path | None, *, sequential: bool = False
    ) -> DownloadStatus:
        self._refuse(name)
        for running in self.started.values():
            if running.name == name and running.state not in FINAL_STATES:
                return running
        self.asked.append(("start", name, folder, *(("sequential",) if sequential else ())))
        status = a_download(str(len(self.started) + 1), name)
        self.started[status.id] = status
        return status

    def stop_download(self, identifier: str, /) -> DownloadStatus:
        self.asked.append(("stop", identifier))
        if identifier not in self.started:
            raise UnknownDownloadError(f"there is no download {identifier}")
        return self.change(identifier, state=DownloadState.STOPPED)

    def share(self, path: Path) -> Deferred[ShareStatus]:
        self.asked.append(("share", path))
        if self.sharing is not None:
            return self.sharing
        try:
            self._refuse(str(path))
        except Exception as error:
            return fail(error)
        names = tuple(f"{path.stem}_{number}" for number in range(1, 6))
        return succeed(
            ShareStatus(
                name=path.name,
                path=f"/share/{path.name}",
                size=10,
                how="linked",
                chunks=names,
                note="",
            )
        )

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
