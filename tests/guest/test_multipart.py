"""Forms: what is in them, however they are cut."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from peershare.guest.multipart import (
    MAX_PART_HEAD_BYTES,
    MAX_PARTS,
    FileBegins,
    FileEnds,
    FormDecoder,
    FormEvent,
    boundary_of,
)
from peershare.guest.request import HttpError
from tests.guest.world import form

NEARLY = b"\r\n--Xy\r\n--XyzZ\r\n-"


def files(events: list[FormEvent]) -> list[tuple[str, bytes]]:
    """The files that whole events make; all that began have ended."""
    found: list[tuple[str, bytes]] = []
    for event in events:
        if isinstance(event, FileBegins):
            found.append((event.name, b""))
        elif isinstance(event, bytes):
            found[-1] = (found[-1][0], found[-1][1] + event)
    assert sum(isinstance(event, FileEnds) for event in events) == len(found)
    return found


def decode(body: bytes, *cuts: int) -> list[tuple[str, bytes]]:
    """The files of a whole body, fed in pieces."""
    decoder = FormDecoder(b"XyZ", len(body))
    marks = sorted({0, *(min(cut, len(body)) for cut in cuts), len(body)})
    events: list[FormEvent] = []
    for start, stop in itertools.pairwise(marks):
        events += decoder.feed(body[start:stop])
    assert decoder.ended
    return files(events)


class FormDecoderTests(SynchronousTestCase):
    def test_files(self) -> None:
        """Names and bytes; fields that are no files are passed over."""
        body = b'--XyZ\r\nContent-Disposition: form-data; name="x"\r\n\r\nvalue\r\n' + form(
            ("a.png", b"one"), ('für "b".png', NEARLY), ("", b"")
        )
        self.assertEqual(decode(body), [("a.png", b"one"), ('für "b".png', NEARLY), ("", b"")])

    @given(data=st.binary(max_size=200), cuts=st.lists(st.integers(0, 600), max_size=12))
    def test_in_pieces(self, data: bytes, cuts: list[int]) -> None:
        """It does not matter how the bytes come."""
        self.assertEqual(
            decode(form(("a", NEARLY + data), ("b", data)), *cuts),
            [("a", NEARLY + data), ("b", data)],
        )

    def test_byte_by_byte(self) -> None:
        """The same for the shortest pieces there are."""
        body = form(("a", NEARLY * 3))
        self.assertEqual(decode(body, *range(len(body))), [("a", NEARLY * 3)])

    def test_size_is_known_before(self) -> None:
        """Of the last file its size is told with its name, of others an upper bound."""
        body = form(("a", b"x" * 10), ("b", b"y" * 20))
        events = FormDecoder(b"XyZ", len(body)).feed(body)
        sizes = [event.most_bytes for event in events if isinstance(event, FileBegins)]
        self.assertEqual(sizes[1], 20)
        self.assertGreater(sizes[0], 30)

    def test_cut_short(self) -> None:
        """A form without its end has not ended, and its last file neither."""
        body = form(("a", b"x" * 1_000))[:-20]
        decoder = FormDecoder(b"XyZ", len(body))
        events = decoder.feed(body)
        self.assertFalse(decoder.ended)
        self.assertNotIn(FileEnds(), events)

    def test_bounded(self) -> None:
        """Heads and numbers of parts are bounded, and hardly anything is kept."""
        endless = FormDecoder(b"XyZ", 10**9)
        endless.feed(b"--XyZ\r\nX: ")
        with self.assertRaises(HttpError):
            endless.feed(b"x" * (MAX_PART_HEAD_BYTES + 100))
        many = form(*[("a", b"")] * (MAX_PARTS + 1))
        with self.assertRaises(HttpError) as caught:
            FormDecoder(b"XyZ", len(many)).feed(many)
        self.assertEqual(caught.exception.status, 413)

    def test_names_as_they_are_escaped(self) -> None:
        """As browsers do it, and as curl does."""
        for written, meant in (
            ("a%22b", 'a"b'),
            ('a\\"b', 'a"b'),
            ("a\\\\b", "a\\b"),
            ("%0D", "\r"),
        ):
            head = f'Content-Disposition: form-data; name="file"; filename="{written}"'
            body = f"--XyZ\r\n{head}\r\n\r\nx\r\n--XyZ--\r\n".encode()
            self.assertEqual(decode(body), [(meant, b"x")])

    def test_boundaries(self) -> None:
        """What names one, and what does not."""
        self.assertEqual(boundary_of("multipart/form-data; boundary=abc"), b"abc")
        self.assertEqual(boundary_of('Multipart/Form-Data; x=y; boundary="a b"'), b"a b")
        for wrong in (
            "",
            "text/plain",
            "multipart/form-data",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=" + "x" * 71 + '"',
        ):
            with self.assertRaises(HttpError) as caught:
                boundary_of(wrong)
            self.assertEqual(caught.exception.status, 415)
