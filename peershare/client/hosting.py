"""Hosting: the service on our state folder if there is one, else a node in this process.

Either way the node is asked over its HTTP API.  Two clients may start at the same moment: the
one that does not get the state folder finds the other one's node.  Not for: what is asked.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from peershare.client.api import ApiClient, RefusedError
from peershare.client.outcome import ClientError, ExitStatus, GoneError
from peershare.client.proven import OlderServiceError
from peershare.control.controlfile import (
    ControlFile,
    inherited,
    read_control_file,
    read_no_api,
)
from peershare.control.face import NodeFace
from peershare.control.server import ControlService
from peershare.errors import LocalError, SettingsError, StateInUseError, StorageError
from peershare.settings import Settings
from peershare.state import find_owner
from peershare.status import NodeStatus

# How long somebody else may hold the state folder without answering: it starts, or it stops.
PATIENCE_SECONDS = 10.0
_RETRY_SECONDS = 0.2

MakeNode = Callable[[Settings], Any]


class Hosting:
    """Finds a service, or is one."""

    _log = Logger()

    def __init__(
        self, settings: Settings, reactor: Any, make_node: MakeNode, *, may_start: bool = True
    ) -> None:
        """`make_node` makes a node that is a service and a `NodeFace`.

        Unless it `may_start` one, a service that was found and went away is waited for.
        """
        self.settings = settings
        self._may_start = may_start
        self._reactor = reactor
        self._make_node = make_node
        self._own: MultiService | None = None
        self._found = False
        self._heir: Settings | None = None  # of whoever goes on for a service that went away
        self._silent = ""  # why the one that the control file names was not believed

    @property
    def is_own(self) -> bool:
        """Whether the node is in this process."""
        return self._own is not None

    async def connect(self) -> ApiClient:
        """A service that answers.  Raises `ClientError` if there is none and none can be made."""
        await self.close()
        deadline = self._reactor.seconds() + PATIENCE_SECONDS
        while True:
            found = await self._find()
            if found is not None:
                self._found = True
                return found
            owner = self._owner()
            if owner is not None:
                self._check_service(owner, late=self._reactor.seconds() > deadline)
            elif not self._may_start:
                self._check_hope(late=self._reactor.seconds() > deadline)
            else:
                own = self._try_own()
                if own is not None:
                    return own
            await deferLater(self._reactor, _RETRY_SECONDS)

    def _try_own(self) -> ApiClient | None:
        """A node in this process; None if another has taken the folder just now."""
        self._check_own()
        try:
            return self._start()
        except StateInUseError:
            return None
        except SettingsError as error:
            raise ClientError(str(error), ExitStatus.USAGE) from None
        except LocalError as error:
            raise ClientError(f"no node can be started here: {error}") from None

    async def close(self) -> None:
        """End the own node, if there is one; what it holds of unfinished downloads is kept."""
        own, self._own = self._own, None
        if own is not None:
            stopped: Deferred[object] = maybeDeferred(own.stopService)
            stopped.addErrback(lambda failure: self._log.failure("cannot stop", failure=failure))
            await stopped

    async def _find(self) -> ApiClient | None:
        """The service that the control file names, if it proves that it is it."""
        self._silent = ""
        control = read_control_file(self.settings.state)
        if control is None or not is_ours(control) or not is_alive(control.pid):
            return None
        client = ApiClient(self._reactor, control)
        try:
            status = await client.node()
        except OlderServiceError as error:
            if self._owner() is not None:
                raise ClientError(str(error)) from None
            return None
        except (GoneError, RefusedError) as error:
            self._silent = str(error)  # left behind by a kill, or it starts or ends just now
            return None
        self._heir = settings_of(status, self.settings)
        return client

    def _owner(self) -> int | None:
        """Who holds the state folder: the lock alone says so, not a process id in a file."""
        try:
            return find_owner(self.settings.state)
        except StorageError as error:
            raise ClientError(
                f"it cannot be seen whether a service runs here, so none is started: {error}"
            ) from None

    def _check_hope(self, *, late: bool) -> None:
        """Raise `ClientError` unless a service that went away may be back in a moment."""
        if not self._found or late:
            raise ClientError(
                f"no service answers on {self.settings.state}: start one (twistd -n peershare), or"
                " name the folder of the one that is meant with --state"
            )

    def _check_service(self, owner: int, *, late: bool) -> None:
        """Raise `ClientError` where the one that holds the folder cannot be asked: there is no
        other way to ask a node, and no second one may run on its folder."""
        state = self.settings.state
        if read_no_api(state) is not None:
            raise ClientError(
                f"the service (pid {owner}) on {state} runs without its local API"
                " (--control-port 0), so nobody can ask it anything: restart it without that option"
            )
        if late:
            why = f" ({self._silent})" if self._silent else ""
            raise ClientError(
                f"{state} is in use by another peershare (pid {owner or 'unknown'}), which does not"
                f" answer here{why}; stop that one first, or name another --state"
            )

    def _check_own(self) -> None:
        """Raise `ClientError` where an own node would have no API."""
        if self.settings.control_port == 0:
            raise ClientError(
                "--control-port 0: without its local API this client cannot ask its own node"
                " either: leave the option out, or give auto for any port that is free",
                ExitStatus.USAGE,
            )

    def _start(self) -> ApiClient:
        settings = self._heir or inherited(self.settings)
        node = self._make_node(settings)
        face: NodeFace = node
        control = ControlService(face, settings, self._reactor)
        service = MultiService()
        node.setServiceParent(service)
        control.setServiceParent(service)
        self._own = service
        service.startService()
        if control.control is None:
            raise ClientError("the node that was started here gives no access to itself")
        return ApiClient(self._reactor, control.control)


def settings_of(status: NodeStatus, ours: Settings) -> Settings:
    """What a service was told, as far as it shows: its network is not widened after its end.

    Unless the user named the addresses of this client: then he has told us what to use.
    """
    if ours.addresses:
        return ours
    return replace(
        ours,
        share=Path(status.share),
        addresses=tuple(map(IPv4Address, status.addresses)),
        broadcasts=tuple(map(IPv4Address, status.broadcasts)),
        tcp_port=status.tcp_port or ours.tcp_port,
        classic=status.classic,
        classic_udp_port=status.classic_udp_port,
        beacon_udp_port=status.beacon_port or ours.beacon_udp_port,
        upload_limit_bytes_per_second=status.upload_limit,
        download_limit_bytes_per_second=status.download_limit,
    )


def is_ours(control: ControlFile) -> bool:
    """Whether it points to this machine: the token goes nowhere else."""
    parts = urlsplit(control.url)
    try:
        return parts.scheme == "http" and IPv4Address(parts.hostname or "").is_loopback
    except ValueError:
        return False


def is_alive(pid: int) -> bool:
    """Whether there is a process with this id."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
