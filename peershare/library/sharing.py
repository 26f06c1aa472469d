"""Putting a file of the user's into the share folder: a hard link, or a copy where that fails.

Blocking: called in a worker.  Not for: announcing it; the next scan finds it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from peershare.content.names import check_file_name
from peershare.errors import StorageError
from peershare.library.files import (
    Identity,
    move_without_overwriting,
    open_regular,
    place_at_free_name,
    storage_errors,
)
from peershare.library.parts import PART_FOLDER

_COPY_BYTES = 1 << 20


class Shared(Struct, frozen=True):
    """Where the file now is in the share folder, and how it came there."""

    path: Path
    how: str  # "linked", "copied" or "already there"


def share_file(source: Path, share: Path, ended: Callable[[], bool]) -> Shared:
    """Make `source` appear in the share folder, under its name or `name (2).ext`.

    A link given by the user is followed.  A copy is given up once `ended()`: nobody waits for it
    any more.  Raises `StorageError`, `BadNameError`.
    """
    with storage_errors(source, "share"):
        source = source.resolve(strict=True)
        descriptor = open_regular(source)
    try:
        name = check_file_name(source.name)
        if source.parent == share.resolve():
            return Shared(share / source.name, "already there")
        with storage_errors(share, "write into the share folder"):
            before = {path.name for path in share.iterdir()}
            try:
                path = place_at_free_name(share, name, source, _link)
                how = "linked"
            except FileExistsError:
                raise
            except OSError:
                path = _copy(source, descriptor, share, name, ended)
                how = "copied"
        return Shared(path, "already there" if path.name in before else how)
    finally:
        os.close(descriptor)


def _link(source: Path, target: Path) -> None:
    os.link(source, target, follow_symlinks=False)


def _copy(source: Path, descriptor: int, share: Path, name: str, ended: Callable[[], bool]) -> Path:
    """Copy by way of the unscanned folder, so that no half file is ever offered."""
    parent = share / PART_FOLDER
    parent.mkdir(mode=0o700, exist_ok=True)
    status = os.fstat(descriptor)
    room = shutil.disk_usage(parent).free
    if status.st_size > room:
        missing = status.st_size - room
        raise StorageError(f"{share}: the disk is full: {missing} bytes more are needed", missing)
    handle, temporary_name = tempfile.mkstemp(dir=parent, suffix=".copy")
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
