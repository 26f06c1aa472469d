"""One verified download: from the wish for a content id to the final file.

`SwarmDownload` is what the machine acts through, and what the sessions of its sources tell of
this content.  It learns the manifest from whoever has it (the id vouches for it), has the part
checked, then fetches until nothing is missing.  Not for: single blocks (`fetching`), whom to dial
(`sources`), several downloads (manager).
"""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from peershare.content.manifest import Manifest
from peershare.download.context import Progress
from peershare.download.picture import NOTHING_YET
from peershare.download.running import RunningDownload
from peershare.download.swarm.context import SwarmContext
from peershare.download.swarm.fetching import Fetching
from peershare.download.swarm.filling import ClassicFilling
from peershare.download.swarm.givers import Givers
from peershare.download.swarm.machine import Facts, swarm_machine
from peershare.download.swarm.order import Order
from peershare.download.swarm.part import VerifiedPart
from peershare.download.swarm.reports import SwarmReports
from peershare.download.swarm.sources import MAX_SESSIONS
from peershare.download.swarm.supply import Supply
from peershare.errors import LocalError, StorageError
from peershare.library.index import DownloadRecord
from peershare.status import BlockMap, DownloadState
from peershare.timers import Periodic
from peershare.wire.beacon import Endpoint

DISK_RETRY_SECONDS = 5.0
# So many are asked for the manifest at once, which may be long.
MANIFEST_SESSIONS = 3
REVIEW_SECONDS = 1.0
# Without a byte for so long, classic peers are asked.
_STUCK_SECONDS = 3.0


class SwarmDownload(RunningDownload):
    """The Actions of the machine, and one `Download` of the manager's; see the module."""

    _machine: Facts

    def __init__(
        self, context: SwarmContext, record: DownloadRecord, *, sequential: bool = False
    ) -> None:
        """`sequential`: fetch the blocks in their order, as far as that is possible."""
        common = context.common
        super().__init__(common, record.id, record.name, record.content or "")
        self.order = Order(sequential)
        self._context = context
        self._record = record
        self._machine = swarm_machine(self)
        tell = partial(common.tell, self)
        self._reports = SwarmReports(self.name, common.ledger, tell, self._reactor.seconds)
        self._supply = Supply(context, self.content, self._reports, self)
        self._part: VerifiedPart | None = None
        self._last = NOTHING_YET  # the progress when there was a part last
        self._givers = Givers(0, 0)
        self._single: bytes | None = None  # the content, if it is but one block
        self._fetching: Fetching | None = None
        self._filling: ClassicFilling | None = None
        self._review = Periodic(self._reactor, REVIEW_SECONDS, self._look)
        self._blocked = self._stuck = False  # and that was said

    # -- what the manager says

    def network_changed(self) -> None:
        """Somebody told something new."""
        self._supply.refresh()

    def met(self, address: str, port: int) -> None:
        """This peer fetches the same content, from us."""
        self._supply.met([(address, port)])

    def progress(self) -> Progress:
        """How far it is."""
        if self._fetching is not None:
            return self._fetching.progress()
        return self._last if self._part is None else self._part.progress((), ())

    def blocks(self) -> BlockMap:
        """Which blocks are here, and from whom."""
        fetching = self._fetching
        return self._givers.map(self.id, fetching.asked_for() if fetching is not None else ())

    def problems(self) -> dict[str, str]:
        """Why each address that failed lately did."""
        return self._supply.problems()

    # -- learning what it hashes to

    def learn(self) -> None:
        """Action: the manifest, from our own records or from whoever has it."""
        try:
            known = self._supply.recall()
        except StorageError:
            self.disk_failed(Failure())
            return
        if known:
            self._machine.learned()
        else:
            self._supply.start(MANIFEST_SESSIONS, None, None)
            self._review.start()

    def learned(self, manifest: Manifest, data: bytes | None) -> None:
        """Supply: the manifest is known, and `data` if that is but one block."""
        self._single = data
        try:
            self._context.index.save_manifest(manifest)
        except StorageError:
            self.disk_failed(Failure())
        else:
            self._machine.learned()

    def check(self) -> None:
        """Action: see what a former run left."""
        self._do(Deferred.fromCoroutine(self._check(self._turn)))

    async def _check(self, turn: int) -> None:
        part = self._opened_part()
        if part is None:
            return
        if turn:  # what was on its way to the disk when it was paused counts before what follows
            await part.idle()
            await deferLater(self._reactor, 0)
        await part.check()
        if turn == self._turn:
            self._machine.checked()

    def _opened_part(self) -> VerifiedPart | None:
        """The part, once it is known what the content hashes to."""
        if self._part is None and self._supply.manifest is not None:
            self._part = self._context.part(self._record, self._supply.manifest)
            self._givers = self._part.givers
        return self._part

    # -- fetching

    def fetch(self) -> None:
        """Action: everything that is missing, from everybody."""
        if self._part is not None:
            self._do(Deferred.fromCoroutine(self._fetch(self._part, self._turn)))

    async def _fetch(self, part: VerifiedPart, turn: int) -> None:
        await part.check_room()
        if self._turn != turn:
            return  # paused or stopped meanwhile
        if self._single is not None and await part.store(0, self._single):
            part.accept(0, next(iter(self.given), ""))
        if self._turn != turn:
            return  # paused or stopped meanwhile
        if part.held.complete:
            self.all_here()
            return
        random, memory = self._context.random, self._context.memory
        self._fetching = Fetching(self._reactor, part, random, memory, self, order=self.order)
        self._filling = ClassicFilling(self._context, self.name, part, self)
        self._fetching.begin()
        self._supply.start(MAX_SESSIONS, self._fetching, part.held)
        self._review.start()

    def found_somebody(self) -> None:
        """Supply: there is a session with somebody."""
        if self.state is DownloadState.SEARCHING:
            self._show(DownloadState.DOWNLOADING)

    def bytes_came(self, peer: Endpoint, count: int) -> None:
        """Fetching: bytes came, whatever they are worth."""
        self._reports.came(peer, count)
        self._came(peer.address, count)
        if self.state is not DownloadState.DOWNLOADING:
            self._show(DownloadState.DOWNLOADING)
        self._common.changed(self)

    def block_verified(self, peer: Endpoint, length: int) -> None:
        """Fetching: a block is here, and right."""
        self._supply.gave_right(peer)
        self._reports.gave(peer, length)
        self.progress_at = self._reactor.seconds()  # a block is kept for good
        self.problem, self._blocked, self._stuck = "", False, False

    def filled(self, address: str, index: int, length: int) -> None:
        """Filling: a block came by the classic protocol, and is right."""
        if self._fetching is not None:
            self._fetching.filled(Endpoint(address), index, length)

    def gave(self, peer: Endpoint, length: int) -> None:
        """Supply: the only block is here, and right."""
        self.bytes_came(peer, length)
        self.block_verified(peer, length)

    def block_wrong(self, peer: Endpoint, index: int) -> None:
        """Fetching: what this peer gave is something else."""
        self._supply.gave_wrong(peer, index)

    def all_here(self) -> None:
        """Fetching: nothing is missing any more."""
        self._let_go()
        self._machine.nothing_missing()

    def _look(self) -> None:
        """Exchange who is of no use, say where we stand, ask classic peers where nobody gives."""
        self._supply.look_around()
        stuck = self._reactor.seconds() - self.arrived_at >= _STUCK_SECONDS
        if not stuck or (self._filling is not None and self._filling.go_on()):
            return
        tried = self._supply.problems()
        if not self._supply.busy and not tried:
            self._show(DownloadState.SEARCHING)
            return
        self._show(DownloadState.WAITING)
        if not self._stuck and not self._supply.hopeful:
            self._stuck = True
            missing = self._part.missing_bytes if self._part is not None else None
            self.problem = self._reports.exhausted(missing, tried)

    def await_disk(self, error: LocalError) -> None:
        """Action: our disk is in the way; let go of everybody, begin anew after a while."""
        self._let_go()
        self._set_back()
        self._await(error)
        self._close_part().addErrback(self._log_failure)

    def _await(self, error: LocalError) -> None:
        self._say_blocked(error)
        self._show(DownloadState.BLOCKED)
        self._alarm.set(self._disk_seconds(DISK_RETRY_SECONDS), self._machine.rested)

    def _say_blocked(self, error: LocalError) -> None:
        self.problem = str(error)
        if not self._blocked:  # how much is missing may change, but that is no news
            self._reports.blocked(self.problem)
        self._blocked = True

    def look(self) -> None:
        """Action: it begins paused; what a former run left is offered all the same."""
        self._show(DownloadState.PAUSED)
        Deferred.fromCoroutine(self._offer()).addErrback(self._not_offered)

    async def _offer(self) -> None:
        part = self._opened_part() if self._supply.recall() else None
        if part is not None:
            await part.check()

    def suspend(self) -> None:
        """Action: let go of everybody, keep the part open."""
        self._end_turn()
        self._let_go(hang_up=True)
        self.problem, self._blocked, self._stuck = "", False, False
        self._show(DownloadState.PAUSED)

    def _let_go(self, *, hang_up: bool = False) -> None:
        """Of all sources, and write down what they gave; `hang_up`: nothing more is to arrive."""
        self._review.stop()
        if self._filling is not None:
            self._filling.stop()
        if self._fetching is not None:
            self._fetching.end()
        self._fetching = self._filling = None
        self._supply.stop(hang_up=hang_up)
        self._reports.close_all()

    # -- the end

    def finish(self) -> None:
        """Action: the final name."""
        self._show(DownloadState.FINISHING)
        if self._part is not None:
            self._do(Deferred.fromCoroutine(self._finish(self._part)))

    async def _finish(self, part: VerifiedPart) -> None:
        try:
            self.path = str(await part.finish())
        except Exception:
            if part.final is None:
                raise
            self.path = str(part.final)
            self._machine.held_up(self._ours(Failure()))
        else:
            self._machine.finished()

    def await_end(self, error: LocalError) -> None:
        """Action: it has its final name, and our disk is in the way of what follows."""
        self._await(error)

    def succeed(self) -> None:
        """Action: done."""
        self.problem = ""
        self._end(DownloadState.DONE)

    def fail(self, error: LocalError) -> None:
        """Action: our disk will never take it."""
        self._end_turn()
        self._let_go()
        self._say_blocked(error)
        self._end(DownloadState.FAILED)

    def halt(self) -> None:
        """Action: let go of everything but the part file."""
        self._end_turn()
        self._let_go()
        self._end(DownloadState.STOPPED)

    def _end(self, state: DownloadState) -> None:
        self._alarm.clear()
        self.finished_at, closed = self._reactor.seconds(), self._close_part()
        self._show(state)
        closed.chainDeferred(self.ended)

    def _close_part(self) -> Deferred[Any]:
        self._last = self.progress()
        part, self._part = self._part, None
        return succeed(None) if part is None else part.close()

    def _do(self, work: Deferred[None]) -> None:
        """Whatever goes wrong with this, the machine is told of it."""
        work.addErrback(self._this_turn(self.disk_failed))
        work.addErrback(self._log_failure)

    def disk_failed(self, failure: Failure) -> None:
        """Ours (the disk), or a bug: that is logged, and blames nobody."""
        self._disk_failed(self._ours(failure))
