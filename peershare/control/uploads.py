"""Uploads: files whose bytes come as the body of a request, on their way to the node.

They are written by a worker; while the disk is slower than the connection, the connection is not
read, so that only a little waits in memory.  One that is not received to its end leaves nothing.
Not for: where the bytes lie (the node's writer), or HTTP (`request`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from twisted.internet.defer import Deferred, DeferredSemaphore, maybeDeferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from peershare.control.face import NodeFace, ShareWriter
from peershare.control.messages import problem
from peershare.library.entries import Workers
from peershare.status import ShareStatus

# What waits while a worker writes as much again; so much memory may each of them take twice.
MAX_WAITING_BYTES = 512 * 1024
# A browser sends six at a time.
MAX_UPLOADS = 16
# The workers have other work, too.
MAX_WRITING = 4


class Source(Protocol):
    """Where the bytes come from."""

    def pause_body(self) -> None:
        """Give no more for now."""

    def resume_body(self) -> None:
        """Go on."""


class Upload:
    """One file that is being received."""

    _log = Logger()

    def __init__(
        self,
        writer: ShareWriter,
        workers: Workers,
        source: Source,
        on_failed: Callable[[Exception], None],
        on_over: Callable[[Upload], None],
    ) -> None:
        """`on_failed` hears once of a disk in the way, while bytes still come.

        `on_over` is called once, when no worker has to do with it any more.
        """
        self._writer = writer
        self._workers = workers
        self._source = source
        self._on_failed = on_failed
        self._on_over = on_over
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._paused = False
        self._writing = False
        self._given_up = False
        self._problem: Exception | None = None
        self._finished: Deferred[ShareStatus] | None = None

    def begin(self) -> None:
        """Make the file, so that what cannot be taken is refused before its bytes are sent."""
        self._work(self._workers(self._writer.write, b""))

    def write(self, data: bytes) -> None:
        """Some more bytes."""
        if self._given_up or self._problem is not None:
            return
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        self._go_on()
        if self._waiting_bytes >= MAX_WAITING_BYTES and not self._paused:
            self._paused = True
            self._source.pause_body()

    def finish(self) -> Deferred[ShareStatus]:
        """All bytes are here.  Fires with what became of them; cancelling it ends nothing."""
        finished = self._finished = Deferred()
        self._go_on()
        return finished

    def abort(self) -> None:
        """The rest will not come: keep nothing, unless all is here.  May be called twice."""
        if self._finished is None:
            self.give_up()

    def give_up(self) -> None:
        """Keep nothing that is not whole on the disk already.  May be called twice."""
        if not self._given_up:
            self._given_up = True
            self._waiting.clear()
            self._go_on()

    def _go_on(self) -> None:
        """Do what is next, unless a worker is at it."""
        if self._writing:
            return
        if self._given_up or self._problem is not None:
            self._end()
        elif self._waiting:
            data = b"".join(self._waiting)
            self._waiting.clear()
            self._waiting_bytes = 0
            self._work(self._workers(self._writer.write, data))
            if self._paused:
                self._paused = False
                self._source.resume_body()
        elif self._finished is not None:
            self._give_name(self._finished)

    def _work(self, work: Deferred[Any]) -> None:
        self._writing = True
        work.addErrback(self._failed)
        work.addBoth(self._worked)
        work.addErrback(lambda failure: self._log.failure("an upload failed", failure=failure))

    def _failed(self, failure: Failure) -> None:
        error: Any = failure.value
        self._problem = error
        self._waiting.clear()
        if self._finished is None:
            self._on_failed(error)

    def _worked(self, _: object) -> None:
        self._writing = False
        self._go_on()

    def _give_name(self, finished: Deferred[ShareStatus]) -> None:
        """The last step, which is the node's."""
        self._writing = True
        self._on_over(self)
        named = maybeDeferred(self._writer.finish)
        named.addBoth(finished.callback)

    def _end(self) -> None:
        """Nothing more is written: the node keeps nothing of it."""
        self._writing = True
        if self._paused:
            self._paused = False
            self._source.resume_body()
        self._writer.abort()
        self._on_over(self)
        if self._finished is not None:
            self._finished.errback(self._problem or problem(503, "unavailable", "the node stops"))


class Uploads:
    """All that is being received."""

    def __init__(self, node: NodeFace, workers: Workers) -> None:
        """`workers` runs a function where it may wait for the disk."""
        self._node = node
        self._workers = partial(DeferredSemaphore(MAX_WRITING).run, workers)
        self._open: set[Upload] = set()
        self._closed: Deferred[None] | None = None

    def open(
        self,
        name: str,
        size: int | None,
        source: Source,
        on_failed: Callable[[Exception], None],
    ) -> Upload:
        """Begin with a file of so many bytes (None: it is not known how many).

        Raises `ProblemError` (503) if there are too many, and what the node refuses with.
        """
        if len(self._open) >= MAX_UPLOADS or self._closed is not None:
            raise problem(503, "unavailable", f"{MAX_UPLOADS} files are being received already")
        writer = self._node.receive_share(name, size)
        upload = Upload(writer, self._workers, source, on_failed, self._over)
        self._open.add(upload)
        upload.begin()
        return upload

    def close(self) -> Deferred[None]:
        """Give all of them up; fires when no worker has to do with them any more."""
        if not self._open:
            return succeed(None)
        closed = self._closed = Deferred()
        for upload in tuple(self._open):
            upload.give_up()
        return closed

    def _over(self, upload: Upload) -> None:
        self._open.discard(upload)
        if self._closed is not None and not self._open and not self._closed.called:
            self._closed.callback(None)
