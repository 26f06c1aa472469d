"""Verifying: hashing files anew, whatever is remembered of them.

Not for: what is done about a file that is not what it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from peershare.library.entries import SharedFile, Workers
from peershare.library.filehash import SLICE_BYTES, Hashed, Wanted, hash_files, hash_large
from peershare.status import VerifyResult

_BATCH_FILES = 64
CHANGED_QUIETLY = "its bytes changed while its size and time did not: the disk may be failing"


async def verify(
    hashers: Workers,
    meant: Sequence[tuple[SharedFile, str]],
    ended: Callable[[], bool],
) -> list[tuple[SharedFile, Hashed, VerifyResult]]:
    """Hash these files and compare with their content ids ("": not known yet); in that order."""
    found: list[tuple[SharedFile, Hashed, VerifyResult]] = []
    for batch in _batches(meant):
        wanted = [Wanted(file.path, None) for file, _ in batch]
        if batch[0][0].size > SLICE_BYTES:
            results = [await hash_large(hashers, wanted[0], ended)]
        else:
            results = await hashers(hash_files, wanted, ended)
        for (file, known), hashed in zip(batch, results, strict=True):
            found.append((file, hashed, _result(file, known, hashed)))
    return found


def _batches(meant: Sequence[tuple[SharedFile, str]]) -> Iterator[list[tuple[SharedFile, str]]]:
    """Large files alone, small ones together, in order."""
    batch: list[tuple[SharedFile, str]] = []
    room = SLICE_BYTES
    for item in meant:
        size = item[0].size
        if batch and (size > room or len(batch) == _BATCH_FILES):
            yield batch
            batch, room = [], SLICE_BYTES
        batch.append(item)
        room -= size
    if batch:
        yield batch


def _result(file: SharedFile, known: str, hashed: Hashed) -> VerifyResult:
    size, content, detail = file.size, "", ""
    if hashed.manifest is None:
        state, detail = "unreadable", hashed.problem or "it changed or went while it was read"
    else:
        size, content = hashed.manifest.size, hashed.manifest.content_id
        if not known:
            state = "new"
        elif content == known:
            state = "unchanged"
        else:
            state = "changed"
            same = hashed.identity == file.identity
            detail = CHANGED_QUIETLY if same else "it was changed a moment ago"
    return VerifyResult(
        name=_text(file.name),
        path=_text(str(file.path)),
        id=content,
        state=state,
        size=size,
        detail=detail,
    )


def _text(name: str) -> str:
    """A name of the file system as text: what is not UTF-8 in it becomes question marks."""
    return name.encode("utf-8", "replace").decode("utf-8")
