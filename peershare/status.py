"""The frozen values that the node shows to the world: what the API returns and streams.

Not for: anything that is decided from; these are pictures of the node, not its state.
All sizes are bytes, all rates bytes per second, all durations seconds; `*_at` are Unix times.
Names are as peers told them: whoever shows one passes it through `content.names.display`.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class DownloadState(StrEnum):
    """Where a download stands."""

    SEARCHING = "searching"  # no address has told any of its chunks yet
    DOWNLOADING = "downloading"
    WAITING = "waiting"  # every known address was tried; goes round again by itself
    BLOCKED = "blocked"  # our own disk is in the way; goes on by itself when it is not
    FINISHING = "finishing"  # all five chunks are here and are being joined and named
    DONE = "done"
    PAUSED = "paused"  # by the user; nobody gives to it, the part is kept and still served
    STOPPED = "stopped"  # by the user; the part file is kept for next time
    FAILED = "failed"


FINAL_STATES = frozenset({DownloadState.DONE, DownloadState.STOPPED, DownloadState.FAILED})


class ChunkState(StrEnum):
    """Where one chunk of a download stands."""

    MISSING = "missing"
    FETCHING = "fetching"
    HELD = "held"


class ChunkStatus(Struct, frozen=True, kw_only=True):
    """One of the five chunks; `source` is the address it comes from.

    It is "" while there is none, and where there may be many (a verified download).
    """

    number: int
    state: ChunkState
    received: int
    source: str = ""


class DownloadStatus(Struct, frozen=True, kw_only=True):
    """One download, from the wish for a name to the final file."""

    id: str
    name: str
    content: str = ""  # the content id; "" for a download by the classic protocol
    state: DownloadState
    folder: str
    chunks: tuple[ChunkStatus, ...]
    received: int
    size: int | None  # None until it is known; by the classic protocol an upper bound until exact
    rate: float
    seconds_left: float | None
    peer: str  # an address that gives right now, "" while none does
    peers: tuple[str, ...] = ()  # every address that gives right now
    given: dict[str, int]  # bytes by address
    problem: str  # one sentence, "" where there is none
    path: str  # the final file, "" until there is one
    idle_seconds: float  # since the last byte arrived (or since the start)
    elapsed_seconds: float
    verified: bool  # whether every byte is checked; False for what comes by the classic protocol
    block_size: int = 0  # 0 for a classic download, and while the size is not known


# What one byte of a block map says; what is above stands for `sources[byte - CELL_SOURCES]`.
CELL_MISSING = 0
CELL_ARRIVING = 1
CELL_HELD = 2  # held, and nobody remembers from whom: of a former run, or our own disk
CELL_SOURCES = 3
MAX_CELLS = 4_096
MAX_SOURCES = 250
OTHER_SOURCES = "others"


class BlockMap(Struct, frozen=True, kw_only=True):
    """Which blocks of a download are here, and from whom.

    `cells` is base64 of one byte a cell: see `CELL_MISSING` and those after it.  Of more than
    `MAX_CELLS` blocks, neighbours share a cell, which is held once all of them are, by the giver
    of its first block, and in flight while any of them is.  The cells of a classic download are
    its five chunks.
    """

    download: str  # its id
    block_size: int  # bytes; 0 for a classic download, and while the size is not known
    blocks_per_cell: int
    count: int  # cells
    sources: tuple[str, ...]  # addresses in the order of their first gift; the last "others"
    cells: str


class ContentStatus(Struct, frozen=True, kw_only=True, gc=False):
    """One content on the network, or one of our own files."""

    name: str
    id: str = ""  # the content id; "" for what only classic peers tell, or is not hashed yet
    chunks: tuple[int, ...]  # how many addresses have chunk 1 … 5 (as far as is known)
    peers: tuple[str, ...]  # addresses, in the order they told it
    complete: bool  # all of it is had by somebody
    shared: bool  # we have it ourselves
    size: int | None = None  # None for what only classic peers tell
    downloading: bool = False  # it is being downloaded right now, or waits to be
    # it is here, and its bytes are what its id says; what others have can be if it has an id, and
    # what came by the classic protocol is not
    verified: bool = False
    # Why native peers are not offered what lies in the share folder under this name, and why it is
    # not announced to classic ones; "" where it is, and for what is not ours.
    not_offered: str = ""
    not_announced: str = ""


class Listing(Struct, frozen=True):
    """Contents by name, or a window of them; `shown` are listed of `total` that there are."""

    contents: tuple[ContentStatus, ...]
    total: int
    shown: int


class NotOffered(Struct, frozen=True):
    """Something in the share folder that native peers are not offered, and why, as a clause."""

    name: str
    reason: str


class ContentChoice(Struct, frozen=True, kw_only=True):
    """One of several contents that a name fits."""

    id: str  # "" for what is offered by the classic protocol alone, and cannot be verified
    name: str
    size: int | None  # None for what is not known
    peers: int  # how many have some of it, we included
    complete: int  # how many of them have all of it
    age_seconds: float  # since it was first heard of here; 0.0 for our own, or if not known
    addresses: tuple[str, ...] = ()  # of the first of those peers
    here: bool = False  # a download of it was begun here, and is not complete


class PeerStatus(Struct, frozen=True, kw_only=True):
    """A peer that has announced something."""

    address: str
    contents: tuple[str, ...]  # names, at most the first hundred
    chunks: int  # told by the classic protocol
    heard_seconds_ago: float
    given: int  # bytes it gave us since our start
    taken: int  # bytes it took from us since our start
    native: bool = False  # it speaks our own protocol, and has proven that its address is its own
    count: int = 0  # how many contents it has
    instance: str = ""  # its run, where it is native: several peers may have one address
    tcp_port: int = 0  # where it takes sessions, where it is native; 0 nowhere, or not known
    download_rate: float = 0.0  # from it to us, over the last seconds
    upload_rate: float = 0.0  # from us to it
    problem: str = ""  # why nothing is downloaded from it right now, "" where nothing is wrong


class NodeStatus(Struct, frozen=True, kw_only=True):
    """The node itself."""

    version: str
    pid: int
    share: str
    state: str
    addresses: tuple[str, ...]
    broadcasts: tuple[str, ...]
    tcp_port: int | None  # None while it listens nowhere
    classic_udp_port: int
    beacon_port: int = 0  # the UDP port of beacons
    # by own address, the UDP port where it alone hears what is sent to that address
    udp_ports: dict[str, int] = {}
    classic: bool = True  # whether classic peers are told of us, and heard
    announcing: bool  # False where classic announcing had to stop; `problems` says why
    last_announced_at: float | None
    announced_names: int
    peers: int
    files: int
    upload_rate: float
    download_rate: float
    upload_limit: float | None = None
    download_limit: float | None = None
    refused: dict[str, int]  # datagrams and connections turned away, by reason
    problems: tuple[str, ...]  # sentences
    rates: tuple[tuple[float, float], ...] = ()  # (download, upload) a second; oldest first, <= 60
    reactor_delay: float = 0.0  # by how much a timer was late at most, in the last minute
    free_bytes: int = 0  # of the file system of the share folder
    started_at: float = 0.0
    not_offered: int = 0  # how much in the share folder is not offered
    not_offered_first: tuple[NotOffered, ...] = ()  # the first of it, at most ten
    guest: str = ""  # the link of the guest page, "" while there is none


class Limits(Struct, frozen=True, kw_only=True):
    """How fast it may go, in bytes per second, at least 1; None: as fast as it can."""

    upload: float | None
    download: float | None


class Counters(Struct, frozen=True, kw_only=True):
    """What has been counted since the start; all but `peers` and `reactor_delay` only grow."""

    downloaded_bytes: int
    uploaded_bytes: int
    downloads: dict[str, int]  # lines of the download log, by result: "ok", or why it failed
    uploads: dict[str, int]  # lines of the upload log, likewise
    peers: int  # that are known right now
    refused: dict[str, int]  # datagrams and connections turned away, by reason
    announcements: int  # datagrams of the classic protocol that were sent
    beacons: int  # datagrams of our own protocol that were sent
    reactor_delay: float  # by how much a timer was late at most, in the last minute


class HistoryEntry(Struct, frozen=True, kw_only=True):
    """One line of the download or upload log."""

    direction: str  # "download" or "upload"
    time: str  # ISO 8601 with offset
    address: str
    chunk: str
    bytes: int
    seconds: float
    result: str  # "ok …" or "failed …" with the reason


class ShareStatus(Struct, frozen=True, kw_only=True):
    """What became of a wish to share a file."""

    name: str
    path: str
    size: int
    how: str  # "linked", "copied", "received" or "already there"
    chunks: tuple[str, ...]  # the names it will be announced under; empty where it cannot be
    note: str  # why it is not announced, or ""


class VerifyResult(Struct, frozen=True, kw_only=True):
    """What hashing a shared file anew showed."""

    name: str
    path: str
    id: str  # the content id that it has now; "" where it cannot be read
    state: str  # "unchanged", "changed", "new" (it was never hashed before) or "unreadable"
    size: int
    detail: str  # one sentence, "" where there is nothing to say


class ShareMode(StrEnum):
    """How a file gets into the share folder."""

    AUTO = "auto"  # a link, or a copy where there can be none
    LINK = "link"  # a hard link: no room is needed, and what is changed there changes here
    COPY = "copy"


class NoticeKind(StrEnum):
    """What a notice tells."""

    CHUNK = "chunk"  # a chunk arrived
    FAILOVER = "failover"  # an address failed, another is tried
    WARNING = "warning"  # CHUNK … CANNOT BE DOWNLOADED FROM ONLINE PEERS. and its like
    INFO = "info"


class DownloadChanged(Struct, frozen=True, tag="download"):
    """A download has a new picture (at most ten a second for each)."""

    download: DownloadStatus


class Notice(Struct, frozen=True, kw_only=True, tag="notice"):
    """Something happened that a person wants to read once."""

    kind: NoticeKind
    download: str  # its id, "" where it concerns none
    chunk: str  # the chunk's name, or ""
    peer: str  # an address, or ""
    text: str


class ContentsChanged(Struct, frozen=True, tag="contents"):
    """The list of contents or of peers changed (at most one a second); ask for it anew."""

    contents: int  # what is told; by several native peers: once for each
    peers: int


class NodeChanged(Struct, frozen=True, tag="node"):
    """The node looks different: once a second while bytes move, else at most every 5 s."""

    node: NodeStatus


Event = DownloadChanged | Notice | ContentsChanged | NodeChanged
