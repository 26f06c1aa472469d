"""One content to many at once, on equal links and without faults: how long it takes.

Not for: faults (`story`).
"""

from __future__ import annotations

from msgspec import Struct

from peershare.content.manifest import manifest_of
from tests.simnet.world import Simulation

# Everybody knows everybody by then.
_WARM_UP_SECONDS = 3.0


class Measured(Struct):
    """What came of it; seconds are virtual."""

    seconds: float  # until the last one had everything, from the moment when all asked
    bound: float  # what the bytes take on one link
    copies: float  # that the seed uploaded
    errors: list[str]
    digest: str

    def __str__(self) -> str:
        return (
            f"{self.seconds:.2f} s, {self.seconds / self.bound:.2f} x the bound,"
            f" {self.copies:.2f} copies by the seed"
        )


def measure(seed: int, peers: int, size: int, rate: float) -> Measured:
    """`peers` fetch `size` bytes from one more, who alone has them; all links have one rate."""
    simulation = Simulation(seed)
    try:
        machines = [simulation.add_machine(rate, rate) for _ in range(peers + 1)]
        data = simulation.random.randbytes(size)
        machines[0].put("film.bin", data)
        for machine in machines:
            machine.start()
        simulation.run(_WARM_UP_SECONDS)
        begin = simulation.elapsed
        for machine in machines[1:]:
            machine.get(manifest_of(data).content_id)
        bound = size / rate
        simulation.run_until(lambda: all(m.has_all for m in machines[1:]), 10 * bound, bound / 200)
        seconds = simulation.elapsed - begin
        copies = machines[0].host.sent_bytes / size
        lacking = [m.host.address for m in machines if not m.has(data)]
        errors = [f"{address} has it not" for address in lacking] + simulation.errors
        return Measured(seconds, bound, copies, errors, simulation.trace.digest)
    finally:
        simulation.close()
