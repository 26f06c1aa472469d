"""The exact line that lets our ports through a firewall.  Pure.  Not for: running it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from ipaddress import IPv4Network

from peershare.doctor.evidence import Firewall

Port = tuple[str, int]  # "tcp" or "udp", and the number


def allow_line(firewall: Firewall, ports: Sequence[Port], networks: Sequence[IPv4Network]) -> str:
    """What to type, as one line of a shell; `networks` are those that peers may come from."""
    by_protocol = {
        protocol: sorted(number for known, number in ports if known == protocol)
        for protocol in sorted({protocol for protocol, _ in ports}, reverse=True)
    }
    if firewall.kind == "firewalld":
        return _firewalld(firewall.place, ports)
    if firewall.kind == "macos":
        tool = "/usr/libexec/ApplicationFirewall/socketfilterfw"
        return f"sudo {tool} --add {sys.executable} && sudo {tool} --unblockapp {sys.executable}"
    joint = " & " if firewall.kind == "windows" else " && "
    if firewall.kind == "windows":
        lines = [
            f'netsh advfirewall firewall add rule name="peershare" dir=in action=allow'
            f" protocol={protocol.upper()} localport={_joined(numbers)} remoteip=localsubnet"
            for protocol, numbers in by_protocol.items()
        ]
        return joint.join(lines)
    write = {"ufw": _ufw, "nft": _nft, "iptables": _iptables}.get(firewall.kind, _iptables)
    return joint.join(
        write(firewall.place, protocol, numbers, network)
        for network in networks
        for protocol, numbers in by_protocol.items()
    )


def _joined(numbers: Sequence[int], comma: str = ",") -> str:
    return comma.join(map(str, numbers))


def _firewalld(zone: str, ports: Sequence[Port]) -> str:
    where = f" --zone={zone}" if zone else ""
    added = "".join(f" --add-port={number}/{protocol}" for protocol, number in ports)
    return f"sudo firewall-cmd --permanent{where}{added} && sudo firewall-cmd --reload"


def _ufw(_: str, protocol: str, numbers: Sequence[int], network: IPv4Network) -> str:
    return f"sudo ufw allow proto {protocol} from {network} to any port {_joined(numbers)}"


def _nft(place: str, protocol: str, numbers: Sequence[int], network: IPv4Network) -> str:
    chain = place or "inet filter input"
    return (
        f"sudo nft insert rule {chain} ip saddr {network}"
        f" {protocol} dport '{{ {_joined(numbers, ', ')} }}' accept"
    )


def _iptables(_: str, protocol: str, numbers: Sequence[int], network: IPv4Network) -> str:
    return (
        f"sudo iptables -I INPUT -s {network} -p {protocol}"
        f" -m multiport --dports {_joined(numbers)} -j ACCEPT"
    )
