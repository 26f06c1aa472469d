"""Opening and naming files without being fooled or losing anything.

What was checked is what is served: a file is opened once, without following links or waiting
for a FIFO, and everything is asked of that descriptor (hostile world, 9).  A final name is
never given over an existing file (10).  Not for: deciding which file.
"""

from __future__ import annotations

import errno
import filecmp
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from peershare.content.names import folded, split_name
from peershare.errors import LASTING, StorageError

_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Identity(Struct, frozen=True, gc=False):
    """What a file is known by; another size or time means that its bytes may differ."""

    device: int
    inode: int
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Identity:
        """From a stat result."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


@contextmanager
def storage_errors(path: Path | str, doing: str) -> Iterator[None]:
    """Turn an `OSError` inside into a `StorageError` that names the path and the deed.

    So is a name for which the locale of this process has no bytes.
    """
    try:
        yield
    except UnicodeEncodeError as error:
        problem = f"the locale writes names as {error.encoding}, which has not all of its letters"
        raise StorageError(f"{path}: cannot {doing}: {problem}") from error
    except OSError as error:
        raise StorageError(
            f"{path}: cannot {doing}: {error.strerror or error}", lasting=error.errno in LASTING
        ) from error


def open_regular(path: Path) -> int:
    """Open a regular file for reading and return its descriptor.  Raises `OSError`."""
    descriptor = os.open(path, _READ_FLAGS)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "this is no regular file", str(path))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def identity_of(path: Path) -> Identity | None:
    """The identity of a regular file, None if there is none (links are not followed)."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return Identity.of(status) if stat.S_ISREG(status.st_mode) else None


def may_be(path: Path, identity: Identity) -> bool:
    """Whether this file lies there; also where that cannot be seen, for a disk that fails."""
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return stat.S_ISREG(status.st_mode) and Identity.of(status) == identity


def free_bytes(folder: Path) -> int:
    """How much room there is on the file system of a folder; 0 where that cannot be told."""
    try:
        room = os.statvfs(folder)
    except OSError:
        return 0
    return room.f_bavail * room.f_frsize


def sync_folder(path: Path) -> None:
    """Make the names in a folder survive a power loss.  Raises `OSError`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def place_at_free_name(
    folder: Path, wanted: str, source: Path, place: Callable[[Path, Path], None]
) -> Path:
    """Give `source` the name `wanted` in `folder`, or `name (2).ext` … where it is taken.

    A name that differs only by case or Unicode normalisation is taken too.  Where the taken
    name is the same file, or one with the same bytes, that path is the answer and nothing is
    placed.  `place(source, target)` must fail with FileExistsError rather than overwrite.
    Raises `OSError`.
    """
    stem, extension = split_name(wanted)
    taken: dict[str, str] = {}
    for path in folder.iterdir():
        taken.setdefault(folded(path.name), path.name)
    for number in range(1, 10_000):
        name = wanted if number == 1 else f"{stem} ({number}){extension}"
        existing = taken.get(folded(name))
        if existing is None:
            try:
                place(source, folder / name)
            except FileExistsError:
                existing = name
            else:
                return folder / name
        if _same_bytes(folder / existing, source):
            return folder / existing
    raise OSError(errno.EEXIST, "there are 10,000 files of this name", str(folder / wanted))


def move_without_overwriting(source: Path, target: Path) -> None:
    """Rename within one file system; FileExistsError if the target exists."""
    try:
        os.link(source, target, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:
        # no hard links here (FAT): hold the name with an empty file of our own, replace that
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        source.replace(target)
    else:
        source.unlink()


def _same_bytes(existing: Path, source: Path) -> bool:
    """Whether two regular files hold the same bytes (or are one file)."""
    ours, theirs = identity_of(source), identity_of(existing)
    if ours is None or theirs is None or ours.size != theirs.size:
        return False
    same_file = (ours.device, ours.inode) == (theirs.device, theirs.inode)
    return same_file or filecmp.cmp(existing, source, shallow=False)
