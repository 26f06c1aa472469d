"""Hearing: the gate for beacons of others, and the answers to them.

`Hearing` has the sockets that hear broadcasts, and is the one gate through which every beacon
goes: local source, not ourselves, not too many, strictly decoded.  Who asks by a nonce is answered,
who has proven nothing is asked, with a little jitter: three datagrams after a broadcast both sides
are proven (`neighbours`).  Nothing is answered by more than it brought.  Not for: what the
catalogues say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv4Address
from random import Random
from typing import Any

from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel

from peershare.beacons import Beacons
from peershare.errors import PeerError
from peershare.links import Link
from peershare.neighbours import Heard, Neighbours, Question
from peershare.refusals import Refusals
from peershare.throttle import RateLimiter
from peershare.timers import Alarm, Periodic
from peershare.udp import BroadcastSockets
from peershare.wire.beacon import Beacon, Endpoint, decode

ANSWER_WITHIN_SECONDS = 0.1
TICK_SECONDS = 0.5
# What is heard of one source (a peer that comes says a dozen), and of all.
SOURCE_RATE, SOURCE_BURST = 8.0, 64.0
GLOBAL_RATE, GLOBAL_BURST = 2_000.0, 8_000.0
# What is sent to one address: an answer is no larger than its question, but a broadcast in
# somebody's name has many answers.
ANSWER_RATE, ANSWER_BURST = 2.0, 10.0
# How often a peer is asked in whose name too much comes.
ASK_RATE, ASK_BURST = 0.5, 1.0
# Below are well-known services of others, which anybody could have answered in their name.
_FIRST_FREE_PORT = 1_024
# Classic peers die of what they do not know.
_CLASSIC_UDP_PORT = 5_001
# After so many refused datagrams the socket they came by is left alone for a moment.
FLOOD_REFUSALS = 200


class Hearing:
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
        is_local: Callable[[IPv4Address], bool],
        on_heard: Callable[[Heard], None],
        on_gone: Callable[[Endpoint], None],
    ) -> None:
        """`port` is that of all beacons; nothing is ever sent to `classic_udp_port`.

        `is_local`: of a machine on the network of one of our links.  `on_heard` is called with what
        became of each beacon, `on_gone` with who is forgotten.
        """
        self._reactor = reactor
        self.port = port
        self._open = False
        self._sockets = BroadcastSockets(reactor, port, self.hear_broadcast)
        self._classic_udp_port = classic_udp_port
        self._beacons = beacons
        self._instance = beacons.identity.instance
        self._neighbours = neighbours
        self._random = random
        self._is_local = is_local
        self._on_heard, self._on_gone = on_heard, on_gone
        self._waiting: dict[Endpoint, Alarm] = {}  # answers that are still to be sent
        self._tick = Periodic(reactor, TICK_SECONDS, self._look_round)
        # of addresses, of those who have proven something, and of what is sent to both
        self._limiter = RateLimiter(SOURCE_RATE, SOURCE_BURST, GLOBAL_RATE, GLOBAL_BURST)
        self._proven = RateLimiter(SOURCE_RATE, SOURCE_BURST, GLOBAL_RATE, GLOBAL_BURST)
        self._answering = RateLimiter(ANSWER_RATE, ANSWER_BURST, GLOBAL_RATE, GLOBAL_BURST)
        self._answering_proven = RateLimiter(ANSWER_RATE, ANSWER_BURST, GLOBAL_RATE, GLOBAL_BURST)
        self._asking = RateLimiter(ASK_RATE, ASK_BURST, GLOBAL_RATE, GLOBAL_BURST)
        self._lately = 0
        self.refusals = Refusals(reactor.seconds, LogLevel.debug)

    def open(self) -> None:
        """Start to listen and to forget."""
        self._open = True
        self._sockets.open()
        self._tick.start()

    def close(self) -> Deferred[Any]:
        """Stop both, and answer nobody any more."""
        self._tick.stop()
        for alarm in self._waiting.values():
            alarm.clear()
        self._waiting.clear()
        self._open = False
        return self._sockets.close()

    def use(self, link: Link) -> None:
        """Hear what is broadcast on one more link."""
        self._sockets.use(link)

    def drop(self, link: Link) -> Deferred[Any]:
        """Hear that no more."""
        return self._sockets.drop(link)

    def hear_broadcast(self, datagram: bytes, source: str, port: int) -> bool:
        """Take one datagram that was sent to all, so that everybody may answer it."""
        return self.hear(datagram, source, port, broadcast=True)

    def hear(self, datagram: bytes, source: str, port: int, *, broadcast: bool = False) -> bool:
        """Take one datagram, from whichever socket; True if that socket should rest a moment."""
        now = self._reactor.seconds()
        if not self._open:
            return False
        if not self._is_local(IPv4Address(source)):
            return self._refuse(source, "beacon from elsewhere")
        # what carries our nonce comes from who has it, and uses up no budget that anybody can
        known = None if broadcast else self._neighbours.carries_proof(datagram, source)
        if known is None and not self._limiter.allow(source, now):
            self._ask_who_is_there(source, now)
            return self._refuse(source, "beacon over the rate limit")
        if known is not None and not self._proven.allow(str(known), now):
            return self._refuse(source, "beacon over the rate limit")
        try:
            beacon = decode(datagram)
        except PeerError as error:
            return self._refuse(source, "beacon not understood", str(error))
        if beacon.instance == self._instance:
            return False
        if broadcast:
            beacon = replace(beacon, nonce="", echo="")
        proof = self._neighbours.nonces.proves(beacon, source)
        came_from, port = port, self._reply_port(beacon, source, port, proof=proof)
        if not (self._may_answer(came_from) and self._may_answer(port)):
            return self._refuse(source, "beacon from a port that may not be answered")
        heard = self._neighbours.heard(beacon, source, port, now)
        self._forget(self._neighbours.forgotten())
        if not beacon.bye:
            self._answer(beacon, source, port, heard, proof=proof)
        self._on_heard(heard)
        return False

    def _reply_port(self, beacon: Beacon, address: str, port: int, *, proof: bool) -> int:
        """Where its sender hears what is sent to it alone.

        Another program of its machine may speak in the name of a peer that has proven something:
        that one is answered where it was, unless this carries what only it was given.
        """
        known = self._neighbours.question(beacon.sender(address))
        return beacon.udp or port if known is None or proof else known.udp_port

    def _may_answer(self, port: int) -> bool:
        """Whether a beacon may be sent there: never to a service that is something else."""
        if port == self._classic_udp_port:
            return False
        return port == self.port or (port >= _FIRST_FREE_PORT and port != _CLASSIC_UDP_PORT)

    def _answer(
        self, beacon: Beacon, address: str, port: int, heard: Heard, *, proof: bool
    ) -> None:
        """Echo a nonce, asking in the same breath; ask who has proven nothing.

        Never more than one datagram, no larger than what came; at once only to who has shown that
        it is there, else with some jitter, so that not everybody answers a stranger in one moment.
        """
        peer, echo = beacon.sender(address), beacon.nonce if beacon.ask else ""
        if not echo and not heard.doubtful:
            return
        answer = Question(peer, port, echo)
        if proof:
            if self._may_tell(self._answering_proven, str(peer), address):
                self._tell(answer, ask=heard.doubtful)
            return
        alarm = self._waiting.get(peer)
        if alarm is None:
            if not self._may_tell(self._answering, address, address):
                return
            alarm = self._waiting[peer] = Alarm(self._reactor)
        elif not echo:
            return  # it is asked in a moment
        jitter = self._random.uniform(0, ANSWER_WITHIN_SECONDS)
        alarm.set(jitter, self._tell_now, answer, heard.doubtful)

    def _may_tell(self, limiter: RateLimiter, key: str, address: str) -> bool:
        if limiter.allow(key, self._reactor.seconds()):
            return True
        self.refusals.note(address, "beacon not answered: over the rate limit")
        return False

    def _tell_now(self, answer: Question, ask: bool) -> None:
        self._waiting.pop(answer.endpoint, None)
        known = self._neighbours.question(answer.endpoint)
        if known is not None and not answer.echo:
            answer = replace(answer, echo=known.echo)
        self._tell(answer, ask=ask)

    def _tell(self, answer: Question, *, ask: bool = True) -> None:
        """Send a beacon with our nonce for a peer; `ask`: it is to echo that."""
        peer = answer.endpoint
        nonce = self._neighbours.nonces.nonce(peer)
        self._beacons.tell(peer.address, answer.udp_port, ask=ask, nonce=nonce, echo=answer.echo)

    def _ask_who_is_there(self, address: str, now: float) -> None:
        """What comes in an address's name is too much: hear from those who are there, directly."""
        for neighbour in self._neighbours.at(address):
            question = self._neighbours.question(neighbour.endpoint)
            if question is not None and self._asking.allow(str(neighbour.endpoint), now):
                self._tell(question)

    def _refuse(self, source: str, reason: str, details: str = "") -> bool:
        """Count a refusal; True if there were so many that it looks like a flood."""
        self.refusals.note(source, reason, details)
        self._lately += 1
        if self._lately < FLOOD_REFUSALS:
            return False
        self._lately = 0
        return True

    def _look_round(self) -> None:
        """Forget who is silent; ask who had proven something and was not heard for long."""
        self._lately = 0
        now = self._reactor.seconds()
        self._forget(self._neighbours.expire(now))
        for question in self._neighbours.due(now):
            self._tell(question)

    def _forget(self, gone: Iterable[Endpoint]) -> None:
        for peer in gone:
            self._on_gone(peer)
