"""Sends a datagram to ourselves, by unicast and by each broadcast address, and sees it come back.

The datagram is the goodbye of a peer that never was: whoever else gets it does nothing with it.
Not for: what it means if it is lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

from twisted.internet.defer import DeferredList
from twisted.internet.task import deferLater

from peershare.doctor.evidence import Echo
from peershare.doctor.judging.interfaces import reachable
from peershare.doctor.probing.sockets import RandomBytes, Socket, beacon_of, heard_on
from peershare.errors import PeerError
from peershare.links import Link
from peershare.wire.beacon import decode, encode

# One may get lost in a full buffer; the way is a short one.
TRY_SECONDS = (0.3, 0.7)


class Echoes:
    """One such test of all links."""

    def __init__(self, reactor: Any, links: Sequence[Link], port: int, random: RandomBytes) -> None:
        """`port` is that of the beacons."""
        self._reactor = reactor
        self._links = links
        self._port = port
        self._random = random
        self._ears: list[Socket] = []
        self._mouths: list[Socket] = []
        self._echoes: dict[str, Echo] = {}  # by the instance that the datagram names
        self._sends: dict[str, tuple[Socket, bytes]] = {}

    async def listen(self) -> tuple[Echo, ...]:
        """Send, wait at most a second, and tell what came back."""
        try:
            deaf = {}
            for address in heard_on(self._links):
                self._ears.append(Socket(self._reactor, self._heard))
                deaf[address] = self._ears[-1].open_ear(self._port, address)
            for link in self._links:
                self._prepare(link, deaf)
            for seconds in TRY_SECONDS:
                if self._send_open():
                    await deferLater(self._reactor, seconds)
        finally:
            sockets = (*self._ears, *self._mouths)
            await DeferredList([socket.close() for socket in sockets])
        return tuple(self._echoes.values())

    def _prepare(self, link: Link, deaf: Mapping[IPv4Address, str]) -> None:
        mouth = Socket(self._reactor, self._heard)
        self._mouths.append(mouth)
        mute = mouth.open_mouth(link.address)
        self._add(link, mouth, str(link.address), mute, broadcast=False)
        for address in reachable(link):
            self._add(link, mouth, str(address), mute or deaf.get(address, ""), broadcast=True)

    def _add(
        self, link: Link, mouth: Socket, target: str, problem: str, *, broadcast: bool
    ) -> None:
        beacon = beacon_of(self._random, bye=True)
        self._echoes[beacon.instance] = Echo(
            source=str(link.address),
            target=target,
            port=self._port if broadcast else mouth.port,
            broadcast=broadcast,
            came_back=False,
            problem=problem,
        )
        self._sends[beacon.instance] = (mouth, encode(beacon))

    def _send_open(self) -> bool:
        """Send what has not come back; whether there is anything to wait for."""
        waiting = False
        for key, echo in self._echoes.items():
            if echo.came_back or echo.problem:
                continue
            mouth, datagram = self._sends[key]
            problem = mouth.send(datagram, echo.target, echo.port)
            self._echoes[key] = replace(echo, problem=problem)
            waiting = waiting or not problem
        return waiting

    def _heard(self, datagram: bytes, source: str, port: int) -> None:
        try:
            key = decode(datagram).instance
        except PeerError:
            return
        echo = self._echoes.get(key)
        if echo is not None and source == echo.source:
            self._echoes[key] = replace(echo, came_back=True)
