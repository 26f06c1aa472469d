"""Downloads whose disk fails, native and classic.  Not for: their tests (`test_downloads`)."""

from __future__ import annotations

from peershare.content.manifest import manifest_of
from peershare.status import DownloadState
from tests.faults.driver import Operation
from tests.faults.steps import Kind
from tests.simnet.classic import ClassicPeer

NAME = "film.bin"
_SIZE = 330_000  # five native blocks, five classic chunks


class Download(Operation):
    """A content of somebody else's, up to its final name."""

    def prepare(self) -> None:
        self.data = self.simulation.random.randbytes(_SIZE)
        self.answered = False
        self.given_after_name = 0  # bytes sent to us after the final name was there
        self._sent_at_name = -1
        self.provide()
        self.machine.start()
        self.run(3)

    def provide(self) -> None:
        """Have somebody who has it."""
        raise NotImplementedError

    def sent(self) -> int:
        """The bytes that they have sent."""
        raise NotImplementedError

    def begin(self) -> None:
        self.machine.get(NAME)
        self.answered = True

    def over(self) -> bool:
        if self._sent_at_name < 0 and self.machine.has(self.data):
            self._sent_at_name = self.sent()
        downloads = self.machine.downloads()
        states = [status.state for status in downloads]
        if states and all(state is DownloadState.FAILED for state in states):
            self.refuse([status.problem for status in downloads])
        if self.restarted and not states:
            return self.machine.has(self.data)
        return DownloadState.DONE in states

    def again(self) -> None:
        under_way = [s for s in self.machine.downloads() if s.state is not DownloadState.FAILED]
        if under_way:
            return
        if self.restarted and self.answered and not self.machine.has(self.data):
            self.troubles.append("the download was forgotten")
        self.begin()

    def problems(self) -> list[str]:
        found: list[str] = []
        for name, data in self.machine.files().items():
            if name != NAME or data != self.data:
                right = "right" if data == self.data else "wrong"
                found.append(f"there is {name}, {len(data)} {right} bytes")
        if not self.machine.has(self.data):
            found.append("the file is not there")
        if self._sent_at_name >= 0 and self.sent() - self._sent_at_name > _SIZE // 10:
            found.append(f"{self.sent() - self._sent_at_name} bytes were fetched after the name")
        if self.sent() > 2.2 * _SIZE:
            found.append(f"{self.sent()} bytes were fetched of {_SIZE}")
        left = [p.name for p in (self.machine.share / ".peershare").glob("*")]
        if left and self.kind is not Kind.EROFS:  # what cannot be removed stays
            found.append(f"left behind: {left}")
        return found


class NativeDownload(Download):
    """From a native peer, block by block."""

    def provide(self) -> None:
        self.giver = self.add_machine()
        self.giver.put(NAME, self.data)
        self.giver.start()
        self.content = manifest_of(self.data).content_id

    def sent(self) -> int:
        return self.giver.host.sent_bytes


class ClassicDownload(Download):
    """From a classic peer, chunk by chunk."""

    def provide(self) -> None:
        self.giver = ClassicPeer(
            self.simulation, self.simulation.network.add_host(), {NAME: self.data}, hardy=True
        )

    def sent(self) -> int:
        return self.giver.host.sent_bytes
