"""One file to many machines at once, beside libtorrent and what the wire can do.

The machines are network namespaces on one switch, each with a link of the same rate in both
directions; one has the file, all others ask for it at the same moment, and the clock stops when
the last of them has it, verified.  `size / rate` bounds that below: a link cannot be faster.  A
plain TCP stream from one host to one other tells what TCP makes of such a link.  libtorrent's
peers are told each other's addresses.  The copies are what the seed's interface has sent, headers
included.

The run with faults: midway two are killed (SIGKILL), and one spoils every tenth block that it
gives; the clock stops when the last of those that live has the file, and every byte is compared.

    python bench/swarm.py [--rounds 5] [--only 7 15 faults] [--folder /dev/shm]

Needs root and iproute2; installs libtorrent into an environment of its own.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Barrier

from lan import Lan, LanService, sweep
from services import wait_for
from spoiling import SpoilingService
from torrents import TorrentPeer, install_libtorrent, make_torrent

NAME = "swarm.bin"
_MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Case:
    """So many who fetch, each with a link of so many Mbit/s; what is to be reached."""

    fetchers: int
    megabits: int
    goal_ratio: float
    goal_copies: float | None = None


CASES = {"7": Case(7, 100, 1.25, 1.25), "15": Case(15, 50, 1.35)}
GOAL_FAULTS = 1.3
KILLED = 2


@dataclass(frozen=True)
class Run:
    """One time: seconds until the last had it, and copies of the file that the seed sent."""

    seconds: float
    copies: float


class Field:
    """The network of one case, its folder, and the file that is to be had by all."""

    def __init__(self, case: Case, home: Path, mebibytes: int, congestion: str) -> None:
        self.case = case
        self.home = home
        self.lan = Lan(case.fetchers + 1, case.megabits, congestion)
        self.size = mebibytes * _MEBIBYTE
        self.bound = self.size / self.lan.bytes_per_second
        self.file = home / "source" / NAME
        self.file.parent.mkdir(parents=True)
        self.file.write_bytes(os.urandom(self.size))

    def copies_since(self, sent_before: int) -> float:
        """Copies of the file that the seed has sent since it had sent so many bytes."""
        return (self.lan.sent_bytes(1) - sent_before) / self.size

    def check(self, path: Path) -> None:
        """Raises `RuntimeError` if it is not the file."""
        if path.read_bytes() != self.file.read_bytes():
            raise RuntimeError(f"{path} did not arrive as it is")


def run_libtorrent(field: Field) -> Run:
    """All of them are libtorrent."""
    torrent = field.home / "swarm.torrent"
    if not torrent.exists():
        make_torrent(field.file, torrent)
    lan, numbers = field.lan, range(1, field.lan.hosts + 1)
    peers = [TorrentPeer(lan.address(number), around=lan.around(number)) for number in numbers]
    targets = [field.home / f"torrent-{number}" for number in numbers]
    with ExitStack() as stack:
        for peer, target in zip(peers, targets, strict=True):
            stack.callback(shutil.rmtree, target, ignore_errors=True)
            stack.callback(peer.stop)
            peer.start()
            target.mkdir()
        peers[0].seed(torrent, field.file.parent)
        sent, begun = lan.sent_bytes(1), time.monotonic()
        for peer, target in zip(peers[1:], targets[1:], strict=True):
            peer.fetch(torrent, target, peers)
        seconds = max(peer.wait_until_finished() for peer in peers[1:]) - begun
        run = Run(seconds, field.copies_since(sent))
        for target in targets[1:]:
            field.check(target / NAME)
    return run


class Swarm:
    """Services on all hosts of a field; the first has the file.  `close` it in the end."""

    def __init__(self, field: Field, spoilers: int = 0) -> None:
        """`spoilers`: how many of those that fetch spoil what they give, the last ones."""
        self._field = field
        self._home = Path(tempfile.mkdtemp(prefix="services-", dir=field.home))
        self.seed = self._make(1, LanService)
        honest = range(2, field.lan.hosts + 1 - spoilers)
        spoiling = range(field.lan.hosts + 1 - spoilers, field.lan.hosts + 1)
        self.fetchers = [self._make(number, LanService) for number in honest]
        self.fetchers += [self._make(number, SpoilingService) for number in spoiling]

    def _make(self, number: int, kind: type[LanService]) -> LanService:
        return kind(self._home / str(number), self._field.lan, number)

    def start(self) -> None:
        """Start all of them, and wait until all know of the file."""
        os.link(self._field.file, self.seed.share / NAME)
        everybody = [self.seed, *self.fetchers]
        with ThreadPoolExecutor(len(everybody)) as pool:
            list(pool.map(lambda service: service.start("--no-classic"), everybody))
        for fetcher in self.fetchers:
            wait_for(lambda f=fetcher: f.knows(NAME), f"{fetcher.address} to hear of the file")

    def run(self, midway: Callable[[], None] = lambda: None, doomed: int = 0) -> Run:
        """All fetch it at once; `midway` is called after half of the bound.

        `doomed`: the first so many of them are not waited for.
        """
        lan, survivors = self._field.lan, self.fetchers[doomed:]
        barrier = Barrier(len(self.fetchers) + 1)
        with ThreadPoolExecutor(len(self.fetchers)) as pool:
            doing = [pool.submit(_fetch, fetcher, barrier) for fetcher in self.fetchers]
            sent = lan.sent_bytes(1)
            barrier.wait()
            begun = time.monotonic()
            time.sleep(self._field.bound / 2)
            midway()
            ended_at = max(future.result() for future in doing[doomed:])
            run = Run(ended_at - begun, self._field.copies_since(sent))
        for fetcher in survivors:
            self._field.check(fetcher.share / NAME)
        for fetcher in self.fetchers[:doomed]:
            if (fetcher.share / NAME).exists():
                self._field.check(fetcher.share / NAME)
        return run

    def close(self) -> None:
        """End and delete everything."""
        for service in (self.seed, *self.fetchers):
            service.stop()
        shutil.rmtree(self._home)


def _fetch(fetcher: LanService, barrier: Barrier) -> float:
    """Have one fetch the file; the moment at which it has it, 0 if it was killed before."""
    events = fetcher.events()
    barrier.wait()
    identifier = fetcher.ask("POST", "downloads", {"name": NAME})["id"]
    try:
        return next((event.heard_at for event in events if event.ends(identifier)), 0.0)
    except OSError:
        return 0.0


def run_swarm(field: Field) -> Run:
    """All of them are peershare."""
    swarm = Swarm(field)
    try:
        swarm.start()
        return swarm.run()
    finally:
        swarm.close()


def run_faults(field: Field) -> Run:
    """The same with faults."""
    swarm = Swarm(field, spoilers=1)

    def kill() -> None:
        for fetcher in swarm.fetchers[:KILLED]:
            fetcher.kill()

    try:
        swarm.start()
        return swarm.run(kill, KILLED)
    finally:
        swarm.close()


def median(runs: Sequence[Run]) -> Run:
    """The median of each measure."""
    seconds = statistics.median(run.seconds for run in runs)
    return Run(seconds, statistics.median(run.copies for run in runs))


def take_turns(
    field: Field, rounds: int, ways: dict[str, Callable[[Field], Run]]
) -> dict[str, Run]:
    """The medians of each way."""
    runs: dict[str, list[Run]] = {name: [] for name in ways}
    for number in range(1, rounds + 1):
        for name, way in ways.items():
            runs[name].append(way(field))
        told = ", ".join(
            f"{name} {taken[-1].seconds:.2f} s ({taken[-1].copies:.2f} copies)"
            for name, taken in runs.items()
        )
        print(f"  round {number}: {told}", flush=True)
    return {name: median(taken) for name, taken in runs.items()}


def tell(what: str, value: float, goal: float) -> None:
    """One result beside its goal."""
    verdict = "reached" if value <= goal else "MISSED"
    print(f"  {what}: {value:.2f} (at most {goal:g}: {verdict})", flush=True)


def compare(field: Field, rounds: int, *, plain: bool, faults: bool) -> None:
    """Measure one case: `plain` beside libtorrent, `faults` beside itself without them."""
    case = field.case
    print(f"1 + {case.fetchers} peers, links of {case.megabits} Mbit/s, {rounds} rounds")
    stream = field.lan.stream_seconds(field.file) / field.bound
    print(f"  size / rate is {field.bound:.2f} s, a TCP stream takes {stream:.2f} times that")
    ways: dict[str, Callable[[Field], Run]] = {"libtorrent": run_libtorrent} if plain else {}
    ways["peershare"] = run_swarm
    if faults:
        ways["with faults"] = run_faults
    medians = take_turns(field, rounds, ways)
    us = medians["peershare"]
    if plain:
        them = medians["libtorrent"]
        print(f"  libtorrent: {them.seconds / field.bound:.2f} of size / rate", end="")
        print(f", and {them.copies:.2f} copies from the seed")
        tell("peershare / (size / rate)", us.seconds / field.bound, case.goal_ratio)
        if case.goal_copies is None:
            print(f"  copies from the seed: {us.copies:.2f}")
        else:
            tell("copies from the seed", us.copies, case.goal_copies)
        print(f"  peershare / libtorrent: {us.seconds / them.seconds:.2f}")
    if faults:
        ratio = medians["with faults"].seconds / us.seconds
        tell("with faults / without", ratio, GOAL_FAULTS)


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(description="one file to many machines, beside libtorrent")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=[*CASES, "faults"], default=[])
    parser.add_argument("--mebibytes", type=int, default=64)
    parser.add_argument("--congestion", default="", help="TCP's congestion control on the hosts")
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"), help="where all files lie")
    arguments = parser.parse_args()
    only = arguments.only or [*CASES, "faults"]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # nothing is left behind then either
    sweep()
    print(f"libtorrent {install_libtorrent()}")
    for name, case in CASES.items():
        plain, faults = name in only, name == "7" and "faults" in only
        if not plain and not faults:
            continue
        home = Path(tempfile.mkdtemp(prefix="peershare-bench-", dir=arguments.folder))
        field = Field(case, home, arguments.mebibytes, arguments.congestion)
        try:
            field.lan.build()
            compare(field, arguments.rounds, plain=plain, faults=faults)
        finally:
            field.lan.remove()
            shutil.rmtree(home)


if __name__ == "__main__":
    main()
