"""News: whoever observes the node is told of every event, and of the node itself when it changed.

Not for: how events reach a browser or a terminal.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace
from twisted.logger import Logger

from peershare.status import ContentsChanged, Event, NodeChanged, NodeStatus

# While nothing moves, this often at most; while bytes move, whenever it is looked at.
QUIET_SECONDS = 5.0
_FREE_STEP_BYTES = 1 << 26


class News:
    """Tells observers; one that fails costs the others nothing."""

    _log = Logger()

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` gives monotonic seconds."""
        self._clock = clock
        self._observers: list[Callable[[Event], None]] = []
        self._lists: object = None
        self._node: NodeStatus | None = None
        self._told_at = float("-inf")

    @property
    def anybody(self) -> bool:
        """Whether somebody observes."""
        return bool(self._observers)

    def observe(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Call this with every event from now on; returns what ends that."""
        self._observers.append(callback)
        return lambda: self._observers.remove(callback)

    def emit(self, event: Event) -> None:
        """Tell everybody."""
        for observer in tuple(self._observers):
            try:
                observer(event)
            except Exception:
                self._log.failure("an observer failed")

    def lists(self, version: object, picture: Callable[[], ContentsChanged]) -> None:
        """Say that the lists of contents and peers changed, if their version did."""
        if version != self._lists:
            self._lists = version
            self.emit(picture())

    def node(self, status: NodeStatus, *, busy: bool) -> None:
        """Say how the node looks: at once if it is `busy`, else now and then if that is new."""
        steady = _steady(status)
        quiet = self._clock() - self._told_at < QUIET_SECONDS
        if not busy and (quiet or steady == self._node):
            return
        self._told_at, self._node = self._clock(), steady
        self.emit(NodeChanged(status))


def _steady(status: NodeStatus) -> NodeStatus:
    """The picture without what is always a little different."""
    return replace(
        status,
        rates=(),
        upload_rate=0.0,
        download_rate=0.0,
        reactor_delay=0.0,
        last_announced_at=None,
        free_bytes=status.free_bytes // _FREE_STEP_BYTES,
    )
