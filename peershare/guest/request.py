"""HTTP requests, as far as the guest page knows them: a head of bounded size.  Pure.

One connection carries one request (RFC 9112, 9.3 allows that), so nothing is ever told apart
wrongly behind it.  What is doubtful is refused: repeated lengths, folded lines, control characters
in values, a body of unknown length.  Not for: what is asked for, or the body itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

MAX_HEAD_BYTES = 16 * 1024
MAX_HEADERS = 100
# 15 digits: below a petabyte, and below what any of our numbers cannot take.
_LENGTH = re.compile(r"[0-9]{1,15}")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VERSION = re.compile(r"HTTP/1\.[0-9]")
_TARGET = re.compile(r"/[!-~]*")
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class HttpError(Exception):
    """A request that is not answered as it wishes: an HTTP status and a sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True)
class Request:
    """The head of a request; header names are in lower case, the last of repeated ones counts.

    `path` are the segments between the slashes, decoded; a segment may hold a slash.
    """

    method: str
    path: tuple[str, ...]
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def length(self) -> int | None:
        """The bytes of the body as they are declared; None if they are not."""
        text = self.headers.get("content-length")
        return None if text is None else int(text)


class HeadDecoder:
    """Takes the bytes of a connection until the head of its request is whole."""

    def __init__(self) -> None:
        self._data = bytearray()
        self.rest = b""  # what came behind the head

    def feed(self, data: bytes) -> Request | None:
        """Take the next bytes; the request once it is whole.  Raises `HttpError`."""
        start = max(0, len(self._data) - 3)
        self._data += data
        while self._data[:2] == b"\r\n":  # a line too many, which is to be overlooked
            del self._data[:2]
        end = self._data.find(b"\r\n\r\n", start)
        if end < 0 and len(self._data) <= MAX_HEAD_BYTES:
            return None
        if not 0 <= end <= MAX_HEAD_BYTES:
            raise HttpError(431, "the head of the request is too long")
        self.rest = bytes(self._data[end + 4 :])
        return parse_head(bytes(self._data[:end]))


def parse_head(head: bytes) -> Request:
    """A request out of its head, without the empty line.  Raises `HttpError`."""
    first, *lines = head.decode("latin-1").split("\r\n")
    parts = first.split(" ")
    if len(parts) != 3 or not _TOKEN.fullmatch(parts[0]) or not _VERSION.fullmatch(parts[2]):
        raise HttpError(400, "this is no HTTP/1.1 request")
    method, target, version = parts
    if not _TARGET.fullmatch(target):
        raise HttpError(400, "the path of the request cannot be understood")
    headers = _headers(lines)
    if version != "HTTP/1.0" and "host" not in headers:
        raise HttpError(400, "the request names no host")
    if "transfer-encoding" in headers:
        raise HttpError(411, "send the length of the body, not pieces")
    path, _, query = target.partition("?")
    segments = tuple(unquote(segment) for segment in path.split("/")[1:])
    return Request(method, segments, query, headers)


def _headers(lines: list[str]) -> dict[str, str]:
    if len(lines) > MAX_HEADERS:
        raise HttpError(431, "the request has too many headers")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        value = value.strip(" \t")
        if not colon or not _TOKEN.fullmatch(name) or _CONTROLS.search(value):
            raise HttpError(400, "a header of the request cannot be understood")
        name = name.lower()
        if name == "content-length" and (name in headers or not _LENGTH.fullmatch(value)):
            raise HttpError(400, "the length of the body cannot be understood")
        if name == "host" and name in headers:
            raise HttpError(400, "the request names several hosts")
        headers[name] = value
    return headers
