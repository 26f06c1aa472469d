"""The body of an upload, on its way into the inbox.

Not for: the limits of uploads (`inbox`), or connections.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.python.failure import Failure

from peershare.errors import BadNameError, LocalError, StorageError
from peershare.guest.inbox import Inbox, NotTakenError, Upload
from peershare.guest.multipart import FileBegins, FileEnds, FormDecoder, FormEvent
from peershare.guest.request import HttpError
from peershare.guest.status import GuestUpload


class Receiving:
    """One body, until `done` is called: with None, or with why it is not taken."""

    def __init__(
        self,
        inbox: Inbox,
        address: str,
        decoder: FormDecoder,
        length: int,
        done: Callable[[HttpError | None], None],
    ) -> None:
        """`length` in bytes, as the request declared it."""
        self._inbox = inbox
        self._address = address
        self._decoder = decoder
        self._left = length
        self._done: Callable[[HttpError | None], None] | None = done
        self._upload: Upload | None = None
        self._finishing: list[Deferred[GuestUpload]] = []
        self.received = 0

    @property
    def waiting(self) -> bool:
        """Whether all came, and our disk is waited for."""
        return self._left == 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes; what comes behind the body is dropped."""
        if self._done is None or not self._left:
            return
        data = data[: self._left]
        self._left -= len(data)
        self.received += len(data)
        try:
            for event in self._decoder.feed(data):
                self._take(event)
            if not self._left:
                self._end()
        except (HttpError, LocalError) as error:
            self._fail(error)

    def lost(self) -> None:
        """Nothing more will come: keep nothing of what is not whole."""
        self._done = None
        if self._upload is not None:
            self._upload.abort()

    def _take(self, event: FormEvent) -> None:
        if isinstance(event, FileBegins):
            if event.name:
                self._upload = self._inbox.begin(event.name, event.most_bytes, self._address)
        elif self._upload is not None and isinstance(event, FileEnds):
            upload, self._upload = self._upload, None
            self._finishing.append(upload.finish())
        elif self._upload is not None and isinstance(event, bytes):
            self._upload.write(event)

    def _end(self) -> None:
        if not self._decoder.ended:
            raise HttpError(400, "the form was cut short")
        if not self._finishing:
            raise HttpError(400, "no file was chosen")
        finished = gatherResults(self._finishing, consumeErrors=True)
        finished.addCallbacks(lambda _: self._conclude(None), self._failed)

    def _failed(self, failure: Failure) -> None:
        found: Any = failure.value
        error: Any = found.subFailure.value if isinstance(found, FirstError) else found
        self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if self._upload is not None:
            self._upload.abort()
            self._upload = None
        self._conclude(_as_http(error))

    def _conclude(self, error: HttpError | None) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(error)


def _as_http(error: BaseException) -> HttpError:
    """What a guest is told; paths of ours are nothing for them."""
    if isinstance(error, HttpError):
        return error
    if isinstance(error, NotTakenError):
        return HttpError(413, str(error))
    if isinstance(error, BadNameError):
        return HttpError(400, str(error))
    if isinstance(error, StorageError) and error.needed_bytes is not None:
        return HttpError(507, "there is not enough room on the disk there")
    return HttpError(507, "the disk there cannot take it")
