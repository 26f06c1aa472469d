"""What `list`, `peers`, `verify` and `history` print, and the contents of one name.

Aligned for people, tab-separated for pipes.
Not for: JSON, which is the status values themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import compress
from typing import NamedTuple

from peershare.client.wording import safe, safe_name, short_id, size_text, span_text
from peershare.status import ContentChoice, ContentStatus, HistoryEntry, PeerStatus, VerifyResult

# A terminal that a table of more rows scrolls through shows nobody anything.
MOST_DRAWN_ROWS = 500


class Column(NamedTuple):
    """A column's heading.

    `numeric` ones stand to the right, `long` ones may take several lines, `spare` ones are left
    out of a narrow terminal.
    """

    title: str
    numeric: bool = False
    long: bool = False
    spare: bool = False


class Sheet(NamedTuple):
    """A table whose cells are safe to show."""

    columns: tuple[Column, ...]
    rows: Sequence[tuple[str, ...]]


def contents_sheet(contents: Sequence[ContentStatus], *, drawn: bool) -> Sheet:
    """Names, whether all five chunks are to be had, whose they are; ids, short if `drawn`."""
    columns = (
        Column("NAME", long=True),
        Column("CHUNKS"),
        Column("SIZE", numeric=True),
        Column("FROM", long=True),
        Column("ID", spare=True),
    )
    return Sheet(columns, [_content_row(content, drawn) for content in contents])


def _content_row(content: ContentStatus, drawn: bool) -> tuple[str, ...]:
    there = len(content.chunks) if content.shared else sum(1 for count in content.chunks if count)
    size = size_text(content.size) if content.size is not None else "?"
    holders = [safe(address) for address in content.peers]
    if content.not_offered:
        whom = " to native peers" if content.complete else ""
        holders.insert(0, f"not offered{whom}: {safe(content.not_offered)}")
    elif content.not_announced:
        holders.insert(0, f"you (not announced to classic peers: {safe(content.not_announced)})")
    elif content.shared:
        holders.insert(0, "you")
    identifier = short_id(content.id) if drawn else safe(content.id)
    chunks = f"{there}/{len(content.chunks)}"
    return safe_name(content.name), chunks, size, _few(holders), identifier or "-"


def candidates_sheet(candidates: Sequence[ContentChoice]) -> Sheet:
    """Contents of one name, for a program.

    Bytes, id, peers, seconds since it was discovered, name, protocol, addresses.
    """
    rows = [
        (
            "-" if choice.size is None else str(choice.size),
            safe(choice.id) or "-",
            str(choice.peers),
            f"{choice.age_seconds:.0f}",
            safe_name(choice.name),
            "native" if choice.id else "classic",
            ",".join(map(safe, choice.addresses)) or "-",
        )
        for choice in candidates
    ]
    titles = ("SIZE", "ID", "PEERS", "SECONDS", "NAME", "PROTOCOL", "FROM")
    return Sheet(tuple(map(Column, titles)), rows)


def candidate_lines(candidates: Sequence[ContentChoice]) -> str:
    """The same for a person, numbered, in two lines each that fit any terminal."""
    lines = []
    for number, choice in enumerate(candidates, 1):
        size = size_text(choice.size) if choice.size is not None else "size unknown"
        identifier = short_id(choice.id) or "classic, cannot be verified"
        count = f"{choice.peers} peer{'' if choice.peers == 1 else 's'}"
        whole = f" ({choice.complete} with all)" if choice.complete != choice.peers else ""
        lines.append(f"{number:>3}  {size}  {identifier}  {count}{whole}")
        where = f"from {_few(list(map(safe, choice.addresses)), choice.peers, 3)}"
        if choice.here or not choice.addresses:
            where = "begun here" if choice.here else "here" if not choice.age_seconds else "known"
        since = f", heard {span_text(choice.age_seconds)} ago" if choice.age_seconds else ""
        lines.append(f"     {where}{since}: {safe_name(choice.name)}")
    return "\n".join(lines)


def verify_sheet(results: Sequence[VerifyResult], *, drawn: bool) -> Sheet:
    """What became of each file; ids are short if `drawn`."""
    columns = (
        Column("NAME", long=True),
        Column("STATE"),
        Column("SIZE", numeric=True, spare=True),
        Column("ID", spare=True),
        Column("WHAT", long=True),
    )
    rows = [
        (
            safe_name(result.name),
            safe(result.state),
            size_text(result.size),
            (short_id(result.id) if drawn else safe(result.id)) or "-",
            safe(result.detail),
        )
        for result in results
    ]
    return Sheet(columns, rows)


def peers_sheet(peers: Sequence[PeerStatus]) -> Sheet:
    """Addresses, what they speak, when they were heard, what went to and fro, what they have."""
    columns = (
        Column("ADDRESS"),
        Column("SPEAKS", spare=True),
        Column("HEARD", numeric=True),
        Column("GAVE", numeric=True),
        Column("TOOK", numeric=True),
        Column("CONTENTS", long=True),
    )
    addresses = Counter(peer.address for peer in peers)
    rows = [
        (
            safe(_where(peer, alone=addresses[peer.address] == 1)),
            "native" if peer.native else "classic",
            f"{span_text(peer.heard_seconds_ago)} ago",
            size_text(peer.given),
            size_text(peer.taken),
            _few([safe_name(name) for name in peer.contents], max(peer.count, len(peer.contents))),
        )
        for peer in peers
    ]
    return Sheet(columns, rows)


def _where(peer: PeerStatus, *, alone: bool) -> str:
    """Its address; its TCP port, too, where it is not `alone` there."""
    return peer.address if alone or not peer.tcp_port else f"{peer.address}:{peer.tcp_port}"


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


def _few(items: Sequence[str], count: int | None = None, most: int = 4) -> str:
    """The first of them, of so many in all."""
    more = (len(items) if count is None else count) - min(most, len(items))
    rest = f" and {more} more" if more > 0 else ""
    return ", ".join(items[:most]) + rest


def plain_lines(sheet: Sheet) -> str:
    """The rows for a program: tabs between the cells, no heading."""
    return "\n".join("\t".join(row) for row in sheet.rows)


def drawn_lines(sheet: Sheet, columns: int, color: bool) -> str:
    """The rows for a person, in a terminal so wide."""
    from rich.table import Table
    from rich.text import Text

    from peershare.client.progress import NARROW_COLUMNS, rich_console

    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    narrow = columns < NARROW_COLUMNS
    kept = [not (narrow and column.spare) for column in sheet.columns]
    for column in compress(sheet.columns, kept):
        table.add_column(
            column.title,
            justify="right" if column.numeric else "left",
            overflow="fold" if column.long else "ellipsis",
            no_wrap=not column.long,
        )
    for row in sheet.rows[:MOST_DRAWN_ROWS]:
        table.add_row(*map(Text, compress(row, kept)))
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
