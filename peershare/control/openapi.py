"""The document of the API: OpenAPI 3.1, made of the table of routes and the Structs it names.

What it says of a body or a parameter is what is held to, for both come from one Struct.
Not for: which routes there are (`routes`).
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from peershare import __version__
from peershare.control.messages import PROBLEMS, ApiError
from peershare.control.route import HTML, JSON, Access, Route
from peershare.status import Event

Document = dict[str, Any]

_REFERENCE = "#/components/schemas/{name}"
_EVENT = _REFERENCE.format(name="Event")
_SECURITY: dict[Access, list[Document]] = {
    Access.TOKEN: [{"token": []}, {"cookie": []}],
    Access.COOKIE: [{"cookie": []}],
    Access.OPEN: [],
}
_PARAMETERS = {
    "id": "The id of a download, or of an upload of a guest.",
    "name": "The name of a file.",
}
_ABOUT = """\
The local API of one peershare node.  It answers on a loopback address alone, and only to requests
that name it as their host, that come from no other site's page, and that show the token of
`control.json` in the node's state folder, or the cookie of its page.  Every answer that is no
success has an ApiError as body, whose `error` is one of the codes named with its status.  All
sizes are bytes, all rates bytes a second, all durations seconds; `*_at` are Unix times."""


def describe(routes: Sequence[Route]) -> Document:
    """The document that describes these routes, ready to be JSON."""
    kinds = [route.reply for route in routes if route.reply is not None]
    kinds += [route.body for route in routes if route.body is not None]
    schemas, components = msgspec.json.schema_components(
        [Event, ApiError, *kinds], ref_template=_REFERENCE
    )
    told = dict(zip(map(repr, [Event, ApiError, *kinds]), schemas, strict=True))
    components = {name: _component(name, schema) for name, schema in components.items()}
    components["Event"] = told[repr(Event)]
    paths: Document = {}
    for route in routes:
        path = paths.setdefault(route.path, {})
        path[route.method.lower()] = _operation(route, told)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "peershare",
            "version": __version__,
            "description": _ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": paths,
        "components": {
            "schemas": dict(sorted(components.items())),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "cookie": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "peershare-5002",
                    "description": "What follows the dash is the port of this API.",
                },
            },
        },
    }


def _component(name: str, schema: Document) -> Document:
    """A Struct as a schema: a clean text, and all fields required of what is always sent whole."""
    described: Document = _even(schema)
    if "description" in schema:
        described["description"] = inspect.cleandoc(schema["description"])
    taken = "additionalProperties" in schema  # a body: what may be left out is no lie there
    if "properties" in schema and not taken and name != ApiError.__name__:
        described["required"] = list(schema["properties"])
    return described


def _even(value: Any) -> Any:
    """A schema in which tuples of one kind of item are arrays: some readers know no other ones."""
    if isinstance(value, list):
        return [_even(item) for item in value]
    if not isinstance(value, dict):
        return value
    plain = {key: _even(item) for key, item in value.items()}
    first = plain.pop("prefixItems", None)
    if first is not None:
        plain["items"] = first[0] if first.count(first[0]) == len(first) else {}
    return plain


def _operation(route: Route, told: Document) -> Document:
    operation: Document = {
        "operationId": _identifier(route),
        "summary": route.summary,
        "security": _SECURITY[route.access],
        "parameters": [*_path_parameters(route), *_query_parameters(route)],
        "responses": _responses(route, told),
    }
    if route.takes_body:
        operation["requestBody"] = {
            "required": True,
            "content": {route.body_media: _content(route.body, told)},
        }
    return operation


def _identifier(route: Route) -> str:
    """A name for programs, such as `postApiDownloadsIdPause`."""
    words = route.path.replace("{", "").replace("}", "").replace(".", "/").split("/")
    return route.method.lower() + "".join(word.capitalize() for word in words)


def _path_parameters(route: Route) -> Iterable[Document]:
    for part in route.path.split("/"):
        if part[:1] == "{":
            name = part[1:-1]
            yield {
                "name": name,
                "in": "path",
                "required": True,
                "description": _PARAMETERS[name],
                "schema": {"type": "string", "minLength": 1},
            }


def _query_parameters(route: Route) -> Iterable[Document]:
    schema = msgspec.json.schema_components([route.query])[1][route.query.__name__]
    for name, field in schema["properties"].items():
        described = {key: value for key, value in field.items() if key != "description"}
        yield {
            "name": name,
            "in": "query",
            "required": name in schema["required"],
            "description": field["description"],
            "schema": described,
        }


def _content(kind: Any, told: Document) -> Document:
    """What is said of a body; of one that is no JSON, nothing but its type is."""
    return {} if kind is None else {"schema": told[repr(kind)]}


def _responses(route: Route, told: Document) -> Document:
    """Each status that it may be answered with, and what stands in the body then."""
    media = JSON if route.reply is not None else route.reply_media
    success: Document = {"description": route.summary}
    if route.status != 303:
        success["content"] = {media: _content(route.reply, told)}
    responses = {str(route.status): success}
    if route.cached:
        responses["304"] = {"description": "It has the ETag that If-None-Match names."}
    codes: dict[int, list[str]] = {}
    for code in sorted({*route.common_problems, *route.problems}):
        codes.setdefault(PROBLEMS[code][0], []).append(code)
    for status, found in sorted(codes.items()):
        content = {JSON: _content(ApiError, told)}
        if route.reply_media == HTML:
            content[HTML] = {}
        texts = (f"`{code}`: {PROBLEMS[code][1]}" for code in found)
        responses[str(status)] = {"description": "; ".join(texts) + ".", "content": content}
    return responses
