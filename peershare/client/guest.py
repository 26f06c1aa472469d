"""`guest`: the link of the guest page, as text and as a QR code, and what guests sent.

Not for: the page itself (`peershare.guest`), nor for accepting what came: the service's page does.
"""

from __future__ import annotations

from peershare.client.api import ApiClient
from peershare.client.console import Console, Style
from peershare.client.outcome import ExitStatus
from peershare.client.wording import json_text, safe, safe_name, size_text
from peershare.guest.qr import text_code
from peershare.guest.status import GuestUpload, UploadState

# Light on dark, whatever the terminal's own colours are: cameras want it so.
_BRIGHT, _PLAIN = "\x1b[97;40m", "\x1b[0m"


async def show_guest(client: ApiClient, console: Console, *, json: bool) -> ExitStatus:
    """Print it; the code only where somebody can point a camera at it.  Raises `ClientError`."""
    status = await client.guest()
    if json:
        console.data(json_text(status))
    elif status.link:
        console.data("\n".join(status.links))
        if console.out.is_terminal:
            console.data(_code(status.link, color=console.color))
        console.note(
            "plain HTTP: whoever is on this network and sees the link can fetch what is shared,"
            " and could read along; the link is good until the service stops",
            Style.DIM,
        )
        for upload in status.uploads:
            console.note(_upload_text(upload))
        if any(upload.state is UploadState.WAITING for upload in status.uploads):
            console.note("accept or refuse it on the page: peershare open", Style.DIM)
    else:
        console.note("there is no guest page: start the service with --guest", Style.WARNING)
    return ExitStatus.DONE if status.link else ExitStatus.FAILED


def _code(link: str, *, color: bool) -> str:
    lines = text_code(link).splitlines()
    return "\n".join(f"{_BRIGHT}{line}{_PLAIN}" if color else line for line in lines)


def _upload_text(upload: GuestUpload) -> str:
    """One line about a file of a guest."""
    what = f"{safe_name(upload.name)} ({size_text(upload.size)}) from {safe(upload.address)}"
    return f"{upload.state.value}: {what}"
