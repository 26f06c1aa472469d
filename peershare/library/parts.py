"""Part files: what is being downloaded, on its way to a final name.

A part lies in an unscanned 0700 `.peershare/` inside its destination, so that the last step is
a rename within one file system.  All methods block; those named so are called in a worker.
Our disk's faults are `StorageError`s and blame no peer.  Not for: which bytes are right.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock

from peershare.content.blocks import BlockSet, block_range
from peershare.content.chunks import ByteRange
from peershare.content.manifest import Manifest, digest
from peershare.errors import LASTING, BadPathError, StorageError
from peershare.library.files import (
    Name,
    OpenFolder,
    Placed,
    copy_bytes,
    give_name,
    name_file,
    set_mode,
    storage_errors,
    sync_folder,
)
from peershare.library.hashing import hash_range

PART_FOLDER = ".peershare"
_COPY_BYTES = 1 << 20
# What strangers send without having said how much, or for somebody here to decide on, leaves the
# disk so much: 1 %, within bounds.
_LEAST_SPARE_BYTES = 16 << 20
_MOST_SPARE_BYTES = 1 << 30
_MOST_TRIES = 20
# A file system that does not know where its files have holes says one of these.
_NO_HOLES = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
# A file system that knows no locks says one of these.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF)


def _current_umask() -> int:
    """The process's umask, which can only be read by setting it."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


FINAL_MODE = 0o666 & ~_current_umask()


@lru_cache(maxsize=4)
def _digest_of_zeros(length: int) -> bytes:
    return digest(bytes(length))


@dataclass(frozen=True)
class PipedBytes:
    """Bytes that wait in a pipe, to be had at this end of it."""

    descriptor: int
    length: int

    def __len__(self) -> int:
        return self.length


class PartFile:
    """One part file, open for reading and writing until `close`."""

    def __init__(self, folder: Path, name: str, *, make: bool = True) -> None:
        """Open `folder/.peershare/name`, or `make` it.  Raises `StorageError`."""
        self.folder = folder
        self.path = folder / PART_FOLDER / name
        self.final: Path | None = None  # where it lies once it has its final name
        self._abandoned = False
        self._known_ns = 0  # its ctime after our last write
        self._writes = 0  # that are under way
        self._changed = False  # by another program
        self._counting = Lock()
        self._descriptor = -1
        with storage_errors(folder, "write into this folder"):
            if make:
                make_destination(folder)
            self._folder = OpenFolder(folder)
        try:
            with storage_errors(folder, "write into this folder"):
                if make:
                    self._open_patiently(name)
                else:
                    self._open(name, make=False)
                self.expect_no_changes()
        except BaseException:
            self.close()
            raise

    def expect_no_changes(self) -> None:
        """From now on what is written here by others counts: what is here is about to be checked.

        Raises `StorageError`.
        """
        with storage_errors(self.path, "look at"):
            self._known_ns = os.fstat(self._descriptor).st_ctime_ns
        self._changed = False

    def _note_write(self) -> None:
        """A write of ours has ended."""
        try:
            self._known_ns = os.fstat(self._descriptor).st_ctime_ns
        except OSError:
            self._changed = True  # nobody knows

    def was_changed(self) -> bool:
        """Whether another program wrote into it meanwhile.  Raises `StorageError`."""
        if not self._changed:
            with storage_errors(self.path, "look at"):
                self._changed = os.fstat(self._descriptor).st_ctime_ns != self._known_ns
        return self._changed

    def _open_patiently(self, name: str) -> None:
        """The same, while other downloads end and take the folder away that was empty."""
        for left in reversed(range(_MOST_TRIES)):
            try:
                self._open(name, make=True)
                return
            except FileNotFoundError:
                self._close_file()
                if not left:
                    raise

    def _open(self, name: str, *, make: bool) -> None:
        """Open or make it, without following links.  Raises `StorageError`, `OSError`."""
        with suppress(FileExistsError):
            if make:
                os.mkdir(PART_FOLDER, 0o700, dir_fd=self._folder.descriptor)
        try:
            private = OpenFolder(Path(PART_FOLDER), self._folder)
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            text = f"{self.path.parent}: this is in the way, a folder is needed here"
            raise StorageError(text) from None  # waited for, as somebody may take it away
        with private:
            flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            flags |= os.O_CREAT if make else 0
            self._descriptor = os.open(name, flags, 0o600, dir_fd=private.descriptor)
            status = os.fstat(self._descriptor)
            if not stat.S_ISREG(status.st_mode):
                text = f"{self.path}: this is in the way, a file is needed here"
                raise StorageError(text, lasting=True)
            self._claim()
            if make and not status.st_size:
                self._try_to_name(private)
            self._has_other_names = os.fstat(self._descriptor).st_nlink > 1

    def _try_to_name(self, private: OpenFolder) -> None:
        """Raise `OSError` where nothing could get its final name, before a byte is fetched."""
        own, other = Name(private, self.path.name), Name(private, f"{self.path.name}~")
        with suppress(FileExistsError):  # left by a run that was killed right there
            give_name(self._descriptor, private, other.name, own)
        if private.leads_to(own.name, self._descriptor):
            private.unlink(other.name, self._descriptor)
        elif private.leads_to(other.name, self._descriptor):
            give_name(self._descriptor, private, own.name, other)

    def _claim(self) -> None:
        """Nobody else may write into it: two nodes can have one destination, and the same ids."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StorageError(
                f"{self.path}: another peershare is downloading this; wait for it, or stop it"
            ) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise StorageError(f"{self.path}: cannot lock: {error.strerror}") from None

    @property
    def descriptor(self) -> int:
        """The open descriptor, for the one who writes into it."""
        return self._descriptor

    @property
    def size(self) -> int:
        """How long the file is on the disk.  Raises `StorageError`."""
        with storage_errors(self.path, "look at"):
            return os.fstat(self._descriptor).st_size

    @property
    def room(self) -> int:
        """How many bytes of the disk it takes; less than its size where it has holes."""
        with storage_errors(self.path, "look at"):
            return os.fstat(self._descriptor).st_blocks * 512

    def close(self) -> None:
        """Close it and leave it there; may be called twice."""
        self._folder.close()
        self._close_file()

    def _close_file(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def leave_other_names(self) -> None:
        """Before it is written to: a file that has another name, too, is a user's.

        So it is left by a run that was killed right after it gave the final name.  What is
        missing goes into a copy.  Raises `StorageError`.
        """
        if not self._has_other_names:
            return
        with (
            storage_errors(self.path, "copy"),
            OpenFolder(Path(PART_FOLDER), self._folder) as private,
        ):
            before, copied = self._descriptor, f"{self.path.name}~"
            with suppress(FileNotFoundError):
                os.unlink(copied, dir_fd=private.descriptor)
            copy = private.create(copied)
            try:
                copy_bytes(before, copy)
                os.replace(
                    copied,
                    self.path.name,
                    src_dir_fd=private.descriptor,
                    dst_dir_fd=private.descriptor,
                )
                os.dup2(copy, before, inheritable=False)  # others know it by its number
            finally:
                os.close(copy)
        self._has_other_names = False
        self._claim()

    def write_at(self, data: bytes | memoryview | PipedBytes, offset: int) -> None:
        """Write all of `data` at `offset`.  Raises `StorageError` with the bytes needed."""
        if self._has_other_names:
            self.leave_other_names()
        with self._counting:
            if not self._writes:
                self.was_changed()
            self._writes += 1
        try:
            if isinstance(data, PipedBytes):
                self._empty_pipe(data, offset)
            else:
                self._write(data, offset)
        finally:
            with self._counting:
                self._writes -= 1
                self._note_write()

    def _write(self, data: bytes | memoryview, offset: int) -> None:
        view = memoryview(data)
        while view:
            try:
                written = os.pwrite(self._descriptor, view, offset)
            except OSError as error:
                raise self._write_error(error, len(view)) from None
            view = view[written:]
            offset += written

    def _empty_pipe(self, piped: PipedBytes, offset: int) -> None:
        """Have the kernel move them; by hand on a file system that knows no splice."""
        left = piped.length
        while left:
            try:
                moved = os.splice(piped.descriptor, self._descriptor, left, offset_dst=offset)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise self._write_error(error, left) from None
                data = os.read(piped.descriptor, left)
                self._write(data, offset)
                moved = len(data)
            left -= moved
            offset += moved

    def leaves_spare(self, more: int) -> bool:
        """Whether the disk keeps a reserve if it takes `more` bytes.  Raises `StorageError`."""
        with storage_errors(self.path, "ask for the free space"):
            room = os.fstatvfs(self._descriptor)
        return room.f_bavail * room.f_frsize - more >= spare_bytes(room.f_blocks * room.f_frsize)

    def check_room(self, more: int) -> None:
        """Raise `StorageError` if `more` bytes do not fit on this file system."""
        with storage_errors(self.path, "ask for the free space"):
            room = os.fstatvfs(self._descriptor)
        free = room.f_bavail * room.f_frsize
        if more > free:
            raise StorageError(
                f"{self.folder}: the disk is full: {more - free} bytes more are needed",
                more - free,
            )

    def truncate(self) -> None:
        """Give all its room back to the disk.  Raises `StorageError`."""
        self.leave_other_names()
        with storage_errors(self.path, "cut off"):
            os.ftruncate(self._descriptor, 0)
        self.expect_no_changes()

    def abandon(self) -> None:
        """Have a worker that is reading give up soon: nobody waits for what becomes of it."""
        self._abandoned = True

    def sync(self) -> None:
        """Worker: put what was written on the disk for good.  Raises `StorageError`."""
        with storage_errors(self.path, "write to the disk"):
            os.fdatasync(self._descriptor)

    def sync_and_hash(self, offset: int, length: int) -> bytes:
        """Worker: put the range on the disk for good and return its BLAKE3 digest."""
        self.sync()
        digest = self.hash(offset, length)
        if digest is None:
            raise StorageError(f"{self.path}: what was written cannot be read back")
        return digest

    def abandoned(self) -> bool:
        """Whether nobody waits for what a worker reads."""
        return self._abandoned

    def hash(self, offset: int, length: int) -> bytes | None:
        """Worker: the BLAKE3 digest of a range.

        None if the file does not hold all of it, or it was abandoned meanwhile.
        """
        with storage_errors(self.path, "read"):
            return hash_range(self._descriptor, offset, length, self.abandoned)

    def check_blocks(self, manifest: Manifest) -> BlockSet:
        """Worker: which blocks are there and right; see `right_blocks`."""
        total = manifest.block_count
        return BlockSet(total, self.right_blocks(manifest, 0, total))

    def right_blocks(self, manifest: Manifest, first: int, count: int) -> list[int]:
        """Worker: which of `count` blocks from `first` on are there and right.

        Once it is abandoned the rest is not looked at.  Raises `StorageError`.
        """
        held: list[int] = []
        with storage_errors(self.path, "read"):
            for index in range(first, first + count):
                where = block_range(index, manifest.size)
                if self._is_hole(where):
                    found = _digest_of_zeros(where.length) if where.stop <= self.size else None
                else:
                    found = self.hash(where.start, where.length)
                if self._abandoned:
                    break
                if found == manifest.digest_of(index):
                    held.append(index)
        return held

    def _is_hole(self, where: ByteRange) -> bool:
        """Whether nothing was ever written there.  Raises `OSError`."""
        try:
            return os.lseek(self._descriptor, where.start, os.SEEK_DATA) >= where.stop
        except OSError as error:
            if error.errno in _NO_HOLES:
                return False
            if error.errno != errno.ENXIO:  # nothing from there on
                raise
            return True

    def move(self, source: int, target: int, length: int) -> None:
        """Worker: copy a range to another place in the file; the two must not overlap."""
        while length:
            with storage_errors(self.path, "read"):
                data = os.pread(self._descriptor, min(length, _COPY_BYTES), source)
            if not data or self._abandoned:
                raise StorageError(f"{self.path}: what was written cannot be read back")
            self.write_at(data, target)
            source, target, length = source + len(data), target + len(data), length - len(data)

    def head(self, length: int) -> bytes:
        """The first bytes, for telling what kind of file it is."""
        with storage_errors(self.path, "read"):
            return os.pread(self._descriptor, length, 0)

    def finish(self, wanted: str, size: int) -> Path:
        """Worker: cut to `size`, make durable, give it its final name; return the final path.

        Order: data, fsync, name, fsync of the folder.  Nothing is overwritten; where an equal
        file lies there already, that is the final file.  Only what is open here gets the name,
        in the folder that was opened, wherever that is by now.  What fails after it has the name
        leaves `final` set, and is done when this is called again.
        """
        with storage_errors(self.path, "finish"):
            folder = self._destination()
            with OpenFolder(Path(PART_FOLDER), folder) as private:
                own = Name(private, self.path.name)
                if self.final is None:
                    if self.size != size:
                        self.leave_other_names()
                        os.ftruncate(self._descriptor, size)
                    set_mode(self._descriptor, FINAL_MODE)
                    os.fsync(self._descriptor)
                    path = folder.path
                    self.final = path / self._named(folder, wanted, own).name
                private.unlink(own.name, self._descriptor)
            with suppress(OSError):  # unless other downloads are in it
                os.rmdir(PART_FOLDER, dir_fd=folder.descriptor)
            folder.sync()
        self.close()
        return self.final

    def _named(self, folder: OpenFolder, wanted: str, own: Name) -> Placed:
        """Give it its name; where that takes a copy there may be no room for it."""
        try:
            return name_file(folder, wanted, self._descriptor, own)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise self._write_error(error, self.size) from None
            raise

    def _destination(self) -> OpenFolder:
        """The folder that was opened; where it has been removed, one is made anew.

        Raises `OSError`.
        """
        if self._folder.removed:
            make_destination(self.folder)
            before, self._folder = self._folder, OpenFolder(self.folder)
            before.close()
        with suppress(FileExistsError):
            os.mkdir(PART_FOLDER, 0o700, dir_fd=self._folder.descriptor)
        return self._folder

    def rename(self, name: str) -> None:
        """Worker: call it otherwise in its folder, for good.  Raises `StorageError`."""
        with (
            storage_errors(self.path, "rename"),
            OpenFolder(Path(PART_FOLDER), self._folder) as private,
        ):
            own = Name(private, self.path.name)
            give_name(self._descriptor, private, name, own)
            self.path = self.path.with_name(name)
            private.unlink(own.name, self._descriptor)
            private.sync()
            self._folder.sync()
            sync_folder(self.folder.parent)  # it may have been made for this file

    def remove(self) -> None:
        """Take its name from it, if it still has it, and close it.  Raises `StorageError`."""
        try:
            with (
                storage_errors(self.path, "remove"),
                OpenFolder(Path(PART_FOLDER), self._folder) as private,
            ):
                private.unlink(self.path.name, self._descriptor)
        finally:
            self.close()

    def _write_error(self, error: OSError, length: int) -> StorageError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return StorageError(
                f"{self.folder}: the disk is full: at least {length} bytes more are needed", length
            )
        lasting = error.errno in LASTING
        return StorageError(f"{self.path}: cannot write: {error.strerror}", lasting=lasting)


def spare_bytes(total: int) -> int:
    """What a disk of so many bytes keeps as a reserve."""
    return min(max(_LEAST_SPARE_BYTES, total // 100), _MOST_SPARE_BYTES, total // 10)


def make_destination(folder: Path) -> list[Path]:
    """Make a folder for files to come, and its parents; those that were made, innermost first.

    Raises `OSError`; then none was.
    """
    made: list[Path] = []
    try:
        try:
            folder.mkdir()
        except FileNotFoundError:
            if folder.parent == folder:
                raise
            made += make_destination(folder.parent)
            folder.mkdir()
        return [folder, *made]
    except FileNotFoundError as error:  # what is above it is there: nothing can be made in it
        _remove(made)
        raise OSError(errno.EPERM, "no folder can be made here", str(folder)) from error
    except OSError as error:
        if folder.is_dir():  # whatever the system says of one that exists
            return made
        _remove(made)
        if error.errno == errno.EEXIST:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from error
        raise


def _remove(folders: list[Path]) -> None:
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def check_destination(folder: Path) -> None:
    """Raise `BadPathError` if nothing will ever be written into this folder; leaves no trace.

    What may pass (a full disk) is no reason to refuse.
    """
    try:
        with storage_errors(folder, "write into this folder"):
            _remove(make_destination(folder))
            if folder.exists() and not os.access(folder, os.W_OK | os.X_OK):
                read_only = os.statvfs(folder).f_flag & os.ST_RDONLY
                number = errno.EROFS if read_only else errno.EACCES
                raise OSError(number, os.strerror(number), str(folder))
    except StorageError as error:
        if error.lasting:
            raise BadPathError(str(error), lasting=True) from None
