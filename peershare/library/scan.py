"""Scanning the share folder: which regular files are there and have come to rest,
and why the others are left out.

A file is offered once it has not changed for `REST_SECONDS` (requirement of the announcer):
by its times where they are in the past, by having been seen unchanged otherwise (a clock that
steps must not hide a file for good).  Not for: names, stems or chunks.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from peershare.library.files import Identity

REST_SECONDS = 1.0
_EFFECTIVE = os.access in os.supports_effective_ids


@dataclass
class FolderScan:
    """What one scan found."""

    files: dict[str, Identity] = field(default_factory=dict)  # at rest, by name
    restless: dict[str, Identity] = field(default_factory=dict)  # changed a moment ago
    left_out: dict[str, str] = field(default_factory=dict)  # why each of these is not offered
    problem: str = ""


class Scanner:
    """Scans one folder again and again, remembering when each restless file was first seen so."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._seen: dict[str, tuple[Identity, float]] = {}

    def scan(self, wall_now: float, now: float) -> FolderScan:
        """Scan (blocking: call it in a worker).  `wall_now` is Unix time, `now` monotonic."""
        result = FolderScan()
        seen: dict[str, tuple[Identity, float]] = {}
        try:
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    hidden = entry.name.startswith(".")
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except OSError:
                        continue  # gone since it was listed
                    if hidden:
                        if stat.S_ISREG(status.st_mode):
                            result.left_out[entry.name] = "its name begins with a dot"
                    elif stat.S_ISDIR(status.st_mode):
                        result.left_out[entry.name] = "it is a folder, and only files are shared"
                    elif not stat.S_ISREG(status.st_mode):
                        result.left_out[entry.name] = _irregular(status.st_mode)
                    elif not _readable(entry, status.st_mode):
                        result.left_out[entry.name] = "this user has no permission to read it"
                    elif self._rests(entry.name, status, wall_now, now, seen):
                        result.files[entry.name] = Identity.of(status)
                    else:
                        result.restless[entry.name] = Identity.of(status)
        except OSError as error:
            result.problem = f"{self.folder}: cannot read the share folder: {error.strerror}"
        self._seen = seen
        return result

    def _rests(
        self,
        name: str,
        status: os.stat_result,
        wall_now: float,
        now: float,
        seen: dict[str, tuple[Identity, float]],
    ) -> bool:
        """Whether this file has come to rest; remembers it in `seen` if not."""
        if wall_now - max(status.st_mtime, status.st_ctime) >= REST_SECONDS:
            return True
        identity = Identity.of(status)
        before, since = self._seen.get(name, (identity, now))
        if before != identity:
            since = now
        seen[name] = (identity, since)
        return now - since >= REST_SECONDS


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
