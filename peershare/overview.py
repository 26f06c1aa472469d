"""The overview: the node and its peers, as status values.

Not for: keeping anything; each picture is made from the parts when it is asked for.  The list of
contents, which is long, is kept (`listing`).
"""

from __future__ import annotations

import os
from itertools import islice

from msgspec.structs import replace

from peershare import __version__
from peershare.dictionary import KnownAddress
from peershare.metering import Metering, Totals
from peershare.neighbours import Neighbour
from peershare.settings import Settings
from peershare.status import ContentsChanged, Counters, NodeStatus, NotOffered, PeerStatus
from peershare.wiring import Parts

_MOST_NAMES = 100
_MOST_NOT_OFFERED = 10


def printable(name: str) -> str:
    """A name of the file system as text: what is not UTF-8 in it becomes question marks."""
    return name.encode("utf-8", "replace").decode("utf-8")


def peers(parts: Parts, metering: Metering, now: float) -> tuple[PeerStatus, ...]:
    """Every peer heard within its lifetime, by whichever protocol.

    What went to and fro is counted by address: it stands at the first peer of each.
    """
    problems, taken = parts.downloader.problems(), parts.uploader.taken_so_far()
    classic = {known.address: known for known in parts.dictionary.addresses(now)}
    natives = _natives(parts, now)
    found = []
    for address in dict.fromkeys((*classic, *natives)):
        for number, native in enumerate(natives.get(address, (None,))):
            if number:
                found.append(_peer(parts, address, None, native, now))
                continue
            peer = _peer(parts, address, classic.get(address), native, now)
            download_rate, upload_rate = metering.peer(address)
            found.append(
                replace(
                    peer,
                    given=parts.downloader.given.get(address, 0),
                    taken=taken[address],
                    download_rate=download_rate,
                    upload_rate=upload_rate,
                    problem=problems.get(address, ""),
                )
            )
    return tuple(found)


def peer_count(parts: Parts, now: float) -> int:
    """How many `peers` there are."""
    natives = _natives(parts, now)
    classic = set(parts.dictionary.heard(now))
    return len(classic.difference(natives)) + sum(map(len, natives.values()))


def _natives(parts: Parts, now: float) -> dict[str, list[Neighbour]]:
    """The native peers of each address; where nothing is proven, one of those that it may be."""
    found: dict[str, list[Neighbour]] = {}
    for neighbour in parts.neighbourhood.neighbours.all(now):  # strangers come last
        if neighbour.proven or neighbour.address not in found:
            found.setdefault(neighbour.address, []).append(neighbour)
    return found


def _peer(
    parts: Parts,
    address: str,
    classic: KnownAddress | None,
    native: Neighbour | None,
    now: float,
) -> PeerStatus:
    heard = max(known.heard_at for known in (classic, native) if known is not None)
    told = classic.bases[:_MOST_NAMES] if classic is not None else ()
    if native is not None:
        names = parts.neighbourhood.holdings.names_of(native.endpoint, _MOST_NAMES)
        told = names if parts.neighbourhood.holdings.has_catalogue(address) else told
    return PeerStatus(
        address=address,
        contents=told,
        chunks=classic.chunks if classic is not None else 0,
        heard_seconds_ago=max(0.0, now - heard),
        given=0,
        taken=0,
        native=native is not None and native.proven,
        tcp_port=native.port if native is not None and native.proven else 0,
        count=native.count if native is not None else len(classic.bases) if classic else 0,
        instance=native.instance if native is not None and native.proven else "",
    )


def lists(parts: Parts, now: float) -> ContentsChanged:
    """How much is told, and by how many."""
    natives = parts.neighbourhood.neighbours.all(now)
    count = parts.dictionary.base_count + sum(n.count for n in natives if n.proven)
    return ContentsChanged(count, peer_count(parts, now))


def refused(parts: Parts) -> dict[str, int]:
    """What was turned away, by reason."""
    counts = parts.discovery.refusals.counts + parts.neighbourhood.refused
    return dict(counts + parts.uploader.refusals.counts + parts.guest.refusals.counts)


def totals(parts: Parts) -> Totals:
    """What came and went since the start."""
    given, taken = parts.downloader.given.copy(), parts.uploader.taken_so_far()
    return Totals(given.total(), parts.uploader.sent_so_far(), given, taken)


def counters(parts: Parts, metering: Metering, now: float) -> Counters:
    """What has been counted since the start."""
    return Counters(
        downloaded_bytes=parts.downloader.given.total(),
        uploaded_bytes=parts.uploader.sent_so_far(),
        downloads=dict(parts.ledger.downloads),
        uploads=dict(parts.ledger.uploads),
        peers=peer_count(parts, now),
        refused=refused(parts),
        announcements=parts.announcer.sent_datagrams,
        beacons=parts.neighbourhood.sent_beacons,
        reactor_delay=metering.delay,
    )


def node(settings: Settings, parts: Parts, metering: Metering, now: float) -> NodeStatus:
    """The node itself, at `now` (monotonic seconds), but for what only it knows."""
    links, ports = parts.listening.links, sorted(set(parts.listening.tcp_ports.values()))
    problems = (*parts.listening.problems, *parts.library.problems, parts.index.problem)
    left_out = parts.library.not_offered()
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
        udp_ports=parts.neighbourhood.udp_ports,
        classic=settings.classic,
        announcing=parts.announcer.announcing,
        last_announced_at=parts.announcer.last_announced_at,
        announced_names=parts.announcer.announced_names,
        peers=peer_count(parts, now),
        files=parts.library.file_count,
        upload_rate=metering.upload_rate,
        upload_limit=parts.giving.rate,
        download_limit=parts.taking.rate,
        download_rate=parts.downloader.rate,
        refused=refused(parts),
        problems=tuple(problem for problem in problems if problem),
        rates=metering.rates,
        reactor_delay=metering.delay,
        not_offered=len(left_out),
        not_offered_first=tuple(
            NotOffered(printable(name), reason)
            for name, reason in islice(left_out.items(), _MOST_NOT_OFFERED)
        ),
        guest=parts.guest.link,
    )
