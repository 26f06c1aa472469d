"""A file from peershare to peershare by the classic protocol, beside nginx and curl.

Two services in processes of their own, on loopback and the standard ports; the download is asked
for through the local API of the one that runs already, and timed from there to the final file in
its place.  nginx serves the same file from the same file system (a tmpfs, so that no disk is
measured), curl writes it there.  The two take turns; medians and their ratio are what counts.

    python bench/classic.py [--rounds 5] [--mebibytes 1024] [--large] [--folder /dev/shm]

`--large` also moves 8 GiB once, for the sake of the memory it takes.
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
from dataclasses import dataclass
from pathlib import Path

from failover import measure_failover
from measuring import check_same, digest, tell, write_random
from rivals import Nginx, install_rivals
from services import OTHER_BEACON_PORT, Service, wait_for

GOAL_RATIO = 1.0
GOAL_MEBIBYTES = 96.0
LARGE_MEBIBYTES = 8 * 1024
SEEDER, FETCHER, WEB_SERVER = "127.0.2.2", "127.0.2.3", "127.0.2.4"


@dataclass(frozen=True)
class Run:
    """One transfer: seconds by the clock, and processor seconds of who received it.

    `careful_seconds` is what it takes besides to have the file on the disk for good and hashed.
    """

    seconds: float
    cpu_seconds: float
    careful_seconds: float = 0.0


class Bench:
    """Two services and the web server in one folder; `close` ends and deletes everything."""

    def __init__(self, folder: Path) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="peershare-bench-", dir=folder))
        self.target = self._home / "downloads"
        self.target.mkdir()
        self.seeder = Service(self._home / "seeder", SEEDER)
        self.fetcher = Service(self._home / "fetcher", FETCHER)
        self.nginx = Nginx(self._home / "nginx", WEB_SERVER, self.seeder.share)

    def close(self) -> None:
        """End and delete everything."""
        for started in (self.fetcher, self.seeder, self.nginx):
            started.stop()
        shutil.rmtree(self._home)

    def start(self) -> None:
        """Start both services: the fetcher first, which hears the seeder's first announcement.

        They do not hear each other's beacons, so that nothing but the classic protocol is left.
        """
        self.fetcher.start()
        self.seeder.start("--beacon-port", str(OTHER_BEACON_PORT))

    def wait_until_announced(self, name: str) -> None:
        """Wait until the fetcher has heard of this file."""
        wait_for(lambda: self.fetcher.knows(Path(name).stem), f"an announcement of {name}")

    def fetch(self, name: str) -> Run:
        """Have the fetcher download this, check it, delete it."""
        events, used = self.fetcher.events(), self.fetcher.cpu_seconds
        begun = time.monotonic()
        wish = {"name": name, "folder": str(self.target)}
        identifier = self.fetcher.ask("POST", "downloads", wish)["id"]
        seconds = next(event.heard_at for event in events if event.ends(identifier)) - begun
        run = Run(seconds, self.fetcher.cpu_seconds - used)
        self._check(name)
        return run

    def fetch_with_curl(self, name: str) -> Run:
        """Have curl fetch this from nginx; then do what peershare does too, check it, delete it."""
        seconds, cpu_seconds = self.nginx.fetch(name, self.target / name)
        begun = time.monotonic()
        with (self.target / name).open("rb") as file:
            os.fsync(file.fileno())
        digest(self.target / name)
        run = Run(seconds, cpu_seconds, time.monotonic() - begun)
        self._check(name)
        return run

    def _check(self, name: str) -> None:
        check_same(self.target / name, self.seeder.share / name)
        (self.target / name).unlink()


def compare(bench: Bench, rounds: int, mebibytes: int) -> None:
    """Take turns, and tell the ratio of the medians."""
    name = "bench.bin"
    bench.wait_until_announced(name)
    bench.fetch(name)  # the first transfer after a start also pays for memory new to the system
    bench.fetch_with_curl(name)
    ours, theirs = [], []
    for number in range(1, rounds + 1):
        theirs.append(bench.fetch_with_curl(name))
        ours.append(bench.fetch(name))
        print(
            f"  round {number}: nginx + curl {theirs[-1].seconds:.2f} s,"
            f" peershare {ours[-1].seconds:.2f} s",
            flush=True,
        )
    us, them = median(ours), median(theirs)
    rate = mebibytes / us.seconds
    print(f"  medians: nginx + curl {them.seconds:.2f} s, peershare {us.seconds:.2f} s", end="")
    print(f" ({rate:.0f} MiB/s); processor time of the receiving side", end="")
    print(f" {them.cpu_seconds:.2f} s and {us.cpu_seconds:.2f} s")
    tell("peershare / (nginx + curl)", us.seconds / them.seconds, GOAL_RATIO)
    careful = us.seconds / (them.seconds + them.careful_seconds)
    print(f"  peershare / (nginx + curl, then fsync and a hash of the file): {careful:.2f}")


def median(runs: list[Run]) -> Run:
    """The median of each measure."""
    return Run(
        statistics.median(run.seconds for run in runs),
        statistics.median(run.cpu_seconds for run in runs),
        statistics.median(run.careful_seconds for run in runs),
    )


def tell_memory(bench: Bench, what: str) -> None:
    """The peak memory of both services."""
    for who, service in (("sending", bench.seeder), ("receiving", bench.fetcher)):
        tell(f"peak memory {who} {what}", service.peak_mebibytes, GOAL_MEBIBYTES, " MiB")


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(description="peershare beside nginx + curl, on loopback")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mebibytes", type=int, default=1024)
    parser.add_argument("--large", action="store_true", help="also 8 GiB, once")
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"), help="where all files lie")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # nothing is left behind then either
    install_rivals("nginx", "curl")
    bench = Bench(arguments.folder)
    try:
        print(f"{arguments.mebibytes} MiB in {arguments.folder}, {arguments.rounds} rounds")
        write_random(bench.seeder.share / "bench.bin", arguments.mebibytes)
        bench.nginx.start()
        bench.start()
        print(f"  a service answers {bench.fetcher.starting_seconds:.2f} s after it was started")
        compare(bench, arguments.rounds, arguments.mebibytes)
        tell_memory(bench, f"{arguments.mebibytes} MiB")
        if arguments.large:
            print(f"{LARGE_MEBIBYTES} MiB, once")
            write_random(bench.seeder.share / "large.bin", LARGE_MEBIBYTES, holes=True)
            bench.wait_until_announced("large.bin")
            theirs = bench.fetch_with_curl("large.bin")
            print(f"  nginx + curl {theirs.seconds:.2f} s, then", end="")
            print(f" peershare {bench.fetch('large.bin').seconds:.2f} s")
            tell_memory(bench, f"{LARGE_MEBIBYTES} MiB")
    finally:
        bench.close()
    measure_failover(arguments.folder)


if __name__ == "__main__":
    main()
