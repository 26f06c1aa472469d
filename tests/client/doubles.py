"""Stand-ins for what is around the client: a hosting without nodes, a report that remembers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater

from peershare.client.api import ApiClient
from peershare.client.following import Follower
from peershare.client.outcome import GoneError, Outcome
from peershare.client.patience import Limits
from peershare.client.screen import Screen, Size
from peershare.client.session import Session
from peershare.control.server import ControlService
from peershare.status import DownloadChanged, Event, Notice
from tests.client.emulator import Terminal
from tests.control.fake_node import FakeNode
from tests.control.http import ServiceTestCase


class FakeHosting:
    """Gives the services of its list, one for each connection."""

    def __init__(self, *services: ControlService) -> None:
        self.services = list(services)
        self.is_own = False
        self.closed = 0

    async def connect(self) -> ApiClient:
        if not self.services:
            raise GoneError("there are no more services")
        control = self.services.pop(0).control
        assert control is not None
        return ApiClient(reactor, control)

    async def close(self) -> None:
        self.closed += 1


class RememberingReport:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.outcomes: list[Outcome] = []

    def happened(self, event: Event) -> None:
        if isinstance(event, Notice):
            self.told.append(event.text)
        elif isinstance(event, DownloadChanged):
            self.told.append(str(event.download.state))

    def say(self, name: str, text: str) -> None:
        self.told.append(f"{name}: {text}")

    def ended(self, identifier: str, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


async def until(condition: Callable[[], Any]) -> Any:
    """Turn the reactor until this is true; the test's timeout is its limit."""
    while not (value := condition()):
        await deferLater(reactor, 0.005)
    return value


class ClientTestCase(ServiceTestCase):
    """A session with the service of `ServiceTestCase`, and a follower on it."""

    def setUp(self) -> None:
        super().setUp()
        self.hosting = FakeHosting(self.service)
        self.said: list[str] = []
        self.session = Session(self.hosting, reactor, self.said.append)
        self.limits = Limits(wait=10.0, give_up=10.0)
        self.report = RememberingReport()
        self.follower = Follower(self.session, reactor, self.limits, self.report)
        self.addCleanup(self.close_session)

    async def close_session(self) -> None:
        await self.session.close()

    def second_service(self) -> FakeNode:
        """One more service, which is there when the first one is not; returns its node."""
        node = FakeNode()
        service = ControlService(node, self.settings, reactor)
        service.startService()
        self.addCleanup(service.stopService)
        self.hosting.services.append(service)
        return node


class PaperConsole:
    """A console that keeps what it is given; with a `Terminal` it draws on that."""

    def __init__(self, terminal: Terminal | None = None) -> None:
        self.printed: list[str] = []
        self.notes: list[str] = []
        self.color = False
        self.closed = False
        self.screen: Screen | None = None
        self.columns = 80
        if terminal is not None:
            self.columns = terminal.columns
            self.screen = Screen(terminal.feed, lambda: Size(terminal.columns, terminal.rows))

    def data(self, text: str) -> None:
        self.printed.append(text)
        if self.screen is not None:
            self.screen.print(text)

    def note(self, text: str, style: object = None) -> None:
        self.notes.append(text)
