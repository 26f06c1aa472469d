"""Links: which own addresses are used, and where each one broadcasts to."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from socket import AF_INET
from types import SimpleNamespace

from twisted.trial.unittest import SynchronousTestCase

from peershare import links as module
from peershare.errors import SettingsError
from peershare.links import (
    LIMITED_BROADCAST,
    Interface,
    Link,
    check_addresses,
    find_links,
    read_interfaces,
)
from tests.fakes import interface

LAN = interface("198.18.0.5/24", "eth0", "198.18.0.255")
WIFI = interface("192.168.7.5/24", "wlan0", "192.168.7.255")
LOOPBACK = interface("127.0.0.1/8", "lo", None)


def find(
    *interfaces: Interface, addresses: tuple[str, ...] = (), broadcasts: tuple[str, ...] = ()
) -> tuple[Link, ...]:
    """The links that these interfaces give."""
    return find_links(
        tuple(map(IPv4Address, addresses)), tuple(map(IPv4Address, broadcasts)), lambda: interfaces
    )


class DefaultTests(SynchronousTestCase):
    def used(self, *interfaces: Interface) -> list[str]:
        return [str(link.address) for link in find(*interfaces)]

    def test_every_private_network_that_is_up(self) -> None:
        """But loopback: nobody else is there."""
        self.assertEqual(self.used(LAN, LOOPBACK, WIFI), ["198.18.0.5", "192.168.7.5"])

    def test_what_is_down(self) -> None:
        """It is used again when it is up."""
        self.assertEqual(self.used(replace(LAN, up=False)), [])

    def test_no_vpn(self) -> None:
        """Tunnels and point-to-point interfaces are used only when they are named."""
        for name in ("tun0", "tap3", "wg0", "ppp0", "utun4", "tailscale0"):
            self.assertEqual(self.used(replace(LAN, name=name)), [], name)
        self.assertEqual(self.used(replace(LAN, point_to_point=True)), [])

    def test_no_public_address(self) -> None:
        """What is reachable from everywhere is no local network."""
        self.assertEqual(self.used(interface("8.8.8.8/24", broadcast=None)), [])

    def test_no_broadcast_address_of_its_own(self) -> None:
        """Where none is set the system may tell the address itself: then it is the limited one."""
        self.patch(module.psutil, "net_if_addrs", lambda: {"eth0": [self.told_by_psutil()]})
        self.patch(module.psutil, "net_if_stats", lambda: {"eth0": self.up()})
        (found,) = read_interfaces()
        self.assertIsNone(found.broadcast)
        (link,) = find(found)
        self.assertEqual(link.broadcasts, (LIMITED_BROADCAST,))

    def told_by_psutil(self) -> SimpleNamespace:
        return SimpleNamespace(
            family=AF_INET,
            address="198.18.0.7",
            netmask="255.255.255.0",
            broadcast="198.18.0.7",
        )

    def up(self) -> SimpleNamespace:
        return SimpleNamespace(isup=True, flags="up,broadcast,running,multicast")

    def test_two_addresses_of_one_interface(self) -> None:
        """Each is a link of its own."""
        second = interface("198.18.9.5/24", "eth0", "198.18.9.255")
        self.assertEqual(self.used(LAN, second), ["198.18.0.5", "198.18.9.5"])


class NamedTests(SynchronousTestCase):
    def test_exactly_those(self) -> None:
        """Named addresses and no others, a VPN's too."""
        vpn = interface("10.8.0.2/24", "tun0", None)
        links = find(LAN, WIFI, vpn, addresses=("10.8.0.2", "198.18.0.5"))
        self.assertEqual([str(link.address) for link in links], ["10.8.0.2", "198.18.0.5"])
        self.assertEqual(links[1].network, IPv4Network("198.18.0.0/24"))
        self.assertEqual(links[1].interface, "eth0")

    def test_any_loopback_address(self) -> None:
        """Several peers on one machine have 127.0.0.2, 127.0.0.3 …, on the whole of 127/8."""
        (link,) = find(LAN, LOOPBACK, addresses=("127.0.0.3",))
        self.assertEqual(link.address, IPv4Address("127.0.0.3"))
        self.assertEqual(link.network, IPv4Network("127.0.0.0/8"))

    def test_the_same_twice(self) -> None:
        """It is one link."""
        self.assertEqual(len(find(LAN, addresses=("198.18.0.5", "198.18.0.5"))), 1)

    def test_an_address_that_is_not_there(self) -> None:
        """It gives no link now, and is an error that names it at the start."""
        addresses = (IPv4Address("198.18.0.5"), IPv4Address("198.18.0.6"))
        links = find(LAN, addresses=tuple(map(str, addresses)))
        self.assertEqual(len(links), 1)
        check_addresses(addresses[:1], links)
        with self.assertRaises(SettingsError) as caught:
            check_addresses(addresses, links)
        self.assertIn("198.18.0.6", str(caught.exception))


class BroadcastTests(SynchronousTestCase):
    def broadcasts(self, *links: Link) -> list[list[str]]:
        return [list(map(str, link.broadcasts)) for link in links]

    def test_each_interface_its_own(self) -> None:
        """As the system tells it; the limited one where it tells none."""
        bare = interface("198.18.9.5/24", "eth1", None)
        self.assertEqual(self.broadcasts(*find(LAN, bare)), [["198.18.0.255"], ["255.255.255.255"]])

    def test_loopback_has_no_limited_broadcast(self) -> None:
        """It would leave by the default route: the network's own is used."""
        links = find(LOOPBACK, addresses=("127.0.0.2",))
        self.assertEqual(self.broadcasts(*links), [["127.255.255.255"]])

    def test_named_ones_go_where_they_belong(self) -> None:
        """To the link whose network they are of; to all where they belong to none."""
        links = find(LAN, WIFI, broadcasts=("198.18.0.255", "192.168.7.255"))
        self.assertEqual(self.broadcasts(*links), [["198.18.0.255"], ["192.168.7.255"]])
        links = find(LAN, WIFI, broadcasts=("255.255.255.255",))
        self.assertEqual(self.broadcasts(*links), [["255.255.255.255"]] * 2)
        links = find(LAN, WIFI, broadcasts=("198.18.0.255",))
        self.assertEqual(self.broadcasts(*links), [["198.18.0.255"], []])


class RealTests(SynchronousTestCase):
    def test_this_machine(self) -> None:
        """The system can be asked: it has a loopback interface that is up."""
        loopback = [i for i in read_interfaces() if i.loopback]
        self.assertTrue(any(str(i.address.ip) == "127.0.0.1" and i.up for i in loopback))
