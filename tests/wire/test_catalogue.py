"""Catalogues: lines, digests, differences, and what is no catalogue."""

from __future__ import annotations

import json

from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from peershare.errors import PeerError, Reason
from peershare.wire import catalogue as module
from peershare.wire.catalogue import (
    EMPTY_DIGEST,
    MAX_DIFFERENCE_BYTES,
    MAX_ENTRIES,
    MAX_VERSIONS,
    CatalogueEntry,
    CatalogueHistory,
    CatalogueReader,
    digest_of,
    is_fit,
    line_of,
)

NAMES = ("forest.png", "été.txt", "日本.pdf", "a b.c", "(1).x", "v1.2")

entries = st.builds(
    CatalogueEntry,
    name=st.sampled_from(NAMES),
    size=st.integers(0, 1 << 42),
    id=st.integers(0, 40).map(lambda n: f"b3:{n * 7919 % 256:02x}{n:062x}"),
    complete=st.booleans(),
)


def entry(number: int, name: str = "", complete: bool = True) -> CatalogueEntry:
    """One of many."""
    identifier = blake3(number.to_bytes(8, "big")).hexdigest()
    return CatalogueEntry(name or f"holiday {number}.jpg", number, f"b3:{identifier}", complete)


def read(digest: str, data: bytes, base: list[CatalogueEntry] | None = None) -> list[object]:
    """What a catalogue gives, step by step."""
    return list(CatalogueReader(digest, data, base))


def kept(found: list[object]) -> set[object]:
    """Without the steps that gave nothing."""
    return {entry for entry in found if entry is not None}


class LineTests(SynchronousTestCase):
    def test_the_canonical_form(self) -> None:
        """JSON with the keys in this order, and nothing between them."""
        told = CatalogueEntry(name="été.png", size=5, id="b3:" + "0" * 64, complete=False)
        expected = '{"id":"b3:' + "0" * 64 + '","name":"été.png","size":5,"complete":false}\n'
        self.assertEqual(line_of(told), expected.encode())

    def test_the_digest(self) -> None:
        """BLAKE3 of a head and the lines."""
        lines = line_of(entry(1))
        expected = blake3(b"peershare catalogue 1\n" + lines).hexdigest()
        self.assertEqual(digest_of(lines), expected)
        self.assertEqual(digest_of(b""), EMPTY_DIGEST)

    def test_names(self) -> None:
        """Only what a file can be called as it stands."""
        for name in ("forest.png", "a", "a b (1).txt", *NAMES, " x", "console.log", "LPT10"):
            self.assertTrue(is_fit(name), name)
        for name in (
            *("", ".hidden", "../x", "a/b", "CON", "con.txt", "COM1.log", "LPT1", "x.", "x "),
            *("nul.tar.gz", "a:b", "a\nb", "x" * 201, "e\u0301te\u0301", "\ud800"),
        ):
            self.assertFalse(is_fit(name), name)

    @given(st.text(st.sampled_from("CONAUXPRLTM12.- ()_é"), max_size=12))
    def test_plain_names_are_fit(self, name: str) -> None:
        """The short way of judging is never more lenient than the long one."""
        short = is_fit(name)
        self.patch(module, "_PLAIN", module.re.compile("(?!)"))
        try:
            self.assertEqual(short, is_fit(name))
        finally:
            self.doCleanups()


class ReaderTests(SynchronousTestCase):
    def whole(self, *lines: bytes) -> list[object]:
        data = b"".join(lines)
        return read(digest_of(data), data)

    def test_whole(self) -> None:
        """Its entries in order."""
        told = sorted((entry(n) for n in range(10)), key=line_of)
        self.assertEqual(self.whole(*map(line_of, told)), told)
        self.assertEqual(self.whole(), [])

    def test_another_digest(self) -> None:
        """Nothing is looked at."""
        error = self.assertRaises(PeerError, read, "0" * 64, line_of(entry(1)))
        self.assertEqual(error.reason, Reason.BAD_MESSAGE)

    def test_what_is_none(self) -> None:
        """Lines out of order, twice, cut short, too long, no JSON, of other types."""
        one, two = sorted((line_of(entry(1)), line_of(entry(2))))
        told = json.loads(one)
        for lines in (
            [two, one],
            [one, one],
            [one, two[:-1]],
            [b"\n"],
            [b"{}\n"],
            [b"[" * 500 + b"\n"],
            [b'{"id":"' + b"x" * 1_100 + b'"}\n'],
            *(
                [json.dumps({**told, **wrong}).encode() + b"\n"]
                for wrong in (
                    {"id": "b3:" + "A" * 64},
                    {"id": "b3:" + "a" * 64 + "\n"},
                    {"id": 5},
                    {"size": -1},
                    {"size": 1 << 43},
                    {"size": "5"},
                    {"complete": 1},
                    {"name": None},
                )
            ),
        ):
            error = self.assertRaises(PeerError, self.whole, *lines)
            self.assertEqual(error.reason, Reason.BAD_MESSAGE, lines)

    def test_too_many(self) -> None:
        """A catalogue has 100,000 entries at most."""
        self.patch(module, "MAX_ENTRIES", 3)
        lines = sorted(line_of(entry(n)) for n in range(4))
        self.assertEqual(len(self.whole(*lines[:3])), 3)
        self.assertRaises(PeerError, self.whole, *lines)

    def test_names_that_no_file_can_have(self) -> None:
        """They are left out and counted; then it is not the whole that is kept."""
        lines = sorted((line_of(entry(1)), line_of(entry(2, "../../etc/passwd"))))
        data = b"".join(lines)
        reader = CatalogueReader(digest_of(data), data)
        self.assertEqual(kept(list(reader)), {entry(1)})
        self.assertEqual((reader.unfit, reader.canonical), (1, False))

    def test_of_a_later_version(self) -> None:
        """Unknown keys are ignored; differences from what is left would not add up."""
        told = {**json.loads(line_of(entry(1))), "kind": "collection"}
        data = json.dumps(told).encode() + b"\n"
        reader = CatalogueReader(digest_of(data), data)
        self.assertEqual(list(reader), [entry(1)])
        self.assertEqual((reader.unfit, reader.canonical), (0, False))

    @given(st.binary(max_size=300))
    def test_anything(self, data: bytes) -> None:
        """Any bytes are read, or are a bad message."""
        for base in (None, [entry(1)]):
            try:
                read(digest_of(data), data, base)
            except PeerError as error:
                self.assertEqual(error.reason, Reason.BAD_MESSAGE)


class DifferenceTests(SynchronousTestCase):
    def test_a_wrong_one(self) -> None:
        """It must lead to the digest that was told."""
        base, data = [entry(1)], b"+" + line_of(entry(2))
        self.assertRaises(PeerError, read, "0" * 64, data, base)
        self.assertRaises(PeerError, read, digest_of(line_of(entry(2))), data, base)

    def test_a_long_one(self) -> None:
        """Whoever has so much to say is to send the whole."""
        data = b"x" * (MAX_DIFFERENCE_BYTES + 1)
        self.assertRaises(PeerError, read, "0" * 64, data, [])

    @given(st.lists(st.lists(entries, max_size=12), min_size=1, max_size=8), st.data())
    def test_from_any_version_to_the_last(
        self, versions: list[list[CatalogueEntry]], data: st.DataObject
    ) -> None:
        """Whole or as a difference, from every version that was: the same entries come out."""
        history = CatalogueHistory()
        before: dict[str, list[CatalogueEntry]] = {EMPTY_DIGEST: []}
        for version in versions:
            history.update(data.draw(st.permutations(version)))
            before[history.digest] = sorted(set(version), key=line_of)
        now = before[history.digest]
        self.assertEqual(history.count, len(now))
        whole = history.since("")
        self.assertEqual((whole.digest, whole.base, whole.count), (history.digest, "", len(now)))
        self.assertEqual(read(whole.digest, whole.data), now)
        for known, base in before.items():
            answer = history.since(known)
            found = read(answer.digest, answer.data, base if answer.base else None)
            self.assertEqual([entry for entry in found if entry is not None], now)
            self.assertEqual(answer.count, answer.data.count(b"\n"))
            self.assertLessEqual(answer.count, len(now))


class HistoryTests(SynchronousTestCase):
    def test_empty(self) -> None:
        """Before anything is held."""
        history = CatalogueHistory()
        self.assertEqual((history.digest, history.count), (EMPTY_DIGEST, 0))
        self.assertEqual(history.since("").data, b"")

    def test_update(self) -> None:
        """Says whether anything changed, whatever the order."""
        history = CatalogueHistory()
        self.assertTrue(history.update([entry(1), entry(2)]))
        self.assertFalse(history.update([entry(2), entry(1), entry(1)]))
        self.assertTrue(history.update([]))
        self.assertEqual(history.digest, EMPTY_DIGEST)

    def test_a_small_change_is_a_small_answer(self) -> None:
        """One that goes and one that comes among a thousand: two lines."""
        history = CatalogueHistory()
        history.update(entry(n) for n in range(1_000))
        known = history.digest
        history.update(entry(n) for n in range(1, 1_001))
        answer = history.since(known)
        self.assertEqual((answer.base, answer.count), (known, 2))
        self.assertIn(b"+" + line_of(entry(1_000)), answer.data)
        self.assertIn(b"-" + line_of(entry(0)), answer.data)

    def test_there_and_back(self) -> None:
        """What came and went again is no change."""
        history = CatalogueHistory()
        history.update([entry(1), entry(2)])
        known = history.digest
        history.update([entry(1)])
        history.update([entry(1), entry(2)])
        self.assertEqual(history.since(known).count, 0)
        self.assertEqual(history.since(known).base, known)

    def test_unknown(self) -> None:
        """Whoever knows something else gets the whole."""
        history = CatalogueHistory()
        history.update([entry(1)])
        self.assertEqual(history.since("0" * 64).base, "")

    def test_the_past_is_bounded(self) -> None:
        """In versions and in bytes; what is forgotten is answered with the whole."""
        history = CatalogueHistory()
        digests = []
        for number in range(MAX_VERSIONS + 5):
            history.update([entry(n) for n in range(200)] + [entry(1_000 + number)])
            digests.append(history.digest)
        self.assertEqual(history.since(digests[0]).base, "")
        self.assertEqual(history.since(digests[-2]).base, digests[-2])
        self.assertLessEqual(len(history._past), MAX_VERSIONS)
        history.update([entry(n) for n in range(5_000)])
        history.update([entry(n) for n in range(10_000)])
        size = sum(change.size for change in history._past.values())
        self.assertLessEqual(size, MAX_DIFFERENCE_BYTES)

    def test_what_cannot_be_told(self) -> None:
        """Names that no other system could hold, and what is over the limit, are left out."""
        self.patch(module, "MAX_ENTRIES", 2)
        history = CatalogueHistory()
        history.update([entry(0, "a:b"), entry(1), entry(2), entry(3)])
        self.assertEqual((history.count, history.left_out), (2, 2))

    def test_in_steps(self) -> None:
        """Nothing changes before the last one; each step looks at a bounded number of entries."""
        history = CatalogueHistory()
        steps = 0
        for _ in history.updating(entry(n) for n in range(2_000)):
            steps += 1
            self.assertEqual(history.count, 0)
        self.assertGreater(steps, 10)
        self.assertEqual(history.count, 2_000)
        self.assertLess(history.count, MAX_ENTRIES)
