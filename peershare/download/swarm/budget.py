"""The budget: how many blocks each session of a download may be asked for at a time.  Pure.

Each gets its window as long as all windows fit into the budget, else its share of it.  Whom the
budget leaves nothing is hungry, and is fed first when there is something again.  Not for: which
blocks.
"""

from __future__ import annotations

from collections.abc import Mapping

from peershare.download.swarm.giver import Giver
from peershare.wire.beacon import Endpoint


class Budget:
    """`blocks` in all, asked for or being checked."""

    def __init__(self, blocks: int) -> None:
        self._blocks = blocks
        self._hungry: dict[Endpoint, None] = {}  # the longest first

    @property
    def hungry(self) -> tuple[Endpoint, ...]:
        """The sessions that it left nothing, though there was something to ask for."""
        return tuple(self._hungry)

    def forget(self, peer: Endpoint) -> None:
        """A session is not hungry, or gone."""
        self._hungry.pop(peer, None)

    def room(self, peer: Endpoint, givers: Mapping[Endpoint, Giver], busy: int) -> int:
        """How many blocks a session may be asked for, while `busy` ones are under way in all."""
        giver = givers[peer]
        room = giver.room()
        if room <= 0:
            self.forget(peer)
            return 0
        window = giver.window.blocks
        windows = sum(
            other.window.blocks
            for name, other in givers.items()
            if name == peer or name in self._hungry or (other.requests and not other.stalled)
        )
        if windows > self._blocks:
            share = max(1, self._blocks * window // windows)
            room = min(room, share - len(giver.requests))
            if room <= 0:
                self.forget(peer)
                return 0
        room = min(room, self._blocks - busy - self._before(peer))
        if room > 0:
            self.forget(peer)
        else:
            self._hungry[peer] = None
        return room

    def _before(self, peer: Endpoint) -> int:
        """How many of the hungry are fed before this session, a block each."""
        if peer not in self._hungry:
            return len(self._hungry)
        return list(self._hungry).index(peer)
