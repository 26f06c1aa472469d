"""The probes of an examination, on the real machine.  Not for: a verdict on anything."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, DeferredSemaphore, gatherResults
from twisted.internet.threads import deferToThread

from peershare.client.outcome import ClientError
from peershare.doctor.evidence import (
    Arrivals,
    Clock,
    Descriptors,
    Dial,
    Echo,
    Firewall,
    Folder,
    PortUse,
    Service,
    Watches,
)
from peershare.doctor.probing import machine
from peershare.doctor.probing.asked import Found, arrivals_of, find_service
from peershare.doctor.probing.asking import Asking
from peershare.doctor.probing.calling import call
from peershare.doctor.probing.echoing import Echoes
from peershare.doctor.probing.firewalls import find_firewalls, read_file, run_command
from peershare.doctor.probing.holders import look_at_port
from peershare.doctor.probing.sockets import link_to
from peershare.links import Interface, Link, read_interfaces
from peershare.settings import Settings

_CALLS_AT_ONCE = 16


class RealProbes:
    """See `examination.Probes`; `wall_clock` gives Unix time."""

    def __init__(self, reactor: Any, wall_clock: Callable[[], float]) -> None:
        self._reactor = reactor
        self._wall_clock = wall_clock
        self._began = reactor.seconds(), wall_clock()
        self._found: Found | None = None

    async def service(self, settings: Settings) -> tuple[Service, Settings]:
        """Probes: by control.json and the API."""
        self._found = await find_service(self._reactor, settings)
        return self._found.service, self._found.settings

    def interfaces(self) -> tuple[Interface, ...]:
        """Probes: of the operating system."""
        return read_interfaces()

    def port(self, protocol: str, port: int, address: str) -> PortUse:
        """Probes: by binding it for a moment."""
        return look_at_port(protocol, port, address)

    async def firewalls(self, interfaces: Sequence[str]) -> tuple[Firewall, ...]:
        """Probes: by their own tools, in a thread."""
        return await deferToThread(find_firewalls, run_command, read_file, tuple(interfaces))

    async def echoes(self, settings: Settings, links: Sequence[Link]) -> tuple[Echo, ...]:
        """Probes: on the port of the beacons."""
        return await Echoes(self._reactor, links, settings.beacon_port, os.urandom).listen()

    async def arrivals(self, settings: Settings, links: Sequence[Link], seconds: float) -> Arrivals:
        """Probes: from the service, or with sockets of our own."""
        client = self._found.client if self._found is not None else None
        if client is None:
            return await Asking(self._reactor, settings, links, os.urandom).listen(seconds)
        try:
            return await arrivals_of(self._reactor, client, seconds)
        except ClientError as error:
            return Arrivals((), 0.0, deaf=(str(error),))

    async def calls(
        self, links: Sequence[Link], peers: Sequence[tuple[str, int]]
    ) -> dict[str, Dial]:
        """Probes: some at once."""
        semaphore = DeferredSemaphore(_CALLS_AT_ONCE)
        known = [(a, port, link) for a, port in peers if (link := link_to(tuple(links), a))]

        def begin(address: str, port: int, link: Link) -> Deferred[Dial]:
            return Deferred.fromCoroutine(call(self._reactor, str(link.address), address, port))

        dials = await gatherResults([semaphore.run(begin, *one) for one in known])
        return {address: dial for (address, _, _), dial in zip(known, dials, strict=True)}

    def folder(self, settings: Settings, role: str) -> Folder:
        """Probes: as they are."""
        return machine.look_at_folder(role, settings.share if role == "share" else settings.state)

    def clock(self, settings: Settings) -> Clock:
        """Probes: against the monotonic clock, since this was made."""
        began, wall_began = self._began
        now = self._wall_clock()
        strayed = (now - wall_began) - (self._reactor.seconds() - began)
        return machine.look_at_clock(now, strayed, settings.share)

    def descriptors(self, service_pid: int) -> Descriptors:
        """Probes: of the service if it may be asked."""
        return machine.look_at_descriptors(service_pid)

    def watches(self, settings: Settings) -> Watches | None:
        """Probes: by watching for a moment."""
        return machine.look_at_watches(settings.share)
