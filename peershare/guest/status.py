"""The frozen values that the node shows of its guests; as those of `peershare.status`."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class UploadState(StrEnum):
    """Where a file from a guest stands."""

    ARRIVING = "arriving"
    WAITING = "waiting"  # for somebody here to accept or refuse it
    ACCEPTED = "accepted"  # it is in the inbox now
    REFUSED = "refused"  # it is gone


class GuestUpload(Struct, frozen=True, kw_only=True):
    """One file that a guest sends, or has sent."""

    id: str
    name: str
    size: int  # while it arrives: what it will have at most
    address: str
    received: int  # bytes that are here
    state: UploadState
    received_at: float  # when it began to arrive
    path: str = ""  # where it lies, once it was accepted


class GuestStatus(Struct, frozen=True, kw_only=True):
    """The guest page."""

    link: str  # "" while there is none
    links: tuple[str, ...] = ()  # one for each own address, `link` first
    qr: str = ""  # `link` as a QR code, an SVG document
    takes_uploads: bool = False
    upload_limit: int = 0  # bytes of one file
    uploads: tuple[GuestUpload, ...] = ()  # in the order they came
