"""The caps and the expiry of what strangers tell."""

import gc
import tracemalloc
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from peershare import pairs
from peershare.content.names import ChunkName, parse_chunk_name
from peershare.dictionary import ContentDictionary
from peershare.pairs import (
    LIFETIME_SECONDS,
    MAX_ADDRESSES,
    MAX_ADDRESSES_PER_CHUNK,
    MAX_BASES_PER_ADDRESS,
    MAX_COST_BYTES,
    MAX_PAIRS,
    Told,
)


def chunks(*names: str) -> list[ChunkName]:
    """Names as the decoder would give them."""
    return [name for text in names if (name := parse_chunk_name(text))]


def known(dictionary: ContentDictionary, now: float = 0.0) -> list[str]:
    """The addresses in the dictionary, in order of arrival."""
    return [owner.address for owner in dictionary.addresses(now)]


class TellTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.dictionary = ContentDictionary()

    def test_first_heard(self) -> None:
        """An address is new once, even if it has nothing to tell."""
        self.assertEqual(self.dictionary.tell("a", [], 0.0), Told(True, False, 0))
        self.assertEqual(self.dictionary.tell("a", chunks("x_1"), 1.0), Told(False, True, 0))
        self.assertEqual(self.dictionary.tell("a", chunks("x_1"), 2.0), Told(False, False, 0))

    def test_new_again(self) -> None:
        """Who was silent for a lifetime is new again, whether or not that was noticed before."""
        self.dictionary.tell("a", chunks("x_1"), 0.0)
        again = self.dictionary.tell("a", chunks("x_1"), LIFETIME_SECONDS)
        self.assertEqual(again, Told(True, True, 0))
        self.dictionary.expire(3 * LIFETIME_SECONDS)
        self.assertTrue(self.dictionary.tell("a", [], 3 * LIFETIME_SECONDS).first_heard)

    def test_version(self) -> None:
        """The version grows with what the file would say, and not when a pair is only renewed."""
        self.dictionary.tell("a", chunks("x_1"), 0.0)
        version = self.dictionary.version
        self.dictionary.tell("a", chunks("x_1"), 1.0)
        self.dictionary.tell("b", [], 1.0)
        self.assertEqual(self.dictionary.version, version)
        for change in (
            lambda: self.dictionary.tell("a", chunks("x 1"), 2.0),
            lambda: self.dictionary.tell("b", chunks("x_1"), 2.0),
            lambda: self.dictionary.forget("b"),
            lambda: self.dictionary.expire(500.0),
        ):
            change()
            self.assertGreater(self.dictionary.version, version)
            version = self.dictionary.version

    def test_spelling(self) -> None:
        """Of two spellings in one announcement the first counts, of two announcements the last."""
        self.dictionary.tell("a", chunks("x_1", "x 1"), 0.0)
        self.assertEqual(self.dictionary.lookup("x", 0.0).sources[0][0].asked, "x_1")
        self.dictionary.tell("a", chunks("x 1"), 1.0)
        self.assertEqual(self.dictionary.lookup("x", 1.0).sources[0][0].asked, "x 1")
        self.assertEqual(self.dictionary.as_json(1.0), b'{\n  "x 1": ["a"]\n}\n')

    def test_knows(self) -> None:
        """An address is known from its first announcement until it is forgotten."""
        self.assertFalse(self.dictionary.knows("a"))
        self.dictionary.tell("a", [], 0.0)
        self.assertTrue(self.dictionary.knows("a"))
        self.dictionary.expire(LIFETIME_SECONDS)
        self.assertFalse(self.dictionary.knows("a"))

    def test_forget(self) -> None:
        """An address that is forgotten is gone with all it told."""
        self.dictionary.tell("a", chunks("x_1", "y_1"), 0.0)
        self.assertTrue(self.dictionary.forget("a"))
        self.assertFalse(self.dictionary.forget("a"))
        self.assertEqual(self.dictionary.as_json(0.0), b"{}\n")
        self.assertEqual(known(self.dictionary), [])


class ExpireTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.dictionary = ContentDictionary()

    def test_lifetime(self) -> None:
        """A pair lives 180 s after it was last told, not a moment longer."""
        self.dictionary.tell("a", chunks("x_1"), 0.0)
        self.dictionary.tell("a", chunks("x_1"), 100.0)
        self.assertFalse(self.dictionary.expire(279.9))
        self.assertTrue(self.dictionary.expire(280.0))
        self.assertFalse(self.dictionary.expire(280.0))
        self.assertEqual(known(self.dictionary, 280.0), [])

    def test_each_pair_for_itself(self) -> None:
        """What an address tells no more is forgotten, though it tells other things."""
        self.dictionary.tell("a", chunks("x_1", "y_1"), 0.0)
        self.dictionary.tell("a", chunks("y_1"), 100.0)
        self.assertTrue(self.dictionary.expire(180.0))
        self.assertEqual(self.dictionary.as_json(180.0), b'{\n  "y_1": ["a"]\n}\n')

    def test_not_shown_before_it_is_removed(self) -> None:
        """What ran out is not told to anybody, even before `expire` is called."""
        self.dictionary.tell("a", chunks("x_1"), 0.0)
        self.assertEqual(self.dictionary.as_json(180.0), b"{}\n")
        self.assertEqual(self.dictionary.bases(180.0), ())
        self.assertEqual(self.dictionary.addresses(180.0), ())
        self.assertEqual(self.dictionary.lookup("x", 180.0).sources, ((), (), (), (), ()))

    def test_told_again_too_late(self) -> None:
        """A pair that ran out and is told again is new, and comes last."""
        self.dictionary.tell("a", chunks("x_1"), 0.0)
        self.dictionary.tell("b", chunks("x_1"), 1.0)
        self.dictionary.tell("a", [], 100.0)
        self.assertTrue(self.dictionary.tell("a", chunks("x_1"), 180.5).changed)
        sources = self.dictionary.lookup("x", 180.5).sources[0]
        self.assertEqual([source.address for source in sources], ["b", "a"])

    def test_peer_with_nothing(self) -> None:
        """An address that told nothing is forgotten too."""
        self.dictionary.tell("a", [], 0.0)
        self.dictionary.tell("b", [], 100.0)
        self.assertFalse(self.dictionary.expire(179.9))
        self.assertTrue(self.dictionary.expire(180.0))
        self.assertEqual(known(self.dictionary, 180.0), ["b"])
        self.assertFalse(self.dictionary.knows("a"))
        self.assertTrue(self.dictionary.knows("b"))
        self.assertTrue(self.dictionary.expire(280.0))
        self.assertFalse(self.dictionary.knows("b"))

    def test_clock_set_back(self) -> None:
        """A clock that is set back expires nothing early and keeps nothing for good."""
        self.dictionary.tell("a", chunks("x_1"), 10_000.0)
        self.dictionary.tell("b", chunks("y_1"), 5_000.0)
        self.assertFalse(self.dictionary.expire(5_100.0))
        self.assertTrue(self.dictionary.expire(5_180.0))
        self.assertTrue(self.dictionary.expire(10_180.0))
        self.assertEqual(self.dictionary.as_json(0.0), b"{}\n")


class CostTests(SynchronousTestCase):
    """What a name and a question cost, counted in names that are looked at."""

    def setUp(self) -> None:
        self.dictionary = ContentDictionary()

    def test_question_does_not_look_at_all(self) -> None:
        """30 addresses tell 850 names of one stem each: some of each are candidates, not all."""
        for number in range(30):
            names = [f"forest.x{number}y{n}_1" for n in range(850)]
            self.dictionary.tell(f"a{number}", chunks(*names), 0.0)
        self.dictionary.tell("honest", chunks("forest.png_1"), 0.0)
        found = self.dictionary.candidates("forest")
        self.assertLessEqual(len(found), pairs.MAX_CANDIDATES)
        self.assertEqual(len({entry.owner.address for entry in found}), 31)
        self.assertIn("forest.png", [entry.base for entry in found])
        first, *_ = self.dictionary.candidates("forest.x7y800")
        self.assertEqual(first.base, "forest.x7y800")

    def test_other_names_are_not_looked_at(self) -> None:
        """Whatever has another stem is no candidate, though it begins the same."""
        self.dictionary.tell("a", chunks(*(f"forest.{n}_1" for n in range(900))), 0.0)
        self.assertEqual(self.dictionary.candidates("forest"), [])

    def test_greedy_address_looks_around_once(self) -> None:
        """One that gets no more does not have all addresses looked at for each of its names."""
        self.patch(pairs, "MAX_PAIRS", 100)
        looks = 0

        class Owners(dict[str, pairs.Owner]):
            def values(self) -> Any:
                nonlocal looks
                looks += 1
                return super().values()

        self.dictionary.tell("modest", chunks(*_five("m")), 0.0)
        self.dictionary._owners = Owners(self.dictionary._owners)
        names = chunks(*(f"x{number}_1" for number in range(1_000)))
        self.assertEqual(self.dictionary.tell("greedy", names, 0.0).dropped, 905)
        self.assertEqual(looks, 1)

    def test_respelled_in_place(self) -> None:
        """Another spelling changes the pair that is there, and its memory."""
        self.dictionary.tell("a", chunks(*(f"x{n}_1" for n in range(500))), 0.0)
        before = [id(e) for o in self.dictionary._owners.values() for e in o.entries.values()]
        cost = self.dictionary._cost
        self.dictionary.tell("a", chunks(*(f"x{n} 1" for n in range(500))), 1.0)
        after = [id(e) for o in self.dictionary._owners.values() for e in o.entries.values()]
        self.assertEqual(before, after)
        self.assertGreater(self.dictionary._cost, cost)
        self.dictionary.tell("a", chunks(*(f"x{n}_1" for n in range(500))), 2.0)
        self.assertEqual(self.dictionary._cost, cost)

    def test_only_old_addresses_are_looked_at(self) -> None:
        """To forget what ran out, addresses that told everything lately cost nothing."""
        self.dictionary.tell("old", chunks("x_1"), 0.0)
        self.dictionary.tell("new", chunks(*(f"y{n}_1" for n in range(500))), 100.0)
        looked_at: list[str] = []
        expire = self.dictionary._expire

        def counted(owner: pairs.Owner, now: float) -> bool:
            looked_at.append(owner.address)
            return expire(owner, now)

        self.patch(self.dictionary, "_expire", counted)
        self.assertTrue(self.dictionary.expire(181.0))
        self.assertEqual(looked_at, ["old"])


class CapTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.dictionary = ContentDictionary()

    def test_addresses(self) -> None:
        """The stranger that was silent the longest makes room for a new address."""
        for number in range(MAX_ADDRESSES):
            self.dictionary.tell(f"a{number}", chunks("x_1"), number / 10)
        self.dictionary.tell("a0", [], 50.0)
        self.dictionary.contacted("a1")
        self.assertTrue(self.dictionary.tell("new", chunks("x_1"), 50.0).first_heard)
        left = known(self.dictionary, 50.0)
        self.assertEqual(len(left), MAX_ADDRESSES)
        self.assertEqual(set(left) & {"a0", "a1", "a2", "new"}, {"a0", "a1", "new"})

    def test_only_contacted_addresses(self) -> None:
        """If bytes were exchanged with all of them, the longest silent one goes."""
        for number in range(MAX_ADDRESSES):
            self.dictionary.tell(f"a{number}", [], number / 10)
            self.dictionary.contacted(f"a{number}")
        self.dictionary.tell("new", [], 50.0)
        self.assertEqual(set(known(self.dictionary, 50.0)) & {"a0", "a1", "new"}, {"a1", "new"})

    def test_contacted_stranger(self) -> None:
        """An address that told nothing is not remembered because bytes were exchanged with it."""
        self.dictionary.contacted("a")
        self.assertEqual(known(self.dictionary), [])

    def test_bases_of_an_address(self) -> None:
        """An address may tell a thousand names; more are dropped and counted."""
        names = chunks(*(f"x{number}_1" for number in range(MAX_BASES_PER_ADDRESS + 3)))
        self.assertEqual(self.dictionary.tell("a", names, 0.0), Told(True, True, 3))
        self.assertEqual(self.dictionary.tell("a", chunks("x0_2"), 0.0).dropped, 0)
        self.assertEqual(len(self.dictionary.bases(0.0)), MAX_BASES_PER_ADDRESS)

    def test_addresses_of_a_chunk(self) -> None:
        """A chunk has 32 addresses; one that we know displaces a stranger, a stranger nobody."""
        for number in range(MAX_ADDRESSES_PER_CHUNK):
            self.dictionary.tell(f"a{number}", chunks("x_1"), float(number))
        self.assertEqual(self.dictionary.tell("b", chunks("x_1", "x_2"), 40.0).dropped, 1)
        self.dictionary.contacted("a0")
        self.dictionary.contacted("b")
        self.assertEqual(self.dictionary.tell("b", chunks("x_1"), 41.0).dropped, 0)
        addresses = [source.address for source in self.dictionary.lookup("x", 41.0).sources[0]]
        self.assertEqual(len(addresses), MAX_ADDRESSES_PER_CHUNK)
        self.assertEqual(set(addresses) & {"a0", "a1", "b"}, {"a0", "b"})

    def test_pairs(self) -> None:
        """Where all pairs are taken, the greediest address goes, not the one that tells little."""
        self.patch(pairs, "MAX_PAIRS", 100)
        for address in ("greedy", "greedier"):
            names = [f"{address}{n}_1" for n in range(30 if address == "greedy" else 60)]
            self.dictionary.tell(address, chunks(*names), 0.0)
        self.assertEqual(self.dictionary.tell("new", chunks(*_five("x")), 1.0).dropped, 0)
        self.assertEqual(self.dictionary.tell("new", chunks(*_five("y")), 1.0).dropped, 0)
        self.assertEqual(known(self.dictionary), ["greedy", "greedier", "new"])
        self.assertEqual(self.dictionary.tell("new", chunks("z_1"), 1.0).dropped, 0)
        self.assertEqual(known(self.dictionary), ["greedy", "new"])

    def test_greediest_gets_no_more(self) -> None:
        """The address that takes most of the room drops nobody but itself."""
        self.patch(pairs, "MAX_PAIRS", 100)
        self.dictionary.tell("modest", chunks(*_five("m")), 0.0)
        names = chunks(*(f"x{number}_1" for number in range(200)))
        self.assertEqual(self.dictionary.tell("greedy", names, 0.0).dropped, 105)
        self.assertEqual(known(self.dictionary), ["modest", "greedy"])

    def test_contacted_addresses_are_spared(self) -> None:
        """A stranger never makes us forget an address that we exchanged bytes with."""
        self.patch(pairs, "MAX_PAIRS", 100)
        names = chunks(*(f"x{number}_1" for number in range(100)))
        self.dictionary.tell("friend", names, 0.0)
        self.dictionary.contacted("friend")
        self.assertEqual(self.dictionary.tell("stranger", chunks("y_1"), 0.0).dropped, 1)
        self.dictionary.contacted("stranger")
        self.assertEqual(self.dictionary.tell("stranger", chunks("y_1"), 0.0).dropped, 0)
        self.assertEqual(known(self.dictionary), ["stranger"])

    def test_million_invented_names(self) -> None:
        """A million invented names from 200 addresses stay within all caps."""
        for turn in range(200):
            names = [ChunkName(f"{turn}.{n}", n % 6, f"{turn} {n}") for n in range(5_000)]
            self.dictionary.tell(f"198.18.0.{turn}", names, 0.0)
        owners = self.dictionary.addresses(0.0)
        self.assertLessEqual(sum(owner.chunks for owner in owners), MAX_PAIRS)
        self.assertLessEqual(max(len(owner.bases) for owner in owners), MAX_BASES_PER_ADDRESS)
        self.assertGreater(self.dictionary._cost, MAX_COST_BYTES * 0.9)
        self.assertLessEqual(self.dictionary._cost, MAX_COST_BYTES)

    def test_cost_is_memory(self) -> None:
        """What is counted as memory is at least what is used, whatever the names look like."""
        budget = 1024 * 1024
        self.patch(pairs, "MAX_COST_BYTES", budget)
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        for filler in ("", "x" * 200, "\U0001f332" * 200, "\ufb03" * 200):
            for form in ("{}{}_{}", "{}{} {}", "{}{}.png_{}", "x.{}{}_{}"):
                used, counted = _cost_of(filler, form)
                self.assertGreater(counted, budget * 0.5)
                self.assertLess(used, counted, (filler[:1], form))

    def test_ordinary_names_fit(self) -> None:
        """26 addresses with a thousand ordinary files each are all remembered."""
        for number in range(26):
            names = [n for f in range(1_000) for n in _five(f"holiday {number} picture {f:04}.jpg")]
            told = self.dictionary.tell(f"198.18.0.{number}", chunks(*names), 0.0)
            self.assertEqual(told.dropped, 0)


def _cost_of(filler: str, form: str) -> tuple[int, int]:
    """What a dictionary of such names takes, in bytes: as it is, and as it is counted."""
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    dictionary = ContentDictionary()
    for turn in range(8):
        names = chunks(*(form.format(n, filler, turn % 6) for n in range(250)))
        dictionary.tell(f"198.18.0.{turn}", names, 0.0)
    del names
    gc.collect()
    return tracemalloc.get_traced_memory()[0] - before, dictionary._cost


def _five(stem: str) -> list[str]:
    return [f"{stem}_{number}" for number in range(1, 6)]


ADDRESSES = st.sampled_from("abcdef")
SOME_NAMES = st.lists(
    st.sampled_from([f"{base}_{n}" for base in ("x", "X.png", "y") for n in range(4)] + ["x 1"]),
    max_size=6,
)


class PairMachine(RuleBasedStateMachine):
    """Tells, forgets and expires at random, beside a plain table that does the same."""

    def __init__(self) -> None:
        super().__init__()
        self.dictionary = ContentDictionary()
        self.now = 0.0
        self.table: dict[tuple[str, str, int], tuple[str, float]] = {}
        self.file = (self.dictionary.version, b"{}\n")

    @rule(address=ADDRESSES, names=SOME_NAMES, seconds=st.floats(0, 100))
    def tell(self, address: str, names: list[str], seconds: float) -> None:
        self.now += seconds
        parsed = chunks(*names)
        dropped = self.dictionary.tell(address, parsed, self.now).dropped
        assert dropped == 0
        for name in reversed(parsed):
            self.table[address, name.base, name.number] = (name.spelled, self.now)

    @precondition(lambda self: self.table)
    @rule(address=ADDRESSES)
    def forget(self, address: str) -> None:
        self.dictionary.forget(address)
        self.table = {key: value for key, value in self.table.items() if key[0] != address}

    @rule(seconds=st.floats(0, 100))
    def expire(self, seconds: float) -> None:
        self.now += seconds
        self.dictionary.expire(self.now)
        self.dictionary.expire(self.now)
        assert not self.dictionary.expire(self.now)

    @invariant()
    def same_pairs(self) -> None:
        lives = {k: v for k, v in self.table.items() if self.now - v[1] < LIFETIME_SECONDS}
        counts = {base.name: base.addresses for base in self.dictionary.bases(self.now)}
        expected: dict[str, set[str]] = {}
        for address, base, number in lives:
            zero = (address, base, 0) in lives
            if 1 <= number + zero <= 5:
                expected.setdefault(base, set()).add(address)
        assert {name: set(addresses) for name, addresses in counts.items()} == expected

    @invariant()
    def file_changes_with_the_version(self) -> None:
        self.dictionary.expire(self.now)
        file = (self.dictionary.version, self.dictionary.as_json(self.now))
        assert file[0] >= self.file[0]
        assert file[0] != self.file[0] or file[1] == self.file[1]
        self.file = file

    @invariant()
    def sums_are_right(self) -> None:
        store = self.dictionary
        entries = [e for owner in store._owners.values() for e in owner.entries.values()]
        assert store._pairs == sum(len(entry.pairs) for entry in entries)
        assert store._cost == sum(owner.cost for owner in store._owners.values())
        assert sorted(map(id, entries)) == sorted(
            id(entry) for _, found in store.each_base() for entry in found
        )
        assert store._pairs > 0 or store._cost == 0


class AnyOrderTests(SynchronousTestCase):
    def test_machine(self) -> None:
        """Whatever is told in whatever order, the dictionary holds what the plain table holds."""
        run_state_machine_as_test(PairMachine)

    @given(st.lists(st.tuples(ADDRESSES, SOME_NAMES), max_size=12))
    def test_order_of_arrival(self, told: list[tuple[str, list[str]]]) -> None:
        """The addresses of a chunk stand in the order in which they first told it."""
        dictionary = ContentDictionary()
        first: dict[str, list[str]] = {}
        for address, names in told:
            dictionary.tell(address, chunks(*names), 0.0)
            if "y_1" in names and address not in first.setdefault("y_1", []):
                first["y_1"].append(address)
        zero = {address for address, names in told if "y_0" in names}
        found = dictionary.lookup("y", 0.0).sources
        plain = [source.address for source in found[0] if source.address not in zero]
        self.assertEqual(plain, [a for a in first.get("y_1", []) if a not in zero])
