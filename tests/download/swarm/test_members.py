"""The members: what sessions tell reaches the fetch, and what is wrong is charged."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from peershare.content.blocks import BlockSet
from peershare.content.manifest import Manifest, manifest_of
from peershare.download.swarm.members import MOST_REFUSALS, Members
from peershare.errors import PeerError, Reason, StorageError
from peershare.wire.beacon import Endpoint
from peershare.wire.messages import Content, Problem
from tests.download.swarm.parts import NotingSession, content

A, B = Endpoint("198.18.0.2", 5000, "aa"), Endpoint("198.18.0.3", 5000, "bb")


class NotingOwner:
    """A download that notes."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []

    def learned(self, manifest: Manifest, data: bytes | None) -> None:
        self.events.append(("learned", manifest, data))

    def met(self, receivers: Any) -> None:
        if receivers:
            self.events.append(("met", receivers))

    def lost(self, peer: Endpoint, error: PeerError) -> None:
        self.events.append(("lost", peer, error.reason))

    def withdrew(self, peer: Endpoint) -> None:
        self.events.append(("withdrew", peer))

    def gave(self, peer: Endpoint, length: int) -> None:
        self.events.append(("gave", peer, length))

    def disk_failed(self, failure: Any) -> None:
        self.events.append(("disk", str(failure.value)))


class NotingFetching:
    """A fetch that notes."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.useless: set[str] = set()

    def interested(self, peer: Endpoint) -> bool:
        return peer not in self.useless

    def joined(self, session: Any, have: Any, *, steered: bool) -> None:
        self.events.append(("joined", session.endpoint, have, steered))

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self.events.append((name, *arguments))


class MembersTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.data = content(3)
        self.manifest = manifest_of(self.data)
        self.owner = NotingOwner()
        self.fetching: Any = NotingFetching()
        self.members = Members(self.manifest.content_id, self.owner)

    def told(self, **fields: Any) -> Content:
        size = fields.pop("size", len(self.data))
        identifier = self.manifest.content_id
        return Content(content=identifier, size=size, length=0, **fields)

    def session(self, peer: Endpoint = A, size: int = 0) -> Any:
        session: Any = NotingSession(peer)
        self.members.join(session, size, None)
        return session

    def test_the_manifest_of_the_first_one(self) -> None:
        """Whoever comes first is asked for it; who joins later is not."""
        session = self.session()
        self.assertEqual(session.joined, [(self.manifest.content_id, True, [])])
        receivers = ((B, 5000),)
        told = self.told(receivers=receivers)
        self.members.content_told(session, told, self.manifest.digests, None)
        self.assertEqual(self.owner.events, [("learned", self.manifest, None), ("met", receivers)])
        later = self.session(B)
        self.assertEqual(later.joined[0][1], False)

    def test_what_was_told_before_the_fetch_begins(self) -> None:
        """Nothing is lost: what it has, what it got since, what it granted, and that it opened."""
        first, second = self.session(A), self.session(B)
        have = BlockSet(3, [0])
        self.members.content_told(first, self.told(), self.manifest.digests, have)
        self.members.blocks_had(first, [2])
        self.members.content_told(second, self.told(steered=True), b"", None)
        self.members.blocks_granted(second, [1])
        self.members.fetch(self.fetching)
        self.assertEqual(
            self.fetching.events,
            [
                ("joined", A, BlockSet(3, [0, 2]), False),
                ("joined", B, None, True),
                ("granted", B, [1]),
            ],
        )

    def test_another_size(self) -> None:
        """Who tells another size of a content whose manifest is known lies."""
        self.members.manifest = self.manifest
        session = self.session()
        with self.assertRaises(PeerError) as caught:
            self.members.content_told(session, self.told(size=5), b"", None)
        self.assertEqual(caught.exception.reason, Reason.WRONG_MANIFEST)

    def test_refusals(self) -> None:
        """A block that is not there is looked for elsewhere; who refuses for ever is left."""
        self.members.manifest = self.manifest
        session = self.session()
        self.members.content_told(session, self.told(), b"", None)
        self.members.fetch(self.fetching)
        self.fetching.events.clear()
        lacks = Problem(code="not-here", message="no", blocks=((1, 1),))
        for _ in range(MOST_REFUSALS - 1):
            self.members.refused(session, lacks)
        self.assertEqual(self.fetching.events, [("refused", A, (1,))] * (MOST_REFUSALS - 1))
        self.members.refused(session, lacks)
        self.assertEqual(self.owner.events, [("lost", A, Reason.NOT_HERE)])
        self.assertEqual(session.left, [self.manifest.content_id])

    def test_nothing_of_what_was_told(self) -> None:
        """Who refuses the last block that is of use is left, to be asked anew what it has."""
        self.members.manifest = self.manifest
        session = self.session()
        self.members.content_told(session, self.told(), b"", None)
        self.members.fetch(self.fetching)
        self.fetching.useless.add(A)
        gone = Problem(code="not-here", message="no", blocks=((0, 3),))
        self.members.refused(session, gone)
        self.assertEqual(self.owner.events, [("lost", A, Reason.NOT_HERE)])
        self.assertEqual(session.left, [self.manifest.content_id])

    def test_a_changed_file(self) -> None:
        """A peer whose file changed is left at once, and not blamed for lying."""
        session = self.session()
        self.members.refused(session, Problem(code="changed", message="it changed"))
        self.assertEqual(self.owner.events, [("lost", A, Reason.CHANGED)])

    def test_lost_sessions_and_disks(self) -> None:
        """Whose fault it is stays what it was."""
        session = self.session()
        self.members.storage_failed(session, 0, StorageError("the disk is full"))
        self.members.session_lost(session, PeerError(Reason.RESET, "cut"))
        self.assertEqual(
            self.owner.events, [("disk", "the disk is full"), ("lost", A, Reason.RESET)]
        )
        self.members.leave_all()
        self.assertEqual(session.left, [])


class OneBlockTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.data = content(0.4)
        self.manifest = manifest_of(self.data)
        self.owner = NotingOwner()
        self.members = Members(self.manifest.content_id, self.owner)

    def give(self, data: bytes) -> Any:
        session: Any = NotingSession(A)
        self.members.join(session, len(self.data), None)
        self.assertEqual(session.attached, [(self.manifest.content_id, len(self.data))])
        self.assertEqual(session.requested, [0])
        sink = self.members.block_begins(session, 0, len(data))
        assert sink is not None
        sink.write(memoryview(data))
        self.members.block_arrived(session, 0)
        return session

    def test_one_round_trip(self) -> None:
        """No manifest is asked for: the id vouches for the bytes themselves."""
        self.give(self.data)
        self.assertEqual(
            self.owner.events,
            [("gave", A, len(self.data)), ("learned", self.manifest, self.data)],
        )

    def test_wrong_bytes(self) -> None:
        """Bytes of something else are charged, and the peer is told so: it may not know."""
        session = self.give(b"?" * len(self.data))
        self.assertEqual(self.owner.events, [("lost", A, Reason.WRONG_BYTES)])
        ((index, withdrew),) = session.reported
        withdrew()
        self.assertEqual((index, self.owner.events[1:]), (0, [("withdrew", A)]))
        self.assertEqual(session.left, [self.manifest.content_id])
