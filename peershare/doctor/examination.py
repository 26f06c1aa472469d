"""The examination: what is looked at, in which order, and what follows from what.

Not for: verdicts (`judging`), or how anything is found out (`probing`, behind `Probes`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import Protocol

from peershare.doctor.allowing import Port, allow_line
from peershare.doctor.checks import Check
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
    ServiceState,
    Watches,
)
from peershare.doctor.judging.echoes import judge_echo
from peershare.doctor.judging.firewalls import judge_firewalls
from peershare.doctor.judging.interfaces import judge_broadcasts, judge_interfaces
from peershare.doctor.judging.machine import (
    judge_clock,
    judge_descriptors,
    judge_folder,
    judge_watches,
)
from peershare.doctor.judging.peers import judge_arrivals
from peershare.doctor.judging.ports import judge_other_port, judge_port
from peershare.doctor.judging.service import judge_service
from peershare.links import LIMITED_BROADCAST, Interface, Link, find_links
from peershare.settings import Settings

# So many native peers are called; more of them would tell the same.
MOST_CALLS = 64


class Probes(Protocol):
    """How it is found out; each is asked once, but `port` and `folder`."""

    async def service(self, settings: Settings) -> tuple[Service, Settings]:
        """The service on our state folder, and the settings that hold."""

    def interfaces(self) -> tuple[Interface, ...]:
        """What addresses this machine has."""

    def port(self, protocol: str, port: int, address: str) -> PortUse:
        """Whether a port can be had, and who has it."""

    async def firewalls(self, interfaces: Sequence[str]) -> tuple[Firewall, ...]:
        """Which are active."""

    async def echoes(self, settings: Settings, links: Sequence[Link]) -> tuple[Echo, ...]:
        """Send a datagram to ourselves, by each way."""

    async def arrivals(self, settings: Settings, links: Sequence[Link], seconds: float) -> Arrivals:
        """Who is heard: by the service if it runs, else by us, for so many seconds."""

    async def calls(
        self, links: Sequence[Link], peers: Sequence[tuple[str, int]]
    ) -> dict[str, Dial]:
        """Call native peers, address and port, each from our address on its network."""

    def folder(self, settings: Settings, role: str) -> Folder:
        """The share or the state folder."""

    def clock(self, settings: Settings) -> Clock:
        """The clock, after all the rest."""

    def descriptors(self, service_pid: int) -> Descriptors:
        """How many files may be open."""

    def watches(self, settings: Settings) -> Watches | None:
        """Whether folders can be watched; None where there is no such thing."""


class Examination:
    """One of them; `tell` takes each check as soon as it is known."""

    def __init__(
        self, settings: Settings, probes: Probes, tell: Callable[[Sequence[Check]], object]
    ) -> None:
        self._asked = settings  # as the user has them
        self._settings = settings  # as they hold
        self._probes = probes
        self._tell = tell
        self._service = Service(ServiceState.NONE)
        self._links: tuple[Link, ...] = ()
        self._firewalls: tuple[Firewall, ...] = ()

    async def run(self, seconds: float, note: Callable[[str], object]) -> None:
        """Look at everything; `note` is told before it takes a while."""
        self._service, self._settings = await self._probes.service(self._asked)
        self._tell(judge_service(self._service, str(self._settings.state)))
        self._look_at_interfaces()
        self._look_at_ports()
        names = [link.interface for link in self._links]
        self._firewalls = await self._probes.firewalls(names)
        echoes: tuple[Echo, ...] = ()
        arrivals = Arrivals((), 0.0)
        if self._links:
            echoes = await self._listen_to_ourselves()
            arrivals = await self._listen_to_others(seconds, note)
        self._tell(
            judge_firewalls(
                self._firewalls,
                self._ports,
                self._networks,
                arrived=self._arrived(echoes, arrivals),
                lost=self._lost(echoes),
            )
        )
        self._look_at_machine()

    # -- where we are

    def _look_at_interfaces(self) -> None:
        settings = self._settings
        interfaces = self._probes.interfaces()
        self._links = find_links(settings.addresses, settings.broadcasts, lambda: interfaces)
        # a service names those that it found by itself, too
        named = self._asked.addresses
        self._tell(judge_interfaces(interfaces, self._links, named))
        self._tell(judge_broadcasts(self._links, self._asked.broadcasts))

    @property
    def _networks(self) -> list[IPv4Network]:
        return list(dict.fromkeys(link.network for link in self._links))

    @property
    def _ports(self) -> list[Port]:
        settings = self._settings
        classic = [("udp", settings.classic_udp_port)] if settings.classic else []
        return [("udp", settings.beacon_port), *classic, ("tcp", settings.tcp_port)]

    def _look_at_ports(self) -> None:
        settings, pid = self._settings, self._pid
        udp = [("beacons", settings.beacon_port)]
        if settings.classic:
            udp.append(("announcements", settings.classic_udp_port))
        for purpose, port in udp:
            self._tell([judge_port(self._probes.port("udp", port, ""), purpose, pid)])
        for address, port in self._service.udp_ports:
            if port != settings.beacon_port:
                wanted_use = self._probes.port("udp", settings.beacon_port, address)
                self._tell([judge_other_port(wanted_use, port, pid)])
        # where the service had to take another port, the one that it wanted says why
        wanted = (self._asked.tcp_port,) if self._service.problems else ()
        for link in self._links:
            for port in dict.fromkeys((settings.tcp_port, *wanted)):
                use = self._probes.port("tcp", port, str(link.address))
                if port == settings.tcp_port or not use.free:
                    self._tell([judge_port(use, "tcp", pid)])

    @property
    def _pid(self) -> int:
        """The process of our service, whether it can be asked or not; 0 if there is none."""
        gone = self._service.state in (ServiceState.NONE, ServiceState.STALE)
        return 0 if gone else self._service.pid

    # -- who hears us, whom we hear

    async def _listen_to_ourselves(self) -> tuple[Echo, ...]:
        echoes = await self._probes.echoes(self._settings, self._links)
        firewall = self._firewalls[0] if self._firewalls else Firewall("iptables")
        allow = allow_line(firewall, self._ports, self._networks)
        self._tell([judge_echo(e, allow, good_address=self._is_good(e.target)) for e in echoes])
        return echoes

    def _is_good(self, target: str) -> bool:
        """Whether it is the broadcast address of one of our networks, or an own address."""
        address = IPv4Address(target)
        right = {network.broadcast_address for network in self._networks}
        own = {link.address for link in self._links}
        return address in right | own | {LIMITED_BROADCAST}

    async def _listen_to_others(self, seconds: float, note: Callable[[str], object]) -> Arrivals:
        serving = self._service.state is ServiceState.RUNNING
        if not serving:
            note(f"listening for {seconds:.0f} s (--seconds 65 hears classic peers for sure) …")
        arrivals = await self._probes.arrivals(self._settings, self._links, seconds)
        native = [(p.address, p.tcp_port) for p in arrivals.peers if p.proven and p.tcp_port]
        dials = await self._probes.calls(self._links, native[:MOST_CALLS])
        peers = tuple(replace(p, dial=dials.get(p.address)) for p in arrivals.peers)
        arrivals = replace(arrivals, peers=peers)
        self._tell(judge_arrivals(arrivals, self._settings.beacon_port, serving=serving))
        return arrivals

    def _arrived(self, echoes: Sequence[Echo], arrivals: Arrivals) -> set[Port]:
        """The ports that something came in by, from outside or as if it were."""
        found = {("udp", echo.port) for echo in echoes if echo.broadcast and echo.came_back}
        if any(peer.classic for peer in arrivals.peers):
            found.add(("udp", self._settings.classic_udp_port))
        if any(peer.has_called for peer in arrivals.peers):
            found.add(("tcp", self._settings.tcp_port))
        return found

    def _lost(self, echoes: Sequence[Echo]) -> set[Port]:
        return {
            ("udp", echo.port)
            for echo in echoes
            if echo.broadcast and not echo.came_back and not echo.problem
            if self._is_good(echo.target)
        }

    # -- this machine

    def _look_at_machine(self) -> None:
        settings, probes = self._settings, self._probes
        for role in ("share", "state"):
            self._tell(judge_folder(probes.folder(settings, role)))
        self._tell([judge_descriptors(probes.descriptors(self._pid))])
        watches = probes.watches(settings)
        if watches is not None:
            self._tell([judge_watches(watches)])
        self._tell(judge_clock(probes.clock(settings), self._service))
