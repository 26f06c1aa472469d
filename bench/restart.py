"""A start with very many small files: the first one, which hashes them, and a restart.

A library of its own in a process of its own, with real threads and a running reactor.  What is
told: the seconds from the start of the library until every file is in the catalogue (and, before
that, until the index is open), how many tasks the hashing pool had, and the longest that the
reactor ever stood still.

    python bench/restart.py [--files 100000] [--rounds 5] [--folder /dev/shm]
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react
from twisted.internet.threads import deferToThreadPool

from peershare.library.hashing import HashingPool
from peershare.library.index import Index
from peershare.library.library import Library
from peershare.node import use_monotonic_clock

GOAL_SECONDS = 5.0
GOAL_STALL_SECONDS = 0.05
_TICK_SECONDS = 0.002


class Start(msgspec.Struct):
    """One start: seconds, and how many tasks the hashing pool had."""

    opening: float
    ready: float
    stall: float
    hashed: int
    files: int


async def measure_start(reactor: Any, home: Path) -> None:
    """In a process of its own: start once, write what was measured as a line of JSON."""
    use_monotonic_clock(reactor)
    begun = time.monotonic()
    index = Index(home / "state")
    pool = HashingPool(reactor)
    pool.start()
    hashed = 0

    def hashers(*task: Any) -> Deferred[Any]:
        nonlocal hashed
        hashed += 1
        return pool(*task)

    workers = partial(deferToThreadPool, reactor, reactor.getThreadPool())
    library = Library(reactor, home / "share", index, workers, hashers, time.time)
    opened = time.monotonic()
    library.startService()
    stall, last = 0.0, time.monotonic()
    while not library.first_scan.called or library.unhashed:
        await deferLater(reactor, _TICK_SECONDS)
        now = time.monotonic()
        stall, last = max(stall, now - last - _TICK_SECONDS), now
    ready = time.monotonic() - opened
    files = len(library.catalogue())
    await library.stopService()
    await pool.stop()
    index.close()
    start = Start(opened - begun, ready, stall, hashed, files)
    print(msgspec.json.encode(start).decode())


def run_start(home: Path) -> Start:
    """Start in a new process."""
    command = [sys.executable, __file__, "--child", str(home)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    return msgspec.json.decode(output, type=Start)


def make_files(share: Path, count: int) -> None:
    """Small files, no two of them equal, and old enough to be at rest."""
    share.mkdir()
    for number in range(count):
        (share / f"file-{number:06}.txt").write_bytes(b"%d\n" % number * (1 + number % 50))
    time.sleep(1.5)


def report(first: Start, again: list[Start]) -> None:
    """The rows of a table, and whether the goals are met."""
    ready = statistics.median(start.opening + start.ready for start in again)
    stall = statistics.median(start.stall for start in again)
    print(f"{first.files} small files on a tmpfs, medians of {len(again)} restarts:")
    print("| start | ready | longest stall | hashing tasks |")
    print("| --- | --- | --- | --- |")
    seconds = first.opening + first.ready
    print(f"| first | {seconds:.2f} s | {first.stall * 1000:.0f} ms | {first.hashed} |")
    hashed = sum(start.hashed for start in again)
    print(f"| restart | {ready:.2f} s | {stall * 1000:.0f} ms | {hashed} |")
    met = ready <= GOAL_SECONDS and stall <= GOAL_STALL_SECONDS and not hashed
    print(f"goals ({GOAL_SECONDS:g} s, {GOAL_STALL_SECONDS * 1000:g} ms, nothing hashed): ", end="")
    print("met" if met else "NOT met")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"))
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        react(lambda reactor: Deferred.fromCoroutine(measure_start(reactor, arguments.child)))
        return
    home = Path(tempfile.mkdtemp(prefix="peershare-bench-", dir=arguments.folder))
    try:
        (home / "state").mkdir()
        make_files(home / "share", arguments.files)
        first = run_start(home)
        report(first, [run_start(home) for _ in range(arguments.rounds)])
    finally:
        shutil.rmtree(home)


if __name__ == "__main__":
    main()
