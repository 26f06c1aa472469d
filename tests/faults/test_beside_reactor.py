"""Disk and database are touched by workers, so that a slow one stops nobody else."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.faults.disk import Call
from tests.faults.steps import _site
from tests.simnet.classic import ClassicPeer
from tests.simnet.network import GIGABIT
from tests.simnet.world import Machine, Simulation

# Of an open file the reactor reads what is in memory already, writes a small block where it came,
# and asks for its size: another thread would take longer to be told of it.
_DESCRIPTOR_CALLS = {"fstat", "fstatvfs", "pread", "preadv", "pwrite", "pwritev", "splice"}
# What is done there by name all the same, and why.
_EXCEPTIONS = (
    "download/starting.py",  # whether a start can be, which is answered at once
    "library/files.py:",  # a content that is opened to be served; what a start looks at
    "library/parts.py:",  # the destination of a start
    "state.py:",  # the lock, at the end
)


class BesideReactorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.simulation = Simulation("beside the reactor")
        self.addCleanup(self.simulation.close)
        self.machine, self.other = (self.simulation.add_machine(GIGABIT, GIGABIT) for _ in range(2))
        self.found: Counter[str] = Counter()
        self.by_workers = 0

    def watch(self) -> None:
        """Note from now on what is not done by a worker."""
        disk, machine = self.simulation.disk, self.machine

        def watch(call: Call) -> bool:
            if machine.workers is not None and machine.workers.working:
                self.by_workers += 1
            elif call.name not in _DESCRIPTOR_CALLS:
                self.found[f"{_site()}: {call.name}"] += 1
            return False

        disk.watched, disk.watch = machine.home, watch

    def put(self, machine: Machine, name: str, size: int) -> None:
        with self.simulation.disk.quiet():
            machine.put(name, self.simulation.random.randbytes(size))

    def begin(self) -> None:
        """Two nodes and a classic peer, each with something."""
        host, data = self.simulation.network.add_host(), self.simulation.random.randbytes(330_000)
        ClassicPeer(self.simulation, host, {"classic": data}, hardy=True)
        self.put(self.other, "film.bin", 330_000)
        self.put(self.other, "small.bin", 10_000)
        self.put(self.machine, "own.bin", 200_000)
        for machine in (self.machine, self.other):
            machine.start()
        self.simulation.run(5)
        self.watch()

    def transfer(self) -> None:
        """Downloads and uploads of every kind, and new files."""
        for name in ("film.bin", "small.bin", "classic"):
            self.machine.get(name)
        self.put(self.machine, "later.bin", 100_000)
        self.simulation.run(5)
        for name in ("own.bin", "later.bin"):
            self.other.get(name)
        self.simulation.run(40)
        with self.simulation.disk.quiet():
            self.assertTrue(self.machine.has_all and self.other.has_all)

    def ask(self, folder: Path) -> None:
        """What people ask of it, and give it."""
        node = self.machine.node
        assert node is not None and self.machine.workers is not None
        with self.simulation.disk.quiet():
            folder.mkdir()
            (folder / "shared.bin").write_bytes(b"shared" * 100)
        asked = [node.share(folder / "shared.bin"), node.history(10), node.verify(None)]
        for given_up in (False, True):
            writer = node.receive_share(f"received {given_up}", 5)
            self.machine.workers(writer.write, b"12345")
            writer.abort() if given_up else asked.append(writer.finish())
        node.node_status(), node.contents(), node.peers(), node.counters(), node.downloads()
        waiting = self.machine.get("not there")
        for change in (node.pause_download, node.resume_download, node.stop_download):
            change(waiting.id)
        self.simulation.run(40)
        for deferred in asked:
            self.successResultOf(deferred)

    def test_everything(self) -> None:
        """From a start on, up to and including the end."""
        self.begin()
        self.transfer()
        self.ask(self.machine.home / "other")
        self.machine.stop()
        self.simulation.run(5)
        left = {site for site in self.found if not site.startswith(_EXCEPTIONS)}
        self.assertEqual(left, set(), "\n".join(sorted(left)))
        self.assertGreater(self.by_workers, 100)
