"""Hooks of the fuzzer: no path that it makes up leads out of one folder, and what was answered.

Loaded by schemathesis in a process of its own.  `FUZZ_FOLDER` is the folder, `FUZZ_FILE` a file in
it, and `FUZZ_SEEN` where each answer leaves a line: method, path, status.  The service may be run
by root, and to download into a folder makes that folder.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import schemathesis

FOLDER, FILE, SEEN = (Path(os.environ[f"FUZZ_{name}"]) for name in ("FOLDER", "FILE", "SEEN"))
NAMES = ("folder", "path")


def inside(value: str) -> str:
    """An absolute path that was made up, as one in the folder; any other text as it is."""
    if not value.startswith("/"):
        return value
    plain = "".join(character for character in value if character.isalnum())[:50]
    return str(FOLDER / plain if len(value) % 2 else FILE)


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Right before a request leaves, whatever made it."""
    body = case.body
    if isinstance(body, bytes | str):  # sent as it is
        try:
            body = json.loads(body)
        except ValueError:
            return
    if isinstance(body, dict) and any(isinstance(body.get(name), str) for name in NAMES):
        texts = {name: body[name] for name in NAMES if isinstance(body.get(name), str)}
        case.body = {**body, **{name: inside(text) for name, text in texts.items()}}


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    """An answer is here."""
    with SEEN.open("a", encoding="utf-8") as seen:
        seen.write(f"{case.method} {case.operation.path} {response.status_code}\n")
