"""What the probes find out, as frozen values.  Pure.  Not for: what it means (`judging`).

Texts in it come from the system or from peers; whoever shows one passes it through `display`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from peershare.doctor.rulesets import Opened


class ServiceState(StrEnum):
    """What there is on our state folder."""

    NONE = "none"
    STALE = "stale"  # a control file of a process that is gone
    SILENT = "silent"  # the process is there and does not answer
    HIDDEN = "hidden"  # the folder is locked, and there is no control file
    RUNNING = "running"


@dataclass(frozen=True)
class Service:
    """A service on our state folder; `pid` is 0 where there is none.

    `exposed`: others than the owner can read its token.
    """

    state: ServiceState
    pid: int = 0
    version: str = ""
    tcp_port: int = 0
    announces: bool = True
    announced_at: float | None = None  # Unix seconds
    started_at: float = 0.0  # likewise; 0.0: not known
    problems: tuple[str, ...] = ()
    from_elsewhere: int = 0  # datagrams from networks that are not ours
    exposed: bool = False
    detail: str = ""
    # own addresses, and the UDP port where it alone hears what is sent there
    udp_ports: tuple[tuple[str, int], ...] = ()
    not_offered: int = 0  # how much in its share folder native peers are not offered
    not_offered_first: tuple[tuple[str, str], ...] = ()  # names and reasons


@dataclass(frozen=True)
class Holder:
    """A process that has a port; `pid` 0: it cannot be seen which one."""

    pid: int
    name: str = ""
    peershare: bool = False


@dataclass(frozen=True)
class PortUse:
    """Whether a port can be had.  `address` is "" for all of them (UDP)."""

    protocol: str  # "tcp" or "udp"
    port: int
    address: str
    free: bool  # nobody has it
    shareable: bool  # it can be had beside who has it
    holders: tuple[Holder, ...] = ()
    problem: str = ""  # what the system said


@dataclass(frozen=True)
class Echo:
    """A datagram that was sent to ourselves; `problem` is why it could not be sent or heard."""

    source: str
    target: str
    port: int
    broadcast: bool
    came_back: bool
    problem: str = ""


class Dialled(StrEnum):
    """What became of a TCP connection to a native peer."""

    ANSWERED = "answered"
    SILENT = "silent"  # it was taken, and no `hello` came back
    REFUSED = "refused"
    TIMED_OUT = "timed-out"
    UNREACHABLE = "unreachable"
    FAILED = "failed"


@dataclass(frozen=True)
class Dial:
    """One such call: how it ended, after so many seconds, and what was said."""

    end: Dialled
    seconds: float = 0.0
    detail: str = ""


@dataclass(frozen=True)
class Peer:
    """An address that was heard, by whichever protocol."""

    address: str
    beacons: bool  # it sends beacons
    proven: bool  # it answered ours
    classic: bool  # it announces
    heard_seconds_ago: float
    tcp_port: int = 0  # where it takes sessions; 0: nowhere, or not known
    contents: int = 0
    has_called: bool = False  # it has taken bytes from us: our TCP port is reachable
    last_result: str = ""  # of the last download from it: "ok …", "failed …" or ""
    dial: Dial | None = None


@dataclass(frozen=True)
class Arrivals:
    """Who was heard; `seconds` is for how long it was listened."""

    peers: tuple[Peer, ...]
    seconds: float
    elsewhere: tuple[str, ...] = ()  # addresses on networks that are not ours
    not_understood: tuple[str, ...] = ()  # addresses that sent what is neither
    deaf: tuple[str, ...] = ()  # why it could not be listened, as sentences


@dataclass(frozen=True)
class Firewall:
    """A firewall that is there; `opened` is None where its rules cannot be read."""

    kind: str  # "ufw", "firewalld", "nft", "iptables", "macos", "windows" or "kernel"
    opened: Opened | None = None
    place: str = ""  # the zone, or the chain, that a rule belongs into


@dataclass(frozen=True)
class Folder:
    """The share or the state folder; sizes in bytes."""

    role: str  # "share" or "state"
    path: Path
    exists: bool
    is_folder: bool = True
    can_read: bool = True
    can_write: bool = True
    can_make: bool = True  # where it does not exist: whether it can be made
    ours: bool = True  # owned by whoever runs this
    mode: int = 0o700
    read_only: bool = False
    free_bytes: int | None = None
    free_inodes: int | None = None
    problem: str = ""


@dataclass(frozen=True)
class Clock:
    """The wall clock, and how far it strayed from the monotonic one while we looked."""

    now: float  # Unix seconds
    strayed: float  # seconds, negative if it was set back
    future: tuple[str, ...] = ()  # names of shared files of the future, some of them
    future_count: int = 0


@dataclass(frozen=True)
class Descriptors:
    """The limit of open files, of the service (`pid`) or, with pid 0, of this process."""

    limit: int
    used: int | None = None
    pid: int = 0


@dataclass(frozen=True)
class Watches:
    """inotify: what the system allows, and what came of watching a folder."""

    max_watches: int
    max_instances: int
    problem: str = ""  # "", "instances", "watches" or what the system said
