"""The shelf: files and parts under the names that classic peers are told.

A request never becomes a path: names are looked up here, paths come from our own scans.
Not for: finding files, hashing them, or content ids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace
from twisted.logger import Logger

from peershare.content.chunks import CHUNK_COUNT, ByteRange, chunk_ranges, has_five_chunks
from peershare.content.names import chunk_name, parse_chunk_name
from peershare.errors import StorageError
from peershare.library.entries import ChunkHandle, SharedFile, SharedPart
from peershare.library.files import Identity
from peershare.library.index import Index
from peershare.library.remarks import Remarks
from peershare.library.stems import Stems
from peershare.resolving import normal


class Shelf:
    """Files of the share folder by name, files elsewhere by path, parts by key."""

    _log = Logger()

    def __init__(
        self, share: Path, index: Index, remarks: Remarks, clock: Callable[[], float]
    ) -> None:
        """`clock` gives monotonic seconds."""
        self._share = share
        self._remarks = remarks
        self._clock = clock
        self._stems = Stems(index)
        self._elsewhere_by_name: dict[str, SharedFile] = {}
        self.files: dict[str, SharedFile] = {}
        self.elsewhere: dict[str, SharedFile] = {}
        self.parts: dict[str, SharedPart] = {}

    # -- what there is

    def key_of(self, path: Path) -> str:
        """Under which key a file at this path is found."""
        return path.name if path.parent == self._share else str(path)

    def file_at(self, path: Path) -> SharedFile | None:
        """The file at this path, if it is known."""
        key = self.key_of(path)
        return self.files.get(key) or self.elsewhere.get(key)

    def files_called(self, name: str | None) -> tuple[SharedFile, ...]:
        """The files of this name or stem, or (None) all; those of the share folder first.

        The two ways to write an accent are one name.
        """
        files = (*self.files.values(), *self.elsewhere.values())
        if name is None:
            return files
        wanted = normal(name)
        return tuple(
            f for f in files if wanted in (normal(f.name), normal(self._stems.get(f.key) or ""))
        )

    def holds(self, file: SharedFile) -> bool:
        """Whether this is still what is there."""
        return file in (self.files.get(file.key), self.elsewhere.get(file.key))

    @property
    def count(self) -> int:
        """How many groups of names there are to announce."""
        files = (*self.files.values(), *self.elsewhere.values())
        return len(self.parts) + sum(not file.problem for file in files)

    def chunk_names(self, file: SharedFile) -> tuple[str, ...]:
        """The five names a file is told under; none where it cannot be told."""
        stem = self._stems.get(file.key)
        if file.problem or stem is None:
            return ()
        return tuple(chunk_name(stem, number) for number in range(1, CHUNK_COUNT + 1))

    def groups(self) -> Iterator[tuple[str, ...]]:
        """The chunk names to announce, those of one file together, oldest announced first."""
        for key, stem in self._stems.items():
            part = self.parts.get(key)
            file = self.files.get(key) or self.elsewhere.get(key)
            if part is not None:
                names = tuple(chunk_name(stem, number) for number in sorted(part.held))
            else:
                names = self.chunk_names(file) if file is not None else ()
            if names:
                yield names

    def find_chunk(self, requested: str) -> ChunkHandle | None:
        """The chunk of this name, spelled in any of the classic ways; None if we have it not."""
        name = parse_chunk_name(requested)
        if name is None or not 1 <= name.number <= CHUNK_COUNT:
            return None
        for part in self.parts.values():
            stem = self._stems.get(part.key)
            if stem and name.base in (stem, part.name) and name.number in part.held:
                told = chunk_name(stem, name.number)
                return ChunkHandle(told, part.path, part.held[name.number], None)
        file = self._find_file(name.base)
        if file is None:
            return None
        return ChunkHandle(
            self.chunk_names(file)[name.number - 1],
            file.path,
            chunk_ranges(file.size)[name.number - 1],
            file.identity,
        )

    def _find_file(self, base: str) -> SharedFile | None:
        """A file that can be told: by its stem, else by its name."""
        key = self._stems.key_of(base)
        by_stem = None if key is None else self.files.get(key) or self.elsewhere.get(key)
        for file in (by_stem, self.files.get(base), self._elsewhere_by_name.get(base)):
            if file is not None and not file.problem:
                return file
        return None

    # -- what comes and goes

    def expect(self, keys: Sequence[str]) -> None:
        """These are about to be put: nobody else is to get their stems."""
        self._stems.expect(keys)

    def put(
        self, names: Sequence[tuple[str, Identity]], ctimes: Mapping[str, int]
    ) -> list[SharedFile]:
        """These files of the share folder are there, new or changed."""
        found = [(name, self._share, name, identity) for name, identity in names]
        files = self._told(found, ctimes)
        self.files.update((file.key, file) for file in files)
        return files

    def touch(self, key: str, ctime_ns: int) -> SharedFile | None:
        """The inode of a file has changed, its size and time have not."""
        where = self.files if key in self.files else self.elsewhere
        file = where.get(key)
        if file is not None:
            file = where[key] = replace(file, ctime_ns=ctime_ns)
            if self._elsewhere_by_name.get(file.name, file).key == key and key in self.elsewhere:
                self._elsewhere_by_name[file.name] = file
        return file

    def put_at(self, path: Path, identity: Identity, ctime_ns: int = 0) -> SharedFile:
        """This file is there, in the share folder or elsewhere."""
        key = self.key_of(path)
        if path.parent == self._share:
            return self.put([(key, identity)], {key: ctime_ns})[0]
        (file,) = self._told([(key, path.parent, path.name, identity)], {key: ctime_ns})
        self.elsewhere[file.key] = file
        self._elsewhere_by_name.setdefault(file.name, file)
        return file

    def _told(
        self, found: Sequence[tuple[str, Path, str, Identity]], ctimes: Mapping[str, int]
    ) -> list[SharedFile]:
        """These files with stems, or with the reasons why they have none."""
        fit = [(key, name) for key, _, name, identity in found if has_five_chunks(identity.size)]
        refused = self._stems.assign(fit, self._clock())
        files: list[SharedFile] = []
        for key, folder, name, identity in found:
            problem = refused.get(key, "")
            if not has_five_chunks(identity.size):
                problem = f"{identity.size} bytes cannot be divided into 5 equal chunks"
            if problem:
                self._remarks.untold(name, problem)
            ctime_ns = ctimes.get(key, 0)
            files.append(SharedFile(key, folder, name, identity, problem, ctime_ns))
        return files

    def remove(self, keys: Sequence[str]) -> None:
        """These files or parts are gone."""
        count = len(self.elsewhere)
        for key in keys:
            for where in (self.files, self.elsewhere, self.parts):
                where.pop(key, None)
            self._stems.gone(key, self._clock())
        if len(self.elsewhere) < count:
            by_name = [(file.name, file) for file in self.elsewhere.values()]
            self._elsewhere_by_name = dict(reversed(by_name))  # the first of a name wins

    def put_part(self, key: str, name: str, path: Path, held: Mapping[int, ByteRange]) -> bool:
        """A download holds these chunks (and no others) of what the user calls `name`.

        False if it holds none, as before.
        """
        if not held:
            return self.parts.pop(key, None) is not None
        if key not in self.parts:
            self._stems.assign([(key, name)], self._clock())
        self.parts[key] = SharedPart(key, name, path, dict(held))
        return True

    def part_became_file(
        self, key: str, path: Path, identity: Identity | None, ctime_ns: int = 0
    ) -> list[SharedFile]:
        """A part is a file now, known by the stem it was told under; unless it is gone (None)."""
        if identity is None:
            self.remove([key])
            return []
        self.parts.pop(key, None)
        try:
            self._stems.rename(key, self.key_of(path))
        except StorageError as error:
            self._log.warn("{error}", error=error)
        return [self.put_at(path, identity, ctime_ns)]
