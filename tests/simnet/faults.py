"""What can go wrong in a story: each fault begins at a random moment and ends a while later.

Not for: what must be true nevertheless (`story`).
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import suppress
from random import Random

from peershare.errors import StorageError
from peershare.status import DownloadState
from tests.simnet.spoiling import Spoiler
from tests.simnet.world import Machine, Simulation


class Faults:
    """Draws faults, does them, and undoes them all in the end."""

    def __init__(self, simulation: Simulation, random: Random) -> None:
        self._simulation = simulation
        self._network = simulation.network
        self._random = random
        self._menu: tuple[Callable[[Machine, float], None], ...] = (
            self.kill,
            self.kill,
            self.power_off,
            self.stop,
            self.unplug,
            self.partition,
            self.reset,
            self.fill_disk,
            self.break_disk,
            self.pause,
            self.pause,
        )
        self.drawn: list[str] = []

    def draw(self, count: int, span: float, most_seconds: float) -> None:
        """Have so many things go wrong within `span` seconds, each for a while."""
        for _ in range(count):
            fault, victim = self._random.choice(self._menu), self._victim()
            at, seconds = self._random.uniform(0, span), self._random.uniform(0.1, most_seconds)
            self.drawn.append(f"{at:.2f} {fault.__name__} {victim.host.address} {seconds:.2f} s")
            self._simulation.clock.after(at, fault, victim, seconds)

    def _victim(self) -> Machine:
        return self._random.choice(self._simulation.machines)

    def end(self) -> None:
        """All is well again, but for who is gone for good."""
        self._network.heal()
        for machine in self._simulation.machines:
            if not machine.host.plugged:
                self._network.plug(machine.host, True)
            self._simulation.disk.mend(machine.share)
            self._restart(machine)
            self._resume(machine)

    # -- machines and processes

    def kill(self, machine: Machine, seconds: float) -> None:
        """kill -9, and a start some time later."""
        if machine.node is not None:
            machine.kill()
            self._simulation.clock.after(seconds, self._restart, machine)

    def power_off(self, machine: Machine, seconds: float) -> None:
        """Power loss of the machine, and a start some time later."""
        if machine.node is not None:
            machine.power_off()
            self._simulation.clock.after(seconds, self._restart, machine)

    def stop(self, machine: Machine, seconds: float) -> None:
        """An orderly end, and a start some time later."""
        if machine.node is not None:
            stopped = machine.stop()
            later = self._simulation.clock.after
            stopped.addCallback(lambda _: later(seconds, self._restart, machine))

    def _restart(self, machine: Machine) -> None:
        if machine.starts and machine.idle and not machine.gone:
            machine.host.power_on()
            machine.start()

    # -- users

    def pause(self, machine: Machine, seconds: float) -> None:
        """Its user pauses all downloads for a while."""
        node = machine.node
        for status in machine.downloads() if node is not None else ():
            with suppress(StorageError):
                self._simulation.note("pause", f"{machine.host.address} {status.id}")
                node.pause_download(status.id)
        self._simulation.clock.after(seconds, self._resume, machine)

    def _resume(self, machine: Machine) -> None:
        for status in machine.downloads() if machine.node is not None else ():
            if status.state is DownloadState.PAUSED:
                with suppress(StorageError):
                    self._simulation.note("resume", f"{machine.host.address} {status.id}")
                    machine.node.resume_download(status.id)

    # -- the network

    def unplug(self, machine: Machine, seconds: float) -> None:
        """Its interface is gone for a while."""
        if machine.host.plugged:
            self._network.plug(machine.host, False)
            self._simulation.clock.after(seconds, self._plug, machine)

    def _plug(self, machine: Machine) -> None:
        if not machine.host.plugged:
            self._network.plug(machine.host, True)

    def partition(self, machine: Machine, seconds: float) -> None:
        """The network falls into two for a while; `machine` is in one of them."""
        others = [m.host for m in self._simulation.machines if self._random.random() < 0.5]
        self._network.partition([[machine.host, *others]])
        self._simulation.clock.after(seconds, self._network.heal)

    def reset(self, machine: Machine, seconds: float) -> None:
        """Some of the connections there are right now are cut."""
        for stream in self._network.streams():
            if self._random.random() < 0.5:
                self._network.reset(stream)

    # -- disks

    def fill_disk(self, machine: Machine, seconds: float) -> None:
        """Its disk is full for a while."""
        self._disk(machine, seconds, errno.ENOSPC)

    def break_disk(self, machine: Machine, seconds: float) -> None:
        """Its disk fails for a while."""
        self._disk(machine, seconds, errno.EIO)

    def _disk(self, machine: Machine, seconds: float, number: int) -> None:
        disk = self._simulation.disk
        self._simulation.note(errno.errorcode[number], machine.host.address)
        disk.fail(machine.share, number)
        self._simulation.clock.after(seconds, disk.mend, machine.share)

    # -- peers

    def spoil(self, machine: Machine, rate: float) -> None:
        """Every block that it serves is spoilt with this chance, from its next connection on."""
        self.drawn.append(f"0 spoil {machine.host.address} {rate:.2f}")
        machine.host.spoiler = lambda: Spoiler(self._random, rate)
