"""What a power cut leaves of a folder: bytes that were fsynced, names whose folder was.

The strictest disk that POSIX allows.  The files of SQLite, which commits with an fsync each time,
are taken as durable as they are.  Not for: when the power goes.
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

_DATABASE = ".sqlite"


class Durable:
    """Notes what is durable below a folder; what is there when it begins is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._bytes: dict[int, tuple[bytes, int]] = {}  # by inode: content, mtime in ns
        self._names: dict[int, dict[str, int]] = {}  # by inode of a folder: name -> inode
        self._folders: set[int] = set()
        self._root, self._device = folder.stat().st_ino, folder.stat().st_dev
        self._begin(folder)

    def _begin(self, folder: Path) -> None:
        self._note(folder)
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                self._begin(path)
            elif path.is_file():
                self._note(path)

    def synced(self, descriptor: int) -> None:
        """This descriptor was given to `fsync` or `fdatasync`."""
        path = Path(f"/proc/self/fd/{descriptor}")
        if os.fstat(descriptor).st_dev == self._device:
            self._note(path)

    def _note(self, path: Path) -> None:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            self._folders.add(status.st_ino)
            names = {entry.name: entry.inode() for entry in os.scandir(path)}
            self._names[status.st_ino] = names
            self._folders.update(e.inode() for e in os.scandir(path) if e.is_dir())
        elif stat.S_ISREG(status.st_mode):
            self._bytes[status.st_ino] = (path.read_bytes(), status.st_mtime_ns)

    def cut(self) -> None:
        """The power goes: make the folder what it is after that."""
        stash = self.folder.with_name(f"{self.folder.name}.stash")
        stash.mkdir()
        kept: dict[int, Path] = {}
        databases: dict[Path, int] = {}
        self._stash(self.folder, stash, kept, databases)
        names = self._names.get(self._root, {})
        for path in self.folder.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        self._restore(self.folder, names, kept)
        for path, inode in databases.items():
            if path.parent.is_dir():
                os.link(kept[inode], path)
        shutil.rmtree(stash)
        self._bytes.clear()
        self._names.clear()
        self._begin(self.folder)

    def _stash(
        self, folder: Path, stash: Path, kept: dict[int, Path], databases: dict[Path, int]
    ) -> None:
        """Put every file aside by its inode, and note where the databases are."""
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                self._stash(path, stash, kept, databases)
                continue
            inode = path.lstat().st_ino
            if inode not in kept:
                kept[inode] = stash / f"{inode}"
                os.link(path, kept[inode], follow_symlinks=False)
            if _DATABASE in path.name:
                databases[path] = inode

    def _restore(self, folder: Path, names: dict[str, int], kept: dict[int, Path]) -> None:
        for name, inode in names.items():
            path = folder / name
            if inode in self._folders:
                path.mkdir(mode=0o700)
                self._restore(path, self._names.get(inode, {}), kept)
            elif _DATABASE not in name:
                self._restore_file(path, inode, kept)

    def _restore_file(self, path: Path, inode: int, kept: dict[int, Path]) -> None:
        """The same file, with the bytes that were made durable; empty if none ever were."""
        there = kept.get(inode)
        if there is not None:
            os.link(there, path, follow_symlinks=False)
            if not stat.S_ISREG(path.lstat().st_mode):
                return
        data, moment = self._bytes.get(inode, (b"", None))
        if there is None or path.read_bytes() != data:
            path.write_bytes(data)
            if moment is not None:
                os.utime(path, ns=(moment, moment))
