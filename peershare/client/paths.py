"""Paths as the user types them on this machine.  Not for: names of contents."""

from __future__ import annotations

import os
from pathlib import Path


def absolute(text: str) -> Path:
    """The absolute path that is meant; `~` is the home folder, symlinks are kept."""
    return Path(os.path.abspath(Path(text).expanduser()))  # noqa: PTH100 - keeps symlinks


def completions(begun: str) -> list[str]:
    """The paths that begin so, spelled as begun; folders end in a slash."""
    head, slash, tail = begun.rpartition("/")
    try:
        entries = sorted(Path(head + slash).expanduser().iterdir())
    except (OSError, RuntimeError):
        return []
    return [
        head + slash + entry.name + ("/" if entry.is_dir() else "")
        for entry in entries
        if entry.name.startswith(tail) and (tail or not entry.name.startswith("."))
    ]
