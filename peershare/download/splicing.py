"""Bytes that go from a connection into a file without passing through the program, or once only.

A `Splicer` reads in place of a transport: the kernel hands the pages that arrived over to a pipe
(`os.splice`), and the part file takes them out of it.  That saves one of the two copies of every
byte, and the objects that would hold them.  A `Filler` can also receive into memory that is used
again and again.  Where the kernel does not splice, the transport reads for itself.
Not for: how many bytes may come, or where they belong.
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
# What is received beyond the memory that is wanted: a message, and a little of what follows it.
MESSAGE_BYTES = 1 << 12
# So the kernel, or a sandbox, says that it does not splice here.
_UNABLE = {errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP}


class Splicer:
    """Reads for a transport from now until `stop`.  Made by `splice_from`."""

    def __init__(
        self, transport: Any, room: Callable[[], int], arrived: Callable[[PipedBytes], None]
    ) -> None:
        self._transport = transport
        self._room = room
        self._arrived = arrived
        self._reads = True
        self._pipe: tuple[int, int] | None = None
        # the reactor asks the transport for this method each time it has something to read
        transport.doRead = self._read

    def stop(self) -> None:
        """Leave reading to the transport; what is still in the pipe is lost.  May come twice."""
        if self._reads:
            self._reads = False
            del self._transport.doRead
            self.close_pipe()

    def open_pipe(self) -> bool:
        """Make sure that there is a pipe; False where that is not possible."""
        if self._pipe is None and hasattr(os, "splice"):
            with suppress(OSError):  # out of descriptors
                self._pipe = os.pipe()
                with suppress(OSError):  # an ordinary user has only so many large pipes
                    fcntl.fcntl(self._pipe[1], fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        return self._pipe is not None

    def close_pipe(self) -> None:
        """Whatever is still in the pipe is lost; the next bytes get another one."""
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            os.close(pipe[0])
            os.close(pipe[1])

    def _read(self) -> Any:
        """In place of `doRead`: None, or why the connection is lost."""
        room = self._room()
        if room <= 0 or not self.open_pipe() or self._pipe is None:
            return self._plainly()
        take_out, put_in = self._pipe
        try:
            count = os.splice(self._transport.fileno(), put_in, room)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as error:
            if error.errno not in _UNABLE:
                return CONNECTION_LOST  # asked again, the kernel would take it for the end
            self._unable()
            return self._transport.doRead()
        if count == 0:
            return self._plainly()  # the end of the stream: the transport finds it too
        self._arrived(PipedBytes(take_out, count))
        return None

    def _unable(self) -> None:
        """The kernel does not splice here."""
        self.stop()

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
    splicer = Splicer(transport, room, arrived)
    if not splicer.open_pipe():
        splicer.stop()
        return None
    return splicer


class Filler(Splicer):
    """A splicer that receives into memory where there is some.  Made by `fill_from`."""

    def __init__(
        self,
        transport: Any,
        space: Callable[[], memoryview | None],
        filled: Callable[[int], None],
        room: Callable[[], int],
        arrived: Callable[[PipedBytes], None],
    ) -> None:
        super().__init__(transport, room, arrived)
        self._space = space
        self._filled = filled
        self._splices = True
        self._behind = memoryview(bytearray(MESSAGE_BYTES))

    def _read(self) -> Any:
        view = self._space()
        if not view:
            return super()._read()
        try:
            count = self._transport.getHandle().recvmsg_into((view, self._behind))[0]
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            return CONNECTION_LOST
        if count == 0:
            return self._plainly()  # the end of the stream: the transport finds it too
        beyond = count - len(view)
        self._filled(min(count, len(view)))
        if beyond > 0:
            self._transport.protocol.dataReceived(self._behind[:beyond])
        return None

    def open_pipe(self) -> bool:
        """Make sure that there is a pipe; False where that is not possible."""
        return self._splices and super().open_pipe()

    def _unable(self) -> None:
        self._splices = False
        self.close_pipe()


def fill_from(
    transport: Any,
    space: Callable[[], memoryview | None],
    filled: Callable[[int], None],
    room: Callable[[], int],
    arrived: Callable[[PipedBytes], None],
) -> Filler | None:
    """Read for this transport from now on; None where that is not possible.

    `space()` is where the next bytes belong; `filled(count)` is told how many came.  Where it is
    None or empty, it goes on as with `splice_from`.
    """
    if not IReadDescriptor.providedBy(transport) or not hasattr(transport, "getHandle"):
        return None
    return Filler(transport, space, filled, room, arrived)
