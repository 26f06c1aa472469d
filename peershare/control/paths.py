"""Paths as JSON takes them: as they are, or as `file` URIs where they are no UTF-8.

Not for: judging them.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

_SCHEME = "file:"


def text_of(path: Path) -> str:
    """An absolute path as a text that any program can read and send."""
    text = str(path)
    try:
        text.encode()
    except UnicodeEncodeError:
        return path.as_uri()
    return text


def path_of(text: str) -> Path:
    """The path that a text of `text_of`, or of a file manager, means; any other as it is.

    Raises ValueError for a URI that names no file of this machine.
    """
    if not text.lower().startswith(_SCHEME + "//"):
        return Path(text)
    parts = urlsplit(text)
    if parts.netloc not in ("", "localhost"):
        raise ValueError(f"{text} is on another machine")
    return Path(os.fsdecode(unquote_to_bytes(parts.path)))
