"""Can our ports be had, and who has them?  Pure.  Not for: whether anything arrives there."""

from __future__ import annotations

from collections.abc import Sequence

from peershare.doctor.checks import Check, failed, passed, warned
from peershare.doctor.evidence import Holder, PortUse

_OPTIONS = {"tcp": "--port", "beacons": "--beacon-port", "announcements": "--classic-udp-port"}


def judge_port(use: PortUse, purpose: str, service_pid: int) -> Check:
    """One port; `purpose` is "tcp", "beacons" or "announcements"; `service_pid` is our own's."""
    subject = f"{use.protocol.upper()} {use.address + ':' if use.address else ''}{use.port}"
    others = [holder for holder in use.holders if holder.pid != service_pid or not service_pid]
    if len(others) < len(use.holders):
        return _shared_by_ours(use, subject, others, service_pid)
    if use.free:
        return passed("port", subject, "it is free")
    if not use.holders and use.problem and not use.shareable and not _taken(use.problem):
        advice = f"use another port ({_OPTIONS[purpose]}) or address"
        return failed("port", subject, f"it cannot be had: {use.problem}", advice)
    who = names_of(others)
    if any(holder.peershare for holder in others):
        return _second(use, subject, who)
    if use.shareable:
        return warned(
            "port",
            subject,
            f"{who} has it too; broadcasts reach both",
            f"end it if it is no classic peer that is to run beside: {_look(use)}",
        )
    return failed(
        "port",
        subject,
        f"it is taken by {who}, which shares it with nobody",
        f"end that program, or use another port ({_OPTIONS[purpose]}) on every machine;"
        f" {_look(use)}",
    )


def judge_other_port(use: PortUse, port: int, service_pid: int) -> Check:
    """Our service hears what is sent to `use.address` alone at this port, for want of the usual."""
    subject = f"UDP {use.address}:{port}"
    others = [holder for holder in use.holders if holder.pid != service_pid]
    who = f"{names_of(others)} has the usual one, {use.port}" if not use.free else "it was taken"
    return warned(
        "port",
        subject,
        f"our service hears there what is sent to it alone, as its beacons say: {who}",
        f"where a firewall lets only {use.port} in, open UDP {port}, too, or end the other one:"
        " the usual port is taken back within seconds",
    )


def _shared_by_ours(
    use: PortUse, subject: str, others: Sequence[Holder], service_pid: int
) -> Check:
    ours = f"our service has it (pid {service_pid})"
    if not others:
        return passed("port", subject, ours)
    who = names_of(others)
    if any(holder.peershare for holder in others):
        return warned(
            "port",
            subject,
            f"{ours}, and a second peershare beside it: {who}",
            "end one of them, unless both are meant, each with its own --state",
        )
    return warned(
        "port",
        subject,
        f"{ours}, and beside it {who}",
        f"end it if it is no classic peer that is to run beside: {_look(use)}",
    )


def _second(use: PortUse, subject: str, who: str) -> Check:
    if use.protocol == "udp":
        return warned(
            "port",
            subject,
            f"a second peershare has it: {who}; another one on this address hears what is sent to"
            " it alone on a free port, which its beacons carry",
            "ask that one (--state FOLDER names its state folder), or end it before another starts",
        )
    return failed(
        "port",
        subject,
        f"it is taken by a second peershare: {who}; another one on this address would serve on"
        " another port, where classic peers do not look",
        "ask that one (--state FOLDER names its state folder), or end it before another starts",
    )


def names_of(holders: Sequence[Holder]) -> str:
    """`nc (pid 12) and bee (pid 13)`; what cannot be seen is said so."""
    seen = [f"{h.name or 'a program'} (pid {h.pid})" for h in holders if h.pid]
    if len(seen) < len(holders) or not holders:
        seen.append("a program that only root can see")
    return " and ".join(dict.fromkeys(seen))


def _taken(problem: str) -> bool:
    return "in use" in problem.lower()


def _look(use: PortUse) -> str:
    kind = "t" if use.protocol == "tcp" else "u"
    return f"sudo ss -{kind}lpn 'sport = :{use.port}' shows it"
