"""`completion`: what makes bash, zsh and fish complete the command line, written from its grammar.

Names come from the running service (`peershare complete`, see `lookup`).  A stranger has chosen
them, so no shell ever evaluates one: what is offered is quoted as that shell quotes.
Pure.  Not for: the completion at the prompt (`interactive`).
"""

from __future__ import annotations

from collections.abc import Callable

from peershare.client.bashscript import bash_script
from peershare.client.fishscript import fish_script
from peershare.client.grammar import Command, grammar
from peershare.client.zshscript import zsh_script

_WRITERS: dict[str, Callable[[tuple[Command, ...]], str]] = {
    "bash": bash_script,
    "zsh": zsh_script,
    "fish": fish_script,
}


def completion_script(shell: str) -> str:
    """What a shell ("bash", "zsh" or "fish") is to read."""
    return _WRITERS[shell](grammar())
