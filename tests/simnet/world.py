"""The nodes of a simulation, their folders, and what can be done to them.

A `Simulation` is one network with all that is on it; a `Machine` is one computer, on which a real
`Node` runs, is killed, and runs again on the same folders.
Not for: what happens when (`scenario`).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, TextIO, cast

from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.logger import ILogObserver, LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure

from peershare.library import indexfile
from peershare.library.index import Index
from peershare.node import Node
from peershare.settings import Settings
from peershare.state import StateLock, make_private_folder
from peershare.status import FINAL_STATES, DownloadState, DownloadStatus
from peershare.wiring import World
from tests.faults.disk import SimDisk
from tests.simnet.clock import START_SECONDS, SimClock
from tests.simnet.network import GIGABIT, Host, Network
from tests.simnet.reactor import SimReactor
from tests.simnet.trace import Trace

# The virtual clock is far ahead of the times of real files: these are at rest at once.
WALL_START = 4_000_000_000.0
_TMPFS = "/dev/shm"


class Machine:
    """One computer on the network."""

    def __init__(self, simulation: Simulation, host: Host, settings: Mapping[str, Any]) -> None:
        self.simulation = simulation
        self.host = host
        self.home = simulation.root / f"{host.number}"
        self.share = self.home / "share"
        self.share.mkdir(parents=True)
        self.node: Node | None = None
        self.workers: Workers | None = None
        self.starts = 0
        self.gone = False  # for good
        self.idle = True  # nothing runs on it, and nothing is just ending
        self._settings = Settings(share=self.share, state=self.home / "state", **settings)
        self._reactor: SimReactor | None = None
        self._index: Index | None = None  # of a node that runs, or did not come to that

    # -- the process

    def start(self) -> None:
        """Start a node on the folders of this machine; its downloads go on."""
        simulation = self.simulation
        self.starts += 1
        self.idle = False
        simulation.note("start", self.host.address)
        reactor = self._reactor = SimReactor(simulation.clock, self.host)
        random = Random(f"{simulation.seed}/{self.host.number}/{self.starts}")
        workers = self.workers = Workers(reactor, random, simulation.worker_seconds)
        world = World(
            reactor=reactor,
            workers=workers,
            hashers=workers,
            wall_clock=simulation.wall_clock,
            random=random,
            interfaces=self.host.interfaces,
            watch=False,
            cpu=lambda: 0.0,
        )
        try:
            self.node = self._made(world)
            self.node.startService()
        except BaseException:
            reactor.die()
            self.idle = True
            raise

    def _made(self, world: World) -> Node:
        """As `make_node` does it."""
        settings = self._settings
        lock = StateLock(settings.state)
        try:
            make_private_folder(settings.share)
            self._index = Index(settings.state)
            return Node(settings, world, lock, self._index, resume=True)
        except Exception:
            if self._index is not None:
                self._index.close()
            lock.release()
            raise

    def stop(self) -> Deferred[Any]:
        """End the node as a user does; fires when it has ended."""
        node, self.node = self.node, None
        if node is None:
            raise ValueError(f"{self.host.address}: nothing runs there")
        self.simulation.note("stop", self.host.address)
        return maybeDeferred(node.stopService).addCallback(self._stopped)

    def _stopped(self, _: object) -> None:
        self.idle = True
        self.simulation.note("stopped", self.host.address)

    def kill(self) -> None:
        """Kill the process; its kernel closes what it had open."""
        self.simulation.note("kill", self.host.address)
        self._die()
        self.host.kill()

    def power_off(self) -> None:
        """Cut the power: nobody is told; `start` after `host.power_on`."""
        self.simulation.note("power off", self.host.address)
        self._die()
        self.host.power_off()
        self.simulation.disk.lose_power(self.home, self.simulation.random)

    def _die(self) -> None:
        if self._reactor is None:
            raise ValueError(f"{self.host.address}: nothing runs there")
        self._reactor.die()
        # SQLite's files are closed by SQLite: it keeps more in mind than their descriptors
        if self._index is not None:
            self._index.abandon()
        self.simulation.disk.drop_descriptors(self.home)
        if self.node is not None:
            self.simulation.graveyard.append(self.node)
        self.node = self._index = None
        self.idle = True

    def leftovers(self) -> list[str]:
        """What a node that has ended should not have left behind."""
        found = [f"{call} is still to come" for call in self._calls()]
        found += [f"{path} is open" for path in self.simulation.disk.open_below(self.home)]
        found += [f"it still listens on {where}" for where in self.host.listeners]
        return found + [f"a UDP socket is open: {s.local}" for s in self.host.datagrams]

    def _calls(self) -> list[str]:
        return [] if self._reactor is None else list(map(str, self._reactor.getDelayedCalls()))

    # -- what a user does

    def put(self, name: str, data: bytes) -> None:
        """Put a file into the share folder, or other bytes into one that is there."""
        path = self.share / name
        path.write_bytes(data)
        # the times of real files are too coarse for two changes within a moment
        moment = int(self.simulation.elapsed * 1e9)
        os.utime(path, ns=(moment, moment))

    def get(self, name: str, *, sequential: bool = False) -> DownloadStatus:
        """Ask for a content."""
        if self.node is None:
            raise ValueError(f"{self.host.address}: nothing runs there")
        return self.node.start_download(name, None, sequential=sequential)

    def give_up(self) -> None:
        """Stop all downloads."""
        for status in self.downloads():
            if self.node is not None and status.state not in FINAL_STATES:
                self.node.stop_download(status.id)

    def downloads(self) -> tuple[DownloadStatus, ...]:
        """As the node shows them; none while it does not run."""
        return () if self.node is None else self.node.downloads()

    @property
    def has_all(self) -> bool:
        """Whether it runs, was asked for something, and has all of it."""
        states = [status.state for status in self.downloads()]
        return bool(states) and all(state is DownloadState.DONE for state in states)

    def files(self) -> dict[str, bytes]:
        """What lies in the share folder under a final name."""
        return {path.name: path.read_bytes() for path in self._paths()}

    def has(self, data: bytes) -> bool:
        """Whether one of these files has exactly these bytes."""
        paths = [path for path in self._paths() if path.stat().st_size == len(data)]
        return any(path.read_bytes() == data for path in paths)

    def _paths(self) -> list[Path]:
        found = sorted(path for path in self.share.iterdir() if not path.name.startswith("."))
        return [path for path in found if path.is_file()]


class Workers:
    """What blocks, done at once; or after a while, as if it had been done in a thread."""

    def __init__(self, reactor: SimReactor, random: Random, most_seconds: float) -> None:
        self._reactor = reactor
        self._random = random
        self._most_seconds = most_seconds
        self.working = False  # what is done right now is done by a worker

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """Fires with what the function returned."""
        if not self._most_seconds:
            try:
                return succeed(self._work(partial(function, *arguments)))
            except Exception:  # and nothing of a process that dies
                return fail()
        done: Deferred[Any] = Deferred()
        seconds = self._most_seconds * self._random.random()
        self._reactor.callLater(seconds, self._do, done, partial(function, *arguments))
        return done

    def _work(self, work: Callable[[], Any]) -> Any:
        before, self.working = self.working, True
        try:
            return work()
        finally:
            self.working = before

    def _do(self, done: Deferred[Any], work: Callable[[], Any]) -> None:
        result = maybeDeferred(self._work, work)
        if not done.called:
            result.chainDeferred(done)


class Simulation:
    """A network of machines; everything on it follows from the seed.  To be closed."""

    def __init__(
        self, seed: object, *, text: TextIO | None = None, worker_seconds: float = 0.0
    ) -> None:
        """`text` gets a line for each thing that happens; blocking work takes up to so long."""
        self.seed = seed
        self.worker_seconds = worker_seconds
        self.random = Random(f"{seed}")
        self.errors: list[str] = []  # what nodes logged as an unexpected error
        self.graveyard: list[Node] = []  # nothing of a killed node may be cleaned up
        self.clock = SimClock(self._failed)
        self.trace = Trace(text)
        self.network = Network(self.clock, Random(f"{seed}/network"), self.trace)
        self.machines: list[Machine] = []
        folder = _TMPFS if os.access(_TMPFS, os.W_OK) else None
        self.root = Path(tempfile.mkdtemp(prefix="peershare-simnet-", dir=folder))
        self.disk = SimDisk()
        # no real time goes by while a start waits for a failing disk
        self._sleep, indexfile.sleep = indexfile.sleep, lambda seconds: None
        self._observer = cast(ILogObserver, self._logged)
        globalLogPublisher.addObserver(self._observer)

    def add_machine(
        self, up_rate: float = GIGABIT, down_rate: float = GIGABIT, **settings: Any
    ) -> Machine:
        """One more machine, on which nothing runs yet; rates are bytes a second."""
        machine = Machine(self, self.network.add_host(up_rate, down_rate), settings)
        self.machines.append(machine)
        return machine

    def close(self) -> None:
        """Nothing runs any more, and nothing is left of it."""
        for machine in self.machines:
            if machine.node is not None:
                machine.power_off()
        globalLogPublisher.removeObserver(self._observer)
        self.disk.restore()
        indexfile.sleep = self._sleep
        shutil.rmtree(self.root, ignore_errors=True)

    # -- time

    @property
    def elapsed(self) -> float:
        """Virtual seconds since the beginning."""
        return self.clock.now - START_SECONDS

    def wall_clock(self) -> float:
        """Unix time on all machines."""
        return WALL_START + self.elapsed

    def run(self, seconds: float) -> None:
        """Let time go by."""
        self.clock.run(self.clock.now + seconds)

    def run_until(self, condition: Callable[[], bool], seconds: float, step: float = 0.05) -> bool:
        """Let time go by until it holds, for so many seconds at most; whether it held."""
        end = self.clock.now + seconds
        while not condition():
            if self.clock.now >= end:
                return False
            self.clock.run(min(end, self.clock.now + step))
        return True

    # -- what happens

    def note(self, what: str, who: str) -> None:
        """For the trace."""
        self.trace.note(self.clock.now, f"{what} {who}")

    def _failed(self, error: Exception) -> None:
        """A call of the reactor raised something."""
        self.errors.append(Failure(error).getTraceback())

    def _logged(self, event: Any) -> None:
        """Something was logged; what was not expected is kept."""
        failure = event.get("log_failure")
        text = f"{self.clock.who} {event.get('log_namespace', '')}: {formatEvent(event)}"
        if failure is not None or event["log_level"] is LogLevel.critical:
            trace = failure.getTraceback() if failure is not None else ""
            self.errors.append(f"{self.clock.now:.6f} {text}\n{trace}")
        if event["log_level"] is not LogLevel.debug:
            self.trace.remark(self.clock.now, f"log {text}")
