"""The list of contents: right at every moment, and made anew only where something changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from peershare import holdings as holdings_module
from peershare import listing
from peershare.dictionary import ContentDictionary
from peershare.holdings import Holdings
from peershare.library.entries import SharedFile
from peershare.library.files import Identity
from peershare.listing import MAX_LISTS, MOST_PEERS, ContentsList
from peershare.status import ContentStatus, Listing
from peershare.wire.beacon import Endpoint
from tests.test_dictionary import chunks, five
from tests.test_holdings import content, entry, sweep, take_in

A, B = "198.18.0.2", "198.18.0.3"


class FakeLibrary:
    """A library of files by name, each with the content id that it has, or ""."""

    def __init__(self) -> None:
        self.ids: dict[str, str] = {}
        self.stems: dict[str, str] = {}
        self.changed: Callable[[], None] = lambda: None
        self.reasons: dict[str, str] = {}
        self.not_offered_version = 0

    def on_change(self, callback: Callable[[], None]) -> None:
        self.changed = callback

    def files(self) -> tuple[SharedFile, ...]:
        identity = Identity(1, 2, 10, 3)
        return tuple(SharedFile(name, Path("/s"), name, identity, "") for name in self.ids)

    def not_offered(self) -> dict[str, str]:
        return self.reasons

    def leave_out(self, name: str, reason: str) -> None:
        self.reasons[name] = reason
        self.not_offered_version += 1

    def content_id(self, file: SharedFile) -> str:
        return self.ids[file.path.name]

    def chunk_names(self, file: SharedFile) -> tuple[str, ...]:
        stem = self.stems.get(file.path.name)
        return () if stem is None else tuple(f"{stem}_{number}" for number in range(1, 6))

    def put(self, name: str, identifier: str = "") -> None:
        self.ids[name] = identifier
        self.changed()


class ContentsListTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.library, self.dictionary = FakeLibrary(), ContentDictionary()
        self.holdings = Holdings(lambda address: False)
        self.wanted: frozenset[str] = frozenset()
        self.classic_files: set[Path] = set()
        parts: Any = SimpleNamespace(
            library=self.library,
            dictionary=self.dictionary,
            neighbourhood=SimpleNamespace(holdings=self.holdings),
            downloader=SimpleNamespace(
                under_way=lambda: self.wanted, is_classic_file=self.classic_files.__contains__
            ),
        )
        self.clock = Clock()
        self.list = ContentsList(parts, self.clock)

    def give(self, address: str, *names: str, complete: bool = True) -> None:
        """A native peer has these."""
        digest = take_in(self.holdings, *(entry(name, complete=complete) for name in names))
        self.holdings.attach(Endpoint(address, 5000), digest)
        sweep(self.holdings)

    def tell(self, address: str, stem: str) -> None:
        """A classic peer has this."""
        self.dictionary.tell(address, chunks(*five(f"{stem}_{{}}")), 0.0)

    def get(self, pattern: str = "") -> Listing:
        """The list, once it is made."""
        asked = self.list.get(pattern)
        while not asked.called:
            self.clock.advance(0.02)
        return self.successResultOf(asked)

    def names(self, pattern: str = "") -> list[str]:
        return [found.name for found in self.get(pattern).contents]

    def one(self, name: str) -> ContentStatus:
        (found,) = self.get(name).contents
        return found

    def test_all(self) -> None:
        """Our own, what native peers and what classic peers tell, by name whatever the case."""
        self.library.put("b.txt")
        self.give(A, "C.txt", "a.txt")
        self.tell(B, "Dune")
        self.assertEqual(self.names(), ["a.txt", "b.txt", "C.txt", "Dune"])
        self.assertEqual(self.names("*.TXT"), ["a.txt", "b.txt", "C.txt"])
        self.assertEqual(
            [self.one(n).verified for n in ("a.txt", "b.txt", "dune")], [False, False, False]
        )
        self.library.put("b.txt", content("b.txt"))
        self.assertTrue(self.one("b.txt").verified, "it is here, and was hashed")

    def test_one_row_a_content(self) -> None:
        """What we have ourselves and a native peer too is one line, with its holders alone."""
        self.give(A, "forest.png", "own.png", complete=False)
        self.library.put("own.png", content("own.png"))
        self.assertEqual(self.names(), ["forest.png", "own.png"])
        own = self.one("own.png")
        self.assertEqual((own.peers, own.shared), ((A,), True))
        self.library.put("Own.PNG", content("own.png"))
        self.assertEqual(self.names(), ["forest.png", "own.png", "Own.PNG"])

    def test_names_of_classic_peers(self) -> None:
        """They may be other bytes than what native peers, or we, have under such a name."""
        self.give(A, "forest.png", complete=False)
        self.library.put("own.png", content("own.png"))
        self.tell(B, "forest")
        self.tell(B, "own")
        self.assertEqual(self.names(), ["forest", "forest.png", "own", "own.png"])
        self.assertEqual((self.one("forest").peers, self.one("forest").id), ((B,), ""))
        native = self.one("forest.png")
        self.assertEqual((native.peers, native.complete), ((A,), False))
        self.assertEqual(self.one("own.png").peers, ())

    def test_what_a_native_peer_announces_to_classic_ones(self) -> None:
        """It adds nothing to its catalogue, gone or not: no row, and no holder."""
        self.give(A, "forest.png")
        for stem in ("forest", "berg", "lake"):
            self.tell(A, stem)
        self.tell(B, "lake")
        self.assertEqual(self.names(), ["forest.png", "lake"])
        self.assertEqual(self.one("lake").peers, (B,))
        self.assertEqual(self.get().total, 2)
        self.holdings.detach(Endpoint(A, 5000))
        self.dictionary.forget(A)
        self.assertEqual(self.names(), ["lake"])

    def test_a_file_that_came_from_classic_peers(self) -> None:
        """It stands with those who announce it, and is not called verified."""
        self.library.put("lake.png", content("lake.png"))
        self.library.stems["lake.png"] = "lake"
        self.tell(B, "lake")
        self.classic_files.add(Path("/s/lake.png"))
        own = self.one("lake*")
        self.assertEqual((own.name, own.peers, own.verified), ("lake.png", (B,), False))

    def test_what_is_not_offered(self) -> None:
        """It stands in the own list with its reason: files, and what is none."""
        self.library.put("what?.txt")
        self.library.leave_out("what?.txt", "it holds the character ?")
        self.assertEqual(self.one("what?.txt").not_offered, "it holds the character ?")
        self.library.leave_out("holiday", "it is a folder")
        self.assertEqual(self.names(), ["holiday", "what?.txt"])
        folder = self.one("holiday")
        self.assertEqual((folder.not_offered, folder.shared), ("it is a folder", False))

    def test_nothing_changed(self) -> None:
        """What was made is given again, for each pattern its own."""
        self.give(A, "a", "b")
        every, some = self.get(), self.get("a*")
        self.assertIs(self.get(), every)
        self.assertIs(self.get("a*"), some)

    def test_each_change(self) -> None:
        """Whatever changes in what it shows, the next one who asks sees it."""
        self.give(A, "a")
        self.assertEqual(self.names(), ["a"])
        self.library.put("own")
        self.assertEqual(self.names(), ["a", "own"])
        self.tell(B, "classic")
        self.assertEqual(self.names(), ["a", "classic", "own"])
        self.give(A, "a", "new")
        self.assertEqual(self.names(), ["a", "classic", "new", "own"])
        self.holdings.detach(Endpoint(A, 5000))
        self.assertEqual(self.names(), ["classic", "own"])
        self.library.put("own", content("own"))
        self.assertEqual(self.one("own").id, content("own"))

    def test_downloading(self) -> None:
        """What is being downloaded says so, by its id or its classic name, as long as it is."""
        self.give(A, "a")
        self.tell(B, "classic")
        for wanted in (content("a"), "classic"):
            self.wanted = frozenset({wanted})
            marked = {found.id or found.name for found in self.get().contents if found.downloading}
            self.assertEqual(marked, {wanted})
        self.wanted = frozenset()
        self.assertFalse(any(found.downloading for found in self.get().contents))

    def test_native_ones_are_kept(self) -> None:
        """A change of ours does not look at all that native peers tell again."""
        self.give(A, "a")
        before = self.one("a")
        self.library.put("own")
        self.assertIs(self.one("a"), before)
        self.give(B, "a")
        self.assertEqual(self.one("a").peers, (A, B))

    def test_many_patterns(self) -> None:
        """Of very many patterns the last ones are kept, and the one that is asked for again."""
        self.give(A, "a")
        page = self.get()
        first = self.get("a")
        for number in range(2 * MAX_LISTS):
            self.get(f"a*{number}")
            self.assertIs(self.get(), page)
        again = self.get("a")
        self.assertEqual(again, first)
        self.assertIsNot(again, first)

    def test_a_name_that_is_not_utf8(self) -> None:
        """It is listed with question marks and can be sent as JSON like any other."""
        self.library.put("bad\udcff.txt")
        listed = self.get().contents
        self.assertEqual([found.name for found in listed], ["bad?.txt"])
        self.assertIn(b"bad?.txt", msgspec.json.encode(listed))

    def test_each_address_has_an_equal_part(self) -> None:
        """One that has very much takes nobody's place, and what is cut is counted."""
        self.patch(listing, "MOST_CONTENTS", 20)
        self.library.put("own")
        self.give(A, *(f"aaa{n:03}" for n in range(300)))
        self.give(B, "honest one", "honest two")
        found = self.get()
        names = [content.name for content in found.contents]
        self.assertEqual((found.total, found.shown, len(names)), (303, 21, 21))
        self.assertTrue({"own", "honest one", "honest two"} <= set(names))
        some = self.get("*0*")
        self.assertEqual((some.total, some.shown), (138, 20))

    def test_one_that_repeats_what_others_have(self) -> None:
        """An entry of another address at the end of a long catalogue does not go with it."""
        self.patch(listing, "MOST_CONTENTS", 20)
        self.give(A, "honest", *(f"aaa{n:03}" for n in range(300)))
        self.give(B, "honest")
        self.assertIn("honest", self.names())
        self.assertEqual(self.get().total, 301)

    def test_classic_names_have_equal_parts(self) -> None:
        """So it is with what classic peers announce."""
        self.patch(listing, "MOST_CONTENTS", 20)
        for number in range(100):
            self.tell(A, f"aaa{number:03}")
        self.tell(B, "honest")
        self.assertIn("honest", self.names())
        found = self.get()
        self.assertEqual((found.total, found.shown), (101, 20))

    def test_what_is_not_kept_counts(self) -> None:
        """Entries for which there is no memory are part of what there is."""
        self.holdings._max_cost = 200_000
        self.give(A, *(f"a{n:04}" for n in range(1_000)))
        found = self.get()
        self.assertLess(found.shown, 1_000)
        self.assertEqual(found.total, 1_000)

    def test_peers_of_a_content_are_bounded(self) -> None:
        """A row does not grow with the network."""
        for number in range(2 * MOST_PEERS):
            self.tell(f"198.18.1.{number}", "forest")
        self.assertEqual(len(self.one("forest").peers), 32)
        for number in range(2 * MOST_PEERS):
            self.give(f"198.18.2.{number}", "tree")
        self.assertEqual(len(self.one("tree").peers), MOST_PEERS)

    def test_made_in_slices(self) -> None:
        """A turn of the reactor looks at no more than there is time for."""
        self.give(A, *(f"a{n:04}" for n in range(6_000)))
        spent = 0.0
        cpu_of_a_step = 0.001

        def cpu() -> float:
            nonlocal spent
            spent += cpu_of_a_step
            return spent

        self.list._cpu = cpu
        looked_at = []
        fits = listing.fitting

        def counted(pattern: str) -> Callable[[str], bool]:
            inner = fits(pattern)

            def one(name: str) -> bool:
                looked_at[-1] += 1
                return inner(name)

            return one

        turn = self.list._turn

        def counted_turn() -> None:
            looked_at.append(0)
            turn()

        self.patch(holdings_module, "fitting", counted)
        self.patch(self.list, "_turn", counted_turn)
        asked = self.list.get("*nothing*")
        self.clock.advance(0.02)
        self.successResultOf(asked)
        self.assertGreaterEqual(sum(looked_at), 6_000)
        self.assertLessEqual(max(looked_at), 1_600)

    def test_a_search_ends(self) -> None:
        """After some time it is cut and says so, and whoever has little has been looked at."""
        self.give(A, *(f"a{n:04}" for n in range(3_000)))
        self.give(B, "honest nothing")
        self.list._cpu = iter(n / 4 for n in range(1_000)).__next__
        found = self.get("*nothing*")
        self.assertEqual([content.name for content in found.contents], ["honest nothing"])
        self.assertEqual(found.total, 3_001)

    def test_a_list_that_took_long_is_good_for_a_moment(self) -> None:
        """Changes that come all the time do not have it made all the time."""
        self.give(A, "a")
        self.list._cpu = iter(range(1_000)).__next__
        self.assertEqual(self.names(), ["a"])
        self.give(B, "b")
        self.assertEqual(self.names(), ["a"])
        self.clock.advance(1.0)
        self.assertEqual(self.names(), ["a", "b"])

    def test_asked_for_twice_made_once(self) -> None:
        """Whoever asks meanwhile gets the same one; one who has gone changes nothing."""
        self.give(A, "a")
        asked = [self.list.get() for _ in range(3)]
        asked[1].addErrback(lambda _: None)
        asked[1].cancel()
        self.clock.advance(0.02)
        self.assertIs(self.successResultOf(asked[0]), self.successResultOf(asked[2]))
