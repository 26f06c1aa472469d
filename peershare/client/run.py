"""The client, put together and run: console, session, the command, and every way out.

The composition root beside `main`: the real reactor, signals and descriptors are met here.
Not for: what a command does.
"""

from __future__ import annotations

import os
import signal
from functools import partial
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from peershare.client.arguments import STEERED, Options, flags_of
from peershare.client.choosing import Chooser, LineChooser, PromptChooser
from peershare.client.commands import Commands
from peershare.client.console import Console, Style
from peershare.client.following import Follower
from peershare.client.getting import FROM_STDIN, get_all, output_folder
from peershare.client.hosting import Hosting
from peershare.client.lines import LineSource
from peershare.client.logs import ClientLog
from peershare.client.outcome import ClientError, ExitStatus
from peershare.client.patience import DEFAULT_WAIT_SECONDS, Limits
from peershare.client.prompt import Performer, perform_lines
from peershare.client.report import HumanReport, JsonReport, Report
from peershare.client.session import Session
from peershare.client.stdin import Stdin
from peershare.client.terminal import KeyMode
from peershare.client.wording import safe
from peershare.node import Node, make_node, use_monotonic_clock
from peershare.settings import Settings

_LOCAL_FLAGS = {"state"}
_SIGNALS = {
    signal.SIGINT: ExitStatus.INTERRUPTED,
    signal.SIGTERM: ExitStatus.TERMINATED,
    signal.SIGHUP: ExitStatus.TERMINATED,
}


def run(options: Options, settings: Settings) -> int:
    """Run one command (or the prompt) to its end; returns the exit status."""
    from twisted.internet import reactor

    use_monotonic_clock(reactor)
    return Client(options, settings, reactor).run()


class Client:
    """One run of `peershare`."""

    _log = Logger()

    def __init__(self, options: Options, settings: Settings, reactor: Any) -> None:
        self._options = options
        self._settings = settings
        self._reactor = reactor
        self._console = Console(os.environ, json=options.json)
        self._stdin = Stdin(self._console, reactor)
        self._lines = LineSource()
        self._key_mode = KeyMode()
        self._log_file = ClientLog(lambda text: self._console.note(f"peershare: {safe(text)}"))
        may_start = options.command not in STEERED
        self._hosting = Hosting(settings, reactor, self._make_node, may_start=may_start)
        self._session = Session(
            self._hosting, reactor, lambda text: self._console.note(text, Style.WARNING)
        )
        self._commands = Commands(self._console, reactor, json=options.json)
        self._task: Deferred[ExitStatus] | None = None
        self._interrupted_by: ExitStatus | None = None
        self._closing = False
        self._status = ExitStatus.FAILED

    # -- life

    def run(self) -> int:
        """Run the reactor until it is done."""
        self._log_file.begin()
        for number in _SIGNALS:
            signal.signal(number, self._signalled)
        signal.signal(signal.SIGWINCH, self._resized)
        self._console.on_closed = self._nobody_reads
        self._reactor.callWhenRunning(self._start)
        try:
            self._reactor.run(installSignalHandlers=False)
        finally:
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_IGN)  # it is over, one way or the other
            self._restore()
            self._log_file.close()
        return int(self._status)

    def _restore(self) -> None:
        """Leave the terminal as it was, at once."""
        self._stdin.restore()
        self._console.close()
        self._key_mode.leave()

    def _start(self) -> None:
        self._task = Deferred.fromCoroutine(self._main())
        self._task.addCallbacks(self._done, self._failed)
        self._task.addErrback(lambda failure: self._log.failure("the end", failure=failure))
        self._task.addBoth(lambda _: self._reactor.stop())

    async def _main(self) -> ExitStatus:
        """The command, with everything closed behind it."""
        try:
            return await self._command()
        except CancelledError:
            return self._interrupted_by or ExitStatus.INTERRUPTED
        except ClientError as error:
            self._console.note(f"peershare: {error}", Style.BAD)
            return error.status
        finally:
            self._closing = True
            self._console.close()
            await self._stdin.close()
            await self._session.close()

    def _done(self, status: ExitStatus) -> None:
        done = status is ExitStatus.DONE and self._console.closed
        self._status = ExitStatus.FAILED if done else status

    def _failed(self, failure: Failure) -> None:
        self._log.failure("the client failed", failure=failure)

    # -- signals

    def _signalled(self, number: int, frame: object) -> None:
        """Python: a signal came; the second one does not wait for anything."""
        if self._interrupted_by is not None:
            self._restore()
            os._exit(int(_SIGNALS[signal.Signals(number)]))
        self._reactor.callFromThread(self._interrupt, _SIGNALS[signal.Signals(number)])

    def _interrupt(self, status: ExitStatus = ExitStatus.INTERRUPTED) -> None:
        """End in order: downloads are stopped, part files stay."""
        if self._interrupted_by is None and self._task is not None:
            self._interrupted_by = status
            if not self._closing:
                self._task.cancel()

    def _nobody_reads(self) -> None:
        """What is asked for cannot be given any more: leave as on Ctrl-C."""
        self._reactor.callLater(0, self._interrupt, ExitStatus.FAILED)

    def _resized(self, number: int, frame: object) -> None:
        """Python: the terminal has another size."""
        if self._console.screen is not None:
            self._reactor.callFromThread(self._console.screen.redraw)

    # -- the command

    async def _command(self) -> ExitStatus:
        options = self._options
        folder = output_folder(options.output)
        client = await self._session.open()
        self._say_ignored()
        own = self._hosting.is_own
        if own:
            for problem in (await client.node()).problems:
                self._console.note(f"peershare: {safe(problem)}", Style.WARNING)
        if options.command in STEERED:
            from peershare.client.steered import perform_steered

            return await perform_steered(options, self._session, self._console, self._reactor)
        if options.command in ("list", "peers"):
            await self._commands.listen(client, options.wait_seconds, own=own)
            if options.command == "list":
                return await self._commands.contents(client, "".join(options.names))
            return await self._commands.peers(client)
        if options.command == "verify":
            return await self._commands.verify(client, options.names[0] if options.names else None)
        if options.command == "history":
            return await self._commands.history(
                client, options.limit, options.since, options.direction
            )
        if options.command == "share":
            return await self._commands.share(client, options.names, own=own)
        if options.command == "get":
            if FROM_STDIN in options.names:
                self._stdin.open(self._lines)
                follower = self._follower(self._limits(), None)
            else:
                follower = self._follower(self._limits(), self._line_chooser(opened=False))
            return await get_all(follower, options.names, self._lines, folder)
        return await self._prompt()

    async def _prompt(self) -> ExitStatus:
        screen = self._console.screen
        if screen is None or not os.isatty(0):
            chooser = self._line_chooser(opened=True)
            performer = self._performer(self._limits(), chooser, interactive=False)
            self._stdin.open(self._lines)
            return await perform_lines(performer, self._lines, self._console)
        from peershare.client.interactive import Interactive, Parts

        limits = Limits(wait=None, give_up=None)
        chooser = PromptChooser(self._console)
        parts = Parts(
            session=self._session,
            console=self._console,
            screen=screen,
            stdin=self._stdin,
            key_mode=self._key_mode,
            performer=self._performer(limits, chooser, interactive=True),
            chooser=chooser,
            commands=self._commands,
            limits=limits,
            final=self._limits(),
            interrupt=self._interrupt,
        )
        return await Interactive(parts, self._reactor).run()

    def _limits(self) -> Limits:
        wait = self._options.wait_seconds
        return Limits(
            wait=DEFAULT_WAIT_SECONDS if wait is None else wait,
            give_up=self._options.give_up_seconds,
        )

    def _line_chooser(self, *, opened: bool) -> Chooser | None:
        """Whom to ask line by line, if there is somebody; `opened`: stdin is read already."""
        asked = os.isatty(0) and self._console.err.is_terminal and not self._options.json
        if not asked:
            return None
        begin = (lambda: None) if opened else partial(self._stdin.open, self._lines)
        return LineChooser(self._console, self._lines, begin)

    def _follower(self, limits: Limits, chooser: Chooser | None) -> Follower:
        report: Report = JsonReport(self._console)
        if not self._options.json:
            report = HumanReport(self._console, self._reactor)
        return Follower(
            self._session,
            self._reactor,
            limits,
            report,
            chooser=chooser,
            sequential=self._options.sequential,
            source=self._options.source,
            classic=self._options.classic,
            flags=flags_of(self._options),
        )

    def _performer(
        self, limits: Limits, chooser: Chooser | None, *, interactive: bool
    ) -> Performer:
        return Performer(
            self._session,
            self._console,
            self._follower(limits, chooser),
            self._commands,
            interactive=interactive,
        )

    def _say_ignored(self) -> None:
        """A service that runs has its own settings."""
        ignored = sorted(self._options.flags.keys() - _LOCAL_FLAGS)
        if ignored and not self._hosting.is_own:
            flags = ", ".join(f"--{name}" for name in ignored)
            self._console.note(f"a service runs on this state folder; not used: {flags}")

    def _make_node(self, settings: Settings) -> Node:
        node = make_node(settings, self._reactor, resume=False)
        self._log_file.open(settings.state)
        return node
