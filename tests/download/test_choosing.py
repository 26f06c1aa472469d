"""What a name or an id means, and how a classic download becomes a verified one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from peershare.content.manifest import manifest_of
from peershare.errors import AmbiguousContentError, UnknownContentError
from peershare.library.parts import PART_FOLDER
from peershare.status import DownloadState
from peershare.wire.beacon import Endpoint
from peershare.wire.catalogue import CatalogueEntry
from tests.download.world import CONTENT, A, B, C, DownloadTestCase
from tests.test_holdings import take_in

ID = manifest_of(CONTENT).content_id
OTHER = manifest_of(b"something else").content_id


class SilentPool:
    """Nobody ever answers."""

    def __init__(self) -> None:
        self.dialled: list[str] = []

    def get(self, peer: Endpoint) -> Deferred[Any]:
        self.dialled.append(peer.address)
        return Deferred()


class ChoosingTestCase(DownloadTestCase):
    def make_swarm(self, context: Any) -> Any:
        swarm, chooser = super().make_swarm(context)
        self.pool = SilentPool()
        object.__setattr__(swarm, "pool", self.pool)
        object.__setattr__(swarm, "holders", self.holdings.holders)
        return swarm, chooser

    def tell_natively(self, address: str, *told: tuple[str, str, bytes]) -> None:
        """A native peer holds these: name, id, bytes."""
        entries = [CatalogueEntry(n, len(d), i, True) for n, i, d in told]
        digest = take_in(self.holdings, *entries, now=self.reactor.seconds())
        self.assertTrue(self.holdings.attach(Endpoint(address, 5000), digest))
        self.downloader.network_changed()

    def wish(self, query: str, folder: Path | None = None) -> Any:
        return self.downloader.start(query, folder)


class ChoosingTests(ChoosingTestCase):
    def test_by_name_and_by_id(self) -> None:
        """A name, a stem, or the beginning of an id: one content, verified, under its own name."""
        self.tell_natively(A, ("forest.png", ID, CONTENT))
        first = self.wish("forest.png")
        self.assertEqual((first.name, first.content, first.verified), ("forest.png", ID, True))
        for query in ("forest", "FOREST.PNG", ID, ID[:11], ID[3:11]):
            self.assertEqual(self.wish(query).id, first.id, query)
        self.assertEqual(self.pool.dialled, [A])

    def test_two_contents_of_one_name(self) -> None:
        """They are told as two, with what tells them apart; an id names one."""
        self.tell_natively(A, ("forest.png", ID, CONTENT))
        self.tell_natively(B, ("forest.png", OTHER, b"something else"))
        self.tell_natively(C, ("forest.png", OTHER, b"something else"))
        self.reactor.advance(7)
        with self.assertRaises(AmbiguousContentError) as caught:
            self.wish("forest.png")
        told = {c.id: (c.name, c.size, c.peers, c.age_seconds) for c in caught.exception.candidates}
        self.assertEqual(told[ID], ("forest.png", len(CONTENT), 1, 7.0))
        self.assertEqual(told[OTHER], ("forest.png", 14, 2, 7.0))
        self.assertEqual(self.wish(OTHER).content, OTHER)
        self.assertEqual(self.reactor.dialled, [])

    def test_an_unknown_id(self) -> None:
        """It cannot be looked for by the classic protocol."""
        self.assertRaises(UnknownContentError, self.wish, ID)

    def test_a_name_that_only_classic_peers_tell(self) -> None:
        """It is fetched from them, and is not verified."""
        self.tell(A)
        status = self.wish("forest")
        self.assertEqual((status.content, status.verified), ("", False))
        self.assertEqual(self.dialled.host, A)


class CompleteTests(ChoosingTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.path = self.share / "forest.png"
        self.path.write_bytes(CONTENT)
        self.library.rescan()
        self.reactor.advance(2)
        self.library.rescan()
        self.reactor.advance(0.1)
        self.assertIsNotNone(self.library.find_content(ID))

    def test_what_is_here_already(self) -> None:
        """It is done at once, nobody is dialled, and it stays so."""
        self.tell_natively(A, ("forest.png", ID, CONTENT))
        for query in ("forest.png", ID):
            status = self.wish(query)
            self.assertEqual((status.state, status.path), (DownloadState.DONE, str(self.path)))
        self.assertEqual(self.pool.dialled, [])

    def test_of_our_own_that_nobody_tells(self) -> None:
        """What nobody tells is what we have."""
        self.assertEqual(self.wish("forest.png").path, str(self.path))

    def test_another_one_of_that_name(self) -> None:
        """Who has a file and asks for its name means the one that others have."""
        self.tell_natively(A, ("forest.png", OTHER, b"something else"))
        self.assertEqual(self.wish("forest.png").content, OTHER)

    def test_a_classic_one_of_that_name(self) -> None:
        """So it is where only classic peers tell it."""
        self.tell(A)
        self.assertEqual(self.wish("forest").content, "")

    def test_into_another_folder(self) -> None:
        """It is copied and checked; nobody is asked for it."""
        elsewhere = self.state.parent / "elsewhere"
        status = self.wish("forest.png", elsewhere)
        self.assertEqual(status.state, DownloadState.DONE)
        self.assertEqual((elsewhere / "forest.png").read_bytes(), CONTENT)
        self.assertEqual(self.pool.dialled, [])


class ConvertingTests(ChoosingTestCase):
    def test_while_it_searches(self) -> None:
        """A name that was waited for is verified once a native peer tells it; its id stays."""
        waiting = self.wish("forest")
        self.assertEqual(waiting.state, DownloadState.SEARCHING)
        self.tell_natively(A, ("forest.png", ID, CONTENT))
        status = self.status
        self.assertEqual((status.id, status.name, status.content), (waiting.id, "forest.png", ID))
        self.assertEqual(self.pool.dialled, [A])
        self.assertNotIn(
            DownloadState.STOPPED, [e.download.state for e in self.events if hasattr(e, "download")]
        )

    def test_what_came_is_kept(self) -> None:
        """The part goes on under its new name, and what of it is right need not come again."""
        self.tell(A)
        self.wish("forest")
        self.serve(limit=3)
        self.accept()  # the fourth one is under way
        self.tell_natively(A, ("forest.png", ID, CONTENT))
        self.reactor.advance(0.1)
        (part,) = [path.name for path in (self.share / PART_FOLDER).iterdir()]
        self.assertEqual(part, f"{self.status.id}-forest.png.part")
        self.assertEqual(self.index.downloads()[0].content, ID)

    def test_not_from_peers_that_are_classic_alone(self) -> None:
        """What others give by the classic protocol goes on: it may be another file."""
        self.tell(A)
        self.wish("forest")
        self.accept()
        self.tell_natively(B, ("forest.png", ID, CONTENT))
        self.assertEqual(self.status.content, "")

    def test_stopped_by_the_user_on_the_way(self) -> None:
        """Then it stays stopped."""
        status = self.wish("forest")
        self.downloader.stop(status.id)
        self.tell_natively(A, ("forest.png", ID, CONTENT))
        self.assertEqual(self.status.state, DownloadState.STOPPED)
        self.assertEqual(self.pool.dialled, [])
