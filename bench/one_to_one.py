"""A file from one peer to one other, checked, beside nginx + curl + b3sum and beside libtorrent.

Two services in processes of their own, on loopback and the standard ports; the download is asked
for through the local API of the one that runs already, and timed from there to the final file in
its place.  nginx serves the same file, curl writes it, b3sum reads it again; two libtorrent peers
exchange it as a v2 torrent, timed from being told of each other to the last piece checked.  They
take turns; medians and their ratios are what counts.  All files lie on a tmpfs, so that no disk is
measured.  How long `peershare get` takes to start and to ask is told apart.

    python bench/one_to_one.py [--rounds 5] [--mebibytes 1024] [--large] [--folder /dev/shm]

`--large` also moves 8 GiB once, for the sake of the memory it takes.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from measuring import check_same, tell, write_random
from rivals import Nginx, install_rivals, timed
from services import Service, wait_for
from torrents import TorrentPeer, install_libtorrent, make_torrent

GOAL_STREAM = 0.8
GOAL_TORRENT = 0.33
GOAL_TORRENT_CPU = 0.5
GOAL_MEBIBYTES = 128.0
LARGE_MEBIBYTES = 8 * 1024
STARTS = 5
SEEDER, FETCHER, WEB_SERVER = "127.0.2.2", "127.0.2.3", "127.0.2.4"
TORRENT_SEEDER, TORRENT_FETCHER = "127.0.2.5", "127.0.2.6"


@dataclass(frozen=True)
class Run:
    """One transfer: seconds by the clock, and processor seconds of each side.

    `checking_seconds` is the part of the time that a check afterwards took.
    """

    seconds: float
    sender_cpu: float
    receiver_cpu: float
    checking_seconds: float = 0.0

    @property
    def cpu(self) -> float:
        """Processor seconds of both sides."""
        return self.sender_cpu + self.receiver_cpu


class Bench:
    """Everybody in one folder; `close` ends and deletes everything."""

    def __init__(self, folder: Path) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="peershare-bench-", dir=folder))
        self.target = self.home / "downloads"
        self.target.mkdir()
        self.seeder = Service(self.home / "seeder", SEEDER)
        self.fetcher = Service(self.home / "fetcher", FETCHER)
        self._nginx = Nginx(self.home / "nginx", WEB_SERVER, self.seeder.share)
        self.torrent_seeder = TorrentPeer(TORRENT_SEEDER)
        self.torrent_peak = 0.0

    def close(self) -> None:
        """End and delete everything."""
        for started in (self.fetcher, self.seeder, self._nginx, self.torrent_seeder):
            started.stop()
        shutil.rmtree(self.home)

    def start(self) -> None:
        """Start everybody: the fetcher first, which hears the seeder's first beacon."""
        self._nginx.start()
        self.torrent_seeder.start()
        self.fetcher.start()
        self.seeder.start()

    def share(self, name: str, mebibytes: int, *, holes: bool = False) -> None:
        """Make a file and wait until everybody who has to knows of it."""
        write_random(self.seeder.share / name, mebibytes, holes=holes)
        make_torrent(self.seeder.share / name, self._torrent(name))
        self.torrent_seeder.seed(self._torrent(name), self.seeder.share)
        wait_for(lambda: self.fetcher.knows(name), f"a catalogue with {name}")

    def fetch(self, name: str) -> Run:
        """Have the fetcher download this."""
        events = self.fetcher.events()
        used = self.seeder.cpu_seconds, self.fetcher.cpu_seconds
        begun = time.monotonic()
        wish = {"name": name, "folder": str(self.target)}
        identifier = self.fetcher.ask("POST", "downloads", wish)["id"]
        seconds = next(event.heard_at for event in events if event.ends(identifier)) - begun
        sender, receiver = self.seeder.cpu_seconds, self.fetcher.cpu_seconds
        self._check(name)
        return Run(seconds, sender - used[0], receiver - used[1])

    def fetch_with_curl(self, name: str) -> Run:
        """Have curl fetch this from nginx, then b3sum hash it."""
        used = self._nginx.cpu_seconds
        curl, curl_cpu = self._nginx.fetch(name, self.target / name)
        b3sum, b3sum_cpu = timed("b3sum", str(self.target / name))
        sender = self._nginx.cpu_seconds - used
        self._check(name)
        return Run(curl + b3sum, sender, curl_cpu + b3sum_cpu, b3sum)

    def fetch_with_libtorrent(self, name: str) -> Run:
        """Have a fresh libtorrent peer fetch this from the other one."""
        peer = TorrentPeer(TORRENT_FETCHER)
        try:
            peer.start()
            used = self.torrent_seeder.cpu_seconds, peer.cpu_seconds
            begun = time.monotonic()
            peer.fetch(self._torrent(name), self.target, [self.torrent_seeder])
            seconds = peer.wait_until_finished() - begun
            sender, receiver = self.torrent_seeder.cpu_seconds, peer.cpu_seconds
            self.torrent_peak = max(self.torrent_peak, peer.peak_mebibytes)
        finally:
            peer.stop()
        self._check(name)
        return Run(seconds, sender - used[0], receiver - used[1])

    def _torrent(self, name: str) -> Path:
        return self.home / f"{name}.torrent"

    def _check(self, name: str) -> None:
        check_same(self.target / name, self.seeder.share / name)
        (self.target / name).unlink()


def client_seconds(bench: Bench) -> float:
    """How long a command of the client takes that only asks the running node; median."""
    command = [sys.executable, "-m", "peershare", "--state", str(bench.fetcher.state), "list"]
    return statistics.median(timed(*command)[0] for _ in range(STARTS))


def median(runs: Sequence[Run]) -> Run:
    """The median of each measure."""
    return Run(*(statistics.median(getattr(run, f.name) for run in runs) for f in fields(Run)))


def compare(bench: Bench, rounds: int, name: str) -> None:
    """Take turns, and tell the ratios of the medians."""
    ways: dict[str, Callable[[str], Run]] = {
        "nginx + curl + b3sum": bench.fetch_with_curl,
        "libtorrent": bench.fetch_with_libtorrent,
        "peershare": bench.fetch,
    }
    for way in ways.values():
        way(name)  # the first transfer also pays for memory that is new to the system
    runs: dict[str, list[Run]] = {who: [] for who in ways}
    for number in range(1, rounds + 1):
        for who, way in ways.items():
            runs[who].append(way(name))
        told = ", ".join(f"{who} {taken[-1].seconds:.2f} s" for who, taken in runs.items())
        print(f"  round {number}: {told}", flush=True)
    medians = {who: median(taken) for who, taken in runs.items()}
    for who, run in medians.items():
        cpu = f"{run.sender_cpu:.2f} s sending and {run.receiver_cpu:.2f} s receiving"
        check = f" ({run.checking_seconds:.2f} s of it b3sum)" if run.checking_seconds else ""
        print(f"  {who}: {run.seconds:.2f} s{check}, processor time {cpu}")
    stream, torrent, us = medians.values()
    tell("peershare / (nginx + curl + b3sum)", us.seconds / stream.seconds, GOAL_STREAM)
    tell("peershare / libtorrent", us.seconds / torrent.seconds, GOAL_TORRENT)
    tell("processor time of both sides, / libtorrent", us.cpu / torrent.cpu, GOAL_TORRENT_CPU)
    print(f"  the same / (nginx + curl + b3sum): {us.cpu / stream.cpu:.2f}")


def tell_memory(bench: Bench, what: str) -> None:
    """The peak memory of both services, and of libtorrent."""
    for who, service in (("sending", bench.seeder), ("receiving", bench.fetcher)):
        tell(f"peak memory {who} {what}", service.peak_mebibytes, GOAL_MEBIBYTES, " MiB")
    sending = bench.torrent_seeder.peak_mebibytes
    print(f"  (libtorrent: {sending:.0f} MiB sending, {bench.torrent_peak:.0f} MiB receiving)")


def run_large(bench: Bench) -> None:
    """8 GiB, once."""
    print(f"{LARGE_MEBIBYTES} MiB, once", flush=True)
    bench.share("large.bin", LARGE_MEBIBYTES, holes=True)
    for who, way in (
        ("nginx + curl + b3sum", bench.fetch_with_curl),
        ("libtorrent", bench.fetch_with_libtorrent),
        ("peershare", bench.fetch),
    ):
        print(f"  {who} {way('large.bin').seconds:.2f} s", flush=True)
    tell_memory(bench, f"{LARGE_MEBIBYTES} MiB")


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(description="one peer to one other, on loopback")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mebibytes", type=int, default=1024)
    parser.add_argument("--large", action="store_true", help="also 8 GiB, once")
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"), help="where all files lie")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # nothing is left behind then either
    install_rivals("nginx", "curl", "b3sum")
    print(f"libtorrent {install_libtorrent()}")
    bench = Bench(arguments.folder)
    try:
        print(f"{arguments.mebibytes} MiB in {arguments.folder}, {arguments.rounds} rounds")
        bench.start()
        bench.share("bench.bin", arguments.mebibytes)
        print(f"  a service answers {bench.fetcher.starting_seconds:.2f} s after it was started,")
        print(f"  a command of the client takes {client_seconds(bench):.2f} s", flush=True)
        compare(bench, arguments.rounds, "bench.bin")
        tell_memory(bench, f"{arguments.mebibytes} MiB")
        if arguments.large:
            run_large(bench)
    finally:
        bench.close()


if __name__ == "__main__":
    main()
