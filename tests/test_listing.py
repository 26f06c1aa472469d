"""The list of contents: right at every moment, and made anew only where something changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from peershare.dictionary import ContentDictionary
from peershare.holdings import Holdings
from peershare.library.entries import SharedFile
from peershare.library.files import Identity
from peershare.listing import MAX_LISTS, ContentsList
from peershare.status import ContentStatus
from peershare.wire.beacon import Endpoint
from tests.test_dictionary import chunks, five
from tests.test_holdings import content, entry, sweep, take_in

A, B = "198.18.0.2", "198.18.0.3"


class FakeLibrary:
    """A library of files by name, each with the content id that it has, or ""."""

    def __init__(self) -> None:
        self.ids: dict[str, str] = {}
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
        return ()

    def put(self, name: str, identifier: str = "") -> None:
        self.ids[name] = identifier
        self.changed()


class ContentsListTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.library, self.dictionary = FakeLibrary(), ContentDictionary()
        self.holdings = Holdings(lambda address: False)
        self.wanted: frozenset[str] = frozenset()
        parts: Any = SimpleNamespace(
            library=self.library,
            dictionary=self.dictionary,
            neighbourhood=SimpleNamespace(holdings=self.holdings),
            downloader=SimpleNamespace(under_way=lambda: self.wanted),
        )
        self.list = ContentsList(parts)

    def give(self, address: str, *names: str, complete: bool = True) -> None:
        """A native peer has these."""
        digest = take_in(self.holdings, *(entry(name, complete=complete) for name in names))
        self.holdings.attach(Endpoint(address, 5000), digest)
        sweep(self.holdings)

    def tell(self, address: str, stem: str) -> None:
        """A classic peer has this."""
        self.dictionary.tell(address, chunks(*five(f"{stem}_{{}}")), 0.0)

    def names(self, pattern: str = "") -> list[str]:
        return [found.name for found in self.list.get(0.0, pattern)]

    def one(self, name: str) -> ContentStatus:
        (found,) = self.list.get(0.0, name)
        return found

    def test_all(self) -> None:
        """Our own, what native peers and what classic peers tell, by name whatever the case."""
        self.library.put("b.txt")
        self.give(A, "C.txt", "a.txt")
        self.tell(B, "Dune")
        self.assertEqual(self.names(), ["a.txt", "b.txt", "C.txt", "Dune"])
        self.assertEqual(self.names("*.TXT"), ["a.txt", "b.txt", "C.txt"])
        self.assertEqual(
            [self.one(n).verified for n in ("a.txt", "b.txt", "dune")], [True, False, False]
        )

    def test_one_content_is_told_once(self) -> None:
        """What we have ourselves, and what both kinds of peers tell, is one line."""
        self.give(A, "forest.png", "own.png", complete=False)
        self.library.put("own.png", content("own.png"))
        self.tell(B, "forest")
        self.assertEqual(self.names(), ["forest.png", "own.png"])
        both = self.one("forest.png")
        self.assertEqual((both.peers, both.complete, both.shared), ((A, B), True, False))
        own = self.one("own.png")
        self.assertEqual((own.peers, own.shared), ((A,), True))

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
        every, some = self.list.get(0.0), self.list.get(0.0, "a*")
        self.assertIs(self.list.get(1.0), every)
        self.assertIs(self.list.get(1.0, "a*"), some)

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
            marked = {found.id or found.name for found in self.list.get(0.0) if found.downloading}
            self.assertEqual(marked, {wanted})
        self.wanted = frozenset()
        self.assertFalse(any(found.downloading for found in self.list.get(0.0)))

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
        page = self.list.get(0.0)
        first = self.list.get(0.0, "a")
        for number in range(2 * MAX_LISTS):
            self.list.get(0.0, f"a*{number}")
            self.assertIs(self.list.get(0.0), page)
        again = self.list.get(0.0, "a")
        self.assertEqual(again, first)
        self.assertIsNot(again, first)

    def test_a_name_that_is_not_utf8(self) -> None:
        """It is listed with question marks and can be sent as JSON like any other."""
        self.library.put("bad\udcff.txt")
        listed = self.list.get(0.0)
        self.assertEqual([found.name for found in listed], ["bad?.txt"])
        self.assertIn(b"bad?.txt", msgspec.json.encode(listed))
