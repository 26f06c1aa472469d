"""Putting a file of the user's into the share folder: a hard link, or a copy where that fails.

Blocking: called in a worker.  Not for: announcing it; the next scan finds it.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from peershare.content.names import check_file_name
from peershare.errors import BadPathError, StorageError
from peershare.library.files import (
    Identity,
    move_without_overwriting,
    open_regular,
    place_at_free_name,
    storage_errors,
)
from peershare.library.parts import PART_FOLDER
from peershare.status import ShareMode

# What a file is called until it has its name: on its way from here, and from elsewhere.
TEMPORARY = (".copy", ".received")
_COPY_BYTES = 1 << 20
_NOT_THE_PATH = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO)


class Shared(Struct, frozen=True):
    """Where the file now is in the share folder, and how it came there."""

    path: Path
    how: str  # "linked", "copied", "received" or "already there"


def share_file(
    source: Path, share: Path, ended: Callable[[], bool], how: ShareMode = ShareMode.AUTO
) -> Shared:
    """Make `source`, a regular file, appear in the share folder, as it is called or `name (2)`.

    A symbolic link is refused: what it leads to may change, and be what nobody wanted to share.
    A copy is given up once `ended()`: nobody waits for it any more.  Raises `StorageError`,
    `BadPathError` where it is the source that cannot be shared, `BadNameError`.
    """
    with _named_by_user(source):
        source = source.parent.resolve(strict=True) / source.name
        if source.is_symlink():
            raise BadPathError(
                f"{source}: this is a symbolic link, which is not followed; name what it leads to"
            )
        descriptor = open_regular(source)
    try:
        name = check_file_name(source.name)
        if source.parent == share.resolve():
            return Shared(share / source.name, "already there")
        with storage_errors(share, "write into the share folder"):
            before = {path.name for path in share.iterdir()}
        path, done = _place(source, descriptor, share, name, ended, how)
        return Shared(path, "already there" if path.name in before else done)
    finally:
        os.close(descriptor)


@contextmanager
def _named_by_user(source: Path) -> Iterator[None]:
    """Turn an `OSError` inside into a `BadPathError`, unless it is not the path's fault."""
    try:
        yield
    except OSError as error:
        kind = StorageError if error.errno in _NOT_THE_PATH else BadPathError
        raise kind(f"{source}: cannot share: {error.strerror or error}") from error


def _place(
    source: Path,
    descriptor: int,
    share: Path,
    name: str,
    ended: Callable[[], bool],
    how: ShareMode,
) -> tuple[Path, str]:
    """Link or copy it; where it is now, and which of the two was done."""

    def link(source: Path, target: Path) -> None:
        """A hard link to what was opened, and to nothing that has its name by now."""
        os.link(source, target, follow_symlinks=False)
        if not os.path.samestat(target.lstat(), os.fstat(descriptor)):
            target.unlink()
            raise OSError(errno.ESTALE, "it was replaced meanwhile", str(source))

    if how is not ShareMode.COPY:
        doing = "link into the share folder (it can be copied instead)"
        try:
            with storage_errors(source, doing):
                return place_at_free_name(share, name, source, link), "linked"
        except StorageError:
            if how is ShareMode.LINK:
                raise
    with storage_errors(share, "write into the share folder"):
        return _copy(source, descriptor, share, name, ended), "copied"


def private_folder(share: Path) -> Path:
    """The unscanned folder inside the share folder, made where it is missing.  Raises `OSError`."""
    parent = share / PART_FOLDER
    parent.mkdir(mode=0o700, exist_ok=True)
    if not stat.S_ISDIR(parent.lstat().st_mode):
        raise NotADirectoryError(errno.ENOTDIR, "a folder is needed here", str(parent))
    return parent


def _copy(source: Path, descriptor: int, share: Path, name: str, ended: Callable[[], bool]) -> Path:
    """Copy by way of the unscanned folder, so that no half file is ever offered."""
    parent = private_folder(share)
    status = os.fstat(descriptor)
    room = shutil.disk_usage(parent).free
    if status.st_size > room:
        missing = status.st_size - room
        raise StorageError(f"{share}: the disk is full: {missing} bytes more are needed", missing)
    handle, temporary_name = tempfile.mkstemp(dir=parent, suffix=TEMPORARY[0])
    temporary = Path(temporary_name)
    try:
        with os.fdopen(handle, "wb") as target, os.fdopen(os.dup(descriptor), "rb") as file:
            while data := file.read(_COPY_BYTES):
                if ended():
                    raise StorageError(f"{source}: not copied, the service was stopped")
                target.write(data)
            os.fchmod(target.fileno(), status.st_mode & 0o777)
            target.flush()
            os.fsync(target.fileno())
        if Identity.of(os.fstat(descriptor)) != Identity.of(status):
            raise StorageError(f"{source}: it changed while it was copied, try again")
        return place_at_free_name(share, name, temporary, move_without_overwriting)
    finally:
        temporary.unlink(missing_ok=True)
