"""Putting a file of the user's into the share folder: a hard link, or a copy where that fails.

Blocking: called in a worker.  Not for: announcing it; the next scan finds it.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from msgspec import Struct

from peershare.content.names import check_file_name
from peershare.errors import BadPathError, StorageError
from peershare.library.files import (
    NO_LINKS,
    AstrayError,
    Identity,
    Name,
    OpenFolder,
    Placed,
    copy_bytes,
    link_descriptor,
    name_file,
    open_regular,
    place_at_free_name,
    set_mode,
    storage_errors,
)
from peershare.library.parts import PART_FOLDER
from peershare.status import ShareMode

# What a file is called until it has its name: on its way from here, and from elsewhere.
TEMPORARY = (".copy", ".received")
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
        with (
            storage_errors(share, "write into the share folder"),
            OpenFolder(share) as folder,
        ):
            placed, done = _place(source, descriptor, folder, name, ended, how)
            folder.sync()
            return Shared(folder.path / placed.name, "already there" if placed.before else done)
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
    folder: OpenFolder,
    name: str,
    ended: Callable[[], bool],
    how: ShareMode,
) -> tuple[Placed, str]:
    """Link or copy it; what it is called now, and which of the two was done."""

    def link(name: str) -> None:
        """A hard link to what was opened, and to nothing that has its name by now."""
        link_descriptor(descriptor, folder, name)

    if how is not ShareMode.COPY:
        doing = "link into the share folder (it can be copied instead)"
        try:
            return place_at_free_name(folder, name, descriptor, link), "linked"
        except OSError as error:
            needs_copy = isinstance(error, AstrayError) or error.errno in NO_LINKS
            if how is ShareMode.LINK or not needs_copy:
                with storage_errors(source, doing):
                    raise
    return _copy(source, descriptor, folder, name, ended), "copied"


def private_folder(share: OpenFolder) -> OpenFolder:
    """The unscanned folder inside the share folder, made where it is missing.  Raises `OSError`."""
    with suppress(FileExistsError):
        os.mkdir(PART_FOLDER, 0o700, dir_fd=share.descriptor)
    return OpenFolder(Path(PART_FOLDER), share)


def check_room(folder: OpenFolder, size: int) -> None:
    """Raise `StorageError` if there is no room for so many bytes there; `OSError`."""
    room = shutil.disk_usage(folder.descriptor).free
    if size > room:
        missing = size - room
        raise StorageError(
            f"{folder.path}: the disk is full: {missing} bytes more are needed", missing
        )


def make_temporary(private: OpenFolder, suffix: str) -> tuple[int, Name]:
    """A new file, open for writing, and its name until it has a final one.  Raises `OSError`."""
    own = Name(private, f"{secrets.token_hex(8)}{suffix}")
    return private.create(own.name), own


def _copy(
    source: Path, descriptor: int, folder: OpenFolder, name: str, ended: Callable[[], bool]
) -> Placed:
    """Copy by way of the unscanned folder, so that no half file is ever offered."""

    def check() -> None:
        if ended():
            raise StorageError(f"{source}: not copied, the service was stopped")

    status = os.fstat(descriptor)
    with private_folder(folder) as private:
        check_room(private, status.st_size)
        copy, own = make_temporary(private, TEMPORARY[0])
        try:
            copy_bytes(descriptor, copy, check)
            set_mode(copy, status.st_mode & 0o777)
            os.fsync(copy)
            if Identity.of(os.fstat(descriptor)) != Identity.of(status):
                raise StorageError(f"{source}: it changed while it was copied, try again")
            return name_file(folder, name, copy, own)
        finally:
            try:
                private.unlink(own.name, copy)
            finally:
                os.close(copy)
