"""Sizes, rates, times and sentences for people.  Pure.

Units are decimal, as those of the limits are: 1 kB is 1,000 bytes.
"""

from __future__ import annotations

import json
from collections import Counter

import msgspec

from peershare.content.names import display
from peershare.status import ChunkState, DownloadStatus

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
# Long enough for any sentence of ours, short enough for one screen.
_TEXT_LIMIT = 1_000


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


def json_text(value: object) -> str:
    """A status value as JSON in ASCII: a terminal may be where it ends up after all."""
    return json.dumps(msgspec.to_builtins(value))


def about(name: str, text: str) -> str:
    """A sentence with what it is about before it, unless it begins with that itself."""
    begins = text.startswith((name, repr(name)))
    return text if begins else f"{safe(name)}: {text}"


def givers_text(status: DownloadStatus) -> str:
    """Whose chunks it is made of: ` from 198.18.0.2 (1 chunk) and 198.18.0.3 (4 chunks)`."""
    counts = Counter(chunk.source for chunk in status.chunks if chunk.source)
    if len(counts) <= 1:
        return "".join(f" from {safe(address)}" for address in counts)
    parts = [
        f"{safe(address)} ({count} chunk{'s' if count > 1 else ''})"
        for address, count in counts.items()
    ]
    return f" from {', '.join(parts[:-1])} and {parts[-1]}"


def done_text(status: DownloadStatus, seconds: float | None) -> str:
    """The sentence for a download that is complete, after so long if that is known."""
    size = size_text(status.size or status.received)
    if not status.given:
        return f"it was complete already ({size})"
    spent = f" in {span_text(seconds)}" if seconds is not None else ""
    return f"done, {size}{spent}{givers_text(status)}"


def kept_text(status: DownloadStatus) -> str:
    """What stays of a download that is not complete."""
    held = sum(chunk.state is ChunkState.HELD for chunk in status.chunks)
    if not status.received:
        return "nothing of it had arrived"
    return (
        f"the part file with {held} of {len(status.chunks)} chunks stays in"
        f" {safe(status.folder)}/.peershare for next time"
    )
