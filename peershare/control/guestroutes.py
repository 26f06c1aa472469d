"""The routes of the API about the guest page: its link, and what guests sent.

Not for: the guest page itself, which is served on a port of its own (`peershare.guest`).
"""

from __future__ import annotations

from peershare.control.api import Api
from peershare.control.messages import Nothing
from peershare.control.route import Route
from peershare.guest.status import GuestStatus, GuestUpload

_UPLOAD = "/api/guest/uploads/{id}"

GUEST_ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/api/guest",
        summary="The guest page: its link, as a QR code too, and what guests sent.",
        handler=Api.guest,
        reply=GuestStatus,
    ),
    Route(
        method="POST",
        path=f"{_UPLOAD}/accept",
        summary="Take a file that a guest sent into the inbox folder.",
        handler=Api.accept_upload,
        body=Nothing,
        reply=GuestUpload,
        problems=("unknown-upload", "storage"),
    ),
    Route(
        method="POST",
        path=f"{_UPLOAD}/refuse",
        summary="Remove a file that a guest sent, or cut it while it arrives.",
        handler=Api.refuse_upload,
        body=Nothing,
        reply=GuestUpload,
        problems=("unknown-upload",),
    ),
)
