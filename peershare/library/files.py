"""Opening and naming files without being fooled or losing anything.

What was checked is what is served: a file is opened once, without following links or waiting
for a FIFO, and everything is asked of that descriptor (hostile world, 9).  A final name is
never given over an existing file (10), and to nothing but the descriptor that was checked (28):
as a hard link to it; on a file system without links by a rename that does not overwrite and is
looked at afterwards.  Folders are held open: what is done in one is done in that one, whatever
its path leads to by now.  Not for: deciding which file.
"""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import Struct

from peershare.content.names import folded, split_name
from peershare.errors import LASTING, StorageError

_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_COPY_BYTES = 1 << 20
# What a copy is called until it has its name: hidden in its folder.
COPY_NAME = ".peershare-{}.copy"
# How a file system (FAT, CIFS, FUSE), or the system's rules for links to files of other owners
# (`protected_hardlinks`), say that there will be no hard link; a file may also have too many,
# or lie on another file system (for which some bind mounts pass).
NO_LINKS = frozenset(
    (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL, errno.EXDEV)
)
# How a file system says that it does not know such a thing at all.
_UNKNOWN_THERE = frozenset((errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS))
_NO_MODES = _UNKNOWN_THERE | {errno.EPERM}
# What is wrong with us, or only now, says nothing about a file.
_NOT_THE_FILE = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM))


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
    status = status_of(path)
    return None if status is None else Identity.of(status)


def status_of(path: Path) -> os.stat_result | None:
    """What is known of a regular file, None if there is none (links are not followed)."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None


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
    with OpenFolder(path) as folder:
        folder.sync()


def set_mode(descriptor: int, mode: int) -> None:
    """Set the mode of a file, where files have one (not on CIFS, NTFS, FAT).  Raises `OSError`."""
    try:
        os.fchmod(descriptor, mode)
    except OSError as error:
        if error.errno not in _NO_MODES:
            raise


class OpenFolder:
    """A folder that is held open until `close`: names are given and taken in it and in no other."""

    def __init__(self, path: Path, parent: OpenFolder | None = None) -> None:
        """Open it; in `parent`, `path` is a name, and no link is followed.  Raises `OSError`."""
        flags = _FOLDER_FLAGS | (os.O_NOFOLLOW if parent is not None else 0)
        dir_fd = None if parent is None else parent.descriptor
        self._path = path if parent is None else parent.path / path
        self.descriptor: int = os.open(path, flags, dir_fd=dir_fd)

    def __enter__(self) -> OpenFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def path(self) -> Path:
        """Where it is now: as it was called, unless that leads elsewhere.  Raises `OSError`."""
        with suppress(FileNotFoundError, NotADirectoryError):
            if os.path.samestat(self._path.stat(), os.fstat(self.descriptor)):
                return self._path
        with suppress(FileNotFoundError):  # no /proc
            return Path(f"/proc/self/fd/{self.descriptor}").readlink()
        return self._path

    @property
    def removed(self) -> bool:
        """Whether it has been removed, so that nothing can be put into it.  Raises `OSError`."""
        return not os.fstat(self.descriptor).st_nlink

    def lstat(self, name: str) -> os.stat_result:
        """What has this name.  Raises `OSError`."""
        return os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)

    def leads_to(self, name: str, descriptor: int) -> bool:
        """Whether the open file is what has this name.  Raises `OSError`."""
        try:
            return os.path.samestat(self.lstat(name), os.fstat(descriptor))
        except FileNotFoundError:
            return False

    def names(self) -> list[str]:
        """What is in it.  Raises `OSError`."""
        return os.listdir(self.descriptor)  # noqa: PTH208 - it is open already

    def create(self, name: str) -> int:
        """Make a file of our own (0600), open for reading and writing.  Raises `OSError`."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(name, flags, 0o600, dir_fd=self.descriptor)

    def unlink(self, name: str, descriptor: int) -> None:
        """Take this name from the open file, if it is the one that has it.  Raises `OSError`."""
        if self.leads_to(name, descriptor):
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self.descriptor)

    def sync(self) -> None:
        """Make its names survive a power loss, where that can be asked for.  Raises `OSError`."""
        try:
            os.fsync(self.descriptor)
        except OSError as error:
            if error.errno not in _UNKNOWN_THERE:
                raise

    def close(self) -> None:
        """Let go of it; may be called twice."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class Name(NamedTuple):
    """A name of an open file that is ours: to be had for a rename."""

    folder: OpenFolder
    name: str


class AstrayError(OSError):
    """The open file can have a name in that folder only as a copy.

    It has been unlinked, something else has its name by now, or it lies on another file system.
    """


def link_descriptor(descriptor: int, folder: OpenFolder, name: str) -> None:
    """Give the open file one more name.

    Raises `FileExistsError`, `AstrayError`, other `OSError`s: those of `NO_LINKS` where there
    are no hard links to it.
    """
    try:
        os.link(
            f"/proc/self/fd/{descriptor}",
            name,
            dst_dir_fd=folder.descriptor,
            follow_symlinks=True,  # from /proc to the file; `name` is never followed
        )
    except FileNotFoundError as error:
        if folder.removed:
            raise
        if not os.fstat(descriptor).st_nlink:
            raise AstrayError(errno.ESTALE, "it was removed meanwhile") from None
        raise OSError(errno.ENOSYS, "there is no /proc here to link an open file with") from error


def give_name(descriptor: int, folder: OpenFolder, name: str, own: Name) -> None:
    """Give an open file of ours this name; `own`, which it has, may be left.

    Raises `FileExistsError` rather than overwrite, `AstrayError`, other `OSError`s.
    """
    try:
        link_descriptor(descriptor, folder, name)
    except OSError as error:
        if isinstance(error, AstrayError) or error.errno not in NO_LINKS:
            raise
        _rename(descriptor, folder, name, own)


def _rename(descriptor: int, folder: OpenFolder, name: str, own: Name) -> None:
    """What `give_name` does where there are no hard links: a stranger's file gets no name."""
    if not own.folder.leads_to(own.name, descriptor):
        raise AstrayError(errno.ESTALE, "something else has its name by now")
    try:
        rename_without_overwriting(own, Name(folder, name))
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise AstrayError(errno.EXDEV, error.strerror or "") from None
        if error.errno in _UNKNOWN_THERE:
            raise OSError(
                errno.EOPNOTSUPP,
                "this file system knows neither hard links nor a rename that does not overwrite;"
                " choose a folder on another one",
            ) from None
        raise
    if folder.leads_to(name, descriptor):
        return
    back = own
    for number in range(1, 10):
        try:
            rename_without_overwriting(Name(folder, name), back)
            break
        except FileExistsError:
            back = Name(own.folder, f"{own.name}.{number}")
        except FileNotFoundError:
            break  # whoever put it there has taken it away again
    raise AstrayError(errno.ESTALE, "something else had its name")


def rename_without_overwriting(source: Name, target: Name) -> None:
    """Rename in one step.

    Raises `FileExistsError` rather than overwrite, and `OSError`: EINVAL, ENOSYS or ENOTSUP where
    the system or the file system cannot do that.
    """
    call, flag = _exclusive_rename()
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    old, new = os.fsencode(source.name), os.fsencode(target.name)
    if call(source.folder.descriptor, old, target.folder.descriptor, new, flag):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target.name)


@lru_cache(maxsize=1)
def _exclusive_rename() -> tuple[Any, int]:
    """The C library's function for it, None if it has none, and the flag that it takes."""
    name, flag = ("renameatx_np", 4) if sys.platform == "darwin" else ("renameat2", 1)
    call = getattr(ctypes.CDLL(None, use_errno=True), name, None)
    if call is not None:
        file = ctypes.c_int, ctypes.c_char_p
        call.argtypes = [*file, *file, ctypes.c_uint]
    return call, flag


def name_file(folder: OpenFolder, wanted: str, descriptor: int, own: Name) -> Placed:
    """Give an open file of ours the name `wanted` in `folder`, or `name (2).ext` where it is taken.

    Only what is open there gets the name: where something else has the name `own` by now, or it
    lies on another file system, the file is copied.  Raises `OSError`; see `place_at_free_name`.
    """
    try:
        return place_at_free_name(
            folder, wanted, descriptor, lambda name: give_name(descriptor, folder, name, own)
        )
    except AstrayError:
        pass
    hidden = Name(folder, COPY_NAME.format(secrets.token_hex(8)))
    copy = folder.create(hidden.name)
    try:
        copy_bytes(descriptor, copy)
        set_mode(copy, stat.S_IMODE(os.fstat(descriptor).st_mode))
        os.fsync(copy)
        return place_at_free_name(
            folder, wanted, copy, lambda name: give_name(copy, folder, name, hidden)
        )
    finally:
        try:
            folder.unlink(hidden.name, copy)
        finally:
            os.close(copy)


class Placed(NamedTuple):
    """What an open file is called in a folder."""

    name: str
    before: bool  # it was there already, it or a file of the same bytes


def place_at_free_name(
    folder: OpenFolder, wanted: str, descriptor: int, place: Callable[[str], None]
) -> Placed:
    """Have `place` give the open file the name `wanted`, or `name (2).ext` … where it is taken.

    A name that differs only by case or Unicode normalisation is taken too.  Where the taken
    name is the same file, or one with the same bytes, that is the answer and nothing is placed.
    `place(name)` must fail with FileExistsError rather than overwrite.  Raises `OSError`.
    """
    stem, extension = split_name(wanted)
    taken: dict[str, str] = {}
    for existing in folder.names():
        taken.setdefault(folded(existing), existing)
    for number in range(1, 10_000):
        name = wanted if number == 1 else f"{stem} ({number}){extension}"
        there = taken.get(folded(name))
        if there is None:
            try:
                place(name)
            except FileExistsError:
                there = name
            else:
                return Placed(name, before=False)
        if _same_bytes(folder, there, descriptor):
            return Placed(there, before=True)
    raise OSError(errno.EEXIST, "there are 10,000 files of this name", wanted)


def copy_bytes(source: int, target: int, check: Callable[[], None] = lambda: None) -> None:
    """Copy all bytes of an open file to the beginning of another.  Raises `OSError`.

    `check` is called before each piece, and may raise what ends it.
    """
    offset = 0
    while data := os.pread(source, _COPY_BYTES, offset):
        check()
        view = memoryview(data)
        while view:
            written = os.pwrite(target, view, offset)
            view, offset = view[written:], offset + written


def _same_bytes(folder: OpenFolder, name: str, descriptor: int) -> bool:
    """Whether what has this name is the open file, or a regular file with the same bytes.

    Then it is durable, too, as ours may be removed.  Raises `OSError`.
    """
    try:
        theirs = folder.lstat(name)
    except FileNotFoundError:
        return False
    ours = os.fstat(descriptor)
    if os.path.samestat(theirs, ours):
        return True
    if not stat.S_ISREG(theirs.st_mode) or theirs.st_size != ours.st_size:
        return False
    try:
        other = os.open(name, _READ_FLAGS, dir_fd=folder.descriptor)
    except OSError as error:
        if error.errno in _NOT_THE_FILE:
            raise
        return False  # a file that we cannot read is another one
    try:
        before = os.fstat(other)
        if not _equal(other, descriptor):
            return False
        os.fsync(other)
        unchanged = Identity.of(os.fstat(other)) == Identity.of(before)
        return unchanged and folder.leads_to(name, other)
    finally:
        os.close(other)


def _equal(theirs: int, ours: int) -> bool:
    """Whether two open files hold the same bytes; one that cannot be read does not."""
    offset = 0
    while True:
        data = os.pread(ours, _COPY_BYTES, offset)
        try:
            if _read(theirs, len(data) or 1, offset) != data:
                return False
        except OSError:
            return False
        if not data:
            return True
        offset += len(data)


def _read(descriptor: int, length: int, offset: int) -> bytes:
    """So many bytes, fewer only at the end of the file.  Raises `OSError`."""
    data = b""
    while more := os.pread(descriptor, length - len(data), offset + len(data)):
        data += more
    return data
