"""Scanning the share folder: which regular files are there and have come to rest.

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


@dataclass
class FolderScan:
    """What one scan found."""

    files: dict[str, Identity] = field(default_factory=dict)  # at rest, by name
    restless: dict[str, Identity] = field(default_factory=dict)  # changed a moment ago
    folders: int = 0
    others: tuple[str, ...] = ()  # links, FIFOs, devices, sockets: never offered
    problem: str = ""


class Scanner:
    """Scans one folder again and again, remembering when each restless file was first seen so."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._seen: dict[str, tuple[Identity, float]] = {}

    def scan(self, wall_now: float, now: float) -> FolderScan:
        """Scan (blocking: call it in a worker).  `wall_now` is Unix time, `now` monotonic."""
        result = FolderScan()
        others = []
        seen: dict[str, tuple[Identity, float]] = {}
        try:
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except OSError:
                        continue  # gone since it was listed
                    if stat.S_ISDIR(status.st_mode):
                        result.folders += 1
                    elif not stat.S_ISREG(status.st_mode):
                        others.append(entry.name)
                    elif self._rests(entry.name, status, wall_now, now, seen):
                        result.files[entry.name] = Identity.of(status)
                    else:
                        result.restless[entry.name] = Identity.of(status)
        except OSError as error:
            result.problem = f"{self.folder}: cannot read the share folder: {error.strerror}"
        self._seen = seen
        result.others = tuple(sorted(others))
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
