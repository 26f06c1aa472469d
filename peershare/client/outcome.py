"""How things end: exit statuses, and what became of one name.

Not for: wording; the sentences are made where the thing is known.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from msgspec import Struct

from peershare.errors import PeershareError
from peershare.status import ContentChoice


class ExitStatus(IntEnum):
    """What the shell gets to know."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    AMBIGUOUS = 4
    INTERRUPTED = 130
    TERMINATED = 143


# The worst first: an interruption hides everything, a real failure is worse than a name that
# cannot be one, that is worse than one that stands for several contents, and that than one that
# nobody has.
_RANKING = (
    ExitStatus.TERMINATED,
    ExitStatus.INTERRUPTED,
    ExitStatus.FAILED,
    ExitStatus.USAGE,
    ExitStatus.AMBIGUOUS,
    ExitStatus.NOT_FOUND,
    ExitStatus.DONE,
)


def worst(statuses: Iterable[ExitStatus]) -> ExitStatus:
    """The one status for several names; `DONE` for none."""
    return min(statuses, key=_RANKING.index, default=ExitStatus.DONE)


class ClientError(PeershareError):
    """The command ends here; its text is the one line that says why."""

    def __init__(self, message: str, status: ExitStatus = ExitStatus.FAILED) -> None:
        super().__init__(message)
        self.status = status


class GoneError(ClientError):
    """The service does not answer, or not any more."""


class Outcome(Struct, frozen=True, kw_only=True, tag="outcome"):
    """What became of one name: the last line that `get --json` prints about it."""

    name: str
    status: ExitStatus
    message: str  # a sentence for people
    path: str = ""  # the final file
    verified: bool = False
    choices: tuple[str, ...] = ()  # the exact names, where the name was ambiguous
    candidates: tuple[ContentChoice, ...] = ()  # the contents, where it fits several
    commands: tuple[str, ...] = ()  # what to enter in a shell for each of those
