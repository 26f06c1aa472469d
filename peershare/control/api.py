"""The routes of the API, and what each of them asks the node.

    GET    /api/node                     NodeStatus
    GET    /api/contents?match=*.png     [ContentStatus, …]
    GET    /api/peers                    [PeerStatus, …]
    GET    /api/downloads                [DownloadStatus, …]
    POST   /api/downloads                StartDownload -> 202 DownloadStatus
    GET    /api/downloads/ID             DownloadStatus
    DELETE /api/downloads/ID             DownloadStatus; the part is kept
    POST   /api/shares                   ShareFile -> 201 ShareStatus
    POST   /api/verify                   VerifyShares -> [VerifyResult, …], when all is hashed
    GET    /api/history?limit=100        [HistoryEntry, …], newest first
    GET    /api/events                   the event stream (see `events`)

Not for: HTTP itself (`resource`) or who may ask (`guard`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec
from twisted.internet.defer import Deferred

from peershare.content.names import display
from peershare.control.face import NodeFace
from peershare.control.messages import (
    ProblemError,
    ShareFile,
    StartDownload,
    VerifyShares,
    problem,
    problem_of,
)
from peershare.errors import LocalError, UnknownDownloadError

DEFAULT_HISTORY = 100
MAX_HISTORY = 10_000
# Beyond any name or path that a file system takes; the node judges them closely.
_MAX_TEXT_LENGTH = 8_192
_ANY = "*"

T = TypeVar("T")


@dataclass(frozen=True)
class Call:
    """One request that may be answered: `item` is what stands for the * of its route."""

    item: str = ""
    query: dict[bytes, list[bytes]] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Reply:
    """A success: its HTTP status, and a value that becomes JSON."""

    status: int
    value: object


Handler = Callable[["Api", Call], "Reply | Deferred[Reply]"]


class Api:
    """Answers calls out of a node."""

    def __init__(self, node: NodeFace) -> None:
        self._node = node

    def node(self, call: Call) -> Reply:
        """The node itself."""
        return Reply(200, self._node.node_status())

    def contents(self, call: Call) -> Reply:
        """What is on the network."""
        values = call.query.get(b"match", [b""])
        return Reply(200, self._node.contents(_text(values[-1].decode("utf-8", "replace"))))

    def peers(self, call: Call) -> Reply:
        """Who is on the network."""
        return Reply(200, self._node.peers())

    def downloads(self, call: Call) -> Reply:
        """Every download of this run."""
        return Reply(200, self._node.downloads())

    def download(self, call: Call) -> Reply:
        """One download."""
        for status in self._node.downloads():
            if status.id == call.item:
                return Reply(200, status)
        unknown = UnknownDownloadError(f"there is no download {display(call.item)}")
        raise problem_of(unknown)

    def start(self, call: Call) -> Reply:
        """Begin a download, or take the one that runs."""
        wish = _decode(call.body, StartDownload)
        folder = None if wish.folder is None else _absolute(wish.folder)
        status = self._node.start_download(_text(wish.name), folder, sequential=wish.sequential)
        return Reply(202, status)

    def stop(self, call: Call) -> Reply:
        """End a download; its part is kept."""
        return Reply(200, self._node.stop_download(call.item))

    def share(self, call: Call) -> Deferred[Reply]:
        """Put a file into the share folder."""
        path = _absolute(_decode(call.body, ShareFile).path)
        return self._node.share(path).addCallback(lambda status: Reply(201, status))

    def verify(self, call: Call) -> Deferred[Reply]:
        """Hash what is shared anew."""
        name = _decode(call.body, VerifyShares).name
        verified = self._node.verify(None if name is None else _text(name))
        return verified.addCallback(lambda results: Reply(200, results))

    def history(self, call: Call) -> Reply:
        """The newest lines of both logs."""
        values = call.query.get(b"limit", [str(DEFAULT_HISTORY).encode()])
        digits = values[-1] if len(values[-1]) <= 6 and values[-1].isdigit() else b"0"
        if not 1 <= int(digits) <= MAX_HISTORY:
            raise problem(400, "bad-limit", f"limit is a number from 1 to {MAX_HISTORY}")
        return Reply(200, self._node.history(int(digits)))


EVENTS_PATH = ("events",)
_ROUTES: dict[tuple[str, ...], dict[str, Handler]] = {
    ("node",): {"GET": Api.node},
    ("contents",): {"GET": Api.contents},
    ("peers",): {"GET": Api.peers},
    ("downloads",): {"GET": Api.downloads, "POST": Api.start},
    ("downloads", _ANY): {"GET": Api.download, "DELETE": Api.stop},
    ("shares",): {"POST": Api.share},
    ("verify",): {"POST": Api.verify},
    ("history",): {"GET": Api.history},
}


def find_handler(method: str, path: tuple[str, ...]) -> tuple[Handler, str]:
    """The handler for a method and the path below /api, and what stands for its *.

    Raises `ProblemError`: 404 for an unknown path, 405 (naming the methods) for an unknown method.
    """
    item = path[-1] if path else ""
    methods = _ROUTES.get(path) or _ROUTES.get((*path[:-1], _ANY) if item else ())
    if methods is None or _ANY in path:
        raise problem(404, "unknown-path", "there is nothing at this path")
    if method not in methods:
        wrong_method(tuple(methods))
    return methods[method], item


def wrong_method(allowed: tuple[str, ...]) -> None:
    """Raise the `ProblemError` of a method that the path does not know."""
    error = problem(405, "wrong-method", f"this path knows {' and '.join(allowed)} alone")
    raise ProblemError(405, error.error, allowed)


def local_problem(error: BaseException) -> ProblemError | None:
    """The answer for what a handler raised; None if it is none of ours: a bug."""
    if isinstance(error, ProblemError):
        return error
    return problem_of(error) if isinstance(error, LocalError) else None


def _decode(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        text = display(str(error), 300)
        raise problem(400, "bad-body", f"the body is not what is wanted here: {text}") from None


def _text(value: str) -> str:
    """A text of a sane length."""
    if len(value) > _MAX_TEXT_LENGTH:
        raise problem(400, "too-long", f"at most {_MAX_TEXT_LENGTH} characters, please")
    return value


def _absolute(value: str) -> Path:
    """A path from a body: absolute, and one that the system can take at all."""
    path = Path(_text(value))
    if "\0" in value or not path.is_absolute():
        raise problem(400, "bad-path", f"an absolute path is needed, not {display(value)!r}")
    return path
