"""Names on their way to a browser: in a header, in a link.  Pure.

Not for: names of files that we create (`content.names.safe_file_name`).
"""

from __future__ import annotations

from urllib.parse import quote

from peershare.content.names import display, harmless

# As much as file systems hold.
_MAX_LENGTH = 255
# What RFC 8187 lets stand for itself, beside letters and digits (and what `quote` always does).
_PLAIN = "!#$&+^`|"


def shown_name(name: str) -> str:
    """A name as the browser is to save it: what would hide or mislead is `_`, or visible in it.

    No control character, no separator, nothing invisible, and none of our escapes' \\.
    """
    return display(harmless(name), _MAX_LENGTH).replace("\\", "_").replace("/", "_")


def disposition(name: str) -> str:
    """The value of Content-Disposition (RFC 6266) for a file of this name, ASCII alone.

    The second form is for every browser of today, the first for whatever cannot read it.
    """
    shown = shown_name(name)
    simple = "".join(c if c.isascii() and c.isprintable() and c not in '"%' else "_" for c in shown)
    return f"attachment; filename=\"{simple}\"; filename*=UTF-8''{quote(shown, safe=_PLAIN)}"


def in_link(name: str) -> str:
    """The name as one segment of a URL's path."""
    return quote(shown_name(name), safe="")
