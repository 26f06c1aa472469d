"""The disks of a simulation: real files, whose writes fail where and when the test says so.

Also what becomes of a process's open files when it is killed, and of bytes that were not made
durable when the power goes.  Not for: slow disks, or what is not written by `os.pwrite`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

_DESCRIPTORS = Path("/proc/self/fd")
_WRITERS = ("pwrite", "pwritev", "splice", "fdatasync", "fsync")
_SYNCS = ("fdatasync", "fsync")


class SimDisk:
    """Stands before some functions of `os` from its making until `restore`."""

    def __init__(self) -> None:
        self._failing: dict[str, int] = {}  # folder -> error number
        self._real: dict[str, Callable[..., Any]] = {n: getattr(os, n) for n in _WRITERS}
        self._fstatvfs = os.fstatvfs
        self._dead: set[int] = set()
        # by file (device, inode): what was written since it was made durable, (offset, length)
        self._at_risk: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for name, function in self._real.items():
            setattr(os, name, self._guarded(function, 1 if name == "splice" else 0))
        for name in _SYNCS:
            setattr(os, name, self._syncing(getattr(os, name)))
        os.pwrite = self._noting(os.pwrite)
        os.fstatvfs = self._room

    def restore(self) -> None:
        """Everything is as it was; the files of killed processes are closed."""
        for name, function in self._real.items():
            setattr(os, name, function)
        os.fstatvfs = self._fstatvfs
        for descriptor in self._dead:
            os.close(descriptor)
        self._dead.clear()

    def fail(self, folder: Path, number: int) -> None:
        """Writing anything below this folder fails with this error from now on."""
        self._failing[f"{folder}/"] = number

    def mend(self, folder: Path) -> None:
        """It does not any more."""
        self._failing.pop(f"{folder}/", None)

    def drop_descriptors(self, folder: Path) -> None:
        """Whoever had files below this folder open is dead.

        Their numbers stay taken until the end: objects of the dead may still close them.
        """
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for descriptor in self._open():
            if self._where(descriptor).startswith(f"{folder}/"):
                os.dup2(null, descriptor, inheritable=False)
                self._dead.add(descriptor)
        os.close(null)

    def open_below(self, folder: Path) -> list[str]:
        """Which files below this folder are open."""
        paths = [self._where(descriptor) for descriptor in self._open()]
        return sorted(path for path in paths if path.startswith(f"{folder}/"))

    def _open(self) -> list[int]:
        return [int(path.name) for path in _DESCRIPTORS.iterdir()]

    def lose_power(self, folder: Path, random: Random) -> None:
        """Of what was written below this folder and not made durable, some comes out as zeros."""
        files = sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
        for path in files:
            for offset, length in self._at_risk.pop(_file(path.stat()), ()):
                room = min(length, path.stat().st_size - offset)
                if random.random() < 0.5 and room > 0:
                    with path.open("r+b") as file:
                        file.seek(offset)
                        file.write(bytes(room))

    def _noting(self, write: Callable[..., int]) -> Callable[..., int]:
        def noting(descriptor: int, data: Any, offset: int) -> int:
            count = write(descriptor, data, offset)
            self._at_risk.setdefault(_file(os.fstat(descriptor)), []).append((offset, count))
            return count

        return noting

    def _syncing(self, sync: Callable[[int], None]) -> Callable[[int], None]:
        def syncing(descriptor: int) -> None:
            sync(descriptor)
            self._at_risk.pop(_file(os.fstat(descriptor)), None)

        return syncing

    def _guarded(self, function: Callable[..., Any], which: int) -> Callable[..., Any]:
        """The function, which fails where the disk of its descriptor does."""

        def guarded(*arguments: Any, **keywords: Any) -> Any:
            if self._failing:
                number = self._error(arguments[which])
                if number:
                    raise OSError(number, os.strerror(number))
            return function(*arguments, **keywords)

        return guarded

    def _room(self, descriptor: int) -> os.statvfs_result:
        told = self._fstatvfs(descriptor)
        if not self._failing or self._error(descriptor) != errno.ENOSPC:
            return told
        fields = list(told)
        fields[3] = fields[4] = 0  # free blocks, those for users
        return os.statvfs_result(fields)

    def _error(self, descriptor: int) -> int:
        path = self._where(descriptor)
        return next((n for folder, n in self._failing.items() if path.startswith(folder)), 0)

    def _where(self, descriptor: int) -> str:
        try:
            return str((_DESCRIPTORS / str(descriptor)).readlink())
        except OSError:
            return ""


def _file(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
