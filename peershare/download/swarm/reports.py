"""What a verified download reports: lines in the download log, notices for people.

Not for: what happens next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from peershare.content.names import display
from peershare.download.report import Tell
from peershare.errors import PeerError
from peershare.ledger import Ledger
from peershare.status import NoticeKind
from peershare.wire.beacon import Endpoint


@dataclass
class _Account:
    """What one peer gave since its last line in the log."""

    since: float
    blocks: int = 0
    bytes: int = 0  # of those blocks
    came: int = 0  # bytes, whatever they are worth


class SwarmReports:
    """Speaks for one download."""

    def __init__(self, name: str, ledger: Ledger, tell: Tell, clock: Callable[[], float]) -> None:
        """`clock` gives monotonic seconds."""
        self._name = name
        self._ledger = ledger
        self._tell = tell
        self._clock = clock
        self._accounts: dict[Endpoint, _Account] = {}
        self._told: dict[Endpoint, int] = {}  # bytes that a failure told before they were checked
        self._closed = False

    def joined(self, peer: Endpoint) -> None:
        """A session begins."""
        self._closed = False
        self._accounts.setdefault(peer, _Account(self._clock()))

    def came(self, peer: Endpoint, count: int) -> None:
        """Bytes came, whatever they are worth."""
        account = self._accounts.get(peer)
        if account is not None:
            account.came += count

    def gave(self, peer: Endpoint, length: int) -> None:
        """A verified block came; one that was still being checked when all was over counts, too."""
        account = self._accounts.setdefault(peer, _Account(self._clock()))
        told = min(length, self._told.get(peer, 0))
        if told:
            self._told[peer] -= told
        account.blocks += 1
        account.bytes += length - told
        if self._closed:
            self.closed(peer)

    def closed(self, peer: Endpoint) -> None:
        """It gives no more, in good order: write down what it gave."""
        account = self._accounts.pop(peer, None)
        if account is not None and account.blocks:
            self._log(peer, account, f"ok verified: {account.blocks} blocks")

    def close_all(self) -> None:
        """Write down what everybody gave."""
        self._closed = True
        self._told.clear()
        for peer in tuple(self._accounts):
            self.closed(peer)

    def failed(self, peer: Endpoint, error: PeerError, others: int) -> None:
        """It failed us; `others` still give.  Who was not giving is no news while others do."""
        account = self._accounts.pop(peer, None)
        since = self._clock() if account is None else account.since
        if account is not None and account.blocks:
            self._log(peer, account, f"ok verified: {account.blocks} blocks, until it failed")
        # what was received of the block that it was giving is part of what went to and fro
        unfinished = max(0, account.came - account.bytes) if account is not None else 0
        self._told[peer] = unfinished
        rest = _Account(since, bytes=unfinished)
        self._log(peer, rest, f"failed {error.reason}: {error}")
        if account is None and others:
            return
        then = f", going on with {others} others" if others else ""
        text = f"{display(self._name)}: {peer.address} {error}{then}"
        self._tell(NoticeKind.FAILOVER, self._name, peer.address, text)

    def exhausted(self, missing: int | None, tried: Mapping[str, str]) -> str:
        """Nobody can give the rest (None: how much that is, is not known); why, a line for each."""
        what = "it" if missing is None else f"the missing {missing:,} bytes"
        text = (
            f"{display(self._name)}: nobody who is here can give {what} now;"
            " it goes on by itself when somebody can"
        )
        self._tell(NoticeKind.WARNING, self._name, "", text)
        for address, why in tried.items():
            self._tell(NoticeKind.INFO, self._name, address, f"{address}: {why}")
        return text

    def blocked(self, why: str) -> None:
        """Our own disk is in the way."""
        self._tell(NoticeKind.WARNING, "", "", why)

    def _log(self, peer: Endpoint, account: _Account, result: str) -> None:
        seconds = self._clock() - account.since
        self._ledger.record_download(peer.address, self._name, account.bytes, seconds, result)
