"""Following: sees one name through, from the wish to its outcome.

The node downloads; here it is asked to, watched, and told to stop when patience is over or the
user interrupts.  When the service goes away in the middle, the wish is repeated to the next one,
which goes on with what is there.  Not for: how it is told to the user (`report`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from msgspec import structs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from peershare.client.absence import (
    given_up_text,
    not_found_text,
    own_file_text,
    waiting_text,
)
from peershare.client.api import ApiClient, RefusedError
from peershare.client.choosing import Chooser, commands_for
from peershare.client.outcome import ClientError, ExitStatus, GoneError, Outcome
from peershare.client.patience import Limits, Patience, Verdict
from peershare.client.report import Report
from peershare.client.session import Session, Watch
from peershare.client.wording import done_text, kept_text, safe
from peershare.status import (
    FINAL_STATES,
    DownloadChanged,
    DownloadState,
    DownloadStatus,
    Event,
    Notice,
)

# A name that is known starts within this; only then is it said that the other is waited for.
_NOTICE_SECONDS = 0.7
# While nobody has told the name the node has nothing to tell either: ask it.
_POLL_SECONDS = 2.0
# An own node that has just begun knows nobody yet; whoever is there answers within this.
_SETTLE_SECONDS = 0.5
_STOP_SECONDS = 1.5


@dataclass
class _Wish:
    """One name on its way; `ours`: nobody else had asked the service for it before.

    `asked` is what the service is asked for: the name, or the id that was chosen.
    """

    name: str
    folder: str | None
    patience: Patience
    asked: str
    source: str = ""
    classic: bool = False
    ours: bool = True
    noticed: bool = False
    identifier: str = ""


class Follower:
    """Follows names, one call of `get` for each."""

    def __init__(
        self,
        session: Session,
        reactor: Any,
        limits: Limits,
        report: Report,
        *,
        chooser: Chooser | None = None,
        sequential: bool = False,
        source: str = "",
        classic: bool = False,
        flags: Sequence[str] = (),
    ) -> None:
        """`chooser` is asked where a name fits several contents, if there is somebody to ask.

        `sequential`: have the bytes fetched in their order.  `source`, `classic`: what is meant by
        names that fit several contents.  `flags`: what a command for one of them needs as well.
        """
        self._session = session
        self._reactor = reactor
        self._limits = limits
        self._report = report
        self._chooser = chooser
        self._sequential = sequential
        self._source = source
        self._classic = classic
        self._flags = flags
        self._settled = False
        self._followed: set[str] = set()
        session.listen(self._happened)

    async def get(self, name: str, folder: str | None) -> Outcome:
        """Download `name` (or the content of an id) into `folder`.

        `folder` is absolute; None is the share folder.  Returns what became of it, and has reported
        it.  Cancelling stops the download, whose part file stays.
        """
        patience = Patience(self._limits, self._reactor.seconds())
        wish = _Wish(name, folder, patience, name, self._source, self._classic)
        outcome = None
        try:
            while outcome is None:
                try:
                    outcome = await self._attempt(wish)
                except RefusedError as error:
                    outcome = await self._refused(wish, error)
        except ClientError as error:
            outcome = _outcome(wish, error.status, str(error))
        finally:
            self._followed.discard(wish.identifier)
        self._report.ended(wish.identifier, outcome)
        return outcome

    async def _refused(self, wish: _Wish, error: RefusedError) -> Outcome | None:
        """The service cannot do it like this; None if it is to be asked again."""
        if error.status is ExitStatus.NOT_FOUND:
            return await self._wait_for_id(wish, str(error))
        if error.candidates and self._chooser is not None:
            choice = await self._chooser.choose(wish.name, error.candidates)
            if choice is None:
                return _outcome(wish, error.status, "none of them was chosen")
            wish.asked, wish.classic = choice.id or choice.name, not choice.id
            wish.source = "" if choice.id else wish.source
            return None
        text = f"{error}; ask for one of these" if error.choices else str(error)
        outcome = _outcome(wish, error.status, text)
        return structs.replace(
            outcome,
            choices=error.choices,
            candidates=error.candidates,
            commands=commands_for(error.candidates, self._flags),
        )

    async def _wait_for_id(self, wish: _Wish, text: str) -> Outcome | None:
        """Nobody has told this id yet; None if it is to be asked for again."""
        left = wish.patience.seconds_left(self._reactor.seconds())
        if left is not None and left <= 0:
            return _outcome(wish, ExitStatus.NOT_FOUND, f"not found: {text}")
        if not wish.noticed:
            wish.noticed = True
            self._report.say(wish.name, waiting_text(self._limits.wait, ""))
        await deferLater(self._reactor, _POLL_SECONDS if left is None else min(left, _POLL_SECONDS))
        return None

    async def _attempt(self, wish: _Wish) -> Outcome | None:
        """Ask the service that there is, and follow; None if it went away."""
        client = await self._session.client()
        if self._session.hosting.is_own and not self._settled and not wish.identifier:
            self._settled = True
            await deferLater(self._reactor, _SETTLE_SECONDS)
            wish.patience = Patience(self._limits, self._reactor.seconds())
        try:
            running = {d.id for d in await client.downloads() if d.state not in FINAL_STATES}
            mark = self._session.mark()
            status = await self._start(client, wish)
        except GoneError:
            self._session.lose(client)
            return None
        wish.ours = wish.ours and status.id not in running
        watch, missed = self._session.watch(status, mark)
        wish.identifier = status.id
        self._followed.add(status.id)
        try:
            for event in (DownloadChanged(status), *missed):
                self._report.happened(event)
            return await self._follow(wish, client, watch)
        except RefusedError:
            await self._stop(client, wish)
            raise
        except CancelledError:
            await self._leave(wish, client, watch.status)
            raise
        finally:
            self._session.unwatch(watch)

    async def _start(self, client: ApiClient, wish: _Wish) -> DownloadStatus:
        status = await client.start(
            wish.asked,
            wish.folder,
            sequential=self._sequential,
            source=wish.source,
            classic=wish.classic,
        )
        if status.state is DownloadState.PAUSED and not wish.identifier:
            return await client.resume(status.id)  # who asks for it again wants it to go on
        return status

    async def _follow(self, wish: _Wish, client: ApiClient, watch: Watch) -> Outcome | None:
        while not watch.lost:
            status, now = watch.status, self._reactor.seconds()
            wish.patience.look(status, watch.received_at)
            if status.state in FINAL_STATES:
                return self._final(wish, status)
            verdict = wish.patience.verdict(now)
            if verdict is not None:
                # what waits for another download stands as still as that one does
                in_turn = status.state is DownloadState.WAITING and not status.received
                in_turn = in_turn and status.content != ""
                outcome = await self._abandon(wish, client, verdict, in_turn=in_turn)
                if outcome is not None:
                    return outcome
                continue
            searching = not wish.patience.heard
            unclear = bool(searching and status.problem and not status.content)
            if searching and not wish.noticed and now - watch.began_at >= _NOTICE_SECONDS:
                wish.noticed = True
                self._report.say(wish.name, waiting_text(self._limits.wait, status.content))
            if not unclear:
                await watch.changed(self._pause(wish, now, searching))
            if searching and not await self._refresh(wish, client, watch):
                return None
            if unclear:
                await self._stop(client, wish)
                return _outcome(wish, ExitStatus.FAILED, safe(status.problem))
        if watch.status.content:  # the next service is asked for what this is, not for a name
            wish.asked, wish.source, wish.classic = watch.status.content, "", False
        elif watch.status.received:
            wish.classic = True
        return None

    def _pause(self, wish: _Wish, now: float, searching: bool) -> float | None:
        """How long to wait for a change before looking again."""
        left = wish.patience.seconds_left(now)
        if not searching:
            return left
        poll = _POLL_SECONDS if wish.noticed else _NOTICE_SECONDS
        return poll if left is None else min(left, poll)

    async def _refresh(self, wish: _Wish, client: ApiClient, watch: Watch) -> bool:
        """See how it stands, unless that is being told by itself.

        The service is asked for it again: the name may have come to fit several contents, which
        raises `RefusedError`.  False if it made another download of it.
        """
        before = watch.changes
        try:
            status = await client.download(wish.identifier)
        except (GoneError, RefusedError):
            return True  # the end of the event stream tells
        known = status.content or status.received
        if status.state is DownloadState.SEARCHING and watch.changes == before and not known:
            try:
                status = await self._start(client, wish)
            except GoneError:
                return True
        if status.id != wish.identifier:
            await self._stop(client, wish)
            return False
        if watch.changes == before:
            watch.update(status)
        return True

    # -- the end

    async def _moves(self, wish: _Wish, client: ApiClient) -> bool:
        """Whether it stands less still than was told: what it waits for may have gone on."""
        try:
            status = await client.download(wish.identifier)
        except (GoneError, RefusedError):
            return False
        now = self._reactor.seconds()
        wish.patience.look(status, now)
        return wish.patience.verdict(now) is None

    async def _abandon(
        self, wish: _Wish, client: ApiClient, verdict: Verdict, *, in_turn: bool
    ) -> Outcome | None:
        """Its end; None if it goes on after all.  `in_turn`: it waits for another download."""
        if verdict is Verdict.GIVEN_UP and in_turn and await self._moves(wish, client):
            return None
        status = await self._stop(client, wish)
        if status is not None and status.state is DownloadState.DONE:
            return self._final(wish, status)
        kept = f"; {kept_text(status)}" if status is not None and status.received else ""
        if verdict is Verdict.NOT_FOUND:
            own = await own_file_text(client, wish.name)
            text = own or not_found_text(self._limits.wait, kept)
            return _outcome(wish, ExitStatus.NOT_FOUND, text)
        problem = status.problem if status is not None else ""
        text = given_up_text(self._limits.give_up, problem, kept)
        return _outcome(wish, ExitStatus.FAILED, text)

    def _final(self, wish: _Wish, status: DownloadStatus) -> Outcome:
        """The outcome of a download that has ended by itself."""
        if status.state is DownloadState.DONE:
            spent = wish.patience.seconds_spent(self._reactor.seconds())
            text = done_text(status, spent)
            return _outcome(wish, ExitStatus.DONE, text, status.path, status.verified)
        if status.state is DownloadState.STOPPED:
            text = f"stopped by somebody else; {kept_text(status)}"
        else:
            text = f"failed: {safe(status.problem) or 'the service does not say why'}"
        return _outcome(wish, ExitStatus.FAILED, text)

    async def _leave(self, wish: _Wish, client: ApiClient, status: DownloadStatus) -> None:
        """The user interrupts."""
        if status.state in FINAL_STATES:
            return
        text = f"interrupted; it goes on in the service (pid {client.pid})"
        if status.state is DownloadState.PAUSED and not self._session.hosting.is_own:
            text = "interrupted; it stays paused in the service (peershare resume goes on with it)"
        elif wish.ours or self._session.hosting.is_own:
            stopped = await self._stop(client, wish)
            text = f"interrupted; {kept_text(stopped or status)}"
        self._report.ended(wish.identifier, _outcome(wish, ExitStatus.INTERRUPTED, text))

    async def _stop(self, client: ApiClient, wish: _Wish) -> DownloadStatus | None:
        """Stop it, unless it is somebody else's; None if the service did not hear that."""
        asked = client.stop if wish.ours else client.download
        stopping: Deferred[DownloadStatus] = Deferred.fromCoroutine(asked(wish.identifier))
        try:
            return await stopping.addTimeout(_STOP_SECONDS, self._reactor)
        except Exception:
            return None  # it is over for us in any case

    def _happened(self, event: Event) -> None:
        """An event of the session: tell it if it is about one of our names."""
        if not isinstance(event, DownloadChanged | Notice):
            return
        about = event.download.id if isinstance(event, DownloadChanged) else event.download
        if about in self._followed:
            self._report.happened(event)


def _outcome(
    wish: _Wish, status: ExitStatus, message: str, path: str = "", verified: bool = False
) -> Outcome:
    return Outcome(name=wish.name, status=status, message=message, path=path, verified=verified)
