"""`control.json`: where the API of the service on a state folder is, and the token for it.

The token is a secret; the file is readable by its owner alone, and no command line ever holds
it (hostile world, 26).  A service without an API leaves one that says so: without a url.
Not for: asking the API.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import msgspec
from msgspec import Struct

from peershare.state import replace_file

CONTROL_NAME = "control.json"
_MAX_BYTES = 4_096


class ControlFile(Struct, frozen=True):
    """What is in it; `url` has no path, `pid` is the service's process id."""

    url: str  # "" where the service has no API
    token: str
    pid: int


def no_api(pid: int) -> ControlFile:
    """What a service without an API leaves."""
    return ControlFile("", "", pid)


def write_control_file(state: Path, control: ControlFile) -> None:
    """Put it into the state folder.  Raises `StorageError`."""
    replace_file(state / CONTROL_NAME, msgspec.json.encode(control) + b"\n")


def read_control_file(state: Path) -> ControlFile | None:
    """What is in the state folder; None if there is none, or none that tells where an API is."""
    found = _read(state)
    return found if found is not None and found.url else None


def read_no_api(state: Path) -> int | None:
    """The process id of the service that runs here without an API, if that is what it says."""
    found = _read(state)
    return found.pid if found is not None and not found.url else None


def _read(state: Path) -> ControlFile | None:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(state / CONTROL_NAME, flags), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            return msgspec.json.decode(file.read(_MAX_BYTES), type=ControlFile)
    except (OSError, msgspec.DecodeError):
        return None


def remove_control_file(state: Path, control: ControlFile) -> None:
    """Remove it if it still is the one that was written."""
    if _read(state) == control:
        (state / CONTROL_NAME).unlink(missing_ok=True)
