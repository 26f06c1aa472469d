"""The machine of one download: chunk after chunk, address after address, until it is done.

Automat, built at module level (`automat-visualize peershare.download.machine` draws it).  It
knows neither sockets nor files: its inputs are facts, its outputs are verbs of `Actions`.
It is fed one event per message, never per segment.  Outputs must not raise: the state has
already changed by then.  Not for: which chunk or which address is next (`content`).
"""

from __future__ import annotations

from typing import Protocol

from automat import TypeMachineBuilder

from peershare.errors import LocalError, PeerError


class Actions(Protocol):
    """What the machine has done for it; each verb answers with one of the inputs, later or now."""

    def check(self) -> None:
        """Look which chunks of a former run are still good; answers `checked` or `disk_failed`."""

    def choose(self) -> None:
        """Choose the next chunk and address.

        Answers `chosen`, `all_tried`, `nobody_known` or `nothing_missing`, or `disk_failed`
        if a chunk that arrived before could not be stored.
        """

    def dial(self) -> None:
        """Prepare and connect; answers `connected`, `attempt_failed` or `disk_failed`."""

    def ask(self) -> None:
        """Request the chunk; answers `chunk_arrived`, `attempt_failed` or `disk_failed`."""

    def keep(self) -> None:
        """The chunk fits: have it stored (beside what follows); no answer unless the disk fails."""

    def fail_over(self, error: PeerError) -> None:
        """Note that this address failed for this chunk; no answer."""

    def rest(self) -> None:
        """Wait out the backoff; answers `rested`."""

    def search(self) -> None:
        """Nothing to do until somebody tells; no answer."""

    def await_disk(self, error: LocalError) -> None:
        """Say what is needed, wait; answers `rested`."""

    def join(self) -> None:
        """Give the file its final name.

        Answers `joined`, `disk_failed`, `chunk_lost` if a stored chunk turned out bad, or
        `held_up` if it has its name, and something that follows failed.
        """

    def await_end(self, error: LocalError) -> None:
        """It has its final name: keep everything, say what is in the way; answers `rested`."""

    def succeed(self) -> None:
        """It is done."""

    def fail(self, error: LocalError) -> None:
        """Let go of everything but the part: our disk will never take it."""

    def look(self) -> None:
        """It begins paused: offer to others what a former run left; no answer."""

    def suspend(self) -> None:
        """Let go of connection and timers, keep everything for going on; no answer."""

    def halt(self) -> None:
        """Let go of connection and timers, keep the part; no answer."""


class Facts(Protocol):
    """The inputs: facts, in the past tense."""

    def begun(self) -> None:
        """The user wants it."""

    def checked(self) -> None:
        """What a former run left has been looked at."""

    def chosen(self) -> None:
        """There is a chunk to fetch and an address to ask."""

    def all_tried(self) -> None:
        """Every address that has a missing chunk was tried in this round."""

    def nobody_known(self) -> None:
        """No address has told any chunk that is missing."""

    def nothing_missing(self) -> None:
        """All five chunks are here."""

    def connected(self) -> None:
        """The connection is open and nothing was sent on it."""

    def chunk_arrived(self) -> None:
        """The whole chunk came and fits."""

    def attempt_failed(self, error: PeerError) -> None:
        """This address did not give this chunk."""

    def disk_failed(self, error: LocalError) -> None:
        """Our own disk is in the way; no peer is blamed."""

    def disk_refused(self, error: LocalError) -> None:
        """Our own disk is in the way, and will be as long as nobody changes something."""

    def held_up(self, error: LocalError) -> None:
        """It has its final name; to make that known for good is what failed."""

    def chunk_lost(self) -> None:
        """A chunk that counted does not any more."""

    def rested(self) -> None:
        """The time to wait is over."""

    def peer_told(self) -> None:
        """Somebody announced something that this download can use."""

    def joined(self) -> None:
        """The file has its final name."""

    def paused(self) -> None:
        """The user wants no bytes of it for now."""

    def resumed(self) -> None:
        """The user wants it to go on."""

    def stopped(self) -> None:
        """The user wants it no more, or the node ends."""


_builder = TypeMachineBuilder(Facts, Actions)  # type: ignore[type-abstract]  # as Automat documents

new = _builder.state("new")
checking = _builder.state("checking what is there")
choosing = _builder.state("choosing chunk and address")
connecting = _builder.state("connecting")
receiving = _builder.state("receiving")
searching = _builder.state("searching for somebody")
resting = _builder.state("resting before the next round")
blocked = _builder.state("blocked by our disk")
paused = _builder.state("paused by the user")
joining = _builder.state("joining the chunks")
leaving = _builder.state("joining the chunks and ending then")
ending = _builder.state("waiting to record what has its name")
done = _builder.state("done")
failed = _builder.state("failed")
halted = _builder.state("halted")


@new.upon(Facts.begun).to(checking)
@blocked.upon(Facts.rested).to(checking)
@paused.upon(Facts.resumed).to(checking)
def _check(facts: Facts, actions: Actions) -> None:
    actions.check()


@checking.upon(Facts.checked).to(choosing)
@searching.upon(Facts.peer_told).to(choosing)
@resting.upon(Facts.rested).to(choosing)
@resting.upon(Facts.peer_told).to(choosing)
@joining.upon(Facts.chunk_lost).to(choosing)
def _choose(facts: Facts, actions: Actions) -> None:
    actions.choose()


@choosing.upon(Facts.chosen).to(connecting)
def _dial(facts: Facts, actions: Actions) -> None:
    actions.dial()


@connecting.upon(Facts.connected).to(receiving)
def _ask(facts: Facts, actions: Actions) -> None:
    actions.ask()


@receiving.upon(Facts.chunk_arrived).to(choosing)
def _keep(facts: Facts, actions: Actions) -> None:
    actions.keep()
    actions.choose()


@connecting.upon(Facts.attempt_failed).to(choosing)
@receiving.upon(Facts.attempt_failed).to(choosing)
def _fail_over(facts: Facts, actions: Actions, error: PeerError) -> None:
    actions.fail_over(error)
    actions.choose()


@choosing.upon(Facts.nobody_known).to(searching)
def _search(facts: Facts, actions: Actions) -> None:
    actions.search()


@choosing.upon(Facts.all_tried).to(resting)
def _rest(facts: Facts, actions: Actions) -> None:
    actions.rest()


@checking.upon(Facts.disk_failed).to(blocked)
@choosing.upon(Facts.disk_failed).to(blocked)
@connecting.upon(Facts.disk_failed).to(blocked)
@receiving.upon(Facts.disk_failed).to(blocked)
@joining.upon(Facts.disk_failed).to(blocked)
def _await_disk(facts: Facts, actions: Actions, error: LocalError) -> None:
    actions.await_disk(error)


@checking.upon(Facts.disk_refused).to(failed)
@choosing.upon(Facts.disk_refused).to(failed)
@connecting.upon(Facts.disk_refused).to(failed)
@receiving.upon(Facts.disk_refused).to(failed)
@joining.upon(Facts.disk_refused).to(failed)
@leaving.upon(Facts.disk_refused).to(failed)
def _fail(facts: Facts, actions: Actions, error: LocalError) -> None:
    actions.fail(error)


@joining.upon(Facts.held_up).to(ending)
def _await_end(facts: Facts, actions: Actions, error: LocalError) -> None:
    actions.await_end(error)


@choosing.upon(Facts.nothing_missing).to(joining)
@ending.upon(Facts.rested).to(joining)
def _join(facts: Facts, actions: Actions) -> None:
    actions.join()


joining.upon(Facts.stopped).to(leaving).returns(None)  # it is all but done


@joining.upon(Facts.joined).to(done)
@leaving.upon(Facts.joined).to(done)
@ending.upon(Facts.stopped).to(done)
def _succeed(facts: Facts, actions: Actions) -> None:
    actions.succeed()


@leaving.upon(Facts.held_up).to(done)
def _be_content(facts: Facts, actions: Actions, error: LocalError) -> None:
    actions.succeed()  # the next run recognises it


@new.upon(Facts.paused).to(paused)
def _look(facts: Facts, actions: Actions) -> None:
    actions.look()


@checking.upon(Facts.paused).to(paused)
@choosing.upon(Facts.paused).to(paused)
@connecting.upon(Facts.paused).to(paused)
@receiving.upon(Facts.paused).to(paused)
@searching.upon(Facts.paused).to(paused)
@resting.upon(Facts.paused).to(paused)
@blocked.upon(Facts.paused).to(paused)
def _suspend(facts: Facts, actions: Actions) -> None:
    actions.suspend()


@new.upon(Facts.stopped).to(halted)
@checking.upon(Facts.stopped).to(halted)
@choosing.upon(Facts.stopped).to(halted)
@connecting.upon(Facts.stopped).to(halted)
@receiving.upon(Facts.stopped).to(halted)
@searching.upon(Facts.stopped).to(halted)
@resting.upon(Facts.stopped).to(halted)
@blocked.upon(Facts.stopped).to(halted)
@paused.upon(Facts.stopped).to(halted)
@leaving.upon(Facts.chunk_lost).to(halted)
def _halt(facts: Facts, actions: Actions) -> None:
    actions.halt()


@leaving.upon(Facts.disk_failed).to(halted)
def _give_up(facts: Facts, actions: Actions, error: LocalError) -> None:
    actions.halt()


# What changes nothing where it comes: news while busy, a second wish to stop or to pause, and
# whatever was under way when the download ended.
for _busy in (
    *(new, checking, choosing, connecting, receiving, blocked, paused, joining, leaving, ending),
):
    _busy.upon(Facts.peer_told).loop().returns(None)
for _unpaused in (new, checking, choosing, connecting, receiving, searching, resting, blocked):
    _unpaused.upon(Facts.resumed).loop().returns(None)
paused.upon(Facts.paused).loop().returns(None)
leaving.upon(Facts.stopped).loop().returns(None)
for _over in (joining, leaving, ending, done, failed, halted):
    _over.upon(Facts.paused).loop().returns(None)
    _over.upon(Facts.resumed).loop().returns(None)
for _final in (done, failed, halted):
    _final.upon(Facts.peer_told).loop().returns(None)
    _final.upon(Facts.stopped).loop().returns(None)
    _final.upon(Facts.checked).loop().returns(None)
    _final.upon(Facts.connected).loop().returns(None)
    _final.upon(Facts.chunk_arrived).loop().returns(None)
    _final.upon(Facts.attempt_failed).loop().returns(None)
    _final.upon(Facts.disk_failed).loop().returns(None)
    _final.upon(Facts.disk_refused).loop().returns(None)

download_machine = _builder.build()
