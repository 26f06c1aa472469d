"""The inbox: files from guests, hidden until somebody here accepts them.

An upload lies in the unscanned `.peershare/` of the inbox folder until it is decided on; then it
gets its name there, which overwrites nothing, or goes.  What waits survives a restart: a list in
the state folder names it, and leftovers that it does not name are removed.
Not for: HTTP.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

import msgspec
from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from peershare.content.names import display, safe_file_name
from peershare.errors import LocalError, StorageError, UnknownUploadError
from peershare.guest.status import GuestUpload, UploadState
from peershare.library.entries import Workers
from peershare.library.parts import PART_FOLDER, PartFile
from peershare.state import replace_file

MAX_UPLOADS = 100
MAX_UPLOADS_PER_ADDRESS = 25
# So many times the limit of one file may lie here at a time, all that arrives included.
TOTAL_FACTOR = 4
LIST_NAME = "guest_uploads.json"
_SUFFIX = ".upload"
_MAX_LIST_BYTES = 1 << 20


class NotTakenError(LocalError):
    """This upload is not taken, or not any more; the text says why."""


class Upload:
    """One file that arrives: `write` until all is there, then `finish`; or `abort`."""

    def __init__(self, inbox: Inbox, shown: GuestUpload, file: PartFile) -> None:
        self._inbox = inbox
        self._file = file
        self._over = False
        self.shown = shown

    def write(self, data: bytes) -> None:
        """Take the next bytes.  Raises `NotTakenError`, `StorageError`: then `abort` it."""
        if self._over:
            raise NotTakenError("this file was refused here")
        received = self.shown.received + len(data)
        self._inbox.check_size(received)
        self._file.write_at(data, self.shown.received)
        self.shown = replace(self.shown, received=received)

    def finish(self) -> Deferred[GuestUpload]:
        """All bytes came: fires once they are safe on the disk.

        Raises `NotTakenError`; fails with `StorageError`.
        """
        if self._over:
            raise NotTakenError("this file was refused here")
        self._over = True
        return Deferred.fromCoroutine(self._inbox.keep(self, self._file))

    def abort(self) -> None:
        """It will not be finished: keep nothing.  Nothing happens after `finish`."""
        if not self._over:
            self._over = True
            self._inbox.drop(self, self._file)


class Inbox:
    """All uploads that are not decided on."""

    _log = Logger()

    def __init__(
        self,
        folder: Path,
        state: Path,
        limit_bytes: int,
        workers: Workers,
        random: Random,
        wall_clock: Callable[[], float],
        waits: Callable[[GuestUpload], None],
    ) -> None:
        """`folder` is where accepted files go; `waits` is called with each that has come whole."""
        self._folder = folder
        self._list = state / LIST_NAME
        self._limit = limit_bytes
        self._workers = workers
        self._random = random
        self._wall_clock = wall_clock
        self._waits = waits
        self._arriving: dict[str, Upload] = {}
        self._waiting: dict[str, GuestUpload] = {}
        self._deciding: set[str] = set()

    def recall(self) -> None:
        """What a former run left: take back what was whole, remove what was not."""
        for upload in self._read_list():
            if self._size_of(upload.id) == upload.size:
                self._waiting[upload.id] = upload
        kept = set(map(_file_name, self._waiting))
        for path in (self._folder / PART_FOLDER).glob(f"guest-*{_SUFFIX}"):
            if path.name not in kept:
                _unlink(path)

    def uploads(self) -> tuple[GuestUpload, ...]:
        """Everything that arrives or waits, in the order it came."""
        arriving = (upload.shown for upload in self._arriving.values())
        return tuple(sorted((*arriving, *self._waiting.values()), key=lambda u: u.received_at))

    # -- what guests do

    def check_size(self, size: int) -> None:
        """Raise `NotTakenError` if one file may not have so many bytes."""
        if size > self._limit:
            raise NotTakenError(f"a file may have at most {self._limit:,} bytes here")

    def begin(self, name: str, size: int, address: str) -> Upload:
        """A file begins to arrive; `size` is what it will have at most.

        Raises `BadNameError`, `NotTakenError`, `StorageError`.
        """
        name = safe_file_name(name)
        self.check_size(size)
        known = self.uploads()
        if len(known) >= MAX_UPLOADS or _count(known, address) >= MAX_UPLOADS_PER_ADDRESS:
            raise NotTakenError("too many files wait to be accepted here; try again later")
        if sum(upload.size for upload in known) + size > TOTAL_FACTOR * self._limit:
            raise NotTakenError("the files that wait here take too much room; try again later")
        identifier = f"{self._random.getrandbits(64):016x}"
        file = PartFile(self._folder, _file_name(identifier))
        try:
            file.check_room(size)
        except StorageError:
            self._remove(identifier, file)
            raise
        shown = GuestUpload(
            id=identifier,
            name=name,
            size=size,
            address=address,
            received=0,
            state=UploadState.ARRIVING,
            received_at=self._wall_clock(),
        )
        upload = self._arriving[identifier] = Upload(self, shown, file)
        return upload

    async def keep(self, upload: Upload, file: PartFile) -> GuestUpload:
        """An upload is whole: put it on the disk for good, and let it wait."""
        identifier = upload.shown.id
        try:
            await self._workers(file.sync)
        except StorageError:
            self.drop(upload, file)
            raise
        file.close()
        del self._arriving[identifier]
        shown = upload.shown
        shown = replace(shown, size=shown.received, state=UploadState.WAITING)
        self._waiting[identifier] = shown
        self._write_list()
        self._waits(shown)
        return shown

    def drop(self, upload: Upload, file: PartFile) -> None:
        """An upload came to nothing."""
        del self._arriving[upload.shown.id]
        self._remove(upload.shown.id, file)

    # -- what somebody here does

    def accept(self, identifier: str) -> Deferred[GuestUpload]:
        """Give an upload its name in the inbox folder, or `name (2)`; fires with its path.

        Raises `UnknownUploadError`; fails with `StorageError`: then it still waits.
        """
        upload = self._decide(identifier)
        self._deciding.add(identifier)
        return Deferred.fromCoroutine(self._accept(upload))

    async def _accept(self, upload: GuestUpload) -> GuestUpload:
        try:
            path = await self._workers(self._place, upload)
        finally:
            self._deciding.discard(upload.id)
        del self._waiting[upload.id]
        self._write_list()
        self._log.info("a guest's file was accepted: {path}", path=display(str(path)))
        return replace(upload, state=UploadState.ACCEPTED, path=str(path))

    def _place(self, upload: GuestUpload) -> Path:
        """Worker: the last step."""
        file = PartFile(self._folder, _file_name(upload.id))
        try:
            if file.size != upload.size:
                raise StorageError(f"{file.path}: it is not what the guest sent any more")
            return file.finish(upload.name, upload.size)
        finally:
            file.close()

    def refuse(self, identifier: str) -> GuestUpload:
        """Remove an upload, or cut it while it arrives.  Raises `UnknownUploadError`."""
        arriving = self._arriving.get(identifier)
        if arriving is not None:
            arriving.abort()
            return replace(arriving.shown, state=UploadState.REFUSED)
        upload = self._decide(identifier)
        del self._waiting[identifier]
        self._remove(identifier)
        self._write_list()
        return replace(upload, state=UploadState.REFUSED)

    def _decide(self, identifier: str) -> GuestUpload:
        upload = self._waiting.get(identifier)
        if upload is None or identifier in self._deciding:
            raise UnknownUploadError(f"no upload {display(identifier)} waits to be decided on")
        return upload

    # -- below

    def stop(self) -> None:
        """Cut what arrives; what waits is kept."""
        for upload in tuple(self._arriving.values()):
            upload.abort()

    def _remove(self, identifier: str, file: PartFile | None = None) -> None:
        if file is not None:
            file.close()
        _unlink(self._folder / PART_FOLDER / _file_name(identifier))

    def _size_of(self, identifier: str) -> int:
        try:
            return (self._folder / PART_FOLDER / _file_name(identifier)).lstat().st_size
        except OSError:
            return -1

    def _read_list(self) -> tuple[GuestUpload, ...]:
        try:
            with self._list.open("rb") as file:
                return msgspec.json.decode(file.read(_MAX_LIST_BYTES), type=tuple[GuestUpload, ...])
        except (OSError, msgspec.DecodeError):
            return ()

    def _write_list(self) -> None:
        try:
            replace_file(self._list, msgspec.json.encode(tuple(self._waiting.values())))
        except StorageError as error:
            self._log.warn("after a restart guests' files are forgotten: {error}", error=error)


def _file_name(identifier: str) -> str:
    return f"guest-{identifier}{_SUFFIX}"


def _unlink(path: Path) -> None:
    """Remove it; what cannot be removed now is tried again at the next start."""
    with suppress(OSError):
        path.unlink()


def _count(uploads: tuple[GuestUpload, ...], address: str) -> int:
    return sum(upload.address == address for upload in uploads)
