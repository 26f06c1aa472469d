"""Announcements: packed strictly, read liberally."""

import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from peershare.content.names import ChunkName, chunk_name, parse_chunk_name, stem_problem
from peershare.errors import PeerError, Reason
from peershare.wire.announcement import (
    MAX_NAMES_HEARD,
    Heard,
    decode,
    pack,
)

BUFFER_BYTES = 1_024  # of the classic listeners that are fragile
STEMS = st.text(max_size=200).filter(lambda stem: stem_problem(stem) is None)
JSON_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda values: st.one_of(
        st.lists(values, max_size=4), st.dictionaries(st.text(max_size=4), values, max_size=4)
    ),
    max_leaves=8,
)


def five(stem: str) -> list[str]:
    return [chunk_name(stem, number) for number in range(1, 6)]


def spelled(heard: Heard) -> list[str]:
    return [name.spelled for name in heard.names]


class PackTests(SynchronousTestCase):
    def test_exact_bytes(self) -> None:
        """A datagram is what `json.dumps` makes of an object with the one key `chunks`."""
        self.assertEqual(
            pack([["a_1", "a_2"], ["é_1"]]), [b'{"chunks": ["a_1", "a_2", "\\u00e9_1"]}']
        )

    def test_nothing(self) -> None:
        """Nothing to tell is no datagram: an empty list is never sent."""
        self.assertEqual(pack([]), [])
        self.assertEqual(pack([[], []]), [])

    def test_filled_to_the_last_byte(self) -> None:
        """1,024 bytes are used, 1,025 never sent."""
        room = BUFFER_BYTES - len(json.dumps({"chunks": ["", "b_1"]}))
        full = pack([["x" * room], ["b_1"]])
        self.assertEqual([len(datagram) for datagram in full], [BUFFER_BYTES])
        self.assertEqual(len(pack([["x" * (room + 1)], ["b_1"]])), 2)

    def test_longest_group(self) -> None:
        """A group that fills a datagram alone is sent, one byte more is an error of ours."""
        room = BUFFER_BYTES - len(json.dumps({"chunks": [""]}))
        self.assertEqual(len(pack([["x" * room]])[0]), BUFFER_BYTES)
        with self.assertRaises(ValueError):
            pack([["x" * (room + 1)]])

    @given(st.lists(st.one_of(STEMS, st.text("ab", min_size=1, max_size=190)), max_size=12))
    def test_groups_stay_together(self, stems: list[str]) -> None:
        """Every name is told once, in order, the five of a file in one datagram of 1,024 bytes."""
        datagrams = pack([five(stem) for stem in stems])
        told: list[str] = []
        for datagram in datagrams:
            self.assertLessEqual(len(datagram), BUFFER_BYTES)
            value = json.loads(datagram.decode("ascii"))
            self.assertEqual(json.dumps(value).encode(), datagram)
            self.assertEqual(list(value), ["chunks"])
            self.assertEqual(len(value["chunks"]) % 5, 0)
            told += value["chunks"]
        self.assertEqual(told, [name for stem in stems for name in five(stem)])

    @given(st.lists(STEMS, max_size=12))
    def test_filled_up(self, stems: list[str]) -> None:
        """No datagram ends before the next group would have been too much for it."""
        datagrams = pack([five(stem) for stem in stems])
        for datagram, following in pairwise(datagrams):
            both = json.loads(datagram)["chunks"] + json.loads(following)["chunks"][:5]
            self.assertGreater(len(json.dumps({"chunks": both})), BUFFER_BYTES)

    @given(st.lists(STEMS, max_size=12))
    def test_understood(self, stems: list[str]) -> None:
        """What we tell, we understand."""
        heard = [name for d in pack([five(s) for s in stems]) for name in decode(d).names]
        expected = [parse_chunk_name(name) for stem in stems for name in five(stem)]
        self.assertEqual(set(heard), set(expected))


class DecodeTests(SynchronousTestCase):
    def assert_bad(self, datagram: bytes) -> None:
        with self.assertRaises(PeerError) as caught:
            decode(datagram)
        self.assertEqual(caught.exception.reason, Reason.BAD_DATAGRAM)
        self.assertTrue(str(caught.exception))

    def test_list(self) -> None:
        """The form of the specification: a list under `chunks`."""
        heard = decode(b'{"chunks": ["forest_1", "forest.png_2"]}')
        self.assertEqual(
            heard.names,
            (
                ChunkName("forest", 1, "forest_1"),
                ChunkName("forest.png", 2, "forest.png_2"),
            ),
        )
        self.assertEqual(heard.junk, 0)

    def test_object(self) -> None:
        """An object whose keys are the names, whatever its values are."""
        heard = decode(b'{"chunks": {"a_1": {"size": [1]}, "b_2": ' + b"9" * 5_000 + b"}}")
        self.assertEqual(spelled(heard), ["a_1", "b_2"])

    def test_files(self) -> None:
        """The names may stand under `files`, in both forms."""
        self.assertEqual(spelled(decode(b'{"files": ["a_1"]}')), ["a_1"])
        self.assertEqual(spelled(decode(b'{"files": {"a_1": 0}}')), ["a_1"])

    def test_both_keys(self) -> None:
        """`chunks` comes first, and then `files` may be anything."""
        self.assertEqual(spelled(decode(b'{"files": ["b_1"], "chunks": ["a_1"]}')), ["a_1"])
        self.assertEqual(spelled(decode(b'{"files": 3, "chunks": ["a_1"]}')), ["a_1"])

    def test_extra_keys(self) -> None:
        """Keys that we do not know are ignored, before and after."""
        datagram = b'{"filename": 1, "x": {"y": [null]}, "chunks": ["a_1"], "username": "u"}'
        self.assertEqual(spelled(decode(datagram)), ["a_1"])

    def test_junk_is_counted(self) -> None:
        """What is no chunk name is counted and does no harm to the others."""
        datagram = b'{"chunks": [".DS_Store", 1, null, true, {"a_1": 1}, ["a_1"], "b\\n_1", "a_1"]}'
        self.assertEqual(decode(datagram), Heard((ChunkName("a", 1, "a_1"),), 7))

    def test_repetitions(self) -> None:
        """Each name once, in the order told; two spellings are two names."""
        heard = decode(b'{"chunks": ["b_1", "a_1", "b_1", "b 1"]}')
        self.assertEqual(spelled(heard), ["b_1", "a_1", "b 1"])
        self.assertEqual(heard.junk, 0)

    def test_nothing_told(self) -> None:
        """A peer that holds nothing is heard all the same."""
        self.assertEqual(decode(b'{"chunks": []}'), Heard((), 0))
        self.assertEqual(decode(b'{"chunks": {}}'), Heard((), 0))

    def test_around_the_object(self) -> None:
        """Whitespace around it and a byte order mark before it are harmless."""
        self.assertEqual(spelled(decode(b'\xef\xbb\xbf \n{"chunks": ["a_1"]}\r\n')), ["a_1"])

    def test_not_understood(self) -> None:
        """Whatever is no announcement is one short error, never another exception."""
        for datagram in (
            b"",
            b"{",
            b"[]",
            b"{}",
            b"null",
            b'"chunks"',
            b"\xff\xfe",
            b"\x80\x02}q\x00.",
            b'{"chunks": null}',
            b'{"chunks": "a_1"}',
            b'{"chunks": 5}',
            b'{"chunks": null, "files": ["a_1"]}',
            b'{"Chunks": ["a_1"]}',
            b'{"chunks": ["a_1"]',
            b'{"chunks": ["a_1",]}',
            b'{"chunks": ["a_1"]} x',
            b'{"chunks": ["a_1"]}\x00',
            b"{'chunks': ['a_1']}",
            b'{"chunks": ["\\ud800_1"]}',
            b'{"chunks": ["\xed\xa0\x80_1"]}',
            b'{"chunks": ["a_1"], "x": "\xff"}',
            b'{"chunks": ["a_1"], "x": NaN}',
            b'{"chunks": [NaN]}',
            b'{"chunks": [' + b"9" * 5_000 + b"]}",
            '{"chunks": ["a_1"]}'.encode("utf-16"),
        ):
            self.assert_bad(datagram)

    def test_nested(self) -> None:
        """60,000 brackets, wherever they stand, are one error and no traceback."""
        for start in (b"", b'{"x": ', b'{"chunks": ', b'{"chunks": [', b'{"chunks": {"a_1": '):
            self.assert_bad(start + b"[" * 60_000)
            self.assert_bad(start + b'{"a_1":' * 8_000)

    def test_too_many_names(self) -> None:
        """More names than an address may have are counted and not looked at."""
        names = [f"{number:x}_1" for number in range(MAX_NAMES_HEARD + 7)]
        heard = decode(json.dumps({"chunks": names}).encode())
        self.assertEqual(spelled(heard), names[:MAX_NAMES_HEARD])
        self.assertEqual(heard.junk, 7)

    def test_cut_short(self) -> None:
        """A datagram that lost its end, at whichever byte, is refused whole."""
        whole = '{"files": {"é_1": 1}, "chunks": ["é_1", "a\\u00e9_2"]}'.encode()
        self.assertEqual(len(decode(whole).names), 2)
        for length in range(len(whole)):
            self.assert_bad(whole[:length])

    @given(st.binary(max_size=200))
    def test_any_bytes(self, datagram: bytes) -> None:
        """Any bytes are an announcement or a `PeerError`."""
        for candidate in (datagram, b'{"chunks": ["' + datagram + b'"]}'):
            try:
                decode(candidate)
            except PeerError as error:
                self.assertEqual(error.reason, Reason.BAD_DATAGRAM)

    @given(st.dictionaries(st.sampled_from(["chunks", "files", "x"]), JSON_VALUES))
    def test_any_json(self, value: dict[str, object]) -> None:
        """Any JSON is an announcement or a `PeerError`."""
        try:
            heard = decode(json.dumps(value).encode())
        except PeerError as error:
            self.assertEqual(error.reason, Reason.BAD_DATAGRAM)
            return
        told = value.get("chunks", value.get("files"))
        self.assertIsInstance(told, list | dict)
        self.assertEqual(len(set(heard.names)), len(heard.names))

    @given(st.lists(st.text(max_size=12).map(lambda text: f"{text}_1")))
    def test_any_names(self, names: list[str]) -> None:
        """Every name that makes sense is kept, and the others are counted."""
        heard = decode(json.dumps({"chunks": names}).encode())
        good = [name for name in names if parse_chunk_name(name)]
        self.assertEqual(spelled(heard), list(dict.fromkeys(good)))
        self.assertEqual(heard.junk, len(names) - len(good))
