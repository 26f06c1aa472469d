"""Where the bytes of a classic download go: the part file, its records, the final name.

Chunks are written as they arrive, then fsynced, hashed and recorded in a worker while the
next chunk is on its way.  Not for: choosing or judging what is fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from twisted.internet.defer import Deferred, DeferredList, DeferredLock
from twisted.logger import Logger

from peershare.content.chunks import CHUNK_COUNT, ByteRange, chunk_offset
from peershare.content.kinds import HEAD_BYTES, sniff_extension
from peershare.content.names import safe_file_name, split_name
from peershare.download.busy import Busy
from peershare.download.finishing import Finishing, candidates, holding_chunks
from peershare.download.plan import ChunkPlan, HeldChunk
from peershare.errors import BadNameError, LocalError, PeerError, Reason, StorageError
from peershare.library.entries import Workers
from peershare.library.index import ChunkRecord, DownloadRecord, Index
from peershare.library.library import Library
from peershare.library.parts import PART_FOLDER, PartFile, PipedBytes

# A chunk whose size is unknown is tried again once there is so much more room than before.
_MORE_ROOM_BYTES = 65_536
# After so many bytes of a chunk whose size nobody knows the room on the disk is looked at again.
_LOOK_BYTES = 4 << 20


class ChunkSink:
    """Writes one chunk at its place in the part file, as it arrives."""

    def __init__(self, part: PartFile, offset: int, on_full: Callable[[int], None] | None) -> None:
        """`on_full` is called with the end of what there was room for, if there is too little."""
        self._part = part
        self._offset = offset
        self._on_full = on_full
        self._start, self._look_at = offset, offset + _LOOK_BYTES

    def write(self, data: bytes | PipedBytes) -> None:
        """Take the next bytes.

        Raises `StorageError`, and `PeerError` if a chunk whose size nobody knows would take the
        last room of the disk: it may never end.
        """
        if self._on_full is not None and self._offset >= self._look_at:
            self._look_at = self._offset + _LOOK_BYTES
            self._leave_spare(self._on_full)
        try:
            self._part.write_at(data, self._offset)
        except StorageError as error:
            if error.needed_bytes is not None and self._on_full is not None:
                self._on_full(self._offset + len(data) - error.needed_bytes)
            raise
        self._offset += len(data)

    def _leave_spare(self, on_full: Callable[[int], None]) -> None:
        if self._part.leaves_spare(_LOOK_BYTES):
            return
        on_full(self._offset)
        received = self._offset - self._start
        raise PeerError(
            Reason.SURPLUS, f"sent {received:,} bytes without an end; the disk has no room for more"
        )


class PartStore:
    """The part of one download, its records in the index, and what the library knows of it."""

    _log = Logger()

    def __init__(
        self,
        record: DownloadRecord,
        plan: ChunkPlan,
        index: Index,
        library: Library,
        workers: Workers,
    ) -> None:
        self.name = record.name
        self.folder = Path(record.folder)
        self.key = f"part:{record.id}"
        self._record = record
        self._plan = plan
        self._index = index
        self._library = library
        self._workers = workers
        self._path = self.folder / PART_FOLDER / f"{record.id}-{record.name}.part"
        self._finishing = Finishing(
            record,
            index,
            workers,
            lambda path, seen: library.part_became_file(self.key, path, None, seen),
        )
        self._part: PartFile | None = None
        self._checking = DeferredLock()
        self._checked = False
        self._storing: dict[int, Deferred[None]] = {}
        self._busy = Busy()  # what uses the part
        self._closing = False
        self._least_room = 0  # bytes: less was not enough for a chunk of unknown size
        self.moving: Deferred[None] | None = None  # while set, the front of the part is in use
        self._error: LocalError | None = None  # why a chunk could not be stored

    @property
    def part(self) -> PartFile:
        """The open part file.  Raises `StorageError` if it cannot be opened."""
        if self._part is None:
            self._part = PartFile(self.folder, self._path.name)
        return self._part

    async def _opened(self) -> PartFile:
        """The same, opened by a worker."""
        if self._part is None:
            self._part = await self._workers(PartFile, self.folder, self._path.name)
        return self._part

    @property
    def final(self) -> Path | None:
        """The file under its final name, once there is one: from then on there is no way back."""
        return self._finishing.path

    def check(self) -> Deferred[None]:
        """Keep of a former run's chunks what still hashes to what was recorded.

        Where there are none, no part file is made before there is somebody to fetch from; it
        is done once.  Fails with `StorageError`.
        """
        checked: Deferred[None] = self._checking.run(lambda: self._busy.track(self._check()))
        return checked

    async def _check(self) -> None:
        if self._checked or not self._record.chunks:
            return
        if await self._recognise():
            return
        part = await self._opened()
        size = self._record.chunk_size
        kept: list[ChunkRecord] = []
        lost: list[ChunkRecord] = []
        for chunk in self._record.chunks if size else ():
            offset = chunk_offset(chunk.number, size or 0)
            digest = await self._workers(part.hash, offset, chunk.length)
            if self._closing:
                return
            (kept if digest == chunk.digest else lost).append(chunk)
        self._checked = True
        for chunk in kept:
            self._plan.chunk_size = size
            self._plan.accept(chunk.number, chunk.length, chunk.source)
            self._plan.mark_stored(chunk.number)
        if lost:
            self._index.drop_chunks(self._record.id, tuple(chunk.number for chunk in lost))
            self._log.warn(
                "{name}: {count} chunks of a former run are damaged and fetched again",
                name=self.name,
                count=len(lost),
            )
        self._tell_library()

    async def _recognise(self) -> bool:
        """Whether a former run had given it its final name already; then nothing is missing."""
        chunks, size = self._record.chunks, self._record.chunk_size
        if size is None or len(chunks) < CHUNK_COUNT:
            return False
        total = sum(chunk.length for chunk in chunks)
        wanted = (self._path, self.folder, self._record.name)
        paths = await self._workers(candidates, *wanted, total)
        found = await self._workers(holding_chunks, paths, chunks, size) if paths else None
        if found is None or self._closing:
            return False
        self._checked = True
        self._plan.chunk_size = size
        for chunk in chunks:
            self._plan.accept(chunk.number, chunk.length, chunk.source)
            self._plan.mark_stored(chunk.number)
        await self._finishing.recognised(found)
        return True

    def sink(self, number: int) -> Deferred[ChunkSink]:
        """Where this chunk is to be written.

        Fails with `StorageError` if there is no room for it.
        """
        return self._busy.track(self._sink(number))

    async def _sink(self, number: int) -> ChunkSink:
        # as it is now: the plan may change while a worker looks
        offset, size = self._plan.offset(number), self._plan.chunk_size
        part = await self._opened()
        if size is None:
            part.check_room(self._least_room)
            return ChunkSink(part, offset, self._ran_full)
        # blocks that a former attempt left there are counted twice: room is not exact
        part.check_room(max(0, offset + size - max(part.size, offset)))
        return ChunkSink(part, offset, None)

    def _ran_full(self, reached: int) -> None:
        """The disk was full at this offset, by a chunk that was begun without a chunk size.

        So nothing is held: the room is given back, and nobody is asked again before there is
        more of it; a peer may send without end.
        """
        self._least_room = reached + _MORE_ROOM_BYTES
        self.part.truncate()

    def keep(self, number: int, at_front: bool) -> None:
        """Store a chunk that the plan has accepted; `at_front`: it lies where chunk 1 belongs."""
        storing = self._busy.track(self._keep(number, at_front))
        self._storing[number] = storing
        if at_front:
            self.moving = storing

    async def _keep(self, number: int, at_front: bool) -> None:
        """Store it; if that fails it does not count, and `take_error` tells why."""
        chunk = self._plan.held[number]
        try:
            await self._store(number, chunk, at_front)
        except Exception as error:
            if self._plan.held.get(number) is chunk:
                self._plan.drop(number)
            if not isinstance(error, StorageError):
                self._log.failure("storing a chunk failed")
                error = StorageError(f"{self.folder}: chunk {number} could not be stored")
            self._error = error

    async def _store(self, number: int, chunk: HeldChunk, at_front: bool) -> None:
        size, part = self._plan.chunk_size or 0, self.part
        offset = chunk_offset(number, size)
        if at_front:
            await self._workers(part.move, 0, offset, chunk.length)
        digest = await self._workers(part.sync_and_hash, offset, chunk.length)
        if self._plan.held.get(number) is not chunk:
            return  # outvoted meanwhile
        self._index.set_chunk_size(self._record.id, size)
        record = ChunkRecord(number, chunk.length, digest, chunk.source)
        self._index.add_chunk(self._record.id, record)
        self._plan.mark_stored(number)
        self._tell_library()

    def take_error(self) -> LocalError | None:
        """Why a chunk could not be stored since this was asked last; None if all is well."""
        error, self._error = self._error, None
        return error

    def drop(self, numbers: Iterable[int]) -> None:
        """These chunks do not count any more; if that cannot be recorded, it is `take_error`'s."""
        self._tell_library()
        try:
            self._index.drop_chunks(self._record.id, tuple(numbers))
        except StorageError as error:
            self._error = error

    async def settle(self) -> None:
        """Wait until nothing is being stored.  Raises the `StorageError` of a chunk that failed."""
        await DeferredList(list(self._storing.values()))
        self._storing.clear()
        error = self.take_error()
        if error is not None:
            raise error

    def finish(self, extension: str) -> Deferred[Path]:
        """Give the file its final name; fires with the path.  Fails with `StorageError`.

        Asked again, it goes on where it failed.

        The typed extension wins, then `extension` (told by peers), then what the first bytes say.
        """
        return self._busy.track(self._finish(extension))

    async def _finish(self, extension: str) -> Path:
        if self._finishing.needs_part:
            size, part = self._plan.size, await self._opened()
            if size is None:
                raise StorageError(f"{self.folder}: the chunks of {self.name} are not all here")
            if not split_name(self.name)[1]:
                head = await self._workers(part.head, HEAD_BYTES)
                extension = extension or sniff_extension(head)
            else:
                extension = ""
            await self._finishing.name(part, _final_name(self.name, extension), size)
            self._part = None
        return await self._finishing.record()

    def close(self) -> Deferred[None]:
        """Close the part and leave it for next time; what it holds is still offered.

        Fires once nothing is being stored any more: a worker may still be using the file.
        """
        self._closing = True
        return self._busy.idle().addCallback(self._close)

    def hurry(self) -> None:
        """Whatever is being read of the part is not worth waiting for any more."""
        if self._part is not None:
            self._part.abandon()

    def _close(self, _: object) -> None:
        if self._part is not None:
            self._part.close()
            self._part = None

    def _tell_library(self) -> None:
        size = self._plan.chunk_size or 0
        held = {
            number: ByteRange(chunk_offset(number, size), chunk_offset(number, size) + chunk.length)
            for number, chunk in self._plan.held.items()
            if chunk.stored
        }
        self._library.set_part(self.key, self.name, self._path, held)


def _final_name(name: str, extension: str) -> str:
    """The name with the extension, unless that would be no fit file name."""
    try:
        return safe_file_name(name + extension)
    except BadNameError:
        return safe_file_name(name)
