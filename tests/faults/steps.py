"""The calls of one operation, counted; and what is made of the k-th.

Not for: how a call is caught (`disk`), or what must be true afterwards (`driver`).
"""

from __future__ import annotations

import errno
import os
import sqlite3
import sys
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from threading import RLock
from typing import NamedTuple

from tests.faults.disk import Call

_PACKAGE = "/peershare/"


class Death(BaseException):
    """The process is no more: no code of it may catch this."""


class Kind(Enum):
    """What becomes of a call."""

    EIO = "EIO"
    ENOSPC = "ENOSPC"
    EMFILE = "EMFILE"
    EROFS = "EROFS"
    SHORT = "half of it"
    LOCKED = "database locked"
    # this and every later call that it can meet, for a while
    BROKEN = "EIO for a while"
    FULL = "ENOSPC for a while"
    BUSY = "database locked for a while"
    # this and every later call: what is left is left for a new process
    DEATH = "death"
    POWER = "power cut"


ONCE = (Kind.EIO, Kind.ENOSPC, Kind.EMFILE, Kind.EROFS, Kind.SHORT, Kind.LOCKED)
LASTING = (Kind.BROKEN, Kind.FULL, Kind.BUSY)
DEADLY = (Kind.DEATH, Kind.POWER)

_DATABASE = ("connect", "execute", "executemany", "executescript", "commit", "fetchone", "fetchall")
_OPENING = ("open", "scandir", "listdir", "connect")
_AMOUNTS = (
    *("read", "pread", "preadv", "readv", "splice", "sendfile", "copy_file_range"),
    *("write", "pwrite", "writev", "pwritev"),
)
_NUMBERS = {
    Kind.EIO: errno.EIO,
    Kind.ENOSPC: errno.ENOSPC,
    Kind.EMFILE: errno.EMFILE,
    Kind.EROFS: errno.EROFS,
    Kind.BROKEN: errno.EIO,
    Kind.FULL: errno.ENOSPC,
}
_DATABASE_ERRORS = {
    Kind.EIO: ("disk I/O error", sqlite3.SQLITE_IOERR),
    Kind.BROKEN: ("disk I/O error", sqlite3.SQLITE_IOERR),
    Kind.ENOSPC: ("database or disk is full", sqlite3.SQLITE_FULL),
    Kind.FULL: ("database or disk is full", sqlite3.SQLITE_FULL),
    Kind.EMFILE: ("unable to open database file", sqlite3.SQLITE_CANTOPEN),
    Kind.EROFS: ("attempt to write a readonly database", sqlite3.SQLITE_READONLY),
    Kind.LOCKED: ("database is locked", sqlite3.SQLITE_BUSY),
    Kind.BUSY: ("database is locked", sqlite3.SQLITE_BUSY),
}


class Step(NamedTuple):
    """One call of an operation."""

    name: str
    where: str  # the path, below the watched folder
    writes: bool
    site: str  # the place in our sources that made it

    def meets(self, kind: Kind) -> bool:
        """Whether this can become of it."""
        if kind in (Kind.LOCKED, Kind.BUSY):
            return self.name in _DATABASE
        if kind is Kind.SHORT:
            return self.name in _AMOUNTS
        if kind is Kind.EMFILE:
            return self.name in _OPENING
        if kind in (Kind.ENOSPC, Kind.FULL, Kind.EROFS):
            return self.writes and self.name != "flock"
        return True


class Steps:
    """The watch of a disk: notes every call; the one at position `at` meets its `kind`.

    Positions count from 0.  `at` < 0: nothing happens to any.
    """

    def __init__(
        self,
        folder: Path,
        at: int = -1,
        kind: Kind = Kind.EIO,
        on_death: Callable[[], None] = lambda: None,
    ) -> None:
        self.steps: list[Step] = []
        self.struck = False  # the fault has come
        self.dead = False
        self._folder = folder
        self._at = at
        self._kind = kind
        self._lock = RLock()
        self._lifted = False
        self._on_death = on_death

    def lift(self) -> None:
        """All is well again."""
        self._lifted = True

    def __call__(self, call: Call) -> bool:
        """A call is about to be made: raise what it meets; True if half of it is to be done."""
        with self._lock:
            if self.dead:
                raise Death
            step = Step(call.name, self._shown(call.where), call.writes, _site())
            self.steps.append(step)
            if self._lifted or not self._is_struck(step):
                return False
            self.struck = True
            if self._kind in DEADLY:
                self._on_death()
                self.dead = True
                raise Death
            if self._kind is Kind.SHORT:
                return True
            raise self._error(step)

    def _is_struck(self, step: Step) -> bool:
        position = len(self.steps) - 1
        if self._kind in LASTING:
            return 0 <= self._at <= position and step.meets(self._kind)
        return position == self._at

    def _error(self, step: Step) -> Exception:
        if step.name in _DATABASE:
            text, code = _DATABASE_ERRORS[self._kind]
            error = sqlite3.OperationalError(text)
            error.sqlite_errorcode = code
            return error
        number = _NUMBERS[self._kind]
        return OSError(number, os.strerror(number), step.where)

    def _shown(self, where: str) -> str:
        return where.removeprefix(f"{self._folder}/") or "."


def _site() -> str:
    """The innermost place in our own sources that is on its way down to this call."""
    frame = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if _PACKAGE in name and "/tests/" not in name:
            return f"{name.rsplit(_PACKAGE, 1)[1]}:{frame.f_lineno} {frame.f_code.co_qualname}"
        frame = frame.f_back  # type: ignore[assignment]
    return ""
