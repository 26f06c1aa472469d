"""Folders, limits and the clock of this machine, as they are.  Nothing is made or changed.

Not for: whether that will do (`judging.machine`).
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import stat
from collections.abc import Iterator
from pathlib import Path

import psutil

from peershare.content.names import display
from peershare.doctor.evidence import Clock, Descriptors, Folder, Watches
from peershare.doctor.judging.machine import FUTURE_SECONDS

# Of a larger folder no more files are looked at.
_MOST_FILES = 20_000
_MOST_TOLD = 3
_INOTIFY = Path("/proc/sys/fs/inotify")
_IN_MODIFY = 2


def look_at_folder(role: str, path: Path) -> Folder:
    """The share or the state folder."""
    try:
        status = path.stat()
    except FileNotFoundError:
        above = _nearest(path)
        can_make = above.is_dir() and os.access(above, os.W_OK | os.X_OK)
        return Folder(role, path, exists=False, can_make=can_make, free_bytes=_free(above)[0])
    except OSError as error:
        return Folder(role, path, exists=False, problem=f"it cannot be looked at: {error.strerror}")
    if not stat.S_ISDIR(status.st_mode):
        return Folder(role, path, exists=True, is_folder=False)
    free, inodes, read_only = _free(path)
    return Folder(
        role,
        path,
        exists=True,
        can_read=os.access(path, os.R_OK | os.X_OK),
        can_write=os.access(path, os.W_OK | os.X_OK),
        ours=status.st_uid == os.geteuid(),
        mode=stat.S_IMODE(status.st_mode),
        read_only=read_only,
        free_bytes=free,
        free_inodes=inodes,
    )


def _nearest(path: Path) -> Path:
    """It, or what is above it and there."""
    return next(p for p in (path, *path.parents) if os.access(p, os.F_OK) or p == p.parent)


def _free(path: Path) -> tuple[int | None, int | None, bool]:
    """Bytes and files that there is room for, and whether nothing can be written."""
    try:
        found = os.statvfs(path)
    except OSError:
        return None, None, False
    inodes = found.f_favail if found.f_files else None
    return found.f_bavail * found.f_frsize, inodes, bool(found.f_flag & os.ST_RDONLY)


def look_at_clock(now: float, strayed: float, share: Path) -> Clock:
    """`now` is Unix time, `strayed` how far it went astray while we looked, in seconds."""
    future = [name for name, changed in _files(share) if changed > now + FUTURE_SECONDS]
    told = tuple(display(name, 60) for name in sorted(future)[:_MOST_TOLD])
    return Clock(now, strayed, told, len(future))


def _files(folder: Path) -> Iterator[tuple[str, float]]:
    """The files in a folder, with the times of their last changes."""
    try:
        with os.scandir(folder) as entries:
            for _, entry in zip(range(_MOST_FILES), entries, strict=False):
                try:
                    status = entry.stat(follow_symlinks=False)
                except OSError:
                    continue
                if stat.S_ISREG(status.st_mode):
                    yield entry.name, status.st_mtime
    except OSError:
        return


def look_at_descriptors(service_pid: int) -> Descriptors:
    """The limit of the service, if its process may be asked; else of this one."""
    if service_pid:
        try:
            process = psutil.Process(service_pid)
            limit = process.rlimit(psutil.RLIMIT_NOFILE)[0]
            return Descriptors(_unlimited(limit), process.num_fds(), service_pid)
        except (psutil.Error, AttributeError, OSError):
            pass
    return Descriptors(_unlimited(resource.getrlimit(resource.RLIMIT_NOFILE)[0]))


def _unlimited(limit: int) -> int:
    return limit if limit >= 0 else 1 << 30


def look_at_watches(folder: Path) -> Watches | None:
    """Watch a folder (or what is above it) for a moment; None where there is no inotify."""
    try:
        most = int((_INOTIFY / "max_user_watches").read_text())
        instances = int((_INOTIFY / "max_user_instances").read_text())
        library = ctypes.CDLL(None, use_errno=True)
        begin, add = library.inotify_init1, library.inotify_add_watch
    except (OSError, ValueError, AttributeError):
        return None
    descriptor = begin(os.O_CLOEXEC)
    if descriptor < 0:
        number = ctypes.get_errno()
        return Watches(most, instances, _problem(number, errno.EMFILE, "instances"))
    try:
        if add(descriptor, os.fsencode(_nearest(folder)), _IN_MODIFY) < 0:
            number = ctypes.get_errno()
            return Watches(most, instances, _problem(number, errno.ENOSPC, "watches"))
    finally:
        os.close(descriptor)
    return Watches(most, instances)


def _problem(number: int, expected: int, word: str) -> str:
    return word if number == expected else os.strerror(number)
