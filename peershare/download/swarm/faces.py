"""What a session calls back: the faces that downloads and catalogues show to it.

Not for: what they do with what they are told.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from peershare.content.blocks import BlockSet
from peershare.errors import PeerError, StorageError
from peershare.library.parts import PipedBytes
from peershare.wire.messages import Catalogue, Content, Problem

if TYPE_CHECKING:
    from peershare.download.swarm.session import PeerSession


class BlockSink(Protocol):
    """Where the bytes of one block go, in order, from its first one on.

    A `buffers.BlockBuffer` is one that they can be received into.
    """

    # Whether `write` takes `PipedBytes` too; it has to empty the pipe then.
    piped: bool

    def write(self, data: memoryview | PipedBytes) -> None:
        """Take the next bytes; the view is only good until this returns.  Raises `StorageError`."""


class ContentListener(Protocol):
    """A download, as its sessions see it.

    Every call may come from within a call of the session's methods, and may call them.
    """

    def content_told(
        self, session: PeerSession, told: Content, digests: bytes, have: BlockSet | None
    ) -> None:
        """The answer to `join`; `have` None is every block.

        The digests hash to the content id, if they were asked for; else they are b"".  May raise
        `PeerError`: that ends the session.
        """

    def blocks_had(self, session: PeerSession, blocks: Sequence[int]) -> None:
        """The peer has these blocks, too."""

    def blocks_granted(self, session: PeerSession, blocks: Sequence[int]) -> None:
        """These blocks may be asked for."""

    def opened(self, session: PeerSession) -> None:
        """Every block may be asked for."""

    def block_begins(self, session: PeerSession, index: int, length: int) -> BlockSink | None:
        """The bytes of a block that was asked for are next; None: they are to be dropped.

        May raise `StorageError`: then they are dropped, and `storage_failed` is told of it.
        """

    def block_arrived(self, session: PeerSession, index: int) -> None:
        """All of its bytes went to its sink; not called for what was cancelled meanwhile."""

    def storage_failed(self, session: PeerSession, index: int, error: StorageError) -> None:
        """Its sink raised this; the rest of the block is dropped."""

    def refused(self, session: PeerSession, problem: Problem) -> None:
        """Blocks of these that were asked for will not come.

        Without blocks it is the whole content that is not to be had: the session has left it, and
        this is the last call.
        """

    def session_lost(self, session: PeerSession, error: PeerError) -> None:
        """The session is over: the last call, which comes once.  It does not come after `leave`."""


class CatalogueSink(Protocol):
    """Where a catalogue goes."""

    def begins(self, told: Catalogue) -> None:
        """Its bytes are next.  May raise `PeerError`: that ends the session."""

    def write(self, data: memoryview) -> None:
        """The next bytes, which are only good until this returns.  May raise `PeerError`."""
