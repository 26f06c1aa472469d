"""What somebody in a story wants.  Not for: what goes wrong meanwhile (`faults`)."""

from __future__ import annotations

from peershare.content.manifest import manifest_of
from peershare.errors import AmbiguousContentError, PeershareError
from peershare.status import DownloadState
from tests.simnet.world import Machine


class Wish:
    """A machine wants a content from some moment on."""

    def __init__(self, machine: Machine, data: bytes, query: str, at: float) -> None:
        self.machine = machine
        self.data = data
        self.query = query
        self.at = at
        self.asked = False
        self.sequential = False
        self._granted = False

    def ask(self) -> None:
        """Ask, if it is running and has not been asked; an id that nobody told yet is for later."""
        machine = self.machine
        if machine.node is None:
            return
        self._choose()
        if self.asked:
            return
        try:
            machine.get(self.query, sequential=self.sequential)
        except AmbiguousContentError:
            self.query = manifest_of(self.data).content_id
            self.ask()
        except PeershareError as error:
            machine.simulation.trace.remark(machine.simulation.clock.now, f"not yet: {error}")
        else:
            self.asked = True

    def _choose(self) -> None:
        """A name that is waited for, and fits several contents by now, says so: pick one."""
        for status in self.machine.downloads():
            waits = status.state is DownloadState.SEARCHING and status.name == self.query
            if waits and "choose one" in status.problem and self.machine.node is not None:
                self.machine.node.stop_download(status.id)
                self.query, self.asked = manifest_of(self.data).content_id, False

    @property
    def granted(self) -> bool:
        """Whether a file with the right bytes lies there."""
        if not self._granted:
            self._granted = self.machine.has(self.data)
        return self._granted
