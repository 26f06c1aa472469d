"""The state folder: made private, owned by one service at a time, files replaced atomically.

Not for: what is in the files; that is known to whoever writes them.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from contextlib import suppress
from pathlib import Path

from peershare.errors import StateInUseError, StorageError

LOCK_NAME = "lock"
# Whoever starts a service tries so long to get the lock, so that a client's look stops nobody.
STARTING_SECONDS = 2.0
_RETRY_SECONDS = 0.05


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


def replace_file(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Put `data` (0600) in the place of `path`, whole or not at all.  Raises `StorageError`.

    `durable`: it survives a power loss from then on.
    """
    temporary = path.with_name(f".{path.name}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
        if durable:
            folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except OSError as error:
        raise StorageError(f"{path}: cannot write: {error.strerror}") from None


class StateLock:
    """The right to a state folder, held until `release` or the end of the process.

    A `flock` rather than a pid file: the kernel lets go of it on `kill -9` too.  It survives
    the fork of a daemonizing twistd; `claim` then writes the new pid for others to read.
    """

    def __init__(self, folder: Path, patience_seconds: float = 0.0) -> None:
        """Take it.  Raises `StateInUseError` with the owner's pid, `StorageError`.

        Whoever only looks whether it is held (`find_owner`) holds it for a moment: a service
        that starts tries again for `patience_seconds` (it blocks meanwhile).
        """
        make_private_folder(folder)
        self._path = folder / LOCK_NAME
        self._descriptor = -1
        deadline = time.monotonic() + patience_seconds
        while not self._take():
            if time.monotonic() >= deadline:
                owner = find_owner(folder) or "unknown"
                raise StateInUseError(
                    f"{folder} is in use by another peershare (pid {owner}); stop that one first,"
                    " or give this one its own --state"
                )
            time.sleep(_RETRY_SECONDS)
        self.claim()

    def _take(self) -> bool:
        """Open and lock it; False if another has it.  Raises `StorageError`."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._descriptor = os.open(self._path, flags, 0o600)
        except OSError as error:
            raise StorageError(f"{self._path}: cannot open: {error.strerror}") from None
        taken = False
        try:
            # what was locked may have been removed before it was
            taken = _lock(self._descriptor, fcntl.LOCK_EX, self._path) and self._stands()
        finally:
            if not taken:
                os.close(self._descriptor)
                self._descriptor = -1
        return taken

    def claim(self) -> None:
        """Write this process's id into the lock, for people; a full disk is no reason to stop."""
        with suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode("ascii"), 0)

    def stand(self) -> bool:
        """Worker: take it anew where its file or folder was removed; whether that was needed.

        Raises `StateInUseError` if somebody else has it by now, `StorageError`.
        """
        if self._descriptor < 0 or self._stands():
            return False
        anew = StateLock(self._path.parent)
        if self._descriptor < 0:  # it was released meanwhile
            anew.release()
            return False
        before, self._descriptor = self._descriptor, anew._descriptor
        os.close(before)
        return True

    def _stands(self) -> bool:
        try:
            return os.path.samestat(self._path.lstat(), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False
        except OSError as error:
            raise StorageError(f"{self._path}: cannot look at: {error.strerror}") from None

    def release(self) -> None:
        """Give it back; may be called twice."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with suppress(OSError):  # the pid only names the owner of a lock that is held
                os.ftruncate(descriptor, 0)
            os.close(descriptor)


def find_owner(folder: Path) -> int | None:
    """Who holds the lock of a state folder: its process id, 0 if it has not said; None if nobody.

    A process id in a file says nothing, as the number may be another process's by now; the lock
    is the kernel's word.  Raises `StorageError` where that cannot be told.
    """
    path = folder / LOCK_NAME
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StorageError(f"{path}: cannot open: {error.strerror}") from None
    try:
        return None if _lock(descriptor, fcntl.LOCK_SH, path) else _read_pid(descriptor)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, kind: int, path: Path) -> bool:
    """Lock it; False if another holds it.  Raises `StorageError` if it cannot be locked at all."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise StorageError(
            f"{path}: cannot lock: {error.strerror}; put the state folder (--state) on a file"
            " system with locks"
        ) from None
    return True


def _read_pid(descriptor: int) -> int:
    """The process id in a lock; 0 if there is none."""
    try:
        text = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
    except OSError:
        return 0
    return int(text) if re.fullmatch(r"\d{1,9}", text) else 0
