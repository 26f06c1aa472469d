"""`status`: the node, its downloads and its peers as lines of a terminal, or of a pipe.

Where there is little room, ended downloads are left out before running ones, and peers before
downloads.  Not for: when to look and when to draw (`watching`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec import Struct
from rich.cells import set_cell_size

from peershare.client.progress import Progress, progress_lines
from peershare.client.screen import cells_of
from peershare.client.tables import Column, Sheet, drawn_lines
from peershare.client.wording import percent_text, rate_text, safe, safe_name, size_text, span_text
from peershare.status import FINAL_STATES, DownloadStatus, NodeStatus, PeerStatus

# Ended downloads that are shown below those that run.
MOST_ENDED = 3
_RATE_CELLS = len("999 kB/s")


class Snapshot(Struct, frozen=True, kw_only=True, tag="status"):
    """All that `status` shows, at one moment; the first line that `status --json` prints."""

    node: NodeStatus
    downloads: tuple[DownloadStatus, ...]
    peers: tuple[PeerStatus, ...]


class Room(NamedTuple):
    """What there is to draw on; lines are narrower than `columns`."""

    columns: int
    rows: int
    color: bool


def status_lines(
    node: NodeStatus, downloads: Sequence[Progress], peers: Sequence[PeerStatus], room: Room
) -> list[str]:
    """At most `room.rows` lines."""
    lines = _node_lines(node, room)
    left = max(2, room.rows - len(lines))
    wanted = _peer_lines(peers, room)
    for_peers = min(len(wanted), max(left // 3, 3)) if wanted else 0
    shown = progress_lines(_in_order(downloads), room.columns, left - for_peers, room.color)
    lines += shown or [_dim("no download", room)]
    lines += _cut(wanted, room.rows - len(lines))
    return lines[: room.rows]


def _in_order(downloads: Sequence[Progress]) -> list[Progress]:
    """What runs, then what ended last."""
    running = [one for one in downloads if one.status.state not in FINAL_STATES]
    ended = [one for one in downloads if one.status.state in FINAL_STATES]
    return running + ended[::-1][:MOST_ENDED]


def _node_lines(node: NodeStatus, room: Room) -> list[str]:
    """Rates and their limits, how many peers and files, and what is wrong."""
    parts = [
        f"down {rate_text(node.download_rate)}{_limit(node.download_limit)}",
        f"up {rate_text(node.upload_rate)}{_limit(node.upload_limit)}",
        _counted(node.peers, "peer"),
        _counted(node.files, "file"),
    ]
    if node.free_bytes:
        parts.append(f"{size_text(node.free_bytes)} free")
    lines = _wrapped(parts, room.columns - 1)
    if room.color:
        lines = [f"\x1b[1m{line}\x1b[0m" for line in lines]
    for problem in node.problems:
        line = set_cell_size(safe(problem), room.columns - 1).rstrip()
        lines.append(f"\x1b[33m{line}\x1b[0m" if room.color else line)
    if node.not_offered:
        line = set_cell_size(_not_offered(node), room.columns - 1).rstrip()
        lines.append(_dim(line, room))
    return lines


def _not_offered(node: NodeStatus) -> str:
    """How much of the share folder nobody is offered, with the first of it."""
    first = "; ".join(
        f"{safe_name(one.name)}: {safe(one.reason)}" for one in node.not_offered_first
    )
    return f"{node.not_offered} not offered (list names all): {first}"


def _limit(rate: float | None) -> str:
    return "" if rate is None else f" of {rate_text(rate)}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _wrapped(parts: Iterable[str], width: int) -> list[str]:
    """As many parts in a line as fit there."""
    lines: list[str] = []
    for part in parts:
        joined = f"{lines[-1]}  {part}" if lines else part
        if lines and cells_of(joined) <= width:
            lines[-1] = joined
        else:
            lines.append(part[:width])
    return lines


def _peer_lines(peers: Sequence[PeerStatus], room: Room) -> list[str]:
    """A table; what is wrong with a peer stands in a line of its own below it."""
    if not peers:
        return [_dim("nobody was heard", room)]
    heading, *rows = drawn_lines(_peers_sheet(peers), room.columns - 1, room.color).split("\n")
    lines = [heading]
    for peer, row in zip(peers, rows, strict=False):
        lines.append(row)
        if peer.problem:
            line = set_cell_size(f"  {safe(peer.problem)}", room.columns - 1).rstrip()
            lines.append(f"\x1b[33m{line}\x1b[0m" if room.color else line)
    return lines


def _peers_sheet(peers: Sequence[PeerStatus]) -> Sheet:
    """No cell takes a second line."""
    columns = (
        Column("PEER"),
        Column("DOWN", numeric=True),
        Column("UP", numeric=True),
        Column("HEARD", numeric=True, spare=True),
        Column("HAS", numeric=True, spare=True),
    )
    rows = [
        (
            safe(peer.address),
            _flow(peer.download_rate),
            _flow(peer.upload_rate),
            f"{span_text(peer.heard_seconds_ago)} ago",
            str(max(peer.count, len(peer.contents))),
        )
        for peer in peers
    ]
    return Sheet(columns, rows)


def _flow(rate: float) -> str:
    """As wide whatever it is: a column that changes its width pulls the others along."""
    return (rate_text(rate) if rate >= 1 else "-").rjust(_RATE_CELLS)


def _cut(lines: list[str], most: int) -> list[str]:
    """The first of them; the last line counts the rest."""
    if len(lines) <= most:
        return lines
    return [*lines[: most - 1], f"… and {len(lines) - most + 1} more lines"] if most > 0 else []


def _dim(text: str, room: Room) -> str:
    return f"\x1b[2m{text}\x1b[0m" if room.color else text


def plain_status(snapshot: Snapshot) -> str:
    """The same for a program: a kind and tabs in each line; rates are bytes per second."""
    node = snapshot.node
    rows: list[tuple[str, ...]] = [
        _node_row(node),
        *(("problem", safe(problem)) for problem in node.problems),
        *(("not offered", safe_name(o.name), safe(o.reason)) for o in node.not_offered_first),
        *map(_download_row, snapshot.downloads),
        *map(_peer_row, snapshot.peers),
    ]
    return "\n".join("\t".join(row) for row in rows)


def _node_row(node: NodeStatus) -> tuple[str, ...]:
    return (
        *("node", f"{node.download_rate:.0f}", f"{node.upload_rate:.0f}"),
        *(str(node.peers), str(node.files), str(node.free_bytes)),
    )


def _download_row(status: DownloadStatus) -> tuple[str, ...]:
    return (
        *("download", safe(status.id), str(status.state), percent_text(status)),
        *(str(status.received), f"{status.rate:.0f}", safe_name(status.name), safe(status.problem)),
    )


def _peer_row(peer: PeerStatus) -> tuple[str, ...]:
    return (
        *("peer", safe(peer.address), f"{peer.download_rate:.0f}", f"{peer.upload_rate:.0f}"),
        *(f"{peer.heard_seconds_ago:.0f}", str(max(peer.count, len(peer.contents)))),
        safe(peer.problem),
    )
