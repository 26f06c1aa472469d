"""The machine of one verified download: from the wish for a content id to its final file.

Automat, built at module level (`automat-visualize peershare.download.swarm.machine` draws it).  It
knows neither sessions nor files: its inputs are facts, its outputs are verbs of `Actions`.  Outputs
must not raise: the state has already changed by then.  Not for: single blocks (`fetching`).
"""

from __future__ import annotations

from typing import Protocol

from automat import TypeMachineBuilder

from peershare.errors import LocalError


class Actions(Protocol):
    """What the machine has done for it; each verb answers with one of the inputs, later or now."""

    def learn(self) -> None:
        """Find out what the content's blocks hash to; answers `learned` or `disk_failed`."""

    def check(self) -> None:
        """Look what of it is here already; answers `checked` or `disk_failed`."""

    def fetch(self) -> None:
        """Get every block that is missing; answers `nothing_missing` or `disk_failed`."""

    def await_disk(self, error: LocalError) -> None:
        """Let go of all peers, say what is needed, wait; answers `rested`."""

    def finish(self) -> None:
        """Give the file its final name.

        Answers `finished`, `disk_failed`, or `held_up` if it has its name, and something that
        follows failed.
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
        """Let go of peers and timers, keep everything for going on; no answer."""

    def halt(self) -> None:
        """Let go of peers and timers, keep the part; no answer."""


class Facts(Protocol):
    """The inputs: facts, in the past tense."""

    def begun(self) -> None:
        """The user wants it."""

    def learned(self) -> None:
        """The manifest is known, and hashes to the content id."""

    def checked(self) -> None:
        """What is here has been looked at."""

    def nothing_missing(self) -> None:
        """Every block is here, and verified."""

    def disk_failed(self, error: LocalError) -> None:
        """Our own disk is in the way; no peer is blamed."""

    def disk_refused(self, error: LocalError) -> None:
        """Our own disk is in the way, and will be as long as nobody changes something."""

    def held_up(self, error: LocalError) -> None:
        """It has its final name; to make that known for good is what failed."""

    def rested(self) -> None:
        """The time to wait is over."""

    def finished(self) -> None:
        """The file has its final name."""

    def paused(self) -> None:
        """The user wants no bytes of it for now."""

    def resumed(self) -> None:
        """The user wants it to go on."""

    def stopped(self) -> None:
        """The user wants it no more, or the node ends."""


_builder = TypeMachineBuilder(Facts, Actions)  # type: ignore[type-abstract]  # as Automat documents

new = _builder.state("new")
learning = _builder.state("learning what its blocks hash to")
checking = _builder.state("checking what is there")
fetching = _builder.state("fetching blocks")
blocked = _builder.state("blocked by our disk")
paused = _builder.state("paused by the user")
finishing = _builder.state("finishing")
leaving = _builder.state("finishing and ending then")
ending = _builder.state("waiting to record what has its name")
done = _builder.state("done")
failed = _builder.state("failed")
halted = _builder.state("halted")


@new.upon(Facts.begun).to(learning)
@blocked.upon(Facts.rested).to(learning)
@paused.upon(Facts.resumed).to(learning)
def _learn(facts: Facts, actions: Actions) -> None:
    actions.learn()


@learning.upon(Facts.learned).to(checking)
def _check(facts: Facts, actions: Actions) -> None:
    actions.check()


@checking.upon(Facts.checked).to(fetching)
def _fetch(facts: Facts, actions: Actions) -> None:
    actions.fetch()


@learning.upon(Facts.disk_failed).to(blocked)
@checking.upon(Facts.disk_failed).to(blocked)
@fetching.upon(Facts.disk_failed).to(blocked)
@finishing.upon(Facts.disk_failed).to(blocked)
def _await_disk(facts: Facts, actions: Actions, error: LocalError) -> None:
    actions.await_disk(error)


@learning.upon(Facts.disk_refused).to(failed)
@checking.upon(Facts.disk_refused).to(failed)
@fetching.upon(Facts.disk_refused).to(failed)
@finishing.upon(Facts.disk_refused).to(failed)
@leaving.upon(Facts.disk_refused).to(failed)
def _fail(facts: Facts, actions: Actions, error: LocalError) -> None:
    actions.fail(error)


@finishing.upon(Facts.held_up).to(ending)
def _await_end(facts: Facts, actions: Actions, error: LocalError) -> None:
    actions.await_end(error)


@fetching.upon(Facts.nothing_missing).to(finishing)
@ending.upon(Facts.rested).to(finishing)
def _finish(facts: Facts, actions: Actions) -> None:
    actions.finish()


finishing.upon(Facts.stopped).to(leaving).returns(None)  # it is all but done


@finishing.upon(Facts.finished).to(done)
@leaving.upon(Facts.finished).to(done)
@ending.upon(Facts.stopped).to(done)
def _succeed(facts: Facts, actions: Actions) -> None:
    actions.succeed()


@leaving.upon(Facts.held_up).to(done)
def _be_content(facts: Facts, actions: Actions, error: LocalError) -> None:
    actions.succeed()  # the next run recognises it


@new.upon(Facts.paused).to(paused)
def _look(facts: Facts, actions: Actions) -> None:
    actions.look()


@learning.upon(Facts.paused).to(paused)
@checking.upon(Facts.paused).to(paused)
@fetching.upon(Facts.paused).to(paused)
@blocked.upon(Facts.paused).to(paused)
def _suspend(facts: Facts, actions: Actions) -> None:
    actions.suspend()


@new.upon(Facts.stopped).to(halted)
@learning.upon(Facts.stopped).to(halted)
@checking.upon(Facts.stopped).to(halted)
@fetching.upon(Facts.stopped).to(halted)
@blocked.upon(Facts.stopped).to(halted)
@paused.upon(Facts.stopped).to(halted)
def _halt(facts: Facts, actions: Actions) -> None:
    actions.halt()


@leaving.upon(Facts.disk_failed).to(halted)
def _give_up(facts: Facts, actions: Actions, error: LocalError) -> None:
    actions.halt()


# What changes nothing where it comes: a second wish to stop or to pause, a second block that the
# disk refused, and whatever was under way when the download ended.
leaving.upon(Facts.stopped).loop().returns(None)
for _unpaused in (new, learning, checking, fetching, blocked):
    _unpaused.upon(Facts.resumed).loop().returns(None)
paused.upon(Facts.paused).loop().returns(None)
for _over in (finishing, leaving, ending, done, failed, halted):
    _over.upon(Facts.paused).loop().returns(None)
    _over.upon(Facts.resumed).loop().returns(None)
for _late in (blocked, paused, ending, done, failed, halted):
    _late.upon(Facts.disk_failed).loop().returns(None)
    _late.upon(Facts.disk_refused).loop().returns(None)
    _late.upon(Facts.learned).loop().returns(None)
    _late.upon(Facts.checked).loop().returns(None)
    _late.upon(Facts.nothing_missing).loop().returns(None)
for _final in (done, failed, halted):
    _final.upon(Facts.stopped).loop().returns(None)
    _final.upon(Facts.rested).loop().returns(None)

swarm_machine = _builder.build()
