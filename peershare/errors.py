"""Whose fault it is lives in the exception type.

A `LocalError` is ours (our disk, our settings, our user's wish): no peer is blamed
and no download fails over because of one.  A `PeerError` is theirs: a download that
meets one goes to the next address.
"""

from __future__ import annotations

import errno
from enum import StrEnum

from peershare.status import ContentChoice


class PeershareError(Exception):
    """Base of everything that peershare raises on purpose; its text is a sentence for a person."""


class LocalError(PeershareError):
    """Something on this machine is in the way."""


class SettingsError(LocalError):
    """A setting has a value that cannot be used; the text names the setting, the value and why."""


class StateInUseError(LocalError):
    """Another service owns this state folder; the text names its process id."""


class BadNameError(LocalError):
    """A name that cannot be a content name or a file name; the text says what is wrong with it."""


class AmbiguousNameError(LocalError):
    """A name that fits several contents; `choices` are the names that would be exact."""

    def __init__(self, message: str, choices: tuple[str, ...]) -> None:
        super().__init__(message)
        self.choices = choices


class AmbiguousContentError(LocalError):
    """A name that fits several contents; `candidates` are they."""

    def __init__(self, message: str, candidates: tuple[ContentChoice, ...]) -> None:
        super().__init__(message)
        self.candidates = candidates


class UnknownContentError(LocalError):
    """Nobody has told a content with this id."""


class UnknownDownloadError(LocalError):
    """There is no download with this id."""


class UnknownUploadError(LocalError):
    """No file of a guest has this id and waits to be decided on."""


class StorageError(LocalError):
    """Our disk is full, read-only, failing or not ours to write; the text names the path.

    `needed_bytes` is how much room is missing, where that is the cause.  `lasting`: it will be
    the same when it is tried again, unless somebody changes something (see `LASTING`).
    """

    def __init__(
        self, message: str, needed_bytes: int | None = None, *, lasting: bool = False
    ) -> None:
        super().__init__(message)
        self.needed_bytes = needed_bytes
        self.lasting = lasting


# Errors that waiting does not mend: what is too large, too long, forbidden, or no folder.  All
# others pass: a full disk gets room, a process its descriptors back, and even EIO may be a cable,
# a server or a stick that comes back.
LASTING = frozenset(
    (
        *(errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ENOTDIR),
        *(errno.EISDIR, errno.ELOOP, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EILSEQ),
        *(errno.EOVERFLOW, errno.EMLINK, errno.EXDEV),
    )
)


class BadPathError(StorageError):
    """The path that a user named is not that of a regular file which we can read, or of a folder
    into which we can write."""


class Reason(StrEnum):
    """Why a peer failed us, as written to the download log."""

    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    CONNECT_TIMEOUT = "connect-timeout"
    STALLED = "stalled"
    TOO_SLOW = "too-slow"
    RESET = "reset"
    EMPTY = "empty"
    SHORT = "short"
    SURPLUS = "surplus"
    BAD_REQUEST = "bad-request"
    BAD_DATAGRAM = "bad-datagram"
    UNASKABLE = "unaskable"
    BAD_MESSAGE = "bad-message"
    BAD_BEACON = "bad-beacon"
    NOT_HERE = "not-here"
    CHANGED = "changed"
    WRONG_BYTES = "wrong-bytes"
    WRONG_MANIFEST = "wrong-manifest"
    BUSY = "busy"
    VERSION = "version"


class PeerError(PeershareError):
    """A peer did not do what it should; `reason` is for logs and counters, the text for people."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
