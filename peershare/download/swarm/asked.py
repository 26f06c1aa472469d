"""What was asked of one peer, and what may therefore come.  Pure.

Every answer is held against this: whatever nobody asked for is the peer's fault.  What was asked
and is not wanted any more may come all the same: cancels and answers pass each other on the way.
Not for: sending or reading anything.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

from peershare.content.blocks import block_count, block_range, unrolled
from peershare.errors import PeerError, Reason
from peershare.wire.messages import Block, Content, Problem, Run

# So many contents that were left are remembered, for the sake of what may still come of them.
MAX_LEFT = 1_024
# In a row, without anything that was asked for: unknown messages, news of contents that were left.
MAX_STRAYS = 1_000
_STRAY_BYTES = 65_536
# A block is told once, in `have` or by a grant; this leaves room for what crosses on the way.
_MOST_TOLD = 4
_MOST_TOLD_BESIDES = 64

L = TypeVar("L")


class AskedContent(Generic[L]):
    """What was asked about one content; `listener` None: it was left."""

    def __init__(self) -> None:
        self.listener: L | None = None
        self.size: int | None = None
        self.joined = False
        # the answers to `join` that are still to come: whether the digests were asked for
        self.joins: deque[bool] = deque()
        self.wanted: dict[int, None] = {}
        self.unwanted: dict[int, int] = {}  # how often it may come
        self.told = 0

    @property
    def due(self) -> int:
        """How many answers somebody waits for."""
        return len(self.wanted) + (self.joined and bool(self.joins))

    def forgo(self, blocks: Iterable[int]) -> list[int]:
        """Want these no more; those of them that were wanted."""
        forgone = [index for index in dict.fromkeys(blocks) if index in self.wanted]
        for index in forgone:
            del self.wanted[index]
            self.unwanted[index] = self.unwanted.get(index, 0) + 1
        return forgone


class Asked(Generic[L]):
    """All that was asked on one session; `L` is what listens to a content."""

    def __init__(self) -> None:
        self._contents: dict[str, AskedContent[L]] = {}
        self._left: OrderedDict[str, AskedContent[L]] = OrderedDict()
        self._strays = 0

    @property
    def idle(self) -> bool:
        """Whether nobody wants anything."""
        return not self._contents

    @property
    def due(self) -> bool:
        """Whether somebody waits for an answer."""
        return any(content.due for content in self._contents.values())

    def listener(self, content: str) -> L | None:
        """Who wants this content."""
        found = self._contents.get(content)
        return found.listener if found is not None else None

    def end(self) -> list[L]:
        """It is all over; who wanted something, in the order in which they came."""
        contents, self._contents = self._contents, {}
        return [found.listener for found in contents.values() if found.listener is not None]

    # -- asking

    def join(self, content: str, listener: L, *, manifest: bool) -> None:
        """The content was asked for.  Raises ValueError if somebody else wants it here."""
        found = self._take(content, listener)
        found.joined = True
        found.joins.append(manifest)
        found.told = 0

    def attach(self, content: str, size: int, listener: L) -> None:
        """Blocks of it will be asked for.  Raises ValueError as `join`."""
        self._take(content, listener).size = size

    def leave(self, content: str) -> tuple[bool, list[int]]:
        """It is wanted no more; whether it was joined, and the blocks that were still wanted."""
        found = self._contents.pop(content, None)
        if found is None:
            return False, []
        joined, blocks = found.joined, found.forgo(list(found.wanted))
        found.listener, found.joined = None, False
        self._left[content] = found
        if len(self._left) > MAX_LEFT:
            self._left.popitem(last=False)
        return joined, blocks

    def request(self, content: str, blocks: Sequence[int]) -> list[int]:
        """These blocks are wanted; those of them that are to be asked for, each once."""
        found = self._contents.get(content)
        if found is None:
            return []
        fresh = [index for index in dict.fromkeys(blocks) if index not in found.wanted]
        found.wanted.update(dict.fromkeys(fresh))
        return fresh

    def cancel(self, content: str, blocks: Sequence[int]) -> list[int]:
        """These are wanted no more; those of them that are to be cancelled."""
        found = self._contents.get(content)
        return [] if found is None else found.forgo(blocks)

    def _take(self, content: str, listener: L) -> AskedContent[L]:
        if content in self._contents:
            raise ValueError(f"somebody wants {content} of this session already")
        found = self._left.pop(content, None) or AskedContent()
        found.listener = listener
        self._contents[content] = found
        return found

    # -- answers

    def content_came(self, told: Content) -> tuple[bool, L | None]:
        """The answer to `join`: whether the digests were asked for, and for whom it is."""
        found = self._find(told.content)
        if found is None or not found.joins:
            raise PeerError(Reason.BAD_MESSAGE, "told of a content that nobody asked for")
        manifest = found.joins.popleft()
        if manifest != bool(told.digests) and (told.digests or block_count(told.size)):
            text = "no block digests, which were" if manifest else "block digests, which were not"
            raise PeerError(Reason.BAD_MESSAGE, f"sent {text} asked for")
        if found.size is not None and found.size != told.size:
            text = f"told a size of {told.size} bytes of what has {found.size}"
            raise PeerError(Reason.WRONG_MANIFEST, text)
        self._strays = 0
        found.size = told.size
        left = not found.joined or bool(found.joins)  # since it was asked for
        return manifest, None if left else found.listener

    def block_came(self, told: Block) -> L | None:
        """A block begins; for whom it is, None if it is not wanted any more."""
        found = self._find(told.content)
        if found is None or (told.index not in found.wanted and told.index not in found.unwanted):
            raise PeerError(Reason.BAD_MESSAGE, f"sent block {told.index}, which nobody asked for")
        if found.size is not None:
            self._check_length(told, found.size)
        self._strays = 0
        if told.index in found.wanted:
            del found.wanted[told.index]
            return found.listener
        found.unwanted[told.index] -= 1
        if not found.unwanted[told.index]:
            del found.unwanted[told.index]
        return None

    def _check_length(self, told: Block, size: int) -> None:
        try:
            length = block_range(told.index, size).length
        except ValueError as error:
            raise PeerError(Reason.BAD_MESSAGE, f"sent a block that is none: {error}") from None
        if told.length != length:
            text = f"sent block {told.index} with {told.length} bytes, not {length}"
            raise PeerError(Reason.BAD_MESSAGE, text)

    def news_came(self, content: str, blocks: tuple[Run, ...] = ()) -> tuple[L | None, list[int]]:
        """Unasked news of a content: for whom, and the blocks it names."""
        found = self._contents.get(content)
        if found is None or found.size is None or not found.joined or found.joins:
            self.stray()
            return None, []
        total = block_count(found.size)
        named = _unrolled(blocks, total)
        found.told += max(1, len(named))
        if found.told > _MOST_TOLD * total + _MOST_TOLD_BESIDES:
            raise PeerError(Reason.BAD_MESSAGE, "tells the same again and again")
        return found.listener, named

    def problem_came(self, told: Problem) -> L | None:
        """Something of a content is not to be had; for whom that is.

        Without blocks it is the whole content, which is left with that.
        """
        found = self._find(told.content)
        if found is None:
            self.stray()
            return None
        if told.blocks:
            return self._blocks_refused(found, told)
        if found.joins:
            self._strays = 0
            found.joins.popleft()
            if not found.joined or found.joins:
                return None  # it was left since it was asked for
        elif not found.wanted:
            self.stray()
        listener = found.listener
        self.leave(told.content)
        return listener

    def _blocks_refused(self, found: AskedContent[L], told: Problem) -> L | None:
        if found.size is None:
            raise PeerError(Reason.BAD_MESSAGE, "names blocks of a content before it told its size")
        refused = _unrolled(told.blocks, block_count(found.size))
        wanted = [index for index in refused if index in found.wanted]
        if not wanted:
            self.stray()  # they were cancelled
            return None
        for index in wanted:
            del found.wanted[index]
        self._strays = 0
        return found.listener

    def stray(self, length: int = 0) -> None:
        """Something came that nobody asked for, and that does no harm, up to a point."""
        self._strays += 1 + length // _STRAY_BYTES
        if self._strays > MAX_STRAYS:
            raise PeerError(Reason.BAD_MESSAGE, "sends what nobody asked for, without end")

    def _find(self, content: str) -> AskedContent[L] | None:
        return self._contents.get(content) or self._left.get(content)


def _unrolled(blocks: tuple[Run, ...], total: int) -> list[int]:
    """The blocks that are named.  Raises `PeerError` for some that there are not, or too many."""
    if any(first + count > total for first, count in blocks) or sum(n for _, n in blocks) > total:
        raise PeerError(Reason.BAD_MESSAGE, f"names blocks of a content that has only {total}")
    return list(unrolled(blocks))
