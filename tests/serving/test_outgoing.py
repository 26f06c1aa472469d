"""How blocks leave: never mixed, never faster than allowed, never waiting for a disk."""

from __future__ import annotations

import errno
import os

from hypothesis import given, settings
from hypothesis import strategies as st

from peershare.library.opened import OpenContent
from peershare.serving import outgoing
from peershare.serving.session import STALLED_SECONDS
from peershare.wire.messages import Cancel, GetBlocks, GetCatalogue, Have, Join, Problem
from tests.fakes import HeldWorkers
from tests.serving.world import BLOCK, B, Client, ServingTestCase


class ChangedTests(ServingTestCase):
    def begin(self, *, pieces: bool = False) -> Client:
        """A session to which the first of 40 blocks is on its way."""
        self.handle, self.data = self.large(40)
        client = self.greeted(pieces=pieces, buffer=65_536)
        client.give(GetBlocks(content=self.handle.id, blocks=((0, 40),)))
        return client

    def assert_cut(self, client: Client, why: str) -> None:
        """Reset before the last byte of a block; one line that says why; a scan."""
        client.take()
        self.assertLess(len(client.raw[-1]), BLOCK)
        self.assertLess(len(client.blocks()), 40)
        self.assertIn("reset", client.transport.events)
        self.reactor.advance(0)
        ((_, name, _, result),) = self.uploads()
        self.assertEqual(name, "large")
        self.assertIn(f"failed {why}", result)
        self.assertEqual(self.library.rescans, 1)

    def test_written_while_a_block_leaves(self) -> None:
        """Its last byte never goes, over a socket or otherwise."""
        client = self.begin()
        with self.handle.path.open("r+b") as file:
            file.write(b"changed")
        os.utime(self.handle.path, ns=(0, 0))
        self.assert_cut(client, "changed")

    def test_truncated_while_a_block_leaves(self) -> None:
        """A short file is not waited for."""
        client = self.begin()
        os.truncate(self.handle.path, 1_000)
        self.assert_cut(client, "changed")

    def test_in_pieces(self) -> None:
        """The same where the kernel does not send."""
        self.patch(outgoing, "_PIECE_BYTES", 1 << 14)
        client = self.begin(pieces=True)
        client.once()
        os.utime(self.handle.path, ns=(0, 0))
        self.assert_cut(client, "changed")
        self.assertEqual(len(client.blocks()), 1)

    def test_truncated_in_pieces(self) -> None:
        """A short file is found out by its length as well."""
        self.patch(outgoing, "_PIECE_BYTES", 1 << 14)
        client = self.begin(pieces=True)
        os.truncate(self.handle.path, 1_000)
        self.assert_cut(client, "changed")

    def test_changed_before(self) -> None:
        """What is not what it was is refused, with all that is queued; the session goes on."""
        handle, _ = self.large(40)
        os.utime(handle.path, ns=(0, 0))
        client = self.greeted().send(
            Join(content=handle.id), GetBlocks(content=handle.id, blocks=((3, 30),)), GetCatalogue()
        )
        (problem,) = client.of(Problem)
        self.assertEqual((problem.code, problem.content), ("changed", handle.id))
        self.assertEqual(problem.blocks, ((3, 30),))
        self.assertEqual(client.blocks(), [])
        self.assertEqual(len(client.messages), 3)
        self.assertEqual(self.library.rescans, 1)
        client.transport.lose(ConnectionError())
        self.assertIn("failed changed", self.uploads()[0][3])

    def test_gone(self) -> None:
        """The same, with the system's reason."""
        handle, _ = self.large(40)
        handle.path.unlink()
        client = self.greeted().send(self.asks(handle, 5))
        self.assertEqual(client.of(Problem)[0].code, "unreadable")
        self.assertEqual(self.library.rescans, 1)

    def test_a_part_that_became_a_file(self) -> None:
        """Blocks that were asked for under its former path are found under its new one."""
        part, data = self.large(40, "part", *range(40))
        client = self.greeted(buffer=65_536)
        client.give(GetBlocks(content=part.id, blocks=((0, 2),)))
        client.take()
        self.reactor.pump([5.0] * 3)
        self.patch(self.library, "find_content", lambda _: part)
        client.give(GetBlocks(content=part.id, blocks=((0, 20),)))
        client.take(1)
        file = self.content("file", data)
        part.path.unlink()
        self.patch(self.library, "find_content", lambda _: file)
        client.take()
        self.assertEqual(len(client.blocks()), 22)
        self.assertEqual(client.of(Problem), [])

    def test_out_of_descriptors(self) -> None:
        """That passes: busy, and nothing is scanned."""
        handle, _ = self.large(3)

        def full(*_: object) -> int:
            raise OSError(errno.EMFILE, "Too many open files")

        self.patch(os, "open", full)
        client = self.greeted().send(self.asks(handle, 1, 2))
        (problem,) = client.messages
        self.assertEqual((problem.code, problem.blocks), ("busy", ((1, 2),)))
        self.assertEqual(self.library.rescans, 0)

    def test_a_reader_whose_end_breaks(self) -> None:
        """Cut short, and nothing of ours is to blame."""
        client = self.begin()
        client.transport.theirs.close()
        while client.transport.wants_to_write:
            client.transport.turn()
        self.reactor.advance(0)
        self.assertIn("failed cut-short", self.uploads()[0][3])
        self.assertEqual(self.library.rescans, 0)


class SharedDescriptorTests(ServingTestCase):
    def test_one_for_all(self) -> None:
        """Sessions that send of one file share a descriptor, as long as it is the same file."""
        handle, data = self.large(40)
        clients = [self.greeted(buffer=65_536) for _ in range(3)]
        for client in clients:
            client.give(GetBlocks(content=handle.id, blocks=((0, 40),)))
        self.assertEqual(len(self.open_files()), 1)
        for client in clients:
            client.take()
            self.assertEqual(b"".join(raw for _, raw in client.blocks()), data)


class LimitedTests(ServingTestCase):
    rate = 100_000.0

    def test_as_fast_as_allowed(self) -> None:
        """No faster, and our own limit is no stall of the reader."""
        handle, data = self.large(8)
        client = self.greeted()
        client.give(GetBlocks(content=handle.id, blocks=((0, 8),)))
        begin = self.reactor.seconds()
        while len(client.blocks()) < 8 or len(client.raw[-1]) < BLOCK - 1_000:
            client.take()
            self.reactor.advance(0.05)
            self.assertLess(self.reactor.seconds() - begin, 6.0)
        self.assertGreater(self.reactor.seconds() - begin, len(data) / 100_000 - 0.5)
        self.assertEqual(b"".join(raw for _, raw in client.blocks()), data)

    def test_a_very_slow_one(self) -> None:
        """A limit of a few bytes a second excuses the reader."""
        self.bucket.rate = 100.0
        handle, _ = self.large(8)
        client = self.greeted()
        client.give(GetBlocks(content=handle.id, blocks=((0, 8),)))
        for _ in range(int(STALLED_SECONDS) * 6):
            client.take()
            self.reactor.advance(1.0)
        self.assertTrue(client.transport.connected)

    def test_in_pieces(self) -> None:
        """The same limit through a transport, small contents too."""
        small = self.content("small", b"x" * 5_000)
        client = self.greeted(pieces=True)
        client.give(*[self.asks(small, 0)] * 20)
        client.take()
        self.assertLess(len(client.blocks()), 5)
        for _ in range(30):
            self.reactor.advance(0.05)
            client.take()
        self.assertEqual({raw for _, raw in client.blocks()}, {b"x" * 5_000})
        self.assertEqual(len(client.blocks()), 20)


class ColdTests(ServingTestCase):
    def setUp(self) -> None:
        self.workers = HeldWorkers()
        super().setUp()

    def test_read_by_a_worker_first(self) -> None:
        """A block that is not in memory waits for a worker; others are served meanwhile."""
        cold, data = self.large(5, "cold")
        warm, _ = self.large(3, "warm")
        self.patch(OpenContent, "cached", lambda content, _: content.handle.name == "warm" or False)
        first, second = self.greeted(), self.greeted()
        second.send(self.asks(warm, 0))
        self.workers.do_one()
        first.send(self.asks(cold, 2))
        self.workers.do_one()
        self.assertEqual(self.workers.waiting, ["read_through"])
        self.assertEqual(first.blocks(), [])
        second.send(self.asks(warm, 1))
        self.assertEqual(len(second.blocks()), 2)
        self.reactor.pump([5.0] * 10)
        self.assertTrue(first.transport.connected)
        self.workers.do_one()
        self.assertEqual(first.take().blocks(), [(2, data[2 * BLOCK : 3 * BLOCK])])

    def test_gone_meanwhile(self) -> None:
        """A reader that goes while a worker reads for it: the file is closed when that is done."""
        cold, _ = self.large(5, "cold")
        self.patch(OpenContent, "cached", lambda *_: False)
        client = self.greeted().send(self.asks(cold, 2))
        self.workers.do_one()
        client.transport.lose(ConnectionError())
        self.assertEqual(len(self.open_files()), 1)
        self.workers.do_all()
        self.assertEqual(self.open_files(), [])

    def test_where_the_system_does_not_say(self) -> None:
        """It is told what will be needed, once for each 16 MiB, and nothing waits."""
        handle, _ = self.large(300)
        self.patch(OpenContent, "cached", lambda *_: None)
        client = self.greeted().send(GetBlocks(content=handle.id, blocks=((0, 200),)))
        self.workers.do_one()
        self.assertEqual(len(client.take().blocks()), 200)
        self.assertEqual(self.workers.waiting, ["will_need"] * 2)
        self.workers.do_all()

    def test_opened_by_a_worker(self) -> None:
        """Nothing waits for the disk but the block; the end of the stream waits for that."""
        handle, data = self.large(3)
        client = self.greeted().send(self.asks(handle, 1))
        self.assertEqual((self.workers.waiting, self.open_files()), (["OpenContent"], []))
        self.assertEqual(len(client.send(GetCatalogue()).messages), 1)
        client.clear()
        client.protocol.readConnectionLost()
        client.take()
        self.workers.do_all()
        self.assertEqual(client.take().blocks(), [(1, data[BLOCK : 2 * BLOCK])])

    def test_gone_while_it_is_opened(self) -> None:
        """The connection, or what it wanted: nothing stays open."""
        handle, _ = self.large(3)
        client = self.greeted().send(self.asks(handle, 1))
        client.send(Cancel(content=handle.id, blocks=((1, 1),)))
        other = self.greeted(B).send(self.asks(handle, 1))
        other.transport.lose(ConnectionError())
        self.workers.do_all()
        self.assertEqual(client.take().messages, [])
        self.reactor.pump([5.0, 5.0])
        self.assertEqual(self.open_files(), [])

    def test_what_cannot_be_opened(self) -> None:
        """It is said of all blocks that wait for it."""
        handle, _ = self.large(3)
        client = self.greeted().send(self.asks(handle, 0, 1))
        handle.path.unlink()
        self.workers.do_all()
        ((problem,), rescans) = client.take().messages, self.library.rescans
        self.assertEqual((problem.code, problem.blocks, rescans), ("unreadable", ((0, 2),), 1))

    def test_what_is_cached(self) -> None:
        """What was just written is in memory, if the system says so at all."""
        handle, _ = self.large(3)
        content = OpenContent(handle)
        self.assertIn(content.cached(content.range_of(1)), (True, None))
        content.read_through(content.range_of(2))
        content.will_need(content.range_of(2))
        content.release()


class AnyOrderTests(ServingTestCase):
    @settings(max_examples=30, deadline=None)
    @given(st.data())
    def test_whatever_is_asked(self, data: st.DataObject) -> None:
        """Whatever is asked, in whatever pieces it is read: the right bytes, in order."""
        handle, whole = self.large(6, "part", 0, 1, 2, 3, 5)
        pieces = data.draw(st.booleans())
        client = self.greeted(pieces=pieces, buffer=4_096)
        asked = data.draw(st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=5), max_size=8))
        for blocks in asked:
            client.give(self.asks(handle, *blocks))
            if data.draw(st.booleans()):
                client.take(data.draw(st.integers(1, 3)))
        client.take()
        wanted = [block for blocks in asked for block in blocks if block != 4]
        self.assertEqual([index for index, _ in client.blocks()], wanted)
        for index, raw in client.blocks():
            self.assertEqual(raw, whole[index * BLOCK :][:BLOCK])
        refused = sum(count for problem in client.of(Problem) for _, count in problem.blocks)
        self.assertEqual(refused, sum(4 in blocks for blocks in asked))
        self.assertEqual(client.of(Have), [])
        client.transport.lose(ConnectionError())
