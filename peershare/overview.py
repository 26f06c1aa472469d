"""The overview: what is on the network and what we have, as status values.

Not for: keeping anything; each picture is made from the parts when it is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from fnmatch import fnmatchcase

from peershare import __version__
from peershare.content.chunks import CHUNK_COUNT
from peershare.content.names import split_name
from peershare.dictionary import KnownAddress, KnownBase
from peershare.holdings import Holdings, Known
from peershare.library.entries import SharedFile
from peershare.neighbours import Neighbour
from peershare.settings import Settings
from peershare.status import ContentStatus, NodeStatus, PeerStatus
from peershare.wiring import Parts

MOST_CONTENTS = 10_000
_MOST_NAMES = 100
# So often it may be long that nothing fits: a large network is not searched to its end at once.
_MOST_PAUSES = 200


def contents(parts: Parts, now: float, pattern: str = "") -> tuple[ContentStatus, ...]:
    """Every content on the network, and every file of our own, by name.

    What native peers told has an id; names that only classic peers tell have none.  At most
    `MOST_CONTENTS` native ones are listed, of those that fit the pattern.
    """
    library, holdings = parts.library, parts.neighbourhood.holdings
    told = {base.name: base for base in parts.dictionary.bases(now)}
    merged = []
    ours: set[tuple[str, str]] = set()
    for file in library.files():
        names = library.chunk_names(file)
        base = told.pop(names[0].rpartition("_")[0], None) if names else None
        own = _own(file, library.content_id(file), bool(names), base)
        ours.add((own.id, own.name))
        merged.append(own)
    for known in _matching(holdings, pattern):
        if (known.id, known.name) in ours:
            continue
        bases = {known.name, split_name(known.name)[0]}
        classic = [base for name in bases if (base := told.pop(name, None)) is not None]
        merged.append(_native(known, holdings, classic))
    merged += [_told(base) for base in told.values()]
    if pattern:
        merged = [content for content in merged if fits(content.name, pattern)]
    return tuple(sorted(merged, key=lambda content: content.name.casefold()))


def _matching(holdings: Holdings, pattern: str) -> Iterator[Known]:
    """The contents of native peers that fit, as far as there is time to look."""
    pauses = 0
    found = 0
    for known in holdings.matching(pattern or "*"):
        pauses += known is None
        if pauses == _MOST_PAUSES or found == MOST_CONTENTS:
            return
        if known is not None:
            found += 1
            yield known


def fits(name: str, pattern: str) -> bool:
    """Whether a name fits a pattern in which `*` is anything, whatever the case."""
    return fnmatchcase(name.casefold(), pattern.casefold().replace("[", "[[]").replace("?", "[?]"))


def _own(file: SharedFile, content: str, whole: bool, told: KnownBase | None) -> ContentStatus:
    return ContentStatus(
        name=printable(file.path.name),
        id=content,
        chunks=told.chunks if told else (0,) * CHUNK_COUNT,
        peers=told.addresses if told else (),
        complete=whole or bool(content),
        shared=True,
        size=file.size,
    )


def _native(known: Known, holdings: Holdings, classic: list[KnownBase]) -> ContentStatus:
    holders = tuple(holder.address for holder in holdings.holders(known.id))
    others = (address for base in classic for address in base.addresses)
    return ContentStatus(
        name=known.name,
        id=known.id,
        chunks=(known.complete,) * CHUNK_COUNT,
        peers=tuple(dict.fromkeys((*holders, *others))),
        complete=known.complete > 0 or any(all(base.chunks) for base in classic),
        shared=False,
        size=known.size,
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


def peers(parts: Parts, now: float) -> tuple[PeerStatus, ...]:
    """Every address heard within its lifetime, by whichever protocol."""
    classic = {known.address: known for known in parts.dictionary.addresses(now)}
    native = {known.address: known for known in parts.neighbourhood.neighbours.all(now)}
    return tuple(
        _peer(parts, address, classic.get(address), native.get(address), now)
        for address in dict.fromkeys((*classic, *native))
    )


def _peer(
    parts: Parts,
    address: str,
    classic: KnownAddress | None,
    native: Neighbour | None,
    now: float,
) -> PeerStatus:
    heard = max(known.heard_at for known in (classic, native) if known is not None)
    told = classic.bases if classic is not None else ()
    if native is not None:
        told = parts.neighbourhood.holdings.names_of(address, _MOST_NAMES) or told
    return PeerStatus(
        address=address,
        contents=told,
        chunks=classic.chunks if classic is not None else 0,
        heard_seconds_ago=max(0.0, now - heard),
        given=parts.downloader.given.get(address, 0),
        taken=parts.uploader.taken.get(address, 0),
        native=native is not None and native.proven,
        count=native.count if native is not None else len(told),
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
        beacon_port=settings.beacon_port,
        classic=settings.classic,
        announcing=parts.announcer.announcing,
        last_announced_at=parts.announcer.last_announced_at,
        announced_names=parts.announcer.announced_names,
        peers=len(peers(parts, now)),
        files=len(parts.library.files()),
        upload_rate=upload_rate,
        upload_limit=settings.upload_limit_bytes_per_second,
        download_limit=settings.download_limit_bytes_per_second,
        download_rate=parts.downloader.rate,
        refused=dict(
            parts.discovery.refusals.counts
            + parts.neighbourhood.refused
            + parts.uploader.refusals.counts
        ),
        problems=tuple(problem for problem in problems if problem),
    )
