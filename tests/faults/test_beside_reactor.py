"""Disk and database are touched by workers alone, so that a slow one stops nobody else."""

from __future__ import annotations

from collections import Counter
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.faults.disk import Call
from tests.faults.steps import _site
from tests.simnet.classic import ClassicPeer
from tests.simnet.network import GIGABIT
from tests.simnet.world import Machine, Simulation

# What the reactor may do itself: on an open descriptor, and into the page cache.
_QUICK: dict[str, str] = {}


def chain():
    import sys

    frame = sys._getframe(2)
    out = []
    while frame is not None and len(out) < 5:
        n = frame.f_code.co_filename
        if "/peershare/" in n and "/tests/" not in n:
            out.append(frame.f_code.co_qualname)
        frame = frame.f_back
    return " < ".join(out[1:4])


class BesideReactorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.simulation = Simulation(1)
        self.addCleanup(self.simulation.close)
        self.found: Counter[tuple[str, str]] = Counter()

    def watch(self, machine: Machine) -> None:
        disk = self.simulation.disk

        def watch(call: Call) -> bool:
            if machine.workers is not None and not machine.workers.working:
                self.found[_site() + chain(), call.name] += 1
            return False

        disk.watched, disk.watch = machine.home, watch

    def machine(self, **settings: Any) -> Machine:
        return self.simulation.add_machine(GIGABIT, GIGABIT, **settings)

    def test_everything(self) -> None:
        one, two = self.machine(), self.machine()
        data = self.simulation.random.randbytes(330_000)
        small = self.simulation.random.randbytes(10_000)
        ClassicPeer(
            self.simulation, self.simulation.network.add_host(), {"classic.bin": data}, hardy=True
        )
        one.put("film.bin", data)
        one.put("small.bin", small)
        two.put("own.bin", data[:200_000])
        one.start()
        two.start()
        self.simulation.run(5)
        self.watch(two)
        assert two.node is not None and one.node is not None
        two.get("film.bin")
        two.get("small.bin")
        two.get("classic.bin")
        with self.simulation.disk.quiet():
            two.put("later.bin", data[:100_000])
        self.simulation.run(5)
        one.get("own.bin")
        one.get("later.bin")
        self.simulation.run(5)
        two.get("film.bin")
        two.get("own.bin")
        other = two.home / "other"
        with self.simulation.disk.quiet():
            self.assertTrue(two.has_all, two.downloads())
            other.mkdir()
            (other / "shared.bin").write_bytes(small[:5000])
        two.node.start_download("film.bin", other)
        two.node.share(other / "shared.bin")
        two.node.history(10)
        two.node.contents()
        two.node.peers()
        two.node.counters()
        two.node.verify(None)
        two.node.node_status()
        w = two.node.receive_share("received.bin", 5)
        two.workers(w.write, b"12345")
        w.finish()
        w = two.node.receive_share("aborted.bin", 5)
        two.workers(w.write, b"123")
        w.abort()
        for d in two.downloads():
            two.node.block_map(d.id)
        self.simulation.run(40)
        s = two.get("not there")
        two.node.pause_download(s.id)
        two.node.resume_download(s.id)
        two.node.stop_download(s.id)
        self.simulation.run(5)
        two.stop()
        self.simulation.run(5)
        lines = [f"{n:4} {name:10} {site}" for (site, name), n in self.found.most_common()]
        self.assertEqual(lines, [], "\n".join(lines))
