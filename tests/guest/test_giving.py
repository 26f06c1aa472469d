"""Files for guests: whole, in ranges, as they arrive; never mixed, never faster than allowed."""

from __future__ import annotations

import os
from random import Random

from msgspec import structs
from twisted.internet.error import ConnectionDone

from peershare.guest.connection import (
    CHECK_SECONDS,
    HEAD_SECONDS,
    LINGER_SECONDS,
    PATIENCE_SECONDS,
    STALLED_SECONDS,
)
from tests.guest.world import BLOCK, GUEST, TOKEN, Guest, GuestTestCase

DATA = Random(1).randbytes(10 * BLOCK - 1_000)


class WholeTests(GuestTestCase):
    def test_a_content(self) -> None:
        """Every byte, its tag, one line in the log, and the bytes are counted."""
        handle = self.content("a b.png", DATA)
        for pieces in (False, True):
            guest = self.open(pieces=pieces).get(self.link("a%20b.png"))
            self.assertTrue(guest.ended)
            self.assertEqual(guest.answer.body, DATA)
            self.assertEqual(guest.answer.headers["etag"], f'"{handle.id[3:]}"')
            guest.transport.lose(ConnectionDone())
        self.assertEqual(self.log(), [(GUEST, "a b.png", len(DATA), "ok guest")] * 2)
        self.assertEqual(sum(count for _, count in self.uploaded), 2 * len(DATA))

    def test_without_an_id(self) -> None:
        """What is not hashed yet can be fetched too, and resumed for as long as it is the same."""
        self.plain("new.bin", DATA)
        link = self.link("new.bin")
        first = self.get(link, range="bytes=0-99")
        self.assertEqual(first.body, DATA[:100])
        rest = self.get(link, range="bytes=100-", if_range=first.headers["etag"])
        self.assertEqual((rest.status, rest.body), (206, DATA[100:]))

    def test_empty(self) -> None:
        """A file without bytes is a file."""
        self.plain("empty", b"")
        answer = self.get(self.link("empty"))
        self.assertEqual((answer.status, answer.headers["content-length"]), (200, "0"))
        self.content("none", b"")
        self.assertEqual(self.get(self.link("none")).status, 200)

    def test_ranges(self) -> None:
        """Any bytes of it, over the borders of blocks too."""
        self.content("a.bin", DATA)
        link = self.link("a.bin")
        for start, stop in ((0, 1), (BLOCK - 1, BLOCK + 1), (3, 5 * BLOCK), (9 * BLOCK, len(DATA))):
            answer = self.get(link, range=f"bytes={start}-{stop - 1}")
            self.assertEqual((answer.status, answer.body), (206, DATA[start:stop]))
            told = f"bytes {start}-{stop - 1}/{len(DATA)}"
            self.assertEqual(answer.headers["content-range"], told)
        beyond = self.get(link, range=f"bytes={len(DATA)}-")
        self.assertEqual(beyond.status, 416)
        self.assertEqual(beyond.headers["content-range"], f"bytes */{len(DATA)}")

    def test_head(self) -> None:
        """The same head, and no byte behind it; no file is opened for that."""
        self.content("a.bin", DATA)
        link = self.link("a.bin")
        head, whole = self.get(link, "HEAD"), self.get(link)
        self.assertEqual((head.headers, head.body), (whole.headers, b""))

    def test_conditions(self) -> None:
        """Who has it already gets no byte."""
        self.content("a.bin", DATA)
        link = self.link("a.bin")
        tag = self.get(link, "HEAD").headers["etag"]
        known = self.get(link, if_none_match=tag)
        self.assertEqual((known.status, known.body), (304, b""))
        self.assertEqual(self.get(link, if_match='"other"').status, 412)
        self.assertEqual(self.get(link, range="bytes=5-", if_range='"other"').body, DATA)

    def test_same_bytes_under_two_names(self) -> None:
        """Each is saved under the name of its link."""
        self.content("a.bin", b"same")
        (entry,) = self.library.catalogue()
        self.library.catalogue = lambda: (entry, structs.replace(entry, name="b.bin"))
        self.library.changed()
        self.reactor.advance(1)
        for name in ("a.bin", "b.bin"):
            answer = self.get(self.link(name))
            self.assertEqual(answer.body, b"same")
            self.assertIn(f'filename="{name}"', answer.headers["content-disposition"])


class ChangedTests(GuestTestCase):
    def begin(self, name: str = "a.bin") -> Guest:
        """A guest who has got a part of it."""
        guest = self.open(buffer=65_536)
        guest.connection.dataReceived(f"GET {self.link(name)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        guest.once()
        self.assertFalse(guest.ended)
        return guest

    def assert_cut(self, guest: Guest, why: str) -> None:
        guest.take()
        self.assertTrue(guest.reset)
        self.assertLess(len(guest.answer.body), len(DATA))
        self.reactor.advance(0)
        self.assertIn(f"failed {why}", self.log()[-1][3])
        self.assertEqual(self.library.rescans, 1)

    def test_written(self) -> None:
        """A file that changes on its way is cut, hashed or not."""
        handle = self.content("a.bin", DATA)
        guest = self.begin()
        os.utime(handle.path, ns=(0, 0))
        self.assert_cut(guest, "changed")

    def test_written_without_an_id(self) -> None:
        """The same for a file that has no id."""
        file = self.plain("a.bin", DATA)
        guest = self.begin()
        os.utime(file.path, ns=(0, 0))
        self.assert_cut(guest, "changed")

    def test_truncated(self) -> None:
        """A short file is not waited for."""
        handle = self.content("a.bin", DATA)
        guest = self.begin()
        os.truncate(handle.path, 1_000)
        self.assert_cut(guest, "changed")

    def test_gone_before(self) -> None:
        """A file that is gone when it is asked for is not there, and the folder looked at."""
        handle = self.content("a.bin", DATA)
        link = self.link("a.bin")
        handle.path.unlink()
        self.assertEqual(self.get(link), self.get("/"))
        self.assertEqual(self.library.rescans, 1)
        self.assertEqual(self.log(), [])


class ArrivingTests(GuestTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.part = self.content("a.bin", DATA, [0, 1, 3])

    def ask(self, **headers: str) -> Guest:
        guest = self.open(buffer=1 << 20).get(self.link("a.bin"), **headers)
        self.assertIn(guest.answer.status, (200, 206))
        return guest

    def test_as_it_comes(self) -> None:
        """What is verified is given, what is missing waited for, and asked for in order."""
        guest = self.ask()
        self.assertEqual(guest.answer.headers["content-length"], str(len(DATA)))
        self.assertEqual(guest.answer.body, DATA[: 2 * BLOCK])
        self.assertEqual(self.in_order, [self.part.id])
        self.library.add_blocks(self.part, 5)
        self.assertEqual(guest.take().answer.body, DATA[: 2 * BLOCK])
        self.library.add_blocks(self.part, 2)
        self.assertEqual(guest.take().answer.body, DATA[: 4 * BLOCK])
        self.library.add_blocks(self.part, 4, 6, 7, 8, 9)
        self.assertEqual(guest.take().answer.body, DATA)
        self.assertTrue(guest.ended)
        self.assertEqual(self.in_order, [self.part.id])

    def test_a_range_of_it(self) -> None:
        """A range that is here is given at once."""
        guest = self.ask(range=f"bytes={3 * BLOCK}-{4 * BLOCK - 1}")
        self.assertTrue(guest.ended)
        self.assertEqual(guest.answer.body, DATA[3 * BLOCK : 4 * BLOCK])
        self.assertEqual(self.in_order, [])

    def test_it_becomes_a_file(self) -> None:
        """The end of the download moves the file; the guest notices nothing."""
        guest = self.ask()
        self.part.path.unlink()
        self.content("moved.bin", DATA)
        self.assertEqual(guest.take().answer.body, DATA)
        self.assertTrue(guest.ended)

    def test_it_is_dropped(self) -> None:
        """A download that is given up ends the transfer."""
        guest = self.ask()
        self.library.contents.clear()
        self.library.changed()
        self.assertTrue(guest.reset)

    def test_begun_anew(self) -> None:
        """A part that was looked at again holds a new set of blocks: that one counts."""
        guest = self.ask()
        self.content("a.bin", DATA, list(range(10)))
        self.assertEqual(guest.take().answer.body, DATA)

    def test_patience(self) -> None:
        """The next block is waited for long, not for ever."""
        guest = self.ask()
        self.reactor.pump([CHECK_SECONDS] * int(PATIENCE_SECONDS / CHECK_SECONDS - 1))
        self.assertFalse(guest.reset)
        self.library.add_blocks(self.part, 2)
        guest.take()
        self.reactor.pump([CHECK_SECONDS] * int(PATIENCE_SECONDS / CHECK_SECONDS - 1))
        self.assertFalse(guest.reset)
        self.reactor.pump([CHECK_SECONDS] * 2)
        self.assertTrue(guest.reset)
        self.assertIn("failed waited", self.log()[-1][3])


class LimitTests(GuestTestCase):
    rate = 100_000.0

    def test_upload_limit(self) -> None:
        """Guests share the limit of all uploads, and a limit of ours is no stall of theirs."""
        self.content("a.bin", DATA)
        guest = self.open()
        guest.connection.dataReceived(
            f"GET {self.link('a.bin')} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        )
        begun = self.reactor.seconds()
        while not guest.ended:
            guest.take()
            seconds = self.reactor.seconds() - begun
            self.assertLess(len(guest.received), 100_000 * (seconds + 0.2) + 2_000)
            self.reactor.advance(0.05)
        guest.take()
        self.assertEqual(guest.answer.body, DATA)


class SlowTests(GuestTestCase):
    def test_slow_head(self) -> None:
        """A head that drips has the same deadline as none."""
        silent, dripping = self.open(), self.open()
        for _ in range(int(HEAD_SECONDS) - 1):
            dripping.connection.dataReceived(b"X")
            self.reactor.advance(1)
        self.assertFalse(dripping.reset)
        self.reactor.advance(1)
        self.assertTrue(dripping.reset and silent.reset)

    def test_reader_that_does_not_read(self) -> None:
        """It is cut, and holds nothing."""
        self.content("a.bin", DATA)
        guest = self.open(buffer=4_096)
        link = self.link("a.bin")
        guest.connection.dataReceived(f"GET {link} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        self.reactor.pump([CHECK_SECONDS] * int(STALLED_SECONDS / CHECK_SECONDS + 1))
        self.assertTrue(guest.reset)
        self.assertIn("failed stalled", self.log()[-1][3])

    def test_reader_of_pages_that_does_not_read(self) -> None:
        """The same for a page."""
        self.plain("x" * 200, b"")
        file = self.library.plain["x" * 200]
        self.library.plain = {str(n): structs.replace(file, key=str(n)) for n in range(400)}
        self.library.changed()
        self.reactor.advance(1)
        guest = self.open(buffer=2_048)
        guest.connection.dataReceived(f"GET /{TOKEN}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        self.reactor.pump([CHECK_SECONDS] * int(STALLED_SECONDS / CHECK_SECONDS + 1))
        self.assertTrue(guest.reset)

    def test_after_the_end(self) -> None:
        """Whoever does not hang up is hung up on."""
        guest = self.open().get("/")
        self.reactor.advance(0)
        self.assertNotIn("close", guest.transport.events)
        self.reactor.advance(LINGER_SECONDS)
        self.assertIn("close", guest.transport.events)

    def test_too_many(self) -> None:
        """Connections are bounded for each address; others are served all the same."""
        for _ in range(32):
            self.open()
        with self.assertRaises(AssertionError):
            self.open()
        self.assertEqual(self.open("198.18.0.9").get("/").answer.status, 404)
        counts = self.factory.refusals.counts
        self.assertEqual(counts["guest page: too many connections from one address"], 1)

    def test_from_elsewhere(self) -> None:
        """Who is on no network of ours gets nothing."""
        with self.assertRaises(AssertionError):
            self.open("203.0.113.5")
