"""One connection at a time to one classic address, for the whole node.

Not for: connecting; a slot is only the right to do so.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred, DeferredLock


class AddressSlots:
    """A lock for each address that is in use or waited for."""

    def __init__(self) -> None:
        self._locks: dict[str, DeferredLock] = {}

    def busy(self, address: str) -> bool:
        """Whether a connection to this address is open or being opened."""
        return address in self._locks

    def acquire(self, address: str) -> Deferred[DeferredLock]:
        """Wait for the slot; the Deferred may be cancelled while it waits."""
        return self._locks.setdefault(address, DeferredLock()).acquire()

    def release(self, address: str) -> None:
        """Give the slot to the next in line."""
        lock = self._locks[address]
        lock.release()
        # the next in line has run by now, and may have given it back itself
        if not lock.locked and self._locks.get(address) is lock:
            del self._locks[address]
