"""Moments as people write them."""

from __future__ import annotations

from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from peershare.client.since import since_when

NOW = datetime.fromisoformat("2026-11-23T12:00:00+00:00").timestamp()


class SinceTests(SynchronousTestCase):
    def test_spans(self) -> None:
        """Spans are counted back from now."""
        for text, seconds in (
            *(("90s", 90), ("45m", 2_700), ("45min", 2_700), ("2h", 7_200), ("3d", 259_200)),
            *(("1w", 604_800), ("1.5 H", 5_400), (" 2h ", 7_200), ("0s", 0)),
        ):
            self.assertEqual(since_when(text, NOW), NOW - seconds, text)

    def test_moments(self) -> None:
        """ISO 8601 with an offset is that moment, without one it is of this machine."""
        self.assertEqual(since_when("2026-11-23T12:00+01:00", NOW), NOW - 3_600)
        self.assertEqual(since_when("2026-11-23T11:59:59Z", NOW), NOW - 1)
        for text in ("2026-11-22", "2026-11-22T07:43", "2026-11-22 07:43:05"):
            self.assertEqual(since_when(text, NOW), datetime.fromisoformat(text).timestamp())

    def test_refused(self) -> None:
        """What is no moment, or none of the past that there was, is told what would be one."""
        for text, part in (
            *(("tomorrow", "2h, 3d"), ("", "2h, 3d"), ("3y", "2h, 3d"), ("-2h", "2h, 3d")),
            *(("2027-01-01", "still to come"), ("1969-07-20T00:00Z", "too long ago")),
            ("0001-01-01T00:00+14:00", "o"),
        ):
            error = self.assertRaises(ValueError, since_when, text, NOW)
            self.assertIn(part, str(error))

    def test_long_spans(self) -> None:
        """A span longer than all time begins with it."""
        self.assertEqual(since_when("999999w", NOW), 0.0)

    @given(st.text(max_size=30))
    def test_any_text(self, text: str) -> None:
        """Whatever is typed: a moment of the past, or one sentence."""
        try:
            moment = since_when(text, NOW)
        except ValueError as error:
            self.assertTrue(str(error))
        else:
            self.assertTrue(0 <= moment <= NOW)
