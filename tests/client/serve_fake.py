"""A program: the API of a node that plays a story for each name, on a state folder.

    python serve_fake.py STATE

It says `ready` when it can be asked, and ends by itself after two minutes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet import reactor

from peershare.control.server import ControlService
from peershare.errors import AmbiguousContentError, AmbiguousNameError
from peershare.settings import Settings
from peershare.state import StateLock
from peershare.status import (
    FINAL_STATES,
    ChunkState,
    ChunkStatus,
    ContentsChanged,
    DownloadState,
    DownloadStatus,
    Notice,
    NoticeKind,
)
from tests.control.fake_node import FakeNode, a_choice, a_content, a_result

LIFETIME_SECONDS = 120.0
STEP_SECONDS = 0.12
CHUNK_BYTES = 200_000
FIRST, SECOND = "198.18.0.2", "198.18.0.3"
WARNING = "CHUNK {}_2 CANNOT BE DOWNLOADED FROM ONLINE PEERS."


class StoryNode(FakeNode, Service):
    """A node whose downloads go as their name says."""

    def __init__(self) -> None:
        super().__init__()
        self.known = (
            a_content("forest", peers=(FIRST, SECOND)),
            a_content("forge"),
            a_content("mine.txt", shared=True, size=1_234, peers=()),
        )
        self.refusals["vague"] = AmbiguousNameError(
            "vague fits several contents: vague.jpg, vague.png", ("vague.jpg", "vague.png")
        )
        both = (a_choice(1), a_choice(2))
        self.refusals["twice"] = AmbiguousContentError("twice fits 2 different contents", both)
        self.verified = (a_result("bee.mp4"), a_result(state="changed", detail="it was b3:2"))

    def start_download(
        self,
        name: str,
        folder: Path | None,
        *,
        sequential: bool = False,
        source: str = "",
        classic: bool = False,
    ) -> DownloadStatus:
        for status in self.started.values():
            if status.name == name and status.state not in FINAL_STATES:
                return status
        status = super().start_download(
            name, folder, sequential=sequential, source=source, classic=classic
        )
        story: Callable[[str, str], None] = getattr(self, f"tell_{name}", self.tell_forest)
        if name.startswith("b3:"):
            story = self.tell_swarm
        later(0.0, story, status.id, name)
        return status

    def stop_download(self, identifier: str, /) -> DownloadStatus:
        super().stop_download(identifier)
        return self.started[identifier]

    # -- the stories

    def tell_forest(self, identifier: str, name: str) -> None:
        """Five chunks; the first peer fails for the second one."""
        for number in range(1, 6):
            later((2 * number - 1) * STEP_SECONDS, self.fetch, identifier, number)
            later(2 * number * STEP_SECONDS, self.keep, identifier, name, number)
        text = f"{name}_2: {FIRST} refused the connection, trying {SECOND}"
        later(3.5 * STEP_SECONDS, self.notify, identifier, NoticeKind.FAILOVER, text)
        later(11 * STEP_SECONDS, self.finish, identifier, name)

    def tell_swarm(self, identifier: str, name: str) -> None:
        """Two peers give at once, every byte is checked."""
        for step in range(1, 11):
            later(step * STEP_SECONDS, self.swarm, identifier, step * 100_000)
        later(11 * STEP_SECONDS, self.finish, identifier, name)

    def swarm(self, identifier: str, received: int) -> None:
        self.receive(identifier, received)
        given = {FIRST: received // 4, SECOND: received - received // 4}
        peers = (FIRST, SECOND)
        content = a_choice().id
        self.change(identifier, given=given, peers=peers, content=content, verified=True)

    def tell_nobody(self, identifier: str, name: str) -> None:
        """Nobody tells of it."""

    def tell_half(self, identifier: str, name: str) -> None:
        """One chunk, then nobody gives the second one."""
        self.fetch(identifier, 1)
        self.keep(identifier, name, 1)
        self.notify(identifier, NoticeKind.WARNING, WARNING.format(name))
        self.notify(identifier, NoticeKind.INFO, f"{FIRST}: reset the connection")
        self.change(identifier, state=DownloadState.WAITING, peer="")

    def tell_slow(self, identifier: str, name: str) -> None:
        """It goes on for longer than any test."""
        for step in range(1, 900):
            received = step * 1_000
            later(step * STEP_SECONDS, self.receive, identifier, received)

    def tell_dying(self, identifier: str, name: str) -> None:
        """The service is killed in the middle."""
        self.fetch(identifier, 1)
        later(2 * STEP_SECONDS, os._exit, 1)

    def tell_news(self, identifier: str, name: str) -> None:
        """While it runs, somebody announces something with an evil name."""
        self.known = (*self.known, a_content("evil\x1b[2J\x1b[31m"))
        self.emit(ContentsChanged(len(self.known), 2))
        self.tell_forest(identifier, name)

    # -- their parts

    def fetch(self, identifier: str, number: int) -> None:
        self.receive(identifier, (number - 1) * CHUNK_BYTES + CHUNK_BYTES // 2)

    def receive(self, identifier: str, received: int) -> None:
        if self.started[identifier].state not in (DownloadState.STOPPED, DownloadState.PAUSED):
            self.change(
                identifier,
                state=DownloadState.DOWNLOADING,
                received=received,
                size=5 * CHUNK_BYTES,
                peer=FIRST,
                rate=150_000.0,
                seconds_left=6.0,
                elapsed_seconds=2.0,
            )

    def keep(self, identifier: str, name: str, number: int) -> None:
        chunks = list(self.started[identifier].chunks)
        chunks[number - 1] = ChunkStatus(
            number=number, state=ChunkState.HELD, received=CHUNK_BYTES, source=FIRST
        )
        self.receive(identifier, number * CHUNK_BYTES)
        if self.started[identifier].state is not DownloadState.STOPPED:
            self.change(identifier, chunks=tuple(chunks), given={FIRST: number * CHUNK_BYTES})
            text = f"{name}_{number} downloaded from {FIRST}"
            self.notify(identifier, NoticeKind.CHUNK, text)

    def finish(self, identifier: str, name: str) -> None:
        if self.started[identifier].state is not DownloadState.STOPPED:
            self.change(identifier, state=DownloadState.DONE, path=f"/share/{name}.png", peer="")

    def notify(self, identifier: str, kind: NoticeKind, text: str) -> None:
        self.emit(Notice(kind=kind, download=identifier, chunk="", peer="", text=text))


def later(seconds: float, function: Callable[..., Any], *arguments: Any) -> None:
    reactor.callLater(seconds, function, *arguments)


def main() -> None:
    state = Path(sys.argv[1])
    lock = StateLock(state)
    settings = Settings(
        share=state / "share",
        state=state,
        addresses=(IPv4Address("127.0.0.20"),),
        control_port=None,
    )
    service = ControlService(StoryNode(), settings, reactor)
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    later(LIFETIME_SECONDS, reactor.stop)
    later(0.0, os.write, 1, b"ready\n")
    reactor.run()
    lock.release()


if __name__ == "__main__":
    main()
