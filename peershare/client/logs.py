"""The log of an own node: into a file in the state folder, never onto the terminal.

A failure that nobody expected is one line for the user, who is told where the rest is.
Not for: the upload and download logs, which are the ledger's.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from twisted.logger import (
    ILogObserver,
    LogEvent,
    LogLevel,
    formatEvent,
    globalLogBeginner,
    textFileLogObserver,
)
from zope.interface import implementer

LOG_NAME = "peershare.log"
MAX_LOG_BYTES = 1024 * 1024


@implementer(ILogObserver)
class ClientLog:
    """Where log events of this process go."""

    def __init__(self, say: Callable[[str], None]) -> None:
        """`say` tells the user."""
        self._say = say
        self._path: Path | None = None
        self._file: TextIO | None = None
        self._observer: Callable[[LogEvent], None] | None = None

    def begin(self) -> None:
        """Get every event from now on, and those from before."""
        globalLogBeginner.beginLoggingTo([self], redirectStandardIO=False, discardBuffer=True)

    def open(self, state: Path) -> None:
        """Write into the state folder from now on; what cannot be opened is gone without."""
        if self._file is not None:
            return
        path = state / LOG_NAME
        try:
            if path.exists() and path.stat().st_size > MAX_LOG_BYTES:
                path.replace(path.with_name(f"{LOG_NAME}.1"))
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            self._file = os.fdopen(os.open(path, flags, 0o600), "a", encoding="utf-8")
        except OSError as error:
            self._say(f"no log of this node is kept: {path}: {error.strerror}")
            return
        self._path = path
        self._observer = textFileLogObserver(self._file)

    def close(self) -> None:
        """Write no more."""
        self._observer = None
        if self._file is not None:
            self._file.close()
            self._file = None

    def __call__(self, event: LogEvent) -> None:
        """Twisted: something was logged."""
        if self._observer is not None:
            self._observer(event)
        if event.get("log_level") is LogLevel.critical:
            where = f"; {self._path} has the details" if self._path is not None else ""
            failure = event.get("log_failure")
            cause = failure.getErrorMessage() if failure is not None else ""
            text = " ".join(f"{formatEvent(event)} {cause}".split())
            self._say(f"an internal error: {text}{where}")
