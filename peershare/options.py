"""Options: how each setting is written, as a flag, a variable or a key of a file.

Both front ends (`twistd peershare` and the `peershare` client) build their flags from `OPTIONS`.
Not for: which of several places wins (`settings`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address
from math import isfinite
from pathlib import Path
from typing import Any

_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*([kKmMgG]?)(?:i?[bB])?(?:/s)?")
_RATE_UNITS = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000}
_LONGEST_INTERVAL_SECONDS = 86_400.0
_SMALLEST_DIRECTORY_BYTES = 16 * 10**6
_LARGEST_UPLOAD_BYTES = 4_096 * 10**9
# Stands for a value of a file that is no text and no number; no option takes it.
NO_SCALAR = "<neither text nor number>"
_YES, _NO = ("yes", "true", "1", "on"), ("no", "false", "0", "off")


@dataclass(frozen=True)
class Option:
    """One setting as people write it; `name` is the flag without its dashes.

    A flag without a value (`metavar` "") stands for the value `yes`.
    """

    name: str
    field: str
    metavar: str
    help: str
    parse: Callable[[str], Any]
    repeatable: bool = False

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return "PEERSHARE_" + self.name.upper().replace("-", "_")


def _path(text: str) -> Path:
    if not text or "\0" in text or text == NO_SCALAR:
        raise ValueError("a folder is needed")
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{text}: {error}") from None
    return Path(os.path.abspath(path))  # noqa: PTH100 - keeps symlinks


def _address(text: str) -> IPv4Address:
    try:
        return IPv4Address(text.strip())
    except AddressValueError:
        raise ValueError("an IPv4 address such as 198.18.0.5 is needed") from None


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text.strip()) or not 1 <= int(text) <= 65_535:
        raise ValueError("a port from 1 to 65535 is needed")
    return int(text)


def _control_port(text: str) -> int | None:
    """A port, 0 for no API at all, or None for any port that is free."""
    text = text.strip().lower()
    if text in ("0", "auto"):
        return 0 if text == "0" else None
    try:
        return _port(text)
    except ValueError:
        raise ValueError("a port from 1 to 65535 is needed, auto or 0") from None


def _ports(text: str) -> tuple[int, ...]:
    ports = tuple(dict.fromkeys(_port(part) for part in text.split(",")))
    if len(ports) > 8:
        raise ValueError("at most 8 ports, please")
    return ports


def _rate(text: str) -> float:
    match = _RATE.fullmatch(text.strip())
    if match is None:
        raise ValueError("bytes per second are needed, with k, M or G if you like: 500k, 2M")
    rate = float(match[1]) * _RATE_UNITS[match[2].lower()]
    if rate < 1:
        raise ValueError("a limit is at least 1 byte per second; leave it out for no limit")
    return rate


def _absent(text: str) -> bool:
    """The value of a `no-…` flag, turned around."""
    if text.strip().lower() not in _YES + _NO:
        raise ValueError("yes or no is needed")
    return text.strip().lower() in _NO


def _size(text: str) -> int:
    match = _RATE.fullmatch(text.strip())
    if match is None or text.strip().endswith("/s"):
        raise ValueError("bytes are needed, with k, M or G if you like: 500M, 2G")
    size = int(float(match[1]) * _RATE_UNITS[match[2].lower()])
    if not 1 <= size <= _LARGEST_UPLOAD_BYTES:
        raise ValueError("a size from 1 byte to 4096G is needed")
    return size


def _memory(text: str) -> int:
    size = _size(text)
    if size < _SMALLEST_DIRECTORY_BYTES:
        raise ValueError("less than 16M is too little for the names of a network")
    return size


def _present(text: str) -> bool:
    """The value of a flag."""
    return not _absent(text)


def _interval(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not isfinite(seconds) or not 1 <= seconds <= _LONGEST_INTERVAL_SECONDS:
        raise ValueError("seconds from 1 to 86400 are needed")
    return seconds


OPTIONS: tuple[Option, ...] = (
    Option("share", "share", "DIR", "the folder that is shared (default ~/Peershare)", _path),
    Option("state", "state", "DIR", "the folder of logs, dictionary and index", _path),
    Option(
        "address",
        "addresses",
        "IP",
        "own address to use; may be repeated (default: every IPv4 interface that is up,"
        " but loopback, VPN and public ones)",
        _address,
        repeatable=True,
    ),
    Option(
        "broadcast",
        "broadcasts",
        "IP",
        "address to announce to; may be repeated (default: each interface's own)",
        _address,
        repeatable=True,
    ),
    Option("port", "tcp_port", "PORT", "TCP port that serves chunks (default 5000)", _port),
    Option(
        "control-port",
        "control_port",
        "PORT",
        "port of the local API and its page, on loopback (default 5002, another if it is taken;"
        " auto: any that is free; 0: no API, so that no client can ask this node)",
        _control_port,
    ),
    Option(
        "classic-udp-port",
        "classic_udp_port",
        "PORT",
        "UDP port of announcements (default 5001)",
        _port,
    ),
    Option(
        "beacon-port",
        "beacon_udp_port",
        "PORT",
        "UDP port of the beacons by which peershare peers find each other (default: as --port)",
        _port,
    ),
    Option(
        "no-classic",
        "classic",
        "",
        "announce to classic peers nothing, and hear nothing of theirs",
        _absent,
    ),
    Option(
        "upload-limit",
        "upload_limit_bytes_per_second",
        "RATE",
        "bytes per second for all uploads together: 500k, 2M, 1G (default: none)",
        _rate,
    ),
    Option(
        "download-limit",
        "download_limit_bytes_per_second",
        "RATE",
        "bytes per second for all downloads together (default: none)",
        _rate,
    ),
    Option(
        "classic-ports",
        "classic_ports",
        "PORTS",
        "TCP ports tried on other peers, in this order (default 5000,8000)",
        _ports,
    ),
    Option(
        "announce-interval",
        "announce_interval_seconds",
        "SECONDS",
        "seconds between two announcements (default 60)",
        _interval,
    ),
    Option(
        "directory-memory",
        "directory_memory_bytes",
        "SIZE",
        "memory for what other peers have; where it is full each address has an equal share, and"
        " what is beyond is not listed (default 128 MiB)",
        _memory,
    ),
    Option(
        "guest",
        "guest",
        "",
        "serve a page to browsers of this network, so that a phone can fetch what is shared here:"
        " plain HTTP, for whoever has its link (see peershare guest)",
        _present,
    ),
    Option("guest-port", "guest_port", "PORT", "TCP port of the guest page (default 5080)", _port),
    Option(
        "guest-upload",
        "guest_upload",
        "",
        "with --guest: take files from guests; each waits until you accept or refuse it",
        _present,
    ),
    Option(
        "guest-upload-limit",
        "guest_upload_limit_bytes",
        "SIZE",
        "the largest file that a guest may send; four times as much may wait (default 1G)",
        _size,
    ),
    Option(
        "guest-inbox",
        "guest_inbox",
        "DIR",
        "the folder of what guests sent and you accepted (default: Inbox in the share folder)",
        _path,
    ),
)
