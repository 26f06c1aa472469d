"""A service that starts, and one whose share folder changes, on a disk that fails.

Not for: their tests (`test_services`).
"""

from __future__ import annotations

from pathlib import Path

from peershare.content.manifest import manifest_of
from peershare.status import FINAL_STATES, DownloadState
from tests.faults.driver import Operation
from tests.faults.steps import LASTING
from tests.simnet.world import Machine

NAME = "film.bin"
_SIZE = 200_000
_SLOW = 60_000.0  # bytes a second


class Service(Operation):
    """What another peer is told of it is `offered`: content ids by name."""

    def prepare(self) -> None:
        self.other: Machine = self.add_machine(upload_limit_bytes_per_second=_SLOW)
        self.contents = {
            name: self.simulation.random.randbytes(_SIZE // number)
            for number, name in enumerate((NAME, "book.pdf", "song.ogg", "text", "elsewhere"), 1)
        }

    def ids(self, *names: str) -> dict[str, str]:
        """The content ids of these."""
        return {name: manifest_of(self.contents[name]).content_id for name in names}

    def offered(self) -> dict[str, str]:
        """What the other peer is told by us."""
        node, address = self.other.node, self.machine.host.address
        assert node is not None
        holdings = node._parts.neighbourhood.holdings
        return {c.name: c.id for c in holdings.contents() if address in holdings.addresses(c.id)}

    def damage(self) -> list[str]:
        """What of the index was lost, and must not be."""
        found = [path.name for path in (self.machine.home / "state").glob("*.bad*")]
        node = self.machine.node
        # while a disk fails, it may be taken for a kill that it could not be said that it was none
        if self.kind not in LASTING and node is not None and node._parts.index.was_damaged:
            found.append("the index was taken for damaged")
        return found


class Start(Service):
    """With files that were hashed, a download that is half done, and one that lies elsewhere."""

    sample = 8

    def prepare(self) -> None:
        super().prepare()
        machine, other = self.machine, self.other
        for name in (NAME, "elsewhere"):
            other.put(name, self.contents[name])
        for name in ("book.pdf", "song.ogg", "text"):
            machine.put(name, self.contents[name])
        other.start()
        machine.start()
        self.run(3)
        self.elsewhere = machine.home / "elsewhere"
        node = machine.node
        assert node is not None
        node.start_download("elsewhere", self.elsewhere)
        self.simulation.run_until(lambda: machine.has_all, 60)
        machine.get(NAME)
        self.run(1)
        machine.stop()
        self.simulation.run_until(lambda: machine.idle, 10)
        self.run(1)
        (other.share / "elsewhere").unlink()
        self.run(40)

    def begin(self) -> None:
        self.machine.start()

    def over(self) -> bool:
        if self.machine.node is None:
            return False
        states = [status.state for status in self.machine.downloads()]
        if DownloadState.FAILED in states:
            self.refuse([status.problem for status in self.machine.downloads()])
        if any(state is not DownloadState.DONE for state in states):
            return False
        if not self.machine.has(self.contents[NAME]):
            return False
        return self.offered() == self.ids(NAME, "book.pdf", "song.ogg", "text", "elsewhere")

    def again(self) -> None:
        if self.machine.node is None:
            self.machine.kill()  # the process is over
            self.begin()
        elif not any(status.state not in FINAL_STATES for status in self.machine.downloads()):
            self.machine.get(NAME)

    def problems(self) -> list[str]:
        expected = {name: self.contents[name] for name in (NAME, "book.pdf", "song.ogg", "text")}
        found = self.damage()
        if self.machine.files() != expected:
            found.append(f"there is {sorted(self.machine.files())}")
        if (self.elsewhere / "elsewhere").read_bytes() != self.contents["elsewhere"]:
            found.append("what was elsewhere is not")
        node = self.machine.node
        if node is not None:
            stems = set(node._parts.index.stems().values())
            if not stems.issuperset({"film", "book", "song", "text", "elsewhere"}):
                found.append(f"stems are {sorted(stems)}")
        if not self.over():
            found.append(f"offered are {sorted(self.offered())}")
        return found


class IndexChange(Service):
    """Files come, change, are renamed and go; what others are told goes with them."""

    def prepare(self) -> None:
        super().prepare()
        for name in ("book.pdf", "song.ogg", "text"):
            self.machine.put(name, self.contents[name])
        self.other.start()
        self.machine.start()
        self.run(4)

    def begin(self) -> None:
        machine = self.machine
        with self.disk.quiet():
            machine.put(NAME, self.contents[NAME])
            self.contents["book.pdf"] = self.contents["book.pdf"][::-1]
            machine.put("book.pdf", self.contents["book.pdf"])
            self._rename(machine.share / "song.ogg", machine.share / "tune.ogg")
            (machine.share / "text").unlink()
        self.contents["tune.ogg"] = self.contents["song.ogg"]

    def _rename(self, before: Path, after: Path) -> None:
        before.rename(after)

    def over(self) -> bool:
        return self.offered() == self.ids(NAME, "book.pdf", "tune.ogg")

    def again(self) -> None:
        """It goes on by itself; after a power cut the user does again what is lost."""
        share = self.machine.share
        with self.disk.quiet():
            if sorted(self.machine.files()) == sorted((NAME, "book.pdf", "tune.ogg")):
                return
            for path in share.iterdir():
                if path.is_file():
                    path.unlink()
            for name in (NAME, "book.pdf", "tune.ogg"):
                self.machine.put(name, self.contents[name])

    def problems(self) -> list[str]:
        found = self.damage()
        if not self.over():
            found.append(f"offered are {sorted(self.offered())}")
        return found
