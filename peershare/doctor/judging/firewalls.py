"""Is a firewall of this machine in the way, and which line opens it?  Pure.

What is known to have come in counts for more than what rules seem to say.
Not for: firewalls of others; those show in what becomes of calls to them (`peers`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from ipaddress import IPv4Network

from peershare.doctor.allowing import Port, allow_line
from peershare.doctor.checks import Check, failed, passed, warned
from peershare.doctor.evidence import Firewall

_NAMES = {
    "ufw": "ufw",
    "firewalld": "firewalld",
    "nft": "nftables",
    "iptables": "iptables",
    "macos": "the macOS firewall",
    "windows": "the Windows firewall",
    "kernel": "the packet filter of the kernel",
}
_LISTINGS = {
    "ufw": "sudo ufw status",
    "firewalld": "sudo firewall-cmd --list-all-zones",
    "iptables": "sudo iptables -S",
    "macos": "System Settings, Network, Firewall",
    "windows": "netsh advfirewall firewall show rule name=all dir=in",
}


def judge_firewalls(
    firewalls: Sequence[Firewall],
    ports: Sequence[Port],
    networks: Sequence[IPv4Network],
    *,
    arrived: Collection[Port],
    lost: Collection[Port],
) -> list[Check]:
    """Each firewall; `arrived` and `lost` are ports where datagrams or calls did, or did not."""
    if not any(not network.is_loopback for network in networks):
        return [passed("firewall", "firewall", "none stands between programs of one machine")]
    if not firewalls:
        if not lost:
            return [passed("firewall", "firewall", "none was found that is active")]
        unknown = allow_line(Firewall("iptables"), ports, networks)
        return [
            warned(
                "firewall",
                "firewall",
                f"none was found, and yet something keeps {_told(lost)} out",
                f"look as root (sudo nft list ruleset); where iptables is used: {unknown}",
            )
        ]
    return [_judge(one, ports, networks, arrived, lost) for one in firewalls]


def _judge(
    firewall: Firewall,
    ports: Sequence[Port],
    networks: Sequence[IPv4Network],
    arrived: Collection[Port],
    lost: Collection[Port],
) -> Check:
    subject = _NAMES[firewall.kind]
    opened = firewall.opened
    if not lost and opened is not None and opened.everything:
        return passed("firewall", subject, "it is active and lets everything in")
    closed = [p for p in ports if p in lost or not (opened is not None and opened.allows(*p))]
    closed = [port for port in closed if port in lost or port not in arrived]
    if not closed:
        return passed("firewall", subject, f"it is active and lets {_told(ports)} in")
    line = allow_line(firewall, closed, networks)
    if any(port in lost for port in closed):
        return failed("firewall", subject, f"it is active, and {_told(lost)} does not get in", line)
    if opened is not None:
        text = f"it is active, and no rule was found that lets {_told(closed)} in"
        return warned("firewall", subject, text, line)
    if firewall.kind == "kernel" and any(protocol == "udp" for protocol, _ in arrived):
        text = f"its rules can be read as root only; {_told(arrived)} did get in"
        return passed("firewall", subject, text)
    listing = _LISTINGS.get(firewall.kind, "sudo nft list ruleset")
    return warned(
        "firewall",
        subject,
        f"it is active, its rules can be read as root only ({listing}), and nothing has shown yet"
        f" that {_told(closed)} gets in",
        line,
    )


def _told(ports: Collection[Port]) -> str:
    return ", ".join(f"{protocol.upper()} {number}" for protocol, number in sorted(ports))
