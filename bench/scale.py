"""What 1,000 peers with 1,000 contents each cost one peer: memory, look-ups, stalls, datagrams.

A whole neighbourhood of peershare is fed with real bytes, in virtual time: beacons that prove
themselves, then catalogues in pieces of 64 KiB.  Only the network is missing: what the others would
do is done outside of what is measured, which is CPU time.  Two crowds, each in a process of its
own: one in which no two peers share a content (the worst case), and one in which most of what a
peer has is had by many.

    python bench/scale.py [--peers 1000] [--contents 1000]
"""

from __future__ import annotations

import argparse
import gc
import heapq
import itertools
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from random import Random
from typing import Any

import psutil
from twisted.internet.address import IPv4Address as UdpAddress
from twisted.internet.defer import Deferred, succeed

from peershare.beacons import Beacons, BeaconSocket
from peershare.identity import Identity
from peershare.links import Link
from peershare.neighbourhood import Neighbourhood
from peershare.wire.beacon import BEACON_BYTES, FRAME_BYTES, Beacon, Endpoint, decode, encode
from peershare.wire.catalogue import CatalogueEntry, CatalogueHistory
from peershare.wire.messages import Catalogue

GOAL_MEMORY_BYTES = 1 << 30
GOAL_LOOKUP_SECONDS = 0.001
GOAL_STALL_SECONDS = 0.05
GOAL_RATE = 10_000
NETWORK = IPv4Network("198.18.0.0/16")
OWN = IPv4Address("198.18.255.1")
PORT = 5000
PIECE_BYTES = 65_536
QUERIES = 2_000
# Of the schedule in virtual time.
SETTLING_SECONDS, WATCHED_SECONDS = 200.0, 600.0


class Call:
    """A call that is still to come, as Twisted has it."""

    def __init__(self, due: float, function: Callable[..., object], arguments: tuple[Any, ...]):
        self.due = due
        self.function = function
        self.arguments = arguments
        self.waiting = True

    def getTime(self) -> float:
        """When."""
        return self.due

    def active(self) -> bool:
        """Whether it is still to come."""
        return self.waiting

    def cancel(self) -> None:
        """Take it back."""
        self.waiting = False


class Port:
    """A UDP socket; what is sent goes to the reactor's `outgoing`."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self.maxThroughput = 0

    def write(self, datagram: bytes, address: tuple[str, int]) -> None:
        """Send."""
        self._reactor.outgoing.append((datagram, address[0]))

    def getHost(self) -> UdpAddress:
        """Where it is."""
        return UdpAddress("UDP", str(OWN), PORT)

    def setBroadcastAllowed(self, allowed: bool) -> None:
        """It may."""

    def stopListening(self) -> None:
        """It ends with the process."""


class Reactor:
    """Virtual time; `longest` is what the longest of the calls took, in seconds of CPU time."""

    def __init__(self) -> None:
        self._now = 1_000.0
        self._calls: list[tuple[float, int, Call]] = []
        self._numbers = itertools.count()
        self.outgoing: list[tuple[bytes, str]] = []
        self.longest = 0.0
        self.longest_wall = 0.0
        self.busy = 0.0

    def seconds(self) -> float:
        """Now."""
        return self._now

    def callLater(self, delay: float, function: Callable[..., object], *arguments: Any) -> Call:
        """Later."""
        call = Call(self._now + delay, function, arguments)
        heapq.heappush(self._calls, (call.due, next(self._numbers), call))
        return call

    def listenMulticast(self, port: int, protocol: Any, **_: Any) -> Any:
        """A socket."""
        opened = Port(self)
        protocol.makeConnection(opened)
        return opened

    listenUDP = listenMulticast

    def measured(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call it, and remember how long that took."""
        before, started = time.thread_time(), time.perf_counter()
        function(*arguments)
        took = time.thread_time() - before
        self.busy += took
        self.longest = max(self.longest, took)
        self.longest_wall = max(self.longest_wall, time.perf_counter() - started)

    def run_until(self, end: float) -> None:
        """Everything that is due by then."""
        while self._calls and self._calls[0][0] <= end:
            self._now, _, call = heapq.heappop(self._calls)
            if call.waiting:
                call.waiting = False
                self.measured(call.function, *call.arguments)
        self._now = end


@dataclass
class Crowd:
    """The other peers: what each of them has is made when it is asked for, and not kept."""

    peers: int
    contents: int
    shared: bool
    seed: int = 5

    def addresses(self) -> list[str]:
        """Where they are."""
        return [str(NETWORK[number]) for number in range(10, 10 + self.peers)]

    def entries(self, peer: int) -> Iterator[CatalogueEntry]:
        """What a peer has: 99 of 100 contents are from a pool of twice as many, if it shares."""
        random = Random(self.seed * 1_000_003 + peer)
        common = self.contents * 99 // 100 if self.shared else 0
        for number in random.sample(range(2 * self.contents), common):
            yield make_entry(Random(number), f"common {number}")
        for number in range(self.contents - common):
            yield make_entry(random, f"{peer} {number}")

    def catalogue(self, peer: int) -> CatalogueHistory:
        """The same as it is told."""
        history = CatalogueHistory()
        history.update(self.entries(peer))
        return history


def make_entry(random: Random, label: str) -> CatalogueEntry:
    """A content with a name as people give them, and an id of its own."""
    kind = random.choice((".jpg", ".png", ".mp4", ".tar.gz", ".pdf", ""))
    name = f"{random.choice(('Holiday', 'report', 'Vorlage für', 'build'))} {label}{kind}"
    return CatalogueEntry(
        name=name,
        size=random.randrange(1 << 34),
        id=f"b3:{random.randbytes(32).hex()}",
        complete=random.random() < 0.9,
    )


class Sessions:
    """Sessions with the crowd."""

    def __init__(self, reactor: Reactor, crowd: Crowd) -> None:
        self._reactor = reactor
        self._numbers = {address: number for number, address in enumerate(crowd.addresses())}
        self._crowd = crowd
        self.waiting: list[tuple[int, Any, Deferred[Catalogue]]] = []

    def get(self, peer: Endpoint) -> Deferred[Any]:
        """One; it asks for catalogues."""
        return succeed(Session(self, self._numbers[peer.address]))

    def answer(self) -> bool:
        """Answer everybody who asked; the bytes are made outside of what is measured."""
        waiting, self.waiting = self.waiting, []
        for number, sink, done in waiting:
            answer = self._crowd.catalogue(number).since("")
            told = Catalogue(digest=answer.digest, count=answer.count, length=len(answer.data))
            self._reactor.measured(sink.begins, told)
            for start in range(0, len(answer.data), PIECE_BYTES):
                piece = memoryview(answer.data)[start : start + PIECE_BYTES]
                self._reactor.measured(sink.write, piece)
            self._reactor.measured(done.callback, told)
        return bool(waiting)


class Session:
    """One session."""

    def __init__(self, sessions: Sessions, number: int) -> None:
        self._sessions = sessions
        self._number = number

    def get_catalogue(self, known: str, sink: Any) -> Deferred[Catalogue]:
        """Later."""
        done: Deferred[Catalogue] = Deferred()
        self._sessions.waiting.append((self._number, sink, done))
        return done


def identity(number: int) -> Identity:
    """One of many."""
    return Identity(f"{number:032x}", f"{number:016x}", number.to_bytes(32, "big"))


def learn(crowd: Crowd) -> tuple[Neighbourhood, Reactor]:
    """A neighbourhood that knows the crowd and all that it has."""
    reactor = Reactor()
    sessions = Sessions(reactor, crowd)
    hood = Neighbourhood(
        reactor,
        beacon_port=PORT,
        classic_udp_port=5001,
        identity=identity(0),
        random=Random(1),
        sessions=sessions,
        entries=tuple,
        is_local=lambda address: address in NETWORK,
    )
    link = Link(OWN, NETWORK, (NETWORK.broadcast_address,), "bench0")
    socket = hood.use(link)
    hood.moved(link, PORT)
    hood.startService()
    beacons: dict[str, Beacon] = {}
    for number, address in enumerate(crowd.addresses()):
        history = crowd.catalogue(number)
        name = identity(number + 1)
        beacons[address] = Beacon(
            peer=name.peer,
            instance=name.instance,
            port=PORT,
            catalogue=history.digest,
            count=history.count,
            interval=60,
        )
    for number, (address, beacon) in enumerate(beacons.items()):
        reactor.measured(socket.datagramReceived, encode(beacon), (address, PORT))
        if number % 100 == 99:
            reactor.run_until(reactor.seconds() + 0.05)
    while sum(bool(hood.holdings.base_of(b.sender(a))) for a, b in beacons.items()) < crowd.peers:
        reactor.run_until(reactor.seconds() + 0.05)
        outgoing, reactor.outgoing = reactor.outgoing, []
        for datagram, address in outgoing:
            asked = decode(datagram)
            if asked.nonce:
                echo = encode(Beacon(**{**fields(beacons[address]), "echo": asked.nonce}))
                reactor.measured(socket.datagramReceived, echo, (address, PORT))
        sessions.answer()
    reactor.run_until(reactor.seconds() + 5.0)
    return hood, reactor


def fields(beacon: Beacon) -> dict[str, Any]:
    """What a beacon is made of."""
    return {name: getattr(beacon, name) for name in Beacon.__struct_fields__}


def queries(crowd: Crowd) -> Iterator[str]:
    """Questions of every kind."""
    random = Random(9)
    some = [list(crowd.entries(random.randrange(crowd.peers))) for _ in range(10)]
    while True:
        entry = random.choice(random.choice(some))
        stem = entry.name.rpartition(".")[0] or entry.name
        yield from (entry.name, stem, entry.name.upper(), stem.swapcase(), entry.id)
        yield from (entry.id[3:15], f"b3:{entry.id[3:13]}", f"{random.random()}", "ffffffff")


def report(crowd: Crowd) -> None:
    """Measure one crowd, in this process."""
    process = psutil.Process()
    gc.collect()
    before = process.memory_info().rss
    hood, reactor = learn(crowd)
    gc.collect()
    grown = process.memory_info().rss - before
    peak = process.memory_info().rss
    took, holding = [], []
    for query in itertools.islice(queries(crowd), QUERIES):
        started = time.thread_time()
        found = hood.holdings.lookup(query)
        took.append(time.thread_time() - started)
        if found:
            started = time.thread_time()
            hood.holdings.holders(found[0].id)
            holding.append(time.thread_time() - started)
    kind = "mostly shared" if crowd.shared else "all different"
    print(f"{crowd.peers} peers with {crowd.contents} contents each, {kind}:")
    say("memory", f"{grown / 2**20:.0f} MiB", grown < GOAL_MEMORY_BYTES, "the process 1 GiB")
    print(
        f"  (whole process {peak / 2**20:.0f} MiB, estimated {hood.holdings.cost / 2**20:.0f} MiB)"
    )
    for what, times in (("look-ups", took), ("questions who holds what was found", holding)):
        measured = (
            f"median {statistics.median(times) * 1e6:.0f} us, worst {max(times) * 1e6:.0f} us"
        )
        say(f"{len(times)} {what}", measured, max(times) < GOAL_LOOKUP_SECONDS, "1,000 us")
    say(
        "longest stall",
        f"{reactor.longest * 1e3:.1f} ms",
        reactor.longest < GOAL_STALL_SECONDS,
        "50 ms",
    )
    print(f"  ({reactor.longest_wall * 1e3:.1f} ms with what else the machine did meanwhile)")
    print(f"  {reactor.busy:.1f} s of CPU time in all")


def say(what: str, measured: str, reached: bool, goal: str) -> None:
    """One line."""
    print(f"  {what}: {measured} (goal: below {goal}: {'reached' if reached else 'MISSED'})")


def beacon_rate(peers: int) -> float:
    """Bytes a second of the beacons of a network, by the real schedule, over ten minutes."""
    reactor = Reactor()
    link = Link(OWN, NETWORK, (NETWORK.broadcast_address,), "bench0")
    for number in range(peers):
        name = identity(number)
        beacons = Beacons(
            reactor,
            name,
            Random(number),
            catalogue=lambda: ("0" * 64, 1_000),
            neighbours=lambda: peers - 1,
        )
        beacons.use(link, BeaconSocket(reactor, link, PORT, lambda *_: False))
        beacons.startService()
    reactor.run_until(reactor.seconds() + SETTLING_SECONDS)
    reactor.outgoing.clear()
    reactor.run_until(reactor.seconds() + WATCHED_SECONDS)
    count = len(reactor.outgoing)
    return count * (BEACON_BYTES + FRAME_BYTES) / WATCHED_SECONDS


def main() -> None:
    """Both crowds, each in a process of its own, then the schedule."""
    parser = argparse.ArgumentParser(description="What a large network costs one peer.")
    parser.add_argument("--peers", type=int, default=1_000)
    parser.add_argument("--contents", type=int, default=1_000)
    parser.add_argument("--crowd", choices=("different", "shared"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.crowd:
        report(Crowd(options.peers, options.contents, options.crowd == "shared"))
        return
    for crowd in ("different", "shared"):
        subprocess.run([sys.executable, *sys.argv, "--crowd", crowd], check=True)
    for peers in (2, 30, 100, options.peers):
        rate = beacon_rate(peers)
        say(f"beacons of {peers} peers", f"{rate:.0f} bytes a second", rate < GOAL_RATE, "10,000")


if __name__ == "__main__":
    main()
