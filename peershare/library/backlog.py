"""The backlog: files whose content id is not known yet, looked up or hashed in the background.

What was hashed before is found in the index; the rest is hashed smallest first, large files one
after another beside the small ones, so that neither waits for the other.  What cannot be read is
tried again after the next scan.  Files whose inodes alone have changed are hashed anew once there
is nothing else to do: a link or another mode changes those as well as other bytes do.
Not for: what is done with the ids.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from peershare.content.manifest import Manifest
from peershare.errors import StorageError
from peershare.library.entries import SharedFile, Workers
from peershare.library.filehash import SLICE_BYTES, Hashed, Wanted, hash_files, hash_large
from peershare.library.files import Identity
from peershare.library.hashes import HashStore, Known
from peershare.library.hashing import HashingStoppedError

# So many small files are one task, and so many ids are taken in before others have their turn.
_BATCH_FILES = 256
_SLICE_FILES = 500
# After so many newly hashed files it is looked at what may be forgotten.
_PRUNE_FILES = 10_000


class Backlog:
    """Files in, files with their content ids out."""

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        workers: Workers,
        hashers: Workers,
        store: HashStore,
        known: Callable[[list[tuple[SharedFile, Known]]], None],
        problem: Callable[[SharedFile, str], None],
        rescan: Callable[[], None],
        other_bytes: Callable[[SharedFile], None],
    ) -> None:
        """Called are `known` with files and what they hash to, `problem` with a file and why.

        And `rescan` when a file is not what the last scan saw, and `other_bytes` when one that
        was to be hashed anew is not what it was.
        """
        self._reactor = reactor
        self._workers = workers
        self._hashers = hashers
        self._store = store
        self._known = known
        self._problem = problem
        self._rescan = rescan
        self._other_bytes = other_bytes
        self._files: dict[str, SharedFile] = {}  # all of them
        self._new: dict[str, SharedFile] = {}  # not looked up yet
        self._small: list[tuple[int, str]] = []  # heaps of what is to be hashed: size, key
        self._large: list[tuple[int, str]] = []
        self._failed: dict[str, SharedFile] = {}
        self._doubtful: dict[str, tuple[SharedFile, str]] = {}  # to be hashed anew, with their ids
        self._undecided: dict[str, tuple[SharedFile, str]] = {}  # after the next scan
        self._disk_failed = False
        self._lanes: dict[str, Deferred[None]] = {}
        self._to_prune = 0  # files until that is done
        self.stopped = True

    def __len__(self) -> int:
        return len(self._files)

    def start(self) -> None:
        """Look up and hash from now on."""
        self.stopped = False
        self.go_on()

    def stop(self) -> Deferred[Any]:
        """Do no more; fires when nothing is under way."""
        self.stopped = True
        return DeferredList(list(self._lanes.values()))

    def ended(self) -> bool:
        """Whether it was stopped; threads ask."""
        return self.stopped

    # -- what is wanted

    def add(self, file: SharedFile, *, anew: bool = False) -> None:
        """What does this file hash to (`anew`: whatever is remembered)?  `go_on` is to follow."""
        self.discard(file.key)
        self._files[file.key] = file
        if anew:
            self._push(file)
        else:
            self._new[file.key] = file

    def add_hashed(self, file: SharedFile, manifest: Manifest) -> None:
        """This is what it hashes to: remember it."""
        self.discard(file.key)
        self._store.save([(file.identity, manifest)], [file.ctime_ns])

    def add_doubtful(self, file: SharedFile, content: str) -> None:
        """It hashed to this, and its inode has changed since.  `go_on` is to follow."""
        self.discard(file.key)
        self._doubtful[file.key] = (file, content)

    def discard(self, key: str) -> None:
        """It is not wanted any more."""
        for where in (self._files, self._new, self._failed):
            where.pop(key, None)
        for doubts in (self._doubtful, self._undecided):
            doubts.pop(key, None)

    def scanned(self, present: Callable[[], Collection[Identity]]) -> None:
        """The folder was scanned: try again what failed.

        Where nothing is to be done, forget files that are not `present` any more.
        """
        undecided, self._undecided = self._undecided, {}
        self._doubtful.update(undecided)
        failed, self._failed = self._failed, {}
        for file in failed.values():
            if self._files.get(file.key) is file:
                self._push(file)
        if self._to_prune <= 0 and not self._files and not self._lanes:
            self._to_prune = _PRUNE_FILES
            there = present()
            self._run("prune", lambda: self._prune(there))
        self.go_on()

    def go_on(self) -> None:
        """See that everything that is to be done is being done."""
        if self._new:
            self._run("look up", self._look_up)
        if self._small:
            self._run("small", self._hash_small)
        if self._large:
            self._run("large", self._hash_large)
        if self._doubtful and not self._lanes:
            self._run("anew", self._hash_anew)

    # -- the lanes

    def _run(self, lane: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if self.stopped or lane in self._lanes:
            return
        over: Deferred[None] = Deferred()
        self._lanes[lane] = over

        def ended(result: object) -> None:
            if isinstance(result, Failure) and result.check(HashingStoppedError) is None:
                self._log.failure("hashing in the background failed", failure=result)
            del self._lanes[lane]
            over.callback(None)
            if self._doubtful and not self._lanes:
                self.go_on()

        Deferred.fromCoroutine(work()).addBoth(ended)

    async def _look_up(self) -> None:
        while self._new and not self.stopped:
            new, self._new = self._new, {}
            wanted = [file.identity for file in new.values()]
            try:
                found: dict[Identity, Known] = await self._workers(self._store.find, wanted)
            except StorageError as error:
                self._say(error)
                found = {}
            files = [file for file in new.values() if self._files.get(file.key) is file]
            for start in range(0, len(files), _SLICE_FILES):
                if start:
                    await deferLater(self._reactor, 0)
                self._take_in(files[start : start + _SLICE_FILES], found)
            self.go_on()

    def _take_in(self, files: Iterable[SharedFile], found: dict[Identity, Known]) -> None:
        known: list[tuple[SharedFile, Known]] = []
        undated: list[tuple[Identity, int]] = []
        for file in files:
            hashed = found.get(file.identity)
            if self._files.get(file.key) is not file:
                continue
            if hashed is None:
                self._push(file)
            else:
                del self._files[file.key]
                known.append((file, hashed))
                if not hashed.ctime_ns:
                    undated.append((file.identity, file.ctime_ns))
                elif file.ctime_ns not in (0, hashed.ctime_ns):
                    self._doubtful[file.key] = (file, hashed.content)
        if undated:
            self._store.refresh(undated)
        if known:
            self._known(known)

    async def _hash_small(self) -> None:
        while batch := self._next_batch():
            wanted = [Wanted(file.path, file.identity) for file in batch]
            with self._trying(batch):
                self._take(batch, await self._hashers(hash_files, wanted, self.ended))

    async def _hash_large(self) -> None:
        while not self.stopped and (file := self._next(self._large)):
            wanted = Wanted(file.path, file.identity)
            with self._trying([file]):
                self._take([file], [await hash_large(self._hashers, wanted, self.ended)])

    async def _hash_anew(self) -> None:
        """One after another, until there is something else to do."""
        while self._doubtful and not self.stopped and len(self._lanes) == 1:
            key, (file, content) = next(iter(self._doubtful.items()))
            del self._doubtful[key]
            self._undecided[key] = (file, content)
            wanted = Wanted(file.path, file.identity)
            manifest = (await hash_large(self._hashers, wanted, self.ended)).manifest
            if self._undecided.get(key) != (file, content) or manifest is None:
                continue  # it is another one by now, or looked at again after the next scan
            del self._undecided[key]
            if manifest.content_id == content:
                self._store.save([(file.identity, manifest)], [file.ctime_ns])
            else:
                self._other_bytes(file)

    @contextmanager
    def _trying(self, files: list[SharedFile]) -> Iterator[None]:
        """If this fails, these files are tried again after the next scan."""
        try:
            yield
        except Exception:
            self._failed.update((file.key, file) for file in files)
            raise

    def _next_batch(self) -> list[SharedFile]:
        batch: list[SharedFile] = []
        left = SLICE_BYTES
        while len(batch) < _BATCH_FILES and left > 0 and not self.stopped:
            file = self._next(self._small)
            if file is None:
                break
            batch.append(file)
            left -= file.size
        return batch

    def _next(self, heap: list[tuple[int, str]]) -> SharedFile | None:
        """The smallest file that is still wanted."""
        while heap:
            size, key = heapq.heappop(heap)
            file = self._files.get(key)
            if file is not None and file.size == size and key not in self._new:
                return file
        return None

    def _push(self, file: SharedFile) -> None:
        heap = self._small if file.size <= SLICE_BYTES else self._large
        heapq.heappush(heap, (file.size, file.key))

    def _take(self, files: list[SharedFile], results: list[Hashed]) -> None:
        """Take over what became of files that were to be hashed."""
        changed = False
        known: list[tuple[SharedFile, Known]] = []
        for file, result in zip(files, results, strict=True):
            if self._files.get(file.key) is not file:
                continue  # it is another one by now
            if result.manifest is not None:
                del self._files[file.key]
                known.append((file, Known(result.manifest.content_id, result.manifest)))
                continue
            self._failed[file.key] = file
            if result.problem:
                self._problem(file, result.problem)
            else:
                changed = not self.stopped
        if known:
            self._store.save(
                [(file.identity, hashed.manifest) for file, hashed in known],
                [file.ctime_ns for file, _ in known],
            )
            self._to_prune -= len(known)
            self._known(known)
        if changed:
            self._rescan()

    async def _prune(self, present: Collection[Identity]) -> None:
        try:
            self._store.forget(await self._workers(self._store.forgettable, present))
        except StorageError as error:
            self._say(error)

    def _say(self, error: StorageError) -> None:
        if not self._disk_failed:
            self._disk_failed = True
            self._log.warn("{error}", error=error)
