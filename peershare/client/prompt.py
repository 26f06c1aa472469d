"""What a line at the prompt does, and the prompt for input that is no terminal.

From a pipe, a file or a plain terminal, each line is done before the next one is read, and the
exit status is the worst of theirs.  Not for: editing lines (`interactive`), how a download goes
(`following`), or what a command prints (`commands`).
"""

from __future__ import annotations

from peershare.client.arguments import STEERING
from peershare.client.commands import Commands
from peershare.client.console import Console, Style
from peershare.client.following import Follower
from peershare.client.lines import LineSource
from peershare.client.outcome import ClientError, ExitStatus, worst
from peershare.client.requests import HELP, WITH_ARGUMENT, Request, parse_line
from peershare.client.session import Session
from peershare.client.steering import Steering
from peershare.client.wording import about

_HISTORY_LINES = "20"


class Performer:
    """Does what is asked for, one request at a time."""

    def __init__(
        self,
        session: Session,
        console: Console,
        follower: Follower,
        commands: Commands,
        *,
        interactive: bool,
    ) -> None:
        """`interactive`: somebody is there who can ask again later."""
        self._session = session
        self._console = console
        self._follower = follower
        self._commands = commands
        self._interactive = interactive

    async def perform(self, request: Request) -> ExitStatus:
        """Do it, to its end.  Raises `ClientError`."""
        verb, argument = request
        if verb in WITH_ARGUMENT and not argument:
            raise ClientError("of what?  help tells how it is used", ExitStatus.USAGE)
        if verb == "get":
            return (await self._follower.get(argument, None)).status
        if verb == "help":
            self._console.data(HELP)
            return ExitStatus.DONE
        client = await self._session.client()
        if verb in ("list", "peers") and not self._interactive:
            await self._commands.listen_once(client, own=self._session.hosting.is_own)
        if verb == "list":
            return await self._commands.contents(client, argument)
        if verb == "peers":
            return await self._commands.peers(client)
        if verb == "verify":
            return await self._commands.verify(client, argument or None)
        if verb == "history":
            return await self._commands.history(client, int(argument or _HISTORY_LINES))
        if verb == "share":
            return await self._commands.share(client, (argument,), own=False)
        if verb == "status":
            from peershare.client.watching import show_once

            return await show_once(client, self._console, json=False)
        steering = Steering(self._console, json=False)
        if verb == "limits":
            return await steering.limits(client, {})
        if verb in STEERING:
            return await steering.steer(client, verb, (argument,), everything=False)
        raise ClientError("no download of this name was begun here")  # stop


async def perform_lines(performer: Performer, stdin: LineSource, console: Console) -> ExitStatus:
    """Do what each line says, in order."""
    statuses = []
    while (line := await stdin.next_line()) is not None:
        request = parse_line(line)
        if request is None:
            continue
        if request.verb == "quit":
            break
        try:
            statuses.append(await performer.perform(request))
        except ClientError as error:
            console.note(about(line, str(error)), Style.BAD)
            statuses.append(error.status)
    return worst(statuses)
