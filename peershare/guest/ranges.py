"""Which bytes of a file a request gets: conditions and ranges, as RFC 9110 has them.  Pure.

Several ranges are given as one where they touch, and as the whole file where they do not: that is
allowed, and no many-part answer can be used to make us work.  Not for: sending.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from peershare.content.chunks import ByteRange

# A header with more ranges than this is ignored, as RFC 9110 14.2 allows.
MAX_RANGES = 16
_RANGE = re.compile(r"([0-9]{1,15})-([0-9]{1,15})?|-([0-9]{1,15})")
_ENTITY_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')


@dataclass(frozen=True)
class Selection:
    """What is answered: 200, 206, 304, 412 or 416, and which bytes (none but for the first two)."""

    status: int
    range: ByteRange


def select(method: str, headers: Mapping[str, str], size: int, etag: str) -> Selection:
    """Judge the conditions of a request, in the order of RFC 9110 13.2.2, then its range.

    `etag` is a strong one, with its quotes.  A `Range` counts with GET alone; a date in `If-Range`
    never fits, since we tell none.
    """
    nothing = ByteRange(0, 0)
    if "if-match" in headers and not _names(headers["if-match"], etag, weakly=False):
        return Selection(412, nothing)
    if "if-none-match" in headers and _names(headers["if-none-match"], etag, weakly=True):
        return Selection(304, nothing)
    whole = Selection(200, ByteRange(0, size))
    if method != "GET" or "range" not in headers or headers.get("if-range", etag) != etag:
        return whole
    wanted = _parse(headers["range"], size)
    if wanted is None:
        return whole
    joined = _joined(wanted)
    if not joined:
        return Selection(416, nothing)
    return Selection(206, joined[0]) if len(joined) == 1 else whole


def _names(header: str, etag: str, *, weakly: bool) -> bool:
    """Whether a list of entity tags has ours."""
    if header.strip() == "*":
        return True
    tags = _ENTITY_TAG.findall(header)
    return etag in (tags if not weakly else [tag.removeprefix("W/") for tag in tags])


def _parse(header: str, size: int) -> list[ByteRange] | None:
    """The ranges that a file of this size can satisfy; None if the header is to be ignored."""
    unit, _, text = header.partition("=")
    parts = [part.strip(" \t") for part in text.split(",", MAX_RANGES + 1)]
    parts = [part for part in parts if part]
    if unit.strip().lower() != "bytes" or not 1 <= len(parts) <= MAX_RANGES:
        return None
    found = []
    for part in parts:
        match = _RANGE.fullmatch(part)
        if match is None:
            return None
        first, last, suffix = match.groups()
        if suffix is not None:
            start, stop = max(0, size - int(suffix)), size
        else:
            start, stop = int(first), size if last is None else int(last) + 1
            if last is not None and stop <= start:
                return None
        if start < min(stop, size):
            found.append(ByteRange(start, min(stop, size)))
    return found


def _joined(ranges: list[ByteRange]) -> list[ByteRange]:
    """The same bytes in as few ranges as can be, ascending."""
    joined: list[ByteRange] = []
    for start, stop in sorted(ranges):
        if joined and start <= joined[-1].stop:
            joined[-1] = ByteRange(joined[-1].start, max(stop, joined[-1].stop))
        else:
            joined.append(ByteRange(start, stop))
    return joined
