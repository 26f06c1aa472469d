"""One verified download: from the wish for a content id to the final file.

`SwarmDownload` is what the machine acts through, and what the sessions of its sources tell of
this content.  It learns the manifest from whoever has it (the id vouches for it), has the part
checked, then fetches until nothing is missing.  Not for: single blocks (`fetching`), whom to dial
(`sources`), several downloads (manager).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from peershare.content.manifest import Manifest
from peershare.download.context import Progress
from peershare.download.picture import NOTHING_YET
from peershare.download.swarm.context import SwarmContext
from peershare.download.swarm.fetching import Fetching
from peershare.download.swarm.filling import ClassicFilling
from peershare.download.swarm.machine import swarm_machine
from peershare.download.swarm.part import VerifiedPart
from peershare.download.swarm.reports import SwarmReports
from peershare.download.swarm.sources import MAX_SESSIONS
from peershare.download.swarm.supply import Supply
from peershare.errors import LocalError, StorageError
from peershare.library.index import DownloadRecord
from peershare.status import DownloadState
from peershare.timers import Alarm, Periodic

DISK_RETRY_SECONDS = 5.0
# So many are asked for the manifest at once, which may be long.
MANIFEST_SESSIONS = 3
REVIEW_SECONDS = 1.0
# Without a byte for so long, it is said that nobody gives, and classic peers are asked.
_STUCK_SECONDS = 3.0


class SwarmDownload:
    """The Actions of the machine, and one `Download` of the manager's; see the module."""

    _log = Logger()

    def __init__(
        self, context: SwarmContext, record: DownloadRecord, *, sequential: bool = False
    ) -> None:
        """`sequential`: fetch the blocks in their order, as far as that is possible."""
        common = context.common
        self.id = str(record.id)
        self.name = record.name
        self.content = record.content or ""
        self.sequential = sequential
        self._context = context
        self._common = common
        self._record = record
        self._reactor = common.reactor
        self._machine = swarm_machine(self)
        tell = partial(common.tell, self)
        self._reports = SwarmReports(self.name, common.ledger, tell, self._reactor.seconds)
        self._supply = Supply(context, self.content, self._reports, self)
        self._part: VerifiedPart | None = None
        self._last = NOTHING_YET  # the progress when there was a part last
        self._single: bytes | None = None  # the content, if it is but one block
        self._fetching: Fetching | None = None
        self._filling: ClassicFilling | None = None
        self._alarm = Alarm(self._reactor)
        self._review = Periodic(self._reactor, REVIEW_SECONDS, self._look)
        self._blocked = self._stuck = False  # and that was said
        self.state = DownloadState.SEARCHING
        self.problem = ""
        self.path = ""
        self.given: dict[str, int] = {}
        self.started_at = self._reactor.seconds()
        self.progress_at = self.started_at
        self.finished_at: float | None = None
        self.ended: Deferred[None] = Deferred()

    # -- what the manager says

    def begin(self) -> None:
        """Start, or go on with what a former run left."""
        self._machine.begun()

    def stop(self) -> None:
        """End; the part is kept for next time."""
        self._machine.stopped()

    def network_changed(self) -> None:
        """Somebody told something new."""
        self._supply.refresh()

    def met(self, address: str) -> None:
        """This address fetches the same content, from us."""
        self._supply.met([(address, 0)])

    def progress(self) -> Progress:
        """How far it is."""
        if self._fetching is not None:
            return self._fetching.progress()
        return self._last if self._part is None else self._part.progress((), ())

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
        context, manifest = self._context, self._supply.manifest
        if manifest is None:
            return
        self._part = VerifiedPart(
            self._record, manifest, context.index, context.library, context.workers, context.hashers
        )
        self._do(self._part.check().addCallback(lambda _: self._machine.checked()))

    # -- fetching

    def fetch(self) -> None:
        """Action: everything that is missing, from everybody."""
        self._do(Deferred.fromCoroutine(self._fetch()))

    async def _fetch(self) -> None:
        part = self._part
        if part is None:
            return
        part.check_room()
        if self._single is not None and await part.store(0, self._single):
            part.accept(0)
        if self._part is not part:
            return  # stopped meanwhile
        if part.held.complete:
            self.all_here()
            return
        random, memory = self._context.random, self._context.memory
        self._fetching = Fetching(
            self._reactor, part, random, memory, self, sequential=self.sequential
        )
        self._filling = ClassicFilling(self._context, self.name, part, self)
        self._fetching.begin()
        self._supply.start(MAX_SESSIONS, self._fetching, part.held)
        self._review.start()

    def found_somebody(self) -> None:
        """Supply: there is a session with somebody."""
        if self.state is DownloadState.SEARCHING:
            self._show(DownloadState.DOWNLOADING)

    def bytes_came(self, address: str, count: int) -> None:
        """Fetching: bytes came, whatever they are worth."""
        self.progress_at = self._reactor.seconds()
        self.given[address] = self.given.get(address, 0) + count
        self._common.received(self, address, count)
        if self.state is not DownloadState.DOWNLOADING:
            self._show(DownloadState.DOWNLOADING)
        self._common.changed(self)

    def block_verified(self, address: str, length: int) -> None:
        """Fetching: a block is here, and right."""
        self._supply.gave_right(address)
        self._reports.gave(address, length)
        self.problem, self._blocked, self._stuck = "", False, False

    def filled(self, address: str, index: int, length: int) -> None:
        """Filling: a block came by the classic protocol, and is right."""
        if self._fetching is not None:
            self._fetching.filled(address, index, length)

    def gave(self, address: str, length: int) -> None:
        """Supply: the only block is here, and right."""
        self.bytes_came(address, length)
        self.block_verified(address, length)

    def block_wrong(self, address: str, index: int) -> None:
        """Fetching: what this address gave is something else."""
        self._supply.gave_wrong(address, index)

    def all_here(self) -> None:
        """Fetching: nothing is missing any more."""
        self._let_go()
        self._machine.nothing_missing()

    def _look(self) -> None:
        """Exchange who is of no use, say where we stand, ask classic peers where nobody gives."""
        self._supply.look_around()
        if self._reactor.seconds() - self.progress_at < _STUCK_SECONDS:
            return
        if self._filling is not None and self._filling.go_on():
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
        self.problem = str(error)
        if not self._blocked:  # how much is missing may change, but that is no news
            self._reports.blocked(self.problem)
        self._blocked = True
        self._show(DownloadState.BLOCKED)
        self._alarm.set(DISK_RETRY_SECONDS, self._machine.rested)
        self._close_part().addErrback(self._log_failure)

    def _let_go(self) -> None:
        """Of all sources; what they gave is written down."""
        self._review.stop()
        if self._filling is not None:
            self._filling.stop()
        if self._fetching is not None:
            self._fetching.end()
        self._fetching = self._filling = None
        self._supply.stop()
        self._reports.close_all()

    # -- the end

    def finish(self) -> None:
        """Action: the final name."""
        self._show(DownloadState.FINISHING)
        if self._part is None:
            return
        self._do(self._part.finish().addCallback(self._finished))

    def _finished(self, path: Path) -> None:
        self.path = str(path)
        self._machine.finished()

    def succeed(self) -> None:
        """Action: done."""
        self.problem = ""
        self._end(DownloadState.DONE)

    def halt(self) -> None:
        """Action: let go of everything but the part file."""
        self._alarm.clear()
        self._let_go()
        self._end(DownloadState.STOPPED)

    def _end(self, state: DownloadState) -> None:
        self.finished_at = self._reactor.seconds()
        closed = self._close_part()
        self._show(state)
        closed.chainDeferred(self.ended)

    def _close_part(self) -> Deferred[Any]:
        self._last = self.progress()
        part, self._part = self._part, None
        return succeed(None) if part is None else part.close()

    def _do(self, work: Deferred[None]) -> None:
        """Whatever goes wrong with this, the machine is told of it."""
        work.addErrback(self.disk_failed)
        work.addErrback(self._log_failure)

    def disk_failed(self, failure: Failure) -> None:
        """Ours (the disk), or a bug: that is logged, and blames nobody."""
        failed = failure.value
        if not isinstance(failed, LocalError):
            self._log_failure(failure)
            failed = StorageError(f"an internal error, see the service's log: {failed}")
        self._machine.disk_failed(failed)

    def _log_failure(self, failure: Failure) -> None:
        self._log.failure("download {id} failed unexpectedly", failure=failure, id=self.id)

    def _show(self, state: DownloadState) -> None:
        self.state = state
        self._common.changed(self)
