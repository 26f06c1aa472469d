"""What benches share: files to move, whether they arrived, results beside their goals.

Not for: what is measured.
"""

from __future__ import annotations

import os
from pathlib import Path

from blake3 import blake3

MEBIBYTE = 1 << 20


def write_random(path: Path, mebibytes: int, *, holes: bool = False) -> None:
    """Write a file of random bytes.

    `holes`: only the first 4 KiB of each MiB are written, the rest costs no room.
    """
    with path.open("wb") as file:
        for number in range(mebibytes):
            file.seek(number * MEBIBYTE)
            file.write(os.urandom(4_096 if holes else MEBIBYTE))
        file.truncate(mebibytes * MEBIBYTE)


def digest(path: Path) -> bytes:
    """The BLAKE3 digest of a file, by one thread."""
    hasher, buffer = blake3(), memoryview(bytearray(MEBIBYTE))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            hasher.update(buffer[:count])
    return hasher.digest()


def check_same(path: Path, source: Path) -> None:
    """Raise `RuntimeError` unless the two have the same bytes."""
    if digest(path) != digest(source):
        raise RuntimeError(f"{path.name} did not arrive as it is")


def tell(what: str, value: float, goal: float, unit: str = "") -> None:
    """One result beside its goal."""
    verdict = "reached" if value <= goal else "MISSED"
    print(f"  {what}: {value:.2f}{unit} (at most {goal:g}{unit}: {verdict})", flush=True)
