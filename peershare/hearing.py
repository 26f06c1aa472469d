"""Hearing: the gate for beacons of others, and the answers to them.

`Hearing` is the wildcard socket that hears broadcasts, and the one gate through which every beacon
goes: local source, not ourselves, not too many, strictly decoded.  Who asks by a nonce is answered
at once, who has proven nothing is asked with a little jitter: three datagrams after a broadcast
both sides are proven (`neighbours`).  Not for: what the catalogues say.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import LogLevel

from peershare.beacons import Beacons
from peershare.errors import PeerError
from peershare.neighbours import Heard, Neighbours
from peershare.refusals import Refusals
from peershare.throttle import RateLimiter
from peershare.timers import Alarm, Periodic
from peershare.udp import FLOOD_PAUSE_SECONDS, ReopeningDatagramProtocol
from peershare.wire.beacon import Beacon, decode

ANSWER_WITHIN_SECONDS = 0.1
TICK_SECONDS = 0.5
# What is heard of one source (a peer that comes says a dozen), and of all.
SOURCE_RATE, SOURCE_BURST = 8.0, 64.0
GLOBAL_RATE, GLOBAL_BURST = 2_000.0, 8_000.0
# What is sent to one address: an answer is no larger than its question, but a broadcast in
# somebody's name has many answers.
ANSWER_RATE, ANSWER_BURST = 2.0, 10.0
# After so many refused datagrams the socket they came by is left alone for a moment.
FLOOD_REFUSALS = 200


class Hearing(ReopeningDatagramProtocol):
    """See the module."""

    def __init__(
        self,
        reactor: Any,
        port: int,
        classic_udp_port: int,
        beacons: Beacons,
        neighbours: Neighbours,
        random: Random,
        *,
        is_own: Callable[[IPv4Address], bool],
        is_local: Callable[[IPv4Address], bool],
        on_heard: Callable[[str, Heard], None],
        on_gone: Callable[[str], None],
    ) -> None:
        """`port` is that of all beacons; nothing is ever sent to `classic_udp_port`.

        `on_heard` is told what became of each beacon, `on_gone` who is forgotten, by address.
        """
        super().__init__(reactor, "", port)
        self._classic_udp_port = classic_udp_port
        self._beacons = beacons
        self._instance = beacons.identity.instance
        self._neighbours = neighbours
        self._random = random
        self._is_own, self._is_local = is_own, is_local
        self._on_heard, self._on_gone = on_heard, on_gone
        self._waiting: dict[str, Alarm] = {}  # questions that are still to be sent, by address
        self._tick = Periodic(reactor, TICK_SECONDS, self._look_round)
        self._limiter = RateLimiter(SOURCE_RATE, SOURCE_BURST, GLOBAL_RATE, GLOBAL_BURST)
        self._answering = RateLimiter(ANSWER_RATE, ANSWER_BURST, GLOBAL_RATE, GLOBAL_BURST)
        self._lately = 0
        self.refusals = Refusals(reactor.seconds, LogLevel.debug)

    def open(self) -> None:
        """Start to listen and to forget."""
        super().open()
        self._tick.start()

    def close(self) -> Deferred[None]:
        """Stop both, and answer nobody any more."""
        self._tick.stop()
        for alarm in self._waiting.values():
            alarm.clear()
        self._waiting.clear()
        return super().close()

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """Twisted: a datagram was broadcast."""
        if self.hear(datagram, *addr):
            self.let_go(FLOOD_PAUSE_SECONDS)

    def hear(self, datagram: bytes, source: str, port: int) -> bool:
        """Take one datagram, from whichever socket; True if that socket should rest a moment."""
        now, address = self._reactor.seconds(), IPv4Address(source)
        if self._is_own(address) or not self._open:
            return False
        if not self._is_local(address):
            return self._refuse(source, "beacon from elsewhere")
        if not self._limiter.allow(source, now):
            return self._refuse(source, "beacon over the rate limit")
        if port in (0, self._classic_udp_port):
            return self._refuse(source, "beacon from a port that may not be answered")
        try:
            beacon = decode(datagram)
        except PeerError as error:
            return self._refuse(source, "beacon not understood", str(error))
        if beacon.instance != self._instance:
            heard = self._neighbours.heard(beacon, source, port, now)
            self._answer(beacon, source, port, heard)
            self._on_heard(source, heard)
        return False

    def _answer(self, beacon: Beacon, address: str, port: int, heard: Heard) -> None:
        """Echo a nonce at once, asking in the same breath; ask who has proven nothing, soon."""
        claim = (beacon.instance, beacon.port) if heard.doubtful else None
        if beacon.ask and beacon.nonce:
            waiting = self._waiting.pop(address, None)
            if waiting is not None:
                waiting.clear()
            self._tell(address, port, claim, beacon.nonce)
        elif claim is not None and address not in self._waiting:
            alarm = self._waiting[address] = Alarm(self._reactor)
            jitter = self._random.uniform(0, ANSWER_WITHIN_SECONDS)
            alarm.set(jitter, self._ask_now, address, port, claim)

    def _ask_now(self, address: str, port: int, claim: tuple[str, int]) -> None:
        self._waiting.pop(address, None)
        self._tell(address, port, claim, "")

    def _tell(self, address: str, port: int, claim: tuple[str, int] | None, echo: str) -> None:
        """Send a beacon; `claim` is the instance and TCP port that the address is to prove."""
        if not self._answering.allow(address, self._reactor.seconds()):
            self.refusals.note(address, "beacon not answered: over the rate limit")
            return
        nonce = self._neighbours.nonces.nonce(address, *claim) if claim is not None else ""
        self._beacons.tell(address, port, ask=claim is not None, nonce=nonce, echo=echo)

    def _refuse(self, source: str, reason: str, details: str = "") -> bool:
        """Count a refusal; True if there were so many that it looks like a flood."""
        self.refusals.note(source, reason, details)
        self._lately += 1
        if self._lately < FLOOD_REFUSALS:
            return False
        self._lately = 0
        return True

    def _look_round(self) -> None:
        """Forget who is silent; ask again who has proven nothing."""
        self._lately = 0
        now = self._reactor.seconds()
        for address in self._neighbours.expire(now):
            self._on_gone(address)
        for neighbour, port in self._neighbours.due(now):
            self._tell(neighbour.address, port, (neighbour.instance, neighbour.port), "")
