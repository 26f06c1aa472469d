"""Asking which of several contents is meant: a numbered list, and an answer.

Only a person can be asked; where nobody is there the list is the outcome (`report`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

from twisted.internet.defer import Deferred

from peershare.client.console import Console, Style
from peershare.client.lines import LineSource
from peershare.client.tables import candidate_lines
from peershare.client.wording import safe_name, shell_word
from peershare.status import ContentChoice


class Chooser(Protocol):
    """Somebody who can be asked."""

    async def choose(self, name: str, candidates: Sequence[ContentChoice]) -> ContentChoice | None:
        """Which of these is meant by `name`; None if none of them is."""


def commands_for(candidates: Sequence[ContentChoice], flags: Sequence[str]) -> tuple[str, ...]:
    """What to enter in a shell to have each of these; `flags` go with every command."""
    seen = Counter(address for each in candidates for address in each.addresses)
    commands = []
    for choice in candidates:
        if choice.id:
            commands.append(_command(choice.id, flags))
            continue
        commands.append(_command(choice.name, ("--classic", *flags)))
        for address in choice.addresses if len(choice.addresses) > 1 else ():
            only = ("--from", address) if seen[address] == 1 else ("--classic", "--from", address)
            commands.append(_command(choice.name, (*only, *flags)))
    return tuple(commands)


def _command(name: str, flags: Sequence[str]) -> str:
    words = (*flags, "--", name) if name.startswith("-") else (name, *flags)
    return " ".join(("peershare get", *map(shell_word, words)))


def ask(console: Console, name: str, candidates: Sequence[ContentChoice]) -> None:
    """Show the list, and the question."""
    console.note(f"{safe_name(name)} fits {len(candidates)} different contents:")
    console.note(candidate_lines(candidates))
    console.note(f"which one? 1-{len(candidates)}, or Enter for none", Style.WARNING)


def answer_of(line: str, candidates: Sequence[ContentChoice]) -> tuple[bool, ContentChoice | None]:
    """Whether a line answers the question, and with what."""
    line = line.strip()
    if not line:
        return True, None
    if line.isascii() and line.isdigit() and 1 <= int(line[:9]) <= len(candidates):
        return True, candidates[int(line) - 1]
    return False, None


class LineChooser:
    """Reads answers from a terminal that edits its lines itself."""

    def __init__(self, console: Console, lines: LineSource, begin: Callable[[], None]) -> None:
        """`begin()` has the lines read; it is called before the first question."""
        self._console = console
        self._lines = lines
        self._begin: Callable[[], None] | None = begin

    async def choose(self, name: str, candidates: Sequence[ContentChoice]) -> ContentChoice | None:
        """Ask until there is an answer, or no input any more."""
        begin, self._begin = self._begin, None
        if begin is not None:
            begin()
        ask(self._console, name, candidates)
        while (line := await self._lines.next_line()) is not None:
            answered, choice = answer_of(line, candidates)
            if answered:
                return choice
            self._console.note(f"a number from 1 to {len(candidates)}, please", Style.WARNING)
        return None


class PromptChooser:
    """Asks at a prompt where other requests may be entered meanwhile; the last question counts."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._asked: list[tuple[Sequence[ContentChoice], Deferred[ContentChoice | None]]] = []
        self._closed = False

    async def choose(self, name: str, candidates: Sequence[ContentChoice]) -> ContentChoice | None:
        """Ask; the answer is one of the lines to come."""
        if self._closed:
            return None
        ask(self._console, name, candidates)
        answer: Deferred[ContentChoice | None] = Deferred()
        entry = (candidates, answer)
        self._asked.append(entry)
        try:
            return await answer
        finally:
            if entry in self._asked:
                self._asked.remove(entry)

    def take(self, line: str) -> bool:
        """Whether this line was an answer."""
        if not self._asked:
            return False
        candidates, answer = self._asked[-1]
        answered, choice = answer_of(line, candidates)
        if answered:
            self._asked.pop()
            answer.callback(choice)
        return answered

    def close(self) -> None:
        """There will be no more answers."""
        self._closed = True
        for _, answer in tuple(self._asked):
            answer.callback(None)
