"""Stems: under which classic name each of our files and parts is told.

Pure but for the index behind it.  Of two files with one stem, the one announced first keeps
`STEM_n`, the other is told as `STEM.EXT_n`; assigned stems are unique and persist.  The stem
of a file that is gone is given away again once nobody can remember it.
Not for: which files there are.
"""

from __future__ import annotations

from collections.abc import Iterable

from peershare.content.names import split_name, stem_problem
from peershare.dictionary import LIFETIME_SECONDS
from peershare.library.index import Index


class Stems:
    """The assignment, key -> stem; a key stands for one file or one part."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._by_key = index.stems()
        self._by_stem = {stem: key for key, stem in self._by_key.items()}
        self._gone_at: dict[str, float] = dict.fromkeys(self._by_key, float("-inf"))

    def get(self, key: str) -> str | None:
        """The stem of a key that has one."""
        return self._by_key.get(key)

    def key_of(self, stem: str) -> str | None:
        """Whose stem this is."""
        return self._by_stem.get(stem)

    def items(self) -> Iterable[tuple[str, str]]:
        """Every key and its stem, in the order of first announcement."""
        return self._by_key.items()

    def expect(self, keys: Iterable[str]) -> None:
        """What these keys stand for is there (again): their stems are not given away."""
        for key in keys:
            self._gone_at.pop(key, None)

    def assign(self, wanted: Iterable[tuple[str, str]], now: float) -> dict[str, str]:
        """Give each (key, file name) a stem; return the reasons of those that cannot have one.

        `now` is monotonic seconds.  Raises `StorageError` if it cannot be remembered; then
        nothing was assigned.
        """
        refused: dict[str, str] = {}
        new: dict[str, str] = {}
        taken: set[str] = set()
        reclaimed: dict[str, None] = {}
        wanted = tuple(wanted)
        self.expect(key for key, _ in wanted)
        for key, name in wanted:
            if key in self._by_key or key in new:
                continue
            stem = self._free_stem(name, now, taken, reclaimed)
            problem = stem_problem(stem)
            if problem is not None:
                refused[key] = problem
            else:
                new[key] = stem
                taken.add(stem)
        if reclaimed:
            self._index.drop_stems(list(reclaimed))
            for key in reclaimed:
                del self._by_stem[self._by_key.pop(key)]
                self._gone_at.pop(key, None)
        if new:
            self._index.add_stems(new)
            self._by_key.update(new)
            self._by_stem.update({stem: key for key, stem in new.items()})
        return refused

    def gone(self, key: str, now: float) -> None:
        """The file or part of this key is not there any more."""
        if key in self._by_key:
            self._gone_at.setdefault(key, now)

    def rename(self, key: str, new_key: str) -> None:
        """A part became a file: it stays known by the stem it was told under."""
        if key not in self._by_key:
            return
        self._index.rename_stem(key, new_key)
        former = self._by_key.pop(new_key, None)
        if former is not None:
            del self._by_stem[former]
        stem = self._by_key.pop(key)
        self._by_key[new_key] = stem
        self._by_stem[stem] = new_key
        self._gone_at.pop(new_key, None)
        self._gone_at.pop(key, None)

    def _free_stem(self, name: str, now: float, taken: set[str], reclaimed: dict[str, None]) -> str:
        """The first of STEM, STEM.EXT, STEM.EXT (2) … that nobody is told under."""
        stem = split_name(name)[0]
        number = 1
        while True:
            key = self._by_stem.get(stem)
            if stem not in taken and (key is None or key in reclaimed):
                return stem
            if stem not in taken and key is not None and self._forgotten(key, now):
                reclaimed[key] = None
                return stem
            number += 1
            stem = name if stem != name and number == 2 else f"{name} ({number})"

    def _forgotten(self, key: str, now: float) -> bool:
        """Whether the file of this key went so long ago that no dictionary has it."""
        return now - self._gone_at.get(key, float("inf")) >= LIFETIME_SECONDS
