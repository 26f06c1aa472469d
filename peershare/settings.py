"""Settings: one frozen value, made from flags, PEERSHARE_* variables, a TOML file and defaults.

Not for: acting on them.  Precedence is flag > variable > file > default; the names are the
same everywhere (`--upload-limit`, `PEERSHARE_UPLOAD_LIMIT`, `upload-limit = "2M"`).  Both
front ends (`twistd peershare` and the `peershare` client) build their flags from `OPTIONS`.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address
from math import isfinite
from pathlib import Path
from typing import Any

import platformdirs

from peershare.errors import SettingsError

# A pair that a classic listener heard is good for 180 s, and everything is to be repeated
# within 120 s: an interval above this is allowed, and warned of.
LONGEST_GOOD_INTERVAL_SECONDS = 120.0

# Where classic peers look for chunks; the second one is of an older edition.
CLASSIC_TCP_PORTS = (5000, 8000)

_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*([kKmMgG]?)(?:i?[bB])?(?:/s)?")
_RATE_UNITS = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000}
_LONGEST_INTERVAL_SECONDS = 86_400.0
# Stands for a value of a file that is no text and no number; no option takes it.
_NO_SCALAR = "<neither text nor number>"
_YES, _NO = ("yes", "true", "1", "on"), ("no", "false", "0", "off")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All that a node can be told.  Limits are bytes per second; None means no limit."""

    share: Path
    state: Path
    addresses: tuple[IPv4Address, ...] = ()  # empty: every interface that is fit for it
    broadcasts: tuple[IPv4Address, ...] = ()  # empty: each interface's own
    tcp_port: int = 5000
    control_port: int = 5002
    classic: bool = True  # False: nothing classic is announced or heard
    classic_udp_port: int = 5001
    beacon_udp_port: int | None = None  # None: the number of the TCP port
    upload_limit_bytes_per_second: float | None = None
    download_limit_bytes_per_second: float | None = None
    classic_ports: tuple[int, ...] = CLASSIC_TCP_PORTS
    announce_interval_seconds: float = 60.0

    @property
    def beacon_port(self) -> int:
        """The UDP port of native beacons."""
        return self.tcp_port if self.beacon_udp_port is None else self.beacon_udp_port


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
    if not text or "\0" in text or text == _NO_SCALAR:
        raise ValueError("a folder is needed")
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{text}: {error}") from None
    return Path(os.path.abspath(path))  # noqa: PTH100 - keeps symlinks


def _home(where: str, path: str) -> Path:
    """A path with its tilde resolved.  Raises `SettingsError` where there is no such home."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise SettingsError(f"{where}: {path!r} cannot be used: {error}") from None


def _address(text: str) -> IPv4Address:
    try:
        return IPv4Address(text.strip())
    except AddressValueError:
        raise ValueError("an IPv4 address such as 198.18.0.5 is needed") from None


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text.strip()) or not 1 <= int(text) <= 65_535:
        raise ValueError("a port from 1 to 65535 is needed")
    return int(text)


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
        "port of the local API, on loopback (default 5002, another if it is taken)",
        _port,
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
)
_BY_NAME = {option.name: option for option in OPTIONS}


def load_settings(
    flags: Mapping[str, Sequence[str]],
    environment: Mapping[str, str],
    config: str | None = None,
) -> Settings:
    """Make the settings.

    `flags` maps option names (without dashes) to the values given, each option at most once
    unless it is repeatable; `config` is the TOML file of `--config`, whose absence is an error
    (`PEERSHARE_CONFIG` names it too).  Raises `SettingsError` with one line for a person.
    """
    values: dict[str, Any] = {}
    path = config or environment.get("PEERSHARE_CONFIG")
    if path:
        values.update(_from_file(_home("--config", path)))
    for option in OPTIONS:
        text = environment.get(option.variable)
        if text is not None and text.strip():
            parts = text.split(",") if option.repeatable else [text]
            values[option.field] = _parse(option, parts, option.variable)
    for name, parts_given in flags.items():
        option = _BY_NAME[name]
        values[option.field] = _parse(option, parts_given, f"--{name}")
    if "share" not in values:
        values["share"] = _home("--share", "~/Peershare")
    values.setdefault("state", Path(platformdirs.user_state_dir("peershare", appauthor=False)))
    settings = Settings(**values)
    _check_together(settings)
    return settings


def _check_together(settings: Settings) -> None:
    """Refuse settings that are fine alone and not together."""
    share, state = settings.share, settings.state
    if share == state:
        raise SettingsError(f"--share and --state: both are {share}; they must be two folders")
    if state.is_relative_to(share) and not any(
        part.startswith(".") for part in state.relative_to(share).parts
    ):
        raise SettingsError(f"--state: {state} lies inside the share folder {share}")
    if settings.beacon_port == settings.classic_udp_port:
        raise SettingsError(
            f"--beacon-port and --classic-udp-port: both are {settings.beacon_port}; they must"
            " differ: a classic peer dies of a beacon"
        )
    if settings.tcp_port == settings.control_port:
        raise SettingsError(
            f"--port and --control-port: both are {settings.tcp_port}; they must differ"
        )


def _parse(option: Option, parts: Sequence[str], where: str) -> Any:
    """One option's value from its texts; the last one wins where it is not repeatable."""
    try:
        if option.repeatable:
            return tuple(dict.fromkeys(option.parse(part) for part in parts))
        return option.parse(parts[-1])
    except ValueError as error:
        raise SettingsError(f"{where}: {parts[-1]!r} cannot be used: {error}") from None


def _from_file(path: Path) -> dict[str, Any]:
    """The values of a TOML file, by field; unknown keys are errors."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"--config: cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"--config: {path} is not TOML: {error}") from None
    values: dict[str, Any] = {}
    for key, value in table.items():
        option = _BY_NAME.get(key.replace("_", "-"))
        if option is None:
            raise SettingsError(f"--config: {path} has an unknown key {key!r}")
        values[option.field] = _parse(option, _texts(option, value), f"{path}: {key}")
    return values


def _texts(option: Option, value: object) -> list[str]:
    """A TOML value as the texts that a command line would hold."""
    if isinstance(value, bool) and not option.metavar:
        return ["yes" if value else "no"]
    if isinstance(value, list) and option.repeatable and value:
        return [_text(item) for item in value]
    if isinstance(value, list) and option.name == "classic-ports":
        return [",".join(map(_text, value))]
    return [_text(value)]


def _text(value: object) -> str:
    """A scalar as text; what is none (a list, a table, a boolean) fits no other option."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return _NO_SCALAR
    return str(value)
