"""Native sessions: what is answered to whom, within which bounds, and what is left of it."""

from __future__ import annotations

import os
from random import Random

from twisted.internet import error

from peershare.content.blocks import BlockSet
from peershare.content.manifest import Manifest
from peershare.library.entries import ContentHandle
from peershare.serving import wrong
from peershare.serving.orders import MAX_JOINS
from peershare.serving.queue import MAX_QUEUED_BLOCKS
from peershare.serving.session import IDLE_SECONDS, MAX_UNKNOWN, SLICE_SECONDS, STALLED_SECONDS
from peershare.serving.swarms import BURST_SECONDS, SHARE_OF_TIME, TOGETHER
from peershare.serving.wrong import BURST, EACH_SECONDS
from peershare.uploader import LINGER_SECONDS, REQUEST_SECONDS
from peershare.wire.messages import (
    Block,
    Cancel,
    Catalogue,
    Content,
    GetBlocks,
    GetCatalogue,
    Have,
    Hello,
    Join,
    Leave,
    Problem,
    Wrong,
    encode,
)
from tests.serving.world import BLOCK, OURS, A, B, C, Client, FakeCatalogue, ServingTestCase, line

HELLO = Hello(versions=(1,))
NOWHERE = "b3:" + "00" * 32


class SessionTestCase(ServingTestCase):
    def assert_ended(self, client: Client) -> None:
        """Our stream has ended in order, and then the connection is closed."""
        self.assertEqual(client.transport.events[-1], "end of stream")
        self.reactor.pump([0, LINGER_SECONDS, 0])
        self.assertFalse(client.transport.connected)

    def assert_bad(self, client: Client) -> None:
        """The last that came says that a message was none, and the stream ended."""
        self.assertEqual(client.messages[-1].code, "bad-message")
        self.assert_ended(client)
        self.assertEqual(self.factory.refusals.counts["native request: bad-message"], 1)


class WrongTests(SessionTestCase):
    """A receiver says that a block is wrong."""

    def setUp(self) -> None:
        super().setUp()
        self.handle, data = self.large(3)
        self.client = self.joined(self.handle).send(self.asks(self.handle, 1))
        self.client.clear()
        self.wrong = Wrong(content=self.handle.id, blocks=((1, 1),))
        self.other = data[: BLOCK + 7] + b"?" + data[BLOCK + 8 :]

    def change(self) -> None:
        """Other bytes, of the same size and time."""
        status = self.handle.path.stat()
        self.handle.path.write_bytes(self.other)
        os.utime(self.handle.path, ns=(status.st_atime_ns, status.st_mtime_ns))

    def looks(self, client: Client, count: int) -> int:
        """How often the file is read for so many reports."""
        looked: list[object] = []
        real = wrong._digest
        self.patch(wrong, "_digest", lambda *them: looked.append(them) or real(*them))
        client.send(*[self.wrong] * count)
        return len(looked)

    def test_it_is(self) -> None:
        """Then the file is withdrawn, and that is the answer, whoever has left it meanwhile."""
        for client in (self.client, self.joined(self.handle, B).send(self.asks(self.handle, 1))):
            client.clear()
            self.library.contents[self.handle.id] = self.handle
            self.change()
            client.send(self.wrong, Leave(content=self.handle.id))
            (problem,) = client.messages
            self.assertEqual((problem.code, problem.content), ("changed", self.handle.id))
            self.assertEqual((problem.blocks, self.library.contents), ((), {}))

    def test_it_is_not(self) -> None:
        """A liar costs the reading of a block, and nothing is withdrawn or answered."""
        self.assertEqual(self.client.send(self.wrong).messages, [])
        self.assertIn(self.handle.id, self.library.contents)

    def test_withdrawn_already(self) -> None:
        """It was found here at the same time."""
        del self.library.contents[self.handle.id]
        self.assertEqual([m.code for m in self.client.send(self.wrong).messages], ["changed"])

    def test_a_file_that_is_another_one(self) -> None:
        """It is what scans find; so they do."""
        self.handle.path.write_bytes(b"short")
        self.client.send(self.wrong)
        self.assertEqual(self.library.rescans, 1)

    def test_so_many_and_no_more(self) -> None:
        """Of an address, on however many sessions; others have their own."""
        other = self.joined(self.handle, B).send(self.asks(self.handle, 1))
        self.assertEqual(self.looks(self.client, 100), BURST)
        self.assertEqual(self.looks(other, 1), 1)
        self.reactor.advance(EACH_SECONDS)
        self.assertEqual(self.looks(self.client, 100), 1)

    def test_what_was_never_sent(self) -> None:
        """Whoever got nothing has nothing to complain of."""
        stranger = self.greeted(C)
        self.change()
        self.assertEqual(self.looks(stranger, 3), 0)
        self.assertIn(self.handle.id, self.library.contents)

    def test_blocks_that_cannot_be(self) -> None:
        """That is no message."""
        self.assert_bad(self.client.send(Wrong(content=self.handle.id, blocks=((3, 1),))))


class HelloTests(SessionTestCase):
    def test_answered_with_one_version(self) -> None:
        """Ours is what we are told to say, with the version that both know."""
        for hello in (
            b'{"type":"hello","versions":[1]}',
            b'{"versions":[7,1,3],"new":{"a":[]},"type":"hello","port":5000}\n',
            b'\xef\xbb\xbf {"versions":[1],"agent":"x","type":"hello"}\r\n',
        ):
            self.assertEqual(self.open().send(hello).messages, [OURS], hello)

    def test_what_comes_with_it(self) -> None:
        """Requests in the same bytes are not lost, and pieces of any size are one stream."""
        handle, data = self.large(2)
        requests = [HELLO, GetCatalogue(), Join(content=handle.id), self.asks(handle, 1)]
        at_once = self.open().send(*requests)
        self.assertEqual(at_once.blocks(), [(1, data[BLOCK:])])
        self.assertEqual(len(at_once.messages), 4)
        byte_by_byte = self.open(B)
        for request in requests:
            for byte in encode(request):
                byte_by_byte.give(bytes([byte]))
        self.assertEqual(byte_by_byte.take().messages, at_once.messages)

    def test_no_common_version(self) -> None:
        """It is told which there are, and the stream ends."""
        client = self.open().send(Hello(versions=(0, 9)), GetCatalogue())
        (problem,) = client.messages
        self.assertEqual(problem.code, "version")
        self.assert_ended(client)

    def test_a_second_one(self) -> None:
        """Nobody is somebody else in the middle of a session."""
        self.assert_bad(self.greeted().send(HELLO))

    def test_a_broken_one(self) -> None:
        """It says hello, so it is told what is wrong in its own language."""
        self.assert_bad(self.open().send(b'{"type":"hello"}\n'))

    def test_no_deadline_after_it(self) -> None:
        """The deadline of the first object is that of a classic request; then it is over."""
        slow, quick = self.open(), self.greeted(B)
        slow.give(b'{"type":"hel')
        self.reactor.pump([1.0] * int(REQUEST_SECONDS))
        self.assertEqual(slow.transport.events, ["reset"])
        self.assertNotIn("reset", quick.transport.events)

    def test_classic_only(self) -> None:
        """Where no sessions are served, a hello is a request for nothing, as it always was."""
        self.factory.serving = None
        client = self.open()
        client.give(HELLO)
        self.assertEqual(client.transport.events, ["reset"])


class AnswerTests(SessionTestCase):
    def test_catalogue(self) -> None:
        """All of it, or what is different from one that is known; the lines come raw."""
        client = self.greeted().send(GetCatalogue(), GetCatalogue(known="aa" * 32))
        whole, difference = client.of(Catalogue)
        self.assertEqual((whole.base, whole.count), ("", 3))
        self.assertEqual(client.raw, [FakeCatalogue.lines, b"+" + FakeCatalogue.lines[:16]])
        self.assertEqual(difference.base, "aa" * 32)

    def test_join_a_whole_content(self) -> None:
        """Its size; its digests if they are wanted; no bitmap, for we have all of it."""
        handle, data = self.large(3)
        client = self.greeted().send(
            Join(content=handle.id), Join(content=handle.id, manifest=True)
        )
        plain, full = client.messages
        self.assertEqual((plain.size, plain.length, plain.steered), (len(data), 0, False))
        self.assertEqual((full.digests, full.bitmap), (96, 0))
        self.assertEqual(client.raw, [b"", handle.manifest.digests])

    def test_join_a_part(self) -> None:
        """The bitmap says which blocks there are."""
        handle, _ = self.large(12, "part", 0, 3, 11)
        client = self.greeted().send(Join(content=handle.id, manifest=True))
        (told,) = client.messages
        self.assertEqual((told.digests, told.bitmap), (12 * 32, 2))
        have = BlockSet.from_bytes(12, client.raw[0][told.digests :])
        self.assertEqual(list(have), [0, 3, 11])

    def test_an_empty_content(self) -> None:
        """It has no blocks, and nobody needs any."""
        handle = self.content("empty", b"")
        client = self.joined(handle)
        self.assertEqual((client.messages[0].size, client.messages[0].length), (0, 0))

    def test_what_is_not_here(self) -> None:
        """A content that we have not, blocks of a part that we have not: said, never closed."""
        handle, data = self.large(5, "part", 1, 2)
        client = self.greeted().send(
            Join(content=NOWHERE),
            GetBlocks(content=NOWHERE, blocks=((0, 2),)),
            GetBlocks(content=handle.id, blocks=((0, 3), (4, 1))),
        )
        problems = client.of(Problem)
        self.assertEqual([p.code for p in problems], ["not-here"] * 3)
        self.assertEqual([p.content for p in problems], [NOWHERE, NOWHERE, handle.id])
        self.assertEqual([p.blocks for p in problems], [(), ((0, 2),), ((0, 1), (4, 1))])
        self.assertEqual([index for index, _ in client.blocks()], [1, 2])
        self.assertEqual(client.blocks()[0][1], data[BLOCK : 2 * BLOCK])

    def test_unknown_types(self) -> None:
        """Later versions may ask for more: a polite no, but not for ever."""
        client = self.greeted().send(line(type="get_weather", where=[]), GetCatalogue())
        self.assertEqual([type(m) for m in client.messages], [Problem, Catalogue])
        self.assertEqual(client.messages[0].code, "unknown-type")
        client.clear()
        client.send(*[line(type="x")] * 100, GetCatalogue())
        self.assertEqual(len(client.messages), MAX_UNKNOWN - 1 + 1)

    def test_unknown_keys(self) -> None:
        """They are ignored."""
        client = self.greeted().send(line(type="get_catalogue", known="", colour="red"))
        self.assertEqual([type(m) for m in client.messages], [Catalogue])

    def test_garbage(self) -> None:
        """What is no message ends the session, with a sentence; what was asked before is lost."""
        handle, _ = self.large(3)
        for number, garbage in enumerate(
            (
                b"GET / HTTP/1.1\r\n",
                b"[" * 60_000 + b"\n",
                b'{"type":"join","content":"' + b"9" * 70_000 + b"\n",
                b"\xff\xfe\n",
                line(type="get_blocks", content=handle.id, blocks=[[0, -1]]),
                line(type="get_blocks", content=handle.id, blocks=[[0, 0]]),
                line(type="get_blocks", content=handle.id, blocks=[[0, 10**30]]),
                line(type="get_blocks", content="../../etc/passwd", blocks=[[0, 1]]),
                line(type="get_blocks", content=handle.id, blocks=[[0, 1]] * 513),
                line(type="get_blocks", content=handle.id, blocks=[[0, 1], [3, 1]]),
                line(type="join", content=handle.id, have=[[2, 2]]),
                line(type="join", content=handle.id, have=[[0, 3], [0, 1]]),
                line(type="join"),
                b"null\n",
            ),
            1,
        ):
            client = self.greeted().send(garbage, GetCatalogue())
            self.assertEqual([type(m) for m in client.messages], [Problem], garbage[:60])
            self.assertEqual(client.messages[0].code, "bad-message")
            self.assert_ended(client)
            counts = self.factory.refusals.counts
            self.assertEqual(counts["native request: bad-message"], number)

    def test_half_closed(self) -> None:
        """Somebody with netcat: what was asked for is sent, then the end."""
        handle, data = self.large(30)
        client = self.greeted(buffer=65_536)
        client.give(GetBlocks(content=handle.id, blocks=((0, 30),)))
        client.protocol.readConnectionLost()
        self.assertNotIn("end of stream", client.transport.events)
        client.take()
        self.assertEqual(b"".join(raw for _, raw in client.blocks()), data)
        self.assert_ended(client)


class BlockTests(SessionTestCase):
    def test_in_the_order_of_the_request(self) -> None:
        """Over a socket and over anything else, large blocks and small, the last one short."""
        handle, data = self.large(20)
        small = self.content("small", b"some bytes")
        for pieces in (False, True):
            client = self.greeted(pieces=pieces, buffer=65_536)
            client.send(
                GetBlocks(content=handle.id, blocks=((17, 3), (0, 4), (2, 1))),
                GetBlocks(content=small.id, blocks=((0, 1),)),
                GetBlocks(content=handle.id, blocks=((9, 1),)),
            )
            blocks = client.blocks()
            self.assertEqual([i for i, _ in blocks], [17, 18, 19, 0, 1, 2, 3, 2, 0, 9])
            for message, (index, raw) in zip(client.messages, blocks, strict=True):
                whole = b"some bytes" if message.content == small.id else data
                self.assertEqual(raw, whole[index * BLOCK :][:BLOCK])

    def test_blocks_of_any_size(self) -> None:
        """One byte; as much as one write may hold and a byte more; a whole block."""
        for size in (1, 2, 32_767, 32_768, 32_769, 65_535, 65_536, 65_537):
            data = Random(size).randbytes(size)
            handle = self.content(f"f{size}", data)
            for pieces in (False, True):
                client = self.greeted(pieces=pieces)
                client.send(GetBlocks(content=handle.id, blocks=((0, -(-size // BLOCK)),)))
                self.assertEqual(b"".join(raw for _, raw in client.blocks()), data)

    def test_no_more_than_so_many_at_a_time(self) -> None:
        """What is over the bound is refused as it was asked; huge runs cost nothing."""
        handle, _ = self.large(300)
        client = self.greeted(buffer=65_536)
        client.give(GetBlocks(content=handle.id, blocks=((0, 200), (100, 200), (7, 1))))
        client.take()
        (problem,) = client.of(Problem)
        self.assertEqual(problem.code, "busy")
        self.assertEqual(problem.blocks, ((100 + MAX_QUEUED_BLOCKS - 200, 144), (7, 1)))
        self.assertEqual(len(client.blocks()), MAX_QUEUED_BLOCKS)
        client.clear()
        client.send(GetBlocks(content=handle.id, blocks=((0, 10),)))
        self.assertEqual(len(client.blocks()), 10)

    def test_the_same_block_again_and_again(self) -> None:
        """Whoever wants it so gets it so."""
        handle, _ = self.large(2)
        client = self.greeted().send(*[self.asks(handle, 1, 1)] * 50)
        self.assertEqual([index for index, _ in client.blocks()], [1] * 100)

    def test_cancel(self) -> None:
        """What has not begun to leave does not leave, however the runs are told."""
        handle, _ = self.large(40)
        client = self.greeted(buffer=65_536)
        client.give(GetBlocks(content=handle.id, blocks=((0, 40),)))
        client.give(Cancel(content=handle.id, blocks=((20, 10**6), (10, 5), (12, 2), (0, 1))))
        client.give(Cancel(content=NOWHERE, blocks=((0, 1),)))
        client.take()
        wanted = [index for index in range(20) if not 10 <= index < 15]
        self.assertEqual([index for index, _ in client.blocks()], wanted)
        self.assertEqual(client.of(Problem), [])
        self.assertEqual(self.uploads()[0][2:], (15 * BLOCK, "ok 15 blocks verified-protocol"))

    def test_answers_go_first(self) -> None:
        """A catalogue does not wait for the blocks that were asked for before it."""
        handle, _ = self.large(100)
        client = self.greeted(buffer=65_536)
        client.give(GetBlocks(content=handle.id, blocks=((0, 100),)), GetCatalogue())
        client.take()
        place = [type(message) for message in client.messages].index(Catalogue)
        self.assertLess(place, 10)

    def test_leave(self) -> None:
        """Nothing more of it is sent or told, and the log has its line."""
        handle, _ = self.large(40, "part", *range(30))
        client = self.joined(handle, buffer=65_536)
        client.give(GetBlocks(content=handle.id, blocks=((0, 30),)))
        client.give(Leave(content=handle.id), Leave(content=handle.id), Leave(content=NOWHERE))
        self.library.add_blocks(handle, 35)
        self.reactor.advance(1)
        client.take()
        self.assertLess(len(client.blocks()), 5)
        self.assertEqual(client.of(Have), [])
        count = len(client.blocks())
        self.assertEqual(
            self.uploads(), [(A, "part", count * BLOCK, f"ok {count} blocks verified-protocol")]
        )
        client.send(Join(content=handle.id), self.asks(handle, 35))
        self.assertEqual(client.blocks()[-1][0], 35)

    def test_too_many_contents(self) -> None:
        """A session may join so many; the others are refused until it leaves some."""
        handles = [self.content(f"f{n}", b"x%d" % n, part=True) for n in range(MAX_JOINS + 5)]
        client = self.greeted().send(*(Join(content=handle.id) for handle in handles))
        self.assertEqual(len(client.of(Content)), MAX_JOINS)
        self.assertEqual([p.code for p in client.of(Problem)], ["busy"] * 5)
        client.clear()
        client.send(Leave(content=handles[0].id), Join(content=handles[-1].id))
        self.assertEqual(len(client.of(Content)), 1)


class TimeTests(SessionTestCase):
    """Each request takes as long as a look at the clock, here a millisecond."""

    def setUp(self) -> None:
        super().setUp()
        self.cost = 0.001

    def flood(self, address: str, sessions: int) -> list[Client]:
        """As many cheap requests as anybody can send, on so many sessions."""
        clients = [self.greeted(address) for _ in range(sessions)]
        for client in clients:
            client.clear()
            client.give(*[Leave(content=NOWHERE)] * 500, *[Join(content=NOWHERE)] * 500)
        return clients

    def looks(self) -> int:
        return round(self.spent / self.cost)

    def test_an_address_has_its_share(self) -> None:
        """Its sessions together use a twentieth of the time, however many they are."""
        self.flood(A, 8)
        before = self.looks()
        for _ in range(1_000):
            self.reactor.advance(0.01)
        self.assertLess(
            (self.looks() - before) * self.cost, 1.2 * (10.0 * SHARE_OF_TIME + BURST_SECONDS)
        )

    def test_another_address_is_answered(self) -> None:
        """Nobody else waits for those that ask without end."""
        self.flood(A, 8)
        self.reactor.advance(0.01)
        handle, _ = self.large(10)
        client = self.joined(handle, B)
        self.assertEqual(len(client.of(Content)), 1)

    def test_no_turn_is_long(self) -> None:
        """One that may ask is looked at for some milliseconds at a time."""
        client = self.greeted()
        self.reactor.advance(60.0)
        before = self.looks()
        client.give(*[Leave(content=NOWHERE)] * 100)
        self.assertLess((self.looks() - before) * self.cost, 3 * SLICE_SECONDS)

    def test_what_is_sent_pays(self) -> None:
        """Whoever fetches what it asks for is not held up by what its requests cost."""
        handle, _ = self.large(400)
        self.cost = 0.0001
        client = self.joined(handle)
        for first in range(0, 400, 4):
            client.send(self.asks(handle, *range(first, first + 4)))
        self.assertEqual(len(client.blocks()), 400)
        self.assertEqual(self.serving.shares.wait(A, self.reactor.seconds()), 0.0)

    def test_many_addresses_have_a_share_together(self) -> None:
        """All that ask without end use no more than a part of the time."""
        for number in range(10):
            self.flood(f"198.18.1.{number}", 2)
        before = self.looks()
        for _ in range(1_000):
            self.reactor.advance(0.01)
        self.assertLess(
            (self.looks() - before) * self.cost, 1.2 * (10.0 * TOGETHER + 10 * BURST_SECONDS)
        )


class HaveTests(SessionTestCase):
    def test_told_together(self) -> None:
        """What comes within some 30 ms is one message, for whoever joined and nobody else."""
        handle, _ = self.large(200, "part", 0)
        other, _ = self.large(9, "other", 0)
        joined, idle = self.joined(handle), self.joined(other, B)
        joined.clear()
        idle.clear()
        self.library.add_blocks(handle, 3)
        self.reactor.advance(0)
        self.assertEqual(joined.take().messages, [Have(content=handle.id, blocks=((3, 1),))])
        for block in (10, 11, 12, 40):
            self.library.add_blocks(handle, block)
            self.reactor.advance(0.001)
        self.assertEqual(len(joined.take().messages), 1)
        self.reactor.advance(0.05)
        self.assertEqual(joined.take().messages[1].blocks, ((10, 3), (40, 1)))
        self.assertEqual(idle.take().messages, [])

    def test_between_blocks(self) -> None:
        """News do not wait for the blocks that are queued."""
        handle, _ = self.large(100, "part", *range(90))
        client = self.joined(handle, buffer=65_536)
        client.give(GetBlocks(content=handle.id, blocks=((0, 90),)))
        self.library.add_blocks(handle, 95)
        self.reactor.advance(0)
        client.take()
        place = [type(message) for message in client.messages].index(Have)
        self.assertLess(place, 10)
        self.assertEqual(len(client.blocks()), 90)

    def test_many_runs(self) -> None:
        """More than one message can hold are told in several."""
        manifest = Manifest(6_000 << 20, bytes(1_500 * 32))
        handle = ContentHandle(
            manifest.content_id, "part", self.folder / "part", None, manifest, BlockSet(1_500)
        )
        self.library.contents[handle.id] = handle
        client = self.joined(handle)
        self.library.add_blocks(handle, *range(1, 1_500, 2))
        self.reactor.advance(0)
        told = client.take().of(Have)
        self.assertEqual([len(have.blocks) for have in told], [512, 238])

    def test_a_reader_that_reads_later(self) -> None:
        """Whatever is missed meanwhile is one message, not one for each time."""
        handle, _ = self.large(600, "part", *range(200))
        client = self.joined(handle, buffer=65_536)
        client.give(GetBlocks(content=handle.id, blocks=((0, 200),)))
        for block in range(200, 400):
            self.library.add_blocks(handle, block)
            self.reactor.advance(0.05)
        client.take()
        self.assertEqual([have.blocks for have in client.of(Have)], [((200, 200),)])


class EndTests(SessionTestCase):
    def test_a_session_that_is_lost(self) -> None:
        """One line for each content: what was all sent is fine, what was not is cut short."""
        small = self.content("small", b"some bytes")
        handle, _ = self.large(40)
        client = self.greeted(buffer=65_536).send(self.asks(small, 0))
        client.give(Join(content=handle.id), GetBlocks(content=handle.id, blocks=((0, 40),)))
        client.transport.lose(error.ConnectionLost())
        (first, second) = self.uploads()
        self.assertEqual(first, (A, "small", 10, "ok 1 blocks verified-protocol"))
        self.assertEqual(second[1], "large")
        self.assertIn("failed cut-short", second[3])
        self.assertEqual(self.factory.sent_so_far(), 10 + second[2])
        self.assertEqual(self.factory.taken[A], 10 + second[2])
        self.assertEqual(self.factory._connections, {})

    def test_the_same_again_and_again(self) -> None:
        """One line at once, and one for all the rest: nobody rolls the log away."""
        small = self.content("small", b"some bytes")
        client = self.greeted()
        for _ in range(100):
            client.send(self.asks(small, 0))
        self.assertEqual(self.uploads(), [(A, "small", 10, "ok 1 blocks verified-protocol")])
        client.transport.lose(error.ConnectionDone())
        self.assertEqual(self.uploads()[1:], [(A, "small", 990, "ok 99 blocks verified-protocol")])

    def test_nothing_sent_nothing_logged(self) -> None:
        """Whoever only looked has no line."""
        handle, _ = self.large(3)
        self.joined(handle).transport.lose(error.ConnectionLost())
        self.assertEqual(self.uploads(), [])

    def test_the_end_of_the_service(self) -> None:
        """Cut, with a line that says why."""
        handle, _ = self.large(40)
        client = self.greeted(buffer=65_536)
        client.give(GetBlocks(content=handle.id, blocks=((0, 40),)))
        self.factory.abort_all()
        self.reactor.advance(0)
        self.assertEqual(client.transport.events, ["reset"])
        self.assertIn("failed stopped", self.uploads()[0][3])

    def test_idle(self) -> None:
        """Closed in order after a minute; one that waits for news is not."""
        handle, _ = self.large(3, "part", 0)
        idle, waiting = self.greeted().send(self.asks(handle, 0)), self.joined(handle, B)
        self.reactor.pump([1.0] * int(IDLE_SECONDS - 5))
        self.assertEqual(idle.transport.events, [])
        self.reactor.pump([1.0] * 15)
        self.assertEqual(idle.transport.events, ["end of stream", "close"])
        self.reactor.pump([10.0] * 100)
        self.assertEqual(waiting.transport.events, [])
        self.library.add_blocks(handle, 2)
        self.reactor.advance(0)
        self.assertEqual(len(waiting.take().of(Have)), 1)

    def test_asking_keeps_it_open(self) -> None:
        """Somebody who asks now and then is no idler."""
        client = self.greeted()
        for _ in range(10):
            self.reactor.pump([10.0] * 5)
            client.send(GetCatalogue())
        self.assertEqual(client.transport.events, [])

    def test_no_file_stays_open(self) -> None:
        """A session that rests holds none."""
        handle, _ = self.large(3)
        self.joined(handle).send(self.asks(handle, 0, 1))
        self.assertEqual(len(self.open_files()), 1)
        self.reactor.pump([5.0] * 3)
        self.assertEqual(self.open_files(), [])


class HostileTests(SessionTestCase):
    def test_a_reader_that_takes_nothing(self) -> None:
        """It is cut after 30 s, not earlier, and the line says so."""
        handle, _ = self.large(40)
        client = self.greeted(buffer=65_536)
        client.give(GetBlocks(content=handle.id, blocks=((0, 40),)))
        self.reactor.pump([1.0] * int(STALLED_SECONDS - 1))
        self.assertEqual(client.transport.events, [])
        self.reactor.pump([1.0] * 7)
        self.assertEqual(client.transport.events, ["reset"])
        self.assertIn("failed stalled: the reader took nothing for 30 s", self.uploads()[0][3])

    def test_a_reader_that_only_pretends(self) -> None:
        """A trickle is cut, too."""
        handle, _ = self.large(200)
        client = self.greeted(buffer=65_536)
        client.give(GetBlocks(content=handle.id, blocks=((0, 200),)))
        for _ in range(200):
            client.transport.turn()
            client.transport.theirs.recv(500)
            self.reactor.advance(1.0)
            if not client.transport.connected:
                break
        self.assertIn("failed", self.uploads()[0][3])

    def test_answers_do_not_pile_up(self) -> None:
        """Somebody who asks and asks and never reads is not read from, and all is answered."""
        self.patch(FakeCatalogue, "lines", b"x" * 100_000)
        client = self.greeted(buffer=65_536)
        client.give(*[GetCatalogue()] * 500)
        session = client.protocol._session
        assert session is not None
        self.assertLess(session._answers.waiting, 2 << 20)
        self.assertEqual(client.transport.events, ["pause"])
        while len(client.of(Catalogue)) < 500:
            client.take()
            self.reactor.advance(0)
        self.assertEqual({len(raw) for raw in client.raw}, {100_000})
        self.assertEqual(client.transport.events[-1], "resume")
        self.assertEqual(len(client.send(GetCatalogue()).of(Catalogue)), 501)

    def test_a_flood_of_requests(self) -> None:
        """Handled some in each turn, so that others have theirs; all are answered, in order."""
        handle, _ = self.large(100, "part", 0)
        client = self.greeted()
        joins = [Join(content=handle.id, have=((0, 100),)), Leave(content=handle.id)] * 1_000
        client.give(*joins)
        self.assertLess(len(client.take().messages), 200)
        self.assertEqual(client.transport.events, ["pause"])
        while client.transport.events[-1] != "resume":
            self.reactor.advance(0)
        self.assertEqual(len(client.take().of(Content)), 1_000)

    def test_a_flood_and_away(self) -> None:
        """Whoever goes in the middle of it leaves nothing."""
        client = self.greeted()
        client.give(*[GetCatalogue()] * 1_000)
        client.transport.lose(error.ConnectionLost())
        self.reactor.advance(0)

    def test_idle_sessions_make_room(self) -> None:
        """The one that did nothing for the longest goes first, those that wait for news last."""
        handle, _ = self.large(3)
        busy = self.greeted(buffer=65_536)
        waiting = self.joined(handle)
        first = self.greeted()
        self.reactor.advance(1.0)
        second = self.greeted()
        self.reactor.advance(1.0)
        large, _ = self.large(40)
        busy.give(GetBlocks(content=large.id, blocks=((0, 40),)))
        others = [self.open(B) for _ in range(10)]
        while "end of stream" not in first.transport.events:
            self.assertLess(len(self.clients), 40)
            self.greeted()
        self.assertNotIn("end of stream", second.transport.events)
        for _ in range(30):
            self.greeted()
            self.reactor.pump([0, LINGER_SECONDS, 0])
        self.assertIn("end of stream", second.transport.events)
        for client in (busy, waiting, *others):
            self.assertNotIn("end of stream", client.transport.events)
        self.assertEqual(self.factory.refusals.counts["too many connections from one address"], 0)

    def test_in_all(self) -> None:
        """The same for the cap of all connections together."""
        opened = []
        for number in range(400):
            host = str(198) + f".18.{1 + number // 8}.{1 + number % 8}"
            self.known.add(host)
            opened.append(self.greeted(host, pieces=True))
            self.reactor.pump([0, LINGER_SECONDS, 0])
        self.assertLess(sum(client.transport.connected for client in opened), 257)
        self.assertTrue(opened[-1].transport.connected)
        self.assertEqual(sum(self.factory.refusals.counts.values()), 0)

    def test_two_readers(self) -> None:
        """One that does not read holds up nobody."""
        handle, data = self.large(60)
        slow, quick = self.greeted(buffer=65_536), self.greeted(C)
        for client in (slow, quick):
            client.give(GetBlocks(content=handle.id, blocks=((0, 60),)))
        self.assertEqual(b"".join(raw for _, raw in quick.take().blocks()), data)
        self.assertEqual(type(quick.messages[0]), Block)
