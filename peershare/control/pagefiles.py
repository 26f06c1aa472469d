"""The files of the page, in memory: a request names one, and never a path.

Also the three small pages that are shown to whoever is not let in yet.
Not for: who may have them (`guard`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import PurePath

INDEX = "index.html"
# What else lies in the folder is not served.
_TYPES = {
    ".html": b"text/html; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
    ".png": b"image/png",
    ".webmanifest": b"application/manifest+json",
}


@dataclass(frozen=True)
class PageFile:
    """One file; `etag` changes with its bytes."""

    data: bytes
    kind: bytes
    etag: bytes


def load_page_files(folder: Traversable | None = None) -> Mapping[str, PageFile]:
    """Every file of the page, by its name (default: those that the package brings along)."""
    if folder is None:
        folder = resources.files("peershare.control").joinpath("page")
    if not folder.is_dir():
        return {}
    return {
        file.name: _page_file(file.read_bytes(), _TYPES[PurePath(file.name).suffix])
        for file in folder.iterdir()
        if file.is_file() and PurePath(file.name).suffix in _TYPES
    }


def _page_file(data: bytes, kind: bytes) -> PageFile:
    return PageFile(data, kind, b'"%s"' % hashlib.sha256(data).hexdigest()[:32].encode("ascii"))


def _small_page(title: str, body: str, head: str = "") -> bytes:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f'<meta name="color-scheme" content="light dark">{head}'
        f"<title>{escape(title)}</title></head><body><h1>{escape(title)}</h1>{body}</body></html>\n"
    ).encode()


_HOW = "<p>To open it, run this on the same machine:</p><pre>peershare open</pre>"

CLOSED_PAGE = _small_page("peershare", f"<p>This page is not open in this browser.</p>{_HOW}")
BAD_CODE_PAGE = _small_page(
    "peershare",
    f"<p>This link does not open the page: it was used already, or is too old.</p>{_HOW}",
)
# A redirect would not do: where the way here began at another site, or at a file, a browser
# sends no SameSite=Strict cookie until a page of our own has sent it on.
OPENED_PAGE = _small_page(
    "peershare",
    '<p>The page is open: <a href="/">go on</a>.</p>',
    '<meta http-equiv="refresh" content="0; url=/">',
)
