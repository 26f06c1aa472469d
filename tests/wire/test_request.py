"""Requests: written carefully, read liberally, from any pieces."""

import json
import time

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from peershare.errors import PeerError, Reason
from peershare.wire.request import (
    MAX_REQUEST_BYTES,
    Greeting,
    RequestDecoder,
    encode_request,
)

BUFFER_BYTES = 1_024  # of the classic uploaders, which read once
REQUESTS = {
    b'{"requested_content": "forest_1"}': "forest_1",
    b'{"requested content": "forest_1"}': "forest_1",
    b'{"requested-content": "forest_1"}': "forest_1",
    b'{"filename": "forest.png_1"}': "forest.png_1",
    b'{"chunk": "forest 1"}': "forest 1",
    b'  \r\n\t{"requested_content": "forest_1"}': "forest_1",
    b'\xef\xbb\xbf{"requested_content": "forest_1"}': "forest_1",
    b'\n\xef\xbb\xbf\n{"requested_content": "forest_1"}': "forest_1",
    b'{"requested_content":"a\\"}{\\\\_1"}': 'a"}{\\_1',
    b'{"requested_content":"\\u00e9\\ud83c\\udf32_1"}': "é🌲_1",
    '{"requested_content":"é🌲_1"}'.encode(): "é🌲_1",
    b'{"x": [1, -2.5e+3, true, false, null, {"y": []}], "chunk": "a_1"}': "a_1",
    b'{"chunk": "a_1", "x": "]}"}': "a_1",
    b'{"chunk": "a_1", "x": ' + b"9" * 5_000 + b"}": "a_1",
}
JSON_VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False)
    )
    | st.text(max_size=8),
    lambda values: st.one_of(
        st.lists(values, max_size=3), st.dictionaries(st.text(max_size=4), values, max_size=3)
    ),
    max_leaves=5,
)


class EncodeRequestTests(SynchronousTestCase):
    def test_all_dialects(self) -> None:
        """One object with all three keys, `requested_content` first, without a newline."""
        self.assertEqual(
            encode_request("forest_1"),
            b'{"requested_content": "forest_1", "requested content": "forest_1",'
            b' "requested-content": "forest_1"}',
        )

    def test_longer(self) -> None:
        """Where three keys are too long for a buffer of 1,024 bytes, one must do."""
        spare = BUFFER_BYTES - len(encode_request(""))
        self.assertEqual(len(json.loads(encode_request("x" * (spare // 3)))), 3)
        asked = encode_request("x" * (spare // 3 + 1))
        self.assertEqual(json.loads(asked), {"requested_content": "x" * (spare // 3 + 1)})

    def test_too_long(self) -> None:
        """A name that does not fit even so cannot be asked for, and that is the peer's fault."""
        room = BUFFER_BYTES - len(json.dumps({"requested_content": ""}))
        self.assertEqual(len(encode_request("x" * room)), BUFFER_BYTES)
        with self.assertRaises(PeerError) as caught:
            encode_request("x" * (room + 1))
        self.assertEqual(caught.exception.reason, Reason.UNASKABLE)

    @given(st.text(min_size=1, max_size=255))
    def test_any_name(self, name: str) -> None:
        """Any name is ASCII on the wire, and what is asked is what is understood."""
        try:
            asked = encode_request(name)
        except PeerError:
            self.assertGreater(len(json.dumps(name)), 900)
            return
        self.assertLessEqual(len(asked), BUFFER_BYTES)
        self.assertTrue(asked.isascii())
        self.assertEqual(RequestDecoder().feed(asked), name)


class RequestDecoderTests(SynchronousTestCase):
    def refuse(self, *pieces: bytes) -> RequestDecoder:
        """Feed a request that is none; the last piece is the one that proves it."""
        decoder = RequestDecoder()
        for piece in pieces[:-1]:
            self.assertIsNone(decoder.feed(piece), piece)
        with self.assertRaises(PeerError) as caught:
            decoder.feed(pieces[-1])
        self.assertEqual(caught.exception.reason, Reason.BAD_REQUEST)
        return decoder

    def test_whole(self) -> None:
        """Every dialect is understood in one piece."""
        for request, name in REQUESTS.items():
            self.assertEqual(RequestDecoder().feed(request), name)

    def test_byte_by_byte(self) -> None:
        """The name is there with the last byte of the object, and no earlier."""
        for request, name in REQUESTS.items():
            decoder = RequestDecoder()
            for position in range(len(request) - 1):
                self.assertIsNone(decoder.feed(request[position : position + 1]))
            self.assertEqual(decoder.feed(request[-1:]), name)

    def test_two_pieces(self) -> None:
        """A request may be cut anywhere."""
        for request, name in REQUESTS.items():
            for cut in range(min(len(request), 80)):
                decoder = RequestDecoder()
                self.assertIsNone(decoder.feed(request[:cut]))
                self.assertEqual(decoder.feed(request[cut:]), name)

    def test_trailing_bytes(self) -> None:
        """What comes after the object is ignored, in the same piece and in later ones."""
        for request, name in REQUESTS.items():
            decoder = RequestDecoder()
            self.assertEqual(decoder.feed(request + b"\n\x00}garbage{"), name)
            self.assertIsNone(decoder.feed(b"more" * 100_000))

    def test_nothing_fed(self) -> None:
        """An empty piece changes nothing."""
        decoder = RequestDecoder()
        self.assertIsNone(decoder.feed(b""))
        self.assertFalse(decoder.started_with_brace)

    def test_precedence(self) -> None:
        """Of several keys the first one in the order of dialects counts, wherever it stands."""
        keys = ["requested_content", "requested content", "requested-content", "filename", "chunk"]
        while keys:
            request = json.dumps({key: f"{key}_1" for key in reversed(keys)}).encode()
            self.assertEqual(RequestDecoder().feed(request), f"{keys[0]}_1")
            del keys[0]

    def test_lesser_keys_are_not_judged(self) -> None:
        """`chunk` may be a number where the name stands under a better key."""
        request = b'{"chunk": 1, "requested_content": "forest_1"}'
        self.assertEqual(RequestDecoder().feed(request), "forest_1")

    def test_not_an_object(self) -> None:
        """The first byte decides that something is no classic client at all."""
        for start in (b"G", b"[", b'"', b"\x16\x03\x01", b"\x00", b"\xff", b"}", b"  x"):
            self.assertFalse(self.refuse(start).started_with_brace)
        self.assertFalse(self.refuse(b"\xef", b"\xbb", b"x").started_with_brace)
        self.assertFalse(self.refuse(b"\xef\xbb\xbf", b"\xef\xbb\xbf{").started_with_brace)

    def test_started_with_brace(self) -> None:
        """Something that began well and went wrong is known as such."""
        self.assertTrue(self.refuse(b" {", b"]").started_with_brace)

    def test_malformed_at_once(self) -> None:
        """Most of what is no JSON is refused at the byte that shows it."""
        for pieces in (
            (b"{", b"'"),
            (b"{", b"x"),
            (b"{", b"]"),
            (b'{"a": [', b"}"),
            (b'{"a', b"\n"),
            (b'{"a', b"\x00"),
            (b'{"a": ', b"NaN}"),
        ):
            self.refuse(*pieces)

    def test_malformed_at_the_end(self) -> None:
        """The rest is refused when the object is complete."""
        for request in (
            b"{}",
            b'{"a": 1}',
            b'{"requested_content"}',
            b'{"requested_content": }',
            b'{"requested_content": "a_1",}',
            b'{"requested_content": nul, "chunk": "a_1"}',
            b'{"requested_content": ""}',
            b'{"requested_content": 5}',
            b'{"requested_content": null}',
            b'{"requested_content": ["a_1"]}',
            b'{"requested_content": {"chunk": "a_1"}}',
            b'{"requested_content": null, "chunk": "a_1"}',
            b'{"Requested_Content": "a_1"}',
            b'{"requested_content": "\\ud800_1"}',
            b'{"requested_content": "\\x_1"}',
            b'{"requested_content": "\xff_1"}',
            b'{"requested_content": "a_1", "x": "\xff"}',
            b'{"requested_content": "\xed\xa0\x80_1"}',
        ):
            self.assertTrue(self.refuse(request).started_with_brace)
            self.refuse(*(bytes([byte]) for byte in request))

    def test_nested(self) -> None:
        """Nesting is refused long before anything could run out of stack."""
        self.refuse(b'{"a": ' + b"[" * 60_000)
        self.refuse(b'{"a":' * 8, b'{"a":')

    def test_cap(self) -> None:
        """A request may have 64 KiB, leading blanks included, and not a byte more."""
        request = b'{"chunk": "a_1"}'
        for filler in (b" ", b"\n"):
            blanks = filler * (MAX_REQUEST_BYTES - len(request))
            self.assertEqual(RequestDecoder().feed(blanks + request), "a_1")
            self.refuse(filler + blanks + request)
            self.refuse(filler + blanks, request)
        self.refuse(b'{"a": "', b"x" * MAX_REQUEST_BYTES)
        self.refuse(b" " * MAX_REQUEST_BYTES, b" ")

    def test_cap_needs_no_end(self) -> None:
        """An object that ends within the cap is served, however much came with it."""
        request = b'{"chunk": "a_1"}' + b"x" * (3 * MAX_REQUEST_BYTES)
        self.assertEqual(RequestDecoder().feed(request), "a_1")

    def test_refused_for_good(self) -> None:
        """After an error there is only that error."""
        decoder = self.refuse(b"GET / HTTP/1.1\r\n")
        with self.assertRaises(PeerError):
            decoder.feed(b'{"chunk": "a_1"}')
        with self.assertRaises(PeerError):
            decoder.feed(b"")

    def test_linear(self) -> None:
        """64 KiB fed byte by byte, whatever they are, take no more than a moment."""
        for start, filler in (
            (b"", b" "),
            (b"{", b" "),
            (b'{"', b"x"),
            (b'{"', b'\\"'),
            (b"{", b'""'),
            (b"{", b"[]"),
        ):
            begun = time.process_time()
            decoder = RequestDecoder()
            decoder.feed(start)
            for _ in range((MAX_REQUEST_BYTES - 10) // len(filler)):
                for byte in filler:
                    decoder.feed(bytes([byte]))
            self.assertLess(time.process_time() - begun, 5.0)

    @given(st.binary(max_size=100), st.integers(0, 100))
    def test_any_bytes(self, data: bytes, cut: int) -> None:
        """Any bytes give a name, nothing yet, or a `PeerError`; and cut in two, the same."""
        for stream in (data, b"{" + data, b'{"chunk": "' + data + b'"}'):
            self.assertEqual(_outcome([stream]), _outcome([stream[:cut], stream[cut:]]))

    @given(st.dictionaries(st.sampled_from(["chunk", "filename", "x", 'q"{']), JSON_VALUES))
    def test_any_object(self, value: dict[str, object]) -> None:
        """Of any flat JSON object, the name is read exactly where a known key holds one."""
        name = value.get("filename", value.get("chunk"))
        outcome = _outcome([json.dumps(value).encode()])
        self.assertEqual(outcome, name if name and isinstance(name, str) else Reason.BAD_REQUEST)


def _outcome(pieces: list[bytes]) -> object:
    decoder = RequestDecoder()
    try:
        return next((name for piece in pieces if (name := decoder.feed(piece))), None)
    except PeerError as error:
        return error.reason


class GreetingTests(SynchronousTestCase):
    """The `hello` of a native session, where a classic client has its request."""

    HELLOS = (
        b'{"type":"hello"}',
        b'{"versions":[1,2],"type":"hello","port":5000}',
        b'{"type":"hello","new":{"a":[{}]},"versions":[]}',
        b' \n\xef\xbb\xbf{"x": "\\"}", "type" : "hello"}',
    )

    def test_what_follows_is_kept(self) -> None:
        """Its own bytes as they came, and all that came behind them, a newline or not."""
        for hello in self.HELLOS:
            for rest in (b"", b"\n", b'\r\n{"type":"join"}\n{', b"\0" * 10):
                found = RequestDecoder().feed(hello + rest)
                self.assertEqual(found, (hello[hello.index(b"{") :], rest))

    def test_pieces(self) -> None:
        """Found at its last brace, however it comes; the rest is that of the last piece."""
        for hello in self.HELLOS:
            decoder = RequestDecoder()
            self.assertEqual(
                {decoder.feed(hello[i : i + 1]) for i in range(len(hello) - 1)}, {None}
            )
            found = decoder.feed(hello[-1:] + b"rest")
            assert isinstance(found, Greeting)
            self.assertEqual(found.rest, b"rest")

    def test_more_than_a_request_may_have(self) -> None:
        """Nothing is lost that came in one piece with it."""
        rest = bytes(range(256)) * 1_000
        decoder = RequestDecoder()
        decoder.feed(self.HELLOS[0][:5])
        found = decoder.feed(self.HELLOS[0][5:] + rest)
        assert isinstance(found, Greeting)
        self.assertEqual(found.rest, rest)

    def test_a_classic_key_wins(self) -> None:
        """A chunk may be called anything, and a request may say anything else."""
        for key in ("requested_content", "requested content", "filename", "chunk"):
            text = json.dumps({"type": "hello", key: "forest_1"}).encode()
            self.assertEqual(RequestDecoder().feed(text), "forest_1")

    def test_anything_else(self) -> None:
        """Another type, or none, is a request that names no chunk."""
        for text in (b'{"type":"join"}', b'{"type":5}', b'{"type":null}', b'{"Type":"hello"}'):
            with self.assertRaises(PeerError):
                RequestDecoder().feed(text)
        with self.assertRaises(PeerError):
            RequestDecoder().feed(b'{"type":"hello","chunk":""}')
