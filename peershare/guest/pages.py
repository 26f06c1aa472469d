"""What guests read: the list as a page, refusals as pages of one sentence.  Pure.

Every name in it went through `shown_name` and is escaped; there is no script or style in it but
our own files.  Not for: what is in the list, or headers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

from peershare.guest.naming import in_link
from peershare.guest.offers import MOST_LISTED, Offer

LINES_A_PAGE = 200
# Beside this module; read once, never by a name that somebody asks for.
STYLE = (Path(__file__).parent / "page" / "guest.css").read_bytes()
SCRIPT = (Path(__file__).parent / "page" / "guest.js").read_bytes()
_UNITS = ("kB", "MB", "GB", "TB")


@dataclass(frozen=True)
class Listing:
    """One page of the list: `lines` are offers, each with the bytes of it that are here.

    `upload_limit` is None where nothing is taken; `sent`: the guest has just sent something.
    """

    lines: Sequence[tuple[Offer, int]]
    count: int
    find: str = ""
    page: int = 1
    upload_limit: int | None = None
    sent: bool = False


def size_text(size: int) -> str:
    """A size for people: `17 bytes`, `1.2 MB`."""
    if size < 1_000:
        return f"{size} bytes"
    value = float(size)
    for unit in _UNITS:
        value /= 1_000
        if value < 999.95 or unit == _UNITS[-1]:
            break
    return f"{value:.1f} {unit}"


def list_page(listing: Listing) -> bytes:
    """The page; its links are relative to the one of the list."""
    body = [
        "<h1>Shared files</h1>",
        '<p class="note"><strong>This page is plain HTTP.</strong> Whoever is on this network and'
        " sees the link can fetch these files, and could read along.</p>",
    ]
    if listing.sent:
        body.append('<p role="status">Thank you: it waits until somebody there accepts it.</p>')
    body += (*_search(listing), *_lines(listing), *_pages(listing), *_rest(listing))
    body += _form(listing.upload_limit)
    return _page("Shared files", body, script=listing.upload_limit is not None)


def sentence_page(title: str, sentence: str) -> bytes:
    """A page that says one thing; it needs no other file."""
    return _page(title, [f"<h1>{escape(title)}</h1>", f"<p>{escape(sentence)}</p>"], bare=True)


def _page(title: str, body: Sequence[str], *, script: bool = False, bare: bool = False) -> bytes:
    head = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>{escape(title)}</title>",
    ]
    if not bare:
        head.append('<link rel="stylesheet" href="guest.css">')
    if script:
        head.append('<script src="guest.js" defer></script>')
    return "\n".join([*head, "</head><body><main>", *body, "</main></body></html>\n"]).encode()


def _search(listing: Listing) -> list[str]:
    if listing.count <= 10 and not listing.find:
        return []
    return [
        '<form role="search" method="get" action="./"><label for="find">Name</label>',
        f'<input id="find" name="find" type="search" value="{escape(listing.find)}">',
        "<button>Search</button></form>",
    ]


def _lines(listing: Listing) -> list[str]:
    if not listing.lines:
        return ["<p>There is nothing of this name.</p>" if listing.find else "<p>Nothing yet.</p>"]
    lines = ["<ul>"]
    for offer, held in listing.lines:
        state = size_text(offer.size)
        if not offer.complete:
            share = held * 100 // offer.size if offer.size else 100
            state += f", still arriving here ({share} %): you get it as it comes"
        lines.append(
            f'<li><a href="{offer.key}/{escape(in_link(offer.name))}" download>'
            f"<bdi>{escape(offer.name)}</bdi></a> <small>{state}</small></li>"
        )
    return [*lines, "</ul>"]


def _rest(listing: Listing) -> list[str]:
    if listing.count < MOST_LISTED:
        return []
    return [f"<p>No more than {MOST_LISTED:,} files are listed here.</p>"]


def _pages(listing: Listing) -> list[str]:
    last = -(-listing.count // LINES_A_PAGE)
    if last <= 1:
        return []
    found = f"find={quote(listing.find, safe='')}&amp;" if listing.find else ""
    links = []
    for number, text in ((listing.page - 1, "Before"), (listing.page + 1, "Next")):
        if 1 <= number <= last:
            links.append(f'<a href="./?{found}page={number}">{text}</a>')
    where = f"Page {listing.page} of {last}, {listing.count} files"
    return ['<nav aria-label="Pages">', f"<span>{where}</span>", *links, "</nav>"]


def _form(limit: int | None) -> list[str]:
    if limit is None:
        return []
    return [
        '<h2>Send a file</h2><form id="send" method="post" action="upload"'
        f' enctype="multipart/form-data" data-limit="{limit}">',
        '<label for="file">Somebody there has to accept it; at most'
        f" {size_text(limit)} at a time.</label>",
        '<input id="file" name="file" type="file" multiple required>',
        '<button>Send</button><ol id="sending" aria-live="polite"></ol></form>',
    ]
