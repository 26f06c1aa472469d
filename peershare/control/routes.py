"""The routes of the node's HTTP port: one table that is dispatched by, and described from.

A test or a document that goes over `ROUTES` goes over all that is answered.  Where a route has no
handler, `resource` answers it by itself: what it takes or gives is no JSON, or is no picture of
the node.  Not for: what a handler does (`api`), nor how the table is described (`openapi`).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from peershare.control.api import Api
from peershare.control.guestroutes import GUEST_ROUTES
from peershare.control.messages import (
    ContentsQuery,
    DownloadsQuery,
    Health,
    HistoryQuery,
    Nothing,
    OpeningCode,
    OpenQuery,
    ProblemError,
    SetLimits,
    ShareFile,
    StartDownload,
    VerifyShares,
    problem,
)
from peershare.control.openapi import describe
from peershare.control.proof import PROOF_PATH, Proof, ProofQuery
from peershare.control.route import BYTES, EVENTS, HTML, TEXT, Access, Route
from peershare.status import (
    BlockMap,
    ContentStatus,
    DownloadStatus,
    HistoryEntry,
    Limits,
    NodeStatus,
    PeerStatus,
    ShareStatus,
    VerifyResult,
)


def _openapi(api: Api, call: object) -> msgspec.Raw:
    return document()


_ONE = ("unknown-download",)
_DOWNLOAD = "/api/downloads/{id}"

ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/api/node",
        summary="The node itself.",
        handler=Api.node,
        reply=NodeStatus,
    ),
    Route(
        method="GET",
        path="/api/contents",
        summary=(
            "What is on the network, and our own files, by name; the headers peershare-total and"
            " peershare-shown say how many there are, and how many of those are listed."
        ),
        handler=Api.contents,
        query=ContentsQuery,
        reply=tuple[ContentStatus, ...],
    ),
    Route(
        method="GET",
        path="/api/peers",
        summary="Who is on the network.",
        handler=Api.peers,
        reply=tuple[PeerStatus, ...],
    ),
    Route(
        method="GET",
        path="/api/downloads",
        summary="Every download of this run.",
        handler=Api.downloads,
        query=DownloadsQuery,
        reply=tuple[DownloadStatus, ...],
    ),
    Route(
        method="POST",
        path="/api/downloads",
        summary="Begin a download, or take the one that runs.",
        handler=Api.start,
        body=StartDownload,
        reply=DownloadStatus,
        status=202,
        problems=("bad-name", "bad-path", "unknown-content", "ambiguous-name", "storage"),
    ),
    Route(
        method="GET",
        path=_DOWNLOAD,
        summary="One download.",
        handler=Api.download,
        reply=DownloadStatus,
        problems=_ONE,
    ),
    Route(
        method="DELETE",
        path=_DOWNLOAD,
        summary="End a download; its part is kept for next time.",
        handler=Api.cancel,
        reply=DownloadStatus,
        problems=_ONE,
    ),
    Route(
        method="GET",
        path=f"{_DOWNLOAD}/map",
        summary="Which blocks of a download are here, and from whom.",
        handler=Api.block_map,
        reply=BlockMap,
        problems=_ONE,
    ),
    Route(
        method="POST",
        path=f"{_DOWNLOAD}/pause",
        summary="Let a download rest, over restarts, until it is resumed.",
        handler=Api.pause,
        body=Nothing,
        reply=DownloadStatus,
        problems=(*_ONE, "storage"),
    ),
    Route(
        method="POST",
        path=f"{_DOWNLOAD}/resume",
        summary="Go on with a download that was paused or ended.",
        handler=Api.resume,
        body=Nothing,
        reply=DownloadStatus,
        problems=(*_ONE, "storage"),
    ),
    Route(
        method="POST",
        path=f"{_DOWNLOAD}/cancel",
        summary="End a download; its part is kept for next time.",
        handler=Api.cancel,
        body=Nothing,
        reply=DownloadStatus,
        problems=_ONE,
    ),
    Route(
        method="POST",
        path="/api/shares",
        summary="Put a file of this machine into the share folder: linked, or copied.",
        handler=Api.share,
        body=ShareFile,
        reply=ShareStatus,
        status=201,
        problems=("bad-name", "bad-path", "storage"),
    ),
    Route(
        method="PUT",
        path="/api/shares/{name}",
        summary="Put a file into the share folder whose bytes are the body.",
        body_media=BYTES,
        reply=ShareStatus,
        status=201,
        problems=("bad-name", "storage", "not-octets", "unavailable"),
    ),
    Route(
        method="POST",
        path="/api/verify",
        summary="Hash what is shared anew; answered when all is hashed.",
        handler=Api.verify,
        body=VerifyShares,
        reply=tuple[VerifyResult, ...],
    ),
    Route(
        method="GET",
        path="/api/history",
        summary="Who gave what to whom: the lines of the logs, newest first.",
        handler=Api.history,
        query=HistoryQuery,
        reply=tuple[HistoryEntry, ...],
    ),
    Route(
        method="GET",
        path="/api/limits",
        summary="How fast the node may go.",
        handler=Api.limits,
        reply=Limits,
    ),
    Route(
        method="PUT",
        path="/api/limits",
        summary="Let the node go so fast from now on, until it is restarted.",
        handler=Api.set_limits,
        body=SetLimits,
        reply=Limits,
    ),
    *GUEST_ROUTES,
    Route(
        method="GET",
        path="/api/events",
        summary="What happens in the node, as server-sent events; each has an Event as data.",
        reply_media=EVENTS,
        problems=("too-many-streams",),
    ),
    Route(
        method="GET",
        path="/api/openapi.json",
        summary="This document.",
        handler=_openapi,
        reply=dict[str, Any],
    ),
    Route(
        method="POST",
        path="/api/opening",
        summary="A code that opens the page in a browser.",
        body=Nothing,
        reply=OpeningCode,
        problems=("unavailable",),
    ),
    Route(
        method="GET",
        path="/open",
        summary="Exchange a code for the cookie of a page, and go there.",
        query=OpenQuery,
        reply_media=HTML,
        problems=("bad-code",),
        access=Access.OPEN,
    ),
    Route(
        method="GET",
        path="/",
        summary="The page; without its cookie, one that says how to open it.",
        reply_media=HTML,
        access=Access.COOKIE,
        cached=True,
    ),
    Route(
        method="GET",
        path="/page/{name}",
        summary="A file of the page.",
        reply_media=BYTES,
        problems=("unknown-path",),
        access=Access.COOKIE,
        cached=True,
    ),
    Route(
        method="GET",
        path="/metrics",
        summary="What prometheus asks for.",
        reply_media=TEXT,
    ),
    Route(
        method="GET",
        path=PROOF_PATH,
        summary="Proof that this node knows the token, which is not shown for it.",
        query=ProofQuery,
        reply=Proof,
        problems=("bad-query",),
        access=Access.OPEN,
    ),
    Route(
        method="GET",
        path="/healthz",
        summary="Whether the node lives.",
        reply=Health,
        access=Access.OPEN,
    ),
)


@cache
def document() -> msgspec.Raw:
    """What OpenAPI says of all of them, as JSON; made once, for nothing in it changes."""
    return msgspec.Raw(msgspec.json.encode(describe(ROUTES)))


def _shape(path: str) -> tuple[str | None, ...]:
    """The segments of a template; None for one that is variable."""
    return tuple(None if part[:1] == "{" else part for part in path.split("/")[1:])


_TABLE: dict[tuple[str | None, ...], dict[str, Route]] = {}
for _route in ROUTES:
    _TABLE.setdefault(_shape(_route.path), {})[_route.method] = _route


def find_route(method: str, path: tuple[str, ...]) -> tuple[Route, str]:
    """The route for a method and the segments of a path, and what stands for its variable part.

    Raises `ProblemError`: 404 for an unknown path, 405 (naming the methods) for an unknown method.
    """
    for shape, routes in _TABLE.items():
        if len(shape) == len(path) and all(map(_stands_for, path, shape)):
            if method not in routes:
                _wrong_method(tuple(routes))
            variable = (part for part, known in zip(path, shape, strict=True) if known is None)
            return routes[method], next(variable, "")
    raise problem(404, "unknown-path", "there is nothing at this path")


def _stands_for(part: str, known: str | None) -> bool:
    return part == known if known is not None else part != ""


def _wrong_method(allowed: tuple[str, ...]) -> None:
    error = problem(405, "wrong-method", f"this path knows {' and '.join(allowed)} alone")
    raise ProblemError(405, error.error, allowed)
