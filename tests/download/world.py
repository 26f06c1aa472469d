"""A world for whole downloads: real parts of peershare, on a fake clock and fake sockets.

The peers are the test: it sees who is dialled and asked, and gives, refuses or cuts.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet import error
from twisted.trial.unittest import SynchronousTestCase

from peershare.content.chunks import chunk_ranges
from peershare.content.names import ChunkName, parse_chunk_name
from peershare.dictionary import ContentDictionary
from peershare.download.choosing import Chooser
from peershare.download.context import DownloadContext
from peershare.download.dialling import Dialler
from peershare.download.manager import Downloader
from peershare.download.swarm.context import SwarmContext
from peershare.holdings import Holdings
from peershare.ledger import Ledger
from peershare.library import library as library_module
from peershare.library.index import Index
from peershare.library.library import Library
from peershare.status import DownloadState, DownloadStatus, Event, Notice, NoticeKind
from peershare.throttle import TokenBucket
from tests.fakes import WALL_START, Dialled, FakeReactor, run_now
from tests.library.test_library import FakeWatch

A, B, C = "198.18.0.2", "198.18.0.3", "198.18.0.4"
CONTENT = bytes(range(47))  # chunks of 10, 10, 10, 10 and 7 bytes


def names(*texts: str) -> list[ChunkName]:
    """Chunk names as heard."""
    parsed = [parse_chunk_name(text) for text in texts]
    return [name for name in parsed if name is not None]


def pieces(content: bytes) -> list[bytes]:
    """The five chunks of a content."""
    return [content[r.start : r.stop] for r in chunk_ranges(len(content))]


class DownloadTestCase(SynchronousTestCase):
    """One downloader; `events` is what it emits."""

    limit: float | None = None

    def setUp(self) -> None:
        base = Path(self.mktemp()).absolute()
        self.share, self.state = base / "share", base / "state"
        self.share.mkdir(parents=True)
        self.state.mkdir()
        self.patch(library_module, "FolderWatch", FakeWatch)
        self.workers: Callable[..., Any] = run_now
        self.reactor = FakeReactor()
        self.natives: set[str] = set()  # addresses that send native beacons
        self.dictionary = ContentDictionary()
        self.events: list[Event] = []
        self.make_downloader()

    def make_downloader(self, *, resume: bool = True) -> None:
        """What a start of the node makes."""
        clock = self.reactor.seconds
        self.index = Index(self.state)
        self.addCleanup(self.index.close)
        self.ledger = Ledger(self.state, lambda: WALL_START)
        self.library = Library(
            self.reactor,
            self.share,
            self.index,
            self.run_in_worker,
            run_now,
            lambda: WALL_START,
        )
        self.dialler = Dialler(
            self.reactor, (5000,), TokenBucket(self.limit, clock), lambda address: "198.18.0.1"
        )
        self.holdings = Holdings(lambda peer: False)
        self.downloader = Downloader(
            self.reactor,
            self.dictionary,
            self.dialler,
            self.ledger,
            self.make_swarm,
            self.events.append,
            resume=resume,
        )
        self.library.startService()
        self.downloader.startService()

    def make_swarm(self, context: DownloadContext) -> tuple[SwarmContext, Chooser]:
        """What verified downloads need; nobody can be dialled natively."""
        nobody: Any = None
        swarm = SwarmContext(
            common=context,
            random=Random(1),
            pool=nobody,
            library=self.library,
            index=self.index,
            workers=self.run_in_worker,
            hashers=self.run_in_worker,
            holders=lambda content: (),
            proven_at=lambda address, port: None,
        )
        return swarm, Chooser(
            self.library,
            self.holdings,
            self.reactor.seconds,
            self.dictionary,
            lambda address: address in self.natives,
        )

    def run_in_worker(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return self.workers(function, *arguments)

    def restart(self, *, resume: bool = True) -> None:
        """End the node and start it anew."""
        self.successResultOf(self.downloader.stopService())
        self.library.stopService()
        self.index.close()
        self.let_connections_end()
        self.make_downloader(resume=resume)

    def let_connections_end(self) -> None:
        for dialled in self.reactor.dialled:
            if dialled.transport is not None:
                dialled.transport.lose(error.ConnectionLost())

    # -- the network

    def tell(self, address: str, *texts: str, stem: str = "forest") -> None:
        """An address announces these chunks, or all five of a stem."""
        told = texts or tuple(f"{stem}_{number}" for number in range(1, 6))
        told_now = self.dictionary.tell(address, names(*told), self.reactor.seconds())
        if told_now.changed:
            self.downloader.network_changed()

    @property
    def dialled(self) -> Dialled:
        """The attempt that waits for an answer."""
        (dialled,) = self.reactor.waiting
        return dialled

    def accept(self) -> Dialled:
        """Let the waiting attempt connect."""
        dialled = self.dialled
        dialled.accept()
        return dialled

    def asked(self, dialled: Dialled) -> str:
        """The chunk that was asked for on a connection."""
        name = json.loads(dialled.request)["requested_content"]
        assert isinstance(name, str)
        return name

    def give(self, data: bytes) -> str:
        """Serve the waiting attempt with these bytes, to an orderly end; what was asked for."""
        dialled = self.accept()
        name = self.asked(dialled)
        if data:
            dialled.give(data)
        dialled.end()
        return name

    def serve(self, content: bytes = CONTENT, limit: int = 100) -> list[tuple[str, str]]:
        """Serve whatever is asked, from this content; (address, chunk) in order."""
        served = []
        while self.reactor.waiting and limit:
            limit -= 1
            host = self.dialled.host
            dialled = self.accept()
            name = self.asked(dialled)
            parsed = parse_chunk_name(name)
            assert parsed is not None
            dialled.give(pieces(content)[parsed.number - 1])
            dialled.end()
            served.append((host, name))
        return served

    # -- the user

    def start(self, name: str = "forest", folder: Path | None = None) -> str:
        """Ask for a content; the id of the download."""
        return self.downloader.start(name, folder).id

    @property
    def status(self) -> DownloadStatus:
        """The newest download."""
        return self.downloader.pictures()[-1]

    def assert_state(self, state: DownloadState) -> None:
        self.assertEqual(self.status.state, state)

    def notices(self, kind: NoticeKind) -> list[str]:
        return [e.text for e in self.events if isinstance(e, Notice) and e.kind is kind]

    def log_lines(self) -> list[tuple[str, str, str]]:
        """Address, chunk and result of each line of the download log, oldest first."""
        entries = reversed([e for e in self.ledger.history(1_000) if e.direction == "download"])
        return [(e.address, e.chunk, e.result) for e in entries]

    def assert_no_timers(self) -> None:
        """Nothing is due but what the library does anyway."""
        names = [str(call.func) for call in self.reactor.getDelayedCalls()]
        self.assertEqual([name for name in names if "rescan" not in name], [])
