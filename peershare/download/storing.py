"""Where the bytes of a classic download go: the part file, its records, the final name.

Chunks are written as they arrive, then fsynced, hashed and recorded in a worker while the
next chunk is on its way.  Not for: choosing or judging what is fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from peershare.content.chunks import ByteRange, chunk_offset
from peershare.content.kinds import HEAD_BYTES, sniff_extension
from peershare.content.names import check_file_name, split_name
from peershare.download.plan import ChunkPlan
from peershare.errors import BadNameError, LocalError, StorageError
from peershare.library.entries import Workers
from peershare.library.files import identity_of
from peershare.library.index import ChunkRecord, DownloadRecord, Index
from peershare.library.library import Library
from peershare.library.parts import PartFile


class ChunkSink:
    """Writes one chunk at its place in the part file, as it arrives."""

    def __init__(self, part: PartFile, offset: int) -> None:
        self._part = part
        self._offset = offset

    def write(self, data: bytes) -> None:
        """Take the next bytes.  Raises `StorageError`."""
        self._part.write_at(data, self._offset)
        self._offset += len(data)


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
        self._part: PartFile | None = None
        self._checked = False
        self._storing: dict[int, Deferred[None]] = {}
        self._running: set[Deferred[Any]] = set()  # what workers are doing with the part
        self.moving: Deferred[None] | None = None  # while set, the front of the part is in use
        self._error: LocalError | None = None  # why a chunk could not be stored

    @property
    def part(self) -> PartFile:
        """The open part file.  Raises `StorageError` if it cannot be opened."""
        if self._part is None:
            self._part = PartFile(self.folder, f"{self._record.id}-{self.name}.part")
        return self._part

    async def check(self) -> None:
        """Open the part; keep of a former run's chunks what still hashes to what was recorded."""
        part = self.part
        if self._checked:
            return
        size = self._record.chunk_size
        kept: list[ChunkRecord] = []
        lost: list[ChunkRecord] = []
        for chunk in self._record.chunks if size else ():
            offset = chunk_offset(chunk.number, size or 0)
            digest = await self._run(part.hash, offset, chunk.length)
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

    def sink(self, number: int) -> ChunkSink:
        """Where this chunk is to be written.  Raises `StorageError` if there is no room for it."""
        part = self.part
        offset = self._plan.offset(number)
        if self._plan.chunk_size is not None:
            # blocks that a former attempt left there are counted twice: room is not exact
            part.check_room(max(0, offset + self._plan.chunk_size - max(part.size, offset)))
        return ChunkSink(part, offset)

    def keep(self, number: int, at_front: bool) -> None:
        """Store a chunk that the plan has accepted; `at_front`: it lies where chunk 1 belongs."""
        storing = Deferred.fromCoroutine(self._keep(number, at_front))
        storing.addErrback(self._not_kept, number)
        self._storing[number] = storing
        if at_front:
            self.moving = storing

    async def _keep(self, number: int, at_front: bool) -> None:
        chunk, size, part = self._plan.held[number], self._plan.chunk_size or 0, self.part
        offset = chunk_offset(number, size)
        if at_front:
            await self._run(part.move, 0, offset, chunk.length)
        digest = await self._run(part.sync_and_hash, offset, chunk.length)
        if self._plan.held.get(number) is not chunk:
            return  # outvoted meanwhile
        self._index.set_chunk_size(self._record.id, size)
        record = ChunkRecord(number, chunk.length, digest, chunk.source)
        self._index.add_chunk(self._record.id, record)
        self._plan.mark_stored(number)
        self._tell_library()

    def _not_kept(self, failure: Failure, number: int) -> None:
        """Storing failed: the chunk does not count, and `take_error` tells why."""
        self._plan.drop(number)
        if isinstance(failure.value, StorageError):
            self._error = failure.value
        else:
            self._log.failure("storing a chunk failed", failure=failure)
            self._error = StorageError(f"{self.folder}: chunk {number} could not be stored")

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

    async def finish(self, extension: str) -> Path:
        """Give the file its final name; return the path.  Raises `StorageError`.

        The typed extension wins, then `extension` (told by peers), then what the first bytes say.
        """
        size, part = self._plan.size, self.part
        if size is None:
            raise StorageError(f"{self.folder}: the chunks of {self.name} are not all here")
        if not split_name(self.name)[1]:
            extension = extension or sniff_extension(part.head(HEAD_BYTES))
        else:
            extension = ""
        final: Path = await self._run(part.finish, _final_name(self.name, extension), size)
        self._part = None
        identity = identity_of(final)
        if identity is not None:
            self._index.finish(self._record.id, final, identity)
        self._library.part_became_file(self.key, final)
        return final

    def close(self) -> Deferred[None]:
        """Close the part and leave it for next time; what it holds is still offered.

        Fires once nothing is being stored any more: a worker may still be using the file.
        """
        settled: Deferred[Any] = DeferredList(list(self._running))
        return settled.addCallback(self._close)

    def _close(self, _: object) -> None:
        if self._part is not None:
            self._part.close()
            self._part = None

    def _run(self, function: Callable[..., Any], *arguments: object) -> Deferred[Any]:
        """Run a blocking function in a worker, and know that it runs."""
        running: Deferred[Any] = Deferred()
        self._running.add(running)

        def ended(result: Any) -> Any:
            self._running.discard(running)
            running.callback(None)
            return result

        return self._workers(function, *arguments).addBoth(ended)

    def _tell_library(self) -> None:
        size = self._plan.chunk_size or 0
        held = {
            number: ByteRange(chunk_offset(number, size), chunk_offset(number, size) + chunk.length)
            for number, chunk in self._plan.held.items()
            if chunk.stored
        }
        self._library.set_part(self.key, self.name, self.part.path, held)


def _final_name(name: str, extension: str) -> str:
    """The name with the extension, unless that would be no fit file name."""
    try:
        return check_file_name(name + extension)
    except BadNameError:
        return check_file_name(name)
