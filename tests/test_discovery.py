"""Chunk_Discovery: the gate for datagrams, forgetting, and the dictionary's text file."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from twisted.internet.task import deferLater
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from peershare import discovery
from peershare.content.names import ChunkName
from peershare.dictionary import LIFETIME_SECONDS, ContentDictionary, Told
from peershare.discovery import (
    DICTIONARY_NAME,
    FLOOD_REFUSALS,
    GLOBAL_BURST_BYTES,
    LINES_OF_BASES,
    NAMES_AT_ONCE,
    SOURCE_BURST,
    SOURCE_BURST_BYTES,
    SOURCE_BYTES,
    ChunkDiscovery,
    DictionaryFile,
)
from tests.fakes import FakeReactor, FakeUdpPort, HeldWorkers, link
from tests.test_pairs import chunks

NETWORK = IPv4Network("198.18.0.0/24")
OWN = IPv4Address("198.18.0.1")
A, B = "198.18.0.2", "198.18.0.3"
FOREST = b'{"chunks": ["forest_1", "forest_2"]}'


class DiscoveryTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.dictionary = ContentDictionary()
        self.told: list[tuple[str, Told]] = []
        self.expired = 0
        self.discovery = ChunkDiscovery(
            self.reactor,
            5001,
            self.dictionary,
            is_own=lambda address: address == OWN,
            is_local=lambda address: address in NETWORK,
            on_told=lambda source, told: self.told.append((source, told)),
            on_expired=self.count_expiry,
        )
        self.discovery.use(link("198.18.0.1/16", "198.18.255.255"))
        self.discovery.open()

    def count_expiry(self) -> None:
        self.expired += 1

    @property
    def port(self) -> FakeUdpPort:
        return self.reactor.udp_ports[0]

    def addresses(self, query: str = "forest") -> list[str]:
        found = self.dictionary.lookup(query, self.reactor.seconds())
        return [source.address for source in found.sources[0]]


class GateTests(DiscoveryTestCase):
    def test_an_announcement(self) -> None:
        """The chunks get the sender's address, taken from the datagram (2.2.0-B)."""
        self.port.hear(FOREST, A)
        self.port.hear(FOREST, B)
        self.assertEqual(self.addresses(), [A, B])
        self.assertEqual(self.told[0], (A, Told(first_heard=True, changed=True, dropped=0)))
        self.port.hear(FOREST, A)
        self.assertEqual(self.told[2], (A, Told(first_heard=False, changed=False, dropped=0)))

    def test_listens_on_the_broadcast_addresses(self) -> None:
        """Of every network in use, beside others; one that several have is heard once."""
        self.discovery.use(link("192.168.7.5/24", "192.168.7.255"))
        self.assertEqual(
            [(port.interface, port.port, port.shared) for port in self.reactor.udp_ports],
            [
                ("198.18.255.255", 5001, True),
                ("255.255.255.255", 5001, True),
                ("192.168.7.255", 5001, True),
            ],
        )
        self.discovery.drop(link("198.18.0.1/16", "198.18.255.255"))
        self.assertEqual(
            [port.interface for port in self.reactor.udp_ports],
            ["255.255.255.255", "192.168.7.255"],
        )

    def test_ignores_itself(self) -> None:
        """Our own broadcasts come back: they are nothing, not even refused."""
        self.port.hear(FOREST, str(OWN))
        self.assertEqual((self.told, dict(self.discovery.refusals.counts)), ([], {}))

    def test_bytes_of_one_address(self) -> None:
        """A burst of a megabyte is heard, then some kilobytes a second, and others as before."""
        names = [f"a{n:04}_{m}" for n in range(850) for m in range(1, 6)]
        large = json.dumps({"chunks": names}, separators=(",", ":")).encode()
        for _ in range(200):
            self.port.hear(large, A)
            self.reactor.advance(1 / 30)  # within the limit of datagrams
        heard = 200 - self.discovery.refusals.counts["announcement over the limit of bytes"]
        seconds = 200 / 30
        self.assertLessEqual(heard * len(large), SOURCE_BURST_BYTES + seconds * SOURCE_BYTES)
        self.assertGreater(heard * len(large), SOURCE_BURST_BYTES * 0.9)
        self.port.hear(FOREST, B)
        self.assertEqual(self.told[-1][0], B)

    def test_bytes_of_all(self) -> None:
        """Many addresses together are heard so far as there is time for it."""
        large = b'{"chunks": ["forest_1"]}'.ljust(50_000)
        for number in range(200):
            self.port.hear(large, f"198.18.0.{number % 100 + 20}")
        self.assertLessEqual(len(self.told) * len(large), 2 * GLOBAL_BURST_BYTES)

    def test_modest_ones_are_heard(self) -> None:
        """Whoever tells little is heard while many take all that they may."""
        large = b'{"chunks": ["forest_1"]}'.ljust(50_000)
        for _ in range(100):
            for number in range(30):
                self.port.hear(large, f"198.18.0.{number + 100}")
            self.reactor.advance(0.1)
        self.told.clear()
        self.port.hear(FOREST, A)
        self.assertEqual([source for source, _ in self.told], [A])

    def test_long_announcement_is_taken_in_slices(self) -> None:
        """No turn takes in more than some names of it; in the end all are there."""
        taken: list[int] = []
        tell = self.dictionary.tell

        def counted(source: str, names: Sequence[ChunkName], now: float) -> Told:
            taken.append(len(names))
            return tell(source, names, now)

        self.patch(self.dictionary, "tell", counted)
        names = [f"a{n:04}_{m}" for n in range(850) for m in range(1, 6)]
        self.port.hear(json.dumps({"chunks": names}).encode(), A)
        self.assertEqual(taken, [NAMES_AT_ONCE])
        self.reactor.advance(0)
        self.assertEqual((max(taken), sum(taken)), (NAMES_AT_ONCE, len(names)))
        self.assertEqual(self.dictionary.base_count, 850)

    def test_only_from_our_networks(self) -> None:
        """A source that is on no network of ours is counted and dropped."""
        self.port.hear(FOREST, "203.0.113.9")
        self.assertEqual(self.told, [])
        self.assertEqual(self.discovery.refusals.counts["datagram from elsewhere"], 1)

    def test_what_is_not_understood(self) -> None:
        """Whatever it is, it is dropped and counted; nothing worse than a debug line is logged."""
        log = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        hostile = (
            *(b"", b"\0" * 1_400, b"\x16\x03\x01", b"[" * 60_000, b'{"chunks": ' + b"[" * 60_000),
            *(b'{"chunks": ["a_1"', b'{"chunks": 5}', b"null", b'["a_1"]', b'{"user": "x"}'),
            *(b'{"chunks": [' + b"9" * 60_000 + b"]", b'{"chunks": NaN}', b"\xff\xfe{}"),
            b'{"chunks": {"\\ud800_1": 1}, "chunks": "x"}',
        )
        for number, datagram in enumerate(hostile):
            self.port.hear(datagram, f"198.18.0.{100 + number}")
        self.assertEqual(self.told, [])
        self.assertEqual(self.discovery.refusals.counts["datagram not understood"], len(hostile))
        self.assertEqual({event["log_level"] for event in log}, {LogLevel.debug})

    def test_junk_beside_names(self) -> None:
        """Keep what makes sense, count the rest."""
        self.port.hear(b'{"chunks": [".DS_Store", 5, "forest_1", "../../etc/passwd_1"]}', A)
        self.assertEqual(self.addresses(), [A])
        self.assertEqual(self.discovery.refusals.counts["name not understood"], 3)

    def test_names_over_the_limits(self) -> None:
        """What the dictionary cannot hold is counted."""
        for start in range(0, 1_200, 100):
            names = json.dumps({"chunks": [f"n{n}_1" for n in range(start, start + 100)]})
            self.port.hear(names.encode(), A)
        self.assertEqual(self.discovery.refusals.counts["name over the limits"], 200)

    def test_a_source_over_its_rate(self) -> None:
        """A talkative source is cut off before it is decoded; others are heard."""
        for _ in range(int(SOURCE_BURST) + 10):
            self.discovery.hear(FOREST, A)
        self.assertEqual(self.discovery.refusals.counts["datagram over the rate limit"], 10)
        self.port.hear(FOREST, B)
        self.assertEqual(self.addresses(), [A, B])

    def test_a_flood_rests_the_socket(self) -> None:
        """Refused again and again: the socket is left alone for a moment, then heard again."""
        for _ in range(FLOOD_REFUSALS - 1):
            self.port.hear(b"junk", "203.0.113.9")
        self.assertEqual(self.port.events, [])
        self.port.hear(b"junk", "203.0.113.9")
        self.assertEqual(self.port.events, ["stop reading"])
        self.reactor.advance(0.1)
        self.assertEqual(self.port.events, ["stop reading", "start reading"])
        self.port.hear(FOREST, A)
        self.assertEqual(self.addresses(), [A])

    def test_a_few_refusals_now_and_then_are_no_flood(self) -> None:
        """They are forgotten every few seconds."""
        for _ in range(10):
            for _ in range(FLOOD_REFUSALS // 2):
                self.port.hear(b"junk", "203.0.113.9")
            self.reactor.advance(5.0)
        self.assertEqual(self.port.events, [])


class ForgettingTests(DiscoveryTestCase):
    def test_after_180_seconds(self) -> None:
        """A pair lives 180 s after it was last told; then others are told that it went."""
        self.port.hear(FOREST, A)
        self.reactor.advance(100.0)
        self.port.hear(FOREST, B)
        self.reactor.pump([1.0] * 79)
        self.assertEqual((self.addresses(), self.expired), ([A, B], 0))
        self.reactor.pump([1.0] * 10)
        self.assertEqual((self.addresses(), self.expired), ([B], 1))
        self.port.hear(FOREST, A)
        self.assertEqual(self.addresses(), [B, A])

    def test_closing_ends_it(self) -> None:
        """Neither the socket nor the timer is left."""
        self.successResultOf(self.discovery.close())
        self.assertEqual((self.reactor.udp_ports, self.reactor.getDelayedCalls()), ([], []))


class FileTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.folder = Path(self.mktemp())
        self.folder.mkdir(parents=True)
        self.path = self.folder / DICTIONARY_NAME
        self.dictionary = ContentDictionary()
        self.file = DictionaryFile(self.reactor, self.dictionary, self.folder)

    def tell(self, name: str, address: str = A) -> None:
        gate = ChunkDiscovery(
            self.reactor,
            5001,
            self.dictionary,
            is_own=lambda address: False,
            is_local=lambda address: True,
            on_told=lambda source, told: self.file.touch(),
            on_expired=self.file.touch,
        )
        gate.hear(json.dumps({"chunks": [name]}).encode(), address)

    def content(self) -> object:
        return json.loads(self.path.read_text())


class DictionaryFileTests(FileTestCase):
    def test_one_json_object(self) -> None:
        """Chunk -> addresses in order of arrival; an empty one where nothing is known."""
        self.file.touch()
        self.reactor.advance(0)
        self.assertEqual(self.content(), {})
        self.tell("forest_1", B)
        self.tell("forest_1", A)
        self.reactor.advance(1.0)
        self.assertEqual(self.content(), {"forest_1": [B, A]})

    def test_at_most_once_a_second(self) -> None:
        """However much is told, it is written once a second, the last state included."""
        inodes = []
        for number in range(40):
            self.tell(f"f{number}_1")
            self.reactor.advance(0.1)
            inodes.append(self.path.stat().st_ino)
        changes = sum(a != b for a, b in itertools.pairwise(inodes))
        self.assertTrue(3 <= changes <= 4, changes)
        self.reactor.advance(1.0)
        self.assertEqual(len(json.loads(self.path.read_text())), 40)

    def test_made_in_slices(self) -> None:
        """No turn of the reactor writes down more than some names, however many there are."""
        now = self.reactor.seconds()
        for number in range(6 * LINES_OF_BASES):
            self.dictionary.tell(f"198.18.{number // 1_000}.9", chunks(f"f{number}_1"), now)
        lines = self.dictionary.lines
        made = [0]

        def later(*arguments: Any) -> Any:
            made.append(0)
            return deferLater(*arguments)

        def counted(now: float) -> Iterator[list[str]]:
            for line in lines(now):
                made[-1] += 1
                yield line

        self.patch(self.dictionary, "lines", counted)
        self.patch(discovery, "deferLater", later)
        self.file.touch()
        self.reactor.advance(0)
        self.assertEqual((max(made), sum(made)), (LINES_OF_BASES, 6 * LINES_OF_BASES))
        self.assertEqual(len(self.content()), 6 * LINES_OF_BASES)

    def test_what_takes_long_is_made_seldom(self) -> None:
        """A text that takes 0.1 s of the processor is made every 5 s at most."""
        times = itertools.count(0.0, 0.1)
        self.file = DictionaryFile(
            self.reactor, self.dictionary, self.folder, cpu=lambda: next(times)
        )
        inodes = []
        for number in range(200):
            self.tell(f"f{number}_1")
            self.reactor.advance(0.1)
            inodes.append(self.path.stat().st_ino if self.path.exists() else 0)
        self.assertLessEqual(sum(a != b for a, b in itertools.pairwise(inodes)), 5)

    def test_only_when_it_changed(self) -> None:
        """The same announcement again does not touch the disk."""
        self.tell("forest_1")
        self.reactor.advance(1.0)
        before = self.path.stat()
        self.tell("forest_1")
        self.reactor.advance(5.0)
        self.assertEqual(self.path.stat().st_ino, before.st_ino)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_a_disk_that_fails(self) -> None:
        """It is logged; the next change writes everything."""
        self.path.mkdir()
        (self.path / "inner").mkdir()
        self.tell("forest_1")
        self.reactor.advance(1.0)
        (self.path / "inner").rmdir()
        self.path.rmdir()
        self.tell("bee_1")
        self.reactor.advance(1.0)
        self.assertEqual(self.content(), {"forest_1": [A], "bee_1": [A]})

    def test_closing_writes_what_is_due(self) -> None:
        """And nothing is due afterwards."""
        self.tell("forest_1")
        self.reactor.advance(0.1)
        self.tell("bee_1")
        self.file.close()
        self.assertEqual(self.content(), {"forest_1": [A], "bee_1": [A]})
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_a_slow_disk(self) -> None:
        """A worker writes, one text at a time; what comes meanwhile is written after it."""
        workers = HeldWorkers()
        self.file = DictionaryFile(self.reactor, self.dictionary, self.folder, workers)
        self.tell("forest_1")
        self.reactor.advance(0)
        self.tell("bee_1")
        self.reactor.advance(5.0)
        self.assertEqual((workers.waiting, self.path.exists()), (["replace_file"], False))
        self.tell("fox_1")
        workers.do_one()
        self.assertEqual(self.content(), {"forest_1": [A]})
        closed = self.file.close()
        self.assertNoResult(closed)
        workers.do_all()
        self.successResultOf(closed)
        self.assertEqual(len(json.loads(self.path.read_text())), 3)
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class RecallTests(FileTestCase):
    """What a former run wrote is a beginning, if it is not too old."""

    def recall(self, text: str, age: float, another: str = "198.18.0.") -> dict[str, list[str]]:
        """What the dictionary holds after recalling this file, so many seconds old."""
        self.path.write_text(text)
        os.utime(self.path, (1_000_000.0, 1_000_000.0))
        self.file.recall(1_000_000.0 + age, lambda address: str(address).startswith(another))
        written = json.loads(self.dictionary.as_json(self.reactor.seconds()))
        assert isinstance(written, dict)
        return written

    def test_both_forms(self) -> None:
        """Ours, and the lines of a classic discovery."""
        self.assertEqual(self.recall('{"forest_1": ["198.18.0.2"]}', 10), {"forest_1": [A]})
        lines = "bee_1: 198.18.0.3, 198.18.0.3\n"
        self.assertEqual(self.recall(lines, 10), {"forest_1": [A], "bee_1": [B]})

    def test_its_age_counts(self) -> None:
        """A pair lives 180 s from when it was written, not from when it was read."""
        self.recall('{"forest_1": ["198.18.0.2"]}', 100)
        self.reactor.advance(LIFETIME_SECONDS - 101)
        self.assertEqual(len(json.loads(self.dictionary.as_json(self.reactor.seconds()))), 1)
        self.reactor.advance(2)
        self.assertEqual(len(json.loads(self.dictionary.as_json(self.reactor.seconds()))), 0)

    def test_too_old_or_from_the_future(self) -> None:
        """It means nothing any more."""
        for age in (LIFETIME_SECONDS, 10_000.0, -5.0):
            self.assertEqual(self.recall('{"forest_1": ["198.18.0.2"]}', age), {}, age)

    def test_only_other_peers(self) -> None:
        """Our own address, and what is on no network of ours, is left out."""
        text = '{"forest_1": ["203.0.113.1", "198.18.0.2", "no address"], "junk": ["198.18.0.2"]}'
        self.assertEqual(self.recall(text, 10), {"forest_1": [A]})

    def test_byte_order_mark(self) -> None:
        """What some editors put before the text belongs to no name, in either form."""
        self.assertEqual(self.recall('\ufeff{"forest_1": ["198.18.0.2"]}', 10), {"forest_1": [A]})
        self.assertEqual(self.recall("\ufeffbee_1: 198.18.0.2", 10)["bee_1"], [A])

    def test_taken_in_slices(self) -> None:
        """A long one does not keep the reactor, and an end of the service need not wait for it."""
        told = ", ".join(
            str(IPv4Address("198.18.0.2") + number) for number in range(4 * LINES_OF_BASES)
        )
        self.path.write_text(f"forest_1: {told}\n")
        os.utime(self.path, (1_000_000.0, 1_000_000.0))
        recalled = self.file.recall(1_000_010.0, lambda address: True)
        self.assertNoResult(recalled)
        closed = self.file.close()
        self.reactor.advance(0)
        self.successResultOf(recalled)
        self.successResultOf(closed)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_damaged_or_not_there(self) -> None:
        """Nothing is recalled and nothing breaks."""
        self.assertEqual(self.recall('{"forest_1": ["198.18', 10), {})
        self.assertEqual(self.recall("\x00\xff[[[", 10), {})
        self.path.unlink()
        self.file.recall(0.0, lambda address: True)

    def test_read_by_a_worker(self) -> None:
        """What is heard meanwhile does not overwrite what is about to be read."""
        workers = HeldWorkers()
        self.path.write_text('{"forest_1": ["198.18.0.2"]}')
        os.utime(self.path, (1_000_000.0, 1_000_000.0))
        self.file = DictionaryFile(self.reactor, self.dictionary, self.folder, workers)
        recalled = self.file.recall(1_000_010.0, lambda address: True)
        self.tell("bee_1", B)
        self.reactor.advance(5.0)
        self.assertEqual(workers.waiting, ["_read"])
        workers.do_one()
        self.successResultOf(recalled)
        self.reactor.advance(1.0)
        workers.do_all()
        self.assertEqual(self.content(), {"bee_1": [B], "forest_1": [A]})

    def test_no_regular_file(self) -> None:
        """Nobody waits at a pipe, nor reads a device to its end."""
        for make in (os.mkfifo, lambda path: path.symlink_to("/dev/zero"), Path.mkdir):
            make(self.path)
            self.successResultOf(self.file.recall(0.0, lambda address: True))
            self.path.rmdir() if self.path.is_dir() else self.path.unlink()

    def test_a_very_long_file(self) -> None:
        """Of one that grew without end only the beginning is read."""
        self.patch(discovery, "_MOST_READ_BYTES", 100)
        text = "forest_1: 198.18.0.2\n" * 3 + "bee_1: 198.18.0.3\n" * 100
        self.assertEqual(self.recall(text, 10), {"forest_1": [A], "bee_1": [B]})
        self.assertLess(self.dictionary.version, 4)
