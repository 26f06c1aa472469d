"""The questions that are asked of the content dictionary, and its file."""

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from peershare import dictionary
from peershare.content.names import ChunkName, parse_chunk_name
from peershare.dictionary import (
    ContentDictionary,
    Found,
    KnownAddress,
    KnownBase,
    Source,
    parse_dictionary,
)
from peershare.errors import AmbiguousNameError

NOW = 7.0


def chunks(*names: str) -> list[ChunkName]:
    """Names as the decoder would give them."""
    return [name for text in names if (name := parse_chunk_name(text))]


def heard(*told: tuple[str, list[str]]) -> ContentDictionary:
    """A dictionary that heard these (address, names), in this order."""
    dictionary = ContentDictionary()
    for address, names in told:
        dictionary.tell(address, chunks(*names), NOW)
    return dictionary


def five(form: str, first: int = 1) -> list[str]:
    """Five names of a form such as "forest_{}"."""
    return [form.format(number) for number in range(first, first + 5)]


def asked(found: Found) -> list[list[str]]:
    """For each chunk, who is asked for what."""
    return [[f"{source.address} {source.asked}" for source in column] for column in found.sources]


class LookupTests(SynchronousTestCase):
    def test_whole_file(self) -> None:
        """Five chunks at one address are found in their order."""
        found = heard(("a", five("forest_{}"))).lookup("forest", NOW)
        sources = tuple((Source("a", f"forest_{number}"),) for number in range(1, 6))
        self.assertEqual(found, Found("", sources, "", ("forest",)))

    def test_nobody(self) -> None:
        """A name that nobody tells has five empty columns."""
        self.assertEqual(ContentDictionary().lookup("x.png", NOW), Found(".png", ((),) * 5))

    def test_parts(self) -> None:
        """Each chunk has the addresses that told just that one, in order of arrival."""
        dictionary = heard(
            ("b", ["forest_2"]), ("a", ["forest_1", "forest_2"]), ("c", ["forest_9", "forest_5"])
        )
        found = asked(dictionary.lookup("forest", NOW))
        self.assertEqual(found[:2], [["a forest_1"], ["b forest_2", "a forest_2"]])
        self.assertEqual(found[2:], [[], [], ["c forest_5"]])

    def test_own_spelling(self) -> None:
        """Each address is asked in its own spelling."""
        dictionary = heard(
            ("a", five("forest_{}")),
            ("b", five("forest.png_{}")),
            ("c", five("forest_{}.png")),
            ("d", five("forest {}")),
        )
        for query in ("forest", "forest.png"):
            found = dictionary.lookup(query, NOW)
            self.assertEqual(found.extension, ".png")
            first = {"a forest_1", "b forest.png_1", "c forest_1.png", "d forest 1"}
            self.assertEqual(set(asked(found)[0]), first)

    def test_zero_based(self) -> None:
        """Who counts from zero is asked for the number before, and its number 5 is junk."""
        dictionary = heard(
            ("a", five("forest.png_{}", 0)), ("b", [*five("forest_{}", 0), "forest_5"])
        )
        found = asked(dictionary.lookup("forest.png", NOW))
        self.assertEqual(found[0], ["a forest.png_0", "b forest_0"])
        self.assertEqual(found[4], ["a forest.png_4", "b forest_4"])

    def test_zero_told_later(self) -> None:
        """That an address counts from zero may become known with a later announcement."""
        dictionary = heard(("a", ["forest_1", "forest_2"]))
        self.assertEqual(asked(dictionary.lookup("forest", NOW))[0], ["a forest_1"])
        dictionary.tell("a", chunks("forest_0"), NOW)
        self.assertEqual(
            asked(dictionary.lookup("forest", NOW))[:3],
            [["a forest_0"], ["a forest_1"], ["a forest_2"]],
        )

    def test_zero_is_each_address_own(self) -> None:
        """One address counts from zero, another does not, though they share the content."""
        dictionary = heard(("a", five("x_{}", 0)), ("b", five("x_{}", 1)))
        self.assertEqual(asked(dictionary.lookup("x", NOW))[0], ["a x_0", "b x_1"])

    def test_own_name_first(self) -> None:
        """An address that tells the whole name and the stem is asked for the one typed."""
        dictionary = heard(("a", five("forest_{}") + five("forest.jpg_{}")))
        self.assertEqual(asked(dictionary.lookup("forest.jpg", NOW))[0], ["a forest.jpg_1"])
        self.assertEqual(asked(dictionary.lookup("forest", NOW))[0], ["a forest_1"])
        self.assertEqual(dictionary.lookup("forest", NOW).extension, "")

    def test_ambiguous(self) -> None:
        """A stem of several contents is not mixed, until those contents are gone."""
        dictionary = heard(("a", five("forest.jpg_{}")), ("b", five("forest.png_{}")))
        with self.assertRaises(AmbiguousNameError) as caught:
            dictionary.lookup("forest", NOW)
        self.assertEqual(caught.exception.choices, ("forest.jpg", "forest.png"))
        dictionary.tell("b", chunks(*five("forest.png_{}")), NOW + 100)
        self.assertEqual(dictionary.lookup("forest", NOW + 180).extension, ".png")

    def test_normal_forms(self) -> None:
        """Two ways to write an accent are one content, each asked for as it was told."""
        dictionary = heard(("mac", ["e\u0301_1"]), ("other", ["\xe9_1"]))
        for query in ("\xe9", "e\u0301", "É"):
            found = asked(dictionary.lookup(query, NOW))
            self.assertEqual(found[0], ["mac e\u0301_1", "other \xe9_1"])

    @given(st.text(max_size=30), st.lists(st.text(max_size=10).map("{}_1".format), max_size=5))
    def test_any_query(self, query: str, names: list[str]) -> None:
        """Any query over any names gives five columns, or a choice."""
        dictionary = heard(("a", names))
        for typed in (query, *(name[:-2] for name in names)):
            try:
                found = dictionary.lookup(typed, NOW)
            except AmbiguousNameError:
                continue
            self.assertEqual(len(found.sources), 5)
        for name in chunks(*names):
            self.assertIn(Source("a", name.spelled), dictionary.lookup(name.base, NOW).sources[0])


class ViewTests(SynchronousTestCase):
    def test_bases(self) -> None:
        """Every told name has its counts by chunk, and its addresses in order of arrival."""
        dictionary = heard(
            ("b", ["x_2", "y.png_0"]), ("a", five("x_{}")), ("b", ["x_1"]), ("c", [])
        )
        self.assertEqual(
            dictionary.bases(NOW),
            (
                KnownBase("x", (2, 2, 1, 1, 1), ("b", "a")),
                KnownBase("y.png", (1, 0, 0, 0, 0), ("b",)),
            ),
        )

    def test_order_survives_another_spelling(self) -> None:
        """An address that spells a chunk anew keeps its place."""
        dictionary = heard(("a", ["x 1"]), ("b", ["x_1"]), ("a", ["x_1"]))
        self.assertEqual(dictionary.bases(NOW)[0].addresses, ("a", "b"))
        self.assertEqual(asked(dictionary.lookup("x", NOW))[0], ["a x_1", "b x_1"])

    def test_silent_address(self) -> None:
        """An address with nothing to tell is known for a lifetime as well."""
        dictionary = heard(("a", []))
        self.assertEqual(len(dictionary.addresses(NOW + 179.9)), 1)
        self.assertEqual(dictionary.addresses(NOW + 180), ())

    def test_addresses(self) -> None:
        """Every address has its names, its number of chunks and when it was last heard."""
        dictionary = heard(("b", ["x_2", "x_1", "y_1"]), ("a", []))
        dictionary.tell("b", [], NOW + 1)
        self.assertEqual(
            dictionary.addresses(NOW + 1),
            (KnownAddress("b", ("x", "y"), 3, NOW + 1), KnownAddress("a", (), 0, NOW)),
        )


class FileTests(SynchronousTestCase):
    def test_exact_text(self) -> None:
        """One chunk a line as it was told, its addresses in order of arrival, a newline last."""
        dictionary = heard(
            ("198.18.0.9", ["forest_2", "forest_1"]), ("198.18.0.2", ["forest_1", "é 1"])
        )
        self.assertEqual(
            dictionary.as_json(NOW).decode(),
            '{\n  "forest_1": ["198.18.0.9", "198.18.0.2"],\n  "forest_2": ["198.18.0.9"],\n'
            '  "\\u00e9 1": ["198.18.0.2"]\n}\n',
        )

    def test_empty(self) -> None:
        """Even with nothing in it, the file is a JSON object."""
        self.assertEqual(ContentDictionary().as_json(NOW), b"{}\n")

    def test_every_spelling(self) -> None:
        """Two spellings of one chunk are two keys, as they were told."""
        dictionary = heard(("a", ["x.png_1"]), ("b", ["x_1.png"]), ("c", ["x.png_1"]))
        written = json.loads(dictionary.as_json(NOW))
        self.assertEqual(written, {"x.png_1": ["a", "c"], "x_1.png": ["b"]})

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["198.18.0.1", "198.18.0.2", "198.18.0.3"]),
                st.lists(st.text(max_size=8).map("{}_1".format), max_size=4),
            ),
            max_size=6,
        )
    )
    def test_written_and_read(self, told: list[tuple[str, list[str]]]) -> None:
        """What is written is JSON in ASCII, one line a chunk, and is read back as it was told."""
        expected: dict[str, dict[str, None]] = {}
        for address, names in told:
            for name in chunks(*names):
                expected.setdefault(name.spelled, {})[address] = None
        text = heard(*told).as_json(NOW).decode("ascii")
        self.assertEqual(json.loads(text), {name: list(found) for name, found in expected.items()})
        self.assertEqual(len(text.splitlines()), len(expected) + 2 if expected else 1)
        self.assertEqual(
            parse_dictionary(text), {name: tuple(found) for name, found in expected.items()}
        )


class ParseDictionaryTests(SynchronousTestCase):
    def test_json(self) -> None:
        """The JSON form, with each address once."""
        text = '{"forest_1": ["198.18.0.2", "198.18.0.3", "198.18.0.2"], "bee_1": ["198.18.0.4"]}'
        expected = {"forest_1": ("198.18.0.2", "198.18.0.3"), "bee_1": ("198.18.0.4",)}
        self.assertEqual(parse_dictionary(text), expected)

    def test_lines(self) -> None:
        """The form of lines, with blanks where they may stand, and a chunk told twice."""
        text = (
            "forest_5: 198.18.0.11, 198.18.0.11\r\n"
            "\n"
            "my file_1 :198.18.0.3,198.18.0.4\n"
            "forest_5:198.18.0.2"
        )
        expected = {
            "forest_5": ("198.18.0.11", "198.18.0.2"),
            "my file_1": ("198.18.0.3", "198.18.0.4"),
        }
        self.assertEqual(parse_dictionary(text), expected)

    def test_duplicates_cost_little(self) -> None:
        """Who only ever appends: an address that stands there a thousand times is judged once."""
        judged: list[str] = []
        judge = dictionary._is_address
        self.patch(dictionary, "_is_address", lambda text: judged.append(text) or judge(text))
        text = "forest_1: 198.18.0.2, 198.18.0.3\n" * 1_000
        self.assertEqual(parse_dictionary(text), {"forest_1": ("198.18.0.2", "198.18.0.3")})
        self.assertEqual(judged, ["198.18.0.2", "198.18.0.3"])

    def test_lines_with_quotes(self) -> None:
        """What a hasty writer leaves around names and addresses is taken away."""
        text = "'forest_1': ['198.18.0.2', '198.18.0.3']\n"
        self.assertEqual(parse_dictionary(text), {"forest_1": ("198.18.0.2", "198.18.0.3")})

    def test_junk(self) -> None:
        """What is no chunk name or no address is skipped, and the rest is kept."""
        text = '{"x_1": ["198.18.0.2", 5, null, "no"], "x": ["198.18.0.2"], "y_1": 3, "z_1": []}'
        self.assertEqual(parse_dictionary(text), {"x_1": ("198.18.0.2",)})
        lines = "hello\n198.18.0.5 : vid_1, vid_2\nx_1: 198.18.0.256, 198.18.0.2\n:\n"
        self.assertEqual(parse_dictionary(lines), {"x_1": ("198.18.0.2",)})

    def test_not_a_dictionary(self) -> None:
        """Neither emptiness, nor other JSON, nor deep nesting is an error."""
        for text in ("", "[]", "null", "5", "[" * 60_000, '{"x_1":' * 60_000, "\0\ud800"):
            self.assertEqual(parse_dictionary(text), {})

    def test_cut_short(self) -> None:
        """Of a file that lost its end, the whole lines are read."""
        text = heard(("198.18.0.2", five("forest_{}"))).as_json(NOW).decode()
        self.assertEqual(len(parse_dictionary(text[: text.index('"forest_4"')])), 3)

    @given(st.text(max_size=60))
    def test_any_text(self, text: str) -> None:
        """No text raises."""
        for candidate in (text, f"x_1: {text}\n", f'{{"x_1": ["{text}"]}}'):
            for name, addresses in parse_dictionary(candidate).items():
                self.assertIsNotNone(parse_chunk_name(name))
                self.assertTrue(addresses)
