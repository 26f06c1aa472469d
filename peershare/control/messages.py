"""What the API takes and gives beside the values of `peershare.status`, and its problems.

Not for: finding out that something is a problem; that is the guard's and the handlers' work.
"""

from __future__ import annotations

from msgspec import Struct

from peershare.errors import (
    AmbiguousContentError,
    AmbiguousNameError,
    BadNameError,
    LocalError,
    StorageError,
    UnknownContentError,
    UnknownDownloadError,
)
from peershare.status import ContentChoice


class StartDownload(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /api/downloads; `folder` is an absolute path, None the share folder.

    `name` is that of a content, or the beginning of its id.
    """

    name: str
    folder: str | None = None
    sequential: bool = False


class ShareFile(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /api/shares; `path` is absolute."""

    path: str


class VerifyShares(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /api/verify; without a name it is all that is shared."""

    name: str | None = None


class ApiError(Struct, frozen=True, omit_defaults=True):
    """The body of every answer that is no success."""

    error: str  # a code for programs: "bad-token", "unknown-download", …
    message: str  # a sentence for people
    choices: tuple[str, ...] = ()  # the exact names, where a name was ambiguous
    candidates: tuple[ContentChoice, ...] = ()  # the contents, where a name fits several
    needed_bytes: int | None = None  # how much room is missing, where that is the cause


class ProblemError(Exception):
    """An answer that is no success: an HTTP status and its body."""

    def __init__(self, status: int, error: ApiError, allowed: tuple[str, ...] = ()) -> None:
        """`allowed`: the methods that would do, with status 405."""
        super().__init__(error.message)
        self.status = status
        self.error = error
        self.allowed = allowed


def problem(status: int, code: str, message: str) -> ProblemError:
    """A problem with nothing but a code and a sentence."""
    return ProblemError(status, ApiError(code, message))


def problem_of(error: LocalError) -> ProblemError:
    """The node's refusal as an answer."""
    message = str(error)
    if isinstance(error, AmbiguousNameError):
        return ProblemError(409, ApiError("ambiguous-name", message, choices=error.choices))
    if isinstance(error, AmbiguousContentError):
        body = ApiError("ambiguous-name", message, candidates=error.candidates)
        return ProblemError(409, body)
    if isinstance(error, UnknownContentError):
        return problem(404, "unknown-content", message)
    if isinstance(error, BadNameError):
        return problem(400, "bad-name", message)
    if isinstance(error, UnknownDownloadError):
        return problem(404, "unknown-download", message)
    if isinstance(error, StorageError):
        return ProblemError(503, ApiError("storage", message, needed_bytes=error.needed_bytes))
    return problem(503, "unavailable", message)
