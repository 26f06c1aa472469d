"""What a first address that cannot be reached costs a download.

Three small contents are on the same real peer.  One of them is announced before that by an
address that refuses connections, another by one that swallows them (a listening socket whose
queue is full): such an address comes first in the dictionary and is tried first.  The cost is
how much later the first chunk is there.

    python bench/failover.py [--folder /dev/shm]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services import OTHER_BEACON_PORT, Service, wait_for

CONNECT_SECONDS = 3.0
GOAL_REFUSED_SECONDS = 0.05
GOAL_DEAD_SECONDS = CONNECT_SECONDS + 0.05  # the timeout, and what it takes to act on it
ROUNDS, DEAD_ROUNDS = 25, 5
SEEDER, FETCHER, REFUSING, DEAD = "127.0.2.2", "127.0.2.3", "127.0.2.5", "127.0.2.6"
_FILE_BYTES = 1 << 20
_TCP_PORT, _UDP_PORT = 5000, 5001


def announce(source: str, stem: str) -> None:
    """Tell the fetcher, from this address, that it has the five chunks of a stem."""
    datagram = json.dumps({"chunks": [f"{stem}_{number}" for number in range(1, 6)]})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind((source, 0))
        sender.sendto(datagram.encode("ascii"), (FETCHER, _UDP_PORT))


@contextmanager
def swallowing(address: str) -> Iterator[None]:
    """While this lasts, connections to the address are neither accepted nor refused."""
    with socket.socket() as server:
        server.bind((address, _TCP_PORT))
        server.listen(0)
        fillers = []
        try:
            while True:
                filler = socket.socket()
                fillers.append(filler)
                filler.settimeout(0.3)
                filler.connect((address, _TCP_PORT))
        except TimeoutError:
            yield
        finally:
            for filler in fillers:
                filler.close()


def seconds_to_first_chunk(fetcher: Service, name: str, target: Path, tried_in_vain: int) -> float:
    """From the wish for this content to its first chunk; waits for the whole of it."""
    events = fetcher.events()
    begun, first, failovers = time.monotonic(), 0.0, 0
    identifier = fetcher.ask("POST", "downloads", {"name": name, "folder": str(target)})["id"]
    for event in events:
        kind = event.fields.get("kind")
        failovers += kind == "failover"
        if kind == "chunk":
            first = first or event.heard_at - begun
        if event.ends(identifier):
            break
    shutil.rmtree(target)
    if failovers != tried_in_vain:
        raise RuntimeError(f"{name}: {failovers} failovers where {tried_in_vain} are due")
    return first


def measure_failover(folder: Path) -> None:
    """Measure and tell."""
    home = Path(tempfile.mkdtemp(prefix="peershare-bench-", dir=folder))
    seeder, fetcher = Service(home / "seeder", SEEDER), Service(home / "fetcher", FETCHER)
    for stem in ("near", "refused", "dead"):
        (seeder.share / f"{stem}.bin").write_bytes(os.urandom(_FILE_BYTES))
    try:
        with swallowing(DEAD):
            fetcher.start()
            announce(REFUSING, "refused")
            announce(DEAD, "dead")
            seeder.start("--beacon-port", str(OTHER_BEACON_PORT))  # so all of it is classic
            wait_for(lambda: fetcher.knows("near"), "the announcements")
            _measure(fetcher, home)
    finally:
        fetcher.stop()
        seeder.stop()
        shutil.rmtree(home)


def _measure(fetcher: Service, home: Path) -> None:
    seconds: dict[str, list[float]] = {"near": [], "refused": [], "dead": []}
    for number in range(ROUNDS):
        for stem, taken in seconds.items():
            if stem != "dead" or number < DEAD_ROUNDS:
                target = home / f"{stem} {number}"
                taken.append(seconds_to_first_chunk(fetcher, stem, target, int(stem != "near")))
    medians = {stem: statistics.median(taken) for stem, taken in seconds.items()}
    print(f"failover, medians of {ROUNDS} ({DEAD_ROUNDS} for the dead address)")
    print(f"  the first chunk is there after {1000 * medians['near']:.1f} ms")
    for stem, goal in (("refused", GOAL_REFUSED_SECONDS), ("dead", GOAL_DEAD_SECONDS)):
        cost = medians[stem] - medians["near"]
        verdict = "reached" if cost <= goal else "MISSED"
        print(
            f"  a {stem} first address costs {1000 * cost:.1f} ms"
            f" (at most {1000 * goal:.0f} ms: {verdict})"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="what an unreachable first address costs")
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"), help="where all files lie")
    measure_failover(parser.parse_args().folder)
