"""The end of a download: its final name, and that it is recorded.

Once a file has its final name there is no way back: what is left to do is done again until it is
done, and what a former run had named and not recorded is recognised by its bytes.
Not for: how a name is given (`library.parts`), or when (the machines).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from twisted.logger import Logger

from peershare.content.chunks import chunk_offset
from peershare.content.names import folded, harmless, split_name
from peershare.errors import StorageError
from peershare.library.entries import Workers
from peershare.library.files import Identity, identity_of, open_regular, storage_errors
from peershare.library.hashing import hash_range
from peershare.library.index import ChunkRecord, DownloadRecord, Index
from peershare.library.parts import PartFile

# So many files of a name and size are looked at.
_MOST_CANDIDATES = 8


class Finishing:
    """Of one download; `path` is the final file, once there is one."""

    _log = Logger()

    def __init__(
        self,
        record: DownloadRecord,
        index: Index,
        workers: Workers,
        became_file: Callable[[Path, os.stat_result | None], None],
    ) -> None:
        """`became_file` is called once, as soon as the file has its final name.

        With what a worker saw there; None if it is gone already, or cannot be looked at.
        """
        self.path: Path | None = None
        self._record = record
        self._index = index
        self._workers = workers
        self._became_file = became_file
        self._seen: os.stat_result | None = None
        self._tidied = False  # nothing of the part is left, and the name is durable

    @property
    def needs_part(self) -> bool:
        """Whether there is still something to do with the part file."""
        return not self._tidied

    async def _named(self, path: Path) -> None:
        """It lies there under its final name, whoever gave it that."""
        if self.path is None:
            self.path = path
            try:
                self._seen = await self._workers(_status, path)
            except StorageError as error:
                self._log.warn("{error}", error=error)
            self._became_file(path, self._seen)

    async def recognised(self, path: Path) -> None:
        """A former run had given it its name, and could not record that any more."""
        self._tidied = True
        await self._named(path)

    async def name(self, part: PartFile, wanted: str, size: int) -> None:
        """Give it its name; asked again, go on where it failed.  Raises `StorageError`."""
        try:
            await self._workers(part.finish, wanted, size)
        except StorageError as error:
            if part.final is not None:
                await self._named(part.final)
            if part.final is None or not error.lasting:
                raise
            self._log.warn("{error}", error=error)  # it has its name; that is what counts
            part.close()
        if part.final is not None:
            await self._named(part.final)
        self._tidied = True

    async def record(self) -> Path:
        """Remember that it is there.  Raises `StorageError`: then it is to be asked again."""
        if self.path is None:
            raise ValueError("it has no final name yet")
        status: os.stat_result | None = self._seen or await self._workers(_status, self.path)
        if status is None:  # the user took it away at once
            self._index.set_wanted(self._record.id, False)
        else:
            self._index.finish(self._record.id, self.path, Identity.of(status))
        return self.path


def candidates(part: Path, folder: Path, wanted: str, size: int) -> list[Path]:
    """Worker: the files that may be what a part became that was to get this name.

    None while the part is there; else those with a name that begins alike (it may have got a
    number, or an extension) and this size.  Raises `StorageError`.
    """
    stem = folded(split_name(harmless(wanted))[0])
    try:
        with storage_errors(folder, "look into this folder"):
            if part.exists():
                return []
            paths = [path for path in folder.iterdir() if folded(path.name).startswith(stem)]
    except StorageError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return []
        raise
    sized = [path for path in sorted(paths) if (i := identity_of(path)) and i.size == size]
    return sized[:_MOST_CANDIDATES]


def holding_chunks(paths: Sequence[Path], chunks: Sequence[ChunkRecord], size: int) -> Path | None:
    """Worker: the first of these files that consists of these chunks, `size` bytes each.

    Raises `StorageError`.
    """
    return next((path for path in paths if _holds(path, chunks, size)), None)


def _holds(path: Path, chunks: Sequence[ChunkRecord], size: int) -> bool:
    with storage_errors(path, "read"):
        descriptor = open_regular(path)
        try:
            return all(
                hash_range(descriptor, chunk_offset(chunk.number, size), chunk.length)
                == chunk.digest
                for chunk in chunks
            )
        finally:
            os.close(descriptor)


def _status(path: Path) -> os.stat_result | None:
    """Worker: what is known of a file; None if it is gone.  Raises `StorageError`."""
    try:
        with storage_errors(path, "look at"):
            return path.lstat()
    except StorageError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise
