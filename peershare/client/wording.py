"""Sizes, rates, times and sentences for people.  Pure.

Units are decimal, as those of the limits are: 1 kB is 1,000 bytes.
"""

from __future__ import annotations

import json
import shlex
from collections import Counter

import msgspec

from peershare.content.names import display, display_name
from peershare.status import ChunkState, DownloadState, DownloadStatus

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
# Long enough for any sentence of ours, short enough for one screen.
_TEXT_LIMIT = 1_000
_SHORT_ID_LENGTH = 15  # "b3:" and 12 digits
_MOST_GIVERS = 6


def size_text(size: float) -> str:
    """Bytes in three digits or so: `812 B`, `1.2 MB`, `34 GB`."""
    power = 0
    while size >= 999.5 and power < len(_UNITS) - 1:
        size /= 1_000
        power += 1
    digits = 1 if power and size < 9.95 else 0
    return f"{size:.{digits}f} {_UNITS[power]}"


def rate_text(rate: float) -> str:
    """Bytes per second."""
    return f"{size_text(rate)}/s"


def clock_text(seconds: float) -> str:
    """A time to go: `0:07`, `12:34`, `1:02:03`."""
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def span_text(seconds: float) -> str:
    """A time that has passed: `0.42 s`, `12 s`, `3 min`, `2 h`."""
    if seconds < 9.95:
        return f"{seconds:.2g} s"
    if seconds < 119.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_170 else f"{seconds / 3600:.0f} h"


def safe(text: str) -> str:
    """Any text on one line of a terminal; long ones are cut."""
    return display(text, _TEXT_LIMIT)


def safe_name(name: str) -> str:
    """The same for a name, which no shell is to take for an option."""
    return display_name(name, _TEXT_LIMIT)


def shell_word(text: str) -> str:
    """A word for bash, zsh or ksh to read as this text, which shows nothing but what is there."""
    if safe(text) == text:
        return shlex.quote(text)
    data = text.encode("utf-8", "surrogateescape")
    plain = (chr(b) if 0x20 <= b < 0x7F and b not in b"'\\" else f"\\x{b:02x}" for b in data)
    return "$'" + "".join(plain) + "'"


def json_text(value: object) -> str:
    """A status value as JSON in ASCII: a terminal may be where it ends up after all."""
    return json.dumps(msgspec.to_builtins(value))


def about(name: str, text: str) -> str:
    """A sentence with what it is about before it, unless it begins with that itself."""
    begins = text.startswith((name, repr(name)))
    return text if begins else f"{safe(name)}: {text}"


def short_id(content: str) -> str:
    """As much of a content id as a person needs to tell it from others."""
    return safe(content[:_SHORT_ID_LENGTH])


def shares(status: DownloadStatus) -> list[tuple[str, int]]:
    """Who gave how much of what arrived: (address, percent), the most first."""
    total = sum(status.given.values())
    if total <= 0:
        return []
    given = sorted(status.given.items(), key=lambda item: -item[1])
    return [(safe(address), round(100 * count / total)) for address, count in given if count]


def givers_text(status: DownloadStatus) -> str:
    """Whose it is: ` from 198.18.0.2 (38%) and 198.18.0.3 (62%)`; or of which chunks."""
    if status.content:
        counts = dict(shares(status))
        parts = [f"{address} ({percent}%)" for address, percent in counts.items()]
        if len(parts) > _MOST_GIVERS:
            parts[_MOST_GIVERS - 1 :] = [f"{len(parts) - _MOST_GIVERS + 1} others"]
    else:
        chunks = Counter(chunk.source for chunk in status.chunks if chunk.source)
        counts = {safe(address): count for address, count in chunks.items()}
        parts = [
            f"{address} ({count} chunk{'s' if count > 1 else ''})"
            for address, count in counts.items()
        ]
    if len(counts) <= 1:
        return "".join(f" from {address}" for address in counts)
    return f" from {', '.join(parts[:-1])} and {parts[-1]}"


def done_text(status: DownloadStatus, seconds: float | None) -> str:
    """The sentence for a download that is complete, after so long if that is known."""
    size = size_text(status.size or status.received)
    if not status.given:
        return f"it was complete already ({size}); nothing was transferred"
    spent = f" in {span_text(seconds)}" if seconds is not None else ""
    return f"done, {size}{spent}{givers_text(status)}"


def percent_text(status: DownloadStatus) -> str:
    """How far it is; 100% only once it is done, "-" while its size is not known."""
    if status.state is DownloadState.DONE:
        return "100%"
    return f"{min(99, 100 * status.received // status.size)}%" if status.size else "-"


def progress_text(status: DownloadStatus) -> str:
    """The same with bytes: `45% (450 kB of 1.0 MB)`."""
    if not status.size:
        return size_text(status.received)
    return f"{percent_text(status)} ({size_text(status.received)} of {size_text(status.size)})"


def kept_text(status: DownloadStatus) -> str:
    """What stays of a download that is not complete."""
    if not status.received:
        return "nothing of it had arrived"
    held = sum(chunk.state is ChunkState.HELD for chunk in status.chunks)
    amount = f"{held} of {len(status.chunks)} chunks"
    if status.content:
        amount = f"{size_text(status.received)} of {size_text(status.size or status.received)}"
    return f"the part file with {amount} stays in {safe(status.folder)}/.peershare for next time"
