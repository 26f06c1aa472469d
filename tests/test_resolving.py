"""Which told names are the content that a user asks for."""

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from peershare.content.names import folded
from peershare.errors import AmbiguousNameError
from peershare.resolving import Resolved, contents, fitting, names_it, normal, resolve

NAMES = ("forest", "Forest", "forest.png", "FOREST.png", "forest.jpg", "forest.tar.gz", "bee.png")


def told(**addresses: str) -> dict[str, set[str]]:
    """Names told, from `address="name name"`."""
    found: dict[str, set[str]] = {}
    for address, names in addresses.items():
        for name in names.split():
            found.setdefault(normal(name), set()).add(address)
    return found


class FittingTests(SynchronousTestCase):
    def test_patterns(self) -> None:
        """A star is any text, nothing included; everything else is itself, whatever the case."""
        for pattern, name, fits in (
            ("", "", True),
            ("", "a", False),
            ("*", "anything", True),
            ("a*a", "a", False),
            ("a*a", "aa", True),
            ("*.PNG", "forest.png", True),
            ("*.png", "forest.png.txt", False),
            ("f*r*t", "forest", True),
            ("*the*zz*", "the_e_the_e", False),
            ("**o**", "forest", True),
            ("a[b]?*", "a[b]?c", True),
            ("a[b]?*", "abxc", False),
            ("\u00e9*", "E\u0301t\u00e9", True),
        ):
            self.assertIs(fitting(pattern)(folded(name)), fits, (pattern, name))

    @given(st.text("ab*", max_size=8), st.text("ab", max_size=10))
    def test_as_others_do(self, pattern: str, name: str) -> None:
        """It is what a shell does."""
        self.assertEqual(fitting(pattern)(name), fnmatchcase(name, pattern))

    def test_time(self) -> None:
        """Each piece of a pattern is looked for once, and nothing after one that is not there."""

        class Name(str):
            looks = 0

            def find(self, *arguments: Any) -> int:
                Name.looks += 1
                return super().find(*arguments)

        self.assertFalse(fitting("*the*e*" + "t*" * 20 + "zz*" + "e*" * 20)(Name("the_e_" * 25)))
        self.assertLessEqual(Name.looks, 23)


class ResolveTests(SynchronousTestCase):
    def assert_ambiguous(self, call: Callable[[], object], *choices: str) -> None:
        with self.assertRaises(AmbiguousNameError) as caught:
            call()
        self.assertEqual(caught.exception.choices, choices)
        for choice in choices:
            self.assertIn(choice, str(caught.exception))

    def test_itself(self) -> None:
        """A name that is told as it was typed is that content."""
        self.assertEqual(resolve("forest", told(a="forest bee")), Resolved(("forest",), ""))
        names = told(a="forest.png bee.png")
        self.assertEqual(resolve("forest.png", names), Resolved(("forest.png",), ".png"))

    def test_nobody(self) -> None:
        """A name that nobody tells resolves to nothing, and keeps its extension."""
        self.assertEqual(resolve("forest", told(a="bee")), Resolved((), ""))
        self.assertEqual(resolve("forest.png", told(a="forest.jpg")), Resolved((), ".png"))
        self.assertEqual(resolve("", {}), Resolved((), ""))

    def test_stem_for_a_longer_name(self) -> None:
        """Who told the whole name has what the stem stands for, and the extension is known."""
        names = told(a="forest.png", b="forest.png")
        self.assertEqual(resolve("forest", names), Resolved(("forest.png",), ".png"))

    def test_longer_name_for_a_stem(self) -> None:
        """Who told the stem alone has what the whole name stands for."""
        self.assertEqual(resolve("forest.png", told(a="forest")), Resolved(("forest",), ".png"))

    def test_both_kinds(self) -> None:
        """Some tell the stem, others the whole name: together they are one content."""
        names = told(a="forest", b="forest.png")
        both = Resolved(("forest", "forest.png"), ".png")
        self.assertEqual(resolve("forest", names), both)
        self.assertEqual(resolve("forest.png", names), Resolved(("forest.png", "forest"), ".png"))

    def test_never_another_extension(self) -> None:
        """Whoever asks for a .png never gets a .jpg."""
        names = told(a="forest.jpg", b="forest.png")
        self.assertEqual(resolve("forest.png", names), Resolved(("forest.png",), ".png"))

    def test_several_extensions(self) -> None:
        """A stem that only stands for several whole names has to be typed in full."""
        names = told(a="forest.jpg", b="forest.png", c="forest.jpg")
        self.assert_ambiguous(lambda: resolve("forest", names), "forest.jpg", "forest.png")

    def test_several_extensions_and_the_stem(self) -> None:
        """If somebody tells the stem itself, it is that, and the others do not count."""
        names = told(a="forest.jpg", b="forest.png", c="forest")
        self.assertEqual(resolve("forest", names), Resolved(("forest",), ""))

    def test_both_at_one_address(self) -> None:
        """Who tells the stem and a whole name has two files: the stem is not that one."""
        names = told(a="forest forest.jpg", b="forest.jpg")
        self.assertEqual(resolve("forest", names), Resolved(("forest",), ""))

    def test_case(self) -> None:
        """Case matters only where nothing fits exactly."""
        names = told(a="Forest.png", b="forest.png")
        self.assertEqual(resolve("forest.png", names).bases, ("forest.png",))
        self.assertEqual(resolve("Forest", names), Resolved(("Forest.png",), ".png"))
        for query in ("forest", "FOREST"):
            found = resolve(query, told(a="Forest"))
            self.assertEqual(found, Resolved(("Forest",), ""))
        self.assertEqual(
            resolve("FOREST.PNG", told(a="forest", b="forest.png")),
            Resolved(("forest.png", "forest"), ".png"),
        )
        self.assertEqual(resolve("FOREST.PNG", told(a="forest")), Resolved(("forest",), ".PNG"))
        self.assertEqual(resolve("FOREST", told(a="forest.png")).bases, ("forest.png",))

    def test_several_cases(self) -> None:
        """Names that differ in case alone are two contents for whoever typed a third."""
        names = told(a="Forest", b="forest")
        self.assert_ambiguous(lambda: resolve("FOREST", names), "Forest", "forest")
        longer = told(a="Forest.png", b="forest.png")
        self.assert_ambiguous(lambda: resolve("FOREST", longer), "Forest", "forest")

    def test_normal_forms(self) -> None:
        """The two ways to write an accent are one name."""
        self.assertEqual(resolve("e\u0301", told(a="\xe9")).bases, ("\xe9",))

    def test_dots_in_a_stem(self) -> None:
        """What looks like an extension may be the end of a stem."""
        self.assertEqual(
            resolve("data.v2", told(a="data.v2.zip")), Resolved(("data.v2.zip",), ".zip")
        )
        self.assertEqual(resolve("data.v2.zip", told(a="data.v2")), Resolved(("data.v2",), ".zip"))
        self.assertEqual(resolve("data.v2", told(a="data", b="data.v2.zip")).bases, ("data",))

    def test_many_choices(self) -> None:
        """Anyone can tell any number of names: the choices, and the sentence, have an end."""
        names = told(a=" ".join(f"forest.x{number}" for number in range(500)))
        with self.assertRaises(AmbiguousNameError) as caught:
            resolve("forest", names)
        self.assertEqual(len(caught.exception.choices), 100)
        self.assertLess(len(str(caught.exception)), 400)

    @given(
        st.sampled_from((*NAMES, "FOREST", "forest.PNG", "bee", "x")),
        st.lists(st.sampled_from(NAMES), max_size=5).map(" ".join),
        st.lists(st.sampled_from(NAMES), max_size=5).map(" ".join),
    )
    def test_any_names(self, query: str, a: str, b: str) -> None:
        """Only told names are chosen, all of the stem asked for; choices are exact and differ."""
        names = told(a=a, b=b)
        try:
            found = resolve(query, names)
        except AmbiguousNameError as error:
            self.assertGreater(len(set(error.choices)), 1)
            return
        stem = folded(query).partition(".")[0]
        for base in found.bases:
            self.assertIn(base, names)
            self.assertEqual(folded(base).partition(".")[0], stem)
        endings = {folded(base)[len(stem) :] for base in found.bases} - {""}
        self.assertLessEqual(len(endings), 1)
        if query in names:
            self.assertEqual(found.bases[0], query)


class ContentsTests(SynchronousTestCase):
    """Everything that a name may mean."""

    def names(self, query: str, **addresses: str) -> list[str]:
        return [found.name for found in contents(query, told(**addresses))]

    def test_without_an_extension(self) -> None:
        """The name itself, each whole name of that stem, and each spelling are several."""
        names = {"a": "forest Forest forest.png", "b": "forest.jpg forest.tar.gz bee"}
        self.assertEqual(
            self.names("FOREST", **names), ["Forest", "forest", "forest.jpg", "forest.png"]
        )
        self.assertEqual(self.names("bee.png", a="bees bee.jpg"), [])

    def test_with_an_extension(self) -> None:
        """The stem is the same content, unless whole names in two spellings share it."""
        (found,) = contents("forest.png", told(a="forest", b="forest.png forest.jpg"))
        self.assertEqual(found, Resolved(("forest.png", "forest"), ".png", "forest.png"))
        (found,) = contents("forest.png", told(a="forest", b="forest.jpg"))
        self.assertEqual(found, Resolved(("forest",), ".png", "forest.png"))
        self.assertEqual(
            self.names("forest.png", a="forest forest.png", b="forest.PNG"),
            ["forest", "forest.PNG", "forest.png"],
        )
        self.assertEqual(self.names("report.pdf", a="report.pdf.exe"), [])

    def test_many(self) -> None:
        """Nobody chooses among more than a hundred."""
        self.assertEqual(len(self.names("x", a=" ".join(f"x.a{n}" for n in range(500)))), 100)

    def test_names(self) -> None:
        """A typed extension is a part of the name, case and normal form are not."""
        for query, name, fits in (
            ("report", "Report.PDF", True),
            ("report.pdf", "REPORT.pdf", True),
            ("report.docx", "report.pdf", False),
            ("report.pdf", "report", False),
            ("report.pdf", "report.pdf.exe", False),
            (" report", "report", False),
            ("e\u0301te\u0301", "\xe9t\xe9.txt", True),
            ("re\u200bport.pdf", "report.pdf", False),
        ):
            self.assertEqual(names_it(query, name), fits, (query, name))
