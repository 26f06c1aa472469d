"""Catalogues: how they are fetched, from whom, and what becomes of those that lie."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import structs
from twisted.trial.unittest import SynchronousTestCase

from peershare import catalogues
from peershare.catalogues import FETCH_SECONDS, GRACE_SECONDS, MAX_FETCHES, Chores
from peershare.wire.catalogue import MAX_CATALOGUE_BYTES, CatalogueEntry
from peershare.wire.messages import Catalogue
from tests.beaconing import FakeLan, Peer
from tests.fakes import FakeReactor


def entry(name: str, number: int) -> CatalogueEntry:
    """A content."""
    return CatalogueEntry(name, 5, f"b3:{number:064x}", True)


class FetchingTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.lan = FakeLan()
        self.one = self.lan.add(2)

    def other(self, number: int, *entries: CatalogueEntry) -> Peer:
        peer = self.lan.add(number)
        peer.hold(*entries)
        return peer

    def spoil(self, told: Catalogue, data: bytes) -> tuple[Catalogue, bytes]:
        """The bytes are not those of the digest."""
        return told, data.replace(b"forest", b"Forest")

    @property
    def asked(self) -> list[tuple[str, int, str]]:
        return self.one.sessions.asked


class FailureTests(FetchingTestCase):
    def test_wrong_lines(self) -> None:
        """They are dropped and counted; it is tried again less and less often, and then known."""
        self.one.sessions.spoil = self.spoil
        self.other(3, entry("forest.png", 1))
        self.lan.run(20.0, 0.05)
        self.assertEqual(self.one.knows("forest.png") + self.one.knows("Forest.png"), [])
        self.assertTrue(3 <= len(self.asked) <= 6, self.asked)
        self.assertEqual(self.one.hood.refused["catalogue not to be had"], len(self.asked))
        self.one.sessions.spoil = None
        self.lan.run(40.0, 0.1)
        self.assertEqual(len(self.one.knows("forest.png")), 1)

    def test_blame_is_kept_by_address(self) -> None:
        """The same catalogue of another peer is fetched at once."""
        bad = self.other(3, entry("forest.png", 1))
        self.lan.run(0.5)
        self.assertEqual(len(self.one.knows("forest.png")), 1)
        good = self.other(4)
        self.one.sessions.spoil = lambda told, data: (
            self.spoil(told, data) if self.asked[-1][0] == bad.address else (told, data)
        )
        self.lan.run(3.0, 0.05)
        bad.hold(entry("forest.png", 1), entry("forest.jpg", 2))
        good.hold(entry("forest.png", 1), entry("forest.jpg", 2))
        self.lan.run(3.0, 0.05)
        self.assertEqual(self.one.knows("forest.jpg"), [("forest.jpg", 2)])

    def test_nobody_there(self) -> None:
        """Who refuses is not proven any more, until it proves itself; then it is tried again."""
        self.one.sessions.refusing = True
        two = self.other(3, entry("forest.png", 1))
        self.lan.run(0.4)
        self.assertEqual(self.one.proven(), set())
        self.lan.run(2.0, 0.05)
        self.assertEqual(self.one.proven(), {two.address})
        self.one.sessions.refusing = False
        self.lan.run(40.0, 0.1)
        self.assertEqual(len(self.one.knows("forest.png")), 1)

    def test_silence(self) -> None:
        """Who does not answer is given up after a minute, and others are asked meanwhile."""
        self.one.sessions.hanging = True
        self.other(3, entry("forest.png", 1))
        self.lan.run(1.0, 0.05)
        self.one.sessions.hanging = False
        self.other(4, entry("tree.png", 2))
        self.lan.run(3.0, 0.05)
        self.assertEqual((len(self.one.knows("tree")), len(self.one.knows("forest"))), (1, 0))
        self.lan.run(FETCH_SECONDS + 5, 0.1)
        self.assertEqual(len(self.one.knows("forest")), 1)

    def test_too_large(self) -> None:
        """A catalogue that declares more bytes than any has is not taken."""
        self.one.sessions.spoil = lambda told, data: (
            structs.replace(told, length=MAX_CATALOGUE_BYTES + 1),
            data,
        )
        self.other(3, entry("forest.png", 1))
        self.lan.run(1.0)
        self.assertGreater(self.one.hood.refused["catalogue not to be had"], 0)
        self.assertEqual(self.one.knows("forest.png"), [])

    def test_a_bad_difference(self) -> None:
        """The whole is asked for next."""
        two = self.other(3, entry("a.txt", 1))
        self.lan.run(2.0, 0.05)
        known = two.hood.catalogue.digest
        self.one.sessions.spoil = lambda told, data: (
            self.spoil(told, data) if told.base else (told, data)
        )
        two.hold(entry("a.txt", 1), entry("forest.png", 2))
        self.lan.run(5.0, 0.05)
        self.assertEqual([digest for *_, digest in self.asked][-2:], [known, ""])
        self.assertEqual(len(self.one.knows("forest.png")), 1)

    def test_names_that_no_file_can_have(self) -> None:
        """They are left out and counted."""
        two = self.other(3, entry("forest.png", 1))
        evil = entry("x" * 10, 2)
        two.hold(entry("forest.png", 1), evil)
        self.patch(two.hood.catalogue, "updating", self.evil_update(two))
        self.lan.run(3.0, 0.05)
        self.assertEqual(len(self.one.knows("forest.png")), 1)
        self.assertEqual(self.one.hood.refused["name in a catalogue refused"], 1)

    def evil_update(self, peer: Peer) -> object:
        """Its history tells a name that it would not tell."""
        history = peer.hood.catalogue
        history._lines[entry("..", 2)] = (
            b'{"id":"b3:' + b"0" * 63 + b'2","name":"../../etc/passwd","size":5,"complete":true}\n'
        )
        updating = type(history).updating
        return lambda entries: updating(history, [entry("forest.png", 1), entry("..", 2)])


class ManyTests(FetchingTestCase):
    def test_at_most_eight_at_a_time(self) -> None:
        """The others wait for their turn."""
        self.one.sessions.hanging = True
        for number in range(3, 23):
            self.other(number, entry(f"file {number}", number))
        self.lan.run(3.0, 0.05)
        self.assertEqual(len(self.asked), MAX_FETCHES)
        self.one.sessions.hanging = False
        self.lan.run(FETCH_SECONDS + 10, 0.1)
        for number in range(3, 23):
            self.assertEqual(len(self.one.knows(f"file {number}")), 1)

    def test_slow_ones_give_way(self) -> None:
        """Eight that send nothing keep a newcomer waiting for seconds, not for a minute."""
        self.one.sessions.hanging = True
        for number in range(3, 3 + MAX_FETCHES):
            self.other(number, entry(f"file {number}", number))
        self.lan.run(1.0, 0.05)
        self.one.sessions.hanging = False
        self.other(90, entry("newcomer.txt", 90))
        self.lan.run(GRACE_SECONDS + 2.0, 0.05)
        self.assertEqual(len(self.one.knows("newcomer.txt")), 1)

    def test_large_ones_come_one_after_the_other(self) -> None:
        """So what is on its way fits into memory, whatever the beacons say of it."""
        self.patch(catalogues, "LARGE_BYTES", 1_000)
        many = [[entry(f"{peer}-{n}", peer * 100 + n) for n in range(50)] for peer in range(3)]
        for number, entries in enumerate(many, 3):
            self.other(number, *entries)
        held: list[int] = []
        fetcher = self.one.hood._fetcher
        for _ in range(400):
            self.lan.run(0.02, 0.02)
            held.append(sum(fetch.large for fetch, *_ in fetcher._fetches.values()))
        self.assertLessEqual(max(held), 1)
        for peer in range(3):
            self.assertEqual(len(self.one.knows(f"{peer}-7")), 1)

    def test_one_that_costs_much_waits(self) -> None:
        """Whose catalogue changes again and again has its share of our time, and others theirs."""
        spent = 0.0

        def cpu() -> float:
            nonlocal spent
            spent += 0.25  # so long each look at the clock, and as long each step
            return spent

        self.one.hood._chores._cpu = cpu
        two, three = self.other(3, entry("a.txt", 1)), self.other(4, entry("b.txt", 2))
        for number in range(60):
            two.hold(entry(f"a{number}.txt", 1))
            self.lan.run(1.0, 0.05)
        asked = [address for address, *_ in self.asked]
        self.assertLess(asked.count(two.address), 40)
        three.hold(entry("late.txt", 9))
        self.lan.run(3.0, 0.05)
        self.assertEqual(len(self.one.knows("late.txt")), 1)

    def test_one_that_changed_while_it_was_asked(self) -> None:
        """What it sent counts; it is not asked again for what it has not got any more."""
        two = self.other(3, entry("old.txt", 1))
        self.lan.run(2.0, 0.05)
        two.hood.catalogue.update([entry("new.txt", 2)])  # told nobody yet
        told = len(self.asked)
        self.lan.crash(self.one)
        self.one = self.lan.add(2)
        two.hood._beacons._catalogue = lambda: ("d" * 64, 1)  # what its beacons go on to tell
        self.lan.run(60.0, 0.1)
        self.assertEqual(len(self.one.knows("new.txt")), 1)
        self.assertLessEqual(len(self.asked), 2)
        self.assertGreater(told, 0)


class ChoresTests(SynchronousTestCase):
    def test_rest_after_a_long_step(self) -> None:
        """Everything else has as much time as a step took."""
        reactor, times = FakeReactor(), iter((0.0, 0.01, 1.0, 1.5, 2.0, 2.0))
        chores = Chores(reactor, cpu=lambda: next(times))
        steps: list[float] = []

        def work() -> Iterator[None]:
            for _ in range(2):
                steps.append(reactor.seconds())
                yield

        chores.add(work(), lambda problem: None)
        for _ in range(50):
            reactor.advance(0.001)
        self.assertEqual(len(steps), 2)
        self.assertAlmostEqual(steps[1] - steps[0], 0.01, 2)

    def test_one_step_a_turn(self) -> None:
        """Everything in the order in which it came; a failure is handed on."""
        reactor, done = FakeReactor(), []
        chores = Chores(reactor)
        steps: list[str] = []

        def work(name: str, problem: Exception | None = None) -> Iterator[None]:
            for number in range(2):
                steps.append(f"{name}{number}")
                yield
            if problem:
                raise problem

        oops = ValueError("oops")
        chores.add(work("a"), lambda problem: done.append(("a", problem)))
        chores.add(work("b", oops), lambda problem: done.append(("b", problem)))
        reactor.callLater(0, steps.append, "others")
        self.assertEqual(steps, [])
        reactor.pump([0] * 10)
        self.assertEqual(steps, ["a0", "others", "a1", "b0", "b1"])
        self.assertEqual(done, [("a", None), ("b", oops)])
        chores.add(work("c"), lambda problem: done.append(("c", problem)))
        chores.stop()
        reactor.pump([0] * 5)
        self.assertEqual((len(steps), reactor.getDelayedCalls()), (5, []))
