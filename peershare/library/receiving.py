"""Receiving: a file whose bytes come from somewhere else, on its way into the share folder.

It is written to a hidden temporary file that no scan sees, made durable, and then given its name
or a free one beside it: nothing is ever overwritten.  Not for: where the bytes come from.
"""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack, suppress
from pathlib import Path

from peershare.content.names import safe_file_name
from peershare.errors import StorageError
from peershare.library.files import COPY_NAME, OpenFolder, name_file, set_mode, storage_errors
from peershare.library.parts import FINAL_MODE, PART_FOLDER
from peershare.library.sharing import (
    TEMPORARY,
    Shared,
    check_room,
    make_temporary,
    private_folder,
)


class ReceivedFile:
    """One file; `write` may run in a worker, one at a time, as `finish` does.

    `abort` may come from another thread meanwhile, and never waits.
    """

    def __init__(self, share: Path, name: str, size: int | None) -> None:
        """`size` in bytes, where it is known.  Raises `BadNameError`, `StorageError`."""
        self.name = safe_file_name(name)
        self.size = size
        self.received = 0
        self._share = share
        self._using = threading.Lock()
        self._unwanted = False
        self._descriptor = -1
        self._open: ExitStack = ExitStack()  # of folders
        try:
            with storage_errors(share, "write into the share folder"):
                self._folder = self._open.enter_context(OpenFolder(share))
                private = self._open.enter_context(private_folder(self._folder))
                if size is not None:
                    check_room(private, size)
                self._descriptor, self._own = make_temporary(private, TEMPORARY[1])
        except BaseException:
            self._open.close()
            raise

    def write(self, data: bytes) -> None:
        """Take the next bytes.  Raises `StorageError`: then nothing is kept."""
        try:
            with self._using:
                self._write(data)
        except BaseException:
            self.abort()
            raise
        self._let_go()

    def _write(self, data: bytes) -> None:
        if self._unwanted:
            raise StorageError(f"{self.name}: it was given up, nothing more is taken")
        self.received += len(data)
        if self.size is not None and self.received > self.size:
            raise StorageError(f"{self.name}: more came than the {self.size} bytes that were said")
        view = memoryview(data)
        with storage_errors(self._share, "write into the share folder"):
            while view:
                view = view[os.write(self._descriptor, view) :]

    def finish(self) -> Shared:
        """Worker: make it durable, give it its name.  Raises `StorageError`: nothing is kept."""
        try:
            with self._using:
                return self._finish()
        finally:
            self.abort()

    def _finish(self) -> Shared:
        if self._unwanted:
            raise StorageError(f"{self.name}: it was given up, there is nothing to finish")
        if self.size is not None and self.received != self.size:
            raise StorageError(
                f"{self.name}: {self.received} bytes came of the {self.size} that were said"
            )
        with storage_errors(self._share, "write into the share folder"):
            set_mode(self._descriptor, FINAL_MODE)
            os.fsync(self._descriptor)
            placed = name_file(self._folder, self.name, self._descriptor, self._own)
            self._folder.sync()
            path = self._folder.path / placed.name
        return Shared(path, "already there" if placed.before else "received")

    def abort(self) -> None:
        """Keep nothing that has not got its name; may be called at any time."""
        self._unwanted = True
        self._let_go()

    def _let_go(self) -> None:
        """Close it if it is unwanted; whoever uses it right now does so afterwards."""
        if self._unwanted and self._using.acquire(blocking=False):
            descriptor, self._descriptor = self._descriptor, -1
            if descriptor >= 0:
                with suppress(OSError):  # the next start sweeps it
                    self._own.folder.unlink(self._own.name, descriptor)
                with suppress(OSError):
                    os.close(descriptor)
                self._open.close()
            self._using.release()


def sweep(share: Path, before: float) -> None:
    """Worker: remove what an earlier run was receiving or copying when it was killed.

    `before` is Unix time: what was written since may belong to another node on this folder.
    """
    left: list[Path] = []
    with suppress(OSError):  # the next start does it
        for suffix in TEMPORARY:
            left += (share / PART_FOLDER).glob(f"*{suffix}")
        left += share.glob(COPY_NAME.format("*"))
    for path in left:
        with suppress(OSError):
            if path.lstat().st_mtime < before:
                path.unlink()
