"""A moment of the past as people write it: `2h`, `3d`, `2026-11-22T07:43+01:00`.  Pure.

Not for: time zones by name; a time without an offset is one of this machine.
"""

from __future__ import annotations

import re
from datetime import datetime

_SPAN = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)\s*(s|min|m|h|d|w)")
_SECONDS = {"s": 1, "min": 60, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def since_when(text: str, now: float) -> float:
    """The moment in Unix seconds; `now` is the present one.

    A span (s, m or min, h, d, w) is counted back from `now`; anything else is ISO 8601.  Raises
    `ValueError` with a sentence for a person.
    """
    text = text.strip()
    span = _SPAN.fullmatch(text.lower())
    if span is not None:
        return max(0.0, now - float(span[1]) * _SECONDS[span[2]])
    try:
        moment = datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"{text!r} is no time: 2h, 3d or 2026-11-22T07:43 would be one") from None
    if moment > now:
        raise ValueError(f"{text!r} is still to come")
    if moment < 0:
        raise ValueError(f"{text!r} is too long ago")
    return moment
