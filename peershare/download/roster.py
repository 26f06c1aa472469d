"""The roster: the downloads of this run, those that were complete already included.

It knows which of them may run: two downloads of one content would ask the same sessions for the
same blocks, so the second one waits until the first has ended or was paused.
Not for: starting, stopping or showing them (manager).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from peershare.content.blocks import block_count, block_size
from peershare.content.names import display, folded
from peershare.download.context import Download
from peershare.download.picture import RateMeter, chunk_map
from peershare.download.starting import Wish
from peershare.download.swarm.download import SwarmDownload
from peershare.download.swarm.givers import Givers
from peershare.errors import UnknownDownloadError
from peershare.status import FINAL_STATES, BlockMap, DownloadState, DownloadStatus
from peershare.timers import Alarm

REMEMBERED_DOWNLOADS = 100
# After so many new ones it is looked at which old ones may be forgotten.
_LOOKED_AT = 25


@dataclass
class Entry:
    """A download of this run, its folder and its meter."""

    download: Download
    folder: Path
    meter: RateMeter
    alarm: Alarm  # of the next picture
    sequential: bool = False
    chosen: str = ""  # what is remembered in the place of an id
    waits: bool = False  # for another download of the same content
    unwanted: bool = False  # the user stopped it, at whatever moment that takes effect
    converting: bool = False

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.download.state in FINAL_STATES

    @property
    def active(self) -> bool:
        """Whether it holds, or may soon hold, sessions for its content."""
        paused = self.download.state is DownloadState.PAUSED
        return not self.over and not self.waits and not paused

    def fulfils(self, wish: Wish) -> bool:
        """Whether this is what is wished for, and has not ended.

        A content under another name that was asked for is another file, and so is what may be
        other bytes; a name that is still looked for becomes what the wish has found for it.
        """
        download = self.download
        if self.over or self.folder != wish.folder:
            return False
        alike = folded(download.name) == folded(wish.name)
        if wish.verified and download.content:
            return download.content == wish.content and (alike or not wish.named)
        if not download.decided:
            same = alike if wish.verified else download.name == wish.name
            chosen = not wish.verified and wish.content is not None
            return not chosen and (same or download.name == wish.typed)
        if download.content or download.name != wish.name:
            return False
        return wish.content == (self.chosen or None)


class Roster:
    """By their ids, oldest first; what is asked of one costs nothing for all the others."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        # by content id ("" where there is none) and by folded name: ids and their entries
        self._alike: dict[str, dict[str, Entry]] = {}
        self._keys: dict[str, tuple[str, ...]] = {}  # under which of these an entry is, by its id
        self._added = 0  # since what is over was looked for
        self.complete: dict[str, DownloadStatus] = {}  # before they were asked for

    def __iter__(self) -> Iterator[Entry]:
        return iter(tuple(self._entries.values()))

    def get(self, identifier: str) -> Entry | None:
        """A download of this run."""
        return self._entries.get(identifier)

    def find(self, identifier: str) -> Entry | DownloadStatus:
        """A download, or the picture of a complete one.  Raises `UnknownDownloadError`."""
        found = self.complete.get(identifier) or self._entries.get(identifier)
        if found is None:
            raise UnknownDownloadError(f"there is no download {display(identifier)}")
        return found

    def add(self, entry: Entry) -> None:
        """A download begins, in the place of one that had its id."""
        identifier = entry.download.id
        self.complete.pop(identifier, None)
        self._entries.pop(identifier, None)
        self._entries[identifier] = entry
        self.exchanged(entry)
        self._forget_old()

    def exchanged(self, entry: Entry) -> None:
        """The download of an entry is another one, of another name or content."""
        identifier, download = entry.download.id, entry.download
        self._leave(identifier)
        keys = self._keys[identifier] = (download.content, folded(download.name))
        for key in keys:
            self._alike.setdefault(key, {})[identifier] = entry

    def _leave(self, identifier: str) -> None:
        for key in self._keys.pop(identifier, ()):
            alike = self._alike.get(key, {})
            alike.pop(identifier, None)
            if not alike:
                self._alike.pop(key, None)

    def of_content(self, content: str) -> list[Entry]:
        """The downloads of a content; with "" those that have no id."""
        found = self._alike.get(content, {}).values()
        return [entry for entry in found if entry.download.content == content]

    def fulfilling(self, wish: Wish) -> Entry | None:
        """What is on its way already, and is what is wished for."""
        for key in dict.fromkeys((wish.content or "", folded(wish.name), folded(wish.typed))):
            for entry in self._alike.get(key, {}).values() if key else ():
                if entry.fulfils(wish):
                    return entry
        return None

    def add_complete(self, status: DownloadStatus) -> None:
        """A download was complete before it was asked for."""
        if status.id not in self._entries:
            self.complete.pop(status.id, None)
            self.complete[status.id] = status
            self._forget_old()

    def running(self, content: str) -> Entry | None:
        """The download that holds the sessions of a content."""
        if not content:
            return None
        return next((entry for entry in self.of_content(content) if entry.active), None)

    def fetch_in_order(self, content: str) -> None:
        """Somebody reads a content as it comes: fetch its blocks in order, where that can be."""
        for entry in self.of_content(content):
            if isinstance(entry.download, SwarmDownload):
                entry.download.order.sequential = True

    def ready(self, entry: Entry) -> Iterator[Entry]:
        """Those that wait for no other any more, of this one and others of its content."""
        content = entry.download.content
        for each in self.of_content(content) if content else [entry]:
            if each.waits and not each.over and self.running(content) is None:
                each.waits = False
                yield each

    def block_map(self, identifier: str) -> BlockMap:
        """Which blocks are here, and from whom.  Raises `UnknownDownloadError`."""
        found = self.find(identifier)
        if isinstance(found, Entry):
            return found.download.blocks()
        if not found.content:
            return chunk_map(found.id, found.chunks)
        count = block_count(found.received)
        givers = Givers(count, block_size(found.received))
        for block in range(count):
            givers.gave(block, "")
        return givers.map(found.id, ())

    def _forget_old(self) -> None:
        """Keep the list of what is over short; looked at now and then."""
        self._added += 1
        if self._added >= _LOOKED_AT:
            self._added = 0
            over = [identifier for identifier, entry in self._entries.items() if entry.over]
            for identifier in over[: max(0, len(over) - REMEMBERED_DOWNLOADS)]:
                self._leave(identifier)
                del self._entries[identifier]
        while len(self.complete) > REMEMBERED_DOWNLOADS:
            del self.complete[next(iter(self.complete))]
