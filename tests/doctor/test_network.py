"""Verdicts on interfaces, broadcast addresses, ports and echoes."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

from twisted.trial.unittest import SynchronousTestCase

from peershare.doctor.checks import Check
from peershare.doctor.evidence import Echo, Holder, PortUse
from peershare.doctor.judging.echoes import judge_echo
from peershare.doctor.judging.interfaces import judge_broadcasts, judge_interfaces, reachable
from peershare.doctor.judging.ports import judge_other_port, judge_port
from tests.fakes import interface, link

LAN = interface()
NAMED = IPv4Address("198.18.0.1")


class InterfaceTests(SynchronousTestCase):
    def test_in_use(self) -> None:
        """It is up and on a network."""
        (check,) = judge_interfaces([LAN], [link()], [])
        self.assertEqual(check.verdict, "pass")
        self.assertIn("eth0 198.18.0.1", check.subject)

    def test_none(self) -> None:
        """Nothing that is up is fit for it."""
        (check,) = judge_interfaces([replace(LAN, up=False)], [], [])
        self.assertEqual(check.verdict, "fail")

    def test_named_and_gone(self) -> None:
        """An address that was named and belongs to nobody is told, and nothing else is."""
        (check,) = judge_interfaces([interface("127.0.0.1/8")], [], [IPv4Address("10.0.0.9")])
        self.assertEqual((check.verdict, check.subject), ("fail", "10.0.0.9"))

    def test_what_is_not_used(self) -> None:
        """A VPN, a public address, or another one than was named: told, and no fault."""
        vpn = interface("10.8.0.2/24", "wg0", None)
        public = interface("8.8.8.8/24", "eth1", None)
        checks = judge_interfaces([LAN, vpn, public], [link()], [])
        self.assertEqual([check.verdict for check in checks], ["pass"] * 3)
        self.assertIn("a VPN", checks[1].text)
        self.assertIn("public (--address 8.8.8.8 adds it)", checks[2].text)
        checks = judge_interfaces([LAN, vpn], [link()], [NAMED])
        self.assertIn("others were named", checks[1].text)
        second = interface("10.0.0.1/24", "eth1", "10.0.0.255")
        checks = judge_interfaces([LAN, second], [link()], [])
        self.assertIn("others were named", checks[1].text, "as the service was told")

    def test_doubtful_networks(self) -> None:
        """No room for others, an address of its own making, nothing but containers."""
        for one, part in (
            (link("198.18.0.1/32", "255.255.255.255"), "no room"),
            (link("169.254.7.7/16"), "gave itself"),
            (replace(link("172.17.0.1/16"), interface="docker0"), "containers"),
        ):
            (check,) = judge_interfaces([], [one], [])
            self.assertEqual(check.verdict, "warn", check)
            self.assertIn(part, check.text)
        docker = replace(link("172.17.0.1/16"), interface="docker0")
        checks = judge_interfaces([], [link(), docker], [])
        self.assertEqual([check.verdict for check in checks], ["pass", "pass"])

    def test_loopback(self) -> None:
        """It is fine, and it is said who else is there."""
        (check,) = judge_interfaces([], [link("127.0.0.2/8")], [])
        self.assertEqual(check.verdict, "pass")
        self.assertIn("only this machine", check.text)


class BroadcastTests(SynchronousTestCase):
    def judged(self, *broadcasts: str, named: bool = False) -> Check:
        (check,) = judge_broadcasts(
            [link("198.18.0.1/24", *broadcasts)], list(map(IPv4Address, broadcasts)) * named
        )
        return check

    def test_good_ones(self) -> None:
        """That of the network, and that of the wire."""
        self.assertEqual(self.judged("198.18.0.255").verdict, "pass")
        self.assertEqual(self.judged("255.255.255.255").verdict, "pass")

    def test_wrong_for_the_network(self) -> None:
        """What the interface or the option should be is said."""
        check = self.judged("198.18.0.127")
        self.assertEqual(check.verdict, "fail")
        self.assertIn("add 198.18.0.1/24 broadcast 198.18.0.255 dev eth0", check.advice)
        check = self.judged("198.18.0.127", named=True)
        self.assertEqual(check.advice, "use --broadcast 198.18.0.255")

    def test_of_no_network(self) -> None:
        """It is told, and no probe goes there."""
        check = self.judged("10.0.0.255", named=True)
        self.assertEqual(check.verdict, "fail")
        self.assertIn("nothing is sent there", check.text)
        one = link("198.18.0.1/24", "10.0.0.255", "198.18.0.255", "255.255.255.255")
        self.assertEqual([str(a) for a in reachable(one)], ["198.18.0.255", "255.255.255.255"])

    def test_none_for_this_link(self) -> None:
        """All that were named belong to another network."""
        (check,) = judge_broadcasts([replace(link(), broadcasts=())], [])
        self.assertEqual(check.verdict, "warn")
        self.assertEqual(check.advice, "add --broadcast 198.18.0.255")


FREE = PortUse("udp", 5001, "", free=True, shareable=True)
NC, OURS = Holder(12, "nc"), Holder(7, "twistd", peershare=True)
OTHER = Holder(8, "twistd", peershare=True)


class PortTests(SynchronousTestCase):
    def judged(self, *holders: Holder, shareable: bool = True, **more: object) -> Check:
        use = replace(FREE, free=False, shareable=shareable, holders=holders, **more)
        return judge_port(use, "announcements", 7)

    def test_free(self) -> None:
        """Nobody has it."""
        self.assertEqual(judge_port(FREE, "announcements", 0).verdict, "pass")

    def test_ours(self) -> None:
        """Our service has it, alone."""
        check = self.judged(OURS)
        self.assertEqual(check.verdict, "pass")
        self.assertIn("pid 7", check.text)

    def test_ours_and_another(self) -> None:
        """Beside ours there is a second peershare, or some program."""
        check = self.judged(OURS, OTHER)
        self.assertEqual(check.verdict, "warn")
        self.assertIn("a second peershare beside it: twistd (pid 8)", check.text)
        check = self.judged(OURS, NC)
        self.assertEqual(check.verdict, "warn")
        self.assertIn("nc (pid 12)", check.text)

    def test_another_port_for_us_alone(self) -> None:
        """It is named, and who has the usual one."""
        use = PortUse("udp", 5000, "198.18.0.1", free=False, shareable=False, holders=(OURS, OTHER))
        check = judge_other_port(use, 40_001, 7)
        self.assertEqual((check.verdict, check.subject), ("warn", "UDP 198.18.0.1:40001"))
        self.assertIn("twistd (pid 8) has the usual one, 5000", check.text)
        self.assertNotIn("pid 7", check.text)
        self.assertIn("open UDP 40001", check.advice)
        free = replace(use, free=True, holders=())
        self.assertIn("it was taken", judge_other_port(free, 40_001, 7).text)

    def test_shared(self) -> None:
        """Somebody has it and shares it."""
        check = self.judged(NC)
        self.assertEqual(check.verdict, "warn")
        self.assertIn("ss -ulpn 'sport = :5001'", check.advice)

    def test_taken(self) -> None:
        """Somebody has it for himself."""
        check = self.judged(NC, shareable=False, problem="Address already in use")
        self.assertEqual(check.verdict, "fail")
        self.assertIn("taken by nc (pid 12)", check.text)
        self.assertIn("--classic-udp-port", check.advice)

    def test_taken_by_whom_nobody_sees(self) -> None:
        """A process of another user."""
        check = self.judged(Holder(0), shareable=False, problem="Address already in use")
        self.assertEqual(check.verdict, "fail")
        self.assertIn("only root can see", check.text)

    def test_second_service(self) -> None:
        """On UDP two can live beside each other; over TCP classic peers find one of them."""
        self.assertEqual(self.judged(OTHER).verdict, "warn")
        use = PortUse("tcp", 5000, "198.18.0.1", free=False, shareable=False, holders=(OTHER,))
        check = judge_port(use, "tcp", 0)
        self.assertEqual((check.verdict, check.subject), ("fail", "TCP 198.18.0.1:5000"))
        self.assertIn("second peershare: twistd (pid 8)", check.text)

    def test_forbidden(self) -> None:
        """What the system refuses for another reason than a holder."""
        use = PortUse("tcp", 80, "", free=False, shareable=False, problem="Permission denied")
        check = judge_port(use, "tcp", 0)
        self.assertEqual(check.verdict, "fail")
        self.assertIn("Permission denied", check.text)
        self.assertIn("--port", check.advice)


class EchoTests(SynchronousTestCase):
    echo = Echo("198.18.0.1", "198.18.0.255", 5000, broadcast=True, came_back=False)

    def judged(self, *, good_address: bool = True, **more: object) -> Check:
        return judge_echo(replace(self.echo, **more), "OPEN IT", good_address=good_address)

    def test_it_came_back(self) -> None:
        """Whatever way it went."""
        self.assertEqual(self.judged(came_back=True).verdict, "pass")
        self.assertEqual(self.judged(came_back=True, broadcast=False).verdict, "pass")

    def test_a_lost_broadcast(self) -> None:
        """The firewall of this machine: the line that opens it is the advice."""
        check = self.judged()
        self.assertEqual((check.verdict, check.advice), ("fail", "OPEN IT"))

    def test_a_lost_broadcast_to_a_wrong_address(self) -> None:
        """No firewall is blamed."""
        check = self.judged(good_address=False)
        self.assertEqual(check.verdict, "fail")
        self.assertNotIn("OPEN IT", check.advice)

    def test_a_lost_unicast(self) -> None:
        """It never left the machine."""
        check = self.judged(broadcast=False)
        self.assertEqual(check.verdict, "fail")
        self.assertIn("own addresses", check.advice)

    def test_what_could_not_be_sent(self) -> None:
        """By a rule of this machine, or for want of a way."""
        self.assertIn("outgoing", self.judged(problem="Operation not permitted").advice)
        self.assertIn("no way", self.judged(problem="Network is unreachable").text)
        for problem in ("Operation not permitted", "Network is unreachable"):
            self.assertEqual(self.judged(problem=problem).verdict, "fail")

    def test_what_was_not_tried(self) -> None:
        """The port could not be opened: no more than a warning, the port has a check."""
        check = self.judged(problem="UDP *:5000 cannot be opened: Address already in use")
        self.assertEqual(check.verdict, "warn")
