"""The Library: what this peer has to give, right now.

It owns the picture of the share folder (kept by scanning), of the parts that downloads hold,
and of finished downloads that lie elsewhere; it says what to announce and finds what is asked
for.  A request never becomes a path: names are looked up, paths come from our own scans.
Not for: sockets, or the bytes of a download (that is `parts`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from peershare.content.chunks import CHUNK_COUNT, ByteRange, chunk_ranges, has_five_chunks
from peershare.content.names import chunk_name, parse_chunk_name
from peershare.errors import StorageError
from peershare.library.entries import ChunkHandle, SharedFile, SharedPart, Workers
from peershare.library.files import Identity, identity_of
from peershare.library.index import Index
from peershare.library.remarks import Remarks
from peershare.library.scan import REST_SECONDS, FolderScan, Scanner
from peershare.library.stems import Stems
from peershare.library.watch import FolderWatch
from peershare.timers import Alarm

# While the folder is watched a scan by the clock is only a safety net; where it cannot be
# watched it is the only way.  A large folder is scanned by the clock less often.
_NET_SECONDS = 30.0
_SCAN_SECONDS = 1.0
_SCAN_SHARE = 50.0
_GATHER_SECONDS = 0.05


class Library(Service):
    """See the module; `on_change` is called after every change of what there is to tell."""

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        share: Path,
        index: Index,
        workers: Workers,
        wall_clock: Callable[[], float],
    ) -> None:
        """`workers(function, *arguments)` runs a blocking function and fires with its result."""
        self._reactor = reactor
        self._workers = workers
        self._wall_clock = wall_clock
        self._scanner = Scanner(share)
        self._watch = FolderWatch(share, self._changed_in_thread)
        self._stems = Stems(index)
        self._files: dict[str, SharedFile] = {}
        self._elsewhere: dict[str, SharedFile] = {}
        self._parts: dict[str, SharedPart] = {}
        self._by_base: dict[str, SharedFile] = {}
        self._scanning = False
        self._scan_again = False
        self._restless = False
        self._fresh: set[str] = set()  # files that came after the running scan had begun
        self._not_remembered: set[str] = set()  # their stems, for the disk failed
        self._scan_alarm = Alarm(reactor)
        self._scan_seconds = 0.0
        self._remarks = Remarks(share)
        self._on_change: list[Callable[[], None]] = []
        self.share = share
        self.problem = ""
        self.first_scan: Deferred[None] = Deferred()

    # -- life

    def startService(self) -> None:
        """Scan at once and watch from now on."""
        super().startService()
        self._watch.start()
        self.rescan()

    def stopService(self) -> None:
        """Watch and scan no more."""
        super().stopService()
        self._watch.stop()
        self._scan_alarm.clear()

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call this whenever what there is to tell may have changed."""
        self._on_change.append(callback)

    # -- what there is

    def files(self) -> tuple[SharedFile, ...]:
        """Every whole file, those of the share folder first."""
        return (*self._files.values(), *self._elsewhere.values())

    def chunk_names(self, file: SharedFile) -> tuple[str, ...]:
        """The five names a file is told under; none where it cannot be told."""
        stem = self._stems.get(file.key)
        if file.problem or stem is None:
            return ()
        return tuple(chunk_name(stem, number) for number in range(1, CHUNK_COUNT + 1))

    def groups_to_tell(self) -> Iterator[tuple[str, ...]]:
        """The chunk names to announce, those of one file together, oldest announced first."""
        order = self._stems.order()
        entries: list[SharedFile | SharedPart] = [*self.files(), *self._parts.values()]
        told = [entry for entry in entries if entry.key in order]
        for entry in sorted(told, key=lambda entry: order[entry.key]):
            if isinstance(entry, SharedFile):
                names = self.chunk_names(entry)
            else:
                stem = self._stems.get(entry.key) or ""
                names = tuple(chunk_name(stem, number) for number in sorted(entry.held))
            if names:
                yield names

    def find_chunk(self, requested: str) -> ChunkHandle | None:
        """The chunk of this name, spelled in any of the classic ways; None if we have it not."""
        name = parse_chunk_name(requested)
        if name is None or not 1 <= name.number <= CHUNK_COUNT:
            return None
        for part in self._parts.values():
            stem = self._stems.get(part.key)
            if stem and name.base in (stem, part.name) and name.number in part.held:
                told = chunk_name(stem, name.number)
                return ChunkHandle(told, part.path, part.held[name.number], None)
        file = self._by_base.get(name.base)
        if file is None:
            return None
        return ChunkHandle(
            self.chunk_names(file)[name.number - 1],
            file.path,
            chunk_ranges(file.size)[name.number - 1],
            file.identity,
        )

    # -- what downloads bring

    def set_part(self, key: str, name: str, path: Path, held: Mapping[int, ByteRange]) -> None:
        """A download holds these chunks (and no others) of what the user calls `name`."""
        if held:
            self._assign([(key, name)])
            self._parts[key] = SharedPart(key, name, path, dict(held))
        elif self._parts.pop(key, None) is None:
            return
        self._changed()

    def drop_part(self, key: str) -> None:
        """A download gives nothing any more."""
        if self._parts.pop(key, None) is not None:
            self._stems.gone(key, self._reactor.seconds())
            self._changed()

    def part_became_file(self, key: str, path: Path) -> None:
        """A download is complete and lies at `path`; it stays known by the stem it had."""
        self._parts.pop(key, None)
        in_share = path.parent == self.share
        new_key = path.name if in_share else str(path)
        self._fresh.add(new_key)
        try:
            self._stems.rename(key, new_key)
        except StorageError as error:
            self._log.warn("{error}", error=error)
        self._add_file(new_key, path, identity_of(path), in_share)
        self._changed()

    def add_elsewhere(self, path: Path, identity: Identity) -> None:
        """A former download outside the share folder; offered only if it is unchanged."""
        if path.parent != self.share and identity_of(path) == identity:
            self._add_file(str(path), path, identity, False)
            self._changed()

    # -- scanning

    def rescan(self) -> None:
        """Scan now; if a scan is running, once more after it."""
        if self._scanning:
            self._scan_again = True
            return
        self._scanning = True
        self._scan_again = False
        self._fresh.clear()
        self._restless = False
        self._scan_alarm.clear()
        started = self._reactor.seconds()
        scan = self._workers(self._scanner.scan, self._wall_clock(), started)
        scan.addCallback(self._scanned, started)
        scan.addErrback(lambda failure: self._log.failure("scanning failed", failure=failure))
        scan.addBoth(self._scan_ended)

    def _changed_in_thread(self) -> None:
        self._reactor.callFromThread(self._scan_in, _GATHER_SECONDS)

    def _scan_in(self, seconds: float) -> None:
        """Scan in so many seconds at the latest."""
        if not self.running:
            return
        due = self._scan_alarm.due
        if due is None or due > self._reactor.seconds() + seconds:
            self._scan_alarm.set(seconds, self.rescan)

    def _scan_ended(self, _: object) -> None:
        self._scanning = False
        by_clock = _NET_SECONDS if self._watch.working else _SCAN_SECONDS
        self._scan_in(max(by_clock, _SCAN_SHARE * self._scan_seconds))
        if self._restless:
            self._scan_in(REST_SECONDS)
        if self._scan_again:
            self._scan_in(_GATHER_SECONDS)
        if not self.first_scan.called:
            self.first_scan.callback(None)

    def _scanned(self, found: FolderScan, started: float) -> None:
        """Take over what a scan found."""
        if not self.running:
            return
        self._scan_seconds = self._reactor.seconds() - started
        self.problem = found.problem
        self._remarks.scanned(found)
        self._restless = bool(found.restless)
        # a file that only got a new name or link is restless, but what we know of it holds
        gone = [
            name
            for name, file in self._files.items()
            if name not in found.files
            and found.restless.get(name) != file.identity
            and name not in self._fresh
        ]
        new = [
            name
            for name, identity in found.files.items()
            if name not in self._files
            or self._files[name].identity != identity
            or name in self._not_remembered
        ]
        lost = [key for key, f in self._elsewhere.items() if identity_of(f.path) != f.identity]
        if not (gone or new or lost):
            return
        for key in gone:
            del self._files[key]
        for key in lost:
            del self._elsewhere[key]
        for key in gone + lost:
            self._stems.gone(key, self._reactor.seconds())
        fit = [name for name in sorted(new) if has_five_chunks(found.files[name].size)]
        refused = self._assign([(name, name) for name in fit])
        for name in new:
            self._set_file(name, self.share / name, found.files[name], refused.get(name, ""), True)
        self._changed()

    # -- below

    def _assign(self, wanted: list[tuple[str, str]]) -> dict[str, str]:
        """Assign stems; a failing disk leaves them untold until the next scan, and says so."""
        keys = {key for key, _ in wanted}
        try:
            refused = self._stems.assign(wanted, self._reactor.seconds())
        except StorageError as error:
            if not keys <= self._not_remembered:
                self._log.warn("{error}", error=error)
            self._not_remembered |= keys
            return dict.fromkeys(keys, str(error))
        self._not_remembered -= keys
        return refused

    def _add_file(self, key: str, path: Path, identity: Identity | None, in_share: bool) -> None:
        if identity is None:
            return
        refused: dict[str, str] = {}
        if has_five_chunks(identity.size):
            refused = self._assign([(key, path.name)])
        self._set_file(key, path, identity, refused.get(key, ""), in_share)

    def _set_file(
        self, key: str, path: Path, identity: Identity, problem: str, in_share: bool
    ) -> None:
        if not has_five_chunks(identity.size):
            problem = f"{identity.size} bytes cannot be divided into 5 equal chunks"
        file = SharedFile(key, path, identity, problem)
        (self._files if in_share else self._elsewhere)[key] = file
        if problem:
            self._remarks.untold(path.name, problem)

    def _changed(self) -> None:
        """What there is to tell changed: find by the new names, and let others know."""
        self._by_base = {}
        for file in self.files():
            if not file.problem:
                self._by_base.setdefault(file.path.name, file)
        for file in self.files():
            stem = self._stems.get(file.key)
            if not file.problem and stem is not None:
                self._by_base[stem] = file
        for callback in self._on_change:
            callback()
