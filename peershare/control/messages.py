"""What the API takes and gives beside the values of `peershare.status`, and its problems.

A description or a bound that stands here is what the API's document says, and a bound is what is
held to.  Not for: finding out that something is a problem; that is the guard's and the handlers'
work.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from peershare.errors import (
    AmbiguousContentError,
    AmbiguousNameError,
    BadNameError,
    BadPathError,
    LocalError,
    StorageError,
    UnknownContentError,
    UnknownDownloadError,
    UnknownUploadError,
)
from peershare.status import ContentChoice, ShareMode

# Of the contents: how many there are, and how many of them are listed, over all windows.
TOTAL_HEADER, SHOWN_HEADER = "peershare-total", "peershare-shown"
# Beyond any name or path that a file system takes; the node judges them closely.
MAX_TEXT_LENGTH = 8_192
DEFAULT_HISTORY = 100
MAX_HISTORY = 10_000
MAX_CONTENTS = 1_000_000
MAX_DOWNLOADS = 10_000

_Text = Annotated[str, Meta(max_length=MAX_TEXT_LENGTH)]
_Name = Annotated[str, Meta(min_length=1, max_length=MAX_TEXT_LENGTH)]
# Escaped in an address it is up to twelve times as long, and a line of HTTP has its own end.
_Pattern = Annotated[str, Meta(max_length=1_000)]
# What a path is judged by in the end is `api`; the pattern is for who reads the document.
_Path = Annotated[
    str,
    Meta(
        description="An absolute path on the machine of the node, or a file URI of one.",
        max_length=MAX_TEXT_LENGTH,
        extra_json_schema={"pattern": "^(/|file:///)[^\\x00]*$"},
    ),
]
_Limit = Annotated[float, Meta(description="Bytes a second.", ge=1)]


class NoQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """A path that takes no parameters."""


class ContentsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """The parameters of GET /api/contents."""

    match: Annotated[_Pattern, Meta(description="A pattern for names: * is anything.")] = ""
    offset: Annotated[
        int, Meta(description="So many are left out first.", ge=0, le=MAX_CONTENTS)
    ] = 0
    limit: Annotated[int, Meta(description="At most so many.", ge=1, le=MAX_CONTENTS)] = (
        MAX_CONTENTS
    )


class DownloadsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """The parameters of GET /api/downloads."""

    offset: Annotated[
        int, Meta(description="So many are left out first.", ge=0, le=MAX_CONTENTS)
    ] = 0
    limit: Annotated[int, Meta(description="At most so many.", ge=1, le=MAX_DOWNLOADS)] = (
        MAX_DOWNLOADS
    )


class HistoryQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """The parameters of GET /api/history."""

    limit: Annotated[
        int, Meta(description="At most so many, the newest.", ge=1, le=MAX_HISTORY)
    ] = DEFAULT_HISTORY
    since: Annotated[
        str,
        Meta(
            description=(
                "What is older is left out: Unix seconds, or ISO 8601; in the time zone of the"
                " node where none is named."
            ),
            max_length=64,
            extra_json_schema={
                "anyOf": [
                    {"format": "date-time"},
                    {"pattern": "^[0-9]{1,11}([.][0-9]{1,9})?$"},
                    {"maxLength": 0},
                ]
            },
        ),
    ] = ""
    direction: Annotated[
        Literal["", "download", "upload"], Meta(description="One of the logs; empty: both.")
    ] = ""


class OpenQuery(Struct, frozen=True):
    """The parameters of GET /open."""

    code: Annotated[str, Meta(description="A code of POST /api/opening.", max_length=256)]


class StartDownload(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What to download; `folder` is an absolute path, null the share folder.

    `name` is that of a content, or the beginning of its id.
    """

    name: _Name
    folder: _Path | None = None
    sequential: bool = False
    source: Annotated[
        str,
        Meta(
            description="The IPv4 address whose content is meant; empty: anybody's.",
            max_length=15,
            pattern=r"^([0-9]{1,3}(\.[0-9]{1,3}){3})?$",
        ),
    ] = msgspec.field(default="", name="from")
    classic: Annotated[
        bool, Meta(description="What is offered by the classic protocol is meant, unverified.")
    ] = False


class ShareFile(Struct, frozen=True, forbid_unknown_fields=True):
    """The file to share: an absolute path of a regular file; a symbolic link is refused."""

    path: _Path
    how: ShareMode = ShareMode.AUTO


class VerifyShares(Struct, frozen=True, forbid_unknown_fields=True):
    """What to hash anew; without a name it is all that is shared."""

    name: _Text | None = None


class SetLimits(Struct, frozen=True, forbid_unknown_fields=True):
    """How fast it may go from now on; null: as fast as it can.  Forgotten at a restart."""

    upload: _Limit | None
    download: _Limit | None


class Nothing(Struct, frozen=True, forbid_unknown_fields=True):
    """An empty object: all is said by the path."""


class OpeningCode(Struct, frozen=True):
    """What opens the page in a browser, once, within a minute: /open?code=CODE."""

    code: str


class Health(Struct, frozen=True):
    """That the node lives."""

    status: Literal["ok"] = "ok"


class ApiError(Struct, frozen=True, omit_defaults=True):
    """The body of every answer that is no success."""

    error: str  # a code for programs: "bad-token", "unknown-download", …
    message: str  # a sentence for people
    choices: tuple[str, ...] = ()  # the exact names, where a name was ambiguous
    candidates: tuple[ContentChoice, ...] = ()  # the contents, where a name fits several
    needed_bytes: int | None = None  # how much room is missing, where that is the cause


# Every code that `ApiError.error` may hold: the HTTP status that it comes with, and when.
PROBLEMS: dict[str, tuple[int, str]] = {
    "bad-body": (400, "the body is not what is wanted here"),
    "bad-query": (400, "a parameter is unknown, or has a value that cannot be used"),
    "bad-path": (
        400,
        "the path is no absolute one, or not that of what can be used here",
    ),
    "bad-name": (400, "no content and no file can have this name"),
    "bad-token": (401, "the token, or the page's cookie, is missing or wrong"),
    "bad-code": (403, "the code is unknown, used or old"),
    "bad-host": (403, "the request names a host that is not this API's"),
    "bad-origin": (403, "the request comes from another site's page"),
    "unknown-path": (404, "there is nothing at this path"),
    "unknown-content": (404, "nobody has told this content"),
    "unknown-download": (404, "there is no download with this id"),
    "unknown-upload": (404, "no file of a guest has this id and waits to be decided on"),
    "wrong-method": (405, "the path does not know this method; Allow says which it knows"),
    "ambiguous-name": (409, "the name fits several contents"),
    "too-large": (413, "the body is too long"),
    "not-json": (415, "the body is not said to be JSON"),
    "not-octets": (415, "the body is not said to be application/octet-stream"),
    "internal": (500, "a fault of the node; its log has the details"),
    "storage": (503, "the disk of the node is in the way"),
    "too-many-streams": (503, "no more event streams can be open at a time"),
    "unavailable": (503, "the node cannot do this now"),
}


class ProblemError(Exception):
    """An answer that is no success: an HTTP status and its body."""

    def __init__(self, status: int, error: ApiError, allowed: tuple[str, ...] = ()) -> None:
        """`allowed`: the methods that would do, with status 405."""
        super().__init__(error.message)
        self.status = status
        self.error = error
        self.allowed = allowed


def problem(status: int, code: str, message: str) -> ProblemError:
    """A problem with nothing but a code, which is one of `PROBLEMS`, and a sentence."""
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
    if isinstance(error, BadPathError):
        return problem(400, "bad-path", message)
    if isinstance(error, UnknownUploadError):
        return problem(404, "unknown-upload", message)
    if isinstance(error, StorageError):
        return ProblemError(503, ApiError("storage", message, needed_bytes=error.needed_bytes))
    return problem(503, "unavailable", message)
