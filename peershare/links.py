"""Links: the own addresses that a peer uses, each with its network and where it broadcasts to.

Pure but for `read_interfaces`, which asks the operating system.  Not for: sockets.
A source is served only if it lies on the network of one of the links (hostile world, 5).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from socket import AF_INET

import psutil

from peershare.errors import SettingsError

LIMITED_BROADCAST = IPv4Address("255.255.255.255")
LOOPBACK = IPv4Network("127.0.0.0/8")
_VPN_PREFIXES = ("tun", "tap", "wg", "ppp", "utun", "tailscale", "zt", "ipsec", "nordlynx")


@dataclass(frozen=True)
class Interface:
    """One IPv4 address of one interface, as the operating system tells it."""

    name: str
    address: IPv4Interface
    broadcast: IPv4Address | None
    up: bool
    loopback: bool
    point_to_point: bool

    @property
    def by_default(self) -> bool:
        """Whether it is used without being named: a private network that is no VPN."""
        vpn = self.point_to_point or self.name.startswith(_VPN_PREFIXES)
        return self.up and not self.loopback and not vpn and self.address.ip.is_private


@dataclass(frozen=True)
class Link:
    """An own address in use, its network, and the addresses it announces to."""

    address: IPv4Address
    network: IPv4Network
    broadcasts: tuple[IPv4Address, ...]
    interface: str
    broadcast: IPv4Address | None = None  # the one that its interface has, if that has one

    @property
    def heard(self) -> tuple[IPv4Address, ...]:
        """The addresses to which others may send what is meant for everybody here.

        Of those that were named only the ones that are such: any other belongs to one machine.
        """
        network, loopback = self.network, self.address.is_loopback
        known = [self.broadcast, network.broadcast_address if network.prefixlen < 31 else None]
        # a limited broadcast never arrives on the loopback interface
        known.append(LOOPBACK.broadcast_address if loopback else LIMITED_BROADCAST)
        # there every address is our own, and nobody else tells
        known += [b for b in self.broadcasts if loopback and b.is_loopback and b.packed[-1] == 255]
        return tuple(dict.fromkeys(address for address in known if address is not None))

    def has_host(self, address: IPv4Address) -> bool:
        """Whether this is the address of one machine of the network, and not of all."""
        network = self.network
        if address not in network or address in self.heard:
            return False
        return network.prefixlen >= 31 or address != network.network_address


def read_interfaces() -> tuple[Interface, ...]:
    """Ask the operating system for every IPv4 address it has."""
    stats = psutil.net_if_stats()
    found = []
    for name, addresses in psutil.net_if_addrs().items():
        stat = stats.get(name)
        flags = stat.flags.split(",") if stat else []
        for entry in addresses:
            if entry.family != AF_INET:
                continue
            address = IPv4Interface(f"{entry.address}/{entry.netmask or '255.255.255.255'}")
            broadcast = IPv4Address(entry.broadcast) if entry.broadcast else None
            found.append(
                Interface(
                    name=name,
                    address=address,
                    # where none is set, the system may tell the address itself instead
                    broadcast=None if broadcast == address.ip else broadcast,
                    up=bool(stat and stat.isup),
                    loopback="loopback" in flags or address.ip.is_loopback,
                    point_to_point="pointopoint" in flags,
                )
            )
    return tuple(found)


def find_links(
    addresses: Sequence[IPv4Address],
    broadcasts: Sequence[IPv4Address],
    read: Callable[[], Iterable[Interface]] = read_interfaces,
) -> tuple[Link, ...]:
    """The links for the addresses named, or for every interface that is fit by default.

    An address that no interface has right now gives no link.  A broadcast address that was
    named is used by the links whose network it belongs to, by all where it belongs to none.
    """
    interfaces = tuple(read())
    if addresses:
        chosen = [(a, i) for a in addresses if (i := _interface_of(a, interfaces)) is not None]
    else:
        chosen = [(i.address.ip, i) for i in interfaces if i.by_default]
    networks = [interface.address.network for _, interface in chosen]
    return tuple(
        Link(
            address=address,
            network=interface.address.network,
            broadcasts=_broadcasts(interface, broadcasts, networks),
            interface=interface.name,
            broadcast=interface.broadcast,
        )
        for address, interface in dict(chosen).items()
    )


def check_addresses(addresses: Sequence[IPv4Address], links: Sequence[Link]) -> None:
    """Raise `SettingsError` if an address that was named belongs to no interface."""
    have = {link.address for link in links}
    for address in addresses:
        if address not in have:
            raise SettingsError(f"--address: no interface of this machine has {address}")


def _interface_of(address: IPv4Address, interfaces: Iterable[Interface]) -> Interface | None:
    """The interface that has the address; any 127.x.y.z is the loopback interface's."""
    for interface in interfaces:
        if interface.up and interface.address.ip == address:
            return interface
    for interface in interfaces:
        if interface.up and interface.loopback and address in interface.address.network:
            return interface
    return None


def _broadcasts(
    interface: Interface, named: Sequence[IPv4Address], networks: Sequence[IPv4Network]
) -> tuple[IPv4Address, ...]:
    network = interface.address.network
    if named:
        return tuple(b for b in named if b in network or not any(b in n for n in networks))
    if interface.broadcast is not None:
        return (interface.broadcast,)
    # the limited broadcast of a loopback address would leave by the default route
    return (network.broadcast_address if interface.loopback else LIMITED_BROADCAST,)
