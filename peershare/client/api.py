"""ApiClient: the service's HTTP API as typed calls.

Not for: HTTP (`asking`), the events of its stream (`feed`), finding a service (`hosting`), or
what to do when it goes away (`session`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

from peershare.client.asking import Asker, RefusedError
from peershare.client.feed import EventFeed
from peershare.client.outcome import GoneError
from peershare.control.controlfile import ControlFile
from peershare.control.messages import (
    SHOWN_HEADER,
    TOTAL_HEADER,
    Nothing,
    OpeningCode,
    SetLimits,
    ShareFile,
    StartDownload,
    VerifyShares,
)
from peershare.guest.status import GuestStatus
from peershare.status import (
    ContentStatus,
    DownloadStatus,
    Event,
    HistoryEntry,
    Limits,
    Listing,
    NodeStatus,
    PeerStatus,
    ShareStatus,
    VerifyResult,
)

__all__ = ["ApiClient", "RefusedError"]


# Sharing may copy a large file first, verifying reads all there is.
DISK_SECONDS = 6 * 3600.0


class ApiClient:
    """Asks one service.  Every call raises `GoneError` if it does not answer."""

    def __init__(self, reactor: Any, control: ControlFile) -> None:
        self._reactor = reactor
        self._asker = Asker(reactor, control)
        self._ask = self._asker.ask

    @property
    def pid(self) -> int:
        """The service's process id."""
        return self._asker.pid

    @property
    def url(self) -> str:
        """Where the service answers: `http://127.0.0.1:5002`."""
        return self._asker.control.url

    async def node(self) -> NodeStatus:
        """The node itself."""
        return await self._ask("GET", "/node", NodeStatus)

    async def contents(self, pattern: str = "") -> tuple[ContentStatus, ...]:
        """What is on the network; of names that fit a `*` pattern, if there is one."""
        return (await self.listing(pattern)).contents

    async def listing(self, pattern: str = "") -> Listing:
        """The same, and how much of all it is."""
        query = f"?match={quote(pattern, safe='', errors='replace')}" if pattern else ""
        rows, headers = await self._asker.ask_all(
            "GET", f"/contents{query}", tuple[ContentStatus, ...]
        )
        total, shown = (
            int(found[0]) if (found := headers.getRawHeaders(name)) and found[0].isdigit() else 0
            for name in (TOTAL_HEADER, SHOWN_HEADER)
        )
        return Listing(rows, max(total, len(rows)), max(shown, len(rows)))

    async def peers(self) -> tuple[PeerStatus, ...]:
        """Who is on the network."""
        return await self._ask("GET", "/peers", tuple[PeerStatus, ...])

    async def downloads(self) -> tuple[DownloadStatus, ...]:
        """Every download of the service's run."""
        return await self._ask("GET", "/downloads", tuple[DownloadStatus, ...])

    async def download(self, identifier: str) -> DownloadStatus:
        """One download.  Raises `RefusedError`."""
        return await self._ask("GET", f"/downloads/{identifier}", DownloadStatus)

    async def history(
        self, limit: int, since: float | None = None, direction: str = ""
    ) -> tuple[HistoryEntry, ...]:
        """The newest lines of both logs, or of one; `since` is in Unix seconds."""
        query: dict[str, str] = {"limit": str(limit)}
        if since is not None:
            query["since"] = f"{since:.3f}"
        if direction:
            query["direction"] = direction
        return await self._ask("GET", f"/history?{urlencode(query)}", tuple[HistoryEntry, ...])

    async def start(
        self,
        name: str,
        folder: str | None,
        *,
        sequential: bool = False,
        source: str = "",
        classic: bool = False,
    ) -> DownloadStatus:
        """Begin a download, by name or id.  Raises `RefusedError`."""
        wish = StartDownload(name, folder, sequential, source, classic)
        return await self._ask("POST", "/downloads", DownloadStatus, wish)

    async def stop(self, identifier: str) -> DownloadStatus:
        """Stop a download; its part is kept.  Raises `RefusedError`."""
        return await self._ask("DELETE", f"/downloads/{identifier}", DownloadStatus)

    async def pause(self, identifier: str) -> DownloadStatus:
        """Hold a download.  Raises `RefusedError`."""
        return await self._change(identifier, "pause")

    async def resume(self, identifier: str) -> DownloadStatus:
        """Go on with it.  Raises `RefusedError`."""
        return await self._change(identifier, "resume")

    async def cancel(self, identifier: str) -> DownloadStatus:
        """End it; its part is kept.  Raises `RefusedError`."""
        return await self._change(identifier, "cancel")

    async def _change(self, identifier: str, verb: str) -> DownloadStatus:
        return await self._ask("POST", f"/downloads/{identifier}/{verb}", DownloadStatus, Nothing())

    async def limits(self) -> Limits:
        """How fast the service may be."""
        return await self._ask("GET", "/limits", Limits)

    async def set_limits(self, limits: Limits) -> Limits:
        """Have it be so fast from now on.  Raises `RefusedError`."""
        wish = SetLimits(limits.upload, limits.download)
        return await self._ask("PUT", "/limits", Limits, wish)

    async def opening(self) -> str:
        """A code that opens the page once, within a minute.  Raises `RefusedError`."""
        opening = await self._ask("POST", "/opening", OpeningCode, Nothing())
        return opening.code

    async def guest(self) -> GuestStatus:
        """The guest page, and what guests sent."""
        return await self._ask("GET", "/guest", GuestStatus)

    async def share(self, path: str) -> ShareStatus:
        """Put a file into the share folder.  Raises `RefusedError`."""
        return await self._ask("POST", "/shares", ShareStatus, ShareFile(path), DISK_SECONDS)

    async def verify(self, name: str | None) -> tuple[VerifyResult, ...]:
        """Have what is shared hashed anew (None: all of it).  Raises `RefusedError`."""
        kind = tuple[VerifyResult, ...]
        return await self._ask("POST", "/verify", kind, VerifyShares(name), DISK_SECONDS)

    async def events(
        self, on_event: Callable[[Event], None], on_lost: Callable[[], None]
    ) -> EventFeed:
        """Open the event stream: from now on no event is missed."""
        response = await self._asker.request("GET", "/events")
        if response.code != 200:
            raise GoneError(f"the service gives no events (HTTP {response.code})")
        feed = EventFeed(self._reactor, on_event, on_lost)
        response.deliverBody(feed)
        return feed
