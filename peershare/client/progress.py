"""Progress lines: bar, rate and time left of each download, and who gives how much of it.

From status values to lines for `Screen`, drawn by rich.  A terminal narrower than 60 columns gets
the bar in a line of its own; where there is little room, who gives is left out first.
Not for: when to draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import StringIO

from rich.cells import cell_len, set_cell_size
from rich.console import Console, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from peershare.client.smoothing import SETTLING_SECONDS
from peershare.client.wording import (
    clock_text,
    percent_text,
    rate_text,
    safe,
    safe_name,
    shares,
    size_text,
    span_text,
)
from peershare.status import FINAL_STATES, DownloadState, DownloadStatus

NARROW_COLUMNS = 60
_STANDSTILL_SECONDS = 3.0
_BAR_CELLS = (6, 30)


@dataclass(frozen=True)
class Progress:
    """One download as it is to be shown: its last picture, and how many seconds old that is.

    `rate` (bytes per second) and `left` (seconds) are smoothed: see `smoothing`.
    """

    status: DownloadStatus
    age: float = 0.0
    rate: float = 0.0
    left: float | None = None

    @property
    def idle_seconds(self) -> float:
        """Since its last byte."""
        return self.status.idle_seconds + self.age


def progress_lines(shown: Sequence[Progress], columns: int, most: int, color: bool) -> list[str]:
    """At most `most` lines of at most `columns` - 1 cells; the last one counts the rest."""
    each = 2 if columns < NARROW_COLUMNS else 1
    fitting = shown if len(shown) * each <= most else shown[: max(1, (most - 1) // each)]
    spare = most - len(fitting) * each - (len(fitting) < len(shown))
    width = columns - 1
    lines: list[str] = []
    for progress in fitting:
        rows = _narrow(progress, width) if each == 2 else _wide(progress, width)
        lines += [_render(row, width, color) for row in rows]
        givers = givers_line(progress.status, width)
        if givers and spare > 0:
            spare -= 1
            lines.append(f"\x1b[2m{givers}\x1b[0m" if color else givers)
    if len(fitting) < len(shown):
        lines.append(f"… and {len(shown) - len(fitting)} more"[:width])
    return lines


def givers_line(status: DownloadStatus, width: int) -> str:
    """Whether it is verified, and who gave how much of it so far; "" while nobody did.

    At most `width` cells.  If need be, addresses of the network of the first one are cut short, and
    who gave least is only counted.
    """
    given = shares(status)
    if not given:
        return ""
    label = "  verified:" if status.content else "  unverified:"
    line = label + "".join(f" {address} {percent}%" for address, percent in given)
    if cell_len(line) <= width:
        return line
    (first, most), *others = given
    network = first[: first.rfind(".") + 1]
    line = f"{label} {first} {most}%"
    for number, (address, percent) in enumerate(others, 1):
        piece = f" {'.' + address.removeprefix(network) if network else address} {percent}%"
        rest = f" +{len(given) - number - 1}" if number + 1 < len(given) else ""
        if cell_len(line + piece + rest) > width:
            line += f" +{len(given) - number}"
            break
        line += piece
    return line if cell_len(line) <= width else set_cell_size(line, width)


def _wide(progress: Progress, width: int) -> list[Table]:
    status = progress.status
    name_cells = min(24, max(8, width // 4))
    bar_cells = max(_BAR_CELLS[0], min(_BAR_CELLS[1], width - name_cells - 50))
    grid = Table.grid(padding=(0, 1), expand=False)
    grid.add_column(width=name_cells, no_wrap=True, overflow="ellipsis")
    grid.add_column(width=bar_cells, no_wrap=True)
    grid.add_column(width=4, justify="right", no_wrap=True)
    room = width - name_cells - bar_cells - 4 - 3
    grid.add_column(width=room, no_wrap=True, overflow="ellipsis")
    grid.add_row(
        Text(safe_name(status.name)),
        _bar(status, bar_cells),
        Text(percent_text(status)),
        _situation(progress),
    )
    return [grid]


def _narrow(progress: Progress, width: int) -> list[Table]:
    status = progress.status
    head = Table.grid(padding=(0, 1), expand=False)
    head.add_column(width=width - 5, no_wrap=True, overflow="ellipsis")
    head.add_column(width=4, justify="right", no_wrap=True)
    head.add_row(Text(safe_name(status.name)), Text(percent_text(status)))
    foot = Table.grid(padding=(0, 1), expand=False)
    foot.add_column(width=_BAR_CELLS[0], no_wrap=True)
    foot.add_column(width=width - _BAR_CELLS[0] - 1, no_wrap=True, overflow="ellipsis")
    foot.add_row(_bar(status, _BAR_CELLS[0]), _situation(progress))
    return [head, foot]


def _bar(status: DownloadStatus, cells: int) -> RenderableType:
    total = float(status.size) if status.size else 1.0
    completed = min(float(status.received), total) if status.size else 0.0
    return ProgressBar(
        total=total,
        completed=completed,
        width=cells,
        complete_style="green",
        finished_style="green",
    )


def _situation(progress: Progress) -> Text:
    """Rate, time left and peer while it moves; else what it waits for."""
    status = progress.status
    if status.state is DownloadState.SEARCHING:
        return Text(f"not heard of yet, {span_text(progress.idle_seconds)}", "yellow")
    if status.state is DownloadState.WAITING:
        return Text(f"no peer gives it, {span_text(progress.idle_seconds)}", "yellow")
    if status.state is DownloadState.BLOCKED:
        return Text(safe(status.problem), "red")
    if status.state is DownloadState.FINISHING:
        return Text("putting it in its place")
    if status.state is DownloadState.PAUSED:
        return Text(f"paused, {size_text(status.received)} here", "yellow")
    if status.state in FINAL_STATES:
        return _ended(status)
    peer = f" {_current(status)}" if status.peer or status.peers else ""
    if progress.idle_seconds >= _STANDSTILL_SECONDS:
        return Text(f"no bytes for {span_text(progress.idle_seconds)}{peer}", "yellow")
    if status.elapsed_seconds < SETTLING_SECONDS:
        return Text(f"{size_text(status.received)}{peer}")
    left = f" {clock_text(progress.left)}" if progress.left is not None else ""
    return Text(f"{rate_text(progress.rate)}{left}{peer}")


def _ended(status: DownloadStatus) -> Text:
    if status.state is DownloadState.DONE:
        mark = "verified" if status.verified else "unverified"
        return Text(f"done, {size_text(status.size or status.received)} {mark}", "green")
    if status.state is DownloadState.STOPPED:
        return Text(f"cancelled, {size_text(status.received)} kept")
    return Text(safe(status.problem) or "failed", "red")


def _current(status: DownloadStatus) -> str:
    """Who gives right now."""
    if len(status.peers) > 1:
        return f"{len(status.peers)} peers"
    return safe(status.peer or status.peers[0])


def _render(table: Table, width: int, color: bool) -> str:
    console = rich_console(width, color)
    with console.capture() as captured:
        console.print(table, end="")
    return captured.get().split("\n")[0].rstrip(" ")


@lru_cache(maxsize=4)
def rich_console(width: int, color: bool) -> Console:
    """A rich console that draws for a terminal so wide; what it draws is captured."""
    return Console(
        file=StringIO(),
        width=width,
        height=100,
        force_terminal=color,
        color_system="standard" if color else None,
        no_color=not color,
        legacy_windows=False,
        highlight=False,
        markup=False,
        emoji=False,
    )
