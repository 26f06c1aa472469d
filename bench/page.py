"""What a page costs: a download with one open, beside one without, and how long each answer takes.

Two services in processes of their own, on loopback; one fetches a file from the other at full
speed.  In every other round somebody does what an open page does: the event stream is read, the
lists of contents, peers and downloads are asked for once a second, the map of the blocks twice.
In a last round it is asked `HURRY` times as often, for enough answers that one in a hundred says
something.  An answer's time is from the request to its last byte, as a process of its own sees it.
All files lie on a tmpfs, so that no disk is measured.

    python bench/page.py [--rounds 5] [--mebibytes 1024] [--files 1000] [--folder /dev/shm]

`--files` is how many further files the sender shares: so long is the list of contents.
"""

from __future__ import annotations

import argparse
import http.client
import json
import math
import multiprocessing
import shutil
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from urllib.parse import urlsplit

from measuring import check_same, tell, write_random
from services import Service, wait_for

GOAL_SLOWER = 1.05
GOAL_MILLISECONDS = 20.0
SEEDER, FETCHER = "127.37.2.2", "127.37.2.3"
NAME = "bench.bin"
# What a page asks for, and how often a second.
PACE = {"contents": 1.0, "peers": 1.0, "downloads": 1.0, "downloads/{id}/map": 2.0}
HURRY = 10.0
_LOOK_SECONDS = 0.002
_PATIENCE_SECONDS = 300.0

Times = dict[str, list[float]]


@dataclass(frozen=True)
class Run:
    """One transfer: seconds by the clock, and processor seconds of the service that fetched."""

    seconds: float
    cpu: float


class Page:
    """What an open page does, in a process of its own."""

    def __init__(self, service: Service, hurry: float = 1.0) -> None:
        """Open it; `hurry` times as fast as a page it will ask."""
        control = json.loads((service.state / "control.json").read_text(encoding="utf-8"))
        self._pipe, theirs = multiprocessing.Pipe()
        arguments = (control["url"], control["token"], hurry, theirs)
        self._process = multiprocessing.Process(target=_run_page, args=arguments)
        self._process.start()
        self._pipe.recv()  # its stream is open

    def show(self, download: str) -> None:
        """Begin to ask, this download's map too."""
        self._pipe.send(download)

    def close(self) -> Times:
        """End it; the seconds that each answer took, by path."""
        self._pipe.send(None)
        times: Times = self._pipe.recv()
        self._process.join()
        return times


def _run_page(url: str, token: str, hurry: float, pipe: Connection) -> None:
    netloc, headers = urlsplit(url).netloc, {"Authorization": f"Bearer {token}"}
    stream = http.client.HTTPConnection(netloc)
    stream.request("GET", "/api/events", headers=headers)
    threading.Thread(target=stream.getresponse().read, daemon=True).start()
    connection = http.client.HTTPConnection(netloc)
    connection.connect()
    pipe.send(None)
    download = pipe.recv()
    times: Times = defaultdict(list)
    due = dict.fromkeys(PACE, time.monotonic())
    while True:
        path = min(due, key=due.__getitem__)
        if pipe.poll(max(0.0, due[path] - time.monotonic())):
            break
        asked = time.perf_counter()
        connection.request("GET", "/api/" + path.format(id=download), headers=headers)
        response = connection.getresponse()
        response.read()
        times[path].append(time.perf_counter() - asked)
        if response.status != 200:
            raise RuntimeError(f"{path}: {response.status}")
        due[path] += 1.0 / (PACE[path] * hurry)
    pipe.send(dict(times))


class Bench:
    """Both services in one folder; `close` ends and deletes everything."""

    def __init__(self, folder: Path) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="peershare-bench-", dir=folder))
        self.target = self.home / "downloads"
        self.target.mkdir()
        self.seeder = Service(self.home / "seeder", SEEDER)
        self.fetcher = Service(self.home / "fetcher", FETCHER)

    def close(self) -> None:
        """End and delete everything."""
        for service in (self.fetcher, self.seeder):
            service.stop()
        shutil.rmtree(self.home)

    def start(self, mebibytes: int, files: int) -> None:
        """Share all and start both; returns when the fetcher knows of all."""
        for number in range(files):
            (self.seeder.share / f"file {number:05}.txt").write_bytes(b"%d" % number)
        write_random(self.seeder.share / NAME, mebibytes)
        self.fetcher.start()
        self.seeder.start()
        wait_for(lambda: len(self.fetcher.ask("GET", "contents")) > files, "the whole catalogue")
        wait_for(lambda: self.fetcher.knows(NAME), f"a catalogue with {NAME}")

    def fetch(self, page: Page | None = None) -> Run:
        """From the wish to the file in its place."""
        arrived = self.target / NAME
        used = self.fetcher.cpu_seconds
        begun = time.monotonic()
        wish = {"name": NAME, "folder": str(self.target)}
        download = self.fetcher.ask("POST", "downloads", wish)["id"]
        if page is not None:
            page.show(download)
        while not arrived.exists():
            time.sleep(_LOOK_SECONDS)
            if time.monotonic() - begun > _PATIENCE_SECONDS:
                raise RuntimeError(f"no {NAME} after {_PATIENCE_SECONDS:.0f} s")
        run = Run(time.monotonic() - begun, self.fetcher.cpu_seconds - used)
        check_same(arrived, self.seeder.share / NAME)
        arrived.unlink()
        return run

    def fetch_with_page(self, hurry: float = 1.0) -> tuple[Run, Times]:
        """The same with a page open, and the seconds that each of its answers took."""
        page = Page(self.fetcher, hurry)
        try:
            run = self.fetch(page)
        finally:
            times = page.close()
        return run, times


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of them does not exceed."""
    return sorted(values)[math.ceil(share * len(values)) - 1]


def tell_times(what: str, times: Times) -> None:
    """How long answers took: each path's, and all together beside the goal."""
    for path, values in times.items():
        middle, most = 1_000 * statistics.median(values), 1_000 * max(values)
        print(f"    {path}: {len(values)} answers, median {middle:.1f} ms, at most {most:.1f} ms")
    every = [seconds for values in times.values() for seconds in values]
    tell(f"answers {what}, p99", 1_000 * percentile(every, 0.99), GOAL_MILLISECONDS, " ms")


def compare(bench: Bench, rounds: int) -> None:
    """Take turns, and tell what the page costs."""
    bench.fetch()  # the first transfer also pays for memory that is new to the system
    without, beside = [], []
    times: Times = defaultdict(list)
    for number in range(1, rounds + 1):
        without.append(bench.fetch())
        run, taken = bench.fetch_with_page()
        beside.append(run)
        for path, values in taken.items():
            times[path] += values
        told = f"{without[-1].seconds:.2f} s, with a page {run.seconds:.2f} s"
        print(f"  round {number}: {told}", flush=True)
    alone = statistics.median(run.seconds for run in without)
    slower = statistics.median(run.seconds for run in beside) / alone
    tell("a download with a page open / without", slower, GOAL_SLOWER)
    alone_cpu = statistics.median(run.cpu for run in without)
    more = statistics.median(run.cpu for run in beside) / alone_cpu
    print(f"  processor time of the service that fetches, likewise: {more:.2f}")
    tell_times("of these rounds", times)
    run, times = bench.fetch_with_page(HURRY)
    count = sum(map(len, times.values()))
    print(f"  asked {HURRY:g} times as often: {run.seconds:.2f} s, {count} answers,", end=" ")
    print(f"{1_000 * (run.cpu - alone_cpu) / count:.1f} ms more processor time for each")
    tell_times(f"asked {HURRY:g} times as often", times)


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(description="a page beside a download, on loopback")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mebibytes", type=int, default=1024)
    parser.add_argument("--files", type=int, default=1_000, help="further contents")
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"), help="where all files lie")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # nothing is left behind then either
    bench = Bench(arguments.folder)
    try:
        print(
            f"{arguments.mebibytes} MiB in {arguments.folder}, {arguments.rounds} rounds, ", end=""
        )
        print(f"{arguments.files} further contents", flush=True)
        bench.start(arguments.mebibytes, arguments.files)
        compare(bench, arguments.rounds)
    finally:
        bench.close()


if __name__ == "__main__":
    main()
