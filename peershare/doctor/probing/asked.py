"""Asks the service on our state folder, if there is one: what it is, and whom it has heard.

It never starts one.  Not for: listening without a service (`asking`).
"""

from __future__ import annotations

import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.task import deferLater

from peershare.client.api import ApiClient
from peershare.client.hosting import is_alive, is_ours, settings_of
from peershare.client.outcome import ClientError
from peershare.control.controlfile import CONTROL_NAME, ControlFile, read_control_file, read_no_api
from peershare.doctor.evidence import Arrivals, Peer, Service, ServiceState
from peershare.errors import StorageError
from peershare.settings import Settings
from peershare.state import find_owner
from peershare.status import HistoryEntry, NodeStatus, PeerStatus

ANSWER_SECONDS = 5.0
_POLL_SECONDS = 0.5
_MOST_LINES = 1_000


@dataclass(frozen=True)
class Found:
    """What there is; `settings` are those that hold for it, `client` asks it if it runs."""

    service: Service
    settings: Settings
    client: ApiClient | None = None


async def find_service(reactor: Any, settings: Settings) -> Found:
    """The service on our state folder, without starting one."""
    control = read_control_file(settings.state)
    exposed = _is_exposed(settings.state)
    owner = _owner_of(settings.state)
    if control is None:
        return Found(replace(_without_api(settings.state, owner), exposed=exposed), settings)
    stale = Service(ServiceState.STALE, control.pid, exposed=exposed)
    if not is_ours(control) or (owner is None and not is_alive(control.pid)):
        return Found(stale, settings)
    client = ApiClient(reactor, control)
    try:
        asked = Deferred.fromCoroutine(client.node())
        status = await asked.addTimeout(ANSWER_SECONDS, reactor)
    except (ClientError, TimeoutError) as error:
        silent = _silent(control, error, exposed=exposed)
        return Found(stale if owner is None else silent, settings)
    return Found(_running(status, exposed=exposed), _holding(status, settings), client)


def _holding(status: NodeStatus, ours: Settings) -> Settings:
    """The ports are those of the service; where we may send to, the user may narrow."""
    theirs = settings_of(status, replace(ours, addresses=()))
    return replace(
        theirs,
        addresses=ours.addresses or theirs.addresses,
        broadcasts=ours.broadcasts or theirs.broadcasts,
    )


def _is_exposed(state: Path) -> bool:
    """Whether others than its owner can read the control file."""
    try:
        return bool(stat.S_IMODE((state / CONTROL_NAME).lstat().st_mode) & 0o077)
    except OSError:
        return False


def _owner_of(state: Path) -> int | None:
    """Who holds the folder, 0 for one that has not said its number; None if nobody does."""
    try:
        return find_owner(state)
    except StorageError:
        return None


def _without_api(state: Path, owner: int | None) -> Service:
    """What there is where no control file tells of an API."""
    if owner is not None:
        return Service(ServiceState.HIDDEN, owner)
    left = read_no_api(state)
    return Service(ServiceState.NONE) if left is None else Service(ServiceState.STALE, left)


def _silent(control: ControlFile, error: Exception, *, exposed: bool) -> Service:
    """The folder is held, and nobody proves that it is the service."""
    detail = str(error) if isinstance(error, ClientError) else f"not within {ANSWER_SECONDS:.0f} s"
    return Service(ServiceState.SILENT, control.pid, exposed=exposed, detail=detail)


def _running(status: NodeStatus, *, exposed: bool) -> Service:
    return Service(
        ServiceState.RUNNING,
        status.pid,
        version=status.version,
        tcp_port=status.tcp_port or 0,
        announces=status.announcing or not status.classic,
        announced_at=status.last_announced_at,
        started_at=status.started_at,
        problems=status.problems,
        from_elsewhere=sum(n for why, n in status.refused.items() if "from elsewhere" in why),
        exposed=exposed,
        udp_ports=tuple(status.udp_ports.items()),
        not_offered=status.not_offered,
        not_offered_first=tuple((one.name, one.reason) for one in status.not_offered_first),
    )


async def arrivals_of(reactor: Any, client: ApiClient, seconds: float) -> Arrivals:
    """Whom it has heard; if nobody, what it has heard after so many seconds.

    Raises `ClientError` if it does not answer any more.
    """
    began = reactor.seconds()
    peers = await client.peers()
    while not peers and reactor.seconds() - began < seconds:
        await deferLater(reactor, _POLL_SECONDS)
        peers = await client.peers()
    results = _results(await client.history(_MOST_LINES, direction="download"))
    found = tuple(_peer(status, results.get(status.address, "")) for status in peers)
    return Arrivals(found, reactor.seconds() - began)


def _results(entries: tuple[HistoryEntry, ...]) -> dict[str, str]:
    """What became of the last download from each address; the newest entry comes first."""
    results: dict[str, str] = {}
    for entry in entries:
        results.setdefault(entry.address, entry.result)
    return results


def _peer(status: PeerStatus, result: str) -> Peer:
    return Peer(
        address=status.address,
        # who tells no chunks has sent a beacon, whether it has proven anything or not
        beacons=status.native or not status.chunks,
        proven=status.native,
        classic=bool(status.chunks),
        heard_seconds_ago=status.heard_seconds_ago,
        tcp_port=status.tcp_port,
        contents=status.count,
        has_called=status.taken > 0,
        last_result=result,
    )
