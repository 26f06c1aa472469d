"""Scanning the share folder: which regular files are there and have come to rest,
and why the others are left out.

A file is offered once it has not changed for `REST_SECONDS` (requirement of the announcer), by
its times where they are in the past, by having been seen unchanged otherwise (a clock that steps
must not hide a file for good), and once no program has it open for writing.  That is asked of the
system by taking a read lease, which is given back at once; where it cannot say, the file must not
have changed for `LONG_REST_SECONDS`.  What cannot be looked at just now is not gone.
Not for: names, stems or chunks.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from peershare.library.entries import SharedFile
from peershare.library.files import Identity, open_regular

REST_SECONDS = 1.0
# Files of another owner, and many network and FUSE disks, know no leases.
LONG_REST_SECONDS = 10.0
WRITTEN = "another program is writing it"
UNFINISHED = "its name is that of an unfinished download"
_EFFECTIVE = os.access in os.supports_effective_ids
_LEASE = getattr(fcntl, "F_SETLEASE", None)  # Linux alone has it
# How browsers and download managers call what is not complete; in lower case.
_UNFINISHED = (
    *("~", ".part", ".partial", ".crdownload", ".download", ".opdownload", ".aria2", ".filepart"),
    *(".!qb", ".!ut", ".!bt", ".!sync", ".bc!", ".jc!", ".xltd", ".fdmdownload", ".unconfirmed"),
    *(".crswap", ".dtapart", ".ytdl", ".tmp", ".temp", ".swp"),
)
# What the folder itself answers, and may be believed when it says so twice.
_LOST = frozenset((errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM))
# How a file says that it is not the one that was listed any more.
_ANOTHER = frozenset((errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.EINVAL, errno.EISDIR))


@dataclass
class FolderScan:
    """What one scan found."""

    files: dict[str, Identity] = field(default_factory=dict)  # at rest, by name
    ctimes: dict[str, int] = field(default_factory=dict)  # of those, in ns
    restless: dict[str, Identity] = field(default_factory=dict)  # not to be offered yet
    written: set[str] = field(default_factory=set)  # of those, what a program has open
    left_out: dict[str, str] = field(default_factory=dict)  # why each of these is not offered
    unseen: dict[str, str] = field(default_factory=dict)  # why each could not be looked at
    problem: str = ""
    doubtful: bool = False  # what is missing in it may be there


class Scanner:
    """Scans one folder again and again, remembering when each restless file was first seen so."""

    def __init__(self, folder: Path) -> None:
        """To be made in the main thread: see `ignore_lease_breaks`."""
        ignore_lease_breaks()
        self.folder = folder
        self._seen: dict[str, tuple[Identity, float]] = {}
        self._place: tuple[int, int] | None = None  # which folder the last scan saw
        self._lost = False  # the last scan found another folder, or none

    def scan(
        self, wall_now: float, now: float, known: Mapping[str, SharedFile] | None = None
    ) -> FolderScan:
        """Scan (blocking: call it in a worker).  `wall_now` is Unix time, `now` monotonic.

        `known` is what is offered: that is not held back because somebody opens it.
        """
        result = FolderScan()
        seen: dict[str, tuple[Identity, float]] = {}
        lost = False
        try:
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    self._look_at(entry, result, (wall_now, now), known or {}, seen)
            status = self.folder.stat()
        except OSError as error:
            result.problem = f"{self.folder}: cannot read the share folder: {error.strerror}"
            lost = error.errno in _LOST
            result.doubtful = not (lost and self._lost)
            if result.doubtful:
                seen = {**self._seen, **seen}
        else:
            place = status.st_dev, status.st_ino
            lost = not self._lost and self._place not in (None, place)
            if lost:
                result.doubtful = True
                result.problem = f"{self.folder}: another folder is there by now, or another disk"
            else:
                self._place = place
        self._seen, self._lost = seen, lost
        return result

    def _look_at(
        self,
        entry: os.DirEntry[str],
        result: FolderScan,
        now: tuple[float, float],
        known: Mapping[str, SharedFile],
        seen: dict[str, tuple[Identity, float]],
    ) -> None:
        """See what an entry is; `now` is Unix time and monotonic time."""
        name = entry.name
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return  # gone since it was listed
        except OSError as error:
            result.unseen[name] = f"it cannot be looked at: {error.strerror}"
            return
        if name.startswith("."):
            if stat.S_ISREG(status.st_mode):
                result.left_out[name] = "its name begins with a dot"
        elif stat.S_ISDIR(status.st_mode):
            result.left_out[name] = "it is a folder, and only files are shared"
        elif not stat.S_ISREG(status.st_mode):
            result.left_out[name] = _irregular(status.st_mode)
        elif is_unfinished(name):
            result.left_out[name] = UNFINISHED
        elif not _readable(entry, status.st_mode):
            result.left_out[name] = "this user has no permission to read it"
        else:
            self._judge(entry, status, result, now, known.get(name), seen)

    def _judge(
        self,
        entry: os.DirEntry[str],
        status: os.stat_result,
        result: FolderScan,
        now: tuple[float, float],
        known: SharedFile | None,
        seen: dict[str, tuple[Identity, float]],
    ) -> None:
        """Whether a regular file is to be offered now."""
        name, identity = entry.name, Identity.of(status)
        since = self._unchanged_since(name, status, now, seen)
        rests = since >= REST_SECONDS
        if rests and (known is None or known.identity != identity):
            try:
                written = is_written(Path(entry.path), identity)
            except OSError as error:
                if error.errno not in _ANOTHER:
                    result.unseen[name] = f"it cannot be opened: {error.strerror}"
                written = True
            else:
                if written:
                    result.written.add(name)
            rests = not written if written is not None else since >= LONG_REST_SECONDS
        if rests:
            result.files[name] = identity
            result.ctimes[name] = status.st_ctime_ns
        else:
            result.restless[name] = identity

    def _unchanged_since(
        self,
        name: str,
        status: os.stat_result,
        now: tuple[float, float],
        seen: dict[str, tuple[Identity, float]],
    ) -> float:
        """For how many seconds this file has not changed; remembers it in `seen` if not long."""
        by_times = now[0] - max(status.st_mtime, status.st_ctime)
        if by_times >= LONG_REST_SECONDS:
            return by_times
        identity = Identity.of(status)
        before, since = self._seen.get(name, (identity, now[1]))
        if before != identity:
            since = now[1]
        seen[name] = (identity, since)
        return max(by_times, now[1] - since)


def is_unfinished(name: str) -> bool:
    """Whether programs call so what they have not completed."""
    return name.startswith("~$") or name.lower().endswith(_UNFINISHED)


def ignore_lease_breaks() -> None:
    """See that SIGIO, which says that a lease is in the way of somebody, does not end us.

    Only the main thread can do that; without it no lease is taken.
    """
    ours = threading.current_thread() is threading.main_thread()
    if ours and _LEASE is not None and signal.getsignal(signal.SIGIO) is signal.SIG_DFL:
        signal.signal(signal.SIGIO, signal.SIG_IGN)


def is_written(path: Path, identity: Identity) -> bool | None:
    """Worker: whether a program has this file open for writing, or mapped so.

    None where the system does not say.  True if it is not the one that is meant any more.
    Whoever opens it for writing in the very moment of the lease waits until that is given back,
    at once.  Raises `OSError` if it cannot be opened.
    """
    descriptor = open_regular(path)
    try:
        if Identity.of(os.fstat(descriptor)) != identity:
            return True
        if _LEASE is None or signal.getsignal(signal.SIGIO) is signal.SIG_DFL:
            return None
        try:
            fcntl.fcntl(descriptor, _LEASE, fcntl.F_RDLCK)
        except OSError as error:
            return True if error.errno == errno.EAGAIN else None
        with suppress(OSError):  # closing gives it back, too
            fcntl.fcntl(descriptor, _LEASE, fcntl.F_UNLCK)
        return False
    finally:
        os.close(descriptor)


def _irregular(mode: int) -> str:
    """Why what is no regular file is not offered."""
    if stat.S_ISLNK(mode):
        return "it is a symbolic link, which is not followed"
    if stat.S_ISFIFO(mode):
        return "it is a named pipe, not a file"
    if stat.S_ISSOCK(mode):
        return "it is a socket, not a file"
    return "it is a device, not a file"


def _readable(entry: os.DirEntry[str], mode: int) -> bool:
    """Whether this user may read it; the system is asked only where not everybody may."""
    return mode & 0o444 == 0o444 or os.access(entry.path, os.R_OK, effective_ids=_EFFECTIVE)
