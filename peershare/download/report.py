"""What a download reports: a line in the download log, a notice for people.

Not for: what happens next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from peershare.content.names import chunk_name, display, split_name
from peershare.errors import PeerError
from peershare.ledger import Ledger
from peershare.status import NoticeKind

# kind, chunk name, peer address, text
Tell = Callable[[NoticeKind, str, str, str], None]


class Report:
    """Speaks for one download; chunks are called by their classic names."""

    def __init__(self, name: str, ledger: Ledger, tell: Tell) -> None:
        self._stem = split_name(name)[0]
        self._ledger = ledger
        self._tell = tell

    def arrived(self, number: int, address: str, size: int, seconds: float) -> None:
        """A chunk came; by the classic protocol it is not verified."""
        name = self._name(number)
        self._ledger.record_download(address, name, size, seconds, "ok unverified")
        self._tell(NoticeKind.CHUNK, name, address, f"{display(name)} downloaded from {address}")

    def failed(
        self,
        number: int,
        address: str,
        size: int,
        seconds: float,
        error: PeerError,
        upcoming: str | None,
    ) -> None:
        """An address did not give a chunk; `upcoming` is the address that is tried next."""
        name = self._name(number)
        result = f"failed {error.reason}: {error}"
        self._ledger.record_download(address, name, size, seconds, result)
        then = f", trying {upcoming}" if upcoming else ""
        self._tell(NoticeKind.FAILOVER, name, address, f"{display(name)}: {address} {error}{then}")

    def exhausted(self, number: int, tried: Mapping[str, str]) -> str:
        """Nobody could give a chunk: the classic warning (requirement 2.3.0-D), and why."""
        name = self._name(number)
        text = f"CHUNK {display(name)} CANNOT BE DOWNLOADED FROM ONLINE PEERS."
        self._tell(NoticeKind.WARNING, name, "", text)
        for address, why in tried.items():
            self._tell(NoticeKind.INFO, name, address, f"{address}: {why}")
        return text

    def outvoted(self, numbers: tuple[int, ...]) -> None:
        """Chunks that were held belong to another file than the rest."""
        names = ", ".join(display(self._name(number)) for number in numbers)
        text = (
            f"{names} cannot belong to one file with what other peers give"
            " (two contents of one name?): fetched again from elsewhere"
        )
        self._tell(NoticeKind.WARNING, self._name(numbers[0]), "", text)

    def blocked(self, why: str) -> None:
        """Our own disk is in the way."""
        self._tell(NoticeKind.WARNING, "", "", why)

    def _name(self, number: int) -> str:
        return chunk_name(self._stem, number)
