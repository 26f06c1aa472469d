"""The Library: what this peer has to give, right now.

It keeps the picture of the share folder by scanning, knows the parts that downloads hold and the
finished downloads that lie elsewhere, and tells who wants to know when that changed.  What classic
peers are told of it is on the `Shelf`, what native peers are told are the `Contents`.
Not for: sockets, or the bytes of a download (that is `parts`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from peershare.content.blocks import BlockSet
from peershare.content.chunks import ByteRange
from peershare.content.manifest import Manifest
from peershare.library.contents import Contents
from peershare.library.entries import ChunkHandle, ContentHandle, SharedFile, Workers
from peershare.library.files import Identity, may_be, status_of
from peershare.library.index import Index
from peershare.library.remarks import Remarks
from peershare.library.scan import WRITTEN, Scanner, is_unfinished
from peershare.library.shelf import Shelf
from peershare.library.surveys import KnownFiles, Survey, Surveys
from peershare.library.swarmpart import SwarmPart
from peershare.library.verifying import CHANGED_QUIETLY, verify
from peershare.library.watch import FolderWatch
from peershare.status import VerifyResult
from peershare.wire.catalogue import CatalogueEntry

# So many files are taken over before the reactor has its turn.
_SLICE_FILES = 250
# So long it is shown that a file was withdrawn, and of so many files.
_REMEMBERED_SECONDS = 3_600.0
_MOST_WITHDRAWN = 20

Callback = Callable[[], None]


class Library(Service):
    """See the module."""

    def __init__(
        self,
        reactor: Any,
        share: Path,
        index: Index,
        workers: Workers,
        hashers: Workers,
        wall_clock: Callable[[], float],
        watch: bool = True,
    ) -> None:
        """`workers` and `hashers` run a blocking function elsewhere and fire with its result.

        `watch` False: changes are found by the clock alone.
        """
        self._reactor = reactor
        self._hashers = hashers
        self._surveys = Surveys(
            reactor, workers, wall_clock, Scanner(share), self._known, self._take_over
        )
        self._watch = FolderWatch(share, self._surveys.changed_in_thread) if watch else None
        self._surveys.watch = self._watch
        self._remarks = Remarks(share)
        self._shelf = Shelf(share, index, self._remarks, reactor.seconds)
        self._contents = Contents(
            reactor,
            index,
            workers,
            hashers,
            self._remarks,
            lambda: self._tell(self._on_native_change),
            self._surveys.soon,
            self._withdraw,
        )
        self._swarms: dict[str, SwarmPart] = {}
        self._fresh: set[str] = set()  # files that came after the running scan had begun
        self._on_classic_change: list[Callback] = []
        self._on_native_change: list[Callback] = []
        self._on_blocks: list[Callable[[str, Sequence[int]], None]] = []
        self.share = share
        self._left_out: Mapping[str, str] = {}  # by the last scan, with reasons
        self._left_out_version = 0
        self._not_offered: tuple[int, Mapping[str, str]] = (0, {})  # as of a version
        self._log = Logger()
        self._withdrawn: dict[str, float] = {}  # sentences, and when
        # what was withdrawn since `verify` has said so
        self._changed_quietly: dict[str, Identity] = {}
        self.problem = ""
        self.first_scan = self._surveys.first

    # -- life

    def startService(self) -> None:
        """Scan at once and watch from now on."""
        super().startService()
        if self._watch is not None:
            self._watch.start()
        self._contents.start()
        self._surveys.start()

    def stopService(self) -> Deferred[Any]:
        """Watch, scan and hash no more; fires when no file is being hashed."""
        super().stopService()
        if self._watch is not None:
            self._watch.stop()
        self._surveys.stop()
        return self._contents.stop()

    def on_change(self, callback: Callback, *, classic: bool = True, native: bool = True) -> None:
        """Call this whenever what there is to tell `classic` or `native` peers may have changed."""
        if classic:
            self._on_classic_change.append(callback)
        if native:
            self._on_native_change.append(callback)

    def on_blocks(self, callback: Callable[[str, Sequence[int]], None]) -> None:
        """Call this with a content id and the blocks that came to its part."""
        self._on_blocks.append(callback)

    # -- what there is

    def files(self) -> tuple[SharedFile, ...]:
        """Every whole file, those of the share folder first."""
        return self._shelf.files_called(None)

    def find_file(self, path: Path) -> SharedFile | None:
        """The whole file that lies there, if it is known."""
        return self._shelf.file_at(path)

    @property
    def file_count(self) -> int:
        """How many whole files there are that anybody is offered."""
        shelf = self._shelf
        files = (shelf.files.get(k) or shelf.elsewhere.get(k) for k in self._contents.not_offered())
        kept_back = sum(1 for file in files if file is not None and file.problem)
        return len(shelf.files) + len(shelf.elsewhere) - kept_back

    @property
    def unhashed(self) -> int:
        """How many of them native peers are not told yet, because they are still to be hashed."""
        return self._contents.unhashed

    def not_offered(self) -> Mapping[str, str]:
        """What native peers are not offered of the share folder: by name, why, as a clause.

        The one place that says it: what the last scan left out, and files that cannot be offered
        for their name, their size or an error in reading them.  A file of a former download that
        lies elsewhere is named by its path.
        """
        version = self.not_offered_version
        if self._not_offered[0] != version:
            found = {**self._left_out, **self._contents.not_offered()}
            self._not_offered = (version, dict(sorted(found.items())))
        return self._not_offered[1]

    @property
    def not_offered_version(self) -> int:
        """Grows with each change of `not_offered`."""
        return self._left_out_version + self._contents.not_offered_version

    def chunk_names(self, file: SharedFile) -> tuple[str, ...]:
        """The five names a file is told under; none where it cannot be told."""
        return self._shelf.chunk_names(file)

    def groups_to_tell(self) -> Iterator[tuple[str, ...]]:
        """The chunk names to announce, those of one file together, oldest announced first."""
        return self._shelf.groups()

    @property
    def group_count(self) -> int:
        """How many groups `groups_to_tell` gives; cheaper than making them."""
        return self._shelf.count

    def find_chunk(self, requested: str) -> ChunkHandle | None:
        """The chunk of this name, spelled in any of the classic ways; None if we have it not."""
        return self._shelf.find_chunk(requested)

    def catalogue(self) -> tuple[CatalogueEntry, ...]:
        """What there is to tell native peers: hashed files and verified parts."""
        return self._contents.catalogue()

    def content_id(self, file: SharedFile) -> str:
        """The content id of a file, "" while it is not known."""
        return self._contents.id_of(file.key)

    def find_content(self, content_id: str, path: Path | None = None) -> ContentHandle | None:
        """The content of this id, a whole file where there is one; None if we have it not.

        Of several files the one at `path`, if there is one.
        """
        return self._contents.find(content_id, path)

    # -- what downloads bring

    def set_part(self, key: str, name: str, path: Path, held: Mapping[int, ByteRange]) -> None:
        """A download holds these chunks (and no others) of what the user calls `name`."""
        if self._shelf.put_part(key, name, path, held):
            self._tell(self._on_classic_change)

    def set_swarm(
        self, key: str, name: str, path: Path, manifest: Manifest, held: BlockSet
    ) -> None:
        """A download holds these verified blocks; `held` is its own set, which may grow.

        Native peers are told at once, classic ones of each chunk all of whose blocks are held.
        """
        part = self._swarms[key] = SwarmPart(name, path, manifest, held)
        self._contents.set_part(key, part.handle)
        classic = self._shelf.put_part(key, name, path, part.chunks)
        self._tell(self._on_native_change, self._on_classic_change if classic else ())

    def blocks_added(self, key: str, blocks: Sequence[int]) -> None:
        """These blocks came to the set that was given to `set_swarm`; nothing if it was dropped."""
        part = self._swarms.get(key)
        if part is None:
            return
        if part.add(blocks):
            self.set_part(key, part.handle.name, part.handle.path, part.chunks)
        for callback in self._on_blocks:
            callback(part.handle.id, blocks)

    def drop_part(self, key: str) -> None:
        """A download gives nothing any more."""
        if self._swarms.pop(key, None) is not None or key in self._shelf.parts:
            self._contents.remove(key)
            self._shelf.remove([key])
            self._changed()

    def part_became_file(
        self,
        key: str,
        path: Path,
        manifest: Manifest | None = None,
        seen: os.stat_result | None = None,
    ) -> None:
        """A download is complete and lies at `path`; it stays known by the stem it had.

        A `manifest` says that every byte was checked: the file is not hashed again.  `seen` is
        what a worker saw there; without, it is looked at here.
        """
        self._swarms.pop(key, None)
        self._contents.remove(key)
        self._fresh.add(self._shelf.key_of(path))
        status = None if self._is_left_out(path) else seen or status_of(path)
        identity = None if status is None else Identity.of(status)
        ctime_ns = 0 if status is None else status.st_ctime_ns
        for file in self._shelf.part_became_file(key, path, identity, ctime_ns):
            self._contents.add(file, manifest)
        self._contents.go_on()
        self._changed()

    def add_elsewhere(self, path: Path, identity: Identity) -> None:
        """A former download outside the share folder; offered unless it is seen to be another.

        One that cannot be looked at right now is: scans go on looking, and what is served is
        opened and compared.
        """
        if path.parent != self.share and may_be(path, identity):
            self._contents.add(self._shelf.put_at(path, identity))
            self._contents.go_on()
            self._changed()

    def _is_left_out(self, path: Path) -> bool:
        """Whether scans leave out what has this name."""
        return path.parent == self.share and is_unfinished(path.name)

    def touched_by_us(self, identity: Identity, before_ns: int, ctime_ns: int) -> None:
        """We gave a file one more name, which changes the time of its inode and not its bytes.

        `before_ns` is that time before.
        """
        shelf = self._shelf
        for file in (*shelf.files.values(), *shelf.elsewhere.values()):
            if file.identity == identity and file.ctime_ns == before_ns:
                touched = shelf.touch(file.key, ctime_ns)
                if touched is not None:
                    self._contents.touch(touched, ours=True)

    # -- checking

    def verify(self, name: str | None = None) -> Deferred[tuple[VerifyResult, ...]]:
        """Hash every file anew, or those of this name; fires with what that showed.

        What has changed is offered as what it is now.
        """
        return Deferred.fromCoroutine(self._verify(name))

    async def _verify(self, name: str | None) -> tuple[VerifyResult, ...]:
        files = self._shelf.files_called(name)
        meant = [(file, self.content_id(file)) for file in files]
        found = await verify(self._hashers, meant, lambda: not self.running)
        for file, hashed, result in found:
            if result.state == "unchanged" or not self.running or not self._shelf.holds(file):
                continue
            if hashed.manifest is None or hashed.identity != file.identity:
                self.rescan()
            elif not self.content_id(file):
                self._contents.add(file, hashed.manifest)
                self._contents.go_on()
                self._tell(self._on_native_change)
            elif self.content_id(file) != hashed.manifest.content_id:
                self._withdraw(file)
        return tuple(self._with_what_was_found(file, result) for file, _, result in found)

    def _with_what_was_found(self, file: SharedFile, result: VerifyResult) -> VerifyResult:
        """A change that was found before anybody asked is told to who asks first."""
        if self._changed_quietly.pop(file.key, None) != file.identity:
            return result
        if result.state not in ("unchanged", "new"):
            return result
        return replace(result, state="changed", detail=CHANGED_QUIETLY)

    def withdraw(self, content_id: str, path: Path) -> None:
        """The file at this path does not hold this content, which it is offered for."""
        file = self._shelf.file_at(path)
        if file is not None and self.content_id(file) == content_id:
            self._withdraw(file)

    def _withdraw(self, file: SharedFile) -> None:
        """Its bytes have changed, its size and time have not: offer it as what it is now.

        That is, once no program is writing it and all of it is hashed.
        """
        if not self._shelf.holds(file):
            return
        sentence = (
            f"{file.path}: its bytes have changed while its size and time have not, so it was"
            " withdrawn and is offered as what it is now (the disk may be failing)"
        )
        self._log.warn("{sentence}", sentence=sentence)
        self._withdrawn[sentence] = self._reactor.seconds()
        self._changed_quietly[file.key] = file.identity
        self._contents.forget(file)
        if file.key in self._shelf.elsewhere:
            self._contents.add(file)  # no scan would find it
            self._contents.go_on()
        else:
            self._shelf.remove([file.key])
            self.rescan()
        self._changed()

    @property
    def problems(self) -> tuple[str, ...]:
        """Sentences: what is wrong with the share folder, and what was withdrawn of late."""
        since = self._reactor.seconds() - _REMEMBERED_SECONDS
        withdrawn = [sentence for sentence, when in self._withdrawn.items() if when > since]
        return (*filter(None, [self.problem]), *withdrawn[-_MOST_WITHDRAWN:])

    # -- scanning

    def rescan(self) -> None:
        """Scan now; if a scan is running, once more after it."""
        self._surveys.rescan()

    def _known(self) -> KnownFiles:
        self._fresh.clear()
        shelf = self._shelf
        return KnownFiles(shelf.files.copy(), shelf.elsewhere.copy())

    async def _take_over(self, survey: Survey) -> None:
        """Take over what a scan found, in slices."""
        self.problem = survey.found.problem
        self._remarks.scanned(survey.found)
        found = survey.found
        left_out = dict(self._left_out) if found.doubtful else {}
        left_out.update(found.left_out)
        for name in found.restless.keys() - self._shelf.files.keys():
            left_out[name] = WRITTEN if name in found.written else "it is still changing"
        for name in found.unseen.keys() - self._shelf.files.keys():
            left_out[name] = found.unseen[name]
        if left_out != self._left_out:
            self._left_out = left_out
            self._left_out_version += 1
        self._shelf.expect([name for name, _ in survey.new])
        changes: list[tuple[str, Identity | None]] = [(key, None) for key in survey.gone]
        changes += survey.new
        for start in range(0, len(changes), _SLICE_FILES):
            if start:
                await deferLater(self._reactor, 0)
            if not self.running:
                return
            self._apply(changes[start : start + _SLICE_FILES], found.ctimes)
        for start in range(0, len(survey.touched), _SLICE_FILES):
            if start:
                await deferLater(self._reactor, 0)
            self._touch(survey.touched[start : start + _SLICE_FILES])
        if changes:
            self._changed()
        if self.problem:
            self._contents.go_on()
        else:
            self._contents.scanned()

    def _touch(self, touched: Sequence[tuple[str, int]]) -> None:
        """The inodes of these files have changed, by a link, a chmod or other bytes."""
        for key, ctime_ns in touched:
            file = None if key in self._fresh else self._shelf.touch(key, ctime_ns)
            if file is not None:
                self._contents.touch(file)

    def _apply(
        self, changes: Sequence[tuple[str, Identity | None]], ctimes: Mapping[str, int]
    ) -> None:
        """These files are gone (None) or there; what came meanwhile is known better."""
        fresh = self._fresh
        gone = [key for key, identity in changes if identity is None and key not in fresh]
        for key in gone:
            self._contents.remove(key)
        self._shelf.remove(gone)
        there = [(key, i) for key, i in changes if i is not None and key not in fresh]
        for file in self._shelf.put(there, ctimes):
            self._contents.add(file)

    # -- telling

    def _changed(self) -> None:
        self._tell(self._on_classic_change, self._on_native_change)

    def _tell(self, *callbacks: Iterable[Callback]) -> None:
        """Call these, each once."""
        for callback in dict.fromkeys(chain.from_iterable(callbacks)):
            callback()
