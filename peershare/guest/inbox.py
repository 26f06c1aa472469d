"""The inbox: files from guests, hidden until somebody here accepts them.

An upload lies in the unscanned `.peershare/` of the inbox folder until it is decided on; then it
gets its name there, which overwrites nothing, or goes.  Before a guest is answered that a file is
here, its bytes, a name that says so, and its line in a list in the state folder are durable.  A
file with that name is never removed unless somebody here says so: where the list is lost, or
cannot be read, the file is still there.  Not for: HTTP.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

import msgspec
from msgspec.structs import asdict, replace
from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger

from peershare.content.kinds import HEAD_BYTES, sniff_extension
from peershare.content.names import display, safe_file_name
from peershare.errors import LocalError, StorageError, UnknownUploadError
from peershare.guest.status import GuestUpload, UploadState
from peershare.library.entries import Workers
from peershare.library.files import storage_errors
from peershare.library.parts import PART_FOLDER, PartFile
from peershare.state import replace_file

MAX_UPLOADS = 100
MAX_UPLOADS_PER_ADDRESS = 25
# So many times the limit of one file may lie here at a time, all that arrives included.
TOTAL_FACTOR = 4
_NO_ROOM = "the files that wait here take too much room; try again later"
LIST_NAME = "guest_uploads.json"
# A file that is whole, and that its guest may have been answered; before that it is arriving.
_SUFFIX = ".upload"
_ARRIVING_SUFFIX = ".arriving"
_WHOLE_NAME = re.compile(rf"guest-([0-9a-f]{{16}}){re.escape(_SUFFIX)}", re.ASCII)
_MAX_LIST_BYTES = 1 << 20


class _Listed(GuestUpload, frozen=True, kw_only=True):
    """A line of the list."""

    digest: str = ""  # BLAKE3 of its bytes, in hex; "": not known


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
        self._inbox.check_total(len(data))
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

    def abort(self) -> bool:
        """It will not be finished: keep nothing; whether that is so.  It is not after `finish`."""
        if self._over:
            return False
        self._over = True
        self._inbox.drop(self, self._file)
        return True


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
        self._keeping: dict[str, GuestUpload] = {}  # whole, and not durable yet
        self._digests: dict[str, str] = {}
        self._deciding: set[str] = set()
        self._placing: dict[str, PartFile] = {}  # that have their name, which is not durable yet
        self._writing = DeferredLock()  # the list
        self._recalled = False
        self._problem = ""

    def recall(self) -> None:
        """What a former run left: take back what was whole, remove what was not.

        Where that cannot be read it is tried again when this is called again, and nothing is
        taken, changed or removed before.
        """
        if self._recalled:
            return
        try:
            listed, names = self._read_list(), self._names()
            for upload in listed:
                if names is None or _file_name(upload.id) in names:
                    self._take_back(upload)
            for name in names or ():
                whole = _WHOLE_NAME.fullmatch(name)
                if whole is not None and whole[1] not in self._waiting:
                    self._take_back(self._unlisted(whole[1]))
        except StorageError as error:
            if str(error) != self._problem:
                self._log.warn("guests' files cannot be looked at yet: {error}", error=error)
            self._problem = str(error)
            return
        self._recalled, self._problem = True, ""
        for name in names or ():
            if name.startswith("guest-") and name.endswith(_ARRIVING_SUFFIX):
                with suppress(StorageError):  # another node's, or at the next start
                    PartFile(self._folder, name, make=False).remove()

    def _take_back(self, upload: _Listed) -> None:
        fields = asdict(upload)
        self._digests[upload.id] = fields.pop("digest")
        self._waiting[upload.id] = GuestUpload(**fields)

    def _names(self) -> set[str] | None:
        """What lies there; None where not even the folder does.  Raises `StorageError`."""
        with storage_errors(self._folder, "look into this folder"):
            try:
                return {path.name for path in os.scandir(self._folder / PART_FOLDER)}
            except FileNotFoundError:
                with suppress(FileNotFoundError):
                    self._folder.lstat()
                    return set()
                return None  # a disk that is not there now

    def _unlisted(self, identifier: str) -> _Listed:
        """A file whose line was lost, under a name made for it.  Raises `StorageError`."""
        file = PartFile(self._folder, _file_name(identifier), make=False)
        try:
            size, head = file.size, file.head(HEAD_BYTES)
        finally:
            file.close()
        return _Listed(
            id=identifier,
            name=f"guest-{identifier}{sniff_extension(head)}",
            size=size,
            address="",
            received=size,
            state=UploadState.WAITING,
            received_at=self._wall_clock(),
        )

    def uploads(self) -> tuple[GuestUpload, ...]:
        """Everything that arrives or waits, in the order it came."""
        arriving = (upload.shown for upload in self._arriving.values())
        return tuple(sorted((*arriving, *self._waiting.values()), key=lambda u: u.received_at))

    # -- what guests do

    def check_size(self, size: int) -> None:
        """Raise `NotTakenError` if one file may not have so many bytes."""
        if size > self._limit:
            raise NotTakenError(f"a file may have at most {self._limit:,} bytes here")

    def check_total(self, more: int) -> None:
        """Raise `NotTakenError` if so many bytes more may not lie here."""
        if self.used() + more > TOTAL_FACTOR * self._limit:
            raise NotTakenError(_NO_ROOM)

    def begin(self, name: str, size: int, address: str) -> Upload:
        """A file begins to arrive; `size` is what it will have at most.

        Raises `BadNameError`, `NotTakenError`, `StorageError`.
        """
        name = safe_file_name(name)
        self.check_size(size)
        self.recall()
        if not self._recalled:
            raise StorageError(self._problem)
        known = self.uploads()
        of_address = sum(upload.address == address for upload in known)
        if (
            len(known) >= _part_for(MAX_UPLOADS, of_address)
            or of_address >= MAX_UPLOADS_PER_ADDRESS
        ):
            raise NotTakenError("too many files wait to be accepted here; try again later")
        # what only was announced takes no room from others
        if self.used() + size > _part_for(TOTAL_FACTOR * self._limit, of_address):
            raise NotTakenError(_NO_ROOM)
        identifier = f"{self._random.getrandbits(64):016x}"
        file = PartFile(self._folder, _arriving_name(identifier))
        try:
            file.check_room(size)
            if not file.leaves_spare(size):
                raise StorageError(f"{self._folder}: the disk is nearly full", size)
        except StorageError:
            _remove(file)
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

    def used(self) -> int:
        """How many bytes of guests are here."""
        return sum(
            upload.received if upload.state is UploadState.ARRIVING else upload.size
            for upload in self.uploads()
        )

    async def keep(self, upload: Upload, file: PartFile) -> GuestUpload:
        """An upload is whole: put it on the disk for good, and let it wait.

        Raises `StorageError`: then nothing is kept.
        """
        identifier, shown = upload.shown.id, upload.shown
        shown = replace(shown, size=shown.received, state=UploadState.WAITING)
        try:
            self._digests[identifier] = await self._workers(self._secure, file, shown)
            self._keeping[identifier] = shown
            await self._save()
        except StorageError:
            self._digests.pop(identifier, None)
            self.drop(upload, file)
            raise
        finally:
            self._keeping.pop(identifier, None)
        file.close()
        del self._arriving[identifier]
        self._waiting[identifier] = shown
        self._waits(shown)
        return shown

    def _secure(self, file: PartFile, shown: GuestUpload) -> str:
        """Worker: its bytes are durable, then a name that says so; its digest."""
        digest = file.sync_and_hash(0, shown.size).hex()
        file.rename(_file_name(shown.id))
        return digest

    def drop(self, upload: Upload, file: PartFile) -> None:
        """An upload came to nothing."""
        del self._arriving[upload.shown.id]
        _remove(file)

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
        await self._forget(upload.id)
        self._log.info("a guest's file was accepted: {path}", path=display(str(path)))
        return replace(upload, state=UploadState.ACCEPTED, path=str(path))

    def _place(self, upload: GuestUpload) -> Path:
        """Worker: the last step.  What has its name already is gone on with."""
        file = self._placing.pop(upload.id, None)
        if file is None:
            file = PartFile(self._folder, _file_name(upload.id), make=False)
        try:
            if file.final is None:
                self._check(upload, file)
            return file.finish(upload.name, upload.size)
        finally:
            if file.final is None or file.descriptor < 0:
                file.close()
            else:
                self._placing[upload.id] = file

    def _check(self, upload: GuestUpload, file: PartFile) -> None:
        """Worker: raise `StorageError` unless it is what the guest sent."""
        known = self._digests.get(upload.id, "")
        found = file.hash(0, upload.size) if known and file.size == upload.size else None
        if file.size != upload.size or (known and (found is None or found.hex() != known)):
            raise StorageError(f"{file.path}: it is not what the guest sent any more")

    def refuse(self, identifier: str) -> GuestUpload:
        """Remove an upload, or cut it while it arrives.

        Raises `UnknownUploadError`; `StorageError`: then it still waits.
        """
        arriving = self._arriving.get(identifier)
        if arriving is not None and arriving.abort():
            return replace(arriving.shown, state=UploadState.REFUSED)
        upload = self._decide(identifier)
        path = self._folder / PART_FOLDER / _file_name(identifier)
        with storage_errors(path, "remove"):
            path.unlink(missing_ok=True)
        Deferred.fromCoroutine(self._forget(identifier)).addErrback(
            lambda failure: self._log.failure("a list was not written", failure=failure)
        )
        return replace(upload, state=UploadState.REFUSED)

    async def _forget(self, identifier: str) -> None:
        """It is decided on.  A line that stays in the list has no file, and is no upload."""
        self._waiting.pop(identifier, None)
        self._digests.pop(identifier, None)
        try:
            await self._save()
        except StorageError as error:
            self._log.warn("the list of guests' files is not up to date: {error}", error=error)

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
        for file in self._placing.values():
            file.close()

    def _read_list(self) -> tuple[_Listed, ...]:
        """What it says; nothing where there is none, or it is damaged.  Raises `StorageError`.

        A damaged one is set aside: the files themselves say what is there.
        """
        try:
            with storage_errors(self._list, "read"), self._list.open("rb") as file:
                data = file.read(_MAX_LIST_BYTES)
        except StorageError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return ()
            raise
        try:
            listed = msgspec.json.decode(data, type=tuple[_Listed, ...])
        except (msgspec.DecodeError, UnicodeDecodeError):
            listed = None
        if listed is None or not all(_WHOLE_NAME.fullmatch(_file_name(u.id)) for u in listed):
            self._set_aside()
            return ()
        return tuple(listed)

    def _set_aside(self) -> None:
        """Nothing is overwritten.  Raises `StorageError`."""
        with storage_errors(self._list, "set aside"):
            for number in range(1, 1_000):
                aside = self._list.with_name(f"{self._list.name}.bad{number if number > 1 else ''}")
                if not os.path.lexists(aside):
                    self._list.rename(aside)
                    self._log.warn("{path} was damaged; it was set aside", path=str(aside))
                    return

    async def _save(self) -> None:
        """Write the list, for good.  Raises `StorageError`."""
        await self._writing.acquire()
        try:
            listed = tuple(
                _Listed(**asdict(upload), digest=self._digests.get(upload.id, ""))
                for upload in (*self._waiting.values(), *self._keeping.values())
            )
            await self._workers(self._write, msgspec.json.encode(listed))
        finally:
            self._writing.release()

    def _write(self, data: bytes) -> None:
        """Worker."""
        replace_file(self._list, data, durable=True)


def _part_for(whole: int, of_address: int) -> int:
    """How much of it may be in use for one more; the last quarter is for who has nothing here."""
    return whole if not of_address else whole * 3 // 4


def _file_name(identifier: str) -> str:
    return f"guest-{identifier}{_SUFFIX}"


def _arriving_name(identifier: str) -> str:
    return f"guest-{identifier}{_ARRIVING_SUFFIX}"


def _remove(file: PartFile) -> None:
    """Remove what is not whole; what cannot be removed now is at the next start."""
    with suppress(StorageError):
        file.remove()
