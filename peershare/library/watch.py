"""Noticing changes in the share folder: watchfiles where it can watch, a scan where it cannot.

`FolderWatch` only says *that* something happened, from a thread of its own; what happened is
found by scanning.  Not for: reading files.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from twisted.logger import Logger
from watchfiles import watch


class FolderWatch:
    """Calls `changed` (in its own thread) after changes in a folder, while it can watch it."""

    _log = Logger()

    def __init__(self, folder: Path, changed: Callable[[], None]) -> None:
        self._folder = folder
        self._changed = changed
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._watched: tuple[int, int] | None = None

    @property
    def working(self) -> bool:
        """Whether changes are being watched; if not, the caller scans by the clock.

        A folder that was replaced, or that something was mounted on, is not the watched one.
        """
        alive = self._thread is not None and self._thread.is_alive()
        return alive and self._watched is not None and self._watched == self._place()

    def start(self) -> None:
        """Begin to watch."""
        self._watched = self._place()
        self._thread = threading.Thread(
            target=self._run, name=f"watch {self._folder.name}", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End; the thread is gone within a moment, nobody waits for it."""
        self._stop.set()

    def _place(self) -> tuple[int, int] | None:
        """Which folder it is that has the name now, None if there is none."""
        try:
            status = self._folder.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _run(self) -> None:
        try:
            # a short debounce: a file that comes in one rename should be offered at once
            for _ in watch(
                self._folder,
                watch_filter=None,
                debounce=200,
                step=50,
                stop_event=self._stop,
                rust_timeout=500,
                recursive=False,
                raise_interrupt=False,
            ):
                self._changed()
        except Exception as error:
            self._log.warn(
                "{folder} cannot be watched ({error}), it is scanned instead",
                folder=str(self._folder),
                error=error,
            )
        finally:
            self._watched = None
            if not self._stop.is_set():
                self._changed()  # have it scanned, for what was missed and from now on
