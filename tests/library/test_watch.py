"""Noticing changes: in a thread of its own, and honest about whether it works."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from peershare.library.watch import FolderWatch

PATIENCE_SECONDS = 10.0


class WatchTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir(parents=True)
        self.noticed = threading.Event()
        self.watch = FolderWatch(self.folder, self.noticed.set)
        self.addCleanup(self.watch.stop)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)

    def start(self) -> None:
        """Start; a watch is only sure to see what happens once it has seen something."""
        self.watch.start()

        def seen() -> bool:
            (self.folder / "first").touch()
            (self.folder / "first").unlink()
            return self.noticed.wait(0.1)

        self.wait_until(seen)
        while self.noticed.wait(0.5):
            self.noticed.clear()

    def test_notices_and_stops(self) -> None:
        """A new file is noticed; a stopped watch's thread ends by itself."""
        self.assertFalse(self.watch.working)
        self.start()
        self.assertTrue(self.watch.working)
        (self.folder / "forest.png").write_bytes(b"data")
        self.assertTrue(self.noticed.wait(PATIENCE_SECONDS))
        self.watch.stop()
        self.wait_until(lambda: not self.watch.working)

    def test_a_folder_that_was_replaced(self) -> None:
        """The watch does not see the new folder of that name, and says so."""
        self.start()
        self.folder.rename(self.folder.with_name("former"))
        self.assertFalse(self.watch.working)
        self.folder.mkdir()
        self.assertFalse(self.watch.working)

    def test_a_folder_that_is_not_there(self) -> None:
        """It cannot be watched; the caller scans instead."""
        watch = FolderWatch(self.folder / "gone", self.noticed.set)
        self.addCleanup(watch.stop)
        watch.start()
        self.assertFalse(watch.working)

    def test_a_name_that_is_not_utf8(self) -> None:
        """It may end the watching, but then a scan is asked for, and that is no secret."""
        self.start()
        os.close(os.open(os.fsencode(self.folder) + b"/bad\xff.txt", os.O_CREAT | os.O_WRONLY))
        self.assertTrue(self.noticed.wait(PATIENCE_SECONDS))
        self.noticed.clear()
        (self.folder / "next").touch()
        self.wait_until(lambda: self.noticed.is_set() or not self.watch.working)
