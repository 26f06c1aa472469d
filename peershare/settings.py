"""Settings: one frozen value, made from flags, PEERSHARE_* variables, a TOML file and defaults.

Not for: acting on them.  Precedence is flag > variable > file > default; the names are the
same everywhere (`--upload-limit`, `PEERSHARE_UPLOAD_LIMIT`, `upload-limit = "2M"`; `options`).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import platformdirs

from peershare.errors import SettingsError
from peershare.options import NO_SCALAR, OPTIONS, Option

# A pair that a classic listener heard is good for 180 s, and everything is to be repeated
# within 120 s: an interval above this is allowed, and warned of.
LONGEST_GOOD_INTERVAL_SECONDS = 120.0

# Where classic peers look for chunks; the second one is of an older edition.
CLASSIC_TCP_PORTS = (5000, 8000)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All that a node can be told.  Limits are bytes per second; None means no limit."""

    share: Path
    state: Path
    addresses: tuple[IPv4Address, ...] = ()  # empty: every interface that is fit for it
    broadcasts: tuple[IPv4Address, ...] = ()  # empty: each interface's own
    tcp_port: int = 5000
    control_port: int | None = 5002  # 0: no local API at all; None: any port that is free
    classic: bool = True  # False: nothing classic is announced or heard
    classic_udp_port: int = 5001
    beacon_udp_port: int | None = None  # None: the number of the TCP port
    upload_limit_bytes_per_second: float | None = None
    download_limit_bytes_per_second: float | None = None
    classic_ports: tuple[int, ...] = CLASSIC_TCP_PORTS
    announce_interval_seconds: float = 60.0
    directory_memory_bytes: int = 128 * 1024 * 1024  # for what others have, by estimate
    guest: bool = False  # whether there is a page for browsers of the network
    guest_port: int = 5080
    guest_upload: bool = False  # whether guests may send files
    guest_upload_limit_bytes: int = 1_000_000_000
    guest_inbox: Path | None = None  # None: `Inbox` in the share folder

    @property
    def beacon_port(self) -> int:
        """The UDP port of native beacons."""
        return self.tcp_port if self.beacon_udp_port is None else self.beacon_udp_port

    @property
    def inbox(self) -> Path:
        """Where files from guests go."""
        return self.share / "Inbox" if self.guest_inbox is None else self.guest_inbox


_BY_NAME = {option.name: option for option in OPTIONS}


def _home(where: str, path: str) -> Path:
    """A path with its tilde resolved.  Raises `SettingsError` where there is no such home."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise SettingsError(f"{where}: {path!r} cannot be used: {error}") from None


def default_share() -> Path:
    """The share folder where none is named.  Raises `SettingsError` where there is no home."""
    return _home("--share", "~/Peershare")


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
        values["share"] = default_share()
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
    if settings.guest and settings.guest_port in (settings.tcp_port, settings.control_port):
        raise SettingsError(
            f"--guest-port: {settings.guest_port} is --port or --control-port too; they must differ"
        )
    if settings.guest and settings.inbox == share:
        raise SettingsError(
            f"--guest-inbox: {share} is the share folder: what guests send would be shared on;"
            " name a folder of its own"
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
        return NO_SCALAR
    return str(value)
