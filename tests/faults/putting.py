"""Files that people put here, and guests send, on a disk that fails.

Not for: their tests (`test_putting`).
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from peershare.errors import PeershareError
from peershare.guest.inbox import Inbox
from peershare.library.files import COPY_NAME
from peershare.library.parts import PART_FOLDER
from peershare.library.sharing import TEMPORARY
from peershare.node import Node
from peershare.status import ShareMode
from tests.faults.driver import Operation
from tests.simnet.world import Machine

NAME = "film.bin"
_SIZE = 1_500_000  # two pieces of a copy
_GUEST = "198.18.0.99"
_PIECE = 400_000


class Putting(Operation):
    """A file gets into a folder, and whoever put it there is answered."""

    def prepare(self) -> None:
        self.data = self.simulation.random.randbytes(_SIZE)
        self.answered = False
        self.machine.start()
        self.run(3)

    @property
    def node(self) -> Node:
        node = self.machine.node
        if node is None:
            raise PeershareError("nothing runs here")
        return node

    def answer(self, _: object) -> None:
        self.answered = True

    def over(self) -> bool:
        return self.answered

    def again(self) -> None:
        if self.machine.node is None:
            self.machine.kill()
            self.machine.start()
        if self.answered:
            self.troubles += self.problems()  # it is here without anybody's doing
        else:
            self.begin()


class Share(Putting):
    """A file of the user's comes into the share folder."""

    how = ShareMode.AUTO

    def prepare(self) -> None:
        super().prepare()
        self.source = self.machine.home / "documents" / NAME
        self.source.parent.mkdir()
        self.source.write_bytes(self.data)

    def begin(self) -> None:
        self.expect(self.node.share(self.source, self.how), self.answer)

    def problems(self) -> list[str]:
        found = []
        if self.source.read_bytes() != self.data:
            found.append("the user's file is another one")
        if self.machine.files() != {NAME: self.data}:
            files = {name: data == self.data for name, data in self.machine.files().items()}
            found.append(f"in the share folder is {files}")
        hidden = [path.name for path in (self.machine.share / PART_FOLDER).glob("*")]
        left = [name for name in hidden if not name.endswith(TEMPORARY)]
        left += [path.name for path in self.machine.share.glob(COPY_NAME.format("*"))]
        return [*found, *(f"left behind: {name}" for name in left)]


class ShareByLink(Share):
    """As a hard link."""

    how = ShareMode.LINK


class ShareByCopy(Share):
    """As a copy."""

    how = ShareMode.COPY


class ShareByBytes(Share):
    """Its bytes come through the local API."""

    def begin(self) -> None:
        self.expect(Deferred.fromCoroutine(self._put()), self.answer)

    async def _put(self) -> None:
        workers: Any = self.machine.workers
        writer = self.node.receive_share(NAME, _SIZE)
        try:
            for start in range(0, _SIZE, _PIECE):
                await workers(writer.write, self.data[start : start + _PIECE])
            await writer.finish()
        except PeershareError:
            writer.abort()
            raise


class Guests(Putting):
    """With a guest page that takes files."""

    def add_machine(self, **settings: Any) -> Machine:
        return super().add_machine(guest=True, guest_upload=True, **settings)

    @property
    def inbox(self) -> Inbox:
        inbox = self.node.guest._inbox
        if inbox is None:
            raise ValueError("nothing is taken from guests")
        return inbox

    async def send(self) -> None:
        """As `guest.receiving` does it."""
        upload = self.inbox.begin(NAME, _SIZE, _GUEST)
        try:
            for start in range(0, _SIZE, _PIECE):
                upload.write(self.data[start : start + _PIECE])
            await upload.finish()
        except PeershareError:
            upload.abort()
            raise

    def waiting(self) -> list[bytes]:
        """The bytes of what waits to be accepted."""
        folder = self.machine.share / "Inbox" / PART_FOLDER
        ids = [upload.id for upload in self.inbox.uploads()]
        return [(folder / f"guest-{identifier}.upload").read_bytes() for identifier in ids]

    def accepted(self) -> dict[str, bytes]:
        """What lies in the inbox folder for people."""
        folder = self.machine.share / "Inbox"
        return {path.name: path.read_bytes() for path in folder.glob("*") if path.is_file()}


class GuestUpload(Guests):
    """A guest sends a file, and is answered that it is here."""

    def begin(self) -> None:
        self.expect(Deferred.fromCoroutine(self.send()), self.answer)

    def problems(self) -> list[str]:
        self.run(6)  # a list that could not be read is read again
        found = [] if self.data in self.waiting() else ["what was answered is not here"]
        found += ["something else waits" for data in self.waiting() if data != self.data]
        return [*found, *(f"there is {name}" for name in self.accepted())]


class Accept(Guests):
    """A guest's file is accepted."""

    def prepare(self) -> None:
        super().prepare()
        self.expect(Deferred.fromCoroutine(self.send()))
        self.run(1)

    def begin(self) -> None:
        (upload,) = self.inbox.uploads()
        self.expect(self.inbox.accept(upload.id), self.answer)

    def again(self) -> None:
        self.run(6)
        if self.machine.node is not None and not self.inbox.uploads():
            self.answered = True  # it has its name, and its line is gone
        super().again()

    def problems(self) -> list[str]:
        self.run(6)
        if self.accepted() != {NAME: self.data}:
            right = {name: data == self.data for name, data in self.accepted().items()}
            return [f"in the inbox is {right}"]
        return ["something else waits" for data in self.waiting() if data != self.data]
