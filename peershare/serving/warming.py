"""No disk holds up the reactor: what is not in memory is read by a worker before it is sent.

Where the system does not say what is in memory (tmpfs, most network file systems) it is told what
will be needed, some way ahead.  Not for: sending.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred

from peershare.content.chunks import ByteRange
from peershare.library.entries import Workers
from peershare.library.opened import OpenFile


class Warmer:
    """See the module; one for all sessions."""

    def __init__(self, workers: Workers) -> None:
        """`workers(function, *arguments)` runs a blocking function and fires with its result."""
        self._workers = workers

    def warm(self, content: OpenFile, some: ByteRange, then: Callable[[], None]) -> bool:
        """Whether a range can be sent without waiting for a disk; if not, `then` is called later.

        A range that cannot be read is as good as any: who sends it will find out.
        """
        cached = content.cached(some)
        if cached is None:
            for ahead in content.ahead(some.start):
                self._have_done(content, content.will_need, ahead)
        if cached is not False:
            return True
        reading = self._have_done(content, content.read_through, some)
        if reading.called:
            return True
        reading.addCallback(lambda _: then())
        return False

    def _have_done(
        self, content: OpenFile, work: Callable[[ByteRange], None], some: ByteRange
    ) -> Deferred[None]:
        """Have a worker do it; the content stays open meanwhile."""
        content.hold()
        done: Deferred[None] = self._workers(work, some)
        done.addErrback(lambda _: None)
        done.addCallback(lambda _: content.release())
        return done
