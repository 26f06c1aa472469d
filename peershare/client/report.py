"""Reports: how the progress of downloads is told, to a person or to a program.

Not for: deciding how a download goes (`following`).
"""

from __future__ import annotations

from typing import Any, Protocol

from peershare.client.console import Console, Style
from peershare.client.outcome import ExitStatus, Outcome
from peershare.client.smoothing import Paces
from peershare.client.wording import about, json_text, safe
from peershare.status import (
    FINAL_STATES,
    DownloadChanged,
    DownloadStatus,
    Event,
    Notice,
    NoticeKind,
)
from peershare.timers import Alarm, Periodic

_DRAW_SECONDS = 0.1
_REFRESH_SECONDS = 1.0
_BLOCK_ROWS = 10

_NOTICE_STYLES = {
    NoticeKind.CHUNK: Style.DIM,
    NoticeKind.FAILOVER: Style.WARNING,
    NoticeKind.WARNING: Style.BAD,
    NoticeKind.INFO: Style.PLAIN,
}


class Report(Protocol):
    """Gets to know what happens to the downloads of this client."""

    def happened(self, event: Event) -> None:
        """An event of one of them."""

    def say(self, name: str, text: str) -> None:
        """Something about one of them that the user should know."""

    def ended(self, identifier: str, outcome: Outcome) -> None:
        """One of them is over; `identifier` is "" if it never began."""


class Board:
    """The progress lines of the running downloads, kept fresh."""

    def __init__(self, console: Console, reactor: Any) -> None:
        self._console = console
        self._reactor = reactor
        self._shown: dict[str, tuple[DownloadStatus, float]] = {}
        self._paces = Paces()
        self._draw_soon = Alarm(reactor)
        self._refresh = Periodic(reactor, _REFRESH_SECONDS, self._draw)

    def show(self, status: DownloadStatus) -> None:
        """This is how it looks now."""
        if status.state in FINAL_STATES:
            self.remove(status.id)
            return
        if not self._shown:
            self._refresh.start()
        now = self._reactor.seconds()
        self._shown[status.id] = (status, now)
        self._paces.look(status, now)
        if self._draw_soon.due is None:
            self._draw_soon.set(_DRAW_SECONDS, self._draw)

    def remove(self, identifier: str) -> None:
        """It is over."""
        self._paces.forget(identifier)
        if self._shown.pop(identifier, None) is not None:
            self._draw()
        if not self._shown:
            self.stop()

    def stop(self) -> None:
        """Draw no more."""
        self._refresh.stop()
        self._draw_soon.clear()

    def _draw(self) -> None:
        from peershare.client.progress import Progress, progress_lines

        screen = self._console.screen
        if screen is None:
            return
        now = self._reactor.seconds()
        shown = [
            Progress(status, now - at, *self._paces.shown(status, now))
            for status, at in self._shown.values()
        ]
        columns, rows = screen.size
        most = max(1, min(_BLOCK_ROWS, rows - 3))
        screen.set_block(progress_lines(shown, columns, most, self._console.color))


class HumanReport:
    """Tells a person: progress lines where they can be drawn, sentences where not."""

    def __init__(self, console: Console, reactor: Any) -> None:
        self._console = console
        self._board = Board(console, reactor) if console.bars else None

    def happened(self, event: Event) -> None:
        """An event of one of our downloads."""
        if isinstance(event, Notice):
            self._notice(event)
        elif isinstance(event, DownloadChanged) and self._board is not None:
            self._board.show(event.download)

    def _notice(self, notice: Notice) -> None:
        if notice.kind is NoticeKind.CHUNK and self._board is not None:
            return  # the bar shows it
        indent = "  " if notice.kind is NoticeKind.INFO else ""
        self._console.note(indent + safe(notice.text), _NOTICE_STYLES[notice.kind])

    def say(self, name: str, text: str) -> None:
        """Something that the user should know."""
        self._console.note(about(name, text))

    def ended(self, identifier: str, outcome: Outcome) -> None:
        """The final path on stdout, the sentence on stderr."""
        if self._board is not None:
            self._board.remove(identifier)
        done = outcome.status is ExitStatus.DONE
        style = Style.GOOD if done else Style.BAD
        self._console.note(about(outcome.name, outcome.message), style)
        if outcome.candidates:
            self._console.data(self._candidates(outcome))
        for command in outcome.commands:
            self._console.note(f"  {command}")
        if done:
            mark = "verified" if outcome.verified else "unverified"
            self._console.data(f"{safe(outcome.path)}\t{mark}")

    def _candidates(self, outcome: Outcome) -> str:
        from peershare.client.tables import candidate_lines, candidates_sheet, plain_lines

        if self._console.screen is not None:
            return candidate_lines(outcome.candidates)
        return plain_lines(candidates_sheet(outcome.candidates))


class JsonReport:
    """Tells a program: one JSON event a line on stdout; sentences go to stderr as ever."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def happened(self, event: Event) -> None:
        """An event of one of our downloads."""
        self._console.data(json_text(event))

    def say(self, name: str, text: str) -> None:
        """Something that the user should know."""
        self._console.note(about(name, text))

    def ended(self, identifier: str, outcome: Outcome) -> None:
        """The outcome is the last line about a name."""
        self._console.data(json_text(outcome))
        if outcome.status is not ExitStatus.DONE:
            self._console.note(about(outcome.name, outcome.message))
        for command in outcome.commands:
            self._console.note(f"  {command}")
