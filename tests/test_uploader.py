"""Chunk_Uploader: every dialect, every end, every way to misuse it."""

from __future__ import annotations

import json
import os
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from twisted.internet import error
from twisted.internet.address import IPv4Address as TcpAddress
from twisted.trial.unittest import SynchronousTestCase

from peershare.admission import MAX_CONNECTIONS_PER_ADDRESS, Admission
from peershare.ledger import Ledger
from peershare.library import library as library_module
from peershare.library.index import Index
from peershare.library.library import Library
from peershare.refusals import Refusal
from peershare.serving.chunk import ONE_WRITE_BYTES, STALLED_SECONDS
from peershare.throttle import TokenBucket
from peershare.uploader import (
    LINGER_SECONDS,
    REMEMBERED_ADDRESSES,
    REQUEST_SECONDS,
    UploaderFactory,
    UploaderProtocol,
)
from peershare.wire.request import MAX_REQUEST_BYTES
from tests.fakes import FakeReactor, FakeTransport, SocketTransport, run_now
from tests.library.test_library import FakeWatch

NETWORK = IPv4Network("198.18.0.0/16")
A = "198.18.0.2"
SMALL = bytes(range(47))
LARGE = os.urandom(5 * 700_000 - 3)
WALL = 4_000_000_000.0  # every file is at rest


def request(name: str, key: str = "requested_content") -> bytes:
    """A request as a classic client writes it."""
    return json.dumps({key: name}).encode()


class UploaderTestCase(SynchronousTestCase):
    rate: float | None = None

    def setUp(self) -> None:
        base = Path(self.mktemp())
        self.share, self.state = base / "share", base / "state"
        self.share.mkdir(parents=True)
        self.state.mkdir()
        self.patch(library_module, "FolderWatch", FakeWatch)
        self.reactor = FakeReactor()
        self.index = Index(self.state)
        self.addCleanup(self.index.close)
        self.library = Library(self.reactor, self.share, self.index, run_now, run_now, lambda: WALL)
        self.path = self.share / "forest.png"
        self.path.write_bytes(SMALL)
        (self.share / "bee.mp4").write_bytes(LARGE)
        self.library.startService()
        self.addCleanup(self.library.stopService)
        self.ledger = Ledger(self.state, lambda: WALL)
        self.known: set[str] = set()
        self.factory = UploaderFactory(
            self.reactor,
            self.library,
            self.ledger,
            TokenBucket(self.rate, self.reactor.seconds),
            run_now,
            Admission(lambda address: address in NETWORK, self.known.__contains__),
        )

    def connect(self, host: str = A) -> FakeTransport:
        """A connection; its `protocol` is the uploader's."""
        protocol = self.protocol(host)
        transport = FakeTransport(self.reactor, protocol)
        self.addCleanup(transport.lose, error.ConnectionLost())
        protocol.makeConnection(transport)
        return transport

    def connect_socket(self, host: str = A) -> SocketTransport:
        """A connection over a real socket pair, for large chunks."""
        protocol = self.protocol(host)
        transport = SocketTransport(self.reactor, protocol)
        self.addCleanup(transport.close)
        self.addCleanup(transport.lose, error.ConnectionLost())
        protocol.makeConnection(transport)
        return transport

    def protocol(self, host: str) -> UploaderProtocol:
        protocol = self.factory.buildProtocol(TcpAddress("TCP", host, 40_000))
        assert isinstance(protocol, UploaderProtocol)
        return protocol

    def read_all(self, transport: SocketTransport, turns: int = 10_000) -> bytes:
        """Read as fast as it comes, to the end; what was written at last included."""
        arrived = []
        while transport.producer is not None and turns:
            turns -= 1
            transport.turn()
            arrived.append(transport.read())
        return b"".join(arrived) + transport.read() + transport.written

    def uploads(self) -> list[tuple[str, str, int, str]]:
        """Address, chunk, bytes and result of each line of the upload log, oldest first."""
        entries = reversed([e for e in self.ledger.history(1_000) if e.direction == "upload"])
        return [(e.address, e.chunk, e.bytes, e.result) for e in entries]

    def assert_nothing_held(self) -> None:
        """No timer of a connection, no open connection, no descriptor of a file."""
        names = [str(call.func) for call in self.reactor.getDelayedCalls()]
        own = [name for name in names if "rescan" not in name and "FakeTransport" not in name]
        self.assertEqual(own, [])
        self.assertEqual(self.factory._connections, {})
        opened = [path.resolve() for path in Path("/proc/self/fd").iterdir()]
        self.assertEqual([p for p in opened if p.is_relative_to(self.share.resolve())], [])


class DialectTests(UploaderTestCase):
    def assert_served(self, *segments: bytes) -> None:
        """These segments get the whole of chunk 2."""
        transport = self.connect()
        for segment in segments:
            transport.protocol.dataReceived(segment)
        self.assertEqual(transport.written, SMALL[10:20], segments)

    def test_every_key(self) -> None:
        """The three keys of the classic world, and two more that were seen."""
        for key in (
            *("requested_content", "requested content", "requested-content"),
            *("filename", "chunk"),
        ):
            self.assert_served(request("forest_2", key))

    def test_every_spelling(self) -> None:
        """With and without extension, with a blank."""
        for name in ("forest_2", "forest.png_2", "forest_2.png", "forest 2"):
            self.assert_served(request(name))

    def test_byte_by_byte(self) -> None:
        """Answered at the last brace, not before, without a newline or an end of stream."""
        whole = request("forest_2")
        transport = self.connect()
        for index in range(len(whole) - 1):
            transport.protocol.dataReceived(whole[index : index + 1])
            self.assertEqual(transport.events, [])
        transport.protocol.dataReceived(whole[-1:])
        self.assertEqual(transport.written, SMALL[10:20])

    def test_what_comes_with_it(self) -> None:
        """Whitespace, a byte order mark, extra keys, a newline, a second request."""
        self.assert_served(b" \r\n" + request("forest_2"))
        self.assert_served(b"\xef\xbb\xbf" + request("forest_2"))
        self.assert_served(b'{"user": {"a": [1]}, "requested_content": "forest_2", "n": null}')
        self.assert_served(request("forest_2") + b"\n")
        self.assert_served(request("forest_2") + request("forest_1"), request("forest_3"))


class SmallTests(UploaderTestCase):
    def test_exactly_the_bytes_in_one_write_then_the_end(self) -> None:
        """Some clients call recv once; all of them need the end of the stream."""
        for number, piece in ((1, SMALL[:10]), (5, SMALL[40:])):
            transport = self.connect()
            transport.protocol.dataReceived(request(f"forest_{number}"))
            self.assertEqual(transport.writes, [piece])
            self.assertEqual(transport.events, ["write", "end of stream"])

    def test_up_to_the_size_of_one_write(self) -> None:
        """A chunk of 128 KiB leaves in one write, a larger one by sendfile."""
        for size, writes in ((ONE_WRITE_BYTES, 1), (ONE_WRITE_BYTES + 1, 0)):
            (self.share / f"f{size}").write_bytes(bytes(5 * size))
            self.library.rescan()
            transport = self.connect_socket()
            transport.protocol.dataReceived(request(f"f{size}_1"))
            self.assertEqual(len(transport.writes), writes)
            self.assertEqual(len(self.read_all(transport)), size)

    def test_the_end_waits_for_the_reader(self) -> None:
        """Half-close at once; the whole close when the reader has closed too."""
        transport = self.connect()
        transport.protocol.dataReceived(request("forest_1"))
        self.reactor.advance(0)
        self.reactor.advance(1.0)
        self.assertEqual(transport.events, ["write", "end of stream"])
        transport.protocol.readConnectionLost()
        self.reactor.advance(0)
        self.assertEqual(transport.events, ["write", "end of stream", "close"])
        self.assertEqual(self.uploads(), [(A, "forest_1", 10, "ok")])
        self.assert_nothing_held()

    def test_but_not_forever(self) -> None:
        """After 2 s it is closed; what still came was thrown away."""
        transport = self.connect()
        transport.protocol.dataReceived(request("forest_1"))
        self.reactor.advance(0)
        self.reactor.advance(LINGER_SECONDS - 0.1)
        transport.protocol.dataReceived(b"x" * 1_000_000)
        self.assertEqual(transport.events, ["write", "end of stream"])
        self.reactor.advance(0.2)
        self.reactor.advance(0)
        self.assertEqual(transport.events, ["write", "end of stream", "close"])
        self.assertEqual(self.uploads(), [(A, "forest_1", 10, "ok")])
        self.assert_nothing_held()

    def test_a_client_that_half_closes_first(self) -> None:
        """Its request was complete: it is served, and the connection closed at once after it."""
        transport = self.connect()
        transport.protocol.dataReceived(request("forest_1"))
        transport.protocol.readConnectionLost()
        self.reactor.advance(0)
        self.reactor.advance(0)
        self.assertEqual(transport.written, SMALL[:10])
        self.assertEqual(self.uploads(), [(A, "forest_1", 10, "ok")])
        self.assert_nothing_held()

    def test_a_client_that_resets_after_it_has_all(self) -> None:
        """We cannot know what it has: the line says that it was cut short."""
        transport = self.connect()
        transport.protocol.dataReceived(request("forest_1"))
        transport.lose(error.ConnectionLost())
        self.assertEqual(len(self.uploads()), 1)
        self.assertTrue(self.uploads()[0][3].startswith("failed cut-short"))
        self.assert_nothing_held()


class LargeTests(UploaderTestCase):
    def test_exactly_the_bytes(self) -> None:
        """Every chunk of a large file, by the kernel, to the last byte."""
        arrived = []
        for number in range(1, 6):
            transport = self.connect_socket()
            transport.protocol.dataReceived(request(f"bee_{number}"))
            arrived.append(self.read_all(transport))
            self.assertLessEqual(len(transport.written), 1)
            self.assertEqual(transport.events[-1], "end of stream")
            transport.lose(error.ConnectionDone())
        self.assertEqual(b"".join(arrived), LARGE)
        self.assertEqual({line[3] for line in self.uploads()}, {"ok"})
        self.assertEqual(sum(line[2] for line in self.uploads()), len(LARGE))
        self.assertEqual(self.factory.sent_so_far(), len(LARGE))
        self.assertEqual(self.factory.taken[A], len(LARGE))
        self.assert_nothing_held()

    def test_a_slow_reader_holds_up_nobody(self) -> None:
        """While one does not read another one is served whole."""
        slow = self.connect_socket()
        slow.protocol.dataReceived(request("bee_1"))
        fast = self.connect_socket("198.18.0.3")
        fast.protocol.dataReceived(request("bee_1"))
        self.assertEqual(self.read_all(fast), LARGE[:700_000])
        self.assertLess(slow.protocol.sent, 700_000)

    def test_a_reader_that_goes_early(self) -> None:
        """That is normal for some: an upload cut short, with what it had, and no traceback."""
        transport = self.connect_socket()
        transport.protocol.dataReceived(request("bee_1"))
        transport.lose(error.ConnectionLost())
        ((_, chunk, size, result),) = self.uploads()
        self.assertEqual(chunk, "bee_1")
        self.assertTrue(0 < size < 700_000)
        self.assertTrue(result.startswith("failed cut-short"))
        self.assert_nothing_held()

    def test_a_reader_whose_end_breaks(self) -> None:
        """A broken pipe while sending is the same."""
        transport = self.connect_socket()
        transport.protocol.dataReceived(request("bee_1"))
        transport.theirs.close()
        while transport.producer is not None:
            transport.turn()
        self.reactor.advance(0)
        self.assertTrue(self.uploads()[0][3].startswith("failed cut-short"))
        self.assert_nothing_held()

    def test_a_reader_that_takes_nothing(self) -> None:
        """It is cut after 30 s, not earlier, and the line says so."""
        transport = self.connect_socket()
        transport.protocol.dataReceived(request("bee_1"))
        self.reactor.pump([1.0] * (int(STALLED_SECONDS) - 1))
        self.assertNotIn("reset", transport.events)
        self.reactor.pump([1.0] * 7)
        self.assertIn("reset", transport.events)
        self.assertIn("failed stalled: the reader took nothing for 30 s", self.uploads()[0][3])
        self.assert_nothing_held()

    def test_a_reader_that_only_pretends(self) -> None:
        """One that takes next to nothing is cut (here it looks like a stall) within minutes."""
        transport = self.connect_socket()
        transport.protocol.dataReceived(request("bee_1"))
        for _ in range(75):
            transport.turn()
            transport.theirs.recv(500)
            self.reactor.advance(1.0)
            if not transport.connected:
                break
        self.assertTrue(self.uploads()[0][3].startswith("failed "), self.uploads())
        self.assert_nothing_held()

    def test_a_slow_reader_is_waited_for(self) -> None:
        """Some KiB a second are a reader."""
        transport = self.connect_socket()
        transport.protocol.dataReceived(request("bee_1"))
        for _ in range(120):
            transport.turn()
            transport.theirs.recv(4_000)
            self.reactor.advance(1.0)
        self.assertTrue(transport.connected)


class ChangedTests(UploaderTestCase):
    def request_large(self) -> SocketTransport:
        transport = self.connect_socket()
        transport.protocol.dataReceived(request("bee_1"))
        transport.turn()
        return transport

    def assert_broken_off(self, transport: SocketTransport, why: str) -> None:
        """Reset, never the whole chunk, one line that says why, and the folder is scanned."""
        arrived = self.read_all(transport)
        self.assertLess(len(arrived), 700_000)
        self.assertNotIn("end of stream", transport.events)
        self.assertIn("reset", transport.events)
        self.reactor.advance(0)
        self.assertIn(f"failed {why}", self.uploads()[0][3])
        self.assert_nothing_held()

    def test_truncated_while_served(self) -> None:
        """A short file is never passed off as whole."""
        transport = self.request_large()
        os.truncate(self.share / "bee.mp4", 500_000)
        self.assert_broken_off(transport, "changed: ")

    def test_written_while_served(self) -> None:
        """Bytes of two versions never make a whole chunk."""
        transport = self.request_large()
        with (self.share / "bee.mp4").open("r+b") as file:
            file.write(b"changed")
        os.utime(self.share / "bee.mp4", ns=(0, 0))
        self.assert_broken_off(transport, "changed: ")

    def test_grown_while_served(self) -> None:
        """It is another file now."""
        transport = self.request_large()
        with (self.share / "bee.mp4").open("ab") as file:
            file.write(b"more")
        self.assert_broken_off(transport, "changed: ")
        fresh = self.connect_socket()
        fresh.protocol.dataReceived(request("bee_5"))
        self.assertTrue(self.read_all(fresh).endswith(b"more"))

    def test_replaced_while_served(self) -> None:
        """What was opened is served to its end, as it was announced."""
        transport = self.request_large()
        (self.share / "other").write_bytes(b"other")
        (self.share / "other").replace(self.share / "bee.mp4")
        self.assertEqual(self.read_all(transport), LARGE[:700_000])

    def test_changed_since_it_was_announced(self) -> None:
        """Not a byte leaves of something else than was announced."""
        self.path.write_bytes(b"changed")
        transport = self.connect()
        transport.protocol.dataReceived(request("forest_1"))
        self.assertEqual(transport.events, ["reset"])
        self.reactor.advance(0)
        self.assertIn("failed changed", self.uploads()[0][3])

    def test_gone(self) -> None:
        """The same, with the system's reason; then it is not announced any more."""
        self.path.unlink()
        transport = self.connect()
        transport.protocol.dataReceived(request("forest_1"))
        self.assertEqual(transport.events, ["reset"])
        self.reactor.advance(0)
        self.assertIn("failed unreadable", self.uploads()[0][3])
        self.assertIsNone(self.library.find_chunk("forest_1"))

    def test_a_link_in_its_place(self) -> None:
        """Whoever swaps the file for a link gets nothing of what it leads to."""
        secret = self.state / "secret"
        secret.write_bytes(SMALL)
        self.path.unlink()
        self.path.symlink_to(secret.resolve())
        transport = self.connect()
        transport.protocol.dataReceived(request("forest_1"))
        self.assertEqual(transport.events, ["reset"])


class RefusalTests(UploaderTestCase):
    def test_a_chunk_that_is_not_here(self) -> None:
        """A reset, not an empty reply: more clients go on to another peer. And one line."""
        transport = self.connect()
        transport.protocol.dataReceived(request("nothing_1"))
        self.assertEqual(transport.events, ["reset"])
        self.reactor.advance(0)
        ((host, chunk, size, result),) = self.uploads()
        self.assertEqual((host, chunk, size), (A, "nothing_1", 0))
        self.assertTrue(result.startswith("failed not-here"))
        self.assert_nothing_held()

    def test_names_that_lead_elsewhere(self) -> None:
        """No request becomes a path; the line in the log is one line whatever the name holds."""
        (self.state / "secret").write_bytes(SMALL)
        for name in (
            *("../state/secret_1", "../../etc/passwd_1", "/etc/passwd_1", "..\\secret_1"),
            *("forest_1\0", "C:secret_1", "forest_1\n2026 forged line\tok", "\x1b[2J_1"),
        ):
            transport = self.connect()
            transport.protocol.dataReceived(request(name))
            self.assertEqual(transport.events, ["reset"], name)
            self.reactor.advance(0)
        lines = (self.state / "upload_log.txt").read_text().splitlines()
        self.assertEqual([len(line.split("\t")) for line in lines], [6] * 8)
        self.assertNotIn("\x1b", "".join(lines))

    def test_what_is_no_request(self) -> None:
        """Somebody who speaks something else gets a sentence, and the end."""
        transport = self.connect()
        transport.protocol.dataReceived(b"GET / HTTP/1.1\r\n\r\n")
        self.assertIn(b"requested_content", transport.written)
        self.assertEqual(transport.events, ["write", "end of stream"])
        self.reactor.pump([0, LINGER_SECONDS, 0])
        self.assert_nothing_held()

    def test_a_broken_request(self) -> None:
        """Somebody who means to be a classic client would take a sentence for the chunk."""
        for broken in (b'{"requested_content": 5}', b"{}", b"{]", b'{"requested_content": "'):
            transport = self.connect()
            transport.protocol.dataReceived(broken)
            if not transport.events:
                transport.protocol.dataReceived(b"\n")
            self.assertEqual(transport.events, ["reset"], broken)
            self.reactor.advance(0)
        self.assertEqual(self.factory.refusals.counts["request not understood"], 4)
        self.assert_nothing_held()

    def test_a_request_without_end(self) -> None:
        """64 KiB are enough."""
        transport = self.connect()
        transport.protocol.dataReceived(b'{"requested_content": "')
        for _ in range(MAX_REQUEST_BYTES // 1_024 + 1):
            transport.protocol.dataReceived(b"x" * 1_024)
        self.assertEqual(transport.events, ["reset"])
        self.reactor.advance(0)
        self.assert_nothing_held()

    def test_no_request_in_time(self) -> None:
        """10 s are enough, however busily it sends."""
        idle, busy = self.connect(), self.connect()
        busy.protocol.dataReceived(b"{")
        for _ in range(int(REQUEST_SECONDS) - 1):
            self.reactor.advance(1.0)
            busy.protocol.dataReceived(b" ")
        self.assertEqual(idle.events + busy.events, [])
        self.reactor.pump([1.0, 1.0])
        self.assertEqual(idle.events + busy.events, ["reset", "reset"])
        self.assert_nothing_held()

    def test_closed_without_a_request(self) -> None:
        """A probe: counted, closed, nothing held."""
        transport = self.connect()
        transport.protocol.dataReceived(b'{"requ')
        transport.protocol.readConnectionLost()
        self.reactor.advance(0)
        self.assertEqual(transport.events, ["close"])
        self.assertEqual(self.factory.refusals.counts["closed without a request"], 1)
        self.assert_nothing_held()


class CapTests(UploaderTestCase):
    def refused(self, host: str) -> bool:
        """Connect from there; whether that is reset at once, without a byte."""
        protocol = self.factory.buildProtocol(TcpAddress("TCP", host, 1))
        if not isinstance(protocol, Refusal):
            return False
        transport = FakeTransport(self.reactor, protocol)
        protocol.makeConnection(transport)
        self.assertEqual(transport.events, ["reset"])
        return True

    def test_only_from_our_networks(self) -> None:
        """Others are turned away before a byte is read, and counted."""
        self.assertTrue(self.refused("203.0.113.1"))
        self.assertEqual(self.factory.refusals.counts["connection from elsewhere"], 1)

    def test_idle_connections_lock_nobody_out(self) -> None:
        """One address has its cap, all have one, and known peers have a reserve."""
        for _ in range(MAX_CONNECTIONS_PER_ADDRESS):
            self.connect()
        self.assertTrue(self.refused(A))
        built = 0
        for number in range(1, 200):
            host = str(IPv4Address("198.18.1.0") + number)
            for _ in range(5):
                built += not self.refused(host)
        self.assertLess(built, 256)
        self.known.add("198.18.7.7")
        transport = self.connect("198.18.7.7")
        transport.protocol.dataReceived(request("forest_1"))
        self.assertEqual(transport.written, SMALL[:10])

    def test_recovery(self) -> None:
        """Idle connections are ended by their deadline, and others are welcome again."""
        connections = [self.connect() for _ in range(MAX_CONNECTIONS_PER_ADDRESS)]
        self.reactor.pump([REQUEST_SECONDS, 0.1])
        self.assertEqual({c.events[0] for c in connections}, {"reset"})
        self.connect()

    def test_addresses_that_took_something(self) -> None:
        """So many are remembered; the sum goes on."""
        for number in range(REMEMBERED_ADDRESSES + 10):
            self.factory.uploaded(str(IPv4Address("198.18.0.0") + number), 1)
        self.factory.uploaded("198.18.0.1", 1)
        self.assertEqual(len(self.factory.taken), REMEMBERED_ADDRESSES)
        self.assertEqual(self.factory.taken["198.18.0.1"], 2)
        self.assertEqual(self.factory.sent_so_far(), REMEMBERED_ADDRESSES + 11)

    def test_the_end_of_the_service(self) -> None:
        """Every connection is cut; uploads that were under way have a line that says why."""
        idle = self.connect()
        busy = self.connect_socket()
        busy.protocol.dataReceived(request("bee_1"))
        done = self.connect()
        done.protocol.dataReceived(request("forest_1"))
        self.factory.abort_all()
        self.reactor.advance(0)
        self.assertEqual([t.events[-1] for t in (idle, busy)], ["reset", "reset"])
        results = {chunk: result for _, chunk, _, result in self.uploads()}
        self.assertTrue(results["bee_1"].startswith("failed stopped"))
        self.assertEqual(len(results), 2)
        self.assert_nothing_held()


class LimitedTests(UploaderTestCase):
    rate = 50_000.0

    def test_our_own_limit_is_no_stall(self) -> None:
        """While we hold it up ourselves the reader is not judged."""
        self.factory.bucket.rate = 100.0
        transport = self.connect_socket()
        transport.protocol.dataReceived(request("bee_1"))
        for _ in range(1_000):
            transport.turn()
            transport.read()
            self.reactor.advance(0.2)
        self.assertTrue(transport.connected)
        self.assertLess(transport.protocol.sent, 30_000)

    def test_a_reader_that_only_pretends(self) -> None:
        """A limit that is not reached excuses nobody."""
        transport = self.connect_socket()
        transport.protocol.dataReceived(request("bee_1"))
        for _ in range(300):
            transport.turn()
            transport.theirs.recv(500)
            self.reactor.advance(1.0)
            if not transport.connected:
                break
        self.assertTrue(self.uploads()[0][3].startswith("failed too-slow"), self.uploads())
        self.assert_nothing_held()

    def test_a_small_chunk(self) -> None:
        """It is paid for too, and whole."""
        transport = self.connect_socket()
        transport.protocol.dataReceived(request("forest_5"))
        self.assertEqual(self.read_all(transport), SMALL[40:])
        transport.lose(error.ConnectionDone())
        self.assertEqual(self.uploads(), [(A, "forest_5", 7, "ok")])

    def test_a_chunk_of_one_byte(self) -> None:
        """The smallest chunk there is."""
        (self.share / "five").write_bytes(b"abcde")
        self.library.rescan()
        transport = self.connect_socket()
        transport.protocol.dataReceived(request("five_3"))
        self.assertEqual(self.read_all(transport), b"c")
        self.assertEqual(transport.events[-1], "end of stream")
