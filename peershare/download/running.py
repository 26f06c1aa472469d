"""Running: what a classic and a verified download have in common.

How it looks, what the manager says to it, and turns: what was under way when it was paused or
ended must not count for what runs after that.  Not for: what is done (content, swarm).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from peershare.download.context import DownloadContext, Progress
from peershare.errors import LocalError, StorageError
from peershare.status import BlockMap, DownloadState
from peershare.timers import Alarm

LONGEST_DISK_SECONDS = 30.0


class _Wishes(Protocol):
    """What both machines are told alike."""

    def begun(self) -> None:
        """It is wanted."""

    def paused(self) -> None:
        """No bytes of it are wanted for now."""

    def resumed(self) -> None:
        """They are again."""

    def stopped(self) -> None:
        """It is not wanted any more."""

    def disk_failed(self, error: LocalError) -> None:
        """Our disk is in the way for now."""

    def disk_refused(self, error: LocalError) -> None:
        """Our disk is in the way for good."""


class RunningDownload(ABC):
    """One `Download` of the manager's."""

    _log = Logger()
    _machine: _Wishes

    def __init__(self, context: DownloadContext, identifier: int, name: str, content: str) -> None:
        """`content` is the content id, "" for a classic download."""
        self.id = str(identifier)
        self.name = name
        self.content = content
        self._common = context
        self._reactor: Any = context.reactor
        self._alarm = Alarm(self._reactor)
        self._turn = 0
        self.state = DownloadState.SEARCHING
        self.problem = ""
        self.path = ""
        self.given: dict[str, int] = {}
        self.started_at: float = self._reactor.seconds()
        # When it came further last: bytes that came before, and that our disk did not keep, are no
        # progress when they come again.
        self.progress_at = self.started_at
        self.arrived_at = self.started_at  # of any bytes
        self._level = self._highest = 0  # bytes: what is here or came, and the most there ever was
        self._set_back_at = self.started_at
        self._in_vain = 0  # so often in a row bytes came, and none was kept
        self.finished_at: float | None = None
        self.ended: Deferred[None] = Deferred()  # fires when nothing of it is under way

    @property
    def decided(self) -> bool:
        """Whether it is known which content it is, or that is not asked any more."""
        return True

    # -- what the manager says

    def begin(self) -> None:
        """Start, or go on with what a former run left."""
        self._machine.begun()

    def pause(self) -> None:
        """Take no bytes; instead of `begin`: offer what a former run left, and do no more."""
        self._machine.paused()

    def resume(self) -> None:
        """Go on after `pause`."""
        if self.state is DownloadState.PAUSED:
            self._show(DownloadState.SEARCHING)
        self._machine.resumed()

    def stop(self) -> None:
        """End; the part is kept for next time."""
        self._machine.stopped()

    @abstractmethod
    def network_changed(self) -> None:
        """Somebody told something new: go on if it is of use."""

    @abstractmethod
    def met(self, address: str, port: int) -> None:
        """This address fetches the same content."""

    @abstractmethod
    def progress(self) -> Progress:
        """How far it is."""

    @abstractmethod
    def blocks(self) -> BlockMap:
        """Which blocks are here, and from whom."""

    @abstractmethod
    def problems(self) -> dict[str, str]:
        """Why each address that failed lately did."""

    # -- for those who do it

    def _this_turn(self, answer: Callable[..., object]) -> Callable[..., None]:
        """The same, but of no effect once the download was paused or has ended."""
        turn = self._turn

        def call(*arguments: Any) -> None:
            if turn == self._turn:
                answer(*arguments)

        return call

    def _end_turn(self) -> None:
        """What is under way counts no more."""
        self._turn += 1
        self._alarm.clear()

    def _came(self, address: str, count: int) -> None:
        """Bytes came from an address."""
        self.arrived_at = self._reactor.seconds()
        self._level += count
        if self._level > self._highest:
            self._highest, self.progress_at = self._level, self.arrived_at
        self.given[address] = self.given.get(address, 0) + count
        self._common.received(self, address, count)

    def _set_back(self) -> None:
        """Our disk did not take what came: only what is here counts."""
        self._level = self.progress().received
        if self.progress_at > self._set_back_at:
            self._in_vain = 0
        elif self.arrived_at > self._set_back_at:
            self._in_vain += 1
        self._set_back_at = self._reactor.seconds()

    def _disk_seconds(self, first: float) -> float:
        """How long to wait for our disk: longer where bytes are fetched again and again for it."""
        return min(first * 2.0**self._in_vain, LONGEST_DISK_SECONDS)

    def _disk_failed(self, error: LocalError) -> None:
        """Tell the machine whether it is worth waiting."""
        if isinstance(error, StorageError) and not error.lasting:
            self._machine.disk_failed(error)
        else:
            self._machine.disk_refused(error)

    def _show(self, state: DownloadState) -> None:
        self.state = state
        self._common.changed(self)

    def _ours(self, failure: Failure) -> LocalError:
        """What is in our way; a bug is logged, and blames nobody."""
        if isinstance(failure.value, LocalError):
            return failure.value
        self._log_failure(failure)
        return StorageError(f"an internal error, see the service's log: {failure.value}")

    def _not_offered(self, failure: Failure) -> None:
        """What is here cannot be looked at while it is paused; going on will say so again."""
        self._log.warn("{error}", error=self._ours(failure))

    def _log_failure(self, failure: Failure) -> None:
        self._log.failure("download {id} failed unexpectedly", failure=failure, id=self.id)
