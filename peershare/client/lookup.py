"""What the shells' completion asks a running service for: names of contents, downloads, files.

It answers at once or not at all: no Twisted, no node of its own, one request of half a second.
A name that a terminal or a shell could take for something else (control characters, a dash
before it) is left out: a stranger on the network has chosen it.
Not for: the completion at the prompt (`interactive`).
"""

from __future__ import annotations

import http.client
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, urlsplit

import msgspec
from msgspec import Struct

from peershare.client.wording import safe_name
from peershare.control.controlfile import ControlFile, read_control_file
from peershare.control.proof import Proof, is_service, new_nonce, proof_path
from peershare.status import FINAL_STATES, DownloadState

REPLY_SECONDS = 0.5
MOST_NAMES = 2_000
_MOST_PATTERN = 500
_MOST_BYTES = 32 * 1024 * 1024


class _Content(Struct):
    name: str
    shared: bool
    not_offered: str = ""


class _Download(Struct):
    name: str
    state: DownloadState


T = TypeVar("T")


def names_of(kind: str, begun: str, state: Path) -> list[str]:
    """The names that begin so, sorted; `kind` is contents, downloads or shares.

    Empty where no service runs on this state folder, or it does not answer.
    """
    control = read_control_file(state)
    if control is None:
        return []
    try:
        if kind == "downloads":
            downloads = _ask(control, "/api/downloads", tuple[_Download, ...])
            names = {one.name for one in downloads if one.state not in FINAL_STATES}
        else:
            pattern = quote(f"{begun}*"[:_MOST_PATTERN], safe="")
            contents = _ask(control, f"/api/contents?match={pattern}", tuple[_Content, ...])
            names = {one.name for one in contents if _is_meant(one, kind)}
    except (OSError, http.client.HTTPException, ValueError):
        return []
    found = sorted(name for name in names if name.startswith(begun) and _is_harmless(name))
    return found[:MOST_NAMES]


def _is_meant(content: _Content, kind: str) -> bool:
    return content.shared or (kind == "contents" and not content.not_offered)


def _is_harmless(name: str) -> bool:
    return bool(name) and safe_name(name) == name and not name.startswith("~")


def _ask(control: ControlFile, path: str, kind: type[T]) -> T:
    """One answer, of whoever knows the token.  Raises `OSError`, `HTTPException`, `ValueError`."""
    parts = urlsplit(control.url)
    if parts.hostname is None or not parts.hostname.startswith("127."):
        raise ValueError("the token goes nowhere but to this machine")
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=REPLY_SECONDS)
    try:
        connection.connect()
        connection.auto_open = 0  # what is proven of a connection holds for no other one
        nonce = new_nonce()
        shown = _get(connection, proof_path(control.token, nonce), {}, Proof)
        if not is_service(control.token, nonce, shown.proof):
            raise ValueError("this is not the service that wrote the control file")
        return _get(connection, path, {"Authorization": f"Bearer {control.token}"}, kind)
    finally:
        connection.close()


def _get(
    connection: http.client.HTTPConnection, path: str, headers: dict[str, str], kind: type[T]
) -> T:
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    if response.status != 200:
        raise ValueError(f"HTTP {response.status}")
    return msgspec.json.decode(response.read(_MOST_BYTES), type=kind)
