"""`peershare doctor` on a real network: what it finds, and that nobody is harmed by its looking."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import Any

from tests.lab.network import BROADCAST, what_is_missing
from tests.lab.peers import PeershareHost
from tests.lab.processes import LabProcess, wait_until
from tests.lab.rules import BEACON_PORT, CLASSIC_PORT, Datagram, faults_of
from tests.lab.story import LabTestCase, picture

_HOLD = """
import socket, sys, time
held = []
for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
    one = socket.socket(socket.AF_INET, kind)
    one.bind(("", int(sys.argv[1])))
    if kind == socket.SOCK_STREAM:
        one.listen()
    held.append(one)
print("ready", flush=True)
time.sleep(1000)
"""


class DoctorTestCase(LabTestCase):
    """With a patient on host 1."""

    hosts = 3

    def patient(self, number: int = 1) -> PeershareHost:
        """A machine on which no service runs."""
        return PeershareHost(self.network, number, self.folder / f"host-{number}")

    def examine(self, host: PeershareHost, *options: str) -> tuple[int, list[dict[str, Any]]]:
        """Run the doctor; its exit status and its checks."""
        arguments = ("doctor", "--json", "--share", str(host.share), *options)
        process = host.client(*arguments)
        status = process.wait()
        self.assertEqual(process.errors, "")
        told = json.loads(process.output)
        checks: list[dict[str, Any]] = told["checks"]
        verdicts = {check["verdict"] for check in checks}
        self.assertEqual(status, 1 if "fail" in verdicts else 0, checks)
        worst = next(v for v in ("fail", "warn", "pass") if v in verdicts)
        self.assertEqual(told["verdict"], worst)
        return status, checks

    def found(self, checks: list[dict[str, Any]], check: str, subject: str) -> dict[str, Any]:
        """The one check about this."""
        fitting = [c for c in checks if c["check"] == check and subject in c["subject"]]
        self.assertEqual(len(fitting), 1, checks)
        return fitting[0]

    def troubles(self, checks: list[dict[str, Any]], verdict: str = "fail") -> list[str]:
        """What failed, as check and subject."""
        return [f"{c['check']} {c['subject']}" for c in checks if c["verdict"] == verdict]

    def run_in(self, number: int, *command: str) -> None:
        """Run a command on a host, to its end."""
        whole = ["ip", "netns", "exec", self.network.host(number), *command]
        subprocess.run(whole, check=True, capture_output=True)

    def sent_by(self, host: PeershareHost) -> list[Datagram]:
        """The datagrams of one host that crossed the bridge."""
        return [d for d in self.all_datagrams() if d.source == host.address]

    def proven(self, host: PeershareHost, *others: PeershareHost) -> None:
        """Wait until a service knows others as native peers."""
        wanted = {other.address for other in others}

        def known() -> bool:
            process = host.client("peers", "--json")
            process.wait()
            peers = json.loads(process.output)
            return wanted <= {peer["address"] for peer in peers if peer["native"]}

        wait_until(known, f"{host.address} to know {wanted}")


class HealthyTests(DoctorTestCase):
    def test_with_a_service(self) -> None:
        """Nothing fails; native peers are called, the classic one is left alone and lives."""
        one, two = self.peershare(1, forest_png=picture(7_000)), self.peershare(2)
        classic = self.classic(3, "oak_{}", picture(5_000))
        classic.listen("--buffer", "1024")
        classic.upload()
        self.ready()
        classic.announce()
        self.proven(one, two)
        one.wait_to_know(classic.address, "oak")
        status, checks = self.examine(one)
        self.assertEqual((status, self.troubles(checks)), (0, []), checks)
        self.assertEqual(self.found(checks, "service", "service")["verdict"], "pass")
        self.assertIn("it answers", self.found(checks, "call", two.address)["text"])
        self.assertIn("not called", self.found(checks, "call", classic.address)["text"])
        self.assertIn("it came back", self.found(checks, "echo", BROADCAST)["text"])
        self.assertIn("our service", self.found(checks, "port", "UDP 5001")["text"])
        self.assertEqual(classic.asked(), [])
        self.all_is_well()

    def test_without_a_service(self) -> None:
        """It listens by itself, asks only native peers, and they forget it."""
        patient, two = self.patient(), self.peershare(2, forest_png=picture(7_000))
        classic = self.classic(3, "oak_{}", picture(5_000))
        classic.listen("--buffer", "1024")
        classic.upload()
        self.ready()
        announcer = classic.announce()
        self.peers.append(patient)  # what it sends is judged as a service's is
        status, checks = self.examine(patient, "--seconds", "2")
        self.assertEqual((status, self.troubles(checks)), (0, []), checks)
        self.assertEqual(self.found(checks, "service", "service")["verdict"], "warn")
        self.assertIn("beacons", self.found(checks, "heard", two.address)["text"])
        self.assertIn("it answers", self.found(checks, "call", two.address)["text"])
        sent = self.sent_by(patient)
        self.assertTrue(sent)
        for one in sent:
            self.assertEqual((faults_of(one), one.port), ([], BEACON_PORT), one)
            self.assertIn(one.target, (BROADCAST, two.address))
        self.assertTrue(announcer.alive, announcer.describe())
        process = two.client("peers", "--json")
        process.wait()
        self.assertNotIn(patient.address, process.output)
        self.all_is_well()

    def test_announcements_are_heard(self) -> None:
        """A classic peer that announces while it listens is told of, and is not called."""
        patient = self.patient()
        classic = self.classic(3, "oak_{}", picture(5_000))
        classic.upload()
        process = patient.client("doctor", "--json", "--share", str(patient.share))
        self._wait_for_ear(process)
        classic.announce()
        self.assertEqual(process.wait(), 0, process.describe())
        checks = json.loads(process.output)["checks"]
        self.assertIn("announcements", self.found(checks, "heard", classic.address)["text"])
        self.assertIn("not called", self.found(checks, "call", classic.address)["text"])
        self.assertEqual(classic.asked(), [])
        self.assertEqual({one.port for one in self.sent_by(patient)}, {BEACON_PORT})

    def _wait_for_ear(self, process: LabProcess) -> None:
        """Until somebody listens on the classic port of host 1, for good."""
        command = ["ip", "netns", "exec", self.network.host(1), "ss", "-Hulpn"]

        def listening() -> bool:
            shown = subprocess.run(
                [*command, f"sport = :{CLASSIC_PORT}"], check=True, capture_output=True, text=True
            )
            return f"pid={process.pid}," in shown.stdout

        wait_until(listening, process.describe)


class FirewallTests(DoctorTestCase):
    """With real rules, which only `nft` can make."""

    hosts = 2
    skip = what_is_missing() or (
        None if shutil.which("nft") else "this needs the program nft (package nftables)"
    )

    def rule(self, chain: str, *rules: str) -> None:
        """Begin anew with one chain that drops what these rules do not accept."""
        body = "".join(f"{rule}\n" for rule in rules)
        kind = f"type filter hook {chain} priority 0; policy drop;"
        text = f"flush ruleset\ntable inet filter {{\nchain {chain} {{\n{kind}\n{body}}}\n}}\n"
        command = ["ip", "netns", "exec", self.network.host(1), "nft", "-f", "-"]
        subprocess.run(command, input=text, text=True, check=True, capture_output=True)

    def test_input_is_dropped_and_the_line_opens_it(self) -> None:
        """As most desktops have it: our own broadcast is lost too; the advice is run as it is."""
        patient = self.patient()
        self.rule("input", "iif lo accept", "ct state established,related accept")
        _, checks = self.examine(patient, "--seconds", "0")
        self.assertEqual(
            self.troubles(checks),
            [f"echo datagram {patient.address} to {BROADCAST}:5000", "firewall nftables"],
        )
        line = self.found(checks, "firewall", "nftables")["advice"]
        self.assertEqual(self.found(checks, "echo", BROADCAST)["advice"], line)
        self.run_in(1, "sh", "-c", line.replace("sudo ", ""))
        status, checks = self.examine(patient, "--seconds", "0")
        self.assertEqual((status, self.troubles(checks)), (0, []), checks)
        self.assertEqual(self.found(checks, "firewall", "nftables")["verdict"], "pass")

    def test_a_firewall_that_is_open_for_us_lets_answers_in(self) -> None:
        """Who answers our question is heard, and is called."""
        patient, two = self.patient(), self.peershare(2)
        self.ready()
        self.rule(
            "input", "iif lo accept", "ct state established,related accept", "udp dport 5000 accept"
        )
        status, checks = self.examine(patient, "--seconds", "1")
        self.assertEqual((status, self.troubles(checks)), (0, []), checks)
        self.assertIn("it answers", self.found(checks, "call", two.address)["text"])
        self.assertIn("no rule was found", self.found(checks, "firewall", "nftables")["text"])

    def test_output_is_dropped(self) -> None:
        """What this machine does not let out is told apart from what does not get in."""
        patient = self.patient()
        self.rule("output", "oif lo accept")
        _, checks = self.examine(patient, "--seconds", "0")
        self.assertIn("does not let it out", self.found(checks, "echo", BROADCAST)["text"])

    def test_calls_are_rejected_there(self) -> None:
        """As firewalld does it: no route to host, though it is heard."""
        patient, two = self.patient(), self.peershare(2)
        self.ready()
        text = (
            "table inet filter {\nchain input {\ntype filter hook input priority 0;\n"
            "tcp dport 5000 reject with icmpx type admin-prohibited\n}\n}\n"
        )
        command = ["ip", "netns", "exec", self.network.host(2), "nft", "-f", "-"]
        subprocess.run(command, input=text, text=True, check=True, capture_output=True)
        _, checks = self.examine(patient, "--seconds", "1")
        check = self.found(checks, "call", two.address)
        self.assertEqual(check["verdict"], "fail")
        self.assertIn("a firewall there rejects it", check["text"])


class TroubleTests(DoctorTestCase):
    def test_tcp_is_dropped_there(self) -> None:
        """Beacons go to and fro, and connections time out: the firewall of the other side."""
        patient, two = self.patient(), self.peershare(2)
        self.ready()
        rule = ("ip", "rule", "add", "ipproto", "tcp", "sport", "5000", "blackhole")
        self.run_in(2, *rule)
        status, checks = self.examine(patient, "--seconds", "1")
        self.assertEqual(status, 1)
        self.assertEqual(self.troubles(checks), [f"call {two.address}:5000 over TCP"])
        self.assertIn("drops it", self.found(checks, "call", two.address)["text"])

    def test_tcp_is_refused_there(self) -> None:
        """A service that has just died: known, and not to be called."""
        one, two = self.peershare(1), self.peershare(2)
        self.ready()
        self.proven(one, two)
        two.kill()
        status, checks = self.examine(one)
        self.assertEqual(
            (status, self.troubles(checks)), (1, [f"call {two.address}:5000 over TCP"])
        )
        self.assertIn("refuses", self.found(checks, "call", two.address)["text"])

    def test_a_wrong_broadcast_address(self) -> None:
        """Of the interface, or of the options: both are said, with what is right."""
        patient = self.patient()
        own = f"{patient.address}/24"
        self.run_in(1, "ip", "address", "del", own, "dev", "lan")
        self.run_in(1, "ip", "address", "add", own, "broadcast", "198.18.0.127", "dev", "lan")
        status, checks = self.examine(patient, "--seconds", "0")
        self.assertEqual(status, 1)
        self.assertIn(f"broadcast {BROADCAST}", self.found(checks, "broadcast", ".127")["advice"])
        _, checks = self.examine(patient, "--seconds", "0", "--broadcast", "198.18.0.63")
        advice = self.found(checks, "broadcast", ".63")["advice"]
        self.assertEqual(advice, f"use --broadcast {BROADCAST}")
        _, checks = self.examine(patient, "--seconds", "0", "--broadcast", "10.1.2.255")
        self.assertIn("no network", self.found(checks, "broadcast", "10.1.2.255")["text"])
        self.assertNotIn("10.1.2.255", {one.target for one in self.sent_by(patient)})

    def test_nothing_leaves_by_what_is_excluded(self) -> None:
        """A machine on two networks, of which one is named: nothing is sent to the other."""
        patient = self.patient()
        self.run_in(
            1, "ip", "address", "add", "10.7.0.1/24", "broadcast", "10.7.0.255", "dev", "lan"
        )
        self.examine(patient, "--seconds", "0", "--address", patient.address)
        sent = self.all_datagrams()
        self.assertEqual({one.source for one in sent}, {patient.address})
        self.assertEqual({one.target for one in sent}, {BROADCAST})

    def test_a_taken_port(self) -> None:
        """Somebody has both ports for himself: his name and process id."""
        patient = self.patient()
        command = [sys.executable, "-c", _HOLD, "5000"]
        holder = self.network.start(self.network.host(1), "holder", command, self.folder)
        holder.wait_for_line("ready")
        status, checks = self.examine(patient, "--seconds", "0")
        self.assertEqual(status, 1)
        for subject in ("UDP 5000", f"TCP {patient.address}:5000"):
            check = self.found(checks, "port", subject)
            self.assertEqual(check["verdict"], "fail")
            self.assertIn(f"(pid {holder.pid})", check["text"])
        self.assertEqual(self.found(checks, "port", "UDP 5001")["verdict"], "pass")

    def test_a_service_whose_port_is_taken(self) -> None:
        """Our service had to take another one: who has the right one is told."""
        command = [sys.executable, "-c", _HOLD, "5000"]
        holder = self.network.start(self.network.host(1), "holder", command, self.folder)
        holder.wait_for_line("ready")
        one = self.peershare(1, "--beacon-port", "5010")
        self.ready()
        status, checks = self.examine(one)
        self.assertEqual(status, 1)
        check = self.found(checks, "port", f"TCP {one.address}:5000")
        self.assertIn(f"(pid {holder.pid})", check["text"])
        self.assertTrue(any("is taken" in c["text"] for c in checks if c["check"] == "service"))

    def test_a_second_service(self) -> None:
        """Two on one machine: each is told of the other."""
        one = self.peershare(1)
        self.ready()
        second = PeershareHost(self.network, 1, self.folder / "second")
        second.start()
        second.wait_ready()
        _, checks = self.examine(one)
        self.assertIn("second peershare", self.found(checks, "port", "UDP 5000")["text"])
        self.assertIn(f"(pid {second.running.pid})", self.found(checks, "port", "UDP 5000")["text"])
        third = PeershareHost(self.network, 1, self.folder / "third")
        status, checks = self.examine(third, "--seconds", "0")
        self.assertEqual(status, 1)
        check = self.found(checks, "port", f"TCP {one.address}:5000")
        self.assertIn(f"second peershare: twistd (pid {one.running.pid})", check["text"])

    def test_a_service_that_was_killed(self) -> None:
        """What it left behind is told of, and does not count as a service."""
        one = self.peershare(1)
        self.ready()
        pid = one.running.pid
        one.kill()
        status, checks = self.examine(one, "--seconds", "0")
        self.assertEqual((status, self.troubles(checks)), (0, []), checks)
        check = self.found(checks, "service", "service")
        self.assertEqual(check["verdict"], "warn")
        self.assertIn(f"left behind by pid {pid}", check["text"])

    def test_no_network(self) -> None:
        """The cable is in, and the interface is down."""
        patient = self.patient()
        self.run_in(1, "ip", "link", "set", "lan", "down")
        status, checks = self.examine(patient)
        self.assertEqual((status, self.troubles(checks)), (1, ["interface interfaces"]))
