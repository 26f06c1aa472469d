"""Why a name does not come, in sentences: what is waited for, and what to do about it.

Not for: how long it is waited for (`patience`).
"""

from __future__ import annotations

from peershare.client.api import ApiClient
from peershare.client.outcome import ClientError
from peershare.client.wording import safe, safe_name, span_text
from peershare.content.names import folded, split_name


def waiting_text(limit: float | None, content: str) -> str:
    """What a download that nobody gives waits for, and at most how many seconds."""
    until = "until somebody does" if limit is None else f"up to {span_text(limit)}"
    if content:
        return f"nobody gives it yet; waiting {until}"
    return f"nobody has announced it yet; waiting {until} (classic peers tell once a minute)"


def not_found_text(limit: float | None, kept: str) -> str:
    """Nobody told of it within so many seconds; `kept` is what stays of it."""
    return (
        f"not found: nobody on the network announced it within {span_text(limit or 0.0)}{kept}"
        " (--wait waits longer; peershare doctor tells whether others can be heard at all)"
    )


def given_up_text(limit: float | None, problem: str, kept: str) -> str:
    """It stood still for so many seconds."""
    reason = f" ({safe(problem)})" if problem else ""
    return (
        f"given up after {span_text(limit or 0.0)} without progress{reason}{kept}"
        " (get it again to go on, with a longer --give-up if need be)"
    )


async def own_file_text(client: ApiClient, name: str) -> str:
    """What to say where the user looks for a file of his own; "" if it is none."""
    try:
        contents = await client.contents()
    except ClientError:
        return ""
    for content in contents:
        if content.shared and folded(name) in map(
            folded, (content.name, split_name(content.name)[0])
        ):
            return f"not found with anybody else; {safe_name(content.name)} is your own file"
    return ""
