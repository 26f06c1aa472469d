"""What happened in a run, as a running hash, and as text where somebody wants to read it.

Two runs are the same if their hashes are.  Not for: judging what happened.
"""

from __future__ import annotations

from typing import TextIO
from zlib import crc32

from blake3 import blake3


class Trace:
    """Takes what happens, in order."""

    def __init__(self, text: TextIO | None = None) -> None:
        """`text` gets a line for each thing that happens."""
        self._hasher = blake3()
        self._text = text
        self.count = 0

    def note(self, now: float, what: str, data: bytes = b"") -> None:
        """Something happened; of `data` the length and a checksum are noted."""
        line = f"{now!r} {what} {len(data)} {crc32(data):08x}\n"
        self._hasher.update(line.encode())
        self.count += 1
        if self._text is not None:
            self._text.write(f"{now:12.6f} {what}{f' {len(data)} bytes' if data else ''}\n")

    def remark(self, now: float, text: str) -> None:
        """Something for readers only: it may differ between two equal runs."""
        if self._text is not None:
            self._text.write(f"{now:12.6f} {text}\n")

    @property
    def digest(self) -> str:
        """The hash of all that happened so far."""
        return self._hasher.hexdigest()
