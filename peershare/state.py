"""The state folder: made private, owned by one service at a time, files replaced atomically.

Not for: what is in the files; that is known to whoever writes them.
"""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path

from peershare.errors import StateInUseError, StorageError

LOCK_NAME = "lock"


def make_private_folder(path: Path) -> None:
    """Make a folder (and its parents) readable by its owner alone, whatever the umask says.

    A folder that exists is left as it is.  Raises `StorageError`.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            if not path.is_dir():
                raise
    except OSError as error:
        raise StorageError(f"{path}: cannot make this folder: {error.strerror}") from None


def replace_file(path: Path, data: bytes) -> None:
    """Put `data` (0600) in the place of `path`, whole or not at all.  Raises `StorageError`."""
    temporary = path.with_name(f".{path.name}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(data)
        temporary.replace(path)
    except OSError as error:
        raise StorageError(f"{path}: cannot write: {error.strerror}") from None


class StateLock:
    """The right to a state folder, held until `release` or the end of the process.

    A `flock` rather than a pid file: the kernel lets go of it on `kill -9` too.  It survives
    the fork of a daemonizing twistd; `claim` then writes the new pid for others to read.
    """

    def __init__(self, folder: Path) -> None:
        """Take it.  Raises `StateInUseError` with the owner's pid, `StorageError`."""
        make_private_folder(folder)
        self._path = folder / LOCK_NAME
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._descriptor = os.open(self._path, flags, 0o600)
        except OSError as error:
            raise StorageError(f"{self._path}: cannot open: {error.strerror}") from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            pid = owner if re.fullmatch(r"\d+", owner) else "unknown"
            raise StateInUseError(
                f"{folder} is in use by another peershare (pid {pid}); stop that one first,"
                " or give this one its own --state"
            ) from None
        self.claim()

    def claim(self) -> None:
        """Write this process's id into the lock."""
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode("ascii"), 0)

    def release(self) -> None:
        """Give it back; may be called twice."""
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = -1
