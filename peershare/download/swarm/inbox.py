"""What comes on a session: every answer held against what was asked, and given to whom it is for.

Not for: asking, or the connection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from peershare.content.names import display
from peershare.download.swarm.asked import Asked
from peershare.download.swarm.buffers import BlockBuffer
from peershare.download.swarm.catalogues import CatalogueQueue
from peershare.download.swarm.faces import ContentListener
from peershare.download.swarm.receiving import BlockReceiver, ManifestReceiver, Receiver, Room
from peershare.errors import PeerError, Reason, StorageError
from peershare.library.parts import PipedBytes
from peershare.wire.messages import (
    VERSIONS,
    Answer,
    Block,
    Catalogue,
    Content,
    Grant,
    Have,
    Hello,
    Open,
    Problem,
    Unknown,
    decode_answer,
)

if TYPE_CHECKING:
    from peershare.download.swarm.session import PeerSession

_REFUSALS = {"version": Reason.VERSION, "busy": Reason.BUSY}


class Inbox:
    """The reader (see `intake.Reader`) of one session."""

    def __init__(
        self,
        session: PeerSession,
        room: Room,
        catalogues: CatalogueQueue,
        on_bytes: Callable[[int], None],
    ) -> None:
        """`on_bytes` is told how many raw bytes came of what was asked for."""
        self.asked: Asked[ContentListener] = Asked()
        self.hello: Hello | None = None
        self.useful_bytes = 0
        self._session = session
        self._room = room
        self._catalogues = catalogues
        self._on_bytes = on_bytes
        self._useful = True
        self._receiver: Receiver | None = None
        # of which content, and which block if it is one
        self._subject: tuple[str, int | None] = ("", None)

    @property
    def due(self) -> bool:
        """Whether the peer is to send something."""
        return (
            self.hello is None
            or self.asked.due
            or bool(self._catalogues)
            or self._receiver is not None
        )

    def drop(self, content: str, blocks: Sequence[int] | None = None) -> None:
        """What is coming just now is not wanted, if it is one of these blocks, or of the content.

        Nobody is told of it any more.
        """
        about, index = self._subject
        if about == content and (blocks is None or index in blocks):
            self._close()

    def end(self) -> list[ContentListener]:
        """It is all over; who is to be told."""
        self._close()
        return self.asked.end()

    # -- a reader

    def line_came(self, line: bytes) -> int:
        """A message; how many raw bytes follow it.  Raises `PeerError`."""
        answer = decode_answer(line)
        self._useful = True
        if self.hello is None:
            self._greeted(answer)
            count = 0
        else:
            count = self._answered(answer)
        if self._useful:
            self.useful_bytes += len(line)
        return count

    def raw_came(self, data: memoryview | PipedBytes) -> bool:
        """Raw bytes behind a message; False if it is not sure that they were taken.

        Raises `PeerError`.
        """
        if self._useful:
            self.useful_bytes += len(data)
            self._on_bytes(len(data))
        receiver = self._receiver
        taken = receiver is not None and receiver.write(data)
        return taken and self._receiver is receiver  # unless it was dropped by its own doing

    def raw_ended(self) -> None:
        """They were the last ones.  Raises `PeerError`."""
        receiver, self._receiver = self._receiver, None
        self._subject = ("", None)
        if receiver is not None:
            receiver.finish()

    def wants_pipe(self) -> bool:
        """Whether the raw bytes that come may come through a pipe."""
        return self._receiver is not None and self._receiver.piped

    def buffer(self) -> BlockBuffer | None:
        """Where the raw bytes that come may be received into."""
        return self._receiver.buffer if self._receiver is not None else None

    def raw_received(self, buffer: BlockBuffer, count: int) -> None:
        """So many raw bytes are in the buffer."""
        self.useful_bytes += count
        self._on_bytes(count)
        buffer.filled(count)

    def _close(self) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.close()

    # -- answers

    def _greeted(self, answer: Answer | Unknown) -> None:
        if isinstance(answer, Problem):
            raise _refusal(answer)
        if not isinstance(answer, Hello):
            raise PeerError(Reason.BAD_MESSAGE, "did not begin with hello")
        if len(answer.versions) != 1 or answer.versions[0] not in VERSIONS:
            spoken = ", ".join(map(str, answer.versions))
            raise PeerError(Reason.VERSION, f"answers with version {spoken}, which we do not speak")
        self.hello = answer

    def _answered(self, answer: Answer | Unknown) -> int:
        match answer:
            case Block():
                return self._block_begins(answer)
            case Content():
                return self._content_begins(answer)
            case Catalogue():
                self._receiver = self._catalogues.begins(answer)
                return answer.length
            case Have() | Grant() | Open():
                self._useful = False
                self._news_came(answer)
            case Problem():
                self._problem_came(answer)
            case Hello():
                raise PeerError(Reason.BAD_MESSAGE, "sent hello twice")
            case Unknown():
                self._useful = False
                self.asked.stray(answer.length)
                return answer.length
        return 0

    def _block_begins(self, told: Block) -> int:
        listener, session, index = self.asked.block_came(told), self._session, told.index
        if listener is None:
            return told.length
        try:
            sink = listener.block_begins(session, index, told.length)
        except StorageError as error:
            listener.storage_failed(session, index, error)
            return told.length
        if sink is not None and self.asked.listener(told.content) is listener:
            self._subject = (told.content, index)
            self._receiver = BlockReceiver(
                sink,
                partial(listener.block_arrived, session, index),
                partial(listener.storage_failed, session, index),
            )
        return told.length

    def _content_begins(self, told: Content) -> int:
        manifest, listener = self.asked.content_came(told)
        if listener is not None:
            self._subject = (told.content, None)
            tell = partial(listener.content_told, self._session, told)
            self._receiver = ManifestReceiver(told, manifest, self._room, tell)
        return told.length

    def _news_came(self, told: Have | Grant | Open) -> None:
        blocks = () if isinstance(told, Open) else told.blocks
        listener, named = self.asked.news_came(told.content, blocks)
        if listener is None:
            return
        match told:
            case Have():
                listener.blocks_had(self._session, named)
            case Grant():
                listener.blocks_granted(self._session, named)
            case Open():
                listener.opened(self._session)

    def _problem_came(self, told: Problem) -> None:
        if told.content:
            if told.code == "changed" and not told.blocks:
                self._session.withdrew(told.content)
            listener = self.asked.problem_came(told)
            if listener is not None:
                listener.refused(self._session, told)
        elif told.code in _REFUSALS or told.code == "bad-message":
            raise _refusal(told)
        elif self._catalogues:
            self._catalogues.refused(_refusal(told))
        else:
            self._useful = False
            self.asked.stray()


def _refusal(told: Problem) -> PeerError:
    """What the peer says, as its error."""
    reason = _REFUSALS.get(told.code, Reason.BAD_MESSAGE)
    return PeerError(reason, f"says: {display(told.message)}")
