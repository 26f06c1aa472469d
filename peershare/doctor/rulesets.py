"""Rules of firewalls: what their own listings say is let in.  Pure: text in, ports out.

Liberal on purpose: a rule that lets a port in from anywhere or somewhere counts, since what is
wanted is the likely culprit, not a proof.  Not for: getting at the listings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

_PROTOCOLS = ("tcp", "udp")
_ALL = (0, 65_535)
_JUDGING = {"drop", "reject", "jump", "goto"}


@dataclass(frozen=True)
class Opened:
    """What is let in: everything, or ranges (protocol, first, last)."""

    everything: bool = False
    ranges: tuple[tuple[str, int, int], ...] = ()

    def allows(self, protocol: str, port: int) -> bool:
        """Whether a port is let in."""
        return self.everything or any(
            protocol == known and low <= port <= high for known, low, high in self.ranges
        )


def _ranges(protocols: Iterable[str], ports: str) -> list[tuple[str, int, int]]:
    """`80,1024:2048` or `1025-65535` or `any`, for each protocol; what is no port is left out."""
    found = []
    for part in ports.split(","):
        match = re.fullmatch(r"\s*(\d{1,5})(?:[:-](\d{1,5}))?\s*", part)
        if match:
            found.append((int(match[1]), int(match[2] or match[1])))
        elif part.strip() == "any":
            found.append(_ALL)
    return [(protocol, *pair) for protocol in protocols for pair in found]


def of_ufw(rules: str | None, defaults: str | None) -> Opened | None:
    """The texts of user.rules and of /etc/default/ufw; None stands for one that is unreadable."""
    if defaults and re.search(r'^DEFAULT_INPUT_POLICY="?ACCEPT', defaults, re.MULTILINE):
        return Opened(everything=True)
    if rules is None:
        return None
    ranges = []
    for line in rules.splitlines():
        words = line.split()
        if words[:4] != ["###", "tuple", "###", "allow"] or len(words) < 9 or "out" in words[-1]:
            continue
        protocols = _PROTOCOLS if words[4] == "any" else (words[4],)
        ranges += _ranges(protocols, words[5])
    return Opened(ranges=tuple(ranges))


def of_firewalld(zones: str, interfaces: Sequence[str]) -> tuple[str, Opened]:
    """The zone that our interfaces are in, of `--list-all-zones`, and what it lets in."""
    found: dict[str, dict[str, str]] = {}
    default = name = ""
    for line in zones.splitlines():
        if line and not line[0].isspace():
            name = line.split()[0]
            found[name] = {}
            if "default" in line:
                default = name
        elif ":" in line and name:
            key, _, value = line.strip().partition(":")
            found[name].setdefault(key.strip(), value.strip())
    holding = [z for z in found if set(found[z].get("interfaces", "").split()) & set(interfaces)]
    zone = holding[0] if holding else default
    facts = found.get(zone, {})
    if facts.get("target") == "ACCEPT":
        return zone, Opened(everything=True)
    ranges: list[tuple[str, int, int]] = []
    for word in facts.get("ports", "").split():
        ports, _, protocol = word.partition("/")
        ranges += _ranges((protocol,), ports)
    return zone, Opened(ranges=tuple(ranges))


def of_iptables(rules: str) -> Opened:
    """What `iptables -S INPUT` lists."""
    lines = [line.split() for line in rules.splitlines()]
    policy = next((words[2] for words in lines if words[:2] == ["-P", "INPUT"]), "ACCEPT")
    targets = {_after(words, "-j") for words in lines if words[:2] == ["-A", "INPUT"]}
    if policy == "ACCEPT" and targets <= {"ACCEPT", "LOG", "RETURN", ""}:
        return Opened(everything=True)
    ranges: list[tuple[str, int, int]] = []
    for words in lines:
        protocol = _after(words, "-p")
        if _after(words, "-j") == "ACCEPT" and protocol in _PROTOCOLS:
            ports = _after(words, "--dport") or _after(words, "--dports")
            ranges += _ranges((protocol,), ports)
    return Opened(ranges=tuple(ranges))


def _after(words: Sequence[str], flag: str) -> str:
    """The word behind a flag, or ""."""
    return words[words.index(flag) + 1] if flag in words[:-1] else ""


def of_nft(listing: str) -> tuple[str, Opened] | None:
    """Of `nft -j list ruleset`: the first chain at `input` that judges, and what is let in.

    None where no chain could keep anything out.  Raises ValueError if it is no such listing.
    """
    try:
        items: list[dict[str, Any]] = msgspec.json.decode(listing)["nftables"]
        chains = [item["chain"] for item in items if "chain" in item]
        inputs = {_place(c): c.get("policy") for c in chains if c.get("hook") == "input"}
        rules = [item["rule"] for item in items if "rule" in item]
        return _judged(inputs, [rule for rule in rules if _place(rule) in inputs], rules)
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no listing of nft: {error}") from None


def _place(item: dict[str, Any]) -> str:
    chain = item["chain"] if "chain" in item else item["name"]
    return f"{item['family']} {item['table']} {chain}"


def _judged(
    inputs: dict[str, Any], rules: Sequence[dict[str, Any]], anywhere: Sequence[dict[str, Any]]
) -> tuple[str, Opened] | None:
    dropping = [place for place, policy in inputs.items() if policy == "drop"]
    keys = [(_place(rule), {key for part in rule["expr"] for key in part}) for rule in rules]
    dropping += [place for place, known in keys if known & _JUDGING]
    if not dropping:
        return None
    ranges = [one for rule in anywhere for one in _accepted(rule["expr"])]
    return dropping[0], Opened(ranges=tuple(ranges))


def _accepted(expression: Sequence[dict[str, Any]]) -> list[tuple[str, int, int]]:
    if not any("accept" in part for part in expression):
        return []
    found = []
    for part in expression:
        match = part.get("match", {})
        left = match.get("left", {}) if isinstance(match, dict) else {}
        payload = left.get("payload", {}) if isinstance(left, dict) else {}
        if payload.get("field") != "dport":
            continue
        protocol = payload.get("protocol")
        protocols = _PROTOCOLS if protocol == "th" else (protocol,)
        right = match["right"]
        several = right.get("set", [right]) if isinstance(right, dict) else [right]
        for one in several:
            low, high = one["range"] if isinstance(one, dict) and "range" in one else (one, one)
            if isinstance(low, int) and isinstance(high, int):
                found += [(str(known), low, high) for known in protocols]
    return found
