"""The whole of an examination, with probes that are told what they find."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from peershare import __version__
from peershare.client.console import Style
from peershare.client.outcome import ExitStatus
from peershare.doctor.checks import Check
from peershare.doctor.command import Doctor
from peershare.doctor.evidence import (
    Arrivals,
    Clock,
    Descriptors,
    Dial,
    Dialled,
    Echo,
    Firewall,
    Folder,
    Holder,
    PortUse,
    Service,
    ServiceState,
    Watches,
)
from peershare.doctor.examination import MOST_CALLS, Examination
from peershare.doctor.rulesets import Opened
from peershare.links import Interface, Link
from peershare.settings import Settings
from tests.doctor.test_peers import CLASSIC, NATIVE
from tests.fakes import WALL_START, interface

SETTINGS = Settings(share=Path("/share"), state=Path("/state"))
RUNNING = Service(ServiceState.RUNNING, 7, version=__version__, tcp_port=5_000)


class FakeProbes:
    """A healthy machine beside a native and a classic peer, unless a test says otherwise."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.found = (Service(ServiceState.NONE), SETTINGS)
        self.has: tuple[Interface, ...] = (interface(), interface("127.0.0.1/8", "lo", None))
        self.holders: dict[tuple[str, int], tuple[Holder, ...]] = {}
        self.walls: tuple[Firewall, ...] = ()
        self.comes_back = True
        self.heard = Arrivals((NATIVE, CLASSIC), 5.0)
        self.end = Dialled.ANSWERED
        self.time = Clock(WALL_START, 0.0)
        self.watched: Watches | None = Watches(8_192, 128)

    async def service(self, settings: Settings) -> tuple[Service, Settings]:
        return self.found

    def interfaces(self) -> tuple[Interface, ...]:
        return self.has

    def port(self, protocol: str, port: int, address: str) -> PortUse:
        self.asked.append((protocol, port, address))
        holders = self.holders.get((protocol, port), ())
        return PortUse(protocol, port, address, not holders, not holders, holders)

    async def firewalls(self, interfaces: Sequence[str]) -> tuple[Firewall, ...]:
        return self.walls

    async def echoes(self, settings: Settings, links: Sequence[Link]) -> tuple[Echo, ...]:
        self.asked.append(("echoes", *(str(link.address) for link in links)))
        return tuple(
            Echo(str(link.address), str(target), settings.beacon_port, True, self.comes_back)
            for link in links
            for target in link.broadcasts
        )

    async def arrivals(self, settings: Settings, links: Sequence[Link], seconds: float) -> Arrivals:
        self.asked.append(("arrivals", seconds))
        return self.heard

    async def calls(
        self, links: Sequence[Link], peers: Sequence[tuple[str, int]]
    ) -> dict[str, Dial]:
        self.asked.append(("calls", *peers))
        return {address: Dial(self.end, 0.001) for address, _ in peers}

    def folder(self, settings: Settings, role: str) -> Folder:
        path = settings.share if role == "share" else settings.state
        return Folder(role, path, exists=True, free_bytes=1 << 40)

    def clock(self, settings: Settings) -> Clock:
        return self.time

    def descriptors(self, service_pid: int) -> Descriptors:
        return Descriptors(1_024, None, service_pid)

    def watches(self, settings: Settings) -> Watches | None:
        return self.watched


class ExaminationTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.probes = FakeProbes()
        self.settings = SETTINGS
        self.notes: list[str] = []

    def examine(self, seconds: float = 5.0) -> list[Check]:
        checks: list[Check] = []
        examination = Examination(self.settings, self.probes, checks.extend)
        running = examination.run(seconds, self.notes.append)
        self.successResultOf(Deferred.fromCoroutine(running))
        return checks

    def troubles(self) -> list[tuple[str, str]]:
        return [(c.verdict, c.check) for c in self.examine() if c.verdict != "pass"]

    def test_healthy(self) -> None:
        """Everything is looked at, in order; without a service it is said, and listened to."""
        checks = self.examine(3.0)
        self.assertEqual(
            list(dict.fromkeys(c.check for c in checks)),
            [
                *("service", "interface", "broadcast", "port", "echo", "heard", "call"),
                *("firewall", "folder", "space", "files", "watches", "clock"),
            ],
        )
        self.assertEqual([c.check for c in checks if c.verdict != "pass"], ["service"])
        self.assertIn(("arrivals", 3.0), self.probes.asked)
        self.assertEqual(len(self.notes), 1)

    def test_only_proven_native_peers_are_called(self) -> None:
        """At the ports that they told; never a classic one, and not a whole town."""
        stranger = replace(NATIVE, address="198.18.0.9", proven=False)
        shut = replace(NATIVE, address="198.18.0.8", tcp_port=0)
        self.probes.heard = Arrivals((NATIVE, CLASSIC, stranger, shut), 5.0)
        self.examine()
        self.assertIn(("calls", (NATIVE.address, 5_000)), self.probes.asked)
        town = tuple(replace(NATIVE, address=f"198.18.0.{n}") for n in range(2, 102))
        self.probes.heard = Arrivals(town, 5.0)
        self.examine()
        calls = [asked for asked in self.probes.asked if asked[0] == "calls"]
        self.assertEqual(len(calls[-1]) - 1, MOST_CALLS)

    def test_a_service(self) -> None:
        """Its settings hold; nobody is told to wait; its ports are its own."""
        holding = replace(SETTINGS, tcp_port=6_000, classic=False)
        self.probes.found = (RUNNING, holding)
        self.probes.holders = {("udp", 6_000): (Holder(7, "twistd", peershare=True),)}
        self.assertEqual(self.troubles(), [])
        self.assertEqual(self.notes, [])
        ports = [asked for asked in self.probes.asked if asked[0] in ("udp", "tcp")]
        self.assertEqual(ports, [("udp", 6_000, ""), ("tcp", 6_000, "198.18.0.1")])

    def test_a_service_that_cannot_be_asked(self) -> None:
        """Its ports are known as its own, and it is listened without it."""
        self.probes.found = (Service(ServiceState.HIDDEN, 7), SETTINGS)
        self.probes.holders = {("udp", 5_000): (Holder(7, "twistd", peershare=True),)}
        self.assertEqual(self.troubles(), [("warn", "service")])
        self.assertEqual(len(self.notes), 1)

    def test_a_service_that_had_to_take_another_port(self) -> None:
        """Who has the one that it wanted is found."""
        problem = "TCP port 5000 of 198.18.0.1 is taken by another program"
        service = replace(RUNNING, tcp_port=40_001, problems=(problem,))
        self.probes.found = (service, replace(SETTINGS, tcp_port=40_001, beacon_udp_port=5_000))
        self.probes.holders = {("tcp", 5_000): (Holder(12, "nc"),)}
        failed = [c for c in self.examine() if c.verdict == "fail"]
        self.assertEqual([c.check for c in failed], ["service", "port"])
        self.assertIn("nc (pid 12)", failed[1].text)

    def test_a_second_service(self) -> None:
        """Its own UDP port is named, and who has the usual one."""
        service = replace(RUNNING, udp_ports=(("198.18.0.1", 40_001),))
        self.probes.found = (service, SETTINGS)
        ours, other = Holder(7, "twistd", peershare=True), Holder(8, "twistd", peershare=True)
        self.probes.holders = {("udp", 5_000): (ours, other)}
        texts = [c.text for c in self.examine() if c.subject == "UDP 198.18.0.1:40001"]
        self.assertEqual(len(texts), 1)
        self.assertIn("twistd (pid 8) has the usual one, 5000", texts[0])

    def test_no_network(self) -> None:
        """Nothing is sent and nobody is waited for."""
        self.probes.has = ()
        self.assertIn(("fail", "interface"), self.troubles())
        asked = {words[0] for words in self.probes.asked}
        self.assertEqual(asked, {"udp"})

    def test_only_where_the_user_says(self) -> None:
        """Of two networks the one that was named."""
        self.probes.has += (interface("10.0.0.1/24", "eth1", "10.0.0.255"),)
        self.settings = replace(SETTINGS, addresses=(IPv4Address("10.0.0.1"),))
        self.probes.found = (Service(ServiceState.NONE), self.settings)
        self.examine()
        self.assertIn(("echoes", "10.0.0.1"), self.probes.asked)

    def test_a_firewall_in_the_way(self) -> None:
        """The broadcast is lost: both checks fail, and both have the line of that firewall."""
        self.probes.walls = (Firewall("ufw", Opened()),)
        self.probes.comes_back = False
        failed = [c for c in self.examine() if c.verdict == "fail"]
        self.assertEqual([c.check for c in failed], ["echo", "firewall"])
        for check in failed:
            self.assertIn("sudo ufw allow proto udp from 198.18.0.0/24 to any port", check.advice)

    def test_a_firewall_that_is_no_hindrance(self) -> None:
        """What has come in by a port shows that it is open: beacons, announcements, a caller."""
        self.probes.walls = (Firewall("ufw"),)
        called = replace(NATIVE, has_called=True)
        self.probes.heard = Arrivals((called, CLASSIC), 5.0)
        self.assertEqual(self.troubles(), [("warn", "service")])
        self.probes.heard = Arrivals((NATIVE,), 5.0)
        (check,) = [c for c in self.examine() if c.check == "firewall"]
        self.assertEqual(check.verdict, "warn")
        self.assertIn("proto tcp", check.advice)

    def test_a_wrong_broadcast_address(self) -> None:
        """It is said of the address, and no firewall is blamed for what is lost there."""
        self.probes.has = (interface(broadcast="198.18.0.127"),)
        self.probes.comes_back = False
        failed = [c for c in self.examine() if c.verdict == "fail"]
        self.assertEqual([c.check for c in failed], ["broadcast", "echo"])

    def test_no_inotify(self) -> None:
        """Where there is no such thing nothing is said of it."""
        self.probes.watched = None
        self.assertNotIn("watches", {c.check for c in self.examine()})


class FakeConsole:
    """Keeps what was printed."""

    def __init__(self, *, screen: bool, color: bool = False) -> None:
        self.screen, self.color, self.closed = screen or None, color, False
        self.printed: list[str] = []
        self.noted: list[tuple[str, Style]] = []

    def data(self, text: str) -> None:
        self.printed.append(text)

    def note(self, text: str, style: Style = Style.PLAIN) -> None:
        self.noted.append((text, style))


class DoctorTests(SynchronousTestCase):
    def run_on(self, console: FakeConsole, *, json: bool = False, bad: bool = False) -> Doctor:
        probes = FakeProbes()
        if bad:
            probes.end = Dialled.REFUSED
        told: Any = console
        doctor = Doctor(told, SETTINGS, json=json)
        self.successResultOf(Deferred.fromCoroutine(doctor.run(probes, 0.0)))
        return doctor

    def test_statuses(self) -> None:
        """1 on a fail, 0 otherwise; 1 too if nobody could be told."""
        console = FakeConsole(screen=False)
        self.assertIs(self.run_on(console).status, ExitStatus.DONE)
        self.assertIs(self.run_on(console, bad=True).status, ExitStatus.FAILED)
        console.closed = True
        self.assertIs(self.run_on(console).status, ExitStatus.FAILED)

    def test_for_a_person(self) -> None:
        """One line a check with a coloured verdict, and a summary."""
        console = FakeConsole(screen=True, color=True)
        doctor = self.run_on(console, bad=True)
        self.assertEqual(len(console.printed), len(doctor.checks))
        self.assertTrue(console.printed[0].startswith("\x1b[33mwarn\x1b[0m  service: none runs"))
        self.assertIn("To do: start one", console.printed[0])
        self.assertEqual(console.noted[-1][1], Style.BAD)
        self.assertIn("1 warning, 1 failed", console.noted[-1][0])
        plain = FakeConsole(screen=True)
        self.run_on(plain)
        self.assertTrue(plain.printed[0].startswith("warn  service: "))

    def test_for_a_pipe(self) -> None:
        """Five cells with tabs between them."""
        console = FakeConsole(screen=False)
        self.run_on(console)
        self.assertEqual({line.count("\t") for line in console.printed}, {4})

    def test_for_a_program(self) -> None:
        """One JSON object and not a word beside it."""
        console = FakeConsole(screen=False)
        self.run_on(console, json=True)
        self.assertEqual((len(console.printed), console.noted), (1, []))
        self.assertTrue(console.printed[0].startswith('{"verdict": "warn", "checks": [{"check"'))
