"""Offering: what people put into the share folder while the node runs, until it is announced.

Not for: the files themselves (`library.sharing`, `library.receiving`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from peershare.content.names import check_file_name
from peershare.errors import StorageError
from peershare.library.entries import SharedFile
from peershare.library.files import identity_of
from peershare.library.library import Library
from peershare.library.receiving import ReceivedFile, sweep
from peershare.library.sharing import Shared, share_file
from peershare.overview import printable
from peershare.status import ShareMode, ShareStatus
from peershare.wiring import World

_SHARE_SECONDS = 3.0
_LOOK_SECONDS = 0.2
_STALE_SECONDS = 86_400.0
# Each is an open file and a connection of the local API.
_MOST_RECEIVED = 64


class Offering:
    """Takes files until `end`."""

    _log = Logger()

    def __init__(self, world: World, library: Library) -> None:
        self._world = world
        self._library = library
        self._ended = threading.Event()  # workers look at it
        self._writers: set[Writer] = set()

    def start(self) -> None:
        """Remove what a run that was killed left half."""
        before = self._world.wall_clock() - _STALE_SECONDS
        swept = self._world.workers(sweep, self._library.share, before)
        swept.addErrback(lambda f: self._log.failure("sweeping failed", failure=f))

    def end(self) -> None:
        """Take nothing more; what is on its way is not kept."""
        self._ended.set()
        for writer in tuple(self._writers):
            writer.abort()

    def share(self, path: Path, how: ShareMode) -> Deferred[ShareStatus]:
        """Put a file into the share folder; fires once it is announced, or it is clear why not.

        Fails with `StorageError` or `BadNameError`.
        """
        return Deferred.fromCoroutine(self._share(path, how))

    async def _share(self, path: Path, how: ShareMode) -> ShareStatus:
        shared = await self._world.workers(
            share_file, path, self._library.share, self._ended.is_set, how
        )
        return await self._announced(shared)

    def receive(self, name: str, size: int | None) -> Writer:
        """Take a file whose bytes follow.  Raises `BadNameError`, `StorageError`."""
        if self._ended.is_set():
            raise StorageError("the service is stopping: no file is taken any more")
        if len(self._writers) >= _MOST_RECEIVED:
            raise StorageError(
                f"{_MOST_RECEIVED} files are being received already: try again later"
            )
        writer = Writer(self, self._library.share, check_file_name(name), size)
        self._writers.add(writer)
        return writer

    async def received(self, finish: Callable[[], Shared]) -> ShareStatus:
        """All bytes of a file came; a worker is to `finish` it."""
        return await self._announced(await self._world.workers(finish))

    def over(self, writer: Writer) -> None:
        """A file came, or will not."""
        self._writers.discard(writer)

    def drop(self, drop: Callable[[], None]) -> None:
        """Have a worker keep nothing of a file."""
        dropped = self._world.workers(drop)
        dropped.addErrback(lambda f: self._log.failure("dropping a file failed", failure=f))

    async def _announced(self, shared: Shared) -> ShareStatus:
        library, reactor = self._library, self._world.reactor
        file: SharedFile | None = None
        deadline = reactor.seconds() + _SHARE_SECONDS
        while file is None and reactor.seconds() < deadline:
            library.rescan()
            await deferLater(reactor, _LOOK_SECONDS)
            file = library.find_file(shared.path)
        return ShareStatus(
            name=printable(shared.path.name),
            path=printable(str(shared.path)),
            size=file.size if file else await self._world.workers(_size, shared.path),
            how=shared.how,
            chunks=library.chunk_names(file) if file else (),
            note=_note(file),
        )


def _size(path: Path) -> int:
    """Worker: how long a file is, 0 if it is gone."""
    identity = identity_of(path)
    return 0 if identity is None else identity.size


class Writer:
    """One file on its way into the share folder."""

    def __init__(self, offering: Offering, share: Path, name: str, size: int | None) -> None:
        """Its file is made with the first bytes, by the worker that writes them."""
        self._offering = offering
        self._make = partial(ReceivedFile, share, name, size)
        self._making = threading.Lock()
        self._file: ReceivedFile | None = None
        self._over = False
        self._unwanted = False

    def write(self, data: bytes) -> None:
        """Worker: take the next bytes.  Raises `StorageError`: then nothing is kept."""
        self._made().write(data)

    def finish(self) -> Deferred[ShareStatus]:
        """All bytes came: give it its name, which overwrites nothing.

        Fires once it is announced, or it is clear why not.  Fails with `StorageError`.
        """
        self._end()
        return Deferred.fromCoroutine(self._offering.received(lambda: self._made().finish()))

    def abort(self) -> None:
        """It will not be finished: keep nothing.  May be called at any time, also twice."""
        if not self._over:
            self._end()
            self._unwanted = True
            self._offering.drop(self._drop)

    def _made(self) -> ReceivedFile:
        """Worker: the file.  Raises `StorageError`."""
        with self._making:
            if self._unwanted:
                raise StorageError("the file was given up, nothing more is taken")
            if self._file is None:
                self._file = self._make()
            return self._file

    def _drop(self) -> None:
        """Worker: keep nothing."""
        with self._making:
            if self._file is not None:
                self._file.abort()

    def _end(self) -> None:
        self._over = True
        self._offering.over(self)


def _note(file: SharedFile | None) -> str:
    """Why a file that was shared is not announced yet, or not at all."""
    if file is None:
        return "it is still changing and is announced once it has come to rest"
    return file.problem and f"it is not announced to classic peers: {file.problem}"
