"""Remarks: what is left out of the sharing, each said once in the log.

Not for: deciding it.
"""

from __future__ import annotations

from pathlib import Path

from twisted.logger import Logger

from peershare.content.names import display
from peershare.library.scan import FolderScan

_MOST_REMARKS = 10_000


class Remarks:
    """Says each sentence once, and not more than a log can bear."""

    _log = Logger()

    def __init__(self, share: Path) -> None:
        self._share = share
        self._said: set[str] = set()

    def untold(self, name: str, problem: str) -> None:
        """A file cannot be told in the classic world."""
        self._say(f"{display(name)} is not announced to classic peers: {problem}")

    def unoffered(self, name: str, problem: str) -> None:
        """A file cannot be offered to native peers."""
        self._say(f"{display(name)} is not offered to native peers: {problem}")

    def scanned(self, found: FolderScan) -> None:
        """What a scan left out."""
        if found.problem:
            self._say(found.problem)
        for name, reason in found.left_out.items():
            self._say(f"{display(name)} is not shared: {reason}")

    def _say(self, sentence: str) -> None:
        if sentence not in self._said and len(self._said) < _MOST_REMARKS:
            self._said.add(sentence)
            self._log.info("{sentence}", sentence=sentence)
