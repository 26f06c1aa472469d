"""What a name or an id means, and how a classic download becomes a verified one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from peershare.content.manifest import manifest_of
from peershare.download.choosing import CATALOGUE_GRACE_SECONDS
from peershare.errors import AmbiguousContentError, UnknownContentError
from peershare.status import DownloadState, NoticeKind
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

    def holdings_of(self, address: str, *told: tuple[str, str, bytes]) -> None:
        """A native peer holds these: name, id, bytes; nobody was told yet."""
        entries = [CatalogueEntry(n, len(d), i, True) for n, i, d in told]
        digest = take_in(self.holdings, *entries, now=self.reactor.seconds())
        self.assertTrue(self.holdings.attach(Endpoint(address, 5000), digest))

    def tell_natively(self, address: str, *told: tuple[str, str, bytes]) -> None:
        """A native peer announces these."""
        self.holdings_of(address, *told)
        self.downloader.network_changed()

    def candidates(self, query: str, **more: Any) -> list[tuple[str, str, tuple[str, ...]]]:
        """What there is to choose among: name, id, addresses."""
        with self.assertRaises(AmbiguousContentError) as caught:
            self.downloader.start(query, None, **more)
        return [(c.name, c.id, c.addresses) for c in caught.exception.candidates]

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


class CandidateTests(ChoosingTestCase):
    """A name decides nothing: whatever it fits can be meant."""

    def test_however_it_fits(self) -> None:
        """Exactly, by the stem, in another case, in another normal form."""
        for query, one, other in (
            ("report", "report.pdf", "report"),
            ("report2.pdf", "Report2.pdf", "report2.pdf"),
            ("caf\u00e9", "caf\u00e9.txt", "Caf\u00e9.txt"),
            ("cafe\u0301.txt", "caf\u00e9.txt", "CAF\u00c9.txt"),
        ):
            self.tell_natively(A, (one, ID, CONTENT))
            self.tell_natively(B, (other, OTHER, b"something else"))
            found = sorted(self.candidates(query))
            self.assertEqual(found, sorted([(one, ID, (A,)), (other, OTHER, (B,))]))
        self.assertEqual((self.index.downloads(), self.pool.dialled), ((), []))

    def test_whatever_the_protocol(self) -> None:
        """What classic peers announce is not overruled by a native name, nor the other way."""
        for address in (B, C):
            self.tell(address)
        self.tell_natively(A, ("forest.bin", ID, CONTENT))
        expected = [("forest.bin", ID, (A,)), ("forest", "", (B, C))]
        self.assertEqual(self.candidates("forest"), expected)
        self.assertEqual(self.downloader.start("forest", None, source=A).content, ID)
        self.assertEqual(self.downloader.start("forest", None, classic=True).content, "")
        self.assertEqual(self.dialled.host, B)

    def test_the_classic_face_of_a_native_peer(self) -> None:
        """It is nothing of its own, and nobody takes the bytes of the classic content from it."""
        self.tell(A)
        self.tell_natively(A, ("forest.bin", ID, CONTENT))
        self.assertEqual(self.wish("forest").content, ID)
        self.tell(B)
        self.assertEqual(self.candidates("forest")[1], ("forest", "", (B,)))
        self.downloader.start("forest", None, classic=True)
        self.assertEqual(self.dialled.host, B)
        self.serve(limit=2)
        self.let_connections_end()
        hosts = {dialled.host for dialled in self.reactor.dialled}
        self.assertNotIn(A, hosts)

    def test_failing_over_to_a_native_peer(self) -> None:
        """A classic download under way takes the chunks of one whose file has the same length."""
        self.tell(A)
        self.wish("forest")
        self.give(CONTENT[:10])
        self.accept()
        for address, data in ((B, CONTENT + bytes(40)), (C, CONTENT)):
            self.tell(address)
            self.tell_natively(address, ("forest.png", manifest_of(data).content_id, data))
        self.dictionary.forget(A)
        self.dialled.refuse() if self.reactor.waiting else self.reactor.dialled[-1].end()
        self.reactor.advance(2)
        self.serve()
        self.assertEqual((self.status.state, self.status.verified), (DownloadState.DONE, False))
        hosts = {dialled.host for dialled in self.reactor.dialled}
        self.assertEqual((hosts, self.pool.dialled), ({A, C}, []))

    def test_another_extension(self) -> None:
        """It is another file, natively, and so is the classic face of whoever offers it."""
        self.tell(A, stem="report")
        self.tell_natively(A, ("report.pdf", ID, CONTENT))
        self.assertEqual(self.wish("report.docx").state, DownloadState.SEARCHING)
        self.reactor.advance(60)
        self.assertEqual((self.status.state, self.reactor.dialled), (DownloadState.SEARCHING, []))

    def test_a_name_that_a_native_peer_has_just_announced(self) -> None:
        """Its catalogue is waited for, for a while: it may be the face of what is in there."""
        self.natives.add(A)
        self.wish("report.docx")
        self.tell(A, stem="report")
        self.reactor.advance(CATALOGUE_GRACE_SECONDS - 0.5)
        self.assertEqual(self.reactor.dialled, [])
        self.tell_natively(A, ("report.pdf", ID, CONTENT))
        self.reactor.advance(60)
        self.assertEqual(self.reactor.dialled, [])
        self.wish("bee")
        self.tell(A, stem="bee")
        self.reactor.advance(CATALOGUE_GRACE_SECONDS + 0.1)
        self.assertEqual(self.dialled.host, A)

    def test_classic_names(self) -> None:
        """A stem and its whole names, or two spellings, are several; chosen, each is just that."""
        self.tell(A)
        self.tell(B, *(f"forest.exe_{number}" for number in range(1, 6)))
        self.tell(C, stem="Forest")
        names = [name for name, _, _ in self.candidates("forest")]
        self.assertEqual(names, ["Forest", "forest", "forest.exe"])
        self.assertEqual(self.downloader.start("forest", None, classic=True).name, "forest")
        self.serve()
        self.assertEqual({dialled.host for dialled in self.reactor.dialled}, {A})
        self.assertEqual(self.status.path, str(self.share / "forest"))
        self.downloader.start("Forest", None, classic=True)
        self.assertEqual(self.serve()[0], (C, "Forest_1"))

    def test_from_one_address(self) -> None:
        """Only what it has is meant, and by the classic protocol nobody else gives it."""
        for address in (A, B):
            self.tell(address)
        self.downloader.start("forest", None, source=B)
        self.give(CONTENT[:10])
        self.tell(C)
        self.dialled.refuse()
        self.reactor.advance(5)
        self.assertEqual({dialled.host for dialled in self.reactor.dialled}, {B})

    def test_what_was_chosen_is_remembered(self) -> None:
        """After a restart, before a byte has arrived, nobody else's offer is taken for it."""
        self.tell(A)
        self.downloader.start("forest", None, source=A)
        self.restart()
        self.tell_natively(B, ("forest.png", ID, CONTENT))
        self.tell(C)
        self.assertEqual((self.status.content, self.pool.dialled), ("", []))
        self.assertEqual({dialled.host for dialled in self.reactor.waiting}, {A})

    def test_later_names(self) -> None:
        """What is under way takes nothing from a longer name of its stem, nor its extension."""
        self.tell(A)
        self.wish("forest")
        self.give(CONTENT[:10])
        self.tell(B, *(f"forest.exe_{number}" for number in range(1, 6)))
        self.serve()
        self.assertEqual({dialled.host for dialled in self.reactor.dialled}, {A})
        self.assertEqual(Path(self.status.path).name, "forest")

    def test_a_name_that_looks_like_an_id(self) -> None:
        """It may be either; with the prefix it is an id."""
        digits = ID[3:11]
        self.tell_natively(A, ("forest.png", ID, CONTENT))
        self.tell_natively(B, (digits, OTHER, b"something else"))
        self.assertEqual(len(self.candidates(digits)), 2)
        self.assertEqual(self.wish(f"b3:{digits}").content, ID)

    def test_what_is_under_way(self) -> None:
        """A part here is what its name means, and another content of that name is another one."""
        self.tell_natively(A, ("forest.png", ID, CONTENT))
        first = self.wish("forest.png")
        self.holdings.detach(Endpoint(A, 5000))
        self.assertEqual(self.wish("FOREST").id, first.id)
        self.downloader.stop(first.id)
        self.assertEqual(self.wish("forest.png").id, first.id)
        self.tell_natively(B, ("forest.png", OTHER, b"something else"))
        self.assertEqual(len(self.candidates("forest.png")), 2)
        self.assertEqual(self.wish(ID).id, first.id)
        self.restart(resume=False)
        self.tell_natively(B, ("forest.png", OTHER, b"something else"))
        self.assertEqual(len(self.candidates("forest.png")), 2)
        self.assertEqual(self.wish(ID[:12]).id, first.id)

    def test_spaces(self) -> None:
        """They are part of a name."""
        self.tell_natively(A, (" report.txt", ID, CONTENT), ("report.txt", OTHER, b"something"))
        self.assertEqual(self.wish(" report.txt").content, ID)
        self.assertEqual(self.wish("report.txt").content, OTHER)


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

    def test_under_another_name(self) -> None:
        """A name whose bytes are here under another one is made here, a file of its own."""
        self.tell_natively(A, ("tree.png", ID, CONTENT))
        status = self.wish("tree.png")
        made = self.share / "tree.png"
        self.assertEqual((self.status.state, self.status.path), (DownloadState.DONE, str(made)))
        self.assertTrue(self.status.verified)
        self.assertEqual(made.read_bytes(), CONTENT)
        self.assertNotEqual(made.stat().st_ino, self.path.stat().st_ino)
        self.assertEqual(self.pool.dialled, [])
        self.assertEqual(self.wish("tree").id, status.id)
        self.assertEqual(self.wish(ID).state, DownloadState.DONE)

    def test_in_another_case(self) -> None:
        """That is the name of the file which is here."""
        self.tell_natively(A, ("FOREST.png", ID, CONTENT))
        self.assertEqual(self.wish("FOREST.png").path, str(self.path))


class SecondTests(ChoosingTestCase):
    """A second wish for what is on its way."""

    def setUp(self) -> None:
        super().setUp()
        self.elsewhere = self.state.parent / "elsewhere"
        self.tell_natively(A, ("forest.png", ID, CONTENT))
        self.first = self.wish("forest.png")

    def test_into_another_folder(self) -> None:
        """It waits and says for what; it stands still no longer than the first one does."""
        second = self.wish("forest", self.elsewhere)
        self.assertNotEqual(second.id, self.first.id)
        self.assertEqual(second.state, DownloadState.WAITING)
        self.assertIn(str(self.share), second.problem)
        self.assertIn(second.problem, self.notices(NoticeKind.INFO)[-1])
        self.reactor.advance(400)
        self.downloader._roster.find(self.first.id).download._came(A, 1)
        self.assertLess(self.downloader.shown(second.id).idle_seconds, 1)

    def test_when_the_first_one_is_stopped(self) -> None:
        """Then it goes on by itself; the first one, wanted again, waits for it."""
        second = self.wish("forest.png", self.elsewhere)
        self.downloader.stop(self.first.id)
        self.assertEqual(self.downloader.shown(second.id).state, DownloadState.SEARCHING)
        again = self.wish("FOREST.png")
        self.assertEqual((again.id, again.state), (self.first.id, DownloadState.WAITING))
        self.assertIn(str(self.elsewhere), again.problem)

    def test_when_the_first_one_is_paused(self) -> None:
        """So it is then."""
        second = self.wish("forest.png", self.elsewhere)
        self.downloader.pause(self.first.id)
        self.assertEqual(self.downloader.shown(second.id).state, DownloadState.SEARCHING)

    def test_under_another_name(self) -> None:
        """The same bytes by another name are a file of their own, while they are on the way too."""
        self.tell_natively(B, ("tree.png", ID, CONTENT))
        second = self.wish("tree.png")
        self.assertEqual((second.name, second.state), ("tree.png", DownloadState.WAITING))
        self.assertEqual(self.wish("tree").id, second.id)
        self.assertEqual(self.wish("forest").id, self.first.id)


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

    def test_not_once_a_byte_has_arrived(self) -> None:
        """Whoever offers that name from then on, the giver itself included: it stays what it is."""
        self.tell(A)
        self.wish("forest")
        self.accept().give(CONTENT[:1])
        self.tell_natively(A, ("forest.png", OTHER, b"something else"))
        self.tell_natively(B, ("forest.png", ID, CONTENT))
        self.reactor.advance(0.1)
        self.assertEqual((self.status.content, self.status.name), ("", "forest"))
        self.assertEqual(self.pool.dialled, [])

    def test_not_after_a_pause_or_a_restart(self) -> None:
        """What has received a byte once is not a name alone any more, stored chunks or none."""
        self.tell(A)
        identifier = self.wish("forest").id
        self.accept().give(CONTENT[:1])
        self.downloader.pause(identifier)
        self.let_connections_end()
        self.tell_natively(B, ("forest.png", ID, CONTENT))
        self.downloader.resume(identifier)
        self.assertEqual(self.status.content, "")
        self.restart()
        self.tell_natively(B, ("forest.png", ID, CONTENT))
        self.assertEqual((self.status.content, self.pool.dialled), ("", []))

    def test_before_a_byte_has_arrived(self) -> None:
        """A giver that turns out to offer the content itself is asked for that."""
        self.tell(A)
        self.wish("forest")
        self.tell_natively(A, ("forest.png", ID, CONTENT))
        self.assertEqual((self.status.name, self.status.content), ("forest.png", ID))
        self.assertEqual(self.index.downloads()[0].content, ID)

    def test_not_into_one_of_several(self) -> None:
        """A name that is waited for, and then fits several, waits on and says so."""
        self.wish("forest")
        self.holdings_of(A, ("forest.png", ID, CONTENT))
        self.tell_natively(B, ("forest.exe", OTHER, b"something else"))
        status = self.status
        self.assertEqual((status.state, status.content), (DownloadState.SEARCHING, ""))
        self.assertIn("fits 2 different contents", status.problem)
        self.assertRaises(AmbiguousContentError, self.wish, "forest")
        self.assertEqual(self.pool.dialled, [])
        self.holdings.detach(Endpoint(B, 5000))
        self.downloader.network_changed()
        self.assertEqual((self.status.content, self.status.problem), (ID, ""))

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
