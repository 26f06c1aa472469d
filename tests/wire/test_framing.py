"""Framing: lines and raw bytes, in whatever pieces they come."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from peershare.errors import PeerError, Reason
from peershare.wire.framing import MAX_MESSAGE_BYTES, FrameDecoder

# A message as these tests write it: its text is how many raw bytes follow it.
RAW = st.one_of(st.integers(0, 20), st.integers(0, 5_000))
BLANKS = st.text(" \t\r\n", max_size=4).map(str.encode)


class Receiver:
    """Takes what a decoder tells: messages, and the raw bytes behind each."""

    def __init__(self) -> None:
        self.messages: list[tuple[bytes, bytearray]] = []
        self.raw_left: list[int] = []
        self.decoder = FrameDecoder(self.on_line, self.on_raw)

    def on_line(self, line: bytes) -> None:
        self.messages.append((line, bytearray()))
        self.decoder.expect_raw(int(line))

    def on_raw(self, view: memoryview) -> None:
        assert len(view), "an empty piece"
        self.messages[-1][1].extend(view)
        self.raw_left.append(self.decoder.raw_left)

    def feed(self, data: bytes, cuts: list[int]) -> None:
        """Feed what lies between each two cuts, as bytes and as views by turns."""
        places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
        for number, (start, stop) in enumerate(pairwise(places)):
            piece = data[start:stop]
            self.decoder.feed(memoryview(piece) if number % 2 else piece)


def raw_bytes(count: int) -> bytes:
    """Raw bytes with newlines and things like messages in them."""
    return (b'\n{"\x00\xff3\n' * (count // 7 + 1))[:count]


class FramingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.receiver = Receiver()
        self.decoder = self.receiver.decoder

    def assert_too_long(self, data: bytes) -> None:
        with self.assertRaises(PeerError) as caught:
            self.decoder.feed(data)
        self.assertEqual(caught.exception.reason, Reason.BAD_MESSAGE)
        self.assertIn("65536", str(caught.exception))

    def test_raw_is_not_looked_at(self) -> None:
        """What looks like messages among raw bytes is raw; what follows them is a message."""
        self.decoder.feed(b"4\n0\n0\n0\n2\n\n\n")
        self.assertEqual(self.receiver.messages, [(b"4", b"0\n0\n"), (b"0", b""), (b"2", b"\n\n")])

    def test_raw_left(self) -> None:
        """What is left is counted before each piece is given, and 0 with the last one."""
        self.decoder.feed(b"5\nab")
        self.assertEqual(self.decoder.raw_left, 3)
        self.decoder.feed(b"cde")
        self.assertEqual(self.receiver.raw_left, [3, 0])

    def test_line_at_once(self) -> None:
        """A message is told as soon as its newline is here, and not before."""
        self.decoder.feed(b"0")
        self.assertEqual(self.receiver.messages, [])
        self.decoder.feed(b"\n")
        self.assertEqual(self.receiver.messages, [(b"0", b"")])

    def test_blanks(self) -> None:
        """Empty lines, and blanks before a message, are skipped: someone types with netcat."""
        self.decoder.feed(b"\r\n \n\t\n  0\r\n" + b" " * 200_000 + b"\n" * 200_000 + b"0\n")
        self.assertEqual([int(line) for line, _ in self.receiver.messages], [0, 0])

    def test_longest_line(self) -> None:
        """65,536 bytes with the newline are a message, in one piece or in many."""
        line = b"0" * (MAX_MESSAGE_BYTES - 1)
        for size in (MAX_MESSAGE_BYTES, 1_024, 1_000, 1):
            lines: list[bytes] = []
            decoder = FrameDecoder(lines.append, self.fail)
            for start in range(0, MAX_MESSAGE_BYTES, size):
                decoder.feed((line + b"\n")[start : start + size])
            self.assertEqual(lines, [line])

    def test_too_long(self) -> None:
        """One byte more is refused, in one piece or in many, with a newline or without."""
        for end in (b"0\n", b"0"):
            data = b"0" * (MAX_MESSAGE_BYTES - 1) + end
            for size in (1 << 20, 1_024, 1_000, 1):
                decoder = FrameDecoder(self.fail, self.fail)
                with self.assertRaises(PeerError) as caught:
                    for start in range(0, len(data), size):
                        decoder.feed(data[start : start + size])
                self.assertEqual(caught.exception.reason, Reason.BAD_MESSAGE)

    def test_too_long_counts_each_line(self) -> None:
        """It is the line that has a limit: many that are shorter may come together."""
        self.decoder.feed(b"0\n" * 100_000)
        self.assertEqual(len(self.receiver.messages), 100_000)
        self.assert_too_long(b"0\n0\n" + b"0" * MAX_MESSAGE_BYTES)
        self.assertEqual(len(self.receiver.messages), 100_002)

    def test_nothing_after_too_long(self) -> None:
        """What comes behind a refused line is not looked at, and nothing is kept of it."""
        self.assert_too_long(b"0" * MAX_MESSAGE_BYTES)
        self.decoder.feed(b"\n0\n")
        self.assertEqual(self.receiver.messages, [])

    def test_stop(self) -> None:
        """A message can be the last one that is looked at."""
        lines: list[bytes] = []

        def stop(line: bytes) -> None:
            lines.append(line)
            decoder.stop()

        decoder = FrameDecoder(stop, self.fail)
        decoder.feed(b"a\nb\n")
        decoder.feed(b"c\n")
        self.assertEqual(lines, [b"a"])

    def test_stop_within_raw(self) -> None:
        """Whoever had enough of raw bytes gets no more of them."""
        pieces: list[bytes] = []

        def stop(view: memoryview) -> None:
            pieces.append(bytes(view))
            decoder.stop()

        decoder = FrameDecoder(lambda line: decoder.expect_raw(4), stop)
        decoder.feed(b"a\nbc")
        decoder.feed(b"de\n")
        self.assertEqual(pieces, [b"bc"])

    def test_bypassed(self) -> None:
        """Raw bytes that the kernel took elsewhere are counted; a message may follow them."""
        self.decoder.feed(b"10\nab")
        self.decoder.bypassed(3)
        self.decoder.bypassed(0)
        self.assertEqual(self.decoder.raw_left, 5)
        self.decoder.bypassed(5)
        self.decoder.feed(b"0\n")
        self.assertEqual(self.receiver.messages, [(b"10", b"ab"), (b"0", b"")])

    def test_bypassed_too_much(self) -> None:
        """More than was expected cannot have gone by."""
        self.decoder.feed(b"2\n")
        for count in (3, -1):
            with self.assertRaises(ValueError):
                self.decoder.bypassed(count)
        self.assertEqual(self.decoder.raw_left, 2)

    @given(
        st.lists(st.tuples(BLANKS, RAW), max_size=12), st.lists(st.integers(0, 1 << 20), max_size=9)
    )
    def test_any_pieces(self, told: list[tuple[bytes, int]], cuts: list[int]) -> None:
        """However a stream is cut, each message and its raw bytes arrive whole and in order."""
        stream = b"".join(b"%s%d\n%s" % (blanks, n, raw_bytes(n)) for blanks, n in told)
        receiver = Receiver()
        receiver.feed(stream, cuts)
        self.assertEqual(receiver.messages, [(b"%d" % n, raw_bytes(n)) for _, n in told])
        self.assertEqual(receiver.decoder.raw_left, 0)

    @given(st.lists(RAW, max_size=4))
    def test_byte_by_byte(self, told: list[int]) -> None:
        """Nor does it matter if every byte comes alone."""
        stream = b"".join(b"%d\n%s" % (count, raw_bytes(count)) for count in told)
        receiver = Receiver()
        receiver.feed(stream, list(range(len(stream))))
        self.assertEqual(receiver.messages, [(b"%d" % n, raw_bytes(n)) for n in told])

    @given(st.binary(max_size=3_000), st.lists(st.integers(0, 1 << 20), max_size=9))
    def test_any_bytes(self, data: bytes, cuts: list[int]) -> None:
        """Lines are what lies between newlines, whatever the bytes are."""
        lines: list[bytes] = []
        decoder = FrameDecoder(lines.append, self.fail)
        places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
        for start, stop in pairwise(places):
            decoder.feed(data[start:stop])
        whole = data.split(b"\n")[:-1]
        self.assertEqual(lines, [line.lstrip() for line in whole if line.strip()])
