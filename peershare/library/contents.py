"""The native side of the library: which contents we have, whole and in part.

Every whole file of at most 4 TiB is one, once it is hashed (by the `Backlog`).
Not for: which files there are, or what classic peers are told.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from peershare.content.blocks import MAX_CONTENT_BYTES
from peershare.content.manifest import Manifest
from peershare.content.names import file_name_problem
from peershare.library.backlog import Backlog
from peershare.library.entries import ContentHandle, SharedFile, Workers
from peershare.library.files import Identity
from peershare.library.hashes import Known
from peershare.library.index import Index
from peershare.library.remarks import Remarks
from peershare.timers import Alarm
from peershare.wire.catalogue import CatalogueEntry, is_fit

# While one file after another is being hashed, the catalogue is called changed once in this time.
_TELL_SECONDS = 1.0


class Contents:
    """Files by their keys, parts by theirs; `changed` is called when the catalogue is another."""

    def __init__(
        self,
        reactor: Any,
        index: Index,
        workers: Workers,
        hashers: Workers,
        remarks: Remarks,
        changed: Callable[[], None],
        rescan: Callable[[], None],
        other_bytes: Callable[[SharedFile], None],
    ) -> None:
        """`rescan` is called when a file is not what the last scan saw.

        And `other_bytes` when it is, but for its bytes.
        """
        self._reactor = reactor
        self._hashes = index.hashes
        index.on_rewritten(self._remember)
        self._remarks = remarks
        self._changed = changed
        self._backlog = Backlog(
            reactor,
            workers,
            hashers,
            index.hashes,
            self._known,
            self._unoffered,
            rescan,
            other_bytes,
        )
        self._files: dict[str, SharedFile] = {}
        self._manifests: dict[str, Manifest] = {}  # of the files that are hashed
        self._parts: dict[str, ContentHandle] = {}
        self._entries: dict[str, CatalogueEntry] = {}
        self._not_offered: dict[str, str] = {}  # why, by key
        self.not_offered_version = 0  # grows with each change of that
        # By content id: the first key, and further ones.  (One dict of tuples would be a burden to
        # the garbage collector, which is what stops everything when there are very many files.)
        self._key: dict[str, str] = {}
        self._more: dict[str, tuple[str, ...]] = {}
        self._tell_alarm = Alarm(reactor)
        self._told_at = float("-inf")

    def start(self) -> None:
        """Hash what is to be hashed from now on."""
        self._backlog.start()

    def stop(self) -> Deferred[Any]:
        """Hash no more; fires when nothing is under way."""
        self._tell_alarm.clear()
        return self._backlog.stop()

    # -- what there is

    @property
    def unhashed(self) -> int:
        """How many files have no content id yet."""
        return len(self._backlog)

    def catalogue(self) -> tuple[CatalogueEntry, ...]:
        """What native peers are told."""
        return tuple(self._entries.values())

    def not_offered(self) -> Mapping[str, str]:
        """Why these keys are not in the catalogue, and will not be as long as they stay so."""
        return self._not_offered

    def id_of(self, key: str) -> str:
        """The content id of a file or part, "" while it is not known."""
        entry = self._entries.get(key)
        return entry.id if entry else ""

    def find(self, content: str, path: Path | None = None) -> ContentHandle | None:
        """A content of this id, a whole one if there is one; rather the one at `path`."""
        part = None
        keys = self._keys(content)
        if path is not None and len(keys) > 1:
            known = self._files
            keys = tuple(sorted(keys, key=lambda k: k not in known or known[k].path != path))
        for key in keys:
            part = self._parts.get(key, part)
            if key in self._manifests:
                file, name = self._files[key], self._entries[key].name
                manifest = self._manifests[key]
                return ContentHandle(content, name, file.path, file.identity, manifest, None)
        return part

    # -- what comes and goes

    def add(self, file: SharedFile, manifest: Manifest | None = None) -> None:
        """A file is there, new or changed.  To be followed by `go_on`.

        A manifest says that every byte of it was checked, and it is offered from now on.
        """
        self.remove(file.key)
        name = self._name(file)
        if name is None:
            return
        self._files[file.key] = file
        if manifest is None or manifest.size != file.size:
            self._backlog.add(file)
        else:
            self._backlog.add_hashed(file, manifest)
            self._manifests[file.key] = manifest
            self._enter(file.key, CatalogueEntry(name, file.size, manifest.content_id, True))

    def touch(self, file: SharedFile, *, ours: bool = False) -> None:
        """The inode of a file has changed, and perhaps its bytes.  `go_on` is to follow.

        It stays offered until it is known that they have; `ours`: it was our own doing.
        """
        if file.key not in self._files:
            return
        self._files[file.key] = file
        entry = self._entries.get(file.key)
        if entry is None:
            self._backlog.add(file)
        elif ours:
            self._hashes.refresh([(file.identity, file.ctime_ns)])
        else:
            self._backlog.add_doubtful(file, entry.id)

    def forget(self, file: SharedFile) -> None:
        """A file is not what it is known for: what it hashed to is not remembered any more."""
        self.remove(file.key)
        self._hashes.drop(file.identity)

    def set_part(self, key: str, part: ContentHandle) -> None:
        """A part is there."""
        self.remove(key)
        self._parts[key] = part
        self._enter(key, CatalogueEntry(part.name, part.manifest.size, part.id, False))

    def remove(self, key: str) -> None:
        """A file or part is gone."""
        self._backlog.discard(key)
        self._files.pop(key, None)
        self._manifests.pop(key, None)
        self._parts.pop(key, None)
        self._offerable(key)
        entry = self._entries.pop(key, None)
        if entry is not None:
            keys = tuple(other for other in self._keys(entry.id) if other != key)
            del self._key[entry.id]
            self._more.pop(entry.id, None)
            for other in keys:
                self._add_key(entry.id, other)

    def go_on(self) -> None:
        """Find out what the files that were added hash to."""
        self._backlog.go_on()

    def scanned(self) -> None:
        """The folder was read: try again what could not be hashed, forget what is gone for long."""
        self._backlog.scanned(self._present)

    def _present(self) -> Collection[Identity]:
        return [file.identity for file in self._files.values()]

    def _enter(self, key: str, entry: CatalogueEntry) -> None:
        self._entries[key] = entry
        self._add_key(entry.id, key)

    def _keys(self, content: str) -> tuple[str, ...]:
        """Every key of a content, the oldest first."""
        key = self._key.get(content)
        return () if key is None else (key, *self._more.get(content, ()))

    def _add_key(self, content: str, key: str) -> None:
        if self._key.setdefault(content, key) != key:
            self._more[content] = (*self._more.get(content, ()), key)

    def _name(self, file: SharedFile) -> str | None:
        """What the file is called in the catalogue; None if it cannot be in it."""
        name = file.name
        if file.size > MAX_CONTENT_BYTES:
            self._unoffered(file, "it is larger than 4 TiB")
            return None
        if is_fit(name):
            return name
        normal = unicodedata.normalize("NFC", name)
        problem = file_name_problem(normal)
        if problem is None:
            return normal
        self._unoffered(file, problem)
        return None

    # -- what the backlog tells

    def _known(self, files: list[tuple[SharedFile, Known]]) -> None:
        for file, (content, manifest, _) in files:
            name = self._name(file) or ""
            self._manifests[file.key] = manifest
            self._offerable(file.key)
            self._enter(file.key, CatalogueEntry(name, file.size, content, True))
        if not self._backlog.stopped:
            self._tell()

    def _remember(self) -> None:
        """The index has lost what the files hash to."""
        files, manifests = self._files, self._manifests
        self._hashes.save(
            [(files[key].identity, m) for key, m in manifests.items()],
            [files[key].ctime_ns for key in manifests],
        )

    def _unoffered(self, file: SharedFile, reason: str) -> None:
        self._not_offered[file.key] = reason
        self.not_offered_version += 1
        self._remarks.unoffered(file.name, reason)

    def _offerable(self, key: str) -> None:
        if self._not_offered.pop(key, None) is not None:
            self.not_offered_version += 1

    def _tell(self) -> None:
        """Say that the catalogue changed: at once if nothing more is to come, else now and then."""
        gap = self._told_at + _TELL_SECONDS - self._reactor.seconds()
        if gap > 0 and self.unhashed:
            if self._tell_alarm.due is None:
                self._tell_alarm.set(gap, self._tell)
            return
        self._tell_alarm.clear()
        self._told_at = self._reactor.seconds()
        self._changed()
