"""Hashing whole files and parts, in the hashing pool.

A large file is hashed in slices, so that several threads share it and whatever is more urgent
waits for a few milliseconds only; of small files many are one task.  A file gives a manifest only
if it was the same, by device, inode, size and modification time, before and after (hostile
world, 14).  Not for: which files, and when.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from twisted.internet.defer import Deferred, DeferredList

from peershare.content.blocks import MAX_CONTENT_BYTES, BlockSet, block_count, block_size
from peershare.content.manifest import Manifest
from peershare.errors import StorageError
from peershare.library.entries import Workers
from peershare.library.files import Identity, open_regular, storage_errors
from peershare.library.hashing import hash_blocks, patient
from peershare.library.parts import PartFile

T = TypeVar("T")
# What one task of a large file hashes (about 5 ms); a smaller file is hashed in one go.
SLICE_BYTES = 1 << 24
# How many slices of a file may wait at once, so that no thread waits for the reactor.
_SLICES_AT_ONCE = 4


class Wanted(NamedTuple):
    """A file to be hashed; `identity` None: whatever lies at that path now."""

    path: Path
    identity: Identity | None


class Hashed(NamedTuple):
    """What became of it.

    No manifest and no problem: it is not the file that was wanted (any more), or the hashing was
    given up.
    """

    identity: Identity | None = None
    manifest: Manifest | None = None
    problem: str = ""


@patient
def hash_files(wanted: Sequence[Wanted], ended: Callable[[], bool]) -> list[Hashed]:
    """Worker: hash small files, one after another, until `ended()`."""
    return [Hashed() if ended() else _hash_file(file) for file in wanted]


async def hash_large(hashers: Workers, wanted: Wanted, ended: Callable[[], bool]) -> Hashed:
    """Hash a file in slices, until `ended()`.  Fails only as `hashers` does, when it is stopped."""
    opened: _Opened | Hashed = await hashers(_open, wanted)
    if isinstance(opened, Hashed):
        return opened
    try:
        size = opened.identity.size
        digests = await _in_slices(hashers, size, ended, _hash_slice, opened)
        if digests is None or None in digests:
            return Hashed()
        return _judge(opened, b"".join(piece for piece in digests if piece is not None))
    except StorageError as error:
        return Hashed(opened.identity, None, str(error))
    finally:
        os.close(opened.descriptor)


async def check_part(hashers: Workers, part: PartFile, manifest: Manifest) -> BlockSet:
    """Hash a part file in slices; fires with the blocks that are there and right.

    Once it is abandoned the rest is not looked at.  Fails with `StorageError`.
    """
    size, ended = manifest.size, part.abandoned
    slices = await _in_slices(hashers, size, ended, part.right_blocks, manifest)
    return BlockSet(manifest.block_count, chain.from_iterable(slices or ()))


async def _in_slices(
    hashers: Workers,
    size: int,
    ended: Callable[[], bool],
    function: Callable[..., T],
    *arguments: Any,
) -> list[T] | None:
    """The results of `function(*arguments, first block, count)` for all slices; None if ended.

    Returns (or fails) only once no thread is at it any more.
    """
    total, step = block_count(size), max(1, SLICE_BYTES // block_size(size))
    starts = iter(range(0, total, step))
    running: deque[Deferred[T]] = deque()
    found: list[T] = []
    try:
        while not ended():
            for first in islice(starts, _SLICES_AT_ONCE - len(running)):
                running.append(hashers(function, *arguments, first, min(step, total - first)))
            if not running:
                return found
            found.append(await running.popleft())
    except Exception:
        await DeferredList(running, consumeErrors=True)
        raise
    await DeferredList(running, consumeErrors=True)
    return None


# -- in a thread


class _Opened(NamedTuple):
    path: Path
    descriptor: int
    identity: Identity  # when it was opened


@patient
def _hash_slice(file: _Opened, first: int, count: int) -> bytes | None:
    with storage_errors(file.path, "read"):
        return hash_blocks(file.descriptor, file.identity.size, first, count)


@patient
def _open(wanted: Wanted) -> _Opened | Hashed:
    """Open it; `Hashed` if that is not possible, or it is not the one that is wanted."""
    try:
        with storage_errors(wanted.path, "read"):
            descriptor = open_regular(wanted.path)
    except StorageError as error:
        gone = isinstance(error.__cause__, FileNotFoundError)
        return Hashed(problem="" if gone else str(error))
    try:
        with storage_errors(wanted.path, "look at"):
            identity = Identity.of(os.fstat(descriptor))
    except StorageError as error:
        os.close(descriptor)
        return Hashed(problem=str(error))
    if identity.size > MAX_CONTENT_BYTES or wanted.identity not in (None, identity):
        os.close(descriptor)
        return Hashed()
    return _Opened(wanted.path, descriptor, identity)


def _judge(file: _Opened, digests: bytes | None) -> Hashed:
    """The manifest, if the file is still what it was."""
    with storage_errors(file.path, "look at"):
        same = digests is not None and Identity.of(os.fstat(file.descriptor)) == file.identity
    if digests is None or not same:
        return Hashed()
    return Hashed(file.identity, Manifest(file.identity.size, digests))


def _hash_file(wanted: Wanted) -> Hashed:
    opened = _open(wanted)
    if isinstance(opened, Hashed):
        return opened
    try:
        with storage_errors(wanted.path, "read"):
            size = opened.identity.size
            return _judge(opened, hash_blocks(opened.descriptor, size, 0, block_count(size)))
    except StorageError as error:
        return Hashed(opened.identity, None, str(error))
    finally:
        os.close(opened.descriptor)
