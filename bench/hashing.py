"""Hashing a cached file with our pool, beside b3sum.

The pool is the one that a node has, in this process, with the reactor running; a file is hashed
to its manifest (all block digests and the content id).  b3sum (from the distribution, installed
where we may) maps the file and uses all cores.  The two take turns; medians and their ratio are
what counts.  The file lies on a tmpfs, so that no disk is measured.

    python bench/hashing.py [--rounds 5] [--mebibytes 1024] [--threads N] [--folder /dev/shm]
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from peershare.library.filehash import Wanted, hash_large
from peershare.library.files import identity_of
from peershare.library.hashing import HashingPool

GOAL_RATIO = 1.15
GOAL_GIGABYTES = 2.0
_MEBIBYTE = 1 << 20


def install_b3sum() -> None:
    """Make sure that b3sum is here.  Ends the program where that cannot be."""
    if shutil.which("b3sum"):
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise SystemExit("please install b3sum first")
    print("installing b3sum", flush=True)
    quiet = {"check": True, "stdout": subprocess.DEVNULL}
    subprocess.run(["apt-get", "update", "-qq"], **quiet)
    command = ["apt-get", "install", "-qq", "--no-install-recommends", "b3sum"]
    subprocess.run(command, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, **quiet)


def write_random(path: Path, mebibytes: int) -> None:
    """A file of random bytes, now in the page cache."""
    with path.open("wb") as file:
        for _ in range(mebibytes):
            file.write(os.urandom(_MEBIBYTE))


def time_b3sum(path: Path) -> float:
    """Seconds by the clock."""
    begun = time.monotonic()
    subprocess.run(["b3sum", str(path)], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - begun


async def time_pool(pool: HashingPool, path: Path) -> float:
    """Seconds by the clock."""
    begun = time.monotonic()
    hashed = await hash_large(pool, Wanted(path, identity_of(path)), lambda: False)
    if hashed.manifest is None or not hashed.manifest.content_id:
        raise SystemExit(f"{path} could not be hashed: {hashed.problem}")
    return time.monotonic() - begun


async def measure(reactor: Any, arguments: argparse.Namespace) -> None:
    """Take turns, print every run, the medians and the ratio."""
    pool = HashingPool(reactor, arguments.threads)
    pool.start()
    home = Path(tempfile.mkdtemp(prefix="peershare-bench-", dir=arguments.folder))
    try:
        path = home / "file"
        write_random(path, arguments.mebibytes)
        ours: list[float] = []
        theirs: list[float] = []
        for number in range(arguments.rounds + 1):
            seconds = await time_pool(pool, path), time_b3sum(path)
            if number:  # the first turn warms up
                ours.append(seconds[0])
                theirs.append(seconds[1])
                print(f"  {number}: peershare {seconds[0]:.3f} s, b3sum {seconds[1]:.3f} s")
    finally:
        shutil.rmtree(home)
        await pool.stop()
    report(pool.threads, arguments.mebibytes, ours, theirs)


def report(threads: int, mebibytes: int, ours: list[float], theirs: list[float]) -> None:
    """The medians, as a table row."""
    mine, other = statistics.median(ours), statistics.median(theirs)
    ratio, rate = mine / other, mebibytes * _MEBIBYTE / mine / 1e9
    print(f"{mebibytes} MiB, cached, {threads} threads of ours, medians of {len(ours)}:")
    print(f"| peershare | {mine:.3f} s | {rate:.2f} GB/s | goal {GOAL_GIGABYTES} GB/s |")
    print(f"| b3sum | {other:.3f} s | {mebibytes * _MEBIBYTE / other / 1e9:.2f} GB/s | |")
    print(f"| ratio | {ratio:.2f} | | goal {GOAL_RATIO} |")
    met = ratio <= GOAL_RATIO and rate >= GOAL_GIGABYTES
    print("both goals are met" if met else "NOT both goals are met")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mebibytes", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"))
    arguments = parser.parse_args()
    install_b3sum()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]

    def run(reactor: Any) -> Deferred[None]:
        return Deferred.fromCoroutine(measure(reactor, arguments))

    react(run)


if __name__ == "__main__":
    main()
