"""One download: from the wish for a content name to the final file.

`ContentDownload` is what the machine acts through: it takes the next chunk and address from
the rounds, runs one session at a time, has the store keep what fits, and tells what happens.
Not for: several downloads (manager), or how it looks to people (picture).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from peershare.dictionary import Found
from peershare.download.attempt import Attempt
from peershare.download.choosing import ClassicSources
from peershare.download.context import DownloadContext, Progress
from peershare.download.machine import Facts, download_machine
from peershare.download.picture import chunk_map, classic_progress
from peershare.download.plan import ChunkPlan
from peershare.download.report import Report
from peershare.download.rounds import Choice, Rounds
from peershare.download.running import RunningDownload
from peershare.download.storing import PartStore
from peershare.errors import LocalError, PeerError
from peershare.status import BlockMap, DownloadState
from peershare.wire.request import encode_request

DISK_RETRY_SECONDS = 5.0
# A large chunk that is being checked when the download ends is waited for so long.
HURRY_SECONDS = 1.0


class ContentDownload(RunningDownload):
    """The Actions of the machine; see the module."""

    _machine: Facts

    def __init__(
        self,
        context: DownloadContext,
        identifier: int,
        plan: ChunkPlan,
        store: PartStore,
        sources: ClassicSources,
    ) -> None:
        super().__init__(context, identifier, store.name, "")  # the classic protocol has no ids
        self.plan = plan
        self.store = store
        self._machine = download_machine(self)
        self._report = Report(self.name, context.ledger, partial(context.tell, self))
        self._rounds = Rounds(plan, context.dialler.busy)
        self._choice: Choice | None = None
        self._attempt: Attempt | None = None
        self._sources = sources
        self._extension = ""
        self._unclear = False  # what is meant, and `problem` says so
        self._blocked = False  # by our disk, since the last chunk

    # -- what the manager says

    @property
    def decided(self) -> bool:
        """Whether a byte has arrived, or the user has chosen: what it is, it stays."""
        return self._sources.decided

    def network_changed(self) -> None:
        """Go on if somebody was heard whom this round has not tried."""
        if self.state not in (DownloadState.SEARCHING, DownloadState.WAITING):
            return
        before = self.problem
        if self._rounds.next(self._find(), self._reactor.seconds()):
            self._machine.peer_told()
            return
        if self.state is DownloadState.SEARCHING:
            self._await_catalogues()
        if self.problem != before:
            self._common.changed(self)

    def _await_catalogues(self) -> None:
        """Look again when somebody counts who does not yet."""
        if self._sources.until is not None:
            seconds = max(0.0, self._sources.until - self._reactor.seconds())
            self._alarm.set(seconds, self.network_changed)

    def met(self, address: str, port: int) -> None:
        """Cannot be known without an id."""

    def progress(self) -> Progress:
        """How far it is."""
        attempt = self._attempt
        return classic_progress(self.plan, attempt if attempt and attempt.receiving else None)

    def blocks(self) -> BlockMap:
        """Which chunks are here, and from whom."""
        return chunk_map(self.id, self.progress().chunks)

    def problems(self) -> dict[str, str]:
        """Why each address that failed in this round did."""
        return dict(pair for tried in self._rounds.tried.values() for pair in tried.items())

    # -- choosing

    def check(self) -> None:
        """Action: see what a former run left."""
        self._do(self.store.check(), lambda _: self._machine.checked())

    def choose(self) -> None:
        """Action: the next chunk and address."""
        self._alarm.clear()
        moving = self.store.moving
        if moving is None:
            self._choose()
        else:
            moving.addCallback(self._this_turn(lambda _: self._moved()))
            moving.addErrback(self._log_failure)

    def _moved(self) -> None:
        self.store.moving = None
        self._choose()

    def _choose(self) -> None:
        disk = self.store.take_error()
        if disk is not None:
            self._disk_failed(disk)
            return
        found = self._find()
        self._choice = self._rounds.next(found, self._reactor.seconds())
        if self._choice is None and self._rounds.stalemate(found):
            self._begin_anew()
            self._choice = self._rounds.next(found, self._reactor.seconds())
        for number in self._rounds.exhausted(self._choice.number if self._choice else None):
            self.problem = self._report.exhausted(number, self._rounds.tried[number])
        if self._choice is not None:
            self._show(DownloadState.DOWNLOADING)
            self._machine.chosen()
        elif self.plan.complete:
            self._machine.nothing_missing()
        elif self._rounds.anything_tried:
            self._machine.all_tried()
        else:
            self._machine.nobody_known()

    def _find(self) -> Found:
        """Who has what; a name that has become ambiguous is a problem shown, and finds nobody."""
        found, problem = self._sources.find()
        if problem or self._unclear:
            self.problem, self._unclear = problem, bool(problem)
        self._extension = found.extension or self._extension
        return found

    def dial(self) -> None:
        """Action: prepare the request and the place for the bytes, then connect."""
        choice = self._choice
        if choice is None:
            return
        dialled = Deferred.fromCoroutine(self._dial(choice, self._turn))
        self._do(dialled, lambda _: self._machine.connected())

    async def _dial(self, choice: Choice, turn: int) -> None:
        """Raises `PeerError`, `StorageError`."""
        request = encode_request(choice.source.asked)
        size = self.plan.chunk_size
        sink = await self.store.sink(choice.number)
        if self._turn == turn:
            self._attempt = Attempt(choice, request, sink, self._reactor.seconds(), size)
            await self._attempt.dial(self._common.dialler)

    def ask(self) -> None:
        """Action: request the chunk."""
        if self._attempt is not None:
            asked = self._attempt.ask(self._attempt.chunk_size, self._progress)
            self._do(asked, self._stream_ended)

    def _progress(self, count: int) -> None:
        if self._attempt is not None:
            self._sources.received()
            self._came(self._attempt.address, count)
        self._common.changed(self)

    def _stream_ended(self, length: int) -> None:
        """The stream has ended in order: judge its length."""
        if self._attempt is None:
            return
        attempt = self._attempt
        misfit = self.plan.misfit(attempt.number, length, attempt.chunk_size)
        if misfit is not None:
            self._machine.attempt_failed(misfit)
        else:
            self._machine.chunk_arrived()

    def keep(self) -> None:
        """Action: the chunk fits; store it beside what follows."""
        attempt, self._attempt = self._attempt, None
        if attempt is None:
            return
        number, address, length = attempt.number, attempt.address, attempt.received
        at_front = attempt.chunk_size is None and number != 1
        self.plan.accept(number, length, address, attempt.chunk_size)
        self.store.keep(number, at_front)
        self._rounds.arrived(number, address)
        self._common.dictionary.contacted(address)
        self.problem, self._blocked = "", False
        self._report.arrived(number, address, length, self._reactor.seconds() - attempt.started)

    def fail_over(self, error: PeerError) -> None:
        """Action: this address failed for this chunk."""
        attempt, self._attempt = self._attempt, None
        if self._choice is None:
            return
        number, address = self._choice.number, self._choice.source.address
        now = self._reactor.seconds()
        self.plan.failed(number, address, error, self._rounds.number)
        self._rounds.failed(number, address, error, now)
        received = attempt.received if attempt is not None else 0
        seconds = now - attempt.started if attempt is not None else 0.0
        upcoming = self._rounds.next(self._find(), now)
        then = upcoming.source.address if upcoming and upcoming.number == number else None
        self._report.failed(number, address, received, seconds, error, then)
        if self.plan.outvoted():
            self._begin_anew()

    def _begin_anew(self) -> None:
        numbers = self._rounds.begin_anew()
        self.store.drop(numbers)
        self._report.outvoted(numbers)

    # -- waiting

    def search(self) -> None:
        """Action: nobody is known; the dictionary will call."""
        self._await_catalogues()
        self._show(DownloadState.SEARCHING)

    def rest(self) -> None:
        """Action: everybody was tried; go round again after the backoff."""
        self._alarm.set(self._rounds.rest_seconds(), self._rested)
        self._show(DownloadState.WAITING)

    def _rested(self) -> None:
        self._rounds.begin()
        self._machine.rested()

    def await_disk(self, error: LocalError) -> None:
        """Action: our disk is in the way; say what is needed, try again after a while."""
        self._attempt = None
        self._set_back()
        self._await(error)

    def _await(self, error: LocalError) -> None:
        self._say_blocked(error)
        self._alarm.set(self._disk_seconds(DISK_RETRY_SECONDS), self._machine.rested)
        self._show(DownloadState.BLOCKED)

    def _say_blocked(self, error: LocalError) -> None:
        self.problem = str(error)
        if not self._blocked:  # how much is missing may change, but that is no news
            self._report.blocked(self.problem)
        self._blocked = True

    # -- pausing

    def look(self) -> None:
        """Action: it begins paused; what a former run left is offered all the same."""
        self._show(DownloadState.PAUSED)
        self.store.check().addErrback(self._not_offered)

    def suspend(self) -> None:
        """Action: let go of whom we are asking."""
        self._let_go()
        self._blocked, self.problem = False, ""
        self._show(DownloadState.PAUSED)

    def _let_go(self) -> None:
        self._end_turn()
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.let_go()

    # -- the end

    def join(self) -> None:
        """Action: the final name."""
        self._show(DownloadState.FINISHING)
        joined = Deferred.fromCoroutine(self._join())
        joined.addErrback(self._failed)
        joined.addErrback(self._log_failure)

    async def _join(self) -> None:
        await self.store.settle()
        if not self.plan.stored:
            self._machine.chunk_lost()
            return
        try:
            self.path = str(await self.store.finish(self._extension))
        except Exception:
            if self.store.final is None:
                raise
            self.path = str(self.store.final)
            self._machine.held_up(self._ours(Failure()))
        else:
            self._machine.joined()

    def await_end(self, error: LocalError) -> None:
        """Action: it has its final name, and our disk is in the way of what follows."""
        self._await(error)

    def succeed(self) -> None:
        """Action: done."""
        self.problem = ""
        self._end(DownloadState.DONE)

    def fail(self, error: LocalError) -> None:
        """Action: our disk will never take it."""
        self._let_go()
        self._say_blocked(error)
        self._end(DownloadState.FAILED)

    def halt(self) -> None:
        """Action: let go of everything but the part file."""
        self._let_go()
        self._end(DownloadState.STOPPED)

    def _end(self, state: DownloadState) -> None:
        self.finished_at = self._reactor.seconds()
        self._show(state)
        closed = self.store.close()
        self._alarm.set(HURRY_SECONDS, self.store.hurry)
        closed.addCallback(lambda _: self._alarm.clear())
        closed.chainDeferred(self.ended)

    def _do(self, work: Deferred[Any], answer: Callable[[Any], None]) -> None:
        """Answer the machine with what comes of this, in whichever way, in this turn."""
        work.addCallbacks(self._this_turn(answer), self._this_turn(self._failed))
        work.addErrback(self._log_failure)

    def _failed(self, failure: Failure) -> None:
        """Their fault, ours (the disk), or a bug: that is logged, and blames nobody."""
        failed = failure.value
        if isinstance(failed, CancelledError):
            return  # by halt
        if isinstance(failed, PeerError):
            self._machine.attempt_failed(failed)
        else:
            self._disk_failed(self._ours(failure))
