"""What `list`, `peers`, `share` and `history` print: aligned for people, tab-separated for pipes.

Not for: JSON, which is the status values themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from peershare.client.wording import safe, size_text, span_text
from peershare.status import ContentStatus, HistoryEntry, PeerStatus

# A terminal that a table of more rows scrolls through shows nobody anything.
MOST_DRAWN_ROWS = 500


class Column(NamedTuple):
    """A column's heading; `numeric` ones stand to the right, `long` ones may take several lines."""

    title: str
    numeric: bool = False
    long: bool = False


class Sheet(NamedTuple):
    """A table whose cells are safe to show."""

    columns: tuple[Column, ...]
    rows: Sequence[tuple[str, ...]]


def contents_sheet(contents: Sequence[ContentStatus]) -> Sheet:
    """Names, whether all five chunks are to be had, whose they are."""
    columns = (
        Column("NAME", long=True),
        Column("CHUNKS"),
        Column("SIZE", numeric=True),
        Column("FROM", long=True),
    )
    return Sheet(columns, [_content_row(content) for content in contents])


def _content_row(content: ContentStatus) -> tuple[str, ...]:
    there = len(content.chunks) if content.shared else sum(1 for count in content.chunks if count)
    size = size_text(content.size) if content.size is not None else "?"
    holders = ["you"] if content.shared else []
    holders += [safe(address) for address in content.peers]
    return safe(content.name), f"{there}/{len(content.chunks)}", size, _few(holders)


def peers_sheet(peers: Sequence[PeerStatus]) -> Sheet:
    """Addresses, when they were heard, what went to and fro, what they have."""
    columns = (
        Column("ADDRESS"),
        Column("HEARD", numeric=True),
        Column("GAVE", numeric=True),
        Column("TOOK", numeric=True),
        Column("CONTENTS", long=True),
    )
    rows = [
        (
            safe(peer.address),
            f"{span_text(peer.heard_seconds_ago)} ago",
            size_text(peer.given),
            size_text(peer.taken),
            _few([safe(name) for name in peer.contents]),
        )
        for peer in peers
    ]
    return Sheet(columns, rows)


def history_sheet(entries: Sequence[HistoryEntry], *, drawn: bool) -> Sheet:
    """The log lines, newest first; `drawn`: for a person, who needs no offset in every line."""
    columns = (
        Column("TIME"),
        Column("WHAT"),
        Column("CHUNK", long=True),
        Column("ADDRESS"),
        Column("BYTES", numeric=True),
        Column("SECONDS", numeric=True),
        Column("RESULT", long=True),
    )
    rows = [
        (
            safe(entry.time[:19].replace("T", " ") if drawn else entry.time),
            safe(entry.direction),
            safe(entry.chunk),
            safe(entry.address),
            str(entry.bytes),
            f"{entry.seconds:.3f}",
            safe(entry.result),
        )
        for entry in entries
    ]
    return Sheet(columns, rows)


def _few(items: Sequence[str], most: int = 4) -> str:
    rest = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + rest


def plain_lines(sheet: Sheet) -> str:
    """The rows for a program: tabs between the cells, no heading."""
    return "\n".join("\t".join(row) for row in sheet.rows)


def drawn_lines(sheet: Sheet, columns: int, color: bool) -> str:
    """The rows for a person, in a terminal so wide."""
    from rich.table import Table
    from rich.text import Text

    from peershare.client.progress import rich_console

    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for column in sheet.columns:
        table.add_column(
            column.title,
            justify="right" if column.numeric else "left",
            overflow="fold" if column.long else "ellipsis",
            no_wrap=not column.long,
        )
    for row in sheet.rows[:MOST_DRAWN_ROWS]:
        table.add_row(*map(Text, row))
    console = rich_console(columns, color)
    with console.capture() as captured:
        console.print(table)
    lines = _trimmed(captured.get().split("\n"))
    if len(sheet.rows) > MOST_DRAWN_ROWS:
        lines.append(f"… and {len(sheet.rows) - MOST_DRAWN_ROWS} more; a pipe gets them all")
    return "\n".join(lines)


def _trimmed(lines: Iterable[str]) -> list[str]:
    trimmed = [line.rstrip() for line in lines]
    while trimmed and not trimmed[-1]:
        trimmed.pop()
    return trimmed
