"""Whether a port can be had, and which processes have it.

Nothing is sent and nothing is listened to: sockets are bound for a moment.
Not for: hearing what arrives there.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable
from pathlib import PurePath

import psutil

from peershare.doctor.evidence import Holder, PortUse

_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


def look_at_port(protocol: str, port: int, address: str = "") -> PortUse:
    """Try to bind it: alone, then beside others; `address` "" is all of them."""
    # a TCP port is free whatever connections of before still linger on it
    alone = _bind(protocol, port, address, shared=protocol == "tcp")
    beside = _bind(protocol, port, address, shared=True) if alone and protocol == "udp" else alone
    return PortUse(
        protocol=protocol,
        port=port,
        address=address,
        free=alone is None,
        shareable=protocol == "udp" and beside is None,
        holders=_holders(protocol, port, address) if alone is not None else (),
        problem=_text(beside or alone),
    )


def _bind(protocol: str, port: int, address: str, *, shared: bool) -> OSError | None:
    with socket.socket(socket.AF_INET, _KINDS[protocol]) as trial:
        if shared:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if protocol == "udp" and hasattr(socket, "SO_REUSEPORT"):
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            trial.bind((address, port))
        except OSError as error:
            return error
    return None


def _text(error: OSError | None) -> str:
    if error is None:
        return ""
    return os.strerror(error.errno) if error.errno else str(error)


def _holders(protocol: str, port: int, address: str) -> tuple[Holder, ...]:
    """Who has it, as far as this user may see; one with pid 0 stands for those that it may not."""
    try:
        connections = psutil.net_connections(protocol)
    except (psutil.Error, OSError):
        return (Holder(0),)
    pids = {
        connection.pid or 0
        for connection in connections
        if connection.laddr
        and connection.laddr.port == port
        and (protocol == "udp" or connection.status == psutil.CONN_LISTEN)
        and _overlap(connection.laddr.ip, address)
    }
    return tuple(holder_of(pid) for pid in sorted(pids, reverse=True)) or (Holder(0),)


def _overlap(one: str, other: str) -> bool:
    one = one.removeprefix("::ffff:")
    return other == "" or one in ("0.0.0.0", "::", other)


def holder_of(pid: int) -> Holder:
    """A process by its id."""
    if not pid:
        return Holder(0)
    try:
        process = psutil.Process(pid)
        return Holder(pid, process.name(), is_peershare(process.cmdline()))
    except psutil.AccessDenied:
        return Holder(pid)
    except (psutil.Error, OSError) as error:
        gone = isinstance(error, psutil.NoSuchProcess) or getattr(error, "errno", 0) == errno.ESRCH
        return Holder(pid, "a program that has just ended" if gone else "")


def is_peershare(command: Iterable[str]) -> bool:
    """Whether a command line runs peershare, as a service or as a client."""
    names = [PurePath(word).name for word in command]
    return "peershare" in names or any(name.startswith("peershare.") for name in names)
