"""Route: one method of one path: what it takes, what it gives, what it may be refused with.

Not for: which routes there are (`routes`), nor how they are described (`openapi`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct
from twisted.internet.defer import Deferred

from peershare.content.names import display
from peershare.control.api import Api, Call
from peershare.control.messages import NoQuery, problem

JSON = "application/json"
BYTES = "application/octet-stream"
EVENTS = "text/event-stream"
HTML = "text/html"
TEXT = "text/plain"

# A handler takes a `Call` with what its route names as query and body.
Handler = Callable[[Api, Any], "object | Deferred[Any]"]


class Access(StrEnum):
    """What a request has to show, beside a Host and an Origin that are ours."""

    TOKEN = "token"  # the token, or the cookie of a page
    COOKIE = "cookie"  # the cookie of a page alone
    OPEN = "open"  # nothing


@dataclass(frozen=True, kw_only=True)
class Route:
    """One method of one path.

    `path` is a template whose one variable part, if any, is in braces.  `reply` is the type that
    the answer is encoded from (None: it is no JSON), `status` that of a success, `problems` are the
    codes that it may be refused with beside those which any request may be (`common_problems`).
    `cached`: it has an ETag, and is not sent again (304) to who names that.
    """

    method: str
    path: str
    summary: str
    handler: Handler | None = None
    query: type[Struct] = NoQuery
    body: type[Struct] | None = None
    body_media: str = JSON
    reply: Any = None
    reply_media: str = JSON
    status: int = 200
    problems: tuple[str, ...] = ()
    access: Access = Access.TOKEN
    cached: bool = False

    @property
    def takes_body(self) -> bool:
        """Whether it reads a body."""
        return self.body is not None or self.body_media != JSON

    @property
    def common_problems(self) -> tuple[str, ...]:
        """What any request of this kind may be refused with."""
        found = ["bad-host", "bad-origin", "internal"]
        if self.access is not Access.OPEN:
            found.append("bad-token")
        if self.handler is not None:
            found.append("bad-query")
        if self.body is not None:
            found += ["bad-body", "not-json", "too-large"]
        return tuple(found)

    def call(
        self, api: Api, item: str, arguments: Mapping[bytes, Sequence[bytes]], body: bytes
    ) -> object | Deferred[Any]:
        """Have the handler answer.  Raises `ProblemError`, `LocalError`; a Deferred may too.

        `arguments` are the parameters of the address; of several with one name the last counts.
        """
        assert self.handler is not None, "answered elsewhere"
        query = self.decode_query(arguments)
        return self.handler(api, Call(query, self.decode(body), item))

    def decode_query(self, arguments: Mapping[bytes, Sequence[bytes]]) -> Struct:
        """The parameters of the address.  Raises `ProblemError` (400)."""
        return _decode_query(arguments, self.query)

    def decode(self, body: bytes) -> Struct | None:
        """A body as the Struct that it has to be.  Raises `ProblemError` (400)."""
        return None if self.body is None else _decode_body(body, self.body)


def _decode_body(body: bytes, kind: type[Struct]) -> Struct:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        text = display(str(error), 300)
        raise problem(400, "bad-body", f"the body is not what is wanted here: {text}") from None


def _decode_query(arguments: Mapping[bytes, Sequence[bytes]], kind: type[Struct]) -> Struct:
    told = {
        name.decode("utf-8", "replace"): values[-1].decode("utf-8", "replace")
        for name, values in arguments.items()
    }
    try:
        return msgspec.convert(told, kind, strict=False)
    except msgspec.ValidationError as error:
        text = display(str(error), 300)
        raise problem(400, "bad-query", f"a parameter is not what is wanted: {text}") from None
