"""Chunk_Announcer: tells the network, by broadcast, which chunks we have (requirements 2.1).

`AnnouncerProtocol` is one socket on one own address; `Announcer` is the schedule that feeds
all of them.  What is told comes from the library, how it is packed from `wire.announcement`.
Not for: listening; what reaches an own address is handed to the discovery.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from random import Random
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from peershare.links import Link
from peershare.settings import LONGEST_GOOD_INTERVAL_SECONDS
from peershare.timers import Alarm
from peershare.udp import FLOOD_PAUSE_SECONDS, OwnSocket
from peershare.wire.announcement import pack

# After the first cycle, which goes out at once: datagrams get lost.
START_BURST_SECONDS = (0.5, 2.0)
# A classic peer that appeared is answered within this time, and at most this often.
ANSWER_WITHIN_SECONDS = 0.1
ANSWER_GAP_SECONDS = 10.0
# A change of the share folder is told after this time (several changes are one), and then
# not again for a while.
CHANGE_DELAY_SECONDS = 0.1
CHANGE_GAP_SECONDS = 2.0
# Jitter only shortens an interval, so that a rotation of two cycles stays within 120 s.
JITTER = 0.1
MAX_CYCLE_BYTES = 65_536
# Between two datagrams of a cycle: 64 of them take a third of a second.
PACE_SECONDS = 0.005
# More files than these cannot be told in two cycles: five short names fill 35 bytes.
_MOST_GROUPS = 2 * MAX_CYCLE_BYTES // 35


class AnnouncerProtocol(OwnSocket):
    """The socket of one own address: sends announcements, hears what is sent to the address."""

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        link: Link,
        port: int,
        hear: Callable[[bytes, str], bool],
    ) -> None:
        """`hear` takes a datagram and its source; True asks to leave the socket for a moment."""
        super().__init__(reactor, str(link.address), port)
        self._link = link
        self._hear = hear
        self.problem = ""
        self.muted = ""  # why nothing is to be announced here, if so

    def announce(self, datagram: bytes) -> bool:
        """Send one datagram to each broadcast address; False if none could be reached."""
        transport: Any = self.transport
        if self.muted:
            return False
        if transport is None:
            self.problem = f"UDP {self.interface}:{self.port} is not open"
            return False
        problems = []
        for address in self._link.broadcasts:
            try:
                transport.write(datagram, (str(address), self.port))
            except Exception as error:  # whatever it is, the next datagram is sent too
                problems.append(f"announcing from {self.interface} to {address} failed: {error}")
        self._show("; ".join(problems))
        return len(problems) < len(self._link.broadcasts)

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """Twisted: something was sent to our own address."""
        if self._hear(datagram, addr[0]):
            self.let_go(FLOOD_PAUSE_SECONDS)

    def _show(self, problem: str) -> None:
        if problem and problem != self.problem:
            self._log.warn("{problem}", problem=problem)
        self.problem = problem


def count_names(datagrams: Iterable[bytes]) -> int:
    """How many chunk names our own datagrams tell."""
    return sum(len(json.loads(datagram)["chunks"]) for datagram in datagrams)


def plan_cycles(
    groups: Iterable[Sequence[str]], interval: float, count: int | None = None
) -> tuple[list[bytes], int]:
    """Pack the groups; return the datagrams that can be told in time, and how many groups not.

    64 KiB go into a cycle, and everything is to be repeated within 120 s: what is beyond the
    cycles that fit into that time (at most two: 64 KiB a minute) is left out.  `count` is how many
    groups there are, where that is known: then no more are looked at than could be told.
    """
    kept = list(islice(groups, None if count is None else _MOST_GROUPS))
    total = len(kept) if count is None else count
    cycles = max(1, min(2, int(LONGEST_GOOD_INTERVAL_SECONDS // interval)))
    datagrams = pack(kept)
    told: list[bytes] = []
    room = MAX_CYCLE_BYTES
    for datagram in datagrams:
        if len(datagram) > room:
            cycles -= 1
            room = MAX_CYCLE_BYTES
        if cycles == 0:
            break
        room -= len(datagram)
        told.append(datagram)
    if len(told) == len(datagrams):
        return told, total - len(kept)
    names_told = count_names(told)
    for index, group in enumerate(kept):
        names_told -= len(group)
        if names_told < 0:
            return told, total - index
    return told, 0


class Announcer(Service):
    """The schedule: at start, every interval, on a change, and when somebody new is heard."""

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        interval_seconds: float,
        groups: Callable[[], Iterable[Sequence[str]]],
        wall_clock: Callable[[], float],
        random: Random,
        count: Callable[[], int] | None = None,
    ) -> None:
        """`groups` gives the chunk names to tell, those of one file together; `count` how many."""
        self._count = count
        self._reactor = reactor
        self._interval = interval_seconds
        self._groups = groups
        self._wall_clock = wall_clock
        self._random = random
        self._sockets: dict[Link, AnnouncerProtocol] = {}
        self._alarms: dict[str, Alarm] = {}
        self._pace = Alarm(reactor)
        self._position = 0
        self._left_out = 0
        self._answered_at = float("-inf")
        self._changed_at = float("-inf")
        self.last_announced_at: float | None = None
        self.announced_names = 0
        self.sent_datagrams = 0

    @property
    def problems(self) -> tuple[str, ...]:
        """What is in the way of announcing, as sentences."""
        return tuple(s.muted or s.problem for s in self._sockets.values() if s.muted or s.problem)

    @property
    def links(self) -> tuple[Link, ...]:
        """Where announcements go out."""
        return tuple(link for link, socket in self._sockets.items() if not socket.muted)

    @property
    def announcing(self) -> bool:
        """Whether there is an address from which announcements go out."""
        return any(s.listening and not s.muted for s in self._sockets.values())

    def use(self, link: Link, socket: AnnouncerProtocol) -> None:
        """Announce on one more link from now on."""
        self._sockets[link] = socket
        socket.open()
        if self.running:
            self._at("change", CHANGE_DELAY_SECONDS)

    def drop(self, link: Link) -> Deferred[None]:
        """Announce there no more."""
        return self._sockets.pop(link).close()

    def startService(self) -> None:
        """Announce at once, twice more soon, then every interval."""
        super().startService()
        self._at("now", 0)
        for number, seconds in enumerate(START_BURST_SECONDS):
            self._at(f"burst {number}", seconds)
        self._at("interval", self._next_interval())

    def stopService(self) -> Deferred[Any]:
        """Stop the schedule and close the sockets."""
        super().stopService()
        for alarm in self._alarms.values():
            alarm.clear()
        self._pace.clear()
        return DeferredList([self.drop(link) for link in tuple(self._sockets)])

    def shares_changed(self) -> None:
        """What we have is not what it was: tell it soon."""
        if self.running:
            gap = self._changed_at + CHANGE_GAP_SECONDS - self._reactor.seconds()
            self._at("change", max(CHANGE_DELAY_SECONDS, gap))

    def newcomer_heard(self) -> None:
        """An address was heard for the first time: bring the next cycle forward for it."""
        if self.running:
            gap = self._answered_at + ANSWER_GAP_SECONDS - self._reactor.seconds()
            self._at("answer", max(self._random.uniform(0, ANSWER_WITHIN_SECONDS), gap))

    def _next_interval(self) -> float:
        return self._interval * self._random.uniform(1 - JITTER, 1)

    def _at(self, why: str, seconds: float) -> None:
        """Run a cycle in so many seconds, unless one is due for the same reason."""
        alarm = self._alarms.setdefault(why, Alarm(self._reactor))
        if alarm.due is None:
            alarm.set(seconds, self._cycle, why)

    def _cycle(self, why: str) -> None:
        """One cycle; whatever goes wrong in it, the next one comes."""
        if why == "interval":
            self._at("interval", self._next_interval())
        elif why == "answer":
            self._answered_at = self._reactor.seconds()
        elif why == "change":
            self._changed_at = self._reactor.seconds()
        try:
            self._tell()
        except Exception:
            self._log.failure("an announcing cycle failed, the next one comes")

    def _tell(self) -> None:
        count = None if self._count is None else self._count()
        datagrams, left_out = plan_cycles(self._groups(), self._interval, count)
        if left_out and left_out != self._left_out:
            self._log.warn(
                "{count} files are not announced: their names do not fit into 64 KiB a minute",
                count=left_out,
            )
        self._left_out = left_out
        self.announced_names = count_names(datagrams)
        self._send_paced(self._turn(datagrams))

    def _turn(self, datagrams: list[bytes]) -> list[bytes]:
        """This cycle's datagrams: all of them, or the next 64 KiB in rotation."""
        if sum(map(len, datagrams)) <= MAX_CYCLE_BYTES:
            self._position = 0
            return datagrams
        start = self._position % len(datagrams)
        turn: list[bytes] = []
        room = MAX_CYCLE_BYTES
        for datagram in datagrams[start:] + datagrams[:start]:
            if len(datagram) > room:
                break
            room -= len(datagram)
            turn.append(datagram)
        self._position = start
        return turn

    def _send_paced(self, datagrams: list[bytes]) -> None:
        """Send the first datagram now, each further one a little later."""
        self._pace.clear()  # a newer cycle tells the same and more
        self._send_next(datagrams)

    def _send_next(self, datagrams: list[bytes]) -> None:
        if not datagrams:
            return
        self._position += 1  # a turn that is cut short by a newer cycle is continued by it
        sent = [socket.announce(datagrams[0]) for socket in tuple(self._sockets.values())]
        self.sent_datagrams += sum(sent)
        if any(sent):
            self.last_announced_at = self._wall_clock()
        if len(datagrams) > 1:
            self._pace.set(PACE_SECONDS, self._send_next, datagrams[1:])
