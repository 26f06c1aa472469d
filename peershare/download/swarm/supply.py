"""The supply of one verified download: its sources, and what they told, kept in step.

Not for: which block from whom (`fetching`), or what follows when nobody gives (`download`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from twisted.python.failure import Failure

from peershare.content.blocks import BlockSet
from peershare.content.manifest import Manifest
from peershare.download.swarm.context import SwarmContext
from peershare.download.swarm.fetching import Fetching
from peershare.download.swarm.members import Members
from peershare.download.swarm.reports import SwarmReports
from peershare.download.swarm.session import PeerSession
from peershare.download.swarm.sources import Sources
from peershare.errors import PeerError, Reason
from peershare.holdings import Holder
from peershare.wire.beacon import Endpoint

_MOST_MET = 200
_EMPTY = Manifest(0, b"")
_BLAMED = {Reason.WRONG_BYTES, Reason.WRONG_MANIFEST, Reason.BAD_MESSAGE}


class Owner(Protocol):
    """The download that is supplied."""

    def learned(self, manifest: Manifest, data: bytes | None) -> None:
        """The manifest is known; `data` is the content if that is but one block."""

    def gave(self, peer: Endpoint, length: int) -> None:
        """The only block of this content came, and is right."""

    def found_somebody(self) -> None:
        """There is a session with somebody who has some of it."""

    def disk_failed(self, failure: Failure) -> None:
        """Our own disk is in the way."""


class Supply:
    """Holds sessions from `start` to `stop`."""

    def __init__(
        self, context: SwarmContext, content: str, reports: SwarmReports, owner: Owner
    ) -> None:
        self._context = context
        self._content = content
        self._reports = reports
        self._owner = owner
        self._held: BlockSet | None = None
        self._met: dict[tuple[str, int], None] = {}  # addresses and ports, by hearsay
        self._members = Members(content, self)
        self._sources = Sources(
            context.common.reactor,
            context.random,
            context.pool,
            self._holders,
            self._connected,
            self._failed,
        )

    @property
    def manifest(self) -> Manifest | None:
        """What the content hashes to, once it is known."""
        return self._members.manifest

    def recall(self) -> bool:
        """Whether the manifest is known without asking anybody.  Raises `StorageError`."""
        if self._members.manifest is None:
            self._members.manifest = self._recorded()
        return self._members.manifest is not None

    def _recorded(self) -> Manifest | None:
        if self._content == _EMPTY.content_id:
            return _EMPTY
        own = self._context.library.find_content(self._content)
        return self._context.index.manifest(self._content) if own is None else own.manifest

    @property
    def busy(self) -> bool:
        """Whether there is somebody who gives, or may soon."""
        return self._sources.busy

    @property
    def hopeful(self) -> bool:
        """Whether somebody has what we lack, or is only being dialled."""
        return self._sources.busy and not self._members.all_useless

    def problems(self) -> dict[str, str]:
        """Why each address that failed did."""
        return self._sources.problems()

    def start(self, most: int, fetching: Fetching | None, held: BlockSet | None) -> None:
        """Hold up to `most` sessions, which give to `fetching`; `held` is what we have."""
        self._held = held
        if fetching is not None:
            self._members.fetch(fetching)
        self._sources.most = most
        self._sources.start()

    def stop(self, *, hang_up: bool = False) -> None:
        """Let go of everybody; `hang_up`: end the sessions that nobody else needs."""
        sessions = tuple(self._sources.sessions.values()) if hang_up else ()
        self._sources.stop()
        self._members.leave_all()
        for session in sessions:
            if session.idle:
                session.close()

    def refresh(self) -> None:
        """Somebody may be there whom we know not yet."""
        self._sources.refresh()

    def look_around(self) -> None:
        """Where nobody here has what is missing: turn even to who was wrong once.

        Where there are more than we may hold sessions with: let go of one that has nothing.
        """
        self._sources.desperate = self._members.all_useless
        if self._sources.desperate:
            self._sources.refresh()
        if not self._sources.others_waiting():
            return
        for peer in self._members.useless()[:1]:
            self._members.leave(peer)
            self._reports.closed(peer)
            self._sources.exchange(peer)

    def gave_right(self, peer: Endpoint) -> None:
        """What this peer gave was right."""
        self._sources.gave(peer)

    def gave_wrong(self, peer: Endpoint, index: int) -> None:
        """What this peer gave for a block is something else."""
        error = PeerError(Reason.WRONG_BYTES, f"gave wrong bytes for block {index}")
        self._members.charge_wrong(peer, index, error)

    # -- what members and sources say

    def learned(self, manifest: Manifest, data: bytes | None) -> None:
        """Members: the manifest is known."""
        self._owner.learned(manifest, data)

    def gave(self, peer: Endpoint, length: int) -> None:
        """Members: the only block came."""
        self._owner.gave(peer, length)

    def disk_failed(self, failure: Failure) -> None:
        """Members: our own disk is in the way."""
        self._owner.disk_failed(failure)

    def met(self, receivers: Sequence[tuple[str, int]]) -> None:
        """Members: others who are fetching it, too."""
        for place in receivers:
            if len(self._met) < _MOST_MET:
                self._met[place] = None
        self._sources.refresh()

    def withdrew(self, peer: Endpoint) -> None:
        """Members: it did not know that its bytes were wrong, and offers them no more."""
        self._sources.excuse(peer)

    def lost(self, peer: Endpoint, error: PeerError) -> None:
        """Members: a session is over for this content."""
        self._sources.fail(peer, error, blame=error.reason in _BLAMED)

    def _connected(self, session: PeerSession, holder: Holder) -> None:
        self._reports.joined(session.endpoint)
        self._owner.found_somebody()
        self._members.join(session, holder.size, self._held)

    def _failed(self, peer: Endpoint, error: PeerError) -> None:
        self._reports.failed(peer, error, len(self._sources.sessions))

    def _holders(self) -> tuple[Holder, ...]:
        """Who may be dialled: who told that it has some of it, and whom we heard of so."""
        told = tuple(self._context.holders(self._content))
        known = {holder.endpoint for holder in told}
        met = (
            Holder(peer, complete=False, size=0)
            for place in self._met
            if (peer := self._context.proven_at(*place)) is not None and peer not in known
        )
        return (*told, *met)
