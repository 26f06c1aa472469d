"""`peershare get`: one name after the other, from the command line or from stdin.

Not for: how one name goes (`following`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from peershare.client.following import Follower
from peershare.client.lines import LineSource
from peershare.client.outcome import ClientError, ExitStatus, worst
from peershare.client.paths import absolute
from peershare.control.paths import text_of

FROM_STDIN = "-"


def output_folder(output: str | None) -> str | None:
    """The `--output` folder as the API takes it, absolute; None for the share folder.

    Raises `ClientError` if that is something other than a folder.
    """
    if output is None:
        return None
    path = absolute(output)
    if path.exists() and not path.is_dir():
        raise ClientError(f"--output: {path} is no folder", ExitStatus.USAGE)
    return text_of(path)


async def get_all(
    follower: Follower, names: Sequence[str], stdin: LineSource, folder: str | None
) -> ExitStatus:
    """Download each name in turn; the status is the worst of theirs."""
    statuses = []
    async for name in _each(names, stdin):
        outcome = await follower.get(name, folder)
        statuses.append(outcome.status)
    return worst(statuses)


async def _each(names: Sequence[str], stdin: LineSource) -> AsyncIterator[str]:
    """The names, with the lines of stdin in the place of each `-`."""
    for name in names:
        if name != FROM_STDIN:
            yield name
            continue
        while (line := await stdin.next_line()) is not None:
            if line.strip():
                yield line  # a space before or behind it is a part of the name
