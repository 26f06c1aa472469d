"""The part of a verified download: only bytes that hash to what the manifest says count.

Blocks are checked in memory and then written, or written at their places as they arrive and read
back for checking; what is verified is offered to others at once.  There is no record of what is
held: after a restart the file is hashed again (design, decision 4).
Not for: whom the blocks come from.
"""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Lock
from typing import TypeVar

from twisted.internet.defer import Deferred, DeferredLock, maybeDeferred, succeed
from twisted.logger import Logger

from peershare.content.blocks import BlockSet, block_range, block_size
from peershare.content.chunks import ByteRange
from peershare.content.manifest import Manifest, digest
from peershare.content.names import safe_file_name
from peershare.download.busy import Busy
from peershare.download.context import Progress
from peershare.download.finishing import Finishing, candidates
from peershare.download.picture import Fifths
from peershare.download.swarm.givers import Givers
from peershare.download.swarm.sinks import BlockSink
from peershare.errors import StorageError
from peershare.library.entries import ContentHandle, Workers
from peershare.library.filehash import Wanted, check_part, hash_large
from peershare.library.files import open_regular
from peershare.library.index import DownloadRecord, Index
from peershare.library.library import Library
from peershare.library.parts import PART_FOLDER, PartFile

T = TypeVar("T")

_FICLONE = 0x40049409  # linux/fs.h

_COPY_BYTES = 1 << 20
# A block up to this size is checked where it arrived, while it is still in the processor's cache:
# that takes a fraction of a millisecond, and to pass it on to another thread took as long.
CHECKED_AT_ONCE = 1 << 20
# To write so little takes less time than to have another thread do it.
WRITTEN_AT_ONCE = 1 << 18
# So much is with the threads at most; beyond that the reactor does it itself, and so takes in no
# more than is kept up with.
MOST_HANDED_BYTES = 1 << 24


class VerifiedPart:
    """The part file of one content, and what the library knows of it."""

    _log = Logger()

    def __init__(
        self,
        record: DownloadRecord,
        manifest: Manifest,
        index: Index,
        library: Library,
        workers: Workers,
        hashers: Workers,
    ) -> None:
        self.key = f"part:{record.id}"
        self.manifest = manifest
        self.held = BlockSet(manifest.block_count)
        self.fifths = Fifths(manifest.size)
        self.givers = Givers(manifest.block_count, block_size(manifest.size))
        self.missing_bytes = manifest.size
        self._record = record
        self._folder = Path(record.folder)
        self._file_name = f"{record.id}-{record.name}.part"
        self._index = index
        self._library = library
        self._workers = workers
        self._hashers = hashers
        self._file: PartFile | None = None
        self._finishing = Finishing(
            record,
            index,
            workers,
            lambda path, seen: library.part_became_file(self.key, path, manifest, seen),
        )
        self._busy = Busy()
        self._checking = DeferredLock()
        self._checked = False
        self._closing = False
        self._writing = Lock()
        self._handed_over = 0

    @property
    def path(self) -> Path:
        """Where the part lies."""
        return self._folder / PART_FOLDER / self._file_name

    @property
    def final(self) -> Path | None:
        """The file under its final name, once there is one: from then on there is no way back."""
        return self._finishing.path

    def progress(self, arriving: Iterable[ByteRange], givers: tuple[str, ...]) -> Progress:
        """How far it is; `arriving` is what has come, and is not checked yet."""
        chunks, size = self.fifths.chunks(arriving), self.manifest.size
        received = sum(chunk.received for chunk in chunks)
        return Progress(chunks, received, size, givers, self.givers.block_size)

    # -- what is here already

    def check(self) -> Deferred[None]:
        """Hash what lies there, keep what matches, offer it.  Fails with `StorageError`.

        Asked again, it only takes what is missing from a file that we have by now.
        """
        checked: Deferred[None] = self._checking.run(lambda: self._busy.track(self._check()))
        return checked

    async def _check(self) -> None:
        if not self._checked and await self._recognise():
            return
        file = await self._opened()
        own = self._library.find_content(self._record.content or "")
        if own is not None and own.held is not None:
            own = None
        if self._checked:
            missing = [index for index in range(self.held.total) if index not in self.held]
            if own is not None and missing:
                for index in await self._workers(_copy_blocks, own, file, self.manifest, missing):
                    self.accept(index)
            return
        if own is not None:
            await self._workers(_copy, own, file)
        if await self._workers(_to_be_checked, file):
            for index in await check_part(self._hashers, file, self.manifest):
                self._add(index, "")
        self._library.set_swarm(self.key, self._record.name, self.path, self.manifest, self.held)
        self._checked = True

    async def _recognise(self) -> bool:
        """Whether a former run had given it its final name already; then nothing is missing."""
        if not self._index.is_former(self._record.id):
            return False
        wanted = (self.path, self._folder, self._record.name)
        for path in await self._workers(candidates, *wanted, self.manifest.size):
            found = await hash_large(self._hashers, Wanted(path, None), lambda: self._closing)
            if found.manifest == self.manifest and not self._closing:
                for index in range(self.held.total):
                    self._add(index, "")
                self._checked = True
                await self._finishing.recognised(path)
                return True
        return False

    # -- blocks

    def check_room(self) -> Deferred[None]:
        """Fails with `StorageError` if the rest does not fit on the disk."""
        return self._busy.track(self._check_room())

    async def _check_room(self) -> None:
        if self._finishing.needs_part:
            file = await self._opened()
            await self._workers(_look_for_room, file, self.manifest.size)

    def sink(self, index: int, came: Callable[[int], None]) -> BlockSink:
        """Where the bytes of a block go: to their place in the file.  Raises `StorageError`.

        `came` is told how many came, as they come.
        """
        start = block_range(index, self.manifest.size).start
        return BlockSink(self._open().write_at, start, came)

    def verify(self, index: int) -> Deferred[bool]:
        """Whether what was written of a block is right.  Fails with `StorageError`."""
        return self._busy.track(self._verify(index))

    async def _verify(self, index: int) -> bool:
        where = block_range(index, self.manifest.size)
        found = await self._hashers(self._open().hash, where.start, where.length)
        return bool(found == self.manifest.digest_of(index))

    def keep(self, index: int, data: memoryview) -> Deferred[bool]:
        """Check a block that is in memory and, if it is right, write it.

        A large one beside the reactor, unless too much waits for that already: nobody else may
        write to its place meanwhile.  Fails with `StorageError`.
        """
        length = len(data)
        beside = self._handed_over + length <= MOST_HANDED_BYTES
        work = self._check_and_write
        if length <= CHECKED_AT_ONCE:
            if not self.manifest.check(index, data):
                return succeed(False)
            work = self._write
        if length <= WRITTEN_AT_ONCE or not beside:
            return maybeDeferred(work, index, data)
        self._handed_over += length
        kept: Deferred[bool] = self._hashers(work, index, data)
        return self._busy.until(kept.addBoth(self._handed_back, length))

    def _handed_back(self, result: T, length: int) -> T:
        self._handed_over -= length
        return result

    def _check_and_write(self, index: int, data: memoryview) -> bool:
        """Worker: whether these are the bytes of a block; then they are written."""
        return self.manifest.check(index, data) and self._write(index, data)

    def _write(self, index: int, data: memoryview) -> bool:
        """Worker: write the bytes of a block, if they are still wanted; True.

        Two threads that write to one file at a time would only spin in the kernel.
        """
        with self._writing:
            if index not in self.held:
                self._open().write_at(data, block_range(index, self.manifest.size).start)
        return True

    def store(self, index: int, data: bytes | bytearray | memoryview) -> Deferred[bool]:
        """Check a block that is in memory and, if it is right, write it at once.

        For a block to whose place somebody else may be writing.  Fails with `StorageError`.
        """
        return self._busy.track(self._store(index, data))

    async def _store(self, index: int, data: bytes | bytearray | memoryview) -> bool:
        if len(data) <= CHECKED_AT_ONCE:
            right = self.manifest.check(index, data)
        else:
            right = await self._hashers(digest, data) == self.manifest.digest_of(index)
        if not right:
            return False
        if index not in self.held:
            self._open().write_at(memoryview(data), block_range(index, self.manifest.size).start)
        return True

    def idle(self) -> Deferred[None]:
        """Fires when nothing is being read, checked or written any more."""
        return self._busy.idle()

    def accept(self, index: int, giver: str = "") -> None:
        """This block is here and verified: it counts, and others may have it."""
        if self._add(index, giver):
            self._library.blocks_added(self.key, (index,))

    def _add(self, index: int, giver: str) -> bool:
        if not self.held.add(index):
            return False
        self.givers.gave(index, giver)
        where = block_range(index, self.manifest.size)
        self.fifths.add(where)
        self.missing_bytes -= where.length
        return True

    # -- the end

    def finish(self) -> Deferred[Path]:
        """Give the file its final name; fires with the path.  Fails with `StorageError`.

        Not before every worker has left it: a second copy of a block may be with one still.
        Asked again, it goes on where it failed.
        """
        return self._busy.idle().addCallback(lambda _: self._busy.track(self._finish()))

    async def _finish(self) -> Path:
        if self._finishing.needs_part:
            if self._finishing.path is None:
                await self._check_again(self._open())
            name = safe_file_name(self._record.name)
            await self._finishing.name(self._open(), name, self.manifest.size)
            self._file = None
        return await self._finishing.record()

    async def _check_again(self, file: PartFile) -> None:
        """Another program may have written into it since its blocks were verified.

        Raises `StorageError` if some are not right any more; then these are not held.
        """
        if not file.was_changed():
            return
        file.expect_no_changes()
        right = BlockSet(self.held.total, await check_part(self._hashers, file, self.manifest))
        if right.complete or self._closing:
            return
        self.held, self.fifths = BlockSet(right.total), Fifths(self.manifest.size)
        self.missing_bytes = self.manifest.size
        for index in right:
            self._add(index, "")
        self._library.set_swarm(self.key, self._record.name, self.path, self.manifest, self.held)
        lost = right.total - len(right)
        raise StorageError(
            f"{self.path}: another program wrote into it; {lost} blocks of it are fetched again"
        )

    def close(self) -> Deferred[None]:
        """Close the part and leave it for next time; what it holds is still offered.

        Fires once no worker uses it any more.
        """
        self._closing = True
        if self._file is not None:
            self._file.abandon()
        return self._busy.idle().addCallback(self._close)

    def _close(self, _: object) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    async def _opened(self) -> PartFile:
        """The part file, which a worker opens.  Raises `StorageError`."""
        if self._file is None:
            self._file = await self._workers(PartFile, self._folder, self._file_name)
        return self._file

    def _open(self) -> PartFile:
        if self._file is None:
            self._file = PartFile(self._folder, self._file_name)
        return self._file


def _to_be_checked(file: PartFile) -> int:
    """Worker: how long a part is that is about to be checked; what others write counts from now."""
    file.expect_no_changes()
    return file.size


def _look_for_room(file: PartFile, size: int) -> None:
    """Worker: raise `StorageError` if a part of so many bytes does not fit on the disk."""
    file.check_room(max(0, size - file.room))


def _copy(own: ContentHandle, file: PartFile) -> None:
    """Worker: copy a content that we have elsewhere; whether it is right is checked afterwards.

    Its blocks on the disk are shared where the file system can do that, until one of the two files
    is written to; never the file itself: what is done to one name is not done to the other.  What
    cannot be read is fetched instead.  Raises `StorageError` if it cannot be written.
    """
    try:
        descriptor = open_regular(own.path)
    except OSError:
        return
    try:
        if _clone(descriptor, file.descriptor):
            return
        offset = 0
        while not file.abandoned() and (data := _read(descriptor, _COPY_BYTES, offset)):
            file.write_at(data, offset)
            offset += len(data)
    finally:
        os.close(descriptor)


def _clone(source: int, target: int) -> bool:
    """Whether the file system made the target a clone of the source, at once."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False  # it cannot; or the disk is in the way, which is met again by who copies
    return True


def _copy_blocks(
    own: ContentHandle, file: PartFile, manifest: Manifest, blocks: Iterable[int]
) -> list[int]:
    """Worker: copy these blocks of a content that we have elsewhere; those that are right.

    What cannot be read is fetched instead.  Raises `StorageError` if it cannot be written.
    """
    right: list[int] = []
    try:
        descriptor = open_regular(own.path)
    except OSError:
        return right
    try:
        for index in blocks:
            where = block_range(index, manifest.size)
            data = _read(descriptor, where.length, where.start)
            if manifest.check(index, data):
                file.write_at(data, where.start)
                right.append(index)
    finally:
        os.close(descriptor)
    return right


def _read(descriptor: int, length: int, offset: int) -> bytes:
    """What can be read there, nothing where that fails."""
    try:
        return os.pread(descriptor, length, offset)
    except OSError:
        return b""


def manifest_of_one(data: bytes, content: str) -> Manifest | None:
    """The manifest of a content of one block, out of its bytes; None if they are not its bytes."""
    manifest = Manifest(len(data), digest(data))
    return manifest if manifest.content_id == content else None
