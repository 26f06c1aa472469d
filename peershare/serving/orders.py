"""What one session has asked for: contents that it joined, blocks that it waits for.

Every order is bounded: so many contents, so many blocks, and nothing that does not exist.
Not for: the connection (`session`), or how blocks leave (`outgoing`).
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import partial

from twisted.logger import Logger
from twisted.python.failure import Failure

from peershare.content.blocks import runs, unrolled
from peershare.library.entries import ContentHandle
from peershare.library.opened import FileChangedError, OpenContent
from peershare.serving.outgoing import Shipment
from peershare.serving.queue import BlockQueue, Pairs, among, check_blocks, split_blocks
from peershare.serving.receiver import Face, Receiver
from peershare.serving.swarms import Serving, Swarm
from peershare.wire.messages import (
    Block,
    Cancel,
    Content,
    GetBlocks,
    Join,
    Leave,
    Message,
    Problem,
    Wrong,
    encode,
)

# Contents that one session may have joined at a time.
MAX_JOINS = 64
# Of so many contents it is remembered that they have a line in the log.
MAX_LOGGED = 256
# So long it is not asked again where a content is: whether it changed is seen at each block.
FRESH_SECONDS = 1.0


class Orders:
    """See the module; the session gives its requests in, and asks what is next."""

    _log = Logger()

    def __init__(
        self,
        serving: Serving,
        session: Face,
        answer: Callable[..., None],
        uploaded: Callable[[int], None],
        wake: Callable[[], None],
    ) -> None:
        """`answer(message, *raw)` is sent; `uploaded(count)`: bytes of blocks that have left.

        `wake()`: there is an answer that came to nobody's request.
        """
        self._serving = serving
        self._session = session
        self._answer = answer
        self._uploaded = uploaded
        self._wake = wake
        self._over = False
        self.opening = False  # what is next waits for a disk
        self._now: Callable[[], float] = serving.reactor.seconds
        self._queue = BlockQueue()
        self._receivers: dict[str, Receiver] = {}
        self._logged: dict[str, None] = {}
        self._open: OpenContent | None = None  # of the last block that was sent

    @property
    def joined(self) -> bool:
        """Whether any content is joined."""
        return any(receiver.joined for receiver in self._receivers.values())

    # -- requests; all raise `PeerError` (bad-message) for blocks that cannot be

    def join(self, request: Join) -> None:
        """Tell what the content is, and from now on what we get of it."""
        handle = self._find(request.content, ())
        if handle is None:
            return
        check_blocks(request.have, handle.manifest.block_count, once=True)
        receiver = self._receiver(handle)
        if not receiver.joined:
            if sum(r.joined for r in self._receivers.values()) >= MAX_JOINS:
                self._refuse("busy", "too many contents at a time", request.content)
                self._conclude(receiver)
                return
            receiver.now_has(request.have)
            receiver.joined = True
            self._serving.join(receiver)
        swarm = self._swarm_of(receiver)
        digests = handle.manifest.digests if request.manifest else b""
        bitmap = b"" if handle.held is None else handle.held.to_bytes()
        self._answer(
            Content(
                content=request.content,
                size=handle.manifest.size,
                length=len(digests) + len(bitmap),
                digests=len(digests),
                bitmap=len(bitmap),
                receivers=swarm.others(receiver) if swarm is not None else (),
                steered=receiver.steered,
            ),
            digests,
            bitmap,
        )

    def leave(self, request: Leave) -> None:
        """Send it nothing more of a content."""
        receiver = self._receivers.get(request.content)
        if receiver is not None:
            self._queue.drop(receiver)
            self._part(receiver)
            self._conclude(receiver)

    def get_blocks(self, request: GetBlocks) -> None:
        """Queue what we have of these blocks, as far as there is room; say what is refused."""
        receiver = self._known(request.content)
        if receiver is None:
            handle = self._find(request.content, request.blocks)
            if handle is None:
                return
            receiver = self._receiver(handle)
        handle = receiver.handle
        check_blocks(request.blocks, handle.manifest.block_count)
        swarm = self._swarm_of(receiver)
        taken, rest = split_blocks(request.blocks, self._queue.room)
        lacking = []
        for block in unrolled(taken):
            if handle.held is not None and block not in handle.held:
                lacking.append(block)
            else:
                late = swarm is not None and not swarm.asked(receiver, block)
                self._queue.add(receiver, block, late=late)
        if lacking:
            self._refuse("not-here", "we do not have these", request.content, runs(lacking))
        if rest:
            self._refuse("busy", "too many blocks at a time", request.content, rest)
        self._conclude(receiver)

    def cancel(self, request: Cancel) -> None:
        """Send these no more, if they are not on their way."""
        receiver = self._receivers.get(request.content)
        if receiver is not None:
            self._queue.cancel(receiver, request.blocks)
            swarm = self._swarm_of(receiver)
            if swarm is not None:
                swarm.declined(receiver, among(receiver.turn, request.blocks))
            self._conclude(receiver)

    def wrong(self, request: Wrong) -> None:
        """Have what we sent looked at; say so if our file is not what it was."""
        content = request.content
        if content not in self._receivers and content not in self._logged:
            return  # we sent nothing of it
        handle = self._serving.library.find_content(content)
        if handle is not None:
            check_blocks(request.blocks, handle.manifest.block_count)

        def withdrawn() -> None:
            if self._over:
                return
            receiver = self._receivers.get(content)
            if receiver is not None:
                self._queue.drop(receiver)
                receiver.failure = "failed changed: a block of it is wrong"
                receiver.found_at = float("-inf")
                self._part(receiver)
                self._conclude(receiver)
            self._refuse("changed", "our file is not what it was", content)
            self._wake()

        for first, _ in request.blocks[:1]:
            self._serving.wrong.report(self._session.address, content, first, withdrawn)

    # -- what goes out

    def ship(self) -> Shipment | None:
        """The next block; None if there is none now (but perhaps an answer that says why)."""
        content = self._opened()
        waiting = None if content is None else self._queue.pop()
        if waiting is None or content is None:
            return None
        receiver, block = waiting
        try:
            content.check_unchanged()
        except (FileChangedError, OSError) as failed:
            self._give_up(receiver, [(block, 1)], failed)
            return None
        where = content.range_of(block)
        receiver.shipped += 1
        return Shipment(
            encode(Block(content=receiver.handle.id, index=block, length=where.length)),
            content.hold(),
            where,
            partial(self._left, receiver, block, where.length),
        )

    def news(self, receiver: Receiver) -> list[Message]:
        """What this receiver is to be told; its blocks that are in turn now are sent in turn."""
        told = list(receiver.told())
        self._queue.advance(receiver)
        return told

    def rest(self) -> None:
        """Nothing has been asked for some time: hold no file open."""
        if self._open is not None:
            self._open.release()
            self._open = None

    def give_up_all(self) -> None:
        """Send no more blocks."""
        for receiver in tuple(self._receivers.values()):
            self._queue.drop(receiver)
            self._conclude(receiver)

    def end(self, under_way: int, result: str) -> None:
        """The session is over; `result` is for what was not finished, of which so much left."""
        self._over = True
        self.rest()
        self._uploaded(under_way)
        for receiver in tuple(self._receivers.values()):
            if receiver.queued or receiver.shipped:
                receiver.failure = receiver.failure or result
            if receiver.shipped:
                receiver.bytes += under_way
            self._part(receiver)
            self._record(receiver)
        self._receivers.clear()

    # -- below

    def _known(self, content: str) -> Receiver | None:
        """A receiver whose handle is fresh: the library need not be asked for every block."""
        receiver = self._receivers.get(content)
        fresh = receiver is not None and self._now() - receiver.found_at < FRESH_SECONDS
        return receiver if fresh else None

    def _find(self, content: str, blocks: Pairs) -> ContentHandle | None:
        handle = self._serving.library.find_content(content)
        if handle is None:
            self._refuse("not-here", "we do not have this content", content, blocks)
        return handle

    def _refuse(self, code: str, why: str, content: str, blocks: Pairs = ()) -> None:
        self._answer(Problem(code=code, message=why, content=content, blocks=tuple(blocks)))

    def _receiver(self, handle: ContentHandle) -> Receiver:
        receiver = self._receivers.get(handle.id)
        if receiver is None:
            receiver = self._serving.receiver(self._session, handle)
            self._receivers[handle.id] = receiver
        receiver.handle, receiver.found_at = handle, self._now()
        return receiver

    def _opened(self) -> OpenContent | None:
        """The content of the block that is next, open; None if there is none, or not yet."""
        while not self.opening:
            receiver = self._queue.peek()
            if receiver is None:
                return None
            content = self._serving.contents.held(receiver.handle)
            if content is not None:
                self.rest()
                self._open = content
                return content
            self.opening = True
            opening = self._serving.open(receiver.handle)
            opening.addCallbacks(self._has_opened, self._cannot_open, (), {}, (receiver,))
            opening.addErrback(lambda f: self._log.failure("opening a content failed", failure=f))
        return None

    def _has_opened(self, content: OpenContent) -> None:
        self.opening = False
        if self._over:
            content.release()
            return
        self.rest()
        self._open = content
        self._wake()

    def _cannot_open(self, failure: Failure, receiver: Receiver) -> None:
        self.opening = False
        failed = failure.value
        if not isinstance(failed, FileChangedError | OSError):
            failure.raiseException()
        if self._over:
            return
        # a part that became a file has another path now
        handle = self._serving.library.find_content(receiver.handle.id)
        if handle is not None and handle.path != receiver.handle.path:
            receiver.handle = handle
        else:
            self._give_up(receiver, [], failed)
        self._wake()

    def _give_up(self, receiver: Receiver, popped: Pairs, failed: Exception) -> None:
        """It is our side that cannot: say so for all that is queued, look at the folder again.

        And for what was taken from the queue already.
        """
        if isinstance(failed, FileChangedError):
            code = "changed"
        else:
            full = isinstance(failed, OSError) and failed.errno in (errno.EMFILE, errno.ENFILE)
            code = "busy" if full else "unreadable"
        why = failed.strerror or "unreadable" if isinstance(failed, OSError) else str(failed)
        blocks = [*self._queue.drop(receiver), *popped]
        if not blocks:
            return  # they were cancelled meanwhile
        self._refuse(code, why, receiver.handle.id, runs(unrolled(blocks)))
        receiver.failure = f"failed {code}: {failed}"
        receiver.found_at = float("-inf")
        self._conclude(receiver)
        if code != "busy":
            self._serving.library.rescan()

    def _left(self, receiver: Receiver, block: int, length: int) -> None:
        """A block has left whole."""
        receiver.shipped -= 1
        receiver.blocks += 1
        receiver.bytes += length
        self._uploaded(length)
        swarm = self._swarm_of(receiver)
        if swarm is not None:
            swarm.left(receiver, block)
        self._conclude(receiver)

    def _swarm_of(self, receiver: Receiver) -> Swarm | None:
        return self._serving.swarm(receiver.handle.id) if receiver.joined else None

    def _part(self, receiver: Receiver) -> None:
        if receiver.joined:
            receiver.joined = False
            self._serving.leave(receiver)

    def _conclude(self, receiver: Receiver) -> None:
        """Forget a receiver that wants nothing any more.

        Whoever asks for the same again and again gets one more line at the end, not one each time.
        """
        content = receiver.handle.id
        if receiver.joined or receiver.queued or receiver.shipped or content in self._logged:
            return
        if self._receivers.pop(content, None) is not None:
            self._record(receiver)

    def _record(self, receiver: Receiver) -> None:
        """One line in the log; none where nothing was sent and nothing went wrong."""
        if receiver.blocks or receiver.failure:
            if len(self._logged) < MAX_LOGGED:
                self._logged[receiver.handle.id] = None
            self._serving.ledger.record_upload(
                self._session.address,
                receiver.handle.name,
                receiver.bytes,
                self._now() - receiver.began_at,
                receiver.failure or f"ok {receiver.blocks} blocks verified-protocol",
            )
