"""A form with files, as a browser sends it (multipart/form-data, RFC 7578), piece by piece.  Pure.

Nothing but one line of each part's head is ever kept, so a form of any size takes no memory.
Not for: where the bytes go.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

from peershare.guest.request import HttpError

# Browsers write about 200 bytes before the bytes of a file.
MAX_PART_HEAD_BYTES = 4 * 1024
MAX_PARTS = 100
_BOUNDARY = re.compile(
    r'multipart/form-data;(?:.*;)?\s*boundary=(?:"([^"]{1,70})"|([^\s";,]{1,70})(?=[\s;]|$))',
    re.I | re.S,
)
_FILE_NAME = re.compile(r';\s*filename="((?:\\.|[^"\\])*)"', re.I)
_DISPOSITION = re.compile(r"content-disposition:\s*form-data\s*;.*", re.I)


@dataclass(frozen=True)
class FileBegins:
    """A part that is a file; `name` is "" where none was chosen.

    `most_bytes` is what it can have at most, and exactly what it has if it is the last part.
    """

    name: str
    most_bytes: int


@dataclass(frozen=True)
class FileEnds:
    """All bytes of the file have come."""


FormEvent: TypeAlias = FileBegins | bytes | FileEnds


def boundary_of(content_type: str) -> bytes:
    """The boundary that a Content-Type names.  Raises `HttpError` (415)."""
    match = _BOUNDARY.match(content_type)
    if match is None:
        raise HttpError(415, "send files with the form on the page")
    return (match[1] or match[2]).encode("latin-1")


class FormDecoder:
    """Takes a body and gives what is in it: for each file its beginning, bytes, and its end."""

    def __init__(self, boundary: bytes, length: int) -> None:
        """`length` is that of the whole body."""
        self._mark = b"\r\n--" + boundary
        self._data = bytearray(b"\r\n")  # so that the first mark is like all others
        self._left = length
        self._in_file = self._in_part = False
        self._parts = 0
        self.ended = False

    def feed(self, data: bytes) -> list[FormEvent]:
        """Take the next bytes.  Raises `HttpError` for what is no such form."""
        self._left -= len(data)
        if self.ended:
            return []
        self._data += data
        events: list[FormEvent] = []
        while self._bytes(events) and self._mark_and_head(events):
            pass
        return events

    def _bytes(self, events: list[FormEvent]) -> bool:
        """Give what is surely of the part; whether its end has been reached."""
        end = self._data.find(self._mark)
        sure = end if end >= 0 else max(0, len(self._data) - len(self._mark) + 1)
        if self._in_file and sure:
            events.append(bytes(self._data[:sure]))
        del self._data[:sure]
        if end >= 0 and self._in_file:
            self._in_file = False
            events.append(FileEnds())
        return end >= 0

    def _mark_and_head(self, events: list[FormEvent]) -> bool:
        """Read the mark that is next, and the head behind it; False if not all of it is here."""
        begin = len(self._mark)
        if self._data[begin : begin + 2] == b"--":
            self.ended = True
            return False
        end = self._data.find(b"\r\n\r\n", begin)
        if end < 0:
            if len(self._data) > begin + MAX_PART_HEAD_BYTES:
                raise HttpError(400, "the form cannot be understood")
            return False
        head = self._data[begin:end].decode("utf-8", "replace")
        del self._data[: end + 4]
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise HttpError(413, f"at most {MAX_PARTS} files at a time")
        name = _file_name(head)
        if name is not None:
            self._in_file = True
            ending = len(self._mark) + len(b"--\r\n")
            events.append(FileBegins(name, max(0, self._left + len(self._data) - ending)))
        return True


def _file_name(head: str) -> str | None:
    """The file name in the head of a part; None for a field that is no file."""
    for line in head.split("\r\n"):
        if _DISPOSITION.fullmatch(line):
            match = _FILE_NAME.search(line)
            if match is not None:
                return _unescaped(match[1])
    return None


def _unescaped(name: str) -> str:
    """As browsers write it: `%22` for a quote, `%0D%0A` for a line end; curl escapes by \\."""
    name = re.sub(r'\\(["\\])', r"\1", name)
    for written, meant in (("%22", '"'), ("%0D", "\r"), ("%0A", "\n")):
        name = name.replace(written, meant)
    return name
