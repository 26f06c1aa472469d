"""The commands about a service that runs: `status`, `pause`, `resume`, `cancel`, `limits`, `open`,
`guest`.

Not for: what each of them does (`watching`, `steering`, `opening`, `guest`).
"""

from __future__ import annotations

import os
from typing import Any

from peershare.client.arguments import Options
from peershare.client.console import Console
from peershare.client.guest import show_guest
from peershare.client.opening import open_page, print_link
from peershare.client.outcome import ExitStatus
from peershare.client.session import Session
from peershare.client.steering import Steering
from peershare.client.watching import Watcher, show_once


async def perform_steered(
    options: Options, session: Session, console: Console, reactor: Any
) -> ExitStatus:
    """Do it, to its end.  Raises `ClientError`."""
    client = await session.client()
    steering = Steering(console, json=options.json)
    if options.command == "limits":
        return await steering.limits(client, options.limits)
    if options.command == "open":
        if options.print_link or options.json:
            return await print_link(client, console, json=options.json)
        state = session.hosting.settings.state
        return await open_page(client, state, console, reactor, os.environ)
    if options.command == "guest":
        return await show_guest(client, console, json=options.json)
    if options.command == "status":
        if options.once or (console.screen is None and not options.json):
            return await show_once(client, console, json=options.json)
        return await Watcher(session, console, reactor, json=options.json).run()
    return await steering.steer(
        client, options.command, options.names, everything=options.everything
    )
