"""How long a new peer takes to know every chunk of 20 others, on loopback and the standard ports.

The others are 20 whole nodes, each with an address, a share and a state folder of its own, in
one process; the new one is a node in this process, timed from its start (Python has been loaded
by then) to the moment at which its dictionary holds all they share.  It shares files too, which
lie there before it starts: a peer that has nothing to tell is not noticed.  A peer answers
newcomers at most once in 10 s, so the rounds are further apart than that.

    python bench/discovery.py [--rounds 10] [--peers 20] [--files 5]
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from services import BROADCAST
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import deferLater, react

from peershare.announcer import ANSWER_GAP_SECONDS
from peershare.node import Node, make_node, use_monotonic_clock
from peershare.settings import load_settings

GOAL_SECONDS = 0.5
_FILE_BYTES = 100_000
_PATIENCE_SECONDS = 30.0
_LOOK_SECONDS = 0.002
_CHUNKS = 5


def make_files(home: Path, address: str, count: int) -> None:
    """So many small files for a peer to share."""
    share = home / address / "share"
    share.mkdir(parents=True)
    for number in range(count):
        (share / f"from {address.replace('.', '-')} {number}.bin").write_bytes(b"x" * _FILE_BYTES)


def make_peer(reactor: object, home: Path, address: str) -> Node:
    """A node with this address, whose files are there."""
    share, state = home / address / "share", home / address / "state"
    flags = {"share": [str(share)], "state": [str(state)], "address": [address]}
    settings = load_settings({**flags, "broadcast": [BROADCAST]}, {})
    return make_node(settings, reactor, resume=False)


async def until(reactor: object, condition: Callable[[], bool], what: str) -> None:
    """Look every 2 ms until the condition holds.  Raises `RuntimeError` after 30 s."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited {_PATIENCE_SECONDS:.0f} s in vain for {what}")
        await deferLater(reactor, _LOOK_SECONDS)


# -- the 20 others, in a process of their own


async def run_crowd(reactor: object, home: Path, peers: int, files: int) -> None:
    """Run them until our standard input ends; say on standard output when all know all."""
    addresses = crowd_addresses(peers)
    for address in addresses:
        make_files(home, address, files)
    nodes = [make_peer(reactor, home, address) for address in addresses]
    for node in nodes:
        node.startService()
    wanted = (peers - 1) * files * _CHUNKS
    others = set(addresses)
    await until(reactor, lambda: all(known(n, others) == wanted for n in nodes), "the crowd")
    print("ready", flush=True)
    ended: Deferred[None] = Deferred()
    reactor.callInThread(lambda: (sys.stdin.read(), reactor.callFromThread(ended.callback, None)))
    await ended
    for node in nodes:
        await node.stopService()


def crowd_addresses(peers: int) -> list[str]:
    """The addresses of the others."""
    return [f"127.0.2.{100 + number}" for number in range(peers)]


def known(node: Node, others: set[str]) -> int:
    """How many chunks this node has been told by these addresses."""
    return sum(peer.chunks for peer in node.peers() if peer.address in others)


# -- the new one


def knows_all(node: Node, others: set[str], wanted: int) -> bool:
    """Whether it has been told so many chunks by the others."""
    return known(node, others) == wanted


async def measure(reactor: object, home: Path, rounds: int, peers: int, files: int) -> None:
    """Have a new peer come so many times, each with a new address; tell the median."""
    wanted, others = peers * files * _CHUNKS, set(crowd_addresses(peers))
    taken = []
    await deferLater(reactor, ANSWER_GAP_SECONDS)  # they have still to answer each other
    for number in range(1, rounds + 1):
        address = f"127.0.2.{200 + number}"
        make_files(home, address, files)
        await deferLater(reactor, ANSWER_GAP_SECONDS + 2.0)
        node = make_peer(reactor, home, address)
        begun = time.monotonic()
        node.startService()
        await until(reactor, partial(knows_all, node, others, wanted), "all chunks")
        taken.append(time.monotonic() - begun)
        print(f"  round {number}: {wanted} chunks after {taken[-1]:.3f} s", flush=True)
        await node.stopService()
    median = statistics.median(taken)
    verdict = "reached" if median <= GOAL_SECONDS else "MISSED"
    print(
        f"  median {median:.3f} s (at most {GOAL_SECONDS} s: {verdict}), worst {max(taken):.3f} s"
    )


def start_crowd(home: Path, peers: int, files: int) -> subprocess.Popen[str]:
    """The others; they end when their standard input does."""
    command = [sys.executable, __file__, "--crowd", str(home)]
    command += ["--peers", str(peers), "--files", str(files)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


async def run_bench(reactor: object, rounds: int, peers: int, files: int) -> None:
    """Start the crowd, measure, end it."""
    home = Path(tempfile.mkdtemp(prefix="peershare-bench-"))
    crowd = start_crowd(home / "crowd", peers, files)
    try:
        print(f"{peers} peers with {files} files each, {rounds} rounds", flush=True)
        if crowd.stdout is None or crowd.stdout.readline() != "ready\n":
            raise RuntimeError("the crowd did not come up")
        await measure(reactor, home, rounds, peers, files)
    finally:
        crowd.communicate("", timeout=_PATIENCE_SECONDS)
        shutil.rmtree(home)


def main() -> None:
    """Measure and tell; with `--crowd`, be the others."""
    parser = argparse.ArgumentParser(description="how fast a new peer knows what there is")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--peers", type=int, default=20)
    parser.add_argument("--files", type=int, default=5)
    parser.add_argument("--crowd", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()

    def run(reactor: object) -> Deferred[None]:
        use_monotonic_clock(reactor)
        peers, files = arguments.peers, arguments.files
        if arguments.crowd is not None:
            return ensureDeferred(run_crowd(reactor, arguments.crowd, peers, files))
        return ensureDeferred(run_bench(reactor, arguments.rounds, peers, files))

    react(run)


if __name__ == "__main__":
    main()
