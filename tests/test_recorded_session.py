"""The recorded session of `tests/vectors`, played to our uploader: it answers byte for byte."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet import error
from twisted.trial.unittest import SynchronousTestCase

from peershare.admission import Admission
from peershare.content.blocks import BlockSet
from peershare.content.manifest import Manifest
from peershare.ledger import Ledger
from peershare.library.entries import ContentHandle
from peershare.serving.swarms import Serving
from peershare.throttle import TokenBucket
from peershare.uploader import UploaderFactory
from peershare.wire.catalogue import CatalogueEntry, CatalogueHistory, CatalogueReader
from peershare.wire.messages import Hello
from tests.fakes import WALL_START, FakeReactor, FakeTransport, run_now
from tests.test_vectors import HERE, counting, load

PEER = "198.18.0.2"


class OneContent:
    """A library that holds one content, and another block of it when it is told to."""

    def __init__(self, handle: ContentHandle) -> None:
        self.handle = handle
        self._told: list[Callable[[str, Sequence[int]], None]] = []

    def find_content(self, content: str) -> ContentHandle | None:
        return self.handle if content == self.handle.id else None

    def on_blocks(self, callback: Callable[[str, Sequence[int]], None]) -> None:
        self._told.append(callback)

    def rescan(self) -> None:
        raise AssertionError("nothing is wrong with the file")

    def add(self, *blocks: int) -> None:
        for block in blocks:
            assert self.handle.held is not None
            self.handle.held.add(block)
        for callback in self._told:
            callback(self.handle.id, blocks)


class Script:
    """The steps of the session, each with its bytes: (who, message, line, raw)."""

    def __init__(self) -> None:
        self.told = load("session.json")

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any], bytes, bytes]]:
        places = {"downloader": 0, "uploader": 0}
        streams = {who: (HERE / f"session_{who}.bin").read_bytes() for who in places}
        for step in self.told["steps"]:
            if "event" in step:
                yield "event", step, b"", b""
                continue
            who = step["from"]
            middle = places[who] + step["bytes"]
            end = middle + step["raw"]
            yield who, step["message"], streams[who][places[who] : middle], streams[who][middle:end]
            places[who] = end


class RecordedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.script = Script()
        self.catalogues = [
            (message, raw)
            for who, message, _, raw in self.script
            if who == "uploader" and message["type"] == "catalogue"
        ]
        base = Path(self.mktemp())
        base.mkdir()
        (base / "part").write_bytes(counting(self.script.told["size"]))
        digests = next(
            raw[: message["digests"]]
            for who, message, _, raw in self.script
            if who == "uploader" and message["type"] == "content"
        )
        manifest = Manifest(self.script.told["size"], digests)
        self.library = OneContent(
            ContentHandle(
                id=self.script.told["content"],
                name="counting.bin",
                path=base / "part",
                identity=None,
                manifest=manifest,
                held=BlockSet(manifest.block_count, [0, 1]),
            )
        )
        self.reactor = FakeReactor()
        self.history = CatalogueHistory()
        self.known: list[CatalogueEntry] = []
        self.hold(*self.catalogues[0])
        self.ledger = Ledger(base, lambda: WALL_START)
        self.transport = self.connect(base)

    def hold(self, told: dict[str, Any], lines: bytes) -> None:
        """Hold what this catalogue says."""
        base = self.known if told["base"] else None
        entries = CatalogueReader(told["digest"], lines, base)
        self.known = [entry for entry in entries if entry is not None]
        self.history.update(self.known)

    def connect(self, base: Path) -> FakeTransport:
        bucket = TokenBucket(None, self.reactor.seconds)
        hello = next(message for who, message, _, _ in self.script if who == "uploader")
        serving = Serving(
            self.reactor,
            self.library,  # type: ignore[arg-type]
            self.ledger,
            bucket,
            run_now,
            Random(1),
            lambda address: Hello(
                **{key: hello[key] for key in ("agent", "peer", "instance", "port")}
                | {"versions": (1,)}
            ),
            self.history,
            lambda content: False,
            lambda content, address, port: None,
        )
        factory = UploaderFactory(
            self.reactor,
            self.library,  # type: ignore[arg-type]
            self.ledger,
            bucket,
            run_now,
            Admission(lambda address: True, lambda address: True),
            serving,
        )
        address = type("Address", (), {"host": PEER})()
        protocol = factory.buildProtocol(address)
        assert protocol is not None
        transport = FakeTransport(self.reactor, protocol)
        self.addCleanup(transport.lose, error.ConnectionDone())
        protocol.makeConnection(transport)
        return transport

    def answer(self, count: int) -> bytes:
        """The next bytes of what our uploader sends."""
        taken = sum(map(len, self.taken))
        for _ in range(100):
            if len(self.transport.written) >= taken + count:
                break
            self.reactor.advance(0.01)
            if self.transport.producer is not None:
                self.transport.producer.resumeProducing()
        return self.transport.written[taken : taken + count]

    def play(self, size: int) -> None:
        """Play the session, in pieces of so many bytes."""
        self.taken: list[bytes] = []
        for who, message, line, raw in self.script:
            if who == "event":
                if "block 2" in message["event"]:
                    self.hold(*self.catalogues[1])
                    self.library.add(2)
                continue
            if who == "downloader":
                for start in range(0, len(line), size):
                    self.transport.protocol.dataReceived(line[start : start + size])
            elif message["type"] == "error":
                self.problem(message)
            else:
                answer = self.answer(len(line) + len(raw))
                self.assertEqual(answer[: len(line)], line)
                self.assertTrue(answer[len(line) :] == raw, message)
                self.taken.append(answer)
        self.reactor.advance(1)
        self.assertEqual(self.transport.written, b"".join(self.taken))
        self.transport.lose(error.ConnectionDone())

    def problem(self, expected: dict[str, Any]) -> None:
        """The next answer is this error, whatever its sentence is."""
        self.answer(1)
        rest = self.transport.written[sum(map(len, self.taken)) :]
        line = rest[: rest.index(b"\n") + 1]
        told = json.loads(line)
        self.assertTrue(told["message"])
        self.assertEqual({**told, "message": ""}, {**expected, "message": ""})
        self.taken.append(line)

    def test_played(self) -> None:
        """Every answer is the recorded one, and nothing else comes."""
        self.play(1 << 16)
        self.assertNotIn("reset", self.transport.events)

    def test_in_pieces(self) -> None:
        """It makes no difference in what pieces the requests come."""
        self.play(7)
        self.assertNotIn("reset", self.transport.events)
