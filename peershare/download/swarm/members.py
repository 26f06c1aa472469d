"""The members of a swarm as one download sees them: what each session told of the content.

Not for: whom to dial (`sources`), which block from whom (`fetching`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from twisted.python.failure import Failure

from peershare.content.blocks import MIN_BLOCK_BYTES, BlockSet, runs, unrolled
from peershare.content.manifest import Manifest
from peershare.content.names import display
from peershare.download.swarm.faces import BlockSink
from peershare.download.swarm.fetching import Fetching
from peershare.download.swarm.part import manifest_of_one
from peershare.download.swarm.session import PeerSession
from peershare.download.swarm.sinks import BytesSink
from peershare.errors import PeerError, Reason, StorageError
from peershare.wire.beacon import Endpoint
from peershare.wire.messages import MAX_RUNS, Content, Problem

# Whoever says so often that it has not what it told is not asked any more.
MOST_REFUSALS = 8


class Owner(Protocol):
    """The download, as its members see it."""

    def learned(self, manifest: Manifest, data: bytes | None) -> None:
        """The manifest is known; `data` is the content if that is but one block."""

    def met(self, receivers: Sequence[tuple[str, int]]) -> None:
        """Others who are fetching this content, by hearsay."""

    def lost(self, peer: Endpoint, error: PeerError) -> None:
        """A session is over for this content."""

    def withdrew(self, peer: Endpoint) -> None:
        """Its bytes were wrong, which it did not know: it offers them no more."""

    def gave(self, peer: Endpoint, length: int) -> None:
        """The only block of this content came, and is right."""

    def disk_failed(self, failure: Failure) -> None:
        """Our own disk is in the way."""


@dataclass
class _Member:
    """One session, and what it told."""

    session: PeerSession
    told: bool = False
    have: BlockSet | None = None
    steered: bool = False
    granted: list[int] = field(default_factory=list)
    refusals: int = 0
    single: BytesSink | None = None  # where the only block of a content goes


class Members:
    """The listener of one content on all of its sessions (`faces.ContentListener`)."""

    def __init__(self, content: str, owner: Owner) -> None:
        self._content = content
        self._owner = owner
        self._members: dict[Endpoint, _Member] = {}
        self.manifest: Manifest | None = None
        self._fetching: Fetching | None = None

    # -- what the download says

    def join(self, session: PeerSession, size: int, have: BlockSet | None) -> None:
        """Begin with a session whose peer told `size` bytes; `have` is what we hold."""
        member = self._members[session.endpoint] = _Member(session)
        if self.manifest is None and 0 < size <= MIN_BLOCK_BYTES:
            # no manifest is needed, nor anything but one round trip
            member.single = BytesSink(size)
            session.attach(self._content, size, self)
            session.request(self._content, [0])
            return
        session.join(
            self._content,
            self,
            manifest=self.manifest is None,
            have=runs(have or ())[:MAX_RUNS],
        )

    def fetch(self, fetching: Fetching) -> None:
        """Give to this from now on."""
        self._fetching = fetching
        for member in self._members.values():
            if member.told:
                self._hand_over(member)

    def leave(self, peer: Endpoint) -> None:
        """Nothing more of this session."""
        member = self._members.pop(peer, None)
        if member is not None:
            member.session.leave(self._content)
            if self._fetching is not None:
                self._fetching.left(peer)

    def leave_all(self) -> None:
        """Nothing more of anybody."""
        self._fetching = None
        for peer in tuple(self._members):
            self.leave(peer)

    def useless(self) -> tuple[Endpoint, ...]:
        """The peers that have nothing which we lack."""
        fetching = self._fetching
        if fetching is None:
            return ()
        told = (peer for peer, member in self._members.items() if member.told)
        return tuple(peer for peer in told if not fetching.interested(peer))

    @property
    def all_useless(self) -> bool:
        """Whether there are members, and none of them has anything which we lack."""
        return bool(self._members) and len(self.useless()) == len(self._members)

    # -- what sessions say

    def content_told(
        self, session: PeerSession, told: Content, digests: bytes, have: BlockSet | None
    ) -> None:
        """Session: the answer to `join`.  Raises `PeerError`."""
        member = self._members[session.endpoint]
        if self.manifest is None:
            self.manifest = Manifest(told.size, digests)
            self._owner.learned(self.manifest, None)
        elif told.size != self.manifest.size:
            raise PeerError(Reason.WRONG_MANIFEST, f"says that it has {told.size} bytes")
        member.told, member.have, member.steered = True, have, told.steered
        if self._fetching is not None:
            self._hand_over(member)
        self._owner.met(told.receivers)

    def _hand_over(self, member: _Member) -> None:
        """Let it give."""
        if self._fetching is None:
            return
        self._fetching.joined(member.session, member.have, steered=member.steered)
        granted, member.granted = member.granted, []
        if granted:
            self._fetching.granted(member.session.endpoint, granted)

    def blocks_had(self, session: PeerSession, blocks: Sequence[int]) -> None:
        """Session: it has more."""
        member = self._members[session.endpoint]
        if self._fetching is not None:
            self._fetching.had(session.endpoint, blocks)
        elif member.have is not None:
            for index in blocks:
                member.have.add(index)

    def blocks_granted(self, session: PeerSession, blocks: Sequence[int]) -> None:
        """Session: these may be asked for, and no others."""
        if self._fetching is not None:
            self._fetching.granted(session.endpoint, blocks)
        else:
            self._members[session.endpoint].steered = True
            self._members[session.endpoint].granted += blocks

    def opened(self, session: PeerSession) -> None:
        """Session: any may be asked for."""
        if self._fetching is not None:
            self._fetching.opened(session.endpoint)
        else:
            self._members[session.endpoint].steered = False

    def block_begins(self, session: PeerSession, index: int, length: int) -> BlockSink | None:
        """Session: a block is coming."""
        member = self._members[session.endpoint]
        if member.single is not None:
            return member.single
        if self._fetching is None:
            return None
        return self._fetching.begins(session.endpoint, index, length)

    def block_arrived(self, session: PeerSession, index: int) -> None:
        """Session: all of its bytes came."""
        member = self._members[session.endpoint]
        if member.single is not None:
            self._single_arrived(member, member.single)
        elif self._fetching is not None:
            self._fetching.arrived(session.endpoint, index)

    def _single_arrived(self, member: _Member, single: BytesSink) -> None:
        """The only block of a small content: it has to hash to the id."""
        data, peer = bytes(single.data), member.session.endpoint
        manifest = manifest_of_one(data, self._content)
        if manifest is None:
            error = PeerError(Reason.WRONG_BYTES, "gave bytes of something else")
            self.charge_wrong(peer, 0, error)
        elif self.manifest is None:
            self.manifest = manifest
            member.told = True
            self._owner.gave(peer, len(data))
            self._owner.learned(manifest, data)

    def storage_failed(self, session: PeerSession, index: int, error: StorageError) -> None:
        """Session: what we do with its bytes failed."""
        self._owner.disk_failed(Failure(error))

    def refused(self, session: PeerSession, problem: Problem) -> None:
        """Session: it will not give this."""
        peer = session.endpoint
        member = self._members[peer]
        member.refusals += 1
        lacks = problem.code == "not-here" and problem.blocks
        if lacks and self._fetching is not None and member.refusals < MOST_REFUSALS:
            self._fetching.refused(peer, tuple(unrolled(problem.blocks)))
            if self._fetching.interested(peer):
                return
            # it has nothing of what it told: what it has is to be asked anew, after a while
        reason = _REASONS.get(problem.code, Reason.NOT_HERE)
        self.charge(peer, PeerError(reason, f"refuses: {display(problem.message)}"))

    def session_lost(self, session: PeerSession, error: PeerError) -> None:
        """Session: it is over."""
        self._members.pop(session.endpoint, None)
        if self._fetching is not None:
            self._fetching.left(session.endpoint)
        self._owner.lost(session.endpoint, error)

    def charge_wrong(self, peer: Endpoint, index: int, error: PeerError) -> None:
        """What it gave for a block is wrong: tell it, and take nothing more of it."""
        member = self._members.get(peer)
        if member is not None:
            withdrew = partial(self._owner.withdrew, peer)
            member.session.report_wrong(self._content, index, withdrew)
            self.charge(peer, error)

    def charge(self, peer: Endpoint, error: PeerError) -> None:
        """What it gave is wrong: take nothing more of it."""
        if peer in self._members:
            self.leave(peer)
            self._owner.lost(peer, error)


_REASONS = {"busy": Reason.BUSY, "changed": Reason.CHANGED, "unreadable": Reason.CHANGED}
