"""The guest page, made and wired: which of its parts gets what of the node.

Not for: starting it (`server`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from random import Random
from typing import Any

from peershare.admission import Admission
from peershare.content.names import display
from peershare.guest.answering import Means
from peershare.guest.giving import Sources
from peershare.guest.inbox import Inbox
from peershare.guest.offers import Offers
from peershare.guest.server import GuestFactory, GuestService, make_token
from peershare.guest.site import GuestSite
from peershare.guest.status import GuestUpload
from peershare.ledger import Ledger
from peershare.library.entries import Workers
from peershare.library.library import Library
from peershare.links import Link
from peershare.serving.swarms import Serving
from peershare.settings import Settings
from peershare.status import Event, Notice, NoticeKind
from peershare.uploader import UploaderFactory


@dataclass(frozen=True)
class Surroundings:
    """What the world and the node give; what `random` gives must not be guessed."""

    reactor: Any
    workers: Workers
    random: Random
    wall_clock: Callable[[], float]
    library: Library
    ledger: Ledger


def make_guest(
    settings: Settings,
    given: Surroundings,
    serving: Serving,
    uploader: UploaderFactory,
    links: Callable[[], Sequence[Link]],
    in_order: Callable[[str], None],
    emit: Callable[[Event], None],
) -> GuestService:
    """The service, not started; it shares the upload limit and the open files of all uploads.

    `links` are the own addresses in use; `in_order` asks the download of a content, if there is
    one, for its blocks in order; `emit` tells people that a file waits to be accepted.
    """
    token, library = make_token(given.random), given.library
    takes = settings.guest and settings.guest_upload
    inbox = _inbox(settings, given, emit) if takes else None
    offers = Offers(library, given.reactor.seconds)

    def is_local(address: IPv4Address) -> bool:
        return any(address in link.network for link in links())

    factory = GuestFactory(given.reactor, Admission(is_local, lambda _: False))
    factory.means = Means(
        reactor=given.reactor,
        site=GuestSite(token, offers, inbox, settings.guest_upload_limit_bytes, given.wall_clock),
        sources=Sources(given.reactor, offers, serving.contents, in_order),
        inbox=inbox,
        bucket=uploader.bucket,
        warm=serving.warmer.warm,
        ledger=given.ledger,
        uploaded=uploader.uploaded,
        note=factory.refusals.note,
        rescan=library.rescan,
    )
    library.on_blocks(lambda content, _: factory.wake(content))
    library.on_change(lambda: factory.wake(""))
    return GuestService(given.reactor, settings, links, factory, token, inbox)


def _inbox(settings: Settings, given: Surroundings, emit: Callable[[Event], None]) -> Inbox:
    def waits(upload: GuestUpload) -> None:
        name, size = display(upload.name), f"{upload.size:,} bytes"
        text = f"{upload.address} sent {name} ({size}); it waits until you accept or refuse it"
        emit(Notice(kind=NoticeKind.INFO, download="", chunk="", peer=upload.address, text=text))

    return Inbox(
        settings.inbox,
        settings.state,
        settings.guest_upload_limit_bytes,
        given.workers,
        given.random,
        given.wall_clock,
        waits,
    )
