"""Bytes that go from a connection into a file without passing through the program.

A `Splicer` reads in place of a transport: the kernel hands the pages that arrived over to a pipe
(`os.splice`), and the part file takes them out of it.  That saves one of the two copies of every
byte, and the objects that would hold them.  Where the kernel does not splice, the transport
reads for itself.  Not for: how many bytes may come, or where they belong.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.main import CONNECTION_LOST

from peershare.library.parts import PipedBytes

# What Linux gives an ordinary user; the default of 64 KiB means more turns, each with its cost.
PIPE_BYTES = 1 << 20
# So the kernel, or a sandbox, says that it does not splice here.
_UNABLE = {errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP}


class Splicer:
    """Reads for a transport from now until `stop`.  Made by `splice_from`."""

    def __init__(
        self,
        transport: Any,
        pipe: tuple[int, int],
        room: Callable[[], int],
        arrived: Callable[[PipedBytes], None],
    ) -> None:
        self._transport = transport
        self._take_out, self._put_in = pipe
        self._room = room
        self._arrived = arrived
        self._reads = True
        # the reactor asks the transport for this method each time it has something to read
        transport.doRead = self._read

    def stop(self) -> None:
        """Leave reading to the transport; what is still in the pipe is lost.  May come twice."""
        if self._reads:
            self._reads = False
            del self._transport.doRead
            os.close(self._take_out)
            os.close(self._put_in)

    def _read(self) -> Any:
        """In place of `doRead`: None, or why the connection is lost."""
        room = self._room()
        if room <= 0:
            return self._plainly()
        try:
            count = os.splice(self._transport.fileno(), self._put_in, room)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as error:
            if error.errno not in _UNABLE:
                return CONNECTION_LOST  # asked again, the kernel would take it for the end
            self.stop()
            return self._transport.doRead()
        if count == 0:
            return self._plainly()  # the end of the stream: the transport finds it too
        self._arrived(PipedBytes(self._take_out, count))
        return None

    def _plainly(self) -> Any:
        """What the transport would have done."""
        return type(self._transport).doRead(self._transport)


def splice_from(
    transport: Any, room: Callable[[], int], arrived: Callable[[PipedBytes], None]
) -> Splicer | None:
    """Read for this transport from now on; None where that is not possible.

    `room()` is how many bytes may be taken at most, now; with 0 the transport reads for itself.
    `arrived` has to empty the pipe, or to stop the splicer.
    """
    if not hasattr(os, "splice") or not IReadDescriptor.providedBy(transport):
        return None
    try:
        pipe = os.pipe()
    except OSError:
        return None  # out of descriptors
    with suppress(OSError):  # an ordinary user has only so many large pipes
        fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return Splicer(transport, pipe, room, arrived)
