"""Messages of native sessions: one line each, judged strictly, tolerant of what is newer."""

import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from peershare.content.blocks import MAX_BLOCK_BYTES, MAX_CONTENT_BYTES, block_count
from peershare.errors import PeerError, Reason
from peershare.wire.framing import MAX_MESSAGE_BYTES
from peershare.wire.messages import (
    MAX_BLOCKS,
    MAX_RECEIVERS,
    MAX_RUNS,
    Block,
    Cancel,
    Catalogue,
    Content,
    GetBlocks,
    GetCatalogue,
    Grant,
    Have,
    Hello,
    Join,
    Leave,
    Message,
    Open,
    Problem,
    Unknown,
    Wrong,
    decode_answer,
    decode_request,
    encode,
)

HEX = "0123456789abcdef" * 4
ID = f"b3:{HEX}"
REQUESTS: tuple[Message, ...] = (
    Hello(versions=(1, 2), agent="x/1 é🐝", peer="0af1", instance=HEX, port=65_535),
    GetCatalogue(known=HEX),
    Join(content=ID, manifest=True, have=((0, 3), (9, 1))),
    Leave(content=ID),
    GetBlocks(content=ID, blocks=((5, 2), (0, 1))),
    Cancel(content=ID, blocks=((MAX_BLOCKS - 1, 1),)),
    Wrong(content=ID, blocks=((7, 1),)),
)
ANSWERS: tuple[Message, ...] = (
    REQUESTS[0],
    Catalogue(digest=HEX, base=HEX, count=2, length=99),
    Content(
        content=ID,
        size=65_537,
        length=65,
        digests=64,
        bitmap=1,
        receivers=(("198.18.0.2", 5_000), ("fe80::1", 0)),
        steered=True,
    ),
    Block(content=ID, index=MAX_BLOCKS, length=MAX_BLOCK_BYTES),
    Have(content=ID, blocks=((0, MAX_BLOCKS),)),
    Grant(content=ID, blocks=()),
    Open(content=ID),
    Problem(code="not-here", message="it is gone", content=ID, blocks=((0, 1),)),
)
TYPES = {"request": REQUESTS, "answer": ANSWERS}
JSON_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda values: st.one_of(
        st.lists(values, max_size=4), st.dictionaries(st.text(max_size=4), values, max_size=4)
    ),
    max_leaves=8,
)
DEEP = (b"[" * 60_000, b'{"x":' * 8_000, b"[" * 500 + b"]" * 500)
NO_BLOCKS = (
    [[0, 0]],
    [[-1, 1]],
    [[0, -1]],
    [[0]],
    [[0, 1, 2]],
    [0, 1],
    [["0", 1]],
    [[0.0, 1]],
    [[None, 1]],
    [[True, 1]],
    {"0": 1},
    "01",
    None,
    5,
    [[0, 1]] * (MAX_RUNS + 1),
    [[0, MAX_BLOCKS + 1]],
    [[MAX_BLOCKS, 1]],
    [[MAX_CONTENT_BYTES, 1]],
    [[0, MAX_CONTENT_BYTES]] * MAX_RUNS,
    [[0, MAX_BLOCKS], [0, 1]],
    [[0, 10**40]],
)


def line_of(message: Message, /, **changes: Any) -> bytes:
    """The line of a message, with some keys changed or added; `...` takes one away."""
    told = {**json.loads(encode(message)), **changes}
    return json.dumps({key: value for key, value in told.items() if value is not ...}).encode()


class MessagesCase(SynchronousTestCase):
    def assert_bad(self, line: bytes) -> str:
        """Neither side takes it; both say so with the same reason, in a short sentence."""
        for decode in (decode_request, decode_answer):
            try:
                told = decode(line)
            except PeerError as error:
                said = str(error)
                self.assertEqual(error.reason, Reason.BAD_MESSAGE)
                self.assertLess(len(said), 300)
            else:
                self.fail(f"{line[:80]!r} was taken for {told}")
        return said

    def assert_refused(self, message: Message, /, **changes: Any) -> None:
        """The message is understood as it is, and refused with these changes."""
        decode = decode_request if message in REQUESTS else decode_answer
        self.assertEqual(decode(line_of(message)), message)
        with self.assertRaises(PeerError) as caught:
            decode(line_of(message, **changes))
        self.assertEqual(caught.exception.reason, Reason.BAD_MESSAGE, changes)


class LinesTests(MessagesCase):
    def test_there_and_back(self) -> None:
        """Each message is one line, and is read as what it was."""
        for message in REQUESTS:
            self.assertEqual(decode_request(encode(message).removesuffix(b"\n")), message)
        for message in ANSWERS:
            self.assertEqual(decode_answer(encode(message).removesuffix(b"\n")), message)
        for message in (*REQUESTS, *ANSWERS):
            self.assertEqual(encode(message).count(b"\n"), 1)

    def test_exact_bytes(self) -> None:
        """Keys in the order of the documentation, nothing between them, `type` first."""
        self.assertEqual(
            encode(GetBlocks(content=ID, blocks=((5, 2), (0, 1)))),
            b'{"type":"get_blocks","content":"%s","blocks":[[5,2],[0,1]]}\n' % ID.encode(),
        )
        self.assertEqual(
            encode(Open(content=ID)), b'{"type":"open","content":"%s"}\n' % ID.encode()
        )

    def test_no_newline_within(self) -> None:
        """A newline in a text does not end the line."""
        message = Problem(code="busy", message="one\ntwo\r\n\u2028three")
        line = encode(message)
        self.assertEqual(line.index(b"\n"), len(line) - 1)
        self.assertEqual(decode_answer(line), message)

    def test_optional_keys(self) -> None:
        """What may be left out has a value of its own."""
        self.assertEqual(decode_request(b'{"type":"hello","versions":[1]}'), Hello(versions=(1,)))
        self.assertEqual(decode_request(b'{"type":"get_catalogue"}'), GetCatalogue())
        self.assertEqual(decode_request(line_of(Join(content=ID))), Join(content=ID))

    def test_any_order(self) -> None:
        """Keys come in any order, `type` too, with blanks between them."""
        line = b' { "blocks" : [ [0, 1] ] , "content" : "%s", "type" : "have" }\r' % ID.encode()
        self.assertEqual(decode_answer(line), Have(content=ID, blocks=((0, 1),)))

    def test_longest(self) -> None:
        """As many runs as there may be fit into a line, and so do as many receivers."""
        runs = tuple((MAX_BLOCKS - 2 * index - 1, 1) for index in range(MAX_RUNS))
        receivers = (("ffff:" * 7 + "ffff", 65_535),) * MAX_RECEIVERS
        told = Content(
            content=ID,
            size=MAX_CONTENT_BYTES,
            length=MAX_BLOCKS * 32 + MAX_BLOCKS // 8,
            digests=MAX_BLOCKS * 32,
            bitmap=MAX_BLOCKS // 8,
            receivers=receivers,
        )
        for message in (Have(content=ID, blocks=runs), told):
            self.assertEqual(decode_answer(encode(message)), message)
        message = Join(content=ID, have=runs)
        self.assertEqual(decode_request(encode(message)), message)

    def test_too_long_to_send(self) -> None:
        """We send no line over 64 KiB, and nothing that is no text."""
        room = MAX_MESSAGE_BYTES - len(encode(Problem(code="busy", message="")))
        self.assertEqual(len(encode(Problem(code="busy", message="x" * room))), MAX_MESSAGE_BYTES)
        for text in ("x" * (room + 1), "\ud800"):
            with self.assertRaises(ValueError):
                encode(Problem(code="busy", message=text))

    def test_values(self) -> None:
        """Messages are values: equal if they say the same, and never changed."""
        message = Open(content=ID)
        self.assertEqual(hash(message), hash(Open(content=ID)))
        with self.assertRaises(AttributeError):
            message.content = "b3:"  # type: ignore[misc]


class TolerantTests(MessagesCase):
    def test_unknown_keys(self) -> None:
        """Keys that we do not know are ignored, whatever is in them."""
        for value in (None, [], {"type": "open"}, "x" * 9_000, -1e300, 10**400):
            for message in REQUESTS:
                self.assertEqual(decode_request(line_of(message, newer=value)), message)
            for message in ANSWERS:
                self.assertEqual(decode_answer(line_of(message, newer=value)), message)

    def test_unknown_type(self) -> None:
        """A type that we do not know is told apart from a broken message, with its raw bytes."""
        for decode in (decode_request, decode_answer):
            self.assertEqual(decode(b'{"type":"choke","x":[{}]}'), Unknown("choke"))
            self.assertEqual(decode(b'{"length":7,"type":"piece"}'), Unknown("piece", 7))
            self.assertEqual(decode(b'{"type":""}'), Unknown(""))

    def test_unknown_type_with_any_length(self) -> None:
        """Where its raw bytes end cannot be known, or is far away: then nothing can follow it."""
        for length in (-1, MAX_BLOCK_BYTES + 1, 1 << 70, 1.5, "7", None, [7]):
            self.assert_bad(json.dumps({"type": "piece", "length": length}).encode())

    def test_other_direction(self) -> None:
        """A request is no answer and an answer no request: such a type is unknown there."""
        for message in REQUESTS[1:]:
            self.assertIsInstance(decode_answer(line_of(message)), Unknown)
        for message in ANSWERS[1:]:
            if not isinstance(message, Content):  # its raw bytes may be many
                self.assertIsInstance(decode_request(line_of(message)), Unknown)

    def test_known_type_is_never_unknown(self) -> None:
        """A broken message of a type that we know is refused, not passed over."""
        for message in REQUESTS[2:]:
            with self.assertRaises(PeerError):
                decode_request(line_of(message, content=5))
        for message in ANSWERS[2:]:
            with self.assertRaises(PeerError):
                decode_answer(line_of(message, content=5))


class HostileTests(MessagesCase):
    def test_no_messages(self) -> None:
        """Whatever is no object with a type is one short error, never another exception."""
        for line in (
            b"",
            b"{",
            b"{}",
            b"[]",
            b"null",
            b'"hello"',
            b"7",
            b"GET / HTTP/1.1",
            b"\x16\x03\x01\x02",
            b"\x80\x02}q\x00.",
            b"\xff\xfe",
            b"{'type': 'hello', 'versions': [1]}",
            b'{"type":5}',
            b'{"type":null}',
            b'{"type":["hello"]}',
            b'{"Type":"open"}',
            b'{"type":"' + b"x" * 41 + b'"}',
            b'{"type":"hello","versions":[1]',
            b'{"type":"hello","versions":[1],}',
            b'{"type":"hello","versions":[01]}',
            b'{"type":"hello","versions":[1]} x',
            b'{"type":"hello","versions":[1]}{"type":"hello","versions":[1]}',
            b'{"type":"hello","versions":[1]}\x00',
            b'\xef\xbb\xbf{"type":"hello","versions":[1]}',
            b'{"type":"hello","versions":[1],"x":NaN}',
            b'{"type":"hello","versions":[1],"x":Infinity}',
            '{"type":"hello","versions":[1]}'.encode("utf-16"),
        ):
            self.assert_bad(line)

    def test_no_text(self) -> None:
        """Lone surrogates and what is no UTF-8 are refused, in texts that we keep."""
        for agent in (b"\\ud800", b"\\udc00\\ud800", b"\xff", b"\xed\xa0\x80", b"\x00", b"\n"):
            self.assert_bad(b'{"type":"hello","versions":[1],"agent":"%s"}' % agent)

    def test_nested(self) -> None:
        """60,000 brackets are one error and no traceback, wherever they stand."""
        for deep in DEEP[:2]:
            for start in (
                b"",
                b'{"type":',
                b'{"type":"hello","versions":',
                b'{"type":"hello","versions":[1],"x":',
                b'{"x":',
            ):
                self.assert_bad((start + deep)[: MAX_MESSAGE_BYTES - 1])
        self.assert_bad(b'{"type":"hello","versions":%s}' % DEEP[2])

    def test_nested_and_closed(self) -> None:
        """Nor do they stop anything if all of them are closed again."""
        line = b'{"type":"hello","versions":[1],"x":' + b"[" * 30_000 + b"]" * 30_000 + b"}"
        self.assert_bad(line)

    def test_huge_numbers(self) -> None:
        """Integers of 5,000 and 60,000 digits are too large, not computed with."""
        for digits in (b"9" * 5_000, b"9" * 60_000, b"-" + b"9" * 5_000, b"1e400", b"1E9", b"1.0"):
            self.assert_bad(b'{"type":"hello","versions":[%s]}' % digits)
            self.assert_bad(b'{"type":"hello","versions":[1],"port":%s}' % digits)

    def test_numbers_that_wrap(self) -> None:
        """A number is not taken modulo anything."""
        for number in (2**16, 2**32 + 80, 2**63, 2**64 + 80, -1):
            self.assert_refused(REQUESTS[0], port=number)
            self.assert_refused(ANSWERS[3], length=number if number != 2**16 else 0)

    def test_wrong_types(self) -> None:
        """Every key of every message has one type, and no other is taken for it."""
        kinds: tuple[Any, ...] = (None, True, 1.5, "x", 10**30, -1, {}, {"a": 1}, [None], [[]])
        for name, messages in TYPES.items():
            decode = decode_request if name == "request" else decode_answer
            for message in messages:
                told = msgspec.to_builtins(message)
                for key in told.keys() - {"type"}:
                    fitting = 0
                    for kind in kinds:
                        try:
                            decode(line_of(message, **{key: kind}))
                        except PeerError as error:
                            self.assertEqual(error.reason, Reason.BAD_MESSAGE)
                        else:
                            fitting += 1
                            self.assertIs(type(kind), type(told[key]), (message, key, kind))
                    self.assertLessEqual(fitting, 1)

    def test_missing_keys(self) -> None:
        """What a message cannot be without must be there."""
        for message, keys in {
            REQUESTS[0]: ["versions"],
            REQUESTS[2]: ["content"],
            REQUESTS[3]: ["content"],
            REQUESTS[4]: ["content", "blocks"],
            REQUESTS[5]: ["content", "blocks"],
            ANSWERS[1]: ["digest", "count", "length"],
            ANSWERS[2]: ["content", "size", "length"],
            ANSWERS[3]: ["content", "index", "length"],
            ANSWERS[4]: ["content", "blocks"],
            ANSWERS[5]: ["content", "blocks"],
            ANSWERS[6]: ["content"],
            ANSWERS[7]: ["code", "message"],
        }.items():
            for key in keys:
                self.assert_refused(message, **{key: ...})

    def test_content_ids(self) -> None:
        """An id is exactly one, without anything around it."""
        wrong = ("", HEX, ID[:-1], ID + "0", ID + "\n", "\n" + ID, "b3:" + HEX.upper(), "b2:" + HEX)
        for message in (*REQUESTS[2:], *ANSWERS[2:7]):
            for text in (*wrong, "../../etc/passwd", "b3:" + "٣" * 64):
                self.assert_refused(message, content=text)

    def test_tokens(self) -> None:
        """Digests and ids of peers are hex digits, without a newline behind them."""
        for text in ("x", HEX + "0", "AB", "ab\n", "\x1b[31m"):
            self.assert_refused(REQUESTS[0], peer=text)
            self.assert_refused(REQUESTS[0], instance=text)
        for text in (HEX[:-1], HEX + "0", HEX + "\n", HEX.upper(), "\n"):
            self.assert_refused(REQUESTS[1], known=text)
            self.assert_refused(ANSWERS[1], digest=text)
            self.assert_refused(ANSWERS[1], base=text)

    def test_versions(self) -> None:
        """From 1 to 16 versions, small numbers each."""
        for versions in ([], [1] * 17, [-1], [1_001], ["1"], 1, {"1": 1}):
            self.assert_refused(REQUESTS[0], versions=versions)

    def test_texts(self) -> None:
        """Texts have an end."""
        self.assert_refused(REQUESTS[0], agent="x" * 1_001)
        self.assert_refused(ANSWERS[7], message="x" * 1_001)
        self.assert_refused(ANSWERS[7], code="x" * 41)
        self.assert_refused(ANSWERS[7], content="x" * 68)

    def test_receivers(self) -> None:
        """At most 50, each an address in digits: nothing that somebody would resolve."""
        for receivers in (
            [["198.18.0.2", 1]] * (MAX_RECEIVERS + 1),
            [["198.18.0.2"]],
            [["198.18.0.2", 65_536]],
            [["198.18.0.2", -1]],
            [[5, 5]],
            [["", 5_000]],
            [["localhost", 5_000]],
            [["198.18.0.2\n", 5_000]],
            [["1" * 46, 5_000]],
        ):
            self.assert_refused(ANSWERS[2], receivers=receivers)

    def test_no_blocks(self) -> None:
        """At most 512 pairs of numbers, of at most as many blocks as a content can have."""
        for blocks in NO_BLOCKS:
            self.assert_refused(REQUESTS[2], have=blocks)
            for message in (*REQUESTS[4:], ANSWERS[4], ANSWERS[5], ANSWERS[7]):
                self.assert_refused(message, blocks=blocks)

    def test_blocks_that_we_would_not_send(self) -> None:
        """Nor do we make such a message ourselves."""
        for kind in (Have, GetBlocks, Grant, Cancel):
            with self.assertRaises(ValueError):
                kind(content=ID, blocks=((0, MAX_BLOCKS + 1),))

    def test_lies_about_content(self) -> None:
        """Size, digests, bitmap and length belong together; a petabyte is no size."""
        for changes in (
            {"size": MAX_CONTENT_BYTES + 1},
            {"size": 10**15},
            {"size": -1},
            {"size": 65_536},
            {"size": 65_537 + 65_536},
            {"digests": 32, "length": 33},
            {"digests": 96, "length": 97},
            {"bitmap": 2, "length": 66},
            {"length": 64},
            {"length": 66},
            {"length": 0},
            {"digests": MAX_CONTENT_BYTES, "length": MAX_CONTENT_BYTES + 1},
            {"size": 0},
        ):
            self.assert_refused(ANSWERS[2], **changes)

    def test_block_lengths(self) -> None:
        """No block is empty, and none longer than the longest there is."""
        for length in (0, -1, MAX_BLOCK_BYTES + 1, MAX_CONTENT_BYTES):
            self.assert_refused(ANSWERS[3], length=length)

    def test_errors_are_fit_to_show(self) -> None:
        """The sentence about a bad message neither repeats all of it nor what no one should see."""
        said = self.assert_bad(b'{"type":"' + b"\\u001b[31m\\u202e" * 900 + b'"}')
        self.assertTrue(said.isprintable())
        self.assertNotIn("\u202e", said)

    @given(st.binary(max_size=200))
    def test_any_bytes(self, line: bytes) -> None:
        """Any bytes are a message, an unknown one, or a bad one."""
        for decode in (decode_request, decode_answer):
            try:
                decode(line)
            except PeerError as error:
                self.assertEqual(error.reason, Reason.BAD_MESSAGE)

    @given(st.sampled_from([*REQUESTS, *ANSWERS]), st.data())
    def test_anything_anywhere(self, message: Message, data: st.DataObject) -> None:
        """With any value under any key, a message is still one, unknown, or bad."""
        keys = [*msgspec.to_builtins(message), "newer"]
        changes = data.draw(st.dictionaries(st.sampled_from(keys), JSON_VALUES, max_size=3))
        for decode in (decode_request, decode_answer):
            try:
                told = decode(line_of(message, **changes))
            except PeerError as error:
                self.assertEqual(error.reason, Reason.BAD_MESSAGE)
            else:
                self.assertIsInstance(told, Message | Unknown)

    @given(st.sampled_from([*REQUESTS, *ANSWERS]), st.integers(0, 1 << 16))
    def test_cut_short(self, message: Message, at: int) -> None:
        """A line that lost its end, at whichever byte, is refused."""
        line = line_of(message)
        self.assert_bad(line[: at % len(line)])

    @given(
        st.integers(0, MAX_CONTENT_BYTES),
        st.booleans(),
        st.booleans(),
        st.integers(-1, 1),
        st.integers(-1, 1),
    )
    def test_content_lengths(
        self, size: int, digests: bool, bitmap: bool, more_digests: int, more_bitmap: int
    ) -> None:
        """`content` is taken exactly if it declares what its size makes right."""
        count = block_count(size)
        told = {
            "type": "content",
            "content": ID,
            "size": size,
            "digests": max(0, 32 * count * digests + more_digests),
            "bitmap": max(0, -(-count // 8) * bitmap + more_bitmap),
        }
        told["length"] = told["digests"] + told["bitmap"]
        right = told["digests"] in (0, 32 * count) and told["bitmap"] in (0, -(-count // 8))
        line = json.dumps(told).encode()
        if right:
            self.assertEqual(msgspec.to_builtins(decode_answer(line))["size"], size)
        else:
            self.assert_bad_answer(line)

    def assert_bad_answer(self, line: bytes) -> None:
        with self.assertRaises(PeerError):
            decode_answer(line)
