"""Does what we send to ourselves come back?  Pure.

A broadcast comes back through the rules for what comes from outside, by the very port that others
send beacons to; what is sent to an own address never leaves the machine, and no usual rule is in
its way.  So a lost broadcast points to a firewall, or to a broadcast address that is none.
Not for: which firewall (`firewalls`).
"""

from __future__ import annotations

from peershare.doctor.checks import Check, failed, passed, warned
from peershare.doctor.evidence import Echo


def judge_echo(echo: Echo, allow: str, *, good_address: bool = True) -> Check:
    """One datagram; `allow` is the line that lets our ports in.

    `good_address`: it went to what is the broadcast address of its network.
    """
    subject = f"datagram {echo.source} to {echo.target}:{echo.port}"
    if echo.came_back:
        return passed("echo", subject, "it came back")
    if "permitted" in echo.problem.lower() or "permission" in echo.problem.lower():
        return failed(
            "echo",
            subject,
            f"this machine does not let it out: {echo.problem}",
            "allow outgoing UDP in this machine's firewall",
        )
    if "unreachable" in echo.problem.lower():
        return failed(
            "echo",
            subject,
            f"there is no way to that address: {echo.problem}",
            "look whether the interface is connected and its address and netmask are right",
        )
    if echo.problem:
        return warned("echo", subject, f"it was not tried: {echo.problem}", "free the port first")
    if not echo.broadcast:
        return failed(
            "echo",
            subject,
            "it did not come back, and it never left this machine",
            f"look for a firewall rule against the machine's own addresses; or: {allow}",
        )
    if not good_address:
        return failed(
            "echo",
            subject,
            "it did not come back: nobody on that network takes this address for a broadcast",
            "correct the broadcast address, as said above",
        )
    return failed(
        "echo",
        subject,
        "it did not come back, as one that a firewall of this machine keeps out: beacons of others"
        " do not get in either",
        allow,
    )
