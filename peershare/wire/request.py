"""Classic requests: how we ask for a chunk, and how we read what others ask (2.3.0-C, 2.4.0-B).

Pure: bytes in, a name out, and back.  A native session begins on the same port, with a `hello`
where a classic client has its request; the first object tells which of the two it is.
Not for: deciding whether the chunk is there, nor for what the answer looks like (raw bytes; there
is nothing to encode), nor for what a `hello` says (messages).
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

import msgspec
from msgspec import Raw, Struct, field

from peershare.errors import PeerError, Reason

# What we read before we give up on a request; real ones are under 200 bytes.
MAX_REQUEST_BYTES = 65_536
# What we send: most classic uploaders read one recv(1024) and die of more.
MAX_ASKED_BYTES = 1_024

# Requests are flat; whoever nests an unknown key deeper than this means harm.
_MAX_DEPTH = 8
_CLASSIC_KEYS = ("requested_content", "requested content", "requested-content")
_BOM = b"\xef\xbb\xbf"
_WHITESPACE = b" \t\r\n"
# What ends a run of plain bytes, outside strings (brackets, quotes, and what JSON has not) and
# inside of them.
_NOT_BETWEEN = re.compile(rb"[^ \t\r\n0-9eE+\-.,:truefalsn]")
_NOT_IN_STRING = re.compile(rb'["\\\x00-\x1f]')
_CLOSER = {ord("{"): ord("}"), ord("["): ord("]")}


class _Request(Struct):
    """The keys in use, in order of precedence: the first one there is judged, no other."""

    requested_content: Raw = Raw()
    with_space: Raw = field(default=Raw(), name="requested content")
    with_hyphen: Raw = field(default=Raw(), name="requested-content")
    filename: Raw = Raw()
    chunk: Raw = Raw()
    type: Raw = Raw()


class Greeting(NamedTuple):
    """The `hello` of a native session as it came, and what came behind it in the same bytes."""

    line: bytes
    rest: bytes


_decode = msgspec.json.Decoder(_Request).decode
_decode_name = msgspec.json.Decoder(str).decode


def encode_request(name: str) -> bytes:
    """One JSON object that every known classic uploader serves; at most 1,024 bytes.

    It carries the keys of all dialects; where that is too long, `requested_content` alone.
    Raises `PeerError` (unaskable) for a name that is too long even so.
    """
    for keys in (_CLASSIC_KEYS, _CLASSIC_KEYS[:1]):
        request = json.dumps(dict.fromkeys(keys, name)).encode("ascii")
        if len(request) <= MAX_ASKED_BYTES:
            return request
    raise PeerError(
        Reason.UNASKABLE, f"its name is too long to be asked for in {MAX_ASKED_BYTES} bytes"
    )


def _bad(problem: str) -> PeerError:
    return PeerError(Reason.BAD_REQUEST, problem)


class RequestDecoder:
    """Reads one request from a stream, in however many pieces; each byte is looked at once.

    What it keeps is the object so far, 64 KiB at most.  Most malformed objects are found out
    at the first byte that no JSON has there, the others when their last bracket closes.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._taken = 0
        self._position = 0
        self._closers: list[int] = []
        self._in_string = False
        self._escaped = False
        self._bom_seen = False
        self._started = False
        self._done = False
        self._error: PeerError | None = None

    @property
    def started_with_brace(self) -> bool:
        """Whether what came begins like a JSON object, as every classic client does."""
        return self._started

    def feed(self, data: bytes) -> str | Greeting | None:
        """Take the next bytes; return the requested name as soon as its object is complete.

        Whitespace and a byte order mark before the object are skipped, what comes after it is
        ignored (and so is all that is fed later).  An object without any key of a request whose
        `type` is "hello" gives a `Greeting`, with all that came after it.  Raises `PeerError`
        (bad-request) as soon as it is seen that no request can come of it, and again ever after.
        """
        if self._error is not None:
            raise self._error
        if self._done:
            return None
        room = MAX_REQUEST_BYTES - self._taken
        self._taken += len(data)
        self._buffer += data[:room]
        try:
            first = self._read()
            if first is None and len(data) > room:
                raise _bad(f"the request is longer than {MAX_REQUEST_BYTES} bytes")
        except PeerError as error:
            self._error = error
            self._buffer = bytearray()
            raise
        if isinstance(first, Greeting) and len(data) > room:
            return Greeting(first.line, first.rest + data[room:])
        return first

    def _read(self) -> str | Greeting | None:
        if not self._started and not self._start():
            return None
        while self._position < len(self._buffer):
            if self._in_string:
                self._read_string()
            elif self._read_structure():
                return self._finish()
        return None

    def _start(self) -> bool:
        """Drop what may precede the object; False while there is no more than that."""
        self._buffer = self._buffer.lstrip(_WHITESPACE)
        if not self._bom_seen and self._buffer.startswith(_BOM):
            self._bom_seen = True
            self._buffer = self._buffer[len(_BOM) :].lstrip(_WHITESPACE)
        if not self._buffer or (not self._bom_seen and _BOM.startswith(self._buffer)):
            return False
        if self._buffer[0] != ord("{"):
            raise _bad("the request is no JSON object")
        self._started = True
        return True

    def _read_string(self) -> None:
        """Go on to the end of the string that we are in, or of what is there of it."""
        if self._escaped:
            self._escaped = False
            self._position += 1
            return
        stop = _NOT_IN_STRING.search(self._buffer, self._position)
        if stop is None:
            self._position = len(self._buffer)
            return
        self._position = stop.end()
        if stop[0] == b"\\":
            self._escaped = True
        elif stop[0] == b'"':
            self._in_string = False
        else:
            raise _bad("the request has a control character in a string")

    def _read_structure(self) -> bool:
        """Go on to the next quote or bracket and past it; True if it closed the object."""
        stop = _NOT_BETWEEN.search(self._buffer, self._position)
        if stop is None:
            self._position = len(self._buffer)
            return False
        self._position = stop.end()
        byte = self._buffer[stop.start()]
        if byte == ord('"'):
            self._in_string = True
        elif byte in _CLOSER:
            if len(self._closers) == _MAX_DEPTH:
                raise _bad("the request is nested too deep")
            self._closers.append(_CLOSER[byte])
        elif self._closers[-1] == byte:
            self._closers.pop()
        else:
            raise _bad("the request is no JSON")
        return not self._closers

    def _finish(self) -> str | Greeting:
        """What the object says that is now complete."""
        text = bytes(self._buffer[: self._position])
        rest = bytes(self._buffer[self._position :])
        self._done = True
        self._buffer = bytearray()
        try:
            *names, kind = msgspec.structs.astuple(_decode(text.decode()))
            name = next((_decode_name(raw) for raw in names if len(raw)), None)
            if name is None and len(kind) and _decode_name(kind) == "hello":
                return Greeting(text, rest)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise _bad(f"the request is no JSON that we know: {error}") from None
        if not name:
            raise _bad("the request names no chunk")
        return name
