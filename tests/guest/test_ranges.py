"""Ranges and conditions, as RFC 9110 has them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from peershare.guest.ranges import MAX_RANGES, Selection, select

TAG = '"abc"'


def ask(value: str, size: int = 100, **headers: str) -> tuple[int, int, int]:
    """Status and bytes for a Range."""
    more = {name.replace("_", "-"): text for name, text in headers.items()}
    found = select("GET", {"range": value, **more}, size, TAG)
    return found.status, *found.range


class RangeTests(SynchronousTestCase):
    def test_one(self) -> None:
        """The three ways to write one range."""
        self.assertEqual(ask("bytes=0-9"), (206, 0, 10))
        self.assertEqual(ask("bytes=90-"), (206, 90, 100))
        self.assertEqual(ask("bytes=-10"), (206, 90, 100))
        self.assertEqual(ask("bytes=-1000"), (206, 0, 100))
        self.assertEqual(ask("bytes=50-1000"), (206, 50, 100))
        self.assertEqual(ask("Bytes = 0-0"), (206, 0, 1))

    def test_none_to_be_had(self) -> None:
        """416 where no byte of it is there."""
        for value, size in (("bytes=100-", 100), ("bytes=-0", 100), ("bytes=0-", 0)):
            self.assertEqual(ask(value, size)[0], 416, value)

    def test_several(self) -> None:
        """One answer where they touch, the whole where they do not; what is not there is left."""
        self.assertEqual(ask("bytes=0-9,10-19"), (206, 0, 20))
        self.assertEqual(ask("bytes=50-60, 0-55"), (206, 0, 61))
        self.assertEqual(ask("bytes=0-0,0-0,,0-0"), (206, 0, 1))
        self.assertEqual(ask("bytes=0-0,200-300"), (206, 0, 1))
        self.assertEqual(ask("bytes=0-0,50-50"), (200, 0, 100))
        self.assertEqual(ask("bytes=200-,300-")[0], 416)

    def test_too_many(self) -> None:
        """A list that is only made to cost us something is ignored."""
        self.assertEqual(ask("bytes=" + "0-0," * MAX_RANGES), (206, 0, 1))
        self.assertEqual(ask("bytes=" + "0-0," * (MAX_RANGES + 1)), (200, 0, 100))
        self.assertEqual(ask("bytes=" + "0-," * 5_000), (200, 0, 100))

    def test_ignored(self) -> None:
        """What is no range of bytes counts for nothing."""
        for value in (
            "bytes",
            "bytes=",
            "bytes=,",
            "lines=1-2",
            "bytes=9-3",
            "bytes=a-",
            "bytes=-",
            "bytes=1-2-3",
            "bytes=0x1-",
            "bytes=١-",
            "bytes=" + "9" * 40 + "-",
        ):
            self.assertEqual(ask(value), (200, 0, 100), value)

    def test_if_range(self) -> None:
        """Only the very same strong tag lets it be resumed."""
        self.assertEqual(ask("bytes=5-", if_range=TAG), (206, 5, 100))
        for other in ('"abd"', 'W/"abc"', "abc", "Mon, 23 Nov 2026 12:00:00 GMT"):
            self.assertEqual(ask("bytes=5-", if_range=other), (200, 0, 100), other)

    def test_head(self) -> None:
        """A range counts with GET alone."""
        self.assertEqual(select("HEAD", {"range": "bytes=5-"}, 100, TAG), Selection(200, (0, 100)))

    def test_conditions(self) -> None:
        """If-None-Match is weak, If-Match strong and asked first."""
        for value, status in (
            (TAG, 304),
            ('"x", "abc"', 304),
            ('W/"abc"', 304),
            ("*", 304),
            ('"x"', 200),
            ("abc", 200),
        ):
            found = select("GET", {"if-none-match": value}, 100, TAG)
            self.assertEqual(found.status, status, value)
        for value, status in ((TAG, 200), ('W/"abc"', 412), ('"x"', 412), ("*", 200)):
            found = select("GET", {"if-match": value}, 100, TAG)
            self.assertEqual(found.status, status, value)
        both = {"if-match": '"x"', "if-none-match": TAG, "range": "bytes=0-1"}
        self.assertEqual(select("GET", both, 100, TAG).status, 412)

    @given(value=st.from_regex(r"bytes=[0-9,\- ]{0,40}"), size=st.integers(0, 50))
    def test_always_within(self, value: str, size: int) -> None:
        """Whatever is asked, no byte is given that is not there."""
        status, start, stop = ask(value, size)
        self.assertIn(status, (200, 206, 416))
        self.assertTrue(0 <= start <= stop <= size)
        self.assertTrue(status != 206 or start < stop)
