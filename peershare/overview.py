"""The overview: what is on the network and what we have, as status values.

Not for: keeping anything; each picture is made from the parts when it is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from peershare import __version__
from peershare.content.chunks import CHUNK_COUNT
from peershare.dictionary import ContentDictionary, KnownBase
from peershare.library.entries import SharedFile
from peershare.library.library import Library
from peershare.settings import Settings
from peershare.status import ContentStatus, NodeStatus, PeerStatus
from peershare.wiring import Parts


def contents(
    dictionary: ContentDictionary, library: Library, now: float
) -> tuple[ContentStatus, ...]:
    """Every content that is told on the network, and every file of our own, by name."""
    told = {base.name: base for base in dictionary.bases(now)}
    merged = []
    for file in library.files():
        names = library.chunk_names(file)
        base = names[0].rpartition("_")[0] if names else ""
        merged.append(_own(file, bool(names), told.pop(base, None)))
    merged += [_told(base) for base in told.values()]
    return tuple(sorted(merged, key=lambda content: content.name.casefold()))


def _own(file: SharedFile, whole: bool, told: KnownBase | None) -> ContentStatus:
    return ContentStatus(
        name=printable(file.path.name),
        chunks=told.chunks if told else (0,) * CHUNK_COUNT,
        peers=told.addresses if told else (),
        complete=whole,
        shared=True,
        size=file.size,
    )


def _told(base: KnownBase) -> ContentStatus:
    return ContentStatus(
        name=base.name,
        chunks=base.chunks,
        peers=base.addresses,
        complete=all(base.chunks),
        shared=False,
    )


def printable(name: str) -> str:
    """A name of the file system as text: what is not UTF-8 in it becomes question marks."""
    return name.encode("utf-8", "replace").decode("utf-8")


def peers(
    dictionary: ContentDictionary,
    given: Mapping[str, int],
    taken: Mapping[str, int],
    now: float,
) -> tuple[PeerStatus, ...]:
    """Every address heard within the lifetime."""
    return tuple(
        PeerStatus(
            address=known.address,
            contents=known.bases,
            chunks=known.chunks,
            heard_seconds_ago=max(0.0, now - known.heard_at),
            given=given.get(known.address, 0),
            taken=taken.get(known.address, 0),
        )
        for known in dictionary.addresses(now)
    )


def share_note(file: SharedFile | None) -> str:
    """Why a file that was shared is not announced yet, or not at all."""
    if file is None:
        return "it is still changing and is announced once it has come to rest"
    return file.problem and f"it is not announced to classic peers: {file.problem}"


def node(settings: Settings, parts: Parts, upload_rate: float, now: float) -> NodeStatus:
    """The node itself, at `now` (monotonic seconds)."""
    links, ports = parts.listening.links, sorted(set(parts.listening.tcp_ports.values()))
    problems = (*parts.listening.problems, parts.library.problem)
    return NodeStatus(
        version=__version__,
        pid=os.getpid(),
        share=printable(str(settings.share)),
        state=printable(str(settings.state)),
        addresses=tuple(str(link.address) for link in links),
        broadcasts=tuple(str(address) for link in links for address in link.broadcasts),
        tcp_port=ports[0] if ports else None,
        classic_udp_port=settings.classic_udp_port,
        announcing=parts.announcer.announcing,
        last_announced_at=parts.announcer.last_announced_at,
        announced_names=parts.announcer.announced_names,
        peers=len(parts.dictionary.addresses(now)),
        files=len(parts.library.files()),
        upload_rate=upload_rate,
        upload_limit=settings.upload_limit_bytes_per_second,
        download_limit=settings.download_limit_bytes_per_second,
        download_rate=parts.downloader.rate,
        refused=dict(parts.discovery.refusals.counts + parts.uploader.refusals.counts),
        problems=tuple(problem for problem in problems if problem),
    )
