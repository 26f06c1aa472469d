"""The disks of a simulation: real files, behind calls that fail where and when the test says so.

Every call that touches a file (of `os`, `fcntl`, `open` and `sqlite3`) goes through here while a
`SimDisk` lives.  Calls below a watched folder are shown to the `watch`, which may let them fail.
Also what becomes of a process's open files when it is killed, and of bytes that were not made
durable when the power goes.  Not for: slow disks, or which call is to fail (`steps`).
"""

from __future__ import annotations

import builtins
import errno
import fcntl
import io
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import IO, Any, NamedTuple

from tests.faults.database import connection_class, database_path
from tests.faults.durable import Durable

_DESCRIPTORS = "/proc/self/fd"
_FAILING_WRITERS = ("pwrite", "pwritev", "splice", "fdatasync", "fsync")
_SYNCS = ("fdatasync", "fsync")
# which arguments name a file, by path or by descriptor
_WHERE = {
    os: {
        **dict.fromkeys(
            (
                *("open", "stat", "lstat", "chmod", "unlink", "remove", "mkdir", "rmdir"),
                *("listdir", "statvfs", "utime", "truncate", "readlink", "access"),
                *("read", "pread", "preadv", "readv", "write", "pwrite", "pwritev", "writev"),
                *("fsync", "fdatasync", "ftruncate", "fchmod", "fstat", "fstatvfs", "lseek"),
                *("posix_fallocate",),
            ),
            (0,),
        ),
        **dict.fromkeys(("link", "rename", "replace", "symlink", "splice"), (1, 0)),
        "sendfile": (1,),
        "copy_file_range": (1, 0),
    },
    fcntl: dict.fromkeys(("flock", "fcntl", "ioctl"), (0,)),
}
_DIR_FDS = ("dir_fd", "dst_dir_fd", "src_dir_fd")
_SETS = (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks)


class Call(NamedTuple):
    """One call that is about to be made."""

    name: str
    where: str  # the path it is about
    writes: bool  # whether a disk that is full, or read-only, is in its way
    arguments: tuple[Any, ...] = ()


class SimDisk:
    """Stands before what touches files from its making until `restore`.

    `watch`, if set, is shown each call below the `watched` folder; it raises what the call is to
    fail with, or answers True for a call that is to do only half of what it was asked to.
    """

    def __init__(self) -> None:
        self.watch: Callable[[Call], bool] | None = None
        self.watched: Path | None = None
        self.durable: Durable | None = None
        self._quiet = threading.local()  # what this thread does is nobody's operation
        self._failing: dict[str, int] = {}  # folder -> error number
        self._undo: list[Callable[[], None]] = []
        self._dead: set[int] = set()
        # by file (device, inode): what was written since it was made durable, (offset, length)
        self._at_risk: dict[tuple[int, int], list[tuple[int, int]]] = {}
        self._stat, self._readlink, self._listdir = os.stat, os.readlink, os.listdir
        for module, names in _WHERE.items():
            for name, indices in names.items():
                self._put(module, name, self._guarded(name, getattr(module, name), indices))
        self._put(os, "scandir", self._scanning(os.scandir))
        opening = self._opening(io.open)
        self._put(io, "open", opening)
        self._put(builtins, "open", opening)
        self._put(sqlite3, "connect", self._connecting(sqlite3.connect))

    def _put(self, module: Any, name: str, function: Callable[..., Any]) -> None:
        real = getattr(module, name)
        self._undo.append(lambda: setattr(module, name, real))
        setattr(module, name, function)
        for functions in _SETS:  # `shutil` and others look there
            if real in functions:
                functions.add(function)
                self._undo.append(lambda functions=functions: functions.discard(function))

    def restore(self) -> None:
        """Everything is as it was; the files of killed processes are closed."""
        while self._undo:
            self._undo.pop()()
        for descriptor in self._dead:
            os.close(descriptor)
        self._dead.clear()

    # -- a disk that fails for a while

    def fail(self, folder: Path, number: int) -> None:
        """Writing anything below this folder fails with this error from now on."""
        self._failing[f"{folder}/"] = number

    def mend(self, folder: Path) -> None:
        """It does not any more."""
        self._failing.pop(f"{folder}/", None)

    # -- the end of a process, and of the power

    def drop_descriptors(self, folder: Path) -> None:
        """Whoever had files below this folder open is dead.

        Their numbers stay taken until the end: objects of the dead may still close them.
        """
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for descriptor in self._open():
            if self._path(descriptor).startswith(f"{folder}/"):
                os.dup2(null, descriptor, inheritable=False)
                self._dead.add(descriptor)
        os.close(null)

    def open_below(self, folder: Path) -> list[str]:
        """Which files below this folder are open."""
        paths = [self._path(descriptor) for descriptor in self._open()]
        return sorted(path for path in paths if path.startswith(f"{folder}/"))

    def _open(self) -> list[int]:
        return [int(name) for name in self._listdir(_DESCRIPTORS)]

    def keep_durable(self, folder: Path) -> None:
        """Note from now on what below this folder a power cut would leave."""
        self.durable = Durable(folder)

    def power_cut(self) -> None:
        """Only what was made durable is left: bytes by an fsync, names by one of their folder."""
        if self.durable is None:
            raise ValueError("nobody noted what is durable")
        with self.quiet():
            self.durable.cut()

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

    # -- what stands before the calls

    def _guarded(
        self, name: str, function: Callable[..., Any], indices: tuple[int, ...]
    ) -> Callable[..., Any]:
        """The function, which is shown to the watch, and fails where the disk does."""

        def guarded(*arguments: Any, **keywords: Any) -> Any:
            if name in _FAILING_WRITERS and self._failing:
                self._fail_writer(arguments[indices[0]])
            half = False
            if self.watch is not None:
                where = self._below_watched(arguments, indices, keywords)
                if where:
                    writes = _writes(name, arguments, keywords)
                    half = self.watch(Call(name, where, writes, arguments))
            if half:
                arguments = _halved(name, arguments)
            result = function(*arguments, **keywords)
            return self._afterwards(name, arguments, result)

        return guarded

    def _fail_writer(self, descriptor: int) -> None:
        number = self._error(descriptor)
        if number:
            raise OSError(number, os.strerror(number))

    def _afterwards(self, name: str, arguments: tuple[Any, ...], result: Any) -> Any:
        if name == "pwrite":
            written = self._at_risk.setdefault(_file(self._stat(arguments[0])), [])
            written.append((arguments[2], result))
        elif name in _SYNCS:
            self._at_risk.pop(_file(self._stat(arguments[0])), None)
            if self.durable is not None:
                with self.quiet():
                    self.durable.synced(arguments[0])
        elif name == "fstatvfs" and self._failing and self._error(arguments[0]) == errno.ENOSPC:
            fields = list(result)
            fields[3] = fields[4] = 0  # free blocks, those for users
            return os.statvfs_result(fields)
        return result

    def _scanning(self, scandir: Callable[..., Any]) -> Callable[..., Any]:
        """`os.scandir`, whose entries' `stat` is a call, too."""

        def scanning(path: Any = ".") -> Any:
            where = self._below_watched((path,), (0,), {}) if self.watch is not None else ""
            if not where:
                return scandir(path)
            self._show("scandir", where)
            return _Entries(self, scandir(path))

        return scanning

    def _opening(self, real: Callable[..., Any]) -> Callable[..., Any]:
        """`open`, whose file asks before each read and write."""

        def opening(file: Any, mode: str = "r", *arguments: Any, **keywords: Any) -> Any:
            where = self._below_watched((file,), (0,), {}) if self.watch is not None else ""
            if not where:
                return real(file, mode, *arguments, **keywords)
            return _open_hooked(self, where, file, mode, *arguments, **keywords)

        return opening

    def _connecting(self, connect: Callable[..., sqlite3.Connection]) -> Callable[..., Any]:
        """`sqlite3.connect`: every database may come to be watched."""

        def connecting(database: Any, *arguments: Any, **keywords: Any) -> Any:
            path = database_path(database)
            if self.is_watched(path):
                self._show("connect", path, writes=True)
            keywords.setdefault("factory", connection_class(self, path))
            return connect(database, *arguments, **keywords)

        return connecting

    # -- what they ask

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """What this thread does inside is not shown to the watch: a test looks at files."""
        before = getattr(self._quiet, "on", False)
        self._quiet.on = True
        try:
            yield
        finally:
            self._quiet.on = before

    def is_watched(self, path: str) -> bool:
        """Whether calls about this path are shown to the watch."""
        if self.watch is None or self.watched is None or getattr(self._quiet, "on", False):
            return False
        return f"{path}/".startswith(f"{self.watched}/")

    def _show(self, name: str, where: str, *, writes: bool = False) -> bool:
        return self.watch is not None and self.watch(Call(name, where, writes))

    def ask(self, name: str, where: str, *, writes: bool) -> bool:
        """Show a call of a file object or a database to the watch, if it is below its folder."""
        return self.is_watched(where) and self._show(name, where, writes=writes)

    def _below_watched(
        self, arguments: tuple[Any, ...], indices: tuple[int, ...], keywords: dict[str, Any]
    ) -> str:
        """The first path that the watch is to see, "" if there is none."""
        folder = next((keywords[k] for k in _DIR_FDS if keywords.get(k) is not None), None)
        for index in indices:
            if index < len(arguments):
                path = self._path(arguments[index], folder)
                if self.is_watched(path):
                    return path
        return ""

    def _error(self, descriptor: int) -> int:
        path = self._path(descriptor)
        return next((n for folder, n in self._failing.items() if path.startswith(folder)), 0)

    def _path(self, file: Any, folder: int | None = None) -> str:
        """The absolute path of a descriptor, or of a path as `os` takes it; "" if there is none."""
        try:
            if isinstance(file, int):
                return self._readlink(f"{_DESCRIPTORS}/{file}")
            if hasattr(file, "fileno"):
                return self._path(file.fileno())
            path = os.fsdecode(file)
            if path.startswith(f"{_DESCRIPTORS}/"):
                return self._readlink(path)
            if not path.startswith("/"):
                path = f"{self._path(folder) if folder is not None else Path.cwd()}/{path}"
        except (OSError, TypeError, ValueError):
            return ""
        return path


class _Entries:
    """What `os.scandir` gives, below a watched folder."""

    def __init__(self, disk: SimDisk, entries: Any) -> None:
        self._disk = disk
        self._entries = entries

    def __enter__(self) -> _Entries:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> _Entries:
        return self

    def __next__(self) -> Any:
        return _Entry(self._disk, next(self._entries))

    def close(self) -> None:
        self._entries.close()


class _Entry:
    """An entry of a folder: to look at the file behind it is a call."""

    def __init__(self, disk: SimDisk, entry: os.DirEntry[str]) -> None:
        self._disk = disk
        self._entry = entry

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        self._disk.ask("stat", self._entry.path, writes=False)
        return self._entry.stat(follow_symlinks=follow_symlinks)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._entry, name)

    def __fspath__(self) -> str:
        return self._entry.path


class _HookedFile(io.FileIO):
    """A file object below a watched folder."""

    disk: SimDisk
    where: str

    def readinto(self, buffer: Any) -> Any:
        view = memoryview(buffer).cast("B")
        if self.disk.ask("read", self.where, writes=False):
            view = view[: max(1, len(view) // 2)]
        return super().readinto(view)

    def read(self, size: int | None = -1) -> Any:
        self.disk.ask("read", self.where, writes=False)
        return super().read(-1 if size is None else size)

    def readall(self) -> Any:
        self.disk.ask("read", self.where, writes=False)
        return super().readall()

    def write(self, data: Any) -> Any:
        view = memoryview(data).cast("B")
        if self.disk.ask("write", self.where, writes=True):
            view = view[: max(1, len(view) // 2)]
        return super().write(view)


def _open_hooked(
    disk: SimDisk,
    where: str,
    file: Any,
    mode: str,
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: Callable[[str, int], int] | None = None,
) -> IO[Any]:
    """What `open` does, with a raw file that asks."""
    opener = opener or (lambda path, flags: os.open(path, flags, 0o666))
    raw_mode = mode.replace("b", "").replace("t", "")
    raw = _HookedFile(file, raw_mode, closefd, None if isinstance(file, int) else opener)
    raw.disk, raw.where = disk, where
    if buffering == 0:
        return raw
    made: Any
    if "+" in raw_mode:
        made = io.BufferedRandom(raw)
    elif "r" in raw_mode:
        made = io.BufferedReader(raw)
    else:
        made = io.BufferedWriter(raw)
    if "b" not in mode:
        made = io.TextIOWrapper(made, encoding, errors, newline, buffering == 1)
        made.mode = mode
    return made


def _file(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


_WRITERS = frozenset(
    (
        *("chmod", "unlink", "remove", "mkdir", "rmdir", "utime", "truncate", "write", "pwrite"),
        *("pwritev", "writev", "fsync", "fdatasync", "ftruncate", "fchmod", "posix_fallocate"),
        *("link", "rename", "replace", "symlink", "splice", "copy_file_range", "ioctl"),
    )
)


def _writes(name: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> bool:
    if name == "open":
        flags = keywords.get("flags", arguments[1] if len(arguments) > 1 else 0)
        return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    return name in _WRITERS


# which argument says how much, of the calls that may do less than they were asked to
_AMOUNT = {"read": 1, "pread": 1, "splice": 2, "sendfile": 3, "copy_file_range": 2}


def _halved(name: str, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments for half of the work; the same where that cannot be said."""
    changed = list(arguments)
    if name in _AMOUNT:
        index = _AMOUNT[name]
        changed[index] = max(1, changed[index] // 2)
    elif name in ("write", "pwrite"):
        view = memoryview(changed[1]).cast("B")
        changed[1] = view[: max(1, len(view) // 2)]
    elif name in ("writev", "pwritev", "readv", "preadv"):
        view = memoryview(changed[1][0]).cast("B")
        changed[1] = [view[: max(1, len(view) // 2)]]
    return tuple(changed)
