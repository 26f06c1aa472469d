"""Wrong blocks: what receivers say of ours, held against the file.

Whoever says that a block is wrong has it hashed here, in a worker: only where it is wrong indeed
the file is withdrawn.  So a report costs the reading of one block, one at a time, and each address
has only so many.  Not for: parts, whose blocks are checked as they come; nor what follows for a
file (`library`).
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from peershare.content.blocks import block_range
from peershare.content.chunks import ByteRange
from peershare.library.entries import ContentHandle, Workers
from peershare.library.files import Identity, open_regular
from peershare.library.hashing import hash_range
from peershare.library.library import Library
from peershare.library.opened import FileChangedError

# An address may have so many blocks looked at at once, and one more each so many seconds.
BURST = 4
EACH_SECONDS = 2.0
# So many blocks may wait, of whomever; and of so many addresses it is known what they had.
MOST_WAITING = 16
_MOST_ADDRESSES = 1_024


class _Doubt(NamedTuple):
    content: str
    block: int
    withdrawn: Callable[[], None]


class WrongBlocks:
    """See the module."""

    _log = Logger()

    def __init__(self, reactor: Any, library: Library, workers: Workers) -> None:
        self._clock: Callable[[], float] = reactor.seconds
        self._library = library
        self._workers = workers
        self._waiting: deque[_Doubt] = deque()
        self._paid_until: dict[str, float] = {}  # by address
        self._looking = False

    def report(self, address: str, content: str, block: int, withdrawn: Callable[[], None]) -> None:
        """A receiver says that this block, which we sent, is wrong.

        `withdrawn` is called if that is so, once we do not offer it any more.
        """
        if len(self._waiting) >= MOST_WAITING or not self._pays(address):
            return
        self._waiting.append(_Doubt(content, block, withdrawn))
        if not self._looking:
            self._looking = True
            looked = Deferred.fromCoroutine(self._look())
            looked.addErrback(lambda f: self._log.failure("looking at a block failed", failure=f))

    def _pays(self, address: str) -> bool:
        """Whether this address may have a block looked at."""
        now = self._clock()
        paid = max(now, self._paid_until.pop(address, now))
        fits = paid - now <= (BURST - 1) * EACH_SECONDS
        self._paid_until[address] = paid + EACH_SECONDS if fits else paid
        if len(self._paid_until) > _MOST_ADDRESSES:
            del self._paid_until[next(iter(self._paid_until))]
        return fits

    async def _look(self) -> None:
        try:
            while self._waiting:
                doubt = self._waiting.popleft()
                handle = self._library.find_content(doubt.content)
                if handle is None:
                    doubt.withdrawn()
                elif handle.identity is not None and not await self._is_right(handle, doubt.block):
                    self._library.withdraw(handle.id, handle.path)
                    doubt.withdrawn()
        finally:
            self._looking = False

    async def _is_right(self, handle: ContentHandle, block: int) -> bool:
        """Whether our file has what it should; True where that cannot be seen."""
        where = block_range(block, handle.manifest.size)
        try:
            digest = await self._workers(_digest, handle.path, handle.identity, where)
        except OSError:
            self._library.rescan()
            return True
        except FileChangedError:
            self._library.rescan()
            return False
        right: bool = digest == handle.manifest.digest_of(block)
        return right


def _digest(path: Path, identity: Identity, where: ByteRange) -> bytes:
    """Worker: what a block hashes to.  Raises `OSError`, `FileChangedError`."""
    descriptor = open_regular(path)
    try:
        digest = None
        if Identity.of(os.fstat(descriptor)) == identity:
            digest = hash_range(descriptor, where.start, where.length)
        if digest is None or Identity.of(os.fstat(descriptor)) != identity:
            raise FileChangedError("the file is not what was announced any more")
        return digest
    finally:
        os.close(descriptor)
