"""A service that spoils every tenth block that it gives; what it keeps and tells is honest.

It is the real service, started by a program that has the kernel's `sendfile` go through a function
of its own first; the service knows nothing of it.  Not for: what others make of that.
"""

from __future__ import annotations

from lan import LanService
from services import TWISTD

EVERY = 10
# Blocks begin at multiples of their size, and none is smaller than this; the last byte of a block
# leaves apart, so the first one is spoiled.
_SPOIL = f"""\
import os

real, given = os.sendfile, 0

def sendfile(out, source, offset, count):
    global given
    if offset % 65536:
        return real(out, source, offset, count)
    if (given + 1) % {EVERY}:
        sent = real(out, source, offset, count)
    else:
        data = bytearray(os.pread(source, min(count, 65536), offset))
        data[0] ^= 1
        sent = os.write(out, data)
    given += 1
    return sent

os.sendfile = sendfile
"""


class SpoilingService(LanService):
    """Such a service on a host of the network."""

    program = _SPOIL + TWISTD
