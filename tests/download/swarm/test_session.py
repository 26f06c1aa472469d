"""Sessions: what is asked, what the answers become, and what a lying peer gets for it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import error

from peershare.content.blocks import BlockSet
from peershare.download.swarm import asked as asked_module
from peershare.download.swarm.session import STALLED_SECONDS, WITHDRAWAL_SECONDS
from peershare.errors import PeerError, Reason, StorageError
from peershare.wire.messages import (
    Block,
    Cancel,
    Catalogue,
    Content,
    GetBlocks,
    GetCatalogue,
    Grant,
    Have,
    Hello,
    Join,
    Leave,
    Open,
    Problem,
    Wrong,
    encode,
)
from tests.download.swarm.talk import (
    DATA,
    HELLO,
    ID,
    MANIFEST,
    OTHER,
    ListCatalogueSink,
    TalkTestCase,
    block,
)

WHOLE = Content(content=ID, size=len(DATA), length=0)
TOLD = Content(content=ID, size=len(DATA), length=128, digests=128)


class GreetingTests(TalkTestCase):
    greet = False

    def test_hello_goes_first_and_requests_right_behind_it(self) -> None:
        """Nothing waits for the peer's hello; small pieces are sent at once."""
        self.join()
        self.assertEqual(self.asked(), [HELLO, Join(content=ID, manifest=True)])
        self.assertEqual(self.transport.options, {"no delay": True, "keep alive": True})

    def test_the_peers_hello(self) -> None:
        """It is kept for whoever wants to know."""
        self.assertIsNone(self.session.hello)
        self.give(Hello(versions=(1,), peer="ab", port=5001))
        self.assertEqual(self.session.hello, Hello(versions=(1,), peer="ab", port=5001))

    def test_another_version(self) -> None:
        """The peer has to pick one, and one that we speak."""
        for versions in ((9,), (1, 2)):
            with self.subTest(versions=versions):
                self.setUp()
                listener = self.join()
                self.give(Hello(versions=versions))
                self.assert_over(Reason.VERSION)
                self.assertEqual(listener.error.reason, Reason.VERSION)

    def test_no_hello(self) -> None:
        """An answer in place of it."""
        self.join()
        self.give(WHOLE)
        self.assert_over(Reason.BAD_MESSAGE, "hello")

    def test_hello_twice(self) -> None:
        self.give(HELLO)
        self.give(HELLO)
        self.assert_over(Reason.BAD_MESSAGE, "twice")

    def test_turned_away(self) -> None:
        """A peer that is full says so, in its own words, made safe to show."""
        for code, reason in (("busy", Reason.BUSY), ("version", Reason.VERSION)):
            with self.subTest(code=code):
                self.setUp()
                self.give(Problem(code=code, message="too \x1b many"))
                self.assert_over(reason, "says: too \\x1b many")

    def test_silence(self) -> None:
        """Nothing at all is a stall, even where nobody asked for anything."""
        self.reactor.advance(STALLED_SECONDS - 1)
        self.assertIsNone(self.session.over)
        self.reactor.pump([1.0] * 2)
        self.assert_over(Reason.STALLED, "15 s")


class JoinTests(TalkTestCase):
    def test_told(self) -> None:
        """Digests that hash to the id, and every block."""
        listener = self.join()
        self.give(TOLD, MANIFEST.digests)
        self.assertEqual(listener.calls, [("content_told", TOLD, MANIFEST.digests, None)])
        self.assertEqual(self.room.left, 96 << 20)

    def test_told_piece_by_piece(self) -> None:
        """However the bytes are cut; a bitmap says what the peer has."""
        told = Content(content=ID, size=len(DATA), length=129, digests=128, bitmap=1)
        listener = self.join()
        for byte in encode(told) + MANIFEST.digests + b"\x05":
            self.give(bytes([byte]))
        have = BlockSet(4, [0, 2])
        self.assertEqual(listener.calls, [("content_told", told, MANIFEST.digests, have)])

    def test_without_digests(self) -> None:
        """Where they were not asked for they do not come."""
        listener = self.join(manifest=False)
        self.give(WHOLE)
        self.assertEqual(listener.calls, [("content_told", WHOLE, b"", None)])

    def test_what_we_have(self) -> None:
        """It goes with the question, as far as one message takes it."""
        have = [(2 * number, 1) for number in range(1_000)]
        self.session.join(ID, self.listener, manifest=False, have=have)
        (asked,) = self.asked()
        assert isinstance(asked, Join)
        self.assertEqual(list(asked.have), have[:512])

    def test_another_manifest(self) -> None:
        """Digests that do not hash to the id, or to the size."""
        for told, digests in (
            (TOLD, bytes(128)),
            (Content(content=ID, size=len(DATA) + 1, length=128, digests=128), MANIFEST.digests),
        ):
            with self.subTest(size=told.size):
                self.setUp()
                listener = self.join()
                self.give(told, digests)
                self.assert_over(Reason.WRONG_MANIFEST)
                self.assertEqual(listener.names, ["session_lost"])

    def test_an_empty_content(self) -> None:
        """It has no digests, and its id is checked all the same."""
        listener = self.join()
        self.give(Content(content=ID, size=0, length=0))
        self.assert_over(Reason.WRONG_MANIFEST)
        self.assertEqual(listener.names, ["session_lost"])

    def test_digests_that_were_not_asked_for(self) -> None:
        self.join(manifest=False)
        self.give(TOLD)
        self.assert_over(Reason.BAD_MESSAGE, "digests")

    def test_digests_that_do_not_come(self) -> None:
        self.join()
        self.give(WHOLE)
        self.assert_over(Reason.BAD_MESSAGE, "digests")

    def test_lengths_that_cannot_be(self) -> None:
        """Raw bytes that do not belong to the size are not even waited for."""
        self.join()
        self.give(encode(TOLD).replace(b'"length":128', b'"length":127'))
        self.assert_over(Reason.BAD_MESSAGE)

    def test_nobody_asked(self) -> None:
        """A content out of the blue."""
        self.join()
        self.give(Content(content=OTHER, size=len(DATA), length=0))
        self.assert_over(Reason.BAD_MESSAGE, "nobody asked")

    def test_told_twice(self) -> None:
        self.joined()
        self.give(WHOLE)
        self.assert_over(Reason.BAD_MESSAGE, "nobody asked")

    def test_a_listener_that_objects(self) -> None:
        """What it raises ends the session, for it and for the others."""
        listener, other = self.join(manifest=False), self.join(content=OTHER)
        listener.objection = PeerError(Reason.WRONG_MANIFEST, "told another size")
        self.give(WHOLE)
        self.assert_over(Reason.WRONG_MANIFEST)
        self.assertEqual(listener.names, ["content_told", "session_lost"])
        self.assertEqual(other.names, ["session_lost"])

    def test_two_for_one_content(self) -> None:
        """Nobody takes a content away from somebody else."""
        self.join()
        self.assertRaises(ValueError, self.session.join, ID, self.listener, manifest=False)
        self.assertRaises(ValueError, self.session.attach, ID, 5, self.listener)

    def test_not_here(self) -> None:
        """A content that the peer has not is refused, and may be asked for again."""
        listener = self.join()
        problem = Problem(code="not-here", message="no", content=ID)
        self.give(problem)
        self.assertEqual(listener.calls, [("refused", problem)])
        self.assertTrue(self.session.idle)
        again = self.join(manifest=False)
        self.give(WHOLE)
        self.assertEqual(again.names, ["content_told"])

    def test_too_many_manifests(self) -> None:
        """All manifests on their way share one room."""
        self.room.take(self.room.left - 100)
        listener = self.join()
        self.give(TOLD, MANIFEST.digests)
        self.assert_over(Reason.BUSY)
        self.assertEqual(listener.error.reason, Reason.BUSY)
        self.assertEqual(self.room.left, 100)

    def test_a_manifest_that_is_cut_off(self) -> None:
        """Its room is free again."""
        self.join()
        self.give(TOLD, MANIFEST.digests[:100])
        self.assertLess(self.room.left, 96 << 20)
        self.transport.lose(error.ConnectionLost())
        self.assertEqual(self.room.left, 96 << 20)


class LeaveTests(TalkTestCase):
    def test_left(self) -> None:
        """The peer is told; what still comes of it goes nowhere and harms nobody."""
        listener = self.joined()
        self.session.request(ID, [0, 1])
        self.session.leave(ID)
        self.assertEqual(self.asked()[-1], Leave(content=ID))
        self.give_block(0)
        self.give(Have(content=ID, blocks=((0, 1),)))
        self.give(Grant(content=ID, blocks=((0, 1),)))
        self.give(Open(content=ID))
        self.give(Problem(code="not-here", message="", content=ID, blocks=((1, 1),)))
        self.give(Problem(code="changed", message="", content=ID))
        self.assertEqual(listener.calls, [])
        self.assertIsNone(self.session.over)
        self.assertTrue(self.session.idle)

    def test_left_in_the_middle_of_a_block(self) -> None:
        """The rest of it is dropped."""
        listener = self.joined()
        self.session.request(ID, [0])
        self.give(Block(content=ID, index=0, length=65_536), block(0)[:10])
        self.session.leave(ID)
        self.give(block(0)[10:])
        self.assertEqual(listener.names, ["block_begins"])
        self.assertEqual(listener.sinks[0].data, block(0)[:10])

    def test_left_in_the_middle_of_a_manifest(self) -> None:
        listener = self.join()
        self.give(TOLD, MANIFEST.digests[:7])
        self.session.leave(ID)
        self.give(MANIFEST.digests[7:])
        self.assertEqual(listener.calls, [])
        self.assertEqual(self.room.left, 96 << 20)
        self.assertIsNone(self.session.over)

    def test_joined_again_before_the_first_answer(self) -> None:
        """Each join has its answer; only the last one is for somebody."""
        first = self.join()
        self.session.leave(ID)
        second = self.join(manifest=False)
        self.give(TOLD, MANIFEST.digests)
        self.assertEqual(second.calls, [])
        self.give(WHOLE)
        self.assertEqual(second.names, ["content_told"])
        self.assertEqual(first.calls, [])

    def test_what_was_never_joined(self) -> None:
        """Leaving it says nothing."""
        self.session.leave(ID)
        self.assertEqual(self.asked(), [])

    def test_left_by_itself_when_nothing_was_joined(self) -> None:
        """What was only attached is not left but cancelled."""
        self.session.attach(ID, len(DATA), self.listener)
        self.session.request(ID, [3])
        self.asked()
        self.session.leave(ID)
        self.assertEqual(self.asked(), [Cancel(content=ID, blocks=((3, 1),))])

    def test_many_that_were_left(self) -> None:
        """Only so many are remembered."""
        for number in range(asked_module.MAX_LEFT + 50):
            content = f"b3:{number:064x}"
            self.session.attach(content, 10, self.listener)
            self.session.request(content, [0])
            self.session.leave(content)
        self.give_block(0, b"x" * 10, content=f"b3:{60:064x}")
        self.assertIsNone(self.session.over)
        self.give_block(0, b"x" * 10, content=f"b3:{40:064x}")
        self.assert_over(Reason.BAD_MESSAGE)


class BlockTests(TalkTestCase):
    def test_blocks(self) -> None:
        """Asked for in the order wanted, each into its sink; the node hears how many bytes came."""
        listener = self.joined()
        self.session.request(ID, [2, 3, 0])
        self.assertEqual(self.asked(), [GetBlocks(content=ID, blocks=((2, 2), (0, 1)))])
        for index in (2, 3, 0):
            self.give_block(index)
        self.assertEqual(
            listener.calls,
            [
                ("block_begins", 2, 65_536),
                ("block_arrived", 2),
                ("block_begins", 3, len(DATA) - 3 * 65_536),
                ("block_arrived", 3),
                ("block_begins", 0, 65_536),
                ("block_arrived", 0),
            ],
        )
        for index in (2, 3, 0):
            self.assertEqual(listener.sinks[index].data, block(index))
        self.assertEqual({address for address, _ in self.received}, {"198.18.0.2"})
        self.assertEqual(sum(n for _, n in self.received), len(DATA) - 65_536)

    def test_two_contents(self) -> None:
        """What belongs to whom."""
        first = self.joined()
        self.session.attach(OTHER, 5, self.listener)
        self.session.request(OTHER, [0])
        self.session.request(ID, [1])
        self.give_block(0, b"hello", content=OTHER)
        self.give_block(1)
        self.assertEqual(first.sinks[1].data, block(1))
        self.assertEqual(self.listener.sinks[0].data, b"hello")

    def test_one_block_needs_one_round_trip(self) -> None:
        """A small content is asked for at once, without being joined."""
        self.session.attach(OTHER, 5, self.listener)
        self.session.request(OTHER, [0])
        self.assertEqual(self.asked(), [GetBlocks(content=OTHER, blocks=((0, 1),))])
        self.give_block(0, b"hello", content=OTHER)
        self.assertEqual(self.listener.names, ["block_begins", "block_arrived"])

    def test_many_runs(self) -> None:
        """More than a message takes go in several."""
        self.session.attach(ID, 1 << 30, self.listener)
        self.session.request(ID, [*range(0, 1_024, 2), 1, 3])
        sizes = [len(m.blocks) for m in self.asked() if isinstance(m, GetBlocks)]
        self.assertEqual(sizes, [512, 2])

    def test_asked_for_once(self) -> None:
        """What is on its way already is not asked for again."""
        self.joined()
        self.session.request(ID, [1, 1])
        self.session.request(ID, [1, 2])
        self.session.request(ID, [2])
        asked = [m.blocks for m in self.asked() if isinstance(m, GetBlocks)]
        self.assertEqual(asked, [((1, 1),), ((2, 1),)])

    def test_nobody_asked(self) -> None:
        """A block out of the blue, a second copy, a block of what was never joined."""
        for index, content in ((1, ID), (0, ID), (0, OTHER)):
            with self.subTest(index=index, content=content):
                self.setUp()
                listener = self.joined()
                self.session.request(ID, [0])
                self.give_block(0)
                self.give_block(index, content=content)
                self.assert_over(Reason.BAD_MESSAGE, "nobody asked")
                self.assertEqual(listener.error.reason, Reason.BAD_MESSAGE)

    def test_wrong_lengths(self) -> None:
        """A block is as long as its place in the content is."""
        for index, length in ((0, 65_535), (3, 65_536), (0, 65_537)):
            with self.subTest(index=index, length=length):
                self.setUp()
                listener = self.joined()
                self.session.request(ID, [index])
                self.give(Block(content=ID, index=index, length=length))
                self.assert_over(Reason.BAD_MESSAGE, f"{length} bytes")
                self.assertEqual(listener.names, ["session_lost"])

    def test_a_block_that_there_is_not(self) -> None:
        """Even if we ask for it, out of some mistake."""
        self.joined()
        self.session.request(ID, [4])
        self.give(Block(content=ID, index=4, length=1))
        self.assert_over(Reason.BAD_MESSAGE, "no block 4")

    def test_not_wanted_after_all(self) -> None:
        """A listener without a sink has the bytes dropped, and the next block comes."""
        listener = self.joined()
        listener.make_sink = None
        self.session.request(ID, [0, 1])
        self.give_block(0)
        self.give_block(1)
        self.assertEqual(listener.names, ["block_begins", "block_begins"])

    def test_our_disk_fails(self) -> None:
        """It is our fault: the rest is dropped, the session goes on."""
        listener = self.joined()
        self.session.request(ID, [0, 1])
        failed = StorageError("full", 5)
        self.give(Block(content=ID, index=0, length=65_536), block(0)[:10])
        listener.sinks[0].failing = failed
        self.give(block(0)[10:])
        self.assertEqual(listener.calls[1:], [("storage_failed", 0, failed)])
        self.give_block(1)
        self.assertEqual(listener.calls[-1], ("block_arrived", 1))
        self.assertIsNone(self.session.over)

    def test_our_disk_fails_before_the_first_byte(self) -> None:
        listener = self.joined()
        self.session.request(ID, [0, 1])
        failed = StorageError("full", 5)
        listener.failing = failed
        self.give_block(0)
        listener.failing = None
        self.assertEqual(listener.calls[1:], [("storage_failed", 0, failed)])
        self.give_block(1)
        self.assertEqual(listener.calls[-1], ("block_arrived", 1))

    def test_left_when_it_begins(self) -> None:
        """Whoever leaves in that moment gets nothing more."""
        listener = self.joined()
        listener.reaction = lambda name: self.session.leave(ID)
        self.session.request(ID, [0])
        self.give_block(0)
        self.assertEqual(listener.names, ["block_begins"])
        self.assertEqual(listener.sinks[0].data, b"")

    def test_refused_blocks(self) -> None:
        """The listener is told; they may be asked for again, later."""
        listener = self.joined()
        self.session.request(ID, [0, 1])
        problem = Problem(code="not-here", message="gone", content=ID, blocks=((0, 2),))
        self.give(problem)
        self.assertEqual(listener.calls, [("refused", problem)])
        self.asked()
        self.session.request(ID, [1])
        self.assertEqual(self.asked(), [GetBlocks(content=ID, blocks=((1, 1),))])
        self.give_block(1)
        self.assertEqual(listener.calls[-1], ("block_arrived", 1))

    def test_refused_blocks_of_an_unknown_size(self) -> None:
        self.join()
        self.give(Problem(code="not-here", message="", content=ID, blocks=((0, 1),)))
        self.assert_over(Reason.BAD_MESSAGE)

    def test_the_content_is_gone(self) -> None:
        """Nothing more of it comes; what was on its way may still."""
        listener = self.joined()
        self.session.request(ID, [0, 1])
        self.give(Problem(code="changed", message="", content=ID))
        self.give_block(0)
        self.assertEqual(listener.names, ["refused"])
        self.assertTrue(self.session.idle)


class CancelTests(TalkTestCase):
    def test_cancelled(self) -> None:
        """It may have been on its way: then it is dropped, once."""
        listener = self.joined()
        self.session.request(ID, [0, 1])
        self.asked()
        self.session.cancel(ID, [0, 2])
        self.assertEqual(self.asked(), [Cancel(content=ID, blocks=((0, 1),))])
        self.give_block(0)
        self.assertEqual(listener.calls, [])
        self.give_block(0)
        self.assert_over(Reason.BAD_MESSAGE)

    def test_cancelled_and_asked_for_again(self) -> None:
        """The first copy that comes is taken, whichever request it answers."""
        listener = self.joined()
        self.session.request(ID, [0])
        self.session.cancel(ID, [0])
        self.session.request(ID, [0])
        self.give_block(0)
        self.give_block(0)
        self.assertEqual(listener.names, ["block_begins", "block_arrived"])
        self.assertIsNone(self.session.over)

    def test_cancelled_while_it_comes(self) -> None:
        """The rest goes nowhere, and nothing is said of an arrival."""
        listener = self.joined()
        self.session.request(ID, [0, 1])
        self.asked()
        self.give(Block(content=ID, index=0, length=65_536), block(0)[:10])
        self.session.cancel(ID, [0])
        self.give(block(0)[10:])
        self.assertEqual(listener.names, ["block_begins"])
        self.assertEqual(self.asked(), [], "it could not be taken back")
        self.give_block(1)
        self.assertEqual(listener.calls[-1], ("block_arrived", 1))

    def test_cancelled_and_refused(self) -> None:
        """A refusal of what is not wanted any more is nobody's concern."""
        listener = self.joined()
        self.session.request(ID, [0])
        self.session.cancel(ID, [0])
        self.give(Problem(code="not-here", message="", content=ID, blocks=((0, 1),)))
        self.assertEqual(listener.calls, [])


class NewsTests(TalkTestCase):
    def test_news(self) -> None:
        """What a peer tells by itself."""
        listener = self.joined()
        self.give(Have(content=ID, blocks=((0, 1), (2, 2))))
        self.give(Grant(content=ID, blocks=((1, 1),)))
        self.give(Open(content=ID))
        told = [("blocks_had", [0, 2, 3]), ("blocks_granted", [1]), ("opened",)]
        self.assertEqual(listener.calls, told)

    def test_blocks_that_there_are_not(self) -> None:
        """Nothing is unrolled that the content cannot have."""
        for runs in (((4, 1),), ((3, 2),), ((0, 4), (0, 1)), ((0, 1 << 20),)):
            for kind in (Have, Grant):
                with self.subTest(runs=runs, kind=kind):
                    self.setUp()
                    self.joined()
                    self.give(kind(content=ID, blocks=runs))
                    self.assert_over(Reason.BAD_MESSAGE)

    def test_before_the_answer(self) -> None:
        """News of a content whose size is not known yet mean nothing."""
        listener = self.join(manifest=False)
        self.give(Have(content=ID, blocks=((0, 1),)))
        self.give(WHOLE)
        self.assertEqual(listener.names, ["content_told"])

    def test_the_same_again_and_again(self) -> None:
        """News are bounded by the number of blocks."""
        self.joined()
        for _ in range(100):
            self.give(Have(content=ID, blocks=((0, 1),)))
        self.assert_over(Reason.BAD_MESSAGE, "again and again")

    def test_unknown_messages(self) -> None:
        """They are from a later version: skipped, with the raw bytes that they declare."""
        listener = self.joined()
        self.session.request(ID, [0])
        self.give(b'{"type": "weather", "length": 12, "sky": "blue"}\n', b"raw\n{}bytes\n")
        self.give_block(0)
        self.assertEqual(listener.names, ["block_begins", "block_arrived"])

    def test_nothing_but_unknown_messages(self) -> None:
        """There is a limit to patience; anything that was asked for renews it."""
        listener = self.joined()
        weather = b'{"type": "weather"}\n'
        self.give(weather * asked_module.MAX_STRAYS)
        self.session.request(ID, [0])
        self.give_block(0)
        self.give(weather * asked_module.MAX_STRAYS)
        self.assertIsNone(self.session.over)
        self.give(weather)
        self.assert_over(Reason.BAD_MESSAGE, "without end")
        self.assertEqual(listener.names[-1], "session_lost")

    def test_unknown_bytes_count_too(self) -> None:
        self.joined()
        line = b'{"type": "weather", "length": 4194304}\n'
        for _ in range(20):
            self.give(line, bytes(4_194_304))
        self.assert_over(Reason.BAD_MESSAGE, "without end")

    def test_a_problem_about_nothing(self) -> None:
        """A word that concerns nobody is let pass."""
        self.give(Problem(code="unknown-type", message="what?"))
        self.give(Problem(code="not-here", message="what?", content=OTHER))
        self.assertIsNone(self.session.over)

    def test_the_peer_did_not_understand_us(self) -> None:
        self.give(Problem(code="bad-message", message="what?"))
        self.assert_over(Reason.BAD_MESSAGE, "says: what?")


class CatalogueTests(TalkTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.sink = ListCatalogueSink()
        self.told = Catalogue(digest="1" * 64, count=1, length=6)

    def test_catalogue(self) -> None:
        """All of it goes to the sink, then it is told."""
        done = self.session.get_catalogue("", self.sink)
        self.assertEqual(self.asked(), [GetCatalogue(known="")])
        self.give(self.told, b"lin")
        self.assertNoResult(done)
        self.assertFalse(self.session.idle)
        self.give(b"es\n")
        self.assertEqual(self.successResultOf(done), self.told)
        self.assertEqual(self.sink.data, b"lines\n")
        self.assertTrue(self.session.idle)

    def test_an_empty_one(self) -> None:
        done = self.session.get_catalogue("", self.sink)
        told = Catalogue(digest="1" * 64, count=0, length=0)
        self.give(told)
        self.assertEqual(self.successResultOf(done), told)

    def test_one_at_a_time(self) -> None:
        """The second is asked for when the first is there."""
        first = self.session.get_catalogue("", self.sink)
        second = self.session.get_catalogue("1" * 64, self.sink)
        self.assertEqual(len(self.asked()), 1)
        self.give(self.told, b"lines\n")
        self.successResultOf(first)
        self.assertEqual(self.asked(), [GetCatalogue(known="1" * 64)])
        self.give(Catalogue(digest="2" * 64, base="1" * 64, count=0, length=0))
        self.assertEqual(self.successResultOf(second).base, "1" * 64)

    def test_nobody_asked(self) -> None:
        self.give(self.told)
        self.assert_over(Reason.BAD_MESSAGE, "nobody asked")

    def test_a_difference_from_what_we_have_not(self) -> None:
        done = self.session.get_catalogue("2" * 64, self.sink)
        self.give(Catalogue(digest="1" * 64, base="3" * 64, count=0, length=0))
        self.assert_over(Reason.BAD_MESSAGE, "difference")
        self.failureResultOf(done, PeerError)

    def test_a_sink_that_objects(self) -> None:
        """To what is told, or to the bytes."""
        for told_already in (False, True):
            with self.subTest(told_already=told_already):
                self.setUp()
                done = self.session.get_catalogue("", self.sink)
                if told_already:
                    self.give(self.told)
                self.sink.failing = PeerError(Reason.BAD_MESSAGE, "sends too much")
                self.give(b"" if told_already else self.told, b"lines\n")
                self.assert_over(Reason.BAD_MESSAGE, "too much")
                self.failureResultOf(done, PeerError)

    def test_refused(self) -> None:
        """A peer that cannot tell fails the one who asked, not the session."""
        done = self.session.get_catalogue("", self.sink)
        after = self.session.get_catalogue("", self.sink)
        self.give(Problem(code="unknown-type", message="what?"))
        self.failureResultOf(done, PeerError)
        self.assertIsNone(self.session.over)
        self.give(self.told, b"lines\n")
        self.successResultOf(after)

    def test_the_session_ends(self) -> None:
        """Whoever waits is told why; asked afterwards, it fails at once."""
        first = self.session.get_catalogue("", self.sink)
        second = self.session.get_catalogue("", self.sink)
        self.transport.lose(error.ConnectionLost())
        late = self.session.get_catalogue("", self.sink)
        for done in (first, second, late):
            self.assertEqual(self.failureResultOf(done, PeerError).value.reason, Reason.RESET)


class EndTests(TalkTestCase):
    def test_cut(self) -> None:
        """Everybody is told, once, with what it was."""
        first, second = self.joined(), self.join(content=OTHER)
        self.transport.lose(error.ConnectionLost())
        for listener in (first, second):
            self.assertEqual(listener.names, ["session_lost"])
            self.assertEqual(listener.error.reason, Reason.RESET)
        self.assertEqual(self.over, [self.session])

    def test_closed_in_order(self) -> None:
        listener = self.joined()
        self.transport.lose(error.ConnectionDone())
        self.assertEqual(str(listener.error), "closed the connection")

    def test_closed_in_the_middle_of_a_block(self) -> None:
        """A clean end that comes too early says by how much."""
        listener = self.joined()
        self.session.request(ID, [0])
        self.give(Block(content=ID, index=0, length=65_536), block(0)[:65_500])
        self.transport.lose(error.ConnectionDone())
        self.assertEqual(listener.error.reason, Reason.SHORT)
        self.assertIn("36 bytes too early", str(listener.error))

    def test_nothing_after_the_end(self) -> None:
        """What still comes is not looked at, what is still asked is not sent."""
        listener = self.joined()
        self.session.request(ID, [0])
        self.give(b"nonsense\n")
        self.assert_over(Reason.BAD_MESSAGE)
        self.asked()
        self.give_block(0)
        self.session.request(ID, [1])
        self.session.cancel(ID, [0])
        self.session.leave(ID)
        self.assertEqual(self.asked(), [])
        self.assertEqual(listener.names, ["session_lost"])

    def test_joined_after_the_end(self) -> None:
        """Whoever comes too late is told so, a moment later."""
        self.give(b"nonsense\n")
        listener = self.join()
        self.session.attach(OTHER, 5, listener)
        self.assertEqual(listener.calls, [])
        self.reactor.advance(0)
        self.assertEqual(listener.names, ["session_lost", "session_lost"])

    def test_a_line_without_end(self) -> None:
        listener = self.joined()
        self.give(b"x" * 70_000)
        self.assert_over(Reason.BAD_MESSAGE, "longer")
        self.assertEqual(listener.names, ["session_lost"])

    def test_closed_by_us(self) -> None:
        """In order, and whoever is on it is told."""
        listener = self.joined()
        self.session.close()
        self.assertIn("close", self.transport.events)
        self.assertEqual(listener.error.reason, Reason.RESET)

    def test_closed_by_us_but_the_peer_takes_nothing(self) -> None:
        """A connection that does not close is cut after a while."""
        self.patch(self.transport, "loseConnection", lambda: None)
        self.session.close()
        self.reactor.advance(4.9)
        self.assertNotIn("reset", self.transport.events)
        self.reactor.advance(0.1)
        self.assertIn("reset", self.transport.events)

    def test_a_listener_that_leaves_when_it_is_told(self) -> None:
        """That it does so again changes nothing."""
        listener = self.joined()
        listener.reaction = lambda name: self.session.leave(ID)
        self.transport.lose(error.ConnectionLost())
        self.assertEqual(listener.names, ["session_lost"])

    @given(st.binary(max_size=300))
    def test_garbage(self, data: bytes) -> None:
        """Whatever comes, the session goes on or is over; nothing is raised."""
        self.setUp()
        listener = self.joined()
        self.give(data + b"\n")
        self.assertEqual(self.session.over is not None, "session_lost" in listener.names)


class PaceTests(TalkTestCase):
    def pass_time(self, seconds: int) -> None:
        for _ in range(seconds):
            self.reactor.advance(1.0)

    def test_stalled(self) -> None:
        """Something was asked for, and nothing of it comes."""
        listener = self.joined()
        self.session.request(ID, [0])
        self.pass_time(14)
        self.assertIsNone(self.session.over)
        self.pass_time(2)
        self.assert_over(Reason.STALLED)
        self.assertEqual(listener.error.reason, Reason.STALLED)

    def test_nothing_asked_for_nothing_missed(self) -> None:
        """A peer that owes nothing may be silent for ever."""
        self.joined()
        self.pass_time(1_000)
        self.assertIsNone(self.session.over)
        self.session.request(ID, [0])
        self.pass_time(14)
        self.assertIsNone(self.session.over)

    def test_silence_after_a_long_pause(self) -> None:
        """The time without a request does not count for the next one."""
        self.joined()
        self.pass_time(1_000)
        self.session.request(ID, [0])
        self.give(Block(content=ID, index=0, length=65_536))
        self.pass_time(14)
        self.assertIsNone(self.session.over)
        self.pass_time(3)
        self.assert_over(Reason.STALLED)

    def test_chatter_is_no_progress(self) -> None:
        """Nobody holds a request up by talking of something else."""
        self.joined()
        self.session.request(ID, [0])
        for number in range(16):
            self.pass_time(1)
            self.give(b'{"type": "weather", "length": 1000}\n', bytes(1_000))
            self.give(Have(content=ID, blocks=((number % 4, 1),)))
        self.assert_over(Reason.STALLED)

    def test_trickle(self) -> None:
        """Less than 1 KiB a second for a minute is too slow."""
        self.joined()
        self.session.request(ID, [0])
        self.give(Block(content=ID, index=0, length=65_536))
        for number in range(70):
            if self.session.over is not None:
                break
            self.pass_time(1)
            self.give(block(0)[number * 100 : number * 100 + 100])
        self.assert_over(Reason.TOO_SLOW)

    def test_a_manifest_that_does_not_come(self) -> None:
        self.join()
        self.pass_time(16)
        self.assert_over(Reason.STALLED)

    def test_a_catalogue_that_does_not_come(self) -> None:
        done = self.session.get_catalogue("", ListCatalogueSink())
        self.pass_time(16)
        self.assertEqual(self.failureResultOf(done, PeerError).value.reason, Reason.STALLED)

    def test_what_is_cancelled_is_not_waited_for(self) -> None:
        self.joined()
        self.session.request(ID, [0])
        self.session.cancel(ID, [0])
        self.pass_time(100)
        self.assertIsNone(self.session.over)


class LimitTests(TalkTestCase):
    rate = 10_000.0

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds * 20)):
            self.reactor.advance(0.05)

    def test_no_more_is_read_until_it_is_paid(self) -> None:
        """Over the limit reading stops; that is not held against the peer."""
        self.joined()
        self.session.request(ID, [0])
        self.give_block(0)
        self.session.request(ID, [1])
        self.assertEqual(self.transport.events[-2:], ["pause", "write"])
        self.pass_time(6.0)
        self.assertNotIn("resume", self.transport.events)
        self.pass_time(1.0)
        self.assertIn("resume", self.transport.events)

    def test_a_long_pause_is_ours(self) -> None:
        """Twenty seconds without a byte, because we did not read."""
        self.session.attach(ID, 1 << 20, self.listener)
        self.session.request(ID, [0, 1, 2, 3])
        for index in range(3):
            self.give_block(index, bytes(65_536))
        self.pass_time(25.0)
        self.assertIn("resume", self.transport.events)
        self.assertIsNone(self.session.over)

    def test_over_while_it_waits(self) -> None:
        """The end of a session ends the waiting, too."""
        self.joined()
        self.session.request(ID, [0])
        self.give_block(0)
        self.session.close()
        self.pass_time(10.0)
        self.assertNotIn("resume", self.transport.events)

    def test_reads_are_small(self) -> None:
        """One read takes no more than a twentieth of a second's bytes (but 2 KiB at least)."""
        self.assertEqual(self.transport.bufferSize, 2_048)


class WrongTests(TalkTestCase):
    """A block was wrong: a peer that knows that message is told so, and may withdraw it."""

    greet = False

    def begin(self, version: int) -> list[str]:
        self.give(Hello(versions=(version,), peer="ab"))
        self.joined()
        withdrew: list[str] = []
        self.session.report_wrong(ID, 1, lambda: withdrew.append("withdrew"))
        self.session.leave(ID)
        return withdrew

    def withdraw(self) -> None:
        self.give(Problem(code="changed", message="it changed", content=ID))

    def test_told_and_withdrawn(self) -> None:
        """Once: what is said again says nothing more."""
        withdrew = self.begin(2)
        self.assertEqual(self.asked()[0], Wrong(content=ID, blocks=((1, 1),)))
        self.assertEqual(withdrew, [])
        self.withdraw()
        self.withdraw()
        self.assertEqual((withdrew, self.session.over), (["withdrew"], None))

    def test_the_version_before(self) -> None:
        """It would not know what that is."""
        withdrew = self.begin(1)
        self.assertEqual(self.asked(), [Leave(content=ID)])
        self.withdraw()
        self.assertEqual(withdrew, [])

    def test_too_late(self) -> None:
        """An honest peer has looked before."""
        withdrew = self.begin(2)
        self.reactor.advance(WITHDRAWAL_SECONDS + 0.1)
        self.withdraw()
        self.assertEqual(withdrew, [])

    def test_another_answer(self) -> None:
        """To be busy, or to lack a block, is no withdrawal."""
        withdrew = self.begin(2)
        self.give(Problem(code="busy", message="later", content=ID))
        self.give(Problem(code="changed", message="a block", content=ID, blocks=((1, 1),)))
        self.assertEqual(withdrew, [])
