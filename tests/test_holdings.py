"""Holdings: who holds what, against a model; what a person may mean; bounds."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator

from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from peershare import stock
from peershare.errors import PeerError
from peershare.holdings import MAX_ANSWERS, STEP_ENTRIES, Holdings, Known
from peershare.shelves import MAX_OF_ONE_NAME
from peershare.wire.beacon import Endpoint
from peershare.wire.catalogue import (
    EMPTY_DIGEST,
    CatalogueEntry,
    CatalogueReader,
    digest_of,
    line_of,
)

A, B, C = "198.18.0.2", "198.18.0.3", "198.18.0.4"


def at(address: str, port: int = 5000) -> Endpoint:
    """A peer."""
    return Endpoint(address, port, "ab")


def content(label: object) -> str:
    """An id."""
    return "b3:" + blake3(str(label).encode()).hexdigest()


def entry(name: str, label: object = None, size: int = 5, complete: bool = True) -> CatalogueEntry:
    """A content, of its own unless it is told which one."""
    return CatalogueEntry(name, size, content(name if label is None else label), complete)


def written(*entries: CatalogueEntry) -> bytes:
    """A catalogue."""
    return b"".join(sorted({line_of(e) for e in entries}))


def take_in(holdings: Holdings, *entries: CatalogueEntry, now: float = 0.0) -> str:
    """Have it learn a catalogue; its digest."""
    data = written(*entries)
    digest = digest_of(data)
    for _ in holdings.learning(CatalogueReader(digest, data), now):
        pass
    return digest


def sweep(holdings: Holdings) -> None:
    """Let it forget."""
    for _ in holdings.sweeping():
        pass


class HoldingsTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.contacted: set[Endpoint] = set()
        self.holdings = Holdings(self.contacted.__contains__)

    def give(self, address: str, *entries: CatalogueEntry, now: float = 0.0) -> str:
        """This peer has these."""
        digest = take_in(self.holdings, *entries, now=now)
        self.assertTrue(self.holdings.attach(at(address, 5000), digest))
        sweep(self.holdings)
        return digest

    def names(self, query: str) -> list[str]:
        return [known.name for known in self.holdings.lookup(query)]

    def who(self, label: object) -> list[tuple[str, bool]]:
        return [(h.endpoint.address, h.complete) for h in self.holdings.holders(content(label))]

    def matching(self, pattern: str) -> list[str]:
        return [known.name for known in self.holdings.matching(pattern) if known]


class LookupTests(HoldingsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.give(A, entry("forest.png"), entry("Forest.PNG"), entry("été.txt"))
        self.give(B, entry("forest.jpg"), entry("tree"), entry("v1.2"), entry("deadbeef"))

    def test_exact(self) -> None:
        """The name itself; one in another spelling is another content, and fits as well."""
        both = ["Forest.PNG", "forest.png"]
        self.assertEqual(sorted(self.names("forest.png")), both)
        self.assertEqual(sorted(self.names("Forest.PNG")), both)
        self.assertEqual(self.names("tree"), ["tree"])
        self.assertEqual(self.names("v1.2"), ["v1.2"])

    def test_normal_form(self) -> None:
        """As macOS types it."""
        self.assertEqual(self.names("e\u0301te\u0301.txt"), ["été.txt"])

    def test_stem(self) -> None:
        """Every name of that stem, and who has exactly that name takes nothing from the others."""
        every = ["Forest.PNG", "forest.jpg", "forest.png"]
        self.assertEqual(sorted(self.names("forest")), every)
        self.give(C, entry("forest", "another"))
        self.assertEqual(sorted(self.names("forest")), sorted([*every, "forest"]))

    def test_caseless(self) -> None:
        """Whatever the case is typed."""
        self.assertEqual(sorted(self.names("FOREST.png")), ["Forest.PNG", "forest.png"])
        self.assertEqual(sorted(self.names("fOREST")), ["Forest.PNG", "forest.jpg", "forest.png"])
        self.assertEqual(self.names("ÉTÉ.TXT"), ["été.txt"])

    def test_id(self) -> None:
        """A beginning of 8 digits or more, in either case, with or without its prefix."""
        whole = content("tree")
        for query in (whole, whole[3:], whole[:11], whole[3:11], whole[3:20].upper()):
            self.assertEqual(self.names(query), ["tree"], query)
        self.assertEqual(self.names(whole[3:10]), [])
        self.assertEqual(self.names(whole[3:11] + "0000"), [])

    def test_a_name_that_looks_like_an_id(self) -> None:
        """The name is meant, and the id as well, unless it is typed as one."""
        self.assertEqual(self.names("deadbeef"), ["deadbeef"])
        digits = content("tree")[3:11]
        self.give(C, entry(digits, "a lie"))
        self.assertEqual(sorted(self.names(digits)), sorted([digits, "tree"]))
        self.assertEqual(self.names(f"b3:{digits}"), ["tree"])

    def test_a_typed_extension(self) -> None:
        """It is part of the name: nothing that goes on behind it, and nothing without it, fits."""
        self.give(C, entry("report.pdf.exe"), entry("report"))
        self.assertEqual(self.names("report.pdf"), [])
        self.assertEqual(self.names("report.pdf.exe"), ["report.pdf.exe"])

    def test_what_a_peer_offers(self) -> None:
        """Under its name or its stem, whatever the case; what others have does not count."""
        self.assertTrue(self.holdings.offers(A, "forest"))
        self.assertTrue(self.holdings.offers(B, "forest"))
        self.assertFalse(self.holdings.offers(B, "forest.png"))
        self.assertFalse(self.holdings.offers(A, "tree"))
        self.assertFalse(self.holdings.offers(C, "tree"))

    def test_nothing(self) -> None:
        """Whatever is asked."""
        for query in ("", "bush", "forest.gif", "forest.", ".png", "\ud800", "*", "\0", "x" * 500):
            self.assertEqual(self.names(query), [], query)

    def test_two_contents_of_one_name(self) -> None:
        """Two answers; the one that more peers have comes first."""
        self.give(A, entry("a.txt", 1, size=1))
        self.give(B, entry("a.txt", 2, size=2))
        self.give(C, entry("a.txt", 2, size=2))
        found = self.holdings.lookup("a.txt")
        self.assertEqual([(k.size, k.peers) for k in found], [(2, 2), (1, 1)])

    def test_two_names_of_one_content(self) -> None:
        """One answer, by the name that was asked for; all names are told."""
        self.give(A, entry("one.txt", 1), entry("two.txt", 1))
        self.give(B, entry("two.txt", 1, complete=False))
        expected = {"peers": 2, "complete": 1, "size": 5}
        for query, name in (("one", "one.txt"), ("two", "two.txt"), (content(1), "two.txt")):
            (known,) = self.holdings.lookup(query)
            self.assertEqual(known.name, name)
            self.assertEqual({key: getattr(known, key) for key in expected}, expected)
            self.assertEqual(sorted(known.names), ["one.txt", "two.txt"])

    def test_of_very_many(self) -> None:
        """At most 100 answers, and those that most peers have are among them."""
        many = [entry("same.txt", n) for n in range(300)]
        self.give(A, *many)
        self.give(B, many[271])
        found = self.holdings.lookup("same.txt")
        self.assertEqual(len(found), MAX_ANSWERS)
        self.assertEqual((found[0].id, found[0].peers), (content(271), 2))

    def test_a_flood_of_one_name(self) -> None:
        """However many one peer invents, those of others are among the answers."""
        flood = [entry("same.txt", n) for n in range(MAX_OF_ONE_NAME + 50)]
        self.give(A, *flood)
        self.give(B, entry("same.txt", "real"))
        found = [known.id for known in self.holdings.lookup("same.txt")]
        self.assertIn(content("real"), found)
        self.assertEqual(len(found), MAX_ANSWERS)
        for told in flood:
            self.assertEqual(len(self.holdings.lookup(told.id)), 1)
        self.give(A)
        self.assertEqual([k.id for k in self.holdings.lookup("same.txt")], [content("real")])

    def test_named_by_another(self) -> None:
        """What one peer has too many of to be found by name, another may have."""
        flood = sorted((entry("same.txt", n) for n in range(MAX_OF_ONE_NAME + 1)), key=line_of)
        self.give(A, *flood)
        self.give(B, flood[-1])
        found = self.holdings.lookup("same.txt")
        self.assertEqual((found[0].id, found[0].peers), (flood[-1].id, 2))

    def test_a_flood_of_one_beginning(self) -> None:
        """Invented ids that begin as a true one do not hide it."""
        true = content("real")
        self.give(
            A, *(CatalogueEntry(f"a{n}", 5, f"{true[:11]}{n:056x}", True) for n in range(3_000))
        )
        self.give(B, entry("forest.png", "real"))
        self.assertEqual(self.who("real"), [(B, True)])
        for query in ("forest.png", true, true[:23]):
            self.assertEqual([k.id for k in self.holdings.lookup(query)], [true], query)
        self.assertEqual(self.matching("forest*"), ["forest.png"])
        self.assertEqual(len(self.holdings.lookup(true[:11])), MAX_ANSWERS)

    def test_a_flood_of_names(self) -> None:
        """One peer has only so many for one content; whoever else holds it is found."""
        self.give(A, *(entry(f"a{n}", "real") for n in range(3_000)))
        self.give(B, entry("forest.png", "real"))
        (known,) = self.holdings.lookup("forest.png")
        self.assertEqual((known.peers, known.name, len(known.names)), (2, "forest.png", 65))
        (known,) = self.holdings.lookup(content("real"))
        self.assertEqual(known.name, "forest.png")
        self.assertEqual(self.who("real"), [(A, True), (B, True)])
        self.assertEqual(self.holdings.base_of(at(A)), "")

    def test_age(self) -> None:
        """When it was heard of first."""
        self.give(A, entry("old.txt"), now=7.0)
        self.give(B, entry("old.txt"), now=9.0)
        (known,) = self.holdings.lookup("old.txt")
        self.assertEqual(known.first_heard_at, 7.0)


class MatchingTests(HoldingsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.give(A, entry("forest.png"), entry("[x].png"), entry("line one.txt"))
        self.give(B, entry("forest.png"), entry("Tree.PNG"))

    def test_patterns(self) -> None:
        """`*` is any text; the rest is what it is, without regard to case."""
        for pattern, expected in (
            ("*.png", ["Tree.PNG", "[x].png", "forest.png"]),
            ("*R*E*", ["Tree.PNG", "forest.png"]),
            ("[x]*", ["[x].png"]),
            ("FOREST.PNG", ["forest.png"]),
            ("forest", []),
            ("*", ["Tree.PNG", "[x].png", "forest.png", "line one.txt"]),
            ("?orest*", []),
        ):
            self.assertEqual(sorted(self.matching(pattern)), expected, pattern)

    def test_contents(self) -> None:
        """Each once, however many have it."""
        found = list(self.holdings.contents())
        self.assertEqual(len(found), 4)
        self.assertEqual({k.name: k.peers for k in found}["forest.png"], 2)

    def test_by_either_name(self) -> None:
        """A content of two names comes once, under one that fits."""
        self.give(C, entry("red.txt", 1), entry("blue.txt", 1))
        for pattern, expected in (("red*", "red.txt"), ("blue*", "blue.txt")):
            self.assertEqual(self.matching(pattern), [expected])
        self.assertEqual(
            len([name for name in self.matching("*") if name in ("red.txt", "blue.txt")]), 1
        )

    def test_pauses(self) -> None:
        """Among many that do not fit there are steps at which to pause."""
        self.give(C, *(entry(f"{n}.txt") for n in range(10 * STEP_ENTRIES)))
        self.assertGreaterEqual(list(self.holdings.matching("nothing")).count(None), 10)

    def test_names_of(self) -> None:
        """What one peer has."""
        self.assertEqual(set(self.holdings.names_of(at(B), 9)), {"forest.png", "Tree.PNG"})
        self.assertEqual(len(self.holdings.names_of(at(A), 2)), 2)
        self.assertEqual(self.holdings.names_of(at(C), 9), ())


class PeersTests(HoldingsTestCase):
    def test_who_holds_it(self) -> None:
        """With the port, and whether it is all of it."""
        self.give(A, entry("x"))
        digest = self.give(B, entry("x", complete=False))
        self.holdings.detach(at(B))
        self.holdings.attach(at(B, 5010), digest)
        found = self.holdings.holders(content("x"))
        self.assertEqual(
            [(h.endpoint.address, h.endpoint.port, h.complete, h.size) for h in found],
            [(A, 5000, True, 5), (B, 5010, False, 5)],
        )
        self.assertEqual(self.holdings.holders("nonsense"), ())
        self.assertEqual(self.holdings.holders(content("y")), ())

    def test_where_they_are(self) -> None:
        """The addresses of those who hold it are those of this moment, each once."""
        identifier = content("x")
        self.assertEqual(self.holdings.addresses(identifier), ())
        self.give(A, entry("x"), entry("other name", "x"), entry("y"))
        self.give(B, entry("x", complete=False))
        self.assertEqual(set(self.holdings.addresses(identifier)), {A, B})
        self.assertEqual(len(self.holdings.addresses(identifier)), 2)
        self.assertEqual(self.holdings.addresses(content("y")), (A,))
        self.holdings.detach(at(A))
        self.assertEqual(self.holdings.addresses(identifier), (B,))
        self.assertEqual(self.holdings.addresses(content("y")), ())

    def test_a_catalogue_that_is_known(self) -> None:
        """Equal catalogues are kept once, and need not be fetched."""
        digest = self.give(A, entry("x"))
        cost = self.holdings.cost
        self.assertTrue(self.holdings.attach(at(B, 5000), digest))
        self.assertFalse(self.holdings.attach(at(C, 5000), "0" * 64))
        self.assertEqual((self.who("x"), self.holdings.cost), ([(A, True), (B, True)], cost))

    def test_the_empty_one(self) -> None:
        """It is always known."""
        self.give(A, entry("x"))
        self.assertTrue(self.holdings.attach(at(A, 5000), EMPTY_DIGEST))
        sweep(self.holdings)
        self.assertEqual((self.who("x"), self.names("x")), ([], []))
        self.assertEqual(self.holdings.cost, 0)

    def test_what_changes(self) -> None:
        """The new catalogue counts, the old one is forgotten."""
        before = self.give(A, entry("x"), entry("y"))
        self.give(A, entry("y"), entry("z"))
        self.assertEqual([self.names(n) for n in "xyz"], [[], ["y"], ["z"]])
        self.assertFalse(self.holdings.attach(at(B, 5000), before))

    def test_forgotten_at_once(self) -> None:
        """What nobody holds is not told before it is swept either."""
        digest = self.give(A, entry("x"))
        version = self.holdings.version
        self.holdings.detach(at(A))
        self.holdings.detach(at(A))
        self.assertGreater(self.holdings.version, version)
        self.assertEqual((self.names("x"), self.who("x"), self.matching("*")), ([], [], []))
        self.assertTrue(self.holdings.idle)
        self.assertTrue(self.holdings.attach(at(B, 5000), digest))
        sweep(self.holdings)
        self.assertEqual(self.who("x"), [(B, True)])

    def test_bases(self) -> None:
        """Differences can be read from what is kept whole."""
        told = [entry("x"), entry("y")]
        digest = self.give(A, *told)
        self.assertEqual(self.holdings.base_of(at(A)), digest)
        self.assertEqual(
            sorted(self.holdings.entries(digest), key=line_of), sorted(told, key=line_of)
        )
        self.give(B, entry("x"), entry("../y"))
        self.assertEqual((self.holdings.base_of(at(B)), self.holdings.base_of(at(C))), ("", ""))
        self.assertEqual(self.names("x"), ["x"])

    def test_a_difference(self) -> None:
        """It is taken in as the whole would be."""
        base = self.give(A, entry("x"), entry("y"))
        now = written(entry("y"), entry("z"))
        data = b"-" + line_of(entry("x")) + b"+" + line_of(entry("z"))
        reader = CatalogueReader(digest_of(now), data, self.holdings.entries(base))
        for _ in self.holdings.learning(reader, 0.0):
            pass
        self.holdings.attach(at(A, 5000), digest_of(now))
        sweep(self.holdings)
        self.assertEqual([self.names(n) for n in "xyz"], [[], ["y"], ["z"]])
        self.assertEqual(self.holdings.base_of(at(A)), digest_of(now))


class BoundsTests(HoldingsTestCase):
    def test_a_bad_catalogue(self) -> None:
        """Nothing of it stays."""
        lines = sorted(line_of(entry(f"{n}")) for n in range(600))
        data = b"".join(lines) + b"nonsense\n"
        reader = CatalogueReader(digest_of(data), data)
        work = self.holdings.learning(reader, 0.0)
        self.assertRaises(PeerError, lambda: [None for _ in work])
        sweep(self.holdings)
        self.assertEqual((self.holdings.cost, self.names("5")), (0, []))
        self.assertFalse(self.holdings.attach(at(A, 5000), digest_of(data)))

    def test_abandoned(self) -> None:
        """One that is left half done is forgotten."""
        data = written(*(entry(f"{n}") for n in range(600)))
        work = self.holdings.learning(CatalogueReader(digest_of(data), data), 0.0)
        next(work)
        work.close()
        sweep(self.holdings)
        self.assertEqual(self.holdings.cost, 0)

    def test_in_steps(self) -> None:
        """Learning and forgetting never look at many entries at once."""
        entries = [entry(f"{n}") for n in range(10 * STEP_ENTRIES)]
        data = written(*entries)
        digest = digest_of(data)
        steps = list(self.holdings.learning(CatalogueReader(digest, data), 0.0))
        self.assertEqual(len(steps), 10)
        self.holdings.attach(at(A, 5000), digest)
        sweep(self.holdings)
        self.holdings.detach(at(A))
        self.assertEqual(len(list(self.holdings.sweeping())), 10)

    def test_the_collector_sees_little(self) -> None:
        """However many contents there are: looking at each of them would stall the node."""
        self.give(A, entry("first"))
        gc.collect()
        before = len(gc.get_objects())
        self.give(B, *(entry(f"{n}.txt") for n in range(3_000)))
        gc.collect()
        self.assertLess(len(gc.get_objects()) - before, 1_000)

    def test_contents_are_counted(self) -> None:
        """Each id once, under however many names, until nobody has it any more."""
        self.give(A, entry("one", 1), entry("eins", 1), entry("two", 2))
        self.give(B, entry("uno", 1), entry("three", 3))
        self.assertEqual(self.holdings.content_count, 3)
        self.holdings.detach(at(A))
        sweep(self.holdings)
        self.assertEqual(self.holdings.content_count, 2)
        self.holdings.detach(at(B))
        sweep(self.holdings)
        self.assertEqual(self.holdings.content_count, 0)

    def kept(self, *addresses: str) -> list[int]:
        """How many entries are kept of each."""
        return [len(self.holdings.names_of(at(address), 1_000_000)) for address in addresses]

    def test_memory_is_shared_equally(self) -> None:
        """Whoever has most of it makes room at the end of its catalogue, down to an equal one."""
        limit = 9_000_000
        self.holdings = Holdings(self.contacted.__contains__, max_cost=limit)
        size = 60 * STEP_ENTRIES  # about 8 MB
        self.give(A, *(entry(f"a{n}") for n in range(size)))
        self.assertEqual(self.kept(A), [size])
        for peer, address in enumerate((B, C)):
            self.give(address, *(entry(f"{peer}b{n}") for n in range(size)))
        self.assertLess(self.holdings.cost, limit + 2 * STEP_ENTRIES * 600)
        shares = self.kept(A, B, C)
        self.assertLess(max(shares) - min(shares), 4 * STEP_ENTRIES)
        self.assertGreater(sum(shares) * 600, limit * 0.9)

    def test_a_small_one_is_kept_whole(self) -> None:
        """However many large ones there are, and whoever of them was dealt with."""
        self.holdings = Holdings(self.contacted.__contains__, max_cost=2_000_000)
        for number in range(6):
            address = f"198.18.1.{number}"
            self.contacted.add(at(address))
            self.give(address, *(entry(f"{number}a{n}") for n in range(20 * STEP_ENTRIES)))
        self.give(B, *(entry(f"honest{n}") for n in range(100)))
        self.assertEqual(self.kept(B), [100])
        self.assertEqual(len(self.names("honest7")), 1)
        self.give(C, *(entry(f"late{n}") for n in range(20 * STEP_ENTRIES)))
        self.assertEqual(self.kept(B), [100])

    def test_what_is_not_kept_is_counted(self) -> None:
        """And there are no differences from what is kept in part."""
        self.holdings = Holdings(self.contacted.__contains__, max_cost=1_000_000)
        self.give(A, *(entry(f"a{n}") for n in range(20 * STEP_ENTRIES)))
        (kept,) = self.kept(A)
        self.assertEqual(self.holdings.left_out, 20 * STEP_ENTRIES - kept)
        self.assertEqual(self.holdings.base_of(at(A)), "")
        self.holdings.detach(at(A))
        self.assertEqual(self.holdings.left_out, 0)

    def test_one_catalogue_of_many_counts_once(self) -> None:
        """Its memory is parted among those who have it."""
        self.holdings = Holdings(self.contacted.__contains__, max_cost=1_500_000)
        crowd = take_in(self.holdings, *(entry(f"a{n}") for n in range(8 * STEP_ENTRIES)))
        for number in range(20):
            self.holdings.attach(at(f"198.18.1.{number}"), crowd)
        self.give(B, *(entry(f"b{n}") for n in range(8 * STEP_ENTRIES)))
        self.assertEqual(self.kept("198.18.1.7"), [8 * STEP_ENTRIES])
        self.assertLess(self.kept(B)[0], 5 * STEP_ENTRIES)

    def test_memory_is_given_back(self) -> None:
        """When a large catalogue goes, the tables that had grown for it are made anew."""
        self.patch(stock, "_COMPACT_BYTES", 1_000_000)
        self.give(A, *(entry(f"a{n}") for n in range(20 * STEP_ENTRIES)))
        self.give(B, entry("b"))
        shelves = self.holdings._shelves

        def tables() -> int:
            return sum(sys.getsizeof(table) for table in (*shelves._ids, *shelves._names))

        before = tables()
        self.holdings.detach(at(A))
        sweep(self.holdings)
        self.assertLess(tables() * 10, before)
        self.assertEqual(self.holdings.given_back, 1)
        self.assertEqual((self.kept(B), len(self.names("b"))), ([1], 1))


_names = st.sampled_from(["a.txt", "A.txt", "a.png", "b", "été.txt"])
_entries = st.builds(entry, _names, st.integers(0, 6), st.integers(1, 2), st.booleans())
_steps = st.lists(
    st.tuples(st.integers(0, 4), st.one_of(st.none(), st.frozensets(_entries, max_size=6))),
    max_size=25,
)


class ModelTests(SynchronousTestCase):
    """The same as a plain dictionary of what each peer has."""

    @settings(max_examples=150, deadline=None)
    @given(_steps, st.data())
    def test_it_is_as_simple_as_that(
        self, steps: list[tuple[int, frozenset[CatalogueEntry] | None]], data: st.DataObject
    ) -> None:
        holdings = Holdings(lambda address: False)
        model: dict[str, frozenset[CatalogueEntry]] = {}
        for number, entries in steps:
            address = f"198.18.0.{number}"
            if entries is None:
                holdings.detach(at(address))
                model.pop(address, None)
            else:
                holdings.attach(at(address, 5000), take_in(holdings, *entries))
                model[address] = entries
            if data.draw(st.booleans()):
                sweep(holdings)
        found = {known.id: known for known in holdings.contents()}
        self.assertEqual(set(found), {e.id for entries in model.values() for e in entries})
        for identifier, known in found.items():
            self.compare(holdings, known, model, identifier)
        for address, entries in model.items():
            names = set(holdings.names_of(at(address), 99))
            self.assertEqual(names, {entry.name for entry in entries})
        for address in model:
            holdings.detach(at(address))
        sweep(holdings)
        self.assertEqual(holdings.cost, 0)
        self.assertEqual(holdings._shelves._names, [{}] * 64)

    def compare(
        self,
        holdings: Holdings,
        known: Known,
        model: dict[str, frozenset[CatalogueEntry]],
        identifier: str,
    ) -> None:
        """One content."""
        held = {a: list(self.of(identifier, entries)) for a, entries in model.items()}
        having = {address for address, entries in held.items() if entries}
        complete = {a for a, entries in held.items() if any(e.complete for e in entries)}
        self.assertEqual((known.peers, known.complete), (len(having), len(complete)))
        self.assertEqual(set(known.names), {e.name for es in held.values() for e in es})
        holders = holdings.holders(identifier)
        self.assertEqual({h.endpoint.address for h in holders}, having)
        self.assertEqual({h.endpoint.address for h in holders if h.complete}, complete)
        self.assertEqual(len(holders), len(having))
        addresses = holdings.addresses(identifier)
        self.assertEqual((set(addresses), len(addresses)), (having, len(having)))
        for name in known.names:
            self.assertIn(identifier, [k.id for k in holdings.lookup(name)])

    def of(self, identifier: str, entries: frozenset[CatalogueEntry]) -> Iterator[CatalogueEntry]:
        return (entry for entry in entries if entry.id == identifier)
