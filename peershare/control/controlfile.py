"""`control.json`: where the API of the service on a state folder is, and the token for it.

The token is a secret; the file is readable by its owner alone, and no command line ever holds
it (hostile world, 26).  A service without an API leaves one that says so: without a url.

`service.json` remembers what the service on the folder was told, beyond its end: a client that
brings its own node later keeps to that network, and does not widen it.
Not for: asking the API.
"""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from peershare.settings import Settings, default_share
from peershare.state import find_owner, make_private_folder, replace_file

CONTROL_NAME = "control.json"
RECORD_NAME = "service.json"
_MAX_BYTES = 16_384

T = TypeVar("T")


class ControlFile(Struct, frozen=True):
    """What is in it; `url` has no path, `pid` is the service's process id."""

    url: str  # "" where the service has no API
    token: str
    pid: int


def no_api(pid: int) -> ControlFile:
    """What a service without an API leaves."""
    return ControlFile("", "", pid)


def write_control_file(state: Path, control: ControlFile) -> None:
    """Put it into the state folder.  Raises `StorageError`."""
    replace_file(state / CONTROL_NAME, msgspec.json.encode(control) + b"\n")


def read_control_file(state: Path) -> ControlFile | None:
    """What is in the state folder; None if there is none, or none that tells where an API is."""
    found = _read(state)
    return found if found is not None and found.url else None


def read_no_api(state: Path) -> int | None:
    """The process id of the service that runs here without an API, if that is what it says."""
    found = _read(state)
    return found.pid if found is not None and not found.url else None


def keep_control_file(state: Path, control: ControlFile) -> bool:
    """Worker: write it again if it is not there any more; whether that was needed.

    Where another process holds the folder by now, the file is that one's.  Raises `StorageError`.
    """
    if _read(state) == control or find_owner(state) not in (None, os.getpid()):
        return False
    make_private_folder(state)
    write_control_file(state, control)
    return True


def _read(state: Path) -> ControlFile | None:
    return _decode(state / CONTROL_NAME, ControlFile)


def _decode(path: Path, kind: type[T]) -> T | None:
    """What a file of our own says; None where there is none, or none of ours."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(path, flags), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
                return None
            data = file.read(_MAX_BYTES)
            return msgspec.json.decode(data, type=kind, dec_hook=lambda kind, text: kind(text))
    except (OSError, msgspec.DecodeError):
        return None


def remove_control_file(state: Path, control: ControlFile) -> None:
    """Remove it if it still is the one that was written."""
    if _read(state) == control:
        (state / CONTROL_NAME).unlink(missing_ok=True)


class ServiceRecord(Struct, frozen=True, kw_only=True):
    """What the last service on a state folder was told; paths as the system's bytes."""

    share: bytes
    addresses: tuple[IPv4Address, ...]
    broadcasts: tuple[IPv4Address, ...]
    tcp_port: int
    classic: bool
    classic_udp_port: int
    beacon_udp_port: int | None
    classic_ports: tuple[int, ...]
    upload_limit_bytes_per_second: float | None
    download_limit_bytes_per_second: float | None


def write_service_record(settings: Settings) -> None:
    """Remember them in their state folder.  Raises `StorageError`."""
    told = {name: getattr(settings, name) for name in ServiceRecord.__struct_fields__}
    told["share"] = os.fsencode(settings.share)
    encoded = msgspec.json.encode(ServiceRecord(**told), enc_hook=str)
    replace_file(settings.state / RECORD_NAME, encoded + b"\n")


def inherited(ours: Settings) -> Settings:
    """Our settings, with those of the folder's last service where ours are the defaults.

    An address that the user gives replaces all that the service knew of the network.
    """
    path = ours.state / RECORD_NAME
    record = _decode(path, ServiceRecord)
    if record is None:
        return ours
    fresh = Settings(share=default_share(), state=ours.state)
    taken = {
        name: getattr(record, name)
        for name in ServiceRecord.__struct_fields__
        if name != "share" and getattr(ours, name) == getattr(fresh, name)
    }
    if ours.addresses:
        taken.pop("broadcasts", None)
    if ours.share == fresh.share:
        taken["share"] = Path(os.fsdecode(record.share))
    return replace(ours, **taken)
