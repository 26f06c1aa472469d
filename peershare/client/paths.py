"""Paths as the user types them on this machine.  Not for: names of contents."""

from __future__ import annotations

import os
from pathlib import Path

from peershare.client.outcome import ClientError, ExitStatus
from peershare.control.paths import path_of


def absolute(text: str) -> Path:
    """The absolute path that is meant; `~` is the home folder, symlinks are kept.

    A `file` URI, as file managers hand them over, is one too.  Raises `ClientError`.
    """
    try:
        path = path_of(text).expanduser()
    except (ValueError, RuntimeError) as error:  # another machine; no such user
        raise ClientError(str(error), ExitStatus.USAGE) from None
    try:
        return Path(os.path.abspath(path))  # noqa: PTH100 - keeps symlinks
    except FileNotFoundError:
        raise ClientError(f"{path}: the folder you are in is gone", ExitStatus.USAGE) from None


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
