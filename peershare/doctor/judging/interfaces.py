"""Is there a network that others are on, and do we speak to all of it?  Pure.

Not for: whether what is sent arrives (`echoes`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network

from peershare.doctor.checks import Check, failed, passed, warned
from peershare.links import LIMITED_BROADCAST, Interface, Link

# Networks that this machine made for itself: no other machine is on them.
_VIRTUAL_PREFIXES = ("docker", "br-", "virbr", "vboxnet", "vmnet", "lxc", "podman", "cni", "veth")
_SELF_GIVEN = IPv4Network("169.254.0.0/16")


def judge_interfaces(
    interfaces: Sequence[Interface], links: Sequence[Link], named: Sequence[IPv4Address]
) -> list[Check]:
    """Each address in use, and why others are not; `named` are those of `--address`."""
    used = {link.address for link in links}
    missing = [address for address in named if address not in used]
    checks = [_missing(address) for address in missing]
    real = [link for link in links if not link.interface.startswith(_VIRTUAL_PREFIXES)]
    checks += [_judge_link(link, alone=not real) for link in links]
    if not links and not missing:
        checks.append(
            failed(
                "interface",
                "interfaces",
                "none is up that has a private IPv4 address",
                "connect a cable or a Wi-Fi, or name an address with --address",
            )
        )
    checks += [_unused(i, named) for i in interfaces if _tellable(i, used)]
    return checks


def _missing(address: IPv4Address) -> Check:
    return failed(
        "interface",
        str(address),
        "no interface that is up has this address",
        "name one that this machine has, or leave --address out",
    )


def _judge_link(link: Link, *, alone: bool) -> Check:
    subject = f"{link.interface} {link.address}"
    if link.address.is_loopback:
        return passed("interface", subject, "it is up; only this machine is on it")
    if link.network.prefixlen >= 31:
        return warned(
            "interface",
            subject,
            f"its network {link.network} has no room for others",
            "give the interface the netmask that the others have, such as /24",
        )
    if link.address in _SELF_GIVEN:
        return warned(
            "interface",
            subject,
            "it gave itself this address, since nobody else gave it one",
            "look why DHCP does not answer; who has an address by DHCP is not on this network",
        )
    if alone and link.interface.startswith(_VIRTUAL_PREFIXES):
        return warned(
            "interface",
            subject,
            "it leads to containers or virtual machines of this machine only",
            "connect this machine to the network that the others are on",
        )
    return passed("interface", subject, f"it is up, on the network {link.network}")


def _tellable(interface: Interface, used: Iterable[IPv4Address]) -> bool:
    return interface.up and not interface.loopback and interface.address.ip not in used


def _unused(interface: Interface, named: Sequence[IPv4Address]) -> Check:
    address = interface.address.ip
    why = "a VPN" if address.is_private else "public"
    # what is fit for it and yet not used was left out by our user or by the service's
    left_out = bool(named) or interface.by_default
    text = "others were named by --address" if left_out else f"it is {why}"
    return passed(
        "interface",
        f"{interface.name} {address}",
        f"not used: {text} (--address {address} adds it)",
    )


def judge_broadcasts(links: Sequence[Link], named: Sequence[IPv4Address]) -> list[Check]:
    """Whether each link speaks to all of its network; `named` are those of `--broadcast`."""
    checks = []
    for link in links:
        if not link.broadcasts:
            checks.append(_mute(link))
        checks += [
            _judge_broadcast(link, address, by_name=address in named) for address in link.broadcasts
        ]
    return checks


def _mute(link: Link) -> Check:
    return warned(
        "broadcast",
        f"{link.interface} {link.address}",
        "nothing is announced here: every --broadcast address belongs to another network",
        f"add --broadcast {link.network.broadcast_address}",
    )


def _judge_broadcast(link: Link, address: IPv4Address, *, by_name: bool) -> Check:
    subject = f"{link.interface} {address}"
    right = link.network.broadcast_address
    if address == right:
        return passed("broadcast", subject, f"it is that of the network {link.network}")
    if address == LIMITED_BROADCAST:
        return passed("broadcast", subject, "it reaches whoever is on the same wire")
    if address not in link.network:
        text = (
            f"it belongs to no network of this machine ({link.network} is); nothing is sent there"
        )
    else:
        text = (
            f"it is not the broadcast address of {link.network}: others do not hear what is sent"
            " there, unless their netmask is another one than ours"
        )
    use, own = f"use --broadcast {right}", f"{link.address}/{link.network.prefixlen}"
    where = f"dev {link.interface}"
    # an address that is there keeps its broadcast address, whatever `ip address change` says
    mend = f"ip address del {own} {where} && ip address add {own} broadcast {right} {where}"
    advice = use if by_name else f"{use}, or mend the interface (as root): {mend}"
    return failed("broadcast", subject, text, advice)


def reachable(link: Link) -> tuple[IPv4Address, ...]:
    """The broadcast addresses that a probe may go to: what is elsewhere would leave by a router."""
    return tuple(b for b in link.broadcasts if b in link.network or b == LIMITED_BROADCAST)
