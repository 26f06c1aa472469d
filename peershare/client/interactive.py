"""The prompt on a terminal: lines are edited, any number of requests are under way at once.

Progress and news are printed above the line that is being typed.  Downloads go on for as long as
the user lets them; when the input ends, the limits of `get` hold for what still runs.
Not for: keys (`editor`), drawing (`screen`), or what a request does (`prompt`).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from peershare.client.choosing import PromptChooser
from peershare.client.commands import Commands
from peershare.client.console import Console, Style
from peershare.client.editor import Editor, KeyReader
from peershare.client.outcome import ClientError, ExitStatus
from peershare.client.paths import completions
from peershare.client.patience import Limits
from peershare.client.prompt import Performer
from peershare.client.requests import (
    ALONE,
    WITH_ARGUMENT,
    Request,
    complete,
    completion_part,
    parse_line,
)
from peershare.client.screen import Screen
from peershare.client.session import Session
from peershare.client.stdin import Stdin
from peershare.client.terminal import KeyMode
from peershare.client.wording import about, safe, safe_name
from peershare.status import ContentsChanged, ContentStatus, Event

_MOST_CHOICES = 60
_MOST_NEWS = 10
_WRITE_SECONDS = 0.02  # for what is still to be written to the terminal
_NEWS = ("news",)  # the key of a task that is no download
_NEWS_SECONDS = 2.0


@dataclass(frozen=True)
class Parts:
    """What the prompt works with; `limits` are those in force, `final` those of the end."""

    session: Session
    console: Console
    screen: Screen
    stdin: Stdin
    key_mode: KeyMode
    performer: Performer
    chooser: PromptChooser
    commands: Commands
    limits: Limits
    final: Limits
    interrupt: Callable[[], None]


class Interactive:
    """One run of the prompt on a terminal."""

    _log = Logger()

    def __init__(self, parts: Parts, reactor: Any) -> None:
        self._parts = parts
        self._console = parts.console
        self._session = parts.session
        self._reactor = reactor
        self._editor = Editor(parts.screen, self)
        self._tasks: dict[object, Deferred[Any]] = {}
        self._names: tuple[str, ...] = ()
        self._news_due = False
        self._ended: Deferred[None] = Deferred()

    async def run(self) -> ExitStatus:
        """Let the user edit lines; return when the input and what it began have ended."""
        self._session.listen(self._happened)
        self._parts.key_mode.enter()
        try:
            self._parts.stdin.open(KeyReader(self._editor))
            await self._welcome()
            await self._ended
            await self._finish()
        except CancelledError:
            await self._cancel_all()
            raise
        finally:
            self._editor.close()
            await self._parts.stdin.close()
            self._parts.key_mode.leave()
        return ExitStatus.DONE

    async def _welcome(self) -> None:
        client = await self._session.client()
        status = await client.node()
        whose = f"the service (pid {status.pid})"
        if self._session.hosting.is_own:
            whose = "an own node, for as long as this prompt is open,"
        where = ", ".join(map(safe, status.addresses)) or "no network yet"
        self._console.note(f"{whose} on {where}, sharing {safe(status.share)}")
        contents = await client.contents()
        self._take(contents)
        if contents:
            await self._parts.commands.contents(client)
        else:
            self._console.note("nothing was heard yet; classic peers tell once a minute")
        self._console.note("type a name to download it; help tells the rest", Style.DIM)

    async def _finish(self) -> None:
        """The input has ended: finish what is under way."""
        running = [key for key in self._tasks if isinstance(key, str)]
        if running:
            names = ", ".join(map(safe, running))
            self._console.note(f"finishing {names} first; Ctrl-C leaves the part files")
        self._session.wake_all()
        if _NEWS in self._tasks:
            self._tasks[_NEWS].cancel()
        while self._tasks:
            await DeferredList(list(self._tasks.values()))

    async def _cancel_all(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await DeferredList(tasks)

    def _begin(self, key: object, line: str, work: Coroutine[Any, Any, ExitStatus]) -> None:
        """Do this beside everything else; downloads have their name as the key."""
        task: Deferred[Any] = Deferred.fromCoroutine(work)
        self._tasks[key] = task
        task.addErrback(self._failed, line)
        task.addBoth(lambda _: self._forget(key))
        task.addErrback(lambda failure: self._log.failure("a request", failure=failure))

    def _forget(self, key: object) -> None:
        del self._tasks[key]

    def _failed(self, failure: Failure, line: str) -> None:
        if failure.check(CancelledError):
            return
        if failure.check(ClientError):
            if not line:
                return  # nobody asked for the news
            self._console.note(about(line, failure.getErrorMessage()), Style.BAD)
            return
        self._log.failure("a request at the prompt failed", failure=failure)

    # -- EditorEvents

    def line_entered(self, line: str) -> None:
        """A line was entered."""
        if self._parts.chooser.take(line):
            return
        request = parse_line(line)
        if request is None:
            return
        verb, argument = request
        if verb == "quit":
            self.input_ended()
        elif verb == "stop" and argument in self._tasks:
            self._tasks[argument].cancel()
        elif verb == "get" and argument in self._tasks:
            self._console.note(f"{safe(argument)}: it is on its way already")
        else:
            self._begin(_key(request), line, self._parts.performer.perform(request))

    def input_ended(self) -> None:
        """The end of the input."""
        limits, final = self._parts.limits, self._parts.final
        limits.wait, limits.give_up = final.wait, final.give_up
        limits.since = self._reactor.seconds()
        self._editor.close()
        self._parts.chooser.close()
        if not self._ended.called:
            self._ended.callback(None)

    def interrupted(self) -> None:
        """Ctrl-C."""
        self._parts.interrupt()

    def suspended(self) -> None:
        """Ctrl-Z: out of the way, and back on `fg`."""
        self._parts.screen.hide()
        self._reactor.callLater(_WRITE_SECONDS, self._suspend)

    def _suspend(self) -> None:
        self._parts.stdin.lend()
        self._parts.key_mode.suspend()
        self._parts.stdin.take_back()
        self._parts.screen.redraw()

    def completed(self, line: str) -> str:
        """Tab."""
        fast, begun = completion_part(line)
        words = completions(begun) if fast == "share " else list(self._names)
        if not fast:
            words += [*ALONE, *(f"{verb} " for verb in WITH_ARGUMENT)]
        found = complete(line, words)
        if found.choices:
            shown = "  ".join(safe(choice) for choice in found.choices[:_MOST_CHOICES])
            rest = len(found.choices) - _MOST_CHOICES
            self._console.note(shown + (f"  and {rest} more" if rest > 0 else ""), Style.DIM)
        return found.line

    # -- news

    def _happened(self, event: Event) -> None:
        if isinstance(event, ContentsChanged):
            self._news_due = True
            if _NEWS not in self._tasks:
                self._begin(_NEWS, "", self._tell_news())

    async def _tell_news(self) -> ExitStatus:
        """Say what is new on the network, and complete it from now on."""
        while self._news_due and not self._ended.called:
            self._news_due = False
            client = await self._session.client()
            new = self._take(await client.contents())
            if new:
                shown = ", ".join(
                    f"{safe_name(content.name)} ({', '.join(map(safe, content.peers[:2]))})"
                    for content in new[:_MOST_NEWS]
                )
                rest = f" and {len(new) - _MOST_NEWS} more" if len(new) > _MOST_NEWS else ""
                self._console.note(f"new on the network: {shown}{rest}", Style.DIM)
            await deferLater(self._reactor, _NEWS_SECONDS)  # however fast names are invented
        return ExitStatus.DONE

    def _take(self, contents: Sequence[ContentStatus]) -> list[ContentStatus]:
        """Remember these names; return those of others that were not there before."""
        contents = [content for content in contents if content.shared or not content.not_offered]
        before = set(self._names)
        self._names = tuple(content.name for content in contents)
        return [c for c in contents if c.name not in before and not c.shared]


def _key(request: Request) -> object:
    """What a task is known by: a download by its name, anything else by itself."""
    return request.argument if request.verb == "get" and request.argument else object()
