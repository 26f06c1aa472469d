"""Firewalls: which is there, what its listing lets in, the verdict, and the line that opens it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from ipaddress import IPv4Network
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from peershare.doctor.allowing import allow_line
from peershare.doctor.checks import Check
from peershare.doctor.evidence import Firewall
from peershare.doctor.judging.firewalls import judge_firewalls
from peershare.doctor.probing.firewalls import find_firewalls, read_file, run_command
from peershare.doctor.rulesets import Opened, of_firewalld, of_iptables, of_nft, of_ufw

BEACONS, ANNOUNCED, TCP = ("udp", 5000), ("udp", 5001), ("tcp", 5000)
PORTS = [BEACONS, ANNOUNCED, TCP]
LAN = [IPv4Network("198.18.0.0/24")]

UFW_RULES = """\
*filter
### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in
-A ufw-user-input -p tcp --dport 22 -j ACCEPT
### tuple ### allow udp 5000,5001 0.0.0.0/0 any 198.18.0.0/24 in
### tuple ### deny tcp 5000 0.0.0.0/0 any 0.0.0.0/0 in
### tuple ### allow any 8000:8010 0.0.0.0/0 any 0.0.0.0/0 in
### tuple ### allow tcp 5000 0.0.0.0/0 any 0.0.0.0/0 out
"""
ZONES = """\
block
  target: %%REJECT%%
  interfaces:
  ports:

public (active, default)
  target: default
  icmp-block-inversion: no
  interfaces: eth0 wlan0
  services: ssh
  ports: 5000/udp 6000-6010/tcp
  rich rules:

trusted (active)
  target: ACCEPT
  interfaces: lan0
  ports:
"""
IPTABLES = """\
-P INPUT DROP
-A INPUT -i lo -j ACCEPT
-A INPUT -p udp -m udp --dport 5000 -j ACCEPT
-A INPUT -p tcp -m multiport --dports 80,5000:5005 -j ACCEPT
-A INPUT -p udp -m udp --dport 5001 -j DROP
"""


def nft(policy: str, *expressions: list[dict[str, Any]]) -> str:
    """A listing with one chain at `input`, and one elsewhere."""
    chain = {"family": "inet", "table": "filter"}
    items: list[dict[str, Any]] = [
        {"metainfo": {"version": "1.0.9"}},
        {"table": {"family": "inet", "name": "filter"}},
        {"chain": {**chain, "name": "input", "hook": "input", "policy": policy}},
        {"chain": {**chain, "name": "forward", "hook": "forward", "policy": "drop"}},
    ]
    items += [{"rule": {**chain, "chain": "input", "expr": list(e)}} for e in expressions]
    return json.dumps({"nftables": items})


def dport(protocol: str, right: object) -> dict[str, Any]:
    """A match of a destination port."""
    left = {"payload": {"protocol": protocol, "field": "dport"}}
    return {"match": {"op": "==", "left": left, "right": right}}


def open_ones(opened: Opened | None) -> list[tuple[str, int]]:
    """Which of our ports are let in."""
    return [port for port in PORTS if opened is not None and opened.allows(*port)]


class RulesetTests(SynchronousTestCase):
    def test_ufw(self) -> None:
        """What is allowed in counts; what is denied, or allowed out, does not."""
        opened = of_ufw(UFW_RULES, 'DEFAULT_INPUT_POLICY="DROP"\n')
        self.assertEqual(open_ones(opened), [BEACONS, ANNOUNCED])
        assert opened is not None
        self.assertTrue(opened.allows("udp", 8_005))
        self.assertFalse(opened.allows("udp", 22))
        self.assertIsNone(of_ufw(None, 'DEFAULT_INPUT_POLICY="DROP"'))
        self.assertEqual(of_ufw(None, 'IPV6=yes\nDEFAULT_INPUT_POLICY="ACCEPT"'), Opened(True))

    def test_firewalld(self) -> None:
        """The zone of our interface, else the default one."""
        zone, opened = of_firewalld(ZONES, ["wlan0"])
        self.assertEqual((zone, open_ones(opened)), ("public", [BEACONS]))
        self.assertTrue(opened.allows("tcp", 6_003))
        self.assertEqual(of_firewalld(ZONES, ["lan0"]), ("trusted", Opened(True)))
        self.assertEqual(of_firewalld(ZONES, ["eth7"])[0], "public")
        self.assertEqual(of_firewalld("", ["eth7"]), ("", Opened()))

    def test_iptables(self) -> None:
        """A policy, and rules with one port or several."""
        self.assertEqual(open_ones(of_iptables(IPTABLES)), [BEACONS, TCP])
        self.assertTrue(of_iptables("-P INPUT ACCEPT\n-A INPUT -j ACCEPT\n").everything)
        self.assertFalse(of_iptables("-P INPUT ACCEPT\n-A INPUT -j DROP\n").everything)

    def test_nft(self) -> None:
        """A chain that drops, and what is accepted before; sets, ranges and both protocols."""
        accept: dict[str, Any] = {"accept": None}
        found = of_nft(nft("drop", [dport("udp", 5_000), accept], [dport("tcp", 22), accept]))
        assert found is not None
        self.assertEqual((found[0], open_ones(found[1])), ("inet filter input", [BEACONS]))
        several = {"set": [22, {"range": [4_990, 5_000]}]}
        found = of_nft(nft("drop", [dport("tcp", several), accept]))
        self.assertEqual(open_ones(found and found[1]), [TCP])
        found = of_nft(nft("drop", [dport("th", 5_000), accept], [dport("udp", "@set"), accept]))
        self.assertEqual(open_ones(found and found[1]), [BEACONS, TCP])
        found = of_nft(nft("drop", [dport("udp", 5_000), {"drop": None}]))
        self.assertEqual(open_ones(found and found[1]), [])

    def test_nft_that_keeps_nothing_out(self) -> None:
        """No chain at `input` that drops, rejects or jumps."""
        self.assertIsNone(of_nft(nft("accept", [{"counter": {}}, {"accept": None}])))
        self.assertIsNone(of_nft('{"nftables": []}'))
        self.assertIsNotNone(of_nft(nft("accept", [{"reject": {}}])))
        self.assertIsNotNone(of_nft(nft("accept", [{"jump": {"target": "others"}}])))

    def test_no_listing(self) -> None:
        """Whatever it is, it is a ValueError."""
        for text in (
            "",
            "[]",
            "{}",
            '{"nftables": 1}',
            '{"nftables": [{"chain": {"hook": "input"}}]}',
        ):
            self.assertRaises(ValueError, of_nft, text)


def find(
    outputs: dict[str, str] | None = None,
    files: dict[str, str] | None = None,
    platform: str = "linux",
) -> list[Firewall]:
    """What is found where these commands have these outputs, and these files these texts."""

    def run(command: Sequence[str]) -> str | None:
        return (outputs or {}).get(" ".join((command[0].rpartition("/")[2], *command[1:])))

    return list(find_firewalls(run, (files or {}).get, ["eth0"], platform))


class FindTests(SynchronousTestCase):
    def test_ufw(self) -> None:
        """It is known without root; its rules only with it."""
        files = {"/etc/ufw/ufw.conf": "ENABLED=yes\n", "/etc/default/ufw": ""}
        self.assertEqual(find(files=files), [Firewall("ufw")])
        files["/etc/ufw/user.rules"] = UFW_RULES
        (found,) = find(files=files)
        self.assertEqual(open_ones(found.opened), [BEACONS, ANNOUNCED])
        self.assertEqual(find(files={"/etc/ufw/ufw.conf": "ENABLED=no\n"}), [])

    def test_firewalld(self) -> None:
        """With the zone, where the user may ask for it."""
        running = {"firewall-cmd --state": "running\n"}
        self.assertEqual(find(running), [Firewall("firewalld")])
        (found,) = find({**running, "firewall-cmd --list-all-zones": ZONES})
        self.assertEqual((found.kind, found.place), ("firewalld", "public"))
        self.assertEqual(find({"firewall-cmd --state": "not running\n"}), [])

    def test_nft_and_iptables(self) -> None:
        """What keeps nothing out is no firewall; a listing that is none is one that is unread."""
        self.assertEqual(find({"nft -j list ruleset": '{"nftables": []}'}), [])
        self.assertEqual(find({"nft -j list ruleset": "?"}), [Firewall("nft")])
        (found,) = find({"nft -j list ruleset": nft("drop")})
        self.assertEqual((found.kind, found.place), ("nft", "inet filter input"))
        (found,) = find({"iptables -S INPUT": IPTABLES})
        self.assertEqual(open_ones(found.opened), [BEACONS, TCP])
        self.assertEqual(find({"iptables -S INPUT": "-P INPUT ACCEPT\n"}), [])

    def test_the_kernel_alone(self) -> None:
        """Without root: a packet filter that is loaded and used."""
        used = {"/proc/modules": "nf_tables 311296 7 nft_ct, Live 0x0\n"}
        self.assertEqual(find(files=used), [Firewall("kernel")])
        self.assertEqual(find(files={"/proc/modules": "nf_tables 311296 0 - Live 0x0\n"}), [])
        self.assertEqual(find(files={"/proc/modules": "ext4 1 1 - Live 0x0\n"}), [])

    def test_other_systems(self) -> None:
        """macOS and Windows have one each."""
        enabled = {"socketfilterfw --getglobalstate": "Firewall is enabled. (State = 1)"}
        self.assertEqual(find(enabled, platform="darwin"), [Firewall("macos")])
        self.assertEqual(find(platform="darwin"), [])
        windows = {"netsh advfirewall show currentprofile state": "State      ON\n"}
        self.assertEqual(find(windows, platform="win32"), [Firewall("windows")])
        windows["netsh advfirewall firewall show rule name=peershare"] = "Rule Name: peershare"
        opened = Firewall("windows", Opened(True))
        self.assertEqual(find(windows, platform="win32"), [opened])
        self.assertEqual(find(platform="win32"), [])

    def test_real_commands_and_files(self) -> None:
        """The output of a command that ends well; None for everything else."""
        self.assertEqual(run_command(("echo", "bee")), "bee\n")
        self.assertIsNone(run_command(("false",)))
        self.assertIsNone(run_command(("no-such-program-at-all",)))
        self.assertIsNone(read_file("/no/such/file"))


class VerdictTests(SynchronousTestCase):
    def judged(
        self,
        *firewalls: Firewall,
        arrived: Sequence[tuple[str, int]] = (),
        lost: Sequence[tuple[str, int]] = (),
        networks: Sequence[IPv4Network] = LAN,
    ) -> Check:
        (check,) = judge_firewalls(firewalls, PORTS, networks, arrived=arrived, lost=lost)
        return check

    def test_none(self) -> None:
        """None was found; if datagrams are lost all the same, that is said."""
        self.assertEqual(self.judged().verdict, "pass")
        check = self.judged(lost=[BEACONS])
        self.assertEqual(check.verdict, "warn")
        self.assertIn("UDP 5000", check.text)

    def test_loopback(self) -> None:
        """Between programs of one machine none matters."""
        check = self.judged(Firewall("ufw"), networks=[IPv4Network("127.0.0.0/8")])
        self.assertEqual(check.verdict, "pass")

    def test_open(self) -> None:
        """Rules that let everything, or all that is ours, in."""
        self.assertEqual(self.judged(Firewall("nft", Opened(True))).verdict, "pass")
        ours = Opened(ranges=(("udp", 5_000, 5_001), ("tcp", 5_000, 5_000)))
        self.assertEqual(self.judged(Firewall("iptables", ours)).verdict, "pass")

    def test_closed(self) -> None:
        """What has no rule is named in the line, and nothing else is."""
        check = self.judged(Firewall("ufw", Opened(ranges=(("udp", 5_000, 5_001),))))
        self.assertEqual(check.verdict, "warn")
        line = "sudo ufw allow proto tcp from 198.18.0.0/24 to any port 5000"
        self.assertEqual(check.advice, line)

    def test_what_arrives_needs_no_rule(self) -> None:
        """Facts count for more than rules that were not found."""
        closed = Firewall("ufw", Opened())
        self.assertEqual(self.judged(closed, arrived=PORTS).verdict, "pass")
        check = self.judged(closed, arrived=[BEACONS, ANNOUNCED])
        self.assertEqual(check.verdict, "warn")
        self.assertNotIn("udp", check.advice)

    def test_lost(self) -> None:
        """A broadcast that did not come back: it fails, whatever the rules say."""
        check = self.judged(Firewall("firewalld", Opened(True), "public"), lost=[BEACONS])
        self.assertEqual(check.verdict, "fail")
        self.assertIn("--zone=public --add-port=5000/udp", check.advice)

    def test_unread(self) -> None:
        """Without root: how to read the rules, and the line to be safe."""
        check = self.judged(Firewall("ufw"))
        self.assertEqual(check.verdict, "warn")
        self.assertIn("sudo ufw status", check.text)
        self.assertEqual(self.judged(Firewall("kernel")).verdict, "warn")
        self.assertEqual(self.judged(Firewall("kernel"), arrived=[BEACONS]).verdict, "pass")


class LineTests(SynchronousTestCase):
    def line(self, kind: str, place: str = "") -> str:
        return allow_line(Firewall(kind, place=place), PORTS, LAN)

    def test_each_kind(self) -> None:
        """The exact lines."""
        self.assertEqual(
            self.line("ufw"),
            "sudo ufw allow proto udp from 198.18.0.0/24 to any port 5000,5001"
            " && sudo ufw allow proto tcp from 198.18.0.0/24 to any port 5000",
        )
        self.assertEqual(
            self.line("firewalld", "home"),
            "sudo firewall-cmd --permanent --zone=home --add-port=5000/udp --add-port=5001/udp"
            " --add-port=5000/tcp && sudo firewall-cmd --reload",
        )
        self.assertEqual(
            self.line("nft", "inet filter input"),
            "sudo nft insert rule inet filter input ip saddr 198.18.0.0/24 udp dport"
            " '{ 5000, 5001 }' accept && sudo nft insert rule inet filter input ip saddr"
            " 198.18.0.0/24 tcp dport '{ 5000 }' accept",
        )
        self.assertEqual(
            self.line("iptables"),
            "sudo iptables -I INPUT -s 198.18.0.0/24 -p udp -m multiport --dports 5000,5001"
            " -j ACCEPT && sudo iptables -I INPUT -s 198.18.0.0/24 -p tcp -m multiport"
            " --dports 5000 -j ACCEPT",
        )
        self.assertIn("dir=in action=allow protocol=UDP localport=5000,5001", self.line("windows"))
        self.assertIn(" & netsh", self.line("windows"))
        self.assertIn("socketfilterfw --unblockapp", self.line("macos"))
