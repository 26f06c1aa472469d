"""Requests: what is understood, what is refused, however it is cut."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from peershare.guest.request import MAX_HEAD_BYTES, MAX_HEADERS, HeadDecoder, HttpError, Request

GOOD = b"GET /a%20b/?q=1 HTTP/1.1\r\nHost: x\r\nRange: bytes=0-\r\n\r\n"


class HeadDecoderTests(SynchronousTestCase):
    def refused(self, data: bytes) -> int:
        with self.assertRaises(HttpError) as caught:
            HeadDecoder().feed(data)
        return caught.exception.status

    def head(self, *lines: str, first: str = "GET / HTTP/1.1") -> bytes:
        return "\r\n".join([first, *lines, "", ""]).encode("latin-1")

    def test_understood(self) -> None:
        """Method, decoded path, query and headers; what follows is kept apart."""
        decoder = HeadDecoder()
        request = decoder.feed(GOOD + b"body")
        assert request is not None
        self.assertEqual((request.method, request.path, request.query), ("GET", ("a b", ""), "q=1"))
        self.assertEqual(dict(request.headers), {"host": "x", "range": "bytes=0-"})
        self.assertEqual(decoder.rest, b"body")
        self.assertIsNone(request.length)

    @given(cuts=st.lists(st.integers(0, len(GOOD)), max_size=6))
    def test_in_pieces(self, cuts: list[int]) -> None:
        """It does not matter how the bytes come."""
        decoder, found = HeadDecoder(), None
        marks = sorted({0, *cuts, len(GOOD)})
        for start, stop in itertools.pairwise(marks):
            self.assertIsNone(found)
            found = decoder.feed(GOOD[start:stop])
        self.assertEqual(found, HeadDecoder().feed(GOOD))

    def test_lines_before(self) -> None:
        """Empty lines before a request are overlooked, as RFC 9112 2.2 wishes."""
        self.assertIsInstance(HeadDecoder().feed(b"\r\n\r\n" + GOOD), Request)

    def test_too_long(self) -> None:
        """A head without an end is given up at 16 KiB."""
        decoder = HeadDecoder()
        self.assertIsNone(decoder.feed(b"GET / HTTP/1.1\r\nX: "))
        with self.assertRaises(HttpError) as caught:
            decoder.feed(b"x" * MAX_HEAD_BYTES)
        self.assertEqual(caught.exception.status, 431)
        self.assertEqual(self.refused(self.head("X: " + "x" * MAX_HEAD_BYTES)), 431)
        self.assertEqual(self.refused(self.head(*["X: y"] * (MAX_HEADERS + 1))), 431)

    def test_nonsense(self) -> None:
        """What is no HTTP/1.1, or is doubtful, is refused."""
        for first in (
            "",
            "GET /",
            "GET / HTTP/2.0",
            "GET  / HTTP/1.1",
            "GET http://x/ HTTP/1.1",
            "G(T / HTTP/1.1",
            "GET /\x7f HTTP/1.1",
            "GET /\xe9 HTTP/1.1",
            "\x16\x03\x01",
        ):
            self.assertEqual(self.refused(self.head("Host: x", first=first)), 400, first)
        for line in (
            "no colon",
            " folded: x",
            "na me: x",
            "x\x00: y",
            "x: a\x00b",
            "x: a\nb: c",
            "x : y",
            "x: a\rb",
        ):
            self.assertEqual(self.refused(self.head("Host: x", line)), 400, line)
        self.assertEqual(self.refused(self.head()), 400)
        self.assertEqual(self.refused(self.head("Host: x", "Host: y")), 400)

    def test_lengths(self) -> None:
        """One length, in digits; pieces are not taken."""
        request = HeadDecoder().feed(self.head("Host: x", "Content-Length: 12"))
        assert request is not None
        self.assertEqual(request.length, 12)
        for value in ("", "-1", "+1", "1 2", "0x10", "1" * 16, "١"):
            line = f"Content-Length: {value}"
            data = f"GET / HTTP/1.1\r\nHost: x\r\n{line}\r\n\r\n".encode()
            self.assertEqual(self.refused(data), 400, value)
        twice = self.head("Host: x", "Content-Length: 1", "Content-Length: 1")
        self.assertEqual(self.refused(twice), 400)
        pieces = self.head("Host: x", "Transfer-Encoding: chunked", "Content-Length: 3")
        self.assertEqual(self.refused(pieces), 411)

    @given(st.binary(max_size=300))
    def test_anything(self, data: bytes) -> None:
        """Whatever comes is a request, not yet one, or refused."""
        try:
            found = HeadDecoder().feed(data + b"\r\n\r\n")
        except HttpError as error:
            self.assertIn(error.status, (400, 411, 431))
        else:
            self.assertIsInstance(found, Request | None)
