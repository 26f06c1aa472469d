"""Machines, and peers that are no good."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from peershare.wire.messages import Block, Content, Hello, encode
from tests.simnet.classic import ClassicPeer
from tests.simnet.spoiling import Spoiler
from tests.simnet.world import Machine, Simulation

CONTENT = "b3:" + "0" * 64


class SpoilerTests(SynchronousTestCase):
    """Blocks are spoilt, and nothing else is."""

    def stream(self, count: int) -> bytes:
        content = Content(content=CONTENT, size=9, length=33, digests=32, bitmap=1)
        parts = [encode(Hello(versions=(1,))), encode(content), b"\n{\n" * 11]
        for index in range(count):
            parts += [encode(Block(content=CONTENT, index=index, length=7)), b"a\nblock"]
        return b"".join(parts)

    def spoil(self, data: bytes, rate: float, piece: int) -> bytes:
        spoiler = Spoiler(Random(1), rate)
        pieces = [data[at : at + piece] for at in range(0, len(data), piece)]
        return b"".join(map(spoiler.pass_on, pieces))

    def test_every_block(self) -> None:
        """One byte of each, however the stream is cut into pieces."""
        data = self.stream(10)
        spoilt = self.spoil(data, 1.0, len(data))
        self.assertEqual(len(spoilt), len(data))
        wrong = [at for at in range(len(data)) if spoilt[at] != data[at]]
        self.assertEqual(len(wrong), 10)
        for piece in (1, 7, 64):
            self.assertEqual(self.spoil(data, 1.0, piece), spoilt)

    def test_some(self) -> None:
        """As many as was said."""
        data = self.stream(500)
        spoilt = self.spoil(data, 0.1, 4_096)
        wrong = sum(one != other for one, other in zip(data, spoilt, strict=True))
        self.assertApproximates(wrong, 50, 25)

    def test_classic(self) -> None:
        """A classic answer is not touched."""
        data = b"bytes of a chunk" + self.stream(3)
        self.assertEqual(self.spoil(data, 1.0, 100), data)


class MachineTests(SynchronousTestCase):
    """Nodes start, fetch, die and start again on virtual time."""

    def setUp(self) -> None:
        self.simulation = Simulation("machines")
        self.addCleanup(self.simulation.close)
        self.data = self.simulation.random.randbytes(1_000_000)

    def machines(self, count: int, rate: float = 1_000_000.0) -> list[Machine]:
        made = [self.simulation.add_machine(rate, rate) for _ in range(count)]
        made[0].put("film.bin", self.data)
        for machine in made:
            machine.start()
        self.simulation.run(2)
        return made

    def assert_gets(self, machine: Machine, seconds: float) -> None:
        got = self.simulation.run_until(lambda: machine.has(self.data), seconds)
        self.assertTrue(got, machine.downloads())
        self.simulation.run(1)
        self.assertTrue(machine.has_all)
        self.assertEqual(self.simulation.errors, [])

    def test_download(self) -> None:
        """One node fetches from another as fast as the link allows."""
        _, fetching = self.machines(2)
        fetching.get("film.bin")
        begin = self.simulation.elapsed
        self.assert_gets(fetching, 5)
        self.assertLess(self.simulation.elapsed - begin, 2.5)

    def test_failover(self) -> None:
        """The peer that gives is killed: another one gives the rest."""
        first, fetching, second = self.machines(3)
        second.get("film.bin")
        self.assert_gets(second, 5)
        fetching.get("film.bin")
        self.simulation.run(0.3)
        first.kill()
        self.assert_gets(fetching, 60)

    def test_resumed(self) -> None:
        """A killed downloader goes on by itself when it is back, with what it had."""
        for die in ("kill", "power_off"):
            _, fetching = self.simulation.machines or self.machines(2)
            fetching.get("film.bin")
            self.simulation.run(0.6)
            getattr(fetching, die)()
            self.simulation.run(3)
            self.assertFalse(fetching.has(self.data))
            fetching.host.power_on()
            fetching.start()
            self.assert_gets(fetching, 60)
            (fetching.share / "film.bin").unlink()
            self.simulation.run(3)

    def test_orderly_end(self) -> None:
        """A node that was stopped in the middle of a download leaves nothing open."""
        machines = self.machines(2)
        machines[1].get("film.bin")
        self.simulation.run(0.4)
        for machine in machines:
            machine.stop()
        self.simulation.run(5)
        self.assertEqual([machine.leftovers() for machine in machines], [[], []])
        self.assertEqual(self.simulation.errors, [])

    def test_classic_peer(self) -> None:
        """A peer that speaks only the classic protocol is fetched from, and survives it."""
        (fetching,) = [self.simulation.add_machine()]
        classic = ClassicPeer(
            self.simulation, self.simulation.network.add_host(), {"film.bin": self.data}
        )
        fetching.start()
        self.simulation.run(1)
        fetching.get("film.bin")
        self.assert_gets(fetching, 30)
        self.simulation.run(100)
        self.assertEqual(classic.died_of, "")

    def test_back_with_a_new_instance(self) -> None:
        """A peer that was down for long is dialled at once when it is back."""
        giving, fetching = self.machines(2)
        fetching.get("film.bin")
        self.simulation.run(0.4)
        giving.kill()
        self.simulation.run(40)
        self.assertFalse(fetching.has(self.data))
        giving.start()
        self.assert_gets(fetching, 4)

    def test_an_address_that_a_classic_peer_has_now(self) -> None:
        """It gets no native byte, although a native peer had proven that it was its own."""
        for die in ("kill", "power_off"):
            giving, fetching = self.machines(2)
            fetching.get("film.bin")
            self.simulation.run(0.4)
            getattr(giving, die)()
            giving.host.power_on()
            other = {"film.bin": self.simulation.random.randbytes(1_000_000)}
            classic = ClassicPeer(self.simulation, giving.host, other)
            self.simulation.run(150)
            self.assertEqual(classic.died_of, "", die)
            self.assertFalse(fetching.has(self.data))
            fetching.give_up()
            self.simulation.run(1)
            for machine in self.simulation.machines:
                if machine.node is not None:
                    machine.stop()
            self.simulation.run(5)
