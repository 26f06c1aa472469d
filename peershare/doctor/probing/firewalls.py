"""Which firewall of this machine is active, and what it lets in, as far as it can be seen.

Nothing needs root; with root the rules are read as well.  Commands and files are injected.
Not for: what to do about it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from peershare.doctor.evidence import Firewall
from peershare.doctor.rulesets import Opened, of_firewalld, of_iptables, of_nft, of_ufw

_COMMAND_SECONDS = 5.0
_MAX_CHARACTERS = 4 << 20
_ADMIN_FOLDERS = ("/usr/sbin", "/sbin", "/usr/local/sbin")
_MAC_TOOL = "/usr/libexec/ApplicationFirewall/socketfilterfw"

Run = Callable[[Sequence[str]], str | None]
Read = Callable[[str], str | None]


def find_firewalls(
    run: Run, read: Read, interfaces: Sequence[str], platform: str = sys.platform
) -> tuple[Firewall, ...]:
    """Those that are active.  `run` and `read` give the text of a command or file, None if none."""
    if platform == "darwin":
        return _macos(run)
    if platform == "win32":
        return _windows(run)
    front = (*_ufw(read), *_firewalld(run, interfaces))
    return front or (*_nft(run), *_iptables(run)) or _kernel(run, read)


def _ufw(read: Read) -> tuple[Firewall, ...]:
    config = read("/etc/ufw/ufw.conf")
    if config is None or not re.search(r"^ENABLED=yes", config, re.MULTILINE | re.IGNORECASE):
        return ()
    rules = read("/etc/ufw/user.rules")
    return (Firewall("ufw", of_ufw(rules, read("/etc/default/ufw"))),)


def _firewalld(run: Run, interfaces: Sequence[str]) -> tuple[Firewall, ...]:
    if (run(("firewall-cmd", "--state")) or "").strip() != "running":
        return ()
    zones = run(("firewall-cmd", "--list-all-zones"))
    if zones is None:
        return (Firewall("firewalld"),)
    zone, opened = of_firewalld(zones, interfaces)
    return (Firewall("firewalld", opened, zone),)


def _nft(run: Run) -> tuple[Firewall, ...]:
    listing = run(("nft", "-j", "list", "ruleset"))
    if listing is None:
        return ()
    try:
        found = of_nft(listing)
    except ValueError:
        return (Firewall("nft"),)
    return (Firewall("nft", found[1], found[0]),) if found is not None else ()


def _iptables(run: Run) -> tuple[Firewall, ...]:
    rules = run(("iptables", "-S", "INPUT"))
    if rules is None:
        return ()
    opened = of_iptables(rules)
    return () if opened.everything else (Firewall("iptables", opened),)


def _kernel(run: Run, read: Read) -> tuple[Firewall, ...]:
    """A packet filter that is loaded and used, whose rules none of the tools would list."""
    if run(("nft", "-j", "list", "ruleset")) is not None:
        return ()
    if run(("iptables", "-S", "INPUT")) is not None:
        return ()
    for line in (read("/proc/modules") or "").splitlines():
        words = line.split()
        if words[:1] in (["nf_tables"], ["iptable_filter"]) and words[2:3] not in ([], ["0"]):
            return (Firewall("kernel"),)
    return ()


def _macos(run: Run) -> tuple[Firewall, ...]:
    state = run((_MAC_TOOL, "--getglobalstate")) or ""
    if "enabled" not in state.lower():
        return ()
    apps = run((_MAC_TOOL, "--getappblocked", sys.executable)) or ""
    return (Firewall("macos", Opened(everything=True) if "permitted" in apps.lower() else None),)


def _windows(run: Run) -> tuple[Firewall, ...]:
    state = run(("netsh", "advfirewall", "show", "currentprofile", "state")) or ""
    if not re.search(r"\bON\b", state):
        return ()
    rule = run(("netsh", "advfirewall", "firewall", "show", "rule", "name=peershare"))
    return (Firewall("windows", Opened(everything=True) if rule else None),)


def run_command(command: Sequence[str]) -> str | None:
    """The output of a command; None if there is none such, it fails, or takes too long."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *_ADMIN_FOLDERS))
    program = shutil.which(command[0], path=path)
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, *command[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_COMMAND_SECONDS,
            env={**os.environ, "LC_ALL": "C"},
            start_new_session=True,  # nobody is to be asked for a password
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    if done.returncode:
        return None
    return done.stdout.decode("utf-8", "replace")[:_MAX_CHARACTERS]


def read_file(path: str) -> str | None:
    """The text of a file; None if it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")[:_MAX_CHARACTERS]
    except OSError:
        return None
