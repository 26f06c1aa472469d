"""Kinds of files: which extension the first bytes of a file deserve.

For contents that were asked for and told without an extension; the typed one always wins.
Not for: deciding whether a file is safe, or whole.
"""

from __future__ import annotations

import filetype

# How much of a file's beginning to read for `sniff_extension`; more is not looked at.
HEAD_BYTES = 8_192


def sniff_extension(head: bytes) -> str:
    """The extension that fits a file with these first bytes, as ".png"; "" if none is known.

    Never raises, whatever the bytes: they came from a stranger.
    """
    try:
        kind = filetype.guess(bytes(head[:HEAD_BYTES]))
    except Exception:  # a matcher that stumbles over a cut-off head has simply not matched
        return ""
    return f".{kind.extension}" if kind is not None else ""
