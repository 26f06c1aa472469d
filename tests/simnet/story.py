"""A story from a seed: some peers, some contents, a list of things that go wrong, and an end.

What must come true in each: whoever keeps a path to a content finishes with the right bytes,
nothing wrong is ever given a final name, no node logs an error that it did not expect, and no
classic peer is ever sent a native byte.  Not for: how a fault is done (`faults`), or speed.
"""

from __future__ import annotations

from random import Random
from typing import TextIO

from msgspec import Struct, field

from peershare.content.blocks import BlockSet, block_range
from peershare.content.manifest import Manifest, manifest_of
from peershare.library.parts import PART_FOLDER
from peershare.status import FINAL_STATES
from tests.simnet.classic import ClassicPeer
from tests.simnet.faults import Faults
from tests.simnet.wishes import Wish
from tests.simnet.world import Machine, Simulation

PEERS = 8
NAME = "film.bin"
# Once all faults are over everybody has so long to finish.
_PATIENCE_SECONDS = 400.0
_LONGEST_FAULT_SECONDS = 8.0
_ASK_SECONDS = 1.0
# A node takes a moment to end; what classic peers still send is dropped for 10 s after that.
_STOP_SECONDS = 10.0
_DRAIN_SECONDS = 12.0


class Outcome(Struct):
    """How a story went; `problems` is empty if all that must be true was."""

    seed: int
    problems: list[str] = field(default_factory=list)
    plot: list[str] = field(default_factory=list)  # what was drawn
    digest: str = ""  # of all that happened, and of what lay on the disks in the end
    seconds: float = 0.0
    events: int = 0


class Story:
    """Made from its seed; `run` tells it."""

    def __init__(self, seed: int, text: TextIO | None = None) -> None:
        self.seed = seed
        self._random = Random(f"{seed}/story")
        slow_workers = self._random.choice((0.0, 0.002, 0.05))
        self._simulation = Simulation(seed, text=text, worker_seconds=slow_workers)
        self._faults = Faults(self._simulation, self._random)
        self._wishes: list[Wish] = []
        self._classic: ClassicPeer | None = None
        self._contents: list[bytes] = []
        self._outcome = Outcome(seed)

    def run(self) -> Outcome:
        """Tell it from the beginning to the end."""
        simulation, outcome = self._simulation, self._outcome
        try:
            self._draw()
            outcome.plot = [*outcome.plot, *self._faults.drawn]
            simulation.run(self._span + _LONGEST_FAULT_SECONDS)
            self._faults.end()
            simulation.run_until(self._over, _PATIENCE_SECONDS, 0.25)
            outcome.seconds = simulation.elapsed
            self._judge()
            self._end()
        finally:
            outcome.events = simulation.clock.events
            outcome.digest = simulation.trace.digest
            outcome.problems += simulation.errors
            simulation.close()
        return outcome

    # -- the beginning

    def _draw(self) -> None:
        """Who is there, who has and wants what, and what goes wrong."""
        random, plot = self._random, self._outcome.plot
        one = self._draw_content()
        self._contents = [one]
        self._draw_network(len(one))
        machines = [self._draw_machine() for _ in range(PEERS)]
        seeds = machines[: random.choice((1, 1, 2, 3))]
        for machine in seeds:
            machine.put(NAME, one)
        plot.append(f"{len(seeds)} seeds of {len(one)} bytes, links of {self._rate:.0f} bytes/s")
        others = machines[len(seeds) :]
        query = NAME
        if random.random() < 0.25:
            two = self._draw_content()
            self._contents.append(two)
            others[-1].put(NAME, two)
            query = manifest_of(one).content_id
            for machine in others[:-1]:
                if random.random() < 0.5:
                    self._wish(machine, two, manifest_of(two).content_id)
            plot.append(f"another content of that name, {len(two)} bytes")
        elif random.random() < 0.5:
            query = manifest_of(one).content_id
        if len(self._contents) == 2:
            others = others[:-1]
        # where only some want it, there are fewer to turn to
        for machine in others[: random.choice((1, 2, PEERS, PEERS, PEERS))]:
            self._wish(machine, one, query)
        self._draw_classic(one)
        self._draw_faults(machines, seeds)

    def _draw_network(self, size: int) -> None:
        """Links on which the content takes a moment, or a while; faults come in this time."""
        random, now = self._random, self._simulation.network.conditions
        seconds = random.choice((0.2, 1.0, 4.0))
        self._rate = max(100_000.0, size / seconds)
        self._span = 3.0 + 4 * size / self._rate
        now.latency_seconds = random.choice((0.0002, 0.002, 0.03))
        now.jitter_seconds = now.latency_seconds * random.choice((0.1, 2.0))
        now.loss = random.choice((0.0, 0.1, 0.3))
        now.duplication = random.choice((0.0, 0.1))
        now.reordering = random.choice((0.0, 0.3))
        self._outcome.plot.append(f"{now}")

    def _draw_machine(self) -> Machine:
        limits = {}
        for limit in ("upload_limit_bytes_per_second", "download_limit_bytes_per_second"):
            if self._random.random() < 0.1:
                limits[limit] = self._rate * self._random.uniform(0.2, 1)
        return self._simulation.add_machine(self._rate, self._rate, **limits)

    def _draw_content(self) -> bytes:
        size = self._random.choice((1, 5, 65_536, 65_537, 300_000, 1_000_000, 3_000_000))
        return self._random.randbytes(self._random.randint(max(1, size // 2), size))

    def _wish(self, machine: Machine, data: bytes, query: str) -> None:
        """Wanted at once, or by somebody who joins late; asked for again until it is understood."""
        late = self._random.random() < 0.3
        at = self._random.uniform(0, self._span if late else 2.0)
        wish = Wish(machine, data, query, at)
        wish.sequential = self._random.random() < 0.2
        self._wishes.append(wish)
        if self._random.random() < 0.1:
            self._simulation.clock.after(at + self._random.uniform(0, 3), self._regret, wish)

    def _draw_classic(self, data: bytes) -> None:
        """Perhaps a peer that only speaks the classic protocol has the content too."""
        if self._random.random() < 0.3 and len(data) > 16:
            host = self._simulation.network.add_host(self._rate, self._rate)
            self._classic = ClassicPeer(self._simulation, host, {NAME: data}, hardy=True)
            self._outcome.plot.append(f"a classic peer at {host.address}")

    def _draw_faults(self, machines: list[Machine], seeds: list[Machine]) -> None:
        random, clock = self._random, self._simulation.clock
        late = {w.machine: w.at for w in self._wishes if w.at > 2 and random.random() < 0.5}
        for machine in machines:
            clock.after(max(0.0, late.get(machine, 0) - 0.5), self._first_start, machine)
        self._keep_asking()
        if random.random() < 0.4:
            spoiling = random.choice([m for m in machines if m is not seeds[0]])
            # a lone source gives right bytes, too, and then it must not be lost
            alone = spoiling is machines[-1] and len(self._contents) == 2
            self._faults.spoil(spoiling, 0.3 if alone else random.choice((0.1, 0.5, 1.0)))
        by_id = all(wish.query != NAME for wish in self._wishes)
        if random.random() < 0.2 and by_id:
            at = random.uniform(0.5, self._span)
            self._outcome.plot.append(f"{at:.2f} {seeds[-1].host.address} changes its file")
            clock.after(at, self._change, seeds[-1])
        if random.random() < 0.15 and self._classic is None:
            at = random.uniform(1, self._span)
            self._outcome.plot.append(f"{at:.2f} the seeds leave for good")
            for machine in seeds:
                clock.after(at, self._leave, machine)
        longest = random.choice((1.0, _LONGEST_FAULT_SECONDS))
        self._faults.draw(random.choice((0, 2, 5, 10, 20)), self._span, longest)

    # -- what happens meanwhile

    def _first_start(self, machine: Machine) -> None:
        if not machine.starts:
            machine.start()

    def _leave(self, machine: Machine) -> None:
        machine.gone = True
        if machine.node is not None:
            machine.kill()

    def _regret(self, wish: Wish) -> None:
        """The user stops all downloads, and wants them again a moment later."""
        wish.machine.give_up()
        self._simulation.clock.after(self._random.uniform(0, 3), self._want_again, wish.machine)

    def _want_again(self, machine: Machine) -> None:
        for wish in self._wishes:
            wish.asked = wish.asked and wish.machine is not machine

    def _change(self, machine: Machine) -> None:
        """A user changes the file that is being shared."""
        self._simulation.note("changed", machine.host.address)
        self._contents.append(self._random.randbytes(len(self._contents[0])))
        machine.put(NAME, self._contents[-1])

    def _keep_asking(self) -> None:
        for wish in self._wishes:
            if wish.at <= self._simulation.elapsed:
                wish.ask()
        self._simulation.clock.after(_ASK_SECONDS, self._keep_asking)

    # -- the end

    def _over(self) -> bool:
        if any(not wish.machine.gone and not wish.granted for wish in self._wishes):
            return False
        return all(
            status.state in FINAL_STATES
            for machine in self._simulation.machines
            for status in machine.downloads()
        )

    def _judge(self) -> None:
        """What must be true by now."""
        problems = self._outcome.problems
        for wish in self._wishes:
            if not wish.machine.gone and not wish.granted and self._reachable(wish.data):
                problems.append(
                    f"{wish.machine.host.address} did not get {len(wish.data)} bytes"
                    f" ({wish.query}): {self._shown(wish.machine)}"
                )
        for machine in self._simulation.machines:
            for name, data in machine.files().items():
                self._simulation.note(f"{machine.host.address} has {name}", f"{len(data)}")
                if data not in self._contents:
                    problems.append(f"{machine.host.address}: {name} has wrong bytes")
        if self._classic is not None and self._classic.died_of:
            problems.append(f"the classic peer died of {self._classic.died_of}")

    def _reachable(self, data: bytes) -> bool:
        """Whether all of a content is still held by those who are there."""
        manifest = manifest_of(data)
        union = BlockSet(manifest.block_count)
        for machine in self._simulation.machines:
            if not machine.gone:
                for held in (*machine.files().values(), *_parts(machine)):
                    _add_blocks(union, manifest, held)
        return union.complete

    def _shown(self, machine: Machine) -> str:
        shown = [
            f"{s.state} {s.received} of {s.size} bytes, {s.problem or 'no problem'}"
            for s in machine.downloads()
        ]
        return "; ".join(shown) or "no download"

    def _end(self) -> None:
        """All nodes end in order, and leave nothing behind."""
        simulation = self._simulation
        running = [machine for machine in simulation.machines if machine.node is not None]
        for machine in running:
            machine.stop()
        simulation.run_until(lambda: all(m.idle for m in running), _STOP_SECONDS)
        simulation.run(_DRAIN_SECONDS)
        for machine in running:
            if not machine.idle:
                self._outcome.problems.append(f"{machine.host.address} does not end")
            self._outcome.problems += [
                f"{machine.host.address} ended, and {left}" for left in machine.leftovers()
            ]


def _parts(machine: Machine) -> list[bytes]:
    """The part files of a machine."""
    return [path.read_bytes() for path in sorted((machine.share / PART_FOLDER).glob("*.part"))]


def _add_blocks(held: BlockSet, manifest: Manifest, data: bytes) -> None:
    """Add the blocks of a content that these bytes hold."""
    for index in held.copy().missing():
        where = block_range(index, manifest.size)
        if manifest.check(index, data[where.start : where.stop]):
            held.add(index)
