"""What the command line knows, as values: read out of its parser.

The shells' completion is written from it, and the man page is tested against it.
Not for: parsing (`arguments`).
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from peershare.client.arguments import make_parser

# What a word is, by the placeholder that stands for it in the help.
_KINDS = {
    "NAME": "contents",
    "PATTERN": "contents",
    "DOWNLOAD": "downloads",
    "FILE": "files",
    "DIR": "folders",
}
# The kinds that a running service tells.
NAMED = ("contents", "downloads", "shares")


@dataclass(frozen=True)
class Word:
    """A word that is asked for: `kind` tells what it is, `choices` all that it can be.

    Kinds are contents, downloads, shares, files, folders, and "" for what nobody can know.
    """

    metavar: str
    kind: str = ""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Flag:
    """An option; `value` is None where it takes none."""

    names: tuple[str, ...]
    help: str
    value: Word | None = None


@dataclass(frozen=True)
class Command:
    """A command, or with the name "" what goes before any."""

    name: str
    help: str
    flags: tuple[Flag, ...]
    words: Word | None = None


def grammar() -> tuple[Command, ...]:
    """What goes before any command, then each of the commands that people are told of."""
    parser = make_parser()
    (commands,) = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    top = _command("", parser.description or "", parser)
    told = {action.dest: action.help or "" for action in commands._choices_actions}
    return top, *(_command(name, text, commands.choices[name]) for name, text in told.items())


def _command(name: str, text: str, parser: argparse.ArgumentParser) -> Command:
    flags, words = [], None
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            continue
        if action.option_strings:
            value = None if action.nargs == 0 else _word(name, action)
            flags.append(Flag(tuple(action.option_strings), _help(action), value))
        else:
            words = _word(name, action)
    return Command(name, text, tuple(flags), words)


def _word(command: str, action: argparse.Action) -> Word:
    metavar = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    kind = _KINDS.get(metavar, "")
    if command == "verify" and kind == "contents":
        kind = "shares"
    return Word(metavar, kind, tuple(action.choices or ()))


def _help(action: argparse.Action) -> str:
    """Its help without what argparse would put in for it."""
    return (action.help or "").replace("%(prog)s", "peershare").replace("%%", "%")


def long_name(flag: Flag) -> str:
    """The option as it is spelled out."""
    return flag.names[-1]


def quoted(text: str) -> str:
    """In single quotes, as bash and zsh know them."""
    return "'" + text.replace("'", "'\\''") + "'"
