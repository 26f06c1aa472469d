"""The test vectors: our code against the committed bytes of `tests/vectors`, in both directions.

tests/vectors/README.md says what is in them.
"""

from __future__ import annotations

import json
import sys
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from peershare.content.blocks import BlockSet, block_size
from peershare.content.manifest import Manifest, manifest_of
from peershare.errors import PeerError, Reason
from peershare.wire import announcement, beacon
from peershare.wire.beacon import Beacon
from peershare.wire.catalogue import (
    CatalogueAnswer,
    CatalogueEntry,
    CatalogueHistory,
    CatalogueReader,
    digest_of,
    line_of,
)
from peershare.wire.framing import FrameDecoder
from peershare.wire.messages import (
    Message,
    Problem,
    Unknown,
    decode_answer,
    decode_request,
    encode,
)

HERE = Path(__file__).resolve().parent / "vectors"


def load(name: str) -> Any:
    return json.loads((HERE / name).read_text(encoding="utf-8"))


def counting(size: int) -> bytes:
    """The contents of the vectors: 0, 1, 2, … as unsigned 32-bit little-endian numbers."""
    numbers = array("I", range(-(-size // 4)))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()[:size]


class VectorsCase(SynchronousTestCase):
    def assert_refused(self, function: Callable[[bytes], object], data: bytes, why: Reason) -> None:
        try:
            told = function(data)
        except PeerError as error:
            self.assertEqual(error.reason, why)
        else:
            self.fail(f"{data[:200]!r} was taken for {told}")


class ContentsTests(VectorsCase):
    def test_contents(self) -> None:
        """The manifests and ids of the contents, from nothing to a byte over 64 MiB."""
        for vector in load("contents.json"):
            manifest = manifest_of(counting(vector["size"]))
            digests = [bytes.fromhex(digest) for digest in vector["blocks"]]
            self.assertEqual(manifest, Manifest(vector["size"], b"".join(digests)))
            self.assertEqual(manifest.content_id, vector["id"])
            self.assertEqual(block_size(vector["size"]), vector["block_size"])


class DatagramTests(VectorsCase):
    def test_announcements_sent(self) -> None:
        """What we announce is the same bytes as ever."""
        sent = load("announcements.json")["sent"]
        packed = announcement.pack(sent["groups"])
        self.assertEqual(packed, [datagram.encode() for datagram in sent["datagrams"]])
        told = [name.spelled for datagram in packed for name in announcement.decode(datagram).names]
        self.assertEqual(told, [name for group in sent["groups"] for name in group])

    def test_announcements_heard(self) -> None:
        """What others announce, in all dialects."""
        vectors = load("announcements.json")
        for vector in vectors["heard"]:
            heard = announcement.decode(vector["datagram"].encode())
            self.assertEqual([name._asdict() for name in heard.names], vector["names"])
            self.assertEqual(heard.junk, vector["junk"])
        for vector in vectors["refused"]:
            data = bytes.fromhex(vector["hex"])
            self.assert_refused(announcement.decode, data, Reason.BAD_DATAGRAM)

    def test_beacons(self) -> None:
        """Beacons as we send them, as we understand them, and those that are none."""
        vectors = load("beacons.json")
        for vector in vectors["sent"]:
            told = Beacon(**vector["beacon"])
            self.assertEqual(beacon.encode(told), vector["datagram"].encode())
            self.assertEqual(beacon.decode(vector["datagram"].encode()), told)
        for vector in vectors["heard"]:
            told = beacon.decode(vector["datagram"].encode())
            self.assertEqual(told, Beacon(**vector["beacon"]))
        for text in vectors["refused"]:
            self.assert_refused(beacon.decode, text.encode(), Reason.BAD_BEACON)


class CatalogueTests(VectorsCase):
    def test_catalogues(self) -> None:
        """Lines, their digest, and what is answered to whom, both written and read."""
        history = CatalogueHistory()
        known: list[CatalogueEntry] = []
        differences = 0
        for vector in load("catalogues.json"):
            entries = [CatalogueEntry(**entry) for entry in vector["entries"]]
            lines = vector["lines"].encode()
            self.assertEqual(b"".join(sorted(map(line_of, entries))), lines)
            self.assertEqual(digest_of(lines), vector["digest"])
            history.update(entries)
            told = CatalogueAnswer(
                **{**vector["answer"], "data": vector["answer"]["data"].encode()}
            )
            ours = history.since(vector["known"])
            if ours.base == told.base:  # it is ours to choose
                self.assertEqual(ours, told)
            for answer in (told, ours, history.since("")):
                base = known if answer.base else None
                reader = CatalogueReader(answer.digest, answer.data, base)
                read = [entry for entry in reader if entry is not None]
                self.assertEqual(sorted(map(line_of, read)), lines.splitlines(keepends=True))
            known = sorted(entries, key=line_of)
            differences += bool(told.base)
        self.assertGreaterEqual(differences, 1)


class MessagesTests(VectorsCase):
    def setUp(self) -> None:
        self.vectors = load("messages.json")

    def test_there_and_back(self) -> None:
        """Each line is what it means, and what it means is that line."""
        for key, decode in (("requests", decode_request), ("answers", decode_answer)):
            for vector in self.vectors[key]:
                message = decode(vector["line"].encode().removesuffix(b"\n"))
                assert isinstance(message, Message), vector
                self.assertEqual(json.loads(encode(message)), vector["means"])
                self.assertEqual(encode(message), vector["line"].encode())

    def test_understood(self) -> None:
        """Lines that we would write otherwise."""
        for vector in self.vectors["understood"]:
            told = decode_request(vector["line"].encode())
            assert isinstance(told, Message), vector
            self.assertEqual(json.loads(encode(told)), vector["means"])

    def test_unknown(self) -> None:
        """Types that we do not know are no error."""
        for line in self.vectors["unknown"]:
            for decode in (decode_request, decode_answer):
                self.assertIsInstance(decode(line.encode()), Unknown)

    def test_refused(self) -> None:
        """What must be refused is refused, by whoever would read it."""
        for key in ("refused", "refused_requests", "refused_answers"):
            for line in self.vectors[key]:
                if key != "refused_answers":
                    self.assert_refused(decode_request, line.encode(), Reason.BAD_MESSAGE)
                if key != "refused_requests":
                    self.assert_refused(decode_answer, line.encode(), Reason.BAD_MESSAGE)


class SessionTests(VectorsCase):
    """The recorded session, read as a stream; it is played to a service in tests/serving."""

    def setUp(self) -> None:
        self.session = load("session.json")

    def steps_of(self, who: str) -> Iterator[dict[str, Any]]:
        return (step for step in self.session["steps"] if step.get("from") == who)

    def read(self, who: str, decode: Callable[[bytes], Any], size: int) -> list[tuple[Any, bytes]]:
        """What one side sent: its messages, and the raw bytes behind each."""
        told: list[tuple[Any, bytearray]] = []

        def line(data: bytes) -> None:
            message = decode(data)
            told.append((message, bytearray()))
            decoder.expect_raw(getattr(message, "length", 0))

        decoder = FrameDecoder(line, lambda view: told[-1][1].extend(view))
        stream = (HERE / f"session_{who}.bin").read_bytes()
        for start in range(0, len(stream), size):
            decoder.feed(stream[start : start + size])
        self.assertEqual(decoder.raw_left, 0)
        return [(message, bytes(raw)) for message, raw in told]

    def test_streams(self) -> None:
        """Both streams are the lines and raw bytes that the steps say, however they are cut."""
        for who, decode in (("downloader", decode_request), ("uploader", decode_answer)):
            steps = list(self.steps_of(who))
            for size in (1 << 20, 4_096, 7):
                told = self.read(who, decode, size)
                self.assertEqual([len(raw) for _, raw in told], [step["raw"] for step in steps])
                for (message, _), step in zip(told, steps, strict=True):
                    if not isinstance(message, Unknown):
                        self.assertEqual(json.loads(encode(message)), step["message"])

    def test_we_would_write_it(self) -> None:
        """From the messages of the steps we make the same streams."""
        for who in ("downloader", "uploader"):
            stream, position = (HERE / f"session_{who}.bin").read_bytes(), 0
            decode = decode_request if who == "downloader" else decode_answer
            for step in self.steps_of(who):
                line = stream[position : position + step["bytes"]]
                message = decode(line)
                if not isinstance(message, Unknown):
                    self.assertEqual(encode(message), line)
                position += step["bytes"] + step["raw"]
            self.assertEqual(position, len(stream))

    def test_bytes_are_right(self) -> None:
        """The blocks hash to the digests of the manifest, and the manifest to the id."""
        content, size = self.session["content"], self.session["size"]
        manifest, held = Manifest(0, b""), BlockSet(0)
        blocks: dict[int, bytes] = {}
        for message, raw in self.read("uploader", decode_answer, 1 << 20):
            kind = msgspec.to_builtins(message)["type"]
            if kind == "content":
                manifest = Manifest(size, raw[: message.digests])
                held = BlockSet.from_bytes(manifest.block_count, raw[message.digests :])
            elif kind == "block":
                self.assertIn(message.index, held)
                self.assertTrue(manifest.check(message.index, raw))
                blocks[message.index] = raw
            elif kind == "have":
                for first, count in message.blocks:
                    for index in range(first, first + count):
                        self.assertTrue(held.add(index))
        self.assertEqual(manifest.content_id, content)
        self.assertTrue(held.complete)
        self.assertEqual(b"".join(blocks[index] for index in sorted(blocks)), counting(size))

    def test_catalogues_are_right(self) -> None:
        """Its second catalogue is a difference from the first one."""
        answers = self.read("uploader", decode_answer, 1 << 20)
        told = [(m, raw) for m, raw in answers if type(m).__name__ == "Catalogue"]
        known: list[CatalogueEntry] = []
        for message, raw in told:
            base = known if message.base else None
            reader = CatalogueReader(message.digest, raw, base)
            known = [entry for entry in reader if entry is not None]
            self.assertEqual(len(raw.splitlines()), message.count)
        self.assertEqual(told[1][0].base, told[0][0].digest)
        self.assertTrue(all(entry.complete for entry in known))
        self.assertIn(self.session["content"], [entry.id for entry in known])

    def test_problems(self) -> None:
        """It shows what a request of an unknown type comes to, and one for an unknown content."""
        answers = self.read("uploader", decode_answer, 1 << 20)
        codes = [message.code for message, _ in answers if isinstance(message, Problem)]
        self.assertEqual(codes, ["unknown-type", "not-here"])


class DocumentTests(VectorsCase):
    """The examples of docs/protocol.md are what it says they are."""

    def setUp(self) -> None:
        text = (HERE.parent.parent / "docs" / "protocol.md").read_text(encoding="utf-8")
        _, _, self.native = text.partition("# The native protocol")
        blocks = self.native.split("```json\n")[1:]
        self.lines = [line for block in blocks for line in block.partition("```")[0].splitlines()]

    def test_messages(self) -> None:
        """Every message has an example, and every example is a message."""
        shown = [line for line in self.lines if line.startswith('{"type"')]
        types: dict[str, None] = {}
        for line in shown:
            kind = json.loads(line)["type"]
            decode = decode_request if kind in _types(decode_request) else decode_answer
            message = decode(line.encode())
            self.assertIsInstance(message, Message, line)
            types[kind] = None
        self.assertEqual(sorted(types), sorted({*_types(decode_request), *_types(decode_answer)}))

    def test_datagrams(self) -> None:
        """The beacon and the catalogue line are such."""
        (told,) = [line for line in self.lines if line.startswith('{"peershare"')]
        self.assertTrue(beacon.decode(told.encode().ljust(beacon.BEACON_BYTES)).ask)
        (line,) = [line for line in self.lines if line.startswith('{"id"')]
        entry = CatalogueEntry(**json.loads(line))
        self.assertEqual(line_of(entry), line.encode() + b"\n")

    def test_content_id(self) -> None:
        """The id that is computed by hand is the one of the vectors."""
        (vector,) = [v for v in load("contents.json") if v["size"] == 65_537]
        self.assertIn(vector["id"], self.native)


def _types(decode: Callable[[bytes], object]) -> list[str]:
    """The types that a direction knows: all but those that the other one alone has."""
    vectors = load("messages.json")
    key = "requests" if decode is decode_request else "answers"
    return [vector["means"]["type"] for vector in vectors[key]]
