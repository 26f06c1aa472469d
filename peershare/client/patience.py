"""Patience: how long a name is waited for, and how long a download may stand still.  Pure.

Two limits: a name that nobody has told yet is waited for (`--wait`), and a download whose peers
are known is given up after so long without a new byte (`--give-up`).  Times are monotonic seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from peershare.status import DownloadState, DownloadStatus

DEFAULT_WAIT_SECONDS = 65.0  # classic peers tell once a minute
DEFAULT_GIVE_UP_SECONDS = 300.0

_HEARD = {
    DownloadState.DOWNLOADING,
    DownloadState.WAITING,
    DownloadState.BLOCKED,
    DownloadState.FINISHING,
    DownloadState.PAUSED,
}
# Nothing moves in these, and nobody is to blame.
_PATIENT = {DownloadState.FINISHING, DownloadState.PAUSED}


class Verdict(Enum):
    """Why it is enough."""

    NOT_FOUND = "not found"
    GIVEN_UP = "given up"


@dataclass
class Limits:
    """The two limits, in seconds, for all names of a client; None means for ever.

    They count from `since` at the earliest: at a prompt there are none until the input ends.
    """

    wait: float | None
    give_up: float | None
    since: float = 0.0


class Patience:
    """The patience with one name."""

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self._began_at = now
        self._moved_at = now
        self._endless = False
        self._heard_at: float | None = None

    def look(self, status: DownloadStatus, now: float) -> None:
        """A picture of the download as it was at `now`."""
        self._endless = status.state in _PATIENT
        if self._endless:
            self._moved_at = now
        if self._heard_at is None and status.state in _HEARD:
            self._heard_at = now
        self._moved_at = max(self._moved_at, now - status.idle_seconds)

    @property
    def heard(self) -> bool:
        """Whether anybody was known to have it."""
        return self._heard_at is not None

    def seconds_spent(self, now: float) -> float | None:
        """How long it has been going on since a peer was known; None if that was not seen."""
        return now - self._heard_at if self._heard_at is not None else None

    def seconds_left(self, now: float) -> float | None:
        """How long it lasts if nothing happens; None: for ever."""
        limit = self._limits.give_up if self.heard else self._limits.wait
        if limit is None or self._endless:
            return None
        counted = self._moved_at if self.heard else self._began_at
        return max(counted, self._limits.since) + limit - now

    def verdict(self, now: float) -> Verdict | None:
        """Why it is over; None while it lasts."""
        left = self.seconds_left(now)
        if left is None or left > 0:
            return None
        return Verdict.GIVEN_UP if self.heard else Verdict.NOT_FOUND
